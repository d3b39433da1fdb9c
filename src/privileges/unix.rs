//! Giving up root: `chroot`, `setgid`, `setuid`, in this order, once everything is bound.
//!
//! Not a sandbox: what systemd's unit can do for a service it does better, this is for files that stunnel ran. Names are
//! looked up before anything is done, since the jail has no `/etc/passwd`. The calls are those of the C library, which
//! carries them to every thread (nptl(7)); the bare system calls would change one thread and leave the others root.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{self, Gid, Group, Uid, User};

use super::Refused;
use crate::config::Global;
use crate::text;
use crate::text::Text;

/// Who and where the process is to be, with names looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    root: Option<PathBuf>,
    user: Option<Account>,
    group: Option<Gid>,
}

/// The user.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    uid: Uid,
    /// As the file names it.
    name: String,
    /// Its name and group in the system's list; a bare number may have none.
    known: Option<(String, Gid)>,
}

impl Privileges {
    /// Looks at what `chroot`, `setuid` and `setgid` ask for.
    ///
    /// # Errors
    /// A user or group that is not there, a directory that is none.
    pub fn look_up(global: &Global) -> Result<Self, Vec<Refused>> {
        let mut refused = Vec::new();
        let mut note = |option, text| refused.push((option, text));
        let root = global.chroot.clone();
        if let Some(text) = root.as_deref().and_then(no_directory) {
            note("chroot", text);
        }
        let user = global
            .owner
            .user
            .as_deref()
            .and_then(|name| find_user(name).map_err(|error| note("setuid", no_user(name, error.as_ref()))).ok());
        let group = global
            .owner
            .group
            .as_deref()
            .and_then(|name| find_group(name).map_err(|error| note("setgid", no_group(name, error.as_ref()))).ok());
        if let Some(account) = user.as_ref().filter(|account| account.known.is_none() && global.owner.group.is_none()) {
            note("setuid", no_group_for(&account.name));
        }
        if refused.is_empty() { Ok(Self { root, user, group }) } else { Err(refused) }
    }

    /// Whether nothing is asked for.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether another user is asked for.
    pub fn changes_user(&self) -> bool {
        self.user.as_ref().is_some_and(|account| account.uid != Uid::effective())
    }

    /// Whether a user or a group is asked for at all.
    pub fn names_somebody(&self) -> bool {
        self.user.is_some() || self.group.is_some()
    }

    /// Where paths will begin.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// What this process may not do, asked before it begins: only root may become somebody else.
    ///
    /// # Errors
    /// The option that asks for more than this process may, with what to do.
    pub fn check_rights(&self) -> Result<(), Refused> {
        if self.is_none() || Uid::effective().is_root() || self.is_me() {
            return Ok(());
        }
        let option = match self {
            Self { root: Some(_), .. } => "chroot",
            Self { user: Some(_), .. } => "setuid",
            _ => "setgid",
        };
        let me = Uid::effective();
        Err((
            option,
            text!(
                "{option}: only root may do this, and this process runs as user {me}; start it as root, or leave \
                 chroot, setuid and setgid out",
                "{option} : seul root le peut, et ce processus tourne sous l'utilisateur {me} ; le lancer en root, ou \
                 enlever chroot, setuid et setgid"
            ),
        ))
    }

    /// Becomes that: for ever, and for every thread of the process.
    ///
    /// # Errors
    /// The option whose call the system refused. The process is then in between, and must end.
    pub fn give_up(&self) -> Result<(), Refused> {
        if let Some(root) = &self.root {
            unistd::chroot(root).and_then(|()| unistd::chdir("/")).map_err(|errno| failed("chroot", &errno.into()))?;
        }
        if self.is_me() {
            return Ok(());
        }
        self.leave_groups().map_err(|error| failed("setgid", &error))?;
        if let Some(Account { uid, .. }) = self.user {
            unistd::setuid(uid).map_err(|errno| failed("setuid", &errno.into()))?;
            check(uid).map_err(|error| failed("setuid", &error))?;
        }
        Ok(())
    }

