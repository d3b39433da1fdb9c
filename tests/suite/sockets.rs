//! The sockets of tunnels as the real binary opens them: Unix sockets and their files, sockets that are handed over,
//! source addresses, the order of targets beside stunnel's own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::Signal;

use crate::support::service::{Lines, PATIENCE, Service, until};
use crate::support::site::Site;

// ---- what the tests are made of -------------------------------------------------------------------------------------

/// A target that tells who connects and hangs up: the tunnel has dialled by then, which is all that is looked at here.
struct Target {
    port: u16,
    callers: Receiver<SocketAddr>,
}

impl Target {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, callers) = channel();
        std::thread::spawn(move || {
            while let Ok((_, from)) = listener.accept() {
                if tell.send(from).is_err() {
                    return;
                }
            }
        });
        Self { port, callers }
    }

    fn caller(&self) -> SocketAddr {
        self.callers.recv_timeout(PATIENCE).unwrap()
    }
}

/// A client tunnel of that name; `accept` is a port or a path.
fn section(name: &str, accept: &str, target: &Target, more: &str) -> String {
    format!("[{name}]\nclient = yes\naccept = {accept}\nconnect = 127.0.0.1:{}\n{more}\n", target.port)
}

/// With the words that the tests wait for.
fn write_ini(site: &Site, sections: &str) {
    site.write_ini(&format!("debug = info\n{sections}"));
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// ---- Unix sockets ---------------------------------------------------------------------------------------------------

#[test]
fn a_unix_socket_has_its_owner_and_mode_and_goes_with_the_service() {
    let (site, target) = (Site::new(), Target::new());
    let path = site.path("s");
    let shown = path.display().to_string();
    let owner = if is_root() { "setuid = nobody\nsetgid = daemon" } else { "" };
    write_ini(&site, &section("u", &shown, &target, owner));
    let mut command = Command::new("sh");
    let run = site.command(&["run"]);
    command.args(["-c", "umask 027; exec \"$@\"", "sh"]).arg(run.get_program()).args(run.get_args());
    let mut service = Service::start(&mut command);
    service.log.wait(&format!("Service [u] bound to {shown}"), 0);
    service.log.wait("Accepting new connections", 0);
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o750);
    if is_root() {
        assert_eq!((metadata.uid(), metadata.gid()), (65534, 1));
    }
    // the target speaks no TLS, so it may be over before this is said
    let _ = UnixStream::connect(&path).unwrap().write_all(b"x");
    target.caller();
    service.signal(Signal::TERM);
    assert!(service.end().success());
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_of_a_service_that_was_killed_is_taken_over_and_a_living_one_is_not() {
    let (site, target) = (Site::new(), Target::new());
    let path = site.path("s");
    write_ini(&site, &section("u", &path.display().to_string(), &target, ""));
    let mut killed = Service::up(&site);
    killed.signal(Signal::KILL);
    killed.end();
    assert!(path.exists());
    let living = Service::up(&site);
    living.log.wait("a socket that a program left behind was taken over", 0);
    // the target speaks no TLS, so it may be over before this is said
    let _ = UnixStream::connect(&path).unwrap().write_all(b"x");
    target.caller();

    let other = Site::new();
    write_ini(&other, &section("u", &path.display().to_string(), &target, ""));
    let refused = Service::start(&mut other.command(&["run"]));
    let line = refused.log.wait("Address already in use (98)", 0);
    assert!(line.contains(&format!("held by pid {} (pertuis)", living.child.id())), "{line}");
    assert!(UnixStream::connect(&path).is_ok());
}

#[test]
fn a_unix_socket_is_a_target_too() {
    let site = Site::new();
    let path = site.path("backend");
    let backend = UnixListener::bind(&path).unwrap();
    write_ini(&site, &format!("[u]\nclient = yes\naccept = 127.0.0.1:0\nconnect = {}\n", path.display()));
    let service = Service::up(&site);
    let _client = TcpStream::connect(service.bound("u", 0)).unwrap();
    let mut hello = [0; 3];
    backend.accept().unwrap().0.read_exact(&mut hello).unwrap();
    assert_eq!(hello[0], 22, "the first record of a TLS handshake (RFC 8446, 5.1)");
    service.log.wait(&format!("s_connect: connected {}", path.display()), 0);
}

// ---- sockets that are handed over -----------------------------------------------------------------------------------

/// Starts the service with two sockets as systemd would.
fn handed(site: &Site, first: impl Into<OwnedFd>, second: impl Into<OwnedFd>) -> Service {
    let script = r#"exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec "$@""#;
    let run = site.command(&["run"]);
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(run.get_program()).args(run.get_args());
    let (first, second) = (Stdio::from(first.into()), Stdio::from(second.into()));
    let mut child = command.stdin(first).stdout(second).stderr(Stdio::piped()).spawn().unwrap();
    let log = Lines::of(child.stderr.take().unwrap());
    Service { child, log }
}

#[test]
fn sockets_that_are_handed_over_go_to_the_services_in_the_order_of_the_file() {
    let (site, one, two, three) = (Site::new(), Target::new(), Target::new(), Target::new());
    let path = site.path("given");
    let (tcp, unix) = (TcpListener::bind("127.0.0.1:0").unwrap(), UnixListener::bind(&path).unwrap());
    let at = tcp.local_addr().unwrap();
    let unused = free_port();
    let sections = [
        ("one", unused.to_string(), &one),
        ("two", unused.to_string(), &two),
        ("three", "127.0.0.1:0".to_owned(), &three),
    ];
    write_ini(&site, &sections.map(|(name, accept, target)| section(name, &accept, target, "")).concat());
    let mut service = handed(&site, tcp, unix);
    service.log.wait("Accepting new connections", 0);
    TcpStream::connect(at).unwrap();
    one.caller();
    UnixStream::connect(&path).unwrap();
    two.caller();
    TcpStream::connect(service.bound("three", 0)).unwrap();
    three.caller();
    assert!(TcpStream::connect(("127.0.0.1", unused)).is_err(), "the file's address does not count");
    service.signal(Signal::TERM);
    assert!(service.end().success());
    assert!(path.exists(), "the file is whose who handed it over");
}

#[test]
fn sockets_that_are_handed_over_reach_the_daemon_too() {
    let (site, one, two) = (Site::new(), Target::new(), Target::new());
    let (first, second) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (pid, addresses) = (site.path("pid"), [first.local_addr().unwrap(), second.local_addr().unwrap()]);
    // the addresses of the file are those that are held already, as a unit would have it
    let sections = [("one", addresses[0], &one), ("two", addresses[1], &two)];
    let sections = sections.map(|(name, at, target)| section(name, &at.to_string(), target, "")).concat();
    write_ini(&site, &format!("foreground = no\npid = {}\n{sections}", pid.display()));
    let mut starter = handed(&site, first, second);
    assert!(starter.end().success(), "{}", starter.log.all());
    TcpStream::connect(addresses[0]).unwrap();
    one.caller();
    TcpStream::connect(addresses[1]).unwrap();
    two.caller();
    let number = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(number).unwrap(), Signal::TERM).unwrap();
    until("the end of the daemon", || (!pid.exists()).then_some(()));
}

