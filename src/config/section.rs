//! A section whose options have found their rows: names known, values judged, defaults of the preamble added.
//!
//! Not typed yet: [`tunnel`](super::tunnel), [`launcher`](super::launcher) and [`global`](super::global) read typed
//! values from it. What is wrong has been reported here, once, at its place; builders go on with what is left, so
//! that one run finds every mistake.

use super::ini::{self, Line};
use super::option::{self, Fate, Kind, Level, Row, Status, Verdict};
use super::{Launcher, Place, Places, Remark, Tunnel};
use crate::text;
use crate::text::{Lang, Text};

/// What is found on the way.
#[derive(Default)]
pub(super) struct Report {
    /// What makes the file unusable.
    pub(super) mistakes: Vec<Remark>,
    /// What people should know.
    pub(super) warnings: Vec<Remark>,
}

/// An option with its row.
#[derive(Clone)]
pub(super) struct Entry {
    /// Its row.
    pub(super) row: &'static Row,
    /// Its text.
    pub(super) value: String,
    /// Where it stands.
    pub(super) place: Place,
    /// Its name as it is written.
    written: String,
    /// Its value is no value: reported already, not to be used.
    bad: bool,
    /// It stands before the first section.
    pub(super) inherited: bool,
}

/// The options of a section, or those before the first one.
pub(super) struct Options {
    /// What may stand here.
    pub(super) level: Level,
    /// The header.
    pub(super) place: Place,
    entries: Vec<Entry>,
    /// What unknown names probably meant: not missing, only misspelt.
    meant: Vec<&'static Row>,
    /// A launcher of no known kind: what is missing is not looked for.
    kind_unknown: bool,
}

impl Report {
    /// Adds a mistake.
    pub(super) fn mistake(&mut self, place: &Place, text: Text) {
        self.mistakes.push(Remark { place: place.clone(), text });
    }

    /// Adds a warning.
    pub(super) fn warning(&mut self, place: &Place, text: Text) {
        self.warnings.push(Remark { place: place.clone(), text });
    }

    /// Both lists in the order of the file, each remark once (a default of the preamble may have been judged for
    /// several sections).
    pub(super) fn sorted(mut self) -> Self {
        for list in [&mut self.mistakes, &mut self.warnings] {
            list.sort_by(|a, b| (&a.place, &a.text.en).cmp(&(&b.place, &b.text.en)));
            list.dedup();
        }
        self
    }
}

impl Options {
    /// Reads what stands before the first section.
    pub(super) fn preamble(section: &ini::Section, report: &mut Report) -> Self {
        let mut options = Self { level: Level::Global, place: section.place(), ..Self::default() };
        for line in &section.options {
            options.add_global(line, report);
        }
        options
    }

    /// Reads a section; `preamble` gives its defaults.
    pub(super) fn section(section: &ini::Section, level: Level, preamble: &Self, report: &mut Report) -> Self {
        let inherited = preamble.entries.iter().filter(|entry| inherits(entry.row, level));
        let entries = inherited.map(|entry| Entry { inherited: true, ..entry.clone() }).collect();
        let mut options = Self { level, place: section.place(), entries, ..Self::default() };
        let mut kinds = section.options.iter().filter_map(kind_of);
        options.kind_unknown = is_launcher(level) && !kinds.any(|fate| matches!(fate, Fate::Acts));
        options.meant = section.broken.iter().filter_map(|word| option::find(word, |row| row.is_for(level))).collect();
        for line in &section.options {
            options.add(line, report);
        }
        if is_launcher(level) {
            options.warn_of_repetition(report);
        }
        options
    }

