//! The sign-in behind a launcher, looked after while the launcher waits for its next cycle.
//!
//! Not the renewal itself ([`Tokens`]): here it is decided when to think of it. A launcher that seldom runs renews its
//! sign-in meanwhile, so that a revoked one is known (and alerted) today; one that was refused is not left to wait for its
//! next try once somebody has signed in. Every launcher of a sign-in does so by itself: which one renews does not matter.

use std::future::pending;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Env;
use crate::config::Launcher;
use crate::model::Fault;
use crate::oauth::{TokenError, Tokens};

/// The sign-in of a launcher.
pub(super) struct SignIn {
    /// `None`: nobody signs in for it.
    tokens: Option<Tokens>,
    /// When the person signed in with whose tokens the last cycle began.
    used: Option<SystemTime>,
    /// When it is asked next whether the sign-in is idle. A mailbox that is held open for weeks asks for no token either.
    next: Instant,
}

/// What happened meanwhile.
#[derive(Debug)]
pub(super) enum News {
    /// Somebody signed in anew.
    Anew,
    /// The sign-in is of no use any more.
    Lost(Fault),
}

impl SignIn {
    /// The one of `launcher`; what is wrong with it is for the cycle to say.
    pub(super) fn of(launcher: &Launcher, env: &Env) -> Self {
        let mut sign_in = Self { tokens: None, used: None, next: Instant::now() + OFTEN };
        sign_in.find(launcher, env);
        sign_in
    }

    /// Files that were not there at the start (a share that is mounted later) are looked for again.
    fn find(&mut self, launcher: &Launcher, env: &Env) {
        if self.tokens.is_none() && launcher.oauth.as_ref().is_some_and(|oauth| oauth.credential.is_person()) {
            self.tokens = env.tokens(launcher).ok();
        }
    }

    /// A cycle begins.
    pub(super) fn note(&mut self, launcher: &Launcher, env: &Env) {
        self.find(launcher, env);
        self.used = self.tokens.as_ref().and_then(Tokens::since);
    }

    /// The launcher ends; a renewal that is under way is not cut short, unless it takes too long.
    pub(super) async fn settle(&self) {
        if let Some(tokens) = &self.tokens {
            let _ = timeout(LAST, tokens.settled()).await;
        }
    }

    /// Returns when the launcher should not wait any longer; `refused`: its last cycle ended with a refused login.
    pub(super) async fn news(&mut self, refused: bool) -> News {
        let Some(tokens) = &self.tokens else { return pending().await };
        loop {
            if refused {
                sleep(LOOK).await;
                // not whether the file changed: a renewal, which does not help, changes it too
                if tokens.since().is_some_and(|since| Some(since) != self.used) {
                    return News::Anew;
                }
            } else {
                sleep_until(self.next).await;
                self.next = Instant::now() + OFTEN;
                if let Err(TokenError::SignIn(fault)) = tokens.keep_alive().await {
                    return News::Lost(fault);
                }
            }
        }
    }
}

/// How soon a new sign-in is noticed.
const LOOK: Duration = Duration::from_secs(5);
/// For the answer to a renewal at the end; servers mostly take a second.
const LAST: Duration = Duration::from_secs(10);
/// How often it is asked whether the sign-in is idle.
const OFTEN: Duration = Duration::from_hours(1);
