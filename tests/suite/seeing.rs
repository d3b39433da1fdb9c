//! What the running service shows: `/metrics`, `/healthz`, `/readyz`, and whom it alerts.

#![allow(clippy::float_cmp)] // counters are whole numbers
#![allow(clippy::disallowed_methods)] // directories that go away and come back replace nothing

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::ca::TestCa;
use crate::support::dovecot::{self, Dovecot};
use crate::support::hook::{Hook, told};
use crate::support::postfix::Postfix;
use crate::support::service::{PATIENCE, Service, until};
use crate::support::site::Site;

// ---- what the tests are made of -------------------------------------------------------------------------------------

/// A server that sends back what it gets.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    address
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A tunnel into a tunnel: plain → TLS → plain, with an echo at the end.
fn back_to_back(site: &Site) -> String {
    let ca = TestCa::new(site.dir.path());
    let pair = ca.good("127.0.0.1");
    let (secure, echo) = (free_port(), echo());
    let (cert, key, ca) = (pair.cert.display(), pair.key.display(), ca.cert.display());
    format!(
        "[back]\naccept = 127.0.0.1:{secure}\nconnect = {echo}\ncert = {cert}\nkey = {key}\n\
         [front]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:{secure}\nCAfile = {ca}\n"
    )
}

/// A directory launcher from the folder `NAME` into the site's delivery directory.
fn scanner(site: &Site, name: &str) -> String {
    let _ = fs::create_dir(site.path(name));
    let folder = site.path(name);
    let folder = folder.display();
    format!("[{name}]\nlauncher = directory\nsource = {folder}\ndeliver = COLD\nsettle = 0\ninterval = 1s\n")
}

/// Status, headers and body of a page.
fn get(at: SocketAddr, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

/// Where the `nth` address of the pages is.
fn pages(service: &Service, nth: usize) -> SocketAddr {
    let line = service.log.wait("Metrics served on http://", nth);
    let (_, rest) = line.split_once("http://").unwrap();
    rest.trim_end_matches("/metrics").parse().unwrap()
}

/// The series of an `OpenMetrics` text, name and sorted labels → value. As strict as the standard (1.0, chapter 5) as far
/// as this program goes: types before samples, suffixes by type, families in one piece, no series twice, `# EOF` last.
#[derive(Debug)]
struct Metrics {
    series: BTreeMap<String, f64>,
    families: BTreeMap<String, String>,
}

impl Metrics {
    fn fetch(at: SocketAddr) -> Self {
        let (status, head, body) = get(at, "/metrics");
        assert_eq!(status, 200);
        let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert!(head.lines().any(|line| line == kind), "{head}");
        Self::parse(&body)
    }

    fn parse(text: &str) -> Self {
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
        let mut metrics = Self { series: BTreeMap::new(), families: BTreeMap::new() };
        let mut family = (String::new(), String::new());
        for line in text.lines().take_while(|line| *line != "# EOF") {
            if let Some(comment) = line.strip_prefix("# ") {
                let (kind, rest) = comment.split_once(' ').unwrap();
                let (name, value) = rest.split_once(' ').unwrap();
                match kind {
                    "HELP" => assert!(!value.is_empty()),
                    "TYPE" => {
                        let twice = metrics.families.insert(name.to_owned(), value.to_owned());
                        assert!(twice.is_none(), "family {name} twice");
                        family = (name.to_owned(), value.to_owned());
                    }
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').map_or((series, ""), |(name, rest)| {
                (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}")))
            });
            let suffix = name.strip_prefix(&family.0).unwrap_or_else(|| panic!("{line} outside of {family:?}"));
            let allowed: &[&str] = match family.1.as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "histogram" => &["_bucket", "_sum", "_count"],
                other => panic!("type {other}"),
            };
            assert!(allowed.contains(&suffix), "{line}");
            let mut labels: Vec<&str> = labels.split(',').filter(|label| !label.is_empty()).collect();
            for label in &labels {
                let (_, value) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
                assert!(value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
            }
            labels.sort_unstable();
            let series = format!("{name}{{{}}}", labels.join(","));
            let twice = metrics.series.insert(series, value.parse().unwrap());
            assert!(twice.is_none(), "twice: {line}");
        }
        metrics
    }

    fn get(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.series.keys()))
    }
}

// ---- /metrics -------------------------------------------------------------------------------------------------------

const NAMES: [(&str, &str); 12] = [
    ("pertuis_config_ok", "gauge"),
    ("pertuis_tunnel_connections", "counter"),
    ("pertuis_tunnel_connections_open", "gauge"),
    ("pertuis_tunnel_bytes", "counter"),
    ("pertuis_tunnel_handshake_seconds", "histogram"),
    ("pertuis_tunnel_failures", "counter"),
    ("pertuis_certificate_expiry_timestamp_seconds", "gauge"),
    ("pertuis_launcher_items", "counter"),
    ("pertuis_launcher_files", "counter"),
    ("pertuis_launcher_failures", "counter"),
    ("pertuis_launcher_last_success_timestamp_seconds", "gauge"),
    ("pertuis_launcher_cycle_seconds", "histogram"),
];

