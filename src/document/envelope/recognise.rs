//! What a file is, by its first bytes, and what kind of envelope a deposit of such files is (facts, section C).
//!
//! Not a decoder, and no judge of names: a name only tells which text may be a metadata file, and which HTML is somebody's
//! annexe rather than an XML with a DOCTYPE.

use std::collections::HashSet;

use super::archive::Format;
use super::pastell::{self, Metadata};
use super::xml::{self, Root};
use super::{Error, chorus};
use crate::model::{EnvelopeKind, Role};
use crate::text;
use crate::text::Text;

/// A file, told by its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A container.
    Archive(Format),
    /// A document of a family, with its root.
    Known(Family, Root),
    /// An XML that is refused before it is read: it has a DOCTYPE.
    Refused(Text),
    /// A PDF.
    Pdf,
    /// It may be a metadata file: small text of such a name, or an XML of such a root.
    Note,
    /// Anything else.
    Other,
}

/// Whose decoder reads a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Messages and envelopes of ACTES.
    Actes,
    /// PES, acquits, returns.
    Helios,
    /// Pivots, statuses, bare invoices.
    Chorus,
    /// Exports of web-delib.
    Webdelib,
    /// A budget (`DocumentBudgetaire`), which has no values of its own: it goes with an acte, or alone to the prefecture.
    Budget,
}

impl Family {
    /// The family of a root; names of roots are compared without case, as S²LOW does.
    pub fn of(root: &Root) -> Option<Self> {
        let namespace = root.namespace.to_ascii_lowercase();
        let local = root.local.to_ascii_lowercase();
        if namespace.starts_with(ACTES) {
            return Some(Self::Actes);
        }
        if PES.contains(&local.as_str()) && (namespace.is_empty() || namespace.contains(HELIOS)) {
            return Some(Self::Helios);
        }
        if chorus::Form::of(root).is_some() {
            return Some(Self::Chorus);
        }
        match local.as_str() {
            "depot" if namespace.is_empty() || namespace.contains("webdelib") => Some(Self::Webdelib),
            "documentbudgetaire" => Some(Self::Budget),
            _ => None,
        }
    }

    /// The kind of its documents.
    pub fn kind(self) -> EnvelopeKind {
        match self {
            Self::Actes | Self::Budget => EnvelopeKind::Actes,
            Self::Helios => EnvelopeKind::Helios,
            Self::Chorus => EnvelopeKind::Chorus,
            Self::Webdelib => EnvelopeKind::Webdelib,
        }
    }
}

/// What the file `name` of `size` bytes is; `head` holds its first [`HEAD`] bytes, or all of it.
///
/// # Errors
/// None for what it holds: a DOCTYPE is told by [`What::Refused`].
pub fn recognise(name: &str, size: u64, head: &[u8]) -> Result<What, Error> {
    if let Some(format) = Format::of(head) {
        return Ok(What::Archive(format));
    }
    if head.starts_with(b"%PDF-") {
        return Ok(What::Pdf);
    }
    match xml::sniff(&mut &*head) {
        Ok(Some(root)) => Ok(match Family::of(&root) {
            Some(family) => What::Known(family, root),
            None if root.local.eq_ignore_ascii_case("flux") => What::Note,
            None => What::Other,
        }),
        Ok(None) if size <= NOTE && has_ending(name, &NOTES) => Ok(What::Note),
        Ok(None) => Ok(What::Other),
        Err(Error::Refused(_)) if !has_ending(name, &[".xml"]) && is_page(head) => Ok(What::Other),
        Err(Error::Refused(why)) => Ok(What::Refused(why)),
        Err(error) => Err(error),
    }
}

