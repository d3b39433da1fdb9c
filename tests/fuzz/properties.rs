//! What must hold for any input of each parser; a function fails by a panic.
//!
//! Shared by the fuzz targets and by `tests/fuzz_seeds.rs`. Not a second implementation of the parsers: only what can
//! be said of every input stands here, expected values stand in the tests beside the code.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use pertuis::config::ini::{Ini, fold};
use pertuis::config::pattern::Pattern;
use pertuis::config::{Config, Overrides, Remark, load_bytes};
use pertuis::document::envelope::limits::{Budget, Limits as Unpacking};
use pertuis::document::envelope::values::MOST;
use pertuis::document::envelope::xml::{self, Completeness, Xml, sniff};
use pertuis::document::envelope::{Error as Undecoded, Reading, actes, helios as pes, pastell, webdelib};
use pertuis::document::header::{Fields, Head};
use pertuis::document::mime::{Damage, Limits, PartHead, Visitor, WalkError, Walked, walk};
use pertuis::document::names::{LONGEST, message_name, numbered, safe_name};
use pertuis::model::EnvelopeKind;
use pertuis::proto::imap::divert::{Divert, LINE_LIMIT, LITERAL_LIMIT, Overlong, Step};
use pertuis::proto::imap::names::{decode, encode, find, quote, server_name, show};
use pertuis::proto::imap::response::{Response, Status, Value, values};
use pertuis::proto::imap::sets::{SET_LIMIT, sets};
use pertuis::proto::pop3::listing::{Capabilities, UIDL_LIMIT, size, unique_id};
use pertuis::proto::pop3::replies::{Expect, Overlong as LongStatus, Replies, Step as Reply};
use pertuis::proto::pop3::status::{Status as PopStatus, timestamp};
use pertuis::text::{Lang, Text};

use self::bodies::Bodies;
pub(crate) use self::deposits::{archive, envelope};
pub(crate) use self::invoices::{chorus, facturx};
pub(crate) use self::tunnels::tunnel_protocol;

#[path = "bodies.rs"]
mod bodies;
#[path = "deposits.rs"]
mod deposits;
#[path = "invoices.rs"]
mod invoices;
#[path = "tunnels.rs"]
mod tunnels;

/// The configuration: mistakes stand inside the file, no section is lost, no secret is shown, and neither line ends
/// nor the encoding of the file change what it says.
pub(crate) fn ini(bytes: &[u8]) {
    if looks_at_the_disk(bytes) {
        return;
    }
    let loaded = load(bytes);
    let last_line = bytes.split(|byte| *byte == b'\n').count();
    let remarks = match &loaded {
        Ok(config) => &config.warnings,
        Err(mistakes) => mistakes,
    };
    assert!(loaded.is_ok() || !remarks.is_empty(), "refused without a mistake");
    for remark in remarks {
        assert_eq!(&*remark.place.file, Path::new(FILE));
        assert!(remark.place.line <= last_line, "{remark:?} in a file of {last_line} lines");
        one_line(&remark.text);
    }
    if let Ok(config) = &loaded {
        let sections = Ini::parse(Path::new(FILE), bytes).layer().sections.len() - 1;
        assert_eq!(config.tunnels.len() + config.launchers.len(), sections, "a section was lost");
        for place in config.explained.iter().filter_map(|value| value.place.as_ref()) {
            assert!((1..=last_line).contains(&place.line), "{place} in a file of {last_line} lines");
        }
    }
    keeps_the_secret(bytes, &loaded);
    written_otherwise(bytes, &loaded);
}

