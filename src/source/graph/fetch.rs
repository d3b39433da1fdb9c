//! Bodies: MIME as the server makes it, streamed to the spool; from the parts where it cannot.
//!
//! A message never fails for the service: before one is blamed, the mailbox is asked for something else. One whose MIME
//! breaks off or cannot be made (S/MIME, too large for the server's own time limit) is put together from its parts.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::client::{Client, Ended};
use super::json::{MailFolder, State};
use super::list::moment;
use super::trouble::Refusal;
use super::{Known, Voice};
use crate::backoff::Backoff;
use crate::delivery::spool::{Spool, SpoolFile, SpoolWriter};
use crate::document::header::Fields;
use crate::event::Level;
use crate::model::{Code, Digest, Fault, ItemKey};
use crate::source::{Content, Fingerprint, Item, SourceError};
use crate::text;
use crate::text::Text;

/// Brings messages of one mailbox.
pub(super) struct Fetcher {
    pub(super) client: Client,
    pub(super) voice: Voice,
    /// `max_size`, bytes.
    pub(super) largest: u64,
    pub(super) first_retry: Duration,
    pub(super) known: Arc<HashMap<String, Known>>,
    /// Paths of the folders that are read, by id.
    pub(super) folders: HashMap<String, String>,
    /// `source`, for what is in none of them.
    pub(super) source: String,
}

/// What became of a body.
pub(super) enum Body {
    Whole(SpoolWriter),
    /// More than `max_size`: so many bytes had come.
    TooLarge(u64),
    Gone,
    Refused(Refusal),
    Cut(Fault),
}

impl Fetcher {
    /// The content of a message, or why this one alone failed.
    pub(super) async fn bring(&self, key: &ItemKey, spool: &Spool) -> Result<Result<Content, Fault>, SourceError> {
        let Some((folder, received)) = self.place_of(key.as_str()).await? else { return Ok(Ok(Content::Gone)) };
        let body = match self.mime(key, spool).await? {
            Body::Refused(refusal) => self.parts_of(key, spool, Text::same(refusal.said())).await?,
            Body::Cut(fault) => self.parts_of(key, spool, fault.text).await?,
            Body::Gone if self.is_there(key.as_str()).await? => self.parts_of(key, spool, no_mime()).await?,
            body => Ok(body),
        };
        let file = match body {
            Ok(Body::Whole(writer)) => writer.finish().map_err(|error| spool_fault(&error))?,
            Ok(Body::TooLarge(size)) => Self::too_large(spool, key, size)?,
            Ok(_) => return Ok(Ok(Content::Gone)),
            Err(fault) => return self.blame(fault).await.map(Err),
        };
        Ok(Ok(Content::Mail { file, folder, received }))
    }

    /// The folder in which it was listed and when it came; of what was not listed, asked. `None`: gone.
    async fn place_of(&self, id: &str) -> Result<Option<(String, Option<SystemTime>)>, SourceError> {
        if let Some(known) = self.known.get(id).filter(|known| known.received.is_some()) {
            return Ok(Some((known.folder.to_string(), known.received.map(SystemTime::from))));
        }
        let request = self.client.get(&["messages", id], "$select=id,parentFolderId,receivedDateTime");
        let state: State = match self.client.json(&request).await? {
            Ok(state) => state,
            Err(refusal) if refusal.has_left() => return Ok(None),
            // told by what follows
            Err(_) => State::default(),
        };
        let listed = self.known.get(id).map(|known| known.folder.to_string());
        let parent = || state.parent_folder_id.as_ref().and_then(|id| self.folders.get(id)).cloned();
        let folder = listed.or_else(parent).unwrap_or_else(|| self.source.clone());
        let received = state.received_date_time.as_deref().and_then(moment).map(SystemTime::from);
        Ok(Some((folder, received)))
    }

    /// Whether a message of which there is no MIME is there all the same: what is taken for gone is never asked for again.
    async fn is_there(&self, id: &str) -> Result<bool, SourceError> {
        let request = self.client.get(&["messages", id], "$select=id,parentFolderId");
        match self.client.json::<State>(&request).await? {
            Err(refusal) if refusal.has_left() => Ok(false),
            Err(refusal) if refusal.is_passing() => Err(refusal.error()),
            _ => Ok(true),
        }
    }

    /// The MIME of a message; what breaks off is tried again.
    async fn mime(&self, key: &ItemKey, spool: &Spool) -> Result<Body, SourceError> {
        let mut waits = Backoff::new(self.first_retry, self.first_retry.saturating_mul(LARGEST_STEP));
        let mut tries = 1;
        loop {
            let mut shape = Shape::default();
            let body = self.stream(&["messages", key.as_str(), "$value"], spool.create(key), &mut shape).await?;
            let fault = match body {
                Body::Cut(fault) => fault,
                Body::Whole(writer) if shape.is_whole() => return Ok(Body::Whole(writer)),
                // also when it ends there each time: something in between may cut all that is long at the same place
                Body::Whole(_) => self.unended(),
                other => return Ok(other),
            };
            if tries >= TRIES {
                return Ok(Body::Cut(fault));
            }
            tries += 1;
            sleep(waits.next_delay()).await;
        }
    }

