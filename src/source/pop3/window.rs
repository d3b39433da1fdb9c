//! One command over many messages: where the server has PIPELINING many are under way at a time, so that a long round
//! trip costs once; else one after another.

use std::collections::VecDeque;

use super::session::Session;
use super::wire::Wire;
use crate::proto::pop3::replies::Expect;
use crate::proto::pop3::status::Status;
use crate::source::SourceError;

/// Commands for messages, in turn.
pub(super) struct Window {
    verb: Verb,
    depth: usize,
    waiting: VecDeque<u32>,
    under_way: VecDeque<u32>,
}

/// What is asked of each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// The whole message.
    Retr,
    /// Its header.
    Top,
    /// To mark it as deleted.
    Dele,
}

impl Window {
    pub(super) fn new(session: &Session, verb: Verb, numbers: impl IntoIterator<Item = u32>) -> Self {
        let depth = if session.capabilities.pipelining { DEPTH } else { 1 };
        Self { verb, depth, waiting: numbers.into_iter().collect(), under_way: VecDeque::new() }
    }

    /// The next status line and its message; `None` once every command was answered. After `+OK` to RETR and TOP the
    /// body must be read before the next call.
    pub(super) async fn next(&mut self, wire: &mut Wire) -> Result<Option<(u32, Status)>, SourceError> {
        if self.under_way.len() <= self.depth / 2 && !self.waiting.is_empty() {
            while self.under_way.len() < self.depth
                && let Some(number) = self.waiting.pop_front()
            {
                let (line, expect) = match self.verb {
                    Verb::Retr => (format!("RETR {number}"), Expect::Body),
                    Verb::Top => (format!("TOP {number} 0"), Expect::Body),
                    Verb::Dele => (format!("DELE {number}"), Expect::Line),
                };
                wire.queue(&line, expect);
                self.under_way.push_back(number);
            }
            wire.flush().await?;
        }
        let Some(number) = self.under_way.pop_front() else { return Ok(None) };
        Ok(Some((number, wire.status().await?)))
    }
}

/// Commands under way: what 50 ms of round trip need for some thousand small messages a second; not so many that their
/// lines could fill a server's buffers while it sends.
const DEPTH: usize = 256;
