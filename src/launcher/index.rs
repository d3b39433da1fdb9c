//! The index: the sidecar with what is known of an item and its files, as JSON, XML or CSV (contract, section 3).
//!
//! Not a copy of the ledger: fields, names and absence are the contract's, never translated. One structure makes all
//! three forms. It is made when the item's files have their names, and again from the ledger should one of them change.

use std::time::SystemTime;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use serde::Serialize;
use serde_json::{Map, Value};

use super::metadata;
use super::naming::{kind, local};
use crate::config::Launcher;
use crate::config::launcher::Index as Format;
use crate::delivery::ledger::{Decision, Entry};

/// The extension of an index in this format; `None`: there is none.
pub(super) fn extension(format: Format) -> Option<&'static str> {
    match format {
        Format::None => None,
        Format::Json => Some("json"),
        Format::Xml => Some("xml"),
        Format::Csv => Some("csv"),
    }
}

/// The format of an index of this name.
pub(super) fn format(name: &str) -> Format {
    let named = |format: &Format| extension(*format).is_some_and(|extension| name.ends_with(extension));
    [Format::Json, Format::Xml, Format::Csv].into_iter().find(named).unwrap_or_default()
}

/// What an index says. Without a value a field is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[cfg_attr(test, serde(default))]
pub(super) struct Index {
    #[serde(skip_serializing_if = "String::is_empty")]
    launcher: String,
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<String>,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<String>,
    delivered_at: String,
    files: Vec<File>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    metadata: Map<String, Value>,
}

/// A delivered document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[cfg_attr(test, serde(default))]
struct File {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    size: u64,
    sha256: String,
    role: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    readable: bool,
}

impl Index {
    /// The index of an item whose documents have their names. `missing` are its damaged documents, which went to
    /// quarantine, or what an envelope announces and does not hold; `warnings` is what else was noticed.
    pub(super) fn of(launcher: &Launcher, entry: &Entry, delivered_at: SystemTime) -> Self {
        let mut index = Self::of_item(launcher, entry, delivered_at);
        if let Some(contents) = &entry.contents {
            index.kind = contents.kind.map_or(index.kind, |kind| kind.as_str().to_owned());
            index.missing.extend(contents.missing.iter().cloned());
            index.warnings.extend(contents.warnings.iter().map(|warning| warning.en.replace('\n', " ")));
            index.metadata = contents.metadata.clone();
        }
        index
    }

    /// The same of what `pertuis decode` takes apart: no launcher took it.
    pub(super) fn of_nobody(self) -> Self {
        Self { launcher: String::new(), source: String::new(), account: None, ..self }
    }

    fn of_item(launcher: &Launcher, entry: &Entry, delivered_at: SystemTime) -> Self {
        let facts = &entry.facts;
        let lines = |text: &str| text.lines().map(ToOwned::to_owned).collect();
        let is_missing = |decision: &Decision| *decision == Decision::Quarantined;
        let missing = entry.parts.iter().filter(|part| is_missing(&part.decision));
        Self {
            launcher: launcher.name.to_string(),
            kind: kind(launcher).to_owned(),
            source: launcher.kind.as_str().to_owned(),
            account: launcher.account.clone(),
            folder: facts.folder.clone(),
            key: entry.short.clone(),
            message_id: facts.message_id.clone(),
            from: facts.from.clone(),
            to: facts.to.as_deref().map(lines).unwrap_or_default(),
            subject: facts.subject.clone(),
            date: facts.date.map(timestamp),
            received: facts.received.map(timestamp),
            delivered_at: timestamp(delivered_at),
            files: files(entry),
            missing: missing.filter_map(|part| part.original_name.clone()).collect(),
            warnings: entry.reason.as_ref().map(|reason| lines(&reason.en)).unwrap_or_default(),
            metadata: Map::new(),
        }
    }

