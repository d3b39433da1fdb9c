//! The command line as clap describes it, in both languages.
//!
//! Not the commands: what is parsed here is carried out by one file for each of them. clap speaks English only, so
//! French descriptions are laid over its own, and its errors of usage are said again in French.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::ledger::LedgerCommand;
use crate::text::Lang;

/// Tunnels and document launchers, driven by one ini file
#[derive(Clone, Debug, Parser)]
#[command(name = "pertuis", version, disable_help_subcommand = true, disable_help_flag = true)]
#[command(disable_version_flag = true, arg_required_else_help = true)]
pub(super) struct Args {
    #[arg(short, long, value_name = "FILE", global = true)]
    #[arg(help = "The ini file [default: $PERTUIS_CONFIG, else the system's own]")]
    pub(super) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Run the tunnels and launchers of the file
    Run,
    /// Say whether the file is right, without starting anything
    Check {
        /// Every effective value and where it comes from
        #[arg(long)]
        explain: bool,
    },
    /// Fetch once: one cycle of the named launchers, or of all
    Fetch {
        /// The launchers
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Say what would be delivered, change nothing
        #[arg(long)]
        dry_run: bool,
        /// End with one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Walk through name, connection, TLS, login and folders of tunnels and launchers
    Test {
        /// The sections
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Sign a launcher in at Microsoft or Google (OAuth)
    Login {
        /// The launcher
        #[arg(value_name = "NAME")]
        name: String,
        /// Forget the sign-in instead
        #[arg(long)]
        forget: bool,
    },
    /// What was delivered, what is in quarantine
    Ledger {
        #[command(subcommand)]
        command: LedgerCommand,
    },
    /// Take one mail or envelope apart into a directory, with its index (index.json)
    Decode {
        /// A .eml (its attachments are taken), an Actes, Helios, Chorus or Pastell envelope, or the directory of one
        path: PathBuf,
        /// The directory; made when it is missing, nothing in it is replaced
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Say whether a pattern takes each name
    Filter {
        /// `/regex/flags`
        pattern: String,
        /// File names
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Show the whole product on this machine alone
    Demo {
        /// Leave the folder, with its ini, for playing
        #[arg(long)]
        keep: bool,
    },
    /// Print a commented sample file
    Sample,
    /// Print the table of all options (Markdown)
    Options,
    /// Print the man page
    Man,
}

/// What the arguments mean, or the exit code and the words with which to end (help and errors of usage).
pub(super) fn parse(args: Vec<OsString>, lang: Lang) -> Result<Args, Ending> {
    let parsed = command(lang).try_get_matches_from(args).and_then(|matches| Args::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
        let words = match lang {
            Lang::Fr => french(&error).unwrap_or_else(|| error.render().to_string()),
            Lang::En => error.render().to_string(),
        };
        Ending { words: format!("{}\n", words.trim_end()), code: if help { 0 } else { 2 } }
    })
}

/// An end before anything began.
#[derive(Debug)]
pub(super) struct Ending {
    /// Standard output for 0, else standard error.
    pub(super) words: String,
    /// The exit code.
    pub(super) code: u8,
}

/// Whether the first argument is one of our commands.
pub(super) fn is_command(word: &str) -> bool {
    Args::command().find_subcommand(word).is_some()
}

/// The command line's description in `lang`.
pub(super) fn command(lang: Lang) -> clap::Command {
    let (help, version) = match lang {
        Lang::En => ("Print help", "Print version"),
        Lang::Fr => ("Afficher l'aide", "Afficher la version"),
    };
    let command = Args::command()
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::Help).global(true).help(help))
        .arg(Arg::new("version").short('V').long("version").action(ArgAction::Version).help(version));
    match lang {
        Lang::En => command,
        Lang::Fr => translated(command),
    }
}

fn translated(command: clap::Command) -> clap::Command {
    let command = command
        .about("Tunnels et lanceurs de documents, conduits par un seul fichier ini")
        .subcommand_help_heading(FRENCH_COMMANDS)
        .subcommand_value_name("COMMANDE")
        .mut_arg("config", |arg| arg.help("Le fichier ini [par défaut : $PERTUIS_CONFIG, sinon celui du système]"));
    let headed = |command: clap::Command| {
        let mut positions = 0..;
        command.help_template(FRENCH_TEMPLATE).mut_args(|arg| {
            let named = arg.get_value_names().and_then(|names| french_name(names.first()?));
            // below a heading of its own clap would sort positional arguments by their names
            let arg = match positions.next().filter(|_| arg.is_positional()) {
                Some(position) => arg.display_order(position).help_heading("Arguments "),
                None => arg.help_heading("Options "),
            };
            if let Some(name) = named { arg.value_name(name) } else { arg }
        })
    };
    let described = |command: clap::Command, list: &[French]| {
        list.iter().fold(headed(command), |command, (name, about, arguments)| {
            command.mut_subcommand(name, |sub| {
                let sub = headed(sub.about(*about));
                arguments.iter().fold(sub, |sub, (argument, help)| sub.mut_arg(argument, |arg| arg.help(*help)))
            })
        })
    };
    described(command, FRENCH).mut_subcommand("ledger", |ledger| {
        described(ledger.subcommand_help_heading(FRENCH_COMMANDS).subcommand_value_name("COMMANDE"), FRENCH_LEDGER)
    })
}

fn french_name(name: &str) -> Option<&'static str> {
    match name {
        "NAME" => Some("NOM"),
        "FILE" => Some("FICHIER"),
        "DIR" => Some("DOSSIER"),
        "PATTERN" => Some("MOTIF"),
        "PATH" => Some("CHEMIN"),
        "KEY" => Some("CLÉ"),
        "DATE" => Some("DATE"),
        "OLD" => Some("ANCIEN"),
        "NEW" => Some("NOUVEAU"),
        _ => None,
    }
}

