//! What an option is: one row of the one table holds its name, aliases, places, type, default, documentation and
//! what this program does with it.
//!
//! Not the building of tunnels and launchers: here an option is judged alone ([`Row::judge`]), with the sentence for
//! what is refused, ignored or not built yet. `check`, man page, sample file and "did you mean" read the same rows,
//! so a new option is one row (in `rows.rs`) and the line that uses it. The rule for stunnel's options: without
//! effect only where the result is at least as strict as what was asked, or where it is a matter of tuning alone;
//! otherwise refused.

use super::ini::fold;
use super::rows::ROWS;
use super::template::Template;
use super::{tls, value};
use crate::text;
use crate::text::{Lang, Text};

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The name of the contract or of stunnel.
    pub name: &'static str,
    /// Other names: French ones, older ones.
    pub aliases: &'static [&'static str],
    /// Where it may stand.
    pub levels: &'static [Level],
    /// The type of its value.
    pub kind: Kind,
    /// Its default as it would be written; empty where there is none or where the documentation tells it.
    pub default: &'static str,
    /// A value for the sample file where the default would show nothing.
    pub sample: &'static str,
    /// What it means.
    pub doc: Words,
    /// What becomes of it.
    pub status: Status,
    /// Whether several add up; otherwise the last one counts.
    pub repeats: bool,
}

/// A sentence of the table in both languages.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// English.
    pub en: &'static str,
    /// French.
    pub fr: &'static str,
}

/// Where an option may stand. What is valid in sections may also stand before the first one, as their default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Before the first section, for the program as a whole.
    Global,
    /// In a tunnel.
    Tunnel,
    /// In a launcher that reads mail.
    Mail,
    /// In a launcher that reads a directory.
    Directory,
    /// In a launcher that takes envelopes.
    Adullact,
}

/// What becomes of an option.
#[derive(Clone, Copy, Debug)]
pub enum Status {
    /// It does what it says.
    Acts,
    /// Accepted without a word: what it asks for is so anyway.
    Silent,
    /// Accepted with a warning: what happens instead.
    Ignored(Words),
    /// A mistake: what to use instead.
    Refused(Words),
    /// A mistake: not in this version.
    Later,
}

/// The type of a value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `yes` or `no`.
    YesNo,
    /// One of these words, each with its own fate; `yes` and `no` among them may be written in French.
    Choice(&'static [(&'static str, Fate)]),
    /// These words only; every other value is known, but not in this version.
    Only(&'static [&'static str]),
    /// Any text that is not empty.
    Text,
    /// Anything, also nothing.
    Any,
    /// A whole number.
    Number,
    /// See [`value::at_least_one`].
    Count,
    /// See [`value::duration`].
    Duration,
    /// See [`value::duration_or_never`].
    DurationOrNever,
    /// See [`Interval`](super::schedule::Interval).
    Interval,
    /// See [`Template::document`](super::template::Template::document).
    Name,
    /// See [`Template::folder`](super::template::Template::folder).
    FolderName,
    /// See [`value::proxy`].
    Proxy,
    /// See [`value::alert`].
    Alert,
    /// See [`value::base_url`].
    BaseUrl,
    /// See [`value::tenant`].
    Tenant,
    /// See [`value::size`].
    Size,
    /// See [`value::address`].
    Address,
    /// See [`value::endpoint`].
    Endpoint,
    /// See [`value::destination`].
    Destination,
    /// See [`value::environment`].
    Environment,
    /// See [`value::server`].
    Server,
    /// A file or directory.
    Path,
    /// A file or directory; empty undoes an inherited one.
    PathOrNone,
    /// See [`value::secret`].
    Secret,
    /// See [`value::pin`].
    Pin,
    /// See [`Pattern`](super::pattern::Pattern), matched from the first character of a file's name.
    Pattern,
    /// The same, searched anywhere.
    Search,
    /// See [`value::since`].
    Since,
    /// See [`value::after`].
    After,
    /// See [`value::envelope`].
    Envelope,
    /// See [`value::alias`].
    Alias,
    /// See [`value::file_name`].
    FileName,
    /// See [`value::debug`].
    Debug,
    /// See [`value::socket`].
    Socket,
    /// See [`value::tls_version`]; `clamp`: an old one is raised without a word.
    TlsVersion {
        /// For `sslVersionMin`: TLS 1.2 is above what is asked.
        clamp: bool,
    },
    /// See [`value::tls_option`].
    TlsOption,
    /// An IP address.
    Ip,
    /// An OpenSSL cipher string.
    Ciphers,
    /// See [`super::tls::ciphersuites`].
    CipherSuites,
    /// See [`super::tls::groups`].
    Groups,
    /// See [`super::tls::cache_size`].
    CacheSize,
    /// See [`super::tls::ticket_secret`].
    TicketSecret,
    /// See `trust::store`.
    Store,
    /// A command of `SSL_CONF_cmd(3)`.
    OpenSslCommand,
    /// See [`value::retry`].
    Retry,
}

