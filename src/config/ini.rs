//! The ini file in stunnel's dialect: bytes in, sections of `name = value` with file and line out.
//!
//! Not a judge of options: it knows one name only, `include`, because what is included is text. The dialect is
//! stunnel's to the letter (every `\r` dropped, comments on lines of their own after `;` or `#`, the first `=`
//! splits, no quoting, section names verbatim), with three additions: charsets, backups left out of `include`, and
//! mistakes where stunnel would cut a line. It is the file layer of figment; what figment's dictionaries cannot hold
//! (order, repeated options, lines, two sections of one name) travels as arrays inside it.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use serde::{Deserialize, Serialize};

use super::decode::decode;
use super::{Place, Remark};
use crate::text;
use crate::text::Text;

/// An ini file as it was read, includes and all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ini {
    path: PathBuf,
    layer: Layer,
}

/// What the file adds to the layers of figment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The options before the first section, then the sections in the order of the file.
    pub sections: Vec<Section>,
    /// Lines that are none, files that cannot be included.
    pub mistakes: Vec<Note>,
    /// Files that were left out.
    pub warnings: Vec<Note>,
}

/// A section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// The text between the brackets, verbatim; `None` before the first section.
    pub name: Option<String>,
    /// The file of the header.
    pub file: String,
    /// The line of the header; 0 before the first section.
    pub line: usize,
    /// Its options, in the order of the file.
    pub options: Vec<Line>,
    /// The first words of its lines without `=`: what was probably meant is not missing besides.
    #[serde(default)]
    pub broken: Vec<String>,
}

/// An option as it is written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The name, as written.
    pub name: String,
    /// All that follows the first `=`, without the blanks around it; may be empty.
    pub value: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// A remark in a form that travels through figment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    file: String,
    line: usize,
    en: String,
    fr: String,
}

impl Ini {
    /// Reads the file at `path` and what it includes. Never fails: what cannot be read is a mistake of the layer.
    pub fn read(path: &Path) -> Self {
        match read_limited(path) {
            Ok(bytes) => Self::parse(path, &bytes),
            Err(why) => {
                let mut reader = Reader::new(path);
                let (en, fr) = (why.en, why.fr);
                reader.mistake(path, 0, &text!("cannot be read: {en}", "illisible : {fr}"));
                reader.ini
            }
        }
    }

    /// Reads `bytes` as the content of the file at `path`; only `include` looks at the disk. Never fails.
    pub fn parse(path: &Path, bytes: &[u8]) -> Self {
        let mut reader = Reader::new(path);
        reader.file(path, bytes);
        reader.ini
    }

    /// What the file adds to the layers.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }
}

impl Provider for Ini {
    fn metadata(&self) -> Metadata {
        Metadata::from("ini file", self.path.as_path())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let Value::Dict(_, dict) = Value::serialize(&self.layer)? else {
            return Err(figment::Error::from("the ini layer is not a dictionary".to_owned()));
        };
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

impl Section {
    /// Where its header stands.
    pub fn place(&self) -> Place {
        place(&self.file, self.line)
    }
}

impl Line {
    /// Where it stands.
    pub fn place(&self) -> Place {
        place(&self.file, self.line)
    }
}

/// Without the value, which may be a secret.
impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {} = …", self.file, self.line, self.name)
    }
}

impl Note {
    /// The remark.
    pub fn remark(&self) -> Remark {
        Remark {
            place: place(&self.file, self.line),
            text: Text { en: self.en.clone().into(), fr: self.fr.clone().into() },
        }
    }
}

/// Folds the name of an option: case, blanks, `_`, `-` and accents do not count, so that `Mot de passe`,
/// `mot_de_passe` and `motdepasse` are one name.
pub fn fold(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            '_' | '-' | '\u{300}'..='\u{36F}' => {}
            'à' | 'á' | 'â' | 'ä' | 'ã' => folded.push('a'),
            'ç' => folded.push('c'),
            'è' | 'é' | 'ê' | 'ë' => folded.push('e'),
            'ì' | 'í' | 'î' | 'ï' => folded.push('i'),
            'ò' | 'ó' | 'ô' | 'ö' | 'õ' => folded.push('o'),
            'ù' | 'ú' | 'û' | 'ü' => folded.push('u'),
            'ÿ' => folded.push('y'),
            'œ' => folded.push_str("oe"),
            'æ' => folded.push_str("ae"),
            c if c.is_whitespace() => {}
            c => folded.push(c),
        }
    }
    folded
}

