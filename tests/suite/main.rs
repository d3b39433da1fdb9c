//! Tests against the world: real sockets, real peers. One binary, so that it links once.

// helpers of tests may fail a test, and say what they saw, as tests themselves do; clippy's own exemption stops at
// `#[test]` functions
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod adullact;
mod bearer;
mod certificates;
mod deliver;
mod disks;
mod endurance;
#[cfg(unix)]
mod exec;
mod fetch;
mod graph;
mod imap;
mod ledger;
mod lifecycle;
mod mails;
mod memory;
mod microsoft;
mod oauth;
mod parity;
mod pop3;
mod probe;
mod protocol;
mod proxy;
mod rough;
mod schedule;
mod seeing;
mod service;
#[cfg(unix)]
mod sockets;
mod support;
mod tunnel;
mod wiki;