/// A pattern (first line) on names (the other lines): a mistake is one line and inside the pattern, and what is taken
/// from the first character on is also found anywhere.
pub(crate) fn pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (written, names) = text.split_once('\n').unwrap_or((text, "facture.pdf"));
    // the ini has none inside a line
    let written = &written.replace('\r', "");
    let pattern = match Pattern::parse(written) {
        Ok(pattern) => pattern,
        Err(why) => {
            one_line(&why);
            let place = why.en.split_once(" is wrong, character ").and_then(|(_, rest)| rest.split(':').next());
            if let Some(place) = place.and_then(|place| place.parse::<usize>().ok()) {
                assert!((1..=written.chars().count() + 1).contains(&place), "{why:?}");
            }
            return;
        }
    };
    assert_eq!(&pattern.text, written);
    pattern.remarks().iter().for_each(one_line);
    for name in names.lines() {
        match (pattern.takes(name), pattern.finds(name)) {
            (Ok(taken), Ok(found)) => assert!(found || !taken, "{written} takes {name:?} and does not find it"),
            (taken, found) => [taken, found].into_iter().filter_map(Result::err).for_each(|why| one_line(&why)),
        }
    }
}

/// Names of files and of folders, and sets of UIDs: what leaves is safe where it goes to.
pub(crate) fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let safe = is_safe(&safe_name(&text));
    is_safe(&safe_name(&message_name(&text)));
    let marked = [2, 3, 19, u64::MAX].map(|n| is_safe(&numbered(&safe, n)));
    assert_eq!(BTreeSet::from(marked).len(), 4, "{safe:?} has one name twice");
    folder_names(&text);
    uid_sets(bytes);
}

