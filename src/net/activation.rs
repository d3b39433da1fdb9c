//! Sockets that systemd (or whoever speaks its protocol, `sd_listen_fds(3)`) has opened before it started us.
//!
//! Not a choice of who gets which: descriptors are given in their order, and stunnel hands one to each service with
//! `accept` in the order of the file. Whoever starts us decides what the numbers mean; they are believed, but each must
//! be what we can serve.

use std::env;
use std::io;

use listenfd::ListenFd;
use socket2::SockRef;
use tokio::net::{TcpListener, UnixListener};

use super::stream::Listener;
use crate::text;
use crate::text::Text;

/// The listeners that were handed over, in their order; none when nothing was, or when it was meant for another process
/// (`LISTEN_PID`). A second call finds nothing: `LISTEN_FDS` and `LISTEN_PID` are removed from the environment, which is
/// why this comes before other threads look at it. Within a runtime of tokio; the descriptors are closed on exec.
/// `passed_on`: the process for which they were meant started this one in its place, and took its number out.
///
/// # Errors
/// A descriptor that is no listening stream socket, naming it; a number of descriptors that is none.
pub fn take(passed_on: bool) -> io::Result<Vec<Listener>> {
    let read = |name| env::var(name).ok();
    let (count, mut pid) = (read("LISTEN_FDS"), read("LISTEN_PID"));
    if passed_on && pid.is_none() {
        pid = Some(std::process::id().to_string());
    }
    let names = read("LISTEN_FDNAMES").unwrap_or_default();
    if announced(count.as_deref(), pid.as_deref(), std::process::id())?.is_none() {
        return Ok(Vec::new());
    }
    let mut handed = ListenFd::from_env();
    (0..handed.len()).map(|place| listener(&mut handed, place, &names)).collect()
}

/// What is meant for this process alone (systemd.exec(5)) and what a program that we start must not see: it would take our
/// sockets for its own, end the watch over us, or read our credentials.
pub const VARIABLES: [&str; 9] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "CREDENTIALS_DIRECTORY",
    MARK,
];

/// The mark of a process that this program started in its own place, as a daemon: the number of the first one.
pub const MARK: &str = "PERTUIS_DAEMON";

/// How many descriptors there are for the process `own`.
fn announced(count: Option<&str>, pid: Option<&str>, own: u32) -> io::Result<Option<usize>> {
    let (Some(count), Some(pid)) = (count, pid) else { return Ok(None) };
    if pid.trim().parse() != Ok(own) {
        return Ok(None);
    }
    match count.trim().parse() {
        Ok(count) if count <= MOST => Ok(Some(count)),
        _ => Err(text!(
            "LISTEN_FDS = {count:?}: expected the number of sockets that were handed over, at most {MOST}",
            "LISTEN_FDS = {count:?} : attendu le nombre de sockets transmises, {MOST} au plus"
        )
        .into_io(io::ErrorKind::InvalidData)),
    }
}

fn listener(handed: &mut ListenFd, place: usize, names: &str) -> io::Result<Listener> {
    let wrong = |why: &Text| no_listener(place, names, why);
    if let Ok(Some(tcp)) = handed.take_tcp_listener(place) {
        listening(&SockRef::from(&tcp)).map_err(|why| wrong(&why))?;
        tcp.set_nonblocking(true)?;
        return TcpListener::from_std(tcp).map(Listener::Tcp);
    }
    if let Ok(Some(unix)) = handed.take_unix_listener(place) {
        listening(&SockRef::from(&unix)).map_err(|why| wrong(&why))?;
        unix.set_nonblocking(true)?;
        // its file is systemd's
        return UnixListener::from_std(unix).map(|listener| Listener::Unix(listener.into()));
    }
    Err(wrong(&text!("it is no stream socket", "ce n'est pas une socket de flux")))
}

fn listening(socket: &SockRef<'_>) -> Result<(), Text> {
    #[cfg(target_os = "linux")]
    let listens = socket.is_listener();
    // only Linux has systemd, and not every other Unix the question
    #[cfg(not(target_os = "linux"))]
    let listens = socket.local_addr().map(|_| true);
    match listens {
        Ok(true) => Ok(()),
        Ok(false) => Err(text!("it does not listen (Accept=yes?)", "elle n'écoute pas (Accept=yes ?)")),
        Err(error) => Err(Text::io(&error)),
    }
}

