//! Tunnels whose ends are not plain `accept` and `connect`: programs, virtual hosts, Unix sockets, standard input; and the
//! limits that sessions live under.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pertuis::config::tunnel::{Exec, Failover, Sni, VirtualHost};
use pertuis::config::{Endpoint, Trust, Tunnel};
use pertuis::event::Level;
use pertuis::model::ServiceName;
use rustix::fs::OFlags;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::support::ca::{Pair, TestCa};
use crate::support::service::{Service, until};
use crate::support::site::Site;
use crate::tunnel::{Live, PATIENCE, client, connect, echo, exchange, local, named, pattern, serve, server};

/// A shell with this script.
fn shell(script: &str) -> Exec {
    Exec {
        program: "/bin/sh".into(),
        arguments: ["sh", "-c", script].map(str::to_owned).to_vec(),
        environment: vec![("EXTRA".to_owned(), "of setEnv".to_owned())],
    }
}

/// A server tunnel to a program.
fn program(exec: Exec, pair: &Pair) -> Tunnel {
    Tunnel { connect: Vec::new(), exec: Some(exec), ..server(local(1), pair) }
}

/// A client tunnel to `there`.
fn towards(there: &Live, ca: &Path) -> Live {
    Live::start(&client(named(there.at().port()), ca))
}

/// What answers until the other side ends.
fn answer(at: std::net::SocketAddr) -> String {
    let mut text = String::new();
    let mut stream = connect(at);
    let _ = stream.read_to_string(&mut text);
    text
}

/// A backend that says its name.
fn saying(word: &'static str) -> u16 {
    serve(move |mut stream| drop(stream.write_all(word.as_bytes())))
}

// ---- programs -------------------------------------------------------------------------------------------------------

#[test]
fn a_program_in_place_of_connect_carries_megabytes_and_sees_the_end_of_its_input() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let pair = ca.good("localhost");
    let data = pattern(3_000_000);
    let cat = Exec { program: "/bin/cat".into(), arguments: vec!["cat".to_owned()], environment: Vec::new() };
    let there = Live::start(&program(cat, &pair));
    let here = towards(&there, &ca.cert);
    assert!(exchange(here.at(), &data) == data);
    let text = there.heard.named("program_started").text.en;
    assert!(text.starts_with("Local mode child started (PID="), "{text}");
    let text = there.heard.named("program_ended").text.en;
    assert!(text.starts_with("Child process ") && text.ends_with(" finished with code 0"), "{text}");

    // what it says after the end of its input arrives too
    let there = Live::start(&program(shell("wc -c"), &pair));
    let here = towards(&there, &ca.cert);
    assert_eq!(String::from_utf8(exchange(here.at(), &data)).unwrap().trim(), "3000000");
}

#[test]
fn a_program_that_dies_ends_its_connection_and_one_that_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let pair = ca.good("localhost");
    let there = Live::start(&program(shell("echo bye; exit 3"), &pair));
    let here = towards(&there, &ca.cert);
    assert_eq!(answer(here.at()), "bye\n");
    assert!(there.heard.named("program_ended").text.en.ends_with(" finished with code 3"));
    let there = Live::start(&program(shell("kill -9 $$"), &pair));
    let here = towards(&there, &ca.cert);
    assert_eq!(answer(here.at()), "");
    assert!(there.heard.named("program_ended").text.en.ends_with(" terminated on signal 9"));
    let missing = Exec { program: "/no/such/program".into(), ..shell("") };
    let there = Live::start(&program(missing, &pair));
    let here = towards(&there, &ca.cert);
    assert_eq!(answer(here.at()), "");
    let text = there.heard.named("connection_failed").text.en;
    assert!(text.contains("exec: cannot start /no/such/program"), "{text}");
    // the service goes on
    assert_eq!(answer(here.at()), "");
}

#[test]
fn a_program_learns_who_the_client_is_and_inherits_nothing_else_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let script = "echo \"$REMOTE_HOST|$SSL_CLIENT_DN|$EXTRA|$0\"; ls /proc/self/fd | tr '\\n' ' '";
    let mut theirs = program(shell(script), &ca.good("localhost"));
    theirs.trust = Trust { require: true, ca_file: Some(ca.cert.clone()), ..Trust::default() };
    let there = Live::start(&theirs);
    let me = ca.good("me.test");
    let mut ours = client(named(there.at().port()), &ca.cert);
    (ours.cert, ours.key) = (Some(me.cert.clone()), Some(me.key.clone()));
    let here = Live::start(&ours);
    let text = answer(here.at());
    let (who, descriptors) = text.split_once('\n').unwrap();
    assert!(who.starts_with("127.0.0.1|") && who.contains("me.test") && who.ends_with("|of setEnv|sh"), "{text}");
    // what any program started from here has
    let plain = Command::new("sh").args(["-c", "ls /proc/self/fd | tr '\\n' ' '"]).output().unwrap();
    assert_eq!(descriptors, String::from_utf8(plain.stdout).unwrap());
}

