//! The life of a process that takes stunnel's place: its name, its user, its signals, its certificates.
//!
//! Beside `service.rs`, which is about the service as such. What needs root is left out where the test is not root, and
//! says so.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::date_time_ymd;
use rustix::process::Signal;

use crate::support::ca::{Pair, TestCa, host_params};
use crate::support::service::{PATIENCE, Service, until};
use crate::support::site::Site;

// ---- what the tests are made of -------------------------------------------------------------------------------------

/// A server that sends back what it gets.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut write = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut &stream, &mut write);
            });
        }
    });
    address
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn answers(stream: &mut TcpStream, words: &str) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = vec![0; words.len()];
    stream.write_all(words.as_bytes()).is_ok() && stream.read_exact(&mut answer).is_ok() && answer == words.as_bytes()
}

/// A tunnel into a tunnel, and the certificate between them.
struct Pairing {
    ini: String,
    pair: Pair,
    ca: TestCa,
}

fn back_to_back(site: &Site) -> Pairing {
    let ca = TestCa::new(site.dir.path());
    let pair = ca.good("127.0.0.1");
    let (secure, echo) = (free_port(), echo());
    let (cert, key, authority) = (pair.cert.display(), pair.key.display(), ca.cert.display());
    let ini = format!(
        "[back]\naccept = 127.0.0.1:{secure}\nconnect = {echo}\ncert = {cert}\nkey = {key}\n\
         [front]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:{secure}\nCAfile = {authority}\n\
         verifyChain = yes\ncheckIP = 127.0.0.1\n"
    );
    Pairing { ini, pair, ca }
}

const PLAIN: &str = "[t]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\n";

/// The real binary under stunnel's name, in an environment that is not English.
fn stunnel(site: &Site, text: &str) -> Command {
    fs::write(site.path("stunnel.conf"), text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pertuis"));
    command.arg0("stunnel").arg(site.path("stunnel.conf")).env("LC_ALL", "fr_FR.UTF-8").stdin(Stdio::null());
    command
}

const FOREGROUND: &str = "foreground = yes\nsyslog = no\ndebug = debug\n";

fn errors(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr).lines().map(ToOwned::to_owned).collect()
}

fn count(service: &Service, words: &str) -> usize {
    service.log.all().matches(words).count()
}

fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("{test}: skipped, it needs root");
    }
    root
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}

/// A line of /proc/PID/status, of each thread.
fn status(service: &Service, field: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", service.child.id())).unwrap();
    let line = |status: String| status.lines().find_map(|line| line.strip_prefix(field).map(ToOwned::to_owned));
    tasks.filter_map(|task| line(fs::read_to_string(task.unwrap().path().join("status")).ok()?)).collect()
}

// ---- root is given up -----------------------------------------------------------------------------------------------

