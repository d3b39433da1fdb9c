//! `pertuis ledger`: what was delivered, what is in quarantine, what is marked as done.
//!
//! Reading works beside the running service; `adopt` takes the launcher's lock. JSON is one object a line, so that
//! a ledger of ten years needs no memory, and is never translated.

use std::io::{self, Write};

use clap::Subcommand;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::fetch::choose;
use crate::config::Config;
use crate::delivery::ledger::{Ledger, Line, Sheet, SheetPart, list, show};
use crate::event::Events;
use crate::launcher::{self, Env};
use crate::model::Fault;
use crate::text;
use crate::text::Lang;

/// What is asked of the ledger.
#[derive(Clone, Debug, Subcommand)]
pub enum LedgerCommand {
    /// What was taken from the sources, oldest first
    List {
        /// One launcher only
        name: Option<String>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// All that is known of one item
    Show {
        /// The launcher
        name: String,
        /// The key, as `ledger list` shows it
        key: String,
    },
    /// Mark what is at the source now as done, without delivering it
    Adopt {
        /// The launcher
        name: String,
        /// Only what is older than this day: not in this version
        #[arg(long, value_name = "DATE")]
        before: Option<String>,
    },
    /// Not in this version
    #[command(hide = true, external_subcommand)]
    Other(Vec<String>),
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
    match command {
        LedgerCommand::List { name, json } => {
            if let Some(name) = name
                && let Err(text) = known(config, name)
            {
                writeln!(err, "{}", text.get(lang))?;
                return Ok(2);
            }
            print_list(config, name.as_deref(), *json, lang, out, err)
        }
        LedgerCommand::Show { name, key } => print_item(config, name, key, lang, out, err),
        LedgerCommand::Adopt { before: Some(_), .. } => later("ledger adopt --before", lang, err),
        LedgerCommand::Adopt { name, before: None } => adopt(config, name, events, lang, out, err),
        LedgerCommand::Other(words) => {
            let word = words.first().map(String::as_str).unwrap_or_default();
            if LATER.contains(&word) {
                return later(&format!("ledger {word}"), lang, err);
            }
            let text = text!(
                "ledger {word}: unknown; there are list, show and adopt",
                "ledger {word} : inconnu ; il y a list, show et adopt"
            );
            writeln!(err, "{}", text.get(lang))?;
            Ok(2)
        }
    }
}

/// A name that stands in the file or in the ledger (a section that was renamed or removed).
fn known(config: &Config, name: &str) -> Result<(), text::Text> {
    let mut found = false;
    let path = Ledger::path(&config.global.state);
    if path.exists() {
        // an unreadable ledger is told by the command itself
        let _ = list(&path, Some(name), |_| found = true);
    }
    if found { Ok(()) } else { choose(config, &[name.to_owned()]).map(drop) }
}

fn print_list(
    config: &Config,
    name: Option<&str>,
    json: bool,
    lang: Lang,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let path = Ledger::path(&config.global.state);
    if !path.exists() {
        let path = path.display();
        let text = text!("{path}: nothing was taken yet", "{path} : rien n'a encore été pris");
        if !json {
            writeln!(err, "{}", text.get(lang))?;
        }
        return Ok(0);
    }
    let mut written = Ok(());
    let listed = list(&path, name, |line| {
        if written.is_ok() {
            written = if json { print_json(&line, out) } else { print_line(&line, lang, out) };
        }
    });
    written?;
    finish(listed, lang, err)
}

fn print_line(line: &Line, lang: Lang, out: &mut dyn Write) -> io::Result<()> {
    let Line { launcher, key, stage, unconfirmed, recorded, title, files } = line;
    let (stage, mark) = (word(stage, lang), if *unconfirmed { "?" } else { "" });
    let title = title.as_deref().unwrap_or_default();
    writeln!(out, "{}  {launcher}  {key}  {stage}{mark}  {files}  {}", day(*recorded), plain(title))
}

fn print_json(line: &Line, out: &mut dyn Write) -> io::Result<()> {
    let Line { launcher, key, stage, unconfirmed, recorded, title, files } = line;
    let recorded = instant(*recorded);
    let line = json!({ "launcher": launcher, "key": key, "stage": stage, "unconfirmed": unconfirmed,
                       "recorded": recorded, "title": title, "files": files });
    writeln!(out, "{line}")
}

fn print_item(
    config: &Config,
    name: &str,
    key: &str,
    lang: Lang,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    if let Err(text) = known(config, name) {
        writeln!(err, "{}", text.get(lang))?;
        return Ok(2);
    }
    let path = Ledger::path(&config.global.state);
    let found = if path.exists() { show(&path, name, key) } else { Ok(None) };
    match found {
        Ok(Some(sheet)) => print_sheet(&sheet, lang, out).map(|()| 0),
        Ok(None) => {
            let text = text!(
                "{name}: no item has the key {key}; `pertuis ledger list {name}` shows them",
                "{name} : aucun élément n'a la clé {key} ; `pertuis ledger list {name}` les montre"
            );
            writeln!(err, "{}", text.get(lang))?;
            Ok(1)
        }
        Err(fault) => finish(Err(fault), lang, err),
    }
}

fn print_sheet(sheet: &Sheet, lang: Lang, out: &mut dyn Write) -> io::Result<()> {
    let line = &sheet.line;
    let (stage, colon) = (word(&line.stage, lang), if lang == Lang::Fr { " :" } else { ":" });
    let mark = text!(" (unconfirmed)", " (non confirmé)");
    let stage = format!("{stage}{}", if line.unconfirmed { mark.get(lang) } else { "" });
    let failures = (sheet.failures > 0).then(|| sheet.failures.to_string());
    let rows = [
        (text!("key", "clé"), Some(line.key.clone())),
        (text!("at the source", "à la source"), Some(sheet.source_key.clone())),
        (text!("stage", "étape"), Some(stage)),
        (text!("reason", "raison"), sheet.reason.clone()),
        (text!("failures in a row", "échecs de suite"), failures),
        (text!("folder", "dossier"), sheet.folder.clone()),
        (text!("from", "de"), sheet.from.clone()),
        (text!("to", "à"), sheet.to.clone()),
        (text!("subject", "objet"), line.title.clone()),
        (text!("Message-ID", "Message-ID"), sheet.message_id.clone()),
        (text!("size", "taille"), sheet.size.map(|size| size.to_string())),
        (text!("date", "date"), sheet.date.map(day)),
        (text!("received", "reçu"), sheet.received.map(day)),
        (text!("recorded", "enregistré"), Some(day(line.recorded))),
        (text!("delivered", "livré"), sheet.confirmed.map(day)),
        (text!("source done", "source traitée"), sheet.acknowledged.map(day)),
    ];
    for (label, value) in rows {
        if let Some(value) = value {
            writeln!(out, "{}{colon} {}", label.get(lang), plain(&value))?;
        }
    }
    sheet.parts.iter().try_for_each(|part| print_part(part, lang, out))
}

fn print_part(part: &SheetPart, lang: Lang, out: &mut dyn Write) -> io::Result<()> {
    let SheetPart { n, role, original_name, media_type, decision, filter, name, size, sha256 } = part;
    let own = plain(original_name.as_deref().unwrap_or_default());
    let (role, decision) = (word(role, lang), word(decision, lang));
    write!(out, "  {n}. {own}  {role}  {}  {decision}", media_type.as_deref().unwrap_or_default())?;
    if let Some(filter) = filter {
        write!(out, "  {filter}")?;
    }
    if let (Some(name), Some(size), Some(sha256)) = (name, size, sha256) {
        write!(out, "  → {}  {size}  sha256:{sha256}", plain(name))?;
    }
    writeln!(out)
}

fn adopt(
    config: &Config,
    name: &str,
    events: &Events,
    lang: Lang,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let launcher = match choose(config, &[name.to_owned()]).map(|launchers| launchers[0]) {
        Ok(launcher) => launcher,
        Err(text) => {
            writeln!(err, "{}", text.get(lang))?;
            return Ok(2);
        }
    };
    let env = Env { state: config.global.state.clone(), events: events.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let adopted = runtime.block_on(async {
        let mut source = launcher::source(launcher, &env)?;
        launcher::adopt(launcher, &env, source.as_mut()).await
    });
    if let Ok(count) = &adopted {
        let text = text!(
            "{name}: {count} item(s) marked as done, none delivered",
            "{name} : {count} élément(s) marqués comme faits, aucun livré"
        );
        writeln!(out, "{}", text.get(lang))?;
    }
    finish(adopted.map(drop), lang, err)
}

fn finish(result: Result<(), Fault>, lang: Lang, err: &mut dyn Write) -> io::Result<u8> {
    match result {
        Ok(()) => Ok(0),
        Err(Fault { code, text }) => {
            writeln!(err, "{code}: {}", text.get(lang))?;
            Ok(1)
        }
    }
}

fn later(what: &str, lang: Lang, err: &mut dyn Write) -> io::Result<u8> {
    let text = text!("{what}: not in this version", "{what} : pas dans cette version");
    writeln!(err, "{}", text.get(lang))?;
    Ok(2)
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

const WORDS: [(&str, &str); 11] = [
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
];

const LATER: [&str; 4] = ["why", "retry", "forget", "rename"];

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
