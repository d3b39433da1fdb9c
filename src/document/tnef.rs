//! winmail.dat: the Transport-Neutral Encapsulation Format in which Outlook and Exchange wrap a message
//! (MS-OXTNEF), with its attachments as MAPI properties (MS-OXCMSG).
//!
//! Only where each attachment lies and what it is called; its bytes stay where they are and are read by range. Not a
//! validator: checksums are not looked at, attributes may come in any order, and what is wrong inside one attribute
//! costs that one alone. The text of the message (rich text mostly) is no document and is told by its kind.

use std::io::{Read, SeekFrom};
use std::ops::Range;

use super::container::{Flaw, Source};
use super::header::decode_bytes;
use crate::text;
use crate::text::Text;

/// What a winmail.dat holds.
#[derive(Debug, Default)]
pub(super) struct Tnef {
    pub(super) attachments: Vec<Attachment>,
    /// The media types of the message's text, each once.
    pub(super) bodies: Vec<&'static str>,
    /// Why some attachments may be missing.
    pub(super) damage: Option<Text>,
}

/// An attachment, complete.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Attachment {
    /// `PR_ATTACH_LONG_FILENAME`, else `attAttachTitle`, else `PR_ATTACH_FILENAME` (8.3), else `PR_DISPLAY_NAME`.
    pub(super) name: Option<String>,
    pub(super) media_type: Option<String>,
    pub(super) content_id: Option<String>,
    /// Shown inside the text (`PR_ATTACH_FLAGS`, `ATT_MHTML_REF`).
    pub(super) is_shown: bool,
    /// Where its bytes lie.
    pub(super) data: Range<u64>,
    /// The bytes are a message, in TNEF again.
    pub(super) is_message: bool,
}

/// Reads the structure of `source`, at most `most` attachments and one more.
pub(super) fn read(source: &mut dyn Source, most: usize) -> Result<Tnef, Flaw> {
    let end = source.seek(SeekFrom::End(0))?;
    source.seek(SeekFrom::Start(0))?;
    let mut reader = Reader { source, at: 0, end };
    let mut parse = Parse::default();
    let begins = reader.u32().is_ok_and(|signature| signature == SIGNATURE) && reader.u16().is_ok();
    if !begins {
        parse.tnef.damage =
            Some(text!("it does not begin as a winmail.dat does", "son début n'est pas celui d'un winmail.dat"));
        return Ok(parse.tnef);
    }
    while parse.tnef.attachments.len() <= most && parse.attribute(&mut reader)? {}
    parse.end_attachment();
    Ok(parse.tnef)
}

/// Reads numbers and ranges, never beyond its end.
struct Reader<'a> {
    source: &'a mut dyn Source,
    at: u64,
    end: u64,
}

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let mut bytes = [0; N];
        if self.end - self.at < N as u64 {
            return Err(self.short());
        }
        self.source.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn u16(&mut self) -> Result<u16, Flaw> {
        self.bytes().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Flaw> {
        self.bytes().map(u32::from_le_bytes)
    }

    /// The next bytes, passed over.
    fn range(&mut self, length: u32) -> Result<Range<u64>, Flaw> {
        let length = u64::from(length);
        if self.end - self.at < length {
            return Err(self.short());
        }
        let start = self.at;
        self.go(start + length)?;
        Ok(start..self.at)
    }

    fn go(&mut self, to: u64) -> Result<(), Flaw> {
        // relative: what is buffered stays
        self.source.seek_relative(to.cast_signed() - self.at.cast_signed())?;
        self.at = to;
        Ok(())
    }

    /// The first bytes of a range; the reader stands behind them.
    fn peek(&mut self, range: &Range<u64>, most: u64) -> Result<Vec<u8>, Flaw> {
        self.go(range.start)?;
        let mut bytes = Vec::new();
        (&mut *self.source).take(most.min(range.end - range.start)).read_to_end(&mut bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes)
    }

    fn short(&self) -> Flaw {
        let at = self.at;
        Flaw::Broken(text!("the winmail.dat is damaged at byte {at}", "le winmail.dat est abîmé à l'octet {at}"))
    }
}

