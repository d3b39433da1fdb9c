//! Windows: Ctrl-C, for now. No service and no daemon: `foreground = no` says so.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Phase, Request};

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
