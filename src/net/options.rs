//! Socket options of the `socket =` lines, and the defaults without them.
//!
//! An option that the system refuses is reported and passed over, as stunnel's are tuning, not security.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::config::tunnel::{Setting, Side, SocketOption};
use crate::text;
use crate::text::Text;

/// Sets what `options` say for `side`, above the defaults: `TCP_NODELAY` and `SO_KEEPALIVE` on for the accepted and
/// the dialled socket, `SO_REUSEADDR` on for the listening one (not on Windows, where it would let another program
/// take the port over). Returns what the system refused.
pub fn apply(socket: &SockRef<'_>, side: Side, options: &[SocketOption]) -> Vec<Text> {
    let asked = options.iter().filter(|option| option.side == side).map(|option| option.setting);
    defaults(side)
        .iter()
        .copied()
        .chain(asked)
        .filter_map(|setting| set(socket, setting).err().map(|error| refused(setting, &error)))
        .collect()
}

fn defaults(side: Side) -> &'static [Setting] {
    match side {
        Side::Accept => &[Setting::ReuseAddr(cfg!(unix))],
        Side::Local | Side::Remote => &[Setting::NoDelay(true), Setting::KeepAlive(true)],
    }
}

fn set(socket: &SockRef<'_>, setting: Setting) -> io::Result<()> {
    match setting {
        Setting::NoDelay(on) => socket.set_tcp_nodelay(on),
        Setting::KeepAlive(on) => socket.set_keepalive(on),
        Setting::KeepIdle(time) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(whole_seconds(time))),
        Setting::KeepInterval(time) => {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_interval(whole_seconds(time)))
        }
        Setting::KeepCount(count) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_retries(count)),
        Setting::ReuseAddr(on) => socket.set_reuse_address(on),
        Setting::Linger(time) => socket.set_linger(time),
        Setting::ReceiveBuffer(bytes) => socket.set_recv_buffer_size(bytes),
        Setting::SendBuffer(bytes) => socket.set_send_buffer_size(bytes),
    }
}

/// Zero would be refused by the system, so the shortest time is one second.
fn whole_seconds(time: Duration) -> Duration {
    time.max(Duration::from_secs(1))
}

fn refused(setting: Setting, error: &io::Error) -> Text {
    text!(
        "the system refuses the socket option {setting:?}: {error}",
        "le système refuse l'option de socket {setting:?} : {error}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};

    #[test]
    fn defaults_hold_until_a_line_of_the_same_side_says_otherwise() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let options = [
            SocketOption { side: Side::Local, setting: Setting::KeepIdle(Duration::from_secs(77)) },
            SocketOption { side: Side::Remote, setting: Setting::NoDelay(false) },
            SocketOption { side: Side::Local, setting: Setting::KeepAlive(false) },
        ];
        assert!(apply(&SockRef::from(&socket), Side::Local, &options).is_empty());
        assert!(socket.tcp_nodelay().unwrap(), "the other side's line must not count");
        assert!(!socket.keepalive().unwrap(), "the last line counts");
        #[cfg(unix)]
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(77));
        apply(&SockRef::from(&socket), Side::Remote, &options);
        assert!(!socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    }
}
