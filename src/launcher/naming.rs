//! Names of what is delivered: templates filled in with what is known of an item, and numbers where a name is taken.
//!
//! Not the rename: a name is chosen here, committed to the ledger by the cycle, and tried afterwards. What is told by a
//! sender never makes a path: separators in a field become `_`, and the whole is made safe at the end.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::config::Launcher;
use crate::config::launcher::Kind;
use crate::config::template::{Field, Template};
use crate::delivery::ledger::Facts;
use crate::document::names::{LONGEST, message_name, numbered, safe_name, split_extension};
use crate::model::{Digest, Role};

/// What the names of one item's documents are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Naming<'a> {
    pub(super) launcher: &'a Launcher,
    /// `{key}`.
    pub(super) short: &'a str,
    /// `{uid}`; may be empty.
    pub(super) uid: &'a str,
    /// `{kind}`.
    pub(super) kind: &'static str,
}

/// What the name of one document is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) n: u32,
    pub(super) role: &'a Role,
    /// Its own name, not sanitised.
    pub(super) name: &'a str,
    pub(super) sha256: Digest,
}

impl Naming<'_> {
    /// The safe name of a document by `name`. Its extension is never lost: a template that leaves it out, or puts
    /// something behind it, has it added.
    pub(super) fn document(&self, facts: &Facts, document: &Named<'_>) -> String {
        let own = safe_name(&composed(document.name));
        let template = &self.launcher.template;
        if *template == Template::own_name() {
            return own;
        }
        let (stem, extension) = split_extension(&own);
        let rendered = template.render(|field| match field {
            Field::Name => own.clone(),
            Field::Stem => stem.to_owned(),
            Field::Ext => extension.trim_start_matches('.').to_owned(),
            Field::Role => document.role.as_str().to_owned(),
            Field::N => document.n.to_string(),
            Field::Hash => document.sha256.to_string()[..16].to_owned(),
            _ => self.of_item(facts, field),
        });
        with_extension(&rendered, extension)
    }

    /// The safe name of the item's folder by `folder_name`.
    pub(super) fn folder(&self, facts: &Facts, template: &Template) -> String {
        safe_name(&composed(&template.render(|field| self.of_item(facts, field))))
    }

    /// The own name of a message that is taken whole: its subject, else its key.
    pub(super) fn message(&self, facts: &Facts) -> String {
        let subject = facts.subject.as_deref().map(str::trim).filter(|subject| !subject.is_empty());
        message_name(subject.unwrap_or(self.short))
    }

    fn of_item(&self, facts: &Facts, field: Field) -> String {
        let local = |format| moment(facts).strftime(format).to_string();
        let text = match field {
            Field::Date => local("%Y-%m-%d"),
            Field::Time => local("%H-%M-%S"),
            Field::Subject => facts.subject.clone().unwrap_or_default(),
            Field::From => facts.from.as_deref().map(bare_address).unwrap_or_default().to_owned(),
            Field::Account => self.launcher.account.clone().unwrap_or_default(),
            Field::Launcher => self.launcher.name.to_string(),
            Field::Uid => self.uid.to_owned(),
            Field::Key => self.short.to_owned(),
            Field::Kind => self.kind.to_owned(),
            // of documents, not of their item: no template of a folder holds them
            Field::Name | Field::Stem | Field::Ext | Field::Role | Field::N | Field::Hash => String::new(),
        };
        text.trim().replace(['/', '\\'], "_")
    }
}

/// The name of an item's index: by the key where files stand side by side.
pub(super) fn index_name(launcher: &Launcher, short: &str, extension: &str) -> String {
    match launcher.folder {
        Some(_) => format!("index.{extension}"),
        None => format!("{short}.index.{extension}"),
    }
}

/// The contract's `kind` of what a launcher takes; of an envelope it is its own.
pub(super) fn kind(launcher: &Launcher) -> &'static str {
    match launcher.kind {
        Kind::Imap | Kind::Pop3 | Kind::O365 => "mail",
        Kind::Directory | Kind::Adullact => "file",
    }
}

