//! What the tests share.

pub(crate) mod ca;
pub(crate) mod dovecot;
pub(crate) mod envelopes;
pub(crate) mod harm;
pub(crate) mod hook;
pub(crate) mod mails;
pub(crate) mod microsoft;
pub(crate) mod office;
pub(crate) mod oidc;
pub(crate) mod peers;
pub(crate) mod pop3;
pub(crate) mod postfix;
pub(crate) mod proxy;
pub(crate) mod service;
pub(crate) mod site;