    /// Its bytes in this format.
    pub(super) fn render(&self, format: Format) -> std::io::Result<Vec<u8>> {
        match format {
            Format::None => Ok(Vec::new()),
            Format::Json => {
                let mut json = serde_json::to_vec_pretty(self)?;
                json.push(b'\n');
                Ok(json)
            }
            Format::Xml => self.xml(),
            Format::Csv => self.csv(),
        }
    }

    /// The fields in order, each with its values; the files come in their place as `None`.
    fn fields(&self) -> Vec<(&'static str, Option<Vec<&str>>)> {
        vec![
            ("launcher", Some(some(&self.launcher))),
            ("kind", Some(vec![&self.kind])),
            ("source", Some(some(&self.source))),
            ("account", Some(one(self.account.as_deref()))),
            ("folder", Some(one(self.folder.as_deref()))),
            ("key", Some(vec![&self.key])),
            ("message_id", Some(one(self.message_id.as_deref()))),
            ("from", Some(one(self.from.as_deref()))),
            ("to", Some(list(&self.to))),
            ("subject", Some(one(self.subject.as_deref()))),
            ("date", Some(one(self.date.as_deref()))),
            ("received", Some(one(self.received.as_deref()))),
            ("delivered_at", Some(vec![&self.delivered_at])),
            ("files", None),
            ("missing", Some(list(&self.missing))),
            ("warnings", Some(list(&self.warnings))),
        ]
    }

    fn xml(&self) -> std::io::Result<Vec<u8>> {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        writer.write_event(Event::Start(BytesStart::new("index")))?;
        for (name, values) in self.fields() {
            match values {
                Some(values) => values.into_iter().try_for_each(|value| element(&mut writer, name, value))?,
                None => self.xml_files(&mut writer)?,
            }
        }
        if !self.metadata.is_empty() {
            writer.write_event(Event::Start(BytesStart::new("metadata")))?;
            metadata::xml(&mut writer, &self.metadata)?;
            writer.write_event(Event::End(BytesEnd::new("metadata")))?;
        }
        writer.write_event(Event::End(BytesEnd::new("index")))?;
        let mut xml = writer.into_inner();
        xml.push(b'\n');
        Ok(xml)
    }

    fn xml_files(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        writer.write_event(Event::Start(BytesStart::new("files")))?;
        for file in &self.files {
            writer.write_event(Event::Start(BytesStart::new("file")))?;
            for (name, value) in FILE_FIELDS.iter().zip(file.values()) {
                value.map_or(Ok(()), |value| element(writer, name, &value))?;
            }
            writer.write_event(Event::End(BytesEnd::new("file")))?;
        }
        writer.write_event(Event::End(BytesEnd::new("files")))
    }

    /// UTF-8 with BOM, which Excel needs; one row for each file, with the fields of the item in each.
    fn csv(&self) -> std::io::Result<Vec<u8>> {
        let fields = self.fields();
        let header = fields.iter().flat_map(|(name, values)| match values {
            Some(_) => vec![*name],
            None => FILE_FIELDS.to_vec(),
        });
        let keys = self.metadata.keys().map(|key| format!("metadata.{key}"));
        let header = header.map(ToOwned::to_owned).chain(keys);
        let mut metadata: Vec<String> = self.metadata.values().map(metadata::cell).collect();
        let bytes = metadata.iter().map(String::len).sum::<usize>();
        let mut writer = csv::WriterBuilder::new()
            .delimiter(b';')
            .terminator(csv::Terminator::CRLF)
            .from_writer("\u{feff}".as_bytes().to_vec());
        writer.write_record(header)?;
        for (n, file) in self.files.iter().enumerate() {
            if n == 1 && bytes.saturating_mul(self.files.len()) > REPEATED {
                metadata.iter_mut().for_each(String::clear);
            }
            let cells = fields.iter().flat_map(|(_, values)| match values {
                Some(values) => vec![values.join("|")],
                None => file.values().map(Option::unwrap_or_default).to_vec(),
            });
            writer.write_record(cells.chain(metadata.iter().cloned()))?;
        }
        writer.into_inner().map_err(|error| std::io::Error::other(error.to_string()))
    }
}

