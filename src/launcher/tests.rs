//! The cycle with a scripted source, a real SQLite file and real directories.

mod deliver;
mod envelopes;
mod ledger_tool;
mod retry;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::FutureExt;

use super::*;
use crate::config::pattern::Pattern;
use crate::delivery::ledger::{self, Ledger};
use crate::delivery::spool::Spool;
use crate::model::{Digest, Disposition, Fault, ItemKey};
use crate::source::outlet::Outlet;
use crate::source::{Content, Cursor, Discovery, Fetched, Fingerprint, Item, SourceError};

/// A mailbox in memory: messages by key, and what is to go wrong.
#[derive(Default)]
struct Script {
    messages: BTreeMap<u32, Vec<u8>>,
    reissued: bool,
    /// The connection breaks after so many bodies.
    break_after: Option<usize>,
    /// This item fails by itself.
    sick: HashSet<u32>,
    /// Nobody knows when this item was received.
    undated: HashSet<u32>,
    acknowledged: Vec<u32>,
    refuse_finish: bool,
    /// It never says what it has.
    silent: bool,
    /// Removed while bodies arrive.
    pull_away: Option<std::path::PathBuf>,
    fetched: Vec<u32>,
}

fn number(key: &ItemKey) -> u32 {
    key.as_str().rsplit('/').next().unwrap().parse().unwrap()
}

#[async_trait]
impl Source for Script {
    async fn discover(&mut self, _: Option<&Cursor>) -> Result<Discovery, SourceError> {
        if self.silent {
            std::future::pending::<()>().await;
        }
        let prefix = if self.reissued { "new" } else { "old" };
        let item = |(n, body): (&u32, &Vec<u8>)| Item {
            key: ItemKey::new(format!("{prefix}/{n}")),
            hint: n.to_string(),
            size: Some(body.len() as u64),
            reissued: self.reissued,
        };
        Ok(Discovery {
            items: self.messages.iter().map(item).collect(),
            cursor: None,
            start: None,
            present: None,
            copies: 0,
            standing: false,
        })
    }

