//! The values of an index: several for each key, in the order of the document.
//!
//! Not JSON numbers: codes and amounts stay as written (`00`, `0000001305`). One value is a plain string, several
//! distinct ones are a list.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization as _;

/// Values under their keys.
#[derive(Clone, Debug, Default)]
pub struct Values {
    keys: Vec<String>,
    lists: HashMap<String, List>,
    objects: Map<String, Value>,
    /// Bytes of all values.
    bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct List {
    values: Vec<String>,
    seen: HashSet<String>,
    cut: bool,
}

impl Values {
    /// Adds a value, trimmed and in normal form C, unless it is empty or stands there already.
    pub fn add(&mut self, key: &str, value: &str) {
        self.put(key, value, true);
    }

    /// Adds a value even when it stands there already.
    pub fn add_again(&mut self, key: &str, value: &str) {
        self.put(key, value, false);
    }

    /// Sets an object or a list of objects that is no plain value (`items`, `pastell`).
    pub fn set_object(&mut self, key: &str, value: Value) {
        self.objects.insert(key.to_owned(), value);
    }

    /// The first value of a key.
    pub fn first(&self, key: &str) -> Option<&str> {
        self.all(key).first().map(String::as_str)
    }

    /// All values of a key.
    pub fn all(&self, key: &str) -> &[String] {
        self.lists.get(key).map_or(&[], |list| &list.values)
    }

    /// Replaces the values of a key by one.
    pub fn replace(&mut self, key: &str, value: &str) {
        self.remove(key);
        self.add(key, value);
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &str) {
        let list = self.lists.remove(key);
        self.bytes -= list.map_or(0, |list| list.values.iter().map(String::len).sum());
        self.keys.retain(|other| other != key);
    }

    /// Adds the values of another document behind these: distinct ones, but a list with repeats that comes to a key of
    /// which there is nothing yet keeps them. Of objects, the one that is here stays; lists of objects are joined.
    pub fn merge(&mut self, other: Self) {
        for key in &other.keys {
            let Some(list) = other.lists.get(key) else { continue };
            let fresh = !self.lists.contains_key(key);
            for value in &list.values {
                self.put(key, value, !fresh);
            }
        }
        for (key, value) in other.objects {
            match (self.objects.get_mut(&key), value) {
                (Some(Value::Array(here)), Value::Array(more)) => here.extend(more),
                (Some(_), _) => {}
                (None, value) => drop(self.objects.insert(key, value)),
            }
        }
    }

    /// Keys of which values were left out because there were more than [`MOST`], or more than [`MOST_BYTES`] of all keys.
    pub fn cut(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str).filter(|key| self.lists.get(*key).is_some_and(|list| list.cut))
    }

    /// The object of the index.
    pub fn into_json(mut self) -> Map<String, Value> {
        let mut map = Map::new();
        for key in self.keys {
            let Some(List { mut values, .. }) = self.lists.remove(&key) else { continue };
            let value = if values.len() == 1 { Value::String(values.remove(0)) } else { Value::from(values) };
            map.insert(key, value);
        }
        map.extend(self.objects);
        map
    }

    fn put(&mut self, key: &str, value: &str, distinct: bool) {
        let value: String = shortened(value.trim()).nfc().collect();
        if value.is_empty() {
            return;
        }
        if !self.lists.contains_key(key) {
            self.keys.push(key.to_owned());
        }
        let list = self.lists.entry(key.to_owned()).or_default();
        if distinct && list.seen.contains(&value) {
            return;
        }
        if list.values.len() == MOST || self.bytes + value.len() > MOST_BYTES {
            list.cut = true;
            return;
        }
        self.bytes += value.len();
        list.seen.insert(value.clone());
        list.values.push(value);
    }
}

/// A stranger's text may be as long as the file.
fn shortened(value: &str) -> &str {
    let end = value.floor_char_boundary(LONGEST);
    &value[..end]
}

/// Values that one key keeps: memory stays small whatever a flow holds.
pub const MOST: usize = 10_000;
/// Bytes that one value keeps.
pub const LONGEST: usize = 16 << 10;
/// Bytes that the values of all keys keep.
pub const MOST_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_a_string_and_several_are_a_list() {
        let mut values = Values::default();
        for (key, value) in [("objet", " e\u{301}te\u{301}\n"), ("id", "2"), ("id", "1"), ("id", "2"), ("none", " ")] {
            values.add(key, value);
        }
        values.add_again("type_pj", "22_DP");
        values.add_again("type_pj", "22_DP");
        let mut all = Values::default();
        all.add("id", "3");
        all.merge(values);
        assert_eq!((all.first("id"), all.all("nothing").len()), (Some("3"), 0));
        let json = serde_json::json!({ "objet": "été", "id": ["3", "2", "1"], "type_pj": ["22_DP", "22_DP"] });
        assert_eq!(Value::Object(all.into_json()), json);
    }

    #[test]
    fn what_is_kept_of_a_key_is_bounded() {
        let mut values = Values::default();
        for n in 0..=MOST {
            values.add("id", &n.to_string());
        }
        values.add("long", &"é".repeat(LONGEST));
        assert_eq!((values.all("id").len(), values.cut().collect::<Vec<_>>()), (MOST, vec!["id"]));
        assert!(values.first("long").is_some_and(|long| long.len() <= LONGEST));
        for n in 0..1000 {
            values.add(&format!("key {}", n % 7), &format!("{n} {}", "x".repeat(LONGEST)));
        }
        assert!(values.bytes <= MOST_BYTES && values.cut().count() == 8, "{}", values.bytes);
        (0..7).for_each(|n| values.remove(&format!("key {n}")));
        assert!(values.bytes < LONGEST + 6 * MOST, "{}", values.bytes);
    }
}
