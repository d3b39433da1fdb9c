//! Documents that are made from the option table: commented sample file, table in Markdown, section of the man page.
//!
//! Not written by hand anywhere else: what the table says is what the program does. All three are pure text; the
//! command line and the packaging decide where they go.

use std::fmt::Write as _;

use super::option::{self, Fate, Kind, Level, Row, Status};
use crate::text::Lang;

/// A sample file in which every option that acts is explained and commented out. Lines of explanation begin with
/// `; `, options and headers with a bare `;`: taking all of those away gives a valid file.
pub fn sample_ini(lang: Lang) -> String {
    let mut out = String::new();
    comment(&mut out, say(lang, HEAD));
    for Shown { level, title, header, lead, own } in SAMPLE {
        out.push('\n');
        comment(&mut out, say(lang, *title));
        if !header.is_empty() {
            let _ = writeln!(out, ";[{header}]");
        }
        for line in *lead {
            let _ = writeln!(out, ";{}", say(lang, *line));
        }
        let earlier = |row: &Row| lead.iter().any(|(en, _)| en.split(' ').next() == Some(row.name));
        for row in option::all().iter().filter(|row| is_sampled(row, *level, own) && !earlier(row)) {
            comment(&mut out, row.doc.get(lang));
            let value = if row.sample.is_empty() { row.default } else { row.sample };
            let _ = writeln!(out, ";{} = {value}", name_in(row, lang));
        }
    }
    out
}

/// A table of all options for the documentation.
pub fn options_markdown(lang: Lang) -> String {
    let mut out = String::from(say(
        lang,
        (
            "| option | also | where | default | meaning | pertuis |\n| --- | --- | --- | --- | --- | --- |\n",
            "| option | aussi | où | défaut | sens | pertuis |\n| --- | --- | --- | --- | --- | --- |\n",
        ),
    ));
    for row in option::all() {
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
        let aliases: Vec<String> = row.aliases.iter().map(|alias| code(alias)).collect();
        let cells = [
            code(row.name),
            aliases.join(", "),
            places(row, lang),
            code(row.default),
            meaning(row, lang),
            fate(row, lang),
        ];
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

/// The options as a section of the man page (man(7)): what acts, then what is accepted or refused.
pub fn man_section(lang: Lang) -> String {
    let mut out = format!(".SH {}\n", say(lang, ("CONFIGURATION FILE", "FICHIER DE CONFIGURATION")));
    for (level, title) in MAN {
        let _ = writeln!(out, ".SS {}", roff(say(lang, *title)));
        for row in option::all().iter().filter(|row| acts(row) && row.levels.first() == Some(level)) {
            man_entry(&mut out, row, &meaning(row, lang));
        }
    }
    let title =
        say(lang, ("Accepted without effect, refused, or to come", "Acceptées sans effet, refusées ou à venir"));
    let _ = writeln!(out, ".SS {}", roff(title));
    for row in option::all().iter().filter(|row| !acts(row)) {
        man_entry(&mut out, row, &fate(row, lang));
    }
    out
}

fn man_entry(out: &mut String, row: &'static Row, text: &str) {
    let names: Vec<String> = option::names(row).map(|name| format!("\\fB{}\\fR", roff(name))).collect();
    let _ = writeln!(out, ".TP\n{}\n{}", names.join(", "), roff(text));
}

fn say(lang: Lang, words: (&'static str, &'static str)) -> &'static str {
    match lang {
        Lang::En => words.0,
        Lang::Fr => words.1,
    }
}

fn acts(row: &Row) -> bool {
    matches!(row.status, Status::Acts)
}

/// Options that act, in the one section of the sample in which they are explained: the one that lists them as its `own`,
/// else the first of their level. Those with a single value in this version would show nothing.
fn is_sampled(row: &Row, level: Level, own: &[&str]) -> bool {
    let elsewhere = SAMPLE.iter().any(|shown| shown.own.contains(&row.name));
    let is_here = if own.is_empty() { !elsewhere } else { own.contains(&row.name) };
    acts(row) && row.levels.first() == Some(&level) && !has_one_value(row) && is_here
}

fn has_one_value(row: &Row) -> bool {
    match row.kind {
        Kind::Only(_) => true,
        Kind::Choice(words) => words.iter().filter(|(_, fate)| is_acting(*fate)).count() < 2,
        _ => false,
    }
}

/// French readers get the French names, except in tunnels, where everybody knows stunnel's.
fn name_in(row: &Row, lang: Lang) -> &'static str {
    match row.aliases.first() {
        Some(alias) if lang == Lang::Fr && !row.is_for(Level::Tunnel) => alias,
        _ => row.name,
    }
}

