//! What `pertuis ledger` asks of the cycle.

use super::*;
use crate::delivery::ledger::Which;
use crate::launcher::{Judgement, judge, rename};
use crate::model::ServiceName;
use crate::source::outlet::Outlet;

/// A mailbox that lists only what is newer than its cursor, as IMAP does.
struct Newer(Script);

#[async_trait]
impl Source for Newer {
    async fn discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        let next: u32 = cursor.map_or(0, |cursor| cursor.0.parse().unwrap());
        let mut discovery = self.0.discover(None).await?;
        discovery.items.retain(|item| number(&item.key) >= next);
        let after = self.0.messages.keys().max().map_or(0, |last| last + 1);
        discovery.cursor = Some(Cursor(after.to_string()));
        Ok(discovery)
    }

    async fn identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        self.0.identify(batch).await
    }

    async fn fetch(&mut self, batch: &[Item], spool: &Spool, out: Outlet) -> Result<(), SourceError> {
        let (there, gone): (Vec<_>, Vec<_>) =
            batch.iter().cloned().partition(|item| self.0.messages.contains_key(&number(&item.key)));
        for item in gone {
            out.send(Fetched { key: item.key, content: Ok(Content::Gone) }).await.unwrap();
        }
        self.0.fetch(&there, spool, out).await
    }

    async fn acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        self.0.acknowledge(batch, what).await
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        self.0.finish().await
    }
}

async fn run(bench: &Bench, source: &mut Newer) -> Report {
    cycle(&bench.launcher, &bench.env, source, false, &CancellationToken::new()).await.report
}

fn told(bench: &Bench, name: &str) -> usize {
    bench.told.lock().unwrap().iter().filter(|told| **told == name).count()
}

#[tokio::test]
async fn an_edit_of_a_filter_reaches_an_old_message_through_a_retry() {
    let mut bench = Bench::new();
    bench.launcher.filter = vec![Pattern::parse("/.*xml$/").unwrap()];
    let mut source = Newer(mailbox(2));
    assert_eq!(run(&bench, &mut source).await.items.empty, 2);
    bench.launcher.filter = vec![Pattern::parse("/.*pdf$/").unwrap()];
    assert_eq!(run(&bench, &mut source).await.items.found, 0);
    let verdict = judge(&bench.launcher, &bench.sheet("old/1"));
    assert!(verdict.more && !verdict.less, "{verdict:?}");
    assert_eq!(bench.ledger().retry(Which::Empty).unwrap(), 2);
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.delivered, report.items.found), (2, 2), "{report:?}");
    assert_eq!(run(&bench, &mut source).await.items.found, 0);
    // its key is the one it had, though no hint came with it
    assert!(bench.lines().iter().all(|line| line.key.starts_with(['1', '2']) && !line.retry));
}

#[tokio::test]
async fn a_delivered_message_is_delivered_again_when_it_is_asked_for() {
    let bench = Bench::new();
    let mut source = Newer(mailbox(2));
    run(&bench, &mut source).await;
    let key = bench.sheet("old/2").line.key;
    assert_eq!(bench.ledger().retry(Which::Short(&key)).unwrap(), 1);
    assert_eq!(run(&bench, &mut source).await.items.delivered, 1);
    assert_eq!(bench.names(), ["facture (2).pdf", "facture (3).pdf", "facture.pdf"]);
}

#[tokio::test]
async fn what_left_quarantine_leaves_nothing_there() {
    let bench = Bench::new();
    let mut source = Newer(mailbox(1));
    source.0.sick.insert(1);
    for _ in 0..3 {
        run(&bench, &mut source).await;
    }
    let quarantine = bench.env.state.join("quarantine").join(bench.launcher.name.file_stem());
    assert_eq!(names(&quarantine).len(), 1);
    source.0.sick.clear();
    bench.ledger().retry(Which::Quarantined).unwrap();
    assert_eq!(run(&bench, &mut source).await.items.delivered, 1);
    assert!(names(&quarantine).is_empty());
    assert_eq!(told(&bench, "quarantine_left"), 1);
}

