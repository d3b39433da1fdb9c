//! Checks of the outside world that touch nothing: directories, volumes, file systems.
//!
//! What the configuration alone cannot know, found before anything is bound or fetched. Not a rehearsal: nothing is
//! written, no server is asked (that is `pertuis test`). Each finding carries the line of the option that causes it.

use std::fs;
use std::path::{Path, PathBuf};

use super::alert::courier::{is_address, sender};
use crate::config::launcher::{Alert, Kind, Tls};
use crate::config::oauth::Credential;
use crate::config::{Config, Launcher, Places, Remark, value};
use crate::delivery::ledger::{self, Ledger};
use crate::delivery::same_volume;
use crate::launcher::staging_root;
use crate::model::{Disposition, Fault};
use crate::oauth::Authority;
use crate::privileges::Privileges;
use crate::text;
use crate::text::Text;
use crate::tls::client::ClientTls;

/// What the outside world says to a configuration.
#[derive(Debug, Default)]
pub struct Findings {
    /// What can never work as it is written.
    pub mistakes: Vec<Remark>,
    /// What is worth a warning: mostly directories that are not there, or not open to this user, now: a share may be
    /// mounted later, and until then one launcher fails by itself and tells so. That must not hold up the others, nor
    /// the tunnels.
    pub missing: Vec<Remark>,
}

/// Asks the outside world whether `config` can work; log and pid file are opened once `privileges` are given up.
pub fn inspect(config: &Config, privileges: &Privileges) -> Findings {
    let mut findings = inspect_launchers(config);
    let there = |path: Option<&PathBuf>| path.map(|path| privileges.outside(path));
    findings.mistakes.extend(file_of_ours(config, "output", there(config.global.output.as_ref()).as_deref()));
    findings.mistakes.extend(alerts(config));
    findings.missing.extend(metrics(config));
    // /run/NAME of a service manager exists only while the service runs
    findings.missing.extend(file_of_ours(config, "pid", there(config.global.pid.as_ref()).as_deref()));
    findings
}

/// The same for the launchers alone: who fetches once needs neither the service's log nor the keys of its tunnels.
pub fn inspect_launchers(config: &Config) -> Findings {
    let launchers: Vec<&Launcher> = config.launchers.iter().filter(|launcher| launcher.enabled).collect();
    let mut findings = Findings::default();
    let mistakes = &mut findings.mistakes;
    if !launchers.is_empty() {
        mistakes.extend(state(config));
    }
    for launcher in &launchers {
        mistakes.extend(volumes(launcher));
        mistakes.extend(trust(launcher));
        mistakes.extend(watched(launcher, &launchers));
        findings.missing.extend(deliver(launcher));
        findings.missing.extend(source(launcher));
    }
    findings.missing.extend(renamed(config));
    let state = in_watched("state", &config.global.state, &launchers);
    mistakes.extend(state.map(|text| Remark { place: config.global.places.of("state").clone(), text }));
    findings
}

/// A mail needs a server, a sender and an address; each `alert` line is blamed once.
fn alerts(config: &Config) -> Vec<Remark> {
    let global = &config.global;
    let mut remarks: Vec<Remark> = Vec::new();
    let mut blame = |places: &Places, option, text| {
        let remark = Remark { place: places.of(option).clone(), text };
        if !remarks.contains(&remark) {
            remarks.push(remark);
        }
    };
    for launcher in config.launchers.iter().filter(|launcher| launcher.enabled) {
        for alert in &launcher.alert {
            let Alert::Mail(address) = alert else { continue };
            if global.alert_server.is_none() {
                blame(&launcher.places, "alert", no_alert_server());
            } else if !is_address(address) {
                blame(&launcher.places, "alert", no_address(address));
            } else if sender(global).is_none() {
                blame(&global.places, "alert_server", no_sender());
            }
        }
    }
    if let Some(from) = global.alert_from.as_deref().filter(|from| !is_address(from)) {
        blame(&global.places, "alert_from", no_address(from));
    }
    if global.alert_account.is_some() != global.alert_password.is_some() {
        let option = if global.alert_account.is_some() { "alert_account" } else { "alert_password" };
        blame(&global.places, option, half_a_login());
    }
    remarks
}