#[test]
fn metrics_say_what_tunnels_and_launchers_do_from_zero_on_and_no_secret() {
    let site = Site::new();
    let (tunnels, scans) = (back_to_back(&site), scanner(&site, "scans"));
    let mails = format!(
        "[mails]\nlauncher = imap\nserver = 127.0.0.1:{}\ntls = none\naccount = ged@secret.test\npassword = text:motdepasse\n\
         deliver = COLD\ninterval = 1s\n",
        free_port()
    );
    site.write_ini(&format!("debug = info\nmetrics = 127.0.0.1:0\n{tunnels}{scans}{mails}"));
    let service = Service::up(&site);
    let at = pages(&service, 0);
    let first = Metrics::fetch(at);
    let families: Vec<_> = first.families.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    assert_eq!(families.into_iter().collect::<BTreeSet<_>>(), NAMES.into_iter().collect());
    for series in [
        "pertuis_tunnel_connections_total{service=\"front\"}",
        "pertuis_tunnel_bytes_total{direction=\"to_tls\",service=\"back\"}",
        "pertuis_tunnel_failures_total{reason=\"tls\",service=\"front\"}",
        "pertuis_tunnel_handshake_seconds_count{service=\"back\"}",
        "pertuis_launcher_items_total{launcher=\"scans\",outcome=\"delivered\"}",
        "pertuis_launcher_files_total{launcher=\"mails\",outcome=\"filtered\"}",
        "pertuis_launcher_failures_total{code=\"credentials\",launcher=\"scans\"}",
        "pertuis_launcher_last_success_timestamp_seconds{launcher=\"mails\"}",
    ] {
        assert!(first.get(series) == 0.0, "{series}");
    }
    let mut stream = TcpStream::connect(service.bound("front", 0)).unwrap();
    let mut answer = [0; 1000];
    stream.write_all(&answer).unwrap();
    stream.read_exact(&mut answer).unwrap();
    // while the connection lives
    let counted = |direction: &str, service: &str| {
        format!("pertuis_tunnel_bytes_total{{direction=\"{direction}\",service=\"{service}\"}}")
    };
    let live = until("the bytes", || {
        let now = Metrics::fetch(at);
        let all = ["front", "back"]
            .map(|service| now.get(&counted("to_tls", service)) + now.get(&counted("to_socket", service)));
        (all == [2000.0, 2000.0]).then_some(now)
    });
    for service in ["front", "back"] {
        assert!(live.get(&format!("pertuis_tunnel_connections_open{{service=\"{service}\"}}")) == 1.0);
        assert!(live.get(&format!("pertuis_tunnel_handshake_seconds_count{{service=\"{service}\"}}")) == 1.0);
    }
    let expiry = |role: &str, service: &str| {
        live.get(&format!("pertuis_certificate_expiry_timestamp_seconds{{role=\"{role}\",service=\"{service}\"}}"))
    };
    assert!((expiry("own", "back") - expiry("peer", "front")).abs() < 0.5 && expiry("own", "back") > 1.7e9);
    drop(stream);
    fs::write(site.path("scans/a.pdf"), "a").unwrap();
    let last = until("the end of the connection, the document and the failure", || {
        let now = Metrics::fetch(at);
        let delivered = now.get("pertuis_launcher_items_total{launcher=\"scans\",outcome=\"delivered\"}");
        let failed = now.get("pertuis_launcher_failures_total{code=\"connect\",launcher=\"mails\"}");
        let open = now.get("pertuis_tunnel_connections_open{service=\"front\"}");
        (delivered == 1.0 && failed >= 1.0 && open == 0.0).then_some(now)
    });
    assert!(last.get("pertuis_launcher_last_success_timestamp_seconds{launcher=\"scans\"}") > 1.7e9);
    assert!(last.get("pertuis_launcher_files_total{launcher=\"scans\",outcome=\"delivered\"}") == 1.0);
    let (_, _, text) = get(at, "/metrics");
    assert!(!text.contains("motdepasse") && !text.contains("secret.test") && !text.contains("a.pdf"));
}

