//! Socket options of the `socket =` lines, and the defaults without them.
//!
//! What only tunes and is refused by the system is reported and passed over. What decides who reaches a socket
//! ([`Setting::restricts`]) is not: without it more would be open than was asked for, so its refusal is an error.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::config::tunnel::{Setting, Side, SocketOption};
use crate::text;
use crate::text::Text;

/// The protocol of a socket: some options have another name for IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6, and what is IPv4 on a socket of IPv6.
    V6,
}

/// A setting that decides who reaches a socket, which the system refused.
#[derive(Debug)]
pub struct Refused {
    /// What the system said.
    pub error: io::Error,
    /// That, with the option.
    pub text: Text,
}

impl Family {
    /// That of an address.
    pub fn of(address: std::net::SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// Sets what `options` say for `side`, above the defaults: `TCP_NODELAY` and `SO_KEEPALIVE` on for the accepted and
/// the dialled socket, `SO_REUSEADDR` on for the listening one (not on Windows, where it would let another program
/// take the port over). Of several lines for one option the last counts. Returns what the system refused.
///
/// # Errors
/// The system refused what restricts access.
pub fn apply(socket: &SockRef<'_>, family: Family, side: Side, options: &[SocketOption]) -> Result<Vec<Text>, Refused> {
    let mut warnings = Vec::new();
    for setting in effective(side, options) {
        if let Err(error) = set(socket, family, &setting) {
            let text = refused(&setting, &error);
            if setting.restricts() {
                return Err(Refused { error, text });
            }
            warnings.push(text);
        }
    }
    Ok(warnings)
}

/// One setting for each option: the last that says anything about it.
fn effective(side: Side, options: &[SocketOption]) -> Vec<Setting> {
    let asked = options.iter().filter(|option| option.side == side).map(|option| &option.setting);
    let mut effective: Vec<Setting> = Vec::new();
    for setting in defaults(side).iter().chain(asked) {
        effective.retain(|earlier| earlier.name() != setting.name());
        effective.push(setting.clone());
    }
    effective
}

fn defaults(side: Side) -> &'static [Setting] {
    match side {
        Side::Accept => &[Setting::ReuseAddr(cfg!(unix))],
        Side::Local | Side::Remote => &[Setting::NoDelay(true), Setting::KeepAlive(true)],
    }
}

fn set(socket: &SockRef<'_>, family: Family, setting: &Setting) -> io::Result<()> {
    match setting {
        Setting::NoDelay(on) => socket.set_tcp_nodelay(*on),
        Setting::KeepAlive(on) => socket.set_keepalive(*on),
        Setting::KeepIdle(time) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(whole_seconds(*time))),
        Setting::KeepInterval(time) => {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_interval(whole_seconds(*time)))
        }
        Setting::KeepCount(count) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_retries(*count)),
        Setting::ReuseAddr(on) => socket.set_reuse_address(*on),
        Setting::Linger(time) => socket.set_linger(*time),
        Setting::ReceiveBuffer(bytes) => socket.set_recv_buffer_size(*bytes),
        Setting::SendBuffer(bytes) => socket.set_send_buffer_size(*bytes),
        Setting::OnlyIpv6(on) if family == Family::V6 => socket.set_only_v6(*on),
        // a socket of IPv4 has nothing of IPv6 to begin with
        Setting::OnlyIpv6(_) => Ok(()),
        Setting::TimeToLive(hops) if family == Family::V6 => {
            // what is IPv4 on this socket; it may have none
            let _ = socket.set_ttl_v4(*hops);
            socket.set_unicast_hops_v6(*hops)
        }
        Setting::TimeToLive(hops) => socket.set_ttl_v4(*hops),
        Setting::Device(_) | Setting::TypeOfService(_) | Setting::FreeBind(_) | Setting::MaxSegment(_) => {
            set_on_linux(socket, family, setting)
        }
    }
}