#[test]
fn a_program_learns_nothing_of_what_the_service_manager_means_for_the_service() {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let Pair { cert, key, .. } = ca.good("localhost");
    let (cert, key, authority) = (cert.display(), key.display(), ca.cert.display());
    let path = site.path("s").display().to_string();
    let notices = UnixDatagram::bind(&path).unwrap();
    site.write_ini(&format!(
        "debug = info\n[program]\naccept = {path}2\ncert = {cert}\nkey = {key}\nexec = /usr/bin/env\nexecArgs = env\n\
         [t]\nclient = yes\naccept = 127.0.0.1:0\nconnect = {path}2\nCAfile = {authority}\nverifyChain = yes\n\
         checkHost = localhost\n"
    ));
    let mut command = site.command(&["run"]);
    let ours =
        ["WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY", "PERTUIS_DAEMON", "LISTEN_FDS", "LISTEN_FDNAMES"];
    command.envs(ours.map(|name| (name, "0"))).env("NOTIFY_SOCKET", &path).env("KEPT", "yes");
    let service = Service::start(&mut command);
    service.log.wait("Accepting new connections", 0);
    // the service itself has it all the same
    let mut notice = [0; 100];
    let length = notices.recv(&mut notice).unwrap();
    assert_eq!(notice[..length].trim_ascii_end(), b"READY=1");
    let environment = answer(service.bound("t", 0));
    assert!(environment.lines().any(|line| line == "KEPT=yes"), "{environment}");
    for name in ours.into_iter().chain(["NOTIFY_SOCKET"]) {
        assert!(!environment.contains(&format!("{name}=")), "{environment}");
    }
}

#[test]
fn a_program_that_starts_by_itself_starts_again_with_retry_and_stops_with_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let there = Live::start(&server(local(serve(echo)), &ca.good("localhost")));
    let mut solo = client(named(there.at().port()), &ca.cert);
    solo.accept.clear();
    solo.exec = Some(shell("echo hello; head -c 6 >/dev/null"));
    solo.retry = Some(Duration::from_millis(20));
    let mut here = Live::start(&solo);
    assert!(here.running().is_listening() && here.running().bound().is_empty());
    here.heard.until("three turns", || here.heard.count("connection_closed") >= 3);
    let text = here.heard.named("program_begins").text.en;
    assert_eq!(text, "Starting exec+connect service [t]");
    let closed = here.heard.named("connection_closed");
    assert_eq!(closed.text.en, "Connection closed: 6 byte(s) sent to TLS, 6 byte(s) sent to socket");
    assert!(closed.connection.unwrap().to_string().ends_with("_0"));
    here.stop(PATIENCE);
    let turns = here.heard.count("program_started");
    std::thread::sleep(Duration::from_millis(100)); // nothing to wait for: it must not start again
    assert_eq!(here.heard.count("program_started"), turns);

    // without retry once, and once more for a reload
    solo.retry = None;
    let here = Live::start(&solo);
    here.heard.until("its end", || here.heard.count("connection_closed") == 1);
    here.heard.until("a second turn", || {
        here.replace(&solo);
        here.heard.count("connection_closed") > 1
    });
}

#[test]
fn a_program_that_ends_at_once_is_started_again_once_a_second_even_with_retry_0() {
    let dir = tempfile::tempdir().unwrap();
    let mut solo = client(local(1), &TestCa::new(dir.path()).cert);
    solo.accept.clear();
    solo.exec = Some(shell("exit"));
    solo.retry = Some(Duration::ZERO);
    let began = Instant::now();
    let here = Live::start(&solo);
    here.heard.until("three turns", || here.heard.count("program_started") >= 3);
    assert!(began.elapsed() >= Duration::from_secs(2), "a storm of programs: three in {:?}", began.elapsed());
}

