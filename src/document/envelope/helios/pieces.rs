//! Pieces of a PES (XSD `Class_PJ`) and what refers to them (XSD `Class_PJReference`).
//!
//! A reference without a piece is normal: the piece may have been sent before, or follow in a PES of its own. It is told
//! all the same, because the GED then waits for it. Only pieces on paper and on disc are not.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;

use super::keys::value;
use crate::document::envelope::limits::Budget;
use crate::document::envelope::store::{Body, Store};
use crate::document::envelope::unpack::{Unpacked, unpack};
use crate::document::envelope::xml::{Event, Xml};
use crate::document::envelope::{Attachment, Error, Reading};
use crate::model::Role;
use crate::text;
use crate::text::Text;

/// One `PES_PJ/PJ`.
#[derive(Default)]
pub(super) struct Piece {
    id: String,
    name: String,
    media_type: Option<String>,
    content: Option<Unpacked>,
}

impl Piece {
    /// Reads it to its end; its values and those of its `RefCompta` go to `add`.
    pub(super) fn read(
        &mut self,
        xml: &mut Xml<'_>,
        store: &mut dyn Store,
        budget: &mut Budget,
        add: &mut dyn FnMut(&str, &str),
    ) -> Result<(), Error> {
        let depth = xml.path().len();
        loop {
            match xml.next()? {
                Event::End if xml.path().len() == depth => return Ok(()),
                Event::Start if xml.local() == "Fichier" && self.content.is_none() => {
                    self.media_type = xml.attribute("MIMEType").map(|kind| kind.trim().to_owned());
                    self.content = Some(unpack(&mut xml.body(), store, budget)?);
                }
                Event::Start => self.value(xml, depth, add),
                Event::Eof => return Ok(()),
                Event::Text(_) | Event::End => {}
            }
        }
    }

    fn value(&mut self, xml: &Xml<'_>, depth: usize, add: &mut dyn FnMut(&str, &str)) {
        let Some(written) = xml.attribute("V") else { return };
        let is_own = xml.path().len() == depth + 1;
        let key = match xml.local() {
            "IdUnique" if is_own => "id_pj",
            "NomPJ" if is_own => "nom_pj",
            "TypePJ" if is_own => "type_pj",
            "Description" if is_own => "description_pj",
            _ => match super::keys::key(xml.path()) {
                Some(key) => key,
                None => return,
            },
        };
        let written = value(key, written);
        match key {
            "id_pj" => self.id = written.to_string(),
            "nom_pj" => self.name = written.to_string(),
            _ => {}
        }
        add(key, &written);
    }

    /// Its name, or its identifier.
    fn called(&self) -> &str {
        if self.name.is_empty() { &self.id } else { &self.name }
    }
}

/// One `PJRef` of a mandate, a title, a line or a contract.
#[derive(Debug, Default)]
pub(super) struct Reference {
    support: String,
    id: String,
    name: String,
}

impl Reference {
    /// Reads it to its end.
    pub(super) fn read(xml: &mut Xml<'_>) -> Result<Self, Error> {
        let (mut reference, depth) = (Self::default(), xml.path().len());
        loop {
            match xml.next()? {
                Event::End if xml.path().len() == depth => return Ok(reference),
                Event::Eof => return Ok(reference),
                Event::Start => {
                    let written = value("", xml.attribute("V").unwrap_or_default()).into_owned();
                    match xml.local() {
                        "Support" => reference.support = written,
                        "IdUnique" => reference.id = written,
                        "NomPJ" => reference.name = written,
                        _ => {}
                    }
                }
                Event::Text(_) | Event::End => {}
            }
        }
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Pieces {
    count: usize,
    /// Identifiers, or names where there is none, of the pieces that were there, damaged or not.
    seen: HashSet<String>,
    wanted: Vec<Reference>,
    is_cut: bool,
}

impl Pieces {
    /// Notes a reference to a piece on an electronic medium.
    pub(super) fn refer(&mut self, reference: Reference) {
        if ["02", "03"].contains(&reference.support.as_str()) || reference.id.is_empty() && reference.name.is_empty() {
            return;
        }
        if self.wanted.len() == MOST {
            self.is_cut = true;
            return;
        }
        self.wanted.push(reference);
    }

    /// Makes an attachment of a piece, or tells why there is none.
    pub(super) fn take(&mut self, piece: Piece, reading: &mut Reading) -> Option<Attachment> {
        self.count += 1;
        if self.seen.len() < MOST {
            self.seen.extend([&piece.id, &piece.name].into_iter().filter(|word| !word.is_empty()).cloned());
        }
        let n = self.count;
        let called = if piece.called().is_empty() { format!("PJ {n}") } else { piece.called().to_owned() };
        let why = match piece.content {
            Some(Unpacked::Body(body)) => {
                let name = if piece.name.is_empty() { with_extension(&called, &body) } else { called };
                let media_type = piece.media_type.filter(|kind| !kind.is_empty());
                return Some(Attachment { name, media_type, role: Role::Attachment, readable: false, body });
            }
            Some(Unpacked::Damaged(why)) => why,
            Some(Unpacked::Empty) => text!("it is empty", "elle est vide"),
            None => text!("it has no Fichier", "elle n'a pas de Fichier"),
        };
        if reading.missing.len() < MOST {
            reading.warnings.push(not_taken(&called, &why));
            reading.missing.push(called);
        }
        None
    }

    /// Tells which references lead nowhere.
    pub(super) fn finish(self, reading: &mut Reading) {
        let mut told: HashSet<String> = reading.missing.iter().cloned().collect();
        for Reference { id, name, .. } in self.wanted {
            let (key, called) = (if id.is_empty() { &name } else { &id }, if name.is_empty() { &id } else { &name });
            if !self.seen.contains(key) && told.insert(key.clone()) {
                reading.missing.push(called.clone());
            }
        }
        if self.is_cut {
            reading.warnings.push(text!(
                "more than {MOST} references to pieces: the rest was not looked at",
                "plus de {MOST} références à des pièces : le reste n'a pas été examiné"
            ));
        }
    }
}

fn not_taken(called: &str, why: &Text) -> Text {
    let Text { en, fr } = why;
    text!(
        "the piece {called} could not be taken out of the PES: {en}",
        "la pièce {called} n'a pas pu être extraite du PES : {fr}"
    )
}

/// A name for a piece that has only an identifier, by its first bytes.
fn with_extension(id: &str, body: &Body) -> String {
    let mut head = [0; 8];
    let read = File::open(&body.path).and_then(|mut file| file.read(&mut head)).unwrap_or_default();
    let extension = match &head[..read] {
        [b'%', b'P', b'D', b'F', ..] => "pdf",
        [b'P', b'K', 3, 4, ..] => "zip",
        [0xff, 0xd8, 0xff, ..] => "jpg",
        [0x89, b'P', b'N', b'G', ..] => "png",
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "tif",
        [b'<', ..] | [0xef, 0xbb, 0xbf, b'<', ..] => "xml",
        _ => "bin",
    };
    format!("{id}.{extension}")
}

/// References and names that are kept.
const MOST: usize = 10_000;