/// What was read until now.
#[derive(Default)]
struct Parse {
    tnef: Tnef,
    code_page: u32,
    current: Option<Draft>,
}

/// An attachment whose attributes are still coming.
#[derive(Default)]
struct Draft {
    long_name: Option<String>,
    title: Option<String>,
    short_name: Option<String>,
    display_name: Option<String>,
    media_type: Option<String>,
    content_id: Option<String>,
    flags: u32,
    method: Option<u32>,
    data: Option<Range<u64>>,
    /// `PR_ATTACH_DATA_OBJ`, behind its interface identifier; whether it is a message.
    object: Option<(Range<u64>, bool)>,
}

impl Parse {
    /// Reads one attribute; `false` at the end.
    fn attribute(&mut self, reader: &mut Reader<'_>) -> Result<bool, Flaw> {
        let at = reader.at;
        if reader.end - at < HEADER {
            // a few bytes behind the last attribute are nothing that is missing, unless they begin another one
            if reader.end > at && matches!(reader.bytes()?, [1 | 2]) {
                self.damaged(at);
            }
            return Ok(false);
        }
        let ([level], id, length) = (reader.bytes()?, reader.u32()?, reader.u32()?);
        let range = match reader.range(length) {
            Ok(range) if matches!(level, 1 | 2) => range,
            Err(Flaw::Read(error)) => return Err(Flaw::Read(error)),
            _ => {
                self.damaged(at);
                return Ok(false);
            }
        };
        match self.content(reader, id, range.clone()) {
            Err(Flaw::Broken(why)) => drop(self.tnef.damage.get_or_insert(why)),
            other => other?,
        }
        // the checksum may be missing at the very end
        reader.go(range.end.saturating_add(2).min(reader.end))?;
        Ok(true)
    }

    fn damaged(&mut self, at: u64) {
        let why = text!("the winmail.dat is damaged at byte {at}", "le winmail.dat est abîmé à l'octet {at}");
        self.tnef.damage.get_or_insert(why);
    }

    fn content(&mut self, reader: &mut Reader<'_>, id: u32, range: Range<u64>) -> Result<(), Flaw> {
        match id {
            ATTACH_REND_DATA => {
                self.end_attachment();
                self.current = Some(Draft::default());
            }
            OEM_CODE_PAGE => {
                let bytes = reader.peek(&range, 4)?;
                self.code_page = bytes.try_into().map_or(0, u32::from_le_bytes);
            }
            ATTACH_TITLE => {
                let title = self.string(reader, &range, false)?;
                self.draft().title = title;
            }
            ATTACH_DATA => self.draft().data = Some(range),
            BODY => self.body("text/plain"),
            MESSAGE_PROPERTIES | ATTACHMENT_PROPERTIES => {
                reader.go(range.start)?;
                let mut inside = Reader { source: &mut *reader.source, at: range.start, end: range.end };
                let read = self.properties(&mut inside, id == ATTACHMENT_PROPERTIES);
                reader.at = inside.at;
                read?;
            }
            _ => {}
        }
        Ok(())
    }

    fn draft(&mut self) -> &mut Draft {
        self.current.get_or_insert_default()
    }

    fn body(&mut self, media_type: &'static str) {
        if !self.tnef.bodies.contains(&media_type) {
            self.tnef.bodies.push(media_type);
        }
    }