    /// The options that can be used, in the order of the file.
    pub(super) fn good(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.bad)
    }

    /// The last one of this name that can be used.
    pub(super) fn last(&self, name: &str) -> Option<&Entry> {
        debug_assert!(option::all().iter().any(|row| row.name == name), "no option {name}");
        self.good().rfind(|entry| entry.row.name == name)
    }

    /// Its text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.last(name).map(|entry| entry.value.as_str())
    }

    /// Whether it is written at all, be it badly or misspelt.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().map(|entry| entry.row).chain(self.meant.iter().copied()).any(|row| row.name == name)
    }

    /// Whether it is written, but in a way that says nothing.
    pub(super) fn is_bad(&self, name: &str) -> bool {
        self.has(name) && self.last(name).is_none()
    }

    /// Whether it makes no sense to look at what is missing.
    pub(super) fn is_kind_unknown(&self) -> bool {
        self.kind_unknown
    }

    /// Its typed value. A text that does not parse has been reported by [`Row::judge`] already.
    pub(super) fn get<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, Text>) -> Option<T> {
        self.text(name).and_then(|text| parse(text).ok())
    }

    /// Whether it says `yes`; `default` where it says nothing.
    pub(super) fn yes(&self, name: &str, default: bool) -> bool {
        self.get(name, super::value::yes_no).unwrap_or(default)
    }

    /// The typed values of one that repeats.
    pub(super) fn list<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, Text>) -> Vec<T> {
        self.good().filter(|entry| entry.row.name == name).filter_map(|entry| parse(&entry.value).ok()).collect()
    }

    /// Where one stands, or the header.
    pub(super) fn place_of(&self, name: &str) -> &Place {
        let entry = self.entries.iter().rfind(|entry| entry.row.name == name);
        entry.map_or(&self.place, |entry| &entry.place)
    }

    /// What whoever wrote the file calls an option.
    pub(super) fn written<'a>(&'a self, name: &'a str) -> &'a str {
        let entry = self.entries.iter().rfind(|entry| entry.row.name == name);
        entry.map_or(name, |entry| &entry.written)
    }

    /// Where all of them stand.
    pub(super) fn places(&self) -> Places {
        let options = self.entries.iter().map(|entry| (entry.row.name, entry.place.clone())).collect();
        let written = self.entries.iter().map(|entry| (entry.row.name, entry.written.clone())).collect();
        Places { section: self.place.clone(), options, written }
    }

    fn add_global(&mut self, line: &Line, report: &mut Report) {
        if report.mistakes.len() >= MOST_MISTAKES {
            return;
        }
        let place = line.place();
        let Some(row) = option::find(&line.name, |row| row.is_for(Level::Global)) else {
            return report.mistake(&place, unknown(&line.name, |_| true));
        };
        if row.name == "launcher" {
            let text = text!(
                "launcher: makes a launcher of one section and stands in it",
                "launcher : fait d'une section un lanceur et se place dans celle-ci"
            );
            return report.mistake(&place, text);
        }
        self.push(row, line, place, report);
    }

    fn add(&mut self, line: &Line, report: &mut Report) {
        if report.mistakes.len() >= MOST_MISTAKES {
            return;
        }
        let (place, level, any_launcher) = (line.place(), self.level, self.kind_unknown);
        let fits = |row: &Row| row.is_for(level) || any_launcher && row.levels.iter().copied().any(is_launcher);
        match option::find(&line.name, fits) {
            None => {
                report.mistake(&place, unknown(&line.name, fits));
                let meant = option::did_you_mean(&line.name, Lang::En, fits);
                self.meant.extend(meant.and_then(|name| option::find(name, fits)));
            }
            Some(row) if !fits(row) => report.mistake(&place, misplaced(row, &line.name, level)),
            Some(row) => self.push(row, line, place, report),
        }
    }

    fn push(&mut self, row: &'static Row, line: &Line, place: Place, report: &mut Report) {
        let verdict = row.judge_as(&line.name, &line.value, self.level == Level::Global);
        let bad = matches!(verdict, Verdict::Mistake(_));
        match verdict {
            Verdict::Fine => {}
            Verdict::Warning(text) => report.warning(&place, text),
            Verdict::Mistake(text) => report.mistake(&place, text),
        }
        let (value, written) = (line.value.clone(), line.name.clone());
        self.entries.push(Entry { row, value, place, written, bad, inherited: false });
    }

    /// In a launcher an option that stands twice is more likely a slip than a habit.
    fn warn_of_repetition(&self, report: &mut Report) {
        let own: Vec<&Entry> = self.entries.iter().filter(|entry| !entry.inherited && !entry.row.repeats).collect();
        for (index, entry) in own.iter().enumerate() {
            if let Some(later) = own[index + 1..].iter().find(|later| later.row.name == entry.row.name) {
                let (name, place) = (&entry.written, &later.place);
                let text = text!(
                    "{name} stands again at {place}: only the last one counts",
                    "{name} figure à nouveau à {place} : seule la dernière compte"
                );
                report.warning(&entry.place, text);
            }
        }
    }
}

