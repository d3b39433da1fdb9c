//! Tests alone: the walker over awkward mail of other people's test suites, compared with mail-parser, which holds a
//! whole message in memory and so can take its time.
//!
//! The mails stand beside the checkout and are not part of it; where they are missing these tests say so and pass.

use std::fs;
use std::io::{self, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use mail_parser::{Encoding, MessageParser, MessagePart, MimeHeaders, PartType};

use super::mime::{Damage, Head, Limits, PartHead, Visitor, WalkError, Walked, walk};
use super::names::safe_name;
use crate::model::Digest;

/// Leaves as the walker gives them.
#[derive(Debug, Default, PartialEq)]
struct Leaves(Vec<(PartHead, Vec<u8>, Option<Damage>)>);

impl Visitor for Leaves {
    fn message(&mut self, _: &Head) -> io::Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }

    fn part(&mut self, part: &PartHead) -> io::Result<bool> {
        self.0.push((part.clone(), Vec::new(), None));
        Ok(true)
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.last_mut().expect("a part began").1.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, damage: Option<Damage>) -> io::Result<()> {
        self.0.last_mut().expect("a part began").2 = damage;
        Ok(())
    }
}

fn leaves(message: &[u8], buffer: usize, nested: bool) -> Result<(Leaves, Walked), WalkError> {
    let mut leaves = Leaves::default();
    let limits = Limits { nested, ..Limits::default() };
    let walked = walk(BufReader::with_capacity(buffer, message), &limits, &mut leaves)?;
    Ok((leaves, walked))
}

