//! Refused logins: three tries an hour, whoever starts the launcher.

use std::fs;

use serde_json::Value;

use crate::support::ca::TestCa;
use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::proxy::{Proxy, Speaks};
use crate::support::site::Site;

#[test]
fn a_refused_password_is_tried_three_times_and_a_changed_one_at_once() {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let pair = ca.good("localhost");
    let server = Dovecot::start_tls(&pair.cert, &pair.key);
    let door = Proxy::start(Speaks::Nothing, server.imaps(), None);
    let write = |password: &str| {
        site.write_ini(&format!(
            "[factures]\nlauncher = imap\nserver = 127.0.0.1:{}\naccount = {ACCOUNT}\npassword = {password}\n\
             deliver = COLD\ncheckHost = localhost\nCAfile = {}\n",
            door.port,
            ca.cert.display()
        ));
    };
    write("hunter2");
    for _ in 0..3 {
        let report = site.fetch();
        assert_eq!(report["error"]["code"], "credentials", "{report}");
        assert!(!report["error"]["message"].as_str().unwrap().contains("next try at"), "{report}");
    }
    assert_eq!(door.connections(), 3);
    let report = site.fetch();
    assert_eq!((&report["error"]["code"], door.connections()), (&"credentials".into(), 3), "{report}");
    let message = report["error"]["message"].as_str().unwrap();
    assert!(message.contains("refused 3 times within the hour") && message.contains("next try at"), "{message}");
    // on purpose it is tried all the same, and counts
    let tested = site.run(&["test"]);
    assert!(String::from_utf8_lossy(&tested.stderr).contains("refuses the login"), "{tested:?}");
    let report = site.fetch();
    assert!(report["error"]["message"].as_str().unwrap().contains("refused 4 times"), "{report}");
    let kept = fs::read_dir(site.path("state/attempts")).unwrap().count();
    assert_eq!(kept, 1);
    write(PASSWORD);
    let report = site.fetch();
    assert_eq!(report["error"], Value::Null, "{report}");
    assert_eq!(fs::read_dir(site.path("state/attempts")).unwrap().count(), 0);
}

#[test]
fn fetch_says_why_something_is_in_quarantine() {
    let site = Site::new();
    let drop = site.path("drop");
    fs::create_dir(&drop).unwrap();
    fs::write(drop.join("big.pdf"), vec![0; 5000]).unwrap();
    site.write_ini(&format!(
        "[scans]\nlauncher = directory\nsource = {}\ndeliver = COLD\nsettle = 0\nmax_size = 1K\n",
        drop.display()
    ));
    for (arguments, words) in
        [(&["fetch", "--dry-run"][..], "would go to quarantine: "), (&["fetch"], "in quarantine: ")]
    {
        let output = site.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("scans: 1 found, 0 delivered"), "{text}");
        let line = lines.next().unwrap_or_default();
        assert!(line.starts_with("  ") && line.contains(words), "{text}");
        assert_eq!(output.status.code(), Some(0), "{text}");
    }
}