/// Nothing written, at no place.
impl Default for Options {
    fn default() -> Self {
        let place = Place { file: std::sync::Arc::from(std::path::Path::new("")), line: 0 };
        Self { level: Level::Global, place, entries: Vec::new(), meant: Vec::new(), kind_unknown: false }
    }
}

/// What becomes of the kind that a line `launcher =` names; `None` for one that nobody knows.
fn kind_of(line: &Line) -> Option<Fate> {
    let row = option::find(&line.name, |_| true).filter(|row| row.name == "launcher")?;
    let Kind::Choice(words) = row.kind else { return None };
    option::chosen(words, &line.value).map(|(_, fate)| fate)
}

/// What a section is. A launcher by its `launcher =`; one that was forgotten is noticed by what only launchers have.
pub(super) fn level_of(section: &ini::Section, report: &mut Report) -> Level {
    let is_kind = |name: &str| option::find(name, |_| true).is_some_and(|row| row.name == "launcher");
    if let Some(line) = section.options.iter().rfind(|line| is_kind(&line.name)) {
        return match ini::fold(&line.value).as_str() {
            "directory" | "repertoire" => Level::Directory,
            "adullact" => Level::Adullact,
            _ => Level::Mail,
        };
    }
    let only = |level, other| {
        let rows = section.options.iter().filter_map(|line| option::find(&line.name, |_| true));
        rows.filter(|row| row.is_for(level) && !row.is_for(other)).count()
    };
    let unknown = section.options.iter().filter(|line| option::find(&line.name, |_| true).is_none());
    let meant = |line: &Line| option::did_you_mean(&line.name, Lang::En, |row| row.is_for(Level::Mail));
    if section.broken.iter().any(|word| is_kind(word))
        || unknown.take(MOST_UNKNOWN).any(|line| matches!(meant(line), Some("launcher" | "lanceur")))
    {
        return Level::Mail;
    }
    if only(Level::Mail, Level::Tunnel) > only(Level::Tunnel, Level::Mail) {
        let text = text!(
            "this section has options of a launcher but no `launcher =` (imap, pop3, o365, adullact or directory)",
            "cette section a des options de lanceur mais pas de `lanceur =` (imap, pop3, o365, adullact ou repertoire)"
        );
        report.mistake(&section.place(), text);
        return Level::Mail;
    }
    Level::Tunnel
}

/// Whether a launcher, of whatever kind.
pub(super) fn is_launcher(level: Level) -> bool {
    matches!(level, Level::Mail | Level::Directory | Level::Adullact)
}

/// What only several sections together show.
pub(super) fn compare(tunnels: &[Tunnel], launchers: &[Launcher], report: &mut Report) {
    for (index, launcher) in launchers.iter().enumerate() {
        if let Some(first) = launchers[..index].iter().find(|first| first.name == launcher.name) {
            let (name, place) = (&launcher.name, &first.places.section);
            let text = text!(
                "the launcher [{name}] exists already at {place}: the ledger knows a launcher by its name",
                "le lanceur [{name}] existe déjà à {place} : le registre connaît un lanceur par son nom"
            );
            report.mistake(&launcher.places.section, text);
        }
    }
    for (index, tunnel) in tunnels.iter().enumerate() {
        virtual_host(tunnel, &tunnels[..index], report);
        for address in tunnel.accept.iter().filter(|address| address.tcp().is_none_or(|tcp| tcp.port != 0)) {
            if let Some(first) = tunnels[..index].iter().find(|first| first.accept.contains(address)) {
                let place = first.places.of("accept");
                let text = text!(
                    "accept: {address} is taken already at {place}",
                    "accept : {address} est déjà pris à {place}"
                );
                report.warning(tunnel.places.of("accept"), text);
            }
        }
    }
}

