//! Tunnels over loopback: as a library, with stunnel as the other end, and with Python's poplib through them.
//!
//! The binary and its ini file come in elsewhere; here a tunnel is made from configuration values.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use pertuis::config::tunnel::{Failover, LogId, Setting, Side, Sni, SocketOption, Transparent};
use pertuis::config::{Address, Check, Owner, Place, Places, TlsVersion, Trust, Tunnel};
use pertuis::event::{Event, Events, Level};
use pertuis::model::ServiceName;
use pertuis::net::stream::Addr;
use pertuis::tunnel::{Running, prepare};

use crate::support::ca::{Pair, TestCa};

/// Longer than anything here takes; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

// ---- what the tests are made of -------------------------------------------------------------------------------------

/// Every event, and a bell that rings at each.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<(Mutex<Vec<Event>>, Condvar)>);

impl Heard {
    pub(crate) fn events(&self) -> Events {
        let heard = self.clone();
        Events::to(move |event| {
            heard.0.0.lock().unwrap().push(event);
            heard.0.1.notify_all();
        })
    }

    /// The first event that `is` it; waits.
    pub(crate) fn wait(&self, what: &str, is: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        let mut list = self.0.0.lock().unwrap();
        loop {
            if let Some(event) = list.iter().find(|event| is(event)) {
                return event.clone();
            }
            let left = deadline.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("no {what} in {list:#?}"));
            list = self.0.1.wait_timeout(list, left).unwrap().0;
        }
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.0.0.lock().unwrap().iter().filter(|event| event.name == name).count()
    }

    /// Waits, from event to event, until `is` holds.
    pub(crate) fn until(&self, what: &str, is: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is() {
            assert!(Instant::now() < deadline, "never: {what}");
            let list = self.0.0.lock().unwrap();
            drop(self.0.1.wait_timeout(list, Duration::from_millis(20)).unwrap());
        }
    }

    pub(crate) fn named(&self, name: &'static str) -> Event {
        self.wait(name, |event| event.name == name)
    }

    /// The address of the latest `bound to` line, as scripts read it.
    pub(crate) fn bound(&self) -> SocketAddr {
        let line = self.named("tunnel_listening").text.en;
        let (_, address) = line.split_once("bound to ").unwrap();
        address.parse().unwrap()
    }
}

/// A tunnel with a runtime of its own, so that tests may block.
pub(crate) struct Live {
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) running: Option<Running>,
    pub(crate) heard: Heard,
}

impl Live {
    pub(crate) fn start(tunnel: &Tunnel) -> Self {
        Self::with_hosts(tunnel, &[])
    }

    pub(crate) fn with_hosts(tunnel: &Tunnel, hosts: &[&Tunnel]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let heard = Heard::default();
        let prepared = prepare(tunnel, hosts, &heard.events()).unwrap();
        let running = runtime.block_on(async { Running::start(prepared, heard.events(), Arc::default(), None) });
        Self { runtime, running: Some(running), heard }
    }

