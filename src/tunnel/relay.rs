//! The data phase of a tunnel: both directions in one task, one at a time closed.
//!
//! Not `tokio::io::copy_bidirectional`: that one ends the TCP stream together with TLS, knows no idle time, takes a
//! missing `close_notify` for an error, and copies once more. The rules are stunnel's:
//!
//! * plain side ends: `close_notify` is sent but no TCP FIN; TLS → plain goes on;
//! * TLS side ends, with `close_notify` or without (Microsoft's servers): `shutdown(SHUT_WR)` on the plain side;
//!   plain → TLS goes on;
//! * an error while reading ends both directions at once: with TLS 1.3 a refused client certificate is only told by an
//!   alert after the handshake, and nobody would ever write again;
//! * a peer that takes no more (EPIPE, RST while writing) may have said something before it left, so the other direction
//!   is drained to its end; where that stands still, `TIMEOUTclose` ends it.
//!
//! What is in flight is bounded: one [`Buffer`] towards TLS (and rustls' own 64 KiB), one record towards plain.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::TlsStream;

use crate::net::ahead::Buffer;

/// Time limits of the data phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// `TIMEOUTidle`; `None` is never.
    pub(crate) idle: Option<Duration>,
    /// `TIMEOUTclose`.
    pub(crate) close: Duration,
}

/// How many bytes went where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// From the plain side into TLS.
    pub(crate) to_tls: u64,
    /// From TLS to the plain side.
    pub(crate) to_plain: u64,
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The plain one.
    Plain,
    /// The TLS one.
    Tls,
}

/// How a relay ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Both sides ended their half.
    Closed,
    /// `TIMEOUTidle`.
    Idle,
    /// `TIMEOUTclose`.
    HalfClosed,
    /// A side was reset or gone, which happens: `lost` says whether bytes for it were still on their way.
    Reset {
        /// Which.
        at: At,
        /// See there.
        lost: bool,
        /// What the system said (`errno`).
        code: Option<i32>,
    },
    /// Anything else: a TLS alert, a broken record, an error of the system.
    Failed {
        /// Which.
        at: At,
        /// What.
        error: io::Error,
    },
}

/// What a relay tells on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Bytes moved in this turn; what the counts say by now.
    Moved(Counts),
    /// The TLS side ended its half: with `close_notify`, or by closing its socket alone.
    TlsEnded {
        /// Whether with `close_notify`.
        orderly: bool,
    },
}

/// The TLS side: what a relay needs beside reading and writing.
pub(crate) trait Secure: AsyncBufRead + AsyncWrite + Unpin {
    /// Queues `close_notify` (RFC 8446, 6.1); a flush sends it.
    fn queue_close_notify(&mut self);
    /// Whether anything waits to be sent.
    fn wants_write(&self) -> bool;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Secure for TlsStream<S> {
    fn queue_close_notify(&mut self) {
        self.get_mut().1.send_close_notify();
    }

    fn wants_write(&self) -> bool {
        self.get_ref().1.wants_write()
    }
}

/// Carries bytes both ways until both directions have ended, one has failed or time is over. The streams are the
/// caller's to close afterwards; `counts` is right even when the future is dropped half-way. `hear` is called at the end
/// of a turn.
pub(crate) async fn relay<P, T>(
    plain: &mut P,
    tls: &mut T,
    limits: Limits,
    counts: &mut Counts,
    mut hear: impl FnMut(Notice),
) -> End
where
    P: AsyncRead + AsyncWrite + Unpin,
    T: Secure,
{
    let mut relay = Relay::new(plain, tls, limits, counts);
    poll_fn(|cx| {
        let polled = relay.poll(cx);
        if relay.moved {
            hear(Notice::Moved(*relay.counts));
        }
        if let Some(orderly) = relay.tls_ended.take() {
            hear(Notice::TlsEnded { orderly });
        }
        polled
    })
    .await
}

struct Relay<'a, P, T> {
    plain: &'a mut P,
    tls: &'a mut T,
    limits: Limits,
    counts: &'a mut Counts,
    /// Plain → TLS.
    up: Half,
    up_buffer: Buffer,
    up_unflushed: bool,
    /// TLS → plain.
    down: Half,
    /// A record waits for the plain side to take it.
    down_waiting: bool,
    /// The first side that took no more.
    gone: Option<Gone>,
    moved: bool,
    /// In this turn: see [`Notice::TlsEnded`].
    tls_ended: Option<bool>,
    last: Instant,
    timer: Pin<Box<Sleep>>,
}

