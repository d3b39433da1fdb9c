//! File-name patterns: `/regex/flags` in PCRE syntax.
//!
//! Not a glob and not an unanchored search: a file name is matched from its first character, as Python's `re.match`
//! does, because the filters of `EzGED` itself are written for that (an unanchored `(?!x).*` would match from the second
//! character on and refuse nothing). What such a pattern cannot mean, although it reads as if it did, is told by
//! [`Pattern::remarks`], proved on example names rather than guessed from the text alone.

use fancy_regex::{CompileError, Error, ParseError, Regex, RegexBuilder};

use crate::text;
use crate::text::Text;

/// A compiled pattern. Two are equal when they are written alike.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As it is written, slashes and flags included.
    pub text: String,
    /// What stands between the slashes.
    body: String,
    /// Case does not matter (flag `i`).
    folded: bool,
    /// Found anywhere.
    anywhere: Regex,
    /// Found at the first character.
    anchored: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// Compiles `/regex/flags`; the last slash ends the regex. Flags: `i` (case does not matter), `m` (`^` and `$` at
    /// every line), `s` (`.` also matches line breaks), `x` (blanks and comments in the regex do not count), `u`
    /// (accepted: matching is always on characters).
    ///
    /// # Errors
    /// A sentence that shows the pattern, says what is wrong and, where it is known, at which character.
    pub fn parse(text: &str) -> Result<Self, Text> {
        let (body, flags) = split(text)?;
        // compiled as it stands first: `a)(b` would be a valid regex inside the parentheses of the anchored one
        let anywhere = compile(body.to_owned(), flags).map_err(|error| explain(text, body, &error))?;
        // with `x` a comment at the end would swallow the parenthesis
        let end = if flags.contains('x') { "\n)" } else { ")" };
        let anchored = compile(format!("\\A(?:{body}{end}"), flags).map_err(|error| explain(text, body, &error))?;
        Ok(Self { text: text.to_owned(), body: body.to_owned(), folded: flags.contains('i'), anywhere, anchored })
    }

    /// Whether the pattern matches a file name from its first character on; what follows the match does not matter.
    ///
    /// # Errors
    /// The regex gave up on this name (too much backtracking): neither yes nor no.
    pub fn takes(&self, name: &str) -> Result<bool, Text> {
        self.anchored.is_match(name).map_err(|_| self.gave_up(name))
    }

    /// Whether the pattern is found anywhere in `text` (`filter_from`, `filter_subject`).
    ///
    /// # Errors
    /// As [`Self::takes`].
    pub fn finds(&self, text: &str) -> Result<bool, Text> {
        self.anywhere.is_match(text).map_err(|_| self.gave_up(text))
    }

    /// Warnings where the pattern, as a filter of file names, cannot mean what it seems to.
    pub fn remarks(&self) -> Vec<Text> {
        let remarks = [self.extension_left_out(), self.beginning_left_out(), self.only_an_end()];
        remarks.into_iter().flatten().collect()
    }

    /// `.*\.(?!db).*` reads as "not the extension db" and says "some dot is not followed by db".
    fn extension_left_out(&self) -> Option<Text> {
        let words = self.body_like(r"\A\^?\.[*+]\??\\\.\(\?!([^()]*)\)(?:\.[*+]\??)?\$?\z")?;
        let word = words.split('|').next().filter(|word| is_plain(word))?;
        let dated = format!("photo.2023.{word}");
        let upper = format!("X.{}", word.to_uppercase());
        let mut taken = Vec::new();
        for name in [dated, upper] {
            if self.takes(&name).ok()? {
                taken.push(format!("`{name}`"));
            }
        }
        let taken = taken.join(", ");
        let refuses_bare = !self.takes(BARE).ok()?;
        if taken.is_empty() && !refuses_bare {
            return None;
        }
        let pattern = &self.text;
        let instead = instead_of_extension(words);
        Some(text!(
            "the pattern {pattern} takes {taken} and leaves out every name without a dot (`{BARE}`): it asks for one dot \
             that is not followed by {words}, whichever dot that is. To leave out the files whose extension begins so, \
             and no others, write {instead}",
            "le motif {pattern} prend {taken} et écarte tout nom sans point (`{BARE}`) : il demande un point qui ne soit \
             pas suivi de {words}, n'importe lequel. Pour écarter les fichiers dont l'extension commence ainsi, et eux \
             seuls, écrivez {instead}"
        ))
    }

    /// `(?!x).*\..*` also leaves out names without a dot.
    fn beginning_left_out(&self) -> Option<Text> {
        let start = self.body_like(r"\A\^?\(\?!([^()]*)\)\.[*+]\??\\\..*\z")?;
        if self.takes(BARE).ok()? || !self.takes(&format!("{BARE}.pdf")).ok()? {
            return None;
        }
        let pattern = &self.text;
        let (case, mut hint_en, mut hint_fr) = (if self.folded { "i" } else { "" }, String::new(), String::new());
        if !self.folded && is_plain(start) && start.chars().any(char::is_alphabetic) {
            let upper = start.to_uppercase();
            hint_en = format!(" (an i behind the last slash also leaves out {upper})");
            hint_fr = format!(" (un i après la dernière barre écarte aussi {upper})");
        }
        Some(text!(
            "the pattern {pattern} also leaves out every name without a dot (`{BARE}`). To leave out the files whose \
             name begins with {start}, and no others, write /(?!{start}).*/{case}{hint_en}",
            "le motif {pattern} écarte aussi tout nom sans point (`{BARE}`). Pour écarter les fichiers dont le nom \
             commence par {start}, et eux seuls, écrivez /(?!{start}).*/{case}{hint_fr}"
        ))
    }

    /// `\.pdf$` and `pdf$` are written for a search; from the first character on they match next to nothing.
    fn only_an_end(&self) -> Option<Text> {
        let end = self.body_like(r"\A((?:\\\.)?\w+)\$\z")?;
        let name = end.replace('\\', "");
        if self.takes(&format!("facture.{}", name.trim_start_matches('.'))).ok()? {
            return None;
        }
        let pattern = &self.text;
        Some(text!(
            "the pattern {pattern} takes only the name `{name}` itself: a name is matched from its first character on. \
             To take every name that ends so, write /.*{end}$/i",
            "le motif {pattern} ne prend que le nom `{name}` lui-même : un nom est comparé dès son premier caractère. \
             Pour prendre tous les noms qui finissent ainsi, écrivez /.*{end}$/i"
        ))
    }

    /// The first group of `shape`, a regex on the text of the regex.
    fn body_like(&self, shape: &str) -> Option<&str> {
        let found = Regex::new(shape).ok()?.captures(self.body.as_str()).ok()??.get(1)?.range();
        self.body.get(found)
    }

    fn gave_up(&self, text: &str) -> Text {
        let pattern = &self.text;
        text!(
            "the pattern {pattern} takes too long on {text:?}: simplify it (nested repetitions such as (a+)+)",
            "le motif {pattern} demande trop de calcul sur {text:?} : simplifiez-le (répétitions imbriquées comme (a+)+)"
        )
    }
}

