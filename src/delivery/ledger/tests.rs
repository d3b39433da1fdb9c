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
        contents: None,
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

fn pending(ledger: &Ledger) -> Vec<Pending> {
    ledger.pending(false, Duration::ZERO).unwrap()
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
    let pending = pending(&ledger);
    assert!(pending[0].unconfirmed);
    ledger.acknowledged(&[pending[0].id]).unwrap();
    assert!(self::pending(&ledger).is_empty());
}

#[test]
fn nothing_is_pending_where_the_source_is_left_alone() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    ledger.record(&[entry("a", Stage::Recorded)]).unwrap();
    let id = ledger.recorded().unwrap()[0].id;
    ledger.confirm(&[(id, false)], false).unwrap();
    assert!(pending(&ledger).is_empty());
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
    assert!(pending(&ledger).is_empty());
}

#[test]
fn failures_count_up_and_the_item_is_taken_again() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    for n in 1..=3 {
        ledger.record(&[entry("a", Stage::Failed)]).unwrap();
        assert_eq!(ledger.failures(&ItemKey::new("a")).unwrap(), n);
        assert_eq!(admission(&ledger, "a"), Admission::Again);
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
    let facts = Facts { header_digest: Some(Digest::of(b"head")), size: Some(9), ..Facts::default() };
    let with = |key: &str| Entry { facts: facts.clone(), ..entry(key, Stage::Empty) };
    ledger.record(&[with("old-1"), with("old-2")]).unwrap();
    let mut taken = ledger.recognise([]).unwrap();
    for new in ["new-1", "new-2"] {
        let id = ledger.known(&facts, &mut taken).unwrap().unwrap();
        ledger.rekey(&[(id, ItemKey::new(new))]).unwrap();
    }
    assert_eq!(ledger.known(&facts, &mut taken).unwrap(), None);
    assert_eq!((admission(&ledger, "new-2"), admission(&ledger, "old-1")), (Admission::Done, Admission::New));
}

#[test]
fn a_size_tells_two_messages_apart_only_where_both_sides_know_it() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    let facts = |size| Facts { header_digest: Some(Digest::of(b"head")), size, ..Facts::default() };
    let with = |key: &str, size| Entry { facts: facts(size), ..entry(key, Stage::Empty) };
    ledger.record(&[with("old-1", Some(1)), with("old-2", Some(2))]).unwrap();
    let known = |size| ledger.known(&facts(size), &mut ledger.recognise([]).unwrap()).unwrap();
    assert_eq!((known(Some(2)), known(Some(3)), known(None)), (Some(2), None, Some(1)));
}

#[test]
fn content_is_known_once_for_each_row_that_was_there_before() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    let digest = Digest::of(b"mail");
    let with =
        |key: &str| Entry { facts: Facts { digest: Some(digest), ..Facts::default() }, ..entry(key, Stage::Empty) };
    ledger.record(&[with("old"), with("listed")]).unwrap();
    let mut taken = ledger.recognise([&ItemKey::new("listed")]).unwrap();
    ledger.record(&[with("newer")]).unwrap();
    let row = ledger.known_content(digest, &mut taken).unwrap().unwrap();
    assert_eq!(ledger.known_content(digest, &mut taken).unwrap(), None);
    // a failed try under the new key makes room
    ledger.record(&[entry("new", Stage::Failed)]).unwrap();
    ledger.rekey(&[(row, ItemKey::new("new"))]).unwrap();
    assert_eq!(admission(&ledger, "new"), Admission::Done);
}