fn no_alert_server() -> Text {
    text!(
        "alert: a mail needs `alert_server`, before the first section: the SMTP server that takes it",
        "alert : un courriel demande `alert_server`, avant la première section : le serveur SMTP qui le prend"
    )
}

fn no_sender() -> Text {
    text!(
        "alert_server: who sends the alerts? set `alert_from` to a mail address",
        "alert_server : qui envoie les alertes ? donner une adresse à `alert_from`"
    )
}

fn no_address(address: &str) -> Text {
    text!("{address} is no mail address: name@domain", "{address} n'est pas une adresse : nom@domaine")
}

fn half_a_login() -> Text {
    text!(
        "alert_account and alert_password go together: write both or neither",
        "alert_account et alert_password vont ensemble : les écrire tous deux, ou aucun"
    )
}

/// What the numbers tell, everyone who reaches them may read.
fn metrics(config: &Config) -> Option<Remark> {
    let address = config.global.metrics.as_ref()?;
    if address.host.as_deref().is_some_and(value::is_loopback) {
        return None;
    }
    let port = address.port;
    let text = text!(
        "metrics: {address} is open to the network, and whoever reaches it reads the names and figures of every \
         section; metrics = 127.0.0.1:{port} keeps them to this machine",
        "metrics : {address} est ouvert au réseau, et qui l'atteint lit noms et chiffres de chaque section ; \
         metrics = 127.0.0.1:{port} les garde à cette machine"
    );
    Some(Remark { place: config.global.places.of("metrics").clone(), text })
}

/// The log and pid files: there and writable, or in a folder where they can be made.
fn file_of_ours(config: &Config, option: &str, path: Option<&Path>) -> Option<Remark> {
    let path = path?;
    let place = config.global.places.of(option);
    let shown = path.display();
    if path.is_dir() {
        let text = text!("{option}: {shown} is a directory", "{option} : {shown} est un répertoire");
        return Some(Remark { place: place.clone(), text });
    }
    let folder = if path.exists() { None } else { path.parent() };
    let text = folder.and_then(|folder| not_a_directory(option, folder)).or_else(|| {
        let target = folder.unwrap_or(path);
        (!may(target, folder.is_some())).then(|| not_writable(option, target))
    })?;
    Some(Remark { place: place.clone(), text })
}

/// The ledger is an SQL database in a file: its locks do not hold on network shares.
fn state(config: &Config) -> Option<Remark> {
    let state = &config.global.state;
    let at = |text| Some(Remark { place: config.global.places.of("state").clone(), text });
    let path = state.display();
    if state.exists() && !state.is_dir() {
        return at(text!("state: {path} is not a directory", "state : {path} n'est pas un répertoire"));
    }
    let existing = nearest(state)?;
    if let Some(kind) = network_file_system(existing) {
        return at(text!(
            "state: {path} is on a network share ({kind}); the ledger needs a local disk: set `state` to a folder of \
             this machine",
            "state : {path} est sur un partage réseau ({kind}) ; le registre exige un disque local : donner à `state` \
             un dossier de cette machine"
        ));
    }
    if writable(existing) { None } else { at(not_writable("state", existing)) }
}

/// What is wrong with the directories into which a launcher writes.
pub fn deliver(launcher: &Launcher) -> Option<Remark> {
    let deliver = &launcher.deliver;
    let name = |option| launcher.places.name(option);
    if let Some(text) = not_a_directory(name("deliver"), deliver) {
        return Some(remark(launcher, "deliver", text));
    }
    if !writable(deliver) {
        return Some(remark(launcher, "deliver", not_writable(name("deliver"), deliver)));
    }
    let staging = staging_root(launcher);
    let named = launcher.staging.is_some();
    // a named folder is made by its administrator, the default one by the launcher
    if named && let Some(text) = not_a_directory(name("staging"), &staging) {
        return Some(remark(launcher, "staging", text));
    }
    let existing = nearest(&staging)?;
    (!writable(existing)).then(|| remark(launcher, staging_option(launcher), not_writable("staging", existing)))
}