/// The regex and the flags of `/regex/flags`.
fn split(text: &str) -> Result<(&str, &str), Text> {
    let inside = text.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'));
    let Some((body, flags)) = inside.filter(|(body, _)| !body.is_empty()) else {
        return Err(text!(
            "the pattern {text} must stand between slashes, as in /.*\\.pdf/i",
            "le motif {text} doit être écrit entre deux barres obliques, comme dans /.*\\.pdf/i"
        ));
    };
    match flags.chars().find(|flag| !FLAGS.contains(*flag)) {
        None => Ok((body, flags)),
        Some(flag) => Err(text!(
            "the pattern {text} has the unknown flag {flag:?} behind its last slash; known are {FLAGS}",
            "le motif {text} porte l'option inconnue {flag:?} après sa dernière barre ; options connues : {FLAGS}"
        )),
    }
}

fn compile(regex: String, flags: &str) -> Result<Regex, Error> {
    RegexBuilder::new("")
        .pattern(regex)
        .case_insensitive(flags.contains('i'))
        .multi_line(flags.contains('m'))
        .dot_matches_new_line(flags.contains('s'))
        .verbose_mode(flags.contains('x'))
        .build()
}

fn explain(text: &str, body: &str, error: &Error) -> Text {
    let (en, fr) = match error {
        Error::ParseError(at, mistake) => {
            // characters of the pattern as it is written, from 1; its first slash is one
            let place = body.get(..*at).map_or(body.len(), |before| before.chars().count()) + 2;
            let Text { en, fr } = mistake_in_words(mistake);
            (format!("character {place}: {en}"), format!("caractère {place} : {fr}"))
        }
        Error::CompileError(inner) => {
            let Text { en, fr } = refusal_in_words(inner);
            (en.into_owned(), fr.into_owned())
        }
        other => (other.to_string(), other.to_string()),
    };
    let glob = body.starts_with(['*', '?']);
    let (hint_en, hint_fr) = if glob {
        (
            "; this is a regular expression: `.*` stands for any text",
            " ; c'est une expression rationnelle : `.*` tient lieu de tout texte",
        )
    } else {
        ("", "")
    };
    text!("the pattern {text} is wrong, {en}{hint_en}", "le motif {text} est incorrect, {fr}{hint_fr}")
}

