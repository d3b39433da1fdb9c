//! The IMAP source, against the small scripted server and against a real Dovecot.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // the helpers of tests are tests too

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pertuis::config::launcher::{Auth, Since, Tls};
use pertuis::config::{self, Address, Check, Launcher, Overrides};
use pertuis::delivery::spool::Spool;
use pertuis::demo::mailbox::{Mailbox, Trouble};
use pertuis::event::Events;
use pertuis::model::{Code, Disposition, Fault, ItemKey};
use pertuis::secret::Secret;
use pertuis::source::imap::Imap;
use pertuis::source::outlet::outlet;
use pertuis::source::{Content, Cursor, Discovery, Fetched, Item, Source, SourceError, Wake};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::support::ca::TestCa;
use crate::support::dovecot::{self, Dovecot};

const ACCOUNT: &str = "marie@example.org";
const PASSWORD: &str = "s3\"cr\\et é";

fn launcher(server: SocketAddr, account: &str, password: &str) -> Launcher {
    let text = format!(
        "[factures]\nlauncher = imap\nserver = {server}\ntls = none\nsource = inbox\naccount = {account}\n\
         password = text:x\ndeliver = /nowhere\n"
    );
    let config = config::load_bytes(Path::new("test.ini"), text.as_bytes(), &Overrides::default());
    Launcher { password: Some(Secret::new(password)), idle: false, ..config.unwrap().launchers.remove(0) }
}

/// A source, its spool, and what it told.
struct Bench {
    imap: Imap,
    spool: Spool,
    told: Arc<Mutex<Vec<String>>>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(launcher: Launcher) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&told);
        let events = Events::to(move |event| list.lock().unwrap().push(format!("{}: {}", event.name, event.text)));
        let imap = Imap::new(launcher, events).with_patience(Duration::from_secs(20));
        Self { imap, spool: Spool::open(dir.path()).unwrap(), told, dir }
    }

    async fn discover(&mut self, cursor: Option<&Cursor>) -> Discovery {
        self.imap.discover(cursor).await.unwrap()
    }

    async fn fetch(&mut self, items: &[Item]) -> (Vec<Fetched>, Result<(), SourceError>) {
        let (sender, mut receiver) = outlet(1);
        let collect = async {
            let mut all = Vec::new();
            while let Some(fetched) = receiver.recv().await {
                all.push(fetched);
            }
            all
        };
        let (result, all) = tokio::join!(self.imap.fetch(items, &self.spool, sender), collect);
        (all, result)
    }

    /// What was fetched: UID → content of the message, or what became of it.
    async fn bodies(&mut self, items: &[Item]) -> BTreeMap<u32, Result<Option<Vec<u8>>, Fault>> {
        let (fetched, result) = self.fetch(items).await;
        result.unwrap();
        assert_eq!(fetched.len(), items.len(), "each item is answered once");
        fetched.into_iter().map(|fetched| (uid(&fetched.key), content(fetched.content))).collect()
    }

    fn told(&self, name: &str) -> bool {
        self.told.lock().unwrap().iter().any(|line| line.starts_with(name))
    }
}

fn content(content: Result<Content, Fault>) -> Result<Option<Vec<u8>>, Fault> {
    match content? {
        Content::Mail { file, folder, received } => {
            assert!(received.is_some() && !folder.is_empty());
            let mut bytes = Vec::new();
            file.open().unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(file.size, bytes.len() as u64);
            Ok(Some(bytes))
        }
        Content::Gone => Ok(None),
        Content::File { .. } | Content::Envelope { .. } => panic!("a mailbox has no dropped files"),
    }
}

fn reissued(found: &Discovery) -> bool {
    assert!(!found.items.is_empty());
    found.items.iter().all(|item| item.reissued)
}

fn uid(key: &ItemKey) -> u32 {
    let (_, _, _, uid): (String, String, u32, u32) = serde_json::from_str(key.as_str()).unwrap();
    uid
}

fn uids(items: &[Item]) -> Vec<u32> {
    items.iter().map(|item| uid(&item.key)).collect()
}

fn keys(items: &[Item]) -> Vec<ItemKey> {
    items.iter().map(|item| item.key.clone()).collect()
}

/// A mail that differs from every other, with lines that look like the protocol.
fn mail(n: usize) -> Vec<u8> {
    let filler = "* 1 FETCH (BODY[] {5}\r\nA1 OK {3}\r\n.\r\n)\r\n".repeat(n * 7 % 60);
    format!("Message-ID: <m{n}@example.org>\r\nSubject: Facture n° {n}\r\n\r\n{filler}fin {n}\r\n").into_bytes()
}

async fn mailbox(count: usize) -> Mailbox {
    let mailbox = Mailbox::start(ACCOUNT, PASSWORD).await.unwrap();
    for n in 1..=count {
        mailbox.append("INBOX", &mail(n));
    }
    mailbox
}

fn bench(mailbox: &Mailbox) -> Bench {
    Bench::new(launcher(mailbox.address(), ACCOUNT, PASSWORD))
}

fn every_mail(count: usize) -> BTreeMap<u32, Result<Option<Vec<u8>>, String>> {
    (1..=count).map(|n| (u32::try_from(n).unwrap(), Ok(Some(mail(n))))).collect()
}

fn plain(bodies: BTreeMap<u32, Result<Option<Vec<u8>>, Fault>>) -> BTreeMap<u32, Result<Option<Vec<u8>>, String>> {
    bodies.into_iter().map(|(uid, body)| (uid, body.map_err(|fault| fault.to_string()))).collect()
}

#[tokio::test]
async fn every_message_arrives_byte_for_byte_and_the_mailbox_stays_as_it_was() {
    let mailbox = mailbox(300).await;
    mailbox.flag("INBOX", 7, &["\\Flagged", "$Facture"]);
    let before = mailbox.messages("INBOX");
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    assert!(!reissued(&found));
    assert_eq!(uids(&found.items), (1..=300).collect::<Vec<_>>());
    assert!(found.items.iter().zip(1..).all(|(item, n)| item.size == Some(mail(n).len() as u64)));
    assert_eq!(found.items[6].hint, "7");
    assert_eq!(found.items[6].key.as_str(), format!("[\"{ACCOUNT}\",\"INBOX\",1,7]"));
    assert_eq!(plain(bench.bodies(&found.items).await), every_mail(300));
    bench.imap.finish().await.unwrap();
    assert_eq!(mailbox.messages("INBOX"), before);
    let commands = mailbox.commands();
    assert!(commands.contains(&"EXAMINE INBOX".to_owned()) && commands.last().unwrap() == "LOGOUT", "{commands:?}");
    assert!(commands.iter().all(|line| line.len() < 4096 && !line.contains("STORE") && !line.contains(PASSWORD)));
}

#[tokio::test]
async fn a_dry_run_opens_the_folder_for_reading_only() {
    let mailbox = mailbox(2).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
    (config.after, config.after_empty) = (Disposition::Delete, Disposition::Delete);
    dir.path().clone_into(&mut config.deliver);
    let env = pertuis::launcher::Env::new(dir.path().join("state"), Events::nowhere());
    let stop = tokio_util::sync::CancellationToken::new();
    let report = pertuis::launcher::once(&config, &env, true, &stop).await.report;
    assert_eq!((report.items.found, report.error.is_none()), (2, true));
    let commands = mailbox.commands();
    assert!(commands.iter().all(|line| !line.starts_with("SELECT")), "{commands:?}");
}

#[tokio::test]
async fn the_cursor_lists_only_what_is_new() {
    let mailbox = mailbox(3).await;
    let mut bench = bench(&mailbox);
    let first = bench.discover(None).await;
    let cursor = first.cursor.unwrap();
    let second = bench.discover(Some(&cursor)).await;
    assert!(second.items.is_empty());
    assert_eq!(second.cursor.as_ref(), Some(&cursor));
    mailbox.append("INBOX", &mail(4));
    let third = bench.discover(Some(&cursor)).await;
    assert_eq!(uids(&third.items), [4]);
    assert!(mailbox.commands().contains(&"UID SEARCH UID 4:*".to_owned()));
}

#[tokio::test]
async fn a_new_uidvalidity_lists_everything_and_says_so_and_messages_are_recognised() {
    let mailbox = mailbox(3).await;
    let mut bench = bench(&mailbox);
    let before = bench.discover(None).await;
    let known = bench.imap.identify(&before.items).await.unwrap();
    mailbox.renumber("INBOX");
    let after = bench.discover(before.cursor.as_ref()).await;
    assert!(reissued(&after));
    assert_eq!(uids(&after.items), [1001, 1002, 1003]);
    let again = bench.imap.identify(&after.items).await.unwrap();
    let prints = |list: &[(ItemKey, pertuis::source::Fingerprint)]| {
        list.iter().map(|(_, print)| print.clone()).collect::<Vec<_>>()
    };
    assert_eq!(prints(&again), prints(&known));
    assert_eq!(again[0].1.message_id.as_deref(), Some("<m1@example.org>"));
    assert_eq!(again[0].1.size, Some(mail(1).len() as u64));
    // keys of before are gone, for fetch and for acknowledge
    assert_eq!(plain(bench.bodies(&before.items).await), [(1, Ok(None)), (2, Ok(None)), (3, Ok(None))].into());
    let done = bench.imap.acknowledge(&keys(&before.items), &Disposition::Delete).await.unwrap();
    assert_eq!(done, keys(&before.items));
    assert!(bench.told("imap_renumbered"));
    assert_eq!(mailbox.messages("INBOX").len(), 3);
}