/// Reads one file and, through `include`, others into the same list of sections.
struct Reader {
    ini: Ini,
    /// The files that are being read, outermost first.
    open: Vec<PathBuf>,
}

impl Reader {
    fn new(path: &Path) -> Self {
        let preamble = Section { name: None, file: shown(path), line: 0, options: Vec::new(), broken: Vec::new() };
        let layer = Layer { sections: vec![preamble], ..Layer::default() };
        Self { ini: Ini { path: path.to_owned(), layer }, open: Vec::new() }
    }

    fn file(&mut self, path: &Path, bytes: &[u8]) {
        let text = match decode(bytes) {
            Ok(text) => text,
            Err(why) => return self.mistake(path, 1, &why),
        };
        self.open.push(std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
        let most = self.ini.layer.mistakes.len() + MOST_MISTAKES;
        for (number, line) in text.split('\n').enumerate() {
            if line.contains('\0') {
                self.mistake(path, number + 1, &nul_byte());
                break;
            }
            self.line(path, number + 1, line);
            if self.ini.layer.mistakes.len() >= most {
                self.mistake(path, number + 1, &too_many());
                break;
            }
        }
        self.open.pop();
    }

    fn line(&mut self, path: &Path, number: usize, raw: &str) {
        if raw.len() > LONGEST_LINE {
            return self.mistake(path, number, &too_long());
        }
        let raw = raw.replace('\r', "");
        let line = trim(&raw);
        if line.is_empty() || line.starts_with([';', '#']) {
            return;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let (name, options, broken) = (Some(name.to_owned()), Vec::new(), Vec::new());
            let section = Section { name, file: shown(path), line: number, options, broken };
            return self.ini.layer.sections.push(section);
        }
        let Some((name, value)) = line.split_once('=') else {
            let word = line.split([' ', '\t', ':']).next().unwrap_or_default();
            if let Some(section) =
                self.ini.layer.sections.last_mut().filter(|section| section.broken.len() < MOST_BROKEN)
            {
                section.broken.push(word.to_owned());
            }
            return self.mistake(path, number, &no_equals(line));
        };
        let (name, value) = (trim(name), trim(value));
        if fold(name) == "include" {
            return self.include(path, number, Path::new(value));
        }
        let option = Line { name: name.to_owned(), value: value.to_owned(), file: shown(path), line: number };
        if let Some(section) = self.ini.layer.sections.last_mut() {
            section.options.push(option);
        }
    }

    /// `include = DIR`: its regular files in the order of their bytes (stunnel: `scandir` with `alphasort`).
    fn include(&mut self, path: &Path, number: usize, directory: &Path) {
        if self.open.len() > DEEPEST_INCLUDE {
            return self.mistake(path, number, &too_deep());
        }
        let mut files = match list(directory) {
            Ok(files) => files,
            Err(error) => return self.mistake(path, number, &not_included(directory, &Text::io(&error))),
        };
        files.sort();
        for file in files {
            if is_backup(file.file_name().unwrap_or_default()) {
                self.warning(path, number, &left_out(&file));
            } else {
                self.include_file(path, number, &file);
            }
        }
    }

    fn include_file(&mut self, path: &Path, number: usize, file: &Path) {
        let same = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        if self.open.contains(&same) {
            let file = file.display();
            let text = text!("{file} includes itself", "{file} s'inclut lui-même");
            return self.mistake(path, number, &text);
        }
        match read_limited(file) {
            Ok(bytes) => self.file(file, &bytes),
            Err(why) => {
                let (file, en, fr) = (file.display(), why.en, why.fr);
                let text = text!("Failed to include a file: {file}: {en}", "inclusion impossible de {file} : {fr}");
                self.mistake(path, number, &text);
            }
        }
    }

    fn mistake(&mut self, path: &Path, line: usize, text: &Text) {
        self.ini.layer.mistakes.push(note(path, line, text));
    }

    fn warning(&mut self, path: &Path, line: usize, text: &Text) {
        self.ini.layer.warnings.push(note(path, line, text));
    }
}

fn note(path: &Path, line: usize, text: &Text) -> Note {
    Note { file: shown(path), line, en: text.en.to_string(), fr: text.fr.to_string() }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn place(file: &str, line: usize) -> Place {
    Place { file: Arc::from(Path::new(file)), line }
}

/// C's `isspace` in the "C" locale, as stunnel trims.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\u{B}', '\u{C}', '\r'])
}

fn read_limited(path: &Path) -> Result<Vec<u8>, Text> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| not_opened(&error))?;
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(|error| Text::io(&error))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(text!(
            "it is larger than 4 MiB, which no configuration is",
            "il dépasse 4 Mio, ce qu'aucune configuration n'atteint"
        ));
    }
    Ok(bytes)
}