    async fn identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        let fingerprint = |item: &Item| {
            let body = &self.messages[&number(&item.key)];
            let head = body.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 2;
            (item.key.clone(), Fingerprint::of(&body[..head], Some(body.len() as u64)))
        };
        Ok(batch.iter().map(fingerprint).collect())
    }

    async fn fetch(&mut self, batch: &[Item], spool: &Spool, out: Outlet) -> Result<(), SourceError> {
        if let Some(directory) = &self.pull_away {
            fs::remove_dir_all(directory).unwrap();
        }
        for (count, item) in batch.iter().enumerate() {
            if self.break_after == Some(count) {
                let text = text!("broken", "rompue");
                return Err(SourceError::connection(Fault::new(Code::Connect, text)));
            }
            let n = number(&item.key);
            self.fetched.push(n);
            let content = if self.sick.contains(&n) {
                Err(Fault::new(Code::Protocol, text!("cannot be read", "illisible")))
            } else {
                let mut writer = spool.create(&item.key);
                writer.write_all(&self.messages[&n]).unwrap();
                let file = writer.finish().unwrap();
                let received = (!self.undated.contains(&n)).then(SystemTime::now);
                Ok(Content::Mail { file, folder: "INBOX".into(), received })
            };
            if out.send(Fetched { key: item.key.clone(), content }).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn acknowledge(&mut self, batch: &[ItemKey], _: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        self.acknowledged.extend(batch.iter().map(number));
        Ok(batch.to_vec())
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        if self.refuse_finish {
            let text = text!("no", "non");
            return Err(SourceError::connection(Fault::new(Code::Connect, text)));
        }
        Ok(())
    }
}

fn mail(n: u32, attachments: &[(&str, &[u8])]) -> Vec<u8> {
    let mut mail = format!(
        "From: Marie <marie@example.test>\r\nSubject: Facture {n}\r\nMessage-ID: <{n}@test>\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nBonjour\r\n"
    )
    .into_bytes();
    for (name, content) in attachments {
        mail.extend(
            format!(
                "--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
                 Content-Transfer-Encoding: 8bit\r\n\r\n"
            )
            .bytes(),
        );
        mail.extend(*content);
        mail.extend(b"\r\n");
    }
    mail.extend(b"--b--\r\n");
    mail
}

struct Bench {
    dir: tempfile::TempDir,
    launcher: Launcher,
    env: Env,
    told: Arc<Mutex<Vec<&'static str>>>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let deliver = dir.path().join("cold");
        fs::create_dir(&deliver).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let events = Events::to(move |event| sink.lock().unwrap().push(event.name));
        let env = Env::new(dir.path().join("state"), events);
        Self { launcher: launcher(&deliver), dir, env, told }
    }

    /// A launcher of a directory, in which `a.pdf` ("one") was dropped.
    fn of_directory() -> (Self, std::path::PathBuf) {
        let mut bench = Self::new();
        let drop = bench.dir.path().join("drop");
        fs::create_dir(&drop).unwrap();
        fs::write(drop.join("a.pdf"), "one").unwrap();
        bench.launcher.kind = Kind::Directory;
        bench.launcher.source = drop.to_string_lossy().into_owned();
        (bench, drop)
    }

    async fn run(&self, source: &mut Script) -> Report {
        cycle(&self.launcher, &self.env, source, false, &CancellationToken::new()).await.report
    }

    async fn fetch(&self) -> Report {
        once(&self.launcher, &self.env, false, &CancellationToken::new()).await.report
    }

    fn deliver(&self) -> &Path {
        &self.launcher.deliver
    }

    fn names(&self) -> Vec<String> {
        names(self.deliver())
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(&self.env.state, &self.launcher.name).unwrap()
    }

    /// Items at whose source something is left to do.
    fn pending(&self) -> usize {
        let ledger = self.ledger();
        [false, true].iter().map(|empty| ledger.pending(*empty, Duration::ZERO).unwrap().len()).sum()
    }

    fn lines(&self) -> Vec<ledger::Line> {
        let mut lines = Vec::new();
        ledger::list(&Ledger::path(&self.env.state), ledger::Selection::default(), |line| lines.push(line)).unwrap();
        lines
    }

    fn sheet(&self, key: &str) -> ledger::Sheet {
        let path = Ledger::path(&self.env.state);
        let short = ledger::resolve(&path, "factures", key).unwrap().remove(0);
        ledger::show(&path, "factures", &short).unwrap().unwrap()
    }

    fn staging(&self) -> std::path::PathBuf {
        let folder = crate::delivery::staging::Staging::folder_name(&self.env.state, &self.launcher.name);
        staging_root(&self.launcher).join(folder)
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(super) fn launcher(deliver: &Path) -> Launcher {
    let deliver = deliver.display();
    let text = format!(
        "[factures]\nlauncher = imap\nserver = imap.example.test\naccount = a\npassword = p\n\
         deliver = {deliver}\nmax_size = 1M\n"
    );
    let path = Path::new("test.ini");
    let config = crate::config::load_bytes(path, text.as_bytes(), &crate::config::Overrides::default());
    Launcher { settle: Duration::ZERO, ..config.unwrap().launchers.remove(0) }
}

fn mailbox(count: u32) -> Script {
    let messages = (1..=count).map(|n| (n, mail(n, &[("facture.pdf", format!("content {n}").as_bytes())])));
    Script { messages: messages.collect(), ..Script::default() }
}

#[tokio::test]
async fn everything_is_delivered_once_and_a_second_cycle_delivers_nothing() {
    let bench = Bench::new();
    let mut source = mailbox(150);
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.found, report.items.delivered, report.files.delivered), (150, 150, 150), "{report:?}");
    let contents: HashSet<_> =
        bench.names().iter().map(|name| fs::read_to_string(bench.deliver().join(name)).unwrap()).collect();
    assert_eq!(contents.len(), 150);
    assert!(bench.names().contains(&"facture (150).pdf".to_owned()));
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.already, report.files.delivered), (150, 0));
    assert_eq!(source.fetched.len(), 150);
}

