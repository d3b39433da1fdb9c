//! `pertuis ledger`: what was delivered, what is in quarantine, why, and what is to be done about it.
//!
//! Reading works beside the running service, and so does marking for a retry; `forget`, `adopt` and `rename` take the
//! launcher's lock. JSON is one object a line, so that a ledger of ten years needs no memory, and is never translated.

mod change;
mod why;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::json;

use super::fetch::choose;
use crate::config::Config;
use crate::delivery::ledger::{Ledger, Line, Selection, Sheet, SheetPart, list, names, resolve, show};
use crate::event::Events;
use crate::model::Fault;
use crate::text;
use crate::text::{Lang, Text};

/// What is asked of the ledger.
#[derive(Clone, Debug, Subcommand)]
pub enum LedgerCommand {
    /// What was taken from the sources, oldest first
    List {
        /// One launcher only
        name: Option<String>,
        /// Only what is in quarantine, whole or in part
        #[arg(long)]
        quarantined: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// All that is known of one item
    Show {
        /// The launcher
        name: String,
        /// The key, as `ledger list` shows it; its beginning is enough
        key: String,
    },
    /// Why an item was taken or left out: what each filter decided then, and would decide today
    Why {
        /// The launcher
        name: String,
        /// The key, as `ledger list` shows it; its beginning is enough
        key: String,
    },
    /// Have items taken again by the next cycle
    Retry {
        /// The launcher
        name: String,
        /// One item, delivered before or not; the beginning of its key is enough
        #[arg(required_unless_present_any = ["quarantined", "empty", "rejected"])]
        key: Option<String>,
        /// All that is in quarantine
        #[arg(long, conflicts_with = "key")]
        quarantined: bool,
        /// All that yielded no document
        #[arg(long, conflicts_with = "key")]
        empty: bool,
        /// All that `filter_from` or `filter_subject` left out
        #[arg(long, conflicts_with = "key")]
        rejected: bool,
    },
    /// Forget an item, as if it had never been seen
    Forget {
        /// The launcher
        name: String,
        /// The key, as `ledger list` shows it; its beginning is enough
        key: String,
    },
    /// Mark what is at the source now as done, without delivering it
    Adopt {
        /// The launcher
        name: String,
        /// Only what is older than this day (YYYY-MM-DD); the rest is delivered
        #[arg(long, value_name = "DATE")]
        before: Option<Date>,
    },
    /// Give a section that was renamed the history of its old name
    Rename {
        /// The name in the ledger
        #[arg(value_name = "OLD")]
        old: String,
        /// The name in the file now
        #[arg(value_name = "NEW")]
        new: String,
    },
}

/// Runs the command; answers the exit code of the contract (section 2).
pub fn run(
    config: &Config,
    command: &LedgerCommand,
    events: &Events,
    lang: Lang,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let path = Ledger::path(&config.global.state);
    let mut desk = Desk { config, events, path, lang, out, err };
    match command {
        LedgerCommand::List { name, quarantined, json } => desk.list(name.as_deref(), *quarantined, *json),
        LedgerCommand::Show { name, key } => desk.with_item(name, key, Desk::print_sheet),
        LedgerCommand::Why { name, key } => desk.with_item(name, key, Desk::why),
        LedgerCommand::Retry { name, key: Some(key), .. } => desk.retry_one(name, key),
        LedgerCommand::Retry { name, quarantined, empty, rejected, .. } => {
            desk.retry_all(name, *quarantined, *empty, *rejected)
        }
        LedgerCommand::Forget { name, key } => desk.with_item(name, key, Desk::forget),
        LedgerCommand::Adopt { name, before } => desk.adopt(name, *before),
        LedgerCommand::Rename { old, new } => desk.rename(old, new),
    }
}

/// What a command has at hand.
struct Desk<'a> {
    config: &'a Config,
    events: &'a Events,
    path: PathBuf,
    lang: Lang,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl Desk<'_> {
    fn say(&mut self, text: &Text) -> io::Result<()> {
        writeln!(self.out, "{}", text.get(self.lang))
    }

    /// Answers with a complaint and the exit code.
    fn complain(&mut self, text: &Text, code: u8) -> io::Result<u8> {
        writeln!(self.err, "{}", text.get(self.lang)).map(|()| code)
    }

    fn finish(&mut self, result: Result<(), Fault>) -> io::Result<u8> {
        match result {
            Ok(()) => Ok(0),
            Err(Fault { code, text: Text { en, fr } }) => self.complain(&text!("{code}: {en}", "{code} : {fr}"), 1),
        }
    }

    /// A name that stands in the file or in the ledger (a section that was renamed or removed).
    fn known(&self, name: &str) -> Result<(), Text> {
        // an unreadable ledger is told by the command itself
        let known = names(&self.path).unwrap_or_default();
        if known.iter().any(|(known, _)| known == name) {
            return Ok(());
        }
        choose(self.config, &[name.to_owned()]).map(drop)
    }

