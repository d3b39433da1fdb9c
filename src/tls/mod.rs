//! TLS: the one provider, certificates and keys from files, our own verification, both ends of a handshake.
//!
//! Not a place for sockets: [`client`] and [`server`] take whatever stream they are given. Nothing here is global;
//! the provider is made here and passed on explicitly, because two libraries asking rustls for "the default" is how
//! a program comes to panic at run time.

pub mod client;
pub mod material;
pub mod names;
pub mod refusal;
pub mod server;
pub mod verify;

#[cfg(test)]
#[path = "../../tests/suite/support/ca.rs"]
pub(crate) mod ca;

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

use crate::config::TlsVersion;

#[cfg(all(feature = "aws-lc", feature = "ring"))]
compile_error!("choose one TLS provider: the features `aws-lc` and `ring` exclude each other");
#[cfg(not(any(feature = "aws-lc", feature = "ring")))]
compile_error!("choose a TLS provider: feature `aws-lc` (default) or `ring`");

/// The cryptography behind every TLS configuration of this program.
#[cfg(feature = "aws-lc")]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The cryptography behind every TLS configuration of this program.
#[cfg(all(feature = "ring", not(feature = "aws-lc")))]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Fresh random bytes of the same source as every key, in printable form; `None` when the system gives no randomness.
pub fn nonce() -> Option<String> {
    let mut bytes = [0; 18];
    provider().secure_random.fill(&mut bytes).ok()?;
    Some(crate::proto::sasl::encode(&bytes).to_string())
}

/// Keys for session tickets, replaced by themselves every six hours; `None` when the system gives no randomness.
#[cfg(feature = "aws-lc")]
fn ticketer() -> Option<Arc<dyn ProducesTickets>> {
    rustls::crypto::aws_lc_rs::Ticketer::new().ok()
}

/// Keys for session tickets, replaced by themselves every six hours; `None` when the system gives no randomness.
#[cfg(all(feature = "ring", not(feature = "aws-lc")))]
fn ticketer() -> Option<Arc<dyn ProducesTickets>> {
    rustls::crypto::ring::Ticketer::new().ok()
}

/// rustls' words for a range of versions; an empty range (lowest above highest) yields the highest alone.
fn protocol_versions((lowest, highest): (TlsVersion, TlsVersion)) -> Vec<&'static SupportedProtocolVersion> {
    match (lowest, highest) {
        (TlsVersion::V12, TlsVersion::V13) => vec![&rustls::version::TLS13, &rustls::version::TLS12],
        (_, TlsVersion::V13) => vec![&rustls::version::TLS13],
        (_, TlsVersion::V12) => vec![&rustls::version::TLS12],
    }
}
