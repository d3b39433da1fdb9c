//! What a server keeps of its sessions: the cache, and the tickets it hands out.
//!
//! Both forget after `sessionCacheTimeout`; rustls alone knows no such time. With `ticketKeySecret` and
//! `ticketMacSecret` every process that has them opens each other's tickets, also after a restart. They are stunnel's
//! options, not its format: those tickets are AES-CBC with an HMAC around OpenSSL's own form of a session, which
//! nothing but OpenSSL reads. Whoever steals these keys reads recorded TLS 1.2 connections that were resumed, as with
//! stunnel; without the options keys change by themselves.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(feature = "aws-lc")]
use aws_lc_rs as crypto;
#[cfg(all(feature = "ring", not(feature = "aws-lc")))]
use ring as crypto;

use crypto::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use crypto::hkdf::{HKDF_SHA256, Prk, Salt};
use crypto::rand::{SecureRandom as _, SystemRandom};
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use zeroize::Zeroizing;

use crate::config::tls::{Settings, TicketKeys};

/// Sets up what `config` keeps: nothing with `resume` off.
pub(super) fn keep(config: &mut ServerConfig, settings: &Settings, resume: bool) {
    if !resume {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        return;
    }
    let lifetime = settings.cache_timeout;
    config.session_storage =
        Arc::new(Dated { inner: ServerSessionMemoryCache::new(settings.cache_size) as Arc<_>, lifetime });
    if !settings.tickets {
        return;
    }
    let ticketer: Option<Arc<dyn ProducesTickets>> = match &settings.ticket_keys {
        Some(keys) => Some(Arc::new(Sealed::new(keys))),
        None => super::ticketer(),
    };
    if let Some(inner) = ticketer {
        config.ticketer = Arc::new(Dated { inner, lifetime });
    }
}

/// Puts the time in front of what it hands on, and takes nothing back that is older than `lifetime`.
struct Dated<T: ?Sized> {
    inner: Arc<T>,
    lifetime: Duration,
}

impl<T: ?Sized> Dated<T> {
    fn stamp(plain: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        Some(Zeroizing::new([&now()?.to_be_bytes(), plain].concat()))
    }

    fn fresh(&self, stamped: Vec<u8>) -> Option<Vec<u8>> {
        let stamped = Zeroizing::new(stamped);
        let (time, plain) = stamped.split_first_chunk()?;
        // one from the future is of a clock that was set back: as good as old
        let age = now()?.checked_sub(u64::from_be_bytes(*time))?;
        (age <= self.lifetime.as_secs()).then(|| plain.to_vec())
    }
}

impl ProducesTickets for Dated<dyn ProducesTickets> {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        // RFC 8446, 4.6.1: at most seven days
        let asked = u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX);
        asked.min(self.inner.lifetime()).min(7 * 24 * 60 * 60)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(&Self::stamp(plain)?)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.fresh(self.inner.decrypt(cipher)?)
    }
}

impl StoresServerSessions for Dated<dyn StoresServerSessions> {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        Self::stamp(&value).is_some_and(|stamped| self.inner.put(key, stamped.to_vec()))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.fresh(self.inner.get(key)?)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.fresh(self.inner.take(key)?)
    }

    fn can_cache(&self) -> bool {
        self.inner.can_cache()
    }
}

impl<T: ?Sized> fmt::Debug for Dated<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dated").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// Tickets sealed with AES-256-GCM (NIST SP 800-38D) under keys that the configuration gives. Each ticket has a key of
/// its own, from the two secrets and its random `id` by HKDF (RFC 5869): so no nonce is ever used twice, however many
/// tickets however many processes make. A ticket is `id`, ciphertext, tag.
struct Sealed {
    secret: Prk,
    random: SystemRandom,
}

impl Sealed {
    fn new(keys: &TicketKeys) -> Self {
        let secret = Salt::new(HKDF_SHA256, &keys.mac).extract(&keys.key);
        Self { secret, random: SystemRandom::new() }
    }

    fn cipher(&self, id: &[u8; ID]) -> Option<LessSafeKey> {
        let info = [LABEL, id.as_slice()];
        self.secret.expand(&info, &AES_256_GCM).ok().map(|okm| LessSafeKey::new(UnboundKey::from(okm)))
    }
}

impl ProducesTickets for Sealed {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::MAX
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut id = [0; ID];
        self.random.fill(&mut id).ok()?;
        let mut body = plain.to_vec();
        // the key is used this once
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        self.cipher(&id)?.seal_in_place_append_tag(nonce, Aad::empty(), &mut body).ok()?;
        Some([id.as_slice(), &body].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (id, body) = cipher.split_first_chunk::<ID>()?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        self.cipher(id)?.open_in_place(nonce, Aad::empty(), &mut body).ok().map(|plain| plain.to_vec())
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").finish_non_exhaustive()
    }
}

fn now() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Bytes that tell tickets apart: never twice the same by chance.
const ID: usize = 32;
/// What the keys are for, so that the same secrets elsewhere give others.
const LABEL: &[u8] = b"pertuis session ticket 1";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(first: u8) -> TicketKeys {
        TicketKeys { key: vec![first; 16].into(), mac: vec![7; 32].into() }
    }

    fn dated(first: u8, lifetime: Duration) -> Dated<dyn ProducesTickets> {
        Dated { inner: Arc::new(Sealed::new(&keys(first))), lifetime }
    }

    #[test]
    fn tickets_open_wherever_the_same_secrets_are_and_nowhere_else() {
        let (one, same, other) = (dated(1, HOUR), dated(1, HOUR), dated(2, HOUR));
        let ticket = one.encrypt(b"session").unwrap();
        assert_eq!(same.decrypt(&ticket).unwrap(), b"session");
        assert!(other.decrypt(&ticket).is_none());
        assert_ne!(one.encrypt(b"session").unwrap(), ticket);
        assert!(!ticket.windows(7).any(|part| part == b"session"));
    }

    #[test]
    fn what_is_too_old_or_from_the_future_is_gone() {
        let dated = dated(1, Duration::from_mins(5));
        let aged = |age: i64| {
            let time = now().unwrap().checked_add_signed(-age).unwrap();
            dated.decrypt(&dated.inner.encrypt(&[&time.to_be_bytes(), b"x".as_slice()].concat()).unwrap())
        };
        assert!(aged(0).is_some() && aged(290).is_some());
        assert!(aged(310).is_none() && aged(-3600).is_none());
        assert!(dated.decrypt(&dated.inner.encrypt(b"short").unwrap()).is_none());
        assert_eq!(dated.lifetime(), 300);
    }

    #[test]
    fn the_cache_forgets_too() {
        let cache: Dated<dyn StoresServerSessions> =
            Dated { inner: ServerSessionMemoryCache::new(8), lifetime: Duration::from_mins(5) };
        assert!(cache.put(vec![1], b"x".to_vec()));
        assert_eq!(cache.get(&[1]).unwrap(), b"x");
        assert_eq!(cache.take(&[1]).unwrap(), b"x");
        assert!(cache.take(&[1]).is_none());
        cache.inner.put(vec![2], [0; 9].to_vec());
        assert!(cache.get(&[2]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_open_by_chance_and_none_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..80_usize) {
            let tickets = dated(1, HOUR);
            prop_assert!(tickets.decrypt(&bytes).is_none());
            let mut ticket = tickets.encrypt(b"session").unwrap();
            let at = at % ticket.len();
            ticket[at] ^= 1;
            prop_assert!(tickets.decrypt(&ticket).is_none());
        }
    }

    const HOUR: Duration = Duration::from_hours(1);
}
