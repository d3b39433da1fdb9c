//! PES V2: what local authorities and their accountants send each other through Helios.

use std::io::Read;

use super::limits::Budget;
use super::store::Store;
use super::xml::Root;
use super::{Error, Reading};

/// Decodes a PES, an acquit or a return; reads `input` to its very end.
pub fn decode(
    _input: &mut dyn Read,
    _root: &Root,
    _store: &mut dyn Store,
    _budget: &mut Budget,
) -> Result<Reading, Error> {
    todo!()
}
