//! A site whose launcher reads a mailbox of the simulated Microsoft 365, and people who sign in there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use pertuis::model::Digest;
use serde_json::Value;

use super::mails::{bytes, mail};
use super::microsoft::{DAEMON, MARIE, Microsoft, PUBLIC, SECRET, SHARED, TENANT};
use super::service::{Lines, until};
use super::site::Site;

/// The section of every launcher here.
pub(crate) const NAME: &str = "factures";

/// A site and the services that it uses.
pub(crate) struct Office {
    pub(crate) site: Site,
    pub(crate) server: Microsoft,
    options: String,
}

#[allow(dead_code)] // not every test needs every door
impl Office {
    /// A launcher in whose name a person has yet to sign in; `more`: options of its own.
    pub(crate) fn new(more: &str) -> Self {
        let server = Microsoft::start();
        // a person is quicker here
        server.world().entra.interval = 1;
        let options = server.options(PUBLIC, "organizations");
        Self::with(server, options, more)
    }

    /// The same, and Marie has signed in.
    pub(crate) fn signed_in(more: &str) -> Self {
        let office = Self::new(more);
        office.sign_in();
        office
    }

    /// A launcher that signs in by itself, with a secret, and reads the shared mailbox.
    pub(crate) fn by_itself(more: &str) -> Self {
        let server = Microsoft::start();
        let options = server.options(DAEMON, TENANT) + &format!("client_secret = text:{SECRET}\nmailbox = {SHARED}\n");
        Self::with(server, options, more)
    }

    /// A launcher with these options.
    pub(crate) fn with(server: Microsoft, options: String, more: &str) -> Self {
        let office = Self { site: Site::new(), server, options };
        office.write_ini("", more);
        office
    }

    /// Writes the ini anew: global options, then those of the launcher.
    pub(crate) fn write_ini(&self, global: &str, more: &str) {
        let options = &self.options;
        self.site.write_ini(&format!("{global}\n[{NAME}]\nlauncher = o365\n{options}deliver = COLD\n{more}\n"));
    }

    /// Marie signs in with `pertuis login`.
    pub(crate) fn sign_in(&self) {
        let login = self.start_login();
        self.server.world().entra.approve(&login.user_code, MARIE);
        let (status, said) = login.end();
        assert!(status.success(), "{said}");
    }

    /// Starts `pertuis login` and waits until the server has given a code.
    pub(crate) fn start_login(&self) -> Login {
        self.start_login_with(|command| command)
    }

    /// The same, with more of its environment.
    pub(crate) fn start_login_with(&self, more: impl Fn(&mut Command) -> &mut Command) -> Login {
        let before = self.server.world().entra.codes();
        let mut login = Login::spawn(more(&mut self.site.command(&["login", NAME])));
        let code = || self.server.world().entra.user_code(before + 1);
        login.user_code = until("a device code", code);
        login
    }

    /// Puts mails with one attachment each into Marie's folder; answers how often each content must arrive.
    pub(crate) fn fill(&self, folder: &str, numbers: std::ops::Range<u64>) -> BTreeMap<Digest, usize> {
        let mut expected = BTreeMap::new();
        for n in numbers {
            let content = bytes(n, 300 + usize::try_from(n % 50).unwrap() * 11);
            self.server.deliver(folder, &mail(&format!("Facture {n}"), &[(&format!("facture {n}.pdf"), &content)]));
            *expected.entry(Digest::of(&content)).or_default() += 1;
        }
        expected
    }

    /// `fetch --json`: the launcher's report.
    pub(crate) fn fetch(&self) -> Value {
        self.site.fetch()
    }

    /// The same, and nothing went wrong: delivered, already.
    pub(crate) fn fetched(&self) -> (u64, u64) {
        let report = self.fetch();
        assert!(report["error"].is_null() && report["items"]["failed"] == 0, "{report} {:#?}", self.asked());
        (report["items"]["delivered"].as_u64().unwrap(), report["items"]["already"].as_u64().unwrap())
    }

    /// The last requests to both services, for a test that fails.
    pub(crate) fn asked(&self) -> Vec<String> {
        let world = self.server.world();
        let all = world.records.all();
        all[all.len().saturating_sub(40)..].iter().map(super::microsoft::records::Record::line).collect()
    }

    /// Asserts what holds of all requests to Graph so far.
    pub(crate) fn well_behaved(&self) {
        let world = self.server.world();
        assert!(world.records.most_in_flight() <= 3, "{} in flight", world.records.most_in_flight());
        assert_eq!(world.records.too_early(), Vec::<String>::new());
        assert_eq!(world.records.without_immutable_ids(), Vec::<String>::new());
    }
}

/// A running `pertuis login`.
pub(crate) struct Login {
    child: Child,
    pub(crate) said: Lines,
    pub(crate) user_code: String,
    ends: Vec<JoinHandle<()>>,
}

impl Login {
    /// Starts it; what it says is collected.
    pub(crate) fn start(site: &Site) -> Self {
        Self::spawn(&mut site.command(&["login", NAME]))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Lines::default();
        let ends = vec![said.and(child.stdout.take().unwrap()), said.and(child.stderr.take().unwrap())];
        Self { child, said, user_code: String::new(), ends }
    }

    /// Waits for its end: its status and all that it said.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = until("the end of login", || self.child.try_wait().unwrap());
        self.ends.drain(..).for_each(|end| end.join().unwrap());
        (status, self.said.all())
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The files below a folder, with their bytes.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            found.push((path.display().to_string(), bytes));
        }
    }
    found
}