#[tokio::test]
async fn a_source_that_lists_for_long_is_not_waited_for_when_the_launcher_stops() {
    let bench = Bench::new();
    let (mut source, stop) = (Script { silent: true, ..mailbox(1) }, CancellationToken::new());
    let running = cycle(&bench.launcher, &bench.env, &mut source, false, &stop);
    let (outcome, ()) = tokio::join!(running, async { stop.cancel() });
    assert!(outcome.report.error.is_none() && bench.names().is_empty(), "{:?}", outcome.report);
    source.silent = false;
    assert_eq!(bench.run(&mut source).await.items.delivered, 1, "the next cycle goes on");
}

#[test]
fn a_batch_counts_what_arrived_also_where_the_list_tells_no_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, key) = (Spool::open(dir.path()).unwrap(), ItemKey::new("k"));
    let mut writer = spool.create(&key);
    writer.write_all(b"12345").unwrap();
    let file = writer.finish().unwrap();
    let mail = Content::Mail { file, folder: "INBOX".into(), received: None };
    assert_eq!(super::cycle::weight(&Ok(mail)), 5);
    assert_eq!(super::cycle::weight(&Ok(Content::Gone)), 0);
}

#[tokio::test]
async fn a_broken_connection_keeps_what_arrived_and_the_next_cycle_takes_the_rest() {
    let bench = Bench::new();
    let mut source = mailbox(5);
    source.break_after = Some(3);
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.delivered, report.error.unwrap().code), (3, Code::Connect));
    source.break_after = None;
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.delivered, report.items.already), (2, 3));
    assert_eq!(bench.names().len(), 5);
}

#[tokio::test]
async fn a_sick_item_fails_alone_and_goes_to_quarantine_the_third_time() {
    let bench = Bench::new();
    let mut source = mailbox(3);
    source.sick.insert(2);
    for delivered in [2, 0] {
        let report = bench.run(&mut source).await;
        assert_eq!((report.items.failed, report.items.delivered), (1, delivered));
        assert!(!report.is_success());
    }
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.failed, report.items.quarantined), (0, 1));
    assert!(report.is_success());
    let quarantine = bench.env.state.join("quarantine").join(bench.launcher.name.file_stem());
    let reason = fs::read_to_string(quarantine.join(&names(&quarantine)[0])).unwrap();
    assert!(reason.contains("cannot be read") && reason.contains("illisible"), "{reason}");
    assert_eq!(bench.run(&mut source).await.items.already, 3);
}

#[tokio::test]
async fn filters_judge_names_senders_and_subjects() {
    let mut bench = Bench::new();
    bench.launcher.filter = vec![Pattern::parse(r"/.*\.(?!db).*/").unwrap()];
    bench.launcher.filter_subject = vec![Pattern::parse("/Facture/").unwrap()];
    bench.launcher.filter_from = vec![Pattern::parse("/marie@/i").unwrap()];
    let mut source = Script::default();
    source.messages.insert(1, mail(1, &[("a.pdf", b"a"), ("thumbs.db", b"b")]));
    source.messages.insert(2, mail(2, &[("thumbs.db", b"b")]));
    let mut other = String::from_utf8(mail(3, &[("c.pdf", b"c")])).unwrap();
    other = other.replace("Subject: Facture", "Subject: Publicit");
    source.messages.insert(3, other.into_bytes());
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.delivered, report.items.empty, report.items.rejected), (1, 1, 1), "{report:?}");
    assert_eq!((report.files.delivered, report.files.filtered), (1, 2));
    assert_eq!(bench.names(), ["a.pdf"]);
    assert_eq!(bench.run(&mut source).await.items.already, 3);
}

