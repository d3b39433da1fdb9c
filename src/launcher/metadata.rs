//! `metadata` of an index in XML and CSV: lists, objects, and keys that strangers chose.
//!
//! Not their meaning: keys and values are the decoders' and stand in JSON as they are. Whatever a key is called, what
//! comes out is well-formed.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, Event};
use serde_json::{Map, Value};

use super::index::element;

/// An element for each key, repeated for lists; objects are elements with elements in them.
pub(super) fn xml(writer: &mut Writer<Vec<u8>>, map: &Map<String, Value>) -> io::Result<()> {
    map.iter().try_for_each(|(key, value)| element_of(writer, &xml_name(key), value))
}

fn element_of(writer: &mut Writer<Vec<u8>>, name: &str, value: &Value) -> io::Result<()> {
    match value {
        Value::Null => Ok(()),
        Value::Array(values) => values.iter().try_for_each(|value| element_of(writer, name, value)),
        Value::Object(map) => {
            writer.write_event(Event::Start(BytesStart::new(name)))?;
            xml(writer, map)?;
            writer.write_event(Event::End(BytesEnd::new(name)))
        }
        value => element(writer, name, &scalar(value)),
    }
}

/// The cell of a value: lists joined with `|`; objects, and lists of objects, as compact JSON.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Array(values) if !values.iter().any(|value| value.is_object() || value.is_array()) => {
            values.iter().map(scalar).collect::<Vec<_>>().join("|")
        }
        value => scalar(value),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// A key as the name of an element (XML 1.0, 2.3, without colons, which are for namespaces): other characters become `_`.
fn xml_name(key: &str) -> String {
    let mut name: String = key.chars().map(|c| if is_name(c) { c } else { '_' }).collect();
    if !name.chars().next().is_some_and(is_name_start) {
        name.insert(0, '_');
    }
    name
}

fn is_name_start(c: char) -> bool {
    c == '_'
        || c.is_ascii_alphabetic()
        || matches!(c, '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}'
            | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}'
            | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}')
}

fn is_name(c: char) -> bool {
    is_name_start(c)
        || c.is_ascii_digit()
        || matches!(c, '-' | '.' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_strangers_make_names_of_elements() {
        for (key, name) in
            [("objet", "objet"), ("2 étés", "_2_étés"), ("a:b", "a_b"), ("", "_"), ("<x>&", "_x__"), ("-", "_-")]
        {
            assert_eq!(xml_name(key), name, "{key}");
        }
    }

    #[test]
    fn lists_are_repeated_and_objects_nest() {
        let value = serde_json::json!({ "id": ["1", "<2>"], "items": [{ "n": "a" }, { "n": ["b", "c"] }], "x": null });
        let mut writer = Writer::new(Vec::new());
        xml(&mut writer, value.as_object().unwrap()).unwrap();
        let xml = String::from_utf8(writer.into_inner()).unwrap();
        assert_eq!(xml, "<id>1</id><id>&lt;2&gt;</id><items><n>a</n></items><items><n>b</n><n>c</n></items>");
        let cells: Vec<_> = value.as_object().unwrap().values().map(cell).collect();
        assert_eq!(cells, ["1|<2>", r#"[{"n":"a"},{"n":["b","c"]}]"#, ""]);
    }
}