/// Publishing is one rename, which exists only within a volume.
fn volumes(launcher: &Launcher) -> Option<Remark> {
    let (deliver, staging) = (&launcher.deliver, staging_root(launcher));
    // what cannot be asked is told by the first delivery
    let other = deliver.is_dir() && !same_volume(nearest(&staging)?, deliver).unwrap_or(true);
    let text = other.then(|| other_volume(&staging, deliver, launcher.staging.is_some()))?;
    Some(remark(launcher, staging_option(launcher), text))
}

/// The option whose line decides where the staging folder is.
fn staging_option(launcher: &Launcher) -> &'static str {
    if launcher.staging.is_some() { "staging" } else { "deliver" }
}

fn not_writable(option: &str, path: &Path) -> Text {
    let path = path.display();
    text!(
        "{option}: {path} is not writable for this user; change its owner or its mode, or choose another folder",
        "{option} : {path} n'est pas accessible en écriture pour cet utilisateur ; changer son propriétaire ou ses \
         droits, ou choisir un autre dossier"
    )
}

fn other_volume(staging: &Path, deliver: &Path, named: bool) -> Text {
    let (staging, deliver) = (staging.display(), deliver.display());
    if named {
        return text!(
            "staging: {staging} and {deliver} are on two volumes; a file can only appear in one step within one \
             volume: choose a folder on that of {deliver}",
            "staging : {staging} et {deliver} sont sur deux volumes ; un fichier ne peut apparaître d'un coup qu'au \
             sein d'un seul volume : choisir un dossier sur celui de {deliver}"
        );
    }
    text!(
        "deliver: {deliver} is a volume of its own, so {staging} cannot serve to prepare files: set `staging` to a \
         folder of the same volume that nobody watches",
        "deliver : {deliver} est un volume à part, {staging} ne peut donc pas servir à préparer les fichiers : donner \
         à `staging` un dossier du même volume que personne ne surveille"
    )
}

fn source(launcher: &Launcher) -> Option<Remark> {
    if !launcher.kind.is_dropped() {
        return None;
    }
    let text = not_a_directory(launcher.places.name("source"), Path::new(&launcher.source))?;
    Some(remark(launcher, "source", text))
}

/// The certificates and keys that a launcher names load: those of its connection, and those with which it signs in.
fn trust(launcher: &Launcher) -> Option<Remark> {
    let signing_in = || Authority::new(launcher).and_then(|authority| authority.check_files()).err();
    let connecting = || ClientTls::for_launcher(launcher).err();
    let fault = match launcher.kind {
        Kind::Imap | Kind::Pop3 if launcher.tls != Tls::None => connecting(),
        _ => None,
    };
    let fault = fault.or_else(|| launcher.oauth.as_ref().and_then(|_| signing_in()))?;
    // where the application signs in they are its own
    let (cert, key, service_account) = match launcher.oauth.as_ref().map(|oauth| &oauth.credential) {
        Some(Credential::Certificate { cert, key }) => (Some(cert.clone()), Some(key.clone()), None),
        Some(Credential::ServiceAccount(file)) => (None, None, Some(file.clone())),
        _ => (launcher.cert.clone(), launcher.key.clone(), None),
    };
    let files = [
        ("key", key.filter(|key| Some(key) != cert.as_ref())),
        ("cert", cert.clone()),
        ("CAfile", launcher.trust.ca_file.clone()),
        ("CApath", launcher.trust.ca_path.clone()),
        ("service_account", service_account),
    ];
    let files = files.iter().filter_map(|(option, path)| Some((*option, path.as_deref()?)));
    Some(at_its_option(&launcher.places, files, fault))
}

