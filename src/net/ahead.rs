//! A stream that reads ahead.
//!
//! rustls asks its socket for 4 KiB at a time, which costs five system calls for each full TLS record. This takes
//! what the socket has in one go and hands it out. Its buffer starts small and grows only for who fills it, so that a
//! thousand idle connections stay cheap.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads ahead of its reader; writes pass through.
#[derive(Debug)]
pub struct ReadAhead<S> {
    inner: S,
    buffer: Buffer,
}

impl<S> ReadAhead<S> {
    /// Around `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner, buffer: Buffer::new() }
    }

    /// Around `inner`, of which `bytes` were read already.
    pub fn after(bytes: Vec<u8>, inner: S) -> Self {
        let end = bytes.len();
        Self { inner, buffer: Buffer { bytes, start: 0, end } }
    }

    /// The stream itself, for its options.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

/// Bytes read and not yet passed on. Grows, up to a bound, as long as single reads fill it.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, end: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
    }

    /// Reads once, only when empty. Zero is end of file.
    pub(crate) fn poll_refill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
    ) -> Poll<io::Result<usize>> {
        let full = self.end == self.bytes.len();
        if full && self.bytes.len() < LARGEST {
            self.bytes = vec![0; (self.bytes.len() * 2).max(SMALLEST)];
        }
        (self.start, self.end) = (0, 0);
        let mut target = ReadBuf::new(&mut self.bytes);
        ready!(Pin::new(from).poll_read(cx, &mut target))?;
        self.end = target.filled().len();
        Poll::Ready(Ok(self.end))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.buffer.is_empty() {
            ready!(this.buffer.poll_refill(cx, &mut this.inner))?;
        }
        let data = this.buffer.filled();
        let count = data.len().min(out.remaining());
        out.put_slice(&data[..count]);
        this.buffer.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A command and its answer fit.
const SMALLEST: usize = 4 * 1024;
/// Two full TLS records: more costs memory and saves nothing.
const LARGEST: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn everything_arrives_in_order_whatever_is_asked_for() {
        let sent: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        for piece in [1, 7, 4096, 70_000] {
            let mut ahead = ReadAhead::new(&sent[..]);
            let (mut got, mut out) = (Vec::new(), vec![0; piece]);
            loop {
                let count = ahead.read(&mut out).await.unwrap();
                if count == 0 {
                    break;
                }
                got.extend_from_slice(&out[..count]);
            }
            assert!(got == sent, "pieces of {piece}");
            assert_eq!(ahead.buffer.bytes.len(), LARGEST);
        }
    }
}
