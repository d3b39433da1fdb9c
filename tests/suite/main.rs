//! Tests against the world: real sockets, real peers. One binary, so that it links once.

mod fetch;
mod imap;
mod support;
mod tunnel;
