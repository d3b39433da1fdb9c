//! From decoded documents to an envelope: which files are delivered, in which order and role, what is announced and
//! absent, and the values of the index.
//!
//! Two sources announce files: the documents themselves, and the metadata file of Pastell. The documents come first: what
//! a message calls its annexe is one, whatever the field of the deposit.

mod files;
mod values;

use std::collections::HashSet;

use super::gather::Piece;
use super::pastell::{self, Metadata};
use super::recognise::What;
use super::store::Store;
use super::{Envelope, Error, Reading};
use crate::model::{EnvelopeKind, Role};
use crate::text;
use crate::text::Text;

use self::files::{Files, Names};

/// Puts the envelope together.
///
/// # Errors
/// There is no file to deliver; the files that are copied now, and the store.
pub(super) fn assemble(
    kind: EnvelopeKind,
    mut pieces: Vec<Piece>,
    note: Option<&(String, Metadata)>,
    mut warnings: Vec<Text>,
    store: &mut dyn Store,
) -> Result<Envelope, Error> {
    let metadata = note.map(|(_, metadata)| metadata);
    let note_name = note.map(|(name, _)| name.as_str());
    let mut found = find(&pieces, metadata, note_name);
    if let Some(at) = shown(kind, &pieces, &found) {
        found.pieces[at].readable = true;
    }
    let mut files = Files::new(pieces.len());
    let mut readings = Vec::new();
    for at in order(kind, &pieces, &found) {
        let reading = pieces[at].reading.take();
        if let Some(mut reading) = reading {
            files.piece(&mut pieces[at], &found.pieces[at], Some(&reading), store)?;
            for attachment in std::mem::take(&mut reading.attachments) {
                files.attachment(attachment, store);
            }
            readings.push(reading);
        } else {
            files.piece(&mut pieces[at], &found.pieces[at], None, store)?;
        }
    }
    pieces.iter().filter_map(|piece| piece.body.as_ref()).for_each(|body| files.discard(body, store));
    for reading in &mut readings {
        warnings.append(&mut reading.warnings);
    }
    let missing = missing(&found, &readings, &files);
    if files.is_empty() {
        return Err(Error::Refused(no_file(&missing)));
    }
    let metadata = values::index(kind, readings, metadata, &mut warnings);
    Ok(Envelope { kind, metadata, files: files.into_list(), missing, warnings })
}

/// What announces a piece.
#[derive(Debug, Default)]
struct Mark {
    /// What it is said to be.
    role: Option<Role>,
    /// The name under which it is listed, where the one it has is Pastell's own.
    name: Option<String>,
    /// It is the metadata file, or an archive that nothing lists and of which the entries are delivered.
    left_out: bool,
    /// Of an invoice, what a person should be shown.
    readable: bool,
}

/// What is announced, and where it is.
struct Found {
    /// For each piece.
    pieces: Vec<Mark>,
    /// For each piece, the pieces that its reading announces, in order.
    announced: Vec<Vec<usize>>,
    /// The pieces that the metadata file lists, in order.
    listed: Vec<usize>,
    /// Announced names that are not there.
    absent: Vec<String>,
}

/// Looks for all that is announced.
fn find(pieces: &[Piece], metadata: Option<&Metadata>, note: Option<&str>) -> Found {
    let marks = pieces.iter().map(|_| Mark::default()).collect();
    let announced = pieces.iter().map(|_| Vec::new()).collect();
    let mut found = Found { pieces: marks, announced, listed: Vec::new(), absent: Vec::new() };
    let mut names = Names::of(pieces);
    for (at, piece) in pieces.iter().enumerate() {
        for announced in piece.reading.iter().flat_map(|reading| &reading.announced) {
            let Some(place) = names.take(&announced.name) else {
                found.absent.push(announced.name.clone());
                continue;
            };
            found.pieces[place].role.get_or_insert_with(|| announced.role.clone());
            found.announced[at].push(place);
        }
    }
    if let Some(metadata) = metadata {
        list(pieces, metadata, &names, &mut found);
    }
    for (mark, piece) in found.pieces.iter_mut().zip(pieces) {
        mark.left_out = (mark.role.is_none() && piece.opened) || (is_note(piece) && note == Some(&piece.name));
        if piece.opened {
            mark.role = Some(Role::Envelope);
        }
    }
    found
}

/// Of the invoice that only a metadata file describes, the file that a person should be shown, by the rule for the pieces
/// of a pivot.
fn shown(kind: EnvelopeKind, pieces: &[Piece], found: &Found) -> Option<usize> {
    let mut roles = pieces.iter().filter_map(|piece| piece.reading.as_ref()).map(|reading| &reading.role);
    if kind != EnvelopeKind::Chorus || roles.any(|role| matches!(role, Role::Pivot | Role::Invoice)) {
        return None;
    }
    let first = |is: &dyn Fn(usize, &Role) -> bool| {
        let mut pdfs = found.listed.iter().copied().filter(|at| matches!(pieces[*at].what, What::Pdf));
        pdfs.find(|at| found.pieces[*at].role.as_ref().is_some_and(|role| is(*at, role)))
    };
    let name = |at: usize| found.pieces[at].name.as_ref().unwrap_or(&pieces[at].name);
    let invoice = first(&|_, role| *role == Role::Invoice);
    let invoice = invoice.or_else(|| first(&|_, role| *role == Role::Field("fichier_facture_pdf".into())));
    invoice.or_else(|| first(&|at, role| *role == Role::Attachment && name(at).starts_with("PJ00")))
}

