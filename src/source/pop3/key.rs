//! What identifies a message: keys, and the cursor that notices that a server gave new ones.
//!
//! Not the ledger: these texts are written and read here alone, everybody else treats them as opaque.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, ItemKey, hex};
use crate::source::Cursor;

/// A message (contract, section 3). The account is part of it: another one is another mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The server's unique-id: `["account","uidl"]`.
    Uidl(String, String),
    /// Where there is none that can be relied on, what it holds: `["account","digest of its header",size,n]`, the nth
    /// of those that look alike.
    Content(String, Digest, u64, u32),
}

impl Key {
    pub(super) fn to_item(&self) -> ItemKey {
        let json = match self {
            Self::Uidl(account, uidl) => serde_json::to_string(&(account, uidl)),
            Self::Content(account, digest, size, n) => serde_json::to_string(&(account, digest.to_string(), size, n)),
        };
        ItemKey::new(json.unwrap_or_default()) // texts and numbers never fail
    }

    /// The short readable mark of its documents.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Uidl(_, uidl) if uidl.bytes().all(|byte| byte.is_ascii_alphanumeric()) => uidl.clone(),
            _ => String::new(),
        }
    }
}

/// Whose mailbox a key is of; `None` for what this source did not write.
pub(super) fn account_of(key: &ItemKey) -> Option<String> {
    let parts: Vec<serde_json::Value> = serde_json::from_str(key.as_str()).ok()?;
    parts.first()?.as_str().map(str::to_owned)
}

/// What an earlier listing looked like: how one sees that a server gave new unique-ids to old messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    account: String,
    /// Hashes of unique-ids that were listed.
    listed: BTreeSet<String>,
    /// Those that are expected to be listed again. With `after = delete` most go at once: what was listed twice stays.
    stay: BTreeSet<String>,
    /// Some messages had no unique-id of their own.
    content: bool,
}

impl Memory {
    /// From this listing, and what was known before.
    pub(super) fn of(account: &str, uidls: &[&str], content: bool, deletes: bool, before: Option<&Self>) -> Self {
        let account = account.to_owned();
        let all: BTreeSet<String> = uidls.iter().map(|uidl| hash(uidl)).collect();
        if all.is_empty()
            && !content
            && let Some(before) = before.filter(|before| before.account == account)
        {
            return before.clone(); // a server that lists nothing for once has not lost everything
        }
        let twice = |hash: &&String| before.is_some_and(|before| before.listed.contains(*hash));
        let stay = all.iter().filter(|hash| !deletes || twice(hash)).take(SAMPLE).cloned().collect();
        Self { account, listed: all.into_iter().take(SAMPLE).collect(), stay, content }
    }

    /// Whether what is listed now under `uidls` may have had other keys when `self` was written: another account, keys
    /// from content, or most of what should be there has vanished.
    pub(super) fn is_other_mailbox(&self, account: &str, uidls: &[&str]) -> bool {
        let all: BTreeSet<String> = uidls.iter().map(|uidl| hash(uidl)).collect();
        let left = self.stay.intersection(&all).count();
        self.account != account || self.content || (!all.is_empty() && left * 2 < self.stay.len())
    }

    pub(super) fn to_cursor(&self) -> Cursor {
        Cursor(serde_json::to_string(self).unwrap_or_default())
    }

    /// `None` for what was written by another kind of source.
    pub(super) fn from_cursor(cursor: &Cursor) -> Option<Self> {
        serde_json::from_str(&cursor.0).ok()
    }
}

/// 64 bits, in hex: the smallest of many are as good a sample as any, and the same ones each time.
fn hash(uidl: &str) -> String {
    hex(&Digest::of(uidl.as_bytes()).0[..8])
}

/// Unique-ids that are remembered.
const SAMPLE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(range: std::ops::Range<u32>) -> Vec<String> {
        range.map(|n| format!("uid{n}")).collect()
    }

    fn memory(range: std::ops::Range<u32>, deletes: bool, before: Option<&Memory>) -> Memory {
        let names = names(range);
        Memory::of("a", &names.iter().map(String::as_str).collect::<Vec<_>>(), false, deletes, before)
    }

    fn other(memory: &Memory, range: std::ops::Range<u32>) -> bool {
        let names = names(range);
        memory.is_other_mailbox("a", &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn keys_name_their_account_and_give_a_readable_hint() {
        let key = Key::Uidl("a\"b@x".into(), "0000042a5f".into());
        assert_eq!((key.to_item().as_str(), key.hint()), (r#"["a\"b@x","0000042a5f"]"#, "0000042a5f".to_owned()));
        assert_eq!(account_of(&key.to_item()).as_deref(), Some("a\"b@x"));
        let content = Key::Content("a".into(), Digest::of(b""), 7, 2);
        assert!(content.to_item().as_str().ends_with(",7,2]") && content.hint().is_empty());
        assert_eq!([account_of(&ItemKey::new("x")), account_of(&ItemKey::new("[1]"))], [None, None]);
    }

    #[test]
    fn a_mailbox_whose_ids_are_all_new_is_another_one_and_a_growing_one_is_not() {
        let first = memory(0..10_000, false, None);
        assert_eq!(Memory::from_cursor(&first.to_cursor()).as_ref(), Some(&first));
        assert!(first.to_cursor().0.len() < 12_000);
        assert!(!other(&first, 0..12_000) && !other(&first, 4000..9000 + 5000) && other(&first, 10_000..20_000));
        assert!(other(&first, 8000..12_000), "most have gone");
        assert!(first.is_other_mailbox("b", &["uid1"]));
        // an empty list is no news, and is forgotten at once
        assert!(!other(&first, 0..0));
        assert_eq!(memory(0..0, false, Some(&first)), first);
    }

    #[test]
    fn where_messages_are_deleted_only_those_that_stayed_are_expected() {
        let first = memory(0..10, true, None);
        assert!(!other(&first, 10..20), "all were delivered and deleted");
        let second = memory(8..20, true, Some(&first));
        assert!(!other(&second, 8..30) && other(&second, 20..30));
    }
}
