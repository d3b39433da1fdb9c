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
        trouble: impl FnMut(&Refusal),
    ) -> Result<Grant, Refusal> {
        let end = since + code.expires_in;
        until(end, code.interval, async || self.poll(code).await, trouble).await.unwrap_or_else(|| Err(self.expired()))
    }
}

/// Asks until there is an end; `None`: the time is over.
async fn until(
    end: Instant,
    mut interval: Duration,
    mut ask: impl AsyncFnMut() -> Result<Grant, Refusal>,
    mut trouble: impl FnMut(&Refusal),
) -> Option<Result<Grant, Refusal>> {
    let mut pause = interval;
    loop {
        let at = Instant::now() + pause;
        if at >= end {
            sleep_until(end).await;
            return None;
        }
        sleep_until(at).await;
        let refusal = match ask().await {
            Ok(grant) => return Some(Ok(grant)),
            Err(refusal) => refusal,
        };
        match refusal.next {
            Next::SignIn => return Some(Err(refusal)),
            Next::Wait => pause = interval,
            Next::SlowDown => {
                interval += SLOWER;
                pause = interval;
            }
            Next::Later(asked) => pause = (pause * 2).min(LONGEST).max(interval).max(asked.unwrap_or_default()),
        }
        trouble(&refusal);
    }
}

/// RFC 8628, 3.5.
const SLOWER: Duration = Duration::from_secs(5);
/// Between two questions to a server that is disturbed.
const LONGEST: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Code, Fault};
    use crate::secret::Secret;
    use crate::text;

    /// What the server says, for how many seconds the code is good; when it is asked, and how it ends.
    type Case = (&'static [Next], u64, &'static [u64], Option<bool>);

    const WAIT: Next = Next::Wait;
    const SLOW: Next = Next::SlowDown;
    const LATER: Next = Next::Later(None);
    const MINUTES: Next = Next::Later(Some(Duration::from_secs(100)));

    fn refusal(next: Next) -> Refusal {
        let fault = Fault::new(Code::Credentials, text!("no", "non"));
        Refusal { fault, next, error: String::new(), aadsts: None, trace: Box::default() }
    }

    fn grant() -> Grant {
        let expires_in = Duration::from_secs(3599);
        Grant { access: Secret::new("a"), refresh: None, expires_in, scope: None, identity: None, names: Vec::new() }
    }

    /// What comes after so many seconds each, and how it ended; `None`: out of time, `Some(true)`: signed in.
    async fn play(script: &[Next], good_for: u64) -> (Vec<u64>, Option<bool>, u64) {
        let began = Instant::now();
        let (mut asked, mut told, mut answers) = (Vec::new(), 0, script.iter());
        let ask = async || {
            asked.push(began.elapsed().as_secs());
            answers.next().map_or_else(|| Ok(grant()), |next| Err(refusal(*next)))
        };
        let end = began + Duration::from_secs(good_for);
        let ended = until(end, Duration::from_secs(5), ask, |_| told += 1).await;
        assert_eq!(told, asked.len() - usize::from(ended.is_some()), "{asked:?}");
        (asked, ended.map(|ended| ended.is_ok()), began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_is_asked_at_its_own_pace() {
        let cases: [Case; 8] = [
            (&[], 900, &[5], Some(true)),
            (&[WAIT, WAIT], 900, &[5, 10, 15], Some(true)),
            // slower for good
            (&[WAIT, SLOW, WAIT, SLOW, WAIT], 900, &[5, 10, 20, 30, 45, 60], Some(true)),
            (&[WAIT, Next::SignIn], 900, &[5, 10], Some(false)),
            // disturbed: 10, 20, 40, 60, 60; and back to the interval once it answers
            (&[LATER, LATER, LATER, LATER, LATER, WAIT], 900, &[5, 15, 35, 75, 135, 195, 200], Some(true)),
            (&[MINUTES, WAIT], 900, &[5, 105, 110], Some(true)),
            // never a question after the end
            (&[WAIT, WAIT, WAIT], 14, &[5, 10], None),
            (&[MINUTES], 60, &[5], None),
        ];
        for (script, good_for, asked, ended) in cases {
            let played = play(script, good_for).await;
            assert_eq!((played.0.as_slice(), played.1), (asked, ended), "{script:?}");
            assert!(ended.is_some() || played.2 == good_for, "{script:?}: {}", played.2);
        }
    }
}
