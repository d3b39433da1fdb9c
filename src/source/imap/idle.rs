//! Waiting for news (IDLE, RFC 2177).
//!
//! Not a poll: what there is is listed by the next discovery. Nothing is missed in between: the folder is opened anew,
//! what came since the discovery is asked for, and only what comes after that is left to IDLE.

use std::time::Duration;

use tokio::time::Instant;

use super::discover::search_from;
use super::session::Session;
use super::trouble::{refused, words};
use crate::model::Code;
use crate::proto::imap::response::{Kind, Response};
use crate::source::trouble::connection;
use crate::source::{SourceError, Wake};
use crate::text;

/// What is waited for.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// The folder, as the server writes it.
    pub(super) name: String,
    pub(super) uidvalidity: u32,
    /// What a search begins with that the last discovery did not list.
    pub(super) next: u32,
    /// What else is asked of the messages (` UNSEEN`).
    pub(super) criteria: String,
}

/// Returns with news, or at `end`.
pub(super) async fn watch(session: &mut Session, watch: &Watch, end: Instant) -> Result<Wake, SourceError> {
    let Ok(selected) = session.select(&watch.name, false).await? else { return Ok(Wake::News) };
    let news = search_from(session, watch.next, &watch.criteria).await?;
    if selected.uidvalidity != watch.uidvalidity || !news.is_empty() {
        return Ok(Wake::News);
    }
    let mut count = selected.exists;
    while Instant::now() < end {
        if idle(session, &mut count, end.min(Instant::now() + RENEWED)).await? == Wake::News {
            return Ok(Wake::News);
        }
    }
    Ok(Wake::Deadline)
}

/// One IDLE command. `count` is how many messages there are.
async fn idle(session: &mut Session, count: &mut u32, end: Instant) -> Result<Wake, SourceError> {
    let tag = session.wire.send("IDLE").await?;
    let mut wake = Wake::Deadline;
    while wake == Wake::Deadline
        && let Some(response) = session.wire.next_before(end).await?
    {
        match response {
            Response::Status(status) if status.tag.as_ref() == Some(&tag) => {
                let (host, said) = (session.wire.host(), words(&status));
                let text = text!("{host} does not wait: {said}", "{host} n'attend pas : {said}");
                return Err(connection(Code::Protocol, text));
            }
            Response::Data { number: Some(number), name, .. } => wake = note(count, number, &name),
            _ => {}
        }
    }
    session.wire.send_raw("DONE").await?;
    let reply = session.wire.reply(&tag).await?;
    for response in &reply.data {
        if let Response::Data { number: Some(number), name, .. } = response
            && note(count, *number, name) == Wake::News
        {
            wake = Wake::News;
        }
    }
    if reply.status.kind == Kind::Ok { Ok(wake) } else { Err(refused(session.wire.host(), "IDLE", &reply.status)) }
}

/// What a line says about how many messages there are.
fn note(count: &mut u32, number: u32, name: &str) -> Wake {
    match name {
        "EXISTS" if number > *count => return Wake::News,
        "EXISTS" => *count = number,
        "EXPUNGE" => *count = count.saturating_sub(1),
        _ => {}
    }
    Wake::Deadline
}

/// A server may log out who idles for 30 minutes (RFC 2177, 3), and a firewall forgets sooner.
const RENEWED: Duration = Duration::from_mins(25);
