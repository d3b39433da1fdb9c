//! Retries, kept copies and reissued keys where something goes wrong on the way.

use super::*;
use crate::delivery::ledger::Which;
use crate::source::outlet::Outlet;

/// A mailbox that says in its cursor which keys it gives, and may list everything twice, or nothing any more.
#[derive(Default)]
struct Odd {
    script: Script,
    twice: bool,
    past: bool,
}

#[async_trait]
impl Source for Odd {
    async fn discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError> {
        let keys = if self.script.reissued { "new" } else { "old" };
        let mut discovery = self.script.discover(None).await?;
        let reissued = cursor.is_some_and(|cursor| cursor.0 != keys);
        discovery.items.iter_mut().for_each(|item| item.reissued = reissued);
        if self.twice {
            discovery.items = discovery.items.iter().flat_map(|item| [item.clone(), item.clone()]).collect();
        }
        if self.past {
            discovery.items.clear(); // the cursor is past them
        }
        let cursor = Some(Cursor(keys.to_owned()));
        Ok(Discovery { start: cursor.clone(), cursor, ..discovery })
    }

    async fn identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        self.script.identify(batch).await
    }

    async fn fetch(&mut self, batch: &[Item], spool: &Spool, out: Outlet) -> Result<(), SourceError> {
        let is_there = |item: &Item| self.script.messages.contains_key(&number(&item.key));
        let (there, gone): (Vec<_>, Vec<_>) = batch.iter().cloned().partition(is_there);
        for item in gone {
            out.send(Fetched { key: item.key, content: Ok(Content::Gone) }).await.unwrap();
        }
        self.script.fetch(&there, spool, out).await
    }

    async fn acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        self.script.acknowledge(batch, what).await
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        self.script.finish().await
    }
}

async fn run(bench: &Bench, source: &mut Odd) -> Report {
    cycle(&bench.launcher, &bench.env, source, false, &CancellationToken::new()).await.report
}

fn sql(bench: &Bench, sql: &str) {
    rusqlite::Connection::open(Ledger::path(&bench.env.state)).unwrap().execute_batch(sql).unwrap();
}

fn quarantine(bench: &Bench) -> std::path::PathBuf {
    bench.env.state.join("quarantine").join(bench.launcher.name.file_stem())
}

fn retry(bench: &Bench, key: &str) {
    assert_eq!(bench.ledger().retry(Which::Short(&bench.sheet(key).line.key)).unwrap(), 1);
}

/// A message with a damaged part and a good one.
fn damaged(good: bool) -> Vec<u8> {
    let good = if good { "--b\r\nContent-Type: application/pdf; name=good.pdf\r\n\r\ngood\r\n" } else { "" };
    let cut =
        "--b\r\nContent-Type: application/pdf; name=cut.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAAA\r\n";
    format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{good}{cut}--b--\r\n").into_bytes()
}

fn holding(message: Vec<u8>) -> Odd {
    let script = Script { messages: BTreeMap::from([(1, message)]), ..Script::default() };
    Odd { script, ..Odd::default() }
}

#[tokio::test]
async fn the_only_copy_stays_in_quarantine_when_it_is_retried_in_vain() {
    let bench = Bench::new();
    let mut source = holding(damaged(false));
    assert_eq!(run(&bench, &mut source).await.items.quarantined, 1);
    source.script.messages.clear();
    for _ in 0..2 {
        retry(&bench, "old/1");
        assert_eq!(run(&bench, &mut source).await.items.quarantined, 1);
        let copy = quarantine(&bench).join(format!("{}.eml", bench.sheet("old/1").line.key));
        assert_eq!(fs::read(copy).unwrap(), damaged(false));
    }
}

#[tokio::test]
async fn what_was_delivered_in_part_is_not_delivered_again_after_a_retry_that_failed() {
    let bench = Bench::new();
    let mut source = holding(damaged(true));
    source.script.messages.insert(2, mail(2, &[("b.pdf", b"b")]));
    run(&bench, &mut source).await;
    source.past = true;
    assert_eq!(bench.names(), ["b.pdf", "good.pdf"]);
    for failures in [1, 3] {
        retry(&bench, "old/1");
        source.script.sick.insert(1);
        for _ in 0..failures {
            run(&bench, &mut source).await;
        }
        source.script.sick.clear();
        // marked still after the first failure, in quarantine in part after the third
        let marked = bench.lines().iter().filter(|line| line.retry).count();
        assert_eq!((marked, bench.ledger().retry(Which::Quarantined).unwrap()), (usize::from(failures == 1), 1));
        assert_eq!(run(&bench, &mut source).await.items.quarantined, 1);
        assert_eq!(bench.names(), ["b.pdf", "good.pdf"], "{failures} failures");
    }
}

