//! Parts that hold documents of their own: attached messages, winmail.dat, signed S/MIME, uuencoded text.
//!
//! A container has to be seen whole before anything is told of it, or is read after it was told; so its decoded bytes
//! wait in memory while they are few, and in a file of the visitor when they are not. What is found goes to the same
//! visitor, as leaves one level further inside.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::{ControlFlow, Range};

use super::header::{Head, Parameters};
use super::mime::{Damage, Limits, PartHead, Visitor, WalkError, Walked};
use super::names::sniffed;
use super::smime::{self, Octets};
use super::tnef::{self, Attachment, Tnef};
use super::uuencode::{self, Span};
use super::walker::{PASS_ON, Start, Walker, is_picture};
use crate::model::Role;
use crate::text;
use crate::text::Text;

/// What all walks of one message share: the visitor, and what is counted.
pub(super) struct Tree<'a> {
    pub(super) limits: &'a Limits,
    pub(super) walked: Walked,
    visitor: &'a mut dyn Visitor,
    /// Leaves and containers.
    seen: usize,
    /// Bytes of containers.
    unpacked: u64,
}

impl<'a> Tree<'a> {
    pub(super) fn new(limits: &'a Limits, visitor: &'a mut dyn Visitor) -> Self {
        Self { limits, walked: Walked::default(), visitor, seen: 0, unpacked: 0 }
    }

    pub(super) fn message(&mut self, head: &Head) -> Result<ControlFlow<()>, WalkError> {
        self.visitor.message(head).map_err(WalkError::Visit)
    }

    /// One more leaf or container.
    pub(super) fn count(&mut self) -> Result<(), WalkError> {
        let limit = self.limits.parts;
        self.seen += 1;
        if self.seen <= limit {
            return Ok(());
        }
        Err(WalkError::Limit(text!("more than {limit} parts", "plus de {limit} parties")))
    }

    /// Tells a leaf, numbered in the order of telling.
    pub(super) fn ask(&mut self, head: &mut PartHead) -> Result<bool, WalkError> {
        self.walked.parts += 1;
        head.n = self.walked.parts;
        self.visitor.part(head).map_err(WalkError::Visit)
    }

    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<(), WalkError> {
        self.visitor.data(bytes).map_err(WalkError::Visit)
    }

    pub(super) fn end(&mut self, damage: Option<Damage>) -> Result<(), WalkError> {
        self.visitor.end(damage).map_err(WalkError::Visit)
    }

    /// Tells a leaf whose content is already decoded.
    fn leaf(&mut self, mut head: PartHead, content: &mut dyn Read, damage: Option<Damage>) -> Result<(), WalkError> {
        if !self.ask(&mut head)? {
            return Ok(());
        }
        let mut buffer = vec![0; PASS_ON];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return self.end(damage),
                Ok(count) => self.data(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(WalkError::Visit(error)),
            }
        }
    }

    /// Why a container at the innermost level stays closed.
    pub(super) fn too_deep(&self) -> Text {
        let limit = self.limits.levels;
        text!("more than {limit} containers inside each other", "plus de {limit} conteneurs imbriqués")
    }
}

/// What kind of container a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An attached message; told as a leaf and read again for its parts.
    Message,
    /// winmail.dat.
    Tnef,
    /// CMS, perhaps signed data.
    Cms,
    /// Text of the message that may hold uuencoded files.
    Text,
    /// One uuencoded file (`Content-Transfer-Encoding: x-uuencode`, an old liberty).
    Uuencoded,
}

impl Kind {
    pub(super) fn of(head: &PartHead, content_type: &Parameters, limits: &Limits) -> Option<Self> {
        let name = head.name.as_deref().map(str::to_ascii_lowercase);
        let is_unknown = head.media_type == "application/octet-stream";
        match (head.media_type.as_str(), name.as_deref()) {
            ("message/rfc822" | "message/global", _) => limits.nested.then_some(Self::Message),
            ("application/ms-tnef" | "application/vnd.ms-tnef", _) => Some(Self::Tnef),
            (_, Some("winmail.dat")) if is_unknown => Some(Self::Tnef),
            // under a name of its own it is a signed document (`facture.xml.p7m`), no wrapped message
            ("application/pkcs7-mime" | "application/x-pkcs7-mime", None | Some("smime.p7m")) => {
                let kind = content_type.plain("smime-type").unwrap_or(SIGNED);
                kind.eq_ignore_ascii_case(SIGNED).then_some(Self::Cms)
            }
            (_, Some("smime.p7m")) if is_unknown => Some(Self::Cms),
            _ => None,
        }
    }