#[test]
fn more_sockets_than_services_and_a_socket_that_does_not_listen_keep_the_service_from_starting() {
    let (site, target) = (Site::new(), Target::new());
    write_ini(&site, &section("one", "1", &target, ""));
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let mut surplus = handed(&site, listener(), listener());
    assert_eq!(surplus.end().code(), Some(1));
    let connected = TcpStream::connect(("127.0.0.1", target.port)).unwrap();
    let mut wrong = handed(&site, listener(), connected);
    assert_eq!(wrong.end().code(), Some(1));
    wrong.log.wait("socket activation: descriptor 4 cannot be served: it does not listen", 0);
}

#[test]
fn systemds_own_launcher_hands_a_socket_over() {
    let launcher = Path::new("/usr/bin/systemd-socket-activate");
    if !launcher.exists() {
        return eprintln!("skipped: no systemd-socket-activate");
    }
    let (site, target) = (Site::new(), Target::new());
    write_ini(&site, &section("one", "1", &target, ""));
    let at = format!("127.0.0.1:{}", free_port());
    let run = site.command(&["run"]);
    let mut service =
        Service::start(Command::new(launcher).args(["-l", &at]).arg(run.get_program()).args(run.get_args()));
    let _client = until("the launcher", || TcpStream::connect(&at).ok());
    target.caller();
    service.signal(Signal::TERM);
    assert!(service.end().success());
}

// ---- source addresses -----------------------------------------------------------------------------------------------

