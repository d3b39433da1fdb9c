//! A handshake that failed: the sentence for the administrator, and what a tunnel decides by.
//!
//! Not one more list of reasons: those are in the sentence. What a tunnel has to tell apart is whom stunnel tells apart,
//! since a peer that says no TLS is reset while one that was refused in TLS knows by its alert.

use std::io;

use super::refusal::{Reason, Refusal};
use crate::model::Fault;

/// A handshake that failed.
#[derive(Debug)]
pub struct Failure {
    /// What to tell.
    pub fault: Fault,
    /// Which kind of end it was.
    pub cause: Cause,
}

/// What a handshake comes to. The stream of one that failed comes back: how it is closed is the caller's to say.
pub type Shaken<T, S> = Result<T, (Failure, S)>;

/// Why a handshake failed, as far as it makes a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The other side's certificate was refused; its subject.
    Refused(String),
    /// The other side says something that is not TLS.
    NoTls,
    /// Anything else.
    Other,
}

impl Cause {
    /// Of this error, for which rustls was given `refusal`.
    pub(super) fn of(error: &io::Error, refusal: Option<&Refusal>) -> Self {
        if let Some(refusal) = refusal.or_else(|| Refusal::find(error)) {
            return Self::refused(refusal);
        }
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidMessage(_)) => Self::NoTls,
            _ => Self::Other,
        }
    }

    /// A certificate that is missing is not one that was refused.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        match refusal.reason {
            Reason::NoCertificate => Self::Other,
            _ => Self::Refused(refusal.subject.clone()),
        }
    }
}

/// An error of our own, before a byte was sent.
impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { fault, cause: Cause::Other }
    }
}