#[tokio::test]
async fn a_pattern_that_reaches_its_limit_fails_its_item_and_names_itself() {
    let mut bench = Bench::new();
    bench.launcher.filter = vec![Pattern::parse(r"/(?=(a+)+)(a|aa)+\1$(?!b)/").unwrap()];
    let name = format!("{}!", "a".repeat(60));
    let mut source = Script::default();
    source.messages.insert(1, mail(1, &[(&name, b"a")]));
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.failed, bench.names().len()), (1, 0), "{report:?}");
}

#[tokio::test]
async fn a_damaged_part_stays_back_and_the_message_is_never_acknowledged() {
    let mut bench = Bench::new();
    bench.launcher.after = Disposition::Delete;
    let body = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/pdf; name=cut.pdf\r\n\
                Content-Transfer-Encoding: base64\r\n\r\nAAAAA\r\n--b\r\nContent-Type: application/pdf; name=good.pdf\r\n\
                \r\ngood\r\n--b--\r\n";
    let mut source = Script::default();
    source.messages.insert(1, body.into());
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.quarantined, report.files.delivered, report.files.quarantined), (1, 1, 1), "{report:?}");
    assert_eq!(bench.names(), ["good.pdf"]);
    assert!(source.acknowledged.is_empty());
}

#[tokio::test]
async fn what_is_too_large_is_never_fetched() {
    let mut bench = Bench::new();
    bench.launcher.max_size = 400;
    let mut source = mailbox(1);
    source.messages.insert(2, mail(2, &[("big.pdf", &[b'x'; 1000])]));
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.delivered, report.items.quarantined, source.fetched.as_slice()), (1, 1, &[1][..]));
    let sheet = bench.sheet("old/2");
    assert!(sheet.line.reason.unwrap().en.contains("max_size (400)"));
    assert_eq!(sheet.acknowledged, None, "nothing was done at its source");
}

#[tokio::test]
async fn the_source_is_changed_only_after_delivery_and_only_once_it_took_effect() {
    let mut bench = Bench::new();
    bench.launcher.after = Disposition::Seen;
    bench.launcher.after_empty = Disposition::Delete;
    let mut source = mailbox(2);
    source.messages.insert(3, mail(3, &[]));
    source.refuse_finish = true;
    let report = bench.run(&mut source).await;
    assert_eq!(report.error.unwrap().code, Code::Connect);
    assert_eq!(bench.pending(), 3);
    source.refuse_finish = false;
    bench.run(&mut source).await;
    assert_eq!(bench.pending(), 0);
    assert_eq!(source.acknowledged, [1, 2, 3, 1, 2, 3]);
    bench.run(&mut source).await;
    assert_eq!(source.acknowledged.len(), 6);
}

#[tokio::test]
async fn an_old_delivery_is_left_alone_when_after_is_changed() {
    let mut bench = Bench::new();
    let mut source = mailbox(2);
    bench.run(&mut source).await;
    bench.launcher.after = Disposition::Delete;
    bench.run(&mut source).await;
    assert!(source.acknowledged.is_empty());
}

#[tokio::test]
async fn reissued_keys_are_recognised_and_counted() {
    let bench = Bench::new();
    let mut source = mailbox(2);
    // two equal messages: same Message-ID, same bytes
    let twin = source.messages[&1].clone();
    source.messages.insert(101, twin.clone());
    assert_eq!(bench.run(&mut source).await.items.delivered, 3);
    source.reissued = true;
    source.messages.insert(201, twin);
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.already, report.items.delivered), (3, 1), "{report:?}");
    assert_eq!(bench.names().len(), 4);
}

#[tokio::test]
async fn a_twin_that_could_not_be_taken_at_once_is_not_mistaken_for_its_delivered_twin() {
    let bench = Bench::new();
    let mut source = mailbox(1);
    bench.run(&mut source).await;
    source.reissued = true;
    source.messages.insert(101, source.messages[&1].clone());
    source.break_after = Some(0);
    bench.run(&mut source).await;
    source.break_after = None;
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.already, report.items.delivered), (1, 1), "{report:?}");
}

