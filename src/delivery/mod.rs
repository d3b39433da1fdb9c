//! How documents reach the delivery directory, and how it is remembered.
//!
//! Three things that know nothing of each other: the [`spool`] holds bodies as they came, [`staging`] prepares
//! finished files and [`publish`](publish()) gives them their final name in one step, the [`ledger`] remembers.
//! Their order (stage, record, publish, confirm, acknowledge) is the launcher's cycle.

pub mod ledger;
pub mod lock;
pub mod publish;
pub mod quarantine;
pub mod spool;
pub mod staging;
pub mod stamp;

pub use publish::{Published, publish, replace, same_volume, sync_directory};

/// Makes `state`, and what is missing above it, for its owner alone: ledger, spool and quarantine hold mails.
pub fn make_state(state: &std::path::Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(state)
}
