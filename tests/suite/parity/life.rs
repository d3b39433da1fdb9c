//! Rows about the process: foreground and background, pid file and log file, signals, who it runs as.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use rustix::process::Signal;

use super::tunnels::{anyone, client, see_talk};
use super::{Gap, Row};
use crate::support::peers::{Conn, Ending, PATIENCE};
use crate::support::service::until;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "a daemon leaves the foreground, writes its pid and its log, and takes the pid file away",
        config: "foreground = no\nsyslog = no\ndebug = info\npid = {dir}/pid\noutput = {dir}/log\n\
                 [s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let target = b.target("far");
            b.start();
            let code = b.exit();
            b.see("exit code of the parent", code);
            b.follow_pid_file("pid");
            let mut near = b.connect("near");
            let mut far = target.accept().accept_tls(&anyone()).unwrap();
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see("far end", far.ends_ours());
            b.wait_log("Connection closed");
            b.signal(Signal::TERM);
            b.wait_closed("near");
            let path = b.path("pid");
            until("the pid file to go", || (!path.exists()).then_some(()));
            b.see("standard error", b.stderr());
        },
        gaps: &[],
    },
    Row {
        name: "foreground = quiet says nothing on standard error",
        config: "foreground = quiet\nsyslog = no\npid = {dir}/pid\noutput = {dir}/log\ndebug = info\n\
                 [s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            let (written, own) = (b.read("pid").unwrap_or_default(), b.pid().as_raw_nonzero().to_string());
            b.see("pid file", written.trim() == own);
            b.see("standard error", b.stderr());
            near.finish();
            b.see("far end", far.ends_ours());
            b.wait_log("Connection closed");
            let code = b.stop();
            b.see("exit code", code);
            b.see("pid file afterwards", b.path("pid").exists());
        },
        gaps: &[],
    },
    Row {
        name: "the syslog is written to by default, whether it is there or not",
        config: "foreground = yes\nservice = mails\npid =\ndebug = daemon.info\nsyslog = yes\n\
                 [s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "TERM ends the program and what is open",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            let began = Instant::now();
            b.signal(Signal::TERM);
            b.see("near end", format!("{:?}", near.ending(PATIENCE).1));
            b.see("far end", format!("{:?}", far.ending(PATIENCE).1));
            let code = b.exit();
            b.see_time("took", began, 0..1500);
            b.see("exit code", code);
        },
        gaps: &[
            Gap { what: "near end", lines: "", why: CUT_OFF },
            Gap { what: "log", lines: "Connection ", why: "each connection that is cut is told" },
        ],
    },
    Row {
        name: "INT ends the program as TERM does",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let _target = b.target("far");
            b.start();
            b.signal(Signal::INT);
            let code = b.exit();
            b.see("exit code", code);
        },
        gaps: &[],
    },
    Row {
        name: "HUP reads the file again and leaves open connections alone",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            let other = b.target("elsewhere");
            b.rewrite("{head}[s]\nclient = yes\naccept = {newer}\nconnect = {elsewhere}\n");
            b.signal(Signal::HUP);
            b.wait_open("newer");
            b.wait_closed("near");
            see_talk(b, &mut near, &mut far);
            let mut second = b.connect("newer");
            let mut there = other.accept().accept_tls(&anyone()).unwrap();
            see_talk(b, &mut second, &mut there);
            near.finish();
            b.see("far end", far.ends_ours());
            second.finish();
            b.see("elsewhere end", there.ends_ours());
        },
        gaps: &[],
    },
    Row {
        name: "HUP with a broken file changes nothing",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let target = b.target("far");
            b.start();
            b.rewrite("{head}[s]\nclient = perhaps\naccept = {newer}\nconnect = {far}\n");
            b.signal(Signal::HUP);
            b.wait_log("Configuration failed");
            b.see_open("old port", "near");
            b.see_open("new port", "newer");
            let mut near = b.connect("near");
            let mut far = target.accept().accept_tls(&anyone()).unwrap();
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see("far end", far.ends_ours());
        },
        gaps: &[Gap {
            what: "log",
            lines: "Failed to reload",
            why: "stunnel's words come first, then what is in force",
        }],
    },
    Row {
        name: "USR1 opens the log file again",
        config: "foreground = yes\nsyslog = no\npid =\ndebug = info\noutput = {dir}/log\nlog = append\n\
                 [s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            b.write("log", "what was there\n");
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see("far end", far.ends_ours());
            b.wait_log("Connection closed");
            b.see("kept", b.log().starts_with("what was there\n"));
            #[allow(clippy::disallowed_methods)] // what logrotate does
            fs::rename(b.path("log"), b.path("log.1")).unwrap();
            b.signal(Signal::USR1);
            let path = b.path("log");
            until("the new log", || path.exists().then_some(()));
            b.wait_log("Log file reopened");
            // nobody is there any more: the connection may be over before the call has returned
            let ended = Conn::to(b.at("near")).map_or(Ending::Reset, |mut near| near.ends());
            b.see("near end", ended);
        },
        gaps: &[],
    },
    Row {
        name: "log = overwrite begins anew",
        config: "foreground = yes\nsyslog = no\npid =\ndebug = info\noutput = {dir}/log\nlog = overwrite\n\
                 [s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            b.write("log", "what was there\n");
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see("far end", far.ends_ours());
            b.wait_log("Connection closed");
            b.see("kept", b.log().contains("what was there"));
        },
        gaps: &[],
    },
    Row {
        name: "USR2 lists the open connections",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            b.signal(Signal::USR2);
            b.wait_log("active connection(s)");
            near.finish();
            b.see("far end", far.ends_ours());
        },
        gaps: &[Gap {
            what: "log",
            lines: "Active connection ",
            why: "5.68 numbers connections by thread and shows bytes late",
        }],
    },
    Row {
        name: "debug = 3 leaves out what went well",
        config: "foreground = yes\nsyslog = no\npid =\ndebug = 3\n[s]\nclient = yes\naccept = {near}\nconnect = {nobody}\n",
        act: |b| {
            b.start();
            let at = b.at("near");
            drop(Conn::to(at));
            b.wait_log("LOG3[0]");
        },
        gaps: &[],
    },
    Row {
        name: "the default of debug is notice",
        config: "foreground = yes\nsyslog = no\npid =\n[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see("far end", far.ends_ours());
        },
        gaps: &[],
    },
    Row {
        name: "debug of a section counts for its connections",
        config: "foreground = yes\nsyslog = no\npid =\ndebug = info\n\
                 [quiet]\nclient = yes\naccept = {near}\nconnect = {far}\ndebug = warning\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see("far end", far.ends_ours());
        },
        gaps: &[],
    },
    Row {
        name: "logId = sequential counts the connections of the program",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nlogId = sequential\n\
                 [t]\nclient = yes\naccept = {other}\nconnect = {far}\n",
        act: |b| {
            let target = b.target("far");
            b.start();
            for name in ["near", "other", "near"] {
                let mut near = b.connect(name);
                let mut far = target.accept().accept_tls(&anyone()).unwrap();
                see_talk(b, &mut near, &mut far);
                near.finish();
                b.see("far end", far.ends_ours());
            }
        },
        gaps: &[],
    },
    Row {
        name: "logId = unique gives each connection a name",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nlogId = unique\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see("far end", far.ends_ours());
            b.wait_log("Connection closed");
            let ids: std::collections::BTreeSet<String> = b
                .log()
                .lines()
                .filter(|line| line.contains("accepted connection") || line.contains("Connection closed"))
                .filter_map(|line| super::log::parts(line).map(|(id, _)| id))
                .collect();
            b.see("names", ids.len());
            b.see("longer than a number", ids.iter().all(|id| id.len() >= 8));
        },
        gaps: &[],
    },
    Row {
        name: "setuid and setgid give up root once everything is bound",
        config: "{head}setuid = nobody\nsetgid = nogroup\n[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            if !is_root() {
                return;
            }
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            for field in ["Uid:", "Gid:", "Groups:"] {
                b.see(field, b.status(field));
            }
        },
        gaps: &[],
    },
    Row {
        name: "chroot is entered once everything is read and bound",
        config: "foreground = yes\nsyslog = no\npid = /pid\ndebug = info\nchroot = {dir}/jail\n\
                 [s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\n",
        act: |b| {
            if !is_root() {
                return;
            }
            fs::create_dir(b.path("jail")).unwrap();
            let (mut near, mut far) = super::tunnels::server_side(b);
            see_talk(b, &mut near, &mut far);
            let root = fs::read_link(format!("/proc/{}/root", b.pid().as_raw_nonzero())).unwrap();
            b.see("root", root == b.path("jail"));
            b.see("pid file in the jail", b.path("jail/pid").exists());
            far.finish();
            b.see("near end", near.ends_ours());
        },
        gaps: &[],
    },
    Row {
        name: "the file may come from a descriptor",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let target = b.target("far");
            let text = b.expand(b.config());
            b.write("file", &text);
            let mut command = b.command();
            command.args(["-fd", "0"]).stdin(Stdio::from(fs::File::open(b.path("file")).unwrap()));
            b.spawn(command);
            b.wait_open("near");
            let mut near = b.connect("near");
            let mut far = target.accept().accept_tls(&anyone()).unwrap();
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "-version and -help speak on standard error and end well",
        config: "",
        act: |b| {
            for word in ["-version", "-HELP", "-sockets", "-options"] {
                let output = b.command().arg(word).stdout(Stdio::piped()).output().unwrap();
                b.see(word, format!("{:?} {}", output.status.code(), output.stdout.len()));
                b.see("something is said", !output.stderr.is_empty());
            }
            let output = b.command().arg("-version").output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let is_version = |line: &str| line.starts_with("stunnel 5.") && line.len() > 10;
            b.see("version", text.lines().any(is_version));
        },
        gaps: &[],
    },
    Row {
        name: "without a section the program serves standard input and output once",
        config: "foreground = yes\nsyslog = no\npid =\ndebug = info\noutput = {dir}/log\nclient = yes\nconnect = {far}\n",
        act: |b| {
            let target = b.target("far");
            let text = b.expand(b.config());
            b.write("stunnel.conf", &text);
            let (ours, theirs) = pair();
            let mut command = b.command();
            command.arg(b.path("stunnel.conf"));
            command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs.try_clone().unwrap())));
            command.stdout(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
            b.spawn(command);
            let mut near = Conn::of(ours);
            let mut far = target.accept().accept_tls(&anyone()).unwrap();
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see("far end", far.ends_ours());
            let code = b.exit();
            b.see("exit code", code);
        },
        gaps: &[],
    },
];

/// Two ends of a TCP connection.
fn pair() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let one = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// Some rows need root; elsewhere they see nothing.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

const CUT_OFF: &str = "what the end of the program cuts off must not look complete";
