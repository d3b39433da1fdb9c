//! The files embedded in a PDF: from its catalog through `/AF` and `/Names/EmbeddedFiles` to the stream of the invoice.

use std::collections::HashSet;
use std::io::{self, Read, Write as _};

use flate2::read::ZlibDecoder;

use super::coding::{Coding, coding};
use super::file::{Found, Pdf};
use super::syntax::{Dictionary, Object, text};
use crate::document::envelope::limits::{Budget, Flow};
use crate::document::envelope::store::Store;
use crate::document::envelope::{Attachment, Error};
use crate::model::Role;

/// The XML of an invoice, not read yet.
pub(super) struct Invoice {
    name: String,
    stream: Found,
}

/// Looks for a file of one of the [`NAMES`].
///
/// # Errors
/// Reading.
pub(super) fn find(pdf: &mut Pdf) -> Result<Option<Invoice>, Error> {
    let Some(catalog) = pdf.catalog()? else { return Ok(None) };
    let Some(catalog) = catalog.dictionary() else { return Ok(None) };
    if let Some(Object::Array(files)) = get(pdf, catalog, "AF")?.map(|found| found.object) {
        for file in files.iter().take(MOST_FILES) {
            if let Some(invoice) = specification(pdf, file)? {
                return Ok(Some(invoice));
            }
        }
    }
    let Some(names) = get(pdf, catalog, "Names")? else { return Ok(None) };
    let Some(root) = names.dictionary().and_then(|names| names.get("EmbeddedFiles")) else { return Ok(None) };
    tree(pdf, root.clone())
}

/// Walks a name tree (7.9.6), each node once.
fn tree(pdf: &mut Pdf, root: Object) -> Result<Option<Invoice>, Error> {
    let (mut open, mut seen) = (vec![root], HashSet::new());
    let mut nodes = 0;
    while let Some(node) = open.pop() {
        nodes += 1;
        let is_new = if let Object::Reference(number) = node { seen.insert(number) } else { true };
        if !is_new || nodes > MOST_FILES {
            continue;
        }
        let Some(node) = pdf.resolve(&node)? else { continue };
        let Some(node) = node.dictionary() else { continue };
        if let Some(Object::Array(names)) = get(pdf, node, "Names")?.map(|found| found.object) {
            for file in names.iter().skip(1).step_by(2).take(MOST_FILES) {
                if let Some(invoice) = specification(pdf, file)? {
                    return Ok(Some(invoice));
                }
            }
        }
        if let Some(Object::Array(kids)) = get(pdf, node, "Kids")?.map(|found| found.object) {
            open.extend(kids.into_iter().take(MOST_FILES - open.len().min(MOST_FILES)).rev());
        }
    }
    Ok(None)
}

/// A file specification (7.11.3) that names an invoice and holds it.
fn specification(pdf: &mut Pdf, file: &Object) -> Result<Option<Invoice>, Error> {
    let Some(file) = pdf.resolve(file)? else { return Ok(None) };
    let Some(file) = file.dictionary() else { return Ok(None) };
    let mut name = None;
    for key in ["UF", "F"] {
        if let Some(Object::Text(bytes)) = get(pdf, file, key)?.map(|found| found.object) {
            let written = text(&bytes).trim().to_owned();
            name = name.or(Some(written).filter(|own| NAMES.iter().any(|known| own.eq_ignore_ascii_case(known))));
        }
    }
    let Some(name) = name else { return Ok(None) };
    let Some(streams) = get(pdf, file, "EF")? else { return Ok(None) };
    for key in ["F", "UF"] {
        let Some(streams) = streams.dictionary() else { break };
        if let Some(stream) = get(pdf, streams, key)?.filter(|found| found.stream.is_some()) {
            return Ok(Some(Invoice { name, stream }));
        }
    }
    Ok(None)
}

fn get(pdf: &mut Pdf, dictionary: &Dictionary, key: &str) -> Result<Option<Found>, Error> {
    dictionary.get(key).map_or(Ok(None), |value| pdf.resolve(value))
}

/// Takes it out; `None` for one that is damaged or coded in a way that nobody uses.
///
/// # Errors
/// A limit on what is unpacked; reading, or the store.
pub(super) fn take(
    pdf: &mut Pdf,
    invoice: Invoice,
    store: &mut dyn Store,
    budget: &mut Budget,
) -> Result<Option<Attachment>, Error> {
    let Invoice { name, stream } = invoice;
    let (Some(dictionary), Some(at)) = (stream.dictionary(), stream.stream) else { return Ok(None) };
    let coding = coding(dictionary);
    let length = match get(pdf, dictionary, "Length")?.map(|found| found.object) {
        Some(Object::Number(length)) => u64::try_from(length).ok(),
        _ => None,
    };
    budget.entry()?;
    let mut writer = store.create().map_err(Error::Store)?;
    let mut copy = Copy { budget, flow: Flow::default() };
    let is_whole = match (coding, length) {
        // it knows its own end, better than a length that may be wrong
        (Some(Coding::Deflated), _) => {
            let mut inflate = ZlibDecoder::new(pdf.raw(at)?);
            copy.all(&mut inflate, ZlibDecoder::total_in, &mut |bytes| writer.write_all(bytes))?
        }
        (Some(Coding::Plain), Some(length)) => {
            let mut plain = pdf.raw(at)?.take(length);
            copy.all(&mut plain, |plain| length - plain.limit(), &mut |bytes| writer.write_all(bytes))?
        }
        _ => false,
    };
    if !is_whole || copy.flow.unpacked == 0 {
        return Ok(None);
    }
    let body = writer.finish().map_err(Error::Store)?;
    Ok(Some(Attachment { name, media_type: Some("text/xml".to_owned()), role: Role::Invoice, readable: false, body }))
}

/// Copies against the budget.
struct Copy<'a> {
    budget: &'a mut Budget,
    flow: Flow,
}

impl Copy<'_> {
    /// `packed` says how much of `input` has been read. `false` for what is damaged.
    fn all<R: Read>(
        &mut self,
        input: &mut R,
        packed: impl Fn(&R) -> u64,
        write: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<bool, Error> {
        let mut bytes = vec![0; PIECE];
        loop {
            let count = match input.read(&mut bytes) {
                Ok(0) => return Ok(true),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.raw_os_error().is_some() => return Err(Error::Read(error)),
                Err(_) => return Ok(false),
            };
            self.budget.unpack(&mut self.flow, packed(input), count as u64)?;
            write(&bytes[..count]).map_err(Error::Store)?;
        }
    }
}

/// What the XML of an invoice is called: Factur-X and `ZUGFeRD` 2.1, `ZUGFeRD` 1 and 2.0, `XRechnung`. Not
/// `order-x.xml`, which is an order.
const NAMES: [&str; 3] = ["factur-x.xml", "zugferd-invoice.xml", "xrechnung.xml"];
/// Files, and nodes of their tree, that are looked at.
const MOST_FILES: usize = 512;
const PIECE: usize = 64 << 10;
