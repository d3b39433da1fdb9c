//! inetd mode: one connection on standard input and output, then the end.
//!
//! inetd gives a socket, other programs give pipes. Both are taken over as what they are, because tokio's own standard
//! input is a thread that nothing can interrupt; that one is left for files and terminals. What is taken over is replaced
//! by `/dev/null`, so that closing our end is seen by the other side, and nothing else writes into the connection.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::session::{self, Origin};
use super::{Meter, Prepared, Shared, next_id};
use crate::event::{Events, Level};
use crate::net::stream::{Addr, Pair, Stream};
use crate::text;
use crate::text::Text;

/// Serves the connection that standard input and output are, until its end. Dropped, it cuts the connection. Called
/// within a runtime, once per process.
pub async fn serve(prepared: Prepared, events: Events, meter: Arc<Meter>) {
    let settings = prepared.0;
    let gate = CancellationToken::new();
    gate.cancel();
    let shared = Shared::new(settings.clone(), events, meter, gate);
    match standard() {
        Ok((stream, peer)) => {
            let origin = Origin::new(stream, peer, &settings);
            Box::pin(session::run(shared, next_id(&settings), settings, origin)).await;
        }
        Err(error) => {
            let Text { en, fr } = Text::io(&error);
            let text = text!(
                "standard input and output cannot be used as a connection: {en}",
                "l'entrée et la sortie standard ne peuvent servir de connexion : {fr}"
            );
            shared.emit(Level::Error, "connection_failed", text);
        }
    }
}

#[cfg(unix)]
fn standard() -> std::io::Result<(Stream, Option<Addr>)> {
    use std::os::fd::AsFd as _;

    use rustix::fs::{FileType, fstat};
    use tokio::io::{AsyncRead, AsyncWrite};
    use tokio::net::unix::pipe;

    let kind = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode);
    let (input, output) = (fstat(std::io::stdin())?, fstat(std::io::stdout())?);
    let is_one = (input.st_dev, input.st_ino) == (output.st_dev, output.st_ino);
    let taken_input = || -> std::io::Result<_> {
        let taken = std::io::stdin().as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        Ok(taken)
    };
    let taken_output = || -> std::io::Result<_> {
        let taken = std::io::stdout().as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdout(std::fs::File::options().write(true).open("/dev/null")?)?;
        Ok(taken)
    };
    if kind(input) == FileType::Socket && is_one {
        drop(taken_output()?);
        return socket(taken_input()?);
    }
    let reader: Box<dyn AsyncRead + Send + Sync + Unpin> = match kind(input) {
        FileType::Socket => Box::new(socket(taken_input()?)?.0),
        FileType::Fifo => Box::new(pipe::Receiver::from_owned_fd(taken_input()?)?),
        _ => Box::new(tokio::io::stdin()),
    };
    let writer: Box<dyn AsyncWrite + Send + Sync + Unpin> = match kind(output) {
        FileType::Socket => Box::new(socket(taken_output()?)?.0),
        FileType::Fifo => Box::new(pipe::Sender::from_owned_fd(taken_output()?)?),
        _ => Box::new(tokio::io::stdout()),
    };
    Ok((Stream::Pair(Pair::new(reader, writer)), None))
}

/// A socket of whatever family, and who is at its other end.
#[cfg(unix)]
fn socket(taken: std::os::fd::OwnedFd) -> std::io::Result<(Stream, Option<Addr>)> {
    if rustix::net::getsockname(&taken)?.address_family() == rustix::net::AddressFamily::UNIX {
        let stream = std::os::unix::net::UnixStream::from(taken);
        stream.set_nonblocking(true)?;
        let peer = stream.peer_addr().ok().map(|at| Addr::Unix(at.as_pathname().map(Into::into)));
        return Ok((Stream::Unix(tokio::net::UnixStream::from_std(stream)?), peer));
    }
    let stream = std::net::TcpStream::from(taken);
    stream.set_nonblocking(true)?;
    let peer = stream.peer_addr().ok().map(Addr::Ip);
    Ok((Stream::Tcp(tokio::net::TcpStream::from_std(stream)?), peer))
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps)] // elsewhere it may fail
fn standard() -> std::io::Result<(Stream, Option<Addr>)> {
    Ok((Stream::Pair(Pair::new(Box::new(tokio::io::stdin()), Box::new(tokio::io::stdout()))), None))
}
