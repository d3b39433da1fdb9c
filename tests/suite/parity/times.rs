//! Rows about waiting, about who is asked next, and about the options of sockets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::bench::Bench;
use super::tunnels::{anyone, client, see_talk, server_side};
use super::{Gap, Row};
use crate::support::peers::{Conn, PATIENCE, Target};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "TIMEOUTidle aborts a silent connection",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nTIMEOUTidle = 1\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            let began = Instant::now();
            see_talk(b, &mut near, &mut far);
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
            b.see_time("took", began, 900..2500);
            b.see("far end", format!("{:?}", far.ending(PATIENCE)));
        },
        gaps: &[],
    },
    Row {
        name: "TIMEOUTidle aborts a silent connection of a server",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nTIMEOUTidle = 1\n",
        act: |b| {
            let (mut near, mut far) = server_side(b);
            let began = Instant::now();
            see_talk(b, &mut near, &mut far);
            b.see("far end", format!("{:?}", far.ending(PATIENCE)));
            b.see_time("took", began, 900..2500);
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
        },
        gaps: &[],
    },
    Row {
        name: "TIMEOUTclose ends a connection of which one side has ended",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nTIMEOUTclose = 1\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            let began = Instant::now();
            far.finish();
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
            b.see("far end", format!("{:?}", far.ending(PATIENCE)));
            b.see_time("took", began, 900..2500);
        },
        gaps: &[],
    },
    Row {
        name: "TIMEOUTclose ends a connection whose plain side has ended",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nTIMEOUTclose = 1\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            let began = Instant::now();
            near.finish();
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
            b.see_time("took", began, 900..2500);
            b.see("far end", format!("{:?}", far.ending(PATIENCE)));
        },
        gaps: &[],
    },
    Row {
        name: "TIMEOUTclose = 0 ends a connection with its first side",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nTIMEOUTclose = 0\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
            let began = Instant::now();
            far.finish();
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
            b.see("far end", format!("{:?}", far.ending(PATIENCE)));
            b.see_time("took", began, 0..900);
        },
        gaps: &[],
    },
    Row {
        name: "TIMEOUTbusy ends a handshake that a server does not go on with",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nTIMEOUTbusy = 1\n",
        act: |b| {
            let target = b.target("far");
            b.start();
            let (mut near, began) = (b.connect("near"), Instant::now());
            let mut far = target.accept();
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
            b.see_time("took", began, 900..2500);
            b.see("far end", format!("{:?}", far.ending(PATIENCE).1));
        },
        gaps: &[Gap { what: "log", lines: "TIMEOUTbusy exceeded", why: MORE_WORDS }],
    },
    Row {
        name: "TIMEOUTbusy ends a handshake that a client does not begin",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nTIMEOUTbusy = 1\n",
        act: |b| {
            let _target = b.target("far");
            b.start();
            let (mut near, began) = (b.connect("near"), Instant::now());
            b.see("near end", format!("{:?}", near.ending(PATIENCE)));
            b.see_time("took", began, 900..2500);
        },
        gaps: &[Gap { what: "log", lines: "TIMEOUTbusy exceeded", why: MORE_WORDS }],
    },
    Row {
        name: "TIMEOUTconnect goes on to the next target",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {deaf}\nconnect = {far}\nTIMEOUTconnect = 1\n",
        act: |b| {
            let deaf = Deaf::new();
            b.set("deaf", deaf.at);
            let target = b.target("far");
            b.start();
            let (mut near, began) = (b.connect("near"), Instant::now());
            let mut far = target.accept().accept_tls(&anyone()).unwrap();
            b.see_time("took", began, 900..2500);
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[Gap { what: "log", lines: "TIMEOUTconnect exceeded", why: MORE_WORDS }],
    },
    Row {
        name: "failover = prio always begins with the first target",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nconnect = {other}\nfailover = prio\n",
        act: |b| see_order(b, ToOwned::to_owned),
        gaps: &[],
    },
    Row {
        name: "failover = rr takes turns",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nconnect = {other}\nfailover = rr\n",
        // where it begins is chance
        act: |b| {
            see_order(b, |order| {
                if order.starts_with('o') {
                    order.replace('o', "F").replace('f', "o").to_lowercase()
                } else {
                    order.to_owned()
                }
            });
        },
        gaps: &[],
    },
    Row {
        name: "a dead target is followed by the next one on each connection",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {nobody}\nconnect = {far}\n",
        act: |b| {
            let target = b.target("far");
            b.start();
            for _ in 0..2 {
                let mut near = b.connect("near");
                let mut far = target.accept().accept_tls(&anyone()).unwrap();
                see_talk(b, &mut near, &mut far);
                near.finish();
                b.see("far end", far.ends_ours());
            }
        },
        gaps: &[],
    },
    Row {
        name: "a target before the sections and one in a section are two targets",
        config: "{head}connect = {far}\n[s]\nclient = yes\naccept = {near}\nconnect = {other}\n",
        act: |b| see_order(b, ToOwned::to_owned),
        gaps: &[],
    },
    Row {
        name: "delay = yes looks a name up for each connection",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = localhost:{far.port}\ndelay = yes\n",
        act: |b| {
            let (mut near, mut far) = client(b);
            see_talk(b, &mut near, &mut far);
        },
        gaps: &[],
    },
    Row {
        name: "a name that cannot be looked up is no mistake of the file",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = nowhere.invalid:25\n",
        act: |b| {
            b.start();
            let end =
                Conn::to(b.at("near")).map_or("Reset".to_owned(), |mut near| format!("{:?}", near.ending(PATIENCE).1));
            b.see("near end", end);
        },
        gaps: &[],
    },
    Row {
        name: "options of sockets are set where they belong",
        config: "{head}[s]\nsocket = a:SO_REUSEADDR=no\nclient = yes\naccept = {near}\nconnect = {far}\n\
                 socket = l:TCP_NODELAY=0\nsocket = r:TCP_NODELAY=1\nsocket = l:SO_KEEPALIVE=1\n\
                 socket = r:SO_KEEPALIVE=yes\nsocket = r:TCP_KEEPIDLE=71\nsocket = r:TCP_KEEPINTVL=17\n\
                 socket = r:TCP_KEEPCNT=4\nsocket = l:SO_LINGER=1:9\nsocket = r:SO_RCVBUF=30000\n\
                 socket = r:SO_SNDBUF=40000\n",
        act: see_socket_options,
        gaps: &[],
    },
    Row {
        name: "options of sockets have stunnel's defaults",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: see_socket_options,
        gaps: &[
            Gap { what: "local: keepalive", lines: "", why: KEEPALIVE },
            Gap { what: "remote: keepalive", lines: "", why: KEEPALIVE },
        ],
    },
];

