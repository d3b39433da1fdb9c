//! The files of a deposit, archives unpacked: what the decoders and the assembly work on.
//!
//! Not every archive is opened: one that is dropped by itself always, one among other files only when it holds something
//! that is recognised (an ACTES envelope in a ZIP, a letter of the prefecture beside its unpacked files). Any other one is
//! somebody's annexe and stays what it is.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::archive::{self, Entry, Format, Trouble};
use super::limits::Budget;
use super::recognise::{self, HEAD, What};
use super::store::{Body, Store};
use super::{Deposit, Error, Reading, is_junk, is_marker, named};
use crate::text;
use crate::text::Text;

/// A file of the deposit.
#[derive(Debug)]
pub struct Piece {
    /// Its own name.
    pub name: String,
    /// Where it can be read.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Where it stands in the store; `None` for a file that is read in place.
    pub body: Option<Body>,
    /// What its head says.
    pub what: What,
    /// What its decoder says.
    pub reading: Option<Reading>,
    /// It is an archive, and what it holds are pieces too.
    pub opened: bool,
}

/// All files of a deposit.
#[derive(Debug, Default)]
pub struct Gathered {
    /// In the order of the deposit; what is in an archive stands behind it.
    pub pieces: Vec<Piece>,
    /// What was skipped.
    pub warnings: Vec<Text>,
}

/// Looks at the files of a deposit and unpacks what has to be unpacked.
///
/// # Errors
/// Those of [`Error`].
pub fn gather(deposit: &Deposit, budget: &RefCell<Budget>, store: &mut dyn Store) -> Result<Gathered, Error> {
    let mut gathered = Gathered::default();
    let members = deposit.members.iter().filter(|member| !is_marker(&member.name, None) && !is_junk(&member.name));
    let members: Vec<_> = members.collect();
    for member in &members {
        budget.borrow_mut().entry()?;
        let what = look(&member.path, &member.name).map_err(|error| named(&member.name, error))?;
        let (name, path) = (member.name.clone(), member.path.clone());
        let (size, body) = (member.size, member.body.clone());
        let piece = Piece { name, path, size, body, what, reading: None, opened: false };
        gathered.add(piece, 1, members.len() == 1, budget, store)?;
    }
    Ok(gathered)
}

impl Gathered {
    /// Adds a file, and what is in it when it is an archive. `must`: it is all that was dropped.
    fn add(
        &mut self,
        mut piece: Piece,
        depth: usize,
        must: bool,
        budget: &RefCell<Budget>,
        store: &mut dyn Store,
    ) -> Result<(), Error> {
        let What::Archive(format) = piece.what else {
            self.pieces.push(piece);
            return Ok(());
        };
        let mut inside = match unpack(&piece, format, depth, budget, store) {
            Ok(inside) => inside,
            Err(Trouble::Error(error)) => return Err(named(&piece.name, error)),
            Err(Trouble::Broken(why) | Trouble::Locked(why)) if must => {
                return Err(named(&piece.name, Error::Refused(why)));
            }
            Err(Trouble::Broken(why) | Trouble::Locked(why)) => {
                let (name, Text { en, fr }) = (&piece.name, why);
                self.warnings.push(text!("{name} is taken as it is: {en}", "{name} est pris tel quel : {fr}"));
                self.pieces.push(piece);
                return Ok(());
            }
        };
        piece.opened =
            must || inside.pieces.iter().any(|piece| matches!(piece.what, What::Known(..) | What::Refused(_)));
        self.pieces.push(piece);
        if self.pieces.last().is_some_and(|piece| piece.opened) {
            self.pieces.append(&mut inside.pieces);
            self.warnings.append(&mut inside.warnings);
        } else {
            inside.pieces.iter().filter_map(|piece| piece.body.as_ref()).for_each(|body| store.discard(body));
        }
        Ok(())
    }
}

/// The entries of an archive, in the store; archives among them are opened in turn.
fn unpack(
    piece: &Piece,
    format: Format,
    depth: usize,
    budget: &RefCell<Budget>,
    store: &mut dyn Store,
) -> Result<Gathered, Trouble> {
    let limit = budget.borrow().limits.max_depth;
    if depth > limit {
        return Err(Error::Refused(text!(
            "more than {limit} archives stand inside each other (max_depth)",
            "plus de {limit} archives sont imbriquées (max_depth)"
        ))
        .into());
    }
    let mut bodies = Vec::new();
    let source = File::open(&piece.path).map_err(Error::Read)?;
    let walked = archive::walk(format, &piece.name, source, budget, &mut |Entry { name, content }| {
        bodies.push((name, copy(content, store)?));
        Ok(())
    });
    let walked = match walked {
        Ok(walked) => walked,
        Err(trouble) => {
            bodies.iter().for_each(|(_, body)| store.discard(body));
            return Err(trouble);
        }
    };
    let mut inside = Gathered { pieces: Vec::new(), warnings: walked.warnings };
    inside.warnings.extend(walked.open);
    let alone = bodies.len() == 1;
    for (name, body) in bodies {
        let what = look(&body.path, &name).map_err(store_error)?;
        let (path, size) = (body.path.clone(), body.size);
        let piece = Piece { name, path, size, body: Some(body), what, reading: None, opened: false };
        inside.add(piece, depth + 1, alone, budget, store)?;
    }
    Ok(inside)
}

/// What a file is.
fn look(path: &Path, name: &str) -> Result<What, Error> {
    let file = File::open(path).map_err(Error::Read)?;
    let size = file.metadata().map_err(Error::Read)?.len();
    let head = head(&mut &file)?;
    recognise::recognise(name, size, &head)
}

/// The first [`HEAD`] bytes of a stream.
pub fn head(content: &mut dyn Read) -> Result<Vec<u8>, Error> {
    let mut head = Vec::new();
    content.take(HEAD as u64).read_to_end(&mut head).map_err(Error::Read)?;
    Ok(head)
}

/// Copies a stream into the store.
///
/// # Errors
/// [`Error::Read`], [`Error::Store`].
pub fn copy(content: &mut dyn Read, store: &mut dyn Store) -> Result<Body, Error> {
    let mut writer = store.create().map_err(Error::Store)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return writer.finish().map_err(Error::Store),
            Ok(count) => writer.write_all(&buffer[..count]).map_err(Error::Store)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Read(error)),
        }
    }
}

/// What cannot be read back from the store is the store's fault.
fn store_error(error: Error) -> Error {
    match error {
        Error::Read(error) => Error::Store(error),
        other => other,
    }
}

/// Bytes copied at once.
const BUFFER: usize = 64 << 10;
