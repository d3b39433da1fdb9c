//! How many requests are under way at once, and how long a mailbox is left alone.
//!
//! Not a schedule: it holds a request back and never makes one. Microsoft counts four at once for an application and a
//! mailbox, and counts what comes too early, too; so all launchers of one sign-in in this process go through one gate of
//! three places. It is the one thing of this source that launchers share.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::config::oauth::OAuth;

/// The gate of one sign-in.
#[derive(Debug)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    /// Until when each mailbox is left alone.
    closed: Mutex<HashMap<String, Instant>>,
}

/// A place in the gate, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(#[allow(dead_code)] OwnedSemaphorePermit);

impl Gate {
    /// The gate of this application in this directory.
    pub(super) fn of(oauth: &OAuth) -> Arc<Self> {
        let key = format!("{}\0{}\0{}", oauth.graph_root, oauth.tenant, oauth.client_id).to_ascii_lowercase();
        let mut gates = GATES.lock().unwrap_or_else(PoisonError::into_inner);
        // a pause outlives the cycle that was told of it
        gates.retain(|_, gate| Arc::strong_count(gate) > 1 || gate.is_closed());
        gates.entry(key).or_insert_with(|| Arc::new(Self::new())).clone()
    }

    fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)), closed: Mutex::default() }
    }

    /// Waits for a place, and until `mailbox` may be asked again; `Err` with the time that is left where that is more
    /// than `most`.
    pub(super) async fn enter(&self, mailbox: &str, most: Duration) -> Result<Place, Duration> {
        loop {
            self.open_again(mailbox, most).await?;
            let Ok(place) = self.places.clone().acquire_owned().await else { return Err(most) };
            // it may have been closed while we stood in the queue
            if self.left(mailbox).is_none() {
                return Ok(Place(place));
            }
        }
    }

    /// Leaves `mailbox` alone for `pause`.
    pub(super) fn close(&self, mailbox: &str, pause: Duration) {
        let until = Instant::now() + pause;
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = closed.entry(mailbox.to_owned()).or_insert(until);
        *known = (*known).max(until);
    }

    async fn open_again(&self, mailbox: &str, most: Duration) -> Result<(), Duration> {
        while let Some(until) = self.left(mailbox) {
            let left = until.saturating_duration_since(Instant::now());
            if left > most {
                return Err(left);
            }
            sleep_until(until).await;
        }
        Ok(())
    }

    fn is_closed(&self) -> bool {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.values().any(|until| *until > Instant::now())
    }

    fn left(&self, mailbox: &str) -> Option<Instant> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.get(mailbox).copied().filter(|until| *until > Instant::now())
    }
}

static GATES: LazyLock<Mutex<HashMap<String, Arc<Gate>>>> = LazyLock::new(Mutex::default);
/// Requests under way at once.
pub(super) const PLACES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_are_three_places_and_a_closed_mailbox_is_left_alone() {
        let gate = Arc::new(Gate::new());
        let most = Duration::from_mins(1);
        let mut places = Vec::new();
        for _ in 0..PLACES {
            places.push(gate.enter("a", most).await.unwrap());
        }
        let fourth = tokio::time::timeout(Duration::from_secs(5), gate.enter("a", most)).await;
        assert!(fourth.is_err(), "a fourth place");
        places.pop();
        let began = Instant::now();
        gate.close("a", Duration::from_millis(2128));
        gate.close("a", Duration::from_secs(1));
        places.push(gate.enter("b", most).await.unwrap());
        assert_eq!(began.elapsed(), Duration::ZERO, "another mailbox is not closed");
        places.pop();
        let _place = gate.enter("a", most).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(2128), "{:?}", began.elapsed());
        gate.close("a", Duration::from_mins(2));
        assert!(gate.enter("a", most).await.is_err_and(|left| left > Duration::from_secs(119)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_place_waits_on_when_the_mailbox_is_closed_meanwhile() {
        let gate = Arc::new(Gate::new());
        let most = Duration::from_mins(1);
        let mut places = Vec::new();
        for _ in 0..PLACES {
            places.push(gate.enter("a", most).await.unwrap());
        }
        let (waiting, began) = (gate.clone(), Instant::now());
        let waiter = tokio::spawn(async move { waiting.enter("a", most).await.map(|_| began.elapsed()) });
        tokio::task::yield_now().await;
        gate.close("a", Duration::from_secs(3));
        places.clear();
        assert!(waiter.await.unwrap().unwrap() >= Duration::from_secs(3));
    }
}
