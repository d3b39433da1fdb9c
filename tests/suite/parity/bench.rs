//! One row with one of the two programs: its folder, its configuration, its process, and what was seen of it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::log;
use crate::support::ca::{Pair, TestCa, host_params};
use crate::support::peers::{self, Conn, PATIENCE, Target, is_listening};
use crate::support::service::{Lines, until};

/// Whose behaviour is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The program that is the anchor.
    Stunnel,
    /// Ours, under the anchor's name.
    Pertuis,
}

/// A folder, a configuration and a process; answers by name what was observed, in the order in which it was.
pub(super) struct Bench {
    subject: Subject,
    template: &'static str,
    dir: tempfile::TempDir,
    words: BTreeMap<String, String>,
    child: Option<Child>,
    heard: Lines,
    hearing: Option<JoinHandle<()>>,
    /// A process that left the foreground, known from its pid file or its listening port.
    daemon: Option<Pid>,
    hidden: Vec<&'static str>,
    pub(super) seen: Vec<(String, String)>,
}

impl Bench {
    pub(super) fn new(subject: Subject, template: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // whoever `setuid` names has to come in
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut words = Files::get().words.clone();
        words.insert("dir".to_owned(), dir.path().display().to_string());
        Self {
            subject,
            template,
            dir,
            words,
            child: None,
            heard: Lines::default(),
            hearing: None,
            daemon: None,
            hidden: Vec::new(),
            seen: Vec::new(),
        }
    }

    // ---- the configuration ----

    /// Gives a placeholder its value.
    #[allow(clippy::needless_pass_by_value)] // words, numbers, addresses: whatever shows itself
    pub(super) fn set(&mut self, name: &str, value: impl ToString) {
        self.words.insert(name.to_owned(), value.to_string());
    }

    /// A listening peer, its address under `name`.
    pub(super) fn target(&mut self, name: &str) -> Target {
        let target = Target::new();
        self.set(name, target.at());
        target
    }

    /// The address that a placeholder stands for; a new name gets a free port.
    pub(super) fn at(&mut self, name: &str) -> SocketAddr {
        self.word(name).parse().unwrap()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// A file with placeholders.
    pub(super) fn write_expanded(&mut self, name: &str, template: &str) {
        let text = self.expand(template);
        self.write(name, &text);
    }

    /// A line of what the kernel says about the process.
    pub(super) fn status(&self, field: &str) -> String {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).unwrap();
        text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default().trim().to_owned()
    }