#[test]
fn programs_that_outlive_their_connections_cost_the_service_nothing() {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let Pair { cert, key, .. } = ca.good("localhost");
    let (gate, script) = (site.path("gate"), site.path("lives-on.sh"));
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    // its ends of the connection are closed, and it waits until somebody opens the gate
    let lines = format!("echo bye; exec <&- >&-; timeout 60 sh -c 'read nothing <{}'; exit 7\n", gate.display());
    std::fs::write(&script, lines).unwrap();
    site.write_ini(&format!(
        "debug = info\n[t]\naccept = 127.0.0.1:0\ncert = {}\nkey = {}\nexec = /bin/sh\nexecArgs = sh {}\n",
        cert.display(),
        key.display(),
        script.display()
    ));
    let service = Service::up(&site);
    let here = Live::start(&client(named(service.bound("t", 0).port()), &ca.cert));
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", service.child.id())).unwrap().count();
    assert_eq!(answer(here.at()), "bye\n");
    until("the end of the first connection", || service.log.all().contains("Connection closed").then_some(()));
    let one = descriptors();
    for _ in 0..20 {
        assert_eq!(answer(here.at()), "bye\n");
    }
    until("the ends of the others", || (descriptors() <= one).then_some(()));
    assert!(!service.log.all().contains("Child process"), "all of them live on");
    // each that waits is woken by one who comes and goes
    until("the ends of the programs", || {
        let _ = std::fs::File::options().write(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(&gate);
        (service.log.all().matches("finished with code 7").count() == 21).then_some(())
    });
}

// ---- virtual hosts, redirection -------------------------------------------------------------------------------------

#[test]
fn virtual_hosts_have_certificates_targets_and_names_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let host = |name: &str, pattern: &str, cert: &str, word: &'static str| Tunnel {
        name: ServiceName::new(name),
        accept: Vec::new(),
        virtual_host: Some(VirtualHost { of: ServiceName::new("t"), pattern: pattern.to_owned() }),
        ..server(local(saying(word)), &ca.good(cert))
    };
    let one = host("one", "one.test", "one.test", "1");
    let wild = host("wild", "*.wild.test", "any.wild.test", "*");
    let late = host("late", "*", "last.test", "rest");
    let primary = server(local(saying("primary")), &ca.good("primary.test"));
    let there = Live::with_hosts(&primary, &[&one, &wild]);
    let ask = |there: &Live, name: &str| {
        let mut ours = client(named(there.at().port()), &ca.cert);
        ours.sni = Sni::Name(name.to_owned());
        answer(Live::start(&ours).at())
    };
    assert_eq!(ask(&there, "one.test"), "1");
    assert_eq!(ask(&there, "any.wild.test"), "*");
    assert_eq!(ask(&there, "primary.test"), "primary");
    let told = |name: &str| there.heard.named(Box::leak(name.to_owned().into_boxed_str())).text.en;
    assert_eq!(told("sni_received"), "SNI: requested servername: one.test");
    assert_eq!(told("sni_switched"), "SNI: switched to service [one]");
    assert_eq!(told("sni_unknown"), "SNI: no pattern matched servername: primary.test");
    let closed = there.heard.wait("closed by one", |event| {
        event.name == "connection_closed" && event.service.as_ref().is_some_and(|name| name.as_str() == "one")
    });
    assert!(closed.text.en.contains("1 byte(s) sent to TLS"), "{}", closed.text);
    let connected = "Service [wild] connected remote server from 127.0.0.1:";
    there.heard.wait(connected, |event| event.text.en.starts_with(connected));
    // the first that matches has it
    let there = Live::with_hosts(&primary, &[&wild, &late]);
    assert_eq!(ask(&there, "any.wild.test"), "*");
    assert_eq!(ask(&there, "last.test"), "rest");
}

#[test]
fn clients_whose_certificate_is_refused_or_missing_are_redirected_also_when_they_resume() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, stranger) = (TestCa::new(dir.path()), TestCa::new(dir.path()));
    let mut theirs = server(local(saying("inside")), &ca.good("localhost"));
    theirs.trust = Trust { require: true, ca_file: Some(ca.cert.clone()), dialled_name: false, ..Trust::default() };
    theirs.redirect = vec![local(saying("outside")).into()];
    let there = Live::start(&theirs);
    let with = |pair: Option<&Pair>| {
        let mut ours = client(named(there.at().port()), &ca.cert);
        (ours.cert, ours.key) = (pair.map(|pair| pair.cert.clone()), pair.map(|pair| pair.key.clone()));
        Live::start(&ours)
    };
    let (good, bad) = (ca.good("me.test"), stranger.good("me.test"));
    for (pair, word) in [(Some(&good), "inside"), (Some(&bad), "outside"), (None, "outside")] {
        let here = with(pair);
        for turn in 0..3 {
            assert_eq!(answer(here.at()), word, "turn {turn}");
        }
        let resumed = "TLS connected: previous session reused";
        here.heard.wait(resumed, |event| event.text.en == resumed);
    }
    assert_eq!(there.heard.count("connection_redirected"), 6);
    assert_eq!(there.heard.named("connection_redirected").text.en, "Redirecting connection");
}

