//! Where documents come from: one trait, one file for each kind of source.
//!
//! A source speaks its protocol and nothing else: it never sees the ledger, staging or the launcher's loop, so a
//! protocol file cannot skip a guarantee. `discover` and `fetch` are at-least-once; that everything is delivered
//! exactly once is the cycle's business. The error of a call is named by what the caller does next.

pub mod adullact;
pub mod bearer;
mod connect;
pub mod directory;
mod dropped;
pub mod graph;
pub mod imap;
pub mod outlet;
pub mod pop3;
mod trouble;
mod watch;

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use self::outlet::Outlet;
use crate::delivery::spool::{Spool, SpoolFile};
use crate::delivery::stamp::Stamp;
use crate::document::envelope::Deposit;
use crate::document::header::Head;
use crate::model::{Digest, Disposition, Fault, ItemKey};
use crate::oauth::TokenError;

/// One connection to a source; the calls come in the order in which they stand here, once or more a cycle.
#[async_trait]
pub trait Source: Send {
    /// Connects and logs in, where there is something to log in to: for `pertuis test`.
    async fn login(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    /// Opens the folder and says how many items lie in it, changing nothing: for `pertuis test`.
    async fn count(&mut self) -> Result<u64, SourceError> {
        Ok(self.discover(None).await?.items.len() as u64)
    }

    /// Lists what is there. `cursor` is what an earlier discovery returned and the cycle has seen through without a
    /// gap; items before it may be left out. May repeat an item, must never hide one.
    async fn discover(&mut self, cursor: Option<&Cursor>) -> Result<Discovery, SourceError>;

    /// Recognises items whose keys were reissued, without their bodies. An item that has gone is left out.
    async fn identify(&mut self, batch: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError>;

    /// Brings the bodies of `batch`, in whatever order they arrive, streamed to the spool and sent to `out` one by
    /// one; a full outlet holds the source back. Every item of the batch is answered once, a vanished one with
    /// [`Content::Gone`]; one bad item fails alone (`Err` inside), any other error ends the call.
    async fn fetch(&mut self, batch: &[Item], spool: &Spool, out: Outlet) -> Result<(), SourceError>;

    /// Does `what` to items at the source. Repeatable: an item that is gone, moved or marked already is done. Must
    /// work days later and without a fetch before it. Answers with the keys for which it is done (the others are
    /// tried again by a later cycle).
    async fn acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError>;

    /// Makes what was acknowledged take effect (EXPUNGE, QUIT); acknowledged is recorded after its `Ok`. Closes, unless
    /// the connection serves to [`wait`](Self::wait).
    async fn finish(&mut self) -> Result<(), SourceError>;

    /// Returns when there may be something new, or at the deadline.
    async fn wait(&mut self, upto: Duration) -> Wake {
        tokio::time::sleep(upto).await;
        Wake::Deadline
    }
}

/// How far a source was seen through: the source's own text, opaque to everybody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

/// What a source lists.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// Items, oldest first.
    pub items: Vec<Item>,
    /// The cursor to store once every item listed here has ended; `None` where the source has none.
    pub cursor: Option<Cursor>,
    /// A cursor that says which keys these are and goes past none of them: stored before the first item is taken, so
    /// that reissued keys are noticed even when this cycle never comes to its end.
    pub start: Option<Cursor>,
    /// Every key that is at the source now, listed or not (a file that has not settled yet, say), where the source
    /// can tell: a done item that is not among them has left, and is new should it come back. `None` where keys are
    /// never used again.
    pub present: Option<HashSet<ItemKey>>,
    /// Further copies of listed items that lie there too (a deposit that was dropped twice): counted as `already`.
    pub copies: u64,
    /// Items that are listed though they are done still lie there, or again: `after` is carried out once more, as it
    /// was not, or not for this copy. Not for sources that list what stays there by design.
    pub standing: bool,
}

/// An item as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The server's key.
    pub key: ItemKey,
    /// A short readable mark for `{key}` (the UID); may be empty.
    pub hint: String,
    /// Bytes, where the source says so before the download.
    pub size: Option<u64>,
    /// The source may have given a new key to something old (UIDVALIDITY changed, new UIDLs, none at all): the ledger
    /// is asked by fingerprint before the body is fetched, and by content after.
    pub reissued: bool,
}

/// What recognises a message whose key was reissued, and what its header block says for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// `Message-ID`, with its angle brackets.
    pub message_id: Option<String>,
    /// Bytes of the message; `None` where the server's figure is not that of the bytes that it sends.
    pub size: Option<u64>,
    /// SHA-256 of the header block as received, its final blank line left out.
    pub header: Digest,
    /// `Date`.
    pub date: Option<SystemTime>,
    /// `From`.
    pub from: Option<String>,
    /// `Subject`.
    pub subject: Option<String>,
}