#[test]
fn every_thread_becomes_the_user_after_the_ports_are_bound_and_log_and_pid_are_its_own() {
    if !is_root("every_thread_becomes_the_user") {
        return;
    }
    let site = Site::new();
    open_to_all(site.dir.path());
    let (log, pid) = (site.path("log"), site.path("pid"));
    let Pairing { ini, pair, .. } = back_to_back(&site);
    fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o600)).unwrap();
    site.write_ini(&format!(
        "setuid = nobody\nsetgid = nogroup\noutput = {}\npid = {}\ndebug = info\n[low]\nclient = yes\n\
         accept = 127.0.0.9:987\nconnect = 127.0.0.1:9\n{ini}",
        log.display(),
        pid.display()
    ));
    let service = Service::up(&site);
    for (field, value) in [("Uid:", "65534"), ("Gid:", "65534")] {
        let threads = status(&service, field);
        assert!(threads.len() > 1, "{threads:?}");
        assert!(threads.iter().all(|ids| ids.split_whitespace().all(|id| id == value)), "{field} {threads:?}");
    }
    assert!(status(&service, "Groups:").iter().all(|groups| groups.trim() == "65534"));
    assert_eq!((log.metadata().unwrap().uid(), pid.metadata().unwrap().uid()), (65534, 65534));
    let front = service.bound("front", 0);
    assert!(answers(&mut TcpStream::connect(front).unwrap(), "as nobody"));
    // what root's file says cannot be read any more: the old key stays
    service.signal(Signal::HUP);
    let refused = service.log.wait(&pair.key.display().to_string(), 0);
    assert!(refused.contains("LOG3"), "{refused}");
    service.log.wait("Failed to reload the configuration file", 0);
    assert!(answers(&mut TcpStream::connect(front).unwrap(), "still"));
    // nor can another port of root's be bound, and a kept one stays
    fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o644)).unwrap();
    let ini = fs::read_to_string(site.path("pertuis.ini")).unwrap();
    fs::write(site.path("pertuis.ini"), ini.replace("127.0.0.9:987", "127.0.0.9:986")).unwrap();
    service.signal(Signal::HUP);
    service.log.wait("port 986 is root's, and this process gave root up", 0);
    assert!(TcpStream::connect("127.0.0.9:987").is_ok());
    fs::write(site.path("pertuis.ini"), ini).unwrap();
    service.signal(Signal::HUP);
    service.log.wait("Configuration reloaded", 0);
}

#[test]
fn a_user_without_setgid_leaves_the_groups_of_root_too() {
    if !is_root("a_user_without_setgid") {
        return;
    }
    let site = Site::new();
    site.write_ini(&format!("debug = info\nsetuid = nobody\n{PLAIN}"));
    let service = Service::up(&site);
    assert!(status(&service, "Gid:").iter().all(|ids| ids.split_whitespace().all(|id| id == "65534")));
    assert!(status(&service, "Groups:").iter().all(|groups| !groups.split_whitespace().any(|group| group == "0")));
}

#[test]
fn a_jail_holds_log_and_pid_and_a_reload_reads_what_lies_in_it() {
    if !is_root("a_jail_holds_log_and_pid") {
        return;
    }
    let site = Site::new();
    let jail = site.path("jail");
    for folder in ["run", "log", "etc"] {
        fs::create_dir_all(jail.join(folder)).unwrap();
        open_to_all(&jail.join(folder));
    }
    fs::write(jail.join("etc/resolv.conf"), "").unwrap();
    let pair = TestCa::new(site.dir.path()).good("127.0.0.1");
    site.write_ini(&format!(
        "debug = info\nchroot = {}\nsetuid = nobody\nsetgid = nogroup\noutput = /log/log\npid = /run/pid\n\
         [t]\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\ncert = {}\nkey = {}\n",
        jail.display(),
        pair.cert.display(),
        pair.key.display()
    ));
    let check = site.run(&["check"]);
    assert_eq!((check.status.code(), errors(&check)), (Some(0), Vec::new()));
    let mut service = Service::up(&site);
    let root = fs::read_link(format!("/proc/{}/root", service.child.id())).unwrap();
    assert_eq!(root, fs::canonicalize(&jail).unwrap());
    assert!(jail.join("log/log").exists() && jail.join("run/pid").exists());
    service.log.wait("Switched to chroot directory", 0);
    // from inside there is no such file
    service.signal(Signal::HUP);
    service.log.wait("Failed to reload the configuration file", 0);
    for file in [site.path("pertuis.ini"), pair.cert, pair.key] {
        let inside = jail.join(file.strip_prefix("/").unwrap());
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::copy(&file, &inside).unwrap();
        open_to_all(&inside);
    }
    service.signal(Signal::HUP);
    service.log.wait("Configuration reloaded", 0);
    service.signal(Signal::TERM);
    assert_eq!(service.end().code(), Some(0));
    assert!(!jail.join("run/pid").exists());
}

