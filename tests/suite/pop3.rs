//! The POP3 source: `pertuis fetch` against a real Dovecot, and a scripted server for what Dovecot will not do.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use pertuis::config::{self, Overrides};
use pertuis::event::Events;
use pertuis::model::Digest;
use pertuis::source::Source as _;
use pertuis::source::pop3::Pop3;

use crate::support::ca::TestCa;
use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::mails::{bytes, mail};
use crate::support::pop3::{Message, Pop3Server, Script};
use crate::support::site::Site;

fn section(port: u16, more: &str) -> String {
    format!(
        "[factures]\nlauncher = pop3\nserver = 127.0.0.1:{port}\naccount = {ACCOUNT}\npassword = {PASSWORD}\n\
         deliver = COLD\n{more}\n"
    )
}

/// A Dovecot behind TLS and a site that trusts it.
fn dovecot(tls: &str, more: &str) -> (Site, Dovecot) {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let pair = ca.good("localhost");
    let server = Dovecot::start_tls(&pair.cert, &pair.key);
    let port = if tls == "implicit" { server.pop3s() } else { server.pop3() }.port();
    let trust = format!("tls = {tls}\ncheckHost = localhost\nCAfile = {}\n{more}", ca.cert.display());
    site.write_ini(&section(port, &trust));
    (site, server)
}

/// Delivers mails with one attachment each; answers how often each content must arrive.
fn fill(server: &mut Dovecot, numbers: std::ops::Range<u64>) -> BTreeMap<Digest, usize> {
    let mut expected = BTreeMap::new();
    for n in numbers {
        let content = bytes(n, 500 + usize::try_from(n % 100).unwrap() * 37);
        server.deliver(&mail(&format!("Facture {n}"), &[(&format!("facture {n}.pdf"), &content)]));
        *expected.entry(Digest::of(&content)).or_default() += 1;
    }
    expected
}

/// The counts of a report: delivered, already, failed.
fn counts(report: &serde_json::Value) -> (u64, u64, u64) {
    let items = &report["items"];
    let count = |name: &str| items[name].as_u64().unwrap();
    (count("delivered"), count("already"), count("failed"))
}

fn fetched(site: &Site) -> (u64, u64, u64) {
    let report = site.fetch();
    assert_eq!(report["error"], serde_json::Value::Null, "{report}");
    counts(&report)
}

#[test]
fn mails_arrive_byte_for_byte_over_tls_and_stls_and_a_second_run_delivers_none() {
    for tls in ["implicit", "starttls"] {
        let (site, mut server) = dovecot(tls, "");
        let expected = fill(&mut server, 0..200);
        assert_eq!(fetched(&site), (200, 0, 0), "{tls}: {}", server.log());
        assert_eq!(site.delivered(), expected, "{tls}");
        assert_eq!(fetched(&site), (0, 200, 0), "{tls}");
        assert_eq!(server.messages("INBOX").len(), 200, "leave leaves them");
    }
}

#[test]
fn delivered_mails_are_deleted_and_only_those() {
    let (site, mut server) = dovecot("implicit", "after = delete\nfilter_subject = /Facture [0-4]$/");
    fill(&mut server, 0..10);
    let report = site.fetch();
    assert_eq!((counts(&report), &report["items"]["rejected"]), ((5, 0, 0), &5.into()), "{report}");
    assert_eq!(server.messages("INBOX").len(), 5, "{}", server.log());
    assert_eq!(fetched(&site), (0, 5, 0));
}

/// A scripted server with numbered mails and a site that fetches from it.
fn scripted(mails: std::ops::Range<u64>, more: &str) -> (Site, Pop3Server, BTreeMap<Digest, usize>) {
    let mut expected = BTreeMap::new();
    let messages = mails.map(|n| {
        let (message, digest) = numbered(n);
        expected.insert(digest, 1);
        message
    });
    let server = Pop3Server::start(Script::new(messages.collect()));
    let site = Site::new();
    site.write_ini(&section(server.address.port(), &format!("tls = none\n{more}")));
    (site, server, expected)
}

/// A mail with an attachment of its own, whose digest is answered.
fn numbered(n: u64) -> (Message, Digest) {
    let content = bytes(n, 300);
    let bytes = mail(&format!("Facture {n}"), &[(&format!("facture {n}.pdf"), &content)]);
    (Message { uidl: format!("uid{n}"), bytes }, Digest::of(&content))
}

/// Code and message of a fetch that must fail.
fn refusal(site: &Site) -> (String, String) {
    let report = site.fetch();
    let word = |name: &str| report["error"][name].as_str().unwrap_or_else(|| panic!("{report}")).to_owned();
    (word("code"), word("message"))
}