#[tokio::test]
async fn recovery_publishes_what_is_staged_and_confirms_what_is_gone() {
    let bench = Bench::new();
    let mut source = mailbox(3);
    // a delivery directory that cannot be written to stands for a crash between record and publish
    let taken = bench.deliver().join("facture.pdf");
    bench.run(&mut Script::default()).await;
    let report = {
        bench.run(&mut source).await;
        fs::remove_file(&taken).unwrap();
        let ledger = rusqlite::Connection::open(Ledger::path(&bench.env.state)).unwrap();
        ledger
            .execute_batch("UPDATE item SET stage = 'recorded', acknowledged = NULL; UPDATE part SET published = NULL;")
            .unwrap();
        let staged = bench.staging();
        fs::write(staged.join(ledger_staged(&ledger, 2)), "content 2").unwrap();
        drop(ledger);
        bench.run(&mut source).await
    };
    assert_eq!((report.items.delivered, report.files.delivered, report.items.already), (3, 1, 0), "{report:?}");
    assert_eq!(source.fetched.len(), 3);
    let told = bench.told.lock().unwrap();
    assert_eq!(told.iter().filter(|name| **name == "item_unconfirmed").count(), 2);
}

fn ledger_staged(ledger: &rusqlite::Connection, item: i64) -> String {
    ledger.query_row("SELECT staged FROM part WHERE item = ?1", [item], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_lost_ledger_stops_the_launcher_until_it_is_adopted() {
    let bench = Bench::new();
    let mut source = mailbox(3);
    bench.run(&mut source).await;
    fs::remove_dir_all(&bench.env.state).unwrap();
    source.messages.insert(4, mail(4, &[("late.pdf", b"late")]));
    let fault = bench.run(&mut source).await.error.unwrap();
    assert_eq!(fault.code, Code::Ledger);
    assert!(fault.text.en.contains("pertuis ledger adopt factures"), "{fault}");
    assert_eq!(bench.names().len(), 3);
    assert_eq!(adopt(&bench.launcher, &bench.env, &mut source, None).await.unwrap(), 4);
    source.messages.insert(5, mail(5, &[("new.pdf", b"new")]));
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.already, report.items.delivered), (4, 1), "{report:?}");
}

#[tokio::test]
async fn what_was_adopted_is_known_under_new_keys_and_a_failed_item_is_adopted_too() {
    let bench = Bench::new();
    let mut source = mailbox(3);
    source.sick.insert(2);
    source.break_after = Some(2);
    assert_eq!(bench.run(&mut source).await.items.failed, 1);
    assert_eq!(adopt(&bench.launcher, &bench.env, &mut source, None).await.unwrap(), 2);
    (source.break_after, source.reissued) = (None, true);
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.already, report.items.delivered), (3, 0), "{report:?}");
    assert_eq!(bench.names().len(), 1);
}

#[tokio::test]
async fn a_file_that_came_back_can_be_adopted() {
    let (bench, drop) = Bench::of_directory();
    let aside = bench.dir.path().join("a.pdf");
    bench.fetch().await;
    crate::delivery::replace(&drop.join("a.pdf"), &aside).unwrap();
    bench.fetch().await;
    crate::delivery::replace(&aside, &drop.join("a.pdf")).unwrap();
    let mut source = source(&bench.launcher, &bench.env);
    assert_eq!(adopt(&bench.launcher, &bench.env, source.as_mut(), None).await.unwrap(), 1);
    assert_eq!(bench.fetch().await.items.already, 1);
}

#[tokio::test]
async fn a_dry_run_says_too_that_the_ledger_was_lost() {
    let bench = Bench::new();
    let mut source = mailbox(1);
    bench.run(&mut source).await;
    fs::remove_file(Ledger::path(&bench.env.state)).unwrap();
    let stop = CancellationToken::new();
    let report = cycle(&bench.launcher, &bench.env, &mut source, true, &stop).await.report;
    assert_eq!(report.error.unwrap().code, Code::Ledger);
}

