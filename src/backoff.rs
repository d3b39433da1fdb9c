//! How long to wait after a failure: doubling, with jitter, between two bounds.
//!
//! Not a timer: it only says how long. Jitter is drawn from the standard library's hash keys, which is enough to
//! keep many launchers from knocking at one server in step and needs no random-number crate.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Doubling delays from a first one up to a largest one.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    largest: Duration,
    next: Duration,
}

impl Backoff {
    /// Delays from `first` to `largest`.
    pub fn new(first: Duration, largest: Duration) -> Self {
        Self { first, largest, next: first }
    }

    /// The delay after one more failure: between half of the current step and the whole of it.
    pub fn next_delay(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.largest);
        let half = step / 2;
        half + jitter(half)
    }

    /// The next failure starts from the first delay again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A random duration between zero and `upto`.
pub fn jitter(upto: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) >> 32;
    let millis = u64::try_from(upto.as_millis()).unwrap_or(u64::MAX >> 32);
    Duration::from_millis(millis.saturating_mul(random) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_largest_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(4));
        for step in [1, 2, 4, 4] {
            let delay = backoff.next_delay();
            assert!(delay >= Duration::from_millis(step * 500) && delay <= Duration::from_secs(step), "{delay:?}");
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_secs(1));
    }
}
