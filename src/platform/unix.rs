//! Unix: signals, becoming a daemon, the pid file, systemd's notifications.
//!
//! A daemon is made by starting this program once more, detached, rather than by fork: that needs no `unsafe` and is
//! safe with threads. The first process waits until the second one says that it started, and passes its errors on.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Phase, Request};
use crate::net::activation::MARK;

/// The signals of a running service.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    /// Takes the signals over from the system's defaults. Called within a runtime.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next request.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Request::Stop("SIGINT"),
            _ = self.quit.recv() => Request::Stop("SIGQUIT"),
            _ = self.hangup.recv() => Request::Reload,
            _ = self.user1.recv() => Request::Reopen,
            _ = self.user2.recv() => Request::Status,
        }
    }
}

/// The pid file: locked as long as its process lives, removed when this is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl PidFile {
    /// Writes this process's number into `path`.
    ///
    /// # Errors
    /// The file cannot be written, or a living process holds it (`ResourceBusy`). What a crash left behind is taken
    /// over: a lock ends with its process, a number may by then belong to somebody else.
    pub fn create(path: &Path) -> io::Result<Self> {
        // readable for everybody: monitoring runs as other users
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)?;
        // a file system without locks is no reason not to start
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let mut holder = String::new();
            file.read_to_string(&mut holder)?;
            let words = format!("already running, pid {}", holder.trim());
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, words));
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { path: path.to_owned(), _file: file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The second process of `foreground = no`; its standard input is the way to the first one.
#[derive(Debug)]
pub struct Daemon {
    /// Opened early: a jail has none.
    null: io::Result<File>,
}

impl Daemon {
    /// Whether this process is the one that [`Daemon::launch`] started; it is then detached from the terminal.
    pub fn detach() -> Option<Self> {
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
        // a number, not a flag: a program that we start inherits the variable, but not the parent
        let marked = std::env::var(MARK).ok().filter(|value| Some(value) == parent.as_ref());
        marked.map(|_| {
            // refused only for the leader of a process group, which a started program is not
            let _ = rustix::process::setsid();
            let null = OpenOptions::new().read(true).write(true).open("/dev/null");
            Self { null }
        })
    }

    /// Starts this program once more with the same arguments and waits for its word. `input` is what it finds with
    /// [`Daemon::input`]; its errors go to our standard error. Answers the exit code for this process.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn launch(input: &[u8]) -> io::Result<u8> {
        // a socket of its own for its word: standard output may be where it logs to (`output = /dev/stdout`)
        let (mut near, far) = UnixStream::pair()?;
        let mut arguments = std::env::args_os();
        let mut command = Command::new(std::env::current_exe()?);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        command.args(arguments).env(MARK, std::process::id().to_string());
        // sockets of systemd are meant for this process; the second one has them from us
        let ours = std::env::var("LISTEN_PID").is_ok_and(|pid| pid.trim() == std::process::id().to_string());
        command.env_remove(if ours { "LISTEN_PID" } else { "LISTEN_FDS" });
        let mut child = command.stdin(OwnedFd::from(far)).spawn()?;
        // with it goes our copy of the far end
        drop(command);
        let mut word = String::new();
        // a program that fell before it listened says so by its exit code
        let _ = near.write_all(input).and_then(|()| near.shutdown(Shutdown::Write));
        let _ = near.read_to_string(&mut word);
        if word == STARTED {
            return Ok(0);
        }
        child.wait()?;
        Ok(1)
    }

    /// What the first process had to hand over.
    ///
    /// # Errors
    /// The first process is gone.
    pub fn input(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Tells the first process that everything started, and lets go of its standard streams.
    ///
    /// # Errors
    /// `/dev/null` cannot be opened.
    pub fn started(self) -> io::Result<()> {
        let null = self.null?;
        // the first process may have been killed: the service runs all the same
        let _ = rustix::io::write(rustix::stdio::stdin(), STARTED.as_bytes());
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        Ok(())
    }
}

/// From now on a crash writes no memory to disk: passwords and tokens are in it. The limit is for the system that writes
/// a file; one that hands the memory to a program (`core_pattern` with a pipe, core(5)) heeds the process's own mark alone.
pub fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // both only give something up, which is refused to nobody
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Whether standard error is the connection that a super-server handed over as standard input.
pub fn standard_error_is_a_connection() -> bool {
    use rustix::fs::{FileType, fstat};
    let (Ok(input), Ok(error)) = (fstat(rustix::stdio::stdin()), fstat(rustix::stdio::stderr())) else { return false };
    let is_socket = FileType::from_raw_mode(error.st_mode) == FileType::Socket;
    is_socket && (input.st_dev, input.st_ino) == (error.st_dev, error.st_ino)
}

/// Tells the service manager (`NOTIFY_SOCKET`, `sd_notify(3)`); without one nothing happens.
pub fn notify(phase: Phase) {
    use sd_notify::NotifyState;
    let told = match phase {
        Phase::Ready => sd_notify::notify(&[NotifyState::Ready]),
        // Type=notify-reload asks for the time of the monotonic clock beside it
        Phase::Reloading => {
            NotifyState::monotonic_usec_now().and_then(|time| sd_notify::notify(&[NotifyState::Reloading, time]))
        }
        Phase::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    };
    // a service manager that does not listen changes nothing for us
    drop(told);
}

/// How often the service manager wants to hear that the service lives (`WatchdogSec=`); `None`: it does not.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Tells the service manager that the service lives, and `summary` for `systemctl status`.
pub fn tell_alive(summary: &str) {
    use sd_notify::NotifyState;
    // a service manager that does not listen changes nothing for us
    let _ = sd_notify::notify(&[NotifyState::Watchdog, NotifyState::Status(summary)]);
}

const STARTED: &str = "started\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_is_not_dumped() {
        use rustix::process::{DumpableBehavior, dumpable_behavior};
        no_core_dumps();
        let limits = fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(line.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{line}");
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }

    #[test]
    fn the_pid_file_goes_with_its_owner_and_has_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        fs::write(&path, "4711, left by a crash\n").unwrap();
        let file = PidFile::create(&path).unwrap();
        let number = std::process::id().to_string();
        assert_eq!(fs::read_to_string(&path).unwrap().trim(), number);
        let refused = PidFile::create(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        assert!(refused.to_string().contains(&number), "{refused}");
        drop(file);
        assert!(!path.exists());
        assert!(PidFile::create(&dir.path().join("missing/pid")).is_err());
    }
}
