//! TLS: the one provider, certificates and keys from files, our own verification, both ends of a handshake.
//!
//! Not a place for sockets: [`client`] and [`server`] take whatever stream they are given. Nothing here is global;
//! the provider is made here and passed on explicitly, because two libraries asking rustls for "the default" is how
//! a program comes to panic at run time.

mod authorities;
pub mod client;
pub mod failure;
mod files;
pub mod material;
pub mod names;
mod offer;
pub mod oneline;
mod reasons;
pub mod refusal;
mod revocation;
pub mod server;
mod sessions;
mod signature;
pub(crate) mod verifier;
pub mod verify;

#[cfg(test)]
#[path = "../../tests/suite/support/ca.rs"]
pub(crate) mod ca;
#[cfg(test)]
mod handshake_tests;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::ProducesTickets;
use rustls::{CipherSuite, NamedGroup, SupportedProtocolVersion};

use crate::config::TlsVersion;
use crate::config::tls::{Auth, Cipher, Group, Settings, Suite};

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

/// The same with what `settings` leave of its suites and groups, in their order.
fn tuned(settings: &Settings) -> Arc<CryptoProvider> {
    let mut provider = CryptoProvider::clone(&provider());
    let all = std::mem::take(&mut provider.cipher_suites);
    let of = |suite: CipherSuite| all.iter().copied().find(|one| one.suite() == suite);
    let of_version = |version: &SupportedProtocolVersion| {
        all.iter().copied().filter(|suite| suite.version() == version).collect::<Vec<_>>()
    };
    provider.cipher_suites = match &settings.suites13 {
        Some(wanted) => wanted.iter().filter_map(|cipher| of(suite13(*cipher))).collect(),
        None => of_version(&rustls::version::TLS13),
    };
    provider.cipher_suites.extend(match &settings.suites12 {
        Some(wanted) => wanted.iter().filter_map(|suite| of(suite12(*suite))).collect(),
        None => of_version(&rustls::version::TLS12),
    });
    if let Some(wanted) = &settings.groups {
        let all = std::mem::take(&mut provider.kx_groups);
        let more = hybrids();
        let of = |name: NamedGroup| all.iter().chain(&more).copied().find(|one| one.name() == name);
        provider.kx_groups = wanted.iter().filter_map(|group| of(named_group(*group))).collect();
    }
    Arc::new(provider)
}

/// RFC 8446, B.4.
fn suite13(cipher: Cipher) -> CipherSuite {
    match cipher {
        Cipher::Aes256Gcm => CipherSuite::TLS13_AES_256_GCM_SHA384,
        Cipher::Aes128Gcm => CipherSuite::TLS13_AES_128_GCM_SHA256,
        Cipher::ChaCha20Poly1305 => CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    }
}

/// RFC 5289, RFC 7905.
fn suite12(suite: Suite) -> CipherSuite {
    use CipherSuite as C;
    match (suite.auth, suite.cipher) {
        (Auth::Ecdsa, Cipher::Aes256Gcm) => C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        (Auth::Ecdsa, Cipher::Aes128Gcm) => C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        (Auth::Ecdsa, Cipher::ChaCha20Poly1305) => C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        (Auth::Rsa, Cipher::Aes256Gcm) => C::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        (Auth::Rsa, Cipher::Aes128Gcm) => C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        (Auth::Rsa, Cipher::ChaCha20Poly1305) => C::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

fn named_group(group: Group) -> NamedGroup {
    match group {
        Group::X25519 => NamedGroup::X25519,
        Group::P256 => NamedGroup::secp256r1,
        Group::P384 => NamedGroup::secp384r1,
        Group::X25519MlKem768 => NamedGroup::X25519MLKEM768,
        Group::P256MlKem768 => NamedGroup::secp256r1MLKEM768,
    }
}

/// Groups that the provider has but does not offer by itself.
#[cfg(feature = "aws-lc")]
fn hybrids() -> Vec<&'static dyn SupportedKxGroup> {
    vec![rustls::crypto::aws_lc_rs::kx_group::SECP256R1MLKEM768]
}

/// Groups that the provider has but does not offer by itself.
#[cfg(all(feature = "ring", not(feature = "aws-lc")))]
fn hybrids() -> Vec<&'static dyn SupportedKxGroup> {
    Vec::new()
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