/// A fault at the line of the option whose file it names, else at the section's header.
pub(super) fn at_its_option<'a>(
    places: &Places,
    mut files: impl Iterator<Item = (&'static str, &'a Path)>,
    fault: Fault,
) -> Remark {
    let option =
        files.find(|(_, path)| fault.text.en.contains(&*path.to_string_lossy())).map_or("", |(option, _)| option);
    Remark { place: places.of(option).clone(), text: fault.text }
}

/// A folder in which we prepare or put away files must not be one that somebody watches: the COLD would take half of
/// a file. And what is delivered must not be fetched again.
fn watched(launcher: &Launcher, all: &[&Launcher]) -> Option<Remark> {
    let staging = in_watched("staging", &staging_root(launcher), all).map(|text| (staging_option(launcher), text));
    let quarantine = || {
        let path = launcher.quarantine.as_deref()?;
        Some(("quarantine", in_watched("quarantine", path, all)?))
    };
    let (option, text) = staging
        .or_else(quarantine)
        .or_else(|| delivers_to_itself(launcher).map(|text| ("deliver", text)))
        .or_else(|| moves_into_delivery(launcher, all))?;
    Some(remark(launcher, option, text))
}

/// What `after` puts away must not arrive beside what is delivered: it would be there twice, and not in one step.
fn moves_into_delivery(launcher: &Launcher, all: &[&Launcher]) -> Option<(&'static str, Text)> {
    if !launcher.kind.is_dropped() {
        return None;
    }
    let ways = [("after", &launcher.after), ("after_empty", &launcher.after_empty)];
    let moves = ways.into_iter().filter_map(|(option, way)| match way {
        Disposition::Move(to) => Some((option, Path::new(to))),
        _ => None,
    });
    let mut wrong = moves.filter_map(|(option, to)| {
        let deliver = all.iter().map(|launcher| &launcher.deliver).find(|deliver| within(to, deliver))?;
        let (to, deliver) = (to.display(), deliver.display());
        let text = text!(
            "{option}: {to} lies in {deliver}, where documents are delivered: what is moved there would arrive once more; \
             choose a folder elsewhere",
            "{option} : {to} se trouve dans {deliver}, où des documents sont livrés : ce qui y est déplacé y arriverait \
             une fois de plus ; choisir un dossier ailleurs"
        );
        Some((option, text))
    });
    wrong.next()
}

/// A section that was given another name has no history under it, and would deliver everything again.
pub fn renamed(config: &Config) -> Option<Remark> {
    // what is wrong with the ledger is said by who uses it
    let known = ledger::names(&Ledger::path(&config.global.state)).ok()?;
    let in_file = |name: &str| config.launchers.iter().any(|launcher| launcher.name.as_str() == name);
    let (old, _) = known.iter().find(|(name, has_items)| *has_items && !in_file(name))?;
    let is_new = |launcher: &&Launcher| !known.iter().any(|(name, items)| *items && name == launcher.name.as_str());
    let new = config.launchers.iter().filter(|launcher| launcher.enabled).find(is_new)?;
    let name = &new.name;
    let text = text!(
        "{name} has no history, and the ledger knows {old}, which is no longer in the file: if the section was renamed, run \
         `pertuis ledger rename \"{old}\" \"{name}\"` first, or all that is at its source is delivered again",
        "{name} n'a pas d'historique, et le registre connaît {old}, qui n'est plus dans le fichier : si la section a été renommée, \
         lancer d'abord `pertuis ledger rename \"{old}\" \"{name}\"`, sinon tout ce qui est à sa source sera livré à nouveau"
    );
    Some(remark(new, "launcher", text))
}

fn in_watched(option: &str, path: &Path, all: &[&Launcher]) -> Option<Text> {
    let folder = all.iter().find_map(|launcher| {
        if within(path, &launcher.deliver) { Some(launcher.deliver.as_path()) } else { in_source(path, launcher) }
    })?;
    let (path, folder) = (path.display(), folder.display());
    Some(text!(
        "{option}: {path} lies in {folder}, which is watched: choose a folder elsewhere",
        "{option} : {path} se trouve dans {folder}, qui est surveillé : choisir un dossier ailleurs"
    ))
}