impl Fingerprint {
    /// The fingerprint of a message with this header block; the blank line that ends it may be there or not.
    pub fn of(header: &[u8], size: Option<u64>) -> Self {
        let head = Head::parse(header);
        let (message_id, date) = (head.message_id, head.date.map(SystemTime::from));
        Self { message_id, size, header: head.digest, date, from: head.from, subject: head.subject }
    }
}

/// One answer of a fetch.
#[derive(Debug)]
pub struct Fetched {
    /// Which item.
    pub key: ItemKey,
    /// Its content, or why this item alone failed.
    pub content: Result<Content, Fault>,
}

/// What an item is made of.
#[derive(Debug)]
pub enum Content {
    /// An RFC 5322 message in the spool.
    Mail {
        /// Its bytes, as the server sent them.
        file: SpoolFile,
        /// The mailbox folder, in Unicode.
        folder: String,
        /// When the server received it.
        received: Option<SystemTime>,
    },
    /// A dropped file, read in place.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its own name.
        name: String,
        /// What it looked like when it was listed; read again when it looks different afterwards.
        stamp: Stamp,
    },
    /// A dropped envelope, read in place.
    Envelope {
        /// Where it lies: the directory, the archive or the file; of loose files, their metadata file.
        path: PathBuf,
        /// Its files.
        deposit: Deposit,
        /// What each of them looked like when it was listed, in their order; read again when one looks different.
        stamps: Vec<Stamp>,
        /// Of a directory: everything that lay below it when it was listed. `None`: not known.
        listing: Option<BTreeSet<PathBuf>>,
    },
    /// It is no longer there.
    Gone,
}

/// Why [`Source::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// There is something new.
    News,
    /// Time is over.
    Deadline,
}

/// An error of a source, named by what the caller does next.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SourceError {
    /// This folder or directory cannot be used: end the cycle, keep the interval.
    #[error("{0}")]
    Mailbox(Fault),
    /// The connection is of no use any more: end the cycle, back off.
    #[error("{fault}")]
    Connection {
        /// What happened.
        fault: Fault,
        /// How long the server asks to stay away.
        retry_after: Option<Duration>,
    },
    /// The login was refused: end the cycle, at most three tries an hour.
    #[error("{0}")]
    Credentials(Fault),
}

impl SourceError {
    /// What happened.
    pub fn fault(&self) -> &Fault {
        match self {
            Self::Mailbox(fault) | Self::Credentials(fault) | Self::Connection { fault, .. } => fault,
        }
    }

    /// A connection that is of no use any more.
    pub fn connection(fault: Fault) -> Self {
        Self::Connection { fault, retry_after: None }
    }
}

impl From<TokenError> for SourceError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::SignIn(fault) => Self::Credentials(fault),
            TokenError::Later { fault, retry_after } => Self::Connection { fault, retry_after },
        }
    }
}

/// Stands for a source that cannot be made, and says why.
pub struct Unusable(pub Fault);

impl Unusable {
    fn why<T>(&self) -> Result<T, SourceError> {
        Err(SourceError::Mailbox(self.0.clone()))
    }
}

#[async_trait]
impl Source for Unusable {
    async fn login(&mut self) -> Result<(), SourceError> {
        self.why()
    }

    async fn discover(&mut self, _: Option<&Cursor>) -> Result<Discovery, SourceError> {
        self.why()
    }

    async fn identify(&mut self, _: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        self.why()
    }

    async fn fetch(&mut self, _: &[Item], _: &Spool, _: Outlet) -> Result<(), SourceError> {
        self.why()
    }

    async fn acknowledge(&mut self, _: &[ItemKey], _: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        self.why()
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        self.why()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_leaves_the_blank_line_out() {
        let print = Fingerprint::of(
            b"Subject: x\r\nMESSAGE-ID:\r\n <a@b>\r\nDate: Wed, 25 Nov 2026 10:00:00 +0100\r\n\r\n",
            None,
        );
        assert_eq!(print.message_id.as_deref(), Some("<a@b>"));
        let block = b"Subject: x\r\nMESSAGE-ID:\r\n <a@b>\r\nDate: Wed, 25 Nov 2026 10:00:00 +0100\r\n";
        assert_eq!((print.header, print.subject.as_deref()), (Digest::of(block), Some("x")));
        assert_eq!(print.date, Some(SystemTime::UNIX_EPOCH + Duration::from_hours(498_777)));
        assert_eq!(Fingerprint::of(b"\r\n", None).header, Digest::of(b""));
        assert_eq!(Fingerprint::of(b"Subject: <message-id: no>\r\n\r\n", None).message_id, None);
    }
}
