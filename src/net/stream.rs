//! The sockets of a tunnel's plain sides and listeners: TCP, Unix, and what inetd gives.
//!
//! One enum instead of a trait object: a relay reads and writes it for each chunk, and only TCP has options and a reset.
//! TLS knows nothing of it; it takes whatever reads and writes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpListener, TcpStream};

#[cfg(unix)]
use super::listen::UnixSocket;
use super::options::{self, Family};
use crate::config::tunnel::{Side, SocketOption};
use crate::text::Text;

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket, named or one end of a pair.
    #[cfg(unix)]
    Unix(UnixStream),
    /// Standard input and output where they are not one socket.
    Pair(Pair),
}

/// A connection of two halves that are not one socket: pipes, files, a terminal.
pub struct Pair {
    reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
    /// Gone once our half is shut down: closing it is how the other side learns of that.
    writer: Option<Box<dyn AsyncWrite + Send + Sync + Unpin>>,
}

/// Where a connection comes from or goes to, or where somebody listens. Printed as stunnel does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addr {
    /// An address of TCP.
    Ip(SocketAddr),
    /// The path of a Unix socket; `None` for an end without a name.
    Unix(Option<PathBuf>),
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, with its file.
    #[cfg(unix)]
    Unix(UnixSocket),
}

impl Stream {
    /// Sets what `settings` and the defaults say for `side`; returns what the system refused. Only TCP has any.
    pub fn apply(&self, side: Side, settings: &[SocketOption]) -> Vec<Text> {
        match self {
            Self::Tcp(stream) => {
                let family = stream.local_addr().map_or(Family::V4, Family::of);
                // the connection is there already: what is refused now keeps nobody out
                options::apply(&SockRef::from(stream), family, side, settings)
                    .unwrap_or_else(|refused| vec![refused.text])
            }
            #[cfg(unix)]
            Self::Unix(_) => Vec::new(),
            Self::Pair(_) => Vec::new(),
        }
    }

    /// Closing it will be a reset, where it is TCP.
    pub fn reset_on_close(&self) {
        match self {
            // a socket that is gone needs none
            Self::Tcp(stream) => drop(SockRef::from(stream).set_linger(Some(Duration::ZERO))),
            #[cfg(unix)]
            Self::Unix(_) => {}
            Self::Pair(_) => {}
        }
    }

    /// Our own end.
    ///
    /// # Errors
    /// The system does not know it any more.
    pub fn local_addr(&self) -> io::Result<Addr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().map(Addr::Ip),
            #[cfg(unix)]
            Self::Unix(stream) => stream.local_addr().map(|at| Addr::Unix(at.as_pathname().map(Into::into))),
            Self::Pair(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn reader(&mut self) -> Pin<&mut (dyn AsyncRead + Unpin)> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream),
            Self::Pair(pair) => Pin::new(pair),
        }
    }

    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream),
            Self::Pair(pair) => Pin::new(pair),
        }
    }
}

impl Pair {
    /// Reads here, writes there.
    pub fn new(
        reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
        writer: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    ) -> Self {
        Self { reader, writer: Some(writer) }
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair")
    }
}

impl AsyncRead for Pair {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, out)
    }
}

impl AsyncWrite for Pair {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.writer {
            Some(writer) => Pin::new(writer).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().map_or(Poll::Ready(Ok(())), |writer| Pin::new(writer).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.as_mut().poll_flush(cx);
        if flushed.is_ready() {
            self.writer = None;
        }
        flushed
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get_mut().reader().poll_read(cx, out)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().writer().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().writer().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        !matches!(self, Self::Pair(_))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writer().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writer().poll_shutdown(cx)
    }
}

impl Listener {
    /// The next connection and where it comes from.
    ///
    /// # Errors
    /// As `accept(2)`; it may be called again.
    pub async fn accept(&self) -> io::Result<(Stream, Addr)> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, from)| (Stream::Tcp(stream), Addr::Ip(from))),
            #[cfg(unix)]
            Self::Unix(socket) => socket
                .listener()
                .accept()
                .await
                .map(|(stream, from)| (Stream::Unix(stream), Addr::Unix(from.as_pathname().map(Into::into)))),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<Addr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Addr::Ip),
            #[cfg(unix)]
            Self::Unix(socket) => socket.listener().local_addr().map(|at| Addr::Unix(at.as_pathname().map(Into::into))),
        }
    }
}

impl Addr {
    /// Its address, if it is one of TCP.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(at) => Some(*at),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(at) => at.fmt(f),
            Self::Unix(Some(path)) => path.display().fmt(f),
            Self::Unix(None) => f.write_str("unnamed socket"),
        }
    }
}
