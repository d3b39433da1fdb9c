//! What a deposit is, from one pass over its bytes: its digest, its kind, and whether all of it is there.
//!
//! Not a decoder: values are not read and nothing is written. The digest is over the digests of what the deposit holds, in
//! their own order and without names, so that a directory, a ZIP and a tar.gz of equal contents are one. Only the outermost
//! container is opened for it, and one that it holds alone; any other archive counts as the bytes that it is.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::archive::{self, Entry, Format, Trouble, Walked};
use super::gather::head;
use super::limits::{Budget, Limits};
use super::pastell::{self, Metadata};
use super::recognise::{self, Family, MOST_NOTES, NOTE, What};
use super::store::{Body, BodyWriter, Store};
use super::xml::{self, Completeness};
use super::{Deposit, Error, Identity, Member, State, facturx, is_junk, is_marker, named};
use crate::model::{Digest, EnvelopeKind};
use crate::text;
use crate::text::Text;

/// See [`super::identify`].
pub(super) fn identify(
    deposit: &Deposit,
    limits: &Limits,
    aliases: &[(String, EnvelopeKind)],
) -> Result<Identity, Error> {
    let budget = RefCell::new(Budget::new(*limits));
    let ended = deposit.members.iter().any(|member| is_marker(&member.name, None));
    let members = deposit.members.iter().filter(|member| !is_marker(&member.name, None) && !is_junk(&member.name));
    let members: Vec<&Member> = members.collect();
    match seen(&members, &budget) {
        Ok(Seen { leaves, state, sealed, broken }) => {
            let (kind, listed) = tell(&leaves, aliases);
            let kind = kind.or_else(|| invoice(&members, &leaves, &budget));
            // what could be read of it before the cut may be all of another deposit
            let digest = if broken { by_bytes(&members)? } else { digest(&leaves) };
            let state = match state {
                State::Complete if !ended && !sealed => listed,
                State::Incomplete(_) if ended => State::Complete,
                other => other,
            };
            Ok(Identity { kind, digest, state })
        }
        Err(Error::Refused(why)) => {
            Ok(Identity { kind: None, digest: by_bytes(&members)?, state: State::Refused(why) })
        }
        Err(error) => Err(error),
    }
}

/// A file of the deposit, or of its archive.
#[derive(Default)]
struct Leaf {
    name: String,
    digest: Option<Digest>,
    family: Option<Family>,
    note: Option<Result<Metadata, Text>>,
    /// It is an archive, read to its end: what is in it.
    inside: Option<Vec<Leaf>>,
    pdf: bool,
    state: Option<State>,
}

struct Seen {
    leaves: Vec<Leaf>,
    state: State,
    /// An archive, of which the end is proven: what is not in it will not come.
    sealed: bool,
    /// An archive that could not be read to its end.
    broken: bool,
}

/// Reads all members.
fn seen(members: &[&Member], budget: &RefCell<Budget>) -> Result<Seen, Error> {
    let mut leaves = Vec::new();
    for member in members {
        budget.borrow_mut().entry()?;
        let mut file = File::open(&member.path).map_err(Error::Read)?;
        if let ([_], Some(format)) = (members, Format::of(&head(&mut &file)?)) {
            file.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
            return container(format, member, file, budget).map_err(|error| named(&member.name, error));
        }
        file.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
        let mut leaf = leaf(&member.name, &mut file, 1, budget).map_err(|error| named(&member.name, error))?;
        if leaf.pdf && members.len() == 1 && !has_end(&mut file).map_err(Error::Read)? {
            let name = &member.name;
            leaf.state = Some(State::Incomplete(text!("{name}: the PDF has no end", "{name} : le PDF n'a pas de fin")));
        }
        if members.len() == 1 && file.metadata().map_err(Error::Read)?.len() == 0 {
            let name = &member.name;
            leaf.state = Some(State::Incomplete(text!("{name} is empty", "{name} est vide")));
        }
        leaves.push(leaf);
    }
    let state = leaves.iter_mut().find_map(|leaf| leaf.state.take()).unwrap_or(State::Complete);
    Ok(Seen { leaves, state, sealed: false, broken: false })
}

/// Reads an archive that is a deposit by itself.
fn container(format: Format, member: &Member, file: File, budget: &RefCell<Budget>) -> Result<Seen, Error> {
    let mut leaves = Vec::new();
    let walked = archive::walk(format, &member.name, file, budget, &mut |Entry { name, content }| {
        let entry = leaf(&name, content, 2, budget).map_err(|error| named(&name, error))?;
        leaves.push(entry);
        Ok(())
    });
    let name = &member.name;
    let broken = matches!(walked, Err(Trouble::Broken(_)));
    let open = match walked {
        Ok(Walked { open, .. }) => open,
        Err(Trouble::Broken(why)) => Some(why),
        Err(Trouble::Locked(why)) => return Err(Error::Refused(why)),
        Err(Trouble::Error(error)) => return Err(error),
    };
    let open = open.map(|Text { en, fr }| State::Incomplete(text!("{name}: {en}", "{name} : {fr}")));
    let inside = leaves.iter_mut().find_map(|leaf| leaf.state.take());
    let state = open.or(inside).unwrap_or(State::Complete);
    Ok(Seen { leaves, state, sealed: true, broken })
}

