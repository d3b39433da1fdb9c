//! Bodies: windows of UID FETCH, then a second look at what did not come.
//!
//! A message that was announced and not sent is never forgotten: it is asked for alone, and then either the server no
//! longer lists it, or it fails as an item.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::SystemTime;

use super::session::Session;
use super::trouble::{passing, words};
use super::window::Window;
use super::wire::Incoming;
use crate::delivery::spool::{Spool, SpoolFile, SpoolWriter};
use crate::model::{Code, Fault, ItemKey};
use crate::proto::imap::response::{Fetch, Status, Value};
use crate::proto::imap::sets::{Set, sets};
use crate::source::outlet::Outlet;
use crate::source::trouble::{connection, spool_fault};
use crate::source::{Content, Fetched, SourceError};
use crate::text;

/// What is under way: the messages that are still to come.
pub(super) struct Bodies<'a> {
    session: &'a mut Session,
    spool: &'a Spool,
    out: &'a Outlet,
    folder: String,
    wanted: BTreeMap<u32, Wanted>,
    arrived: usize,
}

/// A message that is to come.
pub(super) struct Wanted {
    pub(super) key: ItemKey,
    /// Bytes, where the server told.
    pub(super) size: Option<u64>,
}

/// The receiver has gone: nobody wants the rest.
pub(super) struct Unwanted;

impl<'a> Bodies<'a> {
    /// `wanted` are messages of the open folder, whose name is `folder`.
    pub(super) fn new(
        session: &'a mut Session,
        spool: &'a Spool,
        out: &'a Outlet,
        folder: String,
        wanted: BTreeMap<u32, Wanted>,
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
            if let Some(error) = refused.iter().find_map(|(_, status)| passing(self.session.wire.host(), status)) {
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
            let content = match incoming.too_large {
                Some(size) => Err(self.too_large(uid, size)),
                None => match self.take(uid, incoming)? {
                    Some(content) => Ok(content),
                    None => continue,
                },
            };
            let Some(Wanted { key, .. }) = self.wanted.remove(&uid) else { continue };
            self.arrived += 1;
            if self.out.send(Fetched { key, content }).await.is_err() {
                return Ok(Err(Unwanted));
            }
        }
        Ok(Ok(window.refused))
    }

    /// The message in this response; `None` where it holds none, or none that is wanted. An empty one is believed where
    /// the server said that it is empty.
    fn take(&self, uid: u32, incoming: Incoming) -> Result<Option<Content>, SourceError> {
        let (Some(wanted), Some(fetch)) = (self.wanted.get(&uid), incoming.response.fetch()) else { return Ok(None) };
        let received = received(fetch);
        let Some(writer) = written(self.spool, incoming.body, fetch.get("BODY[]"))? else { return Ok(None) };
        if writer.size() == 0 && wanted.size != Some(0) {
            return Ok(None);
        }
        self.mail(writer, &wanted.key, received).map(Some)
    }

    fn mail(&self, writer: SpoolWriter, key: &ItemKey, received: Option<SystemTime>) -> Result<Content, SourceError> {
        let file = writer.finish_as(key).map_err(|error| spool_fault(&error))?;
        Ok(Content::Mail { file, folder: self.folder.clone(), received })
    }

    /// A server that refuses each of several messages has trouble of its own: no message is to blame.
    fn none_at_all(&self, asked: usize, refused: &[(Set, Status)]) -> Result<(), SourceError> {
        let Some((_, status)) = refused.last().filter(|_| self.arrived == 0 && refused.len() == asked && asked > 2)
        else {
            return Ok(());
        };
        let (host, said) = (self.session.wire.host(), words(status));
        let text =
            text!("{host} refuses to send any message: {said}", "{host} refuse d'envoyer le moindre message : {said}");
        Err(connection(Code::Protocol, text))
    }

    /// What did not come when asked alone is gone if it is no longer listed, else it is tried in two parts.
    async fn settle(mut self, refused: &[(Set, Status)]) -> Result<Result<(), Unwanted>, SourceError> {
        let missing: Vec<u32> = self.wanted.keys().copied().collect();
        let listed = super::discover::listed(self.session, &missing).await?;
        for (uid, wanted) in std::mem::take(&mut self.wanted) {
            let content = if !listed.contains(&uid) {
                Ok(Content::Gone)
            } else if let Some(content) = self.in_two(uid, &wanted).await? {
                Ok(content)
            } else {
                let status = refused.iter().find(|(set, _)| set.uids.contains(&uid)).map(|(_, status)| status);
                Err(self.not_sent(uid, status))
            };
            if self.out.send(Fetched { key: wanted.key, content }).await.is_err() {
                return Ok(Err(Unwanted));
            }
        }
        Ok(Ok(()))
    }

