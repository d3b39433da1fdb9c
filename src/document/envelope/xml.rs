//! The one XML reader of all envelopes: a stream of events in UTF-8, whatever the file is written in.
//!
//! Not a validator and not a tree: schemas are broken by a fifth of the real files, and a PES of 500 MB is one document.
//! quick-xml reads the tags; character data are read past it, straight from the decoded stream, so that a text of any
//! length, a comment or a CDATA section is never held. What the file brings of its own is limited: no DOCTYPE (and
//! with it no entities but the five of XML), tags of at most [`LONGEST_TAG`] bytes, [`DEEPEST`] elements inside each other.

mod chars;
mod encoding;

use std::io::{self, Read};
use std::rc::Rc;

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event as Markup};

pub use self::chars::BodyText;
use self::encoding::{CHUNK, Source};
use super::Error;
use crate::text;
use crate::text::{Text, shown};

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
    /// Character data up to the next tag, references resolved, CDATA included; never blanks alone, cut at
    /// [`LONGEST_TEXT`].
    Text(String),
    /// An element ends.
    End,
    /// The root has ended, and nothing but blanks stands behind it.
    Eof,
}

/// Looks at the first 64 KiB: the root, or `None` for what is no XML.
///
/// # Errors
/// [`Error::Refused`] for a DOCTYPE in front of the root, [`Error::Read`] for the input.
pub fn sniff(input: &mut dyn Read) -> Result<Option<Root>, Error> {
    let mut start = input.take(CHUNK as u64);
    let mut xml = Xml::new(&mut start)?;
    if xml.peek(1)? != b"<" && !xml.peek(1)?.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    match xml.next() {
        Ok(Event::Start) => Ok(Some(xml.root())),
        Err(error @ Error::Read(_)) => Err(error),
        Err(error) if xml.has_doctype => Err(error),
        _ => Ok(None),
    }
}

/// Reads all of it, for its completeness alone.
///
/// # Errors
/// [`Error::Refused`] for what is malformed before its end, or holds a DOCTYPE; [`Error::Read`] for the input.
pub fn complete(input: &mut dyn Read) -> Result<Completeness, Error> {
    let mut xml = Xml::new(input)?;
    match read_all(&mut xml) {
        Ok(root) => Ok(Completeness::Closed(root)),
        Err(Error::Refused(why)) if xml.is_cut => Ok(Completeness::Open(why)),
        Err(error) => Err(error),
    }
}

fn read_all(xml: &mut Xml<'_>) -> Result<Root, Error> {
    xml.next()?;
    let root = xml.root();
    xml.skip()?;
    xml.next()?;
    Ok(root)
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
    reader: Reader<Source<'a>>,
    /// The bytes of one tag.
    tag: Vec<u8>,
    path: Vec<String>,
    /// The namespace of each element of `path`.
    namespaces: Vec<Rc<str>>,
    /// Depth, prefix and namespace of each declaration that is in force.
    declared: Vec<(usize, String, Rc<str>)>,
    attributes: Vec<(String, String)>,
    /// The last element of `path` is an empty one: its end comes next.
    is_empty: bool,
    /// The last element of `path` has ended.
    has_ended: bool,
    has_root: bool,
    has_doctype: bool,
    in_cdata: bool,
    /// What was refused may go on behind the end of the input.
    is_cut: bool,
}

