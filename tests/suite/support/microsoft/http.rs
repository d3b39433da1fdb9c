//! The HTTP server under the simulator: hyper on a port that the system chose, and bodies in every form that goes wrong.
//!
//! It knows nothing of Microsoft: a function makes an [`Answer`] of what was [`Asked`]. What hyper will not send (a
//! body that only the end of the connection ends, in HTTP/1.1) is written beside it, on the socket that it gives back.

use std::any::Any;
use std::future::Future as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

/// A request, whole.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query as they were sent.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All values of a header, as one list.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        let values = self.headers.iter().filter(|(own, _)| own == name);
        values.flat_map(|(_, value)| value.split(',')).map(str::trim).collect()
    }

    /// The segments of the path, decoded.
    pub(crate) fn path(&self) -> Vec<String> {
        let path = self.target.split('?').next().unwrap_or_default();
        path.split('/').filter(|segment| !segment.is_empty()).map(|segment| decoded(segment, false)).collect()
    }

    /// The fields of the query.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        fields(self.target.split_once('?').map_or("", |(_, query)| query))
    }

    /// The fields of a form in the body.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        fields(&String::from_utf8_lossy(&self.body))
    }
}

/// What is answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    pub(crate) form: Form,
    /// How long it takes until the first byte.
    pub(crate) delay: Duration,
    /// Dropped once the last byte was written.
    pub(crate) held: Option<Box<dyn Any + Send>>,
}

/// How the end of the body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// By its chunks, as Graph does.
    Chunked,
    /// By its `Content-Length`.
    Length,
    /// Chunked, and the connection is lost after so many bytes.
    Cut(usize),
    /// Neither chunks nor a length: the connection ends after so many bytes, the whole body or less.
    UntilClose(usize),
}

impl Answer {
    pub(crate) fn new(status: u16, media_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("Content-Type", media_type.to_owned())];
        let (form, delay) = (Form::Chunked, Duration::ZERO);
        Self { status, headers, body: body.into(), form, delay, held: None }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
    }

    /// The bytes of an answer that only the end of the connection ends.
    fn raw(&self, upto: usize) -> Vec<u8> {
        let headers: Vec<String> = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 {} OK\r\nConnection: close\r\n{}\r\n", self.status, headers.concat());
        let mut raw = head.into_bytes();
        raw.extend_from_slice(&self.body[..upto.min(self.body.len())]);
        raw
    }
}

/// Answers with `answer` on a free port of 127.0.0.1 until the process ends.
pub(crate) fn serve<F>(answer: F) -> SocketAddr
where
    F: Fn(Asked) -> Answer + Send + Sync + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (address, answer) = (listener.local_addr().unwrap(), Arc::new(answer));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, answer.clone()));
            }
        });
    });
    address
}

async fn connection<F>(stream: TcpStream, answer: Arc<F>)
where
    F: Fn(Asked) -> Answer + Send + Sync + 'static,
{
    let raw = Arc::new(Mutex::new(None));
    let service = service_fn(|request: Request<Incoming>| {
        let (raw, answer) = (raw.clone(), answer.clone());
        Box::pin(async move {
            let answer = answer(asked(request).await.map_err(std::io::Error::other)?);
            tokio::time::sleep(answer.delay).await;
            if let Form::UntilClose(upto) = answer.form {
                *raw.lock().unwrap() = Some((answer.raw(upto), answer.held));
                return Err(std::io::Error::other("the connection is needed"));
            }
            Ok(response(answer))
        })
    });
    let _ = stream.set_nodelay(true);
    let mut server = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = std::future::poll_fn(|context| server.poll_without_shutdown(context)).await;
    let left = raw.lock().unwrap().take();
    if let Some((bytes, held)) = left {
        let mut stream = server.into_parts().io.into_inner();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        drop(held);
    }
}

async fn asked(request: Request<Incoming>) -> Result<Asked, hyper::Error> {
    let (head, body) = request.into_parts();
    let headers = head.headers.iter();
    let headers = headers
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = body.collect().await?.to_bytes().to_vec();
    Ok(Asked { method: head.method.to_string(), target: head.uri.to_string(), headers, body })
}

fn response(answer: Answer) -> Response<Pieces> {
    let mut builder = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        builder = builder.header(*name, value);
    }
    let cut = if let Form::Cut(after) = answer.form { Some(after.min(answer.body.len())) } else { None };
    let body = answer.body.slice(..cut.unwrap_or(answer.body.len()));
    let known = answer.form == Form::Length;
    let cut = cut.map(|_| Box::pin(tokio::time::sleep(Duration::from_millis(50))));
    builder.body(Pieces { body, known, cut, _held: answer.held }).unwrap()
}

/// A body that goes out in pieces.
struct Pieces {
    body: Bytes,
    known: bool,
    /// Where the connection is lost after the body: a moment before.
    cut: Option<Pin<Box<tokio::time::Sleep>>>,
    _held: Option<Box<dyn Any + Send>>,
}

/// As large as Graph's own chunks.
const PIECE: usize = 16 << 10;

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.body.is_empty() {
            let Some(pause) = &mut self.cut else { return Poll::Ready(None) };
            // what was written before leaves this machine first
            return pause.as_mut().poll(context).map(|()| Some(Err(std::io::ErrorKind::ConnectionReset.into())));
        }
        let upto = PIECE.min(self.body.len());
        Poll::Ready(Some(Ok(Frame::data(self.body.split_to(upto)))))
    }

    fn is_end_stream(&self) -> bool {
        self.known && self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.known { SizeHint::with_exact(self.body.len() as u64) } else { SizeHint::default() }
    }
}

fn fields(text: &str) -> Vec<(String, String)> {
    let fields = text.split('&').filter(|field| !field.is_empty());
    fields
        .map(|field| {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            (decoded(name, true), decoded(value, true))
        })
        .collect()
}

/// Takes the percent signs out (RFC 3986, 2.1), in forms the plus signs too.
pub(crate) fn decoded(text: &str, form: bool) -> String {
    let (bytes, mut out) = (text.as_bytes(), Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        match (bytes[at], hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) if form => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Puts percent signs in, as Graph writes the queries of its links.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02x}"),
        })
        .collect()
}
