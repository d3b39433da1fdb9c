//! A real Dovecot (2.3) in a temporary folder, on free ports of 127.0.0.1.
//!
//! One account; mails are delivered by writing Maildir files, so what a client must see is known byte by byte. As
//! root, Dovecot's own accounts are used and the mails belong to `nobody`; else everything runs as the caller.

#![allow(clippy::unwrap_used, clippy::expect_used)] // the helpers of tests are tests too

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The account of every server.
pub(crate) const ACCOUNT: &str = "ged@example.org";
/// Its password.
pub(crate) const PASSWORD: &str = "motdepasse";

/// A running server; stopped when it is dropped.
pub(crate) struct Dovecot {
    dir: tempfile::TempDir,
    child: Child,
    ports: Ports,
    mails: u32,
}

#[derive(Clone, Copy)]
struct Ports {
    imap: u16,
    imaps: u16,
    pop3: u16,
    pop3s: u16,
}

#[allow(dead_code)] // not every test needs every door
impl Dovecot {
    /// Starts a server without TLS.
    pub(crate) fn start() -> Self {
        Self::start_with(None, "")
    }

    /// Starts a server with this certificate chain and key on its TLS ports (and STARTTLS on the others).
    pub(crate) fn start_tls(cert: &Path, key: &Path) -> Self {
        Self::start_with(Some((cert, key)), "")
    }

    /// IMAP without TLS.
    pub(crate) fn imap(&self) -> SocketAddr {
        local(self.ports.imap)
    }

    /// IMAP with TLS from the first byte.
    pub(crate) fn imaps(&self) -> SocketAddr {
        local(self.ports.imaps)
    }

    /// POP3 without TLS.
    pub(crate) fn pop3(&self) -> SocketAddr {
        local(self.ports.pop3)
    }

    /// POP3 with TLS from the first byte.
    pub(crate) fn pop3s(&self) -> SocketAddr {
        local(self.ports.pop3s)
    }

    /// Puts an unseen message into INBOX.
    pub(crate) fn deliver(&mut self, message: &[u8]) {
        self.deliver_to("INBOX", "", message);
    }

    /// Puts a message into a folder (modified UTF-7, `.` between levels) with Maildir flags (`S` seen, `T` deleted, `F`
    /// flagged).
    pub(crate) fn deliver_to(&mut self, folder: &str, flags: &str, message: &[u8]) {
        self.mails += 1;
        let dir = self.maildir(folder);
        let (place, suffix) = if flags.is_empty() { ("new", String::new()) } else { ("cur", format!(":2,{flags}")) };
        for part in ["tmp", "new", "cur"] {
            make_dir(&dir.join(part));
        }
        give(&dir);
        let name = format!("{}.M{}.test{suffix}", 1_700_000_000 + self.mails, self.mails);
        let part = dir.join("tmp").join(&name);
        fs::write(&part, message).unwrap();
        give(&part);
        fs::hard_link(&part, dir.join(place).join(&name)).unwrap();
        fs::remove_file(&part).unwrap();
    }