/// What becomes of one word of a [`Kind::Choice`].
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It does what it says.
    Acts,
    /// Accepted with a warning.
    Ignored(Words),
    /// A mistake with its reason.
    Refused(Words),
    /// A mistake: not in this version.
    Later,
}

/// The judgement on one option as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to say.
    Fine,
    /// It counts, or is ignored, and people should know something.
    Warning(Text),
    /// It cannot be.
    Mistake(Text),
}

impl Words {
    /// The sentence.
    pub fn text(&self) -> Text {
        Text { en: self.en.into(), fr: self.fr.into() }
    }

    /// The sentence in `lang`.
    pub fn get(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::Fr => self.fr,
        }
    }
}

impl Row {
    /// Whether it may stand in a section (or before the first) of this level.
    pub fn is_for(&self, level: Level) -> bool {
        self.levels.contains(&level)
    }

    /// Judges a value. `global`: it stands before the first section.
    pub fn judge(&self, value: &str, global: bool) -> Verdict {
        self.judge_as(self.name, value, global)
    }

    /// The same, calling the option what whoever wrote the file calls it.
    pub fn judge_as(&self, name: &str, value: &str, global: bool) -> Verdict {
        match &self.status {
            // empty undoes an inherited one: nothing is asked for
            Status::Later if value.is_empty() && matches!(self.kind, Kind::PathOrNone) => Verdict::Fine,
            Status::Later => Verdict::Mistake(value::not_yet(name)),
            Status::Refused(why) => {
                let (en, fr) = (why.en, why.fr);
                Verdict::Mistake(text!("{name}: {en}", "{name} : {fr}"))
            }
            Status::Acts | Status::Silent => named(name, self.kind.judge(value, global)),
            Status::Ignored(why) => match named(name, self.kind.judge(value, global)) {
                Verdict::Fine => Verdict::Warning(ignored(name, why)),
                other => other,
            },
        }
    }

    /// The value as it may be shown.
    pub fn shown<'v>(&self, value: &'v str) -> &'v str {
        let hidden = match self.kind {
            Kind::Secret | Kind::TicketSecret => true,
            Kind::Proxy => value.contains('@'),
            _ => false,
        };
        if hidden { "***" } else { value }
    }
}

/// The row of an option by any of its names, folded: one that is `valid` where it stands, else any of that name
/// (`provider` is one option of stunnel and another of launchers).
pub fn find(name: &str, valid: impl Fn(&Row) -> bool) -> Option<&'static Row> {
    let folded = fold(name);
    let mut any = None;
    for row in ROWS.iter().filter(|row| names(row).any(|known| is_named(known, &folded))) {
        if valid(row) {
            return Some(row);
        }
        any = Some(row);
    }
    any
}

