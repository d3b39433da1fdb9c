//! Whose certificate is accepted: stunnel4 and this program over the same certificates, row by row.
//!
//! Both run with all rows of a table as sections of one file. Each row says what stunnel does; where this program does
//! something else, why. Certificates are made by OpenSSL (`support/certificates.sh`), the other end is Python's ssl.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use pertuis::config::tls::Suite;
use pertuis::config::{Overrides, load_bytes};

use crate::support::service::{Lines, PATIENCE};
use crate::support::site::Site;

/// Both do the same.
const SAME: &str = "";

/// Options of the section, what the other end shows, whether stunnel accepts it, why this program does not do the same.
type Row = (&'static str, &'static str, bool, &'static str);

const CHAIN: &str = "verifyChain = yes\nCAfile = @ca.pem";

/// Client mode: the certificate of a server is judged.
const SERVERS: &[Row] = &[
    ("verifyChain = yes\nCAfile = @ca.pem", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "stranger", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "expired", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "future", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "catrue", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "clientonly", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "serveronly", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "signonly", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "v1", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "v1self", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "self", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "deepchain", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "deep", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem", "belowchain", false, SAME),
    ("verifyChain = yes\nCAfile = @bundle.pem", "deep", true, SAME),
    (
        "verifyChain = yes\nCAfile = @inter.pem",
        "deep",
        false,
        "an intermediate in CAfile is an anchor: who lists it trusts it",
    ),
    ("verifyChain = yes\nCAfile = @old.pem", "ofold", false, SAME),
    // what is listed itself
    ("verifyChain = yes\nCAfile = @self.pem", "self", true, SAME),
    ("verifyChain = yes\nCAfile = @self.pem", "selfrenewed", false, SAME),
    ("verifyChain = yes\nCAfile = @v1self.pem", "v1self", true, SAME),
    ("verifyChain = yes\nCAfile = @good.pem", "good", false, "a listed leaf needs no root: who lists it trusts it"),
    ("verifyChain = yes\nCAfile = @good.pem", "otherkey", false, SAME),
    // folders
    ("verifyChain = yes\nCApath = @hashed", "good", true, SAME),
    ("verifyChain = yes\nCApath = @hashed", "stranger", false, SAME),
    ("verifyChain = yes\nCApath = @oldhash", "good", false, "names of c_rehash before OpenSSL 1.0 count too"),
    ("verifyChain = yes\nCApath = @plain", "good", false, "without HASH.N every file counts, with a warning"),
    // names: alternatives of three lists
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = localhost", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = LOCALHOST", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = a.wild.test", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = a.b.wild.test", "good", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = wild.test", "good", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = .wild.test", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = .test", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = .localhost", "good", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = elsewhere", "good", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = elsewhere\ncheckHost = localhost", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = elsewhere\ncheckIP = 127.0.0.1", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckIP = 127.0.0.1", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckIP = 127.0.0.2", "good", false, SAME),
    (
        "verifyChain = yes\nCAfile = @ca.pem\ncheckHost = 127.0.0.1",
        "good",
        false,
        "an address in checkHost counts as in checkIP",
    ),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckEmail = Bob@example.test", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckEmail = Bob@EXAMPLE.test", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckEmail = bob@example.test", "good", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = localhost", "cnonly", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = elsewhere", "cnonly", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = localhost", "v1", true, SAME),
    // pinned
    ("verifyPeer = yes\nCAfile = @good.pem", "good", true, SAME),
    ("verifyPeer = yes\nCAfile = @good.pem", "renewed", true, SAME),
    ("verifyPeer = yes\nCAfile = @good.pem", "uppercase", true, SAME),
    ("verifyPeer = yes\nCAfile = @good.pem", "elsewhere", false, SAME),
    ("verifyPeer = yes\nCAfile = @good.pem", "otherkey", false, SAME),
    ("verifyPeer = yes\nCAfile = @expired.pem", "expired", false, SAME),
    ("verifyPeer = yes\nCAfile = @clientonly.pem", "clientonly", false, SAME),
    ("verifyPeer = yes\nCAfile = @catrue.pem", "catrue", true, SAME),
    ("verifyPeer = yes\nCAfile = @v1.pem", "v1", true, SAME),
    ("verifyPeer = yes\nCAfile = @self.pem", "self", true, SAME),
    ("verifyPeer = yes\nCAfile = @self.pem", "selfrenewed", false, SAME),
    ("verifyPeer = yes\nCApath = @peers", "good", true, SAME),
    ("verifyPeer = yes\nCAfile = @ca.pem", "good", false, SAME),
    ("verifyPeer = yes\nCAfile = @good.pem\ncheckHost = elsewhere", "good", false, SAME),
    ("verifyPeer = yes\nverifyChain = yes\nCAfile = @ca.pem", "good", false, SAME),
    // levels
    ("verify = 0", "stranger", true, SAME),
    ("verify = 1\nCAfile = @ca.pem", "good", true, SAME),
    ("verify = 1\nCAfile = @ca.pem", "stranger", false, SAME),
    ("verify = 2\nCAfile = @ca.pem", "good", true, SAME),
    ("verify = 2\nCAfile = @ca.pem", "stranger", false, SAME),
    ("verify = 3\nCAfile = @ca.pem", "good", false, SAME),
    ("verify = 3\nCAfile = @good.pem", "good", false, "a listed leaf needs no root: who lists it trusts it"),
    ("verify = 3\nCAfile = @self.pem", "self", true, SAME),
    ("verify = 4\nCAfile = @good.pem", "good", true, SAME),
    ("verify = 4\nCAfile = @ca.pem", "good", false, SAME),
    // revocation lists: of the leaf alone, and one of its issuer there has to be
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-good.pem", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-good.pem", "revoked", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-v1.pem", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-v1.pem", "revoked", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-good.pem", "v1", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-other.pem", "good", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-old.pem", "good", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-future.pem", "good", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-both.pem", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-both.pem", "revoked", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-good.pem", "deepchain", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-inter.pem", "deepchain", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLpath = @crls", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLpath = @crls", "revoked", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLpath = @empty", "good", false, SAME),
    ("verifyChain = yes\nCApath = @both\nCRLpath = @empty", "good", true, SAME),
    ("verifyChain = yes\nCApath = @both\nCRLpath = @empty", "revoked", false, SAME),
    ("verifyChain = yes\nCApath = @both", "revoked", true, SAME),
    ("verifyChain = yes\nCAfile = @self.pem\nCRLfile = @crl-good.pem", "self", false, SAME),
    ("verifyPeer = yes\nCAfile = @good.pem\nCRLfile = @crl-good.pem", "good", false, SAME),
    ("verifyPeer = yes\nCAfile = @self.pem\nCRLfile = @crl-good.pem", "self", false, SAME),
    ("CAfile = @ca.pem\nCRLfile = @crl-good.pem", "revoked", true, SAME),
];

/// Server mode: the certificate of a client is judged; `-` for a client without one.
const CLIENTS: &[Row] = &[
    (CHAIN, "good", true, SAME),
    (CHAIN, "-", false, SAME),
    (CHAIN, "stranger", false, SAME),
    (CHAIN, "expired", false, SAME),
    (CHAIN, "serveronly", false, SAME),
    (CHAIN, "clientonly", true, SAME),
    (CHAIN, "v1", true, SAME),
    (CHAIN, "catrue", true, SAME),
    (CHAIN, "self", false, SAME),
    (CHAIN, "deepchain", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = localhost", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckHost = elsewhere", "good", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\ncheckEmail = Bob@example.test", "good", true, SAME),
    ("requireCert = yes", "-", false, SAME),
    ("requireCert = yes", "stranger", true, SAME),
    ("requireCert = yes", "expired", true, SAME),
    ("verify = 0", "-", true, SAME),
    ("verify = 0", "stranger", true, SAME),
    ("verify = 1\nCAfile = @ca.pem", "-", true, SAME),
    ("verify = 1\nCAfile = @ca.pem", "good", true, SAME),
    ("verify = 1\nCAfile = @ca.pem", "stranger", false, SAME),
    ("verify = 2\nCAfile = @ca.pem", "-", false, SAME),
    ("verify = 2\nCAfile = @ca.pem", "good", true, SAME),
    ("verify = 3\nCAfile = @self.pem", "self", true, SAME),
    ("verify = 4\nCAfile = @good.pem", "good", true, SAME),
    ("verify = 4\nCAfile = @good.pem", "-", false, SAME),
    ("verifyPeer = yes\nCAfile = @good.pem", "elsewhere", false, SAME),
    ("verifyPeer = yes\nCAfile = @good.pem", "renewed", true, SAME),
    ("verifyPeer = yes\nCAfile = @good.pem", "otherkey", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-good.pem", "good", true, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-good.pem", "revoked", false, SAME),
    ("verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @crl-old.pem", "good", false, SAME),
];

/// Both refuse to start.
const MISTAKES: &[&str] = &[
    "verifyChain = yes",
    "verifyPeer = yes",
    "verifyChain = yes\nCAfile = @none.pem",
    "verifyChain = yes\nCAfile = @good.key",
    "verifyChain = yes\nCApath = @none",
    "verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @none.pem",
    "verifyChain = yes\nCAfile = @ca.pem\nCRLfile = @ca.pem",
    "checkHost = localhost",
    "verify = 5\nCAfile = @ca.pem",
    "cert = @good.pem\nkey = @stranger.key",
    "cert = @bundle.pem\nkey = @ca.key",
    "curves = foo",
    "ciphersuites = nonsense",
];

/// What the log says, for the administrator who greps for stunnel's words.
const SAID: &[&str] = &[
    "certificate revoked",
    "unable to get certificate CRL",
    "CRL has expired",
    "CRL is not yet valid",
    "CRL signature failure",
    "self-signed",
    "peer did not return a certificate",
    "invalid CA certificate",
];

// ---- what the tests are made of -------------------------------------------------------------------------------------

/// A folder with every certificate.
struct World {
    site: Site,
}

impl World {
    fn new() -> Self {
        let site = Site::new();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/support/certificates.sh");
        let made = Command::new("sh").arg(script).arg(site.dir.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { site }
    }

    fn path(&self, name: &str) -> String {
        self.site.path(name).display().to_string()
    }

    /// `@` is the folder; an address of mail keeps its own.
    fn fill(&self, options: &str) -> String {
        options.replace("= @", &format!("= {}/", self.site.dir.path().display()))
    }

    fn pair(&self, name: &str) -> (String, String) {
        if name == "-" {
            ("-".into(), "-".into())
        } else {
            (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")))
        }
    }
}

/// `support/peer.py`.
struct Peer {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    ports: HashMap<String, u16>,
}

impl Peer {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/support/peer.py");
        let mut command = Command::new("python3");
        let mut child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (ask, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, ask, answers, ports: HashMap::new() }
    }

    fn say(&mut self, words: &str) -> String {
        writeln!(self.ask, "{words}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// A TLS server with this certificate; one for each.
    fn serves(&mut self, (cert, key): &(String, String)) -> u16 {
        if let Some(port) = self.ports.get(cert) {
            return *port;
        }
        let port = self.say(&format!("serve {cert} {key}")).parse().unwrap();
        self.ports.insert(cert.clone(), port);
        port
    }

    fn connects(&mut self, port: u16, (cert, key): &(String, String)) -> bool {
        match self.say(&format!("connect {port} {cert} {key}")).as_str() {
            "accepted" => true,
            "refused" => false,
            other => panic!("{other}"),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// stunnel4, or this program in its place.
struct Program {
    child: Child,
    log: Lines,
}

impl Program {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Lines::of(child.stderr.take().unwrap());
        Self { child, log }
    }

    fn port(&self, section: usize) -> u16 {
        let mut nth = 0;
        loop {
            // `Service [7] (FD=12) bound to …` and `Service [7] bound to …`
            let line = self.log.wait(" bound to ", nth);
            if line.contains(&format!("Service [{section}] ")) {
                return line.rsplit(':').next().unwrap().parse().unwrap();
            }
            nth += 1;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stunnel(world: &World, file: &Path) -> Command {
    let mut command = Command::new("stunnel4");
    command.arg(file).current_dir(world.site.dir.path());
    command
}

fn ours(world: &World, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pertuis"));
    command.arg(file).current_dir(world.site.dir.path()).env("LC_ALL", "C");
    command
}

/// The same file for both, but for the one line that only we know.
fn files(world: &World, sections: &str) -> [std::path::PathBuf; 2] {
    let head = "foreground = yes\nsyslog = no\npid =\ndebug = 6\n";
    let both = [
        ("stunnel.conf", String::new()),
        ("ours.conf", format!("defaults = stunnel\nstate = {}\n", world.path("state"))),
    ];
    both.map(|(name, more)| {
        let file = world.site.path(name);
        std::fs::write(&file, format!("{more}{head}{sections}")).unwrap();
        file
    })
}

/// Whether a byte comes back through a tunnel in client mode.
fn comes_back(port: u16) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 5];
    stream.write_all(b"hello").is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"hello"
}

/// Asks both programs about each row; what is not as the table says comes back. What `asks` tells of a refusal, empty
/// where it tells nothing, has to be the same of both.
fn wrong(table: &[Row], programs: &[Program; 2], mut asks: impl FnMut(u16, &Row) -> Result<(), String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, row) in table.iter().enumerate() {
        let (options, shown, stunnel, reason) = row;
        let seen = [0, 1].map(|which| asks(programs[which].port(number), row));
        let expected = [*stunnel, *stunnel == reason.is_empty()];
        let verdicts = [seen[0].is_ok(), seen[1].is_ok()];
        if verdicts != expected {
            wrong.push(format!("{shown} with {options:?}: [stunnel, pertuis] {verdicts:?}, expected {expected:?}"));
        }
        if let [Err(theirs), Err(ours)] = &seen {
            // a name that stunnel refuses itself is for OpenSSL no error of the certificate, but an internal one, or the one
            // that was ignored before it
            let by_name = options.contains("check") && !theirs.is_empty();
            let theirs = if by_name { "SSLV3_ALERT_BAD_CERTIFICATE" } else { theirs };
            if ours != theirs {
                wrong.push(format!("{shown} with {options:?}: alert {ours}, stunnel's {theirs}"));
            }
        }
    }
    wrong
}

// ---- the tests ------------------------------------------------------------------------------------------------------

#[test]
fn servers_certificates_are_accepted_and_refused_as_by_stunnel() {
    let (world, mut peer) = (World::new(), Peer::start());
    let mut section = |(number, (options, shown, ..)): (usize, &Row)| {
        let port = peer.serves(&world.pair(shown));
        let options = world.fill(options);
        format!("[{number}]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:{port}\n{options}\n")
    };
    let sections: String = SERVERS.iter().enumerate().map(&mut section).collect();
    let [theirs, own] = files(&world, &sections);
    let programs = [Program::start(stunnel(&world, &theirs)), Program::start(ours(&world, &own))];
    let wrong = wrong(SERVERS, &programs, |port, (_, shown, ..)| {
        let server = peer.serves(&world.pair(shown));
        if comes_back(port) { Ok(()) } else { Err(peer.say(&format!("alert {server}"))) }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    let log = programs[1].log.all();
    for words in SAID.iter().filter(|words| !words.contains("did not return")) {
        assert!(log.contains(words), "{words} in {log}");
    }
}

#[test]
fn clients_certificates_are_accepted_and_refused_as_by_stunnel() {
    let (world, mut peer) = (World::new(), Peer::start());
    let echo = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = echo.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in echo.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    let section = |(number, (options, ..)): (usize, &Row)| {
        let (cert, options) = (world.path("server.pem"), world.fill(options));
        format!("[{number}]\ncert = {cert}\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:{port}\n{options}\n")
    };
    let sections: String = CLIENTS.iter().enumerate().map(section).collect();
    let [theirs, own] = files(&world, &sections);
    let programs = [Program::start(stunnel(&world, &theirs)), Program::start(ours(&world, &own))];
    let wrong =
        wrong(
            CLIENTS,
            &programs,
            |port, (_, shown, ..)| {
                if peer.connects(port, &world.pair(shown)) { Ok(()) } else { Err(String::new()) }
            },
        );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(programs[1].log.all().contains("peer did not return a certificate"));
}

#[test]
fn what_stunnel_does_not_start_with_we_do_not_either() {
    let world = World::new();
    for options in MISTAKES {
        let mode = if options.starts_with("cert") { "" } else { "client = yes\n" };
        let section = format!("[t]\n{mode}accept = 127.0.0.1:0\nconnect = 127.0.0.1:1\n{}\n", world.fill(options));
        let [theirs, own] = files(&world, &section);
        for mut command in [stunnel(&world, &theirs), ours(&world, &own)] {
            let ended = command.stdin(Stdio::null()).output().unwrap();
            assert_eq!(ended.status.code(), Some(1), "{options:?}: {}", String::from_utf8_lossy(&ended.stderr));
        }
    }
}

#[test]
fn a_cipher_string_leaves_what_openssl_leaves_of_the_suites_that_there_are() {
    let world = World::new();
    let mut seen = 0;
    for string in strings() {
        let asked = Command::new("openssl").args(["ciphers", "-s", "-tls1_2", &string]).output().unwrap();
        let list = String::from_utf8(asked.stdout).unwrap();
        let expected: Vec<&str> = list.trim().split(':').filter(|name| SUITES.contains(name)).collect();
        let pair = format!("cert = {}\nkey = {}", world.path("good.pem"), world.path("good.key"));
        let text = format!("[t]\n{pair}\naccept = 127.0.0.1:1\nconnect = 127.0.0.1:2\nciphers = {string}\n");
        let loaded = load_bytes(Path::new("t.conf"), text.as_bytes(), &Overrides::default());
        let found = loaded.ok().and_then(|config| config.tunnels[0].tls.suites12.clone()).unwrap_or_default();
        let found: Vec<&str> = found.into_iter().map(Suite::name).collect();
        assert_eq!(found, expected, "{string}");
        seen += usize::from(!found.is_empty());
    }
    assert!(seen > 50, "only {seen} strings that leave something");
}

/// Strings of words in every combination of a simple generator: the same ones in each run.
fn strings() -> Vec<String> {
    let mut state = 7_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut word = || {
        let first = WORDS[next(WORDS.len())];
        let second = if next(3) == 0 { format!("+{}", WORDS[next(WORDS.len())]) } else { String::new() };
        format!("{}{first}{second}", ["", "", "", "!", "-", "+"][next(6)])
    };
    // the first word keeps the command from taking a `-` for an option of its own
    (0..150)
        .map(|number| (0..2 + number % 5).fold("NONSENSE".to_owned(), |all, _| format!("{all}:{}", word())))
        .collect()
}

/// Also what none of the suites is, and what is no word.
const WORDS: [&str; 20] = [
    "ALL",
    "HIGH",
    "MEDIUM",
    "ECDHE",
    "EECDH",
    "kEECDH",
    "ECDH",
    "RSA",
    "kRSA",
    "aRSA",
    "ECDSA",
    "aECDSA",
    "AES",
    "AES128",
    "AES256",
    "AESGCM",
    "CHACHA20",
    "SHA384",
    "NONSENSE",
    "ECDHE-RSA-AES128-GCM-SHA256",
];

/// Those of TLS 1.2 that there are.
const SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
];
