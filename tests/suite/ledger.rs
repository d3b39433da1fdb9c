//! `pertuis ledger` with the real binary, against a real Dovecot and a directory of dropped files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::mails::mail;
use crate::support::service::Service;
use crate::support::site::Site;

fn imap_site(server: &Dovecot, more: &str) -> Site {
    let site = Site::new();
    write_imap(&site, server, "factures", more);
    site
}

fn write_imap(site: &Site, server: &Dovecot, name: &str, more: &str) {
    let port = server.imap().port();
    site.write_ini(&format!(
        "[{name}]\nlauncher = imap\nserver = 127.0.0.1:{port}\ntls = none\naccount = {ACCOUNT}\n\
         password = {PASSWORD}\ndeliver = COLD\n{more}\n"
    ));
}

fn directory_site(more: &str) -> (Site, PathBuf) {
    let site = Site::new();
    let drop = site.path("drop");
    fs::create_dir(&drop).unwrap();
    write_directory(&site, "depot", more);
    (site, drop)
}

fn write_directory(site: &Site, name: &str, more: &str) {
    let drop = site.path("drop");
    let drop = drop.display();
    site.write_ini(&format!("[{name}]\nlauncher = directory\nsource = {drop}\ndeliver = COLD\nsettle = 0\n{more}\n"));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must succeed; what it printed.
fn done(site: &Site, arguments: &[&str]) -> String {
    let output = site.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The same in French.
fn done_in_french(site: &Site, arguments: &[&str]) -> String {
    let ini = fs::read_to_string(site.path("pertuis.ini")).unwrap();
    fs::write(site.path("pertuis.ini"), ini.replace("lang = en", "lang = fr")).unwrap();
    let said = done(site, arguments);
    fs::write(site.path("pertuis.ini"), ini).unwrap();
    said
}

/// Runs a command that must end with this code; what it complained about.
fn refused(site: &Site, arguments: &[&str], code: i32) -> String {
    let output: Output = site.run(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stderr)
}

fn list(site: &Site) -> Vec<Value> {
    done(site, &["ledger", "list", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn key(site: &Site, n: usize) -> String {
    list(site)[n]["key"].as_str().unwrap().to_owned()
}

fn delivered(site: &Site) -> u64 {
    let report = site.fetch();
    assert_eq!(report["error"], Value::Null, "{report}");
    report["items"]["delivered"].as_u64().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn why_tells_what_was_decided_and_that_an_edit_of_a_filter_needs_a_retry() {
    let mut server = Dovecot::start();
    let site = imap_site(&server, "filter = /.*\\.xml$/\nfilter_from = /mairie@/");
    server.deliver(&mail("Facture 1", &[("facture.pdf", b"one"), ("facture.xml", b"<a/>")]));
    server.deliver(&mail("Facture 2", &[("facture.pdf", b"two")]));
    assert_eq!(delivered(&site), 1);
    let (first, second) = (key(&site, 0), key(&site, 1));
    let why = done(&site, &["ledger", "why", "factures", &second]);
    assert!(why.contains("Facture 2") && why.contains("facture.pdf: left out by filter = /.*\\.xml$/"), "{why}");
    assert!(why.contains("taken by filter_from = /mairie@/: Mairie de Saint-Étienne"), "{why}");
    assert!(why.contains("decides today as it was decided then"), "{why}");

    write_imap(&site, &server, "factures", "filter = /.*\\.pdf$/");
    let why = done_in_french(&site, &["ledger", "why", "factures", &second]);
    assert!(why.contains("facture.pdf : écarté par filter = /.*\\.xml$/"), "{why}");
    assert!(why.contains("facture.pdf : pris par filter"), "{why}");
    assert!(why.contains(&format!("pertuis ledger retry factures {second}")), "{why}");
    // an edit alone reaches nothing old
    assert_eq!(delivered(&site), 0);
    let said = done(&site, &["ledger", "retry", "factures", "--empty"]);
    assert!(said.contains("1 item(s) marked") && said.contains("pertuis fetch factures"), "{said}");
    assert!(done(&site, &["ledger", "list"]).contains("(to be taken again)"));
    assert_eq!(delivered(&site), 1);
    // the beginning of a key is enough, and what was delivered is delivered again when it is asked for
    done(&site, &["ledger", "retry", "factures", &first[..6]]);
    assert_eq!((delivered(&site), delivered(&site)), (1, 0));
    assert_eq!(names(&site.cold()), ["facture (2).pdf", "facture.pdf", "facture.xml"]);
}

#[test]
fn what_is_not_known_is_said_with_what_to_do() {
    let (site, drop) = directory_site("");
    let said = refused(&site, &["ledger", "why", "depot", "zz"], 1);
    assert!(said.contains("ledger list depot") && said.contains("since"), "{said}");
    fs::write(drop.join("a.pdf"), "a").unwrap();
    delivered(&site);
    refused(&site, &["ledger", "show", "depot", "zz"], 1);
    refused(&site, &["ledger", "retry", "depot", "zz"], 1);
    refused(&site, &["ledger", "forget", "depot", "zz"], 1);
    refused(&site, &["ledger", "retry", "depot"], 2);
    refused(&site, &["ledger", "adopt", "depot", "--before", "yesterday"], 2);
    for command in [&["ledger", "why", "nobody", "a"][..], &["ledger", "rename", "nobody", "depot"]] {
        refused(&site, command, 2);
    }
}

#[test]
fn a_too_large_message_is_listed_by_its_place_and_retried_once_it_fits() {
    let mut server = Dovecot::start();
    let site = imap_site(&server, "max_size = 1K");
    server.deliver(&mail("Plan", &[("plan.pdf", &[b'x'; 3000])]));
    assert_eq!(site.fetch()["items"]["quarantined"], 1);
    let listed = done(&site, &["ledger", "list", "factures", "--quarantined"]);
    assert!(listed.contains("INBOX") && listed.contains("quarantined"), "{listed}");
    let line = &list(&site)[0];
    assert!(line["size"].as_u64().unwrap() > 1024 && line["reason"].as_str().unwrap().contains("max_size"), "{line}");
    let french = done_in_french(&site, &["ledger", "show", "factures", &key(&site, 0)]);
    assert!(french.contains("plus que max_size"), "{french}");
    write_imap(&site, &server, "factures", "");
    let why = done(&site, &["ledger", "why", "factures", &key(&site, 0)]);
    assert!(why.contains("takes more than was taken then"), "{why}");
    done(&site, &["ledger", "retry", "factures", "--quarantined"]);
    assert_eq!(delivered(&site), 1);
    let quarantine = site.path("state/quarantine");
    assert!(fs::read_dir(quarantine).unwrap().all(|folder| names(&folder.unwrap().path()).is_empty()));
    assert_eq!(done(&site, &["ledger", "list", "--quarantined"]), "");
}

#[test]
fn a_retry_works_while_the_service_runs() {
    let (site, drop) = directory_site("interval = 1");
    fs::write(drop.join("a.pdf"), "a").unwrap();
    let service = Service::start(&mut site.command(&["run"]));
    service.log.wait("1 delivered", 0);
    done(&site, &["ledger", "retry", "depot", &key(&site, 0)]);
    service.log.wait("1 delivered", 1);
    assert_eq!(names(&site.cold()), ["a (2).pdf", "a.pdf"]);
}

#[test]
fn a_forgotten_file_is_new() {
    let (site, drop) = directory_site("");
    fs::write(drop.join("a.pdf"), "a").unwrap();
    assert_eq!((delivered(&site), delivered(&site)), (1, 0));
    let said = done(&site, &["ledger", "forget", "depot", &key(&site, 0)]);
    assert!(said.contains("as new"), "{said}");
    assert!(list(&site).is_empty());
    assert_eq!(delivered(&site), 1);
}

/// The ledger as a backup has it.
fn copy(site: &Site, to: &str) {
    for name in names(&site.path("state")).iter().filter(|name| name.starts_with("ledger.sqlite")) {
        fs::copy(site.path("state").join(name), site.path(to).join(name)).unwrap();
    }
}

#[test]
fn a_ledger_that_was_set_back_or_lost_stops_the_launcher_until_it_is_adopted() {
    let mut server = Dovecot::start();
    let site = imap_site(&server, "");
    fs::create_dir(site.path("backup")).unwrap();
    server.deliver(&mail("Facture 1", &[("1.pdf", b"one")]));
    assert_eq!(delivered(&site), 1);
    copy(&site, "backup");
    server.deliver(&mail("Facture 2", &[("2.pdf", b"two")]));
    assert_eq!(delivered(&site), 1);

    for name in names(&site.path("backup")) {
        fs::copy(site.path("backup").join(&name), site.path("state").join(&name)).unwrap();
    }
    for lost in [false, true] {
        if lost {
            fs::remove_file(site.path("state/ledger.sqlite")).unwrap();
        }
        for _ in 0..2 {
            let report = site.fetch();
            let message = report["error"]["message"].as_str().unwrap();
            assert_eq!(report["error"]["code"], "ledger", "{report}");
            assert!(message.contains("pertuis ledger adopt factures") && message.contains("--before"), "{message}");
        }
        let said = done(&site, &["ledger", "adopt", "factures"]);
        assert!(said.contains("marked as done, none delivered"), "{said}");
        assert_eq!(delivered(&site), 0);
        server.deliver(&mail(&format!("New {lost}"), &[(if lost { "4.pdf" } else { "3.pdf" }, b"new")]));
        assert_eq!(delivered(&site), 1);
    }
    assert_eq!(names(&site.cold()), ["1.pdf", "2.pdf", "3.pdf", "4.pdf"]);
}

#[test]
fn the_first_day_on_an_old_mailbox_delivers_only_what_is_recent() {
    let mut server = Dovecot::start();
    let site = imap_site(&server, "");
    for n in 0..300 {
        let old = text(&mail(&format!("Old {n}"), &[("old.pdf", b"old")]));
        server.deliver(old.replace("2 Nov 2026", "2 Nov 2016").as_bytes());
    }
    server.deliver(&mail("Recent", &[("recent.pdf", b"recent")]));
    let said = done(&site, &["ledger", "adopt", "factures", "--before", "2026-11-01"]);
    assert!(said.contains("300 item(s)"), "{said}");
    assert!(list(&site)[0]["title"].as_str().unwrap().starts_with("Old"));
    assert_eq!((delivered(&site), delivered(&site)), (1, 0));
    assert_eq!(names(&site.cold()), ["recent.pdf"]);
    // one of the old ones after all
    let why = done(&site, &["ledger", "why", "factures", &key(&site, 7)]);
    assert!(why.contains("nothing of it was looked at"), "{why}");
    done(&site, &["ledger", "retry", "factures", &key(&site, 7)]);
    assert_eq!(delivered(&site), 1);
}

#[test]
fn only_old_files_are_adopted() {
    let (site, drop) = directory_site("subfolders = yes");
    fs::create_dir(drop.join("2016")).unwrap();
    let old = fs::File::create(drop.join("2016/old.pdf")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    fs::write(drop.join("new.pdf"), "new").unwrap();
    let said = done(&site, &["ledger", "adopt", "depot", "--before", "2026-01-01"]);
    assert!(said.contains("1 item(s)"), "{said}");
    assert_eq!(delivered(&site), 1);
    assert_eq!(names(&site.cold()), ["new.pdf"]);
}

#[test]
fn a_renamed_section_is_noticed_and_keeps_its_history() {
    let (site, drop) = directory_site("");
    fs::write(drop.join("a.pdf"), "a").unwrap();
    assert_eq!(delivered(&site), 1);
    assert!(refused(&site, &["ledger", "rename", "depot", "depot"], 2).contains("still a section"));
    write_directory(&site, "Dépôt 2026", "");
    let check = site.run(&["check"]);
    assert!(check.status.success());
    assert!(text(&check.stderr).contains("pertuis ledger rename \"depot\" \"Dépôt 2026\""), "{}", text(&check.stderr));
    let said = done(&site, &["ledger", "rename", "depot", "Dépôt 2026"]);
    assert!(said.contains("is Dépôt 2026 from now on"), "{said}");
    assert_eq!(text(&site.run(&["check"]).stderr), "");
    assert_eq!(delivered(&site), 0);
    assert_eq!(list(&site)[0]["launcher"], "Dépôt 2026");
    fs::write(drop.join("b.pdf"), "b").unwrap();
    assert_eq!(delivered(&site), 1);
}

#[test]
fn what_changes_the_ledger_waits_for_no_cycle_and_disturbs_none() {
    let (site, drop) = directory_site("");
    fs::write(drop.join("a.pdf"), "a").unwrap();
    delivered(&site);
    let short = key(&site, 0);
    let locks = site.path("state/locks");
    let lock = fs::File::create(locks.join(&names(&locks)[0])).unwrap();
    lock.lock().unwrap();
    assert_eq!(site.fetch()["error"]["code"], "busy");
    assert!(refused(&site, &["ledger", "forget", "depot", &short], 1).starts_with("busy"));
    assert!(refused(&site, &["ledger", "adopt", "depot"], 1).starts_with("busy"));
    for command in ["show", "why", "retry"] {
        done(&site, &["ledger", command, "depot", &short]);
    }
}