/// A service of names stands below the section whose connections it takes.
fn virtual_host(tunnel: &Tunnel, earlier: &[Tunnel], report: &mut Report) {
    let Some(of) = tunnel.virtual_host.as_ref().map(|host| &host.of) else { return };
    let text = match earlier.iter().find(|one| one.name == *of) {
        Some(primary) if primary.client => text!(
            "SNI primary service is a TLS client: [{of}] has `client = yes`",
            "sni : [{of}] est un client TLS (`client = yes`), il ne reçoit pas de nom de serveur"
        ),
        Some(primary) if primary.virtual_host.is_some() => text!(
            "SNI primary service [{of}] takes its connections from another one itself",
            "sni : [{of}] prend elle-même ses connexions d'une autre section"
        ),
        Some(primary) if primary.protocol.as_ref().is_some_and(|one| one.kind.is_heard_before_tls()) => text!(
            "SNI primary service [{of}] hears in clear where its clients want to go, before they send a server name: leave out \
             its `protocol =`, or give this section an `accept =` of its own",
            "sni : [{of}] apprend en clair où vont ses clients, avant qu'ils n'envoient un nom de serveur : y retirer \
             `protocol =`, ou donner à cette section son propre `accept =`"
        ),
        Some(_) => return,
        None => text!(
            "SNI section name not found: there is no [{of}] above this section; case matters",
            "sni : il n'y a pas de [{of}] plus haut dans le fichier ; la casse compte"
        ),
    };
    report.mistake(tunnel.places.of("sni"), text);
}

fn inherits(row: &Row, level: Level) -> bool {
    row.is_for(level) && !(is_launcher(level) && NOT_FOR_LAUNCHERS.contains(&row.name))
}

fn unknown(name: &str, valid: impl Fn(&Row) -> bool) -> Text {
    let shown: String = name.chars().take(60).collect();
    let near = |lang| option::did_you_mean(name, lang, &valid);
    match (near(Lang::En), near(Lang::Fr)) {
        (Some(en), Some(fr)) => text!(
            "Specified option name is not valid here: {shown:?} is unknown, did you mean {en:?}?",
            "option inconnue : {shown:?} ; vouliez-vous dire {fr:?} ?"
        ),
        _ => text!(
            "Specified option name is not valid here: {shown:?} is unknown; `pertuis options` lists all of them",
            "option inconnue : {shown:?} ; `pertuis options` les liste toutes"
        ),
    }
}

fn misplaced(row: &Row, name: &str, level: Level) -> Text {
    let of_launchers = row.levels.iter().copied().any(is_launcher);
    let (en, fr) = if of_launchers && is_launcher(level) {
        match (level, row.is_for(Level::Mail), row.is_for(Level::Directory)) {
            (Level::Directory, true, _) => {
                ("a directory launcher has no use for it", "un lanceur de répertoire n'en a pas l'usage")
            }
            (Level::Adullact, ..) => {
                ("an adullact launcher has no use for it", "un lanceur adullact n'en a pas l'usage")
            }
            (_, _, true) => {
                ("only directory and adullact launchers have it", "seuls les lanceurs de répertoire et adullact l'ont")
            }
            _ => ("only adullact launchers have it", "seuls les lanceurs adullact l'ont"),
        }
    } else if row.is_for(Level::Tunnel) && is_launcher(level) {
        (
            "it belongs in a tunnel, and this section is a launcher",
            "elle va dans un tunnel, et cette section est un lanceur",
        )
    } else if of_launchers {
        (
            "it belongs in a launcher (a section with `launcher =`)",
            "elle va dans un lanceur (une section avec `lanceur =`)",
        )
    } else {
        ("it belongs before the first section", "elle va avant la première section")
    };
    text!("Specified option name is not valid here: {name}: {en}", "option mal placée : {name} : {fr}")
}

/// Whether `row` may be shown by `explain`: it has an effect.
pub(super) fn acts(row: &Row) -> bool {
    matches!(row.status, Status::Acts)
}

/// Verification, certificates and keys of the preamble are meant for tunnels.
const NOT_FOR_LAUNCHERS: [&str; 8] =
    ["CAfile", "CApath", "verifyChain", "verifyPeer", "checkHost", "cert", "key", "pin"];

/// So many mistakes are no configuration; looking for more names that were meant would take long.
const MOST_MISTAKES: usize = 200;
/// Among so many unknown names of a section a misspelt `launcher` is looked for.
const MOST_UNKNOWN: usize = 20;