/// A time as this machine's clock on the wall shows it; out of all bounds, 1970.
pub(super) fn local(time: SystemTime) -> jiff::Zoned {
    jiff::Timestamp::try_from(time).unwrap_or_default().to_zoned(TimeZone::system())
}

/// Names that are given out in one cycle. Where thousands of documents have one name, the search for the next number
/// goes on where it stopped.
#[derive(Debug, Default)]
pub(super) struct FreeNames {
    /// The last number given to a name (lower case: file systems may not tell cases apart).
    last: HashMap<String, u64>,
}

impl FreeNames {
    /// `name`, else the next numbered one, that neither stands in `directory` nor is promised; it is promised then.
    pub(super) fn next(&mut self, directory: &Path, name: &str, promised: &mut HashSet<String>) -> String {
        // each with its form in lower case
        let is_free =
            |name: &str, folded: &str| !promised.contains(folded) && directory.join(name).symlink_metadata().is_err();
        let (mut candidate, mut folded) = (name.to_owned(), name.to_lowercase());
        if !is_free(&candidate, &folded) {
            let last = self.last.entry(folded.clone()).or_insert(1);
            while !is_free(&candidate, &folded) {
                *last += 1;
                candidate = numbered(name, *last);
                folded = candidate.to_lowercase();
            }
        }
        promised.insert(folded);
        candidate
    }
}

/// The item's date: what it says of itself, else when its server received it, else now.
fn moment(facts: &Facts) -> jiff::Zoned {
    local(facts.date.or(facts.received).unwrap_or_else(SystemTime::now))
}

/// The address in `Name <address>, …`: the first one.
fn bare_address(from: &str) -> &str {
    let first = from.split(", ").next().unwrap_or(from);
    if first.contains('@') && !first.contains('<') {
        return first;
    }
    // a name may hold a comma and brackets of its own
    let first = from.find('>').map_or(from, |end| &from[..end]);
    first.rfind('<').map_or(first, |start| &first[start + 1..])
}

/// In one normal form (NFC): what macOS sends decomposed is the same name on Windows.
fn composed(name: &str) -> String {
    if name.is_ascii() || is_nfc(name) { name.to_owned() } else { name.nfc().collect() }
}

