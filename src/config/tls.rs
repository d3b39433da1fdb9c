//! How a tunnel's TLS is tuned: cipher suites, key exchange groups, session cache, tickets.
//!
//! Values only. rustls offers nine suites, all of them strong; what stunnel's options say about suites can only order
//! and narrow them, and what would leave none is a mistake that names those there are.

use std::time::Duration;

use zeroize::Zeroizing;

use super::section::{Options, Report};

/// What is tuned. The default leaves everything to rustls, with stunnel's session cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `ciphersuites`: of TLS 1.3, best first; `None` for all.
    pub suites13: Option<Vec<Suite>>,
    /// `ciphers`: of TLS 1.2, best first; `None` for all.
    pub suites12: Option<Vec<Suite>>,
    /// `curves`: best first; `None` for all.
    pub groups: Option<Vec<Group>>,
    /// `sessionCacheSize`: sessions kept in memory.
    pub cache_size: usize,
    /// `sessionCacheTimeout`: how long a session may be resumed.
    pub cache_timeout: Duration,
    /// Server mode: whether sessions travel in tickets (`options = NO_TICKET`: in the cache alone).
    pub tickets: bool,
    /// `ticketKeySecret`, `ticketMacSecret`.
    pub ticket_keys: Option<TicketKeys>,
}

/// A cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {}

/// A key exchange group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {}

/// The secrets that session tickets are sealed with.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketKeys {
    /// `ticketKeySecret`, 16 or 32 bytes.
    pub key: Zeroizing<Vec<u8>>,
    /// `ticketMacSecret`, 16 or 32 bytes.
    pub mac: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKeys(***)")
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            suites13: None,
            suites12: None,
            groups: None,
            cache_size: 1000,
            cache_timeout: Duration::from_mins(5),
            tickets: true,
            ticket_keys: None,
        }
    }
}

impl Settings {
    /// Reads a section.
    pub(super) fn build(_options: &Options, _client: bool, _report: &mut Report) -> Self {
        Self::default()
    }
}