impl File {
    /// The values of [`FILE_FIELDS`].
    fn values(&self) -> [Option<String>; FILE_FIELDS.len()] {
        [
            Some(self.name.clone()),
            self.original_name.clone(),
            self.media_type.clone(),
            Some(self.size.to_string()),
            Some(self.sha256.clone()),
            Some(self.role.clone()),
            self.readable.then(|| "true".to_owned()),
        ]
    }
}

fn files(entry: &Entry) -> Vec<File> {
    let readable = entry.contents.as_ref().map_or(&[][..], |contents| &contents.readable);
    let file = |part: &crate::delivery::ledger::Part| match &part.decision {
        Decision::Taken { name, size, sha256, .. } if part.role.is_document() => Some(File {
            name: name.clone(),
            original_name: part.original_name.clone(),
            media_type: part.media_type.clone(),
            size: *size,
            sha256: sha256.to_string(),
            role: part.role.as_str().to_owned(),
            readable: readable.binary_search(&part.n).is_ok(), // in ascending order
        }),
        _ => None,
    };
    entry.parts.iter().filter_map(file).collect()
}

fn one(text: Option<&str>) -> Vec<&str> {
    text.into_iter().collect()
}

fn some(text: &str) -> Vec<&str> {
    one(Some(text).filter(|text| !text.is_empty()))
}