#[tokio::test]
async fn reading_the_ledger_leaves_no_file_behind() {
    let bench = Bench::new();
    let mut source = mailbox(1);
    bench.run(&mut source).await;
    let before = names(&bench.env.state);
    let stop = CancellationToken::new();
    cycle(&bench.launcher, &bench.env, &mut source, true, &stop).await;
    bench.lines();
    assert_eq!(names(&bench.env.state), before);
}

#[tokio::test]
async fn an_item_is_counted_once_when_the_delivery_directory_goes_away_in_the_middle() {
    let bench = Bench::new();
    let mut source = mailbox(3);
    source.pull_away = Some(bench.deliver().to_owned());
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.found, report.items.delivered, report.items.failed), (3, 0, 3), "{report:?}");
    assert_eq!(report.error.unwrap().code, Code::Deliver);
    source.pull_away = None;
    fs::create_dir(bench.deliver()).unwrap();
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.found, report.items.delivered, report.files.delivered), (3, 3, 3), "{report:?}");
    assert_eq!(bench.names().len(), 3);
}

#[tokio::test]
async fn a_staging_folder_that_is_older_than_the_ledger_does_not_count_as_published() {
    let mut bench = Bench::new();
    bench.launcher.after = Disposition::Delete;
    bench.run(&mut mailbox(1)).await;
    let mut source = mailbox(3);
    source.pull_away = Some(bench.deliver().to_owned());
    bench.run(&mut source).await;
    source.pull_away = None;
    fs::create_dir(bench.deliver()).unwrap();
    // what a restored volume looks like
    fs::remove_dir_all(bench.staging()).unwrap();
    fs::create_dir(bench.staging()).unwrap();
    fs::write(bench.staging().join("generation"), "1\n").unwrap();
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.delivered, report.error.unwrap().code), (0, Code::Deliver));
    adopt(&bench.launcher, &bench.env, &mut source, None).await.unwrap();
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.already, report.error.is_none()), (3, true), "{report:?}");
    assert!(source.acknowledged.is_empty(), "what was given up is not deleted at the source");
}

#[tokio::test]
async fn a_staging_folder_that_lost_its_content_is_noticed_before_anything_counts_as_published() {
    let bench = Bench::new();
    let mut source = mailbox(1);
    bench.run(&mut source).await;
    let ledger = rusqlite::Connection::open(Ledger::path(&bench.env.state)).unwrap();
    ledger
        .execute_batch("UPDATE item SET stage = 'recorded', acknowledged = NULL; UPDATE part SET published = NULL;")
        .unwrap();
    fs::remove_dir_all(bench.staging()).unwrap();
    let fault = bench.run(&mut source).await.error.unwrap();
    assert_eq!(fault.code, Code::Deliver);
    assert_eq!(bench.ledger().recorded().unwrap().len(), 1);
}

#[tokio::test]
async fn a_missing_delivery_directory_is_an_error_and_is_not_made() {
    let bench = Bench::new();
    fs::remove_dir(bench.deliver()).unwrap();
    let fault = bench.run(&mut mailbox(1)).await.error.unwrap();
    assert_eq!(fault.code, Code::Deliver);
    assert!(!bench.deliver().exists());
}