    /// A list of MAPI properties (MS-OXTNEF, 2.1.3.4).
    fn properties(&mut self, reader: &mut Reader<'_>, of_attachment: bool) -> Result<(), Flaw> {
        for _ in 0..reader.u32()? {
            let (kind, id) = (reader.u16()?, reader.u16()?);
            if id >= NAMED {
                reader.range(GUID)?;
                if reader.u32()? == 0 {
                    reader.u32()?;
                } else {
                    let length = reader.u32()?;
                    padded(reader, length)?;
                }
            }
            let base = kind & !MULTIPLE;
            let is_long = matches!(base, OBJECT | STRING | WIDE_STRING | BINARY);
            let count = if is_long || kind != base { reader.u32()? } else { 1 };
            for _ in 0..count {
                // what takes no room could be there four thousand million times
                let fixed = || fixed_size(base).filter(|size| *size > 0 || kind == base);
                let length = if is_long { reader.u32()? } else { fixed().ok_or_else(|| reader.short())? };
                let value = padded(reader, length)?;
                let end = reader.at;
                if of_attachment {
                    self.attachment_property(reader, base, id, value)?;
                } else {
                    self.message_property(id, &value);
                }
                reader.go(end)?;
            }
        }
        Ok(())
    }

    fn message_property(&mut self, id: u16, value: &Range<u64>) {
        match id {
            _ if value.is_empty() => {}
            0x1000 => self.body("text/plain"),
            0x1009 => self.body("text/rtf"),
            0x1013 => self.body("text/html"),
            _ => {}
        }
    }

    fn attachment_property(
        &mut self,
        reader: &mut Reader<'_>,
        kind: u16,
        id: u16,
        value: Range<u64>,
    ) -> Result<(), Flaw> {
        let text = match kind {
            STRING | WIDE_STRING => self.string(reader, &value, kind == WIDE_STRING)?,
            _ => None,
        };
        let number =
            |reader: &mut Reader<'_>| Ok::<_, Flaw>(reader.peek(&value, 4)?.try_into().map_or(0, u32::from_le_bytes));
        let draft = self.draft();
        match (id, kind) {
            (0x3707, _) => draft.long_name = text,
            (0x3704, _) => draft.short_name = text,
            (0x3001, _) => draft.display_name = text,
            (0x370e, _) => draft.media_type = text,
            (0x3712, _) => draft.content_id = text,
            (0x3714, LONG) => draft.flags = number(reader)?,
            (0x3705, LONG) => draft.method = Some(number(reader)?),
            (ATTACH_DATA_PROPERTY, BINARY) => draft.data = Some(value),
            (ATTACH_DATA_PROPERTY, OBJECT) => {
                let start = reader.peek(&value, 20)?;
                // behind the identifier of the interface; a message is TNEF again
                let is_message = start.get(16..) == Some(SIGNATURE.to_le_bytes().as_slice());
                let known = is_message || start.len() >= 16 && start[4..16] == *INTERFACE;
                draft.object = Some((value.start + if known { 16 } else { 0 }..value.end, is_message));
            }
            _ => {}
        }
        Ok(())
    }

    fn string(&self, reader: &mut Reader<'_>, range: &Range<u64>, wide: bool) -> Result<Option<String>, Flaw> {
        let bytes = reader.peek(range, LONGEST_STRING)?;
        let text = if wide {
            let units = bytes.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
            char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect()
        } else {
            decode_bytes(bytes.split(|byte| *byte == 0).next().unwrap_or_default(), Some(&charset(self.code_page)))
        };
        let text = text.split('\0').next().unwrap_or_default();
        Ok(Some(text.to_owned()).filter(|text| !text.trim().is_empty()))
    }

    /// The attachment that was being read is over.
    fn end_attachment(&mut self) {
        let Some(draft) = self.current.take() else { return };
        let (data, is_message) = match (draft.object, draft.data) {
            (Some(object), _) => object,
            (None, Some(data)) => (data, false),
            // no attachment, or a reference to a file that was not sent along
            (None, None) if draft.method.is_some_and(|method| !SENT.contains(&method)) => return,
            (None, None) => {
                let why = text!("an attachment has no content", "une pièce jointe n'a pas de contenu");
                self.tnef.damage.get_or_insert(why);
                return;
            }
        };
        self.tnef.attachments.push(Attachment {
            name: draft.long_name.or(draft.title).or(draft.short_name).or(draft.display_name),
            media_type: draft.media_type,
            content_id: draft.content_id,
            is_shown: draft.flags & MHTML_REF != 0,
            data,
            is_message,
        });
    }
}