#[test]
fn a_resumed_session_comes_back_to_the_server_it_was_at() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let mut theirs = server(local(saying("a")), &ca.good("localhost"));
    theirs.connect.extend(["b", "c", "d"].map(|word| local(saying(word)).into()));
    theirs.failover = Failover::RoundRobin;
    let there = Live::start(&theirs);
    let here = towards(&there, &ca.cert);
    let first = answer(here.at());
    for _ in 0..5 {
        assert_eq!(answer(here.at()), first);
    }
    let reused = there.heard.wait("reuse", |event| event.name == "persistence" && event.text.en.ends_with(" reused"));
    assert!(reused.text.en.starts_with("persistence: 127.0.0.1:"), "{}", reused.text);
    // others go round
    let mut words: Vec<String> = (0..4).map(|_| answer(towards(&there, &ca.cert).at())).collect();
    words.sort();
    assert_eq!(words, ["a", "b", "c", "d"]);
}

// ---- Unix sockets ---------------------------------------------------------------------------------------------------

#[test]
fn both_plain_ends_may_be_unix_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let backend = UnixListener::bind(&to).unwrap();
    std::thread::spawn(move || {
        for mut stream in backend.incoming().flatten() {
            let mut copy = stream.try_clone().unwrap();
            let _ = std::io::copy(&mut copy, &mut stream);
            let _ = stream.shutdown(Shutdown::Write);
        }
    });
    let mut theirs = server(local(1), &ca.good("localhost"));
    theirs.connect = vec![Endpoint::Unix(to)];
    let there = Live::start(&theirs);
    let mut ours = client(named(there.at().port()), &ca.cert);
    ours.accept = vec![Endpoint::Unix(from.clone())];
    let mut here = Live::start(&ours);
    here.heard.named("tunnel_listening");
    let mut stream = UnixStream::connect(&from).unwrap();
    stream.write_all(b"through").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = String::new();
    stream.read_to_string(&mut back).unwrap();
    assert_eq!(back, "through");
    here.stop(PATIENCE);
    assert!(!from.exists(), "the socket is gone with its listener");
}

// ---- time -----------------------------------------------------------------------------------------------------------

#[test]
fn a_handshake_that_stands_still_is_cut_and_a_slow_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let mut theirs = server(local(serve(echo)), &ca.good("localhost"));
    theirs.timeout_busy = Duration::from_secs(1);
    let there = Live::start(&theirs);
    // the head of a record that is longer than what follows, a byte at a time
    let began = Instant::now();
    let mut slow = connect(there.at());
    for byte in [22, 3, 1, 2, 0, 1] {
        slow.write_all(&[byte]).unwrap();
        std::thread::sleep(Duration::from_millis(400)); // slower than the limit in all, never for one byte
    }
    assert_eq!(there.heard.count("connection_closed"), 0);
    assert!(slow.read(&mut [0]).is_err(), "a reset");
    let took = began.elapsed();
    assert!(took > Duration::from_millis(2900) && took < Duration::from_secs(10), "{took:?}");
    let told = there.heard.named("connection_failed");
    assert!(told.text.en.starts_with("TIMEOUTbusy exceeded: sending reset"), "{}", told.text);
    assert_eq!(told.level, Level::Info);
    let closed = "Connection reset: 0 byte(s) sent to TLS, 0 byte(s) sent to socket";
    assert_eq!(there.heard.named("connection_closed").text.en, closed);
}