#[test]
fn readyz_names_who_is_not_ready_and_healthz_never_minds() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let tunnel = format!("[busy]\nclient = yes\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:9\n");
    let off = scanner(&site, "off");
    site.write_ini(&format!(
        "debug = info\nmetrics = 127.0.0.1:0\n{tunnel}{}{off}enabled = no\n",
        scanner(&site, "scans")
    ));
    let service = Service::up(&site);
    let at = pages(&service, 0);
    let ready = || get(at, "/readyz");
    let names = |body: &str| body.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>();
    until("the first success", || {
        let (status, _, body) = ready();
        assert_eq!(status, 503, "{body}");
        (names(&body) == ["busy"] && body.contains("held by")).then_some(())
    });
    drop(taken);
    until("the port", || (ready().0 == 200 && ready().2 == "ok\n").then_some(()));
    fs::rename(site.path("scans"), site.path("gone")).unwrap();
    let body = until("three intervals", || Some(ready()).filter(|(status, _, _)| *status == 503)).2;
    assert!(names(&body) == ["scans"] && body.contains(&site.path("scans").display().to_string()), "{body}");
    assert_eq!(get(at, "/healthz"), (200, get(at, "/healthz").1, "ok\n".to_owned()));
    fs::rename(site.path("gone"), site.path("scans")).unwrap();
    until("the folder", || (ready().0 == 200).then_some(()));
}

#[test]
fn a_reload_moves_the_pages_and_forgets_what_is_gone_and_a_refused_one_shows() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (one, two) = (scanner(&site, "one"), scanner(&site, "two"));
    site.write_ini(&format!("debug = info\nmetrics = 127.0.0.1:{port}\n{one}{two}"));
    let service = Service::up(&site);
    let line = service.log.wait("metrics: cannot listen", 0);
    assert!(line.contains("held by pid") && line.contains("trying again"), "{line}");
    drop(taken);
    let old = pages(&service, 0);
    let items = |name: &str| format!("pertuis_launcher_items_total{{launcher=\"{name}\",outcome=\"found\"}}");
    assert!(Metrics::fetch(old).series.contains_key(&items("two")));
    site.write_ini("nonsense\n");
    service.signal(Signal::HUP);
    service.log.wait("Configuration failed", 0);
    until("config_ok = 0", || (Metrics::fetch(old).get("pertuis_config_ok{}") == 0.0).then_some(()));
    site.write_ini(&format!("metrics = 127.0.0.1:0\n{one}"));
    service.signal(Signal::HUP);
    service.log.wait("Configuration reloaded", 0);
    let new = pages(&service, 1);
    assert!(TcpStream::connect(old).is_err());
    let metrics = Metrics::fetch(new);
    assert!(metrics.get("pertuis_config_ok{}") == 1.0);
    assert!(metrics.series.contains_key(&items("one")) && !metrics.series.contains_key(&items("two")));
}