fn folder_names(text: &str) {
    let encoded = encode(text);
    assert!(encoded.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{encoded:?}");
    assert_eq!(decode(&encoded).as_deref(), Some(text).filter(|text| !text.contains('\0')));
    for separator in [None, Some('/'), Some('.'), Some('\\')] {
        let name = server_name(text, separator);
        assert!(!name.contains(char::is_control), "{name:?} cannot stand in a command");
        if !text.contains('\0') {
            assert_eq!(server_name(&name, separator), name, "{text:?} is encoded twice");
        }
        let read = values(quote(&name).as_bytes()).expect("a quoted name is one value");
        assert_eq!(read.iter().map(Value::text).collect::<Vec<_>>(), [Some(name)]);
    }
    let list: Vec<String> = text.lines().map(str::to_owned).collect();
    for folder in &list {
        show(folder);
        if let Some(at) = find(folder, &list, "INBOX.") {
            assert!(at < list.len());
        }
    }
}

fn uid_sets(bytes: &[u8]) {
    let number = |four: &[u8]| u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    let uids: BTreeSet<u32> = bytes.chunks_exact(4).map(number).collect();
    let most = usize::from(bytes.first().copied().unwrap_or(1)).max(1);
    let sets = sets(&uids.iter().copied().collect::<Vec<_>>(), most);
    assert!(sets.iter().all(|set| set.uids.len() <= most && set.text.len() <= SET_LIMIT));
    assert!(sets.iter().flat_map(|set| &set.uids).eq(&uids));
}

/// What an IMAP server sends, in pieces after the first byte: the cuts change nothing, no byte of a body is lost or
/// made up, and whatever is framed can be read.
pub(crate) fn imap(bytes: &[u8]) {
    let Some((&seed, talk)) = bytes.split_first() else { return };
    let whole = divert([talk]);
    assert_eq!(divert(talk.chunks(1)), whole, "one byte at a time");
    assert_eq!(divert(pieces(talk, seed)), whole, "cut by {seed}");
    for response in &whole.responses {
        assert!(response.ends_with(b"\n") && response.len() as u64 <= LITERAL_LIMIT + LINE_LIMIT as u64);
        readable(response);
    }
    readable(talk);
    values(talk);
}

fn readable(response: &[u8]) {
    let read = Response::parse(response);
    match &read {
        Some(Response::Status(Status { text, code, .. })) => {
            assert!(!text.contains(char::is_control), "{text:?}");
            assert!(
                code.iter().all(|(word, rest)| !word.contains(' ') && !rest.contains(char::is_control)),
                "{code:?}"
            );
        }
        Some(Response::Search(uids)) => assert!(!uids.contains(&0)),
        _ => {}
    }
    let Some(fetch) = read.as_ref().and_then(Response::fetch) else { return };
    assert_ne!(fetch.uid(), Some(0));
    for item in ["BODY[]", "FLAGS", "RFC822.SIZE"] {
        fetch.get(item);
        fetch.number(item);
    }
}

/// POP3: the first byte says which commands are answered with a body and where the talk is cut, the rest is what the
/// server sends. However it is cut, the same comes out; no status line grows beyond its limit, and no list breaks its
/// reader.
pub(crate) fn pop3(bytes: &[u8]) {
    let Some((&seed, talk)) = bytes.split_first() else { return };
    let whole = replies(seed, [talk]);
    assert_eq!(replies(seed, talk.chunks(1)), whole, "one byte at a time");
    assert_eq!(replies(seed, pieces(talk, seed)), whole, "cut by {seed}");
    let bodies: usize = whole.bodies.iter().map(Vec::len).sum();
    assert!(bodies + whole.lines.iter().map(Vec::len).sum::<usize>() <= talk.len(), "more came out than went in");
    let mut capabilities = Capabilities::default();
    for line in whole.lines.iter().map(Vec::as_slice).chain(talk.split(|&byte| byte == b'\n')) {
        if let Some(status) = PopStatus::parse(line) {
            assert!(!status.text.contains(char::is_control), "{status:?}");
            assert!(timestamp(&status.text).is_none_or(|stamp| stamp.bytes().all(|byte| byte.is_ascii_graphic())));
        }
        capabilities.learn(line);
        assert!(size(line).is_none_or(|(number, _)| number > 0));
        if let Some((number, id)) = unique_id(line) {
            assert!(number > 0 && id.is_none_or(|id| !id.is_empty() && id.len() <= UIDL_LIMIT));
        }
    }
}

/// A message: how it is read changes nothing, the visitor is called in order, a message without parts keeps its
/// content, and any bytes come out of an attachment as they went in.
pub(crate) fn mime(bytes: &[u8]) {
    let whole = leaves(bytes, 64 * 1024, true, true);
    assert_eq!(leaves(bytes, 1, true, true), whole, "read byte by byte");
    let skipped = leaves(bytes, 64, false, true);
    if let (Ok((wanted, _)), Ok((skipped, _))) = (&whole, &skipped) {
        let heads = |leaves: &Leaves| leaves.0.iter().map(|leaf| leaf.head.clone()).collect::<Vec<_>>();
        assert_eq!(heads(wanted), heads(skipped), "the parts depend on which are asked for");
    }
    if let Ok((leaves, walked)) = &whole {
        told(leaves, walked);
        if let [only] = leaves.0.as_slice()
            && only.head.path.is_empty()
            && only.damage.is_none()
            && !["transfer-encoding", "begin "].iter().any(|word| holds(&bytes.to_ascii_lowercase(), word.as_bytes()))
        {
            assert!(bytes.ends_with(&only.data), "the content is not what was sent");
        }
    }
    attached(bytes);
    encoded(bytes);
}

/// A winmail.dat: see [`container`].
pub(crate) fn tnef(bytes: &[u8]) {
    container("application/ms-tnef; name=winmail.dat", bytes);
}

/// Signed or other CMS data: see [`container`].
pub(crate) fn smime(bytes: &[u8]) {
    container("application/pkcs7-mime; name=smime.p7m", bytes);
}

/// `bytes` as a container: how it is read changes nothing, nothing is larger than what it was taken out of, and what
/// is told of the container itself is what was sent.
fn container(media_type: &str, bytes: &[u8]) {
    let head = format!("Content-Type: {media_type}\r\nContent-Transfer-Encoding: binary\r\n\r\n");
    let message = [head.as_bytes(), bytes].concat();
    let whole = leaves(&message, 64 * 1024, true, true);
    assert_eq!(leaves(&message, 1, true, true), whole, "read byte by byte");
    let Ok((leaves, walked)) = &whole else { return };
    told(leaves, walked);
    for leaf in &leaves.0 {
        assert!(leaf.data.len() <= bytes.len(), "part {} is larger than all there is", leaf.head.n);
        assert!(leaf.head.level > 0 || leaf.data == bytes, "the container is not what was sent");
    }
}

/// An XML document: how it is read changes nothing, what is held of it is bounded, what its beginning and its end say of
/// it is what its events say, and a body is the text of its element.
pub(crate) fn xml(bytes: &[u8]) {
    let whole = xml_events(&mut &*bytes);
    for step in [1, 7, 1000] {
        assert_eq!(xml_events(&mut Steps(bytes, step)), whole, "{step} bytes at a time");
    }
    let sniffed = xml::sniff(&mut &*bytes);
    if let Ok(events) = &whole {
        // with text in front of its root it is read, but not taken for an XML
        if let Some(root) = sniffed.expect("it has no DOCTYPE") {
            assert_eq!(
                events.first().map(String::as_str),
                Some(format!("<{} {}", root.namespace, root.local).as_str())
            );
        }
    }
    match xml::complete(&mut &*bytes) {
        Ok(Completeness::Closed(_)) => assert!(whole.is_ok(), "{whole:?}"),
        Ok(Completeness::Open(why)) => assert_eq!(whole, Err(why.en.into_owned())),
        Err(error) => assert_eq!(whole, Err(error.to_string())),
    }
}

/// One word for each event; of an error its sentence.
fn xml_events(input: &mut dyn Read) -> Result<Vec<String>, String> {
    let said = |error: Undecoded| {
        if let Undecoded::Refused(text) = &error {
            one_line(text);
        }
        error.to_string()
    };
    let (mut xml, mut seen) = (Xml::new(input).map_err(said)?, Vec::new());
    loop {
        let word = match xml.next().map_err(said)? {
            xml::Event::Start => {
                assert!(xml.path().len() <= xml::DEEPEST);
                let word = format!("<{} {}", xml.namespace(), xml.local());
                if seen.len() % 3 == 2 {
                    let mut body = Vec::new();
                    xml.body().read_to_end(&mut body).map_err(|error| said(xml::read_error(error)))?;
                    seen.push(String::from_utf8(body).expect("text is UTF-8"));
                }
                word
            }
            xml::Event::Text(text) => {
                assert!(text.len() <= xml::LONGEST_TEXT && !text.trim().is_empty());
                text
            }
            xml::Event::End => format!(">{}", xml.local()),
            xml::Event::Eof => return Ok(seen),
        };
        seen.push(word);
    }
}

/// A PES: how it is read changes nothing, what is refused leaves nothing, and the store holds the pieces alone.
pub(crate) fn helios(bytes: &[u8]) {
    let whole = pes_pieces(bytes, &mut &*bytes);
    assert_eq!(pes_pieces(bytes, &mut Steps(bytes, 1)), whole, "one byte at a time");
    assert_eq!(pes_pieces(bytes, &mut Steps(bytes, 100)), whole, "100 bytes at a time");
}

/// The index, and name and digest of each piece; of an error its sentence.
fn pes_pieces(bytes: &[u8], input: &mut dyn Read) -> Result<Vec<String>, String> {
    let Ok(Some(root)) = xml::sniff(&mut &*bytes) else { return Err(String::new()) };
    let limits = Unpacking { max_unpacked: 1 << 20, max_entries: 20, max_ratio: 100, max_depth: 8 };
    let mut store = Bodies::new();
    match pes::decode(input, &root, &mut store, &mut Budget::new(limits)) {
        Ok(reading) => {
            assert_eq!(store.len(), reading.attachments.len(), "something else is left in the store");
            reading.warnings.iter().for_each(one_line);
            let pieces = reading.attachments.iter().map(|piece| format!("{} {}", piece.name, piece.body.sha256));
            let index = format!("{:?}", reading.values.into_json());
            Ok(pieces.chain(reading.missing).chain([index]).collect())
        }
        Err(error) => {
            assert_eq!(store.len(), 0, "what is refused leaves something in the store");
            if let Undecoded::Refused(text) = &error {
                one_line(text);
            }
            Err(error.to_string())
        }
    }
}

/// Gives so many bytes at a time.
struct Steps<'a>(&'a [u8], usize);

