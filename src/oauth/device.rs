//! Waiting for a person at a browser: asks the authorization server again and again until there is an end.
//!
//! Not one question ([`Authority::poll`]): when the next one may come. A server that asks to slow down is asked five seconds
//! later from then on (RFC 8628, 3.5); one that is disturbed or out of reach is asked at growing intervals, for as long as
//! the code is good: the person may have signed in meanwhile.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::grants::{Authority, DeviceCode, Grant};
use super::refusal::{Next, Refusal};

impl Authority {
    /// Waits until the person has signed in with `code`, asked for at `since`; `trouble` is told of every refusal that
    /// does not end it, `authorization_pending` included.
    ///
    /// # Errors
    /// The person declined, the code has expired, or only the administrator helps.
    pub async fn wait(
        &self,
        code: &DeviceCode,
        since: Instant,
        mut trouble: impl FnMut(&Refusal),
    ) -> Result<Grant, Refusal> {
        let end = since + code.expires_in;
        let (mut interval, mut extra) = (code.interval, Duration::ZERO);
        loop {
            let at = Instant::now() + interval.max(extra);
            if at >= end {
                sleep_until(end).await;
                return Err(self.expired());
            }
            sleep_until(at).await;
            let refusal = match self.poll(code).await {
                Ok(grant) => return Ok(grant),
                Err(refusal) => refusal,
            };
            extra = match refusal.next {
                Next::SignIn => return Err(refusal),
                Next::Wait => Duration::ZERO,
                Next::SlowDown => {
                    interval += SLOWER;
                    Duration::ZERO
                }
                Next::Later(asked) => extra.max(interval).saturating_mul(2).min(LONGEST).max(asked.unwrap_or_default()),
            };
            trouble(&refusal);
        }
    }
}

/// RFC 8628, 3.5.
const SLOWER: Duration = Duration::from_secs(5);
/// Between two questions to a server that is disturbed.
const LONGEST: Duration = Duration::from_mins(1);
