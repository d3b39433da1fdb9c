//! A small HTTP server for a few pages that are made on demand (HTTP/1.1, RFC 9112).
//!
//! Not a web framework: GET and HEAD, one request for each connection, no body is read. Who is slow or means harm gets
//! little: a short header, a short time for everything, few connections side by side.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::listen;
use super::stream::{Listener, Stream};

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Whether all is well: 200, else 503.
    pub good: bool,
    /// Its media type.
    pub media_type: &'static str,
    /// What it says.
    pub body: String,
}

/// Answers with `page` of the request's path until it is dropped; without one the answer is 404.
pub async fn serve<F>(listeners: Vec<Listener>, page: F)
where
    F: Fn(&str) -> Option<Page> + Send + Sync + 'static,
{
    let (page, places) = (Arc::new(page), Arc::new(Semaphore::new(CONNECTIONS)));
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(accept(listener, page.clone(), places.clone()));
    }
    while loops.join_next().await.is_some() {}
}

async fn accept<F>(listener: Listener, page: Arc<F>, places: Arc<Semaphore>)
where
    F: Fn(&str) -> Option<Page> + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    // a place first: what waits beyond waits in the system's queue
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let page = page.clone();
                connections.spawn(async move {
                    let _ = tokio::time::timeout(WHOLE, answer(stream, page)).await;
                    drop(place);
                });
            }
            Err(error) => tokio::time::sleep(listen::pause_after(&error)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn answer<F>(stream: Stream, page: Arc<F>)
where
    F: Fn(&str) -> Option<Page>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(request.method(), || page(request.uri().path()));
        async { Ok::<_, Infallible>(response) }
    });
    let mut server = http1::Builder::new();
    server.keep_alive(false).header_read_timeout(None).max_buf_size(LARGEST_HEADER);
    // who goes away in the middle is no concern of ours
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

fn respond(method: &Method, page: impl FnOnce() -> Option<Page>) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let Some(Page { good, media_type, body }) = page() else { return plain(StatusCode::NOT_FOUND, "not found\n") };
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response(status, media_type, body.into())
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, PLAIN, Bytes::from_static(text.as_bytes()))
}

fn response(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Text for people.
pub const PLAIN: &str = "text/plain; charset=utf-8";

const CONNECTIONS: usize = 32;
const LARGEST_HEADER: usize = 16 * 1024;
/// From accepted to closed, for those who say nothing and those who do not read alike.
const WHOLE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::config::{Address, Endpoint};

    async fn start() -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
        let local = Address { host: Some("127.0.0.1".to_owned()), port: 0 };
        let listeners =
            listen::bind(&Endpoint::Tcp(local), &[], &crate::config::Owner::default()).await.unwrap().listeners;
        let address = listeners[0].local_addr().unwrap().ip().unwrap();
        let page = |path: &str| {
            let body = "hello\n".to_owned();
            (path == "/page").then_some(Page { good: true, media_type: PLAIN, body })
        };
        (address, tokio::spawn(serve(listeners, page)))
    }

    async fn ask(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn get_and_head_are_answered_once_and_everything_else_is_not() {
        let (address, _server) = start().await;
        let twice = "GET /page HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2);
        let answer = ask(address, &twice).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        let head = ask(address, "HEAD /page HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(ask(address, "GET /other HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 404"));
        let post = ask(address, "POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
        assert!(post.starts_with("HTTP/1.1 405") && post.contains("allow: GET, HEAD"), "{post}");
    }

    #[tokio::test]
    async fn an_endless_header_is_refused_and_who_says_nothing_keeps_no_place() {
        let (address, _server) = start().await;
        let endless = format!("GET /page HTTP/1.1\r\nX: {}", "x".repeat(2 * LARGEST_HEADER));
        let answer = ask(address, &endless).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let answer = ask(address, "GET /page HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
