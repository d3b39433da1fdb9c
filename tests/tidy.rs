//! The house keeps its own rules: floors, opening comments, sample files, documents, no path of a build machine.
//!
//! Reads the sources as text: cheap, and the message says what to change. Each loop asserts that it saw something.

// helpers of tests: a panic is how they fail
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pertuis::config::{Overrides, load_bytes};
use pertuis::text::Lang;

#[test]
fn a_file_imports_its_own_floor_or_a_lower_one() {
    let floors = floors();
    let mut seen = 0;
    for file in sources() {
        let module = module_of(&file);
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let Some(own) = floors.get(&module) else {
            panic!("{}: module {module} is missing in the table of floors in src/lib.rs", file.display())
        };
        for (line, path) in imports(&text(&file)) {
            let imported = path.split("::").next().unwrap_or_default();
            if let Some(floor) = floors.get(imported) {
                assert!(floor <= own, "{}:{line}: floor {own} imports crate::{path} of floor {floor}", file.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} imports seen");
}

#[test]
fn engines_do_not_know_each_other() {
    let mut seen = 0;
    for file in sources() {
        let module = module_of(&file);
        for (line, path) in imports(&text(&file)) {
            let meets =
                |(from, to): &&(&str, &str)| module == *from && (path == *to || path.starts_with(&format!("{to}::")));
            let broken = STRANGERS.iter().find(meets);
            assert!(broken.is_none(), "{}:{line}: {module} must not know crate::{path}", file.display());
            seen += usize::from(STRANGERS.iter().any(|(from, _)| module == *from));
        }
    }
    assert!(seen > 5, "only {seen} imports seen");
}

#[test]
fn the_lower_floors_know_nothing_of_tokio() {
    let floors = floors();
    let mut seen = 0;
    for file in sources() {
        if floors.get(&module_of(&file)).is_none_or(|floor| *floor > 2) {
            continue;
        }
        seen += 1;
        let text = text(&file);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !is_comment(line)) {
            assert!(!line.contains("tokio::"), "{}:{}: tokio below floor 3", file.display(), number + 1);
        }
    }
    assert!(seen > 5, "only {seen} files seen");
}

#[test]
fn every_source_file_says_what_it_is() {
    let files = sources();
    assert!(files.len() > 20, "only {} files seen", files.len());
    for file in files {
        assert!(text(&file).starts_with("//! "), "{} must open with //!", file.display());
    }
}

#[test]
fn the_sample_files_load() {
    for name in SAMPLES.map(|name| format!("conf/{name}.ini")) {
        loads(&name, &text(&root().join(&name)));
    }
    // the packaged file says nothing until its options and headers lose their semicolon; explanations keep it
    let packaged = text(&root().join("packaging/pertuis.ini"));
    let plain: Vec<&str> = packaged
        .lines()
        .map(|line| line.strip_prefix(';').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .collect();
    loads("packaging/pertuis.ini", &plain.join("\n"));
}

#[test]
fn the_samples_of_the_documents_load() {
    let documents = ["README", "docs/microsoft365", "docs/google", "docs/adullact"];
    for name in documents.iter().flat_map(|name| [format!("{name}.md"), format!("{name}.fr.md")]) {
        let text = text(&root().join(&name));
        let samples: Vec<&str> = text.split("```ini\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(samples.len() >= 2, "{name}: only {} samples", samples.len());
        for sample in samples {
            loads(&name, sample);
        }
    }
}

#[test]
fn the_documents_made_by_the_program_are_up_to_date() {
    for (command, locale, name) in DOCUMENTS {
        let made = Command::new(env!("CARGO_BIN_EXE_pertuis")).arg(command).env("LC_ALL", locale).output().unwrap();
        let made = String::from_utf8(made.stdout).unwrap();
        assert!(made.lines().count() > 50, "`pertuis {command}` printed only {} lines", made.lines().count());
        let file = root().join("docs").join(name);
        let kept = fs::read_to_string(&file).unwrap_or_default();
        assert!(kept == made, "docs/{name} is out of date: LC_ALL={locale} cargo run -- {command} > docs/{name}");
    }
}

#[test]
fn no_file_names_a_place_on_a_build_machine() {
    // put together here, so that this file does not hold them
    let places = ["work", "root"].map(|folder| format!("/{folder}/"));
    let files = files(&root(), &|name| !["target", ".git", ".venv", "node_modules"].contains(&name));
    assert!(files.len() > 40, "only {} files seen", files.len());
    for file in files {
        let bytes = fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in text.lines().enumerate() {
            let named = places.iter().find(|place| names(line, place));
            assert!(named.is_none(), "{}:{}: {}", file.display(), number + 1, line.trim());
        }
    }
}

/// Asserts that `sample` of the file `name` is right.
fn loads(name: &str, sample: &str) {
    // the file of the secret is the reader's
    let sample = sample
        .replace("file:/etc/pertuis/gmail.secret", "abcd efgh")
        .replace("file:/etc/pertuis/smtp.secret", "secret");
    let loaded = load_bytes(Path::new(name), sample.as_bytes(), &Overrides::default());
    let mistakes = loaded.err().unwrap_or_default();
    assert!(mistakes.is_empty(), "{:?}", mistakes.iter().map(|one| one.line(Lang::Fr)).collect::<Vec<_>>());
}

/// Whether `line` holds the absolute path `place`; inside a longer path it is another one.
fn names(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-' | '}' | '$' | '/'))
    })
}

/// The table of floors in src/lib.rs: module → floor.
fn floors() -> BTreeMap<String, u32> {
    let text = text(&root().join("src/lib.rs"));
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | ")?.split_once(' '));
    let mut floors = BTreeMap::new();
    for (number, row) in rows {
        let Ok(floor) = number.parse() else { continue };
        let modules = row.split(" | ").nth(1).unwrap_or_default();
        for module in modules.split("[`").skip(1).filter_map(|rest| rest.split('`').next()) {
            floors.insert(module.trim_start_matches("mod@").to_owned(), floor);
        }
    }
    assert!(floors.len() > 10, "the table of floors was not read: {floors:?}");
    floors
}

/// The first folder or file below src.
fn module_of(file: &Path) -> String {
    let below = file.strip_prefix(root().join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// What follows `crate::`, with its line; groups `crate::{a, b::c}` are taken apart.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let before = &text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        if is_comment(&text[line_start..at]) || before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = before.lines().count().max(1);
        let rest = &text[at + "crate::".len()..];
        let paths = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').map(str::trim).collect(),
            None => vec![rest],
        };
        for path in paths {
            let end = path.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ':'))).unwrap_or(path.len());
            found.push((line, path[..end].to_owned()));
        }
    }
    found
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

