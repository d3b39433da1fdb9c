//! Who the process becomes once everything is bound: `setuid`, `setgid`, `chroot`.
//!
//! One type with one face on every system, because those who check a configuration ask it long before those who start
//! give root up.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::Privileges;
#[cfg(windows)]
pub use windows::Privileges;

/// What of `chroot`, `setuid`, `setgid` cannot be, and why.
pub type Refused = (&'static str, crate::text::Text);