fn no_listener(place: usize, names: &str, why: &Text) -> io::Error {
    let number = FIRST + place;
    let name = names.split(':').nth(place).filter(|name| !name.is_empty());
    let name = name.map_or_else(String::new, |name| format!(" ({})", crate::text::shown(name, 64)));
    let (en, fr) = (&why.en, &why.fr);
    text!(
        "socket activation: descriptor {number}{name} cannot be served: {en}; the socket unit needs ListenStream= and \
             Accept=no",
        "activation par socket : le descripteur {number}{name} ne peut être servi : {fr} ; l'unité socket demande \
             ListenStream= et Accept=no"
    )
    .into_io(io::ErrorKind::InvalidInput)
}

/// `SD_LISTEN_FDS_START`.
const FIRST: usize = 3;
/// Far more than a file has services: the number comes from outside.
const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixDatagram;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn only_what_is_meant_for_this_process_is_taken() {
        for (count, pid, expected) in [
            (None, None, Ok(None)),
            (Some("1"), None, Ok(None)),
            (Some("1"), Some("8"), Ok(None)),
            (Some("x"), Some("8"), Ok(None)),
            (Some("1"), Some("7"), Ok(Some(1))),
            (Some("0"), Some("7"), Ok(Some(0))),
            (Some("x"), Some("7"), Err(())),
            (Some("-1"), Some("7"), Err(())),
            (Some("2147483647"), Some("7"), Err(())),
        ] {
            assert_eq!(announced(count, pid, 7).map_err(|_| ()), expected, "{count:?} {pid:?}");
        }
    }

    /// Not a test by itself: what the others start in a process of its own, with sockets as descriptors 3 and 4.
    #[tokio::test]
    async fn say_what_was_handed_over() {
        if env::var_os("SAY_WHAT_WAS_HANDED_OVER").is_none() {
            return;
        }
        match take(false) {
            Ok(listeners) => {
                for listener in &listeners {
                    eprintln!("has {}", listener.local_addr().unwrap());
                }
                let left: Vec<&str> = VARIABLES.into_iter().filter(|name| env::var_os(name).is_some()).collect();
                eprintln!("left {left:?}, then {}", take(false).unwrap().len());
                // close-on-exec: a program sees none of them
                let seen = Command::new("sh").args(["-c", "readlink /proc/$$/fd/3 /proc/$$/fd/4"]).output().unwrap();
                eprintln!("programs see {:?}", String::from_utf8_lossy(&seen.stdout));
            }
            Err(error) => eprintln!("error {error}"),
        }
    }

    /// Hands `first` and `second` over as a launcher would.
    fn handed(first: impl Into<OwnedFd>, second: impl Into<OwnedFd>) -> String {
        let script =
            r#"exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=one:two exec "$@""#;
        let output = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(env::current_exe().unwrap())
            .args(["--exact", "net::activation::tests::say_what_was_handed_over", "--nocapture"])
            .env("SAY_WHAT_WAS_HANDED_OVER", "1")
            .stdin(Stdio::from(first.into()))
            .stdout(Stdio::from(second.into()))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn tcp() -> std::net::TcpListener {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn listeners_come_in_their_order_and_are_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (tcp, unix) = (tcp(), std::os::unix::net::UnixListener::bind(&path).unwrap());
        let at = tcp.local_addr().unwrap();
        let said = handed(tcp, unix);
        assert!(said.contains(&format!("has {at}\nhas {}\n", path.display())), "{said}");
        assert!(said.contains("left [\"LISTEN_FDNAMES\"], then 0"), "{said}");
        assert!(said.contains("programs see \"\"\n"), "{said}");
        assert!(path.exists(), "the file is not ours");
    }

    #[test]
    fn what_is_no_listening_stream_socket_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let listener = tcp();
        let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let others: [(OwnedFd, &str); 4] = [
            (connected.into(), "does not listen"),
            (UnixDatagram::bind(folder.path().join("d")).unwrap().into(), "no stream socket"),
            (std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into(), "no stream socket"),
            (std::fs::File::open("/dev/null").unwrap().into(), "no stream socket"),
        ];
        for (other, words) in others {
            let said = handed(listener.as_fd().try_clone_to_owned().unwrap(), other);
            assert!(said.contains("error socket activation: descriptor 4 (two)") && said.contains(words), "{said}");
        }
    }
}
