//! What must hold for archives and for whole deposits.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs;
use std::io::{self, Cursor};

use pertuis::document::envelope::archive::{Entry, Format, Trouble, plain, walk};
use pertuis::document::envelope::limits::{Budget, Limits};
use pertuis::document::envelope::{Deposit, Error, Member, State, decode, identify};

use super::invoices::Bodies;
use super::one_line;

/// An archive: what comes out stays within the limits, names are no paths, and whether it is read or skipped changes nothing
/// about how it ends.
pub(crate) fn archive(bytes: &[u8]) {
    let Some(format) = Format::of(&bytes[..bytes.len().min(64 << 10)]) else { return };
    let (read, ended) = entries(format, bytes, true);
    let (skipped, same) = entries(format, bytes, false);
    assert_eq!((read, ended), (skipped, same), "skipped");
}

/// A deposit of one file: it is told and decoded without a panic, twice alike; what is decoded is whole, within the limits,
/// and all that is in the store.
pub(crate) fn envelope(bytes: &[u8]) {
    let outside = Bodies::new();
    let path = outside.folder.join("deposit");
    fs::write(&path, bytes).unwrap();
    let member = Member { name: "deposit.xml".to_owned(), path, size: bytes.len() as u64, body: None };
    let deposit = Deposit { name: "deposit.xml".to_owned(), members: vec![member] };
    let identity = identify(&deposit, &LIMITS, &[]).expect("a file that can be read");
    assert_eq!(identify(&deposit, &LIMITS, &[]).expect("the same"), identity);
    if let State::Incomplete(why) | State::Refused(why) = &identity.state {
        one_line(why);
    }
    let mut store = Bodies::new();
    match decode(&deposit, &LIMITS, &[], &mut store) {
        Err(Error::Refused(why)) => one_line(&why),
        Err(error) => panic!("{error}"),
        Ok(envelope) => {
            assert!(!matches!(identity.state, State::Refused(_)), "refused first: {:?}", identity.state);
            assert!(!envelope.files.is_empty());
            assert_eq!(store.len(), envelope.files.len(), "what is not given is left in the store");
            envelope.warnings.iter().for_each(one_line);
            let mut seen = HashSet::new();
            for file in &envelope.files {
                assert_eq!(fs::metadata(&file.body.path).unwrap().len(), file.body.size);
                assert!(seen.insert((&file.name, file.body.sha256)), "{:?} twice", file.name);
            }
        }
    }
}

/// Names and sizes, and how it ended.
fn entries(format: Format, bytes: &[u8], read: bool) -> (Vec<String>, &'static str) {
    let mut names = Vec::new();
    let mut size = 0;
    let budget = RefCell::new(Budget::new(LIMITS));
    let walked = walk(format, "archive.gz", Cursor::new(bytes), &budget, &mut |Entry { name, content }| {
        assert!(!name.is_empty() && !name.contains(['/', '\\']), "{name:?}");
        assert!(plain(&name).is_some(), "{name:?} is junk");
        names.push(name);
        if read {
            size += io::copy(content, &mut io::sink()).map_err(Error::Read)?;
        }
        Ok(())
    });
    // the last piece may be what exceeds the limit
    assert!(size <= LIMITS.max_unpacked + (1 << 16) && names.len() <= LIMITS.max_entries);
    let ended = match walked {
        Ok(walked) => {
            walked.warnings.iter().for_each(one_line);
            "whole"
        }
        Err(Trouble::Broken(why)) => {
            one_line(&why);
            "broken"
        }
        Err(Trouble::Locked(why)) => {
            one_line(&why);
            "locked"
        }
        Err(Trouble::Error(Error::Refused(why))) => {
            one_line(&why);
            "refused"
        }
        Err(Trouble::Error(error)) => panic!("{error}"),
    };
    (names, ended)
}

const LIMITS: Limits = Limits { max_unpacked: 1 << 20, max_entries: 100, max_ratio: 300, max_depth: 4 };