#[test]
fn ten_thousand_equal_messages_are_known_again_in_no_time() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    let facts = Facts { header_digest: Some(Digest::of(b"head")), size: Some(9), ..Facts::default() };
    let with = |n: u32| Entry { facts: facts.clone(), ..entry(&format!("old-{n}"), Stage::Empty) };
    ledger.record(&(0..10_000).map(with).collect::<Vec<_>>()).unwrap();
    let begun = std::time::Instant::now();
    let keys: Vec<_> = (0..10_000).map(|n| ItemKey::new(format!("new-{n}"))).collect();
    let mut taken = ledger.recognise(&keys).unwrap();
    let rows = keys.into_iter().map(|key| (ledger.known(&facts, &mut taken).unwrap().unwrap(), key));
    let rows: Vec<_> = rows.collect();
    ledger.rekey(&rows).unwrap();
    assert_eq!(rows.iter().map(|(id, _)| id).collect::<HashSet<_>>().len(), 10_000);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn what_each_cycle_asks_for_is_found_by_an_index() {
    let state = tempfile::tempdir().unwrap();
    drop(open(state.path()));
    let connection = rusqlite::Connection::open(Ledger::path(state.path())).unwrap();
    let queries = [
        (
            "SELECT id FROM item WHERE launcher = 1 AND stage = 'recorded' AND acknowledged IS NULL ORDER BY id",
            "item_open",
        ),
        ("SELECT id FROM item WHERE launcher = 1 AND (retry OR stage = 'failed') AND departed IS NULL", "item_again"),
        ("SELECT id FROM item WHERE launcher = 1 AND stage = 'empty' AND acknowledged IS NULL AND whole", "item_open"),
        ("SELECT id FROM item WHERE launcher = 1 AND header_digest = x'00' AND id > 3 ORDER BY id", "item_header"),
        (
            "SELECT p.final FROM item i CROSS JOIN part p ON p.item = i.id WHERE i.launcher IN (SELECT id FROM launcher)
             AND i.stage = 'recorded' AND i.acknowledged IS NULL",
            "item_open",
        ),
    ];
    for (sql, index) in queries {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps: Vec<String> = plan.query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
        assert!(steps.iter().any(|step| step.contains(index)), "{sql}: {steps:?}");
    }
}

#[test]
fn a_ledger_of_the_first_version_is_brought_up_to_date_and_keeps_its_rows() {
    let state = tempfile::tempdir().unwrap();
    let path = Ledger::path(state.path());
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(SCHEMAS[0]).unwrap();
    old.execute_batch(
        "PRAGMA user_version = 1; INSERT INTO launcher (name, created) VALUES ('factures', 1);
         INSERT INTO item (launcher, key, short, stage, reason, generation, recorded)
         VALUES (1, 'a', 'a', 'quarantined', 'too deep', 1, 1);",
    )
    .unwrap();
    drop(old);
    // reading brings it up to date, a dry run leaves it alone
    assert_eq!(
        admission(&Ledger::open_copy(state.path(), &ServiceName::new("factures")).unwrap(), "a"),
        Admission::Done
    );
    assert_eq!(version(&path), 1);
    let reason = show(&path, "factures", "a").unwrap().unwrap().line.reason.unwrap();
    assert_eq!((reason.en.as_ref(), reason.fr.as_ref(), version(&path)), ("too deep", "too deep", SCHEMA));
    assert_eq!(admission(&open(state.path()), "a"), Admission::Done);
}

fn version(path: &Path) -> i64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[test]
fn what_is_marked_is_taken_again_and_what_is_on_its_way_is_not() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    let mut partial = entry("p", Stage::Recorded);
    partial.parts[1].decision = Decision::Quarantined;
    ledger.record(&[partial]).unwrap();
    ledger.confirm(&[(1, false)], false).unwrap();
    let stages = [("r", Stage::Recorded), ("q", Stage::Quarantined), ("e", Stage::Empty), ("j", Stage::Rejected)];
    ledger.record(&stages.map(|(key, stage)| entry(key, stage))).unwrap();
    assert_eq!(ledger.retry(Which::Short("r")).unwrap(), 0);
    assert_eq!(ledger.retry(Which::Quarantined).unwrap(), 2);
    assert_eq!(ledger.retry(Which::Empty).unwrap(), 1);
    assert_eq!(ledger.retry(Which::Rejected).unwrap(), 1);
    let again: Vec<_> = ledger.again().unwrap().into_iter().map(|again| again.key.to_string()).collect();
    assert_eq!(again, ["p", "q", "e", "j"]);
    assert_eq!(admission(&ledger, "q"), Admission::Again);
    ledger.gone(&ItemKey::new("q")).unwrap();
    assert_eq!((ledger.again().unwrap().len(), admission(&ledger, "q")), (3, Admission::New));
    // what has left is looked for once more, unless its key has another owner
    assert_eq!(ledger.retry(Which::Short("q")).unwrap(), 1);
    ledger.gone(&ItemKey::new("q")).unwrap();
    let newer = Entry { short: "q-2".into(), ..entry("q", Stage::Empty) };
    ledger.record(&[newer]).unwrap();
    assert_eq!(ledger.retry(Which::Short("q")).unwrap(), 0);
}

#[test]
fn what_was_delivered_of_an_item_is_not_delivered_again_for_the_sake_of_the_rest() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    let mut partial = entry("a", Stage::Recorded);
    partial.parts[1].decision = Decision::Quarantined;
    ledger.record(&[partial]).unwrap();
    let id = ledger.recorded().unwrap()[0].id;
    ledger.confirm(&[(id, false)], true).unwrap();
    ledger.record(&[entry("a", Stage::Recorded)]).unwrap();
    let recorded = ledger.recorded().unwrap();
    assert_eq!(recorded[0].files.iter().map(|file| file.n).collect::<Vec<_>>(), [2]);
    ledger.confirm(&[(recorded[0].id, false)], true).unwrap();
    // whole now: asked for again, all of it comes again
    ledger.record(&[entry("a", Stage::Recorded)]).unwrap();
    assert_eq!(ledger.recorded().unwrap()[0].files.len(), 2);
}

