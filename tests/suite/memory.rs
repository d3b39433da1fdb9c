//! Memory is bounded whatever the size of a mail and however many accounts wait. All of it is long.

#![cfg(target_os = "linux")] // /proc tells the memory of a process

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use pertuis::model::Digest;

use crate::support::ca::TestCa;
use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::mails::{bytes, mail};
use crate::support::service::{Service, until};
use crate::support::site::Site;

fn site() -> (Site, Dovecot, TestCa) {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let pair = ca.good("localhost");
    let server = Dovecot::start_tls(&pair.cert, &pair.key);
    (site, server, ca)
}

fn section(name: &str, protocol: &str, server: &Dovecot, ca: &TestCa) -> String {
    let door = if protocol == "imap" { server.imaps() } else { server.pop3s() };
    let ca = ca.cert.display();
    format!(
        "[{name}]\nlauncher = {protocol}\nserver = {door}\naccount = {ACCOUNT}\npassword = {PASSWORD}\n\
         checkHost = localhost\nCAfile = {ca}\n"
    )
}

/// A figure of `/proc/PID/status`, in bytes; 0 once the process has gone.
fn status(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    kilobytes * 1024
}

/// The highest memory of its own that `fetch` had while it ran, without the code that is mapped from its file: that of a
/// debug build is larger by 14 MB than what is shipped. `tests/bench/mail` measures a release build as a whole.
fn peak_of_fetch(site: &Site) -> u64 {
    let mut child = site.start_fetch();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(status(child.id(), "RssAnon"));
        std::thread::sleep(Duration::from_millis(1)); // not a wait: how often it is looked at
    }
    assert!(child.wait().unwrap().success());
    peak
}

/// What a release build maps of its own file, at most.
const CODE: u64 = 10 << 20;

/// One mail of 150 MB with its attachment in base64.
fn a_large_mail(protocol: &str) {
    let (site, mut server, ca) = site();
    site.write_ini(&(section("factures", protocol, &server, &ca) + "deliver = COLD\n"));
    let content = bytes(1, 109 << 20);
    let mail = mail("Plan cadastral", &[("plan.pdf", &content)]);
    assert!((150_000_000..150 << 20).contains(&mail.len()), "{} bytes", mail.len());
    server.deliver(&mail);
    drop(mail);
    let peak = peak_of_fetch(&site);
    assert_eq!(site.delivered(), BTreeMap::from([(Digest::of(&content), 1)]));
    eprintln!("{protocol}: peak memory {} MiB", peak >> 20);
    assert!(peak > 0 && peak <= (32 << 20) - CODE, "{protocol}: {peak} bytes");
}

#[test]
#[ignore = "long"]
fn a_mail_of_150_megabytes_passes_in_32_megabytes_of_memory_over_imap() {
    a_large_mail("imap");
}

#[test]
#[ignore = "long"]
fn a_mail_of_150_megabytes_passes_in_32_megabytes_of_memory_over_pop3() {
    a_large_mail("pop3");
}

/// A hundred accounts that have all done a cycle and wait for the next.
fn a_hundred_accounts(protocol: &str) {
    let (site, mut server, ca) = site();
    server.deliver(&mail("Facture", &[("facture.pdf", &bytes(1, 5000))]));
    let mut ini = "foreground = yes\n".to_owned();
    for n in 0..100 {
        let out = site.path(&format!("cold{n}"));
        fs::create_dir(&out).unwrap();
        let section = section(&format!("compte {n}"), protocol, &server, &ca);
        let _ = writeln!(ini, "{section}deliver = {}\ninterval = 1h", out.display());
    }
    site.write_ini(&ini);
    let service = Service::start(&mut site.command(&["run"]));
    for n in 0..100 {
        until("a delivery", || site.path(&format!("cold{n}/facture.pdf")).exists().then_some(()));
    }
    let memory = at_rest(service.child.id());
    eprintln!("{protocol}: {} MiB at rest", memory >> 20);
    assert!(memory > 0 && memory <= 64 << 20, "{protocol}: {memory} bytes");
}

/// The memory of a process once it has stood still for two seconds, without the pages of its program file: those of a
/// debug build are several times as large. `tests/bench/mail` counts all of it, with a release build.
fn at_rest(pid: u32) -> u64 {
    let (mut since, mut last) = (Instant::now(), 0);
    while since.elapsed() < Duration::from_secs(2) {
        let now = status(pid, "RssAnon");
        if now != last {
            (since, last) = (Instant::now(), now);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    last
}

#[test]
#[ignore = "long"]
fn a_hundred_idle_accounts_need_64_megabytes_of_memory_over_imap() {
    a_hundred_accounts("imap");
}

#[test]
#[ignore = "long"]
fn a_hundred_idle_accounts_need_64_megabytes_of_memory_over_pop3() {
    a_hundred_accounts("pop3");
}