fn mistake_in_words(mistake: &ParseError) -> Text {
    match mistake {
        ParseError::UnclosedOpenParen => text!("a parenthesis is never closed", "une parenthèse n'est jamais fermée"),
        ParseError::InvalidRepeat => text!("this repetition is not valid", "cette répétition n'est pas valable"),
        ParseError::TargetNotRepeatable => {
            text!("there is nothing to repeat here", "il n'y a rien à répéter ici")
        }
        ParseError::TrailingBackslash => {
            text!("a backslash with nothing behind it", "une barre oblique inverse que rien ne suit")
        }
        ParseError::InvalidClass => {
            text!("a bracket [ is never closed", "un crochet [ n'est jamais fermé")
        }
        ParseError::InvalidEscape(escape) => text!("{escape} has no meaning", "{escape} n'a pas de sens"),
        ParseError::UnknownFlag(flag) => text!("the group {flag} is unknown", "le groupe {flag} est inconnu"),
        ParseError::InvalidBackref => text!("this group does not exist", "ce groupe n'existe pas"),
        other => Text::same(other.to_string()),
    }
}

fn refusal_in_words(refusal: &CompileError) -> Text {
    match refusal {
        CompileError::LookBehindNotConst | CompileError::VariableLookBehindRequiresFeature => text!(
            "what stands in a look-behind (?<=…) must have a fixed length",
            "le contenu d'un regard en arrière (?<=…) doit avoir une longueur fixe"
        ),
        // several lines with the pattern once more; the last one says what is wrong
        other => Text::same(other.to_string().lines().last().unwrap_or_default().trim()),
    }
}

/// Leaves out names whose last extension begins with one of `words`, of either case.
fn instead_of_extension(words: &str) -> String {
    let group = if words.contains('|') { format!("(?:{words})") } else { words.to_owned() };
    format!(r"/(?!.*\.{group}[^.]*$).*/i")
}

fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

const FLAGS: &str = "imsxu";