    /// The text of the row.
    pub(super) fn config(&self) -> &'static str {
        self.template
    }

    /// These placeholders look alike in the log.
    pub(super) fn hide_names(&mut self, names: &[&'static str]) {
        self.hidden.extend(names);
    }

    pub(super) fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    fn word(&mut self, name: &str) -> String {
        if let Some(known) = self.words.get(name) {
            return known.clone();
        }
        if let Some(address) = name.strip_suffix(".port") {
            return self.at(address).port().to_string();
        }
        let fresh = format!("127.0.0.1:{}", peers::free_port());
        self.words.insert(name.to_owned(), fresh.clone());
        fresh
    }

    /// Puts in what `{…}` stands for.
    pub(super) fn expand(&mut self, template: &str) -> String {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap();
            text += before;
            text += &self.word(name);
            rest = after;
        }
        text + rest
    }

    /// Writes another configuration into the same file.
    pub(super) fn rewrite(&mut self, template: &str) {
        let text = self.expand(template);
        self.write("stunnel.conf", &text);
    }

    // ---- the process ----

    /// Starts the program and waits until every `accept` of the template is open.
    pub(super) fn start(&mut self) {
        self.launch();
        let mut wanted = Vec::new();
        for line in self.template.lines().filter_map(|line| line.trim().strip_prefix("accept")) {
            let (_, value) = line.split_once('=').unwrap();
            wanted.extend(self.expand(value.trim()).parse::<SocketAddr>());
        }
        until("the ports of the tunnel", || {
            let open = wanted.iter().all(|at| is_listening(at.port()));
            let ended = !open && self.ended();
            assert!(!ended, "{:?} did not start: {}", self.subject, self.heard.all());
            open.then_some(())
        });
    }

    /// Starts the program without waiting for anything.
    pub(super) fn launch(&mut self) {
        let text = self.expand(self.template);
        self.write("stunnel.conf", &text);
        let mut command = self.command();
        command.arg(self.path("stunnel.conf")).stdin(Stdio::null());
        self.spawn(command);
    }

    /// The program under its name, its words in English, in its folder.
    pub(super) fn command(&self) -> Command {
        // whoever runs the tests in the background has SIGINT ignored, and stunnel leaves that as it finds it
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(match self.subject {
            Subject::Stunnel => Path::new("stunnel4"),
            Subject::Pertuis => &Files::get().pertuis,
        });
        command.env("LC_ALL", "C").current_dir(self.dir.path()).stdout(Stdio::null());
        command
    }

    pub(super) fn spawn(&mut self, mut command: Command) {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("stunnel4 is needed");
        self.hearing = Some(self.heard.and(child.stderr.take().unwrap()));
        self.child = Some(child);
    }

    pub(super) fn pid(&self) -> Pid {
        self.daemon.unwrap_or_else(|| Pid::from_child(self.child.as_ref().unwrap()))
    }

    /// The process that wrote this pid file is the one that gets signals from now on.
    pub(super) fn follow_pid_file(&mut self, name: &str) {
        let path = self.path(name);
        let number = until("the pid file", || fs::read_to_string(&path).ok()?.trim().parse().ok());
        self.daemon = Pid::from_raw(number);
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// A socket of the program itself: what `is` it.
    pub(super) fn socket(&self, is: impl Fn(&socket2::Socket) -> bool) -> socket2::Socket {
        let pid = self.pid();
        let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let folder = format!("/proc/{}/fd", pid.as_raw_nonzero());
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let link = fs::read_link(entry.path()).unwrap_or_default();
            if !link.to_string_lossy().starts_with("socket:") {
                continue;
            }
            let number = entry.file_name().to_string_lossy().parse().unwrap();
            let socket = socket2::Socket::from(pidfd_getfd(&handle, number, PidfdGetfdFlags::empty()).unwrap());
            if is(&socket) {
                return socket;
            }
        }
        panic!("{:?} has no such socket", self.subject);
    }

    fn ended(&mut self) -> bool {
        // a parent that left a daemon behind is no end
        self.child.as_mut().unwrap().try_wait().unwrap().is_some_and(|status| !status.success())
    }

    /// Waits for the end of what was started: its exit code.
    pub(super) fn exit(&mut self) -> String {
        let child = self.child.as_mut().unwrap();
        let status = until("the end of the program", || child.try_wait().unwrap());
        status.code().map_or_else(|| status.to_string(), |code| code.to_string())
    }

    /// TERM, and the exit code.
    pub(super) fn stop(&mut self) -> String {
        self.signal(Signal::TERM);
        self.exit()
    }

    /// Notes whether a port is open.
    pub(super) fn see_open(&mut self, what: &str, name: &str) {
        let open = is_listening(self.at(name).port());
        self.see(what, open);
    }

    pub(super) fn wait_closed(&mut self, name: &str) {
        let port = self.at(name).port();
        until("the port to close", || (!is_listening(port)).then_some(()));
    }

    pub(super) fn wait_open(&mut self, name: &str) {
        let port = self.at(name).port();
        until("the port to open", || is_listening(port).then_some(()));
    }

    /// A connection to an `accept` address.
    pub(super) fn connect(&mut self, name: &str) -> Conn {
        Conn::to(self.at(name)).unwrap_or_else(|error| panic!("{:?}: {name}: {error}", self.subject))
    }

    // ---- what was seen ----

    /// The end of a row: every connection has come to its end, the program too; then its log is whole.
    pub(super) fn settle(&mut self) {
        let deadline = Instant::now() + SETTLING;
        let is_quiet = |log: &str| {
            let begun = log.lines().filter(|line| line.contains(" accepted connection from ")).count();
            let ended = |line: &&str| line.contains(": Connection ") && line.contains(" byte(s) sent to TLS, ");
            begun <= log.lines().filter(ended).count()
        };
        while !is_quiet(&self.log()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let is_running = self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none());
        if is_running {
            let code = self.stop();
            self.see("exit code", code);
        } else if let Some(daemon) = self.daemon.take() {
            kill_process(daemon, Signal::TERM).unwrap_or_default();
            until("the end of the daemon", || rustix::process::test_kill_process(daemon).is_err().then_some(()));
        }
        if let Some(hearing) = self.hearing.take() {
            hearing.join().unwrap();
        }
        let log = self.telling();
        self.see("log", log);
    }

    /// Notes what both programs must agree on.
    #[allow(clippy::needless_pass_by_value)] // the same
    pub(super) fn see(&mut self, what: &str, value: impl ToString) {
        let again = self
            .seen
            .iter()
            .filter(|(name, _)| name.trim_end_matches(|c: char| c == '#' || c.is_ascii_digit()) == what)
            .count();
        let what = if again == 0 { what.to_owned() } else { format!("{what}#{}", again + 1) };
        self.seen.push((what, value.to_string()));
    }

    /// Notes how long something took, when it lies in the given range of milliseconds.
    pub(super) fn see_time(&mut self, what: &str, since: Instant, range: std::ops::Range<u128>) {
        let took = since.elapsed().as_millis();
        let value = if range.contains(&took) { format!("within {range:?}") } else { format!("{took} ms") };
        self.see(what, value);
    }

    /// Waits for a line on standard error or in the file `log`.
    pub(super) fn wait_log(&self, words: &str) {
        self.wait_log_n(words, 1);
    }

    pub(super) fn wait_log_n(&self, words: &str, count: usize) {
        let found = || self.log().lines().filter(|line| line.contains(words)).count() >= count;
        let deadline = Instant::now() + PATIENCE;
        while !found() {
            assert!(Instant::now() < deadline, "{:?}: no `{words}` in\n{}", self.subject, self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The file `log` where there is one, else standard error.
    pub(super) fn log(&self) -> String {
        self.read("log").unwrap_or_else(|| self.heard.all())
    }

    /// Standard error alone.
    pub(super) fn stderr(&self) -> String {
        self.heard.all()
    }

    /// The same once the program has ended.
    pub(super) fn whole_stderr(&mut self) -> String {
        if let Some(hearing) = self.hearing.take() {
            hearing.join().unwrap();
        }
        self.heard.all()
    }

    /// The lines that scripts look for, with names in place of ports.
    pub(super) fn telling(&self) -> String {
        log::telling(&self.log(), &self.names())
    }

    /// What stands for a placeholder, the longest first.
    pub(super) fn names(&self) -> Vec<(String, String)> {
        let is_name = |word: &str| word.contains('/') || word.contains(':') || word.parse::<std::net::IpAddr>().is_ok();
        let words = self.words.iter().filter(|(_, word)| is_name(word));
        let shown =
            |name: &str| if self.hidden.contains(&name) { "{one of them}".to_owned() } else { format!("{{{name}}}") };
        let mut names: Vec<_> = words.map(|(name, word)| (word.clone(), shown(name))).collect();
        names.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        names
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon {
            let _ = kill_process(daemon, Signal::KILL);
        }
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What all rows share and none changes: certificates, and our program under the other one's name.
pub(super) struct Files {
    _dir: tempfile::TempDir,
    pub(super) pertuis: PathBuf,
    pub(super) ca: TestCa,
    /// For `localhost`, `127.0.0.1` and `*.example.test`.
    pub(super) good: Pair,
    /// For a client; its common name is `client`.
    pub(super) client: Pair,
    /// Of a CA that nobody lists.
    pub(super) stranger: Pair,
    pub(super) expired: Pair,
    pub(super) self_signed: Pair,
    pub(super) name_only: Pair,
    /// `good` once more with the same key.
    pub(super) renewed: Pair,
    words: BTreeMap<String, String>,
}

impl Files {
    pub(super) fn get() -> &'static Self {
        static FILES: OnceLock<Files> = OnceLock::new();
        FILES.get_or_init(Self::make)
    }

    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let pertuis = dir.path().join("stunnel4");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_pertuis"), &pertuis).unwrap();
        let ca = TestCa::new(dir.path());
        let (good, client) = (ca.issue(&server_params()), ca.good("client"));
        let stranger = TestCa::new(dir.path()).issue(&server_params());
        let (expired, self_signed, name_only) =
            (ca.expired("localhost"), ca.self_signed("self.test"), ca.common_name_only("localhost"));
        let renewed = ca.renewed(&good, "localhost");
        let path = |path: &Path| path.display().to_string();
        let mut words = BTreeMap::from([("ca".to_owned(), path(&ca.cert))]);
        let pairs = [
            ("cert", "key", &good),
            ("client.cert", "client.key", &client),
            ("stranger.cert", "stranger.key", &stranger),
            ("self.cert", "self.key", &self_signed),
            ("renewed.cert", "renewed.key", &renewed),
        ];
        for (cert, key, pair) in pairs {
            words.insert(cert.to_owned(), path(&pair.cert));
            words.insert(key.to_owned(), path(&pair.key));
        }
        words.insert("crl".to_owned(), path(&revoked(dir.path(), &ca, &client)));
        let listed = [&ca.cert, &good.cert, &self_signed.cert].map(|path| fs::read_to_string(path).unwrap()).concat();
        fs::write(dir.path().join("listed.pem"), listed).unwrap();
        words.insert("listed".to_owned(), path(&dir.path().join("listed.pem")));
        words.insert("hashed".to_owned(), path(&hashed(dir.path(), &ca.cert)));
        words.insert("both".to_owned(), path(&both(dir.path(), &good)));
        words.insert("head".to_owned(), HEAD.to_owned());
        words.insert("at".to_owned(), "127.0.0.1".to_owned());
        Self { _dir: dir, pertuis, ca, good, client, stranger, expired, self_signed, name_only, renewed, words }
    }
}

fn server_params() -> CertificateParams {
    let mut params = host_params("localhost");
    params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    params.subject_alt_names.push(SanType::DnsName("*.example.test".try_into().unwrap()));
    params
}

/// A folder as `c_rehash` makes it.
fn hashed(dir: &Path, ca: &Path) -> PathBuf {
    let folder = dir.join("hashed");
    fs::create_dir(&folder).unwrap();
    let hash = Command::new("openssl").args(["x509", "-noout", "-hash", "-in"]).arg(ca).output().expect("openssl");
    let name = format!("{}.0", String::from_utf8_lossy(&hash.stdout).trim());
    fs::copy(ca, folder.join(name)).unwrap();
    folder
}

/// A list of the CA that revokes one certificate.
fn revoked(dir: &Path, ca: &TestCa, pair: &Pair) -> PathBuf {
    let key = KeyPair::from_pem(&fs::read_to_string(ca.cert.with_extension("key")).unwrap()).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, ca.name.as_str());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let der = CertificateDer::from_pem_file(&pair.cert).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let one = RevokedCertParams {
        serial_number: SerialNumber::from_slice(certificate.raw_serial()),
        revocation_time: date_time_ymd(2021, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2021, 1, 1),
        next_update: date_time_ymd(2090, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![one],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let path = dir.join("crl.pem");
    fs::write(&path, list.signed_by(&Issuer::new(params, key)).unwrap().pem().unwrap()).unwrap();
    path
}

/// Certificate and key in one file, as `cert` alone wants it.
fn both(dir: &Path, pair: &Pair) -> PathBuf {
    let path = dir.join("both.pem");
    let text = fs::read_to_string(&pair.key).unwrap() + &fs::read_to_string(&pair.cert).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path
}

/// How most rows begin; each option of it has a row of its own.
const HEAD: &str = "foreground = yes\nsyslog = no\npid =\ndebug = info\n";

/// How long the ends of connections may take to reach the log.
const SETTLING: Duration = Duration::from_secs(3);