/// The next value, and the bytes that fill it up to a multiple of four.
fn padded(reader: &mut Reader<'_>, length: u32) -> Result<Range<u64>, Flaw> {
    let value = reader.range(length)?;
    let fill = u64::from(length.wrapping_neg() % 4).min(reader.end - reader.at);
    reader.go(reader.at + fill)?;
    Ok(value)
}

/// The bytes of a value whose type has one size (MS-OXCDATA, 2.11.1).
fn fixed_size(kind: u16) -> Option<u32> {
    match kind {
        0x02 | 0x0b => Some(2),
        LONG | 0x04 | 0x0a => Some(4),
        0x05..=0x07 | 0x14 | 0x40 => Some(8),
        0x48 => Some(GUID),
        0x00 | 0x01 => Some(0),
        _ => None,
    }
}

/// The name of a Windows code page as charset.
fn charset(code_page: u32) -> String {
    match code_page {
        874 | 1250..=1258 => format!("windows-{code_page}"),
        932 => "shift_jis".to_owned(),
        936 => "gbk".to_owned(),
        949 => "euc-kr".to_owned(),
        950 => "big5".to_owned(),
        20866 => "koi8-r".to_owned(),
        21866 => "koi8-u".to_owned(),
        28591..=28606 => format!("iso-8859-{}", code_page - 28590),
        65001 => "utf-8".to_owned(),
        other => format!("cp{other}"),
    }
}

const SIGNATURE: u32 = 0x223e_9f78;
/// Level, identifier and length of an attribute.
const HEADER: u64 = 9;

const ATTACH_TITLE: u32 = 0x0001_8010;
const BODY: u32 = 0x0002_800c;
const ATTACH_REND_DATA: u32 = 0x0006_9002;
const MESSAGE_PROPERTIES: u32 = 0x0006_9003;
const ATTACHMENT_PROPERTIES: u32 = 0x0006_9005;
const OEM_CODE_PAGE: u32 = 0x0006_9007;
const ATTACH_DATA: u32 = 0x0006_800f;

/// `PR_ATTACH_DATA_BIN` and `PR_ATTACH_DATA_OBJ`.
const ATTACH_DATA_PROPERTY: u16 = 0x3701;
/// Properties from here on carry their name.
const NAMED: u16 = 0x8000;
const MULTIPLE: u16 = 0x1000;
const LONG: u16 = 0x03;
const OBJECT: u16 = 0x0d;
const STRING: u16 = 0x1e;
const WIDE_STRING: u16 = 0x1f;
const BINARY: u16 = 0x102;
const GUID: u32 = 16;

/// The end of the identifiers of OLE's own interfaces (`IStorage`, `IStream`, MAPI's `IMessage`).
const INTERFACE: &[u8; 12] = b"\0\0\0\0\xc0\0\0\0\0\0\0\x46";

/// `PR_ATTACH_METHOD`: by value, an embedded message, an OLE object.
const SENT: [u32; 3] = [1, 5, 6];
/// `PR_ATTACH_FLAGS`: the text refers to it.
const MHTML_REF: u32 = 4;