/// Whether a name of the table, which are ASCII, folds to `folded`.
fn is_named(known: &str, folded: &str) -> bool {
    known.bytes().filter(|b| !matches!(b, b'_' | b'-')).map(|b| b.to_ascii_lowercase()).eq(folded.bytes())
}

/// All rows, in the order of the documentation.
pub fn all() -> &'static [Row] {
    ROWS
}

/// The name that was probably meant, among those for which `valid` says yes, written as the table writes it. Of names
/// that are equally near, the one of `lang`.
pub fn did_you_mean(name: &str, lang: Lang, valid: impl Fn(&Row) -> bool) -> Option<&'static str> {
    let folded = fold(name);
    if folded.len() < 3 || folded.len() > 40 {
        return None;
    }
    let most = 1 + folded.len() / 5;
    let in_order = |row| {
        let mut names: Vec<_> = names(row).collect();
        if lang == Lang::Fr {
            names.reverse();
        }
        names
    };
    let candidates = ROWS.iter().filter(|row| valid(row)).flat_map(in_order);
    // a name that is longer or shorter by more than that is no near miss, and need not be compared
    let comparable =
        candidates.map(|known| (fold(known), known)).filter(|(k, _)| k.len().abs_diff(folded.len()) <= most);
    let near = comparable.map(|(k, known)| (strsim::osa_distance(&folded, &k), known));
    near.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// The name of a row and its aliases.
