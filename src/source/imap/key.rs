//! What identifies a message: keys and the cursor.
//!
//! Not the ledger: these texts are written and read here alone, everybody else treats them as opaque.

use serde::{Deserialize, Serialize};

use crate::model::ItemKey;
use crate::source::Cursor;

/// A message (contract, section 3: account, folder, UIDVALIDITY, UID).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) account: String,
    /// In Unicode, with the server's separator.
    pub(super) folder: String,
    pub(super) uidvalidity: u32,
    pub(super) uid: u32,
}

impl Key {
    /// The JSON array `["account","folder",uidvalidity,uid]`.
    pub(super) fn to_item(&self) -> ItemKey {
        ItemKey::new(serde_json::json!([self.account, self.folder, self.uidvalidity, self.uid]).to_string())
    }

    pub(super) fn from_item(key: &ItemKey) -> Option<Self> {
        let (account, folder, uidvalidity, uid) = serde_json::from_str(key.as_str()).ok()?;
        Some(Self { account, folder, uidvalidity, uid })
    }
}

/// How far a folder was seen through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Whose folder: many servers number the folders of all accounts alike (Exchange Online's INBOX is 14).
    #[serde(default)]
    pub(super) account: String,
    pub(super) folder: String,
    pub(super) uidvalidity: u32,
    /// The first UID that is to be listed; 1 where every discovery lists everything (`unseen_only`).
    pub(super) next: u32,
    /// `since` as it was then: an earlier one brings back what was passed over.
    #[serde(default)]
    pub(super) since: String,
}

impl Place {
    /// Whether the UIDs of both mean the same messages.
    pub(super) fn is_same_folder(&self, other: &Self) -> bool {
        (&self.account, &self.folder, self.uidvalidity) == (&other.account, &other.folder, other.uidvalidity)
    }

    pub(super) fn to_cursor(&self) -> Cursor {
        Cursor(serde_json::to_string(self).unwrap_or_default())
    }

    /// `None` for what an older version may have written otherwise: everything is listed once more.
    pub(super) fn from_cursor(cursor: &Cursor) -> Option<Self> {
        serde_json::from_str(&cursor.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_cursors_survive_the_round_trip() {
        let key = Key { account: "a\"b@x".into(), folder: "INBOX/Reçus".into(), uidvalidity: 7, uid: u32::MAX };
        assert_eq!(key.to_item().as_str(), r#"["a\"b@x","INBOX/Reçus",7,4294967295]"#);
        assert_eq!(Key::from_item(&key.to_item()), Some(key));
        assert_eq!(Key::from_item(&ItemKey::new("[1]")), None);
        let place =
            Place { account: "a".into(), folder: "INBOX".into(), uidvalidity: 7, next: 3, since: String::new() };
        assert_eq!(Place::from_cursor(&place.to_cursor()), Some(place));
    }
}