/// Every file of the corpus, or nothing when it is not there.
fn samples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [root.join("../shared/samples/mail"), root.join("../../shared/samples/mail")];
    let Some(place) = places.iter().find(|place| place.is_dir()) else {
        println!("skipped: no samples beside the checkout");
        return Vec::new();
    };
    let (mut files, mut folders) = (Vec::new(), vec![place.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    assert!(files.len() > 100, "{} samples", files.len());
    files
}

#[test]
fn no_sample_stops_the_walker_and_every_name_is_safe() {
    for path in samples() {
        let message = fs::read(&path).unwrap();
        let message = if path.extension().is_some_and(|end| end == "tnef") { wrapped(&message) } else { message };
        let (whole, walked) =
            leaves(&message, 64 * 1024, true).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(walked.parts, whole.0.len(), "{}", path.display());
        for (head, ..) in &whole.0 {
            let name = safe_name(&head.file_name());
            assert!(Path::new(&name).components().count() == 1 && name.len() <= 200, "{}: {name}", path.display());
        }
        let (cut, _) = leaves(&message, 7, true).unwrap();
        assert!(cut == whole, "{}: another buffer, another result", path.display());
    }
}

/// A leaf as mail-parser sees it.
struct Expected {
    name: Option<String>,
    /// `None` for text, which it hands over in another charset.
    digest: Option<Digest>,
}

/// What mail-parser takes for documents.
fn expected(message: &[u8]) -> Vec<Expected> {
    let parsed = MessageParser::default().parse(message);
    parsed.iter().flat_map(|parsed| &parsed.parts).filter_map(|part| document(message, part)).collect()
}

fn document(message: &[u8], part: &MessagePart<'_>) -> Option<Expected> {
    let name = part.attachment_name().map(ToOwned::to_owned);
    let raw = || &message[part.raw_body_offset() as usize..part.raw_end_offset() as usize];
    let bytes = match &part.body {
        PartType::Multipart(_) => return None,
        PartType::Text(_) | PartType::Html(_) if name.is_none() => return None,
        PartType::Text(_) | PartType::Html(_) => None,
        PartType::Message(_) if part.encoding == Encoding::None => Some(raw()),
        PartType::Message(inner) => Some(inner.raw_message()),
        _ => Some(part.contents()),
    };
    Some(Expected { name, digest: bytes.map(Digest::of) })
}

#[test]
fn samples_yield_what_another_parser_finds() {
    let (mut alike, mut differing) = (0, Vec::new());
    let samples = samples();
    for path in &samples {
        let message = fs::read(path).unwrap();
        let (ours, _) = leaves(&message, 64 * 1024, false).unwrap();
        let found = |one: &Expected| {
            let has_digest = |bytes: &[u8]| one.digest.is_none_or(|digest| digest == Digest::of(bytes));
            // it replaces what is not UTF-8, we read it in the declared charset
            let has_name = |head: &PartHead| {
                one.name.is_none()
                    || head.name == one.name
                    || one.name.as_ref().is_some_and(|name| name.contains('\u{fffd}'))
            };
            ours.0.iter().any(|(head, bytes, _)| has_digest(bytes) && has_name(head))
        };
        let missed: Vec<_> = expected(&message).into_iter().filter(|one| !found(one)).collect();
        let known = KNOWN.iter().any(|(end, _)| path.ends_with(end));
        if missed.is_empty() {
            alike += 1;
        } else if !known {
            differing.push((path, missed.into_iter().map(|one| one.name).collect::<Vec<_>>()));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
    assert!(samples.is_empty() || alike > 100, "{alike} alike");
}

/// Where we differ, and why.
const KNOWN: [(&str, &str); 15] = [
    ("enmime/mail/inlinemultipart.raw", UNPADDED),
    ("enmime/mail/malformed-multiple-address-header-values.raw", UNPADDED),
    ("enmime/mail/mime-bad-content-type.raw", UNPADDED),
    ("enmime/mail/mime-blank-media-name.raw", UNPADDED),
    ("enmime/mail/mime-duplicate-param.raw", UNPADDED),
    ("enmime/mail/mime-unquoted-tspecials-param.raw", UNPADDED),
    ("enmime/mail/multipart-wo-boundary.raw", "it makes text of it, we tell `NoParts`"),
    ("mail-parser/legacy/017.eml", "it leaves uuencoded content as it is"),
    ("mail-parser/legacy/035.eml", WINDOWS_PATH),
    ("mail-parser/legacy/039.eml", WINDOWS_PATH),
    ("mail-parser/legacy/048.eml", "it leaves uuencoded content as it is"),
    ("mail-parser/malformed/012.eml", "it takes two parts of a digest for one"),
    ("mimekit-tnef/rich-text.eml", "it leaves winmail.dat as it is"),
    ("mimekit-tnef/ukr.eml", "it leaves winmail.dat as it is"),
    ("mail-parser/thirdparty/015.eml", "it looks for the boundaries of an attached message behind the end of its part"),
];

const UNPADDED: &str = "base64 without padding: it drops the last bytes";
const WINDOWS_PATH: &str = "it takes the backslashes of C:\\TEMP for escapes";

/// A winmail.dat as the attachment of a mail.
fn wrapped(tnef: &[u8]) -> Vec<u8> {
    let head = "Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: binary\r\n\r\n";
    [head.as_bytes(), tnef].concat()
}

/// Each `X.tnef` has a list of what another reader takes out of it, and most a folder with these files. The lists name
/// the message's own text as a file (`body.rtf`); here it is told and no document.
#[test]
fn every_winmail_dat_gives_the_files_of_its_list() {
    let is_tnef = |path: &PathBuf| path.extension().is_some_and(|end| end == "tnef");
    let (mut seen, mut compared) = (0, 0);
    for path in samples().into_iter().filter(is_tnef) {
        let (leaves, _) = leaves(&wrapped(&fs::read(&path).unwrap()), 64 * 1024, false).unwrap();
        let names: Vec<String> = leaves.0.iter().map(|(head, ..)| told_name(head)).collect();
        let list = fs::read_to_string(path.with_extension("list")).unwrap();
        for name in list.lines() {
            assert!(names.iter().any(|own| own == name), "{}: {name} is not among {names:?}", path.display());
        }
        let is_damaged = leaves.0.iter().any(|(head, ..)| head.unopened.is_some());
        assert_eq!(is_damaged, path.ends_with("panic.tnef"), "{}: {names:?}", path.display());
        for file in fs::read_dir(path.with_extension("")).into_iter().flatten() {
            compared += usize::from(is_among(&leaves, &file.unwrap().path()));
        }
        seen += 1;
    }
    assert!(seen == 0 || seen > 15 && compared > 25, "{seen} samples, {compared} files");
}

fn told_name(head: &PartHead) -> String {
    match (&head.role, head.media_type.as_str()) {
        (None, "text/html") => "body.html".to_owned(),
        (None, "text/rtf") => "body.rtf".to_owned(),
        (None, _) => "body.txt".to_owned(),
        (Some(_), _) => head.file_name(),
    }
}

/// Whether a file that the other reader wrote is among the leaves; asserts that it is unless it is no document.
fn is_among(leaves: &Leaves, file: &Path) -> bool {
    let content = fs::read(file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy();
    // its text is decoded there; what stands in the place of an embedded message is nothing that anybody sent
    if name.starts_with("message.") || content.starts_with(b"This attachment is a MAPI 1.0 embedded message") {
        return false;
    }
    let ole = content.get(16..20).filter(|start| *start == b"\xd0\xcf\x11\xe0").and(content.get(16..));
    let text = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != b'\r').collect::<Vec<_>>();
    // it makes LF of CRLF in what it takes for text, and leaves the identifier in front of OLE objects
    let alike = |own: &[u8]| own == content || ole == Some(own) || text(own) == content;
    assert!(leaves.0.iter().any(|(_, own, _)| alike(own)), "{}", file.display());
    true
}
