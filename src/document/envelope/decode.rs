//! From the files of a deposit to what their decoders say: the metadata file, every XML of a family, the XML inside a PDF.
//!
//! Not the assembly: roles, order and what is missing come after all documents have been read.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use super::gather::{Gathered, Piece, gather};
use super::limits::{Budget, Limits};
use super::pastell::{self, Metadata};
use super::recognise::{self, Family, MOST_NOTES, NOTE, What};
use super::store::{BodyWriter, Store};
use super::xml::{self, Root};
use super::{Deposit, Envelope, Error, Reading, actes, assemble, chorus, facturx, helios, named, webdelib};
use crate::model::{EnvelopeKind, Role};
use crate::text;
use crate::text::Text;

/// See [`super::decode`].
pub(super) fn decode(
    deposit: &Deposit,
    limits: &Limits,
    aliases: &[(String, EnvelopeKind)],
    store: &mut dyn Store,
) -> Result<Envelope, Error> {
    let budget = RefCell::new(Budget::new(*limits));
    let Gathered { mut pieces, mut warnings } = gather(deposit, &budget, store)?;
    let note = notes(&pieces, &mut warnings)?;
    let metadata = note.as_ref().map(|(_, metadata)| metadata);
    let mut budget = budget.into_inner();
    let mut families = Vec::new();
    for piece in &mut pieces {
        families.extend(read(piece, metadata, store, &mut budget)?);
    }
    together(&mut pieces);
    invoices(&mut pieces, metadata, &mut families, store, &mut budget, &mut warnings)?;
    let Some(kind) = recognise::kind(&families, metadata, aliases) else {
        let names: Vec<&str> = pieces.iter().map(|piece| piece.name.as_str()).collect();
        return Err(Error::Refused(with_warnings(recognise::nothing(&names), &warnings)));
    };
    if let Some(said) = metadata.and_then(|metadata| metadata.envelope_kind(aliases)).filter(|said| *said != kind) {
        let (said, kind) = (said.as_str(), kind.as_str());
        warnings.push(text!(
            "the metadata file says {said}, the files are {kind}: they count",
            "le fichier de métadonnées dit {said}, les fichiers sont {kind} : ce sont eux qui comptent"
        ));
    }
    assemble::assemble(kind, pieces, note.as_ref(), warnings, store)
}

/// The metadata file, and which piece it is.
fn notes(pieces: &[Piece], warnings: &mut Vec<Text>) -> Result<Option<(String, Metadata)>, Error> {
    let mut found = Vec::new();
    let mut candidates: Vec<&Piece> = pieces.iter().filter(|piece| matches!(piece.what, What::Note)).collect();
    candidates.sort_by_key(|piece| !piece.name.to_lowercase().contains("metadata"));
    for piece in candidates.into_iter().take(MOST_NOTES) {
        let mut bytes = Vec::new();
        let file = File::open(&piece.path).map_err(Error::Read)?;
        file.take(NOTE + 1).read_to_end(&mut bytes).map_err(Error::Read)?;
        if bytes.len() as u64 > NOTE {
            continue;
        }
        match pastell::parse(&piece.name, &bytes) {
            Some(Ok(metadata)) => found.push((piece.name.clone(), metadata)),
            Some(Err(Text { en, fr })) => {
                let name = &piece.name;
                warnings.push(text!("{name}: {en}", "{name} : {fr}"));
            }
            None => {}
        }
    }
    let members: Vec<&str> = pieces.iter().map(|piece| piece.name.as_str()).collect();
    let chosen = recognise::metadata(&found, &members).map(|(name, _)| name.clone());
    Ok(found.into_iter().find(|(name, _)| chosen.as_ref() == Some(name)))
}

/// Decodes a document of a family, and copies it into the store on the way.
fn read(
    piece: &mut Piece,
    metadata: Option<&Metadata>,
    store: &mut dyn Store,
    budget: &mut Budget,
) -> Result<Option<Family>, Error> {
    let (family, root) = match &piece.what {
        What::Refused(_) | What::Known(..) if recognise::is_aside(metadata, &piece.name) => return Ok(None),
        What::Refused(why) => return Err(named(&piece.name, Error::Refused(why.clone()))),
        What::Known(Family::Budget, _) => return Ok(Some(Family::Budget)),
        What::Known(family, root) => (*family, root.clone()),
        _ => return Ok(None),
    };
    let copy = if piece.body.is_none() { Some(store.create().map_err(Error::Store)?) } else { None };
    let file = BufReader::new(File::open(&piece.path).map_err(Error::Read)?);
    let mut input = Tee { input: file, copy, failed: None };
    let read = document(family, &mut input, &root, &piece.name, store, budget);
    let rest = io::copy(&mut input, &mut io::sink());
    if let Some(error) = input.failed {
        return Err(Error::Store(error));
    }
    piece.reading = Some(read.map_err(|error| named(&piece.name, error))?);
    rest.map_err(Error::Read)?;
    if let Some(writer) = input.copy {
        piece.body = Some(writer.finish().map_err(Error::Store)?);
    }
    Ok(Some(family))
}