/// So many bytes of a name are looked at.
const LONGEST_STRING: u64 = 2048;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn attribute(level: u8, id: u32, data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap();
        [[level].as_slice(), &id.to_le_bytes(), &length.to_le_bytes(), data, b"\0\0"].concat()
    }

    fn property(kind: u16, id: u16, value: &[u8]) -> Vec<u8> {
        let length = u32::try_from(value.len()).unwrap();
        let fill = vec![0; value.len().wrapping_neg() % 4];
        [&kind.to_le_bytes(), &id.to_le_bytes(), [1, 0, 0, 0].as_slice(), &length.to_le_bytes(), value, &fill].concat()
    }

    fn begin() -> Vec<u8> {
        let code_page = attribute(1, OEM_CODE_PAGE, &1252_u64.to_le_bytes());
        [SIGNATURE.to_le_bytes().as_slice(), &[0, 0], &code_page].concat()
    }

    fn file(name: &[u8], data: &[u8]) -> Vec<u8> {
        let title = attribute(2, ATTACH_TITLE, &[name, b"\0"].concat());
        [attribute(2, ATTACH_REND_DATA, &[0; 14]), attribute(2, ATTACH_DATA, data), title].concat()
    }

    fn parsed(bytes: &[u8]) -> Tnef {
        read(&mut Cursor::new(bytes), 100).unwrap_or_else(|flaw| panic!("{flaw:?}"))
    }

    #[test]
    fn the_first_of_several_values_of_a_long_property_is_not_taken_for_the_whole() {
        let two =
            [&[0x1e, 0x10], [0x07, 0x37, 2, 0, 0, 0].as_slice(), &[2, 0, 0, 0], b"a\0\0\0", &[2, 0, 0, 0], b"b\0\0\0"];
        let list = [[2, 0, 0, 0].as_slice(), &two.concat(), &property(BINARY, ATTACH_DATA_PROPERTY, b"data")].concat();
        let tnef = parsed(&[begin(), attribute(2, ATTACHMENT_PROPERTIES, &list)].concat());
        assert_eq!((tnef.attachments.len(), tnef.damage), (1, None));
        assert_eq!(tnef.attachments[0].name.as_deref(), Some("b"));
    }

    #[test]
    fn what_is_wrong_inside_one_attribute_costs_that_one_alone() {
        let broken = attribute(2, ATTACHMENT_PROPERTIES, &[9, 0, 0, 0, 0x1e]);
        let tnef = parsed(&[begin(), file(b"a", b"1"), broken, file(b"b", b"2")].concat());
        let names: Vec<_> = tnef.attachments.iter().filter_map(|one| one.name.as_deref()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(tnef.damage.is_some());
    }

    #[test]
    fn references_to_files_that_were_not_sent_are_none_that_are_missing() {
        let by_method = |method: u8| {
            let list = [1, 0, 0, 0, 0x03, 0, 0x05, 0x37, method, 0, 0, 0];
            parsed(&[begin(), attribute(2, ATTACHMENT_PROPERTIES, &list)].concat())
        };
        assert_eq!((by_method(2).damage, by_method(7).damage), (None, None));
        assert!(by_method(1).damage.is_some());
    }

    #[test]
    fn a_cut_is_noticed_unless_it_falls_between_two_attributes() {
        let title = attribute(2, ATTACH_TITLE, b"a\0");
        let pieces = [attribute(2, ATTACH_REND_DATA, &[0; 14]), attribute(2, ATTACH_DATA, b"1234567"), title];
        let whole = [begin(), pieces.concat()].concat();
        let mut end = begin().len();
        for piece in &pieces {
            // the checksum is not missed
            for cut in end + 1..end + piece.len() - 2 {
                assert!(parsed(&whole[..cut]).damage.is_some(), "cut at {cut}");
            }
            end += piece.len();
        }
        assert_eq!(parsed(&whole).damage, None);
    }

    #[test]
    fn a_great_many_values_of_no_size_take_no_time() {
        let list = [1, 0, 0, 0, 0x01, 0x10, 0x05, 0x37, 0xff, 0xff, 0xff, 0xff];
        let tnef = parsed(&[begin(), attribute(2, ATTACHMENT_PROPERTIES, &list)].concat());
        assert!(tnef.damage.is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, place: usize, value: u8) {
            parsed(&[begin(), bytes.clone()].concat());
            parsed(&[begin(), attribute(2, ATTACHMENT_PROPERTIES, &bytes)].concat());
            let mut near = [begin(), file(b"a", b"1")].concat();
            let place = place % near.len();
            near[place] = value;
            parsed(&near);
        }
    }
}
