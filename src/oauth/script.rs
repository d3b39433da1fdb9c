//! A scripted HTTP server on loopback for tests: one answer for each request, and what was asked, byte for byte.
//!
//! Not a simulator of anybody: a test says what the server answers, in the order of the requests.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::tls::server::ServerTls;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `POST /path HTTP/1.1`, and the header lines.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

impl Asked {
    /// Method and path.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap().strip_suffix(" HTTP/1.1").unwrap()
    }

    /// A field of the form, decoded.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let url = reqwest::Url::parse(&format!("http://x/?{}", self.body)).unwrap();
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// The server.
pub(crate) struct Script {
    /// `http://127.0.0.1:PORT`.
    pub(crate) base: String,
    /// The port.
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Script {
    /// Answers with these, one for each request: the status line's rest, more header lines, the body.
    pub(crate) async fn new(answers: &[(&str, &str, &str)]) -> Self {
        Self::over(answers, None).await
    }

    /// The same over TLS.
    pub(crate) async fn over(answers: &[(&str, &str, &str)], tls: Option<ServerTls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let answers: Vec<String> =
            answers.iter().map(|(status, headers, body)| answer(status, headers, body)).collect();
        let seen = asked.clone();
        let task = tokio::spawn(async move {
            for answer in answers {
                let (stream, _) = listener.accept().await.unwrap();
                match &tls {
                    None => serve(stream, &answer, &seen).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream, "client").await {
                            serve(stream, &answer, &seen).await;
                        }
                    }
                }
            }
        });
        Self { base: format!("http://127.0.0.1:{port}"), port, asked, task }
    }

    /// JSON answers with a status each.
    pub(crate) async fn json(answers: &[(u16, &str)]) -> Self {
        let answers: Vec<_> = answers.iter().map(|(status, body)| (format!("{status} X"), *body)).collect();
        let answers: Vec<_> =
            answers.iter().map(|(s, body)| (s.as_str(), "Content-Type: application/json\r\n", *body)).collect();
        Self::new(&answers).await
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The latest request.
    pub(crate) fn last(&self) -> Asked {
        self.asked().pop().expect("nothing was asked")
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &str, seen: &Mutex<Vec<Asked>>) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
        let Ok(byte) = stream.read_u8().await else { return };
        bytes.push(byte);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.unwrap();
    seen.lock().unwrap().push(Asked { head, body: String::from_utf8(body).unwrap() });
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}