/// A name without a dot.
const BARE: &str = "README";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::Lang;

    fn takes(pattern: &str, name: &str) -> bool {
        Pattern::parse(pattern).unwrap().takes(name).unwrap()
    }

    fn remarks(pattern: &str) -> String {
        let remarks = Pattern::parse(pattern).unwrap().remarks();
        remarks.iter().map(|remark| &*remark.en).collect::<Vec<_>>().join("\n")
    }

    fn mistake(pattern: &str) -> Text {
        Pattern::parse(pattern).unwrap_err()
    }

    #[test]
    fn the_first_pattern_of_the_wiki_means_what_re_match_makes_of_it() {
        let pattern = r"/.*\.(?!db).*/";
        for (name, taken) in [
            ("facture.pdf", true),
            ("Thumbs.db", false),
            ("x.dbf", false),
            ("photo.2023.db", true),
            ("x.DB", true),
            ("README", false),
        ] {
            assert_eq!(takes(pattern, name), taken, "{name}");
        }
        let told = remarks(pattern);
        for word in ["`photo.2023.db`", "`X.DB`", "`README`", r"/(?!.*\.db[^.]*$).*/i"] {
            assert!(told.contains(word), "{word} in {told}");
        }
    }

    #[test]
    fn the_second_pattern_of_the_wiki_means_what_re_match_makes_of_it() {
        let pattern = r"/(?!debut_nom_fichier).*\..*/";
        for (name, taken) in [
            ("facture.pdf", true),
            ("debut_nom_fichier_1.pdf", false),
            ("Debut_nom_fichier.pdf", true),
            ("x debut_nom_fichier.pdf", true),
            ("README", false),
        ] {
            assert_eq!(takes(pattern, name), taken, "{name}");
        }
        let told = remarks(pattern);
        assert!(told.contains("`README`") && told.contains("/(?!debut_nom_fichier).*/"), "{told}");
    }

    #[test]
    fn what_is_proposed_instead_does_what_was_meant() {
        let extension = r"/(?!.*\.db[^.]*$).*/i";
        for (name, taken) in
            [("facture.pdf", true), ("photo.2023.db", false), ("x.DB", false), ("README", true), ("a.db.pdf", true)]
        {
            assert_eq!(takes(extension, name), taken, "{name}");
        }
        let beginning = "/(?!debut_nom_fichier).*/";
        for (name, taken) in [("debut_nom_fichier.pdf", false), ("README", true), ("facture.pdf", true)] {
            assert_eq!(takes(beginning, name), taken, "{name}");
        }
        for pattern in [extension, beginning, r"/(?!.*\.(?:db|ini)[^.]*$).*/i", r"/.*\.pdf$/i", "/.*/"] {
            assert_eq!(remarks(pattern), "", "{pattern}");
        }
        assert!(remarks(r"/.*\.(?!db|ini).*/i").contains(r"/(?!.*\.(?:db|ini)[^.]*$).*/i"));
    }

    #[test]
    fn a_pattern_written_for_a_search_is_told() {
        let told = remarks(r"/\.pdf$/i");
        assert!(told.contains("`.pdf`") && told.contains(r"/.*\.pdf$/i"), "{told}");
        assert!(remarks("/pdf$/").contains("`pdf`"));
    }

    #[test]
    fn a_name_is_matched_from_its_first_character_and_text_is_searched() {
        let pattern = Pattern::parse("/fact|avoir/i").unwrap();
        assert!(pattern.takes("Avoir.pdf").unwrap() && !pattern.takes("la facture.pdf").unwrap());
        assert!(pattern.finds("la FACTURE").unwrap() && !pattern.finds("rien").unwrap());
    }

    #[test]
    fn flags_mean_what_they_mean_in_pcre() {
        assert!(takes("/été.*/iu", "ÉTÉ.pdf") && !takes("/été.*/", "ÉTÉ.pdf"));
        assert!(takes("/a.b/s", "a\nb") && !takes("/a.b/", "a\nb"));
        assert!(takes("/a b # comment/x", "ab"));
        assert!(takes("/(?s:.*)^b/m", "a\nb") && !takes("/(?s:.*)^b/", "a\nb"));
        assert!(takes("/a/b/", "a/b"));
    }

    #[test]
    fn every_mistake_shows_the_pattern_and_where_it_is() {
        for (pattern, words) in [
            ("*.pdf", "between slashes"),
            ("/.*", "between slashes"),
            ("//", "between slashes"),
            ("/.*/gi", "unknown flag 'g'"),
            ("/*.pdf/", "`.*` stands for any text"),
            ("/a)(b/", "/a)(b/"),
            ("/é(b/", "never closed"),
            ("/[a/", "/[a/"),
        ] {
            let text = mistake(pattern);
            assert!(text.en.contains(pattern) && text.en.contains(words), "{}", text.en);
            assert!(text.get(Lang::Fr).contains(pattern) && text.get(Lang::Fr) != text.en, "{}", text.get(Lang::Fr));
            assert!(!text.en.contains('\n'), "{}", text.en);
        }
        assert!(mistake("/é\\y**/").en.contains("character "), "{}", mistake("/é\\y**/").en);
    }

    #[test]
    fn giving_up_is_neither_yes_nor_no() {
        let pattern = Pattern::parse(r"/(?=(a+)+)(a|aa)+\1$(?!b)/").unwrap();
        let answer = pattern.takes(&format!("{}!", "a".repeat(60)));
        assert!(answer.is_err_and(|text| text.en.contains(&pattern.text)));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[/(?!.*\\\\d|\\[\\]é{}+^$imsx0-9)]{0,16}", name: String) {
            if let Ok(pattern) = Pattern::parse(&text) {
                let _ = pattern.takes(&name);
                pattern.remarks();
            }
        }
    }
}
