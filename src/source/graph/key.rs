//! How far a mailbox was seen through: the cursor of this source.
//!
//! Not the keys of messages: those are Graph's immutable ids as they are, which hold in every folder of the mailbox.

use serde::{Deserialize, Serialize};

use crate::source::Cursor;

/// A folder as it was seen last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// As it is shown.
    pub(super) path: String,
    /// Graph's id; another one under the same path: the mailbox was made anew, and its messages have new ids.
    pub(super) id: String,
    /// Where the next round of changes begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<String>,
}

/// How far each folder was seen through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Places {
    /// Whose folders.
    pub(super) mailbox: String,
    /// `since` as it was then: an earlier one brings back what was passed over.
    #[serde(default)]
    pub(super) since: String,
    /// `source` as it was then, and the folder that it named.
    pub(super) source: String,
    pub(super) folders: Vec<Place>,
}

impl Places {
    pub(super) fn to_cursor(&self) -> Cursor {
        Cursor(serde_json::to_string(self).unwrap_or_default())
    }

    /// `None` for what another version may have written: everything is listed once more.
    pub(super) fn from_cursor(cursor: &Cursor) -> Option<Self> {
        serde_json::from_str(&cursor.0).ok()
    }

    /// The folder at `path` as it was seen last; its link is of no use where `since` was another one then.
    pub(super) fn seen(&self, path: &str, since: &str) -> Option<Place> {
        let place = self.folders.iter().find(|place| place.path == path)?;
        let link = place.link.clone().filter(|_| self.since == since);
        Some(Place { link, ..place.clone() })
    }

    /// The same without the links: which folders these are, and nothing seen through.
    pub(super) fn start(&self) -> Self {
        let folders = self.folders.iter().map(|place| Place { link: None, ..place.clone() }).collect();
        Self { folders, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_the_round_trip_and_starts_have_no_links() {
        let place = Place { path: "Boîte".into(), id: "AAMk=".into(), link: Some("https://h/x?$deltatoken=1".into()) };
        let places =
            Places { mailbox: "me".into(), since: String::new(), source: "inbox".into(), folders: vec![place] };
        assert_eq!(Places::from_cursor(&places.to_cursor()), Some(places.clone()));
        let start = places.start().to_cursor();
        assert!(start.0.contains("AAMk=") && !start.0.contains("deltatoken"), "{start:?}");
        assert_eq!(Places::from_cursor(&Cursor("?".to_owned())), None);
    }
}