    /// The messages of a folder with their Maildir flags, in the order in which they were delivered.
    pub(crate) fn messages(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let dir = self.maildir(folder);
        let mut files: Vec<PathBuf> = ["new", "cur"]
            .iter()
            .filter_map(|part| fs::read_dir(dir.join(part)).ok())
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
        files
            .iter()
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let flags = name.split_once(":2,").map_or(String::new(), |(_, flags)| flags.to_owned());
                (flags, fs::read(path).unwrap())
            })
            .collect()
    }

    /// Gives the account another password.
    pub(crate) fn set_password(&self, password: &str) {
        fs::write(self.dir.path().join("users"), format!("{ACCOUNT}:{{PLAIN}}{password}\n")).unwrap();
    }

    /// Gives the first messages of INBOX, in the order of their names, the first keyword, as Maildir writes it.
    pub(crate) fn keyword(&self, keyword: &str, count: usize) {
        let dir = self.maildir("INBOX");
        fs::write(dir.join("dovecot-keywords"), format!("0 {keyword}\n")).unwrap();
        give(&dir.join("dovecot-keywords"));
        let mut files: Vec<PathBuf> =
            fs::read_dir(dir.join("cur")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files.iter().take(count) {
            fs::hard_link(file, format!("{}a", file.display())).unwrap();
            fs::remove_file(file).unwrap();
        }
    }

    /// How many messages a folder has, also while they are being deleted.
    pub(crate) fn count(&self, folder: &str) -> usize {
        let dir = self.maildir(folder);
        ["new", "cur"].iter().filter_map(|part| fs::read_dir(dir.join(part)).ok()).map(Iterator::count).sum()
    }

    /// What the server logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("dovecot.log")).unwrap_or_default()
    }

    /// Starts a server with lines of configuration of one's own at the end, where they count most.
    pub(crate) fn start_with(tls: Option<(&Path, &Path)>, extra: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("dovecot").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        make_dir(&dir.path().join("mail"));
        fs::write(dir.path().join("users"), format!("{ACCOUNT}:{{PLAIN}}{PASSWORD}\n")).unwrap();
        let [imap, imaps, pop3, pop3s] = free_ports();
        let ports = Ports { imap, imaps, pop3, pop3s };
        let conf = dir.path().join("dovecot.conf");
        fs::write(&conf, configuration(dir.path(), ports, tls) + extra).unwrap();
        let child = Command::new(program())
            .arg("-F")
            .arg("-c")
            .arg(&conf)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("stderr")).unwrap())
            .spawn()
            .expect("dovecot: install dovecot-imapd and dovecot-pop3d");
        let mut server = Self { dir, child, ports, mails: 0 };
        server.wait_until_it_accepts(tls.is_some() && !extra.contains("ssl = no"));
        server
    }

    fn wait_until_it_accepts(&mut self, tls: bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut ports = vec![self.ports.imap, self.ports.pop3];
        if tls {
            ports.extend([self.ports.imaps, self.ports.pop3s]);
        }
        while !ports.iter().all(|&port| TcpStream::connect(local(port)).is_ok()) {
            let ended = self.child.try_wait().unwrap();
            let stderr = fs::read_to_string(self.dir.path().join("stderr")).unwrap_or_default();
            assert!(ended.is_none(), "dovecot ended: {stderr}\n{}", self.log());
            assert!(Instant::now() < deadline, "dovecot does not accept: {stderr}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn maildir(&self, folder: &str) -> PathBuf {
        let base = self.dir.path().join("mail").join(ACCOUNT);
        if !base.exists() {
            make_dir(&base);
        }
        if folder == "INBOX" { base } else { base.join(format!(".{folder}")) }
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let _ =
            rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn configuration(dir: &Path, ports: Ports, tls: Option<(&Path, &Path)>) -> String {
    let base = dir.display();
    let owner = owner();
    let Ports { imap, imaps, pop3, pop3s } = ports;
    let mut text = format!(
        "protocols = imap pop3
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/dovecot.log
listen = 127.0.0.1
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:{base}/mail/%u
first_valid_uid = 1
first_valid_gid = 1
# a test may log in often, and wait in a hundred sessions at once
mail_max_userip_connections = 300
passdb {{
  driver = passwd-file
  args = {base}/users
}}
userdb {{
  driver = static
  args = uid={owner} gid={owner} home={base}/mail/%u allow_all_users=yes
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
service imap-login {{
  service_count = 0
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  service_count = 0
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
"
    );
    match tls {
        Some((cert, key)) => {
            let _ = write!(text, "ssl = yes\nssl_cert = <{}\nssl_key = <{}\n", cert.display(), key.display());
        }
        None => text.push_str("ssl = no\n"),
    }
    if !is_root() {
        let user = std::env::var("USER").unwrap_or_default();
        let _ = write!(text, "default_internal_user = {user}\ndefault_login_user = {user}\n");
        for service in ["imap-login", "pop3-login", "anvil"] {
            let _ = write!(text, "service {service} {{\n  chroot =\n}}\n");
        }
    }
    text
}

/// Who owns the mails: `nobody` under root, for Dovecot serves no mails of root.
fn owner() -> u32 {
    if is_root() { 65534 } else { rustix::process::getuid().as_raw() }
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

fn make_dir(path: &Path) {
    fs::create_dir_all(path).unwrap();
    give(path);
}

fn give(path: &Path) {
    if is_root() && fs::metadata(path).unwrap().uid() != owner() {
        chown(path, Some(owner()), Some(owner())).unwrap();
    }
}

fn program() -> &'static str {
    if Path::new("/usr/sbin/dovecot").exists() { "/usr/sbin/dovecot" } else { "dovecot" }
}

/// Free ports, held until all are chosen: no two of them are one.
fn free_ports() -> [u16; 4] {
    let held = [(); 4].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    held.each_ref().map(|listener| listener.local_addr().unwrap().port())
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