/// Those that not every system has.
#[cfg(target_os = "linux")]
fn set_on_linux(socket: &SockRef<'_>, family: Family, setting: &Setting) -> io::Result<()> {
    match setting {
        Setting::Device(name) => socket.bind_device(Some(name.as_bytes()).filter(|name| !name.is_empty())),
        Setting::TypeOfService(value) if family == Family::V6 => {
            // what is IPv4 on this socket; it may have none
            let _ = socket.set_tos_v4(*value);
            socket.set_tclass_v6(*value)
        }
        Setting::TypeOfService(value) => socket.set_tos_v4(*value),
        Setting::FreeBind(on) if family == Family::V6 => socket.set_freebind_v6(*on),
        Setting::FreeBind(on) => socket.set_freebind_v4(*on),
        Setting::MaxSegment(bytes) => socket.set_tcp_mss(*bytes),
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn set_on_linux(_socket: &SockRef<'_>, _family: Family, _setting: &Setting) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Zero would be refused by the system, so the shortest time is one second.
fn whole_seconds(time: Duration) -> Duration {
    time.max(Duration::from_secs(1))
}

fn refused(setting: &Setting, error: &io::Error) -> Text {
    let name = setting.name();
    let remedy = match (setting, error.kind()) {
        (Setting::Device(device), io::ErrorKind::PermissionDenied) => {
            text!("; {device}: it needs the capability CAP_NET_RAW", " ; {device} : il y faut la capacité CAP_NET_RAW")
        }
        (Setting::Device(device), _) => {
            text!("; there must be an interface {device}", " ; il faut une interface {device}")
        }
        _ => Text::same(""),
    };
    let (en, fr) = (remedy.en, remedy.fr);
    text!(
        "the system refuses the socket option {name}: {error}{en}",
        "le système refuse l'option de socket {name} : {error}{fr}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};

    fn option(side: Side, setting: Setting) -> SocketOption {
        SocketOption { side, setting }
    }

    fn sockets() -> [(Family, Socket); 2] {
        [(Family::V4, Domain::IPV4), (Family::V6, Domain::IPV6)]
            .map(|(family, domain)| (family, Socket::new(domain, Type::STREAM, None).unwrap()))
    }

    #[test]
    fn defaults_hold_until_a_line_of_the_same_side_says_otherwise() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let options = [
            option(Side::Local, Setting::KeepIdle(Duration::from_secs(77))),
            option(Side::Remote, Setting::NoDelay(false)),
            option(Side::Local, Setting::KeepAlive(false)),
        ];
        assert!(apply(&SockRef::from(&socket), Family::V4, Side::Local, &options).unwrap().is_empty());
        assert!(socket.tcp_nodelay().unwrap(), "the other side's line must not count");
        assert!(!socket.keepalive().unwrap(), "the last line counts");
        #[cfg(unix)]
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(77));
        apply(&SockRef::from(&socket), Family::V4, Side::Remote, &options).unwrap();
        assert!(!socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    }

    type Read = fn(&Socket, Family) -> io::Result<u64>;

    fn flag(value: io::Result<bool>) -> io::Result<u64> {
        value.map(u64::from)
    }

    fn number(value: io::Result<u32>) -> io::Result<u64> {
        value.map(u64::from)
    }

    /// What is set, how the system says it, what it must say.
    #[cfg(target_os = "linux")]
    fn table() -> Vec<(Setting, Read, u64)> {
        let seconds = Duration::from_secs;
        vec![
            (Setting::NoDelay(false), |s, _| flag(s.tcp_nodelay()), 0),
            (Setting::KeepAlive(false), |s, _| flag(s.keepalive()), 0),
            (Setting::KeepIdle(seconds(77)), |s, _| s.tcp_keepalive_time().map(|t| t.as_secs()), 77),
            (Setting::KeepIdle(seconds(0)), |s, _| s.tcp_keepalive_time().map(|t| t.as_secs()), 1),
            (Setting::KeepInterval(seconds(11)), |s, _| s.tcp_keepalive_interval().map(|t| t.as_secs()), 11),
            (Setting::KeepCount(3), |s, _| number(s.tcp_keepalive_retries()), 3),
            (Setting::ReuseAddr(true), |s, _| flag(s.reuse_address()), 1),
            (Setting::Linger(Some(seconds(5))), |s, _| s.linger().map(|t| t.unwrap_or_default().as_secs()), 5),
            // the kernel doubles what is asked for (socket(7))
            (Setting::ReceiveBuffer(8192), |s, _| s.recv_buffer_size().map(|n| n as u64), 16384),
            (Setting::SendBuffer(8192), |s, _| s.send_buffer_size().map(|n| n as u64), 16384),
            (Setting::Device("lo".into()), |s, _| flag(s.device().map(|name| name == Some(b"lo".to_vec()))), 1),
            (Setting::Device(String::new()), |s, _| flag(s.device().map(|name| name.is_none())), 1),
            (Setting::TypeOfService(16), |s, f| number(if f == Family::V4 { s.tos_v4() } else { s.tclass_v6() }), 16),
            (Setting::TypeOfService(16), |s, _| number(s.tos_v4()), 16),
            (Setting::TimeToLive(9), |s, f| number(if f == Family::V4 { s.ttl_v4() } else { s.unicast_hops_v6() }), 9),
            (Setting::TimeToLive(9), |s, _| number(s.ttl_v4()), 9),
            (Setting::FreeBind(true), |s, f| flag(if f == Family::V4 { s.freebind_v4() } else { s.freebind_v6() }), 1),
            (Setting::OnlyIpv6(true), |s, f| if f == Family::V4 { Ok(1) } else { flag(s.only_v6()) }, 1),
            (Setting::OnlyIpv6(false), |s, f| if f == Family::V4 { Ok(0) } else { flag(s.only_v6()) }, 0),
        ]
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_says_what_was_set_for_ipv4_and_ipv6() {
        for (setting, read, expected) in table() {
            for (family, socket) in sockets() {
                for side in [Side::Accept, Side::Local, Side::Remote] {
                    let options = [option(side, setting.clone())];
                    let warnings = apply(&SockRef::from(&socket), family, side, &options).unwrap();
                    assert!(warnings.is_empty(), "{setting:?} {family:?}: {warnings:?}");
                    assert_eq!(read(&socket, family).unwrap(), expected, "{setting:?} {family:?}");
                }
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_largest_segment_holds_once_connected() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let options = [option(Side::Remote, Setting::MaxSegment(600))];
        assert!(apply(&SockRef::from(&socket), Family::V4, Side::Remote, &options).unwrap().is_empty());
        socket.connect(&listener.local_addr().unwrap().into()).unwrap();
        assert!(socket.tcp_mss().unwrap() <= 600);
    }

    #[test]
    fn of_two_lines_for_one_option_only_the_last_is_tried() {
        for (family, socket) in sockets() {
            let options = [
                option(Side::Accept, Setting::Device("no-such-if".into())),
                option(Side::Accept, Setting::Device(String::new())),
            ];
            assert!(apply(&SockRef::from(&socket), family, Side::Accept, &options).is_ok());
        }
    }

    #[test]
    fn what_restricts_access_and_is_refused_is_an_error_and_what_tunes_a_warning() {
        for (family, socket) in sockets() {
            let device = [option(Side::Accept, Setting::Device("no-such-if".into()))];
            let refused = apply(&SockRef::from(&socket), family, Side::Accept, &device).unwrap_err();
            assert!(refused.text.en.contains("SO_BINDTODEVICE") && refused.text.fr.contains("no-such-if"));
            // more than any system takes
            let count = [option(Side::Remote, Setting::KeepCount(u32::MAX >> 1))];
            let warnings = apply(&SockRef::from(&socket), family, Side::Remote, &count).unwrap();
            assert!(warnings[0].en.contains("TCP_KEEPCNT"), "{warnings:?}");
        }
    }
}
