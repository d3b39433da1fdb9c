//! `protocol =` with real servers and clients: Dovecot and Postfix, Python's mail libraries, and stunnel as the other end
//! of both sides. The bytes of each negotiation stand in the tests beside the code.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::ca::TestCa;
use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::postfix::Postfix;
use crate::support::service::{PATIENCE, Service};
use crate::support::site::Site;

// ---- what the tests are made of -------------------------------------------------------------------------------------

/// A certificate for `localhost`, and its CA.
struct Keys {
    ca: TestCa,
    cert: String,
    _dir: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = TestCa::new(dir.path());
        let pair = ca.good("localhost");
        let cert = format!("cert = {}\nkey = {}\n", pair.cert.display(), pair.key.display());
        Self { ca, cert, _dir: dir }
    }

    fn ca(&self) -> String {
        format!("CAfile = {}\n", self.ca.cert.display())
    }
}

/// The real binary with one service.
struct Ours {
    service: Service,
    _site: Site,
}

impl Ours {
    fn start(lines: &str) -> Self {
        let site = Site::new();
        site.write_ini(&format!(
            "foreground = yes\nsyslog = no\npid =\ndebug = info\n[t]\naccept = 127.0.0.1:0\n{lines}"
        ));
        let service = Service::up(&site);
        Self { service, _site: site }
    }

    /// Plain here, TLS towards `port`, whose certificate must be good.
    fn client(keys: &Keys, port: u16, lines: &str) -> Self {
        Self::start(&format!("client = yes\nconnect = localhost:{port}\n{}{lines}\n", keys.ca()))
    }

    /// TLS here, plain towards `port`.
    fn server(keys: &Keys, port: u16, lines: &str) -> Self {
        Self::start(&format!("connect = 127.0.0.1:{port}\n{}{lines}\n", keys.cert))
    }

    fn port(&self) -> u16 {
        self.service.bound("t", 0).port()
    }
}

/// stunnel with one service.
struct Stunnel {
    child: Child,
    port: u16,
}

impl Stunnel {
    fn start(lines: &str) -> Self {
        let mut child = Command::new("stunnel4")
            .args(["-fd", "0"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("stunnel: install stunnel4");
        let head = "foreground = yes\nsyslog = no\npid =\ndebug = info\n[s]\naccept = 127.0.0.1:0\n";
        child.stdin.take().unwrap().write_all(format!("{head}{lines}\n").as_bytes()).unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let bound = log.find(|line| line.contains("bound to")).expect("stunnel did not start");
        let port = bound.rsplit(':').next().unwrap().parse().unwrap();
        std::thread::spawn(move || log.for_each(drop));
        Self { child, port }
    }

    fn client(port: u16, lines: &str) -> Self {
        Self::start(&format!("client = yes\nconnect = 127.0.0.1:{port}\n{lines}"))
    }

    fn server(keys: &Keys, port: u16, lines: &str) -> Self {
        Self::start(&format!("connect = 127.0.0.1:{port}\n{}{lines}", keys.cert))
    }
}

impl Drop for Stunnel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Python's own libraries as clients: `script` finds ports and the like in `sys.argv`.
fn python(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("python3").arg("-c").arg(script).args(arguments).output().expect("python3");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

/// A plain server on every address of this machine: greets, then sends every line back in capitals. It goes on for ever.
fn shouting(greeting: &'static str) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut out = stream.try_clone().unwrap();
                let _ = out.write_all(greeting.as_bytes());
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = out.write_all(format!("{}\r\n", line.to_uppercase()).as_bytes());
                }
            });
        }
    });
    port
}

/// A server of one connection: says something, hears a line, says something, …; then reads on to the end. What it heard.
fn scripted(lines: &'static [&'static str]) -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut out = stream.try_clone().unwrap();
        let (mut reader, mut heard) = (BufReader::new(stream), Vec::new());
        for line in lines {
            out.write_all(line.as_bytes()).unwrap();
            let _ = reader.read_until(b'\n', &mut heard);
        }
        let _ = reader.read_to_end(&mut heard);
        String::from_utf8_lossy(&heard).into_owned()
    });
    (port, heard)
}