#[tokio::test]
async fn a_cursor_of_another_account_hides_no_message() {
    // many servers number the folders of all accounts alike
    let mailbox = mailbox(3).await;
    let cursor = bench(&mailbox).discover(None).await.cursor.unwrap();
    let other = Mailbox::start("jean@example.org", PASSWORD).await.unwrap();
    other.append("INBOX", &mail(1));
    let found = Bench::new(launcher(other.address(), "jean@example.org", PASSWORD)).discover(Some(&cursor)).await;
    assert!(reissued(&found));
    assert_eq!(uids(&found.items), [1]);
}

#[tokio::test]
async fn unseen_and_since_are_asked_of_the_server() {
    let mailbox = mailbox(3).await;
    mailbox.flag("INBOX", 2, &["\\Seen"]);
    let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
    config.unseen_only = true;
    config.since = Some(Since::Date(jiff::civil::date(2026, 2, 1)));
    let mut bench = Bench::new(config);
    let found = bench.discover(None).await;
    assert_eq!(uids(&found.items), [1, 3]);
    assert_eq!(uids(&bench.discover(found.cursor.as_ref()).await.items), [1, 3], "no cursor among unseen messages");
    assert!(mailbox.commands().contains(&"UID SEARCH ALL UNSEEN SINCE 1-Feb-2026".to_owned()));
    mailbox.renumber("INBOX");
    assert!(reissued(&bench.discover(found.cursor.as_ref()).await));
}

#[tokio::test]
async fn an_earlier_since_brings_back_what_was_passed_over() {
    let mailbox = mailbox(2).await;
    let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
    config.since = Some(Since::Date(jiff::civil::date(2100, 1, 1)));
    let nothing = Bench::new(config.clone()).discover(None).await;
    assert_eq!(nothing.items.len(), 0);
    mailbox.append("INBOX", &mail(3));
    config.since = Some(Since::Back(Duration::from_hours(24)));
    assert_eq!(uids(&Bench::new(config).discover(nothing.cursor.as_ref()).await.items), [1, 2, 3]);
}

#[tokio::test]
async fn answers_may_come_in_any_order_with_other_lines_between() {
    let mailbox = mailbox(120).await;
    for trouble in [
        Trouble::UidLast,
        Trouble::Backwards,
        Trouble::Interject(
            "* 3 EXISTS\r\n* 2 FETCH (FLAGS (\\Seen))\r\n* OK [X-ODD {3}] still here {9}\r\n* nonsense (\r\n* 1 EXPUNGE".to_owned(),
        ),
    ] {
        mailbox.trouble(trouble);
    }
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    assert_eq!(plain(bench.bodies(&found.items).await), every_mail(120));
    assert!(bench.told("imap_reply_unreadable"));
}

#[tokio::test]
async fn a_refused_search_is_an_error_and_never_an_empty_mailbox() {
    let mailbox = mailbox(3).await;
    for (reply, code) in [
        ("NO not today", Code::Protocol),
        ("BAD what?", Code::Protocol),
        ("NO [UNAVAILABLE] later", Code::Connect),
        ("BAD User is authenticated but not connected.", Code::Connect),
        ("NO Request is throttled", Code::Throttled),
    ] {
        mailbox.trouble(Trouble::Answer { command: "UID SEARCH".to_owned(), reply: reply.to_owned(), times: 1 });
        let error = bench(&mailbox).imap.discover(None).await.unwrap_err();
        assert!(matches!(error, SourceError::Connection { .. }), "{error:?}");
        assert_eq!(error.fault().code, code);
    }
}

#[tokio::test]
async fn refused_sizes_hide_no_message() {
    let mailbox = mailbox(3).await;
    mailbox.trouble(Trouble::Answer { command: "UID FETCH".to_owned(), reply: "NO no sizes".to_owned(), times: 1 });
    let found = bench(&mailbox).discover(None).await;
    assert_eq!(found.items.iter().map(|item| item.size).collect::<Vec<_>>(), [None, None, None]);
}

#[tokio::test]
async fn a_message_that_is_listed_and_not_sent_fails_alone() {
    let mailbox = mailbox(60).await;
    mailbox.trouble(Trouble::Withhold(30));
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    let mut bodies = bench.bodies(&found.items).await;
    let fault = bodies.remove(&30).unwrap().unwrap_err();
    assert!(fault.code == Code::Protocol && fault.text.en.contains("message 30 of INBOX"), "{fault}");
    let mut expected = every_mail(60);
    expected.remove(&30);
    assert_eq!(plain(bodies), expected);
}

#[tokio::test]
async fn a_message_expunged_before_its_fetch_is_gone() {
    let mailbox = mailbox(60).await;
    mailbox.trouble(Trouble::ExpungeAtFetch(30));
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    let mut expected = every_mail(60);
    expected.insert(30, Ok(None));
    assert_eq!(plain(bench.bodies(&found.items).await), expected);
}

#[tokio::test]
async fn a_refused_window_is_asked_for_one_by_one() {
    let mailbox = mailbox(10).await;
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    mailbox.trouble(Trouble::Answer {
        command: "UID FETCH".to_owned(),
        reply: "NO one of them is bad".to_owned(),
        times: 1,
    });
    assert_eq!(plain(bench.bodies(&found.items).await), every_mail(10));
}

#[tokio::test]
async fn a_server_that_refuses_every_message_is_an_error_of_the_connection() {
    let mailbox = mailbox(5).await;
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    mailbox.trouble(Trouble::Answer { command: "UID FETCH".to_owned(), reply: "NO disk error".to_owned(), times: 100 });
    let (fetched, result) = bench.fetch(&found.items).await;
    assert!(fetched.is_empty());
    assert!(matches!(result, Err(SourceError::Connection { .. })), "{result:?}");
}

#[tokio::test]
async fn a_body_cut_short_leaves_nothing_and_the_next_call_starts_afresh() {
    let mailbox = mailbox(20).await;
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    for cut in [0, 1, 40, 80] {
        mailbox.trouble(Trouble::CutBody(cut));
        let (fetched, result) = bench.fetch(&found.items).await;
        let error = result.unwrap_err();
        assert_eq!((error.fault().code, fetched.len()), (Code::Connect, 0));
        assert!(error.fault().text.en.contains("within a message"), "{error}");
        assert!(found.items.iter().all(|item| bench.spool.find(&item.key).is_none()));
    }
    assert_eq!(plain(bench.bodies(&found.items).await), every_mail(20));
    assert_eq!(std::fs::read_dir(bench.dir.path()).unwrap().count(), 0, "no half file is left");
}