#[test]
fn idle_connections_are_reset_and_half_closed_ones_closed() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let there = Live::start(&server(local(serve(|stream| drop(hold(&stream)))), &ca.good("localhost")));
    let mut ours = client(named(there.at().port()), &ca.cert);
    ours.timeout_idle = Some(Duration::from_secs(1));
    let here = Live::start(&ours);
    assert!(connect(here.at()).read(&mut [0]).is_err(), "a reset");
    assert_eq!(here.heard.named("connection_idle").text.en, "TIMEOUTidle exceeded: sending reset");
    assert!(here.heard.named("connection_closed").text.en.starts_with("Connection reset: "));

    ours.timeout_idle = None;
    ours.timeout_close = Duration::from_secs(1);
    let here = Live::start(&ours);
    let mut half = connect(here.at());
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(half.read(&mut [0]).unwrap(), 0, "an orderly end");
    let told = here.heard.named("connection_half_closed");
    assert_eq!((told.level, &*told.text.en), (Level::Error, "TIMEOUTclose exceeded: closing"));
    assert!(here.heard.named("connection_closed").text.en.starts_with("Connection closed: "));

    // zero is at once, as in stunnel
    ours.timeout_idle = Some(Duration::ZERO);
    let here = Live::start(&ours);
    let began = Instant::now();
    assert!(connect(here.at()).read(&mut [0]).is_err(), "a reset");
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// Reads until the other side ends, says nothing, and does not end either.
fn hold(mut stream: &TcpStream) -> std::io::Result<u64> {
    let read = std::io::copy(&mut stream, &mut std::io::sink());
    std::thread::sleep(PATIENCE);
    read
}

// ---- many -----------------------------------------------------------------------------------------------------------

#[test]
fn open_connections_are_listed_with_what_they_carried() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let there = Live::start(&server(local(serve(echo)), &ca.good("localhost")));
    let here = towards(&there, &ca.cert);
    assert_eq!(here.running().report(), Vec::<String>::new());
    let mut stream = connect(here.at());
    stream.write_all(b"12345").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    // the echo may be here before it is counted
    let is_listed = |lines: Vec<String>| {
        let words = ": Service [t], 5 byte(s) sent to TLS, 5 byte(s) sent to socket";
        lines.len() == 1 && lines[0].starts_with("Active connection ") && lines[0].ends_with(words)
    };
    here.heard.until("the connection in the list", || is_listed(here.running().report()));
    drop(stream);
    here.heard.until("the end of the list", || here.running().report().is_empty());
}

/// A service with so many descriptors.
fn with_descriptors(site: &Site, most: u64, ini: &str) -> Service {
    site.write_ini(ini);
    let mut command = Command::new("sh");
    let run = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
    command.args(["-c", &run, env!("CARGO_BIN_EXE_pertuis"), "-c"]).arg(site.path("pertuis.ini")).arg("run");
    Service::start(command.stdin(Stdio::null()))
}

fn server_ini(pair: &Pair) -> String {
    let (cert, key, to) = (pair.cert.display(), pair.key.display(), serve(echo));
    format!("[t]\naccept = 127.0.0.1:0\ncert = {cert}\nkey = {key}\nconnect = {to}\n")
}

#[test]
fn too_many_clients_are_turned_away_and_said_once() {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let service = with_descriptors(&site, 60, &server_ini(&ca.good("localhost")));
    let at = service.bound("t", 0);
    let mut open: Vec<TcpStream> = (0..40).map(|_| connect(at)).collect();
    let line = service.log.wait("Connection rejected: too many clients (>=27)", 0);
    assert!(line.contains("LimitNOFILE"), "{line}");
    let turned_away = |stream: &mut TcpStream| stream.read(&mut [0]).is_ok_and(|count| count == 0);
    let mut last = open.pop().unwrap();
    assert!(turned_away(&mut last), "closed at once");
    assert_eq!(service.log.all().matches("Connection rejected").count(), 1);
    // those who leave make room
    drop(open);
    until("room", || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        (!turned_away(&mut stream)).then_some(())
    });
}