/// A connection to a tunnel's plain side.
struct Plain {
    reader: BufReader<TcpStream>,
}

impl Plain {
    fn to(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    fn say(&mut self, words: &str) {
        self.reader.get_mut().write_all(words.as_bytes()).unwrap();
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line
    }

    /// What comes until the end, which must be one in order.
    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).unwrap();
        rest
    }
}

/// An address of this machine that is not loopback, if it has one; nothing is sent.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.200:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}

// ---- real mail servers and clients ----------------------------------------------------------------------------------

#[test]
fn plain_clients_reach_dovecot_and_postfix_by_starttls() {
    let keys = Keys::new();
    let pair = keys.ca.good("localhost");
    let mut dovecot = Dovecot::start_tls(&pair.cert, &pair.key);
    dovecot.deliver(b"Subject: one\r\n\r\nbody\r\n");
    let imap = Ours::client(&keys, dovecot.imap().port(), "protocol = imap");
    let script = "import imaplib, sys\n\
                  c = imaplib.IMAP4('127.0.0.1', int(sys.argv[1])); print(c.welcome, c.capabilities)\n\
                  c.login(sys.argv[2], sys.argv[3]); print(c.select()); print(c.fetch('1', 'BODY[TEXT]')); c.logout()";
    let said = python(script, &[&imap.port().to_string(), ACCOUNT, PASSWORD]);
    assert!(said.contains("* OK Connected.") && said.contains("b'body"), "{said}");
    assert!(!said.contains("'STARTTLS'") && !said.contains("LOGINDISABLED"), "told in clear: {said}");

    let pop3 = Ours::client(&keys, dovecot.pop3().port(), "protocol = pop3");
    let script = "import poplib, sys\n\
                  c = poplib.POP3('127.0.0.1', int(sys.argv[1])); print(c.getwelcome())\n\
                  c.user(sys.argv[2]); c.pass_(sys.argv[3]); print(c.stat(), c.retr(1)); c.quit()";
    let said = python(script, &[&pop3.port().to_string(), ACCOUNT, PASSWORD]);
    assert!(said.contains("b'body'"), "{said}");
    assert!(dovecot.log().matches("TLS").count() >= 2, "{}", dovecot.log());

    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: Postfix needs root");
        return;
    }
    let mut postfix = Postfix::start(&pair.cert, &pair.key);
    let smtp = Ours::client(&keys, postfix.plain(), "protocol = smtp\nprotocolHost = tunnel.test");
    let script = "import smtplib, sys\n\
                  c = smtplib.SMTP('127.0.0.1', int(sys.argv[1]))\n\
                  c.sendmail('a@example.org', 'ged@example.org', 'Subject: two\\r\\n\\r\\nbody\\r\\n'); c.quit()";
    python(script, &[&smtp.port().to_string()]);
    let mail = postfix.first_mail();
    assert!(mail.contains("Subject: two") && mail.contains("ESMTPS"), "{mail}");
}

