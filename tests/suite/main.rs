//! Tests against the world: real sockets, real peers. One binary, so that it links once.

mod support;
mod tunnel;