#[test]
fn a_list_in_another_order_and_ids_that_all_are_new_bring_nothing_again() {
    let (site, server, mut expected) = scripted(0..300, "");
    assert_eq!(fetched(&site), (300, 0, 0));
    server.script().messages.reverse();
    assert_eq!(fetched(&site), (0, 300, 0));
    assert_eq!(server.count("TOP"), 0);
    // migrated: every id is another one, sizes are counted otherwise, one mail is new
    for message in &mut server.script().messages {
        message.uidl.insert_str(0, "new-");
    }
    server.script().size_error = 7;
    let (message, digest) = numbered(1000);
    server.script().messages.insert(5, message);
    expected.insert(digest, 1);
    assert_eq!(fetched(&site), (1, 300, 0));
    assert_eq!((server.count("TOP"), server.count("RETR")), (301, 301), "no body twice");
    assert_eq!(fetched(&site), (0, 301, 0));
    assert_eq!(server.count("TOP"), 301, "the new ids are known from now on");
    assert_eq!(site.delivered(), expected);
}

#[test]
fn an_empty_list_for_once_makes_nothing_new() {
    let (site, server, expected) = scripted(0..20, "");
    assert_eq!(fetched(&site), (20, 0, 0));
    let all = std::mem::take(&mut server.script().messages);
    assert_eq!(fetched(&site), (0, 0, 0));
    server.script().messages = all;
    assert_eq!(fetched(&site), (0, 20, 0));
    assert_eq!(site.delivered(), expected);
}

#[test]
fn without_unique_ids_messages_are_told_apart_by_what_they_hold() {
    let quirks: [fn(&mut Script); 4] = [
        |script| script.refused.push(("UIDL", "-ERR no")),
        |script| script.messages.iter_mut().for_each(|message| message.uidl = "same".into()),
        |script| script.messages.iter_mut().for_each(|message| message.uidl.clear()),
        |script| (script.capa, script.refused) = (None, vec![("UIDL", "-ERR no"), ("TOP", "-ERR no")]),
    ];
    for (nth, quirk) in quirks.into_iter().enumerate() {
        let (site, server, mut expected) = scripted(0..40, "");
        // a twin that was sent twice arrives twice
        let (twin, digest) = numbered(3);
        server.script().messages.push(twin);
        expected.insert(digest, 2);
        quirk(&mut server.script());
        assert_eq!(fetched(&site), (41, 0, 0), "{nth}");
        server.script().messages.reverse();
        assert_eq!(fetched(&site), (0, 41, 0), "{nth}");
        // and when the ids are back, and gone again
        server.script().refused.clear();
        for (at, message) in server.script().messages.iter_mut().enumerate() {
            message.uidl = format!("better{at}");
        }
        assert_eq!(fetched(&site), (0, 41, 0), "{nth}");
        quirk(&mut server.script());
        assert_eq!(fetched(&site), (0, 41, 0), "{nth}");
        assert_eq!(site.delivered(), expected, "{nth}");
    }
}

#[test]
fn an_id_that_becomes_another_messages_too_delivers_that_one_alone() {
    let (site, server, mut expected) = scripted(0..10, "");
    assert_eq!(fetched(&site), (10, 0, 0));
    let (mut message, digest) = numbered(500);
    message.uidl = "uid4".into();
    expected.insert(digest, 1);
    server.script().messages.push(message);
    assert_eq!(fetched(&site), (1, 10, 0));
    server.script().messages.pop();
    assert_eq!(fetched(&site), (0, 10, 0));
    assert_eq!(site.delivered(), expected);
}

#[test]
fn one_message_that_is_refused_fails_alone_and_a_cut_one_is_dropped() {
    let (site, server, expected) = scripted(0..30, "");
    server.script().refused.push(("RETR 7 ", "-ERR cannot read"));
    assert_eq!(fetched_counts(&site), (29, 0, 1));
    server.script().refused.clear();
    assert_eq!(fetched(&site), (1, 29, 0));
    assert_eq!(site.delivered(), expected);

    let (site, server, expected) = scripted(0..30, "");
    server.script().cut = Some((11, 400));
    let (code, message) = refusal(&site);
    assert!(code == "connect" && message.contains("within a message"), "{message}");
    server.script().cut = None;
    assert_eq!(fetched(&site), (20, 10, 0));
    assert_eq!(site.delivered(), expected);

    let (site, server, _) = scripted(0..5, "");
    server.script().refused.push(("RETR", "-ERR [SYS/TEMP] disk"));
    assert_eq!((refusal(&site).0, site.delivered().len()), ("connect".into(), 0));
}

