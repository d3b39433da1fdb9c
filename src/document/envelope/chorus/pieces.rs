//! The pieces of an invoice: files in base64 inside its XML.
//!
//! A piece is unpacked when its content comes by, which is before its name does; what it is called, what it is for and
//! whether a person should be shown it is known once its element ends.

use std::fs::File;
use std::io::Read;
use std::ops::Range;

use super::walk::Context;
use crate::document::envelope::store::Body;
use crate::document::envelope::unpack::{Unpacked, unpack};
use crate::document::envelope::xml::Xml;
use crate::document::envelope::{Attachment, Error};
use crate::model::Role;
use crate::text;
use crate::text::{Text, shown};

/// A piece that is being read.
pub(super) struct Piece {
    /// As written; empty for none.
    pub(super) name: String,
    /// What it is called where it has no name: an identifier.
    pub(super) id: String,
    pub(super) media_type: String,
    pub(super) is_invoice: bool,
    content: Option<Unpacked>,
}

impl Piece {
    /// One more piece, with a content or without.
    pub(super) fn begin(context: &mut Context<'_>) -> Result<Self, Error> {
        context.budget.entry()?;
        let (name, id, media_type) = (String::new(), String::new(), String::new());
        Ok(Self { name, id, media_type, is_invoice: false, content: None })
    }

    /// Unpacks the element that just began, to its end. Of several contents the last one counts.
    pub(super) fn unpack(&mut self, xml: &mut Xml<'_>, context: &mut Context<'_>) -> Result<(), Error> {
        let content = unpack(&mut xml.body(), context.store, context.budget)?;
        xml.skip()?;
        if let Some(Unpacked::Body(before)) = self.content.replace(content) {
            context.store.discard(&before);
        }
        Ok(())
    }

    /// Its element has ended: it is an attachment, or missing. `invoice` is the number of the invoice, for the warning.
    pub(super) fn close(self, invoice: &str, context: &mut Context<'_>) -> Result<(), Error> {
        let reading = &mut *context.reading;
        let n = reading.attachments.len() + reading.missing.len() + 1;
        let known = [&self.name, &self.id].into_iter().find(|name| !name.is_empty()).cloned();
        let body = match self.content {
            Some(Unpacked::Body(body)) => body,
            content => {
                let name = known.unwrap_or_else(|| format!("piece-{n}"));
                reading.warnings.push(lost(&name, invoice, content));
                reading.missing.push(name);
                return Ok(());
            }
        };
        let name = if self.name.is_empty() {
            let stem = if self.id.is_empty() { format!("piece-{n}") } else { self.id };
            format!("{stem}.{}", extension(&start(&body)?))
        } else {
            self.name
        };
        let role = if self.is_invoice { Role::Invoice } else { Role::Attachment };
        let media_type = Some(self.media_type).filter(|kind| !kind.is_empty());
        reading.attachments.push(Attachment { name, media_type, role, readable: false, body });
        Ok(())
    }
}

/// Marks what a person should be shown of the pieces of one invoice: the first PDF of type 01, else the first PDF of
/// type 02 whose name begins with `PJ00` (Pastell's rule), else none.
pub(super) fn mark_readable(attachments: &mut [Attachment], of_invoice: Range<usize>) -> Result<(), Error> {
    let Some(pieces) = attachments.get_mut(of_invoice) else { return Ok(()) };
    for (role, prefix) in [(Role::Invoice, ""), (Role::Attachment, "PJ00")] {
        for piece in &mut *pieces {
            if piece.role == role && piece.name.starts_with(prefix) && is_pdf(piece)? {
                piece.readable = true;
                return Ok(());
            }
        }
    }
    Ok(())
}

fn is_pdf(piece: &Attachment) -> Result<bool, Error> {
    let named = piece.name.rsplit_once('.').is_some_and(|(_, end)| end.trim().eq_ignore_ascii_case("pdf"));
    Ok(named || extension(&start(&piece.body)?) == "pdf")
}

/// The first bytes of a body.
fn start(body: &Body) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = File::open(&body.path).map_err(Error::Store)?;
    file.take(START).read_to_end(&mut bytes).map_err(Error::Store)?;
    Ok(bytes)
}

fn extension(start: &[u8]) -> &'static str {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let magic = MAGIC.iter().find(|(magic, _)| start.starts_with(magic) || text.starts_with(magic));
    magic.map_or("bin", |(_, end)| end)
}

fn lost(name: &str, invoice: &str, content: Option<Unpacked>) -> Text {
    let damage = match content {
        Some(Unpacked::Damaged(why)) => why,
        Some(_) => text!("there is nothing in it", "elle est vide"),
        None => text!("its content is not there", "son contenu est absent"),
    };
    let Text { en, fr } = damage;
    let (name, invoice) = (shown(name, SHOWN), shown(invoice, SHOWN));
    text!(
        "piece {name} of invoice {invoice} cannot be taken out: {en}. Ask its sender for it",
        "la pièce {name} de la facture {invoice} ne peut pas être extraite : {fr}. La demander à l'émetteur"
    )
}

pub(super) const SHOWN: usize = 80;
const START: u64 = 64;
const MAGIC: [(&[u8], &str); 9] = [
    (b"%PDF", "pdf"),
    (b"PK\x03\x04", "zip"),
    (b"\x89PNG", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"{\\rtf", "rtf"),
    (b"<", "xml"),
];