    /// Whether what it holds may be a container again.
    pub(super) fn is_level(self) -> bool {
        !matches!(self, Self::Text | Self::Uuencoded)
    }
}

/// The decoded bytes of a container on their way in.
pub(super) struct Container {
    kind: Kind,
    memory: Vec<u8>,
    file: Option<File>,
}

/// Why a container cannot be opened.
#[derive(Debug)]
pub(super) enum Flaw {
    /// It could not be read.
    Read(io::Error),
    /// It is damaged.
    Broken(Text),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        let carried = error.get_ref().and_then(|inner| inner.downcast_ref::<Carried>());
        match carried {
            Some(Carried(why)) => Self::Broken(why.clone()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Broken(text!("its end is missing", "la fin manque"))
            }
            None => Self::Read(error),
        }
    }
}

impl Flaw {
    /// A damage on its way through a reader.
    pub(super) fn error(why: Text) -> io::Error {
        io::Error::other(Carried(why))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Carried(Text);

/// What can be read again.
pub(super) trait Source: BufRead + Seek {}

impl<T: BufRead + Seek> Source for T {}

impl Container {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, memory: Vec::new(), file: None }
    }

    pub(super) fn write(&mut self, bytes: &[u8], tree: &mut Tree<'_>) -> Result<(), WalkError> {
        let limit = tree.limits.unpacked;
        tree.unpacked += bytes.len() as u64;
        if tree.unpacked > limit {
            return Err(WalkError::Limit(text!(
                "the containers inside the message have more than {limit} bytes",
                "les conteneurs du message dépassent {limit} octets"
            )));
        }
        self.keep(bytes, tree.visitor).map_err(WalkError::Visit)
    }

    fn keep(&mut self, bytes: &[u8], visitor: &mut dyn Visitor) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + bytes.len() > MEMORY {
            self.file.insert(visitor.scratch()?).write_all(&std::mem::take(&mut self.memory))?;
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => self.memory.write_all(bytes),
        }
    }

    /// All bytes are in: tells what they hold. `head` and `damage` are those of the part.
    pub(super) fn open(self, head: PartHead, damage: Option<Damage>, tree: &mut Tree<'_>) -> Result<(), WalkError> {
        let mut memory = Cursor::new(self.memory);
        let mut file = self.file.map(|file| BufReader::with_capacity(BUFFER, file));
        let source: &mut dyn Source = match &mut file {
            Some(file) => file,
            None => &mut memory,
        };
        rewind(source)?;
        match self.kind {
            Kind::Message => Walker::new(tree, Start::Attached, head.level + 1, inside(&head)).run(source),
            Kind::Tnef => winmail(tree, &head, source, damage, false),
            Kind::Cms => cms(tree, &head, source, damage),
            Kind::Text => text(tree, &head, source),
            Kind::Uuencoded => uuencoded(tree, head, source, damage),
        }
    }
}

/// The path of what lies inside a container.
fn inside(head: &PartHead) -> Vec<String> {
    head.path.iter().chain([&head.media_type]).cloned().collect()
}

fn rewind(source: &mut dyn Source) -> Result<(), WalkError> {
    source.seek(SeekFrom::Start(0)).map(drop).map_err(WalkError::Visit)
}

/// Tells a container as the leaf that it is, closed for a reason or because there is nothing to open.
fn as_it_came(
    tree: &mut Tree<'_>,
    head: &PartHead,
    source: &mut dyn Source,
    damage: Option<Damage>,
    why: Option<Text>,
) -> Result<(), WalkError> {
    rewind(source)?;
    tree.leaf(PartHead { unopened: why.map(Damage::Unopened), ..head.clone() }, source, damage)
}

