//! UID FETCH over many messages: a few commands under way at a time, so that a long round trip costs once.
//!
//! Not the meaning of the answers: they come in any order, with other lines between, and are handed on one by one.

use std::collections::VecDeque;

use super::session::Session;
use super::wire::Incoming;
use crate::delivery::spool::Spool;
use crate::proto::imap::response::{Fetch, Kind, Response, Status};
use crate::proto::imap::sets::Set;
use crate::source::SourceError;

/// Commands for `sets`, in turn.
pub(super) struct Window {
    items: &'static str,
    waiting: VecDeque<Set>,
    under_way: Vec<(String, Set)>,
    /// Messages that were asked for and may still be answered.
    expected: usize,
    /// The sets whose command was refused, and how; part of a set may have been answered all the same.
    pub(super) refused: Vec<(Set, Status)>,
}

impl Window {
    /// `items` is what each message is asked for: `(UID FLAGS)`.
    pub(super) fn new(sets: Vec<Set>, items: &'static str) -> Self {
        Self { items, waiting: sets.into(), under_way: Vec::new(), expected: 0, refused: Vec::new() }
    }

    /// The next FETCH response that names its message; `None` once every command has ended.
    pub(super) async fn next(
        &mut self,
        session: &mut Session,
        spool: Option<&Spool>,
    ) -> Result<Option<(u32, Incoming)>, SourceError> {
        loop {
            while self.under_way.len() < DEPTH
                && let Some(set) = self.waiting.pop_front()
            {
                let tag = session.wire.send(&format!("UID FETCH {} {}", set.text, self.items)).await?;
                self.expected += set.uids.len();
                self.under_way.push((tag, set));
            }
            if self.under_way.is_empty() {
                return Ok(None);
            }
            let incoming = session.wire.next(spool).await?;
            match &incoming.response {
                Response::Status(status) => self.retire(status),
                response => {
                    if let Some(uid) = response.fetch().and_then(Fetch::uid) {
                        // what comes besides, or again and again, is no progress
                        if let Some(left) = self.expected.checked_sub(1) {
                            self.expected = left;
                            session.wire.progress();
                        }
                        return Ok(Some((uid, incoming)));
                    }
                }
            }
        }
    }

    fn retire(&mut self, status: &Status) {
        let Some(tag) = &status.tag else { return };
        let Some(at) = self.under_way.iter().position(|(sent, _)| sent == tag) else { return };
        let (_, set) = self.under_way.remove(at);
        if status.kind != Kind::Ok {
            self.refused.push((set, status.clone()));
        }
    }
}

/// Commands under way.
const DEPTH: usize = 4;