/// A side that took no more: as in [`End::Reset`].
#[derive(Clone, Copy, Debug)]
struct Gone {
    at: At,
    lost: bool,
    code: Option<i32>,
}

impl From<Gone> for End {
    fn from(gone: Gone) -> Self {
        let Gone { at, lost, code } = gone;
        Self::Reset { at, lost, code }
    }
}

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Open,
    /// Its source ended; the end is being passed on.
    Closing,
    Done,
}

impl<'a, P, T> Relay<'a, P, T>
where
    P: AsyncRead + AsyncWrite + Unpin,
    T: Secure,
{
    fn new(plain: &'a mut P, tls: &'a mut T, limits: Limits, counts: &'a mut Counts) -> Self {
        Self {
            plain,
            tls,
            limits,
            counts,
            up: Half::Open,
            up_buffer: Buffer::new(),
            up_unflushed: false,
            down: Half::Open,
            down_waiting: false,
            gone: None,
            moved: false,
            tls_ended: None,
            last: Instant::now(),
            timer: Box::pin(sleep(limits.idle.unwrap_or(limits.close))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.moved = false;
        if let Err(end) = self.poll_up(cx).and_then(|()| self.poll_down(cx)).and_then(|()| self.poll_answers(cx)) {
            return Poll::Ready(end);
        }
        if (self.up, self.down) == (Half::Done, Half::Done) {
            return Poll::Ready(match self.gone {
                Some(gone) => gone.into(),
                None => End::Closed,
            });
        }
        self.poll_time(cx)
    }

    /// Plain → TLS as far as it goes.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while self.up == Half::Open {
            if self.up_buffer.is_empty() {
                match self.up_buffer.poll_refill(cx, self.plain) {
                    Poll::Ready(Ok(0)) => {
                        self.moved = true;
                        self.tls.queue_close_notify();
                        self.up = Half::Closing;
                    }
                    Poll::Ready(Ok(_)) => self.moved = true,
                    Poll::Ready(Err(error)) => return Err(self.read_failed(At::Plain, error)),
                    Poll::Pending => return self.flush_up(cx).map(drop),
                }
                continue;
            }
            match Pin::new(&mut *self.tls).poll_write(cx, self.up_buffer.filled()) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.up_buffer.consume(count);
                    self.counts.to_tls += count as u64;
                    self.up_unflushed = true;
                    self.moved = true;
                }
                Poll::Ready(Ok(_)) => return self.write_failed(At::Tls, io::ErrorKind::WriteZero.into()),
                Poll::Ready(Err(error)) => return self.write_failed(At::Tls, error),
                Poll::Pending => return Ok(()),
            }
        }
        if self.up == Half::Closing {
            self.up_unflushed = true;
            if self.flush_up(cx)? && self.up == Half::Closing {
                self.up = Half::Done;
            }
        }
        Ok(())
    }

    /// Whether all that rustls holds has gone to the socket.
    fn flush_up(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if !self.up_unflushed {
            return Ok(true);
        }
        match Pin::new(&mut *self.tls).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.up_unflushed = false;
                Ok(true)
            }
            Poll::Ready(Err(error)) => self.write_failed(At::Tls, error).map(|()| false),
            Poll::Pending => Ok(false),
        }
    }

    /// TLS → plain as far as it goes.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        self.down_waiting = false;
        while self.down == Half::Open {
            let mut orderly = true;
            let data = match Pin::new(&mut *self.tls).poll_fill_buf(cx) {
                Poll::Ready(Ok(data)) => data,
                // the end without close_notify: see the head of this file
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    orderly = false;
                    &[]
                }
                Poll::Ready(Err(error)) => return Err(self.read_failed(At::Tls, error)),
                Poll::Pending => return Ok(()),
            };
            if data.is_empty() {
                self.moved = true;
                self.tls_ended = Some(orderly);
                self.down = Half::Closing;
                break;
            }
            match Pin::new(&mut *self.plain).poll_write(cx, data) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    Pin::new(&mut *self.tls).consume(count);
                    self.counts.to_plain += count as u64;
                    self.moved = true;
                }
                Poll::Ready(Ok(_)) => return self.write_failed(At::Plain, io::ErrorKind::WriteZero.into()),
                Poll::Ready(Err(error)) => return self.write_failed(At::Plain, error),
                Poll::Pending => {
                    self.down_waiting = true;
                    return Ok(());
                }
            }
        }
        if self.down == Half::Closing {
            // an error here says that the plain side is gone already
            if Pin::new(&mut *self.plain).poll_shutdown(cx).is_ready() {
                self.down = Half::Done;
            }
        }
        Ok(())
    }

    /// Reading TLS may call for an answer (key update, RFC 8446, 4.6.3).
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.up != Half::Done && self.tls.wants_write() {
            self.up_unflushed = true;
            return self.flush_up(cx).map(drop);
        }
        Ok(())
    }

    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.moved {
            self.last = Instant::now();
        }
        let half_closed = self.up != Half::Open || self.down != Half::Open;
        let half_closed = half_closed && !self.is_holding();
        let limit = match self.gone {
            // nobody is left to wait for: what a peer that does not read never takes must not be held for TIMEOUTidle
            Some(Gone { at: At::Plain, .. }) => Some(self.limits.close.max(LAST_CHANCE)),
            _ if half_closed => Some(self.limits.close),
            _ => self.limits.idle,
        };
        let Some(deadline) = limit.and_then(|limit| self.last.checked_add(limit)) else { return Poll::Pending };
        // armed too late: sooner; armed too early: it fires once in vain, which is cheaper than arming it for each byte
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(match self.gone {
                    Some(gone) if gone.at == At::Plain => gone.into(),
                    _ if half_closed => End::HalfClosed,
                    _ => End::Idle,
                });
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Whether bytes are on their way to a side that does not take them.
    fn is_holding(&self) -> bool {
        self.down_waiting || self.holds_for_tls()
    }

    fn holds_for_tls(&self) -> bool {
        !self.up_buffer.is_empty() || (self.up != Half::Done && self.tls.wants_write())
    }

    fn read_failed(&self, at: At, error: io::Error) -> End {
        if is_gone(&error) {
            if let Some(gone) = self.gone {
                return gone.into();
            }
            let lost = if at == At::Tls { self.holds_for_tls() } else { self.down_waiting };
            return End::Reset { at, lost, code: error.raw_os_error() };
        }
        End::Failed { at, error }
    }

    /// A side that takes no more: its direction is over, the other one goes on to its end.
    fn write_failed(&mut self, at: At, error: io::Error) -> Result<(), End> {
        if !is_gone(&error) {
            return Err(End::Failed { at, error });
        }
        self.moved = true;
        // a close_notify that finds nobody is no loss
        let lost = at == At::Plain || self.up == Half::Open;
        self.gone.get_or_insert(Gone { at, lost, code: error.raw_os_error() });
        match at {
            At::Tls => {
                self.up = Half::Done;
                self.up_buffer = Buffer::new();
            }
            At::Plain => {
                self.down = Half::Done;
                self.down_waiting = false;
            }
        }
        Ok(())
    }
}

/// Whether the system says that the other side went away.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::WriteZero
            | io::ErrorKind::TimedOut
    )
}

/// How long at least what a vanished plain side had sent may take to reach its peer, also with `TIMEOUTclose = 0`.
const LAST_CHANCE: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