    pub(crate) fn at(&self) -> SocketAddr {
        self.heard.bound()
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub(crate) fn replace(&self, tunnel: &Tunnel) {
        let prepared = prepare(tunnel, &[], &self.heard.events()).unwrap();
        self.runtime.block_on(self.running().replace(prepared));
    }

    pub(crate) fn stop(&mut self, drain: Duration) {
        let running = self.running.take().unwrap();
        self.runtime.block_on(running.stop(drain));
    }
}

pub(crate) fn local(port: u16) -> Address {
    Address { host: Some("127.0.0.1".to_owned()), port }
}

pub(crate) fn named(port: u16) -> Address {
    Address { host: Some("localhost".to_owned()), port }
}

pub(crate) fn trust(ca: Option<&Path>) -> Trust {
    let check = if ca.is_some() { Check::Chain } else { Check::Off };
    Trust { check, ca_file: ca.map(Path::to_owned), ..Trust::default() }
}

pub(crate) fn tunnel(client: bool, accept: Address, connect: Address, trust: Trust, pair: Option<&Pair>) -> Tunnel {
    let section = Place { file: Path::new("test.conf").into(), line: 1 };
    Tunnel {
        name: ServiceName::new("t"),
        places: Places { section, options: BTreeMap::new(), written: BTreeMap::new() },
        client,
        accept: vec![accept.into()],
        connect: vec![connect.into()],
        exec: None,
        retry: None,
        redirect: Vec::new(),
        protocol: None,
        local: None,
        transparent: Transparent::default(),
        owner: Owner::default(),
        trust,
        cert: pair.map(|pair| pair.cert.clone()),
        key: pair.map(|pair| pair.key.clone()),
        sni: Sni::Dialled,
        virtual_host: None,
        versions: (TlsVersion::V12, TlsVersion::V13),
        resume: true,
        tls: pertuis::config::tls::Settings::default(),
        failover: Failover::Prio,
        delay: false,
        reset: true,
        timeout_busy: Duration::from_secs(10),
        timeout_close: Duration::from_mins(1),
        timeout_connect: Duration::from_secs(10),
        timeout_idle: Some(Duration::from_hours(12)),
        socket: Vec::new(),
        debug: Level::Debug,
        log_id: LogId::Sequential,
    }
}

pub(crate) fn client(connect: Address, ca: &Path) -> Tunnel {
    tunnel(true, local(0), connect, trust(Some(ca)), None)
}

pub(crate) fn server(connect: Address, pair: &Pair) -> Tunnel {
    tunnel(false, local(0), connect, trust(None), Some(pair))
}

/// A plain server for any number of connections, each a thread.
pub(crate) fn serve(work: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let work = work.clone();
            std::thread::spawn(move || work(stream));
        }
    });
    port
}

/// Sends everything back; ends when the other side has ended.
pub(crate) fn echo(mut stream: TcpStream) {
    let mut copy = stream.try_clone().unwrap();
    let _ = std::io::copy(&mut copy, &mut stream);
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

/// As much of POP3 (RFC 1939) as poplib needs to read one mail.
fn pop3(mut stream: TcpStream) {
    let reader = BufReader::new(stream.try_clone().unwrap());
    let _ = stream.write_all(b"+OK ready\r\n");
    for line in reader.lines().map_while(Result::ok) {
        let reply: &[u8] = match line.split(' ').next().unwrap_or_default() {
            "STAT" => b"+OK 1 30\r\n",
            "RETR" => b"+OK\r\nSubject: facture\r\n\r\nBonjour\r\n.\r\n",
            _ => b"+OK\r\n",
        };
        let _ = stream.write_all(reply);
        if line == "QUIT" {
            return;
        }
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `data`, ends its half, and gives back what came.
pub(crate) fn exchange(at: SocketAddr, data: &[u8]) -> Vec<u8> {
    let stream = connect(at);
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(data).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        (&stream).read_to_end(&mut back).unwrap();
        back
    })
}

pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n * 7 + n / 253) % 251).unwrap()).collect()
}