/// The metadata file among `notes` (names and parsed files; `members` are all names): the one that lists most of what is
/// there, of equal ones the one that is called so.
pub fn metadata<'a>(notes: &'a [(String, Metadata)], members: &[&str]) -> Option<&'a (String, Metadata)> {
    let listed_elsewhere = |name: &str| {
        notes.iter().any(|(other, metadata)| {
            let mut files = metadata.files.iter().take(MOST_LISTED);
            other != name && files.any(|listed| metadata.matches(listed, name))
        })
    };
    let members: HashSet<&str> = members.iter().copied().collect();
    let score = |(name, metadata): &(String, Metadata)| {
        let found = metadata.files.iter().filter(|listed| members.contains(listed.name.as_str()));
        (!listed_elsewhere(name), name.to_lowercase().contains("metadata"), found.count(), metadata.fields.len())
    };
    notes.iter().rev().max_by_key(|note| score(note))
}

/// Whether the metadata says that `member` goes with something else, so that what it holds says nothing about the deposit.
pub fn is_aside(metadata: Option<&Metadata>, member: &str) -> bool {
    let Some(metadata) = metadata else { return false };
    let aside = |role: Role| matches!(role, Role::Annex | Role::Attachment | Role::Invoice);
    let listed = metadata.files.iter().take(MOST_LISTED);
    let mut fields = listed.filter(|listed| metadata.matches(listed, member)).peekable();
    fields.peek().is_some() && fields.all(|listed| aside(pastell::role(&listed.field)))
}

/// The kind of a deposit: what its documents are; where they differ, the one that the metadata names; without any, what
/// the metadata says. A readable metadata file that belongs to nothing is Pastell's own.
pub fn kind(
    families: &[Family],
    metadata: Option<&Metadata>,
    aliases: &[(String, EnvelopeKind)],
) -> Option<EnvelopeKind> {
    let said = metadata.map(|metadata| metadata.envelope_kind(aliases).unwrap_or(EnvelopeKind::Pastell));
    let kinds = |family: &&Family| **family != Family::Budget;
    let mut content: Vec<EnvelopeKind> = families.iter().filter(kinds).map(|family| family.kind()).collect();
    content.sort_unstable();
    let agreed = said.filter(|said| content.contains(said));
    let budget = families.contains(&Family::Budget).then_some(EnvelopeKind::Actes);
    agreed
        .or_else(|| content.first().copied())
        .or(said.filter(|said| *said != EnvelopeKind::Pastell))
        .or(budget)
        .or(said)
}

/// Why a deposit without anything to go by is refused.
pub fn nothing(names: &[&str]) -> Text {
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let shown = if shown.is_empty() { "-".to_owned() } else { shown };
    text!(
        "nothing in it is recognised ({shown}): a message of ACTES, a PES, a flow or an invoice of Chorus Pro, an export of web-delib, or a metadata file of Pastell is expected",
        "rien n'y est reconnu ({shown}) : un message ACTES, un PES, un flux ou une facture de Chorus Pro, un export de web-delib, ou un fichier de métadonnées de Pastell est attendu"
    )
}

/// HTML and SVG come with a DOCTYPE and are nobody's envelope.
fn is_page(head: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&head[..head.len().min(4096)]).to_ascii_lowercase();
    ["<!doctype html", "<!doctype svg"].iter().any(|page| start.contains(page))
}

fn has_ending(name: &str, endings: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    endings.iter().any(|ending| name.ends_with(ending))
}

/// Bytes of a file that are looked at.
pub const HEAD: usize = 64 << 10;
/// Bytes of a metadata file.
pub const NOTE: u64 = 4 << 20;
/// Notes that are read for a metadata file.
pub const MOST_NOTES: usize = 50;
/// Listed files that are compared in all ways that Pastell cleans names.
const MOST_LISTED: usize = 500;
/// Endings of the metadata files that are no XML (facts, A.1).
const NOTES: [&str; 4] = [".json", ".txt", ".yml", ".yaml"];
/// Namespaces of ACTES, in lower case.
const ACTES: &str = "http://www.interieur.gouv.fr/actes";
/// Part of the namespaces of PES V2, in lower case.
const HELIOS: &str = "/helios/pes_v2/";
/// Roots of PES V2, in lower case.
const PES: [&str; 5] = ["pes_aller", "pes_acquit", "pes_nonacquit", "pes_retour", "pes_acquit_retour"];