    /// Does something with the item that a key, or its beginning, means.
    fn with_item(
        &mut self,
        name: &str,
        key: &str,
        work: impl FnOnce(&mut Self, &Sheet) -> io::Result<u8>,
    ) -> io::Result<u8> {
        if let Err(text) = self.known(name) {
            return self.complain(&text, 2);
        }
        let found = if self.path.exists() { resolve(&self.path, name, key) } else { Ok(Vec::new()) };
        let sheet = match found {
            Ok(found) if found.len() == 1 => show(&self.path, name, &found[0]),
            Ok(found) if found.is_empty() => return self.complain(&unknown_key(name, key), 1),
            Ok(found) => return self.complain(&several(key, &found.join(", ")), 1),
            Err(fault) => Err(fault),
        };
        match sheet {
            Ok(Some(sheet)) => work(self, &sheet),
            Ok(None) => self.complain(&unknown_key(name, key), 1),
            Err(fault) => self.finish(Err(fault)),
        }
    }

    fn list(&mut self, name: Option<&str>, quarantined: bool, json: bool) -> io::Result<u8> {
        if let Some(Err(text)) = name.map(|name| self.known(name)) {
            return self.complain(&text, 2);
        }
        if !self.path.exists() {
            let path = self.path.display();
            let text = text!("{path}: nothing was taken yet", "{path} : rien n'a encore été pris");
            return if json { Ok(0) } else { self.complain(&text, 0) };
        }
        let mut written = Ok(());
        let (lang, out) = (self.lang, &mut *self.out);
        let listed = list(&self.path, Selection { launcher: name, quarantined }, |line| {
            if written.is_ok() {
                written = if json { print_json(&line, out) } else { print_line(&line, lang, out) };
            }
        });
        written?;
        self.finish(listed)
    }

    fn print_sheet(&mut self, sheet: &Sheet) -> io::Result<u8> {
        print_sheet(sheet, self.lang, self.out).map(|()| 0)
    }
}

fn print_line(line: &Line, lang: Lang, out: &mut dyn Write) -> io::Result<()> {
    let Line { launcher, key, stage, unconfirmed, recorded, files, retry, .. } = line;
    let (stage, mark) = (word(stage, lang), if *unconfirmed { "?" } else { "" });
    let again = if *retry { text!(" (to be taken again)", " (à reprendre)") } else { Text::same("") };
    let (again, title) = (again.get(lang), plain(&title(line)));
    writeln!(out, "{}  {launcher}  {key}  {stage}{mark}{again}  {files}  {title}", day(*recorded))
}

/// What an item is called; one that was never looked at is named by its place and size.
fn title(line: &Line) -> String {
    let place = || line.size.map_or(line.source_key.words(), |size| format!("{}, {size}", line.source_key.words()));
    line.title.clone().unwrap_or_else(place)
}

fn print_json(line: &Line, out: &mut dyn Write) -> io::Result<()> {
    let Line { launcher, key, stage, unconfirmed, recorded, title, files, source_key, .. } = line;
    let (recorded, reason) = (instant(*recorded), line.reason.as_ref().map(|reason| &reason.en));
    let Line { size, retry, whole, departed, .. } = line;
    let line = json!({ "launcher": launcher, "key": key, "stage": stage, "unconfirmed": unconfirmed,
                       "recorded": recorded, "title": title, "files": files, "source_key": source_key.as_str(),
                       "size": size, "reason": reason, "retry": retry, "whole": whole, "departed": departed });
    writeln!(out, "{line}")
}

fn print_sheet(sheet: &Sheet, lang: Lang, out: &mut dyn Write) -> io::Result<()> {
    let line = &sheet.line;
    let (stage, colon) = (word(&line.stage, lang), if lang == Lang::Fr { " :" } else { ":" });
    let mark = text!(" (unconfirmed)", " (non confirmé)");
    let stage = format!("{stage}{}", if line.unconfirmed { mark.get(lang) } else { "" });
    let again = text!("by the next cycle", "au prochain cycle").get(lang).to_owned();
    let failures = (sheet.failures > 0).then(|| sheet.failures.to_string());
    let rows = [
        (text!("key", "clé"), Some(line.key.clone())),
        (text!("at the source", "à la source"), Some(line.source_key.to_string())),
        (text!("stage", "étape"), Some(stage)),
        (text!("reason", "raison"), line.reason.as_ref().map(|reason| reason.get(lang).to_owned())),
        (text!("taken again", "repris"), line.retry.then_some(again)),
        (text!("failures in a row", "échecs de suite"), failures),
        (text!("folder", "dossier"), sheet.folder.clone()),
        (text!("from", "de"), sheet.from.clone()),
        (text!("to", "à"), sheet.to.clone()),
        (text!("subject", "objet"), line.title.clone()),
        (text!("Message-ID", "Message-ID"), sheet.message_id.clone()),
        (text!("size", "taille"), line.size.map(|size| size.to_string())),
        (text!("date", "date"), sheet.date.map(day)),
        (text!("received", "reçu"), sheet.received.map(day)),
        (text!("recorded", "enregistré"), Some(day(line.recorded))),
        (text!("delivered", "livré"), sheet.confirmed.map(day)),
        (text!("source done", "source traitée"), sheet.acknowledged.map(day)),
    ];
    for (label, value) in rows.into_iter().chain(contents(sheet, lang)) {
        if let Some(value) = value {
            writeln!(out, "{}{colon} {}", label.get(lang), plain(&value))?;
        }
    }
    sheet.parts.iter().try_for_each(|part| print_part(part, lang, out))
}