fn sources() -> Vec<PathBuf> {
    let all = files(&root().join("src"), &|_| true);
    all.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// All files below `folder`; names that `enter` refuses are left out.
fn files(folder: &Path, enter: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if !enter(&entry.file_name().to_string_lossy()) {
            continue;
        }
        if kind.is_dir() {
            found.extend(files(&path, enter));
        } else if kind.is_file() {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files of `conf/`.
const SAMPLES: [&str; 8] =
    ["wiki", "gmail-imap", "gmail-oauth", "microsoft365", "pop3", "directory", "adullact", "surveillance"];

/// What `docs/` holds: the command that prints it, the locale, the file.
const DOCUMENTS: [(&str, &str, &str); 4] = [
    ("options", "C", "options.md"),
    ("options", "fr_FR.UTF-8", "options.fr.md"),
    ("man", "C", "pertuis.1"),
    ("man", "fr_FR.UTF-8", "pertuis.fr.1"),
];

/// Who must not know whom: a protocol file cannot skip a guarantee, a tunnel and a launcher fail apart.
const STRANGERS: [(&str, &str); 7] = [
    ("tunnel", "launcher"),
    ("tunnel", "source"),
    ("launcher", "tunnel"),
    ("source", "tunnel"),
    ("source", "launcher"),
    ("source", "delivery::ledger"),
    ("source", "delivery::staging"),
];