fn document(
    family: Family,
    input: &mut dyn Read,
    root: &Root,
    name: &str,
    store: &mut dyn Store,
    budget: &mut Budget,
) -> Result<Reading, Error> {
    match family {
        Family::Actes => actes::decode(input, root, name),
        Family::Helios => helios::decode(input, root, store, budget),
        Family::Chorus => chorus::decode(input, root, store, budget),
        Family::Webdelib => webdelib::decode(input, root),
        Family::Budget => Ok(Reading::new(EnvelopeKind::Actes, Role::Document)),
    }
}

/// What only all messages of ACTES together tell.
fn together(pieces: &mut [Piece]) {
    let is_acte = |piece: &Piece| matches!(piece.what, What::Known(Family::Actes, _)) && piece.reading.is_some();
    let places: Vec<usize> = (0..pieces.len()).filter(|at| is_acte(&pieces[*at])).collect();
    let take = |at: &usize| {
        let piece = &mut pieces[*at];
        piece.reading.take().map(|reading| (piece.name.clone(), reading))
    };
    let mut readings: Vec<(String, Reading)> = places.iter().filter_map(take).collect();
    actes::complete(&mut readings);
    for (at, (_, reading)) in places.into_iter().zip(readings) {
        pieces[at].reading = Some(reading);
    }
}

/// The XML inside PDF files, where no document says what they are.
fn invoices(
    pieces: &mut [Piece],
    metadata: Option<&Metadata>,
    families: &mut Vec<Family>,
    store: &mut dyn Store,
    budget: &mut Budget,
    warnings: &mut Vec<Text>,
) -> Result<(), Error> {
    let others = |piece: &Piece| match &piece.reading {
        Some(reading) => reading.kind != EnvelopeKind::Chorus || reading.role == Role::Pivot,
        None => false,
    };
    let said = metadata.and_then(|metadata| metadata.envelope_kind(&[]));
    if pieces.iter().any(others) || said.is_some_and(|said| said != EnvelopeKind::Chorus) {
        return Ok(());
    }
    let is_pdf = |piece: &&mut Piece| matches!(piece.what, What::Pdf);
    for piece in pieces.iter_mut().filter(is_pdf).take(MOST_PDFS) {
        match invoice(piece, store, budget) {
            Ok(None) => {}
            Ok(Some(reading)) => {
                piece.reading = Some(reading);
                families.push(Family::Chorus);
            }
            Err(Error::Refused(Text { en, fr })) => {
                let name = &piece.name;
                warnings.push(text!(
                    "{name}: the XML inside is not read: {en}",
                    "{name} : le XML qu'il contient n'est pas lu : {fr}"
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn invoice(piece: &Piece, store: &mut dyn Store, budget: &mut Budget) -> Result<Option<Reading>, Error> {
    let Some(inside) = facturx::embedded(&piece.path, store, budget)? else { return Ok(None) };
    let file = || File::open(&inside.body.path).map_err(Error::Store);
    let Some(root) = xml::sniff(&mut file()?)? else { return Ok(None) };
    if Family::of(&root) != Some(Family::Chorus) {
        store.discard(&inside.body);
        return Ok(None);
    }
    let mut reading = chorus::decode(&mut BufReader::new(file()?), &root, store, budget)?;
    reading.role = Role::Invoice;
    reading.readable = true;
    reading.attachments.insert(0, inside);
    Ok(Some(reading))
}

/// A reason with what was noticed before: a damaged archive is often why nothing is recognised.
fn with_warnings(reason: Text, warnings: &[Text]) -> Text {
    warnings.iter().take(3).fold(reason, |reason, warning| Text {
        en: format!("{}; {}", reason.en, warning.en).into(),
        fr: format!("{} ; {}", reason.fr, warning.fr).into(),
    })
}

/// Copies what is read, so that a file that is read in place is read once.
struct Tee<R> {
    input: R,
    copy: Option<Box<dyn BodyWriter>>,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        let Some(copy) = &mut self.copy else { return Ok(count) };
        if let Err(error) = copy.write_all(&buffer[..count]) {
            self.failed.get_or_insert(error);
            return Err(io::Error::other("the copy cannot be written"));
        }
        Ok(count)
    }
}

/// PDF files of a deposit that are looked into.
const MOST_PDFS: usize = 200;