/// clap's error of usage in French; `None` for help, version and what has no French twin.
fn french(error: &clap::Error) -> Option<String> {
    let context = |kind| {
        error.get(kind).map(|value| match value {
            ContextValue::Strings(list) => list.join(", "),
            other => other.to_string(),
        })
    };
    let argument = || context(ContextKind::InvalidArg).unwrap_or_default();
    let value = || context(ContextKind::InvalidValue).unwrap_or_default();
    let mean = |kind| context(kind).map_or(String::new(), |word| format!(" ; vouliez-vous dire « {word} » ?"));
    let words = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("commande inconnue « {word} »{}", mean(ContextKind::SuggestedSubcommand))
        }
        ErrorKind::UnknownArgument => {
            format!("argument inconnu « {} »{}", argument(), mean(ContextKind::SuggestedArg))
        }
        ErrorKind::MissingRequiredArgument => format!("il manque : {}", argument()),
        ErrorKind::MissingSubcommand => "il manque une commande".to_owned(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if value().is_empty() => {
            format!("« {} » demande une valeur", argument())
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            format!("« {} » ne convient pas pour « {} »", value(), argument())
        }
        ErrorKind::ArgumentConflict => format!("« {} » est donné deux fois ou ne va pas avec le reste", argument()),
        ErrorKind::TooManyValues => format!("« {} » est de trop pour « {} »", value(), argument()),
        ErrorKind::NoEquals | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            format!("« {} » n'a pas les valeurs qu'il demande", argument())
        }
        ErrorKind::InvalidUtf8 => "un argument n'est pas du texte UTF-8".to_owned(),
        _ => return None,
    };
    Some(format!("erreur : {words}\n\nVoir pertuis --help\n"))
}

/// clap puts the colon behind it; a blank stands in front of one in French.
const FRENCH_COMMANDS: &str = "Commandes ";

const FRENCH_TEMPLATE: &str = "{about-with-newline}\nUtilisation : {usage}\n\n{all-args}";

/// Descriptions in French: command, what it does, its arguments.
type French = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const FRENCH: &[French] = &[
    ("run", "Faire tourner les tunnels et les lanceurs du fichier", &[]),
    (
        "check",
        "Dire si le fichier est juste, sans rien démarrer",
        &[("explain", "Chaque valeur effective et d'où elle vient")],
    ),
    (
        "fetch",
        "Relever une fois : un cycle des lanceurs nommés, ou de tous",
        &[
            ("names", "Les lanceurs"),
            ("dry_run", "Dire ce qui serait livré, sans rien changer"),
            ("json", "Finir par une ligne de JSON"),
        ],
    ),
    (
        "test",
        "Essayer nom, connexion, TLS, identification et dossiers des tunnels et des lanceurs",
        &[("names", "Les sections")],
    ),
    (
        "login",
        "Connecter un lanceur à son compte Microsoft ou Google (OAuth)",
        &[("name", "Le lanceur"), ("forget", "Oublier la connexion au lieu de la faire")],
    ),
    ("ledger", "Ce qui a été livré, ce qui est en quarantaine", &[]),
    (
        "decode",
        "Ouvrir un courriel ou une enveloppe dans un répertoire, avec son index (index.json)",
        &[
            ("path", "Un .eml (ses pièces jointes), une enveloppe Actes, Helios, Chorus ou Pastell, ou son répertoire"),
            ("to", "Le répertoire ; créé s'il manque, rien n'y est remplacé"),
        ],
    ),
    (
        "filter",
        "Dire si un motif retient chaque nom",
        &[("pattern", "`/regex/options`"), ("names", "Noms de fichiers")],
    ),
    (
        "demo",
        "Montrer tout le produit sur cette seule machine",
        &[("keep", "Laisser le dossier, avec son ini, pour essayer")],
    ),
    ("sample", "Afficher un fichier d'exemple commenté", &[]),
    ("options", "Afficher le tableau de toutes les options (Markdown)", &[]),
    ("man", "Afficher la page de manuel", &[]),
];