#[tokio::test]
async fn an_item_that_cannot_be_published_is_counted_once_and_published_by_the_next_cycle() {
    let mut bench = Bench::new();
    let mut source = mailbox(2);
    // the directory vanishes between the record and the rename: the names are promised to another one
    let lost = bench.dir.path().join("lost");
    fs::create_dir(&lost).unwrap();
    let deliver = std::mem::replace(&mut bench.launcher.deliver, lost.clone());
    crash_after_crossing(4);
    let crashed = AssertUnwindSafe(bench.run(&mut source)).catch_unwind().await;
    crash_after_crossing(None);
    assert!(crashed.is_err());
    fs::remove_dir(&lost).unwrap();
    bench.launcher.deliver = deliver;
    let report = bench.run(&mut source).await;
    assert_eq!(report.error.as_ref().unwrap().code, Code::Deliver);
    assert_eq!((report.items.found, report.items.delivered, report.items.failed), (2, 0, 2), "{report:?}");
    fs::create_dir(&lost).unwrap();
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.found, report.items.delivered), (2, 2), "{report:?}");
    assert_eq!(names(&lost).len(), 2);
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.launcher.after = Disposition::Delete;
    let mut source = mailbox(3);
    let stop = CancellationToken::new();
    let report = cycle(&bench.launcher, &bench.env, &mut source, true, &stop).await.report;
    assert_eq!((report.items.delivered, report.files.delivered), (3, 3));
    assert!(source.acknowledged.is_empty() && bench.names().is_empty());
    assert_eq!(names(bench.dir.path()), ["cold"]);
}

#[tokio::test]
async fn a_second_cycle_of_the_same_launcher_is_busy() {
    let bench = Bench::new();
    let lock = crate::delivery::lock::Lock::take(&bench.env.state, &bench.launcher.name).unwrap();
    assert_eq!(bench.run(&mut mailbox(1)).await.error.unwrap().code, Code::Busy);
    drop(lock);
    assert_eq!(bench.run(&mut mailbox(1)).await.items.delivered, 1);
}

#[tokio::test]
async fn nothing_but_finished_files_stands_in_the_delivery_directory_and_staging_is_swept() {
    let bench = Bench::new();
    bench.run(&mut mailbox(2)).await;
    fs::write(bench.staging().join("left-over.1"), "half").unwrap();
    bench.run(&mut mailbox(2)).await;
    assert_eq!(names(&bench.staging()), ["generation"]);
    let spool = bench.env.state.join("spool").join(bench.launcher.name.file_stem());
    assert!(names(&spool).is_empty());
}

#[tokio::test]
async fn a_directory_delivers_each_file_once_and_again_when_it_came_back() {
    let (bench, drop) = Bench::of_directory();
    assert_eq!(bench.fetch().await.items.delivered, 1);
    assert_eq!(bench.fetch().await.items.already, 1);
    let aside = bench.dir.path().join("a.pdf");
    crate::delivery::replace(&drop.join("a.pdf"), &aside).unwrap();
    assert_eq!(bench.fetch().await.items.found, 0);
    crate::delivery::replace(&aside, &drop.join("a.pdf")).unwrap();
    assert_eq!(bench.fetch().await.items.delivered, 1);
    assert_eq!(bench.names(), ["a (2).pdf", "a.pdf"]);
}

#[tokio::test]
async fn a_share_that_was_not_mounted_for_a_while_brings_nothing_again() {
    let (bench, drop) = Bench::of_directory();
    assert_eq!(bench.fetch().await.items.delivered, 1);
    let aside = bench.dir.path().join("share");
    crate::delivery::replace(&drop, &aside).unwrap();
    fs::create_dir(&drop).unwrap();
    for _ in 0..3 {
        assert_eq!(bench.fetch().await.items.found, 0);
    }
    fs::remove_dir(&drop).unwrap();
    crate::delivery::replace(&aside, &drop).unwrap();
    assert_eq!(bench.fetch().await.items.already, 1);
    assert_eq!(bench.names(), ["a.pdf"]);
}

#[tokio::test]
async fn a_dropped_file_is_deleted_after_delivery() {
    let (mut bench, drop) = Bench::of_directory();
    bench.launcher.after = Disposition::Delete;
    assert_eq!(bench.fetch().await.items.delivered, 1);
    assert!(names(&drop).is_empty());
    assert_eq!(fs::read_to_string(bench.deliver().join("a.pdf")).unwrap(), "one");
}

