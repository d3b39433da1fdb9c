//! `ledger rename`: what belongs to a section that got another name goes with it.
//!
//! Not a copy. Folders first, the ledger last: where that is cut short, the new name finds a witness that is ahead of
//! its rows and stops, and a second try goes on from there. The other way round, rows would wait for staged files that
//! stand under the old name.

use std::fs;
use std::io;
use std::path::Path;

use super::{Env, staging_root};
use crate::config::Launcher;
use crate::config::launcher::quarantine_below;
use crate::delivery::ledger::Ledger;
use crate::delivery::lock::Lock;
use crate::delivery::staging::Staging;
use crate::delivery::{Published, publish, sync_directory};
use crate::document::names::numbered;
use crate::model::{Code, Fault, ServiceName};
use crate::text;
use crate::text::Text;

/// Gives `launcher`, which nothing is known of, all that is known of the launcher that was called `old`.
pub fn rename(launcher: &Launcher, env: &Env, old: &ServiceName) -> Result<(), Fault> {
    let (new, state) = (&launcher.name, &env.state);
    let _locks = (Lock::take(state, old)?, Lock::take(state, new)?);
    if !Ledger::open(state, new)?.is_empty()? {
        return Err(not_new(new));
    }
    let ledger = Ledger::open(state, old)?;
    let root = staging_root(launcher);
    let (from, to) = (Staging::at(&root, state, old), Staging::at(&root, state, new));
    // nothing was recorded under the new name: what is staged there is left over from a try
    if from.dir().exists() {
        remove_folder(to.dir()).map_err(|error| failed(to.dir(), &error))?;
    }
    let quarantine = launcher.quarantine.clone().unwrap_or_else(|| quarantine_below(state));
    let below = |root: &Path| (root.join(old.file_stem()), root.join(new.file_stem()));
    let folders = [(from.dir().to_owned(), to.dir().to_owned()), below(&quarantine), below(&state.join("spool"))];
    for (from, to) in folders {
        move_folder(&from, &to).map_err(|error| failed(&from, &error))?;
    }
    ledger.give_to(new)
}

fn remove_folder(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Moves a folder; where the other one is there already, what is in it, under free names.
fn move_folder(from: &Path, to: &Path) -> io::Result<()> {
    if !from.exists() {
        return Ok(());
    }
    if publish(from, to)? == Published::Taken {
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let mut free = name.clone();
            for n in 2.. {
                if publish(&from.join(&name), &to.join(&free))? == Published::Done {
                    break;
                }
                free = numbered(&name, n);
            }
        }
        sync_directory(to)?;
        fs::remove_dir(from)?;
    }
    to.parent().map_or(Ok(()), sync_directory)
}

fn not_new(new: &ServiceName) -> Fault {
    Fault::new(
        Code::Ledger,
        text!(
            "the ledger knows items of {new} already: two histories cannot become one. Had it delivered anything by mistake, `pertuis ledger list {new}` shows what, and `pertuis ledger forget` removes it",
            "le registre connaît déjà des éléments de {new} : deux historiques ne peuvent en faire un. S'il a livré par erreur, `pertuis ledger list {new}` montre quoi, et `pertuis ledger forget` l'efface"
        ),
    )
}

fn failed(path: &Path, error: &io::Error) -> Fault {
    let (path, Text { en, fr }) = (path.display(), Text::io(error));
    Fault::new(
        Code::Ledger,
        text!(
            "{path}: cannot be renamed: {en}; check the rights of this user and run the command again, it goes on from here",
            "{path} : impossible à renommer : {fr} ; vérifiez les droits de cet utilisateur et relancez la commande, elle reprendra ici"
        ),
    )
}