/// To whom four connections went: `f`ar or `o`ther.
fn see_order(b: &mut Bench, told: fn(&str) -> String) {
    let (far, other) = (b.target("far"), b.target("other"));
    b.start();
    let mut order = String::new();
    for turn in 0..4 {
        let mut near = b.connect("near");
        let (name, there) = next_of(&far, &other);
        order.push(name);
        let mut there = there.accept_tls(&anyone()).unwrap();
        see_talk(b, &mut near, &mut there);
        near.finish();
        b.see("far end", there.ends_ours());
        b.wait_log_n("Connection closed", turn + 1);
    }
    b.see("order", told(&order));
    // where a round begins is chance: the log is the same in another order
    b.hide_names(&["far", "other"]);
}

fn next_of(far: &Target, other: &Target) -> (char, Conn) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        for (name, target) in [('f', far), ('o', other)] {
            if let Some(conn) = target.accept_within(Duration::from_millis(5)) {
                return (name, conn);
            }
        }
    }
    panic!("nobody came");
}

fn see_socket_options(b: &mut Bench) {
    let (mut near, mut far) = client(b);
    see_talk(b, &mut near, &mut far);
    let front = b.at("near");
    let listener = b.socket(|socket| socket.is_listener().unwrap_or(false));
    b.see("accept: reuse address", format!("{:?}", listener.reuse_address().unwrap()));
    let near_end = near.socket().local_addr().unwrap();
    let is = |socket: &socket2::Socket, local: SocketAddr, peer: SocketAddr| {
        let at = |end: std::io::Result<socket2::SockAddr>| end.ok().and_then(|end| end.as_socket());
        at(socket.local_addr()) == Some(local) && at(socket.peer_addr()) == Some(peer)
    };
    let local = b.socket(|socket| is(socket, front, near_end));
    let (from, to) = (far.peer(), far.socket().local_addr().unwrap());
    let remote = b.socket(|socket| is(socket, from, to));
    for (side, socket) in [("local", &local), ("remote", &remote)] {
        b.see(&format!("{side}: nodelay"), format!("{:?}", socket.tcp_nodelay().unwrap()));
        b.see(&format!("{side}: keepalive"), format!("{:?}", socket.keepalive().unwrap()));
        b.see(&format!("{side}: linger"), format!("{:?}", socket.linger().unwrap()));
        b.see(&format!("{side}: keepalive time"), format!("{:?}", socket.tcp_keepalive_time().unwrap()));
        b.see(&format!("{side}: keepalive interval"), format!("{:?}", socket.tcp_keepalive_interval().unwrap()));
        b.see(&format!("{side}: keepalive retries"), format!("{:?}", socket.tcp_keepalive_retries().unwrap()));
    }
    // the kernel lets a buffer of its own choice grow: only what was asked for can be compared
    if b.config().contains("SO_RCVBUF") {
        b.see("remote: receive buffer", remote.recv_buffer_size().unwrap());
        b.see("remote: send buffer", remote.send_buffer_size().unwrap());
    }
}

/// An address that answers no call: its queue is full.
struct Deaf {
    at: SocketAddr,
    _sockets: Vec<socket2::Socket>,
}

impl Deaf {
    fn new() -> Self {
        use socket2::{Domain, Socket, Type};
        let new = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = new();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let at = listener.local_addr().unwrap().as_socket().unwrap();
        let mut sockets = vec![listener];
        for _ in 0..3 {
            let caller = new();
            caller.set_nonblocking(true).unwrap();
            // it waits for ever, which is what it is for
            let _ = caller.connect(&at.into());
            sockets.push(caller);
        }
        Self { at, _sockets: sockets }
    }
}

const MORE_WORDS: &str = "stunnel's words come first, then how long it was and what may be wrong";
const KEEPALIVE: &str = "on by default, so that dead peers are noticed before TIMEOUTidle";