/// The directory of which `launcher` would take files that lie in `path`.
fn in_source<'a>(path: &Path, launcher: &'a Launcher) -> Option<&'a Path> {
    let source = Path::new(&launcher.source);
    let below = launcher.subfolders || launcher.kind == Kind::Adullact; // there a directory is a deposit
    let taken = if below { within(path, source) } else { real(path) == real(source) };
    (launcher.kind.is_dropped() && taken).then_some(source)
}

fn delivers_to_itself(launcher: &Launcher) -> Option<Text> {
    let source = in_source(&launcher.deliver, launcher)?.display();
    let deliver = launcher.deliver.display();
    Some(text!(
        "deliver: {deliver} lies in the launcher's own source {source}: what it delivers would be taken again",
        "deliver : {deliver} se trouve dans la source {source} du lanceur : ce qu'il livre serait repris sans fin"
    ))
}

fn remark(launcher: &Launcher, option: &str, text: Text) -> Remark {
    Remark { place: launcher.places.of(option).clone(), text }
}

fn not_a_directory(option: &str, path: &Path) -> Option<Text> {
    let shown = path.display();
    match fs::read_dir(path) {
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(text!(
            "{option}: the directory {shown} does not exist; create it, or correct the path",
            "{option} : le répertoire {shown} n'existe pas ; le créer, ou corriger le chemin"
        )),
        Err(error) => {
            let Text { en, fr } = Text::io(&error);
            Some(text!(
                "{option}: the directory {shown} cannot be read: {en}; check the path and the rights of this user",
                "{option} : le répertoire {shown} est illisible : {fr} ; vérifiez le chemin et les droits de cet utilisateur"
            ))
        }
    }
}

/// `path`, or the nearest folder above it that exists.
fn nearest(path: &Path) -> Option<&Path> {
    let above = path.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    above.into_iter().find(|path| path.exists())
}

fn real(path: &Path) -> PathBuf {
    let Some(existing) = nearest(path) else { return path.to_owned() };
    let base = fs::canonicalize(existing).unwrap_or_else(|_| existing.to_owned());
    path.strip_prefix(existing).map_or_else(|_| base.clone(), |rest| base.join(rest))
}

fn within(path: &Path, folder: &Path) -> bool {
    real(path).starts_with(real(folder))
}

fn writable(folder: &Path) -> bool {
    may(folder, true)
}

/// Whether this user may write to a file, or make files in a folder.
#[cfg(unix)]
fn may(path: &Path, folder: bool) -> bool {
    use rustix::fs::Access;
    let enter = if folder { Access::EXEC_OK } else { Access::empty() };
    rustix::fs::access(path, Access::WRITE_OK | enter).is_ok()
}

#[cfg(not(unix))]
fn may(_path: &Path, _folder: bool) -> bool {
    true
}

/// The name of the network file system on which `path` lies (Linux: statfs(2), the magic numbers of linux/magic.h).
#[cfg(target_os = "linux")]
fn network_file_system(path: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    // the field is 32 or 64 bits wide, and signed: its low half is the number
    let kind = u32::try_from(i128::from(kind) & 0xFFFF_FFFF).ok()?;
    NETWORK.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

/// A UNC path is a share, a drive written `\\?\C:` (as `canonicalize` does) is none; a mapped drive is not recognised.
#[cfg(not(target_os = "linux"))]
fn network_file_system(path: &Path) -> Option<&'static str> {
    use std::path::{Component, Prefix};
    let Component::Prefix(prefix) = path.components().next()? else { return None };
    matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..)).then_some("SMB")
}