impl<'a> Xml<'a> {
    /// Reads its beginning, to know its encoding.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn new(input: &'a mut dyn Read) -> Result<Self, Error> {
        let source = Source::new(input).map_err(Error::Read)?;
        Ok(Self {
            reader: Reader::from_reader(source),
            tag: Vec::new(),
            path: Vec::new(),
            namespaces: Vec::new(),
            declared: Vec::new(),
            attributes: Vec::new(),
            is_empty: false,
            has_ended: false,
            has_root: false,
            has_doctype: false,
            in_cdata: false,
            is_cut: false,
        })
    }

    /// What stands next.
    ///
    /// # Errors
    /// [`Error::Refused`] with the position for what is malformed or over a limit, or holds a DOCTYPE; [`Error::Read`].
    // an iterator would have to end with an error or hide it
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Event, Error> {
        self.leave();
        if let Some(event) = self.end_of_empty() {
            return Ok(event);
        }
        let text = self.run(LONGEST_TEXT)?;
        if text.trim().is_empty() {
            return self.markup();
        }
        if self.path.is_empty() {
            return Err(self.malformed(&text!("text outside of the root", "du texte hors de la racine")));
        }
        Ok(Event::Text(text))
    }

    /// The local name of the element that started or ended last; empty outside of the root.
    pub fn local(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// The namespace of that element, resolved; empty for none.
    pub fn namespace(&self) -> &str {
        self.namespaces.last().map_or("", |namespace| namespace)
    }

    /// An attribute of the element that has just started, by its local name, whatever its prefix.
    pub fn attribute(&self, local: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| name == local).map(|(_, value)| value.as_str())
    }

    /// Local names from the root to the current element; that one is still there when it has just ended.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// The root, while it is the element that has just started.
    pub fn root(&self) -> Root {
        Root {
            namespace: self.namespace().to_owned(),
            local: self.local().to_owned(),
            attributes: self.attributes.clone(),
        }
    }

    /// After a start: the element's own text up to its end, children skipped, trimmed, cut at [`LONGEST_TEXT`].
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn text(&mut self) -> Result<String, Error> {
        let depth = self.path.len();
        let mut text = String::new();
        loop {
            match self.next()? {
                Event::Text(more) if self.path.len() == depth && text.len() < LONGEST_TEXT => text.push_str(&more),
                Event::End if self.path.len() == depth => break,
                Event::Eof => break,
                _ => {}
            }
        }
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        Ok(text.trim().to_owned())
    }

    /// After a start: goes to the element's end.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn skip(&mut self) -> Result<(), Error> {
        let depth = self.path.len();
        loop {
            self.leave();
            let event = if let Some(event) = self.end_of_empty() {
                event
            } else {
                self.run(0)?;
                self.markup()?
            };
            if event == Event::Eof || event == Event::End && self.path.len() <= depth {
                return Ok(());
            }
        }
    }

    /// After a start: the element's character data as a stream, up to the next tag. What is not read of it comes
    /// as text.
    pub fn body(&mut self) -> BodyText<'_, 'a> {
        BodyText::new(self)
    }

    /// Bytes of the document that have been read, counted in UTF-8.
    pub fn position(&self) -> u64 {
        self.reader.buffer_position()
    }

    /// The element that has ended is left.
    fn leave(&mut self) {
        if std::mem::take(&mut self.has_ended) {
            self.path.pop();
            self.namespaces.pop();
            let depth = self.path.len();
            self.declared.truncate(self.declared.iter().rposition(|(at, ..)| *at <= depth).map_or(0, |last| last + 1));
        }
    }

    fn end_of_empty(&mut self) -> Option<Event> {
        self.has_ended = std::mem::take(&mut self.is_empty);
        self.attributes.clear();
        self.has_ended.then_some(Event::End)
    }

    /// The tag that comes next.
    fn markup(&mut self) -> Result<Event, Error> {
        if self.peek(DOCTYPE.len())?.eq_ignore_ascii_case(DOCTYPE) {
            return Err(self.doctype());
        }
        self.reader.get_mut().refuel(LONGEST_TAG);
        let mut tag = std::mem::take(&mut self.tag);
        tag.clear();
        let markup = self.reader.read_event_into(&mut tag);
        let is_spent = self.reader.get_mut().is_spent();
        self.reader.get_mut().refuel(usize::MAX);
        let event = match markup {
            Ok(Markup::Start(start)) => self.start(&start, false),
            Ok(Markup::Empty(start)) => self.start(&start, true),
            Ok(Markup::End(_)) => {
                self.has_ended = true;
                Ok(Event::End)
            }
            Ok(Markup::Eof) => self.end(),
            Ok(_) => Err(self.malformed(&text!("a piece of markup out of place", "un balisage mal placé"))),
            Err(quick_xml::Error::Io(_)) if is_spent => Err(self.malformed(&text!(
                "a tag of more than {LONGEST_TAG} bytes",
                "une balise de plus de {LONGEST_TAG} octets"
            ))),
            Err(quick_xml::Error::Io(error)) => Err(Error::Read(unshared(&error))),
            Err(error) => {
                let is_syntax = matches!(error, quick_xml::Error::Syntax(_));
                self.is_cut = is_syntax && self.reader.get_mut().is_at_end();
                Err(self.malformed(&Text::same(shown(&error.to_string(), SHOWN))))
            }
        };
        self.tag = tag;
        event
    }

    fn start(&mut self, start: &BytesStart<'_>, is_empty: bool) -> Result<Event, Error> {
        if self.path.is_empty() && std::mem::replace(&mut self.has_root, true) {
            return Err(self.malformed(&text!("a second root", "une deuxième racine")));
        }
        if self.path.len() == DEEPEST {
            return Err(self.malformed(&text!(
                "more than {DEEPEST} elements inside each other",
                "plus de {DEEPEST} éléments imbriqués"
            )));
        }
        let (local, prefix) = start.name().decompose();
        self.path.push(local.into_inner().to_owned());
        for attribute in start.attributes().with_checks(false) {
            let Ok(attribute) = attribute else {
                return Err(self.malformed(&text!("a broken attribute", "un attribut mal formé")));
            };
            let Ok(value) = attribute.normalized_value(XmlVersion::Explicit1_0) else {
                return Err(self.malformed(&text!("an unknown entity", "une entité inconnue")));
            };
            self.take_attribute(attribute.key.into_inner(), &value)?;
        }
        let namespace = self.resolve(prefix.map_or("", |prefix| prefix.into_inner()));
        self.namespaces.push(namespace);
        self.is_empty = is_empty;
        Ok(Event::Start)
    }

    fn take_attribute(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let (prefix, local) = name.split_once(':').unwrap_or(("", name));
        if prefix == "xmlns" || name == "xmlns" {
            let prefix = if prefix.is_empty() { "" } else { local };
            self.declared.push((self.path.len(), prefix.to_owned(), Rc::from(value)));
        } else {
            self.attributes.push((local.to_owned(), clean(value)));
        }
        if self.declared.len() > MOST_NAMESPACES || self.attributes.len() > MOST_ATTRIBUTES {
            return Err(self.malformed(&text!("too many attributes", "trop d'attributs")));
        }
        Ok(())
    }

    fn resolve(&self, prefix: &str) -> Rc<str> {
        let found = self.declared.iter().rev().find(|(_, declared, _)| declared == prefix);
        found.map_or_else(|| Rc::from(""), |(.., namespace)| Rc::clone(namespace))
    }

    fn end(&mut self) -> Result<Event, Error> {
        self.is_cut = !self.path.is_empty() || !self.has_root;
        if let Some(open) = self.path.last() {
            let open = shown(open, SHOWN);
            return Err(self.malformed(&text!("it ends before </{open}>", "il s'arrête avant </{open}>")));
        }
        if !self.has_root {
            return Err(self.malformed(&text!("it ends before the root", "il s'arrête avant la racine")));
        }
        Ok(Event::Eof)
    }

    fn doctype(&mut self) -> Error {
        self.has_doctype = true;
        Error::Refused(text!(
            "the XML holds a DOCTYPE, which no envelope has: ask its sender for it without one",
            "le XML contient un DOCTYPE, ce qu'aucune enveloppe n'a : demandez-le sans à son émetteur"
        ))
    }

    fn malformed(&self, why: &Text) -> Error {
        let at = self.position();
        let Text { en, fr } = why;
        Error::Refused(text!("the XML is malformed at byte {at}: {en}", "le XML est mal formé à l'octet {at} : {fr}"))
    }
}

/// quick-xml shares the errors of its input.
fn unshared(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// Control characters, which XML 1.0 does not know, are blanks.
fn clean(value: &str) -> String {
    if !value.contains(is_foreign) {
        return value.to_owned();
    }
    value.replace("\r\n", "\n").replace(is_foreign, " ")
}

fn is_foreign(c: char) -> bool {
    c.is_control() && !['\t', '\n'].contains(&c)
}

const DOCTYPE: &[u8] = b"<!DOCTYPE";

/// Bytes that are kept of one text.
pub const LONGEST_TEXT: usize = 64 << 10;
/// Bytes of one tag with all its attributes; a chunk more may be read before it is noticed.
pub const LONGEST_TAG: usize = 256 << 10;
/// Elements inside each other; a signed PES has about 15.
pub const DEEPEST: usize = 256;
/// Attributes of one element.
const MOST_ATTRIBUTES: usize = 256;
/// Declarations of namespaces that are in force at one place.
const MOST_NAMESPACES: usize = 256;
/// Characters of a stranger's word in a sentence.
const SHOWN: usize = 120;

#[cfg(test)]
mod tests;