#[test]
fn a_service_without_descriptors_waits_says_so_once_and_goes_on_by_itself() {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let there = Live::start(&server(local(serve(echo)), &ca.good("localhost")));
    let (to, file) = (there.at().port(), ca.cert.display());
    let ini = format!("[t]\nclient = yes\naccept = 127.0.0.1:0\nconnect = localhost:{to}\nCAfile = {file}\n");
    let service = with_descriptors(&site, 200, &ini);
    let at = service.bound("t", 0);
    assert_eq!(exchange(at, b"before"), b"before");
    let pid = Pid::from_child(&service.child);
    let limit = |soft: u64| {
        let limit = Rlimit { current: Some(soft), maximum: Some(200) };
        prlimit(Some(pid), Resource::Nofile, limit).unwrap();
    };
    until("the end of the first connection", || service.log.all().contains("Connection closed").then_some(()));
    for turn in ["first", "second"] {
        // the three standard ones are open: not one more
        limit(3);
        let mut stream = connect(at);
        stream.write_all(turn.as_bytes()).unwrap();
        let line = service.log.wait("cannot accept a connection", 0);
        assert!(line.contains("LimitNOFILE"), "{line}");
        let before = cpu(&service);
        std::thread::sleep(Duration::from_millis(2500)); // long enough for a second attempt to be told, if it were
        let used = cpu(&service) - before;
        assert!(used < 0.3, "it spins: {used} s of processor in 2.5 s");
        // descriptors come and go by the second: the second lack is no news
        assert_eq!(service.log.all().matches("cannot accept a connection").count(), 1, "{turn}");
        limit(200);
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).unwrap();
        assert_eq!(back, turn);
        service.log.wait("accepts connections again", 0);
    }
}

/// Seconds of processor that a service has used (proc(5): utime and stime, in hundredths).
fn cpu(service: &Service) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", service.child.id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

#[test]
fn a_thousand_handshakes_that_stop_half_way_cost_little_and_hold_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let pair = ca.good("localhost");
    let site = Site::new();
    let most = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: most.maximum, ..most }).unwrap();
    let service = with_descriptors(&site, 4096, &server_ini(&pair));
    let at = service.bound("t", 0);
    let here = Live::start(&client(named(at.port()), &ca.cert));
    assert_eq!(exchange(here.at(), b"one"), b"one");
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", service.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap()
    };
    let before = memory();
    let open: Vec<TcpStream> = (0..1000)
        .map(|_| {
            let mut stream = connect(at);
            stream.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
            stream
        })
        .collect();
    until("a thousand connections", || {
        (service.log.all().matches("accepted connection").count() > open.len()).then_some(())
    });
    assert_eq!(exchange(here.at(), b"two"), b"two");
    let each = memory().saturating_sub(before) / 1000;
    assert!(each < 32, "{each} KiB for each");
}

// ---- inetd ----------------------------------------------------------------------------------------------------------

/// The ini of a file without sections.
fn inetd(site: &Site, ca: &Path, to: u16) -> Command {
    let ca = ca.display();
    site.write_ini(&format!("client = yes\nconnect = localhost:{to}\nCAfile = {ca}\nTIMEOUTclose = 5\n"));
    site.command(&["run"])
}

#[test]
fn one_connection_on_a_socket_as_inetd_gives_it() {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let there = Live::start(&server(local(serve(echo)), &ca.good("localhost")));
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let theirs = std::os::fd::OwnedFd::from(theirs);
    let mut command = inetd(&site, &ca.cert, there.at().port());
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let data = pattern(1_000_000);
    let mut writer = ours.try_clone().unwrap();
    let sent = data.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    ours.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == data);
    assert!(until("its end", || child.try_wait().unwrap()).success());
}

#[test]
fn one_connection_on_pipes() {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let there = Live::start(&server(local(serve(echo)), &ca.good("localhost")));
    let mut command = inetd(&site, &ca.cert, there.at().port());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let data = pattern(1_000_000);
    let (mut input, sent) = (child.stdin.take().unwrap(), data.clone());
    let writing = std::thread::spawn(move || input.write_all(&sent).unwrap());
    let mut back = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == data);
    assert!(until("its end", || child.try_wait().unwrap()).success());

    // the TLS side ends first: standard input has TIMEOUTclose to end, and its end is the process's
    let there = Live::start(&server(local(saying("bye")), &ca.good("localhost")));
    let mut command = inetd(&site, &ca.cert, there.at().port());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut back = String::new();
    child.stdout.take().unwrap().read_to_string(&mut back).unwrap();
    assert_eq!(back, "bye");
    assert!(child.try_wait().unwrap().is_none(), "it waits for the end of its input");
    drop(child.stdin.take());
    assert!(until("its end", || child.try_wait().unwrap()).success());
}

#[test]
fn a_program_with_a_file_mode_that_forbids_it_is_told_apart_from_a_missing_one() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o644)).unwrap();
    let there = Live::start(&program(Exec { program: script, ..shell("") }, &ca.good("localhost")));
    let here = towards(&there, &ca.cert);
    assert_eq!(answer(here.at()), "");
    assert!(there.heard.named("connection_failed").text.en.contains("ermission denied"));
}
