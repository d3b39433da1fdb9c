//! Launchers behind a proxy: HTTP CONNECT and SOCKS 5 in front of a real Dovecot whose name only the proxy knows.

use serde_json::Value;

use crate::support::ca::TestCa;
use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::mails::mail;
use crate::support::proxy::{Proxy, Speaks};
use crate::support::site::Site;

const HOST: &str = "imap.behind.test";

/// A site whose launcher goes through `proxy` to a Dovecot with a certificate for `name`.
fn site(server: &Site, ca: &TestCa, proxy: &str) {
    server.write_ini(&format!(
        "[factures]\nlauncher = imap\nserver = {HOST}\naccount = {ACCOUNT}\npassword = {PASSWORD}\ndeliver = COLD\n\
         CAfile = {}\nproxy = {proxy}\n",
        ca.cert.display()
    ));
}

fn dovecot(site: &Site, name: &str) -> (TestCa, Dovecot) {
    let ca = TestCa::new(site.dir.path());
    let pair = ca.good(name);
    let mut server = Dovecot::start_tls(&pair.cert, &pair.key);
    server.deliver(&mail("Facture", &[("facture.pdf", b"one")]));
    (ca, server)
}

#[test]
fn mails_come_through_either_proxy_which_resolves_the_name() {
    let ways = [
        (Speaks::Http, "http://", None),
        (Speaks::Http, "http://ged:gr%C3%A9%40t@", Some("ged:gré@t")),
        (Speaks::Socks5, "socks5://", None),
        (Speaks::Socks5, "socks5://ged:gr%C3%A9%40t@", Some("ged:gré@t")),
    ];
    let home = Site::new();
    let (ca, server) = dovecot(&home, HOST);
    for (speaks, prefix, login) in ways {
        let (proxy, here) = (Proxy::start(speaks, server.imaps(), login), Site::new());
        site(&here, &ca, &format!("{prefix}127.0.0.1:{}", proxy.port));
        let report = here.fetch();
        assert_eq!((&report["error"], &report["items"]["delivered"]), (&Value::Null, &1.into()), "{prefix}: {report}");
        assert_eq!(proxy.asked(), [format!("{HOST}:993")], "{prefix}");
        assert!(here.cold().join("facture.pdf").exists());
    }
}

#[test]
fn the_certificate_is_verified_as_without_a_proxy() {
    let here = Site::new();
    let (ca, server) = dovecot(&here, "other.test");
    let proxy = Proxy::start(Speaks::Socks5, server.imaps(), None);
    site(&here, &ca, &format!("socks5://127.0.0.1:{}", proxy.port));
    let report = here.fetch();
    assert_eq!(report["error"]["code"], "tls", "{report}");
    assert!(report["error"]["message"].as_str().unwrap().contains(HOST), "{report}");
}

#[test]
fn a_proxy_that_refuses_is_named_with_what_to_do_and_without_its_password() {
    let here = Site::new();
    let (ca, server) = dovecot(&here, HOST);
    for (speaks, scheme) in [(Speaks::Http, "http"), (Speaks::Socks5, "socks5")] {
        let proxy = Proxy::start(speaks, server.imaps(), Some("ged:secret"));
        for (login, words) in [("ged:hunter2@", "refuses the name and password"), ("", "wants a name and a password")] {
            site(&here, &ca, &format!("{scheme}://{login}127.0.0.1:{}", proxy.port));
            let output = here.run(&["fetch", "--json"]);
            let report = crate::support::site::report(&output);
            let said = format!("{report} {}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(report["error"]["code"], "connect", "{said}");
            assert!(said.contains(words) && said.contains(&format!("{scheme}://127.0.0.1:{}", proxy.port)), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[test]
fn a_proxy_that_is_not_there_is_told_from_a_server_that_is_not() {
    let here = Site::new();
    let (ca, _server) = dovecot(&here, HOST);
    for (proxy, code) in [("http://127.0.0.1:1", "connect"), ("socks5://no-such-proxy.invalid:1080", "resolve")] {
        site(&here, &ca, proxy);
        let report = here.fetch();
        assert_eq!(report["error"]["code"], code, "{report}");
        assert!(report["error"]["message"].as_str().unwrap().contains(proxy), "{report}");
    }
}