/// Lines of at most 100 characters, none of which begins with the punctuation that French sets after a blank.
fn comment(out: &mut String, text: &str) {
    for paragraph in text.split('\n') {
        let mut line = String::from(";");
        for word in paragraph.split(' ') {
            let punctuation = matches!(word, ";" | ":" | "?" | "!");
            if !punctuation && line.chars().count() + word.chars().count() >= WIDTH - " ;".len() {
                let _ = writeln!(out, "{line}");
                line = String::from(";");
            }
            line.push(' ');
            line.push_str(word);
        }
        let _ = writeln!(out, "{line}");
    }
}

fn places(row: &Row, lang: Lang) -> String {
    let has = |level| row.is_for(level);
    let mut words = Vec::new();
    if has(Level::Global) {
        words.push(say(lang, ("global", "global")));
    }
    if has(Level::Tunnel) {
        words.push(say(lang, ("tunnel", "tunnel")));
    }
    let launchers = [
        (Level::Mail, ("mail launcher", "lanceur de courrier")),
        (Level::Directory, ("directory launcher", "lanceur de répertoire")),
        (Level::Adullact, ("adullact launcher", "lanceur adullact")),
    ];
    if launchers.iter().all(|(level, _)| has(*level)) {
        words.push(say(lang, ("launcher", "lanceur")));
    } else {
        words.extend(launchers.into_iter().filter(|(level, _)| has(*level)).map(|(_, name)| say(lang, name)));
    }
    words.join(", ")
}

/// What the option means, and what becomes of its values.
pub(super) fn meaning(row: &Row, lang: Lang) -> String {
    let mut text = row.doc.get(lang).to_owned();
    let Kind::Choice(words) = row.kind else { return text };
    let titles = [
        (say(lang, ("; values: ", " ; valeurs : ")), is_acting as fn(Fate) -> bool),
        (say(lang, ("; with a warning: ", " ; avec un avertissement : ")), |fate| matches!(fate, Fate::Ignored(_))),
        (say(lang, ("; refused: ", " ; refusées : ")), |fate| matches!(fate, Fate::Refused(_))),
        (say(lang, ("; not in this version: ", " ; pas dans cette version : ")), |fate| matches!(fate, Fate::Later)),
    ];
    for (title, is_so) in titles {
        let some: Vec<&str> = words.iter().filter(|(_, fate)| is_so(*fate)).map(|(word, _)| *word).collect();
        if !some.is_empty() {
            let _ = write!(text, "{title}{}", some.join(", "));
        }
    }
    text
}

fn is_acting(fate: Fate) -> bool {
    matches!(fate, Fate::Acts)
}

pub(super) fn fate(row: &Row, lang: Lang) -> String {
    match row.status {
        Status::Acts => say(lang, ("acts", "agit")).to_owned(),
        Status::Silent => say(lang, ("accepted, without effect", "acceptée, sans effet")).to_owned(),
        Status::Ignored(why) => {
            format!(
                "{}{}",
                say(lang, ("accepted with a warning: ", "acceptée avec un avertissement : ")),
                why.get(lang)
            )
        }
        Status::Refused(why) => format!("{}{}", say(lang, ("refused: ", "refusée : ")), why.get(lang)),
        Status::Later => say(lang, ("not in this version", "pas dans cette version")).to_owned(),
    }
}

