//! Windows: Ctrl-C, for now. No service and no daemon: `foreground = no` says so.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Phase, Refused, Request};
use crate::config::Global;
use crate::text;

/// Ctrl-C.
#[derive(Debug)]
pub struct Signals(tokio::signal::windows::CtrlC);

impl Signals {
    /// Takes Ctrl-C over. Called within a runtime.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    /// The next request.
    pub async fn next(&mut self) -> Request {
        let _ = self.0.recv().await;
        Request::Stop("Ctrl-C")
    }
}

/// There is none on Windows.
#[derive(Debug)]
pub struct PidFile(());

impl PidFile {
    /// Refused.
    ///
    /// # Errors
    /// Always.
    pub fn create(_path: &Path) -> io::Result<Self> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// There is none on Windows.
#[derive(Debug)]
pub struct Daemon(());

impl Daemon {
    /// Never.
    pub fn detach() -> Option<Self> {
        None
    }

    /// Refused.
    ///
    /// # Errors
    /// Always.
    pub fn launch(_input: &[u8]) -> io::Result<u8> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Nothing was handed over.
    ///
    /// # Errors
    /// Never.
    pub fn input(&self) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Nothing to tell.
    ///
    /// # Errors
    /// Never.
    pub fn started(self) -> io::Result<()> {
        Ok(())
    }
}

/// Windows has other ways: a service runs as the account that it is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges(());

impl Privileges {
    /// Refuses what asks for them.
    ///
    /// # Errors
    /// Each of `chroot`, `setuid` and `setgid` that is written.
    pub fn look_up(global: &Global) -> Result<Self, Vec<Refused>> {
        let owner = &global.owner;
        let asked =
            [("chroot", global.chroot.is_some()), ("setuid", owner.user.is_some()), ("setgid", owner.group.is_some())];
        let refused: Vec<Refused> =
            asked.into_iter().filter(|(_, is)| *is).map(|(option, _)| not_here(option)).collect();
        if refused.is_empty() { Ok(Self(())) } else { Err(refused) }
    }

    /// Always.
    pub fn is_none(&self) -> bool {
        true
    }

    /// Never.
    pub fn changes_user(&self) -> bool {
        false
    }

    /// Never.
    pub fn names_somebody(&self) -> bool {
        false
    }

    /// None.
    pub fn root(&self) -> Option<&Path> {
        None
    }

    /// Nothing is asked for.
    ///
    /// # Errors
    /// Never.
    pub fn check_rights(&self) -> Result<(), Refused> {
        Ok(())
    }

    /// Nothing is given up.
    ///
    /// # Errors
    /// Never.
    pub fn give_up(&self) -> Result<(), Refused> {
        Ok(())
    }

    /// The same path.
    pub fn outside(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    /// Nothing to do.
    pub fn chown(&self, _path: &Path) -> Option<String> {
        None
    }
}

fn not_here(option: &'static str) -> Refused {
    let text = text!(
        "{option}: not on Windows; give the service an account of its own instead",
        "{option} : pas sous Windows ; donner plutôt au service un compte à lui"
    );
    (option, text)
}

/// From now on a crash is not reported with the memory of the process: passwords and tokens are in it. (Windows writes
/// no dumps by itself; Windows Error Reporting may send one.)
pub fn no_core_dumps() {
    use windows_sys::Win32::System::Diagnostics::Debug::{SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SetErrorMode};
    #[allow(unsafe_code)] // no safe wrapper in the tree
    // SAFETY: takes a number, sets a mode of the process, and has no other effect.
    unsafe {
        SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
    }
}

/// There is no super-server on Windows.
pub fn standard_error_is_a_connection() -> bool {
    false
}

/// Nobody to tell.
pub fn notify(_phase: Phase) {}

/// There is no service manager to be told.
pub fn watchdog() -> Option<Duration> {
    None
}

/// There is no service manager to be told.
pub fn tell_alive(_summary: &str) {}
