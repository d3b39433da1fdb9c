//! PES V2: what local authorities and their accountants send each other through Helios.
//!
//! Read once, as a stream: a PES may have 500 MB, nearly all of it pieces in base64, and each goes to the store while it
//! is read. Values are found by the name of their element and of its parent, not by whole paths, because the variants of
//! real files (a title without `InfoPce`, a return with `InfoPiece`) differ in what stands between. The PES itself is not
//! written again: it is delivered as it came, or its signature would be void.

mod items;
mod keys;
mod pieces;

use std::io::Read;

use self::items::Items;
use self::pieces::{Pieces, Reference};
use super::limits::Budget;
use super::store::Store;
use super::xml::{Event, Root, Xml};
use super::{Error, Reading};
use crate::model::{EnvelopeKind, Role};
use crate::text;
use crate::text::Text;

/// What a flow is, told by its root (XSD `PES_Aller`, `PES_V2_Acquit_Autonome`, `PES_Retour`, `PES_V2_Acquit_Retour`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// `PES_Aller`: to the accountant.
    Aller,
    /// `PES_Retour`: from the accountant.
    Retour,
    /// `PES_ACQUIT`, of both versions: the answer to an aller.
    Acquit,
    /// `PES_ACQUIT_RETOUR`: the answer to a return.
    AcquitRetour,
    /// `PES_NonAcquit`: an aller that was not taken at all.
    NonAcquit,
}

impl Flow {
    /// What `root` begins; case and the base of the namespace do not matter, since programs differ in both.
    pub fn of(root: &Root) -> Option<Self> {
        let is_pes = root.namespace.is_empty() || root.namespace.to_ascii_lowercase().contains("pes_v2");
        match root.local.to_ascii_lowercase().as_str() {
            "pes_aller" => Some(Self::Aller),
            "pes_retour" => Some(Self::Retour),
            "pes_acquit" => Some(Self::Acquit),
            "pes_acquit_retour" => Some(Self::AcquitRetour),
            "pes_nonacquit" | "pes_non_acquit" => Some(Self::NonAcquit),
            _ => None,
        }
        .filter(|_| is_pes || !root.namespace.starts_with("http://www.w3.org/"))
    }

    fn is_pes(self) -> bool {
        matches!(self, Self::Aller | Self::Retour)
    }
}

/// Decodes a PES, an acquit or a return; reads `input` to its very end.
///
/// # Errors
/// [`Error::Refused`] for what is malformed, no PES, or over a limit, [`Error::Read`] and [`Error::Store`]. What was
/// taken out until then is discarded.
pub fn decode(input: &mut dyn Read, root: &Root, store: &mut dyn Store, budget: &mut Budget) -> Result<Reading, Error> {
    let Some(flow) = Flow::of(root) else {
        let Root { namespace, local, .. } = root;
        return Err(Error::Refused(text!(
            "<{local}> of \"{namespace}\" is no PES",
            "<{local}> de « {namespace} » n'est pas un PES"
        )));
    };
    let mut decoder = Decoder::new(flow);
    match decoder.read(input, store, budget) {
        Ok(()) => Ok(decoder.finish()),
        Err(error) => {
            decoder.reading.attachments.iter().for_each(|attachment| store.discard(&attachment.body));
            Err(error)
        }
    }
}

/// What has been read so far.
struct Decoder {
    flow: Flow,
    reading: Reading,
    pieces: Pieces,
    items: Items,
    is_signed: bool,
    /// Elements `EtatAck` that are not 1.
    refused: bool,
    /// Bytes of values that have been kept.
    kept: usize,
    is_cut: bool,
}

impl Decoder {
    fn new(flow: Flow) -> Self {
        let role = if flow.is_pes() { Role::Pes } else { Role::Receipt };
        Self {
            flow,
            reading: Reading::new(EnvelopeKind::Helios, role),
            pieces: Pieces::default(),
            items: Items::default(),
            is_signed: false,
            refused: flow == Flow::NonAcquit,
            kept: 0,
            is_cut: false,
        }
    }

    fn read(&mut self, input: &mut dyn Read, store: &mut dyn Store, budget: &mut Budget) -> Result<(), Error> {
        let mut xml = Xml::new(input)?;
        loop {
            match xml.next()? {
                Event::Start => self.start(&mut xml, store, budget)?,
                Event::End => self.items.end(xml.path()),
                Event::Text(_) => {}
                Event::Eof => return Ok(()),
            }
        }
    }

    fn start(&mut self, xml: &mut Xml<'_>, store: &mut dyn Store, budget: &mut Budget) -> Result<(), Error> {
        if xml.local() == "Signature" && xml.namespace().contains("xmldsig") {
            self.is_signed = true;
            return xml.skip();
        }
        match xml.path() {
            [_, block] => {
                if let Some((domain, label)) = keys::domain(block) {
                    self.add("domaine", domain);
                    self.add("domaine_libelle", label);
                }
            }
            [.., parent, piece] if parent == "PES_PJ" && piece == "PJ" => return self.piece(xml, store, budget),
            _ => {}
        }
        if xml.local() == "PJRef" {
            self.pieces.refer(Reference::read(xml)?);
            return Ok(());
        }
        self.items.start(xml.path());
        if let Some(key) = keys::key(xml.path())
            && let Some(value) = xml.attribute("V")
        {
            let value = keys::value(key, value);
            self.add(key, &value);
            self.items.add(key, &value);
        } else if xml.local() == "EtatAck" {
            self.refused |= xml.attribute("V").is_some_and(|state| state.trim() != "1");
        }
        Ok(())
    }

    /// A piece from its start to its end: its content stands in front of its name.
    fn piece(&mut self, xml: &mut Xml<'_>, store: &mut dyn Store, budget: &mut Budget) -> Result<(), Error> {
        budget.entry()?;
        let mut piece = pieces::Piece::default();
        let read = piece.read(xml, store, budget, &mut |key, value| self.add(key, value));
        let attachment = self.pieces.take(piece, &mut self.reading);
        self.reading.attachments.extend(attachment);
        read
    }

    /// Keeps a value of the index, as long as all of them together stay small.
    fn add(&mut self, key: &str, value: &str) {
        let values = &mut self.reading.values;
        if self.kept > MOST_KEPT {
            self.is_cut = true;
            return;
        }
        let before = values.all(key).len();
        values.add(key, value);
        if values.all(key).len() > before {
            self.kept += key.len() + 2 * value.len();
        }
    }

    fn finish(mut self) -> Reading {
        if self.flow.is_pes() {
            self.reading.values.add("signe", if self.is_signed { "1" } else { "0" });
        } else {
            let (state, label) = if self.refused { ("2", "refusé") } else { ("1", "accepté") };
            self.reading.values.add("etat_ack", state);
            self.reading.values.add("etat_ack_libelle", label);
        }
        self.pieces.finish(&mut self.reading);
        if self.is_cut {
            self.reading.warnings.push(too_many_values());
        }
        if let Some(items) = self.items.finish() {
            self.reading.values.set_object("items", items);
        }
        self.reading
    }
}

fn too_many_values() -> Text {
    text!(
        "the flow holds more values than the index keeps ({MOST_KEPT} bytes): the rest is left out",
        "le flux contient plus de valeurs que l'index n'en garde ({MOST_KEPT} octets) : le reste est omis"
    )
}

/// Bytes of values that are kept of one flow.
const MOST_KEPT: usize = 8 << 20;

#[cfg(test)]
mod tests;