/// Text that roff takes for nothing but text.
pub fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// Columns of the sample file.
const WIDTH: usize = 100;

const HEAD: (&str, &str) = (
    "A sample of all options. Options before the first [section] concern the whole program, or are defaults of the \
     sections below.\nA section with `launcher =` is a launcher, any other one a tunnel. Comments stand on lines of \
     their own, after ; or #.\nDurations: 90s, 5m, 1h, 30d; a bare number is seconds. Sizes: 20K, 150M, 4G.\n\
     Check the file with `pertuis check`.",
    "Un exemple de toutes les options. Celles d'avant la première [section] concernent tout le programme, ou sont les \
     valeurs par défaut des sections qui suivent.\nUne section avec `lanceur =` est un lanceur, toute autre un \
     tunnel. Les commentaires vont sur leurs propres lignes, après ; ou #.\nDurées : 90s, 5m, 1h, 30d ; un nombre seul \
     compte des secondes. Tailles : 20K, 150M, 4G.\nVérifier le fichier : `pertuis check`.",
);

/// What leads a section of the sample: a line in English and in French.
type Lead = &'static [(&'static str, &'static str)];

/// A section of the sample.
struct Shown {
    /// The level of the options that are explained there.
    level: Level,
    title: (&'static str, &'static str),
    header: &'static str,
    /// Lines that make it what it is.
    lead: Lead,
    /// The options that are explained there alone; without those, all others of the level.
    own: &'static [&'static str],
}

const SAMPLE: &[Shown] = &[
    Shown {
        level: Level::Global,
        title: ("The program as a whole.", "Le programme entier."),
        header: "",
        lead: &[],
        own: &[],
    },
    Shown {
        level: Level::Tunnel,
        title: (
            "A tunnel: an old client speaks to 127.0.0.1:110 in clear, the tunnel speaks TLS to the server.",
            "Un tunnel : un ancien client parle en clair à 127.0.0.1:110, le tunnel parle TLS au serveur.",
        ),
        header: "gmail-pop3",
        lead: &[("client = yes", "client = yes")],
        own: &[],
    },
    Shown {
        level: Level::Tunnel,
        title: (
            "The other way round: TLS arrives here, a program answers in clear (`connect =` names a server instead).",
            "L'inverse : TLS arrive ici, un programme répond en clair (`connect =` désigne plutôt un serveur).",
        ),
        header: "program",
        lead: &[("accept = 8443", "accept = 8443"), ("cert = /etc/pertuis/cert.pem", "cert = /etc/pertuis/cert.pem")],
        own: &["exec", "execArgs", "retry", "redirect"],
    },
    Shown {
        level: Level::Mail,
        title: (
            "A launcher that reads a mailbox. Verification is on; CAfile, CApath, verifyChain, verifyPeer, checkHost, \
             pin, cert and key are those of tunnels.",
            "Un lanceur qui relève une boîte. La vérification est active ; CAfile, CApath, verifyChain, verifyPeer, \
             checkHost, pin, cert et key sont ceux des tunnels.",
        ),
        header: "factures",
        lead: &[("launcher = imap", "lanceur = imap")],
        own: &[],
    },
    Shown {
        level: Level::Mail,
        title: (
            "A launcher that reads a mailbox of Microsoft 365, with what else is valid above (docs/microsoft365.md).",
            "Un lanceur qui relève une boîte de Microsoft 365, avec ce qui vaut aussi plus haut (docs/microsoft365.fr.md).",
        ),
        header: "microsoft365",
        lead: &[
            ("launcher = o365", "lanceur = o365"),
            ("deliver = /srv/ezged/ocr/wait", "livrer = /srv/ezged/ocr/wait"),
        ],
        own: &["client_id", "tenant", "client_secret", "mailbox", "cloud", "authority", "graph_root"],
    },
    Shown {
        level: Level::Mail,
        title: (
            "A launcher that reads Gmail by IMAP and signs in without a password.",
            "Un lanceur qui relève Gmail en IMAP et se connecte sans mot de passe.",
        ),
        header: "gmail",
        lead: &[
            ("launcher = imap", "lanceur = imap"),
            ("server = imap.gmail.com", "serveur = imap.gmail.com"),
            ("account = ged@example.test", "compte = ged@example.test"),
            ("auth = xoauth2", "auth = xoauth2"),
            ("deliver = /srv/ezged/ocr/wait", "livrer = /srv/ezged/ocr/wait"),
        ],
        own: &["provider", "service_account"],
    },
    Shown {
        level: Level::Directory,
        title: ("A launcher that watches a directory.", "Un lanceur qui surveille un répertoire."),
        header: "scanner",
        lead: &[
            ("launcher = directory", "lanceur = repertoire"),
            ("source = /srv/scanner", "chemin_source = /srv/scanner"),
            ("deliver = /srv/ezged/ocr/wait", "livrer = /srv/ezged/ocr/wait"),
        ],
        own: &[],
    },
    Shown {
        level: Level::Adullact,
        title: (
            "A launcher that takes the envelopes of Actes, Helios and Chorus Pro that Pastell drops (docs/adullact.md).",
            "Un lanceur qui prend les enveloppes Actes, Helios et Chorus Pro que Pastell dépose (docs/adullact.fr.md).",
        ),
        header: "actes",
        lead: &[
            ("launcher = adullact", "lanceur = adullact"),
            ("source = /srv/depot", "chemin_source = /srv/depot"),
            ("deliver = /srv/ezged/ocr/wait", "livrer = /srv/ezged/ocr/wait"),
        ],
        own: &[],
    },
];

