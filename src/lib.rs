//! pertuis: tunnels and document launchers for a legacy document-management system.
//!
//! # One direction
//!
//! ```text
//!  conf/*.ini ─ini→ sections (text, file:line) ─options→ Config (typed, valid) ─plan→ changes
//!                                                                                │
//!                              Supervisor ◄──────── commands (reload, stop) ◄── cli, signals
//!                                │    │
//!      ┌─────────────────────────┘    └───────────────────────┐
//! Tunnel                                                  Launcher (tick | wake)
//! accept → session: dial → TLS → copy        cycle: discover → admit → fetch → parse → filter
//!                                                    → stage → record → publish → confirm → acknowledge
//!      └────────────► event ────────► log line ────────► people, scripts
//! ```
//!
//! Configuration, plans and items flow down; only events flow up. There is no global state (but the count of
//! requests under way at Microsoft, which all launchers of a process share), and no engine reads the ini file again.
//!
//! # Floors
//!
//! A file imports its own floor or a lower one (`tests/tidy.rs` reads the `use crate::` lines).
//!
//! | floor | modules | knows nothing of |
//! | --- | --- | --- |
//! | 0 words | [`mod@text`], [`model`], [`secret`], [`backoff`], [`event`] | everything else |
//! | 1 configuration | [`config`] | tokio, files other than the ini |
//! | 2 protocols and formats without I/O | [`proto`], [`document`] | tokio, sockets, the disk |
//! | 3 the outside world | [`net`], [`tls`], [`delivery`], [`oauth`], [`privileges`] | what a launcher or a tunnel is |
//! | 4 engines | [`tunnel`], [`source`], [`launcher`] | each other (tunnel and launcher) |
//! | 5 who runs | [`supervisor`], [`status`], [`log`] | the front doors |
//! | 6 front doors | [`cli`], [`demo`], [`platform`] | |
//!
//! # Exactly once
//!
//! `discover` and `fetch` are at-least-once. The [`launcher`] makes exactly-once of them: files are prepared in a
//! staging folder that nobody watches, the ledger records staged and final names in one transaction, a rename that
//! never replaces publishes, a second transaction confirms, and only then is the source changed. After a crash the
//! staged file is the witness: still there means "not published yet", gone means "published". Whether the final
//! file exists says nothing, because its consumer takes it away at once.
//!
//! # Bounded memory
//!
//! Bodies go from the socket to the spool through a fixed buffer; what parses them reads the spool as a stream.
//! Tunnels run on a runtime of several threads; each launcher runs on a thread of its own, where blocking calls
//! (SQLite, files) hold up nobody else, and stages and delivers on a second one, so that the server is read meanwhile.

pub mod backoff;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod demo;
pub mod document;
pub mod event;
pub mod launcher;
pub mod log;
pub mod model;
pub mod net;
pub mod oauth;
pub mod platform;
pub mod privileges;
pub mod proto;
pub mod secret;
pub mod source;
pub mod status;
pub mod supervisor;
pub mod text;
pub mod tls;
pub mod tunnel;
