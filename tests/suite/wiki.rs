//! The configuration of EzGED's wiki, as it stands, with the real binary: only ports, remote names and
//! `SSL_CERT_FILE` differ. On the plain side speak Python's poplib and smtplib, as the old scripts do.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::ca::TestCa;
use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::mails::mail;
use crate::support::postfix::Postfix;
use crate::support::service::Service;
use crate::support::site::Site;

/// The wiki's block, its addresses replaced.
fn wiki(pop: &str, smtp: &str) -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/conf/wiki.ini")).unwrap();
    for address in ["127.0.0.1:110", "127.0.0.1:25", "pop.gmail.com:995", "smtp.gmail.com:465"] {
        assert!(text.contains(address), "{address}");
    }
    text.replace("127.0.0.1:110", "127.0.0.1:0")
        .replace("127.0.0.1:25", "127.0.0.1:0")
        .replace("pop.gmail.com:995", pop)
        .replace("smtp.gmail.com:465", smtp)
}

fn serve(site: &Site, ca: &TestCa) -> Service {
    let mut command = site.command(&["run"]);
    command.env("SSL_CERT_FILE", &ca.cert).env_remove("SSL_CERT_DIR");
    Service::start(&mut command)
}

/// Runs a Python script; answers what it printed.
fn python(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("python3").arg("-c").arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const READ: &str = "
import poplib, sys
box = poplib.POP3('127.0.0.1', int(sys.argv[1]), timeout=60)
box.user(sys.argv[2]); box.pass_(sys.argv[3])
print(b'\\n'.join(box.retr(1)[1]).decode()); box.quit()
";

const SEND: &str = "
import smtplib, sys
server = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=30)
server.sendmail('mairie@example.org', ['ged@example.org'], 'Subject: Accus\\xe9\\r\\n\\r\\nBien reçu.\\r\\n'.encode())
server.quit()
";

/// Prints `ExceptionName SECONDS`, or `no error`.
const KNOCK: &str = "
import poplib, sys, time
begun = time.time()
try:
    poplib.POP3('127.0.0.1', int(sys.argv[1]), timeout=100)
    print('no error')
except Exception as error:
    print(type(error).__name__, time.time() - begun)
";

#[test]
fn poplib_reads_and_smtplib_sends_through_the_tunnels_of_the_wiki() {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let pair = ca.good("localhost");
    let mut pop = Dovecot::start_tls(&pair.cert, &pair.key);
    pop.deliver(&mail("Convocation", &[("ordre du jour.pdf", b"%PDF-1.4")]));
    let mut smtp = rustix::process::geteuid().is_root().then(|| Postfix::start(&pair.cert, &pair.key));
    let remote = |port: u16| format!("localhost:{port}");
    site.write_ini(&wiki(&remote(pop.pop3s().port()), &remote(smtp.as_ref().map_or(1, Postfix::port))));
    let service = serve(&site, &ca);
    let port = |name: &str| service.bound(name, 0).port().to_string();
    let (pop_port, smtp_port) = (port("gmail-pop3"), port("gmail-smtp"));
    assert!(python(READ, &[&pop_port, ACCOUNT, PASSWORD]).contains("Subject: Convocation"));
    let Some(smtp) = &mut smtp else {
        eprintln!("sending by smtplib: SKIPPED, Postfix needs root");
        return;
    };
    let sent = Command::new("python3").arg("-c").arg(SEND).arg(&smtp_port).output().unwrap();
    assert!(sent.status.success(), "{}\n{}", String::from_utf8_lossy(&sent.stderr), smtp.log());
    assert!(smtp.first_mail().contains("Bien reçu."));
}

/// What poplib says of a tunnel to `remote`, and how long it took to say it.
fn knock(ca: &TestCa, site: &Site, remote: &str, more: &str) -> (String, Duration) {
    site.write_ini(&format!("{more}\n{}", wiki(remote, remote)));
    let service = serve(site, ca);
    let port = service.bound("gmail-pop3", 0).port().to_string();
    let begun = Instant::now();
    let said = python(KNOCK, &[&port]);
    (said, begun.elapsed())
}

#[test]
fn poplib_gets_an_error_at_once_when_the_remote_is_down_refused_or_silent() {
    let site = Site::new();
    let ca = TestCa::new(site.dir.path());
    let (said, took) = knock(&ca, &site, "localhost:1", "");
    assert!(said.contains("Error") && took < Duration::from_secs(10), "{said} {took:?}");

    let pair = ca.expired("localhost");
    let server = Dovecot::start_tls(&pair.cert, &pair.key);
    let (said, took) = knock(&ca, &site, &format!("localhost:{}", server.pop3s().port()), "");
    assert!(said.contains("Error") || said.contains("error_proto"), "{said}");
    assert!(took < Duration::from_secs(10), "{took:?}");

    // a listener whose queue is full answers nothing at all: only TIMEOUTconnect ends that
    let full = full_listener();
    let (said, took) = knock(&ca, &site, &full.address, "TIMEOUTconnect = 2");
    assert!(said.contains("Error") || said.contains("error_proto"), "{said}");
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(12), "{took:?}");
}

struct FullListener {
    address: String,
    _held: Vec<socket2::Socket>,
}

/// Listens with a queue of one and fills it, so that the next SYN is dropped.
fn full_listener() -> FullListener {
    use socket2::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = vec![listener];
    for _ in 0..4 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address);
        held.push(socket);
    }
    FullListener { address: format!("127.0.0.1:{}", address.as_socket().unwrap().port()), _held: held }
}
