//! Rows about `protocol =`: every word that each side hears before TLS, and after it.

use std::time::Duration;

use super::bench::Bench;
use super::tunnels::{anyone, see_talk};
use super::{Gap, Row};
use crate::support::peers::{Client, Conn, PATIENCE, Target};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "pop3 of a client",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = pop3\n",
        act: |b| {
            let (mut near, mut far) = ends(b);
            far.send(b"+OK ready\r\n");
            b.see("asked", far.line());
            far.send(b"+OK begin\r\n");
            let mut far = far.accept_tls(&anyone()).unwrap();
            b.see("greeting", near.line());
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "pop3 of a client whose server has no STLS",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = pop3\n",
        act: |b| {
            let (mut near, mut far) = ends(b);
            far.send(b"+OK ready\r\n");
            b.see("asked", far.line());
            far.send(b"-ERR what\r\n");
            b.see("near end", format!("{:?}", near.ending(PATIENCE).1));
        },
        gaps: &[Gap { what: "near end", lines: "", why: TOLD }, Gap { what: "log", lines: "Connection ", why: TOLD }],
    },
    Row {
        name: "imap of a client",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = imap\n",
        act: |b| {
            let (mut near, mut far) = ends(b);
            far.send(b"* OK ready\r\n");
            b.see("asked", far.line());
            far.send(b"stunnel OK begin\r\n");
            let mut far = far.accept_tls(&anyone()).unwrap();
            b.see("greeting", near.line());
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "imap of a client whose server has no STARTTLS",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = imap\n",
        act: |b| {
            let (mut near, mut far) = ends(b);
            far.send(b"* OK ready\r\n");
            b.see("asked", far.line());
            far.send(b"stunnel BAD what\r\n");
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
        },
        gaps: &[],
    },
    Row {
        name: "smtp of a client",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = smtp\n",
        act: |b| {
            let (mut near, mut far) = ends(b);
            far.send(b"220-mail.test\r\n220 ready\r\n");
            b.see("hello", far.line());
            far.send(b"250-mail.test\r\n250 STARTTLS\r\n");
            b.see("asked", far.line());
            far.send(b"220 begin\r\n");
            let mut far = far.accept_tls(&anyone()).unwrap();
            b.see("greeting", near.line() + &near.line());
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "smtp of a client that logs in",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = smtp\nprotocolHost = here.test\n\
                 protocolUsername = user\nprotocolPassword = secret\n",
        act: |b| see_smtp_login(b, 1),
        gaps: &[
            Gap { what: "hello inside", lines: "", why: "5.68 says HELO inside TLS, 5.75 EHLO" },
            Gap { what: "log", lines: "SNI: ", why: "stunnel takes protocolHost, here our own name, for the server's" },
        ],
    },
    Row {
        name: "smtp of a client that logs in with LOGIN",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = smtp\n\
                 protocolAuthentication = login\nprotocolUsername = user\nprotocolPassword = secret\n",
        act: |b| see_smtp_login(b, 3),
        gaps: &[Gap { what: "hello inside", lines: "", why: "5.68 says HELO inside TLS, 5.75 EHLO" }],
    },
    Row {
        name: "nntp of a client",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = nntp\n",
        act: |b| {
            let (mut near, mut far) = ends(b);
            far.send(b"200 ready\r\n");
            b.see("asked", far.line());
            far.send(b"382 begin\r\n");
            let mut far = far.accept_tls(&anyone()).unwrap();
            b.see("greeting", near.line());
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "connect of a client",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = connect\nprotocolHost = mail.test:993\n",
        act: see_connect,
        gaps: &[],
    },
    Row {
        name: "connect of a client that logs in at the proxy",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = connect\nprotocolHost = mail.test:993\n\
                 protocolAuthentication = basic\nprotocolUsername = user\nprotocolPassword = secret\n\
                 protocolHeader = X-Test: yes\n",
        act: see_connect,
        gaps: &[],
    },
    Row {
        name: "pgsql of a client",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = pgsql\n",
        act: |b| {
            let (mut near, mut far) = ends(b);
            b.see("asked", format!("{:?}", far.take(8)));
            far.send(b"S");
            let mut far = far.accept_tls(&anyone()).unwrap();
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "socks of a client",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = socks\nprotocolHost = 10.1.2.3:25\n",
        act: |b| {
            let (mut near, far) = ends(b);
            let mut far = far.accept_tls(&anyone()).unwrap();
            b.see("methods", format!("{:?}", far.take(3)));
            far.send(&[5, 0]);
            b.see("request", format!("{:?}", far.take(10)));
            far.send(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[
            Gap { what: "log", lines: "SNI: ", why: "an address is no server name (RFC 6066, 3)" },
            Gap { what: "request", lines: "", why: FIXED_DESTINATION },
            Gap { what: "to the far end", lines: "", why: FIXED_DESTINATION },
            Gap { what: "to the near end", lines: "", why: FIXED_DESTINATION },
            Gap { what: "log", lines: "Connection closed", why: FIXED_DESTINATION },
        ],
    },
    Row {
        name: "proxy of a server tells the target whom it serves",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nprotocol = proxy\n",
        act: |b| {
            let target = b.target("far");
            b.start();
            let near = b.connect("near");
            let from = near.socket().local_addr().unwrap();
            let to = b.at("near");
            let mut near = near.connect_tls(&Client::plain(), "localhost").unwrap();
            let mut far = target.accept();
            let line = far.line();
            let wanted = format!("PROXY TCP4 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
            b.see("line", if line == wanted { "as the protocol has it".to_owned() } else { line });
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "smtp of a server",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nprotocol = smtp\n",
        act: |b| {
            let (mut near, target) = caller(b);
            let mut far = target.accept();
            far.send(b"220 mail.test ready\r\n");
            b.see("greeting", near.line());
            near.send(b"EHLO me\r\n");
            let mut offers = String::new();
            while !offers.lines().any(|line| line.starts_with("250 ")) {
                let line = near.line();
                assert!(!line.is_empty(), "{offers}");
                offers += &line;
            }
            b.see("offers", offers);
            near.send(b"STARTTLS\r\n");
            b.see("go", near.line());
            let mut near = near.connect_tls(&Client::plain(), "localhost").unwrap();
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "smtp of a server whose client begins with TLS",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nprotocol = smtp\n",
        act: |b| {
            let (near, target) = caller(b);
            let mut near = near.connect_tls(&Client::plain(), "localhost").unwrap();
            let mut far = target.accept();
            far.send(b"220 mail.test ready\r\n");
            b.see("greeting", near.line());
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "imap of a server",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nprotocol = imap\n",
        act: |b| {
            let (mut near, target) = caller(b);
            let mut far = target.accept();
            far.send(b"* OK mail.test ready\r\n");
            b.see("greeting", near.line());
            near.send(b"a1 CAPABILITY\r\n");
            b.see("question", far.line());
            far.send(b"* CAPABILITY IMAP4rev1 IDLE\r\na1 OK done\r\n");
            b.see("capabilities", near.line() + &near.line());
            near.send(b"a2 STARTTLS\r\n");
            b.see("go", near.line());
            let mut near = near.connect_tls(&Client::plain(), "localhost").unwrap();
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[Gap {
            what: "capabilities",
            lines: "CAPABILITY",
            why: "no password may be sent before TLS (RFC 2595, 3.2)",
        }],
    },
    Row {
        name: "pop3 of a server",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nprotocol = pop3\n",
        act: |b| {
            let (mut near, target) = caller(b);
            let mut far = target.accept();
            far.send(b"+OK mail.test ready\r\n");
            b.see("greeting", near.line());
            near.send(b"CAPA\r\n");
            let mut offers = String::new();
            while !offers.ends_with("\n.\r\n") {
                let line = near.line();
                assert!(!line.is_empty(), "{offers}");
                offers += &line;
            }
            b.see("offers", offers);
            near.send(b"STLS\r\n");
            b.see("go", near.line());
            let mut near = near.connect_tls(&Client::plain(), "localhost").unwrap();
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "connect of a server",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nprotocol = connect\n",
        act: |b| {
            let (mut near, target) = caller(b);
            near.send(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", target.at()).as_bytes());
            b.see("answer", near.line());
            while near.line().trim() != "" {}
            let mut near = near.connect_tls(&Client::plain(), "localhost").unwrap();
            let mut far = target.accept();
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "socks of a server",
        config: "{head}[s]\naccept = {near}\ncert = {cert}\nkey = {key}\nprotocol = socks\n",
        act: |b| {
            let (near, target) = caller(b);
            let mut near = near.connect_tls(&Client::plain(), "localhost").unwrap();
            near.send(&[5, 1, 0]);
            b.see("method", format!("{:?}", near.take(2)));
            near.send(&[5, 1, 0, 1, 127, 0, 0, 1]);
            near.send(&target.at().port().to_be_bytes());
            // a loopback address is refused; the rest of the answer is of no meaning
            b.see("answer", format!("{:?}", near.take(10).chars().take(4).collect::<Vec<_>>()));
            b.see("near end", near.ends());
            b.see("asked", target.accept_within(Duration::ZERO).is_some());
        },
        gaps: &[Gap { what: "near end", lines: "", why: "says goodbye before it ends" }],
    },
];

/// Both ends, plain.
fn ends(b: &mut Bench) -> (Conn, Conn) {
    let target = b.target("far");
    b.start();
    let near = b.connect("near");
    (near, target.accept())
}

/// A plain connection to a server, and its target.
fn caller(b: &mut Bench) -> (Conn, Target) {
    let target = b.target("far");
    b.start();
    (b.connect("near"), target)
}

fn see_smtp_login(b: &mut Bench, words: usize) {
    let (mut near, mut far) = ends(b);
    far.send(b"220 ready\r\n");
    b.see("hello", far.line());
    far.send(b"250 mail.test\r\n");
    b.see("asked", far.line());
    far.send(b"220 begin\r\n");
    let mut far = far.accept_tls(&anyone()).unwrap();
    b.see("hello inside", far.line());
    far.send(b"250 AUTH PLAIN LOGIN\r\n");
    for word in 1..=words {
        b.see("login", far.line());
        far.send(if word == words { b"235 welcome\r\n" } else { b"334 VXNlcm5hbWU6\r\n" });
    }
    b.see("greeting", near.line());
    see_talk(b, &mut near, &mut far);
}

fn see_connect(b: &mut Bench) {
    let (mut near, mut far) = ends(b);
    b.see("request", head_of(&mut far));
    far.send(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n");
    let mut far = far.accept_tls(&anyone()).unwrap();
    b.see("name", format!("{:?}", far.server_name()));
    see_talk(b, &mut near, &mut far);
}

/// Lines up to the empty one.
fn head_of(conn: &mut Conn) -> String {
    let mut head = String::new();
    loop {
        let line = conn.line();
        head += &line;
        if line.trim().is_empty() {
            return head;
        }
    }
}

const FIXED_DESTINATION: &str =
    "stunnel 5.68 knows the original destination of the connection alone, 5.75 protocolHost too";

const TOLD: &str = "a reset may take away the answer that says why";
