//! Rows about the data of a tunnel: who hears what, and how each end learns that the other has ended.

use std::time::Duration;

use rustls::{ALL_VERSIONS, version};

use super::bench::{Bench, Files};
use super::{Gap, Row};
use crate::support::peers::{Client, Conn, Ending, PATIENCE, server};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "a client carries bytes both ways",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_handshake(b, &far);
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see("far end", far.ends_ours());
        },
        gaps: &[],
    },
    Row {
        name: "a server carries bytes both ways",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\n",
        act: |b| {
            let (mut near, mut far) = server_side(b);
            see_handshake(b, &near);
            see_talk(b, &mut near, &mut far);
            far.finish();
            b.see("near end", near.ends_ours());
        },
        gaps: &[],
    },
    Row {
        name: "client = no and a certificate with its key in one file are a server",
        config: "{head}[s]\nclient = no\naccept = {near}\nconnect = {far}\ncert = {both}\n",
        act: |b| {
            let (mut near, mut far) = server_side(b);
            see_handshake(b, &near);
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "a client shows its certificate when it is asked",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\ncert = {client.cert}\nkey = {client.key}\n",
        act: |b| {
            let target = b.target("far");
            b.start();
            let mut near = b.connect("near");
            let files = Files::get();
            let asking = server(&files.good, Some(&files.ca.cert), ALL_VERSIONS);
            let mut far = target.accept().accept_tls(&asking).unwrap();
            b.see("shown", format!("{:?}", far.shown()));
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "the plain side of a client ends first and still hears a late answer",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see("far end", format!("{:?}", far.ending(PATIENCE)));
            far.send(b"late");
            b.see("late", near.take(4));
            far.finish();
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
            far.finish_tcp();
        },
        gaps: &[],
    },
    Row {
        name: "the TLS side of a client ends first and still hears a late answer",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            far.finish();
            b.wait_log("TLS closed (SSL_read)");
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
            near.send(b"late");
            b.see("late", far.take(4));
            near.finish();
            b.see("far end", format!("{:?}", far.ending(PATIENCE)));
        },
        gaps: &[],
    },
    Row {
        name: "the TLS side of a client ends without a goodbye",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            far.finish_tcp();
            b.wait_log("TLS socket closed (SSL_read)");
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
            near.finish();
            b.see("far end", format!("{:?}", far.ending(PATIENCE)));
        },
        gaps: &[Gap {
            what: "far end",
            lines: "",
            why: "5.68 answers a missing goodbye with an alert, 5.70 and later say goodbye",
        }],
    },
    Row {
        name: "the TLS side of a client is aborted",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            far.reset();
            b.wait_log("TLS fd: Connection reset by peer (104)");
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
        },
        gaps: &[],
    },
    Row {
        name: "the plain side of a client is aborted",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            near.reset();
            b.wait_log("socket fd: Connection reset by peer (104)");
            b.see("far end", format!("{:?}", far.ending(PATIENCE)));
        },
        gaps: &[Gap { what: "far end", lines: "", why: CUT_OFF }],
    },
    Row {
        name: "the plain side of a server ends first and still hears a late answer",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\n",
        act: |b| {
            let (mut near, mut far) = server_side(b);
            see_talk(b, &mut near, &mut far);
            far.finish();
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
            near.send(b"late");
            b.see("late", far.take(4));
            near.finish();
            b.see("far end", format!("{:?}", far.ending(PATIENCE)));
        },
        gaps: &[],
    },
    Row {
        name: "the TLS side of a server ends first and still hears a late answer",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\n",
        act: |b| {
            let (mut near, mut far) = server_side(b);
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see("far end", format!("{:?}", far.ending(PATIENCE)));
            far.send(b"late");
            b.see("late", near.take(4));
            far.finish();
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
        },
        gaps: &[],
    },
    Row {
        name: "the plain side of a server is aborted",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\n",
        act: |b| {
            let (mut near, mut far) = server_side(b);
            see_talk(b, &mut near, &mut far);
            far.reset();
            b.wait_log("socket fd: Connection reset by peer (104)");
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
        },
        gaps: &[Gap { what: "near end", lines: "", why: CUT_OFF }],
    },
    Row {
        name: "the TLS side of a server is aborted",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\n",
        act: |b| {
            let (mut near, mut far) = server_side(b);
            see_talk(b, &mut near, &mut far);
            near.reset();
            b.wait_log("TLS fd: Connection reset by peer (104)");
            b.see("far end", format!("{:?}", far.ending(PATIENCE)));
        },
        gaps: &[],
    },
    Row {
        name: "a server that does not speak TLS is an abort for the plain side",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nreset = yes\n",
        act: not_tls,
        gaps: &[],
    },
    Row {
        name: "with reset = no it is a mere end",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nreset = no\n",
        act: not_tls,
        gaps: &[],
    },
    Row {
        name: "a client that does not speak TLS is turned away",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\n",
        act: |b| {
            let target = b.target("far");
            b.start();
            let mut near = b.connect("near");
            near.send(b"GET / HTTP/1.0\r\n\r\n");
            let (_, end) = near.ending(PATIENCE);
            b.see("near end", format!("{end:?}"));
            b.see("target asked", target.accept_within(Duration::ZERO).is_some());
        },
        gaps: &[],
    },
    Row {
        name: "a client whose server is not there aborts",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {nobody}\n",
        act: |b| {
            b.start();
            // it may be over before the call has returned
            let near = Conn::to(b.at("near"));
            b.see("near end", near.map_or(Ending::Reset, |mut near| near.ending(PATIENCE).1).to_string());
        },
        gaps: &[],
    },
    Row {
        name: "a server whose target is not there aborts after the handshake",
        config: "{head}[s]\naccept = {near}\nconnect = {nobody}\ncert = {cert}\nkey = {key}\n",
        act: |b| {
            b.start();
            let mut near = b.connect("near").connect_tls(&Client::plain(), "localhost").unwrap();
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
        },
        gaps: &[],
    },
    Row {
        name: "megabytes pass both ways",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            let data = "many bytes of text\n".repeat(100_000);
            let length = data.len();
            for (from, to, what) in [(0, 1, "forth"), (1, 0, "back")] {
                let mut ends = [Some(&mut near), Some(&mut far)];
                let (from, to) = (ends[from].take().unwrap(), ends[to].take().unwrap());
                let came = std::thread::scope(|scope| {
                    scope.spawn(|| from.send(data.as_bytes()));
                    to.take(length)
                });
                b.see(what, came == data);
            }
            near.finish();
            b.see("far end", far.ends_ours());
        },
        gaps: &[],
    },
    Row {
        name: "several accept addresses lead to one target",
        config: "{head}[s]\nclient = yes\naccept = {near}\naccept = {other}\nconnect = {far}\n",
        act: |b| {
            let target = b.target("far");
            b.start();
            for name in ["near", "other"] {
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
        name: "two sections of one name are two tunnels, and what stands before them is their default",
        config: "{head}client = yes\nsslVersion = TLSv1.2\n[s]\naccept = {near}\nconnect = {far}\n\
                 [s]\nsslVersion = TLSv1.3\naccept = {other}\nconnect = {far}\n",
        act: |b| {
            let target = b.target("far");
            b.start();
            for name in ["near", "other"] {
                let mut near = b.connect(name);
                let mut far = target.accept().accept_tls(&anyone()).unwrap();
                b.see("version", far.version());
                see_talk(b, &mut near, &mut far);
                near.finish();
                b.see("far end", far.ends_ours());
            }
        },
        gaps: &[],
    },
    Row {
        name: "a client sends the name of its target",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = localhost:{far.port}\n",
        act: see_server_name,
        gaps: &[],
    },
    Row {
        name: "a client sends the name that sni gives",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nsni = mail.example.test\n",
        act: see_server_name,
        gaps: &[],
    },
    Row {
        name: "a client with an empty sni sends no name",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = localhost:{far.port}\nsni =\n",
        act: see_server_name,
        gaps: &[],
    },
    Row {
        name: "a server chooses among sections by the name that the client sends",
        config: "{head}[main]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\n\
                 [a]\nsni = main:a.example.test\nconnect = {other}\ncert = {stranger.cert}\nkey = {stranger.key}\n\
                 [b]\nsni = main:*.b.test\nconnect = {other}\ncert = {self.cert}\nkey = {self.key}\n",
        act: |b| {
            let (far, other) = (b.target("far"), b.target("other"));
            b.start();
            for name in ["a.example.test", "x.b.test", "localhost", ""] {
                let mut near = b.connect("near").connect_tls(&Client::plain(), name).unwrap();
                let shown = near.same_as(&[
                    ("good", &Files::get().good),
                    ("stranger", &Files::get().stranger),
                    ("self", &Files::get().self_signed),
                ]);
                b.see(&format!("shown for `{name}`"), shown);
                let mut there = if shown == "good" { far.accept() } else { other.accept() };
                see_talk(b, &mut near, &mut there);
                there.finish();
                b.see("near end", near.ends_ours());
            }
        },
        gaps: &[],
    },
    Row {
        name: "a client of TLS 1.2 alone",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nsslVersion = TLSv1.2\n",
        act: see_versions_of_client,
        gaps: &[],
    },
    Row {
        name: "a client of TLS 1.3 and later",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nsslVersionMin = TLSv1.3\n",
        act: see_versions_of_client,
        gaps: &[],
    },
    Row {
        name: "a client up to TLS 1.2",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nsslVersionMax = TLSv1.2\n",
        act: see_versions_of_client,
        gaps: &[],
    },
    Row {
        name: "a client whose options leave out TLS 1.3",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\noptions = NO_TLSv1_3\noptions = -NO_SSLv3\n",
        act: see_versions_of_client,
        gaps: &[],
    },
    Row {
        name: "a server whose options leave out TLS 1.2",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\noptions = NO_TLSv1_2\n",
        act: see_versions_of_server,
        gaps: &[],
    },
    Row {
        name: "a server of any version",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nsslVersion = all\n",
        act: see_versions_of_server,
        gaps: &[],
    },
    Row {
        name: "a server goes on with an earlier session",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nsessionResume = yes\n",
        act: see_resumption_of_server,
        gaps: &[],
    },
    Row {
        name: "a server without session resumption",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nsessionResume = no\n",
        act: see_resumption_of_server,
        gaps: &[],
    },
    Row {
        name: "a server without tickets",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\noptions = NO_TICKET\n",
        act: see_resumption_of_server,
        gaps: &[],
    },
    Row {
        name: "a client goes on with an earlier session",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: see_resumption_of_client,
        gaps: &[],
    },
    Row {
        name: "a client without session resumption",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nsessionResume = no\n",
        act: see_resumption_of_client,
        gaps: &[],
    },
    Row {
        name: "connections leave from the local address",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nlocal = {here}\n",
        act: |b| {
            b.set("here", "127.0.0.7");
            let target = b.target("far");
            b.start();
            let mut near = b.connect("near");
            let far = target.accept();
            b.see("from", far.peer().ip());
            let mut far = far.accept_tls(&anyone()).unwrap();
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "a program in place of a target",
        config: "{head}[s]\naccept = {near}\ncert = {cert}\nkey = {key}\nexec = /bin/sh\n\
                 execArgs = sh -c read${IFS}a;echo${IFS}got:$a:$REMOTE_HOST\n",
        act: |b| {
            b.set("IFS", "{IFS}");
            b.start();
            let mut near = b.connect("near").connect_tls(&Client::plain(), "localhost").unwrap();
            near.send(b"hello\n");
            b.see("answer", near.line());
            b.see("near end", near.ends_ours());
        },
        gaps: &[],
    },
    Row {
        name: "a program connected again and again",
        config: "{head}[s]\nclient = yes\nconnect = {far}\nexec = /bin/sh\nexecArgs = sh -c echo${IFS}hello\nretry = yes\n",
        act: |b| {
            b.set("IFS", "{IFS}");
            let target = b.target("far");
            b.start();
            for turn in ["first", "second"] {
                let mut far = target.accept().accept_tls(&anyone()).unwrap();
                b.see(turn, far.line());
                far.finish();
                far.finish_tcp();
            }
        },
        gaps: &[Gap {
            what: "log",
            lines: "accepted connection",
            why: "a pair of sockets has no address; stunnel takes TCP for it",
        }],
    },
];

// ---- what the scripts are made of -----------------------------------------------------------------------------------

/// A TLS server that takes any client.
pub(super) fn anyone() -> std::sync::Arc<rustls::ServerConfig> {
    server(&Files::get().good, None, ALL_VERSIONS)
}

/// Starts a client: its plain end and its TLS end.
pub(super) fn client(b: &mut Bench) -> (Conn, Conn) {
    let target = b.target("far");
    b.start();
    let near = b.connect("near");
    let far = target.accept().accept_tls(&anyone()).unwrap();
    (near, far)
}

/// Starts a server: its TLS end and its plain end.
pub(super) fn server_side(b: &mut Bench) -> (Conn, Conn) {
    let target = b.target("far");
    b.start();
    let near = b.connect("near").connect_tls(&Client::plain(), "localhost").unwrap();
    (near, target.accept())
}

pub(super) fn see_talk(b: &mut Bench, near: &mut Conn, far: &mut Conn) {
    b.see("to the far end", near.say("ping", far));
    b.see("to the near end", far.say("pong!", near));
}

fn see_handshake(b: &mut Bench, tls: &Conn) {
    b.see("version", tls.version());
    b.see("suite", tls.suite());
    b.see("name", format!("{:?}", tls.server_name()));
    b.see("shown", format!("{:?}", tls.shown()));
    b.see("asked for a certificate", tls.was_asked());
}

fn not_tls(b: &mut Bench) {
    let target = b.target("far");
    b.start();
    let mut near = b.connect("near");
    let mut far = target.accept();
    far.send(b"220 ready\r\n");
    b.see("near end", format!("{:?}", near.ending(PATIENCE)));
}

fn see_server_name(b: &mut Bench) {
    let (mut near, mut far) = client(b);
    b.see("name", format!("{:?}", far.server_name()));
    see_talk(b, &mut near, &mut far);
}

fn see_versions_of_client(b: &mut Bench) {
    let target = b.target("far");
    b.start();
    for (what, versions) in VERSIONS {
        let mut near = b.connect("near");
        let far = target.accept().accept_tls(&server(&Files::get().good, None, versions));
        b.see(&format!("with {what}"), far.as_ref().map_or("refused", Conn::version));
        if let Ok(mut far) = far {
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see("far end", far.ends_ours());
        } else {
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
        }
    }
}

fn see_versions_of_server(b: &mut Bench) {
    let target = b.target("far");
    b.start();
    for (what, versions) in VERSIONS {
        let near = b.connect("near").connect_tls(&Client::new(versions, None), "localhost");
        b.see(&format!("with {what}"), near.as_ref().map_or("refused", Conn::version));
        if let Ok(mut near) = near {
            let mut far = target.accept();
            see_talk(b, &mut near, &mut far);
            far.finish();
            b.see("near end", near.ends_ours());
        }
    }
}

fn see_resumption_of_server(b: &mut Bench) {
    let target = b.target("far");
    b.start();
    for (what, versions) in &VERSIONS[..2] {
        let client = Client::new(versions, None);
        for turn in ["first", "second"] {
            let mut near = b.connect("near").connect_tls(&client, "localhost").unwrap();
            let mut far = target.accept();
            see_talk(b, &mut near, &mut far);
            b.see(&format!("{turn} with {what}"), near.resumed());
            far.finish();
            b.see("near end", near.ends_ours());
        }
    }
}

fn see_resumption_of_client(b: &mut Bench) {
    let target = b.target("far");
    b.start();
    for (what, versions) in &VERSIONS[..2] {
        let server = server(&Files::get().good, None, versions);
        for turn in ["first", "second"] {
            let mut near = b.connect("near");
            let mut far = target.accept().accept_tls(&server).unwrap();
            see_talk(b, &mut near, &mut far);
            b.see(&format!("{turn} with {what}"), far.resumed());
            near.finish();
            b.see("far end", far.ends_ours());
            // its end is in the log before the next one begins: the ticket is known then
            let lines = b.log().lines().filter(|line| line.contains("accepted connection")).count();
            b.wait_log_n("Connection closed", lines);
        }
    }
}

const VERSIONS: [(&str, &[&rustls::SupportedProtocolVersion]); 3] =
    [("TLS 1.2", &[&version::TLS12]), ("TLS 1.3", &[&version::TLS13]), ("both", ALL_VERSIONS)];

const CUT_OFF: &str = "a goodbye of TLS would make what was cut off look complete (RFC 8446, 6.1)";