#[tokio::test]
async fn a_connection_closed_at_any_command_is_an_error() {
    let mailbox = mailbox(2).await;
    for command in ["LOGIN", "AUTHENTICATE", "CAPABILITY", "EXAMINE", "UID SEARCH", "UID FETCH"] {
        let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
        if command == "LOGIN" {
            (config.password, config.auth) = (Some(Secret::new("wrong")), Auth::Login);
        }
        mailbox.trouble(Trouble::CloseAt(command.to_owned()));
        let error = Bench::new(config).imap.discover(None).await.unwrap_err();
        assert_eq!(error.fault().code, Code::Connect, "{command}");
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let mailbox = mailbox(2).await;
    mailbox.trouble(Trouble::Silent("UID SEARCH".to_owned()));
    let config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
    let mut imap = Imap::new(config, Events::nowhere()).with_patience(Duration::from_millis(200));
    let error = imap.discover(None).await.unwrap_err();
    assert!(error.fault().code == Code::Connect && error.fault().text.en.contains("has not answered"), "{error}");
}

#[tokio::test]
async fn a_receiver_that_goes_away_ends_the_fetch() {
    let mailbox = mailbox(200).await;
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    let (sender, mut receiver) = outlet(1);
    let take_two = async {
        receiver.recv().await.unwrap();
        receiver.recv().await.unwrap();
        drop(receiver);
    };
    let (result, ()) = tokio::join!(bench.imap.fetch(&found.items, &bench.spool, sender), take_two);
    result.unwrap();
    assert_eq!(plain(bench.bodies(&found.items).await), every_mail(200), "the next call works");
}

#[tokio::test]
async fn a_fetch_that_is_dropped_half_way_leaves_no_trace_in_the_next_call() {
    let mailbox = mailbox(200).await;
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    for count in [0, 1, 3, 70] {
        let (sender, mut receiver) = outlet(1);
        let some = async {
            for _ in 0..count {
                receiver.recv().await.unwrap();
            }
        };
        tokio::select! {
            biased;
            result = bench.imap.fetch(&found.items, &bench.spool, sender) => panic!("{result:?}"),
            () = some => {}
        }
        let done = bench.imap.acknowledge(&keys(&found.items[..1]), &Disposition::Seen).await.unwrap();
        assert_eq!(done.len(), 1);
    }
    assert_eq!(plain(bench.bodies(&found.items).await), every_mail(200));
}

#[tokio::test]
async fn refused_logins_are_told_from_passing_trouble() {
    let mailbox = mailbox(1).await;
    let wrong = launcher(mailbox.address(), ACCOUNT, "hunter2-wrong");
    let error = Bench::new(wrong.clone()).imap.discover(None).await.unwrap_err();
    assert!(matches!(error, SourceError::Credentials(_)) && error.fault().code == Code::Credentials, "{error:?}");
    assert!(error.fault().text.en.contains(ACCOUNT) && !error.fault().text.en.contains("hunter2"), "{error}");
    for (reply, code) in [
        ("NO [UNAVAILABLE] Temporary authentication failure", Code::Connect),
        ("NO [ALERT] Too many simultaneous connections. (Failure)", Code::Throttled),
        ("BAD Command Error 10", Code::Protocol),
    ] {
        mailbox.trouble(Trouble::Answer { command: "AUTHENTICATE".to_owned(), reply: reply.to_owned(), times: 1 });
        let error = Bench::new(wrong.clone()).imap.discover(None).await.unwrap_err();
        assert!(matches!(error, SourceError::Connection { .. }) && error.fault().code == code, "{error:?}");
    }
    let echo = "NO hunter2-wrong is wrong".to_owned();
    mailbox.trouble(Trouble::Answer { command: "AUTHENTICATE".to_owned(), reply: echo, times: 1 });
    let error = Bench::new(wrong).imap.discover(None).await.unwrap_err();
    assert!(error.fault().text.en.contains("*** is wrong"), "{error}");
}

#[tokio::test]
async fn every_way_to_log_in_works_with_every_password() {
    for password in ["simple", "q\"uo\\ted pass", "mot de passe à l'été ☺"] {
        let mailbox = Mailbox::start(ACCOUNT, password).await.unwrap();
        for auth in [Auth::Auto, Auth::Login, Auth::Plain] {
            for capabilities in
                [&["IMAP4rev1"][..], &["IMAP4rev1", "AUTH=PLAIN"], &["IMAP4rev1", "AUTH=PLAIN", "SASL-IR"]]
            {
                mailbox.set_capabilities(capabilities);
                let mut config = launcher(mailbox.address(), ACCOUNT, password);
                config.auth = auth;
                let mut bench = Bench::new(config);
                bench.discover(None).await;
                bench.imap.finish().await.unwrap();
            }
        }
        let used = mailbox.commands();
        for (verb, least) in [("LOGIN", 4), ("AUTHENTICATE", 3)] {
            assert!(used.iter().filter(|line| *line == verb).count() >= least, "{used:?}");
        }
    }
}

#[tokio::test]
async fn greetings_are_judged() {
    let mailbox = mailbox(2).await;
    for (greeting, code) in [
        ("* BYE [ALERT] Maximum number of connections exceeded", Code::Throttled),
        ("* BYE maintenance", Code::Connect),
        ("220 smtp.example.org ESMTP", Code::Protocol),
    ] {
        mailbox.trouble(Trouble::Greeting(greeting.to_owned()));
        let error = bench(&mailbox).imap.discover(None).await.unwrap_err();
        assert_eq!(error.fault().code, code, "{error}");
        mailbox.calm();
    }
    mailbox.trouble(Trouble::Greeting("* OK [CAPABILITY IMAP4rev1  AUTH=PLAIN LOGINDISABLED ] hello".to_owned()));
    assert_eq!(bench(&mailbox).discover(None).await.items.len(), 2, "PLAIN without an initial response");
    mailbox.calm();
    mailbox.trouble(Trouble::Greeting("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hello".to_owned()));
    let error = bench(&mailbox).imap.discover(None).await.unwrap_err();
    assert!(error.fault().text.en.contains("LOGINDISABLED"), "{error}");
}

#[tokio::test]
async fn folders_are_found_as_users_write_them() {
    let mailbox = mailbox(1).await;
    mailbox.append("INBOX/Re&AOc-us", &mail(7));
    for name in ["INBOX/Reçus", "inbox/reçus", "INBOX.Reçus", "Reçus", "INBOX/Re&AOc-us"] {
        let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
        config.source = name.to_owned();
        let mut bench = Bench::new(config);
        let found = bench.discover(None).await;
        assert_eq!(found.items[0].key.as_str(), format!("[\"{ACCOUNT}\",\"INBOX/Reçus\",2,1]"), "{name}");
        assert_eq!(plain(bench.bodies(&found.items).await), [(1, Ok(Some(mail(7))))].into());
        let done = bench.imap.acknowledge(&keys(&found.items), &Disposition::Seen).await.unwrap();
        assert_eq!(done, keys(&found.items));
    }
    assert_eq!(mailbox.messages("INBOX/Re&AOc-us")[0].flags, ["\\Seen"]);
    let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
    config.source = "Recu".to_owned();
    let error = Bench::new(config).imap.discover(None).await.unwrap_err();
    assert!(matches!(error, SourceError::Mailbox(_)) && error.fault().code == Code::Folder, "{error:?}");
    assert!(error.fault().text.fr.contains("INBOX/Reçus"), "{error}");
}

#[tokio::test]
async fn acknowledging_works_days_later_and_touches_nothing_else() {
    let mailbox = mailbox(4).await;
    mailbox.flag("INBOX", 1, &["$Important"]);
    mailbox.flag("INBOX", 4, &["\\Deleted"]);
    let items = bench(&mailbox).discover(None).await.items;
    let keys = keys(&items);
    for (what, flag) in [(Disposition::Seen, "\\Seen"), (Disposition::Flag, "\\Flagged")] {
        let mut later = bench(&mailbox);
        assert_eq!(later.imap.acknowledge(&keys[..1], &what).await.unwrap(), keys[..1]);
        later.imap.finish().await.unwrap();
        assert!(mailbox.messages("INBOX")[0].flags.contains(&flag.to_owned()));
    }
    assert_eq!(mailbox.messages("INBOX")[0].flags, ["$Important", "\\Flagged", "\\Seen"]);
    let mut later = bench(&mailbox);
    for _ in 0..2 {
        // the second time it is gone already, and done all the same
        assert_eq!(later.imap.acknowledge(&keys[1..2], &Disposition::Delete).await.unwrap(), keys[1..2]);
    }
    let target = Disposition::Move("Traitées/2026".to_owned());
    assert_eq!(later.imap.acknowledge(&keys[2..3], &target).await.unwrap(), keys[2..3]);
    later.imap.finish().await.unwrap();
    let left: Vec<u32> = mailbox.messages("INBOX").iter().map(|message| message.uid).collect();
    assert_eq!(left, [1, 4], "another program's \\Deleted survives");
    assert_eq!(&*mailbox.messages("Trait&AOk-es/2026")[0].bytes, mail(3));
    assert!(!mailbox.commands().iter().any(|line| line == "CLOSE" || line == "EXPUNGE"));
}

#[tokio::test]
async fn servers_without_move_and_uidplus_lose_no_foreign_message() {
    let mailbox = mailbox(4).await;
    mailbox.set_capabilities(&["IMAP4rev1", "AUTH=PLAIN"]);
    mailbox.flag("INBOX", 4, &["\\Deleted"]);
    let mut bench = bench(&mailbox);
    let keys = keys(&bench.discover(None).await.items);
    let target = Disposition::Move("Archive".to_owned());
    assert_eq!(bench.imap.acknowledge(&keys[..1], &target).await.unwrap(), keys[..1]);
    assert!(bench.told("imap_left_marked") && bench.told("imap_folder_created"));
    assert_eq!(mailbox.messages("INBOX").len(), 4);
    assert_eq!(&*mailbox.messages("Archive")[0].bytes, mail(1));
    mailbox.remove("INBOX", 4);
    assert_eq!(bench.imap.acknowledge(&keys[..2], &Disposition::Delete).await.unwrap(), keys[..2]);
    let left: Vec<u32> = mailbox.messages("INBOX").iter().map(|message| message.uid).collect();
    assert_eq!(left, [3]);
}

#[tokio::test]
async fn a_refused_change_is_not_done() {
    let mailbox = mailbox(2).await;
    let mut bench = bench(&mailbox);
    let keys = keys(&bench.discover(None).await.items);
    mailbox.trouble(Trouble::Answer { command: "UID STORE".to_owned(), reply: "NO not yours".to_owned(), times: 1 });
    assert_eq!(bench.imap.acknowledge(&keys, &Disposition::Seen).await.unwrap(), []);
    assert!(bench.told("imap_change_refused"));
    assert_eq!(bench.imap.acknowledge(&keys, &Disposition::Seen).await.unwrap(), keys);
}

#[tokio::test]
async fn moving_into_the_folder_that_is_read_is_refused() {
    let mailbox = mailbox(1).await;
    let mut bench = bench(&mailbox);
    let keys = keys(&bench.discover(None).await.items);
    let error = bench.imap.acknowledge(&keys, &Disposition::Move("inbox".to_owned())).await.unwrap_err();
    assert_eq!(error.fault().code, Code::Config);
    assert_eq!(mailbox.messages("INBOX")[0].uid, 1);
}

#[tokio::test]
async fn fetching_after_acknowledging_another_folder_reads_the_right_one() {
    let mailbox = mailbox(2).await;
    mailbox.append("Old", &mail(9));
    let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
    config.source = "Old".to_owned();
    let old = keys(&Bench::new(config).discover(None).await.items);
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    assert_eq!(bench.imap.acknowledge(&old, &Disposition::Seen).await.unwrap(), old);
    assert_eq!(plain(bench.bodies(&found.items).await), every_mail(2));
}

#[tokio::test]
async fn ten_thousand_uids_near_743_000_000_are_listed_at_once_and_with_short_commands() {
    let mailbox = mailbox(1).await;
    mailbox.set_next_uid("INBOX", 743_000_000);
    for n in 0..10_000_u32 {
        mailbox.append("INBOX", b"Subject: x\r\n\r\n");
        mailbox.set_next_uid("INBOX", 743_000_000 + 3 * (n + 1));
    }
    let mut bench = bench(&mailbox);
    let started = std::time::Instant::now();
    let found = bench.discover(None).await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(found.items.len(), 10_001);
    assert!(found.items.iter().all(|item| item.size.is_some()));
    assert_eq!(uids(&found.items[10_000..]), [743_000_000 + 3 * 9999]);
    assert!(mailbox.commands().iter().all(|line| line.len() < 4096));
}

#[tokio::test]
async fn refused_header_blocks_are_asked_for_one_by_one() {
    let mailbox = mailbox(5).await;
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    mailbox.trouble(Trouble::Answer { command: "UID FETCH".to_owned(), reply: "NO one is bad".to_owned(), times: 1 });
    assert_eq!(bench.imap.identify(&found.items).await.unwrap().len(), 5);
    mailbox.trouble(Trouble::Answer { command: "UID FETCH".to_owned(), reply: "NO all bad".to_owned(), times: 9 });
    assert!(bench.imap.identify(&found.items).await.is_err());
}

#[tokio::test]
async fn a_body_of_an_unreadable_reply_is_given_to_no_other_message() {
    let mailbox = mailbox(3).await;
    mailbox.trouble(Trouble::InPlaceOf(2, "{5}\r\nhello (".to_owned()));
    mailbox.trouble(Trouble::InPlaceOf(3, "NIL".to_owned()));
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    let bodies = plain(bench.bodies(&found.items).await);
    assert!(bench.told("imap_reply_unreadable"));
    assert_eq!(bodies, every_mail(3));
}

#[tokio::test]
async fn a_body_larger_than_the_server_said_is_not_kept_and_the_others_arrive() {
    let mailbox = mailbox(3).await;
    let body = format!("{{{}}}\r\n{}", 2 << 20, "x".repeat(2 << 20));
    mailbox.trouble(Trouble::InPlaceOf(2, body));
    let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
    config.max_size = 1 << 20;
    let mut bench = Bench::new(config);
    let found = bench.discover(None).await;
    let mut bodies = bench.bodies(&found.items).await;
    let fault = bodies.remove(&2).unwrap().unwrap_err();
    assert!(fault.text.en.contains("max_size") && fault.text.en.contains("message 2 of INBOX"), "{fault}");
    let mut expected = every_mail(3);
    expected.remove(&2);
    assert_eq!(plain(bodies), expected);
    assert_eq!(std::fs::read_dir(bench.dir.path()).unwrap().count(), 0);
}

/// A server that greets, and answers each line with what `answer` makes of its tag and the rest; what it answers last
/// it says for ever, a piece after each `pause`.
async fn odd_server(
    greeting: &'static str,
    answer: impl Fn(&str, &str) -> (String, Option<Duration>) + Send + 'static,
) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (input, mut out) = stream.into_split();
        let mut lines = BufReader::new(input).lines();
        let _ = out.write_all(greeting.as_bytes()).await;
        while let Ok(Some(line)) = lines.next_line().await {
            let (tag, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let (text, pause) = answer(tag, rest);
            let mut alive = out.write_all(text.as_bytes()).await.is_ok();
            while let Some(pause) = pause.filter(|_| alive) {
                tokio::time::sleep(pause).await;
                alive = out.write_all(text.as_bytes()).await.is_ok();
            }
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_answers_without_an_end_is_given_up() {
    const HELLO: &str = "* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n";
    let flood = |line: &str| (format!("{line} X \"{}\")\r\n", "x".repeat(10_000)).repeat(30), Some(Duration::ZERO));
    for at in ["EXAMINE", "UID SEARCH", "UID FETCH"] {
        let server = odd_server(HELLO, move |tag, rest| match rest {
            _ if rest.starts_with(at) => flood("* 1 FETCH (UID 1 RFC822.SIZE 5"),
            _ if rest.starts_with("EXAMINE") => {
                (format!("* 1 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n{tag} OK [READ-ONLY] x\r\n"), None)
            }
            _ => (format!("* SEARCH 1\r\n{tag} OK x\r\n"), None),
        });
        let error = Bench::new(launcher(server.await, ACCOUNT, PASSWORD)).imap.discover(None).await.unwrap_err();
        assert!(error.fault().text.en.contains("without an end"), "{at}: {error}");
    }
    let server = odd_server("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", |_, _| ("+ \r\n".to_owned(), None));
    let error = Bench::new(launcher(server.await, ACCOUNT, PASSWORD)).imap.discover(None).await.unwrap_err();
    assert!(error.fault().text.en.contains("without an end"), "{error}");
}

#[tokio::test]
async fn a_server_that_dribbles_is_given_up() {
    let server = odd_server("* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n", |_, _| {
        ("*".to_owned(), Some(Duration::from_millis(10)))
    });
    let config = launcher(server.await, ACCOUNT, PASSWORD);
    let mut imap = Imap::new(config, Events::nowhere()).with_patience(Duration::from_millis(50));
    let error = imap.discover(None).await.unwrap_err();
    assert!(error.fault().text.en.contains("a few bytes at a time"), "{error}");
}

/// The answers of a scripted mailbox to the command that begins so.
fn answer(mailbox: &Mailbox, command: &str, reply: &str, times: usize) {
    mailbox.trouble(Trouble::Answer { command: command.to_owned(), reply: reply.to_owned(), times });
}

#[tokio::test]
async fn starttls_is_never_half_done() {
    let mailbox = mailbox(1).await;
    mailbox.set_capabilities(&["IMAP4rev1", "STARTTLS", "AUTH=PLAIN"]);
    let refused = async |words: &str| {
        let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
        config.tls = Tls::StartTls;
        config.trust.check = Check::Off;
        let error = Bench::new(config).imap.discover(None).await.unwrap_err();
        assert!(error.fault().code == Code::Tls && error.fault().text.en.contains(words), "{error}");
        mailbox.calm();
        let said = mailbox.commands();
        assert!(!said.iter().any(|line| line.starts_with("LOGIN") || line.starts_with("AUTHENTICATE")), "{said:?}");
    };
    answer(&mailbox, "STARTTLS", "OK begin\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN", 1);
    refused("behind its agreement").await;
    answer(&mailbox, "STARTTLS", "NO not today", 1);
    refused("no STARTTLS").await;
    mailbox.trouble(Trouble::Greeting("* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] welcome".to_owned()));
    refused("PREAUTH").await;
    mailbox.set_capabilities(&["IMAP4rev1", "AUTH=PLAIN"]);
    refused("no STARTTLS").await;
}

#[tokio::test]
async fn a_mechanism_that_the_server_lacks_is_named() {
    let mailbox = mailbox(1).await;
    let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
    config.auth = Auth::ScramSha256;
    let error = Bench::new(config).imap.discover(None).await.unwrap_err();
    assert_eq!(error.fault().code, Code::Config);
    assert!(error.fault().text.en.contains("SCRAM-SHA-256") && error.fault().text.en.contains("PLAIN"), "{error}");
}

#[tokio::test]
async fn a_server_that_repeats_the_password_does_not_bring_it_into_the_log() {
    let mailbox = Mailbox::start(ACCOUNT, "hunter2-simple").await.unwrap();
    mailbox.append("INBOX", &mail(1));
    // what SASL PLAIN says
    let encoded = "AG1hcmllQGV4YW1wbGUub3JnAGh1bnRlcjItc2ltcGxl";
    let greeting = "* OK hello\r\n* odd ( hunter2-simple\r\n* OK [ALERT hunter2-simple] hunter2-simple".to_owned();
    for auth in [Auth::Auto, Auth::Login, Auth::Plain] {
        for command in ["AUTHENTICATE", "LOGIN", "UID SEARCH", "EXAMINE"] {
            mailbox.trouble(Trouble::Greeting(greeting.clone()));
            let encoded = if auth == Auth::Login { "" } else { encoded };
            let reply = format!("NO hunter2-simple is odd, and so is {encoded}\r\n* odd ( hunter2-simple {encoded}");
            answer(&mailbox, command, &reply, 1);
            let mut config = launcher(mailbox.address(), ACCOUNT, "hunter2-simple");
            config.auth = auth;
            let mut bench = Bench::new(config);
            let error = bench.imap.discover(None).await.err().map(|error| format!("{error} {error:?}"));
            let told = bench.told.lock().unwrap().join("\n") + &error.unwrap_or_default();
            assert!(!told.contains("hunter2") && !told.contains("AGh1bnRlcjI"), "{told}");
            mailbox.calm();
        }
    }
}

#[tokio::test]
async fn folders_are_found_by_use_and_by_their_usual_names() {
    let mailbox = mailbox(1).await;
    for (folder, attribute) in
        [("[Gmail]", "\\Noselect"), ("[Gmail]/Tous les messages", "\\All"), ("[Gmail]/Messages envoy&AOk-s", "\\Sent")]
    {
        mailbox.mark(folder, attribute);
    }
    mailbox.append("[Gmail]/Tous les messages", &mail(5));
    mailbox.append("[Gmail]/Messages envoy&AOk-s", &mail(6));
    for (name, n) in [
        ("\\All", 5),
        ("\\sent", 6),
        ("[Gmail]/All Mail", 5),
        ("[Gmail]/Tous les messages", 5),
        ("[Gmail]/Messages envoyés", 6),
        ("Sent", 6),
        ("iNbOx", 1),
    ] {
        let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
        config.source = name.to_owned();
        let mut bench = Bench::new(config);
        let found = bench.discover(None).await;
        assert_eq!(plain(bench.bodies(&found.items).await), [(1, Ok(Some(mail(n))))].into(), "{name}");
    }
}

#[tokio::test]
async fn a_prefix_and_another_separator_are_the_servers_own_business() {
    let mailbox = mailbox(2).await;
    mailbox.set_namespace("INBOX.", '.');
    mailbox.append("INBOX.Factures.Re&AOc-ues", &mail(7));
    for name in ["Factures/Reçues", "INBOX/Factures/Reçues", "INBOX.Factures.Reçues", "Factures.Re&AOc-ues"] {
        let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
        config.source = name.to_owned();
        assert_eq!(Bench::new(config).discover(None).await.items.len(), 1, "{name}");
    }
    let mut bench = bench(&mailbox);
    let keys = keys(&bench.discover(None).await.items);
    for target in ["Traitées/2026", "INBOX/Traitées/2026"] {
        let at = usize::from(target.starts_with("INBOX"));
        let target = Disposition::Move(target.to_owned());
        assert_eq!(bench.imap.acknowledge(&keys[at..=at], &target).await.unwrap(), keys[at..=at]);
    }
    assert_eq!(mailbox.messages("INBOX.Trait&AOk-es.2026").len(), 2, "{:?}", mailbox.folders());
}

/// A mailbox with a tree of folders, and a launcher that reads all of it.
async fn tree() -> (Mailbox, Launcher) {
    let mailbox = mailbox(1).await;
    for folder in ["INBOX/A", "INBOX/A/&AOk-t&AOk-", "INBOX/B", "INBOX/Spam", "Elsewhere"] {
        mailbox.append(folder, &mail(folder.len()));
    }
    mailbox.mark("INBOX/None", "\\Noselect");
    mailbox.mark("INBOX/Weg", "\\Trash");
    mailbox.append("INBOX/Weg", &mail(3));
    let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
    config.subfolders = true;
    (mailbox, config)
}

fn folders_of(found: &Discovery) -> Vec<String> {
    let folder = |item: &Item| {
        let (_, folder, _, _): (String, String, u32, u32) = serde_json::from_str(item.key.as_str()).unwrap();
        folder
    };
    found.items.iter().map(folder).collect()
}

#[tokio::test]
async fn subfolders_are_read_as_they_come_and_go() {
    let (mailbox, config) = tree().await;
    let mut bench = Bench::new(config.clone());
    let found = bench.discover(None).await;
    assert_eq!(folders_of(&found), ["INBOX", "INBOX/A", "INBOX/A/été", "INBOX/B", "INBOX/Spam"]);
    assert!(!found.items.iter().any(|item| item.reissued));
    let (fetched, result) = bench.fetch(&found.items).await;
    result.unwrap();
    assert_eq!(fetched.iter().filter(|fetched| fetched.content.is_ok()).count(), 5);
    let again = bench.discover(found.cursor.as_ref()).await;
    assert_eq!((again.items.len(), &again.cursor), (0, &found.cursor));
    // nothing came: no folder was opened for it
    let opened = mailbox.commands().iter().filter(|line| line.starts_with("EXAMINE")).count();
    assert_eq!(opened, 5 + 5, "{:?}", mailbox.commands());
    mailbox.append("INBOX/New", &mail(9));
    mailbox.append("INBOX/B", &mail(10));
    mailbox.remove_folder("INBOX/A");
    let third = Bench::new(config).discover(found.cursor.as_ref()).await;
    assert_eq!(folders_of(&third), ["INBOX/B", "INBOX/New"]);
    assert_eq!(third.items.iter().map(|item| item.reissued).collect::<Vec<_>>(), [false, true], "it may be A, renamed");
}

#[tokio::test]
async fn a_new_uidvalidity_of_one_folder_concerns_that_folder_alone() {
    let (mailbox, config) = tree().await;
    let mut bench = Bench::new(config);
    let found = bench.discover(None).await;
    mailbox.renumber("INBOX/A");
    mailbox.append("INBOX/B", &mail(10));
    let again = bench.discover(found.cursor.as_ref()).await;
    assert_eq!(folders_of(&again), ["INBOX/A", "INBOX/B"]);
    assert_eq!(again.items.iter().map(|item| item.reissued).collect::<Vec<_>>(), [true, false]);
    let prints = bench.imap.identify(&again.items[..1]).await.unwrap();
    assert_eq!(prints.len(), 1);
    // a cursor stored before anything was taken goes past nothing
    let start = bench.discover(again.start.as_ref()).await;
    assert_eq!(folders_of(&start), ["INBOX/A", "INBOX/B"]);
    assert_eq!(bench.discover(again.cursor.as_ref()).await.items.len(), 0);
}

#[tokio::test]
async fn a_cursor_of_one_folder_serves_when_subfolders_are_switched_on() {
    let (mailbox, config) = tree().await;
    let one = bench(&mailbox).discover(None).await;
    let found = Bench::new(config.clone()).discover(one.cursor.as_ref()).await;
    assert_eq!(folders_of(&found), ["INBOX/A", "INBOX/A/été", "INBOX/B", "INBOX/Spam"]);
    assert!(!found.items.iter().any(|item| item.reissued));
    // and back: what is left out of the reading is not forgotten by name
    assert_eq!(bench(&mailbox).discover(found.cursor.as_ref()).await.items.len(), 0);
}

#[tokio::test]
async fn a_source_that_is_gone_is_an_error_and_a_root_that_opens_nothing_is_none() {
    let (mailbox, mut config) = tree().await;
    config.source = "INBOX/None".to_owned();
    let error = Bench::new(config.clone()).imap.discover(None).await.unwrap_err();
    assert_eq!(error.fault().code, Code::Folder);
    mailbox.append("INBOX/None/Under", &mail(4));
    assert_eq!(folders_of(&Bench::new(config.clone()).discover(None).await), ["INBOX/None/Under"]);
    config.source = "INBOX/Weg".to_owned();
    assert_eq!(folders_of(&Bench::new(config.clone()).discover(None).await), ["INBOX/Weg"], "it is named");
    config.source = "/".to_owned();
    assert_eq!(folders_of(&Bench::new(config.clone()).discover(None).await).len(), 7);
    config.source = "Nowhere".to_owned();
    assert_eq!(Bench::new(config).imap.discover(None).await.unwrap_err().fault().code, Code::Folder);
}

#[tokio::test]
async fn moving_into_any_folder_that_is_read_is_refused_before_anything_is_delivered() {
    let (_mailbox, mut config) = tree().await;
    for (target, allowed) in
        [("INBOX/B", false), ("inbox", false), ("INBOX/Fresh", false), ("Elsewhere", true), ("\\Trash", true)]
    {
        config.after = Disposition::Move(target.to_owned());
        let found = Bench::new(config.clone()).imap.discover(None).await;
        assert_eq!(found.is_ok(), allowed, "{target}");
    }
    // below the root of the whole mailbox lies every folder that is still to be made
    config.source = "/".to_owned();
    config.after = Disposition::Move("Fresh".to_owned());
    let refused = Bench::new(config).imap.discover(None).await.unwrap_err();
    assert_eq!(refused.fault().code, Code::Config, "{:?}", refused.fault());
}

#[tokio::test]
async fn after_reaches_every_folder_and_one_that_has_gone_holds_nothing_up() {
    let (mailbox, mut config) = tree().await;
    config.after = Disposition::Seen;
    let mut bench = Bench::new(config);
    let keys = keys(&bench.discover(None).await.items);
    mailbox.remove_folder("INBOX/B");
    let mut done = bench.imap.acknowledge(&keys, &Disposition::Seen).await.unwrap();
    let mut expected = keys.clone();
    done.sort();
    expected.sort();
    assert_eq!(done, expected);
    for folder in ["INBOX", "INBOX/A", "INBOX/A/&AOk-t&AOk-"] {
        assert_eq!(mailbox.messages(folder)[0].flags, ["\\Seen"]);
    }
}

#[tokio::test]
async fn a_message_that_comes_in_parts_alone_is_put_together() {
    let mailbox = mailbox(5).await;
    mailbox.trouble(Trouble::WithholdWhole(2));
    mailbox.trouble(Trouble::InPlaceOf(3, "NIL".to_owned()));
    mailbox.trouble(Trouble::InPlaceOf(4, "{0}\r\n".to_owned()));
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    assert_eq!(plain(bench.bodies(&found.items).await), every_mail(5));
    assert_eq!(std::fs::read_dir(bench.dir.path()).unwrap().count(), 0, "no half is left");
}

#[tokio::test]
async fn an_empty_message_is_empty_and_an_empty_answer_is_a_failure() {
    let mailbox = Mailbox::start(ACCOUNT, PASSWORD).await.unwrap();
    mailbox.append("INBOX", b"");
    mailbox.append("INBOX", b"");
    let mut bench = bench(&mailbox);
    mailbox.trouble(Trouble::InPlaceOf(2, "NIL".to_owned()));
    let found = bench.discover(None).await;
    assert_eq!(plain(bench.bodies(&found.items).await), [(1, Ok(Some(Vec::new()))), (2, Ok(Some(Vec::new())))].into());
    mailbox.trouble(Trouble::Sizes("77".to_owned()));
    let found = bench.discover(None).await;
    assert!(bench.bodies(&found.items).await.values().all(Result::is_err));
}

#[tokio::test]
async fn sizes_that_are_none_hide_nothing() {
    let mailbox = mailbox(3).await;
    for odd in ["-1", "9.3736e+06", "NIL", "\"12\"", ""] {
        mailbox.trouble(Trouble::Sizes(odd.to_owned()));
        let mut bench = bench(&mailbox);
        let found = bench.discover(None).await;
        assert_eq!(plain(bench.bodies(&found.items).await), every_mail(3), "{odd}");
        mailbox.calm();
    }
}

#[tokio::test]
async fn a_good_bye_between_two_messages_loses_none() {
    let mailbox = mailbox(30).await;
    let mut bench = bench(&mailbox);
    let found = bench.discover(None).await;
    mailbox.trouble(Trouble::ByeAfter(12));
    let (fetched, result) = bench.fetch(&found.items).await;
    let error = result.unwrap_err();
    assert!(fetched.len() == 12 && error.fault().text.en.contains("going down"), "{error}");
    let rest: Vec<Item> = found.items[12..].to_vec();
    let expected = every_mail(30).into_iter().filter(|(uid, _)| *uid > 12).collect();
    assert_eq!(plain(bench.bodies(&rest).await), expected);
}

#[tokio::test]
async fn a_copy_that_cannot_be_finished_is_not_made_again() {
    let mailbox = mailbox(3).await;
    mailbox.set_capabilities(&["IMAP4rev1", "AUTH=PLAIN", "UIDPLUS"]);
    let target = Disposition::Move("Archive".to_owned());
    let mut first = bench(&mailbox);
    let keys = keys(&first.discover(None).await.items);
    // interrupted between the mark and the end
    mailbox.trouble(Trouble::CloseAt("UID EXPUNGE".to_owned()));
    first.imap.acknowledge(&keys[..1], &target).await.unwrap_err();
    assert_eq!(bench(&mailbox).imap.acknowledge(&keys[..1], &target).await.unwrap(), keys[..1]);
    assert_eq!((mailbox.messages("INBOX").len(), mailbox.messages("Archive").len()), (2, 1));
    // not allowed to delete: told, and done with
    answer(&mailbox, "UID STORE", "NO not yours", 1);
    let mut other = bench(&mailbox);
    assert_eq!(other.imap.acknowledge(&keys[1..2], &target).await.unwrap(), keys[1..2]);
    assert!(other.told("imap_left_behind"));
    assert_eq!((mailbox.messages("INBOX").len(), mailbox.messages("Archive").len()), (2, 2));
}

#[tokio::test]
async fn changes_of_many_messages_are_short_commands() {
    let mailbox = mailbox(1).await;
    for n in 0..3000_u32 {
        mailbox.set_next_uid("INBOX", 743_000_000 + 3 * n);
        mailbox.append("INBOX", b"Subject: x\r\n\r\n");
    }
    let mut bench = bench(&mailbox);
    let keys = keys(&bench.discover(None).await.items);
    for what in [Disposition::Seen, Disposition::Move("Archive".to_owned())] {
        assert_eq!(bench.imap.acknowledge(&keys, &what).await.unwrap().len(), 3001);
    }
    assert_eq!((mailbox.messages("INBOX").len(), mailbox.messages("Archive").len()), (0, 3001));
    assert!(mailbox.commands().iter().all(|line| line.len() < 4000));
}

/// A launcher that waits with IDLE, after a first cycle.
async fn idling(mailbox: &Mailbox) -> Bench {
    mailbox.set_capabilities(&["IMAP4rev1", "AUTH=PLAIN", "IDLE"]);
    let mut bench = Bench::new(Launcher { idle: true, ..launcher(mailbox.address(), ACCOUNT, PASSWORD) });
    bench.discover(None).await;
    bench.imap.finish().await.unwrap();
    assert!(!mailbox.commands().contains(&"LOGOUT".to_owned()));
    bench
}

const SOON: Duration = Duration::from_millis(300);
const NEVER: Duration = Duration::from_mins(10);

#[tokio::test]
async fn idle_wakes_for_what_came_before_and_for_what_comes() {
    let mailbox = mailbox(2).await;
    let mut bench = idling(&mailbox).await;
    assert_eq!(bench.imap.wait(SOON).await, Wake::Deadline);
    mailbox.append("INBOX", &mail(3));
    assert_eq!(bench.imap.wait(NEVER).await, Wake::News, "it came between discovery and IDLE");
    bench.discover(None).await;
    let arrives = async {
        while mailbox.commands().iter().filter(|line| *line == "IDLE").count() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        mailbox.append("INBOX", &mail(4));
    };
    let (wake, ()) = tokio::join!(bench.imap.wait(NEVER), arrives);
    assert_eq!(wake, Wake::News);
    let found = bench.discover(None).await;
    assert_eq!(plain(bench.bodies(&found.items).await), every_mail(4));
    let logins = mailbox.commands().iter().filter(|line| *line == "AUTHENTICATE").count();
    assert_eq!(logins, 1, "all in one connection");
}

#[tokio::test]
async fn without_idle_or_without_a_connection_the_deadline_is_waited_for() {
    let mailbox = mailbox(1).await;
    for trouble in [
        Trouble::CloseAt("IDLE".to_owned()),
        Trouble::Answer { command: "IDLE".to_owned(), reply: "NO not me".to_owned(), times: 1 },
        Trouble::Answer { command: "IDLE".to_owned(), reply: "BAD what?\r\n* BYE".to_owned(), times: 1 },
        Trouble::CloseAt("EXAMINE".to_owned()),
    ] {
        let mut bench = idling(&mailbox).await;
        mailbox.trouble(trouble);
        let started = std::time::Instant::now();
        assert_eq!(bench.imap.wait(SOON).await, Wake::Deadline);
        assert!(started.elapsed() >= SOON && bench.told("imap_idle_ended"));
        mailbox.append("INBOX", &mail(2));
        assert!(bench.discover(None).await.items.len() >= 2, "connects anew and lists everything");
        mailbox.calm();
    }
}

#[tokio::test]
async fn a_wait_that_held_for_long_and_is_ended_by_the_server_is_not_left_until_the_next_interval() {
    let mailbox = mailbox(1).await;
    let mut bench = idling(&mailbox).await;
    let ends = async {
        while !mailbox.commands().contains(&"IDLE".to_owned()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::pause();
        tokio::time::advance(NEVER / 2).await;
        tokio::time::resume();
        drop(mailbox);
    };
    let (wake, ()) = tokio::join!(bench.imap.wait(NEVER), ends);
    assert_eq!(wake, Wake::News);
    assert!(bench.told("imap_idle_ended"));
    let again = bench.imap.wait(SOON).await;
    assert_eq!(again, Wake::Deadline, "there is no connection to wait in");
}

#[tokio::test]
async fn what_the_launcher_does_not_want_wakes_it_once_and_not_for_ever() {
    let mailbox = mailbox(1).await;
    mailbox.set_capabilities(&["IMAP4rev1", "AUTH=PLAIN", "IDLE"]);
    let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
    (config.idle, config.since) = (true, Some(Since::Date(jiff::civil::date(2100, 1, 1))));
    let mut bench = Bench::new(config);
    bench.discover(None).await;
    mailbox.append("INBOX", &mail(2));
    assert_eq!(bench.imap.wait(SOON).await, Wake::Deadline);
}

fn on_dovecot(server: &Dovecot) -> Launcher {
    launcher(server.imap(), dovecot::ACCOUNT, dovecot::PASSWORD)
}

#[tokio::test]
async fn dovecot_gives_200_mails_byte_for_byte_and_none_is_marked_as_seen() {
    let mut server = Dovecot::start();
    for n in 1..=200 {
        server.deliver(&mail(n));
    }
    let mut bench = Bench::new(on_dovecot(&server));
    let found = bench.discover(None).await;
    assert_eq!(found.items.len(), 200);
    assert_eq!(plain(bench.bodies(&found.items).await), every_mail(200));
    let prints = bench.imap.identify(&found.items).await.unwrap();
    assert_eq!(prints.len(), 200);
    let print = prints.iter().find(|(key, _)| uid(key) == 7).unwrap();
    assert_eq!(print.1.message_id.as_deref(), Some("<m7@example.org>"));
    assert_eq!(bench.discover(found.cursor.as_ref()).await.items.len(), 0);
    bench.imap.finish().await.unwrap();
    assert!(server.messages("INBOX").iter().all(|(flags, _)| flags.is_empty()));
}

#[tokio::test]
async fn dovecot_sees_flags_moves_and_deletions_of_ours_alone() {
    let mut server = Dovecot::start();
    for n in 1..=5 {
        server.deliver(&mail(n));
    }
    server.deliver_to("INBOX", "ST", &mail(6));
    let mut config = on_dovecot(&server);
    config.after = Disposition::Seen;
    let mut bench = Bench::new(config);
    let found = bench.discover(None).await;
    assert_eq!(plain(bench.bodies(&found.items).await), every_mail(6));
    let keys = keys(&found.items);
    let target = Disposition::Move("Reçus/Été".to_owned());
    for (range, what) in
        [(0..2, Disposition::Seen), (2..3, Disposition::Flag), (3..4, target.clone()), (4..5, Disposition::Delete)]
    {
        assert_eq!(bench.imap.acknowledge(&keys[range.clone()], &what).await.unwrap(), keys[range], "{what:?}");
    }
    bench.imap.finish().await.unwrap();
    let flags: Vec<String> = server.messages("INBOX").into_iter().map(|(flags, _)| flags).collect();
    assert_eq!(flags, ["S", "S", "F", "ST"]);
    assert_eq!(server.messages("Re&AOc-us.&AMk-t&AOk-"), [(String::new(), mail(4))]);
    // again, and long after: nothing is left to do, and it is done
    let mut later = Bench::new(on_dovecot(&server));
    for what in [target, Disposition::Delete] {
        assert_eq!(later.imap.acknowledge(&keys[3..5], &what).await.unwrap(), keys[3..5]);
    }
    assert_eq!(server.messages("Re&AOc-us.&AMk-t&AOk-").len(), 1);
}

#[tokio::test]
async fn dovecot_refuses_a_wrong_password_and_names_the_folders_it_has() {
    let mut server = Dovecot::start();
    server.deliver_to("Factures.2026", "", &mail(1));
    let mut wrong = on_dovecot(&server);
    wrong.password = Some(Secret::new("faux"));
    let error = Bench::new(wrong).imap.discover(None).await.unwrap_err();
    assert_eq!(error.fault().code, Code::Credentials, "{error}");
    let mut missing = on_dovecot(&server);
    missing.source = "Factures/2025".to_owned();
    let error = Bench::new(missing.clone()).imap.discover(None).await.unwrap_err();
    assert!(error.fault().code == Code::Folder && error.fault().text.en.contains("Factures/2026"), "{error}");
    missing.source = "factures/2026".to_owned();
    assert_eq!(Bench::new(missing).discover(None).await.items.len(), 1);
}

/// A launcher that reads a Dovecot's IMAPS port as `localhost` and trusts `ca`.
fn over_tls(server: &Dovecot, ca: &TestCa) -> Launcher {
    let mut config = launcher(server.imaps(), dovecot::ACCOUNT, dovecot::PASSWORD);
    config.server = Some(Address { host: Some("localhost".to_owned()), port: server.imaps().port() });
    config.tls = Tls::Implicit;
    config.trust.ca_file = Some(ca.cert.clone());
    config
}

#[tokio::test]
async fn dovecot_over_tls_gives_every_mail_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let pair = ca.good("localhost");
    let mut server = Dovecot::start_tls(&pair.cert, &pair.key);
    for n in 1..=200 {
        server.deliver(&mail(n));
    }
    let mut bench = Bench::new(over_tls(&server, &ca));
    let found = bench.discover(None).await;
    assert_eq!(plain(bench.bodies(&found.items).await), every_mail(200));
    bench.imap.finish().await.unwrap();
    assert!(server.messages("INBOX").iter().all(|(flags, _)| flags.is_empty()));
}

/// A Dovecot with TLS for `localhost`, and a launcher for its plain port.
fn dovecot_with(extra: &str) -> (Dovecot, TestCa, Launcher, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let pair = ca.good("localhost");
    let server = Dovecot::start_with(Some((&pair.cert, &pair.key)), extra);
    let mut config = over_tls(&server, &ca);
    config.server = Some(Address { host: Some("localhost".to_owned()), port: server.imap().port() });
    config.tls = Tls::StartTls;
    (server, ca, config, dir)
}

#[tokio::test]
async fn dovecot_over_starttls_takes_the_password_in_every_way() {
    let all = "auth_mechanisms = plain login cram-md5 scram-sha-256\ndisable_plaintext_auth = yes\n\
               auth_failure_delay = 0\nservice anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n";
    let (mut server, ca, config, _dir) = dovecot_with(all);
    server.deliver(&mail(1));
    for (auth, method) in [
        (Auth::Auto, "SCRAM-SHA-256"),
        (Auth::ScramSha256, "SCRAM-SHA-256"),
        (Auth::CramMd5, "CRAM-MD5"),
        (Auth::Plain, "PLAIN"),
        (Auth::Login, "PLAIN"),
    ] {
        for implicit in [false, true] {
            let base = if implicit { over_tls(&server, &ca) } else { config.clone() };
            let mut bench = Bench::new(Launcher { auth, ..base });
            let found = bench.discover(None).await;
            assert_eq!(plain(bench.bodies(&found.items).await), every_mail(1), "{auth:?}");
            bench.imap.finish().await.unwrap();
        }
        let logins = server.log().matches(&format!("method={method}, ")).count();
        assert!(logins >= 2, "{auth:?}: {}", server.log());
        let mut wrong = Launcher { auth, password: Some(Secret::new("hunter2")), ..config.clone() };
        let error = Bench::new(wrong.clone()).imap.discover(None).await.unwrap_err();
        assert_eq!(error.fault().code, Code::Credentials, "{auth:?}: {error}");
        wrong.tls = Tls::None;
        let error = Bench::new(wrong).imap.discover(None).await.unwrap_err();
        assert!(matches!(error.fault().code, Code::Protocol | Code::Credentials), "{auth:?}: {error}");
    }
    assert!(!server.log().contains("hunter2"));
}

#[tokio::test]
async fn dovecot_without_starttls_gets_no_password() {
    let (server, _ca, config, _dir) = dovecot_with("ssl = no\n");
    let error = Bench::new(config).imap.discover(None).await.unwrap_err();
    assert!(error.fault().code == Code::Tls && error.fault().text.en.contains("STARTTLS"), "{error}");
    assert!(!server.log().contains("Login:"), "{}", server.log());
}

#[tokio::test]
async fn dovecot_wakes_who_idles_within_seconds() {
    let (mut server, _ca, config, _dir) = dovecot_with("");
    server.deliver(&mail(1));
    let mut bench = Bench::new(Launcher { idle: true, ..config });
    let found = bench.discover(None).await;
    bench.imap.finish().await.unwrap();
    assert_eq!(bench.imap.wait(SOON).await, Wake::Deadline);
    let started = std::time::Instant::now();
    let (wake, ()) = tokio::join!(bench.imap.wait(NEVER), async { server.deliver(&mail(2)) });
    assert_eq!((wake, started.elapsed() < Duration::from_secs(20)), (Wake::News, true));
    assert_eq!(uids(&bench.discover(found.cursor.as_ref()).await.items), [2]);
    assert_eq!(server.log().matches("Login:").count(), 1);
}

#[tokio::test]
async fn dovecot_gives_a_tree_of_folders_with_accents() {
    let names = "namespace inbox {\n  separator = .\n  prefix = INBOX.\n  mailbox Corbeille {\n    special_use = \\Trash\n    \
                 auto = create\n  }\n}\n";
    let (mut server, _ca, config, _dir) = dovecot_with(names);
    server.deliver(&mail(1));
    for folder in ["Re&AOc-us", "Re&AOc-us.&AMk-t&AOk-", "Corbeille", "Factures"] {
        server.deliver_to(folder, "", &mail(folder.len()));
    }
    let config = Launcher { subfolders: true, ..config };
    let mut bench = Bench::new(config.clone());
    let found = bench.discover(None).await;
    let mut folders = folders_of(&found);
    folders.sort();
    assert_eq!(folders, ["INBOX", "INBOX.Factures", "INBOX.Reçus", "INBOX.Reçus.Été"]);
    let (fetched, result) = bench.fetch(&found.items).await;
    result.unwrap();
    assert!(fetched.len() == 4 && fetched.iter().all(|fetched| fetched.content.is_ok()));
    assert_eq!(bench.discover(found.cursor.as_ref()).await.items.len(), 0);
    server.deliver_to("Re&AOc-us.&AMk-t&AOk-", "", &mail(9));
    assert_eq!(folders_of(&Bench::new(config.clone()).discover(found.cursor.as_ref()).await), ["INBOX.Reçus.Été"]);
    for (source, expected) in [("reçus/été", 2), ("\\Trash", 1), ("Reçus", 1)] {
        let one = Launcher { subfolders: false, source: source.to_owned(), ..config.clone() };
        assert_eq!(Bench::new(one).discover(None).await.items.len(), expected, "{source}");
    }
    let keys = keys(&found.items);
    let done = bench.imap.acknowledge(&keys, &Disposition::Move("Archives/2026".to_owned())).await.unwrap();
    assert_eq!((done.len(), server.messages("Archives.2026").len()), (4, 4));
}

#[tokio::test]
async fn dovecot_moves_and_deletes_with_whatever_it_is_left() {
    for capabilities in ["IMAP4rev1 LITERAL+ UIDPLUS MOVE", "IMAP4rev1 UIDPLUS", "IMAP4rev1", "IMAP4rev1 MOVE"] {
        let (mut server, _ca, config, _dir) = dovecot_with(&format!("imap_capability = {capabilities}\n"));
        for n in 1..=4 {
            server.deliver(&mail(n));
        }
        server.deliver_to("INBOX", "ST", &mail(5));
        let mut bench = Bench::new(Launcher { after: Disposition::Delete, ..config });
        let found = bench.discover(None).await;
        let keys = keys(&found.items);
        for _ in 0..2 {
            let target = Disposition::Move("Vu".to_owned());
            assert_eq!(bench.imap.acknowledge(&keys[..2], &target).await.unwrap(), keys[..2], "{capabilities}");
            assert_eq!(bench.imap.acknowledge(&keys[2..3], &Disposition::Delete).await.unwrap(), keys[2..3]);
        }
        bench.imap.finish().await.unwrap();
        let mut moved: Vec<Vec<u8>> = server.messages("Vu").into_iter().map(|(_, bytes)| bytes).collect();
        moved.sort();
        assert_eq!(moved, [mail(1), mail(2)], "{capabilities}");
        let left = server.messages("INBOX");
        assert!(left.contains(&("ST".to_owned(), mail(5))), "{capabilities}: a foreign mark survives");
        assert!(left.contains(&(String::new(), mail(4))) || left.iter().any(|(_, bytes)| *bytes == mail(4)));
        let marked = left.iter().filter(|(flags, bytes)| flags.contains('T') && *bytes != mail(5)).count();
        assert_eq!(left.len() - marked, 2, "{capabilities}: {left:?}");
        assert_eq!(bench.told("imap_left_marked"), !capabilities.contains("UIDPLUS"), "{capabilities}");
    }
}

#[tokio::test]
async fn dovecot_keeps_every_flag_and_keyword_when_nothing_is_to_be_changed() {
    let (mut server, _ca, config, _dir) = dovecot_with("");
    for (n, flags) in ["", "S", "F", "RS", "T", "DFRST", ""].iter().enumerate() {
        server.deliver_to("INBOX", flags, &mail(n));
    }
    // keywords are letters in Maildir names
    let mut other = Bench::new(Launcher { after: Disposition::Flag, ..config.clone() });
    let keys = keys(&other.discover(None).await.items);
    other.imap.acknowledge(&keys[..1], &Disposition::Flag).await.unwrap();
    other.imap.finish().await.unwrap();
    server.keyword("$Facture", 1);
    let before = server.messages("INBOX");
    assert!(before.iter().any(|(flags, _)| flags.contains('a')), "{before:?}");
    let mut bench = Bench::new(config);
    let found = bench.discover(None).await;
    bench.bodies(&found.items).await;
    bench.imap.identify(&found.items).await.unwrap();
    bench.imap.acknowledge(&keys, &Disposition::Leave).await.unwrap();
    bench.imap.finish().await.unwrap();
    assert_eq!(server.messages("INBOX"), before);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused_and_the_message_says_why() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ca, other) = (TestCa::new(dir.path()), TestCa::new(other_dir.path()));
    for (pair, words) in [
        (ca.expired("localhost"), "expired"),
        (ca.good("mail.example.org"), "mail.example.org"),
        (other.self_signed("localhost"), "self-signed"),
        // another authority of the same name, as after a CA was made anew
        (other.good("localhost"), "refused"),
    ] {
        let server = Dovecot::start_tls(&pair.cert, &pair.key);
        let error = Bench::new(over_tls(&server, &ca)).imap.discover(None).await.unwrap_err();
        assert!(matches!(error, SourceError::Connection { .. }) && error.fault().code == Code::Tls, "{error:?}");
        assert!(error.fault().text.en.contains(words) && error.fault().text.en.contains("localhost"), "{error}");
        assert!(!server.log().contains("Login:"), "no password was sent");
    }
}

#[tokio::test]
async fn what_cannot_be_reached_says_so() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let nobody = launcher(free, ACCOUNT, PASSWORD);
    let error = Bench::new(nobody.clone()).imap.discover(None).await.unwrap_err();
    assert_eq!(error.fault().code, Code::Connect, "{error}");
    let mut unknown = nobody;
    unknown.server = Some(Address { host: Some("nowhere.invalid".to_owned()), port: 143 });
    let error = Bench::new(unknown).imap.discover(None).await.unwrap_err();
    assert_eq!(error.fault().code, Code::Resolve, "{error}");
}

#[tokio::test]
async fn a_tls_handshake_with_a_plain_port_ends() {
    let mailbox = mailbox(1).await;
    let mut config = launcher(mailbox.address(), ACCOUNT, PASSWORD);
    config.tls = Tls::Implicit;
    config.trust.check = Check::Off;
    let mut imap = Imap::new(config, Events::nowhere()).with_patience(Duration::from_secs(5));
    assert_eq!(imap.discover(None).await.unwrap_err().fault().code, Code::Tls);
}

#[tokio::test(flavor = "multi_thread")]
async fn python_reads_and_changes_the_small_mailbox() {
    let mailbox = Mailbox::start(ACCOUNT, "simple").await.unwrap();
    for n in 1..=3 {
        mailbox.append("INBOX", &mail(n));
    }
    let port = mailbox.address().port().to_string();
    let script = "
import imaplib, sys
m = imaplib.IMAP4('127.0.0.1', int(sys.argv[1]))
m.login('marie@example.org', 'simple')
assert m.list()[0] == 'OK' and m.create('Archive')[0] == 'OK'
assert m.status('INBOX', '(MESSAGES UNSEEN)')[1] == [b'\"INBOX\" (MESSAGES 3 UNSEEN 3)'], m.status('INBOX', '(MESSAGES UNSEEN)')
assert m.select('INBOX')[1] == [b'3']
assert m.search(None, 'UNSEEN')[1] == [b'1 2 3']
typ, data = m.fetch('2', '(RFC822)')
assert b'fin 2' in data[0][1], data
typ, data = m.uid('FETCH', '1:*', '(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])')
assert len([d for d in data if isinstance(d, tuple)]) == 3, data
assert m.uid('COPY', '1', 'Archive')[0] == 'OK'
assert m.store('3', '+FLAGS', '\\\\Deleted')[0] == 'OK' and m.expunge()[1] == [b'3']
m.close(); m.logout()
";
    let ran = tokio::task::spawn_blocking(move || {
        std::process::Command::new("python3").args(["-c", script, &port]).output().unwrap()
    });
    let output = ran.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let inbox = mailbox.messages("INBOX");
    assert_eq!(
        inbox.iter().map(|message| message.flags.clone()).collect::<Vec<_>>(),
        [vec![], vec!["\\Seen".to_owned()]]
    );
    assert_eq!(&*mailbox.messages("Archive")[0].bytes, mail(1));
}
