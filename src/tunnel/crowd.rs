//! How many clients at once: stunnel's share of the descriptors, for the whole process.
//!
//! Not a limit of each tunnel: descriptors are the process's, so a tunnel with too many clients must leave enough of them
//! for accepting, for log files and for the other ends of the connections that are open.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A client's place, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Seat(());

/// All clients of this process.
pub(super) struct Crowd;

impl Seat {
    /// A place, unless all are taken.
    pub(super) fn take() -> Option<Self> {
        let before = TAKEN.fetch_add(1, Ordering::Relaxed);
        let seat = Self(());
        (before < Crowd::most().unwrap_or(usize::MAX)).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Crowd {
    /// How many there may be; `None` without a limit. Asked of the system each time: it may be changed from outside
    /// (`prlimit`).
    pub(super) fn most() -> Option<usize> {
        descriptors().map(share)
    }
}

/// stunnel's share of `most` descriptors (5.75, sthreads and network: "Clients allowed").
fn share(most: usize) -> usize {
    if most >= 256 { (most / 256).saturating_mul(125) + most % 256 * 125 / 256 } else { most.saturating_sub(6) / 2 }
}

#[cfg(unix)]
fn descriptors() -> Option<usize> {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    Some(usize::try_from(most).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
fn descriptors() -> Option<usize> {
    None
}

static TAKEN: AtomicUsize = AtomicUsize::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_stunnels() {
        for (descriptors, clients) in [(0, 0), (6, 0), (30, 12), (255, 124), (256, 125), (1024, 500), (20_000, 9765)] {
            assert_eq!(share(descriptors), clients, "{descriptors}");
        }
        assert!(share(usize::MAX) > 1_000_000);
    }
}
