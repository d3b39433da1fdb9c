//! `pertuis test`: a line for each step, and the step that fails says what to do.

use std::fs;
use std::net::TcpListener;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::support::ca::TestCa;
use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::mails::mail;
use crate::support::proxy::{Proxy, Speaks};
use crate::support::service::Service;
use crate::support::site::Site;

struct Stage {
    site: Site,
    ca: TestCa,
    server: Dovecot,
}

impl Stage {
    fn new() -> Self {
        let site = Site::new();
        let ca = TestCa::new(site.dir.path());
        let pair = ca.good("localhost");
        let mut server = Dovecot::start_tls(&pair.cert, &pair.key);
        for n in 0..3 {
            server.deliver(&mail(&format!("Facture {n}"), &[("facture.pdf", b"one")]));
        }
        Self { site, ca, server }
    }

    /// Runs `test` on a good launcher of which some lines are replaced.
    fn test(&self, replaced: &[(&str, &str)]) -> Output {
        let mut text = format!(
            "[factures]\nlauncher = imap\nserver = localhost:{}\naccount = {ACCOUNT}\npassword = {PASSWORD}\n\
             deliver = COLD\nafter = delete\nCAfile = {}\n",
            self.server.imaps().port(),
            self.ca.cert.display()
        );
        for (option, value) in replaced {
            let kept: Vec<_> = text.lines().filter(|line| !line.starts_with(&format!("{option} ="))).collect();
            text = format!("{}\n{option} = {value}\n", kept.join("\n"));
        }
        self.site.write_ini(&text);
        self.site.run(&["test", "factures"])
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_healthy_launcher_is_walked_through_and_nothing_changes() {
    let stage = Stage::new();
    let began = Instant::now();
    let output = stage.test(&[]);
    let (out, err) = (out(&output), err(&output));
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{out}");
    assert!(began.elapsed() < Duration::from_secs(10));
    let steps = ["name", "connection", "TLS", "login", "folder", "staging", "delivery"];
    assert_eq!(out.lines().count(), steps.len(), "{out}");
    for (line, step) in out.lines().zip(steps) {
        assert!(line.starts_with(&format!("factures: {step}: ok, ")) && line.ends_with(" ms)"), "{line}");
    }
    assert!(out.contains("chain and name verified") && out.contains("days left"), "{out}");
    assert!(out.contains("INBOX: 3 message(s)"), "{out}");
    assert!(stage.server.messages("INBOX").iter().all(|(flags, _)| flags.is_empty()));
    assert_eq!(fs::read_dir(stage.site.cold()).unwrap().count(), 0);
    let left = |dir: std::path::PathBuf| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).next().unwrap();
    assert_eq!(fs::read_dir(left(stage.site.path(".pertuis-staging"))).unwrap().count(), 0, "the proof is left behind");
}

#[test]
fn it_works_beside_the_service() {
    let stage = Stage::new();
    let output = stage.test(&[]);
    assert_eq!(output.status.code(), Some(0));
    fs::create_dir_all(stage.site.path("state/locks")).unwrap();
    let lock = fs::read_dir(stage.site.path(".pertuis-staging")).unwrap().next().unwrap().unwrap().file_name();
    let (stem, _) = lock.to_str().unwrap().rsplit_once('-').unwrap();
    let held = fs::File::create(stage.site.path(&format!("state/locks/{stem}.lock"))).unwrap();
    held.try_lock().unwrap();
    assert_eq!(stage.site.fetch()["error"]["code"], "busy");
    assert_eq!(stage.site.run(&["test"]).status.code(), Some(0));
}

#[test]
fn the_step_that_fails_says_so_and_what_is_independent_of_it_is_tried() {
    let stage = Stage::new();
    let other = tempfile::tempdir().unwrap();
    let strange = TestCa::new(other.path());
    let strange = strange.cert.display().to_string();
    let missing = stage.site.path("nowhere").display().to_string();
    let cases: [(&str, &str, &str, &str); 6] = [
        ("server", "no-such-host.invalid", "name: FAILED (resolve", "check its spelling"),
        ("server", "localhost:1", "connection: FAILED (connect", "refused"),
        ("CAfile", &strange, "TLS: FAILED (tls", "unknown CA"),
        ("password", "hunter2", "login: FAILED (credentials", "check account and password"),
        ("source", "INBOX/Nulle part", "folder: FAILED (folder", "INBOX"),
        ("deliver", &missing, "staging: FAILED (deliver", "delivery directory is not there"),
    ];
    for (option, value, line, words) in cases {
        let output = stage.test(&[(option, value)]);
        let (out, err) = (out(&output), err(&output));
        assert_eq!(output.status.code(), Some(1), "{option}: {out}{err}");
        assert!(err.contains(line) && err.contains(words), "{option}: {out}{err}");
        assert_eq!(out.contains("staging: ok"), option != "deliver", "{option}: {out}{err}");
    }
    let output = stage.test(&[("deliver", &missing)]);
    assert!(err(&output).contains("delivery: FAILED") && out(&output).contains("folder: ok"), "{}", err(&output));
}

#[test]
fn the_way_leads_through_the_proxy() {
    let stage = Stage::new();
    let proxy = Proxy::start(Speaks::Socks5, stage.server.imaps(), None);
    let url = format!("socks5://127.0.0.1:{}", proxy.port);
    let output = stage.test(&[("proxy", &url), ("server", "imap.behind.test"), ("checkHost", "localhost")]);
    let out = out(&output);
    assert_eq!(output.status.code(), Some(0), "{out}{}", err(&output));
    assert!(out.contains(&format!("imap.behind.test:993 through {url}")), "{out}");
}

#[test]
fn starttls_shows_the_certificate_too() {
    let stage = Stage::new();
    let server = format!("localhost:{}", stage.server.imap().port());
    let output = stage.test(&[("tls", "starttls"), ("server", &server)]);
    assert!(out(&output).contains("TLS: ok, chain and name verified, valid until"), "{}{}", out(&output), err(&output));
}

#[test]
fn pop3_is_walked_through_too_and_what_is_wrong_has_its_line() {
    let stage = Stage::new();
    for (tls, address) in [("implicit", stage.server.pop3s()), ("starttls", stage.server.pop3())] {
        let server = format!("localhost:{}", address.port());
        let output = stage.test(&[("launcher", "pop3"), ("server", &server), ("tls", tls)]);
        let out = out(&output);
        assert_eq!(output.status.code(), Some(0), "{tls}: {out}{}", err(&output));
        assert!(out.contains("TLS: ok, chain and name verified") && out.contains("INBOX: 3 message(s)"), "{out}");
    }
    let server = format!("localhost:{}", stage.server.pop3s().port());
    let output = stage.test(&[("launcher", "pop3"), ("server", &server), ("password", "hunter2")]);
    assert!(err(&output).contains("login: FAILED (credentials"), "{}", err(&output));
    assert_eq!(stage.server.messages("INBOX").len(), 3);
}

#[test]
fn a_directory_needs_no_connection_and_speaks_french() {
    let site = Site::new();
    let drop = site.path("drop");
    fs::create_dir(&drop).unwrap();
    fs::write(drop.join("a.pdf"), "one").unwrap();
    site.write_ini(&format!(
        "langue = fr\n[dépôt]\nlanceur = répertoire\nchemin source = {}\nlivrer = COLD\n",
        drop.display()
    ));
    let output = site.run(&["test"]);
    let said = out(&output);
    assert_eq!(output.status.code(), Some(0), "{said}{}", err(&output));
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("dépôt : dossier : ok") && said.contains("1 fichier(s)"), "{said}");
    fs::remove_dir_all(&drop).unwrap();
    let output = site.run(&["test"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("dossier : ÉCHEC (folder"), "{}", err(&output));
    assert_eq!(site.run(&["test", "unknown"]).status.code(), Some(2));
}

// ---- tunnels --------------------------------------------------------------------------------------------------------

/// A tunnel of servers behind which something listens, and one of clients towards it.
fn two_tunnels(ca: &TestCa, back: u16, backend: u16) -> String {
    let pair = ca.good("localhost");
    format!(
        "[back]\naccept = 127.0.0.1:{back}\nconnect = 127.0.0.1:{backend}\ncert = {}\nkey = {}\n\
         [front]\nclient = yes\naccept = 127.0.0.1:0\nconnect = localhost:{back}\nCAfile = {}\n",
        pair.cert.display(),
        pair.key.display(),
        ca.cert.display()
    )
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn tunnels_are_walked_through_while_the_service_holds_their_ports() {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let back = free_port();
    site.write_ini(&two_tunnels(&ca, back, backend.local_addr().unwrap().port()));
    let stopped = site.run(&["test", "back"]);
    assert_eq!(stopped.status.code(), Some(0), "{}", err(&stopped));
    assert!(out(&stopped).contains("back: accept: ok, ") && out(&stopped).contains("is free"), "{}", out(&stopped));
    let service = Service::start(&mut site.command(&["run"]));
    service.bound("back", 0);
    let output = site.run(&["test"]);
    let (out, err) = (out(&output), err(&output));
    // localhost may be ::1 as well, where nobody listens
    let lines: Vec<&str> = out.lines().collect();
    for words in [
        "back: certificate: ok, valid until ",
        "back: accept: ok, 127.0.0.1:",
        "back: connection: ok, 127.0.0.1:",
        "front: accept: ok, ",
        "front: name: ok, localhost = ",
        "front: connection: ok, 127.0.0.1:",
        "front: TLS: ok, TLS 1.3, chain and name verified, valid until ",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(words)), "{words}: {out}{err}");
    }
    assert!(out.contains(&format!("listened on by pid {}", service.child.id())), "{out}");
}

