//! The one XML reader of all envelopes: a stream of events in UTF-8, whatever the file is written in.

use std::io::{self, Read};

use super::Error;
use crate::text::Text;

/// The root element of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Its namespace, resolved; empty for none.
    pub namespace: String,
    /// Its name without prefix, as written.
    pub local: String,
    /// Local names and values; declarations of namespaces are left out.
    pub attributes: Vec<(String, String)>,
}

/// Whether a document has been written to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Its root is closed.
    Closed(Root),
    /// The input ends before: the file may still grow.
    Open(Text),
}

/// What stands next in a document. Comments and processing instructions are skipped, an empty element starts and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An element starts.
    Start,
    /// Character data up to the next tag, references resolved, CDATA included; never blanks alone, at most `LONGEST_TEXT` bytes.
    Text(String),
    /// An element ends.
    End,
    /// Behind the root.
    Eof,
}

/// Looks at the first 64 KiB: the root, or `None` for what is no XML.
///
/// # Errors
/// A DOCTYPE is refused.
pub fn sniff(_input: &mut dyn Read) -> Result<Option<Root>, Error> {
    todo!()
}

/// Reads all of it, for its completeness alone.
///
/// # Errors
/// What is malformed before its end is refused.
pub fn complete(_input: &mut dyn Read) -> Result<Completeness, Error> {
    todo!()
}

/// What an error of [`BodyText`] was in the first place.
pub fn read_error(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::Read(error),
    }
}

/// A reader of one document.
pub struct Xml<'a> {
    path: Vec<String>,
    input: &'a mut dyn Read,
}

impl<'a> Xml<'a> {
    /// Reads its beginning.
    pub fn new(input: &'a mut dyn Read) -> Result<Self, Error> {
        Ok(Self { path: Vec::new(), input })
    }
    /// What stands next.
    pub fn next(&mut self) -> Result<Event, Error> {
        todo!()
    }
    /// The local name of the element that has just started or ended.
    pub fn local(&self) -> &str {
        todo!()
    }
    /// Its namespace, resolved; empty for none.
    pub fn namespace(&self) -> &str {
        todo!()
    }
    /// An attribute of the element that has just started, by its local name, whatever its prefix.
    pub fn attribute(&self, _local: &str) -> Option<&str> {
        todo!()
    }
    /// Local names from the root to the element that started last and is open, or has just ended.
    pub fn path(&self) -> &[String] {
        &self.path
    }
    /// After a start: its own text up to its end, children skipped, trimmed, cut at `LONGEST_TEXT`.
    pub fn text(&mut self) -> Result<String, Error> {
        todo!()
    }
    /// After a start: up to its end.
    pub fn skip(&mut self) -> Result<(), Error> {
        todo!()
    }
    /// After a start: its character data as a stream, up to the next tag.
    pub fn body(&mut self) -> BodyText<'_, 'a> {
        BodyText { xml: self }
    }
    /// Bytes of the text in UTF-8 that have been read.
    pub fn position(&self) -> u64 {
        let _ = &self.input;
        todo!()
    }
}

/// See [`Xml::body`]; its errors are told apart by [`read_error`].
pub struct BodyText<'x, 'a> {
    xml: &'x mut Xml<'a>,
}

impl Read for BodyText<'_, '_> {
    fn read(&mut self, _buf: &mut [u8]) -> io::Result<usize> {
        let _ = &self.xml;
        todo!()
    }
}
