//! POP3 (RFC 1939) without I/O: replies, message bodies, capabilities, listings.
//!
//! [`replies`] comes first: it cuts the server's bytes into status lines and the bodies behind them. [`status`] reads
//! the status lines, [`listing`] what CAPA, LIST and UIDL answer.

pub mod listing;
pub mod replies;
pub mod status;
