//! Factur-X: the XML of an invoice among the files embedded in its PDF (ISO 32000-1, 7.11.4).
//!
//! Not a PDF library: one that loads documents holds all of their objects, and a crafted file of some megabytes becomes
//! gigabytes in one, before it can be asked anything. Here only the objects on the way from the catalog to the embedded
//! files are read, each bounded, from the file where it lies; the XML goes to the store while it is inflated. Encrypted
//! files hold no Factur-X (PDF/A-3 forbids encryption), and what is damaged or built otherwise is a PDF without XML.

#[cfg(feature = "factur-x")]
mod coding;
#[cfg(feature = "factur-x")]
mod embedded;
#[cfg(feature = "factur-x")]
mod file;
#[cfg(feature = "factur-x")]
mod syntax;

#[cfg(all(test, feature = "factur-x"))]
mod tests;

use std::path::Path;

use super::limits::Budget;
use super::store::Store;
use super::{Attachment, Error};

/// The XML of the invoice inside the PDF at `path`, its bytes in `store`, its name as the PDF has it; `None` for none: no PDF,
/// no such file in it, more than the reader looks at, or a build without the feature `factur-x`.
///
/// Found through `/Names/EmbeddedFiles` or `/AF` of the catalog; its stream may be plain or `FlateDecode`.
///
/// # Errors
/// A limit on what is unpacked; reading, or the store.
#[cfg(feature = "factur-x")]
pub fn embedded(path: &Path, store: &mut dyn Store, budget: &mut Budget) -> Result<Option<Attachment>, Error> {
    let Some(mut pdf) = file::Pdf::open(path)? else { return Ok(None) };
    let Some(found) = embedded::find(&mut pdf)? else { return Ok(None) };
    embedded::take(&mut pdf, found, store, budget)
}

/// Without the feature `factur-x` no PDF is looked into.
#[cfg(not(feature = "factur-x"))]
pub fn embedded(_: &Path, _: &mut dyn Store, _: &mut Budget) -> Result<Option<Attachment>, Error> {
    Ok(None)
}