const FRENCH_LEDGER: &[French] = &[
    (
        "list",
        "Ce qui a été pris aux sources, du plus ancien au plus récent",
        &[
            ("name", "Un seul lanceur"),
            ("quarantined", "Seulement ce qui est en quarantaine, en tout ou en partie"),
            ("json", "Un objet JSON par ligne"),
        ],
    ),
    ("show", "Tout ce qui est connu d'un élément", FRENCH_ITEM),
    (
        "why",
        "Pourquoi un élément a été pris ou écarté : la décision de chaque filtre, alors et aujourd'hui",
        FRENCH_ITEM,
    ),
    (
        "retry",
        "Faire reprendre des éléments par le prochain cycle",
        &[
            ("name", "Le lanceur"),
            ("key", "Un élément, déjà livré ou non ; le début de sa clé suffit"),
            ("quarantined", "Tout ce qui est en quarantaine"),
            ("empty", "Tout ce qui n'a donné aucun document"),
            ("rejected", "Tout ce que `filter_from` ou `filter_subject` ont écarté"),
        ],
    ),
    ("forget", "Oublier un élément, comme s'il n'avait jamais été vu", FRENCH_ITEM),
    (
        "adopt",
        "Tenir pour fait ce qui est à la source maintenant, sans le livrer",
        &[("name", "Le lanceur"), ("before", "Seulement ce qui précède ce jour (AAAA-MM-JJ) ; le reste est livré")],
    ),
    (
        "rename",
        "Donner à une section renommée l'historique de son ancien nom",
        &[("old", "Le nom dans le registre"), ("new", "Le nom qu'elle a maintenant dans le fichier")],
    ),
];

const FRENCH_ITEM: &[(&str, &str)] =
    &[("name", "Le lanceur"), ("key", "La clé, telle que `ledger list` la montre ; son début suffit")];

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str, lang: Lang) -> Result<Args, Ending> {
        parse(line.split(' ').map(OsString::from).collect(), lang)
    }

    #[test]
    fn every_command_of_the_contract_parses() {
        let lines = [
            "pertuis run",
            "pertuis -c a.ini run",
            "pertuis run -c a.ini",
            "pertuis check --explain",
            "pertuis fetch a b --dry-run --json",
            "pertuis test a",
            "pertuis login a --forget",
            "pertuis ledger list",
            "pertuis ledger show a key",
            "pertuis ledger why a key",
            "pertuis ledger retry a key",
            "pertuis ledger retry a --quarantined --empty",
            "pertuis ledger forget a key",
            "pertuis ledger adopt a --before 2026-01-31",
            "pertuis ledger rename a b",
            "pertuis decode a.eml --to dir",
            "pertuis filter /x/i a.pdf b.pdf",
            "pertuis demo --keep",
            "pertuis man",
        ];
        for line in lines {
            for lang in [Lang::En, Lang::Fr] {
                assert!(parsed(line, lang).is_ok(), "{line}: {:?}", parsed(line, lang));
            }
        }
        assert_eq!(parsed("pertuis run -c a.ini", Lang::En).unwrap().config, Some(PathBuf::from("a.ini")));
    }

    #[test]
    fn wrong_usage_ends_with_2_in_the_users_language() {
        let lines = [
            ("pertuis chekc", "« check »"),
            ("pertuis check --explian", "--explain"),
            ("pertuis filter /x/", "NOM"),
            ("pertuis run -c", "demande une valeur"),
            ("pertuis demo --keep=1", "« 1 » est de trop"),
            ("pertuis ledger retry a", "CLÉ"),
            ("pertuis ledger adopt a --before hier", "« hier » ne convient pas"),
        ];
        for (line, expected) in lines {
            let ending = parsed(line, Lang::Fr).unwrap_err();
            assert_eq!(ending.code, 2, "{line}");
            assert!(ending.words.starts_with("erreur : ") && ending.words.contains(expected), "{}", ending.words);
            assert!(parsed(line, Lang::En).unwrap_err().words.starts_with("error: "), "{line}");
        }
    }

    #[test]
    fn help_is_whole_in_both_languages() {
        for (lang, expected) in [(Lang::En, "Usage: "), (Lang::Fr, "Utilisation : ")] {
            let ending = parsed("pertuis --help", lang).unwrap_err();
            assert_eq!(ending.code, 0);
            assert!(ending.words.contains(expected), "{}", ending.words);
        }
        let french = parsed("pertuis --help", Lang::Fr).unwrap_err().words;
        for word in ["Usage", "Print", "Commands", "Run "] {
            assert!(!french.contains(word), "{word}: {french}");
        }
    }

    #[test]
    fn every_visible_command_has_its_french_twin() {
        let visible: Vec<_> =
            Args::command().get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name().to_owned()).collect();
        assert_eq!(visible, FRENCH.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    }
}