fn list(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// RFC 3339 with this machine's offset: readable where it stands, the same moment everywhere.
fn timestamp(time: SystemTime) -> String {
    local(time).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

pub(super) fn element(writer: &mut Writer<Vec<u8>>, name: &str, value: &str) -> std::io::Result<()> {
    let text: String = value.chars().map(|c| if is_xml(c) { c } else { char::REPLACEMENT_CHARACTER }).collect();
    writer.write_event(Event::Start(BytesStart::new(name)))?;
    writer.write_event(Event::Text(BytesText::new(&text)))?;
    writer.write_event(Event::End(BytesEnd::new(name)))
}

/// XML 1.0, 2.2: other characters cannot stand in a document, not even escaped.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | ' '..='\u{fffd}' | '\u{10000}'..)
}

const FILE_FIELDS: [&str; 7] = ["name", "original_name", "media_type", "size", "sha256", "role", "readable"];
/// Bytes of metadata up to which a CSV repeats them in each row; those of a flow with thousands of pieces stand in the
/// first one alone, else they would be written thousands of times.
const REPEATED: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::delivery::ledger::{Facts, Part, Stage};
    use crate::launcher::tests::launcher;
    use crate::model::{Digest, ItemKey, Role};
    use crate::text::Text;

    const ODD: &str = "a;b|c \"<&>'\" é\nline\u{1}";

    fn part(n: u32, role: Role, name: &str, taken: bool) -> Part {
        let decision = Decision::Taken {
            staged: format!("k.{n}"),
            name: name.into(),
            directory: PathBuf::from("/cold"),
            size: 3,
            sha256: Digest::of(b"abc"),
        };
        Part {
            n,
            role,
            original_name: Some(format!("original {name}")),
            media_type: (n == 1).then(|| "application/pdf".into()),
            decision: if taken { decision } else { Decision::Quarantined },
        }
    }

    fn entry() -> Entry {
        Entry {
            key: ItemKey::new("old/1"),
            short: "1-abc".into(),
            stage: Stage::Recorded,
            reason: Some(Text::same("first warning\nsecond warning")),
            facts: Facts {
                subject: Some(ODD.into()),
                from: Some("Marie <marie@example.test>".into()),
                to: Some("Dupont, Jean <jean@example.test>\nged@example.test".into()),
                received: Some(SystemTime::UNIX_EPOCH),
                ..Facts::default()
            },
            parts: vec![
                part(0, Role::Folder, "folder", true),
                part(1, Role::Attachment, "a.pdf", true),
                part(2, Role::Attachment, "b.pdf", false),
                part(3, Role::Inline, "c;d.png", true),
                part(4, Role::Index, "index.json", true),
            ],
            contents: None,
            settled: false,
        }
    }

    fn index() -> Index {
        Index::of(&launcher(Path::new("/cold")), &entry(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn json_says_all_fields_and_leaves_out_what_has_no_value() {
        let index = index();
        let json = index.render(Format::Json).unwrap();
        assert_eq!(serde_json::from_slice::<Index>(&json).unwrap(), index);
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!((&value["kind"], &value["source"]), (&"mail".into(), &"imap".into()));
        assert_eq!(value["to"], serde_json::json!(["Dupont, Jean <jean@example.test>", "ged@example.test"]));
        assert_eq!(value["missing"], serde_json::json!(["original b.pdf"]));
        assert_eq!(value["warnings"], serde_json::json!(["first warning", "second warning"]));
        assert_eq!(value["subject"], ODD);
        assert_eq!(value["files"].as_array().unwrap().len(), 2);
        assert_eq!(value["files"][0]["size"], 3);
        let received: jiff::Timestamp = value["received"].as_str().unwrap().parse().unwrap();
        assert_eq!(received, jiff::Timestamp::UNIX_EPOCH);
        let absent = ["message_id", "date", "folder"].map(|field| value.get(field));
        assert_eq!((absent, value["files"][1].get("media_type")), ([None; 3], None));
    }

    /// The texts of an XML, each with the path of its elements.
    fn texts(xml: &[u8]) -> Vec<(String, String)> {
        let mut reader = quick_xml::Reader::from_reader(xml);
        let (mut path, mut found, mut text) = (Vec::new(), Vec::new(), String::new());
        loop {
            match reader.read_event().unwrap() {
                Event::Start(start) => {
                    path.push(start.name().as_ref().to_owned());
                    text.clear();
                }
                Event::Text(part) => text.push_str(&part),
                Event::GeneralRef(name) => {
                    text.push_str(&quick_xml::escape::unescape(&format!("&{};", &*name)).unwrap());
                }
                Event::End(_) => {
                    if !text.trim().is_empty() {
                        found.push((path.join("/"), std::mem::take(&mut text)));
                    }
                    path.pop();
                    text.clear();
                }
                Event::Eof => return found,
                _ => {}
            }
        }
    }

    #[test]
    fn xml_repeats_lists_and_holds_only_characters_that_xml_has() {
        let texts = texts(&index().render(Format::Xml).unwrap());
        let all =
            |path: &str| texts.iter().filter(|(at, _)| at == path).map(|(_, text)| text.as_str()).collect::<Vec<_>>();
        assert_eq!(all("index/to"), ["Dupont, Jean <jean@example.test>", "ged@example.test"]);
        assert_eq!(all("index/subject"), [ODD.replace('\u{1}', "\u{fffd}")]);
        assert_eq!(all("index/files/file/name"), ["a.pdf", "c;d.png"]);
        assert_eq!(all("index/files/file/media_type"), ["application/pdf"]);
        assert_eq!(all("index/warnings").len(), 2);
        assert!(all("index/message_id").is_empty());
    }

    #[test]
    fn csv_has_one_row_for_each_file_under_a_header() {
        let csv = index().render(Format::Csv).unwrap();
        let text = csv.strip_prefix("\u{feff}".as_bytes()).unwrap();
        let mut reader = csv::ReaderBuilder::new().delimiter(b';').from_reader(text);
        let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0]["name"].as_str(), rows[1]["name"].as_str()), ("a.pdf", "c;d.png"));
        for row in &rows {
            assert_eq!(row["subject"], ODD);
            assert_eq!(row["to"], "Dupont, Jean <jean@example.test>|ged@example.test");
            assert_eq!((row["message_id"].as_str(), row["missing"].as_str()), ("", "original b.pdf"));
        }
        assert!(!text.contains(&b'\t') && text.windows(2).any(|end| end == b"\r\n"));
    }
}
