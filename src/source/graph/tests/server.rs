//! A loopback HTTP server that says what a test wants, byte by byte, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Decoded, without the version.
    pub(crate) path: String,
    /// Decoded: name → value.
    pub(crate) query: HashMap<String, String>,
    /// Lower-case names.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
    pub(crate) at: Instant,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn param(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// `GET /me/messages`
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) delay: Duration,
    pub(crate) bytes: Vec<u8>,
    /// The connection is closed behind it.
    pub(crate) close: bool,
    /// Nothing more is said, and the connection stays.
    pub(crate) hang: bool,
}

impl Reply {
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { delay: Duration::ZERO, bytes: bytes.into(), close: true, hang: false }
    }

    /// In chunks, as Graph answers.
    pub(crate) fn chunked(status: u16, kind: &str, headers: &str, body: &[u8]) -> Self {
        let mut bytes = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nrequest-id: srv-1\r\nTransfer-Encoding: chunked\r\n{headers}\r\n"
        )
        .into_bytes();
        for piece in body.chunks(1 << 16) {
            bytes.extend(format!("{:x}\r\n", piece.len()).bytes());
            bytes.extend(piece);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        Self { delay: Duration::ZERO, bytes, close: false, hang: false }
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::chunked(200, "application/json", "", value.to_string().as_bytes())
    }

    pub(crate) fn mime(body: &[u8]) -> Self {
        Self::chunked(200, "text/plain", "", body)
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::error_with(status, code, message, "")
    }

    pub(crate) fn error_with(status: u16, code: &str, message: &str, headers: &str) -> Self {
        let body = json!({"error": {"code": code, "message": message, "innerError": {"request-id": "x"}}}).to_string();
        Self::chunked(status, "application/json", headers, body.as_bytes())
    }

    pub(crate) fn empty(status: u16) -> Self {
        let bytes = format!("HTTP/1.1 {status} X\r\n\r\n").into_bytes();
        Self { delay: Duration::ZERO, bytes, close: false, hang: false }
    }

    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The server; gone when it is dropped.
pub(crate) struct Server {
    pub(crate) root: String,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    pub(crate) most_at_once: Arc<AtomicUsize>,
    /// Where what is fetched is put; as long as the server.
    pub(crate) spool: tempfile::TempDir,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// `handler` gets each request, and the root of the server for links.
    pub(crate) async fn start(handler: impl Fn(&str, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        let (asked, most_at_once) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::new(AtomicUsize::new(0)));
        let own = root.clone();
        let handler: Arc<Handler> = Arc::new(move |asked: &Asked| handler(&own, asked));
        let (log, most, now) = (asked.clone(), most_at_once.clone(), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, handler.clone(), log.clone(), most.clone(), now.clone()));
            }
        });
        Self { root, asked, most_at_once, spool: tempfile::tempdir().unwrap(), task }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(Asked::line).collect()
    }

    pub(crate) fn all(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|one| *one == line).count()
    }
}

async fn serve(
    mut stream: TcpStream,
    handler: Arc<Handler>,
    log: Arc<Mutex<Vec<Asked>>>,
    most: Arc<AtomicUsize>,
    now: Arc<AtomicUsize>,
) {
    let mut held = Vec::new();
    while let Some(asked) = read(&mut stream, &mut held).await {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        log.lock().unwrap().push(asked.clone());
        let reply = handler(&asked);
        tokio::time::sleep(reply.delay).await;
        // counted until its last byte is written: a client may not begin another one before it has read that
        let written = stream.write_all(&reply.bytes).await;
        now.fetch_sub(1, Ordering::SeqCst);
        if reply.hang {
            std::future::pending::<()>().await;
        }
        if written.is_err() || reply.close {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, held: &mut Vec<u8>) -> Option<Asked> {
    let end = loop {
        if let Some(at) = held.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await {
            Ok(length @ 1..) => held.extend_from_slice(&bytes[..length]),
            _ => return None,
        }
    };
    let head = String::from_utf8(held.drain(..end).collect()).unwrap();
    let mut lines = head.lines();
    let first: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while held.len() < length {
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await {
            Ok(length @ 1..) => held.extend_from_slice(&bytes[..length]),
            _ => return None,
        }
    }
    let body: Vec<u8> = held.drain(..length).collect();
    let (path, query) = first[1].split_once('?').unwrap_or((first[1], ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(name, value)| (decoded(name), decoded(value))).collect();
    let path = decoded(path).strip_prefix("/v1.0").unwrap().to_owned();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Asked { method: first[0].to_owned(), path, query, headers, body, at: Instant::now() })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}
