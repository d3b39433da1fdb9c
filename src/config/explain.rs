//! Every effective value and where it comes from, for `check --explain`.
//!
//! Not a dump of the typed structs: what is shown is what a person would write, secrets as `***`.

use super::global::{Defaults, Global, default_state};
use super::launcher::{quarantine_below, staging_beside};
use super::option::{self, Level, Row};
use super::section::{Options, Report, acts};
use super::{Check, Place, adullact, trust, value};
use crate::model::ServiceName;

/// One effective value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The section; `None` for the program as a whole.
    pub section: Option<ServiceName>,
    /// The option, by its name of the contract.
    pub option: &'static str,
    /// Its value as it would be written; empty where there is none. Secrets are `***`.
    pub value: String,
    /// Where it is written; `None`: it is the default.
    pub place: Option<Place>,
}

/// The values of one section.
pub(super) fn of(section: Option<&ServiceName>, options: &Options, global: &Global) -> Vec<Explained> {
    let line = |row: &'static Row, value: String, place| Explained {
        section: section.cloned(),
        option: row.name,
        value,
        place,
    };
    let mut lines = Vec::new();
    for row in option::all().iter().filter(|row| acts(row) && row.is_for(options.level)) {
        let written: Vec<_> = options.good().filter(|entry| entry.row.name == row.name).collect();
        let first = if row.repeats { 0 } else { written.len().saturating_sub(1) };
        for entry in &written[first..] {
            lines.push(line(row, row.shown(&entry.value).to_owned(), Some(entry.place.clone())));
        }
        if written.is_empty() {
            lines.push(line(row, default_of(row, options, global), None));
        }
    }
    lines
}

/// The default as it would be written; some depend on other options.
fn default_of(row: &Row, options: &Options, global: &Global) -> String {
    let level = options.level;
    let as_stunnel = global.defaults == Defaults::Stunnel;
    match (row.name, level) {
        ("foreground", _) if as_stunnel => "no".to_owned(),
        ("syslog", _) if as_stunnel => "yes".to_owned(),
        ("defaults" | "service", _) if as_stunnel => "stunnel".to_owned(),
        ("state", _) => default_state().display().to_string(),
        ("lang", _) => if global.lang == crate::text::Lang::Fr { "fr" } else { "en" }.to_owned(),
        ("verifyChain", Level::Mail | Level::Tunnel) => verifies_chain(options, global).to_owned(),
        ("staging", _) => {
            let deliver = options.get("deliver", value::path);
            deliver.map_or(String::new(), |deliver| staging_beside(&deliver).display().to_string())
        }
        ("quarantine", _) => quarantine_below(&global.state).display().to_string(),
        ("debug", Level::Tunnel) => global.debug.as_str().to_owned(),
        ("source", Level::Mail) => "INBOX".to_owned(),
        ("max_size", Level::Directory | Level::Adullact) => "4G".to_owned(),
        ("name", Level::Adullact) => adullact::template(options).to_string(),
        ("index", Level::Adullact) => "json".to_owned(),
        ("envelope", _) => adullact::envelope(options).iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", "),
        ("max_size", _) => "150M".to_owned(),
        _ => row.default.to_owned(),
    }
}

/// Whether the chain is verified where `verifyChain` is not written.
fn verifies_chain(options: &Options, global: &Global) -> &'static str {
    let mail = options.level == Level::Mail;
    let defaults = if mail { Defaults::Pertuis } else { global.defaults };
    let client = mail || options.yes("client", false);
    // what is wrong has been reported where the section was built
    let trust = trust::build(options, client, defaults, &mut Report::default());
    if matches!(trust.check, Check::Chain | Check::ChainAndPinned) { "yes" } else { "no" }
}