impl Read for Steps<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(buf.len());
        self.0.read(&mut buf[..count])
    }
}

fn told(leaves: &Leaves, walked: &Walked) {
    assert_eq!(walked.parts, leaves.0.len());
    for (place, leaf) in leaves.0.iter().enumerate() {
        assert_eq!(leaf.head.n, place + 1);
        assert!(leaf.ended, "part {} has no end", leaf.head.n);
        is_safe(&safe_name(&leaf.head.file_name()));
        leaf.damage.iter().chain(&leaf.head.unopened).for_each(|damage| one_line(&damage.text()));
    }
    walked.damage.iter().for_each(|damage| one_line(&damage.text()));
}

fn holds(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// `bytes` as an attachment among others.
fn attached(bytes: &[u8]) {
    if holds(bytes, BOUNDARY) {
        return;
    }
    for media_type in ["message/rfc822", "application/pdf", "multipart-like/mixed"] {
        let boundary = String::from_utf8_lossy(BOUNDARY);
        let head = format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n");
        let part = format!("Content-Type: {media_type}\r\nContent-Disposition: attachment; filename=a\r\n\r\n");
        let next = format!("\r\n--{boundary}\r\n\r\nend\r\n--{boundary}--\r\n");
        let message = [head.as_bytes(), part.as_bytes(), bytes, next.as_bytes()].concat();
        let (leaves, walked) = leaves(&message, 4096, true, false).expect("a message of two parts");
        assert_eq!((leaves.0.len(), walked.damage), (2, Vec::new()));
        assert!(leaves.0[0].data == bytes, "an attachment is not what was sent");
        assert_eq!(leaves.0[1].data, b"end");
    }
}

/// `bytes` as the content of each encoding.
fn encoded(bytes: &[u8]) {
    for encoding in ["base64", "quoted-printable"] {
        let head = format!("Content-Type: image/png\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
        let message = [head.as_bytes(), bytes].concat();
        let whole = leaves(&message, 64 * 1024, true, false);
        assert_eq!(leaves(&message, 1, true, false), whole, "{encoding} read byte by byte");
        let (leaves, _) = whole.expect("a message of one part");
        assert!(leaves.0.iter().map(|leaf| leaf.data.len()).sum::<usize>() <= bytes.len(), "{encoding} adds content");
    }
}

/// A header block: line ends change nothing of what it says, and a field is one line.
pub(crate) fn header(bytes: &[u8]) {
    let head = Head::parse(bytes);
    let fields = Fields::parse(bytes);
    for name in ["subject", "from", "content-type", "content-disposition"] {
        assert!(fields.first(name).is_none_or(|value| !value.contains(&b'\n')), "{name} is unfolded");
    }
    if !bytes.contains(&b'\r') {
        let crlf = Head::parse(&with_crlf(bytes));
        assert_eq!(Head { digest: head.digest, ..crlf }, head);
    }
    is_safe(&safe_name(&message_name(head.subject.as_deref().unwrap_or_default())));
    mime(&[b"Content-Disposition: attachment; filename=".as_slice(), bytes, b"\r\n\r\n%PDF"].concat());
}

fn load(bytes: &[u8]) -> Result<Config, Vec<Remark>> {
    load_bytes(Path::new(FILE), bytes, &Overrides::default())
}

/// Whether the file would have others read: not what is tested, and some of them never end.
fn looks_at_the_disk(bytes: &[u8]) -> bool {
    let units = |unit: fn([u8; 2]) -> u16| bytes.chunks_exact(2).map(|two| unit([two[0], two[1]])).collect::<Vec<_>>();
    let (le, be) = (units(u16::from_le_bytes), units(u16::from_be_bytes));
    let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let texts = [
        String::from_utf8_lossy(bytes).into_owned(),
        latin,
        String::from_utf16_lossy(&le),
        String::from_utf16_lossy(&be),
    ];
    let includes = |line: &str| fold(line.split('=').next().unwrap_or_default()).contains("include");
    texts.iter().any(|text| text.contains("file:") || text.lines().any(includes))
}

/// A password that begins with [`SECRET`] is not in anything that is shown.
fn keeps_the_secret(bytes: &[u8], loaded: &Result<Config, Vec<Remark>>) {
    let text = String::from_utf8_lossy(bytes);
    let is_password = |line: &&str| {
        line.split_once('=').is_some_and(|(name, value)| {
            PASSWORDS.contains(&fold(name.trim()).as_str()) && value.trim_start().starts_with(SECRET)
        })
    };
    if text.matches(SECRET).count() != 1 || !text.lines().any(|line| is_password(&line)) {
        return;
    }
    let shown = match loaded {
        Ok(config) => format!("{config:?}"),
        Err(mistakes) => format!("{mistakes:?}"),
    };
    assert!(!shown.contains(SECRET), "a password is shown: {shown}");
}

/// The same file with other line ends or in another encoding; its length says which.
fn written_otherwise(bytes: &[u8], loaded: &Result<Config, Vec<Remark>>) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if text.starts_with('\u{feff}') || text.lines().any(|line| line.len() > 8000) {
        return;
    }
    let (how, other) = match bytes.len() % 3 {
        0 => ("with CRLF", with_crlf(bytes)),
        1 => ("with a mark in front", ["\u{feff}", text].concat().into_bytes()),
        _ => {
            let units = std::iter::once(0xfeff).chain(text.encode_utf16());
            ("in UTF-16", units.flat_map(u16::to_le_bytes).collect())
        }
    };
    assert_eq!(said(&load(&other)), said(loaded), "{how}");
}

fn said(loaded: &Result<Config, Vec<Remark>>) -> String {
    match loaded {
        Ok(config) => format!("{config:?}"),
        Err(mistakes) => mistakes.iter().map(|one| one.line(Lang::En) + "\n").collect(),
    }
}

fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    bytes.split_inclusive(|byte| *byte == b'\n').fold(Vec::new(), |mut out, line| {
        match line.strip_suffix(b"\n") {
            Some(line) => out.extend_from_slice(&[line, b"\r\n"].concat()),
            None => out.extend_from_slice(line),
        }
        out
    })
}