#[test]
fn names_of_targets_are_found_from_inside_an_empty_jail() {
    if !is_root("names_of_targets_are_found_from_inside_an_empty_jail") {
        return;
    }
    let site = Site::new();
    let jail = site.path("jail");
    fs::create_dir(&jail).unwrap();
    let target = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = target.local_addr().unwrap().port();
    // this machine's own name is in no resolver's jail either
    let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let known = (own.as_str(), port).to_socket_addrs().is_ok();
    let connects = [port.to_string(), format!("localhost:{port}"), format!("{own}:{port}")];
    let connects = &connects[..if known { 3 } else { 2 }];
    let section = |connect| format!("[{connect}]\nclient = yes\naccept = 127.0.0.1:0\nconnect = {connect}\n");
    let sections: Vec<String> = connects.iter().map(section).collect();
    site.write_ini(&format!("debug = info\nchroot = {}\n{}", jail.display(), sections.concat()));
    let service = Service::up(&site);
    for connect in connects {
        let _client = TcpStream::connect(service.bound(connect, 0)).unwrap();
        service.log.wait(&format!("Service [{connect}] connected remote server"), 0);
    }
}

#[test]
fn users_groups_and_jails_that_are_not_there_are_mistakes_at_their_lines() {
    let site = Site::new();
    site.write_ini(&format!("chroot = /no/such\nsetuid = no-such-user\nsetgid = no-such-group\n{PLAIN}"));
    for command in ["check", "run"] {
        let output = site.run(&[command]);
        let lines = errors(&output);
        assert_eq!((output.status.code(), lines.len()), (Some(1), 3), "{command}: {lines:#?}");
        for (line, words) in lines.iter().zip([":3: chroot", ":4: Illegal UID", ":5: Illegal GID"]) {
            assert!(line.contains(words), "{line}");
        }
    }
}

#[test]
fn what_the_user_could_not_write_is_told_with_the_command_that_mends_it() {
    let site = Site::new();
    fs::create_dir(site.path("logs")).unwrap();
    let log = site.path("logs/log");
    site.write_ini(&format!("setuid = nobody\nsetgid = nogroup\noutput = {}\n{PLAIN}", log.display()));
    let command = format!("`chown nobody:nogroup {}`", site.path("logs").display());
    let check = site.run(&["check"]);
    assert_eq!(check.status.code(), Some(0));
    assert!(errors(&check)[0].contains(&command), "{:?}", errors(&check));
    if is_root("what_the_user_could_not_write") {
        let output = site.run(&["run"]);
        assert_eq!(output.status.code(), Some(1));
        let said = errors(&output);
        assert!(said.last().unwrap().contains(&command) && said.last().unwrap().contains(":5: "), "{said:?}");
        assert!(!log.exists());
    }
}

#[test]
fn launchers_do_not_go_into_a_jail() {
    let site = Site::new();
    let drop = site.path("drop");
    fs::create_dir(&drop).unwrap();
    site.write_ini(&format!(
        "chroot = {}\n[l]\nlauncher = directory\nsource = {}\ndeliver = COLD\n",
        site.dir.path().display(),
        drop.display()
    ));
    let lines = errors(&site.run(&["check"]));
    assert!(lines.len() == 1 && lines[0].contains(":3: chroot: launchers need"), "{lines:?}");
}

// ---- under stunnel's name -------------------------------------------------------------------------------------------

#[test]
fn mistakes_have_stunnels_form_whatever_the_locale() {
    let site = Site::new();
    let file = site.path("stunnel.conf").display().to_string();
    let text = "[s]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\nvreify = 2\n[empty]\nclient = yes\n";
    let output = stunnel(&site, &format!("{FOREGROUND}{text}")).output().unwrap();
    let lines = errors(&output);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(lines[0].starts_with("[.] stunnel 5."), "{lines:#?}");
    let unknown = format!("[!] {file}:8: \"vreify = 2\": Specified option name is not valid here");
    assert!(lines.iter().any(|line| line.starts_with(&unknown)), "{lines:#?}");
    let ends = "[!] Service [empty]: Each service must define two endpoints";
    assert!(lines.iter().any(|line| line.starts_with(ends)), "{lines:#?}");
    assert_eq!(lines.last().unwrap(), "[!] Configuration failed");

    let output = stunnel(&site, "setuid = no-such-user\n").output().unwrap();
    let lines = errors(&output);
    let illegal = format!("[!] {file}:1: \"setuid = no-such-user\": Illegal UID");
    assert!(lines.iter().any(|line| line.starts_with(&illegal)), "{lines:#?}");

    let mut missing = Command::new(env!("CARGO_BIN_EXE_pertuis"));
    let lines = errors(&missing.arg0("stunnel").arg("--help").output().unwrap());
    assert!(lines.contains(&"[!] Invalid configuration file name \"--help\"".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"[!] realpath: No such file or directory (2)".to_owned()), "{lines:#?}");
}

