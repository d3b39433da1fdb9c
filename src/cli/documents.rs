//! `pertuis man`, `sample`, `options`: the documents that are made from the command line and the option table.
//!
//! Not written by hand, so they say what the program does. `docs/` holds what `options` and `man` print; a test
//! compares them.

use std::fmt::Write as _;
use std::io;

use super::{Console, DONE, args};
use crate::config::manual::{self, roff};
use crate::config::stunnel;
use crate::text;
use crate::text::Text;

/// The man page.
pub(super) fn man(console: &mut Console<'_>) -> io::Result<u8> {
    let command = args::command(console.lang);
    let (mut commands, more) = (String::new(), after_the_commands());
    list(&mut commands, &command, "pertuis");
    let title = text!("COMMANDS", "COMMANDES");
    let man = clap_mangen::Man::new(command);
    man.render_title(console.out)?;
    man.render_name_section(console.out)?;
    man.render_synopsis_section(console.out)?;
    man.render_options_section(console.out)?;
    write!(console.out, ".SH {}\n{commands}{}", title.get(console.lang), more.get(console.lang))?;
    write!(console.out, "{}", manual::man_section(console.lang))?;
    Ok(DONE)
}

/// A commented sample file.
pub(super) fn sample(console: &mut Console<'_>) -> io::Result<u8> {
    write!(console.out, "{}", manual::sample_ini(console.lang)).map(|()| DONE)
}

/// The table of options, in Markdown.
pub(super) fn options(console: &mut Console<'_>) -> io::Result<u8> {
    let head = text!(
        "# Options\n\n*En français : [options.fr.md](options.fr.md)*\n\n\
         Printed by `pertuis options`. Names of options fold case, blanks, `_`, `-` and accents. Options that stand \
         before the first\nsection concern the whole program, or are defaults of the sections below.\n",
        "# Options\n\n*In English: [options.md](options.md)*\n\n\
         Affichées par `pertuis options`. Dans les noms d'options, la casse, les blancs, `_`, `-` et les accents ne \
         comptent pas.\nLes options d'avant la première section concernent tout le programme, ou sont les valeurs par \
         défaut des sections qui\nsuivent.\n",
    );
    let bring = text!(
        "## Options of stunnel\n\nEvery option of stunnel 5.75 and 5.68, and what becomes of it in a file that is brought along \
         (see [stunnel.md](stunnel.md)).\n",
        "## Options de stunnel\n\nChaque option de stunnel 5.75 et 5.68, et ce qu'elle devient dans un fichier repris tel quel \
         (voir [stunnel.fr.md](stunnel.fr.md)).\n"
    );
    let lang = console.lang;
    write!(console.out, "{}\n{}\n", head.get(lang), manual::options_markdown(lang))?;
    write!(console.out, "{}\n{}", bring.get(lang), stunnel::markdown(lang)).map(|()| DONE)
}

/// Each command with its arguments; clap's own list would point to pages that do not exist (`pertuis-run(1)`).
fn list(out: &mut String, command: &clap::Command, path: &str) {
    let mut subs: Vec<_> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
    subs.sort_by_key(|sub| sub.get_display_order());
    for sub in subs {
        let path = format!("{path} {}", sub.get_name());
        if sub.has_subcommands() {
            list(out, sub, &path);
            continue;
        }
        let own = || sub.get_arguments().filter(|argument| !argument.is_global_set());
        let synopsis = own().map(usage).collect::<Vec<_>>().join(" ");
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(out, ".TP\n\\fB{}\\fR {}\n{}", roff(&path), roff(&synopsis), roff(&about));
        for argument in own() {
            let (name, help) = (usage(argument), argument.get_help().map(ToString::to_string).unwrap_or_default());
            let _ = writeln!(out, ".br\n{} \\(em {}", roff(&name), roff(&help));
        }
    }
}

/// An argument as a synopsis shows it: `NAME`, `[NAME]...`, `[--json]`.
fn usage(argument: &clap::Arg) -> String {
    if argument.is_positional() {
        return argument.to_string();
    }
    let name = argument.get_long().unwrap_or_else(|| argument.get_id().as_str());
    let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
    let value = value.map_or(String::new(), |names| format!(" <{}>", names.join(" ")));
    if argument.is_required_set() { format!("--{name}{value}") } else { format!("[--{name}{value}]") }
}

/// What people look for behind the commands.
fn after_the_commands() -> Text {
    text!(
        ".SH EXIT STATUS\n0 done; 1 something failed (standard error says what); 2 wrong usage.\n\
         .SH SIGNALS\nSIGHUP: read the file again; a broken one changes nothing. SIGUSR1: open the log file again. SIGUSR2: list \
         open connections in the log. SIGTERM, SIGINT, SIGQUIT: stop; a second one cuts what still drains.\n\
         .SH FILES\n.TP\n/etc/pertuis/pertuis.ini\nthe ini file, unless \\-c or $PERTUIS_CONFIG names another one\n\
         .TP\n/var/lib/pertuis\nledger, spool, locks and quarantine\n\
         .TP\n\\&.pertuis\\-staging\nbeside each delivery directory: documents on their way\n",
        ".SH CODE DE SORTIE\n0 : fait ; 1 : quelque chose a échoué (l'erreur standard dit quoi) ; 2 : mauvais usage.\n\
         .SH SIGNAUX\nSIGHUP : relire le fichier ; un fichier fautif ne change rien. SIGUSR1 : rouvrir le journal. SIGUSR2 : lister \
         dans le journal les connexions ouvertes. SIGTERM, SIGINT, SIGQUIT : arrêter ; un second coupe ce qui s'achève.\n\
         .SH FICHIERS\n.TP\n/etc/pertuis/pertuis.ini\nle fichier ini, sauf si \\-c ou $PERTUIS_CONFIG en nomme un autre\n\
         .TP\n/var/lib/pertuis\nregistre, tampon, verrous et quarantaine\n\
         .TP\n\\&.pertuis\\-staging\nà côté de chaque répertoire de livraison : documents en chemin\n",
    )
}
