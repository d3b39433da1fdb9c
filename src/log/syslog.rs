//! The syslog daemon's socket: one datagram a line, in the form of the local socket.
//!
//! RFC 3164, 4.1 (`<PRI>Mmm dd hh:mm:ss TAG: text`) without the host name, which local daemons add, as every libc
//! writes it. A daemon that is absent or restarts is no error: each line tries the socket once more. Never waits for a
//! daemon that does not read. On Windows there is none.

#[cfg(unix)]
use std::os::unix::net::UnixDatagram;

use jiff::Zoned;

use super::SyslogSettings;
use crate::event::Level;

/// A connection to the daemon, or the wish for one.
pub(super) struct Syslog {
    settings: SyslogSettings,
    #[cfg(unix)]
    socket: Option<UnixDatagram>,
}

impl Syslog {
    /// Connected at once where a daemon listens, else by the first line that finds one.
    pub(super) fn new(settings: SyslogSettings) -> Self {
        Self {
            #[cfg(unix)]
            socket: connect(&settings.socket).ok(),
            settings,
        }
    }

    /// Sends one line; it is lost when no daemon listens.
    pub(super) fn send(&mut self, level: Level, words: &str, now: &Zoned) {
        let SyslogSettings { facility, ident, .. } = &self.settings;
        let priority = u32::from(*facility) * 8 + u32::from(level.number());
        let (time, pid) = (now.strftime("%b %e %H:%M:%S"), std::process::id());
        self.deliver(format!("<{priority}>{time} {ident}[{pid}]: {words}").as_bytes());
    }

    #[cfg(unix)]
    fn deliver(&mut self, datagram: &[u8]) {
        let sent = self.socket.as_ref().map(|socket| socket.send(datagram));
        // a full queue is not a lost daemon: connecting again would not help
        if matches!(&sent, Some(Ok(_))) || would_block(sent.as_ref()) {
            return;
        }
        self.socket = connect(&self.settings.socket).ok();
        if let Some(socket) = &self.socket {
            let _ = socket.send(datagram);
        }
    }

    #[cfg(not(unix))]
    fn deliver(&mut self, _datagram: &[u8]) {}
}

#[cfg(unix)]
fn would_block(sent: Option<&std::io::Result<usize>>) -> bool {
    matches!(sent, Some(Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[cfg(unix)]
fn connect(path: &std::path::Path) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect(path)?;
    Ok(socket)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn lines_reach_the_daemon_also_after_it_restarted() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("log");
        let now: Zoned = "2026-03-01T12:05:09+01:00[Europe/Paris]".parse().unwrap();
        let mut syslog = Syslog::new(SyslogSettings { socket: socket.clone(), ident: "pertuis".into(), facility: 3 });
        syslog.send(Level::Error, "nobody listens", &now);
        for round in 0..2 {
            let daemon = UnixDatagram::bind(&socket).unwrap();
            syslog.send(Level::Notice, &format!("LOG5[ui]: round {round}"), &now);
            let mut buffer = [0; 200];
            let size = daemon.recv(&mut buffer).unwrap();
            let expected = format!("<29>Mar  1 12:05:09 pertuis[{}]: LOG5[ui]: round {round}", std::process::id());
            assert_eq!(std::str::from_utf8(&buffer[..size]).unwrap(), expected);
            drop(daemon);
            std::fs::remove_file(&socket).unwrap();
        }
    }
}