#[cfg(target_os = "linux")]
const NETWORK: [(u32, &str); 12] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x564C, "NCP"),
    (0x5346_414F, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00C3_6400, "Ceph"),
    (0x0BD0_0BD0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0x1983_0326, "BeeGFS"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["wait/sub", "drop", "state"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        dir
    }

    #[cfg(windows)]
    #[test]
    fn a_share_is_told_from_a_drive_however_it_is_written() {
        for share in [r"\\server\share\state", r"\\?\UNC\server\share\state"] {
            assert_eq!(network_file_system(Path::new(share)), Some("SMB"), "{share}");
        }
        for drive in [r"C:\state", r"\\?\C:\state", "state"] {
            assert_eq!(network_file_system(Path::new(drive)), None, "{drive}");
        }
    }

    #[test]
    fn numbers_that_the_network_can_read_are_warned_of_in_one_sentence() {
        let overrides = crate::config::Overrides::default();
        let of = |line: &str| {
            let text = format!("{line}\n[l]\nlauncher = directory\nsource = /in\ndeliver = /cold\n");
            metrics(&crate::config::load_bytes(Path::new("t.ini"), text.as_bytes(), &overrides).unwrap())
        };
        let text = of("metrics = 9110").unwrap().text;
        assert!(!text.en.contains("  ") && !text.fr.contains("  "), "{text:?}");
        assert!(of("metrics = 127.0.0.1:9110").is_none());
    }

    #[test]
    fn files_that_do_not_load_are_found_at_their_lines_whatever_the_launcher_speaks() {
        let dir = tree();
        let file = dir.path().join("empty.json");
        fs::write(&file, "{}").unwrap();
        let mail = "account = a@x.fr\nserver = mail.x.fr\n";
        let google = "account = a@x.fr\nserver = imap.gmail.com\nauth = xoauth2\nservice_account =";
        let app = "client_id = x\ntenant = x.fr\nmailbox = a@x.fr\ncert =";
        let cases = [
            ("imap", format!("{mail}password = p\nCAfile = /nope.pem"), 5, "/nope.pem"),
            ("pop3", format!("{mail}password = p\nCAfile = /nope.pem"), 5, "/nope.pem"),
            ("o365", "client_id = x\nCAfile = /nope.pem".to_owned(), 3, "/nope.pem"),
            ("o365", format!("{app} /nope.pem"), 5, "/nope.pem"),
            ("imap", format!("{google} /nope.json"), 5, "/nope.json"),
            ("imap", format!("{google} {}", file.display()), 5, "client_email"),
        ];
        for (kind, more, line, words) in cases {
            let overrides = crate::config::Overrides::default();
            let text = format!("[a]\nlauncher = {kind}\n{more}\ndeliver = /cold\n");
            let config = crate::config::load_bytes(Path::new("t.ini"), text.as_bytes(), &overrides).unwrap();
            let remark = trust(&config.launchers[0]).unwrap_or_else(|| panic!("{kind} {more}"));
            assert_eq!(remark.place.to_string(), format!("t.ini:{}", line + 1), "{kind} {more}: {}", remark.text);
            assert!(remark.text.en.contains(words) && remark.text.fr.contains(words), "{}", remark.text);
        }
    }

    #[test]
    fn a_path_lies_within_a_folder_whatever_links_and_dots_say() {
        let dir = tree();
        let at = |name: &str| dir.path().join(name);
        assert!(within(&at("wait/sub/new/deeper"), &at("wait")));
        assert!(!within(&at("waiting"), &at("wait")));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("wait"), at("link")).unwrap();
            assert!(within(&at("link/new"), &at("wait")));
            assert!(within(&at("wait/sub/../x"), &at("link")));
        }
    }

    #[test]
    fn the_nearest_folder_above_a_missing_one_is_found() {
        let dir = tree();
        assert_eq!(nearest(&dir.path().join("wait/a/b/c")), Some(dir.path().join("wait").as_path()));
        assert_eq!(nearest(Path::new("no-such-folder/x")), Some(Path::new(".")));
    }

    #[test]
    fn a_missing_directory_and_a_file_in_its_place_are_named() {
        let dir = tree();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        for path in [dir.path().join("missing"), file] {
            let text = not_a_directory("deliver", &path).unwrap();
            assert!(text.en.contains(path.to_str().unwrap()) && text.fr.contains("répertoire"), "{text}");
        }
        assert_eq!(not_a_directory("deliver", dir.path()), None);
    }
}