const MAN: &[(Level, (&str, &str))] = &[
    (Level::Global, ("The program as a whole", "Le programme entier")),
    (Level::Tunnel, ("Tunnels", "Tunnels")),
    (Level::Mail, ("Launchers", "Lanceurs")),
    (Level::Directory, ("Launchers of directories", "Lanceurs de répertoire")),
    (Level::Adullact, ("Launchers of envelopes", "Lanceurs d'enveloppes")),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Overrides, load_bytes};

    #[test]
    fn the_sample_as_it_stands_says_nothing_and_uncommented_it_loads() {
        for lang in [Lang::En, Lang::Fr] {
            let sample = sample_ini(lang);
            assert!(sample.lines().all(|line| line.is_empty() || line.starts_with(';')));
            assert!(!sample.contains("\n; ;") && sample.lines().all(|line| line.chars().count() <= WIDTH));
            let empty = load_bytes(Path::new("s.ini"), sample.as_bytes(), &Overrides::default()).unwrap_err();
            assert!(empty.len() == 1 && empty[0].text.en.contains("no [section]"));
            let plain: Vec<&str> = sample
                .lines()
                .map(|line| line.strip_prefix(';').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
                .collect();
            let config = load_bytes(Path::new("s.ini"), plain.join("\n").as_bytes(), &Overrides::default());
            let config = config.unwrap_or_else(|mistakes| {
                panic!("{:?}", mistakes.iter().map(|mistake| mistake.line(lang)).collect::<Vec<_>>())
            });
            assert_eq!((config.tunnels.len(), config.launchers.len()), (2, 5));
        }
    }

    #[test]
    fn every_option_stands_in_table_and_man_page_and_the_main_ones_in_the_sample() {
        for lang in [Lang::En, Lang::Fr] {
            let (table, man, sample) = (options_markdown(lang), man_section(lang), sample_ini(lang));
            for row in option::all() {
                assert!(table.contains(&format!("| `{}` |", row.name)), "{}", row.name);
                assert!(man.contains(&format!("\\fB{}\\fR", roff(row.name))), "{}", row.name);
            }
            for row in option::all().iter().filter(|row| acts(row) && !has_one_value(row)) {
                assert!(sample.contains(&format!("\n;{} = ", name_in(row, lang))), "{}", row.name);
            }
            assert!(table.lines().all(|line| line.replace("\\|", "").matches('|').count() == 7));
        }
    }
}