/// A file that is not there is mostly the one that nobody has written yet.
fn not_opened(error: &std::io::Error) -> Text {
    let Text { en, fr } = Text::io(error);
    if error.kind() != std::io::ErrorKind::NotFound {
        return Text { en, fr };
    }
    text!(
        "{en}; name the file with -c or $PERTUIS_CONFIG, or write it (`pertuis sample` prints one)",
        "{fr} ; indiquez le fichier avec -c ou $PERTUIS_CONFIG, ou écrivez-le (`pertuis sample` en affiche un)"
    )
}

/// The regular files of a directory; symbolic links are followed, sub-directories skipped.
fn list(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

/// Whether a name is what editors and packages leave behind.
fn is_backup(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.')
        || name.contains(".dpkg-")
        || BACKUP_ENDINGS.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending))
}

fn nul_byte() -> Text {
    text!(
        "a NUL byte: this is no text, or UTF-16 without a byte order mark; save it as UTF-8",
        "un octet nul : ce n'est pas du texte, ou de l'UTF-16 sans marque d'ordre ; l'enregistrer en UTF-8"
    )
}

fn too_long() -> Text {
    text!("the line is longer than {LONGEST_LINE} bytes", "la ligne dépasse {LONGEST_LINE} octets")
}

fn too_many() -> Text {
    text!(
        "too many lines that are no options: the rest of the file is not looked at",
        "trop de lignes qui ne sont pas des options : le reste du fichier n'est pas examiné"
    )
}

fn no_equals(line: &str) -> Text {
    if line.starts_with('[') {
        return text!(
            "No '=' found: a section header ends with its bracket, a comment needs a line of its own",
            "pas de « = » : un en-tête de section finit par son crochet, un commentaire va sur sa propre ligne"
        );
    }
    text!(
        "No '=' found: expected `option = value`, `[section]`, or a comment after `;` or `#`",
        "pas de « = » : attendu `option = valeur`, `[section]` ou un commentaire après `;` ou `#`"
    )
}

fn too_deep() -> Text {
    text!("more than {DEEPEST_INCLUDE} nested includes", "plus de {DEEPEST_INCLUDE} inclusions imbriquées")
}

fn not_included(directory: &Path, why: &Text) -> Text {
    let (directory, en, fr) = (directory.display(), &why.en, &why.fr);
    text!(
        "Failed to include directory {directory}: {en} (`include` takes a directory)",
        "inclusion impossible du répertoire {directory} : {fr} (`include` attend un répertoire)"
    )
}

fn left_out(file: &Path) -> Text {
    let file = file.display();
    text!(
        "{file} is left out: its name is that of a backup or a hidden file",
        "{file} est laissé de côté : son nom est celui d'une sauvegarde ou d'un fichier caché"
    )
}

