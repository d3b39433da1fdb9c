//! The values of a PES once more, one object for each mandate or title: which tiers belongs to which amount.
//!
//! A convenience for who reads the index, not its contract: only the first [`MOST`] of them, and [`MOST_BYTES`] in all.

use serde_json::Value;

use crate::document::envelope::values::Values;

/// Objects of `items`.
#[derive(Default)]
pub(super) struct Items {
    done: Vec<Value>,
    /// Of the bordereau that is open: they are in each of its pieces.
    bordereau: Vec<(&'static str, String)>,
    /// The piece that is open, and the depth of its element.
    piece: Option<(usize, Values)>,
    bytes: usize,
}

impl Items {
    /// An element starts.
    pub(super) fn start(&mut self, path: &[String]) {
        match path.last().map(String::as_str) {
            Some("Bordereau" | "ElementACQUIT") => self.bordereau.clear(),
            Some("Piece" | "DetailPiece") if self.piece.is_none() && self.has_room() => {
                let mut values = Values::default();
                self.bordereau.iter().for_each(|(key, value)| values.add(key, value));
                self.piece = Some((path.len(), values));
            }
            _ => {}
        }
    }

    /// A value was found.
    pub(super) fn add(&mut self, key: &'static str, value: &str) {
        match &mut self.piece {
            Some((_, values)) if self.bytes < MOST_BYTES => {
                self.bytes += key.len() + value.len();
                values.add(key, value);
            }
            None if OF_BORDEREAU.contains(&key) && self.bordereau.len() < OF_BORDEREAU.len() => {
                self.bordereau.push((key, value.to_owned()));
            }
            _ => {}
        }
    }

    /// An element ends.
    pub(super) fn end(&mut self, path: &[String]) {
        if let Some((_, values)) = self.piece.take_if(|(depth, _)| *depth == path.len()) {
            self.bytes += OBJECT;
            self.done.push(Value::Object(values.into_json()));
        }
    }

    /// The list; `None` where one object would only repeat what the index says anyway.
    pub(super) fn finish(self) -> Option<Value> {
        (self.done.len() > 1).then_some(Value::Array(self.done))
    }

    fn has_room(&self) -> bool {
        self.done.len() < MOST && self.bytes < MOST_BYTES
    }
}

/// Keys of a bordereau.
const OF_BORDEREAU: [&str; 4] = ["exercice", "id_bordereau", "date_bordereau", "montant_bordereau"];
/// Objects that are kept.
const MOST: usize = 2000;
/// Bytes of their values that are kept.
const MOST_BYTES: usize = 1 << 20;
/// Bytes that an object without values counts for.
const OBJECT: usize = 100;
