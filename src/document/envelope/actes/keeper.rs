//! How much of one message is kept: a stranger's file may repeat any element without end.
//!
//! Not the limit of one key, which `Values` has: what all keys and names of a message may take together.

use crate::document::envelope::values::Values;

/// Counts what is kept, and drops what is too much.
#[derive(Debug, Default)]
pub(in super::super) struct Keeper {
    bytes: usize,
}

impl Keeper {
    /// Adds a value, as [`Values::add`] does.
    pub(in super::super) fn add(&mut self, values: &mut Values, key: &str, value: &str) {
        if self.has_room() {
            let before = values.all(key).len();
            values.add(key, value);
            // twice: what is known is also looked up
            self.bytes += (values.all(key).len() - before) * (OVERHEAD + key.len() + 2 * value.len());
        }
    }

    /// A name of a file: nothing for one that is empty, too long for any disk, or too much.
    pub(in super::super) fn name(&mut self, name: &str) -> Option<String> {
        let is_kept = !name.is_empty() && name.len() <= LONGEST_NAME && self.has_room();
        is_kept.then(|| {
            self.bytes += 2 * name.len();
            name.to_owned()
        })
    }

    fn has_room(&self) -> bool {
        self.bytes < MOST_BYTES
    }
}

/// What a value takes beside its bytes.
const OVERHEAD: usize = 128;
/// What is kept of one message.
const MOST_BYTES: usize = 8 << 20;
/// Disks have 255 bytes; a few more, so that what is wrong with such a name is told like that of any other.
const LONGEST_NAME: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_over_all_keys() {
        let (mut keeper, mut values) = (Keeper::default(), Values::default());
        for n in 0..5000 {
            keeper.add(&mut values, "objet", &format!("{n}{}", "x".repeat(4000)));
            keeper.add(&mut values, "motif", "again");
        }
        assert!((900..1200).contains(&values.all("objet").len()), "{}", values.all("objet").len());
        assert_eq!((values.all("motif").len(), keeper.name("a.pdf")), (1, None));
        assert_eq!(Keeper::default().name("a.pdf").as_deref(), Some("a.pdf"));
        assert_eq!((Keeper::default().name(""), Keeper::default().name(&"a".repeat(2000))), (None, None));
    }
}