/// Reads one file to its end: digest, family, completeness.
fn leaf(name: &str, content: &mut dyn Read, depth: usize, budget: &RefCell<Budget>) -> Result<Leaf, Error> {
    let head = head(content)?;
    let mut leaf = Leaf { name: name.to_owned(), ..Leaf::default() };
    let mut whole = Hashed { inner: Cursor::new(&head).chain(content), hasher: Sha256::new() };
    match recognise::recognise(name, head.len() as u64, &head)? {
        What::Archive(format) => leaf.inside = inside(format, name, &mut whole, depth, budget)?,
        What::Known(family, _) => {
            leaf.family = Some(family);
            leaf.state = match xml::complete(&mut BufReader::new(&mut whole)) {
                Ok(Completeness::Closed(_)) => None,
                Ok(Completeness::Open(Text { en, fr })) => {
                    Some(State::Incomplete(text!("{name}: {en}", "{name} : {fr}")))
                }
                Err(Error::Refused(Text { en, fr })) => Some(State::Refused(text!("{name}: {en}", "{name} : {fr}"))),
                Err(error) => return Err(error),
            };
        }
        What::Refused(Text { en, fr }) => leaf.state = Some(State::Refused(text!("{name}: {en}", "{name} : {fr}"))),
        What::Note => leaf.note = note(name, &mut whole)?,
        What::Pdf => leaf.pdf = true,
        What::Other => {}
    }
    io::copy(&mut whole, &mut io::sink()).map_err(Error::Read)?;
    leaf.digest = Some(Digest(whole.hasher.finalize().into()));
    Ok(leaf)
}

/// What is in an archive among other files; `None` for what cannot be read to its end.
fn inside(
    format: Format,
    name: &str,
    content: &mut dyn Read,
    depth: usize,
    budget: &RefCell<Budget>,
) -> Result<Option<Vec<Leaf>>, Error> {
    if depth > budget.borrow().limits.max_depth {
        return Ok(None);
    }
    let mut leaves = Vec::new();
    let mut each = |Entry { name, content }: Entry<'_>| {
        let entry = leaf(&name, content, depth + 1, budget)?;
        leaves.push(entry);
        Ok(())
    };
    let walked = if format == Format::Zip {
        if depth > MOST_DEEP {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        content.take(MOST_HELD + 1).read_to_end(&mut bytes).map_err(Error::Read)?;
        if bytes.len() as u64 > MOST_HELD {
            return Ok(None);
        }
        archive::walk(format, name, Cursor::new(bytes), budget, &mut each)
    } else {
        archive::stream(format, name, content, budget, &mut each)
    };
    match walked {
        Ok(_) => Ok(Some(leaves)),
        Err(Trouble::Broken(_) | Trouble::Locked(_)) => Ok(None),
        Err(Trouble::Error(error)) => Err(error),
    }
}

/// What a metadata file says.
fn note(name: &str, content: &mut dyn Read) -> Result<Option<Result<Metadata, Text>>, Error> {
    let mut bytes = Vec::new();
    content.take(NOTE + 1).read_to_end(&mut bytes).map_err(Error::Read)?;
    Ok(if bytes.len() as u64 > NOTE { None } else { pastell::parse(name, &bytes) })
}

/// The kind, and whether what the metadata file lists is there.
fn tell(leaves: &[Leaf], aliases: &[(String, EnvelopeKind)]) -> (Option<EnvelopeKind>, State) {
    let names: Vec<&str> = leaves.iter().map(|leaf| leaf.name.as_str()).collect();
    let mut notes = Vec::new();
    let mut state = State::Complete;
    for leaf in every(leaves) {
        match &leaf.note {
            Some(Ok(metadata)) if notes.len() < MOST_NOTES => notes.push((leaf.name.clone(), metadata.clone())),
            Some(Err(Text { en, fr })) => {
                let name = &leaf.name;
                state = State::Incomplete(text!("{name}: {en}", "{name} : {fr}"));
            }
            _ => {}
        }
    }
    let metadata = recognise::metadata(&notes, &names).map(|(_, metadata)| metadata);
    let said = every(leaves).into_iter().filter(|leaf| !recognise::is_aside(metadata, &leaf.name));
    let families: Vec<Family> = said.filter_map(|leaf| leaf.family).collect();
    if let (Some(metadata), State::Complete) = (metadata, &state) {
        state = listed(metadata, &names);
    }
    (recognise::kind(&families, metadata, aliases), state)
}