    /// Streams what lies at `path` to `writer`.
    async fn stream(&self, path: &[&str], mut writer: SpoolWriter, shape: &mut Shape) -> Result<Body, SourceError> {
        let mut answer = match self.client.open(&self.client.get(path, "")).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(refusal)) if refusal.has_left() => return Ok(Body::Gone),
            Ok(Err(refusal)) => return Ok(Body::Refused(refusal)),
            Err(Ended::Cut(fault)) => return Ok(Body::Cut(fault)),
            Err(Ended::Done(error)) => return Err(error),
        };
        loop {
            match answer.chunk().await {
                Ok(Some(bytes)) => {
                    shape.take(&bytes);
                    writer.write_all(&bytes).map_err(|error| spool_fault(&error))?;
                }
                Ok(None) => return Ok(Body::Whole(writer)),
                Err(fault) => return Ok(Body::Cut(fault)),
            }
            if writer.size() > self.largest {
                return Ok(Body::TooLarge(writer.size()));
            }
        }
    }

    /// The message put together from its parts, since its MIME cannot be had (`why`).
    async fn parts_of(&self, key: &ItemKey, spool: &Spool, why: Text) -> Result<Result<Body, Fault>, SourceError> {
        let Text { en, fr } = &why;
        let mut tries = 1;
        loop {
            let fault = match self.rebuild(key.as_str(), spool.create(key)).await? {
                Body::Whole(writer) => {
                    let text = text!(
                        "a message cannot be had as a whole and was put together from its parts: {en}",
                        "un message ne peut être obtenu entier et a été recomposé à partir de ses éléments : {fr}"
                    );
                    self.voice.tell(Level::Notice, "graph_rebuilt", text);
                    return Ok(Ok(Body::Whole(writer)));
                }
                Body::Cut(fault) => fault,
                Body::Refused(refusal) => {
                    let said = refusal.said();
                    let text = text!("{en}; nor its parts: {said}", "{fr} ; ni ses éléments : {said}");
                    return Ok(Err(Fault::new(Code::Protocol, text)));
                }
                other => return Ok(Ok(other)),
            };
            if tries >= TRIES {
                return Ok(Err(fault));
            }
            tries += 1;
            sleep(self.first_retry).await;
        }
    }

    /// Before a message is blamed, the mailbox is asked for something else: a folder that is read, since in somebody
    /// else's mailbox the inbox may be closed.
    async fn blame(&self, fault: Fault) -> Result<Fault, SourceError> {
        let folder = self.folders.keys().next().map_or("inbox", String::as_str);
        let request = self.client.get(&["mailFolders", folder], "$select=id");
        match self.client.json::<MailFolder>(&request).await? {
            Err(refusal) if !refusal.is_gone() => Err(refusal.error()),
            _ => Ok(fault),
        }
    }

    /// Stands for a body that is not wanted: its size alone counts.
    fn too_large(spool: &Spool, key: &ItemKey, size: u64) -> Result<SpoolFile, SourceError> {
        let mut file = spool.create(key).finish().map_err(|error| spool_fault(&error))?;
        file.size = size;
        Ok(file)
    }

    fn unended(&self) -> Fault {
        let host = self.client.host();
        let text = text!(
            "{host} ended a message before the end of its last part",
            "{host} a terminé un message avant la fin de sa dernière partie"
        );
        Fault::new(Code::Protocol, text)
    }

    /// What recognises a message: its header block where ids are in doubt, else what the list says.
    pub(super) async fn fingerprint(&self, item: &Item) -> Result<Option<Fingerprint>, SourceError> {
        let id = item.key.as_str();
        if !item.reissued {
            let Some((_, date)) = self.place_of(id).await? else { return Ok(None) };
            let header = Digest::of(id.as_bytes());
            let (message_id, from, subject) = (None, None, None);
            return Ok(Some(Fingerprint { message_id, size: None, header, date, from, subject }));
        }
        let mut answer = match self.client.open(&self.client.get(&["messages", id, "$value"], "")).await? {
            Ok(answer) => answer,
            // what cannot be had as MIME now could not be had when it was delivered
            Err(refusal) if refusal.is_gone() || refusal.is_for_ever() => return Ok(None),
            // one that fails by itself is compared once it is here, and stops no other one
            Err(refusal) => return self.blame(refusal.error().fault().clone()).await.map(|_| None),
        };
        let mut shape = Shape::default();
        while let Some(bytes) = answer.chunk().await.map_err(SourceError::connection)? {
            shape.take(&bytes);
            if shape.header_ends() {
                break;
            }
        }
        Ok(Some(Fingerprint::of(shape.header(), None)))
    }
}