#[test]
fn clients_that_ask_for_starttls_get_it_in_front_of_plain_servers() {
    let keys = Keys::new();
    let ca = keys.ca.cert.display().to_string();
    let mut dovecot = Dovecot::start();
    dovecot.deliver(b"Subject: one\r\n\r\nbody\r\n");
    let imap = Ours::server(&keys, dovecot.imap().port(), "protocol = imap").port_kept();
    let script = "import imaplib, ssl, sys\n\
                  x = ssl.create_default_context(cafile=sys.argv[4])\n\
                  c = imaplib.IMAP4('localhost', int(sys.argv[1])); print(c.welcome, c.capabilities)\n\
                  c.starttls(x); print(c.capabilities); c.login(sys.argv[2], sys.argv[3]); print(c.select())\n\
                  print(c.fetch('1', 'BODY[TEXT]')); c.logout()\n\
                  c = imaplib.IMAP4_SSL('localhost', int(sys.argv[1]), ssl_context=x); print(c.welcome)\n\
                  c.login(sys.argv[2], sys.argv[3]); print(c.select(), 'direct'); c.logout()";
    let said = python(script, &[&imap.1.to_string(), ACCOUNT, PASSWORD, &ca]);
    assert!(said.contains("(stunnel)") && said.contains("b'body") && said.contains("direct"), "{said}");
    assert!(said.contains("LOGINDISABLED"), "offered a login in clear: {said}");

    let pop3 = Ours::server(&keys, dovecot.pop3().port(), "protocol = pop3").port_kept();
    let script = "import poplib, ssl, sys\n\
                  x = ssl.create_default_context(cafile=sys.argv[4])\n\
                  c = poplib.POP3('localhost', int(sys.argv[1])); print(c.getwelcome(), c.capa())\n\
                  c.stls(x); c.user(sys.argv[2]); c.pass_(sys.argv[3]); print(c.retr(1)); c.quit()";
    let said = python(script, &[&pop3.1.to_string(), ACCOUNT, PASSWORD, &ca]);
    assert!(said.contains(" + stunnel") && said.contains("b'body'"), "{said}");

    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: Postfix needs root");
        return;
    }
    let pair = keys.ca.good("localhost");
    let mut postfix = Postfix::start(&pair.cert, &pair.key);
    let smtp = Ours::server(&keys, postfix.plain(), "protocol = smtp").port_kept();
    let script = "import smtplib, ssl, sys\n\
                  x = ssl.create_default_context(cafile=sys.argv[2])\n\
                  c = smtplib.SMTP('localhost', int(sys.argv[1])); c.starttls(context=x)\n\
                  c.sendmail('a@example.org', 'ged@example.org', 'Subject: two\\r\\n\\r\\nbody\\r\\n'); c.quit()\n\
                  c = smtplib.SMTP_SSL('localhost', int(sys.argv[1]), context=x)\n\
                  c.sendmail('a@example.org', 'ged@example.org', 'Subject: three\\r\\n\\r\\nbody\\r\\n'); c.quit()";
    python(script, &[&smtp.1.to_string(), &ca]);
    let mails = postfix.mails(2);
    assert!(mails[0].contains("Subject: two") && mails[1].contains("Subject: three"), "{mails:?}");
}

impl Ours {
    /// With its port.
    fn port_kept(self) -> (Self, u16) {
        let port = self.port();
        (self, port)
    }
}

// ---- stunnel as the other end ---------------------------------------------------------------------------------------

/// The greeting of a backend, the protocol, and what a plain client hears first through both tunnels.
const GREETED: [(&str, &str, &str); 5] = [
    ("imap", "* OK backend here\r\n", "* OK Connected.\r\n"),
    ("pop3", "+OK backend here\r\n", "+OK backend here + stunnel\r\n"),
    ("smtp", "220 mx backend here\r\n", "220 mx stunnel for backend here\r\n"),
    ("pgsql", "first\r\n", "first\r\n"),
    ("connect", "first\r\n", "first\r\n"),
];

fn says_and_hears(port: u16, first: &str, what: &str) {
    let mut plain = Plain::to(port);
    assert_eq!(plain.hear(), first, "{what}");
    plain.say("hello\r\n");
    assert_eq!(plain.hear(), "HELLO\r\n", "{what}");
}

#[test]
fn our_client_side_talks_with_the_server_side_of_stunnel() {
    let keys = Keys::new();
    for (protocol, greeting, first) in GREETED {
        let backend = shouting(greeting);
        let lines = format!("protocol = {protocol}");
        let there = Stunnel::server(&keys, backend, &lines);
        let lines = if protocol == "connect" { format!("{lines}\nprotocolHost = localhost:{backend}") } else { lines };
        let here = Ours::client(&keys, there.port, &lines);
        says_and_hears(here.port(), first, protocol);
    }
}

#[test]
fn our_server_side_talks_with_the_client_side_of_stunnel() {
    let keys = Keys::new();
    for (protocol, greeting, first) in GREETED {
        let backend = shouting(greeting);
        let lines = format!("protocol = {protocol}");
        let there = Ours::server(&keys, backend, &lines);
        let lines = if protocol == "connect" { format!("{lines}\nprotocolHost = 127.0.0.1:{backend}") } else { lines };
        let here = Stunnel::client(there.port(), &lines);
        says_and_hears(here.port, first, protocol);
    }
}