/// The entity inside signed data; other CMS as it came.
fn cms(tree: &mut Tree<'_>, head: &PartHead, source: &mut dyn Source, damage: Option<Damage>) -> Result<(), WalkError> {
    match smime::is_signed(source) {
        Ok(true) if !damage.as_ref().is_some_and(Damage::is_loss) => {
            let content = BufReader::with_capacity(BUFFER, Octets::new(source));
            Walker::new(tree, Start::Entity, head.level + 1, inside(head)).run(content)
        }
        Ok(_) => as_it_came(tree, head, source, damage, None),
        Err(Flaw::Broken(why)) => as_it_came(tree, head, source, damage, Some(why)),
        Err(Flaw::Read(error)) => Err(WalkError::Visit(error)),
    }
}

/// The attachments of a winmail.dat. Itself only where some of them may be missing, or where it is `embedded` in
/// another: then it is a message of its own, and no .eml can be made of it.
fn winmail(
    tree: &mut Tree<'_>,
    head: &PartHead,
    source: &mut dyn Source,
    damage: Option<Damage>,
    embedded: bool,
) -> Result<(), WalkError> {
    let Tnef { attachments, bodies, damage: why } = match tnef::read(source, tree.limits.parts) {
        Ok(tnef) => tnef,
        Err(Flaw::Broken(why)) => Tnef { damage: Some(why), ..Tnef::default() },
        Err(Flaw::Read(error)) => return Err(WalkError::Visit(error)),
    };
    let why = damage.as_ref().filter(|damage| damage.is_loss()).map(Damage::text).or(why);
    if embedded || why.is_some() {
        as_it_came(tree, head, source, damage, why)?;
    }
    let (level, path) = (head.level + 1, inside(head));
    let of = |media_type: &str, role| PartHead {
        n: 0, // until it is told
        media_type: media_type.to_owned(),
        name: None,
        disposition: None,
        content_id: None,
        role,
        path: path.clone(),
        level,
        unopened: None,
    };
    for body in bodies {
        tree.count()?;
        // only that it is there: what the text says is no document
        tree.leaf(of(body, None), &mut io::empty(), None)?;
    }
    for attachment in attachments {
        attached(tree, of("application/octet-stream", Some(Role::Attachment)), attachment, source)?;
    }
    Ok(())
}

/// An attachment of a winmail.dat, and what is inside it.
fn attached(
    tree: &mut Tree<'_>,
    mut head: PartHead,
    attachment: Attachment,
    source: &mut dyn Source,
) -> Result<(), WalkError> {
    tree.count()?;
    head.name = attachment.name;
    head.content_id = attachment.content_id;
    let declared = attachment.media_type.filter(|media_type| media_type.contains('/'));
    head.media_type = declared.map_or(head.media_type, |declared| declared.to_ascii_lowercase());
    if attachment.is_shown && head.content_id.is_some() && is_picture(&head) {
        head.role = Some(Role::Inline);
    }
    let mut content = Window::new(source, attachment.data)?;
    if head.name.is_none() && head.media_type == "application/octet-stream" {
        let first = content.fill_buf().map_err(WalkError::Visit)?;
        if let Some(known) = sniffed(first) {
            known.clone_into(&mut head.media_type);
        }
    }
    let is_deep = head.level >= tree.limits.levels;
    if attachment.is_message {
        "application/ms-tnef".clone_into(&mut head.media_type);
    } else if !(tree.limits.nested && head.media_type == "message/rfc822") {
        return tree.leaf(head, &mut content, None);
    }
    if is_deep {
        let why = tree.too_deep();
        return as_it_came(tree, &head, &mut content, None, Some(why));
    }
    if attachment.is_message {
        return winmail(tree, &head, &mut content, None, true);
    }
    as_it_came(tree, &head, &mut content, None, None)?;
    rewind(&mut content)?;
    Walker::new(tree, Start::Attached, head.level + 1, inside(&head)).run(content)
}

