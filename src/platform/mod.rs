//! What differs between systems: signals, daemons, the service manager.
//!
//! One small interface, one file for each system behind it. Not a service: what a signal means is decided by
//! `cli::run`.

#[cfg(unix)]
mod privileges;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use privileges::Privileges;
#[cfg(unix)]
pub use unix::{
    Daemon, PidFile, Signals, VARIABLES, no_core_dumps, notify, standard_error_is_a_connection, tell_alive, watchdog,
};
#[cfg(windows)]
pub use windows::{
    Daemon, PidFile, Privileges, Signals, no_core_dumps, notify, standard_error_is_a_connection, tell_alive, watchdog,
};

/// What the system or its administrator asks of a running service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// End in good order; the name of the signal.
    Stop(&'static str),
    /// Read the configuration again.
    Reload,
    /// Open the log file again: it was moved away.
    Reopen,
    /// Say in the log what is running.
    Status,
}

/// What of `chroot`, `setuid`, `setgid` cannot be, and why.
pub type Refused = (&'static str, crate::text::Text);

/// What the service manager (systemd) is told; without one nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everything runs.
    Ready,
    /// The configuration is being read again; [`Phase::Ready`] follows.
    Reloading,
    /// It ends.
    Stopping,
}
