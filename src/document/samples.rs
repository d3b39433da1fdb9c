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

fn leaves(message: &[u8], buffer: usize) -> Result<(Leaves, Walked), WalkError> {
    let mut leaves = Leaves::default();
    let walked = walk(BufReader::with_capacity(buffer, message), &Limits::default(), &mut leaves)?;
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
        let (whole, walked) = leaves(&message, 64 * 1024).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(walked.parts, whole.0.len(), "{}", path.display());
        for (head, ..) in &whole.0 {
            let name = safe_name(&head.file_name());
            assert!(Path::new(&name).components().count() == 1 && name.len() <= 200, "{}: {name}", path.display());
        }
        let (cut, _) = leaves(&message, 7).unwrap();
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
        let (ours, _) = leaves(&message, 64 * 1024).unwrap();
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
const KNOWN: [(&str, &str); 13] = [
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
    ("mail-parser/thirdparty/015.eml", "it looks for the boundaries of an attached message behind the end of its part"),
];

const UNPADDED: &str = "base64 without padding: it drops the last bytes";
const WINDOWS_PATH: &str = "it takes the backslashes of C:\\TEMP for escapes";
