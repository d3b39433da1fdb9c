//! `pertuis fetch` against a real Dovecot behind TLS and against a directory of dropped files: everything arrives
//! byte for byte, once, whatever stops it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant, SystemTime};

use pertuis::model::Digest;

use crate::support::ca::{Pair, TestCa};
use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::mails::{Random, bytes, mail};
use crate::support::site::{Consumer, Site};

fn imap_section(server: &Dovecot, more: &str) -> String {
    let port = server.imaps().port();
    format!(
        "[factures]\nlauncher = imap\nserver = 127.0.0.1:{port}\naccount = {ACCOUNT}\npassword = {PASSWORD}\n\
         deliver = COLD\ncheckHost = localhost\n{more}\n"
    )
}

/// A Dovecot with this certificate and a site that trusts the CA.
fn imap_site(make: impl FnOnce(&TestCa) -> Pair, more: &str) -> (Site, Dovecot) {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let pair = make(&ca);
    let server = Dovecot::start_tls(&pair.cert, &pair.key);
    site.write_ini(&imap_section(&server, &format!("CAfile = {}\n{more}", ca.cert.display())));
    (site, server)
}

/// Delivers `count` mails, every third with two attachments; answers how often each content must arrive.
pub(crate) fn fill(server: &mut Dovecot, count: u64) -> BTreeMap<Digest, usize> {
    let mut expected = BTreeMap::new();
    for n in 0..count {
        let (one, two) = (bytes(n, 500 + usize::try_from(n).unwrap() * 37), bytes(n + 1_000_000, 900));
        let (name, other) = (format!("facture été {n}.pdf"), "bordereau.pdf");
        let all = [(name.as_str(), one.as_slice()), (other, two.as_slice())];
        let attachments = if n % 3 == 0 { &all[..] } else { &all[..1] };
        server.deliver(&mail(&format!("Facture {n}"), attachments));
        for (_, content) in attachments {
            *expected.entry(Digest::of(content)).or_default() += 1;
        }
    }
    expected
}

#[test]
fn two_hundred_mails_arrive_byte_for_byte_and_a_second_run_delivers_none() {
    let (site, mut server) = imap_site(|ca| ca.good("localhost"), "");
    let expected = fill(&mut server, 200);
    let report = site.fetch();
    assert_eq!(report["error"], serde_json::Value::Null, "{report}");
    assert_eq!((&report["items"]["delivered"], &report["files"]["delivered"]), (&200.into(), &267.into()), "{report}");
    assert_eq!(site.delivered(), expected);
    assert!(site.cold().join("facture été 7.pdf").exists());
    assert!(site.cold().join("bordereau (67).pdf").exists());
    let report = site.fetch();
    assert_eq!((&report["items"]["delivered"], &report["files"]["delivered"]), (&0.into(), &0.into()), "{report}");
    assert!(server.messages("INBOX").iter().all(|(flags, _)| flags.is_empty()), "fetching marked something as seen");
}

#[test]
fn what_happens_after_delivery_happens_at_the_server() {
    for (after, inbox, archive) in [("seen", 3, 0), ("move Archivées/2026", 0, 3), ("delete", 0, 0)] {
        let (site, mut server) = imap_site(|ca| ca.good("localhost"), &format!("after = {after}"));
        fill(&mut server, 3);
        let report = site.fetch();
        assert_eq!(report["items"]["delivered"], 3, "{after}: {report}");
        let (left, moved) = (server.messages("INBOX"), server.messages("Archiv&AOk-es.2026"));
        assert_eq!((left.len(), moved.len()), (inbox, archive), "{after}: {}", server.log());
        assert!(left.iter().all(|(flags, _)| flags.contains('S')), "{after}");
    }
}

