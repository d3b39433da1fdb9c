//! Pieces inside a document: base64 of gzip, of a ZIP with one entry, or of the file itself.

use std::io::Read;

use super::Error;
use super::limits::Budget;
use super::store::{Body, Store};
use crate::text::Text;

/// What a piece turned out to be.
#[derive(Debug)]
pub enum Unpacked {
    /// Its bytes.
    Body(Body),
    /// It cannot be decoded; nothing of it is left in the store.
    Damaged(Text),
    /// There is nothing in it.
    Empty,
}

/// Decodes base64 and unpacks one level of gzip or ZIP.
pub fn unpack(_text: &mut dyn Read, _store: &mut dyn Store, _budget: &mut Budget) -> Result<Unpacked, Error> {
    todo!()
}
