//! The files of an envelope, each once.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;

use unicode_normalization::UnicodeNormalization as _;

use super::Mark;
use crate::document::envelope::gather::{Piece, copy};
use crate::document::envelope::store::{Body, Store};
use crate::document::envelope::{Attachment, Error, Reading};
use crate::model::{Digest, Role};

/// What is delivered, in order.
pub(super) struct Files {
    list: Vec<Attachment>,
    /// Place in the list by name and content.
    places: HashMap<(String, Digest), usize>,
    /// The same with names as they may have been cleaned, for what came out of a document.
    taken_out: HashSet<(String, Digest)>,
    names: HashSet<String>,
    kept: HashSet<PathBuf>,
}

impl Files {
    pub(super) fn new(count: usize) -> Self {
        let places = HashMap::with_capacity(count);
        Self { list: Vec::new(), places, taken_out: HashSet::new(), names: HashSet::new(), kept: HashSet::new() }
    }

    /// Adds a file of the deposit; one that is read in place is copied now.
    pub(super) fn piece(
        &mut self,
        piece: &mut Piece,
        mark: &Mark,
        reading: Option<&Reading>,
        store: &mut dyn Store,
    ) -> Result<(), Error> {
        if mark.left_out {
            return Ok(());
        }
        let body = match piece.body.take() {
            Some(body) => body,
            None => copy(&mut File::open(&piece.path).map_err(Error::Read)?, store)?,
        };
        let read = reading.map(|reading| reading.role.clone());
        let role = read.or_else(|| mark.role.clone()).unwrap_or(Role::Document);
        let readable = mark.readable || reading.is_some_and(|reading| reading.readable);
        let name = mark.name.clone().unwrap_or_else(|| piece.name.clone());
        if self.taken_out.contains(&(folded(&name), body.sha256)) {
            store.discard(&body);
            return Ok(());
        }
        self.add(Attachment { name, media_type: None, role, readable, body }, store);
        Ok(())
    }

    /// Adds what was taken out of a document.
    pub(super) fn attachment(&mut self, attachment: Attachment, store: &mut dyn Store) {
        self.taken_out.insert((folded(&attachment.name), attachment.body.sha256));
        self.add(attachment, store);
    }

    /// Removes a body that nothing needs.
    pub(super) fn discard(&self, body: &Body, store: &mut dyn Store) {
        if !self.kept.contains(&body.path) {
            store.discard(body);
        }
    }

    /// Whether a file of this name comes out.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(&folded(name))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn into_list(self) -> Vec<Attachment> {
        self.list
    }

    fn add(&mut self, file: Attachment, store: &mut dyn Store) {
        let key = (file.name.nfc().collect::<String>(), file.body.sha256);
        if let Some(place) = self.places.get(&key) {
            let there = &mut self.list[*place];
            there.readable |= file.readable;
            // what announces nothing calls everything a document
            if matches!(there.role, Role::Document | Role::Field(_)) {
                there.role = file.role;
            }
            store.discard(&file.body);
            return;
        }
        self.places.insert(key, self.list.len());
        self.names.insert(folded(&file.name));
        self.kept.insert(file.body.path.clone());
        self.list.push(file);
    }
}

/// The names of the pieces, to be found as they are announced.
pub(super) struct Names {
    exact: HashMap<String, Vec<usize>>,
    folded: HashMap<String, Vec<usize>>,
    taken: HashSet<usize>,
}

impl Names {
    pub(super) fn of(pieces: &[Piece]) -> Self {
        let mut names = Self { exact: HashMap::new(), folded: HashMap::new(), taken: HashSet::new() };
        for (at, piece) in pieces.iter().enumerate() {
            names.exact.entry(piece.name.nfc().collect()).or_default().push(at);
            names.folded.entry(folded(&piece.name)).or_default().push(at);
        }
        names
    }

    /// The piece of this name: as it stands, else without regard to case and to what cleaning does; of several the first
    /// that has not been found yet.
    pub(super) fn take(&mut self, name: &str) -> Option<usize> {
        let exact = self.all(name);
        let places = if exact.is_empty() { self.folded.get(&folded(name))?.as_slice() } else { exact };
        let place = *places.iter().find(|at| !self.taken.contains(at)).or(places.first())?;
        self.taken.insert(place);
        Some(place)
    }

    /// All pieces of exactly this name.
    pub(super) fn all(&self, name: &str) -> &[usize] {
        let name: String = name.nfc().collect();
        self.exact.get(&name).map_or(&[], Vec::as_slice)
    }
}

/// A name as platforms may have cleaned it: letters and digits, in lower case.
fn folded(name: &str) -> String {
    let clean = |c: char| if c.is_alphanumeric() || c == '.' { c } else { '_' };
    name.trim().nfc().flat_map(char::to_lowercase).map(clean).collect()
}
