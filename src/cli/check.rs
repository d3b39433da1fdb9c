//! `pertuis check`: is the file right, and is the world as it says?
//!
//! The same questions that `run` asks before it starts, and nothing more: nothing is bound, fetched or written.

use std::io;

use super::{Console, DONE, FAILED, Source, collect};
use crate::config::Config;
use crate::event::{Event, Level};
use crate::supervisor;
use crate::text;

/// Runs the command.
pub(super) fn run(source: &Source, explain: bool, console: &mut Console<'_>) -> io::Result<u8> {
    let Some(config) = source.load_for(console)? else { return Ok(FAILED) };
    let (events, warnings) = collect();
    let prepared = match supervisor::prepare(config.clone(), &events) {
        Ok(prepared) => prepared,
        Err(mistakes) => return console.remarks(&mistakes).map(|()| FAILED),
    };
    let (file, tunnels, launchers) = (source.path.display(), config.tunnels.len(), config.launchers.len());
    // read by scripts: never translated, no singular
    writeln!(console.out, "{file}: ok, {tunnels} tunnels, {launchers} launchers")?;
    if explain {
        print_values(&config, console)?;
    }
    console.remarks(prepared.warnings())?;
    let warnings: Vec<Event> = warnings.try_iter().filter(|event| event.level <= Level::Warning).collect();
    warnings.iter().try_for_each(|event| writeln!(console.err, "{}", event.text.get(console.lang)))?;
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