    /// Header and text asked for apart: Exchange has messages that it lists and does not send whole.
    async fn in_two(&mut self, uid: u32, wanted: &Wanted) -> Result<Option<Content>, SourceError> {
        let (mut header, mut received) = (Vec::new(), None);
        let mut window = Window::new(sets(&[uid], 1), "(UID INTERNALDATE BODY.PEEK[HEADER])");
        while let Some((_, incoming)) = window.next(self.session, None).await? {
            if let Some(fetch) = incoming.response.fetch().filter(|fetch| fetch.uid() == Some(uid))
                && let Some(Value::Text(text)) = fetch.get("BODY[HEADER]")
            {
                header.clone_from(text);
                received = self::received(fetch);
            }
        }
        if header.is_empty() {
            return Ok(None);
        }
        let Some(text) = self.text(uid).await? else { return Ok(None) };
        if text.size == 0 && wanted.size.is_none_or(|size| size > header.len() as u64) {
            return Ok(None);
        }
        let join = || -> io::Result<SpoolWriter> {
            let mut writer = self.spool.create(&wanted.key);
            writer.write_all(&header)?;
            io::copy(&mut text.open()?, &mut writer)?;
            Ok(writer)
        };
        let writer = join().map_err(|error| spool_fault(&error))?;
        self.spool.remove(&ItemKey::new(HALF)).map_err(|error| spool_fault(&error))?;
        self.mail(writer, &wanted.key, received).map(Some)
    }

    /// All of a message but its header.
    async fn text(&mut self, uid: u32) -> Result<Option<SpoolFile>, SourceError> {
        let (mut file, half) = (None, ItemKey::new(HALF));
        let mut window = Window::new(sets(&[uid], 1), "(UID BODY.PEEK[TEXT])");
        while let Some((got, incoming)) = window.next(self.session, Some(self.spool)).await? {
            let Some(fetch) = incoming.response.fetch().filter(|_| got == uid) else { continue };
            if incoming.too_large.is_some() {
                continue;
            }
            if let Some(writer) = written(self.spool, incoming.body, fetch.get("BODY[TEXT]"))? {
                file = Some(writer.finish_as(&half).map_err(|error| spool_fault(&error))?);
            }
        }
        Ok(file)
    }

    fn too_large(&self, uid: u32, size: u64) -> Fault {
        let (host, folder) = (self.session.wire.host(), &self.folder);
        let text = text!(
            "{host}: message {uid} of {folder} has {size} bytes, more than `max_size`, although the server said otherwise",
            "{host} : le message {uid} de {folder} compte {size} octets, plus que `max_size`, contrairement à ce que disait \
             le serveur"
        );
        Fault::new(Code::Protocol, text)
    }

    fn not_sent(&self, uid: u32, status: Option<&Status>) -> Fault {
        let (host, folder) = (self.session.wire.host(), &self.folder);
        let said = status.map(words).unwrap_or_default();
        let text = text!(
            "{host}: message {uid} of {folder} is listed, but the server does not send it: {said}",
            "{host} : le message {uid} de {folder} est annoncé, mais le serveur ne l'envoie pas : {said}"
        );
        Fault::new(Code::Protocol, text)
    }
}

/// What was diverted to the spool, or stands in the response: a short message may come as a quoted string, an empty one
/// as NIL.
fn written(
    spool: &Spool,
    body: Option<SpoolWriter>,
    value: Option<&Value>,
) -> Result<Option<SpoolWriter>, SourceError> {
    let text: &[u8] = match (&body, value) {
        (Some(_), _) => return Ok(body),
        (None, Some(Value::Text(text))) => text,
        (None, Some(Value::Nil)) => &[],
        (None, _) => return Ok(None),
    };
    let mut writer = spool.create(&ItemKey::new(HALF));
    writer.write_all(text).map_err(|error| spool_fault(&error))?;
    Ok(Some(writer))
}

fn received(fetch: Fetch<'_>) -> Option<SystemTime> {
    fetch.get("INTERNALDATE").and_then(Value::text).and_then(|text| internal_date(&text))
}

/// `date-time` of RFC 3501, 9: `" 1-Feb-2026 10:00:00 +0100"`.
fn internal_date(text: &str) -> Option<SystemTime> {
    let parsed = jiff::fmt::strtime::parse("%d-%b-%Y %H:%M:%S %z", text.trim()).ok()?;
    parsed.to_timestamp().ok().map(SystemTime::from)
}

/// Messages asked for in one command.
const TOGETHER: usize = 250;
/// What part of a message is called in the spool while it is alone.
const HALF: &str = "half";

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