#[test]
fn what_is_kept_for_a_while_is_pending_once_that_is_over() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    ledger.record(&[entry("a", Stage::Recorded), entry("b", Stage::Empty)]).unwrap();
    ledger.confirm(&[(1, false)], true).unwrap();
    let hours = Duration::from_hours;
    let count = |ledger: &Ledger, keep| [false, true].map(|empty| ledger.pending(empty, keep).unwrap().len());
    assert_eq!(count(&ledger, hours(2)), [0, 0]);
    assert_eq!(count(&ledger, Duration::ZERO), [1, 1]);
    let ago = |hours: i64| {
        let sql = format!("UPDATE item SET confirmed = confirmed - {0}, recorded = recorded - {0}", hours * 3_600_000);
        rusqlite::Connection::open(Ledger::path(state.path())).unwrap().execute_batch(&sql).unwrap();
    };
    ago(3);
    assert_eq!(count(&ledger, hours(2)), [1, 1]);
    // a clock that was set back makes it wait
    ago(-5);
    assert_eq!((count(&ledger, hours(2)), count(&ledger, Duration::ZERO)), ([0, 0], [1, 1]));
    // what is to be taken again is left at its source
    ledger.retry(Which::Short("a")).unwrap();
    assert_eq!(count(&ledger, Duration::ZERO), [0, 1]);
}

#[test]
fn a_key_is_found_by_its_beginning_if_that_is_clear() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    ledger.record(&["12-abc", "12-abd", "1%", "1"].map(|key| entry(key, Stage::Empty))).unwrap();
    let path = Ledger::path(state.path());
    let found = |key: &str| resolve(&path, "factures", key).unwrap();
    assert_eq!((found("12-abc").len(), found("12-ab").len(), found("1").len()), (1, 2, 1));
    assert_eq!((found("1%"), found("12-abd"), found("").len()), (vec!["1%".into()], vec!["12-abd".into()], 0));
    assert!(resolve(&path, "other", "1").unwrap().is_empty());
}

#[test]
fn a_forgotten_item_is_new_and_one_on_its_way_is_not_forgotten() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    ledger.record(&[entry("a", Stage::Recorded), entry("b", Stage::Empty)]).unwrap();
    let forgotten = ["a", "b", "c"].map(|key| ledger.forget(key).unwrap());
    assert_eq!(forgotten, [Forgotten::UnderWay, Forgotten::Done, Forgotten::Unknown]);
    assert_eq!(admission(&ledger, "b"), Admission::New);
}

#[test]
fn a_history_goes_to_the_new_name() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = open(state.path());
    ledger.record(&[entry("a", Stage::Empty)]).unwrap();
    ledger.raise_generation(7).unwrap();
    let new = ServiceName::new("invoices");
    assert!(Ledger::open(state.path(), &new).unwrap().is_empty().unwrap());
    ledger.give_to(&new).unwrap();
    let ledger = Ledger::open(state.path(), &new).unwrap();
    assert_eq!((admission(&ledger, "a"), ledger.generation().unwrap()), (Admission::Done, 7));
    assert_eq!(names(&Ledger::path(state.path())).unwrap(), [("invoices".to_owned(), true)]);
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
    list(&path, Selection { launcher: Some("factures"), quarantined: false }, |line| lines.push(line)).unwrap();
    assert_eq!(lines.iter().map(|line| (line.key.as_str(), line.files)).collect::<Vec<_>>(), [("a", 2), ("b", 0)]);
    assert_eq!(lines[0].title.as_deref(), Some("facture.pdf"));
    let sheet = show(&path, "factures", "a").unwrap().unwrap();
    assert_eq!(sheet.parts[1].name.as_deref(), Some("facture 2.pdf"));
    assert_eq!(sheet.parts[0].sha256, Some(Digest::of(b"abc")));
    assert_eq!(show(&path, "factures", "zz").unwrap(), None);
    ledger.record(&[entry("q", Stage::Quarantined)]).unwrap();
    let mut quarantined = Vec::new();
    list(&path, Selection { launcher: None, quarantined: true }, |line| quarantined.push(line.key)).unwrap();
    assert_eq!(quarantined, ["q"]);
}