#[test]
fn both_sides_of_ours_talk_with_each_other() {
    let keys = Keys::new();
    for (protocol, greeting, first) in GREETED {
        let backend = shouting(greeting);
        let lines = format!("protocol = {protocol}");
        let there = Ours::server(&keys, backend, &lines);
        let lines = if protocol == "connect" { format!("{lines}\nprotocolHost = localhost:{backend}") } else { lines };
        let here = Ours::client(&keys, there.port(), &lines);
        says_and_hears(here.port(), first, protocol);
    }
}

#[test]
fn socks_goes_anywhere_but_to_this_machine_itself() {
    let keys = Keys::new();
    let backend = shouting("first\r\n");
    let bare = format!("{}protocol = socks", keys.cert);
    let (ours, stunnel) = (Ours::start(&bare), Stunnel::start(&bare));
    for port in [ours.port(), stunnel.port] {
        let refused = Ours::client(&keys, port, &format!("protocol = socks\nprotocolHost = localhost:{backend}"));
        let mut plain = Plain::to(refused.port());
        let mut rest = Vec::new();
        // a reset or an end, as `reset` has it
        let _ = plain.reader.read_to_end(&mut rest);
        assert!(rest.is_empty());
        refused.service.log.wait("the SOCKS server does not connect, reply 2", 0);
        let Some(ip) = own_address() else {
            eprintln!("skipped: no address but loopback");
            continue;
        };
        let here = Ours::client(&keys, port, &format!("protocol = socks\nprotocolHost = {ip}:{backend}"));
        says_and_hears(here.port(), "first\r\n", "socks");
        // nobody listens there
        let closed = Ours::client(&keys, ours.port(), &format!("protocol = socks\nprotocolHost = {ip}:1"));
        drop(Plain::to(closed.port()));
        closed.service.log.wait("reply 5: the target refuses its connection", 0);
    }
    ours.service.log.wait("rejected: nothing on this machine itself is served", 0);
}

#[test]
fn backends_learn_where_clients_come_from() {
    let keys = Keys::new();
    let heard_by = |protocol: &str| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = Ours::server(&keys, listener.local_addr().unwrap().port(), &format!("protocol = {protocol}"));
        let here = Stunnel::client(there.port(), "");
        let mut plain = TcpStream::connect(("127.0.0.1", here.port)).unwrap();
        plain.write_all(b"hello").unwrap();
        plain.shutdown(std::net::Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        let mut stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        while !heard.ends_with(b"hello") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            heard.push(byte[0]);
        }
        (heard, there.port())
    };
    let (heard, port) = heard_by("proxy");
    let line = String::from_utf8(heard).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((&words[..4], words[6]), (&["PROXY", "TCP4", "127.0.0.1", "127.0.0.1"][..], "hello"), "{line}");
    assert_eq!(words[5], port.to_string(), "{line}");

    let (heard, port) = heard_by("proxy-v2");
    assert_eq!(&heard[..16], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c");
    assert_eq!(&heard[16..24], &[127, 0, 0, 1, 127, 0, 0, 1]);
    assert_eq!(&heard[26..28], &port.to_be_bytes());
    assert_eq!(&heard[28..], b"hello");
}

// ---- refusals -------------------------------------------------------------------------------------------------------

#[test]
fn what_a_server_slips_in_before_tls_is_refused_and_the_log_says_so() {
    let keys = Keys::new();
    let (port, _heard) = scripted(&["* OK hi\r\n", "stunnel OK go\r\n* 1 EXISTS\r\n"]);
    let here = Ours::client(&keys, port, "protocol = imap");
    let mut plain = Plain::to(here.port());
    assert_eq!(plain.hear(), "* OK Connected.\r\n");
    here.service.log.wait("protocol = imap: the server sent more in clear", 0);
}