pub fn names(row: &'static Row) -> impl Iterator<Item = &'static str> {
    std::iter::once(row.name).chain(row.aliases.iter().copied())
}

impl Kind {
    /// Judges a value by its type alone.
    fn judge(&self, value: &str, global: bool) -> Verdict {
        match self {
            Self::YesNo => check(value::yes_no(value)),
            Self::Choice(words) => choice(words, value),
            Self::Only(_) if value.is_empty() => check(value::some(value)),
            Self::Only(words) if !words.contains(&value) => Verdict::Mistake(value::not_yet(value)),
            Self::Text => check(value::some(value)),
            Self::Number => check(value::number(value)),
            Self::Count => check(value::at_least_one(value)),
            Self::Duration => check(value::duration(value)),
            Self::DurationOrNever => check(value::duration_or_never(value)),
            Self::Interval => check(super::schedule::Interval::parse(value)),
            Self::Name => check(Template::document(value)),
            Self::FolderName => check(Template::folder(value)),
            Self::Proxy => check(value::proxy(value)),
            Self::Alert => check(value::alert(value)),
            Self::BaseUrl => check(value::base_url(value)),
            Self::Tenant => check(value::tenant(value)),
            Self::Size => check(value::size(value)),
            Self::Address => check(value::address(value)),
            Self::Endpoint => check(value::endpoint(value)),
            Self::Destination => check(value::destination(value)),
            Self::Environment => check(value::environment(value)),
            Self::Retry => check(value::retry(value)),
            Self::Server => check(value::server(value)),
            Self::Path => check(value::path(value)),
            Self::PathOrNone if !value.is_empty() => check(value::path(value)),
            Self::Secret => check(value::secret(value)),
            Self::Pin => check(value::pin(value)),
            Self::Pattern => pattern(value),
            Self::Search => check(super::pattern::Pattern::parse(value)),
            Self::Since => check(value::since(value)),
            Self::After => check(value::after(value)),
            Self::Envelope => check(value::envelope(value)),
            Self::Alias => check(value::alias(value)),
            Self::FileName => check(value::file_name(value)),
            Self::Debug => check(value::debug(value, global)),
            Self::Socket => match value::socket(value) {
                Ok(Ok(_)) => Verdict::Fine,
                Ok(Err(warning)) => Verdict::Warning(warning),
                Err(why) => Verdict::Mistake(why),
            },
            Self::TlsVersion { clamp } => tls_version(value, *clamp),
            Self::TlsOption => tls_option(value),
            Self::Ip => check(value::ip(value)),
            Self::Ciphers => check(super::cipher_string::parse(value)),
            Self::CipherSuites => check(tls::ciphersuites(value)),
            Self::Groups => check(tls::groups(value)),
            Self::CacheSize => check(tls::cache_size(value)),
            Self::TicketSecret => check(tls::ticket_secret(value)),
            Self::Store if !value.is_empty() => check(super::trust::store(value)),
            Self::OpenSslCommand => openssl_command(value),
            Self::Any | Self::PathOrNone | Self::Store | Self::Only(_) => Verdict::Fine,
        }
    }
}

/// The word of the table that `value` stands for.
pub(super) fn chosen(words: &[(&'static str, Fate)], value: &str) -> Option<(&'static str, Fate)> {
    let folded = fold(value);
    let same =
        |word: &str| fold(word) == folded || (word == "yes" && folded == "oui") || (word == "no" && folded == "non");
    words.iter().find(|(word, _)| same(word)).copied()
}

fn choice(words: &[(&'static str, Fate)], value: &str) -> Verdict {
    let Some((_, fate)) = chosen(words, value) else {
        let here = words.iter().filter(|(_, fate)| !matches!(fate, Fate::Later | Fate::Refused(_)));
        let known: Vec<&str> = here.map(|(word, _)| *word).collect();
        let known = known.join(", ");
        return Verdict::Mistake(text!("{value:?}: expected one of {known}", "{value:?} : attendu l'un de {known}"));
    };
    match fate {
        Fate::Acts => Verdict::Fine,
        Fate::Ignored(why) => Verdict::Warning(why.text()),
        Fate::Refused(why) => Verdict::Mistake(why.text()),
        Fate::Later => Verdict::Mistake(value::not_yet(value)),
    }
}

fn check<T>(result: Result<T, Text>) -> Verdict {
    match result {
        Ok(_) => Verdict::Fine,
        Err(why) => Verdict::Mistake(why),
    }
}

fn pattern(value: &str) -> Verdict {
    match super::pattern::Pattern::parse(value) {
        Err(why) => Verdict::Mistake(why),
        Ok(pattern) => match pattern.remarks().as_slice() {
            [] => Verdict::Fine,
            remarks => {
                let join = |words: Vec<&str>| words.join("; ");
                let en = join(remarks.iter().map(|text| text.get(Lang::En)).collect());
                let fr = join(remarks.iter().map(|text| text.get(Lang::Fr)).collect());
                Verdict::Warning(Text { en: en.into(), fr: fr.into() })
            }
        },
    }
}

fn tls_version(value: &str, clamp: bool) -> Verdict {
    match value::tls_version(value) {
        Err(why) => Verdict::Mistake(why),
        Ok(Some(version)) if version < 3 && !clamp => Verdict::Warning(text!(
            "{value} is obsolete: negotiates TLS 1.2 or 1.3 instead",
            "{value} est obsolète : TLS 1.2 ou 1.3 est négocié à la place"
        )),
        Ok(_) => Verdict::Fine,
    }
}

fn tls_option(value: &str) -> Verdict {
    match value::tls_option(value) {
        Err(why) => Verdict::Mistake(why),
        Ok((false, name)) if OLD_VERSIONS.contains(&name.as_str()) => Verdict::Warning(text!(
            "{value}: SSL and TLS before 1.2 stay off",
            "{value} : SSL et TLS avant 1.2 restent désactivés"
        )),
        Ok(_) => Verdict::Fine,
    }
}

/// Commands that only choose among ciphers and versions may be ignored; others may ask for more than that.
fn openssl_command(value: &str) -> Verdict {
    let command = fold(value.split(':').next().unwrap_or_default());
    if HARMLESS_COMMANDS.contains(&command.as_str()) {
        return Verdict::Fine;
    }
    Verdict::Mistake(text!(
        "{value:?}: OpenSSL's commands have no meaning here; use the options of the manual",
        "{value:?} : les commandes d'OpenSSL n'ont pas de sens ici ; utiliser les options du manuel"
    ))
}

fn named(name: &str, verdict: Verdict) -> Verdict {
    let with_name = |text: Text| {
        let (en, fr) = (text.en, text.fr);
        text!("{name}: {en}", "{name} : {fr}")
    };
    match verdict {
        Verdict::Fine => Verdict::Fine,
        Verdict::Warning(text) => Verdict::Warning(with_name(text)),
        Verdict::Mistake(text) => Verdict::Mistake(with_name(text)),
    }
}

fn ignored(name: &str, why: &Words) -> Text {
    let (en, fr) = (why.en, why.fr);
    text!("{name} has no effect here: {en}", "{name} est sans effet ici : {fr}")
}

/// What `options = -NO_…` would allow again.
const OLD_VERSIONS: [&str; 5] = ["NO_SSLV2", "NO_SSLV3", "NO_TLSV1", "NO_TLSV1_1", "NO_TLSV1.1"];

/// Folded names of `SSL_CONF_cmd(3)`.
const HARMLESS_COMMANDS: [&str; 8] = [
    "curves",
    "groups",
    "minprotocol",
    "maxprotocol",
    "cipherstring",
    "ciphersuites",
    "signaturealgorithms",
    "protocol",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_aliases_are_unique_once_folded() {
        let mut seen = HashSet::new();
        for level in [Level::Global, Level::Tunnel, Level::Mail, Level::Directory, Level::Adullact] {
            for name in ROWS.iter().filter(|row| row.is_for(level)).flat_map(names) {
                assert!(name.is_ascii() && is_named(name, &fold(name)), "{name}");
                assert!(seen.insert((level as u8, fold(name))), "{name} stands twice in the table");
            }
        }
        assert!(seen.len() > 200);
    }

    #[test]
    fn every_row_is_documented_in_both_languages_and_stands_somewhere() {
        for row in ROWS {
            assert!(!row.doc.en.is_empty() && !row.doc.fr.is_empty() && !row.levels.is_empty(), "{}", row.name);
            assert_ne!(row.doc.en, row.doc.fr, "{}", row.name);
            if let Status::Ignored(words) | Status::Refused(words) = row.status {
                assert!(!words.en.is_empty() && !words.fr.is_empty(), "{}", row.name);
            }
        }
    }

    #[test]
    fn every_default_and_sample_of_an_option_that_acts_is_valid() {
        for row in ROWS.iter().filter(|row| matches!(row.status, Status::Acts)) {
            for value in [row.default, row.sample].into_iter().filter(|value| !value.is_empty()) {
                assert!(!matches!(row.judge(value, true), Verdict::Mistake(_)), "{} = {value}", row.name);
            }
        }
    }

    #[test]
    fn near_misses_find_their_name() {
        assert_eq!(did_you_mean("conect", Lang::En, |row| row.is_for(Level::Tunnel)), Some("connect"));
        assert_eq!(did_you_mean("Mot de pase", Lang::En, |row| row.is_for(Level::Mail)), Some("mot_de_passe"));
        assert_eq!(did_you_mean("livre", Lang::Fr, |row| row.is_for(Level::Tunnel)), None);
        assert_eq!(did_you_mean("intervale", Lang::En, |row| row.is_for(Level::Mail)), Some("interval"));
        assert_eq!(did_you_mean("intervale", Lang::Fr, |row| row.is_for(Level::Mail)), Some("intervalle"));
        assert_eq!(did_you_mean("nonsense", Lang::En, |_| true), None);
    }

    #[test]
    fn a_secret_never_stands_in_a_verdict() {
        let Verdict::Mistake(text) = find("password", |_| true).unwrap().judge("dpapi:hunter2", false) else {
            panic!()
        };
        assert!(!text.en.contains("hunter2"));
    }
}
