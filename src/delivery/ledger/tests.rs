//! The ledger against a real SQLite file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::model::Digest;

fn open(state: &Path) -> Ledger {
    Ledger::open(state, &ServiceName::new("factures")).unwrap()
}

fn entry(key: &str, stage: Stage) -> Entry {
    let parts = if stage == Stage::Recorded { vec![part(1), part(2)] } else { Vec::new() };
    Entry {
        key: ItemKey::new(key),
        short: key.into(),
        stage,
        reason: None,
        facts: Facts::default(),
        parts,
        settled: false,
    }
}

fn part(n: u32) -> Part {
    let decision = Decision::Taken {
        staged: format!("k.{n}"),
        name: format!("facture {n}.pdf"),
        directory: PathBuf::from("/cold"),
        size: 3,
        sha256: Digest::of(b"abc"),
    };
    Part { n, role: Role::Attachment, original_name: Some("facture.pdf".into()), media_type: None, decision }
}

fn admission(ledger: &Ledger, key: &str) -> Admission {
    ledger.admit([&ItemKey::new(key)]).unwrap()[0]
}

#[test]
fn what_is_recorded_is_not_taken_again() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    assert_eq!(admission(&ledger, "a"), Admission::New);
    ledger.record(&[entry("a", Stage::Recorded), entry("b", Stage::Empty)]).unwrap();
    drop(ledger);
    let ledger = open(state.path());
    assert_eq!(admission(&ledger, "a"), Admission::Done);
    assert_eq!(admission(&ledger, "b"), Admission::Done);
    let other = Ledger::open(state.path(), &ServiceName::new("other")).unwrap();
    assert_eq!(admission(&other, "a"), Admission::New);
}

#[test]
fn a_recorded_item_lists_its_files_until_it_is_confirmed() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    ledger.record(&[entry("a", Stage::Recorded)]).unwrap();
    let recorded = ledger.recorded().unwrap();
    assert_eq!(recorded[0].files.iter().map(|file| file.n).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(ledger.promised(Path::new("/cold")).unwrap().len(), 2);
    ledger.rename(recorded[0].id, 2, "facture 2 (2).pdf").unwrap();
    assert_eq!(ledger.recorded().unwrap()[0].files[1].name, "facture 2 (2).pdf");
    ledger.confirm(&[(recorded[0].id, true)], true).unwrap();
    assert!(ledger.recorded().unwrap().is_empty() && ledger.promised(Path::new("/cold")).unwrap().is_empty());
    let pending = ledger.pending().unwrap();
    assert!(pending[0].unconfirmed && !pending[0].empty);
    ledger.acknowledged(&[pending[0].id]).unwrap();
    assert!(ledger.pending().unwrap().is_empty());
}

#[test]
fn nothing_is_pending_where_the_source_is_left_alone() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    ledger.record(&[entry("a", Stage::Recorded)]).unwrap();
    let id = ledger.recorded().unwrap()[0].id;
    ledger.confirm(&[(id, false)], false).unwrap();
    assert!(ledger.pending().unwrap().is_empty());
}

#[test]
fn a_message_with_a_part_in_quarantine_is_never_acknowledged() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    let mut partial = entry("a", Stage::Recorded);
    partial.parts[1].decision = Decision::Quarantined;
    ledger.record(&[partial]).unwrap();
    let id = ledger.recorded().unwrap()[0].id;
    ledger.confirm(&[(id, false)], true).unwrap();
    assert!(ledger.pending().unwrap().is_empty());
}

#[test]
fn failures_count_up_and_the_item_stays_new() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    for n in 1..=3 {
        ledger.record(&[entry("a", Stage::Failed)]).unwrap();
        assert_eq!(ledger.failures(&ItemKey::new("a")).unwrap(), n);
        assert_eq!(admission(&ledger, "a"), Admission::New);
    }
    ledger.record(&[entry("a", Stage::Quarantined)]).unwrap();
    assert_eq!(admission(&ledger, "a"), Admission::Done);
}

#[test]
fn a_file_that_left_and_came_back_is_new() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    ledger.record(&[entry("a", Stage::Empty), entry("b", Stage::Empty)]).unwrap();
    assert_eq!(ledger.depart(&HashSet::from([ItemKey::new("b")])).unwrap(), 1);
    assert_eq!((admission(&ledger, "a"), admission(&ledger, "b")), (Admission::New, Admission::Done));
    assert_eq!(ledger.free_short(&ItemKey::new("a"), "a").unwrap(), "a-2");
    assert_eq!(ledger.free_short(&ItemKey::new("b"), "b").unwrap(), "b");
    let mut again = entry("a", Stage::Empty);
    again.short = "a-2".into();
    ledger.record(&[again]).unwrap();
    assert_eq!(admission(&ledger, "a"), Admission::Done);
}