#[test]
fn a_server_without_tls_is_told_to_the_client_in_order_and_to_the_log_with_a_remedy() {
    let keys = Keys::new();
    for (protocol, lines, first, last, remedy) in [
        (
            "imap",
            &["* OK hi\r\n", "stunnel NO nothing here\r\n"][..],
            "* OK Connected.\r\n",
            "* BYE stunnel: Server does not support TLS\r\n",
            "`stunnel NO nothing here`: it offers no TLS on this port, use its TLS port 993",
        ),
        ("pop3", &["+OK hi\r\n", "-ERR no\r\n"], "+OK hi\r\n", "-ERR Server does not support TLS\r\n", "TLS port 995"),
        (
            "smtp",
            &["220 hi\r\n", "250 me\r\n", "502 no\r\n"],
            "220 hi\r\n",
            "421 Server does not support TLS\r\n",
            "TLS port 465",
        ),
    ] {
        let (port, _heard) = scripted(lines);
        let here = Ours::client(&keys, port, &format!("protocol = {protocol}"));
        let mut plain = Plain::to(here.port());
        assert_eq!(plain.hear(), first);
        assert_eq!(plain.rest(), last, "{protocol}");
        here.service.log.wait(remedy, 0);
    }
}

#[test]
fn a_proxy_that_wants_a_login_is_quoted() {
    let keys = Keys::new();
    let (port, heard) = scripted(&["", "", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"]);
    let lines = "protocol = connect\nprotocolHost = far.test:993\nprotocolHeader = X-From: tunnel";
    let here = Ours::client(&keys, port, lines);
    drop(Plain::to(here.port()));
    here.service.log.wait("`HTTP/1.1 407 Proxy Authentication Required`: it wants a login: `protocolUsername`", 0);
    let heard = heard.join().unwrap();
    assert_eq!(heard, "CONNECT far.test:993 HTTP/1.1\r\nHost: far.test:993\r\nX-From: tunnel\r\n\r\n");
}

#[test]
fn smtp_signs_in_inside_tls_and_no_log_shows_the_password() {
    let keys = Keys::new();
    let (backend, heard) = scripted(&["220 mx hi\r\n", "250-mx\r\n250 AUTH PLAIN\r\n", "235 welcome\r\n"]);
    let there = Ours::server(&keys, backend, "protocol = smtp\ndebug = debug");
    let lines = "protocol = smtp\nprotocolUsername = joe\nprotocolPassword = hunter2\ndebug = debug";
    let here = Ours::client(&keys, there.port(), lines);
    let mut plain = Plain::to(here.port());
    assert_eq!(plain.hear(), "220 mx stunnel for hi\r\n");
    plain.say("NOOP\r\n");
    drop(plain);
    let heard = heard.join().unwrap();
    assert_eq!(heard, "EHLO localhost\r\nAUTH PLAIN AGpvZQBodW50ZXIy\r\nNOOP\r\n");
    here.service.log.wait("Connection closed", 0);
    let logs = here.service.log.all() + &there.service.log.all();
    assert!(!logs.contains("hunter2") && !logs.contains("AGpvZQ"), "{logs}");
}

#[test]
fn a_client_that_never_asks_for_tls_does_not_stay() {
    let keys = Keys::new();
    let there = Ours::server(&keys, shouting("220 mx hi\r\n"), "protocol = smtp\nTIMEOUTbusy = 1");
    let mut plain = Plain::to(there.port());
    assert_eq!(plain.hear(), "220 mx stunnel for hi\r\n");
    plain.say("MAIL FROM:<a@b>\r\n");
    assert_eq!(plain.hear(), "530 Must issue a STARTTLS command first\r\n");
    plain.say("QUIT\r\n");
    assert_eq!(plain.rest(), "221 mx\r\n");
    there.service.log.wait("the client left without asking for TLS", 0);
    // nor does one that says nothing any more
    let silent = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], there.port()))).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut rest = Vec::new();
    let _ = (&silent).read_to_end(&mut rest);
    assert_eq!(rest, b"220 mx stunnel for hi\r\n");
}