/// The text of a message: its uuencoded files, and what stands around them as text again.
fn text(tree: &mut Tree<'_>, head: &PartHead, source: &mut dyn Source) -> Result<(), WalkError> {
    let spans = uuencode::spans(&mut *source, tree.limits.parts).map_err(WalkError::Visit)?;
    for span in spans {
        tree.count()?;
        match span {
            Span::Text(range) => tree.leaf(head.clone(), &mut Window::new(source, range)?, None)?,
            Span::File { name, lines, is_cut } => {
                let head = PartHead {
                    media_type: "application/octet-stream".to_owned(),
                    name: Some(name).filter(|name| !name.is_empty()),
                    disposition: None,
                    content_id: None,
                    role: Some(Role::Attachment),
                    ..head.clone()
                };
                let mut content = uuencode::Decoded::new(Window::new(source, lines)?);
                tree.leaf(head, &mut content, is_cut.then_some(Damage::CutShort))?;
            }
        }
    }
    Ok(())
}

/// A part that is one uuencoded file: under its own name, else under that of the `begin` line.
fn uuencoded(
    tree: &mut Tree<'_>,
    mut head: PartHead,
    source: &mut dyn Source,
    damage: Option<Damage>,
) -> Result<(), WalkError> {
    let spans = uuencode::spans(&mut *source, tree.limits.parts).map_err(WalkError::Visit)?;
    let file = spans.into_iter().find_map(|span| match span {
        Span::File { name, lines, is_cut } => Some((name, lines, is_cut)),
        Span::Text(_) => None,
    });
    let Some((name, lines, is_cut)) = file else {
        rewind(source)?;
        return tree.leaf(head, source, damage.or(Some(Damage::UnknownEncoding("uuencode".to_owned()))));
    };
    head.name = head.name.or(Some(name)).filter(|name| !name.is_empty());
    let mut content = uuencode::Decoded::new(Window::new(source, lines)?);
    tree.leaf(head, &mut content, damage.or(is_cut.then_some(Damage::CutShort)))
}

/// A range of a source.
pub(super) struct Window<'a> {
    source: &'a mut dyn Source,
    range: Range<u64>,
    /// Where the source stands.
    at: u64,
}

impl<'a> Window<'a> {
    pub(super) fn new(source: &'a mut dyn Source, range: Range<u64>) -> Result<Self, WalkError> {
        source.seek(SeekFrom::Start(range.start)).map_err(WalkError::Visit)?;
        Ok(Self { source, at: range.start, range })
    }
}

impl BufRead for Window<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let left = usize::try_from(self.range.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let available = if left == 0 { &[] } else { self.source.fill_buf()? };
        Ok(&available[..available.len().min(left)])
    }

    fn consume(&mut self, amount: usize) {
        self.source.consume(amount);
        self.at += amount as u64;
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, offset) = match to {
            SeekFrom::Start(offset) => (self.range.start, i64::try_from(offset).unwrap_or(i64::MAX)),
            SeekFrom::Current(offset) => (self.at, offset),
            SeekFrom::End(offset) => (self.range.end, offset),
        };
        let to = base.saturating_add_signed(offset).max(self.range.start);
        self.at = self.source.seek(SeekFrom::Start(to))?;
        Ok(self.at - self.range.start)
    }

    fn seek_relative(&mut self, offset: i64) -> io::Result<()> {
        self.source.seek_relative(offset)?;
        self.at = self.at.saturating_add_signed(offset);
        Ok(())
    }
}

/// The `smime-type` of signed data (RFC 8551, 3.2.2).
const SIGNED: &[u8] = b"signed-data";

/// A container of at most so many bytes stays in memory.
const MEMORY: usize = 256 * 1024;

const BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_where_it_is_told_to_and_begins_at_its_own_start() {
        let mut source = Cursor::new(b"0123456789".to_vec());
        let mut window = Window::new(&mut source, 2..6).unwrap();
        let mut read = String::new();
        window.read_to_string(&mut read).unwrap();
        assert_eq!(read, "2345");
        assert_eq!(window.seek(SeekFrom::Start(1)).unwrap(), 1);
        let mut inner = Window::new(&mut window, 1..9).unwrap();
        read.clear();
        inner.read_to_string(&mut read).unwrap();
        assert_eq!(read, "345");
    }
}
