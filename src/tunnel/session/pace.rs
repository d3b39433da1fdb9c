//! Progress: what `TIMEOUTbusy` is measured by, and which ends of a session are to be reset.
//!
//! stunnel's busy time begins anew with every byte that moves (5.75, client.c and protocol.c: each `s_poll_wait` has it),
//! so a limit over a whole handshake would cut slow clients that stunnel serves. The streams of a session tell here that
//! something moved; who waits looks. A stream is mostly owned by a future that is dropped where it fails, which is why
//! it carries the order to be reset with it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use crate::net::stream::Stream;

/// What a session and its streams tell each other.
#[derive(Debug, Default)]
pub(super) struct Pace {
    moved: AtomicBool,
    reset_local: AtomicBool,
    reset_remote: AtomicBool,
}

/// One of the two ends of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Who came to us.
    Local,
    /// Whom we went to.
    Remote,
}

/// A stream that says when something moves, and is closed as its session has ordered.
#[derive(Debug)]
pub(super) struct Paced {
    stream: Stream,
    end: End,
    pace: Arc<Pace>,
}

impl Pace {
    /// Closing this end will be a reset.
    pub(super) fn reset(&self, end: End) {
        self.order(end).store(true, Ordering::Relaxed);
    }

    /// `work` to its end; `None` when nothing moved for `limit`.
    pub(super) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let deadline = || Instant::now() + limit.min(FAR);
        let mut work = pin!(work);
        let mut timer = pin!(sleep_until(deadline()));
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            if self.moved.swap(false, Ordering::Relaxed) {
                timer.as_mut().reset(deadline());
            }
            timer.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    fn order(&self, end: End) -> &AtomicBool {
        match end {
            End::Local => &self.reset_local,
            End::Remote => &self.reset_remote,
        }
    }
}

impl Paced {
    /// Around `stream`, which is `end` of the session with this `pace`.
    pub(super) fn new(stream: Stream, end: End, pace: &Arc<Pace>) -> Self {
        Self { stream, end, pace: Arc::clone(pace) }
    }

    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(polled, Poll::Ready(Ok(_))) {
            self.pace.moved.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        if self.pace.order(self.end).load(Ordering::Relaxed) {
            self.stream.reset_on_close();
        }
    }
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, out))?;
        // an end of file moves nothing
        if out.filled().len() > before { self.note(Poll::Ready(Ok(()))) } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// As far away as a timer need be: adding more to the present could overflow.
const FAR: Duration = Duration::from_hours(24 * 365);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_standstill_uses_up_the_time() {
        let (pace, second) = (Pace::default(), Duration::from_secs(1));
        let began = Instant::now();
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(second * 9 / 10).await;
                pace.moved.store(true, Ordering::Relaxed);
            }
            std::future::pending::<()>().await;
        };
        assert!(pace.within(second, slow).await.is_none());
        let took = began.elapsed();
        assert!(took >= second * 10 && took <= second * 10 + second / 10, "{took:?}");
        assert_eq!(pace.within(Duration::MAX, async { 7 }).await, Some(7));
    }
}