#[test]
fn information_goes_to_standard_error_and_is_what_scripts_look_for() {
    for (word, expected) in [
        ("-version", vec!["stunnel 5.75 ", "Compiled/running with OpenSSL 3.0.0 "]),
        ("-help", vec!["stunnel [<filename>]"]),
        ("-sockets", vec!["Socket option defaults:"]),
        ("-options", vec!["TLS options"]),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pertuis"));
        let output = command.arg0("/usr/bin/stunnel4").arg(word).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{word}");
        let lines = errors(&output);
        for words in expected {
            assert!(lines.iter().any(|line| line.starts_with(words)), "{word}: {lines:#?}");
        }
    }
}

#[test]
fn a_service_that_no_address_can_be_bound_for_ends_the_start_under_stunnels_defaults_alone() {
    let site = Site::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let text = format!("{FOREGROUND}[s]\nclient = yes\naccept = {taken}\nconnect = 127.0.0.1:9\n");
    let output = stunnel(&site, &text).output().unwrap();
    let lines = errors(&output);
    assert_eq!(output.status.code(), Some(1));
    let reason = format!("Binding service [s] to {taken}: Address already in use");
    assert!(lines.iter().any(|line| line.starts_with('[') && line[4..].starts_with(&reason)), "{lines:#?}");
    assert!(lines.contains(&"[!] Binding service [s] failed".to_owned()), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("Accepting new connections")), "{lines:#?}");

    site.write_ini(&format!("debug = info\n[s]\nclient = yes\naccept = {taken}\nconnect = 127.0.0.1:9\n"));
    let service = Service::up(&site);
    drop(holder);
    assert_eq!(service.bound("s", 0), taken);
}

#[test]
fn one_of_two_addresses_is_enough_for_stunnel() {
    let site = Site::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let text =
        format!("{FOREGROUND}[s]\nclient = yes\naccept = {taken}\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\n");
    let service = Service::start(&mut stunnel(&site, &text));
    service.log.wait("Accepting new connections", 0);
}

#[test]
fn a_reload_says_where_it_listens_and_not_that_it_begins() {
    let site = Site::new();
    let Pairing { ini, .. } = back_to_back(&site);
    let text = format!("{FOREGROUND}{ini}");
    let service = Service::start(&mut stunnel(&site, &text));
    service.log.wait("Accepting new connections", 0);
    let front = service.bound("front", 0);
    let mut open = TcpStream::connect(front).unwrap();
    assert!(answers(&mut open, "before"));
    service.signal(Signal::HUP);
    assert_eq!(service.bound("front", 1), front);
    service.bound("back", 1);
    service.log.wait("Configuration reloaded", 0);
    assert!(answers(&mut open, "after"));
    fs::write(site.path("stunnel.conf"), format!("{text}bogus\n")).unwrap();
    service.signal(Signal::HUP);
    let failed = service.log.wait("Configuration failed", 0);
    assert!(failed.contains(" LOG3[ui]: "), "{failed}");
    service.log.wait("LOG3[ui]: Failed to reload the configuration file", 0);
    assert!(answers(&mut TcpStream::connect(front).unwrap(), "the old one runs"));
    assert_eq!(count(&service, "Accepting new connections"), 1);
    assert_eq!(count(&service, "bound to"), 4);
}