/// The message of a fetch that must fail with this code.
fn refusal(site: &Site, code: &str) -> String {
    let output = site.run(&["fetch", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report = crate::support::site::report(&output);
    assert_eq!(report["error"]["code"], code, "{report}");
    report["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_bad_certificate_is_refused_and_the_message_says_what_is_wrong_with_it() {
    let (site, _server) = imap_site(|ca| ca.expired("localhost"), "");
    let message = refusal(&site, "tls");
    assert!(message.contains("expired") && message.contains("2021"), "{message}");

    let (site, _server) = imap_site(|ca| ca.good("other.example.org"), "");
    let message = refusal(&site, "tls");
    assert!(message.contains("other.example.org") && message.contains("localhost"), "{message}");

    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = TestCa::new(elsewhere.path());
    let (site, _server) = imap_site(|_| stranger.good("localhost"), "");
    let message = refusal(&site, "tls");
    assert!(message.contains("unknown CA") && message.contains("pin = "), "{message}");
    // the line of the message can be pasted, and does what it says
    let pin = message.split("pin = ").nth(1).unwrap().chars().take_while(char::is_ascii_hexdigit).collect::<String>();
    let ini = fs::read_to_string(site.path("pertuis.ini")).unwrap();
    fs::write(site.path("pertuis.ini"), format!("{ini}pin = {pin}\n")).unwrap();
    assert_eq!(site.fetch()["error"], serde_json::Value::Null);
}

#[test]
fn a_wrong_password_a_missing_folder_and_a_closed_port_each_have_their_code() {
    let (site, server) = imap_site(|ca| ca.good("localhost"), "");
    let ini = fs::read_to_string(site.path("pertuis.ini")).unwrap();
    let with = |from: &str, to: &str| fs::write(site.path("pertuis.ini"), ini.replace(from, to)).unwrap();
    with(PASSWORD, "wrong-secret");
    let message = refusal(&site, "credentials");
    assert!(!message.contains("wrong-secret"), "{message}");
    with("checkHost", "source = Nulle part\ncheckHost");
    assert!(refusal(&site, "folder").contains("Nulle part"));
    with(&server.imaps().port().to_string(), "1");
    refusal(&site, "connect");
    with("127.0.0.1", "no-such-host.invalid");
    refusal(&site, "resolve");
}

/// Kills `start`ed programs at random moments, then lets one finish; what arrived meanwhile is answered.
pub(crate) fn kill_at_random(
    kills: u32,
    longest: Duration,
    cold: &Path,
    start: impl Fn() -> Child,
    finish: impl FnOnce(),
) -> BTreeMap<Digest, Vec<String>> {
    let seed = u64::from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos());
    eprintln!("seed {seed}");
    let mut random = Random(seed | 1);
    let consumer = Consumer::start(cold);
    let mut killed = 0;
    while killed < kills {
        let mut child = start();
        let moment = Duration::from_micros(random.next() % u64::try_from(longest.as_micros()).unwrap());
        let begun = Instant::now();
        let mut ended = false;
        while begun.elapsed() < moment && !ended {
            ended = child.try_wait().unwrap().is_some();
            std::thread::yield_now();
        }
        if !ended {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        killed += 1;
    }
    finish();
    consumer.stop()
}

pub(crate) fn assert_exactly_once(arrived: &BTreeMap<Digest, Vec<String>>, expected: &BTreeMap<Digest, usize>) {
    let counts: BTreeMap<Digest, usize> = arrived.iter().map(|(digest, names)| (*digest, names.len())).collect();
    let lost = expected.keys().filter(|digest| !counts.contains_key(digest)).count();
    let partial: Vec<_> = arrived.iter().filter(|(digest, _)| !expected.contains_key(digest)).collect();
    let doubled: Vec<_> =
        arrived.iter().filter(|(digest, names)| names.len() > expected.get(digest).copied().unwrap_or(1)).collect();
    assert!(
        lost == 0 && partial.is_empty() && doubled.is_empty(),
        "lost {lost}, not whole {partial:?}, doubled {doubled:?}"
    );
    assert_eq!(&counts, expected);
}

/// How long an undisturbed run over the same items takes: the moments of the kills are spread over it.
pub(crate) fn undisturbed(site: &Site) -> Duration {
    let begun = Instant::now();
    let output = site.run(&["fetch", "--dry-run"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    begun.elapsed()
}

fn imap_survives(kills: u32) {
    let (site, mut server) = imap_site(|ca| ca.good("localhost"), "after = seen");
    let expected = fill(&mut server, 500);
    let longest = undisturbed(&site);
    let finish = || assert_eq!(site.fetch()["error"], serde_json::Value::Null);
    let arrived = kill_at_random(kills, longest, &site.cold(), || site.start_fetch(), finish);
    assert_exactly_once(&arrived, &expected);
    assert!(server.messages("INBOX").iter().all(|(flags, _)| flags.contains('S')));
}

fn directory_survives(kills: u32) {
    let site = Site::new();
    let drop = site.path("drop");
    fs::create_dir(&drop).unwrap();
    site.write_ini(&format!(
        "[depot]\nlauncher = directory\nsource = {}\ndeliver = COLD\nsettle = 0\nafter = delete\n",
        drop.display()
    ));
    let mut expected = BTreeMap::new();
    for n in 0..500 {
        let content = bytes(n, 3000);
        fs::write(drop.join(format!("document {n}.pdf")), &content).unwrap();
        *expected.entry(Digest::of(&content)).or_default() += 1;
    }
    let longest = undisturbed(&site);
    let finish = || assert_eq!(site.fetch()["error"], serde_json::Value::Null);
    let arrived = kill_at_random(kills, longest, &site.cold(), || site.start_fetch(), finish);
    assert_exactly_once(&arrived, &expected);
    assert_eq!(fs::read_dir(&drop).unwrap().count(), 0);
}

#[test]
fn a_few_kills_over_five_hundred_mails_lose_and_double_nothing() {
    imap_survives(8);
}

#[test]
fn a_few_kills_over_five_hundred_files_lose_and_double_nothing() {
    directory_survives(8);
}

#[test]
#[ignore = "long"]
fn a_hundred_kills_over_five_hundred_mails_lose_and_double_nothing() {
    imap_survives(100);
}

#[test]
#[ignore = "long"]
fn a_hundred_kills_over_five_hundred_files_lose_and_double_nothing() {
    directory_survives(100);
}

/// Runs `fetch` and answers the highest memory it had, in bytes (`VmHWM` while it ran).
#[cfg(target_os = "linux")]
fn peak_of_fetch(site: &Site) -> u64 {
    let mut child = site.start_fetch();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        peak = peak.max(kilobytes * 1024);
        std::thread::yield_now();
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[cfg(target_os = "linux")]
#[test]
fn a_hundred_megabytes_pass_in_less_than_64_megabytes_of_memory() {
    let (site, mut server) = imap_site(|ca| ca.good("localhost"), "");
    let content = bytes(1, 100 << 20);
    server.deliver(&mail("Plan cadastral", &[("plan.pdf", &content)]));
    let peak = peak_of_fetch(&site);
    assert_eq!(site.delivered(), BTreeMap::from([(Digest::of(&content), 1)]));
    eprintln!("peak memory {} MiB", peak >> 20);
    assert!(peak > 0 && peak < 64 << 20, "{peak} bytes");
}

#[test]
fn a_full_disk_loses_nothing_and_leaves_nothing_half_done() {
    // a limit on the size of files stands for the full disk: writes beyond it fail in the same way
    let (site, mut server) = imap_site(|ca| ca.good("localhost"), "after = delete");
    let content = bytes(1, 3 << 20);
    server.deliver(&mail("Plan", &[("plan.pdf", &content)]));
    let binary = env!("CARGO_BIN_EXE_pertuis");
    let ini = site.path("pertuis.ini");
    let script = format!("trap '' XFSZ; ulimit -f 2048; exec {binary} -c {} fetch --json", ini.display());
    let output = std::process::Command::new("bash").arg("-c").arg(script).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = crate::support::site::report(&output);
    assert_eq!(report["error"]["code"], "deliver", "{report}");
    assert!(site.delivered().is_empty() && server.messages("INBOX").len() == 1);
    assert_eq!(site.fetch()["items"]["delivered"], 1);
    assert_eq!(site.delivered(), BTreeMap::from([(Digest::of(&content), 1)]));
}
