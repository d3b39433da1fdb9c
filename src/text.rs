//! Bilingual text: every sentence an administrator reads exists in English and in French.
//!
//! Not a translation catalogue: both sentences stand side by side at the place that says them, so the compiler
//! finds the missing one and a reader sees what is said. Who prints a [`Text`] picks the language; nothing in
//! between knows it, which is why there is no global language.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, ErrorKind};

/// The language in which the program speaks to people. JSON and the first line of `check` are always English.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// French.
    Fr,
}

impl Lang {
    /// The language of the environment: the first of `LC_ALL`, `LC_MESSAGES`, `LANG` that is set decides
    /// (POSIX.1-2017, 8.2), French when it begins with `fr`.
    pub fn from_env() -> Self {
        let set = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        set.map_or(Self::En, |value| Self::from_locale(&value))
    }

    /// The language of a locale name such as `fr_FR.UTF-8`; English for every other one.
    pub fn from_locale(name: &str) -> Self {
        if name.to_ascii_lowercase().starts_with("fr") { Self::Fr } else { Self::En }
    }
}

/// One sentence in both languages. Made by [`text!`](crate::text!).
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// English.
    pub en: Cow<'static, str>,
    /// French.
    pub fr: Cow<'static, str>,
}

impl Text {
    /// The sentence in `lang`.
    pub fn get(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Fr => &self.fr,
        }
    }

    /// What the system said about a file or a folder; the most frequent answers in French too. Our own words where the
    /// error was made by [`Text::into_io`].
    pub fn io(error: &io::Error) -> Self {
        if let Some(own) = Self::within(error) {
            return own.clone();
        }
        let fr = match error.kind() {
            ErrorKind::NotFound => "fichier ou répertoire introuvable",
            ErrorKind::PermissionDenied => "accès refusé",
            ErrorKind::NotADirectory => "ce n'est pas un répertoire",
            ErrorKind::IsADirectory => "c'est un répertoire",
            ErrorKind::StorageFull => "plus de place sur le volume",
            ErrorKind::QuotaExceeded => "quota dépassé",
            ErrorKind::ReadOnlyFilesystem => "système de fichiers en lecture seule",
            ErrorKind::TimedOut => "délai dépassé",
            ErrorKind::ConnectionRefused => "connexion refusée",
            ErrorKind::ConnectionReset => "connexion réinitialisée par le correspondant",
            ErrorKind::BrokenPipe => "le correspondant ne lit plus",
            ErrorKind::HostUnreachable => "hôte inaccessible",
            ErrorKind::NetworkUnreachable => "réseau inaccessible",
            ErrorKind::AddrInUse => "adresse déjà utilisée",
            ErrorKind::AddrNotAvailable => "adresse absente de cette machine",
            _ => return Self::same(error.to_string()),
        };
        Self { en: error.to_string().into(), fr: fr.into() }
    }

    /// An error of the system with these words: for whoever knows nothing of them it prints English.
    pub fn into_io(self, kind: ErrorKind) -> io::Error {
        io::Error::new(kind, Explained(self))
    }

    /// The words of an error that was made by [`Text::into_io`].
    pub fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref::<Explained>().map(|explained| &explained.0)
    }

    /// The same words in both languages: what another program said, a name, a number.
    pub fn same(words: impl Into<String>) -> Self {
        let words: String = words.into();
        Self { en: Cow::Owned(words.clone()), fr: Cow::Owned(words) }
    }
}

/// What [`Text::into_io`] puts into an error.
#[derive(Debug)]
struct Explained(Text);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Explained {}

/// English, for tests and chains of errors; people get [`Text::get`].
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.en)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.en, f)
    }
}

/// At most `most` characters of what a stranger wrote, fit for a line that people read: without control characters.
pub(crate) fn shown(words: &str, most: usize) -> String {
    words.chars().filter(|c| !c.is_control()).take(most).collect()
}

/// Makes a [`Text`] from an English and a French format string; names in braces are captured, as in `format!`.
/// A `Text` used inside is written in English on both sides: nest with `.en` and `.fr` instead.
///
/// ```
/// let port = 110;
/// let text = pertuis::text!("port {port} is taken", "le port {port} est déjà pris");
/// assert_eq!(text.get(pertuis::text::Lang::Fr), "le port 110 est déjà pris");
/// ```
#[macro_export]
macro_rules! text {
    ($en:literal, $fr:literal $(,)?) => {
        $crate::text::Text { en: ::std::format!($en).into(), fr: ::std::format!($fr).into() }
    };
}