#[tokio::test]
async fn a_kept_copy_that_cannot_be_delivered_is_kept_and_ends_in_quarantine() {
    let mut bench = Bench::new();
    let name = format!("{}!", "a".repeat(60));
    let mut source = holding(mail(1, &[(&name, b"a")]));
    run(&bench, &mut source).await;
    let spool = Spool::open(&bench.env.state.join("spool").join(bench.launcher.name.file_stem())).unwrap();
    retry(&bench, "old/1");
    let mut copy = spool.create(&ItemKey::new("old/1"));
    copy.write_all(&source.script.messages[&1]).unwrap();
    copy.finish().unwrap().keep(&spool, &ItemKey::new("old/1")).unwrap();
    source.script.messages.clear();
    bench.launcher.filter = vec![Pattern::parse(r"/(?=(a+)+)(a|aa)+\1$(?!b)/").unwrap()];
    for _ in 0..2 {
        assert_eq!(run(&bench, &mut source).await.items.failed, 1);
    }
    assert_eq!(run(&bench, &mut source).await.items.quarantined, 1);
    assert_eq!(names(&quarantine(&bench)).len(), 2);
    bench.launcher.filter.clear();
    assert_eq!(bench.ledger().retry(Which::Quarantined).unwrap(), 1);
    assert_eq!(run(&bench, &mut source).await.items.delivered, 1);
    assert_eq!((bench.names().len(), names(&quarantine(&bench)).len()), (2, 0));
}

#[tokio::test]
async fn a_small_file_that_nobody_saw_delivered_is_copied_before_it_is_deleted() {
    let (mut bench, drop) = Bench::of_directory();
    bench.launcher.after = Disposition::Delete;
    bench.launcher.keep = Duration::from_hours(1);
    assert_eq!(bench.fetch().await.items.delivered, 1);
    sql(&bench, "UPDATE item SET unconfirmed = 1");
    fs::remove_file(bench.deliver().join("a.pdf")).unwrap();
    bench.launcher.keep = Duration::ZERO;
    assert!(bench.fetch().await.is_success());
    assert!(names(&drop).is_empty());
    let key = bench.lines()[0].key.clone();
    assert_eq!(bench.ledger().retry(Which::Short(&key)).unwrap(), 1);
    assert_eq!(bench.fetch().await.items.delivered, 1);
    assert_eq!(fs::read_to_string(bench.deliver().join("a.pdf")).unwrap(), "one");
}

#[tokio::test]
async fn a_message_that_nobody_saw_delivered_is_copied_before_it_is_moved_away() {
    let mut bench = Bench::new();
    let mut source = holding(mail(1, &[("a.pdf", b"a")]));
    (bench.launcher.after, bench.launcher.keep) = (Disposition::Move("Done".into()), Duration::from_hours(1));
    run(&bench, &mut source).await;
    sql(&bench, "UPDATE item SET unconfirmed = 1");
    bench.launcher.keep = Duration::ZERO;
    run(&bench, &mut source).await;
    assert_eq!(source.script.acknowledged, [1]);
    source.script.messages.clear();
    retry(&bench, "old/1");
    assert_eq!(run(&bench, &mut source).await.items.delivered, 1);
}

#[tokio::test]
async fn a_message_that_is_taken_again_below_the_cursor_has_its_uid_in_its_name() {
    let mut bench = Bench::new();
    bench.launcher.template = crate::config::template::Template::document("{uid}-{name}").unwrap();
    let mut source = Odd { script: mailbox(1), ..Odd::default() };
    run(&bench, &mut source).await;
    source.past = true;
    retry(&bench, "old/1");
    assert_eq!(run(&bench, &mut source).await.items.delivered, 1);
    assert_eq!(bench.names(), ["1-facture (2).pdf", "1-facture.pdf"]);
}

#[tokio::test]
async fn reissued_keys_are_recognised_by_content_though_the_first_cycle_was_cut_short() {
    let bench = Bench::new();
    let mut source = Odd { script: mailbox(4), ..Odd::default() };
    assert_eq!(run(&bench, &mut source).await.items.delivered, 4);
    sql(&bench, "UPDATE item SET size = size + 1"); // this server counts otherwise
    source.script.reissued = true;
    source.script.break_after = Some(2);
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.already, report.error.unwrap().code), (2, Code::Connect));
    source.script.break_after = None;
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.already, report.items.delivered, bench.names().len()), (4, 0, 4), "{report:?}");
    // that is over: an equal message is new now
    let twin = source.script.messages[&1].clone();
    source.script.messages.insert(9, twin);
    assert_eq!(run(&bench, &mut source).await.items.delivered, 1);
}

#[tokio::test]
async fn reissued_keys_that_are_listed_twice_are_recognised_once() {
    let bench = Bench::new();
    let mut source = Odd { script: mailbox(1), twice: true, ..Odd::default() };
    let twin = source.script.messages[&1].clone();
    source.script.messages.insert(2, twin);
    assert_eq!(run(&bench, &mut source).await.items.delivered, 2);
    source.script.reissued = true;
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.already, report.items.found), (2, 2), "{report:?}");
}

#[tokio::test]
async fn a_dry_run_counts_what_waits_to_be_published() {
    let bench = Bench::new();
    let mut source = Odd { script: mailbox(2), ..Odd::default() };
    run(&bench, &mut source).await;
    sql(
        &bench,
        "UPDATE item SET stage = 'recorded', acknowledged = NULL WHERE id = 1; UPDATE part SET published = NULL WHERE item = 1",
    );
    let report = cycle(&bench.launcher, &bench.env, &mut source, true, &CancellationToken::new()).await.report;
    assert_eq!((report.items.delivered, report.items.already, report.files.delivered), (1, 1, 1), "{report:?}");
    assert_eq!(bench.ledger().recorded().unwrap().len(), 1);
}