/// The safe name that ends with this extension (its dot included).
fn with_extension(rendered: &str, extension: &str) -> String {
    let rendered = composed(rendered);
    let name = safe_name(&rendered);
    let ends = |name: &str| {
        let at = name.len().checked_sub(extension.len()).filter(|at| name.is_char_boundary(*at));
        at.is_some_and(|at| name[at..].eq_ignore_ascii_case(extension))
    };
    if ends(&name) {
        return name;
    }
    let stem = rendered.trim_end_matches(['.', ' ']);
    let room = LONGEST.saturating_sub(extension.len());
    let cut = (0..=room.min(stem.len())).rev().find(|at| stem.is_char_boundary(*at)).unwrap_or(0);
    safe_name(&format!("{}{extension}", &stem[..cut]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launcher::tests::launcher;

    fn facts() -> Facts {
        Facts {
            subject: Some("Facture n° 12/2026".into()),
            from: Some("Dupont, Marie <marie@example.test>, Paul <paul@example.test>".into()),
            date: Some(local_time("2026-02-01T10:00:07")),
            ..Facts::default()
        }
    }

    fn local_time(text: &str) -> SystemTime {
        let time: jiff::civil::DateTime = text.parse().unwrap();
        time.to_zoned(TimeZone::system()).unwrap().timestamp().into()
    }

    fn named(template: &str, name: &str) -> String {
        let mut launcher = launcher(Path::new("/cold"));
        launcher.template = Template::document(template).unwrap();
        let naming = Naming { launcher: &launcher, short: "42-abc", uid: "42", kind: "mail" };
        naming.document(&facts(), &Named { n: 3, role: &Role::Attachment, name, sha256: Digest::of(b"abc") })
    }

    #[test]
    fn a_template_is_filled_in() {
        for (template, expected) in [
            ("{name}", "été.PDF"),
            ("{date}_{time}_{subject}.{ext}", "2026-02-01_10-00-07_Facture n° 12_2026.PDF"),
            ("{from}-{uid}-{n}.{ext}", "marie@example.test-42-3.PDF"),
            ("{account}_{launcher}_{kind}_{role}_{key}.{ext}", "a_factures_mail_attachment_42-abc.PDF"),
            ("{hash} {stem}.{ext}", "ba7816bf8f01cfea été.PDF"),
        ] {
            assert_eq!(named(template, "C:\\temp\\e\u{301}te\u{301}.PDF"), expected, "{template}");
        }
    }

    #[test]
    fn the_extension_is_never_lost() {
        for (template, name, expected) in [
            ("{subject}", "a.pdf", "Facture n° 12_2026.pdf"),
            ("{name}-{n}", "a.pdf", "a.pdf-3.pdf"),
            ("{stem}.{ext}", "a.PDF", "a.PDF"),
            ("{date}", "LISEZMOI", "2026-02-01"),
            ("{date}.{ext}", "LISEZMOI", "2026-02-01"),
            ("{stem}", "tar.gz", "tar.gz"),
        ] {
            assert_eq!(named(template, name), expected, "{template} {name}");
        }
        let long = named(&"{subject}".repeat(20), "a.pdf");
        assert!(long.len() <= LONGEST && split_extension(&long).1 == ".pdf", "{long}");
    }

    #[test]
    fn what_a_sender_writes_makes_no_path_and_no_hidden_file() {
        for (subject, expected) in [("../../etc/passwd", "_.._etc_passwd"), (".", "document"), ("a\u{0}\nb", "ab")] {
            let mut launcher = launcher(Path::new("/cold"));
            launcher.template = Template::document("{subject}").unwrap();
            let naming = Naming { launcher: &launcher, short: "k", uid: "", kind: "mail" };
            let facts = Facts { subject: Some(subject.into()), ..Facts::default() };
            assert_eq!(naming.folder(&facts, &launcher.template), expected, "{subject:?}");
        }
    }

    #[test]
    fn a_message_without_a_subject_is_named_by_its_key() {
        let launcher = launcher(Path::new("/cold"));
        let naming = Naming { launcher: &launcher, short: "42-abc", uid: "42", kind: "mail" };
        assert_eq!(naming.message(&facts()), "Facture n° 12_2026.eml");
        for subject in [None, Some(String::new()), Some(" \t".into())] {
            assert_eq!(naming.message(&Facts { subject, ..Facts::default() }), "42-abc.eml");
        }
    }

    #[test]
    fn the_sender_is_a_bare_address() {
        for (from, address) in [
            ("a@b", "a@b"),
            ("A <a@b>", "a@b"),
            ("a@b, C <c@d>", "a@b"),
            ("A <a@b>, c@d", "a@b"),
            ("Dupont, Jean <a@b>", "a@b"),
            ("only a name", "only a name"),
        ] {
            assert_eq!(bare_address(from), address, "{from}");
        }
    }

    #[test]
    fn a_taken_name_is_numbered_and_the_search_goes_on_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("A.pdf"), "").unwrap();
        let (mut names, mut promised) = (FreeNames::default(), HashSet::from(["a (2).pdf".to_owned()]));
        assert_eq!(names.next(dir.path(), "A.pdf", &mut promised), "A (3).pdf");
        assert_eq!(names.next(dir.path(), "a.pdf", &mut promised), "a.pdf");
        assert_eq!(names.next(dir.path(), "a.PDF", &mut promised), "a (4).PDF");
        assert_eq!(names.last["a.pdf"], 4);
    }
}
