//! Bodies: windows of UID FETCH, then a second look at what did not come.
//!
//! A message that was announced and not sent is never forgotten: it is asked for alone, and then either the server no
//! longer lists it, or it fails as an item.

use std::collections::BTreeMap;
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::session::Session;
use super::trouble::{connection, passing, words};
use super::window::Window;
use super::wire::{Incoming, spool_fault};
use crate::delivery::spool::Spool;
use crate::model::{Code, Fault, ItemKey};
use crate::proto::imap::response::{Status, Value};
use crate::proto::imap::sets::{Set, sets};
use crate::source::{Content, Fetched, SourceError};
use crate::text;

/// What is under way: the messages that are still to come.
pub(super) struct Bodies<'a> {
    session: &'a mut Session,
    spool: &'a Spool,
    out: &'a mpsc::Sender<Fetched>,
    folder: String,
    wanted: BTreeMap<u32, ItemKey>,
    arrived: usize,
}

/// The receiver has gone: nobody wants the rest.
pub(super) struct Unwanted;

impl<'a> Bodies<'a> {
    /// `wanted` are messages of the open folder, whose name is `folder`.
    pub(super) fn new(
        session: &'a mut Session,
        spool: &'a Spool,
        out: &'a mpsc::Sender<Fetched>,
        folder: String,
        wanted: BTreeMap<u32, ItemKey>,
    ) -> Self {
        Self { session, spool, out, folder, wanted, arrived: 0 }
    }

    /// Answers each message once.
    pub(super) async fn bring(mut self) -> Result<Result<(), Unwanted>, SourceError> {
        let uids: Vec<u32> = self.wanted.keys().copied().collect();
        for most in [TOGETHER, 1] {
            let missing: Vec<u32> = self.wanted.keys().copied().collect();
            let refused = match self.ask(sets(&missing, most)).await? {
                Ok(refused) => refused,
                Err(unwanted) => return Ok(Err(unwanted)),
            };
            if let Some(error) = refused.iter().find_map(|(_, status)| passing(&self.session.wire.host, status)) {
                return Err(error);
            }
            if most == 1 {
                self.none_at_all(uids.len(), &refused)?;
                return self.settle(&refused).await;
            }
        }
        Ok(Ok(()))
    }

    /// Sends what comes; returns the sets that were refused.
    async fn ask(&mut self, sets: Vec<Set>) -> Result<Result<Vec<(Set, Status)>, Unwanted>, SourceError> {
        let mut window = Window::new(sets, "(UID INTERNALDATE BODY.PEEK[])");
        while let Some((uid, incoming)) = window.next(self.session, Some(self.spool)).await? {
            if let Some(content) = self.take(uid, incoming)? {
                let Some(key) = self.wanted.remove(&uid) else { continue };
                self.arrived += 1;
                if self.out.send(Fetched { key, content: Ok(content) }).await.is_err() {
                    return Ok(Err(Unwanted));
                }
            }
        }
        Ok(Ok(window.refused))
    }

    /// The message in this response; `None` where it holds none, or none that is wanted.
    fn take(&self, uid: u32, incoming: Incoming) -> Result<Option<Content>, SourceError> {
        let (Some(key), Some(fetch)) = (self.wanted.get(&uid), incoming.response.fetch()) else { return Ok(None) };
        let received = fetch.get("INTERNALDATE").and_then(Value::text).and_then(|text| internal_date(&text));
        let writer = match (incoming.body, fetch.get("BODY[]")) {
            (Some(writer), _) => writer,
            // a short message may come as a quoted string
            (None, Some(Value::Text(text))) => {
                let mut writer = self.spool.create(key);
                std::io::Write::write_all(&mut writer, text).map_err(|error| spool_fault(&error))?;
                writer
            }
            _ => return Ok(None),
        };
        if writer.size() == 0 {
            return Ok(None);
        }
        let file = writer.finish_as(self.spool, key).map_err(|error| spool_fault(&error))?;
        Ok(Some(Content::Mail { file, folder: self.folder.clone(), received }))
    }

    /// A server that refuses each of several messages has trouble of its own: no message is to blame.
    fn none_at_all(&self, asked: usize, refused: &[(Set, Status)]) -> Result<(), SourceError> {
        let Some((_, status)) = refused.last().filter(|_| self.arrived == 0 && refused.len() == asked && asked > 2)
        else {
            return Ok(());
        };
        let (host, said) = (&self.session.wire.host, words(status));
        let text =
            text!("{host} refuses to send any message: {said}", "{host} refuse d'envoyer le moindre message : {said}");
        Err(connection(Code::Protocol, text))
    }

    /// What did not come when asked alone is gone if it is no longer listed, else it failed.
    async fn settle(mut self, refused: &[(Set, Status)]) -> Result<Result<(), Unwanted>, SourceError> {
        let missing: Vec<u32> = self.wanted.keys().copied().collect();
        let listed = super::listed(self.session, &missing).await?;
        for (uid, key) in std::mem::take(&mut self.wanted) {
            let content = if listed.contains(&uid) {
                let status = refused.iter().find(|(set, _)| set.uids.contains(&uid)).map(|(_, status)| status);
                Err(self.not_sent(uid, status))
            } else {
                Ok(Content::Gone)
            };
            if self.out.send(Fetched { key, content }).await.is_err() {
                return Ok(Err(Unwanted));
            }
        }
        Ok(Ok(()))
    }

    fn not_sent(&self, uid: u32, status: Option<&Status>) -> Fault {
        let (host, folder) = (&self.session.wire.host, &self.folder);
        let said = status.map(words).unwrap_or_default();
        let text = text!(
            "{host}: message {uid} of {folder} is listed, but the server does not send it: {said}",
            "{host} : le message {uid} de {folder} est annoncé, mais le serveur ne l'envoie pas : {said}"
        );
        Fault::new(Code::Protocol, text)
    }
}

/// `date-time` of RFC 3501, 9: `" 1-Feb-2026 10:00:00 +0100"`.
fn internal_date(text: &str) -> Option<SystemTime> {
    let parsed = jiff::fmt::strtime::parse("%d-%b-%Y %H:%M:%S %z", text.trim()).ok()?;
    parsed.to_timestamp().ok().map(SystemTime::from)
}

/// Messages asked for in one command.
const TOGETHER: usize = 50;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn internal_dates_are_read_with_their_zone() {
        let expected = SystemTime::UNIX_EPOCH + Duration::from_hours(491_649);
        assert_eq!(internal_date(" 1-Feb-2026 10:00:00 +0100"), Some(expected));
        assert_eq!(internal_date("01-Feb-2026 09:00:00 +0000"), Some(expected));
        assert_eq!(internal_date("yesterday"), None);
    }
}
