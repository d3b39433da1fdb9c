//! The real oidc-provider (npm) as an authorization server with the device flow, on a free port of 127.0.0.1.
//!
//! `server.mjs` beside this file is its configuration; the packages stand in the target folder (`tests/run` puts them
//! there with `npm ci`), never in the source tree. What Microsoft does otherwise is for the simulator beside it: this
//! one is here because somebody else wrote it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::json;

use super::service::Lines;

/// Who may ask.
pub(crate) const CLIENT: &str = "0b6d5c1e-6b7c-4f2a-9f1b-6f2c1f1d0a11";
/// The path segment before `oauth2/v2.0`.
pub(crate) const TENANT: &str = "organizations";

/// A running server; it ends when it is dropped.
pub(crate) struct Oidc {
    child: Child,
    input: ChildStdin,
    said: Lines,
    authority: String,
}

/// How long what it issues is good for, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Lifetimes {
    pub(crate) device_code: u32,
    pub(crate) access: u32,
    pub(crate) refresh: u32,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { device_code: 900, access: 3600, refresh: 86400 }
    }
}

impl Oidc {
    /// Starts one that grants `scopes` besides those that every sign-in asks for; `None` where its packages are missing, which is said,
    /// and is a failure under `tests/run`.
    pub(crate) fn start(scopes: &[&str], lifetimes: Lifetimes) -> Option<Self> {
        let folder = installed()?;
        // not a file there: `import` looks for packages from the folder in which the program runs
        let program = fs::read_to_string(source().join("server.mjs")).unwrap();
        let wanted = json!({
            "tenant": TENANT, "client": CLIENT, "scopes": scopes, "device_ttl": lifetimes.device_code,
            "access_ttl": lifetimes.access, "refresh_ttl": lifetimes.refresh,
        });
        let mut command = Command::new("node");
        command.args(["--input-type=module", "--eval", &program, "--", &wanted.to_string()]);
        command.current_dir(folder).env_remove("NODE_OPTIONS");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (input, said) = (child.stdin.take().unwrap(), Lines::of(child.stdout.take().unwrap()));
        let authority = said.wait("listening ", 0).trim_start_matches("listening ").to_owned();
        Some(Self { child, input, said, authority })
    }

    /// Its base URL.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// A person enters the code, signs in as `login` and consents.
    pub(crate) fn approve(&mut self, user_code: &str, login: &str) {
        self.order(&format!("approve {user_code} {login}"));
    }

    /// A person enters the code and refuses.
    pub(crate) fn decline(&mut self, user_code: &str) {
        self.order(&format!("decline {user_code}"));
    }

    /// Returns once a question was answered with this word of RFC 6749, 5.2, or RFC 8628, 3.5.
    pub(crate) fn wait_refused(&self, error: &str) {
        self.said.wait(&format!("refused {error}"), 0);
    }

    fn order(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
        // `done …` or `failed …`: the words that were sent stand in both
        let answer = self.said.wait(line, 0);
        assert!(answer.starts_with("done "), "{answer}");
    }
}

impl Drop for Oidc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder with the packages, where they are those of the lock file.
fn installed() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc");
    let wanted = fs::read(source().join("package-lock.json")).unwrap();
    let there = fs::read(folder.join("package-lock.json")).is_ok_and(|there| there == wanted)
        && folder.join("node_modules/.package-lock.json").is_file()
        && Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    if there {
        return Some(folder);
    }
    let missing = format!("Node.js or oidc-provider is missing in {}: tests/run installs both", folder.display());
    assert!(std::env::var_os("PERTUIS_TESTS_RUN").is_none(), "{missing}");
    eprintln!("skipped: {missing}");
    None
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/support/oidc")
}