#[test]
fn what_is_wrong_with_a_tunnel_is_told_at_its_step_and_other_targets_get_their_turn() {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().map_while(Result::ok) {
            let _ = std::io::Write::write_all(&mut stream, b"220 plain text\r\n");
        }
    });
    let old = ca.expired("localhost");
    let dead = free_port();
    site.write_ini(&format!(
        "[s]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{dead}\nconnect = 127.0.0.1:{port}\ncert = {}\nkey = {}\n\
         [c]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:{port}\nCAfile = {}\n",
        old.cert.display(),
        old.key.display(),
        ca.cert.display(),
    ));
    let output = site.run(&["test"]);
    let (out, err) = (out(&output), err(&output));
    assert_eq!(output.status.code(), Some(1));
    for (line, words) in [
        ("s: certificate: FAILED (config", "EXPIRED on 2021-01-01: renew `cert`"),
        ("s: accept: FAILED (connect", "in use"),
        ("s: connection: FAILED (connect", "refused"),
        ("c: TLS: FAILED (tls", "does not speak TLS"),
    ] {
        assert!(err.lines().any(|said| said.starts_with(line) && said.contains(words)), "{line} {words}: {err}");
    }
    assert!(out.contains(&format!("s: connection: ok, 127.0.0.1:{port}")), "{out}");
    let unknown = site.run(&["test", "nobody"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(self::err(&unknown).contains("there are: s, c"), "{}", self::err(&unknown));
}

#[test]
fn what_is_said_before_tls_is_said_by_the_test_too() {
    let stage = Stage::new();
    stage.site.write_ini(&format!(
        "[mail]\nclient = yes\naccept = 127.0.0.1:0\nprotocol = imap\nconnect = localhost:{}\nCAfile = {}\n",
        stage.server.imap().port(),
        stage.ca.cert.display()
    ));
    let output = stage.site.run(&["test", "mail"]);
    let out = out(&output);
    assert!(out.contains("mail: protocol: ok, imap"), "{out}{}", err(&output));
    assert!(out.contains("mail: TLS: ok, TLS 1.3, chain and name verified"), "{out}{}", err(&output));
}