#[test]
fn a_signal_ends_connections_at_once_and_an_interrupt_is_an_error() {
    for (signal, words) in
        [(Signal::TERM, "LOG5[ui]: Terminated"), (Signal::INT, "LOG3[ui]: Received SIGINT; terminating")]
    {
        let site = Site::new();
        let Pairing { ini, .. } = back_to_back(&site);
        let mut service = Service::start(&mut stunnel(&site, &format!("{FOREGROUND}{ini}")));
        service.log.wait("Accepting new connections", 0);
        let mut open = TcpStream::connect(service.bound("front", 0)).unwrap();
        assert!(answers(&mut open, "before"));
        let asked = Instant::now();
        service.signal(signal);
        assert_eq!(service.end().code(), Some(0));
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        service.log.wait(words, 0);
        assert!(matches!(open.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
}

#[test]
fn connections_are_listed_when_they_are_asked_for() {
    let site = Site::new();
    let Pairing { ini, .. } = back_to_back(&site);
    let service = Service::start(&mut stunnel(&site, &format!("{FOREGROUND}{ini}")));
    service.log.wait("Accepting new connections", 0);
    service.signal(Signal::USR2);
    service.log.wait("LOG0[ui]: Active connections:", 0);
    service.log.wait("LOG0[ui]: Listed 0 active connection(s)", 0);
    let mut open = TcpStream::connect(service.bound("front", 0)).unwrap();
    assert!(answers(&mut open, "five+"));
    service.signal(Signal::USR2);
    let line = service.log.wait("Service [front], 5 byte(s) sent to TLS, 5 byte(s) sent to socket", 0);
    assert!(line.contains("LOG0[ui]: Active connection "), "{line}");
    service.log.wait("LOG0[ui]: Listed 2 active connection(s)", 0);
}

#[test]
fn connections_of_a_section_that_is_gone_are_listed_and_are_let_end() {
    let site = Site::new();
    let Pairing { ini, .. } = back_to_back(&site);
    let debug = "debug = info\n";
    site.write_ini(&format!("{debug}{ini}"));
    let mut service = Service::up(&site);
    let front = service.bound("front", 0);
    let mut open = TcpStream::connect(front).unwrap();
    assert!(answers(&mut open, "five+"));
    site.write_ini(&format!("{debug}{}", &ini[..ini.find("[front]").unwrap()]));
    service.signal(Signal::HUP);
    service.log.wait("Configuration reloaded", 0);
    until("the closed port", || TcpStream::connect(front).is_err().then_some(()));
    service.signal(Signal::USR2);
    service.log.wait("Service [front], 5 byte(s) sent to TLS, 5 byte(s) sent to socket", 0);
    service.log.wait("Listed 2 active connection(s)", 0);
    service.signal(Signal::TERM);
    for _ in 0..20 {
        assert!(answers(&mut open, "still there"));
    }
    assert!(service.child.try_wait().unwrap().is_none());
    drop(open);
    assert_eq!(service.end().code(), Some(0));
}

// ---- signals --------------------------------------------------------------------------------------------------------

#[test]
fn a_hangup_while_connections_drain_does_not_kill() {
    let site = Site::new();
    site.write_ini(&format!("debug = info\n{}", back_to_back(&site).ini));
    let mut service = Service::up(&site);
    let front = service.bound("front", 0);
    let mut open = TcpStream::connect(front).unwrap();
    assert!(answers(&mut open, "before"));
    service.signal(Signal::TERM);
    until("the closed port", || TcpStream::connect(front).is_err().then_some(()));
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::HUP] {
        service.signal(signal);
    }
    for _ in 0..20 {
        assert!(answers(&mut open, "still draining"));
    }
    assert!(service.child.try_wait().unwrap().is_none());
    drop(open);
    assert_eq!(service.end().code(), Some(0));
    assert_eq!(count(&service, "reload"), 0);
}

#[test]
fn a_reload_onto_a_taken_port_keeps_the_old_configuration_and_names_the_holder() {
    let site = Site::new();
    let Pairing { ini, .. } = back_to_back(&site);
    site.write_ini(&format!("debug = info\n{ini}"));
    let service = Service::up(&site);
    let front = service.bound("front", 0);
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let more = format!("[more]\nclient = yes\naccept = {taken}\nconnect = 127.0.0.1:9\n");
    site.write_ini(&format!("debug = info\n{more}{}", ini.replace("[front]", "[other]")));
    service.signal(Signal::HUP);
    let line = service.log.wait("Binding service [more]", 0);
    assert!(line.contains("pertuis.ini:6: ") && line.contains("in use"), "{line}");
    service.log.wait("Failed to reload the configuration file", 0);
    assert!(answers(&mut TcpStream::connect(front).unwrap(), "the old one"));
    drop(holder);
    service.signal(Signal::HUP);
    service.log.wait("Configuration reloaded", 0);
    assert_eq!(service.bound("more", 0), taken);
}

/// A file that cannot be read to its end stands for a share that hangs.
#[test]
fn a_reload_that_hangs_on_a_file_holds_up_neither_signals_nor_the_end() {
    let site = Site::new();
    let Pairing { ini, ca, .. } = back_to_back(&site);
    site.write_ini(&format!("debug = info\n{ini}"));
    let notices = UnixDatagram::bind(site.path("notices")).unwrap();
    notices.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = site.command(&["run"]);
    command.env("NOTIFY_SOCKET", site.path("notices")).env("WATCHDOG_USEC", "300000");
    let mut service = Service::start(&mut command);
    service.log.wait("Accepting new connections", 0);
    let front = service.bound("front", 0);
    let authority = fs::read(&ca.cert).unwrap();
    fs::remove_file(&ca.cert).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &ca.cert, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let hear = |word: &str| {
        until(word, || {
            let mut notice = [0; 1000];
            let length = notices.recv(&mut notice).unwrap();
            String::from_utf8_lossy(&notice[..length]).contains(word).then_some(())
        });
    };
    service.signal(Signal::HUP);
    hear("RELOADING=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    service.signal(Signal::HUP);
    service.log.wait("still being read", 0);
    service.signal(Signal::HUP);
    service.log.wait("still being read", 1);
    service.signal(Signal::USR2);
    service.log.wait("Listed 0 active connection(s)", 0);
    assert!(answers(&mut TcpStream::connect(front).unwrap(), "meanwhile"));
    assert_eq!(count(&service, "Configuration reloaded"), 0);
    // each of the two that remain opens it: what was asked twice is done once
    for nth in 0..2 {
        fs::write(&ca.cert, &authority).unwrap();
        service.log.wait("Configuration reloaded", nth);
    }
    service.signal(Signal::HUP);
    hear("RELOADING=1");
    let asked = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.end().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(count(&service, "Configuration reloaded"), 2);
}

#[test]
fn a_log_whose_folder_is_gone_stays_where_it_is_and_comes_back_with_the_folder() {
    let site = Site::new();
    fs::create_dir(site.path("logs")).unwrap();
    let log = site.path("logs/log");
    site.write_ini(&format!("output = {}\nlog = overwrite\ndebug = info\n{PLAIN}", log.display()));
    let service = Service::up(&site);
    fs::remove_dir_all(site.path("logs")).unwrap();
    service.signal(Signal::USR1);
    service.log.wait("Cannot open log file", 0);
    fs::create_dir(site.path("logs")).unwrap();
    service.signal(Signal::USR1);
    until("the line of the reopened log", || {
        fs::read_to_string(&log).is_ok_and(|lines| lines.contains("Log file reopened")).then_some(())
    });
}

// ---- certificates ---------------------------------------------------------------------------------------------------

/// A certificate that has `days` days left.
fn ending(ca: &TestCa, days: i64) -> Pair {
    let mut params = host_params("127.0.0.1");
    let day = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = day.checked_add(jiff::Span::new().days(days + 1)).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs());
    ca.issue(&params)
}

#[test]
fn a_certificate_that_ends_soon_is_told_of_at_start_at_reload_and_by_check() {
    let site = Site::new();
    let Pairing { ini, pair, ca } = back_to_back(&site);
    let soon = ending(&ca, 10);
    let ini = ini.replace(&pair.cert.display().to_string(), &soon.cert.display().to_string());
    let ini = ini.replace(&pair.key.display().to_string(), &soon.key.display().to_string());
    site.write_ini(&format!("debug = info\n{ini}"));
    let check = site.run(&["check"]);
    assert_eq!(check.status.code(), Some(0));
    let said = errors(&check);
    assert!(
        said.len() == 1 && said[0].contains("pertuis.ini:7: ") && said[0].contains("expires in 10 day"),
        "{said:?}"
    );
    let service = Service::up(&site);
    let line = service.log.wait("expires in 10 day(s)", 0);
    assert!(line.contains("LOG4[ui]: Service [back]: its certificate"), "{line}");
    service.signal(Signal::HUP);
    service.log.wait("expires in 10 day(s)", 1);
}

#[test]
fn a_certificate_that_changes_on_disk_is_used_and_a_broken_one_is_told_of_once() {
    let site = Site::new();
    let Pairing { ini, pair, ca } = back_to_back(&site);
    // as certbot: a link that is swapped
    let live = site.path("live.pem");
    symlink(&pair.cert, &live).unwrap();
    let ini = ini.replace(&pair.cert.display().to_string(), &live.display().to_string());
    site.write_ini(&format!("debug = info\nwatch_certificates = yes\n{ini}"));
    let service = Service::up(&site);
    let front = service.bound("front", 0);
    let mut open = TcpStream::connect(front).unwrap();
    assert!(answers(&mut open, "before"));
    let swap = |to: &Path| {
        symlink(to, site.path("next")).unwrap();
        pertuis::delivery::publish::replace(&site.path("next"), &live).unwrap();
    };
    fs::write(site.path("broken.pem"), "-----BEGIN CERTIFICATE-----\nbroken\n").unwrap();
    swap(&site.path("broken.pem"));
    let refused = service.log.wait("stays in use until this changes again", 0);
    assert!(refused.contains("LOG3") && refused.contains("pertuis.ini:8: "), "{refused}");
    assert!(answers(&mut TcpStream::connect(front).unwrap(), "with the old one"));
    // one that the front refuses, so that it shows which one is in use
    let other = ca.renewed(&pair, "other.test");
    swap(&other.cert);
    service.log.wait("changed and was read again", 0);
    assert!(!answers(&mut TcpStream::connect(front).unwrap(), "refused"));
    swap(&ca.renewed(&pair, "127.0.0.1").cert);
    service.log.wait("changed and was read again", 1);
    assert!(answers(&mut TcpStream::connect(front).unwrap(), "renewed"));
    assert!(answers(&mut open, "open ones live on"));
    assert_eq!(count(&service, "stays in use until this changes again"), 1);
}

// ---- one connection, and how it is named ----------------------------------------------------------------------------

#[test]
fn inetd_ends_with_0_whatever_becomes_of_the_connection_and_with_1_for_a_mistake() {
    let site = Site::new();
    let nobody = free_port();
    let head = "foreground = yes\nsyslog = no\nclient = yes\n";
    let (_near, far) = UnixStream::pair().unwrap();
    let mut command = stunnel(&site, &format!("{head}connect = 127.0.0.1:{nobody}\n"));
    let output = command.stdin(OwnedFd::from(far.try_clone().unwrap())).stdout(OwnedFd::from(far)).output().unwrap();
    let lines = errors(&output);
    assert_eq!(output.status.code(), Some(0), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("LOG3")), "{lines:#?}");

    let output = stunnel(&site, &format!("{head}connect = 127.0.0.1:{nobody}\nvreify = 2\n")).output().unwrap();
    let lines = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:#?}");
    assert_eq!(lines.last().unwrap(), "[!] Configuration failed");
}

#[test]
fn a_log_that_would_go_into_the_connection_is_not_written() {
    let site = Site::new();
    let nobody = free_port();
    let ini = format!("foreground = yes\nsyslog = no\ndebug = debug\nclient = yes\nconnect = 127.0.0.1:{nobody}\n");
    let (mut near, far) = UnixStream::pair().unwrap();
    let stream = || OwnedFd::from(far.try_clone().unwrap());
    let status = stunnel(&site, &ini).stdin(stream()).stdout(stream()).stderr(stream()).status().unwrap();
    drop(far);
    assert_eq!(status.code(), Some(0));
    let mut heard = Vec::new();
    near.read_to_end(&mut heard).unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), "");
}

