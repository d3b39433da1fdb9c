//! What `chroot`, `setuid` and `setgid` mean for the rest of the file, asked before anything is bound.
//!
//! Not the giving up itself (`privileges`). A path that the new user cannot write is a warning here, since
//! lists of access are not read; the open that fails later is the mistake, with the same remedy.

use std::path::Path;

use crate::config::{Config, Remark};
use crate::privileges::Privileges;
use crate::text;
use crate::text::Text;

/// Looks at the three options; warnings are added to those of `config`.
pub(super) fn look_up(config: &mut Config) -> Result<Privileges, Vec<Remark>> {
    let at = |config: &Config, option, text| Remark { place: config.global.places.of(option).clone(), text };
    let privileges = Privileges::look_up(&config.global)
        .map_err(|refused| refused.into_iter().map(|(option, text)| at(config, option, text)).collect::<Vec<_>>())?;
    if privileges.root().is_some() && config.launchers.iter().any(|launcher| launcher.enabled) {
        return Err(vec![at(config, "chroot", no_launchers())]);
    }
    let mut warnings: Vec<Remark> = Vec::new();
    for (option, path) in written(config) {
        let text = privileges.chown(&path).map(|command| not_theirs(option, &path, &command));
        warnings.extend(text.map(|text| at(config, option, text)));
    }
    for launcher in config.launchers.iter().filter(|launcher| launcher.enabled) {
        let command = privileges.chown(&launcher.deliver);
        let text = command.map(|command| not_theirs(launcher.places.name("deliver"), &launcher.deliver, &command));
        warnings.extend(text.map(|text| Remark { place: launcher.places.of("deliver").clone(), text }));
    }
    if let Some(root) = privileges.root().filter(|root| !root.join(RESOLVER).exists()) {
        warnings.push(at(config, "chroot", no_resolver(root)));
    }
    config.warnings.extend(warnings);
    Ok(privileges)
}

/// The files that the process writes once it is somebody else.
fn written(config: &Config) -> Vec<(&'static str, std::path::PathBuf)> {
    let global = &config.global;
    let state = config.launchers.iter().any(|launcher| launcher.enabled).then_some(&global.state);
    [("output", global.output.as_ref()), ("pid", global.pid.as_ref()), ("state", state)]
        .into_iter()
        .filter_map(|(option, path)| Some((option, path?.clone())))
        .collect()
}

/// What is added to the words of a file that could not be opened after the change of user.
pub fn remedy(privileges: &Privileges, path: &Path, text: Text) -> Text {
    let Some(command) = privileges.chown(path) else { return text };
    let Text { en, fr } = text;
    text!("{en}; setuid is in force: `{command}`", "{fr} ; setuid s'applique : `{command}`")
}

fn not_theirs(option: &str, path: &Path, command: &str) -> Text {
    let path = path.display();
    text!(
        "{option}: {path} is opened after setuid, by a user who may not write there: `{command}`",
        "{option} : {path} est ouvert après setuid, par un utilisateur qui ne peut y écrire : `{command}`"
    )
}

fn no_launchers() -> Text {
    text!(
        "chroot: launchers need certificates, names and folders of the whole system; run them in a file of their own, \
         without chroot",
        "chroot : les lanceurs ont besoin des certificats, noms et dossiers de tout le système ; les mettre dans un \
         fichier à part, sans chroot"
    )
}

fn no_resolver(root: &Path) -> Text {
    let root = root.display();
    text!(
        "chroot: {root} has no etc/resolv.conf: once inside, names of hosts cannot be looked up; copy it there, with \
         etc/hosts, or write addresses",
        "chroot : {root} n'a pas d'etc/resolv.conf : une fois dedans, aucun nom d'hôte ne se résout ; l'y copier, avec \
         etc/hosts, ou écrire des adresses"
    )
}

/// Where the C library looks for name servers (resolv.conf(5)), below the jail.
const RESOLVER: &str = "etc/resolv.conf";