fn fetched_counts(site: &Site) -> (u64, u64, u64) {
    counts(&site.fetch())
}

#[test]
fn a_session_that_drops_deletes_nothing_and_the_next_one_does() {
    for (hang_up, refused) in
        [(Some("QUIT"), None), (Some("DELE 3"), None), (None, Some(("QUIT", "-ERR some deleted messages not removed")))]
    {
        let (site, server, expected) = scripted(0..6, "after = delete");
        server.script().hang_up = hang_up;
        server.script().refused.extend(refused);
        let (code, message) = refusal(&site);
        assert!(["connect", "protocol"].contains(&code.as_str()), "{message}");
        assert_eq!(server.script().messages.len(), 6, "nothing is deleted without QUIT");
        assert_eq!(site.delivered(), expected);
        server.script().hang_up = None;
        server.script().refused.clear();
        // a mail that came meanwhile, in front: numbers are those of this session
        let (message, digest) = numbered(77);
        server.script().messages.insert(0, message);
        assert_eq!(fetched(&site), (1, 6, 0));
        assert_eq!(server.script().messages.len(), 0);
        assert_eq!(site.delivered().get(&digest), Some(&1));
        assert_eq!(server.count("RETR"), 7);
    }
}

#[test]
fn with_leave_nothing_is_deleted() {
    let (site, server, _) = scripted(0..3, "");
    assert_eq!(fetched(&site), (3, 0, 0));
    assert_eq!((server.count("DELE"), server.count("RSET"), server.count("QUIT")), (0, 0, 1));
    let (dry, server, _) = scripted(0..3, "after = delete");
    assert!(dry.run(&["fetch", "--dry-run"]).status.success());
    assert_eq!(server.script().messages.len(), 3);
    assert_eq!(server.count("DELE"), 0);
}

#[test]
fn what_a_greeting_or_a_login_is_refused_with_has_its_code() {
    let greetings = [
        ("-ERR [IN-USE] maildrop locked", "connect", "another program"),
        ("-ERR [SYS/TEMP] come back", "connect", "come back"),
        ("-ERR [SYS/PERM] broken", "folder", "administrator"),
        ("-ERR [LOGIN-DELAY] minimum time between mail checks", "throttled", "slow down"),
        ("-ERR no service", "connect", "no service"),
        ("* OK IMAP4rev1", "protocol", "995"),
    ];
    for (words, expected, part) in greetings {
        let (site, server, _) = scripted(0..1, "");
        server.script().greeting = words.into();
        let (code, message) = refusal(&site);
        assert!(code == expected && message.contains(part), "{words}: {code}: {message}");
        if words.starts_with("-ERR [") {
            server.script().greeting = "+OK".into();
            server.script().refused.push(("PASS", words));
            assert_eq!(refusal(&site).0, expected, "{words}");
        }
    }
    let (site, server, _) = scripted(0..1, "");
    server.script().refused.push(("PASS", "-ERR [AUTH] not motdepasse, motdepasse2"));
    let (code, message) = refusal(&site);
    assert!(code == "credentials" && !message.contains(PASSWORD), "{message}");
}

#[test]
fn nothing_in_clear_counts_once_tls_was_asked_for() {
    let (site, server, _) = scripted(0..1, "");
    site.write_ini(&section(server.address.port(), "tls = starttls"));
    server.script().behind_stls = b"+OK injected\r\n";
    let (code, message) = refusal(&site);
    assert!(code == "tls" && message.contains("in between"), "{message}");
    server.script().capa = Some(vec!["USER"]);
    assert!(refusal(&site).1.contains("no STLS"));
    server.script().capa = None;
    server.script().refused.push(("STLS", "-ERR what?"));
    assert!(refusal(&site).1.contains("no STLS"));
    assert_eq!(server.count("USER") + server.count("PASS"), 0, "a password left in clear");
}