/// Whether all that is listed is there.
fn listed(metadata: &Metadata, names: &[&str]) -> State {
    let mut looks = MOST_LOOKS;
    let mut absent = Vec::new();
    for listed in &metadata.files {
        if names.contains(&listed.name.as_str()) {
            continue;
        }
        looks = looks.saturating_sub(names.len());
        if looks == 0 {
            break;
        }
        if !names.iter().any(|name| metadata.matches(listed, name)) {
            absent.push(listed.name.as_str());
        }
    }
    if absent.is_empty() {
        return State::Complete;
    }
    let (count, shown) = (absent.len(), absent.into_iter().take(5).collect::<Vec<_>>().join(", "));
    State::Incomplete(text!(
        "{count} files that its metadata file lists are not there: {shown}",
        "{count} fichiers annoncés par son fichier de métadonnées ne sont pas là : {shown}"
    ))
}

/// The files, and what is in the archives among them.
fn every(leaves: &[Leaf]) -> Vec<&Leaf> {
    let mut all: Vec<&Leaf> = leaves.iter().collect();
    let mut at = 0;
    while let Some(leaf) = all.get(at) {
        all.extend(leaf.inside.iter().flatten());
        at += 1;
    }
    all
}

/// SHA-256 over the sorted digests.
fn digest(leaves: &[Leaf]) -> Digest {
    let mut leaves = leaves;
    while let [Leaf { inside: Some(inside), .. }] = leaves {
        leaves = inside;
    }
    sorted(leaves.iter().filter_map(|leaf| leaf.digest).collect())
}

fn sorted(mut digests: Vec<Digest>) -> Digest {
    digests.sort_unstable();
    let mut hasher = Sha256::new();
    for digest in &digests {
        hasher.update(digest.0);
    }
    Digest(hasher.finalize().into())
}

/// The identity of what is not unpacked to its end: of the files as they lie there.
fn by_bytes(members: &[&Member]) -> Result<Digest, Error> {
    let mut digests = Vec::new();
    for member in members {
        let file = File::open(&member.path).map_err(Error::Read)?;
        let mut whole = Hashed { inner: file, hasher: Sha256::new() };
        io::copy(&mut whole, &mut io::sink()).map_err(Error::Read)?;
        digests.push(Digest(whole.hasher.finalize().into()));
    }
    Ok(sorted(digests))
}

/// Whether a PDF is written to its end: the marker stands in its last bytes (ISO 32000-1, 7.5.5).
fn has_end(file: &mut File) -> io::Result<bool> {
    let size = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(size.saturating_sub(PDF_TAIL)))?;
    let mut tail = Vec::new();
    file.take(PDF_TAIL).read_to_end(&mut tail)?;
    Ok(memchr::memmem::find(&tail, b"%%EOF").is_some())
}

/// Whether a PDF that nothing else explains is an invoice.
fn invoice(members: &[&Member], leaves: &[Leaf], budget: &RefCell<Budget>) -> Option<EnvelopeKind> {
    let pdf = |(member, leaf): &(&&Member, &Leaf)| leaf.pdf && member.name == leaf.name;
    let mut pdfs = members.iter().zip(leaves).filter(pdf).take(MOST_PDFS);
    let holds = |(member, _): (&&Member, &Leaf)| {
        let found = facturx::embedded(&member.path, &mut Nowhere, &mut budget.borrow_mut());
        matches!(found, Ok(Some(_)))
    };
    pdfs.any(holds).then_some(EnvelopeKind::Chorus)
}

/// A store that keeps nothing.
struct Nowhere;

impl Store for Nowhere {
    fn create(&mut self) -> io::Result<Box<dyn BodyWriter>> {
        Ok(Box::new(Self))
    }

    fn discard(&mut self, _: &Body) {}
}

impl io::Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BodyWriter for Nowhere {
    fn finish(self: Box<Self>) -> io::Result<Body> {
        Ok(Body { path: PathBuf::new(), size: 0, sha256: Digest([0; 32]) })
    }
}

/// Digests what is read.
struct Hashed<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// Bytes of a ZIP inside something else that are held in memory to look into it: its table stands at its end.
const MOST_HELD: u64 = 16 << 20;
/// How deep such a ZIP may stand: each level holds its own.
const MOST_DEEP: usize = 3;
/// Bytes at the end of a PDF in which its marker stands, whatever a transfer has put behind it.
const PDF_TAIL: u64 = 2048;
/// PDF files that are looked into.
const MOST_PDFS: usize = 20;
/// Names that are compared in all ways that Pastell cleans them.
const MOST_LOOKS: usize = 4_000_000;

#[cfg(test)]
mod tests;
