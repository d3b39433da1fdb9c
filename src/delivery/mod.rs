//! How documents reach the delivery directory, and how it is remembered.
//!
//! Three things that know nothing of each other: the [`spool`] holds bodies as they came, staging prepares finished
//! files and publishes them in one step, the ledger remembers. Their order (stage, record, publish, confirm,
//! acknowledge) is the launcher's cycle.

pub mod spool;
pub mod stamp;

use std::io;
use std::path::Path;

/// Gives `from` the name `to`, replacing what stands there: for our own files only, never in a delivery directory.
#[allow(clippy::disallowed_methods)] // the one place where replacing is meant
pub fn replace(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}