/// A sentence for an administrator: something, in both languages, on one line.
/// A message of ACTES or an export of web-delib: what is kept of it is bounded, and what only all messages of a deposit
/// together tell is told once.
pub(crate) fn actes(bytes: &[u8]) {
    let Ok(Some(root)) = sniff(&mut &*bytes) else { return };
    if webdelib::is_root(&root)
        && let Ok(reading) = webdelib::decode(&mut &*bytes, &root)
    {
        kept(&reading);
    }
    let Ok(reading) = actes::decode(&mut &*bytes, &root, "a.xml") else { return };
    assert!(actes::is_root(&root.local), "{root:?} is none of ACTES");
    kept(&reading);
    let mut readings = vec![("034-999888777-20240318-1-DE-1-1_0.xml".to_owned(), reading)];
    actes::complete(&mut readings);
    let once = readings.first().map(|(_, reading)| reading.values.clone().into_json());
    actes::complete(&mut readings);
    assert_eq!(readings.first().map(|(_, reading)| reading.values.clone().into_json()), once);
}

/// Keys and values of any reading.
fn kept(reading: &Reading) {
    assert!(reading.announced.len() <= MOST && reading.announced.iter().all(|file| !file.name.is_empty()));
    for (key, value) in reading.values.clone().into_json() {
        let is_kept = |text: &str| !text.is_empty() && text.trim() == text;
        let is_kept = match &value {
            serde_json::Value::String(text) => is_kept(text),
            serde_json::Value::Array(list) => {
                (2..=MOST).contains(&list.len()) && list.iter().all(|text| text.as_str().is_some_and(is_kept))
            }
            _ => false,
        };
        assert!(is_kept && key.len() <= 80, "{key}: {value:?}");
    }
}