/// poplib reads mail 1 through `port`; what it prints, its error, and how long it took.
fn poplib(port: u16) -> (String, Duration) {
    let script = "import poplib,sys\n\
                  try:\n    p = poplib.POP3('127.0.0.1', int(sys.argv[1]))\n    \
                  p.user('u'); p.pass_('p'); print(p.stat(), p.retr(1)[1]); p.quit()\n\
                  except Exception as e:\n    print('ERROR', type(e).__name__, e)\n";
    let before = Instant::now();
    let output = Command::new("python3").args(["-c", script, &port.to_string()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (text, before.elapsed())
}

/// stunnel in the foreground, stopped by its pid at the end.
struct Stunnel {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Stunnel {
    /// With these lines in its one service; `{port}` becomes its port.
    fn start(lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("stunnel.conf");
        let conf = format!("foreground = yes\nsyslog = no\npid =\ndebug = info\n[s]\naccept = 127.0.0.1:0\n{lines}\n");
        std::fs::write(&file, conf).unwrap();
        let mut child = Command::new("stunnel4").arg(&file).stderr(Stdio::piped()).spawn().expect("stunnel4 is needed");
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let bound = log.find(|line| line.contains("bound to")).expect("stunnel did not start");
        let port = bound.rsplit(':').next().unwrap().parse().unwrap();
        std::thread::spawn(move || log.for_each(drop));
        Self { child, port, _dir: dir }
    }
}

impl Drop for Stunnel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- as a library ---------------------------------------------------------------------------------------------------

#[test]
fn two_tunnels_back_to_back_carry_megabytes_and_say_what_stunnel_says() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let there = Live::start(&server(local(serve(echo)), &ca.good("localhost")));
    let here = Live::start(&client(named(there.at().port()), &ca.cert));
    let data = pattern(5_000_000);
    assert!(exchange(here.at(), &data) == data);
    let text = here.heard.named("connection_closed").text;
    assert_eq!(text.en, "Connection closed: 5000000 byte(s) sent to TLS, 5000000 byte(s) sent to socket");
    let text = there.heard.named("connection_closed").text;
    assert_eq!(text.en, "Connection closed: 5000000 byte(s) sent to TLS, 5000000 byte(s) sent to socket");
    let text = here.heard.named("connection_accepted").text;
    assert!(text.en.starts_with("Service [t] accepted connection from 127.0.0.1:"), "{text}");
}

#[test]
fn open_connections_live_on_while_new_ones_follow_the_new_settings() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let there = Live::start(&server(local(serve(echo)), &ca.good("localhost")));
    let first = client(named(there.at().port()), &ca.cert);
    let here = Live::start(&first);
    let at = here.at();
    let mut old = connect(at);
    old.write_all(b"one").unwrap();
    old.read_exact(&mut [0; 3]).unwrap();

    let greeting = serve(|mut stream| stream.write_all(b"new").unwrap());
    let other = Live::start(&server(local(greeting), &ca.good("localhost")));
    here.replace(&Tunnel { connect: vec![named(other.at().port()).into()], ..first });
    assert_eq!(here.running().bound(), [Addr::Ip(at)], "the listener was kept");
    assert_eq!(exchange(at, b""), b"new");
    old.write_all(b"two").unwrap();
    let mut back = [0; 3];
    old.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"two");
}

#[test]
fn a_changed_address_or_listening_option_opens_a_new_listener_and_closes_the_old() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let first = client(named(1), &ca.cert);
    let here = Live::start(&first);
    let at = here.at();
    let moved = Tunnel { accept: vec![named(free_port()).into()], ..first };
    here.replace(&moved);
    let news = here
        .heard
        .wait("second bound to", |event| event.name == "tunnel_listening" && !event.text.en.ends_with(&at.to_string()));
    assert!(news.text.en.ends_with(&format!(":{}", moved.accept[0].tcp().unwrap().port)), "{}", news.text);
    assert!(TcpStream::connect(at).is_err(), "the old listener is gone");
    let option = SocketOption { side: Side::Accept, setting: Setting::KeepAlive(true) };
    let count = || here.heard.count("tunnel_listening");
    let before = count();
    here.replace(&Tunnel { socket: vec![option], ..moved.clone() });
    here.heard.until("the listener bound anew", || count() > before);
    assert!(here.running().bound().iter().all(|at| at.ip().unwrap().port() == moved.accept[0].tcp().unwrap().port));
}