#[test]
fn the_target_sees_the_address_of_local() {
    let (site, target) = (Site::new(), Target::new());
    write_ini(&site, &section("l", "127.0.0.1:0", &target, "local = 127.0.0.2"));
    let service = Service::up(&site);
    let _client = TcpStream::connect(service.bound("l", 0)).unwrap();
    assert_eq!(target.caller().ip().to_string(), "127.0.0.2");
}

/// `CAP_NET_ADMIN` is bit 12 of capabilities(7).
fn may_be_transparent() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    set.is_some_and(|set| set & (1 << 12) != 0)
}

#[test]
fn the_target_sees_the_clients_own_address_with_transparent_source() {
    if !may_be_transparent() {
        return eprintln!("skipped: transparent = source needs CAP_NET_ADMIN");
    }
    let (site, target) = (Site::new(), Target::new());
    write_ini(&site, &section("t", "127.0.0.1:0", &target, "transparent = source"));
    let service = Service::up(&site);
    let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    client.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
    client.connect(&service.bound("t", 0).into()).unwrap();
    // not from its port, which the client holds on this very machine
    assert_eq!(target.caller().ip(), IpAddr::from([127, 0, 0, 9]));
}

#[test]
fn a_connection_that_was_not_redirected_is_refused_by_transparent_destination() {
    let site = Site::new();
    write_ini(&site, "[t]\nclient = yes\naccept = 127.0.0.1:0\ntransparent = destination\n");
    let service = Service::up(&site);
    let at = service.bound("t", 0);
    let mut client = TcpStream::connect(at).unwrap();
    service.log.wait(&format!("this connection was made to {at} itself"), 0);
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    // not a word of a second one: it did not dial itself
    assert!(!service.log.all().contains("s_connect: connected"));
}

// ---- the order of targets -------------------------------------------------------------------------------------------

/// The targets that each of the connections tried, from the words that both programs have in common.
fn tried(log: &str) -> Vec<Vec<String>> {
    let mut connections = vec![Vec::new()];
    for line in log.lines() {
        let Some((_, said)) = line.split_once("s_connect: connect") else { continue };
        if let Some(connected) = said.strip_prefix("ed ") {
            connections.last_mut().unwrap().push(connected.trim().to_owned());
            connections.push(Vec::new());
        } else if let Some(failed) = said.strip_prefix(' ') {
            connections.last_mut().unwrap().push(failed.split(": ").next().unwrap().to_owned());
        }
    }
    connections.pop();
    connections
}

const CONNECTIONS: usize = 9;

/// Makes the connections one after another; answers what each tried.
fn order(at: SocketAddr, log: &Lines) -> Vec<Vec<String>> {
    for count in 0..CONNECTIONS {
        let _client = TcpStream::connect(at).unwrap();
        log.wait("s_connect: connected", count);
    }
    tried(&log.all())
}

#[test]
fn targets_are_tried_in_the_order_of_stunnel() {
    let stunnel = Path::new("/usr/bin/stunnel4");
    if !stunnel.exists() {
        return eprintln!("skipped: no stunnel4");
    }
    let (one, two) = (Target::new(), Target::new());
    let (dead, gone) = (free_port(), free_port());
    for failover in ["failover = prio", "failover = rr", "failover = rr\ndelay = yes"] {
        let connect: String =
            [dead, one.port, two.port, gone].map(|port| format!("connect = 127.0.0.1:{port}\n")).concat();
        let service = |accept| format!("[f]\nclient = yes\naccept = 127.0.0.1:{accept}\n{connect}{failover}\n");
        let site = Site::new();
        write_ini(&site, &service(0));
        let ours = Service::up(&site);
        let ours = order(ours.bound("f", 0), &ours.log);

        let port = free_port();
        let file = site.path("stunnel.conf");
        fs::write(&file, format!("foreground = yes\npid =\nsyslog = no\ndebug = info\n{}", service(port))).unwrap();
        let theirs = Service::start(Command::new(stunnel).arg(file));
        theirs.log.wait("Accepting new connections", 0);
        let theirs = order(SocketAddr::from(([127, 0, 0, 1], port)), &theirs.log);

        assert_eq!((ours.len(), theirs.len()), (CONNECTIONS, CONNECTIONS), "{failover}");
        // both start their round anywhere
        let rounds = if failover == "failover = rr" { 4 } else { 1 };
        let same = |shift: usize| (0..CONNECTIONS - shift).all(|place| ours[place + shift] == theirs[place]);
        assert!((0..rounds).any(same), "{failover}: {ours:?} is not {theirs:?}");
    }
}
