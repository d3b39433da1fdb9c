//! What only launchers of envelopes have: kinds, defaults, and how several of them share one directory.
//!
//! Not the directory itself: paths are compared as they are written, made absolute; whether two of them are one place
//! through links is seen where directories are looked at. Several launchers on one directory are the usual case (one for
//! each kind, each with a COLD of its own), so a kind has one owner, and so has what has no kind.

use std::path::{Component, Path, PathBuf};

use super::launcher::{Kind, Launcher};
use super::section::{Options, Report};
use super::template::Template;
use super::{Place, value};
use crate::model::EnvelopeKind;
use crate::text;
use crate::text::Text;

/// `envelope`: each kind once, in the order of the file; all where none is written.
pub(super) fn envelope(options: &Options) -> Vec<EnvelopeKind> {
    let mut kinds: Vec<EnvelopeKind> = Vec::new();
    for kind in options.list("envelope", value::envelope) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() { EnvelopeKind::ALL.to_vec() } else { kinds }
}

/// `name`: the files of many envelopes lie side by side in one directory unless each has a folder of its own.
pub(super) fn template(options: &Options) -> Template {
    let folder = super::launcher::word(options, "group").as_deref() == Some("folder");
    let default = || if folder { Template::own_name() } else { Template::of_envelope() };
    options.get("name", Template::document).unwrap_or_else(default)
}

/// `max_ratio`.
pub(super) fn max_ratio(options: &Options) -> u64 {
    let written = options.get("max_ratio", value::at_least_one).and_then(|ratio| u64::try_from(ratio).ok());
    written.unwrap_or(RATIO)
}

/// Each directory in the drop directory is a deposit: none of ours may lie there.
pub(super) fn check_directories(launcher: &Launcher, options: &Options, report: &mut Report) {
    let source = normal(Path::new(&launcher.source));
    let own = [
        ("deliver", Some(&launcher.deliver)),
        ("staging", launcher.staging.as_ref()),
        ("quarantine", launcher.quarantine.as_ref()),
    ];
    for (name, path) in own {
        let inside = path.is_some_and(|path| normal(path).starts_with(&source) && normal(path) != source);
        if inside || (name != "deliver" && path.is_some_and(|path| normal(path) == source)) {
            report.mistake(options.place_of(name), in_source(options.written(name), options.written("source")));
        }
    }
    for (index, (word, kind)) in launcher.alias.iter().enumerate() {
        if launcher.alias[..index].iter().any(|(before, other)| before.eq_ignore_ascii_case(word) && other != kind) {
            let text = text!(
                "alias: {word} stands for two kinds; remove one of them",
                "alias : {word} vaut pour deux types ; retirer l'un des deux"
            );
            report.mistake(options.place_of("alias"), text);
        }
    }
}

/// Gives each kind of one directory to one launcher, and what has no kind to the first one.
pub(super) fn share(launchers: &mut [Launcher], report: &mut Report) {
    let places: Vec<Option<PathBuf>> = launchers.iter().map(directory).collect();
    for index in 0..launchers.len() {
        let Some(here) = &places[index] else { continue };
        let same = |other: usize| launchers[other].enabled && places[other].as_ref() == Some(here);
        let takes = if launchers[index].enabled { !(0..index).any(same) } else { !(0..launchers.len()).any(same) };
        launchers[index].takes_unknown = takes;
        if !launchers[index].enabled {
            continue;
        }
        for first in (0..index).filter(|first| launchers[*first].enabled) {
            let Some(there) = &places[first] else { continue };
            let (first, second) = (&launchers[first], &launchers[index]);
            if let Some((option, text)) = conflict(first, there, second, here) {
                report.mistake(own_place(second, option), text);
            }
        }
    }
}

/// What two launchers cannot both have, with the option of the second one where it stands.
fn conflict(first: &Launcher, there: &Path, second: &Launcher, here: &Path) -> Option<(&'static str, Text)> {
    let (name, place) = (&first.name, &first.places.section);
    if there == here {
        let kind = second.envelope.iter().find(|kind| first.envelope.contains(kind))?.as_str();
        let text = text!(
            "envelope: [{name}] at {place} takes {kind} from the same source already; give each launcher kinds of its own, \
             one `envelope =` for each",
            "enveloppe : [{name}] à {place} prend déjà {kind} dans la même source ; donner à chaque lanceur ses propres types, \
             un `enveloppe =` pour chacun"
        );
        return Some(("envelope", text));
    }
    if !there.starts_with(here) && !here.starts_with(there) {
        return None;
    }
    let (here, there) = (here.display(), there.display());
    let text = text!(
        "source: {here} and {there}, the source of [{name}] at {place}, lie inside each other: one would take the deposits of \
         the other for a part of its own; use two directories, or one for both",
        "source : {here} et {there}, la source de [{name}] à {place}, sont l'un dans l'autre : l'un prendrait les dépôts de \
         l'autre pour une partie des siens ; utiliser deux répertoires, ou un seul pour les deux"
    );
    Some(("source", text))
}

fn directory(launcher: &Launcher) -> Option<PathBuf> {
    let written = launcher.kind == Kind::Adullact && !launcher.source.is_empty();
    written.then(|| normal(Path::new(&launcher.source)))
}

/// A path without `.` and `..`, as it is written: links are not looked at.
fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// Where an option stands in the launcher's own section; the header where it is a default of the preamble.
fn own_place<'a>(launcher: &'a Launcher, option: &str) -> &'a Place {
    let (place, section) = (launcher.places.of(option), &launcher.places.section);
    if place.file == section.file && place.line < section.line { section } else { place }
}

fn in_source(name: &str, source: &str) -> Text {
    text!(
        "{name} lies inside {source}, where each directory is a deposit: choose a folder elsewhere",
        "{name} est dans {source}, où chaque répertoire est un dépôt : choisir un dossier ailleurs"
    )
}

/// `max_ratio`: a legitimate archive of forms reaches 185 (facts, section C).
const RATIO: u64 = 300;