    /// As stunnel: with `setgid` that group alone. Without it stunnel leaves the user in root's own group; here it gets
    /// its own ones.
    fn leave_groups(&self) -> io::Result<()> {
        let own = self.user.as_ref().and_then(|account| account.known.as_ref());
        match (self.group, own) {
            (Some(group), _) => {
                set_groups(&[group])?;
                unistd::setgid(group)?;
            }
            (None, Some((name, group))) => {
                init_groups(name, *group)?;
                unistd::setgid(*group)?;
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn is_me(&self) -> bool {
        let user = self.user.as_ref().is_none_or(|account| account.uid == Uid::effective());
        let group = self.group.is_none_or(|group| group == Gid::effective());
        self.root.is_none() && user && group && (self.user.is_some() || self.group.is_some())
    }

    /// `path` as it will be seen from outside the jail.
    pub fn outside(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    /// The command that opens `path` to the user, where it is not: for a file that is to be made, of its folder.
    /// Goes by owner, group and mode; lists of access (ACL) are not asked.
    pub fn chown(&self, path: &Path) -> Option<String> {
        let account = self.user.as_ref().filter(|account| !account.uid.is_root())?;
        let there = self.outside(path);
        let target = there.ancestors().find(|path| path.exists())?;
        if self.may_write(account, target) {
            return None;
        }
        let mut command = format!("chown {}", account.name);
        if let Some(group) = self.group.and_then(|gid| Group::from_gid(gid).ok().flatten()) {
            let _ = write!(command, ":{}", group.name);
        }
        let _ = write!(command, " {}", target.display());
        Some(command)
    }

    fn may_write(&self, account: &Account, path: &Path) -> bool {
        let Ok(about) = path.metadata() else { return false };
        // what is no file (`/dev/stdout`) is open already
        if !about.is_dir() && !about.is_file() {
            return true;
        }
        let need = if about.is_dir() { 0o3 } else { 0o2 };
        let group = self.group.or(account.known.as_ref().map(|(_, group)| *group));
        let shift = if about.uid() == account.uid.as_raw() {
            6
        } else if group.is_some_and(|group| about.gid() == group.as_raw()) {
            3
        } else {
            0
        };
        (about.mode() >> shift) & need == need
    }
}

/// Nobody trusts a call whose failure would leave a root shell open: what was given up must not come back.
fn check(uid: Uid) -> io::Result<()> {
    let still = || io::Error::other("the process is still able to become root");
    if Uid::current() != uid || Uid::effective() != uid || (!uid.is_root() && unistd::setuid(Uid::from_raw(0)).is_ok())
    {
        return Err(still());
    }
    Ok(())
}

#[cfg(not(target_vendor = "apple"))]
fn set_groups(groups: &[Gid]) -> io::Result<()> {
    Ok(unistd::setgroups(groups)?)
}

#[cfg(not(target_vendor = "apple"))]
fn init_groups(name: &str, group: Gid) -> io::Result<()> {
    let name = std::ffi::CString::new(name)?;
    Ok(unistd::initgroups(&name, group)?)
}

/// macOS keeps groups of its own for each user (initgroups(3) there).
#[cfg(target_vendor = "apple")]
fn set_groups(_groups: &[Gid]) -> io::Result<()> {
    Ok(())
}

#[cfg(target_vendor = "apple")]
fn init_groups(_name: &str, _group: Gid) -> io::Result<()> {
    Ok(())
}

/// A name, else a number, as in stunnel.
fn find_user(name: &str) -> Result<Account, Option<nix::Error>> {
    let found = User::from_name(name).map_err(Some)?;
    let number = || name.parse().ok().map(Uid::from_raw);
    let known = |user: User| (user.name, user.gid);
    match (found, number()) {
        (Some(user), _) => Ok(Account { uid: user.uid, name: name.to_owned(), known: Some(known(user)) }),
        (None, Some(uid)) => {
            let user = User::from_uid(uid).map_err(Some)?;
            Ok(Account { uid, name: name.to_owned(), known: user.map(known) })
        }
        (None, None) => Err(None),
    }
}

fn find_group(name: &str) -> Result<Gid, Option<nix::Error>> {
    let found = Group::from_name(name).map_err(Some)?.map(|group| group.gid);
    found.or_else(|| name.parse().ok().map(Gid::from_raw)).ok_or(None)
}

fn no_directory(path: &Path) -> Option<Text> {
    if path.is_dir() {
        return None;
    }
    let shown = path.display();
    Some(text!(
        "chroot: {shown} is no directory that exists; create it, or correct the path",
        "chroot : {shown} n'est pas un répertoire existant ; le créer, ou corriger le chemin"
    ))
}

fn no_user(name: &str, error: Option<&nix::Error>) -> Text {
    let (en, fr) = unknown(error);
    text!(
        "Illegal UID: setuid = {name} {en}; `getent passwd` lists those of this machine",
        "setuid = {name} {fr} ; `getent passwd` liste les utilisateurs de cette machine"
    )
}

fn no_group(name: &str, error: Option<&nix::Error>) -> Text {
    let (en, fr) = unknown(error);
    text!(
        "Illegal GID: setgid = {name} {en}; `getent group` lists those of this machine",
        "setgid = {name} {fr} ; `getent group` liste les groupes de cette machine"
    )
}

fn unknown(error: Option<&nix::Error>) -> (String, String) {
    match error {
        Some(error) => (format!("cannot be looked up ({error})"), format!("est introuvable ({error})")),
        None => ("is nobody here, and no number".to_owned(), "n'existe pas ici, et n'est pas un nombre".to_owned()),
    }
}

fn no_group_for(name: &str) -> Text {
    text!(
        "setuid = {name} has no entry in the list of users, so nothing says which group goes with it: add `setgid`",
        "setuid = {name} n'est pas dans la liste des utilisateurs, rien ne dit donc son groupe : ajouter `setgid`"
    )
}

fn failed(option: &'static str, error: &io::Error) -> Refused {
    let Text { en, fr } = Text::io(error);
    (option, text!("{option}: refused by the system: {en}", "{option} : refusé par le système : {fr}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, load_bytes};

    fn look_up(head: &str) -> Result<Privileges, Vec<Refused>> {
        let text = format!("{head}[t]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\n");
        Privileges::look_up(&load_bytes(Path::new("t.ini"), text.as_bytes(), &Overrides::default()).unwrap().global)
    }

    #[test]
    fn names_and_numbers_are_found_and_others_refused_each_at_its_option() {
        assert!(look_up("").unwrap().is_none());
        let by_name = look_up("setuid = nobody\n").unwrap();
        let number = by_name.user.as_ref().unwrap().uid;
        let by_number = look_up(&format!("setuid = {number}\n")).unwrap();
        assert_eq!(by_number.user.as_ref().unwrap().known, by_name.user.as_ref().unwrap().known);
        assert!(look_up("setuid = 4000000001\nsetgid = 4000000001\n").is_ok());
        let refused = look_up("chroot = /no/such\nsetuid = no-such-user\nsetgid = no-such-group\n").unwrap_err();
        let found: Vec<_> = refused.iter().map(|(option, _)| *option).collect();
        assert_eq!(found, ["chroot", "setuid", "setgid"]);
        assert!(refused[1].1.en.starts_with("Illegal UID"), "{}", refused[1].1);
        assert!(look_up("setuid = 4000000001\n").unwrap_err()[0].1.en.contains("add `setgid`"));
    }

    #[test]
    fn what_the_user_cannot_write_is_told_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let nobody = look_up("setuid = nobody\n").unwrap();
        let path = dir.path().join("sub/log");
        let expected = format!("chown nobody {}", dir.path().display());
        assert_eq!(nobody.chown(&path), Some(expected));
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(nobody.chown(&path), None);
        assert_eq!(nobody.chown(Path::new("/dev/null")), None);
        assert_eq!(look_up("").unwrap().chown(Path::new("/etc/passwd")), None);
    }

    #[test]
    fn paths_of_the_jail_are_looked_at_inside_it() {
        let dir = tempfile::tempdir().unwrap();
        let jail = look_up(&format!("chroot = {}\n", dir.path().display())).unwrap();
        assert_eq!(jail.outside(Path::new("/var/log/x")), dir.path().join("var/log/x"));
        assert_eq!(look_up("").unwrap().outside(Path::new("/x")), Path::new("/x"));
    }
}
