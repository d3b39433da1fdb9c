//! Templates of names (`name`, `folder_name`): text with fields in braces.
//!
//! Not the values: a template is parsed here, and rendered by whoever knows the item. What comes out is made safe as a
//! file name afterwards, so a field may hold anything.

use std::fmt;

use crate::text;
use crate::text::Text;

/// A name with fields. Equal when written alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// What may stand in braces (contract, section 1: `name`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The document's own name.
    Name,
    /// The same without its extension.
    Stem,
    /// Its extension without the dot.
    Ext,
    /// The item's date, `2026-02-01`.
    Date,
    /// Its time of day, `10-00-00`.
    Time,
    /// Its subject.
    Subject,
    /// The address of its sender.
    From,
    /// `account` of the launcher.
    Account,
    /// The section's name.
    Launcher,
    /// The server's number of the message, where it has one.
    Uid,
    /// The item's key.
    Key,
    /// The item's kind.
    Kind,
    /// The document's role.
    Role,
    /// The document's number in its item, from 1.
    N,
    /// The first 16 hex digits of the document's SHA-256.
    Hash,
}

impl Template {
    /// Reads the template of a document's name.
    ///
    /// # Errors
    /// An unknown field, a brace without its other half, a separator of paths, nothing.
    pub fn document(text: &str) -> Result<Self, Text> {
        if text.contains(['/', '\\']) {
            return Err(text!(
                "{text:?}: a name holds no / or \\; group = folder makes a folder for each message",
                "{text:?} : un nom ne contient ni / ni \\ ; group = folder fait un dossier par message"
            ));
        }
        if text.is_empty() {
            return Err(text!("a name is missing", "il manque un nom"));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(open);
            let end = after.find('}').filter(|_| after.starts_with('{')).ok_or_else(|| unpaired(text))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let word = &after[1..end];
            pieces.push(Piece::Field(Field::parse(word).ok_or_else(|| unknown(word))?));
            rest = &after[end + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// Reads the template of an item's folder.
    ///
    /// # Errors
    /// The same, and a field that only documents have.
    pub fn folder(text: &str) -> Result<Self, Text> {
        let template = Self::document(text)?;
        let of_document = |piece: &Piece| match piece {
            Piece::Field(field) if field.is_of_document() => Some(field.as_str()),
            _ => None,
        };
        match template.pieces.iter().find_map(of_document) {
            None => Ok(template),
            Some(word) => Err(text!(
                "{{{word}}} differs from document to document: not for the name of their folder",
                "{{{word}}} diffère d'un document à l'autre : pas pour le nom de leur dossier"
            )),
        }
    }

    /// `{name}`: the document's own name.
    pub fn own_name() -> Self {
        Self { text: "{name}".to_owned(), pieces: vec![Piece::Field(Field::Name)] }
    }

    /// `{key}_{n}_{name}`: what keeps the files of an envelope together, side by side with those of others.
    pub fn of_envelope() -> Self {
        let (text, join) = ("{key}_{n}_{name}".to_owned(), || Piece::Text("_".to_owned()));
        let field = Piece::Field;
        Self { text, pieces: vec![field(Field::Key), join(), field(Field::N), join(), field(Field::Name)] }
    }

    /// `{key}`.
    pub fn key() -> Self {
        Self { text: "{key}".to_owned(), pieces: vec![Piece::Field(Field::Key)] }
    }

    /// The text with each field's value in its place.
    pub fn render(&self, value: impl Fn(Field) -> String) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field(field) => value(*field),
        };
        self.pieces.iter().map(piece).collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Field {
    /// All of them, in the order of the contract.
    const ALL: [Self; 15] = [
        Self::Name,
        Self::Stem,
        Self::Ext,
        Self::Date,
        Self::Time,
        Self::Subject,
        Self::From,
        Self::Account,
        Self::Launcher,
        Self::Uid,
        Self::Key,
        Self::Kind,
        Self::Role,
        Self::N,
        Self::Hash,
    ];

    /// The word in the braces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Stem => "stem",
            Self::Ext => "ext",
            Self::Date => "date",
            Self::Time => "time",
            Self::Subject => "subject",
            Self::From => "from",
            Self::Account => "account",
            Self::Launcher => "launcher",
            Self::Uid => "uid",
            Self::Key => "key",
            Self::Kind => "kind",
            Self::Role => "role",
            Self::N => "n",
            Self::Hash => "hash",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str().eq_ignore_ascii_case(word.trim()))
    }

    fn is_of_document(self) -> bool {
        matches!(self, Self::Name | Self::Stem | Self::Ext | Self::Role | Self::N | Self::Hash)
    }
}

fn unknown(word: &str) -> Text {
    let known: Vec<&str> = Field::ALL.iter().map(|field| field.as_str()).collect();
    let known = known.join("} {");
    text!("{{{word}}} is unknown; there are {{{known}}}", "{{{word}}} est inconnu ; il y a {{{known}}}")
}

fn unpaired(text: &str) -> Text {
    text!("{text:?}: a brace has no other half", "{text:?} : une accolade n'a pas sa moitié")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_replaced_and_the_rest_stays() {
        let template = Template::document("{date}_{NAME}-x").unwrap();
        assert_eq!(template.render(|field| field.as_str().to_uppercase()), "DATE_NAME-x");
        assert_eq!(template.to_string(), "{date}_{NAME}-x");
    }

    #[test]
    fn what_cannot_be_a_name_is_refused_with_its_reason() {
        for (text, part) in [("", "missing"), ("a/b", "folder"), ("{nom}", "{stem}"), ("{name", "half"), ("a}", "half")]
        {
            let said = Template::document(text).unwrap_err().en;
            assert!(said.contains(part), "{said}");
        }
        assert!(Template::folder("{n}").unwrap_err().en.contains("document"));
        assert!(Template::folder("{date}-{subject}").is_ok());
    }
}