fn no_mime() -> Text {
    text!("the server has the message and no MIME of it", "le serveur a le message, mais pas son MIME")
}

/// The two ends of a MIME message that is passing by.
#[derive(Default)]
pub(super) struct Shape {
    /// Its header block, and a little more.
    start: Vec<u8>,
    /// Where the blank line is.
    blank: Option<usize>,
    tail: Vec<u8>,
}

impl Shape {
    fn take(&mut self, bytes: &[u8]) {
        if self.blank.is_none() && self.start.len() < LONGEST_HEADER {
            let looked = self.start.len().saturating_sub(3);
            self.start.extend_from_slice(&bytes[..bytes.len().min(LONGEST_HEADER)]);
            self.blank = end_of_header(&self.start[looked..]).map(|at| looked + at);
        }
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let beyond = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..beyond);
    }

    fn header_ends(&self) -> bool {
        self.blank.is_some()
    }

    fn header(&self) -> &[u8] {
        &self.start[..self.blank.unwrap_or(self.start.len())]
    }

    /// Whether its last part ends (RFC 2046, 5.1.1); one without parts ends anywhere.
    fn is_whole(&self) -> bool {
        let fields = Fields::parse(self.header());
        let content_type = fields.first("Content-Type").map(String::from_utf8_lossy).unwrap_or_default();
        match boundary(&content_type) {
            Some(boundary) => {
                let end = format!("--{boundary}--");
                self.tail.windows(end.len()).any(|window| window == end.as_bytes())
            }
            None => true,
        }
    }
}

/// Where the blank line after a header block begins to be over.
fn end_of_header(bytes: &[u8]) -> Option<usize> {
    let crlf = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    let lf = bytes.windows(2).position(|window| window == b"\n\n").map(|at| at + 2);
    crlf.into_iter().chain(lf).min()
}

/// The boundary of a multipart (RFC 2045, 5.1).
fn boundary(content_type: &str) -> Option<&str> {
    let lower = content_type.to_ascii_lowercase();
    lower.trim_start().starts_with("multipart/").then_some(())?;
    let rest = content_type.get(lower.find("boundary=")? + "boundary=".len()..)?;
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(|c: char| c == ';' || c.is_whitespace()).next(),
    }
    .filter(|boundary| !boundary.is_empty())
}

/// The spool is full or not writable: no fault of the server, and none of the message.
pub(super) fn spool_fault(error: &io::Error) -> SourceError {
    let Text { en, fr } = Text::io(error);
    let text = text!(
        "the spool below the state directory cannot be written: {en}",
        "impossible d'écrire dans le tampon (spool) du dossier d'état : {fr}"
    );
    SourceError::Mailbox(Fault::new(Code::Deliver, text))
}

/// How often a body is asked for.
const TRIES: u32 = 3;
const LARGEST_STEP: u32 = 16;
/// Bytes of a header block that are looked at, and of the end.
const LONGEST_HEADER: usize = 64 << 10;
const TAIL: usize = 2 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_whole(message: &[u8], piece: usize) -> bool {
        let mut shape = Shape::default();
        message.chunks(piece).for_each(|bytes| shape.take(bytes));
        shape.is_whole()
    }

    #[test]
    fn a_multipart_is_whole_with_the_end_of_its_last_part() {
        let message =
            b"Subject: x\r\nContent-Type: Multipart/Mixed;\r\n boundary=\"a b\"\r\n\r\n--a b\r\n\r\ny\r\n--a b--\r\n";
        let cut = &message[..message.len() - 5];
        for piece in [1, 7, 4096] {
            assert!(is_whole(message, piece), "{piece}");
            assert!(!is_whole(cut, piece), "{piece}");
            assert!(is_whole(b"Subject: x\n\nboundary=no", piece), "{piece}");
            assert!(is_whole(b"Content-Type: text/plain; boundary=q\r\n\r\nx", piece), "{piece}");
        }
        assert_eq!(boundary("multipart/mixed; charset=x; BOUNDARY=abc; x=y"), Some("abc"));
        assert_eq!(boundary("multipart/mixed; boundary=\"\""), None);
    }

    #[test]
    fn a_header_block_is_read_up_to_its_blank_line() {
        let mut shape = Shape::default();
        for byte in b"A: b\r\nC: d\r\n\r\nbody\r\n\r\n" {
            shape.take(std::slice::from_ref(byte));
        }
        assert!(shape.header_ends());
        assert_eq!(shape.header(), b"A: b\r\nC: d\r\n\r\n");
    }
}
