//! Protocols without I/O: bytes in, decisions out.
//!
//! Nothing here opens a socket, reads the clock or touches the disk, so a test is a string and an expected value.

pub mod imap;
pub mod pop3;
pub mod sasl;
