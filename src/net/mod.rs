//! TCP: dialling, listening, socket options.
//!
//! Knows nothing of tunnels or launchers. Names are resolved when they are needed, never only once at start: a
//! provider's addresses change.

#[cfg(unix)]
pub mod activation;
pub mod ahead;
pub mod dial;
pub mod http;
pub mod listen;
pub mod options;
pub mod proxy;
pub mod stream;
pub mod web;