#[test]
fn a_broken_file_is_found_before_any_port_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let mut broken = server(local(1), &ca.good("localhost"));
    broken.key = Some(dir.path().join("missing.key"));
    let fault = prepare(&broken, &[], &Events::nowhere()).unwrap_err();
    assert!(fault.text.en.contains("missing.key") && fault.text.fr.contains("missing.key"), "{fault}");
    broken.cert = None;
    assert!(prepare(&broken, &[], &Events::nowhere()).unwrap_err().text.en.contains("TLS server needs a certificate"));
}

#[test]
fn stop_lets_connections_drain_and_then_cuts_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let there = Live::start(&server(local(serve(echo)), &ca.good("localhost")));
    let mut here = Live::start(&client(named(there.at().port()), &ca.cert));
    let at = here.at();
    let mut stream = connect(at);
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    assert_eq!(here.running().connections(), 1);
    let before = Instant::now();
    here.stop(Duration::from_millis(300));
    let elapsed = before.elapsed();
    assert!(elapsed >= Duration::from_millis(300) && elapsed < PATIENCE, "{elapsed:?}");
    assert!(stream.read(&mut [0]).unwrap_or(0) == 0, "the connection was cut");
    assert!(TcpStream::connect(at).is_err());

    let mut here = Live::start(&client(named(there.at().port()), &ca.cert));
    assert_eq!(exchange(here.at(), b"y"), b"y");
    let before = Instant::now();
    here.stop(PATIENCE);
    assert!(before.elapsed() < PATIENCE, "nothing was left to wait for");
}

#[test]
fn a_taken_port_names_its_holder_and_is_bound_once_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let here = Live::start(&Tunnel { accept: vec![local(port).into()], ..client(named(1), &ca.cert) });
    let text = here.heard.named("tunnel_bind_failed").text;
    assert!(text.en.contains(&format!("held by pid {}", std::process::id())), "{text}");
    drop(holder);
    assert_eq!(here.at().port(), port);
}

#[test]
fn with_defaults_of_stunnel_one_line_says_whether_verification_would_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let there = Live::start(&server(local(serve(echo)), &ca.expired("localhost")));
    let mut lenient = client(named(there.at().port()), &ca.cert);
    lenient.trust.check = Check::Off;
    lenient.trust.probe = true;
    let here = Live::start(&lenient);
    for _ in 0..3 {
        assert_eq!(exchange(here.at(), b"x"), b"x");
    }
    let list = here.heard.0.0.lock().unwrap();
    let probes: Vec<_> = list.iter().filter(|event| event.name == "verification_probe").collect();
    assert_eq!(probes.len(), 1);
    assert!(probes[0].text.en.contains("would fail") && probes[0].text.en.contains("expired"), "{}", probes[0].text);
}

#[test]
fn plain_text_to_a_server_tunnel_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let there = Live::start(&server(local(serve(echo)), &ca.good("localhost")));
    let mut stream = connect(there.at());
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let text = there.heard.named("connection_failed").text;
    assert!(text.en.contains("does not speak TLS"), "{text}");
}

/// Does something only as the child of the next test, which sets `SSL_CERT_FILE` for it: a process reads that once,
/// and setting it from inside would reach the other tests too.
#[test]
#[ignore = "the child of system_roots_are_those_of_ssl_cert_file"]
fn child_with_roots_of_its_own() {
    let Some(made) = std::env::var_os("PERTUIS_TEST_CA") else { return };
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::load(dir.path(), &PathBuf::from(made));
    let plain = serve(echo);
    let through = |pair: &Pair| {
        let there = Live::start(&server(local(plain), pair));
        let mut system = client(named(there.at().port()), &ca.cert);
        system.trust.ca_file = None;
        let here = Live::start(&system);
        let mut stream = connect(here.at());
        let _ = stream.write_all(b"x");
        let back = stream.read(&mut [0]).unwrap_or(0);
        if back == 1 { None } else { Some(here.heard.named("connection_failed").text.en.into_owned()) }
    };
    for pair in [ca.good("localhost"), ca.common_name_only("localhost")] {
        assert_eq!(through(&pair), None);
    }
    for (pair, word) in [
        (ca.good("other.test"), "other.test"),
        (ca.common_name_only("other.test"), "other.test"),
        (ca.expired("localhost"), "2021-01-01"),
        (ca.self_signed("localhost"), "self-signed"),
        (ca.authority("localhost"), "CA:TRUE"),
        (ca.version_1("localhost"), "version 1"),
    ] {
        let text = through(&pair).unwrap_or_else(|| panic!("{word}: accepted"));
        assert!(text.contains(word) && text.contains("pin = "), "{word}: {text}");
    }
}

