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
    /// It was not there any more: kept, since it may come back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) gone: bool,
}

/// How far each folder was seen through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places(pub(super) Vec<Place>);

impl Places {
    /// One folder as an object, several as a list of them.
    pub(super) fn to_cursor(&self) -> Cursor {
        let text = match self.0.as_slice() {
            [place] => serde_json::to_string(place),
            places => serde_json::to_string(places),
        };
        Cursor(text.unwrap_or_default())
    }

    /// `None` for what an older version may have written otherwise: everything is listed once more.
    pub(super) fn from_cursor(cursor: &Cursor) -> Option<Self> {
        let one = serde_json::from_str(&cursor.0).map(|place| vec![place]);
        one.or_else(|_| serde_json::from_str(&cursor.0)).ok().map(Self)
    }

    /// The place of a folder.
    pub(super) fn find(&self, account: &str, folder: &str) -> Option<&Place> {
        self.0.iter().find(|place| place.account == account && place.folder == folder)
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
        let place = Place {
            account: "a".into(),
            folder: "INBOX".into(),
            uidvalidity: 7,
            next: 3,
            since: String::new(),
            gone: false,
        };
        let other = Place { folder: "Reçus".into(), gone: true, ..place.clone() };
        for places in [Places(vec![place.clone()]), Places(vec![place, other]), Places::default()] {
            assert_eq!(Places::from_cursor(&places.to_cursor()), Some(places));
        }
        let old = Cursor(r#"{"account":"a","folder":"INBOX","uidvalidity":7,"next":3,"since":""}"#.to_owned());
        assert_eq!(Places::from_cursor(&old).unwrap().to_cursor(), old);
        assert_eq!(Places::from_cursor(&Cursor("?".to_owned())), None);
    }
}
