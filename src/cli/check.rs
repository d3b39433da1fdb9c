//! `pertuis check`: is the file right, and is the world as it says?
//!
//! The same questions that `run` asks before it starts, and nothing more: nothing is bound, fetched or written.

use std::collections::HashSet;
use std::io;

use jiff::Timestamp;

use super::{Console, DONE, FAILED, Source, collect};
use crate::config::Config;
use crate::event::Level;
use crate::supervisor::{self, Moment, expiry};
use crate::text;

/// Runs the command.
pub(super) fn run(source: &Source, explain: bool, console: &mut Console<'_>) -> io::Result<u8> {
    let Some(config) = source.load_for(console)? else { return Ok(FAILED) };
    let (events, warnings) = collect();
    let prepared = match supervisor::prepare(config.clone(), &events, Moment::Start) {
        Ok(prepared) => prepared,
        Err(mistakes) => return console.remarks(&mistakes).map(|()| FAILED),
    };
    let (file, launchers) = (source.path.display(), config.launchers.len());
    let tunnels = config.tunnels.len() + usize::from(config.inetd.is_some());
    // read by scripts: never translated, no singular
    writeln!(console.out, "{file}: ok, {tunnels} tunnels, {launchers} launchers")?;
    if explain {
        print_values(&config, console)?;
    }
    console.remarks(prepared.warnings())?;
    let mut told = HashSet::new();
    for event in warnings.try_iter().filter(|event| event.level <= Level::Warning) {
        // two sections that share a file share its oddities
        if told.insert(event.text.en.to_string()) {
            writeln!(console.err, "{}", event.text.get(console.lang))?;
        }
    }
    console.remarks(&expiry::remarks(prepared.own_certificates(), Timestamp::now()))?;
    Ok(DONE)
}

/// An ini that says everything, with the place of each value behind it.
fn print_values(config: &Config, console: &mut Console<'_>) -> io::Result<()> {
    let (mut section, default) = (None, text!("default", "par défaut"));
    let shown = |row: &crate::config::Explained| format!("{} = {}", row.option, row.value);
    let width = config.explain().iter().map(|row| shown(row).chars().count()).max().unwrap_or(0).min(WIDEST);
    for row in config.explain() {
        if row.section != section {
            section.clone_from(&row.section);
            writeln!(console.out, "\n[{}]", section.as_ref().map_or("", |name| name.as_str()))?;
        }
        let place = row.place.as_ref().map_or_else(|| default.get(console.lang).to_owned(), ToString::to_string);
        writeln!(console.out, "{:width$}  ; {place}", shown(row))?;
    }
    Ok(())
}

/// Longer values push their place to the right.
const WIDEST: usize = 60;
