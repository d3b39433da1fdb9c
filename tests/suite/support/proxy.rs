//! A proxy of either kind, on a free port of 127.0.0.1: whatever name it is asked for, it leads to one server.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A running proxy; its threads end with the test.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

/// What it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http,
    Socks5,
    /// Nothing: it only leads there.
    Nothing,
}

impl Proxy {
    /// Starts a proxy to `server`; `login`: `name:password` that it wants.
    pub(crate) fn start(speaks: Speaks, server: SocketAddr, login: Option<&'static str>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (names, count) = (Arc::clone(&asked), Arc::clone(&connections));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                let names = Arc::clone(&names);
                std::thread::spawn(move || {
                    let mut client = client.unwrap();
                    let name = match speaks {
                        Speaks::Http => http(&mut client, login),
                        Speaks::Socks5 => socks(&mut client, login),
                        Speaks::Nothing => Some(String::new()),
                    };
                    if let Some(name) = name {
                        names.lock().unwrap().push(name);
                        lead(&client, &TcpStream::connect(server).unwrap());
                    }
                });
            }
        });
        Self { port, asked, connections }
    }

    /// The names (and ports) it was asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// How many connections it had.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn http(client: &mut TcpStream, login: Option<&str>) -> Option<String> {
    use base64::Engine as _;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read::<1>(client)?);
    }
    let head = String::from_utf8(head).unwrap();
    let wanted =
        login.map(|login| format!("Proxy-Authorization: Basic {}", base64::prelude::BASE64_STANDARD.encode(login)));
    if wanted.is_some_and(|wanted| !head.lines().any(|line| line == wanted)) {
        let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n");
        return None;
    }
    client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").ok()?;
    Some(head.split(' ').nth(1)?.to_owned())
}

fn socks(client: &mut TcpStream, login: Option<&str>) -> Option<String> {
    let [_, methods] = read(client)?;
    for _ in 0..methods {
        read::<1>(client)?;
    }
    client.write_all(&[5, if login.is_some() { 2 } else { 0 }]).ok()?;
    if let Some(login) = login {
        read::<1>(client)?;
        let given = format!("{}:{}", string(client)?, string(client)?);
        client.write_all(&[1, u8::from(given != login)]).ok()?;
        if given != login {
            return None;
        }
    }
    let [_, _, _, kind] = read(client)?;
    assert_eq!(kind, 3, "a name is left to the proxy");
    let (name, port) = (string(client)?, u16::from_be_bytes(read(client)?));
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    Some(format!("{name}:{port}"))
}

fn string(client: &mut TcpStream) -> Option<String> {
    let [length] = read(client)?;
    let mut text = vec![0; usize::from(length)];
    client.read_exact(&mut text).ok()?;
    String::from_utf8(text).ok()
}

fn read<const N: usize>(client: &mut TcpStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn lead(client: &TcpStream, server: &TcpStream) {
    let pass = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| pass(server, client));
        pass(client, server);
    });
}