#[tokio::test]
async fn the_ledger_tells_what_was_delivered() {
    let bench = Bench::new();
    bench.run(&mut mailbox(1)).await;
    let keys: Vec<_> = bench.lines().into_iter().map(|line| line.key).collect();
    let sheet = bench.sheet(&keys[0]);
    assert_eq!(sheet.message_id.as_deref(), Some("<1@test>"));
    assert_eq!(sheet.line.title.as_deref(), Some("Facture 1"));
    assert_eq!(sheet.parts[0].sha256, Some(Digest::of(b"content 1")));
    assert!(keys[0].starts_with("1-"));
}

#[tokio::test(start_paused = true)]
async fn the_loop_goes_on_after_errors_and_stops_when_it_is_told_to() {
    let bench = Bench::new();
    let mut launcher = bench.launcher.clone();
    launcher.kind = Kind::Directory;
    launcher.source = "/nowhere/at/all".into();
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(Arc::new(launcher), bench.env.clone(), stop.clone()));
    while bench.told.lock().unwrap().iter().filter(|name| **name == "cycle_failed").count() < 3 {
        tokio::time::sleep(Duration::from_secs(10)).await; // paused clock: time passes only here
    }
    stop.cancel();
    running.await.unwrap();
}

thread_local! {
    /// How many boundaries of the cycle may still be crossed before this thread, or one that it carries work to, "crashes".
    static CROSSINGS: RefCell<Option<Arc<AtomicU32>>> = const { RefCell::new(None) };
}

fn crash_after_crossing(boundaries: impl Into<Option<u32>>) {
    CROSSINGS.set(boundaries.into().map(|boundaries| Arc::new(AtomicU32::new(boundaries))));
}

/// The boundaries that `work` crosses on another thread are counted with those of this one.
pub(super) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let crossings = CROSSINGS.with_borrow(Clone::clone);
    move || {
        CROSSINGS.set(crossings);
        let done = work();
        CROSSINGS.set(None);
        done
    }
}

/// Called by the cycle between two steps.
pub(super) fn boundary() {
    CROSSINGS.with_borrow(|left| {
        let Some(left) = left else { return };
        assert_ne!(left.load(Ordering::Relaxed), 0, "crash");
        left.fetch_sub(1, Ordering::Relaxed);
    });
}

/// Takes every file out of the delivery directory, as the COLD does.
fn consume(deliver: &Path, arrived: &mut Vec<String>) {
    for name in names(deliver) {
        arrived.push(fs::read_to_string(deliver.join(&name)).unwrap());
        fs::remove_file(deliver.join(name)).unwrap();
    }
}

/// Runs cycles over three messages with five documents, the first one stopped after `crossings` boundaries; true
/// when it was stopped. Whatever happens, every document must arrive exactly once.
async fn crash_after(crossings: u32) -> bool {
    let mut bench = Bench::new();
    bench.launcher.after = Disposition::Delete;
    let mut source = mailbox(2);
    source.messages.insert(3, mail(3, &[("a.pdf", b"a"), ("facture.pdf", b"b"), ("a.pdf", b"c")]));
    source.messages.insert(4, mail(4, &[]));
    let mut arrived = Vec::new();
    crash_after_crossing(crossings);
    let first = AssertUnwindSafe(bench.run(&mut source)).catch_unwind().await;
    crash_after_crossing(None);
    consume(bench.deliver(), &mut arrived);
    let report = bench.run(&mut source).await;
    assert!(report.is_success(), "after {crossings} boundaries: {report:?}");
    consume(bench.deliver(), &mut arrived);
    arrived.sort();
    assert_eq!(arrived, ["a", "b", "c", "content 1", "content 2"], "after {crossings} boundaries");
    assert!(source.acknowledged.contains(&3), "after {crossings} boundaries");
    assert_eq!(bench.pending(), 0, "after {crossings} boundaries");
    first.is_err()
}

#[tokio::test]
async fn a_crash_at_any_boundary_loses_nothing_and_doubles_nothing() {
    let mut crossings = 0;
    while crash_after(crossings).await {
        crossings += 1;
    }
    assert!(crossings > 15, "only {crossings} boundaries were crossed");
}