#[tokio::test]
async fn a_message_that_is_gone_comes_from_its_copy_or_is_said_to_be_gone() {
    let bench = Bench::new();
    let mut source = Newer(mailbox(2));
    run(&bench, &mut source).await;
    let spool = Spool::open(&bench.env.state.join("spool").join(bench.launcher.name.file_stem())).unwrap();
    let mut copy = spool.create(&ItemKey::new("old/1"));
    copy.write_all(&source.0.messages[&1]).unwrap();
    source.0.messages.clear();
    let mut ledger = bench.ledger();
    for key in ["old/1", "old/2"] {
        ledger.retry(Which::Short(&bench.sheet(key).line.key)).unwrap();
    }
    copy.finish().unwrap().keep(&spool, &ItemKey::new("old/1")).unwrap();
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.delivered, told(&bench, "item_gone")), (1, 1), "{report:?}");
    assert_eq!(bench.sheet("old/1").folder.as_deref(), Some("INBOX"));
    assert_eq!(run(&bench, &mut source).await.items.found, 0);
    assert_eq!(told(&bench, "item_gone"), 1);
}

#[tokio::test]
async fn a_failed_message_below_the_cursor_is_tried_again_until_it_is_gone() {
    let bench = Bench::new();
    let mut source = Newer(mailbox(1));
    run(&bench, &mut source).await;
    bench.ledger().retry(Which::Short(&bench.sheet("old/1").line.key)).unwrap();
    source.0.sick.insert(1);
    assert_eq!(run(&bench, &mut source).await.items.failed, 1);
    source.0.messages.clear();
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.found, told(&bench, "item_gone")), (0, 1), "{report:?}");
    assert!(bench.ledger().again().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_still_too_large_is_not_downloaded_for_a_retry() {
    let mut bench = Bench::new();
    bench.launcher.max_size = 100;
    let mut source = Newer(mailbox(1));
    assert_eq!(run(&bench, &mut source).await.items.quarantined, 1);
    assert!(judge(&bench.launcher, &bench.sheet("old/1")).too_large);
    bench.ledger().retry(Which::Quarantined).unwrap();
    assert_eq!(run(&bench, &mut source).await.items.quarantined, 1);
    assert!(source.0.fetched.is_empty());
    bench.launcher.max_size = 1 << 20;
    assert!(judge(&bench.launcher, &bench.sheet("old/1")).more);
    bench.ledger().retry(Which::Quarantined).unwrap();
    assert_eq!(run(&bench, &mut source).await.items.delivered, 1);
}

#[tokio::test]
async fn what_is_kept_is_deleted_days_later_without_a_fetch() {
    let mut bench = Bench::new();
    (bench.launcher.after, bench.launcher.keep) = (Disposition::Delete, Duration::from_hours(48));
    let mut source = Newer(mailbox(1));
    run(&bench, &mut source).await;
    assert!(source.0.acknowledged.is_empty());
    let ledger = rusqlite::Connection::open(Ledger::path(&bench.env.state)).unwrap();
    ledger.execute_batch(&format!("UPDATE item SET confirmed = confirmed - {}", 49 * 3_600_000)).unwrap();
    run(&bench, &mut source).await;
    assert_eq!((source.0.acknowledged.as_slice(), source.0.fetched.len()), (&[1][..], 1));
}

#[tokio::test]
async fn what_no_header_tells_is_known_by_its_content_and_counted() {
    let bench = Bench::new();
    let mut source = mailbox(2);
    let twin = source.messages[&1].clone();
    source.messages.insert(101, twin.clone());
    assert_eq!(bench.run(&mut source).await.items.delivered, 3);
    // a server that tells other sizes than before: nothing is known by header and size
    let ledger = rusqlite::Connection::open(Ledger::path(&bench.env.state)).unwrap();
    ledger.execute_batch("UPDATE item SET size = size + 1").unwrap();
    source.reissued = true;
    source.messages.insert(201, twin);
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.already, report.items.delivered, report.items.found), (3, 1, 4), "{report:?}");
    assert_eq!((bench.names().len(), names(&bench.staging())), (4, vec!["generation".to_owned()]));
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.already, source.fetched.len()), (4, 7));
}