/// What the metadata file lists.
fn list(pieces: &[Piece], metadata: &Metadata, names: &Names, found: &mut Found) {
    let mut taken = vec![false; pieces.len()];
    // a stranger's list may be as long as the file; past this, only names as they stand are looked up
    let mut looks = MOST_LOOKS;
    for listed in &metadata.files {
        let is_it = |at: &usize| metadata.matches(listed, &pieces[*at].name);
        let mut place = names.all(&listed.name).iter().copied().find(|at| !taken[*at]);
        if place.is_none() && looks > 0 {
            looks = looks.saturating_sub(pieces.len());
            place = (0..pieces.len()).find(|at| !taken[*at] && is_it(at)).or_else(|| (0..pieces.len()).find(is_it));
        }
        // one file under two fields is one file
        let Some(place) = place.or_else(|| names.all(&listed.name).first().copied()) else {
            found.absent.push(listed.original.clone().unwrap_or_else(|| listed.name.clone()));
            continue;
        };
        taken[place] = true;
        let mark = &mut found.pieces[place];
        let role = pastell::role(&listed.field);
        if mark.role.as_ref().is_none_or(|role| matches!(role, Role::Field(_))) {
            mark.role = Some(role);
        }
        let own = format!(".yml_{}_{}", listed.field, listed.n);
        if mark.name.is_none() && pieces[place].name.ends_with(&own) {
            let original = listed.original.as_ref().unwrap_or(&listed.name);
            mark.name = Some(original.clone()).filter(|name| !name.ends_with(&own));
        }
        if !found.listed.contains(&place) {
            found.listed.push(place);
        }
    }
}

/// The order of `files`.
fn order(kind: EnvelopeKind, pieces: &[Piece], found: &Found) -> Vec<usize> {
    let mut order = Order { done: vec![false; pieces.len()], list: Vec::new() };
    let role = |at: usize| pieces[at].reading.as_ref().map(|reading| &reading.role);
    let all = || 0..pieces.len();
    let with_announced = |order: &mut Order, at: usize| {
        order.push(at);
        found.announced[at].iter().for_each(|place| order.push(*place));
    };
    if kind == EnvelopeKind::Actes {
        let is_acte = |at: &usize| role(*at) == Some(&Role::Message) && is_transmission(pieces[*at].reading.as_ref());
        all().filter(is_acte).for_each(|at| with_announced(&mut order, at));
        // what a letter announces stands behind the letter
        let announced: HashSet<usize> = found.announced.iter().flatten().copied().collect();
        let is_acte = |at: &usize| matches!(found.pieces[*at].role, Some(Role::Document | Role::Annex));
        let marks = |at: &usize| is_acte(at) && !announced.contains(at);
        found.listed.iter().copied().filter(marks).for_each(|at| order.push(at));
        all().filter(|at| role(*at) == Some(&Role::Receipt)).for_each(|at| with_announced(&mut order, at));
        all().filter(|at| role(*at) == Some(&Role::Message)).for_each(|at| with_announced(&mut order, at));
    }
    for first in [Role::Pes, Role::Pivot, Role::Receipt] {
        all().filter(|at| role(*at) == Some(&first)).for_each(|at| with_announced(&mut order, at));
    }
    let is_last = |at: &usize| role(*at) == Some(&Role::Envelope) || pieces[*at].opened;
    let read = |at: &usize| role(*at).is_some() && !is_last(at);
    all().filter(read).for_each(|at| with_announced(&mut order, at));
    found.listed.iter().copied().filter(|at| !is_last(at)).for_each(|at| order.push(at));
    all().filter(|at| !is_last(at)).for_each(|at| order.push(at));
    all().for_each(|at| order.push(at));
    order.list
}

/// Each piece once.
struct Order {
    done: Vec<bool>,
    list: Vec<usize>,
}

impl Order {
    fn push(&mut self, at: usize) {
        if !std::mem::replace(&mut self.done[at], true) {
            self.list.push(at);
        }
    }
}

/// A 1-1: the acte itself, before what is written about it.
fn is_transmission(reading: Option<&Reading>) -> bool {
    reading.is_some_and(|reading| reading.values.first("type_message") == Some("1-1"))
}

fn is_note(piece: &Piece) -> bool {
    matches!(piece.what, What::Note)
}

/// What is announced and does not come out under any name.
fn missing(found: &Found, readings: &[Reading], files: &Files) -> Vec<String> {
    let mut missing: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for name in found.absent.iter().chain(readings.iter().flat_map(|reading| &reading.missing)) {
        if !files.has(name) && seen.insert(name) {
            missing.push(name.clone());
        }
    }
    missing
}

fn no_file(missing: &[String]) -> Text {
    let shown = missing.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
    let shown = if shown.is_empty() { "-".to_owned() } else { shown };
    text!(
        "it holds no file to deliver; announced and absent: {shown}; drop it again with its files",
        "il ne contient aucun fichier à livrer ; annoncés et absents : {shown} ; déposez-le de nouveau avec ses fichiers"
    )
}

/// Names that are compared in all ways that Pastell cleans them.
const MOST_LOOKS: usize = 4_000_000;

#[cfg(test)]
mod tests;