/// stunnel's buffer; it would go on with the rest as a line of its own.
const LONGEST_LINE: usize = 16_383;
/// Files inside files.
const DEEPEST_INCLUDE: usize = 8;
/// Bytes of one file.
const LARGEST_FILE: u64 = 4 << 20;
/// Lines without `=` of one section whose words are remembered.
const MOST_BROKEN: usize = 20;
/// Mistakes of one file after which it is taken for something else.
const MOST_MISTAKES: usize = 100;
/// Lower case.
const BACKUP_ENDINGS: [&str; 3] = ["~", ".bak", ".swp"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Layer {
        Ini::parse(Path::new("t.ini"), text.as_bytes()).layer
    }

    fn options(section: &Section) -> Vec<(&str, &str, usize)> {
        section.options.iter().map(|o| (o.name.as_str(), o.value.as_str(), o.line)).collect()
    }

    #[test]
    fn lines_are_read_as_stunnel_reads_them() {
        let layer =
            parse("\u{FEFF};c\r\n # c\n  client=yes \r\n[ a B ] \nconnect == 1\nx =\n  q = \"yes\" ; no comment");
        assert!(layer.mistakes.is_empty());
        assert_eq!(options(&layer.sections[0]), [("client", "yes", 3)]);
        assert_eq!(layer.sections[1].name.as_deref(), Some(" a B "));
        assert_eq!(layer.sections[1].line, 4);
        assert_eq!(
            options(&layer.sections[1]),
            [("connect", "= 1", 5), ("x", "", 6), ("q", "\"yes\" ; no comment", 7)]
        );
    }

    #[test]
    fn sections_of_one_name_and_of_no_name_are_kept() {
        let layer = parse("[]\n[a]\n[a]\n");
        let names: Vec<_> = layer.sections.iter().map(|s| s.name.as_deref()).collect();
        assert_eq!(names, [None, Some(""), Some("a"), Some("a")]);
    }

    #[test]
    fn lines_that_are_none_are_mistakes_with_their_number() {
        let long = format!("; {}", "x".repeat(20_000));
        let layer = parse(&format!("nothing\n[s] ; c\n{long}\nok = 1\na\0b"));
        let lines: Vec<usize> = layer.mistakes.iter().map(|m| m.line).collect();
        assert_eq!(lines, [1, 2, 3, 5]);
    }

    #[test]
    fn a_file_of_noise_stops_being_read() {
        let layer = parse(&"noise\n".repeat(100_000));
        assert_eq!(layer.mistakes.len(), MOST_MISTAKES + 1);
    }

    #[test]
    fn names_fold() {
        for name in ["Mot de passe", "mot_de_passe", "MOT-DE-PASSE", "motdepasse", "Mot\u{A0}de passe"] {
            assert_eq!(fold(name), "motdepasse");
        }
        assert_eq!(fold("Répertoire"), "repertoire");
        assert_eq!(fold("Re\u{301}pertoire"), "repertoire");
    }

    #[test]
    fn include_reads_a_directory_in_byte_order_and_leaves_backups_out() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("9-c", "c = 1"),
            ("10-b", "[b]\nb = 1"),
            ("x.conf~", "bad"),
            (".hidden", "bad"),
            ("a.dpkg-old", "bad"),
            ("a.bak", "bad"),
            ("a.swp", "bad"),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let layer = parse(&format!("[a]\nInclude = {}\nlast = 1", dir.path().display()));
        assert!(layer.mistakes.is_empty(), "{:?}", layer.mistakes);
        assert_eq!(layer.warnings.len(), 5);
        assert_eq!(layer.sections.len(), 3);
        assert_eq!(options(&layer.sections[2]), [("b", "1", 2), ("c", "1", 1), ("last", "1", 3)]);
    }

    #[test]
    fn an_include_that_includes_itself_is_a_mistake_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), format!("include = {}", dir.path().display())).unwrap();
        let layer = parse(&format!("include = {}\ninclude = /nonexistent", dir.path().display()));
        assert_eq!(layer.mistakes.len(), 2, "{:?}", layer.mistakes);
        assert!(layer.mistakes[0].en.contains("includes itself"));
        assert!(layer.mistakes[1].en.contains("Failed to include directory"));
    }

    #[test]
    fn the_layer_survives_figment() {
        let ini = Ini::parse(Path::new("t.ini"), "a = 443\n[s.with.dots]\nb = yes\nb = é\n[".as_bytes());
        let back: Layer = figment::Figment::from(&ini).extract().unwrap();
        assert_eq!(&back, ini.layer());
    }
}
