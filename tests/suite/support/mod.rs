//! What the tests share.

pub(crate) mod ca;
pub(crate) mod dovecot;