/// What an envelope said of itself.
fn contents(sheet: &Sheet, lang: Lang) -> Vec<(Text, Option<String>)> {
    let Some(contents) = &sheet.contents else { return Vec::new() };
    let some = |list: Vec<String>| (!list.is_empty()).then(|| list.join(", "));
    let warnings = contents.warnings.iter().map(|warning| warning.get(lang).to_owned()).collect();
    vec![
        (text!("dropped as", "déposé sous"), Some(contents.name.clone())),
        (text!("kind", "type"), contents.kind.map(|kind| kind.as_str().to_owned())),
        (text!("missing", "manque"), some(contents.missing.clone())),
        (text!("warnings", "avertissements"), some(warnings)),
    ]
}

fn print_part(part: &SheetPart, lang: Lang, out: &mut dyn Write) -> io::Result<()> {
    let SheetPart { n, role, original_name, media_type, decision, filter, name, size, sha256 } = part;
    let own = plain(original_name.as_deref().unwrap_or_default());
    let (role, decision) = (plain(word(role, lang)), word(decision, lang));
    write!(out, "  {n}. {own}  {role}  {}  {decision}", media_type.as_deref().unwrap_or_default())?;
    if let Some(filter) = filter {
        write!(out, "  {filter}")?;
    }
    if let (Some(name), Some(size), Some(sha256)) = (name, size, sha256) {
        write!(out, "  → {}  {size}  sha256:{sha256}", plain(name))?;
    }
    writeln!(out)
}

fn unknown_key(name: &str, key: &str) -> Text {
    text!(
        "{name}: no item has the key {key}; `pertuis ledger list {name}` shows those that were seen. What is not there was never listed by the source: look at source, since, unseen_only and settle, and whether a cycle ran at all (`pertuis fetch {name}`)",
        "{name} : aucun élément n'a la clé {key} ; `pertuis ledger list {name}` montre ceux qui ont été vus. Ce qui n'y est pas, la source ne l'a jamais annoncé : voir source, depuis, non_lus et stabilisation, et si un relevé a bien eu lieu (`pertuis fetch {name}`)"
    )
}

fn several(key: &str, found: &str) -> Text {
    text!("{key} is the beginning of several keys: {found}", "{key} est le début de plusieurs clés : {found}")
}

/// A stage, decision or role of the ledger for people; JSON keeps the ledger's own words.
fn word(own: &str, lang: Lang) -> &str {
    let french = || WORDS.iter().find(|(word, _)| *word == own).map(|(_, french)| *french);
    if lang == Lang::Fr { french().unwrap_or(own) } else { own }
}

fn instant(millis: i64) -> Option<String> {
    Timestamp::from_millisecond(millis).ok().map(|time| time.to_string())
}

fn day(millis: i64) -> String {
    let time = Timestamp::from_millisecond(millis).map(|time| time.to_zoned(TimeZone::system()));
    time.map(|time| time.strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

/// What a mail says of itself, without the control characters that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '.' } else { c }).collect()
}

const WORDS: [(&str, &str); 17] = [
    ("failed", "en échec"),
    ("recorded", "enregistré"),
    ("confirmed", "livré"),
    ("empty", "vide"),
    ("rejected", "écarté"),
    ("quarantined", "en quarantaine"),
    ("adopted", "tenu pour fait"),
    ("taken", "pris"),
    ("filtered", "filtré"),
    ("inline", "incorporé"),
    ("attachment", "pièce jointe"),
    ("annex", "annexe"),
    ("receipt", "accusé"),
    ("invoice", "facture"),
    ("status", "statut"),
    ("envelope", "enveloppe"),
    ("metadata", "métadonnées"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::ledger::Stage;

    #[test]
    fn every_stage_has_its_french_word_and_english_keeps_the_ledgers() {
        use Stage::{Adopted, Confirmed, Empty, Failed, Quarantined, Recorded, Rejected};
        for stage in [Failed, Recorded, Confirmed, Empty, Rejected, Quarantined, Adopted] {
            assert_ne!(word(stage.as_str(), Lang::Fr), stage.as_str());
            assert_eq!(word(stage.as_str(), Lang::En), stage.as_str());
        }
    }
}
