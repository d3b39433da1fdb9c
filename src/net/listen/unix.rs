//! Unix sockets that we listen on: their file, its owner, its end.
//!
//! A file that a service left behind when it fell would keep its next start from binding, which is what happens to
//! stunnel; here it is taken over when nobody answers on it. Nothing but a socket is ever removed, and only the very
//! one that was looked at. After a `chroot` the path leads elsewhere and the file stays: the next start takes it over.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use super::{BACKLOG, BindError, holder};
use crate::config::Owner;
use crate::text;
use crate::text::Text;

/// A listening Unix socket and its file, which goes away with it.
#[derive(Debug)]
pub struct UnixSocket {
    // first: it must not be removed when somebody else has bound it in between
    _file: Option<File>,
    listener: UnixListener,
}

impl UnixSocket {
    /// Listens on `path`. Its owner becomes `owner`, its mode is what the umask leaves of 777, as in stunnel; until both
    /// are so nobody can connect. Returns warnings too.
    ///
    /// # Errors
    /// Somebody listens there, something else than a socket lies there, there is no such directory or user.
    pub(super) async fn bind(path: &Path, owner: &Owner) -> Result<(Self, Vec<Text>), BindError> {
        let failed = |(error, holder)| BindError { address: path.display().to_string(), error, holder };
        let (wanted, owner) = (path.to_owned(), owner.clone());
        // users may come from a directory service, and a path may lie on a network's file system
        let work = tokio::task::spawn_blocking(move || open(&wanted, &owner));
        let opened = work.await.unwrap_or_else(|error| Err((io::Error::other(error), None)));
        let (file, socket, warnings) = opened.map_err(failed)?;
        let listener = UnixListener::from_std(socket.into()).map_err(|error| failed((error, None)))?;
        Ok((Self { _file: Some(file), listener }, warnings))
    }

    /// What accepts.
    pub(in crate::net) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

/// One that somebody else has opened: its file is theirs.
impl From<UnixListener> for UnixSocket {
    fn from(listener: UnixListener) -> Self {
        Self { _file: None, listener }
    }
}

/// The file of a socket; removed on drop, if it still is that one.
#[derive(Debug)]
struct File {
    path: PathBuf,
    identity: Identity,
}

impl Drop for File {
    fn drop(&mut self) {
        if identity(&self.path).ok().flatten() == Some(self.identity) {
            // what cannot be removed now is taken over at the next start
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device and inode of a socket's file.
type Identity = (u64, u64);

/// An error and who holds the address.
type Failure = (io::Error, Option<String>);

fn open(path: &Path, owner: &Owner) -> Result<(File, Socket, Vec<Text>), Failure> {
    let plain = |error| (error, None);
    let user = owner.user.as_deref().map(user).transpose().map_err(plain)?;
    let group = owner.group.as_deref().map(group).transpose().map_err(plain)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(plain)?;
    let address = SockAddr::unix(path).map_err(plain)?;
    let mut warnings = Vec::new();
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err((error, None));
        }
        warnings.push(remove_stale(path, error)?);
        socket.bind(&address).map_err(plain)?;
    }
    let identity = identity(path).map_err(plain)?.ok_or_else(|| plain(io::ErrorKind::NotFound.into()))?;
    let file = File { path: path.to_owned(), identity };
    warnings.extend(give(path, user, group));
    // only now can anybody connect
    socket.listen(BACKLOG).and_then(|()| socket.set_nonblocking(true)).map_err(plain)?;
    Ok((file, socket, warnings))
}

/// Removes the socket at `path` if nobody listens on it.
fn remove_stale(path: &Path, in_use: io::Error) -> Result<Text, Failure> {
    let plain = |error| (error, None);
    let Some(found) = identity(path).map_err(plain)? else {
        let text = text!(
            "something that is no socket lies there already: move it away, or choose another path",
            "il s'y trouve déjà autre chose qu'une socket : déplacez-le, ou choisissez un autre chemin"
        );
        return Err((text.into_io(io::ErrorKind::AddrInUse), None));
    };
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(plain)?;
    // one whose queue is full would keep us waiting
    probe.set_nonblocking(true).map_err(plain)?;
    match probe.connect(&SockAddr::unix(path).map_err(plain)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Ok(()) => return Err((in_use, listening(probe))),
        // it is another kind of socket, is busy, or is not for us
        Err(_) => return Err((in_use, None)),
    }
    // nobody has put another one there in the meantime
    if identity(path).map_err(plain)? != Some(found) {
        return Err((in_use, None));
    }
    fs::remove_file(path).map_err(plain)?;
    let path = path.display();
    Ok(text!(
        "{path}: a socket that a program left behind was taken over (nobody listened on it)",
        "{path} : une socket laissée par un programme a été reprise (personne n'y écoutait)"
    ))
}

/// Device and inode of what lies at `path` if it is a socket; a link is none.
fn identity(path: &Path) -> io::Result<Option<Identity>> {
    let metadata = fs::symlink_metadata(path)?;
    Ok(metadata.file_type().is_socket().then(|| (metadata.dev(), metadata.ino())))
}

/// Who called listen(2) on the other end (`SO_PEERCRED` of unix(7)).
fn listening(probe: Socket) -> Option<String> {
    let stream = tokio::net::UnixStream::from_std(probe.into()).ok()?;
    let pid = u32::try_from(stream.peer_cred().ok()?.pid()?).ok()?;
    // zero: of another namespace
    (pid > 0).then(|| holder::process(pid))
}

/// Gives the file away. Not being allowed to is a warning, as in stunnel: it leaves less access, not more.
fn give(path: &Path, user: Option<Uid>, group: Option<Gid>) -> Option<Text> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let user = user.map(Uid::as_raw).filter(|uid| *uid != metadata.uid());
    let group = group.map(Gid::as_raw).filter(|gid| *gid != metadata.gid());
    if user.is_none() && group.is_none() {
        return None;
    }
    // never through a link that somebody put there
    let error = lchown(path, user, group).err()?;
    let path = path.display();
    Some(text!(
        "{path}: its owner could not be changed to that of `setuid` and `setgid`: {error}; only root can give files away",
        "{path} : son propriétaire n'a pu devenir celui de `setuid` et `setgid` : {error} ; seul root peut donner des \
         fichiers"
    ))
}

fn user(name: &str) -> io::Result<Uid> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid),
        Ok(None) => name.parse().map(Uid::from_raw).map_err(|_| unknown("setuid", name, None)),
        Err(error) => Err(unknown("setuid", name, Some(error))),
    }
}

fn group(name: &str) -> io::Result<Gid> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => name.parse().map(Gid::from_raw).map_err(|_| unknown("setgid", name, None)),
        Err(error) => Err(unknown("setgid", name, Some(error))),
    }
}

fn unknown(option: &str, name: &str, error: Option<nix::Error>) -> io::Error {
    let id = if option == "setuid" { "UID" } else { "GID" };
    let why = error.map_or_else(String::new, |error| format!(" ({error})"));
    let text = text!(
        "Illegal {id}: {option} = {name} is not known to this system{why}",
        "{id} incorrect : {option} = {name} est inconnu de ce système{why}"
    );
    text.into_io(io::ErrorKind::NotFound)
}
