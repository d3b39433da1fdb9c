//! The real binary as a service: what it does with a wrong file, with signals, with a taken port.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::ca::TestCa;
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

fn on(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn is_closed(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

/// A tunnel into a tunnel: plain → TLS → plain, with an echo at the end.
fn back_to_back(site: &Site) -> String {
    let ca = TestCa::new(site.dir.path());
    let pair = ca.good("127.0.0.1");
    let (secure, echo) = (free_port(), echo());
    let (cert, key, ca) = (pair.cert.display(), pair.key.display(), ca.cert.display());
    format!(
        "debug = info\n[back]\naccept = 127.0.0.1:{secure}\nconnect = {echo}\ncert = {cert}\nkey = {key}\n\
         [front]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:{secure}\nCAfile = {ca}\n"
    )
}

fn errors(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr).lines().map(ToOwned::to_owned).collect()
}

/// Adds lines to the site's ini.
fn append(site: &Site, text: &str) {
    let ini = fs::read_to_string(site.path("pertuis.ini")).unwrap();
    fs::write(site.path("pertuis.ini"), ini + text).unwrap();
}

/// A directory launcher from `drop` into the site's delivery directory.
fn scanner(site: &Site) -> String {
    let _ = fs::create_dir(site.path("drop"));
    let drop = site.path("drop");
    format!("[scanner]\nlauncher = directory\nsource = {}\ndeliver = COLD\nsettle = 0\ninterval = 1s\n", drop.display())
}

// ---- check ----------------------------------------------------------------------------------------------------------

#[test]
fn five_mistakes_give_five_lines_and_nothing_is_bound_or_fetched() {
    let site = Site::new();
    let port = free_port();
    let tunnel = format!("[t]\nclient = yes\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:9\n");
    let launcher = scanner(&site);
    fs::write(site.path("drop/a.pdf"), "a").unwrap();
    // one in each of five ways: near miss, wrong word, no number, no `=`, a tunnel that leads nowhere
    site.write_ini(&format!(
        "{tunnel}vreify = 2\ndelay = perhaps\nTIMEOUTbusy = long\n{launcher}enabled\n[nowhere]\nclient = yes\naccept = 1\n"
    ));
    let ini = site.path("pertuis.ini").display().to_string();
    for command in ["check", "run"] {
        let output = site.run(&[command]);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{command}");
        let lines = errors(&output);
        assert_eq!(lines.len(), 5, "{command}: {lines:#?}");
        for line in &lines {
            let number = line.strip_prefix(&format!("{ini}:")).and_then(|rest| rest.split(':').next());
            assert!(number.is_some_and(|number| number.parse::<usize>().is_ok()), "{line}");
        }
        assert!(lines[0].contains("verify"), "{}", lines[0]);
    }
    assert!(is_closed(SocketAddr::from(([127, 0, 0, 1], port))));
    assert!(site.path("drop/a.pdf").exists() && site.delivered().is_empty() && !site.path("state").exists());
}

#[test]
fn what_follows_from_a_misspelt_option_is_no_mistake_of_its_own() {
    let site = Site::new();
    site.write_ini(
        "[t]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\nverifyPeer = yes\nCAfle = /nowhere/ca.pem\n\
         [s]\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\ncert /nowhere/cert.pem\n\
         [l]\nlauncher = directory\nsource = /tmp\nlivrerr = COLD\n\
         [m]\nlauncher = directory\nsorce = /tmp\ndeliver = COLD\n",
    );
    let mut check = site.command(&["check"]);
    let lines = errors(&check.current_dir(site.dir.path()).output().unwrap());
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

#[test]
fn mistakes_of_the_text_and_files_that_are_not_there_come_in_one_go() {
    let site = Site::new();
    let launcher = scanner(&site);
    site.write_ini(&format!(
        "[front]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\nCAfile = /nowhere/ca.pem\nvreify = 2\n\
         [back]\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\ncert = /nowhere/cert.pem\n\
         {launcher}staging = /dev/shm\nsettle = long\n\
         [mails]\nlauncher = imap\nserver = localhost\naccount = a\npassword = b\ndeliver = COLD\n\
         CAfile = /nowhere/other.pem\n"
    ));
    for command in ["check", "run", "fetch"] {
        let lines = errors(&site.run(&[command]));
        let ini = format!("{}:", site.path("pertuis.ini").display());
        let places: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix(&ini)?.split(':').next()).collect();
        assert_eq!(places, ["7", "8", "12", "19", "20", "27"], "{command}: {lines:#?}");
    }
}

#[test]
fn what_is_put_away_must_not_arrive_where_documents_are_delivered() {
    let site = Site::new();
    fs::create_dir(site.path("other")).unwrap();
    let other = site.path("other").display().to_string();
    let other = format!("[other]\nlauncher = directory\nsource = {other}\ndeliver = {other}/wait\n");
    for (option, to) in [("after", "cold"), ("after", "cold/../cold/done"), ("after_empty", "other/wait/done")] {
        let launcher = scanner(&site);
        site.write_ini(&format!("{launcher}{option} = move {}\n{other}", site.path(to).display()));
        let output = site.run(&["check"]);
        let lines = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{option} {to}: {lines:#?}");
        assert!(lines.len() == 1 && lines[0].contains(&format!(":9: {option}: ")), "{option} {to}: {lines:#?}");
    }
}

#[test]
fn a_right_file_gives_one_line_that_is_never_translated() {
    let site = Site::new();
    site.write_ini(&format!("{}{}", back_to_back(&site), scanner(&site)));
    append(&site, "langue = fr\n");
    let ini = fs::read_to_string(site.path("pertuis.ini")).unwrap().replace("langue = fr\n", "");
    fs::write(site.path("pertuis.ini"), ini.replace("lang = en", "lang = fr")).unwrap();
    let output = site.run(&["check"]);
    let expected = format!("{}: ok, 2 tunnels, 1 launchers\n", site.path("pertuis.ini").display());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{:?}", errors(&output));
    assert_eq!(output.status.code(), Some(0));
    let explained = site.run(&["check", "--explain"]);
    let text = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(text.starts_with(&expected) && text.contains("[scanner]") && text.contains("; par défaut"), "{text}");
}

#[test]
fn what_can_never_work_is_found_before_anything_starts() {
    let site = Site::new();
    let launcher = scanner(&site);
    // the staging folder is on another volume, which no later mount mends
    site.write_ini(&format!("{launcher}staging = /dev/shm\n"));
    for command in ["run", "fetch"] {
        let output = site.run(&[command]);
        let lines = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{command}: {lines:#?}");
        assert!(lines.len() == 1 && lines[0].contains(":9: staging: ") && lines[0].contains("volume"), "{lines:#?}");
        assert!(!site.path("state").exists(), "{command}");
    }
}

#[test]
fn a_directory_that_is_not_there_yet_holds_up_only_its_own_launcher() {
    let site = Site::new();
    let launcher = scanner(&site);
    site.write_ini(&format!(
        "{launcher}[other]\nlauncher = directory\nsource = {}\ndeliver = {}\ninterval = 1s\nsettle = 0\n",
        site.path("share").display(),
        site.path("share cold").display()
    ));
    fs::write(site.path("drop/a.pdf"), "a").unwrap();
    let output = site.run(&["check"]);
    let lines = errors(&output);
    assert_eq!((output.status.code(), lines.len()), (Some(0), 2), "{lines:#?}");
    for (line, words) in lines.iter().zip([":11: source: ", ":12: deliver: "]) {
        assert!(line.contains(words), "{line}");
    }
    let service = Service::start(&mut site.command(&["run"]));
    service.log.wait("not there", 0);
    until("the delivery of the other launcher", || site.cold().join("a.pdf").exists().then_some(()));
    for folder in ["share", "share cold"] {
        fs::create_dir(site.path(folder)).unwrap();
    }
    fs::write(site.path("share/b.pdf"), "b").unwrap();
    until("the delivery once it is mounted", || site.path("share cold/b.pdf").exists().then_some(()));
}

#[test]
fn a_log_file_that_cannot_be_is_found_before_anything_starts() {
    let site = Site::new();
    let tunnel = "[t]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\n";
    for output in [site.path("missing").join("log"), site.cold()] {
        site.write_ini(&format!("output = {}\n{tunnel}", output.display()));
        for command in ["check", "run"] {
            let found = site.run(&[command]);
            assert_eq!(found.status.code(), Some(1), "{command}");
            let said = errors(&found);
            assert!(said.len() == 1 && said[0].contains("pertuis.ini:3: output: "), "{said:?}");
        }
    }
}

#[test]
fn a_warning_about_a_tunnel_names_its_line() {
    let site = Site::new();
    site.write_ini("[t]\nclient = yes\nconnect = 127.0.0.1:9\nverify = 0\naccept = 0\n");
    let output = site.run(&["check"]);
    assert_eq!(output.status.code(), Some(0));
    let mut said = errors(&output);
    said.sort();
    // once for each, no matter who noticed
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("pertuis.ini:6: ") && said[0].contains("not verified"), "{said:?}");
    assert!(said[1].contains("pertuis.ini:7: ") && said[1].contains("plain text"), "{said:?}");
}

#[test]
fn a_missing_certificate_is_told_at_its_own_line() {
    let site = Site::new();
    site.write_ini("[t]\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\ncert = no-such.pem\n");
    let lines = errors(&site.run(&["check"]));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with(&format!("{}:6: ", site.path("pertuis.ini").display())), "{}", lines[0]);
}

// ---- signals --------------------------------------------------------------------------------------------------------

#[test]
fn a_reload_with_a_broken_file_keeps_the_old_configuration() {
    let site = Site::new();
    site.write_ini(&back_to_back(&site));
    let service = Service::up(&site);
    let front = service.bound("front", 0);
    let mut open = TcpStream::connect(front).unwrap();
    assert!(answers(&mut open, "before"));
    append(&site, "vreify = 2\n[empty]\n");
    service.signal(Signal::HUP);
    service.log.wait("Configuration failed", 0);
    service.log.wait("vreify", 0);
    assert!(answers(&mut open, "the open one lives on"));
    assert!(answers(&mut TcpStream::connect(front).unwrap(), "and new ones come"));
}

#[test]
fn a_reload_starts_what_is_new_stops_what_is_gone_and_leaves_the_rest_alone() {
    let site = Site::new();
    let pair = back_to_back(&site);
    site.write_ini(&format!("{pair}[gone]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\n"));
    let service = Service::up(&site);
    let (front, gone) = (service.bound("front", 0), service.bound("gone", 0));
    let mut open = TcpStream::connect(front).unwrap();
    assert!(answers(&mut open, "before"));
    site.write_ini(&format!(
        "{pair}[new]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\n{}",
        scanner(&site)
    ));
    fs::write(site.path("drop/a.pdf"), "a").unwrap();
    service.signal(Signal::HUP);
    service.log.wait("Configuration reloaded", 0);
    service.bound("new", 0);
    until("the port of the gone tunnel", || is_closed(gone).then_some(()));
    assert!(answers(&mut open, "still here"));
    assert!(answers(&mut TcpStream::connect(front).unwrap(), "same port"));
    until("the new launcher's delivery", || site.cold().join("a.pdf").exists().then_some(()));
}

#[test]
fn ports_that_move_between_sections_at_a_reload_are_never_found_taken() {
    let site = Site::new();
    let (one, two) = (free_port(), free_port());
    let section =
        |name: &str, port| format!("[{name}]\nclient = yes\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:9\n");
    let write = |sections: String| site.write_ini(&format!("debug = info\n{sections}"));
    write(section("a", one) + &section("b", two));
    let service = Service::up(&site);
    for turn in 0..12 {
        // they change places, and a third one comes and goes with a name of its own
        let (here, there) = if turn % 2 == 0 { (two, one) } else { (one, two) };
        let first = if turn % 3 == 0 { "c" } else { "a" };
        write(section(first, here) + &section("b", there));
        service.signal(Signal::HUP);
        service.log.wait("Configuration reloaded", turn);
        until("both ports", || (!is_closed(on(one)) && !is_closed(on(two))).then_some(()));
    }
    let log = service.log.all();
    assert!(!log.contains("Binding service"), "{log}");
}

#[test]
fn a_broken_certificate_keeps_the_old_one_and_a_new_one_is_read() {
    let site = Site::new();
    let ini = back_to_back(&site);
    site.write_ini(&ini);
    let service = Service::up(&site);
    let front = service.bound("front", 0);
    let cert = ini.lines().find_map(|line| line.strip_prefix("cert = ")).unwrap();
    let good = fs::read(cert).unwrap();
    fs::write(cert, "-----BEGIN CERTIFICATE-----\nbroken\n").unwrap();
    service.signal(Signal::HUP);
    service.log.wait("Configuration failed", 0);
    assert!(answers(&mut TcpStream::connect(front).unwrap(), "old certificate"));
    fs::write(cert, good).unwrap();
    service.signal(Signal::HUP);
    service.log.wait("Configuration reloaded", 0);
    assert!(answers(&mut TcpStream::connect(front).unwrap(), "same port, read anew"));
}

#[test]
fn sigterm_ends_with_0_and_takes_the_pid_file_along() {
    let site = Site::new();
    let pid = site.path("pid");
    site.write_ini(&format!("pid = {}\n{}{}", pid.display(), back_to_back(&site), scanner(&site)));
    let mut service = Service::up(&site);
    assert_eq!(fs::read_to_string(&pid).unwrap().trim(), service.child.id().to_string());
    let front = service.bound("front", 0);
    service.signal(Signal::TERM);
    assert_eq!(service.end().code(), Some(0));
    assert!(!pid.exists() && is_closed(front));
    service.log.wait("Terminated", 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_crash_would_write_no_passwords_to_disk() {
    let site = Site::new();
    site.write_ini(&format!("{}{}", back_to_back(&site), scanner(&site)));
    let service = Service::up(&site);
    let limits = fs::read_to_string(format!("/proc/{}/limits", service.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(line.split_whitespace().skip(4).take(2).eq(["0", "0"]), "{line}");
}

#[test]
fn connections_may_finish_after_sigterm_and_a_second_signal_cuts_them() {
    let site = Site::new();
    site.write_ini(&back_to_back(&site));
    let mut service = Service::up(&site);
    let front = service.bound("front", 0);
    let mut open = TcpStream::connect(front).unwrap();
    assert!(answers(&mut open, "before"));
    service.signal(Signal::TERM);
    until("the closed port", || is_closed(front).then_some(()));
    assert!(answers(&mut open, "after the first signal"));
    let asked = Instant::now();
    service.signal(Signal::TERM);
    assert_eq!(service.end().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(6), "waited for the drain: {:?}", asked.elapsed());
}

#[test]
fn a_moved_log_file_is_opened_again() {
    let site = Site::new();
    let (log, moved) = (site.path("log"), site.path("log.1"));
    site.write_ini(&format!("output = {}\n{}", log.display(), back_to_back(&site)));
    let service = Service::up(&site);
    let said = |path: &Path, words: &str| fs::read_to_string(path).is_ok_and(|lines| lines.contains(words));
    // standard error hears of a line first
    until("the first lines", || said(&log, "Accepting new connections").then_some(()));
    fs::hard_link(&log, &moved).unwrap();
    fs::remove_file(&log).unwrap();
    service.signal(Signal::USR1);
    until("the line of the reopened log", || said(&log, "Log file reopened").then_some(()));
    assert!(!said(&log, "Accepting") && !said(&moved, "reopened"));
}

// ---- start ----------------------------------------------------------------------------------------------------------

#[test]
fn a_taken_port_is_named_and_tried_again() {
    let site = Site::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let taken = format!("[taken]\nclient = yes\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:9\n");
    site.write_ini(&format!("{}{taken}", back_to_back(&site)));
    let service = Service::up(&site);
    let line = service.log.wait("Binding service [taken]", 0);
    assert!(line.contains(&port.to_string()) && line.contains(&format!("pid {}", std::process::id())), "{line}");
    assert!(answers(&mut TcpStream::connect(service.bound("front", 0)).unwrap(), "nobody else is stopped"));
    drop(holder);
    assert_eq!(service.bound("taken", 0).port(), port);
}

#[test]
fn a_daemon_answers_0_once_it_listens_and_errors_reach_the_terminal() {
    let site = Site::new();
    let (pid, log) = (site.path("pid"), site.path("log"));
    let port = free_port();
    let head = format!("foreground = no\npid = {}\noutput = {}\n", pid.display(), log.display());
    let tunnel = format!("[t]\nclient = yes\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:9\n");
    site.write_ini(&format!("{head}{tunnel}"));
    // the pipe of standard error would stay open if the daemon kept it
    let output = site.run(&["run"]);
    assert_eq!((output.status.code(), errors(&output)), (Some(0), Vec::new()));
    assert!(!is_closed(SocketAddr::from(([127, 0, 0, 1], port))));
    let number: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();

    let second = site.run(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(errors(&second)[0].contains(&format!("pid {number}")), "{:?}", errors(&second));

    kill_process(Pid::from_raw(number).unwrap(), Signal::TERM).unwrap();
    until("the end of the daemon", || (!pid.exists()).then_some(()));
    until("its last line", || fs::read_to_string(&log).unwrap().contains("stopped").then_some(()));

    site.write_ini(&format!("foreground = no\noutput = relative.log\n{tunnel}"));
    let output = site.run(&["run"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output)[0].contains("full path"), "{:?}", errors(&output));
    assert!(!Path::new("relative.log").exists());
}

#[test]
fn a_daemon_may_log_to_standard_output() {
    let site = Site::new();
    let (pid, log) = (site.path("pid"), site.path("stdout"));
    let head = format!("foreground = no\npid = {}\noutput = /dev/stdout\n", pid.display());
    site.write_ini(&format!("{head}[t]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\n"));
    let stdout = fs::File::create(&log).unwrap();
    // by its status alone: who reads a pipe to its end would wait for the daemon
    let mut first = site.command(&["run"]).stdout(stdout).spawn().unwrap();
    assert_eq!(until("the first process", || first.try_wait().unwrap()).code(), Some(0));
    let number: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(number).unwrap(), Signal::TERM).unwrap();
    until("its last line", || fs::read_to_string(&log).unwrap().contains("stopped").then_some(()));
}

#[test]
fn a_daemon_may_be_given_its_file_by_a_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let tunnel = "[t]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\n";
    let called = |ini: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pertuis"));
        command.arg0("stunnel").args(["-fd", "0"]).env("LC_ALL", "C").stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(ini.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = called(&format!("syslog = no\npid = {}\n{tunnel}", pid.display()));
    assert_eq!((output.status.code(), errors(&output)), (Some(0), Vec::new()));
    let number: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_raw(number).unwrap(), Signal::TERM).unwrap();
    until("the end of the daemon", || (!pid.exists()).then_some(()));

    let output = called(&format!("syslog = no\npid = /nonexistent/pid\n{tunnel}"));
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    let [.., mistake, end] = said.as_slice() else { panic!("{said:?}") };
    assert!(mistake.starts_with("[!] /dev/fd/0:2: \"pid = /nonexistent/pid\": pid: cannot take"), "{said:?}");
    assert_eq!(end, "[!] Configuration failed");
}

#[test]
fn under_its_name_stunnels_arguments_and_defaults_count() {
    let site = Site::new();
    site.write_ini(
        "foreground = yes\nsyslog = no\ndebug = info\n[t]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\n",
    );
    let ini = fs::read_to_string(site.path("pertuis.ini")).unwrap();
    let binary = env!("CARGO_BIN_EXE_pertuis");
    let called = |arguments: &[&str]| {
        let mut command = Command::new(binary);
        command.arg0("/usr/bin/stunnel4").args(arguments).env("LC_ALL", "C").stdin(Stdio::piped());
        command
    };
    let mut service = Service::start(&mut called(&["-fd", "0"]));
    service.child.stdin.take().unwrap().write_all(ini.as_bytes()).unwrap();
    service.log.wait("Accepting new connections", 0);
    service.signal(Signal::TERM);
    assert_eq!(service.end().code(), Some(0));

    let output = called(&["-version"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    assert!(errors(&output)[0].starts_with("stunnel 5"), "{:?}", errors(&output));
    let output = called(&["--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).last().unwrap().contains("Configuration failed"), "{:?}", errors(&output));
}

#[test]
fn a_file_alone_is_run() {
    let site = Site::new();
    site.write_ini(&format!("{}{}", back_to_back(&site), scanner(&site)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_pertuis"));
    let mut service = Service::start(command.arg(site.path("pertuis.ini")));
    service.log.wait("Accepting new connections", 0);
    fs::write(site.path("drop/a.pdf"), "a").unwrap();
    until("the delivery", || site.cold().join("a.pdf").exists().then_some(()));
    service.signal(Signal::INT);
    assert_eq!(service.end().code(), Some(0));
    service.log.wait("SIGINT", 0);
}

#[test]
fn the_log_can_be_json() {
    let site = Site::new();
    site.write_ini(&format!("log_format = json\n{}", back_to_back(&site)));
    let service = Service::up(&site);
    let line = service.log.wait("tunnel_listening", 0);
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    for key in ["time", "level", "event", "service", "message"] {
        assert!(object[key].is_string(), "{key}: {line}");
    }
}

#[test]
fn a_warning_of_the_start_stands_in_the_log() {
    let site = Site::new();
    site.write_ini("debug = info\n[t]\nclient = yes\naccept = 0\nconnect = 127.0.0.1:9\n");
    Service::up(&site).log.wait("takes plain text", 0);
}

#[test]
fn the_service_manager_hears_of_start_reload_and_stop() {
    let site = Site::new();
    site.write_ini(&back_to_back(&site));
    let manager = UnixDatagram::bind(site.path("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let any = || {
        let mut buffer = [0; 400];
        let size = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..size].to_vec()).unwrap()
    };
    let alive = |word: &String| word.starts_with("WATCHDOG=1\n");
    let hear = || std::iter::repeat_with(any).find(|word| !alive(word)).unwrap();
    let mut command = site.command(&["run"]);
    let service = Service::start(command.env("NOTIFY_SOCKET", site.path("notify")).env("WATCHDOG_USEC", "500000"));
    assert_eq!(hear(), "READY=1\n");
    let words: Vec<String> = std::iter::repeat_with(any).take(2).collect();
    assert!(words.iter().all(alive) && words[0].contains("STATUS=2 tunnels, 0 connections, 0 launchers"), "{words:?}");
    service.signal(Signal::HUP);
    let reloading = hear();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(hear(), "READY=1\n");
    service.signal(Signal::TERM);
    assert_eq!(hear(), "STOPPING=1\n");
}

// ---- demo -----------------------------------------------------------------------------------------------------------

#[test]
fn the_demonstration_ends_well_in_both_languages_and_leaves_nothing() {
    for (locale, words) in [("C", "Everything arrived"), ("fr_FR.UTF-8", "Tout est arrivé")] {
        let site = Site::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pertuis"));
        let output =
            command.arg("demo").env("LC_ALL", locale).env("TMPDIR", site.dir.path()).stdin(Stdio::null()).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!((output.status.code(), errors(&output)), (Some(0), Vec::new()), "{text}");
        assert!(text.contains(words) && text.contains("annexe (2).pdf"), "{text}");
        let left = fs::read_dir(site.dir.path()).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() != "cold");
        assert_eq!(left.count(), 0);
    }
}

#[test]
fn a_kept_demonstration_leaves_an_ini_that_loads() {
    let site = Site::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pertuis"));
    command.args(["demo", "--keep"]).env("LC_ALL", "C").env("TMPDIR", site.dir.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ini = text.split("pertuis -c ").nth(1).unwrap().split(" check").next().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pertuis")).args(["-c", ini, "check"]).output().unwrap();
    assert_eq!((output.status.code(), errors(&output)), (Some(0), Vec::new()));
}