/// A metadata file of Pastell (its name, then its content): every file that it lists is found under its own name, and the
/// index has no other keys than the file has.
pub(crate) fn pastell(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (name, content) = bytes.split_at(end);
    let content = content.get(1..).unwrap_or_default();
    let metadata = match pastell::parse(&String::from_utf8_lossy(name), content) {
        None => return,
        Some(Err(why)) => return one_line(&why),
        Some(Ok(metadata)) => metadata,
    };
    for listed in metadata.files.iter().filter(|listed| !listed.name.is_empty()) {
        assert!(metadata.matches(listed, &listed.name), "{listed:?}");
    }
    let kind = metadata.envelope_kind(&[]);
    let reading = pastell::reading(&metadata, kind);
    assert_eq!(reading.kind, kind.unwrap_or(EnvelopeKind::Pastell));
    for key in reading.values.into_json().keys() {
        let is_own = |key: &str| metadata.fields.iter().any(|(field, _)| field == key);
        assert!(is_own(key) || key.strip_suffix("_libelle").is_some_and(is_own), "{key} stands nowhere in the file");
    }
}

fn one_line(text: &Text) {
    for words in [&text.en, &text.fr] {
        assert!(!words.trim().is_empty() && !words.contains(['\n', '\r']), "{words:?}");
    }
}

