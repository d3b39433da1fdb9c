//! stunnel's own command line, for the days when this program is called `stunnel` or `stunnel4`.
//!
//! stunnel(8): `[FILE] | -fd N | -help | -version | -sockets | -options`. Words count in any case and as the first
//! argument only; everything else is a file name. What is printed goes to standard error with exit code 0.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::Source;
use crate::config::{Place, Remark};
use crate::event::{Event, Level};
use crate::text::Lang;

/// What stunnel's arguments ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Run this file.
    File(PathBuf),
    /// Run what this descriptor gives.
    Descriptor(u32),
    /// Print this and end with 0.
    Print(String),
    /// Say this and end with 1.
    Refuse(String),
}

/// Whether the program was called under one of stunnel's names.
pub(super) fn is_called(program: Option<&OsString>) -> bool {
    let stem = program.and_then(|program| Path::new(program).file_stem());
    stem.is_some_and(|stem| stem == "stunnel" || stem == "stunnel4")
}

/// Reads the arguments after the program's name.
pub(super) fn parse(args: &[OsString]) -> Request {
    let Some(first) = args.first() else { return Request::File(PathBuf::from(DEFAULT_FILE)) };
    match first.to_string_lossy().to_ascii_lowercase().as_str() {
        "-help" => Request::Print(HELP.to_owned()),
        "-version" => Request::Print(version()),
        "-sockets" => Request::Print(SOCKETS.to_owned()),
        "-options" => Request::Print(OPTIONS.to_owned()),
        "-fd" => descriptor(args.get(1).map(OsString::as_os_str)),
        _ => Request::File(PathBuf::from(first)),
    }
}

fn descriptor(word: Option<&OsStr>) -> Request {
    let number = word.and_then(OsStr::to_str).and_then(|word| word.parse().ok());
    number.map_or_else(|| Request::Refuse("[!] Invalid file descriptor number".to_owned()), Request::Descriptor)
}

/// What stunnel's own test suite and scripts look for at the beginning of two lines, and the truth behind it.
fn version() -> String {
    let (version, system) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS);
    format!(
        "stunnel 5.75 (its configuration and command line; this is pertuis {version} on {system})\n\
         Compiled/running with OpenSSL 3.0.0 (a number for scripts; inside is rustls with {PROVIDER}, no OpenSSL)\n\
         TLS: 1.2 and 1.3, no PSK, no engines, no FIPS"
    )
}

/// What stunnel prints when it does not start: everything the log has kept, then the mistakes (stunnel itself stops at
/// the first one), each with its line of the file.
pub(super) fn failure(source: &Source, kept: &[Event], mistakes: &[Remark], lang: Lang) -> String {
    let mut lines = vec![format!("[.] {}", version().lines().next().unwrap_or_default())];
    lines.extend(kept.iter().map(|event| format!("[{}] {}", mark(event.level), event.text.get(lang))));
    lines.extend(mistakes.iter().map(|remark| format!("[!] {}", mistake(source, remark, lang))));
    if !mistakes.is_empty() {
        lines.push("[!] Configuration failed".to_owned());
    }
    lines.join("\n")
}

/// stunnel's signs of a level.
fn mark(level: Level) -> char {
    match level.number() {
        0..=2 => '*',
        3 => '!',
        4 => ':',
        5 => '.',
        _ => ' ',
    }
}

/// `FILE:LINE: "THE LINE": REASON`; of a section as a whole `Service [NAME]: REASON`.
fn mistake(source: &Source, remark: &Remark, lang: Lang) -> String {
    let (place, reason) = (&remark.place, remark.text.get(lang));
    let line = line_of(source, place);
    match line.as_deref().and_then(|line| line.strip_prefix('[')?.strip_suffix(']')) {
        Some(name) => {
            let service = format!("Service [{name}]: ");
            format!("{service}{}", reason.strip_prefix(&service).unwrap_or(reason))
        }
        None => match line {
            Some(line) => format!("{place}: \"{line}\": {reason}"),
            None if place.line == 0 && source.bytes.is_none() && !source.path.exists() => {
                let file = source.path.display();
                format!("Invalid configuration file name \"{file}\"\n[!] realpath: No such file or directory (2)")
            }
            None if place.line == 0 => format!("Inetd mode: {reason}"),
            None => format!("{place}: {reason}"),
        },
    }
}

/// The line of the file that a mistake is about, as it stands there.
fn line_of(source: &Source, place: &Place) -> Option<String> {
    let bytes = match &source.bytes {
        Some(bytes) if *place.file == *source.path => bytes.clone(),
        _ => std::fs::read(&place.file).ok()?,
    };
    let line = bytes.split(|byte| *byte == b'\n').nth(place.line.checked_sub(1)?)?;
    let text = String::from_utf8_lossy(line);
    Some(text.trim_start_matches('\u{feff}').trim().to_owned())
}

#[cfg(feature = "aws-lc")]
const PROVIDER: &str = "aws-lc";
#[cfg(not(feature = "aws-lc"))]
const PROVIDER: &str = "ring";

#[cfg(not(windows))]
const DEFAULT_FILE: &str = "/etc/stunnel/stunnel.conf";
#[cfg(windows)]
const DEFAULT_FILE: &str = "stunnel.conf";

const HELP: &str = "stunnel [<filename>] | -fd <n> | -help | -version | -sockets | -options
    <filename>  - use specified config file
    -fd <n>     - read the config file from a file descriptor
    -help       - print this
    -version    - print the version
    -sockets    - print socket options
    -options    - print TLS options
Called as pertuis, this program has more to offer: pertuis --help";

const SOCKETS: &str = "Socket option defaults:
    Option Name         |  Accept  |   Local  |  Remote
    --------------------+----------+----------+----------
    SO_REUSEADDR        |       yes|    --    |    --
    TCP_NODELAY         |    --    |       yes|       yes
    SO_KEEPALIVE        |    --    |       yes|       yes
Other names are accepted as in the documentation (pertuis options); without a line of the file the system decides.";

const OPTIONS: &str = "TLS options that act:
    NO_TLSv1_2  NO_TLSv1_3  NO_TICKET
SSLv2, SSLv3, TLSv1 and TLSv1.1 are never negotiated; the other names of OpenSSL are accepted and change nothing.";

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Request {
        parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn words_count_in_any_case_and_everything_else_is_a_file() {
        assert_eq!(request(""), Request::File(PathBuf::from(DEFAULT_FILE)));
        assert_eq!(request("a.conf"), Request::File(PathBuf::from("a.conf")));
        assert_eq!(request("--help"), Request::File(PathBuf::from("--help")));
        assert_eq!(request("-fd 0"), Request::Descriptor(0));
        assert_eq!(request("-FD 3"), Request::Descriptor(3));
        assert!(matches!(request("-fd x"), Request::Refuse(_)));
        assert!(matches!(request("-fd"), Request::Refuse(_)));
        for word in ["-help", "-Version", "-SOCKETS", "-options"] {
            assert!(matches!(request(word), Request::Print(_)), "{word}");
        }
        assert!(version().lines().next().unwrap().starts_with("stunnel 5.75 "));
    }

    #[test]
    fn the_programs_name_decides() {
        for (name, expected) in [
            ("stunnel", true),
            ("/usr/bin/stunnel4", true),
            ("stunnel.exe", true),
            ("pertuis", false),
            ("xstunnel", false),
        ] {
            assert_eq!(is_called(Some(&OsString::from(name))), expected, "{name}");
        }
        assert!(!is_called(None));
    }
}