#[test]
fn check_warns_of_open_metrics_and_refuses_mails_that_cannot_be_sent() {
    let site = Site::new();
    let scans = scanner(&site, "scans");
    let check = |global: &str| {
        site.write_ini(&format!("{global}{scans}"));
        let output = site.run(&["check"]);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = check("metrics = 9110\n");
    assert!(code == Some(0) && said.contains(":3: ") && said.contains("127.0.0.1:9110"), "{said}");
    for (global, line, word) in [
        ("alert = mailto:a@example.org\n", 3, "alert_server"),
        ("alert = mailto:a@example.org\nalert_server = localhost\n", 4, "alert_from"),
        ("alert = mailto:a@example.org\nalert_server = localhost\nalert_account = a\n", 5, "alert_password"),
    ] {
        let (code, said) = check(global);
        assert!(code == Some(1) && said.contains(&format!(":{line}: ")) && said.contains(word), "{global}: {said}");
    }
    let whole =
        "alert = mailto:a@example.org\nalert_server = localhost\nalert_account = a@b.test\nalert_password = x\n";
    assert_eq!(check(whole), (Some(0), String::new()));
}

// ---- alerts ---------------------------------------------------------------------------------------------------------

#[test]
fn each_trouble_gives_one_alert_and_one_all_clear_also_across_a_restart() {
    let site = Site::new();
    let (hook, address) = Hook::start();
    let mut server = Dovecot::start();
    server.deliver(b"Subject: x\r\n\r\nx\r\n");
    let dead = free_port();
    let mails = |name: &str, port: u16| {
        format!(
            "[{name}]\nlauncher = imap\nserver = 127.0.0.1:{port}\ntls = none\naccount = {}\npassword = text:{}\n\
             deliver = COLD\ninterval = 1s\n",
            dovecot::ACCOUNT,
            dovecot::PASSWORD
        )
    };
    let ini = |port: u16| {
        let folder = scanner(&site, "folder");
        let full = scanner(&site, "full").replace("COLD", &site.path("other").display().to_string());
        let fine = scanner(&site, "fine");
        format!(
            "debug = info\nalert = http://{address}/secret-path\nalert_after = 1s\n{folder}{full}{fine}{}",
            mails("server", port)
        )
    };
    fs::create_dir(site.path("other")).unwrap();
    site.write_ini(&ini(dead));
    fs::rename(site.path("folder"), site.path("folder.gone")).unwrap();
    fs::rename(site.path("other"), site.path("other.gone")).unwrap();
    let mut service = Service::up(&site);
    let alerts =
        [told("folder", "failing", "folder"), told("full", "failing", "deliver"), told("server", "failing", "connect")];
    assert_eq!(hook.wait(3), alerts);
    service.log.wait("alert: not delivered: 127.0.0.1: HTTP 500", 0);
    service.signal(Signal::TERM);
    assert!(service.end().success());
    let service = Service::up(&site);
    service.log.wait("launcher server: connect", 0);
    service.log.wait("launcher folder: folder", 2);
    assert_eq!(hook.told().len(), 3, "an alert was repeated");
    fs::rename(site.path("folder.gone"), site.path("folder")).unwrap();
    fs::rename(site.path("other.gone"), site.path("other")).unwrap();
    site.write_ini(&ini(server.imap().port()));
    service.signal(Signal::HUP);
    let all = hook.wait(6);
    for clear in alerts.clone().map(|[launcher, _, code]| [launcher, "recovered".to_owned(), code]) {
        assert!(all.contains(&clear), "{all:?}");
    }
    assert_eq!(all.len(), 6, "{all:?}");
    for post in hook.posts() {
        let since: jiff::Timestamp = post["since"].as_str().unwrap().parse().unwrap();
        assert!(since <= jiff::Timestamp::now() && !post["message"].as_str().unwrap().is_empty(), "{post}");
        assert!(!post.to_string().contains(dovecot::PASSWORD));
    }
}

#[test]
fn an_expired_password_is_mailed_in_french_and_so_is_its_end() {
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: Postfix needs root");
        return;
    }
    let site = Site::new();
    let pair = TestCa::new(site.dir.path()).good("localhost");
    let mut post = Postfix::start(&pair.cert, &pair.key);
    let server = Dovecot::start();
    let ini = |password: &str| {
        format!(
            "langue = fr\ndebug = info\nalert = mailto:ged@example.org\nalert_server = localhost:{}\nalert_from = pertuis@example.org\n\
             alert_after = 1s\n[factures été]\nlauncher = imap\nserver = {}\ntls = none\naccount = {}\n\
             password = text:{password}\ndeliver = COLD\ninterval = 1s\n",
            post.plain(),
            server.imap(),
            dovecot::ACCOUNT
        )
    };
    let write = |text: &str| {
        site.write_ini("");
        let ini = fs::read_to_string(site.path("pertuis.ini")).unwrap().replace("lang = en\n", "") + text;
        fs::write(site.path("pertuis.ini"), ini.replace("COLD", &site.cold().display().to_string())).unwrap();
    };
    let (old, new) = (ini(dovecot::PASSWORD), ini("sesame-2026"));
    server.set_password("sesame-2026");
    write(&old);
    let service = Service::start(&mut site.command(&["run"]));
    service.log.wait("Prêt", 0);
    let mail = post.first_mail();
    assert!(mail.contains("From: pertuis@example.org") && mail.contains("Auto-Submitted: auto-generated"), "{mail}");
    assert!(readable(&mail).contains("pertuis: factures été : en échec depuis 20"), "{}", readable(&mail));
    assert!(readable(&mail).contains("credentials : "), "{}", readable(&mail));
    write(&new);
    service.signal(Signal::HUP);
    let mails = post.mails(2);
    assert!(readable(&mails[1]).contains("pertuis: factures été : rétabli"), "{}", readable(&mails[1]));
    assert!(mails.iter().all(|mail| !mail.contains(dovecot::PASSWORD) && !mail.contains("sesame-2026")));
}

/// Subject and body of a mail, decoded by the program's own library.
fn readable(mail: &str) -> String {
    let parsed = mail_parser::MessageParser::default().parse(mail.as_bytes()).unwrap();
    format!("{}\n{}", parsed.subject().unwrap_or_default(), parsed.body_text(0).unwrap_or_default())
}

#[test]
#[ignore = "long"]
fn a_server_that_accepts_and_says_nothing_is_alerted() {
    let site = Site::new();
    let (hook, address) = Hook::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let held = std::thread::spawn(move || silent.incoming().map_while(Result::ok).take(3).collect::<Vec<_>>());
    site.write_ini(&format!(
        "debug = info\nalert = http://{address}/\nalert_after = 1s\n[frozen]\nlauncher = imap\nserver = {at}\ntls = none\naccount = a\n\
         password = text:b\ndeliver = COLD\ninterval = 1s\n"
    ));
    let _service = Service::up(&site);
    // the launcher waits for a minute before it gives the server up
    let [launcher, state, _] = hook.wait_for(1, Duration::from_secs(150)).remove(0);
    assert_eq!([launcher.as_str(), state.as_str()], ["frozen", "failing"]);
    drop(held);
}
