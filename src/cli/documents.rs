//! `pertuis man`, `sample`, `options`: the documents that are made from the command line and the option table.
//!
//! Hidden commands: packaging calls them.

use std::io;

use super::{Console, DONE, args};
use crate::config::manual;

/// The man page.
pub(super) fn man(console: &mut Console<'_>) -> io::Result<u8> {
    let man = clap_mangen::Man::new(args::command(console.lang));
    man.render_title(console.out)?;
    man.render_name_section(console.out)?;
    man.render_synopsis_section(console.out)?;
    man.render_options_section(console.out)?;
    man.render_subcommands_section(console.out)?;
    write!(console.out, "{}", manual::man_section(console.lang))?;
    Ok(DONE)
}

/// A commented sample file.
pub(super) fn sample(console: &mut Console<'_>) -> io::Result<u8> {
    write!(console.out, "{}", manual::sample_ini(console.lang)).map(|()| DONE)
}

/// The table of options, in Markdown.
pub(super) fn options(console: &mut Console<'_>) -> io::Result<u8> {
    write!(console.out, "{}", manual::options_markdown(console.lang)).map(|()| DONE)
}
