//! What deposits were found to be, so that each is read once as long as it looks the same.
//!
//! Not a ledger: all of it may be lost, and then the deposits are read again. It outlives a restart as the text of the
//! source's cursor: the names of what lies in the drop directory now and no others, a bounded number of them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::units::{Rules, Unit};
use crate::document::envelope::{Identity, State};
use crate::model::{Digest, EnvelopeKind};
use crate::text::Text;

/// Deposits with what they look like and what they were found to be.
#[derive(Debug)]
pub(super) struct Memory {
    /// What was found, goes by this: other words for kinds, other limits, another version may find something else.
    version: String,
    known: HashMap<PathBuf, (Digest, Identity)>,
    loaded: bool,
}

/// Its text.
#[derive(serde::Serialize, serde::Deserialize)]
struct Stored {
    version: String,
    /// By name: look, identity, kind (empty: none), whether it was refused.
    known: BTreeMap<String, (String, String, String, bool)>,
}

impl Memory {
    pub(super) fn new(rules: &Rules) -> Self {
        let words = format!("{} {:?} {:?}", env!("CARGO_PKG_VERSION"), rules.aliases, rules.limits);
        let version = Digest::of(words.as_bytes()).to_string()[..16].to_owned();
        Self { version, known: HashMap::new(), loaded: false }
    }

    /// Takes in what an earlier run wrote, once.
    pub(super) fn load(&mut self, dir: &Path, text: &str) {
        if std::mem::replace(&mut self.loaded, true) {
            return;
        }
        let Ok(stored) = serde_json::from_str::<Stored>(text) else { return };
        if stored.version != self.version {
            return;
        }
        for (name, (look, digest, kind, refused)) in stored.known {
            let (Some(look), Some(digest)) = (Digest::from_hex(&look), Digest::from_hex(&digest)) else { continue };
            let state = if refused { State::Refused(Text::same("")) } else { State::Complete };
            self.known.insert(dir.join(name), (look, Identity { kind: EnvelopeKind::parse(&kind), digest, state }));
        }
    }

    /// What a unit was found to be, if it still looks so.
    pub(super) fn get(&self, unit: &Unit) -> Option<&Identity> {
        self.known.get(&unit.path).filter(|(look, _)| *look == unit.look).map(|(_, identity)| identity)
    }

    /// Remembers what a unit is.
    pub(super) fn put(&mut self, unit: &Unit, identity: Identity) {
        self.known.insert(unit.path.clone(), (unit.look, identity));
    }

    /// Forgets what is no longer there.
    pub(super) fn keep(&mut self, is_there: impl Fn(&PathBuf) -> bool) {
        self.known.retain(|path, _| is_there(path));
    }

    /// Its text. What may still grow is left out, and what has a name that is not Unicode.
    pub(super) fn text(&self) -> String {
        let entry = |(path, (look, identity)): (&PathBuf, &(Digest, Identity))| {
            let refused = match identity.state {
                State::Complete => false,
                State::Refused(_) => true,
                State::Incomplete(_) => return None,
            };
            let kind = identity.kind.map_or("", EnvelopeKind::as_str).to_owned();
            let name = path.file_name()?.to_str()?.to_owned();
            Some((name, (look.to_string(), identity.digest.to_string(), kind, refused)))
        };
        let mut known: BTreeMap<_, _> = self.known.iter().filter_map(entry).collect();
        while known.len() > MOST {
            known.pop_last();
        }
        let stored = Stored { version: self.version.clone(), known };
        serde_json::to_string(&stored).unwrap_or_default() // strings alone: this never fails
    }
}

/// Deposits that are remembered across restarts: some 200 bytes each.
const MOST: usize = 10_000;