#[tokio::test]
async fn ten_thousand_reissued_keys_download_nothing() {
    let bench = Bench::new();
    let mut source = mailbox(10_000);
    assert_eq!(adopt(&bench.launcher, &bench.env, &mut source, None).await.unwrap(), 10_000);
    source.reissued = true;
    let begun = std::time::Instant::now();
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.already, source.fetched.len()), (10_000, 0), "{report:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn only_what_is_older_than_a_day_is_adopted_and_the_rest_is_delivered() {
    let bench = Bench::new();
    let mut source = Newer(mailbox(3));
    for (n, date) in [(1, "Mon, 2 Nov 2020 10:00:00 +0100"), (2, "Tue, 3 Nov 2026 10:00:00 +0100")] {
        let dated = [format!("Date: {date}\r\n").as_bytes(), &source.0.messages[&n]].concat();
        source.0.messages.insert(n, dated);
    }
    let day = "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap();
    assert_eq!(adopt(&bench.launcher, &bench.env, &mut source, Some(day.into())).await.unwrap(), 1);
    assert_eq!(bench.lines()[0].title.as_deref(), Some("Facture 1"));
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.already, report.items.delivered), (1, 2), "{report:?}");
}

#[tokio::test]
async fn a_renamed_section_keeps_its_history_and_its_witness() {
    let mut bench = Bench::new();
    let mut source = mailbox(2);
    bench.run(&mut source).await;
    // one that waits in staging
    let ledger = rusqlite::Connection::open(Ledger::path(&bench.env.state)).unwrap();
    ledger
        .execute_batch(
            "UPDATE item SET stage = 'recorded', acknowledged = NULL WHERE id = 2; UPDATE part SET published = NULL",
        )
        .unwrap();
    fs::write(bench.staging().join(ledger_staged(&ledger, 2)), "content 2").unwrap();
    drop(ledger);
    let (old, from) = (bench.launcher.name.clone(), bench.staging());
    bench.launcher.name = ServiceName::new("Factures 2026");
    // a try before the rename left a folder
    fs::create_dir_all(bench.staging()).unwrap();
    fs::write(bench.staging().join("generation"), "9\n").unwrap();
    rename(&bench.launcher, &bench.env, &old).unwrap();
    assert!(!from.exists());
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.delivered, report.items.already, report.error.is_none()), (1, 1, true), "{report:?}");
    assert_eq!((source.fetched.len(), bench.names().len()), (2, 3));
    assert_eq!(rename(&bench.launcher, &bench.env, &old).unwrap_err().code, Code::Ledger);
}

#[tokio::test]
async fn a_rename_that_was_cut_short_stops_the_new_name_until_it_is_done_again() {
    let mut bench = Bench::new();
    let mut source = mailbox(1);
    bench.run(&mut source).await;
    let (old, from) = (bench.launcher.name.clone(), bench.staging());
    bench.launcher.name = ServiceName::new("Factures 2026");
    crate::delivery::replace(&from, &bench.staging()).unwrap();
    assert_eq!(bench.run(&mut source).await.error.unwrap().code, Code::Ledger);
    rename(&bench.launcher, &bench.env, &old).unwrap();
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.already, report.error.is_none()), (1, true), "{report:?}");
}

#[tokio::test]
async fn todays_filters_are_asked_about_an_item_of_then() {
    let mut bench = Bench::new();
    let mut source = Script::default();
    source.messages.insert(1, mail(1, &[("a.pdf", b"a"), ("thumbs.db", b"b")]));
    bench.launcher.filter = vec![Pattern::parse("/.*pdf$/").unwrap()];
    bench.run(&mut source).await;
    let sheet = bench.sheet("old/1");
    let same = judge(&bench.launcher, &sheet);
    assert_eq!(same.parts, [Judgement::Taken, Judgement::Filtered("/.*pdf$/".into())]);
    assert!(!same.more && !same.less && same.rejected.is_none());
    bench.launcher.filter = vec![Pattern::parse("/.*db$/").unwrap()];
    let other = judge(&bench.launcher, &sheet);
    assert!(other.more && other.less, "{other:?}");
    bench.launcher.filter_from = vec![Pattern::parse("/jean@/").unwrap()];
    let barred = judge(&bench.launcher, &sheet);
    assert_eq!((barred.rejected, barred.more, barred.less), (Some(Ok("filter_from = /jean@/".into())), false, true));
}