#[test]
fn system_roots_are_those_of_ssl_cert_file() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let child = |roots: &Path| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tunnel::child_with_roots_of_its_own", "--ignored", "--nocapture"])
            .env("SSL_CERT_FILE", roots)
            .env_remove("SSL_CERT_DIR")
            .env("PERTUIS_TEST_CA", &ca.cert)
            .output()
            .unwrap()
    };
    let output = child(&ca.cert);
    let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    // no roots at all: said before anything is bound
    let output = child(&dir.path().join("none.pem"));
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("install the package ca-certificates"), "{text}");
}

// ---- poplib through a tunnel ----------------------------------------------------------------------------------------

#[test]
fn poplib_reads_a_mail_through_a_client_tunnel() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let there = Live::start(&server(local(serve(pop3)), &ca.good("localhost")));
    let here = Live::start(&client(named(there.at().port()), &ca.cert));
    let (text, _) = poplib(here.at().port());
    assert!(text.contains("(1, 30)") && text.contains("Bonjour"), "{text}");
}

#[test]
fn poplib_gets_an_error_at_once_when_the_remote_is_down_or_its_certificate_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let plain = serve(pop3);
    let mut cases = vec![(named(free_port()), "cannot connect")];
    let servers = [ca.expired("localhost"), ca.good("other.test"), ca.self_signed("localhost")];
    let servers = servers.map(|pair| Live::start(&server(local(plain), &pair)));
    for (there, word) in servers.iter().zip(["expired", "other.test", "self-signed"]) {
        cases.push((named(there.at().port()), word));
    }
    cases.push((named(plain), "does not speak TLS"));
    for (remote, word) in cases {
        let here = Live::start(&client(remote, &ca.cert));
        let (text, elapsed) = poplib(here.at().port());
        assert!(text.contains("ERROR"), "{word}: {text}");
        assert!(elapsed < Duration::from_secs(8), "{word}: {elapsed:?}");
        let told = here.heard.named("connection_failed");
        assert!(told.text.en.contains(word), "{word}: {}", told.text);
        assert!(here.heard.named("connection_closed").text.en.contains("reset: 0 byte(s) sent to TLS"));
    }
}

// ---- stunnel as the other end ---------------------------------------------------------------------------------------

#[test]
fn stunnel_as_server_and_as_client_carries_megabytes() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let (pair, plain) = (ca.good("localhost"), serve(echo));
    let data = pattern(3_000_000);
    for version in ["TLSv1.2", "TLSv1.3"] {
        let (cert, key) = (pair.cert.display(), pair.key.display());
        let lines = format!("cert = {cert}\nkey = {key}\nconnect = 127.0.0.1:{plain}\nsslVersion = {version}");
        let stunnel = Stunnel::start(&lines);
        let here = Live::start(&client(named(stunnel.port), &ca.cert));
        assert!(exchange(here.at(), &data) == data, "{version}: stunnel as server");

        let there = Live::start(&server(local(plain), &pair));
        let port = there.at().port();
        let file = ca.cert.display();
        let lines = format!(
            "client = yes\nconnect = 127.0.0.1:{port}\nsslVersion = {version}\n\
             CAfile = {file}\nverifyChain = yes\ncheckHost = localhost"
        );
        let stunnel = Stunnel::start(&lines);
        let at = SocketAddr::from(([127, 0, 0, 1], stunnel.port));
        assert!(exchange(at, &data) == data, "{version}: stunnel as client");
    }
}

