//! A TCP proxy between a client and a server that does harm at a chosen byte: cuts, resets, stalls, slows.
//!
//! Not a protocol: it counts bytes, so that harm may come anywhere, also in the middle of a TLS record or a line.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens once a byte has passed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    /// Both sides see the end.
    Cut,
    /// Both sides see a reset (RST): what was under way is lost.
    Reset,
    /// Nothing passes for so long, then it goes on.
    Stall(Duration),
    /// So many bytes pass in small pieces, a moment between them.
    Slow(usize),
}

/// Whose bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// What the client sends.
    Client,
    /// What the server sends.
    Server,
}

/// Harm that waits for its byte, counted over all connections since it was set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) side: Side,
    pub(crate) byte: u64,
    pub(crate) harm: Harm,
}

#[derive(Default)]
struct State {
    points: Vec<Point>,
    client: u64,
    server: u64,
}

/// A proxy; it listens until the test's process ends.
#[derive(Clone)]
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Starts a proxy on a free port of 127.0.0.1.
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let acceptor = proxy.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // a server that does not answer is a cut, too
                if let Ok(server) = TcpStream::connect(server) {
                    acceptor.join(&client, &server);
                }
            }
        });
        proxy
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Counts anew, and does harm at these points.
    pub(crate) fn set(&self, points: &[Point]) {
        *self.state.lock().unwrap() = State { points: points.to_owned(), ..State::default() };
    }

    /// Bytes of client and server since the last `set`.
    pub(crate) fn passed(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap();
        (state.client, state.server)
    }

    /// How many points have not been reached.
    pub(crate) fn left(&self) -> usize {
        self.state.lock().unwrap().points.len()
    }

    fn join(&self, client: &TcpStream, server: &TcpStream) {
        for (side, from, to) in [(Side::Client, client, server), (Side::Server, server, client)] {
            let (proxy, from, to) = (self.clone(), from.try_clone().unwrap(), to.try_clone().unwrap());
            to.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let _ = proxy.relay(side, &from, &to);
                // a half-closed connection has no use in a mail protocol
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }

    fn relay(&self, side: Side, mut from: &TcpStream, mut to: &TcpStream) -> std::io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let mut slow = 0;
        loop {
            let count = from.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            let mut sent = 0;
            for (at, harm) in self.pass(side, count) {
                crawl(&mut to, &buffer[sent..at], &mut slow)?;
                sent = at;
                match harm {
                    Harm::Cut => return Ok(()),
                    Harm::Reset => return reset(from, to),
                    Harm::Stall(time) => std::thread::sleep(time),
                    Harm::Slow(bytes) => slow = bytes,
                }
            }
            crawl(&mut to, &buffer[sent..count], &mut slow)?;
        }
    }

    /// Counts bytes that are about to pass; the harms among them, each with how many of the bytes go before it.
    fn pass(&self, side: Side, count: usize) -> Vec<(usize, Harm)> {
        let mut state = self.state.lock().unwrap();
        let passed = if side == Side::Client { &mut state.client } else { &mut state.server };
        let begin = *passed;
        *passed += count as u64;
        let end = *passed;
        let mut due: Vec<Point> = state.points.extract_if(.., |point| point.side == side && point.byte < end).collect();
        due.sort_by_key(|point| point.byte);
        due.iter().map(|point| (usize::try_from(point.byte.saturating_sub(begin)).unwrap(), point.harm)).collect()
    }
}

/// Writes, the first `slow` bytes of it in pieces of 1, 2, 3 … bytes.
fn crawl(to: &mut &TcpStream, bytes: &[u8], slow: &mut usize) -> std::io::Result<()> {
    let (mut rest, mut piece) = (bytes, 1);
    while *slow > 0 && !rest.is_empty() {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        to.write_all(now)?;
        std::thread::sleep(Duration::from_micros(500));
        *slow = slow.saturating_sub(now.len());
        (rest, piece) = (later, piece + 1);
    }
    to.write_all(rest)
}

/// Ends both connections with RST, whoever else holds them: a close would wait for the other thread, and a shutdown
/// says FIN first.
fn reset(one: &TcpStream, other: &TcpStream) -> std::io::Result<()> {
    for stream in [one, other] {
        rustix::net::connect_unspec(stream)?;
    }
    Ok(())
}
