//! The POP3 source: `pertuis fetch` against a real Dovecot, and a scripted server for what Dovecot will not do.

use std::collections::BTreeMap;

use pertuis::model::Digest;

use crate::support::ca::TestCa;
use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::mails::{bytes, mail};
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
