//! The proof that documents can be prepared: what `pertuis test` does in place of a delivery.
//!
//! Not a cycle: no lock, no ledger, nothing ever in `deliver`. It works beside a running service, whose sweep may take
//! the file of the proof away.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::cycle::{check_directory, check_volume, deliver_fault};
use super::staging_root;
use crate::config::Launcher;
use crate::delivery::staging::Staging;
use crate::model::Fault;

/// Writes a file into the launcher's staging folder, makes sure of it and removes it; answers the folder.
///
/// # Errors
/// Code `deliver`: a folder is missing, full, read-only, or on another volume than `deliver`.
pub fn prove_staging(launcher: &Launcher, state: &Path) -> Result<PathBuf, Fault> {
    check_directory(&launcher.deliver)?;
    let root = staging_root(launcher);
    let staging = Staging::open(&root, state, &launcher.name).map_err(|error| deliver_fault(&root, &error))?;
    check_volume(&launcher.deliver, staging.dir())?;
    let name = format!("test.{}", std::process::id());
    let write = || {
        let mut file = File::create(staging.path(&name))?;
        file.write_all(&[0; PROOF])?;
        file.sync_all()
    };
    let written = write();
    let removed = staging.remove(&name);
    written.and(removed).map_err(|error| deliver_fault(staging.dir(), &error))?;
    Ok(staging.dir().to_owned())
}

/// Enough to need room on the volume.
const PROOF: usize = 16 * 1024;
