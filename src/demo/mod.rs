//! The demonstration: the whole product on loopback, with nothing else needed.

pub mod mailbox;
