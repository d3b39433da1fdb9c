//! Factur-X: the XML of an invoice among the files embedded in its PDF.

use std::path::Path;

use super::limits::Budget;
use super::store::Store;
use super::{Attachment, Error};

/// The XML inside a PDF; `None` for none.
#[allow(unused_variables)]
pub fn embedded(path: &Path, store: &mut dyn Store, budget: &mut Budget) -> Result<Option<Attachment>, Error> {
    Ok(None)
}
