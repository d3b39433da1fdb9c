//! A real Postfix in a temporary folder: SMTP inside TLS from the first byte, mails into a Maildir.
//!
//! Its processes need root and Debian's accounts `postfix` and `nobody`; who is not root skips what needs it.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server; stopped when it is dropped.
pub(crate) struct Postfix {
    dir: tempfile::TempDir,
    child: Child,
    port: u16,
    plain: u16,
}

#[allow(dead_code)] // not every test needs every door
impl Postfix {
    /// Starts a server with this certificate and key.
    pub(crate) fn start(cert: &Path, key: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("postfix").tempdir().unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port, plain) = (free(), free());
        lay_out(dir.path(), port, plain, cert, key);
        let config = dir.path().join("etc");
        let status = Command::new("/usr/sbin/postfix").arg("-c").arg(&config).arg("check").status();
        assert!(status.expect("postfix: install postfix").success());
        let child = Command::new("/usr/lib/postfix/sbin/master")
            .args(["-d", "-c"])
            .arg(&config)
            .env("MAIL_CONFIG", &config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { dir, child, port, plain };
        server.wait("accepts connections", |server| {
            [server.port, server.plain].iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
        });
        server
    }

    /// SMTP with TLS from the first byte.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// SMTP in plain text, with STARTTLS on offer.
    pub(crate) fn plain(&self) -> u16 {
        self.plain
    }

    /// What the server logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log/mail.log")).unwrap_or_default()
    }

    /// Waits for one delivered mail and answers its text.
    pub(crate) fn first_mail(&mut self) -> String {
        self.mails(1).remove(0)
    }

    /// Waits for so many delivered mails and answers their texts, as they came.
    pub(crate) fn mails(&mut self, count: usize) -> Vec<String> {
        let inbox = self.dir.path().join("mail/ged/new");
        let read = || {
            let entries = fs::read_dir(&inbox).into_iter().flatten().flatten();
            let mut mails: Vec<_> = entries
                .map(|entry| (entry.metadata().unwrap().modified().unwrap(), fs::read_to_string(entry.path()).unwrap()))
                .collect();
            mails.sort();
            mails.into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        self.wait("delivered the mails", |_| read().len() >= count);
        read()
    }

    fn wait(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done(self) {
            let log = self.log();
            assert!(self.child.try_wait().unwrap().is_none(), "postfix ended: {log}");
            assert!(Instant::now() < deadline, "postfix never {what}: {log}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // the master ends its own children on SIGTERM
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn lay_out(dir: &Path, port: u16, plain: u16, cert: &Path, key: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    for part in ["etc", "queue", "data", "mail", "log"] {
        fs::create_dir(dir.join(part)).unwrap();
    }
    let account = |name: &str| {
        let output = Command::new("id").args(["-u", name]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
    };
    chown(dir.join("data"), Some(account("postfix")), None).unwrap();
    let nobody = account("nobody");
    chown(dir.join("mail"), Some(nobody), None).unwrap();
    let (base, cert, key) = (dir.display(), cert.display(), key.display());
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {base}/queue\ndata_directory = {base}/data\n\
         maillog_file = {base}/log/mail.log\nmaillog_file_prefixes = {base}\nmail_owner = postfix\nsetgid_group = postdrop\n\
         myhostname = localhost\nmydestination =\nmynetworks = 127.0.0.0/8\ninet_interfaces = loopback-only\n\
         inet_protocols = ipv4\nvirtual_mailbox_domains = example.org\nvirtual_mailbox_base = {base}/mail\n\
         virtual_mailbox_maps = inline:{{ ged@example.org=ged/ }}\nvirtual_uid_maps = static:{nobody}\n\
         virtual_gid_maps = static:65534\nalias_maps =\nalias_database =\nsmtpd_tls_cert_file = {cert}\nsmtpd_tls_key_file = {key}\n\
         smtpd_tls_security_level = may\nsmtpd_relay_restrictions = permit_mynetworks, reject\n"
    );
    fs::write(dir.join("etc/main.cf"), main).unwrap();
    let mut master = format!("127.0.0.1:{port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n");
    let _ = writeln!(master, "127.0.0.1:{plain} inet n - n - - smtpd");
    master
        .push_str("pickup unix n - n 60 1 pickup\nqmgr unix n - n 300 1 qmgr\npostlog unix-dgram n - n - 1 postlogd\n");
    master.push_str("cleanup unix n - n - 0 cleanup\ntlsmgr unix - - n 1000? 1 tlsmgr\nanvil unix - - n - 1 anvil\n");
    for (name, command) in [
        ("rewrite", "trivial-rewrite"),
        ("bounce", "bounce"),
        ("defer", "bounce"),
        ("trace", "bounce"),
        ("virtual", "virtual"),
        ("error", "error"),
        ("retry", "error"),
        ("proxymap", "proxymap"),
    ] {
        let _ = writeln!(master, "{name} unix - n n - - {command}");
    }
    fs::write(dir.join("etc/master.cf"), master).unwrap();
}