#[test]
fn stunnel_asks_for_a_client_certificate_and_so_do_we() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, stranger) = (TestCa::new(dir.path()), TestCa::new(dir.path()));
    let (pair, plain) = (ca.good("localhost"), serve(echo));
    let (cert, key, file) = (pair.cert.display(), pair.key.display(), ca.cert.display());
    let asking = format!("cert = {cert}\nkey = {key}\nconnect = 127.0.0.1:{plain}\nCAfile = {file}\nverifyChain = yes");
    let stunnel = Stunnel::start(&asking);
    let mut ours = client(named(stunnel.port), &ca.cert);
    let (good, bad) = (ca.good("me.test"), stranger.good("me.test"));
    (ours.cert, ours.key) = (Some(good.cert.clone()), Some(good.key.clone()));
    assert_eq!(exchange(Live::start(&ours).at(), b"hello"), b"hello");

    // TLS 1.3: the refusal arrives after the handshake, and must not leave the plain side waiting
    (ours.cert, ours.key) = (Some(bad.cert.clone()), Some(bad.key.clone()));
    let here = Live::start(&ours);
    let mut stream = connect(here.at());
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "closed at once");
    let text = here.heard.named("connection_failed").text;
    assert!(text.en.contains("localhost refuses our certificate"), "{text}");

    let mut theirs = server(local(plain), &pair);
    theirs.trust = Trust { require: true, ..trust(Some(&ca.cert)) };
    let there = Live::start(&theirs);
    let port = there.at().port();
    let with = |pair: &Pair| {
        let (cert, key) = (pair.cert.display(), pair.key.display());
        Stunnel::start(&format!("client = yes\nconnect = 127.0.0.1:{port}\ncert = {cert}\nkey = {key}"))
    };
    let stunnel = with(&good);
    assert_eq!(exchange(SocketAddr::from(([127, 0, 0, 1], stunnel.port)), b"hello"), b"hello");
    let stunnel = with(&bad);
    let mut stream = connect(SocketAddr::from(([127, 0, 0, 1], stunnel.port)));
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "closed at once");
    assert!(there.heard.named("connection_failed").text.en.contains("refused"));
}

#[test]
fn stunnel_with_the_certificate_of_openssl_req_is_trusted_when_listed() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let plain = serve(echo);
    for pair in [ca.self_signed("localhost"), ca.version_1("localhost")] {
        let (cert, key) = (pair.cert.display(), pair.key.display());
        let stunnel = Stunnel::start(&format!("cert = {cert}\nkey = {key}\nconnect = 127.0.0.1:{plain}"));
        let here = Live::start(&client(named(stunnel.port), &pair.cert));
        assert_eq!(exchange(here.at(), b"hello"), b"hello");
    }
}

#[test]
fn a_tunnel_that_falls_says_so_and_listens_again() {
    let heard = Heard::default();
    let (told, first) = (heard.events(), std::sync::atomic::AtomicBool::new(true));
    // a panic in the listener's own task, the first time it says where it listens
    let events = Events::to(move |event| {
        let falls = event.name == "tunnel_listening" && first.swap(false, std::sync::atomic::Ordering::SeqCst);
        assert!(!falls, "on purpose");
        told.emit(event);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let target = tunnel(true, local(0), local(serve(echo)), trust(None), None);
    let prepared = prepare(&target, &[], &events).unwrap();
    let running = runtime.block_on(async { Running::start(prepared, events, Arc::default(), None) });
    heard.named("tunnel_fell");
    let address = heard.bound();
    assert_eq!(running.bound(), [Addr::Ip(address)]);
    TcpStream::connect(address).unwrap();
    runtime.block_on(running.stop(Duration::ZERO));
}