#[test]
fn fingerprints_count_so_that_a_third_equal_message_is_new() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    let facts = Facts { message_id: Some("<1@a>".into()), size: Some(9), ..Facts::default() };
    let with = |key: &str| Entry { facts: facts.clone(), ..entry(key, Stage::Empty) };
    ledger.record(&[with("old-1"), with("old-2")]).unwrap();
    let mut taken = HashSet::new();
    for new in ["new-1", "new-2"] {
        let id = ledger.known(&facts, &taken).unwrap().unwrap();
        assert!(taken.insert(id));
        ledger.rekey(&[(id, ItemKey::new(new))]).unwrap();
    }
    assert_eq!(ledger.known(&facts, &taken).unwrap(), None);
    assert_eq!((admission(&ledger, "new-2"), admission(&ledger, "old-1")), (Admission::Done, Admission::New));
}

#[test]
fn adopted_items_are_done_and_known_ones_stay_as_they_are() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    ledger.record(&[entry("a", Stage::Recorded), entry("c", Stage::Failed)]).unwrap();
    let items = ["a", "b", "c"].map(|key| (ItemKey::new(key), key.to_owned(), Facts::default()));
    assert_eq!(ledger.adopt(&items).unwrap(), 2);
    assert_eq!((admission(&ledger, "b"), admission(&ledger, "c")), (Admission::Done, Admission::Done));
    assert_eq!(ledger.recorded().unwrap().len(), 1);
}

#[test]
fn the_generation_only_goes_up() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    ledger.raise_generation(5).unwrap();
    ledger.raise_generation(3).unwrap();
    assert_eq!(open(state.path()).generation().unwrap(), 5);
}

#[test]
fn a_ledger_of_a_newer_program_and_a_damaged_one_are_refused() {
    let state = tempfile::tempdir().unwrap();
    drop(open(state.path()));
    let path = Ledger::path(state.path());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Ledger::open(state.path(), &ServiceName::new("factures")).unwrap_err();
    assert!(error.text.en.contains("newer"), "{error}");
    std::fs::write(&path, "this is not a database, and it is long enough to be one".repeat(100)).unwrap();
    let error = Ledger::open(state.path(), &ServiceName::new("factures")).unwrap_err();
    assert_eq!(error.code, Code::Ledger);
}

#[test]
fn a_dry_run_sees_the_ledger_and_changes_nothing() {
    let state = tempfile::tempdir().unwrap();
    let name = ServiceName::new("factures");
    let mut copy = Ledger::open_copy(state.path(), &name).unwrap();
    copy.record(&[entry("a", Stage::Empty)]).unwrap();
    assert!(!Ledger::path(state.path()).exists());
    open(state.path()).record(&[entry("b", Stage::Empty)]).unwrap();
    let mut copy = Ledger::open_copy(state.path(), &name).unwrap();
    assert_eq!((admission(&copy, "a"), admission(&copy, "b")), (Admission::New, Admission::Done));
    copy.record(&[entry("c", Stage::Empty)]).unwrap();
    assert_eq!(admission(&open(state.path()), "c"), Admission::New);
}

#[test]
fn people_can_list_and_show() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    ledger.record(&[entry("a", Stage::Recorded), entry("b", Stage::Empty)]).unwrap();
    let path = Ledger::path(state.path());
    let mut lines = Vec::new();
    list(&path, Some("factures"), |line| lines.push(line)).unwrap();
    assert_eq!(lines.iter().map(|line| (line.key.as_str(), line.files)).collect::<Vec<_>>(), [("a", 2), ("b", 0)]);
    assert_eq!(lines[0].title.as_deref(), Some("facture.pdf"));
    let sheet = show(&path, "factures", "a").unwrap().unwrap();
    assert_eq!(sheet.parts[1].name.as_deref(), Some("facture 2.pdf"));
    assert_eq!(sheet.parts[0].sha256, Some(Digest::of(b"abc")));
    assert_eq!(show(&path, "factures", "zz").unwrap(), None);
}