#[test]
fn connections_are_named_by_number_or_by_a_name_that_never_returns_and_json_says_whose_they_are() {
    let site = Site::new();
    let Pairing { ini, .. } = back_to_back(&site);
    site.write_ini(&format!("debug = info\nlog_format = json\nlogId = unique\n{ini}"));
    let service = Service::start(&mut site.command(&["run"]));
    let line = service.log.wait("Service [front] bound to ", 0);
    let bound: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&bound["event"], &bound["service"]), (&"tunnel_listening".into(), &"front".into()));
    let front: SocketAddr = bound["message"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    let mut names = Vec::new();
    for nth in 0..2 {
        service.log.wait("\"event\":\"started\"", 0);
        assert!(answers(&mut TcpStream::connect(front).unwrap(), "hello"));
        let line = service.log.wait("Service [front] accepted connection from", nth);
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&event["service"], event["event"].is_string()), (&"front".into(), true), "{line}");
        names.push(event["connection"].as_str().unwrap_or_else(|| panic!("{line}")).to_owned());
    }
    assert!(names[0] != names[1] && names.iter().all(|name| name.len() == 22), "{names:?}");
}

#[test]
fn a_daemon_in_a_jail_starts_and_ends() {
    if !is_root("a_daemon_in_a_jail") {
        return;
    }
    let site = Site::new();
    let jail = site.path("jail");
    for folder in ["run", "etc"] {
        fs::create_dir_all(jail.join(folder)).unwrap();
        open_to_all(&jail.join(folder));
    }
    let text = format!(
        "syslog = no\nchroot = {}\nsetuid = nobody\nsetgid = nogroup\npid = /run/pid\noutput = /run/log\n{PLAIN}",
        jail.display()
    );
    let output = stunnel(&site, &text).output().unwrap();
    assert_eq!((output.status.code(), errors(&output)), (Some(0), Vec::new()));
    let number: i32 = fs::read_to_string(jail.join("run/pid")).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(number).unwrap(), Signal::TERM).unwrap();
    until("the end of the daemon", || (!jail.join("run/pid").exists()).then_some(()));
    assert!(fs::read_to_string(jail.join("run/log")).unwrap().contains("LOG5[ui]: Terminated"));
}

#[test]
fn a_process_that_is_not_root_cannot_become_somebody_else() {
    if !is_root("a_process_that_is_not_root") {
        return;
    }
    let site = Site::new();
    open_to_all(site.dir.path());
    site.write_ini(&format!("setuid = daemon\n{PLAIN}"));
    open_to_all(&site.path("pertuis.ini"));
    // a copy that this user may run: the build folder may be closed to it
    let binary = site.path("pertuis");
    fs::copy(env!("CARGO_BIN_EXE_pertuis"), &binary).unwrap();
    open_to_all(&binary);
    let mut command = Command::new(&binary);
    let output = command.arg("-c").arg(site.path("pertuis.ini")).arg("run").uid(65534).gid(65534).output().unwrap();
    let lines = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:#?}");
    assert!(lines.last().unwrap().contains(":3: setuid: only root may do this"), "{lines:#?}");
}