/// A file name that is no danger on Linux or Windows, and stays as it is.
fn is_safe(name: &str) -> String {
    assert!(!name.is_empty() && name.len() <= LONGEST, "{} bytes: {name:?}", name.len());
    let forbidden = |c: char| c.is_control() || "/\\<>:\"|?*".contains(c);
    assert!(!name.contains(forbidden), "{name:?} holds what no name may hold");
    assert!(!name.starts_with(['.', ' ']) && !name.ends_with(['.', ' ']), "{name:?} begins or ends badly");
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_uppercase();
    let port =
        stem.len() == 4 && (stem.starts_with("COM") || stem.starts_with("LPT")) && stem.ends_with(char::is_numeric);
    assert!(!port && !["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()), "{name:?} is a device");
    assert_eq!(safe_name(name), name, "a safe name stays");
    name.to_owned()
}

/// What comes out of the step machine, bodies put together.
#[derive(Debug, Default, PartialEq)]
struct Talk {
    responses: Vec<Vec<u8>>,
    bodies: Vec<(u64, Vec<u8>)>,
    end: Option<Overlong>,
    in_body: bool,
    idle: bool,
}

fn divert<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Talk {
    let (mut machine, mut talk) = (Divert::default(), Talk::default());
    for mut piece in pieces {
        loop {
            match machine.step(&mut piece) {
                Ok(None) => break,
                Ok(Some(step)) => talk.step(step),
                Err(why) => {
                    // what was collected until then is of no use any more
                    talk.end = Some(why);
                    return talk;
                }
            }
        }
        assert!(piece.is_empty(), "bytes are left");
    }
    (talk.in_body, talk.idle) = (machine.in_body(), machine.is_idle());
    talk
}

impl Talk {
    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::BodyStart(size) => self.bodies.push((size, Vec::new())),
            Step::Body(bytes) => {
                let (size, body) = self.bodies.last_mut().expect("a body begins before its bytes");
                body.extend_from_slice(bytes);
                assert!(!bytes.is_empty() && body.len() as u64 <= *size);
            }
            Step::BodyEnd => {
                let (size, body) = self.bodies.last().expect("a body begins before it ends");
                assert_eq!(body.len() as u64, *size);
            }
            Step::Response(text) => self.responses.push(text),
        }
    }
}

