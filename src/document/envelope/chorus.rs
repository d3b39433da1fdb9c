//! Chorus Pro: the flows that recipients of invoices get (pivots, mixed deposits, life-cycle statuses), and invoices that
//! come alone as UBL or CII.
//!
//! Not a validator: schemas are no gate, what is known is taken wherever it stands and the rest is passed over. Each form is
//! a table of paths, written as its schema spells them and compared without case, because the field spells them otherwise
//! (`TVAs`, `TVAS`); a document is read once, and its pieces go to the store while they are read.

mod amounts;
mod cii;
mod labels;
mod parties;
mod pieces;
mod pivot;
mod status;
mod ubl;
mod walk;

#[cfg(test)]
mod tests;

use std::io::{self, Read};

use serde_json::Value;

use self::walk::Context;
use super::limits::Budget;
use super::store::Store;
use super::xml::{Event, Root, Xml};
use super::{Error, Reading};
use crate::model::{EnvelopeKind, Role};
use crate::text;

/// What a document of Chorus Pro is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `CPPFacturePivot` or `CPPFactureMixte`, any version, with or without the namespace
    /// `http://chorus-factures.budget.gouv.fr/facture`: invoices with their pieces.
    Pivot,
    /// `CPPStatut`: statuses of invoices or of flows.
    Status,
    /// A UBL `Invoice` or `CreditNote`.
    Ubl,
    /// A `CrossIndustryInvoice` (D16B) or `CrossIndustryDocument` (`ZUGFeRD` 1).
    Cii,
}

impl Form {
    /// Recognises a root; `None` for what is not of Chorus Pro.
    pub fn of(root: &Root) -> Option<Self> {
        let local = root.local.to_ascii_lowercase();
        match local.as_str() {
            "cppfacturepivot" | "cppfacturemixte" => Some(Self::Pivot),
            "cppstatut" => Some(Self::Status),
            "invoice" | "creditnote" if root.namespace.starts_with(UBL) => Some(Self::Ubl),
            "crossindustryinvoice" | "crossindustrydocument" => Some(Self::Cii),
            _ => None,
        }
    }

    /// The role of such a document itself.
    pub fn role(self) -> Role {
        match self {
            Self::Pivot => Role::Pivot,
            Self::Status => Role::Status,
            Self::Ubl | Self::Cii => Role::Invoice,
        }
    }
}

/// Reads a document of Chorus Pro, of which `input` stands at the beginning, to its very end; the pieces in it go to `store`.
///
/// # Errors
/// It is none, it is malformed or exceeds a limit; reading, or the store. What the store has got until then stays there.
pub fn decode(input: &mut dyn Read, root: &Root, store: &mut dyn Store, budget: &mut Budget) -> Result<Reading, Error> {
    let Some(form) = Form::of(root) else {
        let local = text::shown(&root.local, pieces::SHOWN);
        return Err(Error::Refused(text!(
            "<{local}> is no document of Chorus Pro",
            "<{local}> n'est pas un document de Chorus Pro"
        )));
    };
    let mut reading = Reading::new(EnvelopeKind::Chorus, form.role());
    let mut context = Context { reading: &mut reading, store, budget, items: Items::default() };
    let mut xml = Xml::new(input)?;
    loop {
        match xml.next()? {
            Event::Start => break,
            Event::Eof => return Err(Error::Refused(text!("it holds no element", "il ne contient aucun élément"))),
            Event::Text(_) | Event::End => {}
        }
    }
    match form {
        Form::Pivot => pivot::read(&mut xml, &mut context)?,
        Form::Status => status::read(&mut xml, &mut context)?,
        Form::Ubl => ubl::read(&mut xml, &mut context, &root.local)?,
        Form::Cii => cii::read(&mut xml, &mut context)?,
    }
    while !matches!(xml.next()?, Event::Eof) {}
    drop(xml);
    let items = context.items;
    items.close(&mut reading);
    io::copy(input, &mut io::sink()).map_err(Error::Read)?;
    Ok(reading)
}

/// The list `items` of the index: one object for each invoice or status.
#[derive(Default)]
struct Items {
    list: Vec<Value>,
    bytes: usize,
    left_out: usize,
}

impl Items {
    /// One more, unless there are too many already.
    fn add(&mut self, item: serde_json::Map<String, Value>) {
        let item = Value::Object(item);
        let bytes = item.to_string().len();
        if self.list.len() == MOST_ITEMS || self.bytes + bytes > ITEM_BYTES {
            self.left_out += 1;
            return;
        }
        self.bytes += bytes;
        self.list.push(item);
    }

    fn close(self, reading: &mut Reading) {
        let left_out = self.left_out;
        if left_out > 0 {
            reading.warnings.push(text!(
                "{left_out} invoices or statuses are not in the list items of the index, which is full; their values and files are there",
                "{left_out} factures ou statuts ne figurent pas dans la liste items de l'index, qui est pleine ; leurs valeurs et leurs fichiers y sont"
            ));
        }
        if !self.list.is_empty() {
            reading.values.set_object("items", Value::Array(self.list));
        }
    }
}

/// Namespaces of OASIS UBL: `…:Invoice-2`, `…:CreditNote-2`.
const UBL: &str = "urn:oasis:names:specification:ubl:schema:xsd:";
/// Objects in `items`.
const MOST_ITEMS: usize = 2_000;
/// Bytes of all of them.
const ITEM_BYTES: usize = 4 << 20;