#[test]
fn odd_bytes_arrive_as_they_were_sent_and_a_server_without_end_is_given_up() {
    let bodies: [&[u8]; 4] = [b"a\n.\nb\n", b".\r\n..\r\n...\r\n", b"no end", b"bare\r.\r\r\n.x\r\n"];
    let lines = vec![b'.'; 3 << 20];
    let messages = bodies.into_iter().chain([&lines[..]]).enumerate();
    let messages: Vec<Message> = messages
        .map(|(n, body)| Message { uidl: n.to_string(), bytes: [&b"Subject: odd\r\n\r\n"[..], body].concat() })
        .collect();
    let server = Pop3Server::start(Script::new(messages.clone()));
    let site = Site::new();
    site.write_ini(&section(server.address.port(), "tls = none\ntake = message\nmax_size = 4M"));
    assert_eq!(fetched(&site), (5, 0, 0));
    let mut expected = BTreeMap::new();
    for Message { mut bytes, .. } in messages {
        if !bytes.ends_with(b"\r\n") {
            bytes.extend_from_slice(b"\r\n");
        }
        expected.insert(Digest::of(&bytes), 1);
    }
    assert_eq!(site.delivered(), expected);
    let (message, _) = numbered(9);
    server.script().messages.push(message);
    server.script().endless = true;
    let (code, message) = refusal(&site);
    assert!(code == "protocol" && message.contains("much more"), "{message}");
    server.script().endless = false;
    server.script().greeting = "x".repeat(100_000);
    assert_eq!(refusal(&site).0, "protocol");
}

/// A server that greets, learns nothing from CAPA, and then says `line` to each command, or for ever with `pause`.
fn odd_server(line: &'static [u8], pause: Option<Duration>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let _ = (&stream).write_all(b"+OK hello\r\n");
        for (at, _) in BufReader::new(&stream).lines().map_while(Result::ok).enumerate() {
            let mut alive = (&stream).write_all(if at == 0 { b"-ERR what?\r\n" } else { line }).is_ok();
            while let Some(pause) = pause.filter(|_| alive && at > 0) {
                std::thread::sleep(pause);
                alive = (&stream).write_all(line).is_ok();
            }
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_dribbles_or_asks_without_an_end_is_given_up() {
    for (line, pause, auth, words) in [
        (&b"x"[..], Some(Duration::from_millis(10)), "login", "a few bytes at a time"),
        (b"+ eA==\r\n", None, "plain", "not one of"),
    ] {
        let ini = section(odd_server(line, pause), &format!("tls = none\nauth = {auth}"));
        let config = config::load_bytes(Path::new("x.ini"), ini.as_bytes(), &Overrides::default()).unwrap();
        let mut pop3 = Pop3::new(config.launchers[0].clone(), Events::nowhere());
        if pause.is_some() {
            pop3 = pop3.with_patience(Duration::from_millis(50));
        }
        let error = pop3.login().await.unwrap_err();
        assert!(error.fault().text.en.contains(words), "{error}");
    }
}

#[test]
fn every_login_works_and_the_strongest_is_taken_by_itself() {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let pair = ca.good("localhost");
    let mechanisms = "auth_mechanisms = plain login cram-md5 scram-sha-256 apop\nauth_debug = yes\n";
    let mut server = Dovecot::start_with(Some((&pair.cert, &pair.key)), mechanisms);
    fill(&mut server, 0..1);
    for (auth, used) in [
        ("auto", "SCRAM-SHA-256"),
        ("plain", "PLAIN"),
        ("login", "PLAIN"),
        ("cram-md5", "CRAM-MD5"),
        ("scram-sha-256", "SCRAM-SHA-256"),
        ("apop", "APOP"),
    ] {
        let more = format!("checkHost = localhost\nCAfile = {}\nauth = {auth}", ca.cert.display());
        site.write_ini(&section(server.pop3s().port(), &more));
        let before = server.log().len();
        fetched(&site);
        let log = server.log()[before..].to_uppercase();
        assert!(log.contains(&format!("METHOD={used}")), "{auth}: {log}");
        site.write_ini(&section(server.pop3s().port(), &more).replace(PASSWORD, "wrong"));
        assert_eq!(refusal(&site).0, "credentials", "{auth}");
    }
}

#[test]
#[ignore = "long"]
fn ten_thousand_new_ids_bring_nothing_again() {
    let (site, server, expected) = scripted(0..10_000, "");
    assert_eq!(fetched(&site), (10_000, 0, 0));
    server.script().messages.iter_mut().for_each(|message| message.uidl.insert_str(0, "new-"));
    server.script().messages.reverse();
    assert_eq!(fetched(&site), (0, 10_000, 0));
    assert_eq!((server.count("TOP"), server.count("RETR")), (10_000, 10_000), "no body twice");
    assert_eq!(site.delivered(), expected);
}

#[test]
#[ignore = "long"]
fn three_thousand_mails_come_through_a_real_server() {
    let (site, mut server) = dovecot("implicit", "after = delete");
    let expected = fill(&mut server, 0..3000);
    assert_eq!(fetched(&site), (3000, 0, 0), "{}", server.log());
    assert_eq!(site.delivered(), expected);
    assert_eq!(server.messages("INBOX").len(), 0);
}