/// `bytes` in pieces of lengths that look random and depend on `seed` alone.
fn pieces(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let (mut rest, mut state, mut pieces) = (bytes, u32::from(seed), Vec::new());
    while !rest.is_empty() {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let (piece, after) = rest.split_at((state as usize >> 16) % 24 % (rest.len() + 1));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// A leaf as it was told.
#[derive(Debug, PartialEq)]
struct Leaf {
    head: PartHead,
    data: Vec<u8>,
    damage: Option<Damage>,
    ended: bool,
}

#[derive(Debug, Default, PartialEq)]
struct Leaves(Vec<Leaf>);

/// Checks the order of the calls on the way.
struct Notes {
    leaves: Leaves,
    head: Option<Head>,
    all: bool,
}

impl Visitor for Notes {
    fn message(&mut self, head: &Head) -> io::Result<ControlFlow<()>> {
        assert!(self.head.is_none() && self.leaves.0.is_empty(), "a message begins once, and first");
        self.head = Some(head.clone());
        Ok(ControlFlow::Continue(()))
    }

    fn part(&mut self, part: &PartHead) -> io::Result<bool> {
        assert!(self.head.is_some() && self.leaves.0.last().is_none_or(|last| last.ended), "a part inside another");
        self.leaves.0.push(Leaf { head: part.clone(), data: Vec::new(), damage: None, ended: !self.all });
        Ok(self.all)
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let leaf = self.leaves.0.last_mut().expect("a part begins before its data");
        assert!(!leaf.ended, "data nobody asked for");
        leaf.data.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, damage: Option<Damage>) -> io::Result<()> {
        let leaf = self.leaves.0.last_mut().expect("a part begins before it ends");
        assert!(!std::mem::replace(&mut leaf.ended, true), "a part ends twice");
        leaf.damage = damage;
        Ok(())
    }
}

/// Everything that a message holds, read through a buffer of so many bytes; of an error its sentence.
fn leaves(message: &[u8], buffer: usize, all: bool, nested: bool) -> Result<(Leaves, Walked), String> {
    let mut notes = Notes { leaves: Leaves::default(), head: None, all };
    let limits = Limits { header: 8 * 1024, depth: 8, parts: 100, nested, levels: 3, unpacked: 1024 * 1024 };
    match walk(BufReader::with_capacity(buffer, message), &limits, &mut notes) {
        Ok(walked) => {
            assert!(notes.head.is_some(), "a message without a beginning");
            Ok((notes.leaves, walked))
        }
        Err(WalkError::Limit(text)) => {
            one_line(&text);
            Err(text.en.into_owned())
        }
        Err(other) => panic!("a slice can be read: {other}"),
    }
}

/// Only a name.
const FILE: &str = "fuzz.ini";

const BOUNDARY: &[u8] = b"=_a boundary that is in no seed";

const SECRET: &str = "s3cr3t";

/// Folded names of the option that is a secret.
const PASSWORDS: [&str; 2] = ["password", "motdepasse"];

/// What came out of POP3's machine.
#[derive(Debug, Default, PartialEq)]
struct Answers {
    lines: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    whole: usize,
    end: Option<LongStatus>,
}

fn replies<'a>(seed: u8, pieces: impl IntoIterator<Item = &'a [u8]>) -> Answers {
    let mut machine = Replies::default();
    for n in 0..1000 {
        machine.expect(if (seed >> (n % 8)) & 1 == 1 { Expect::Body } else { Expect::Line });
    }
    let mut answers = Answers::default();
    for mut input in pieces {
        loop {
            match machine.step(&mut input) {
                Ok(None) => break,
                Ok(Some(Reply::Status(line))) => {
                    answers.lines.push(line);
                    answers.bodies.push(Vec::new());
                }
                Ok(Some(Reply::Body(bytes))) => answers.bodies.last_mut().expect("a status").extend_from_slice(bytes),
                Ok(Some(Reply::BodyEnd)) => answers.whole += 1,
                Err(overlong) => {
                    answers.end = Some(overlong);
                    return answers;
                }
            }
        }
        assert!(input.is_empty());
    }
    answers
}
