//! The command line: one file for each command, this one decides which.
//!
//! Not an engine: what a command does is done elsewhere, here it gets its configuration, its language and its
//! streams. Exit codes are the contract's: 0 done, 1 something failed, 2 wrong usage.

mod args;
mod check;
pub mod decode;
mod documents;
pub mod fetch;
pub mod filter;
mod inetd;
pub mod ledger;
pub mod login;
mod progress;
mod reread;
mod run;
mod stunnel;
pub mod test;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use crate::config::{self, Config, Overrides, Rejected, Remark};
use crate::event::{Event, Events, Level};
use crate::log::{Log, Settings};
use crate::platform::Daemon;
use crate::supervisor::{self, Moment};
use crate::text;
use crate::text::Lang;

use args::{Args, Command, Ending};

/// Carries out a command line, `args` beginning with the program's name; answers the exit code.
pub fn main(args: Vec<OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let lang = Lang::from_env();
    let mut console = Console { out, err, lang, as_stunnel: None };
    let code = dispatch(args, &mut console).and_then(|code| console.out.flush().map(|()| code));
    code.unwrap_or_else(|error| {
        // whoever read our output has seen enough: `pertuis ledger list | head`
        if error.kind() != ErrorKind::BrokenPipe {
            let text = text!("cannot write the output: {error}", "impossible d'écrire la sortie : {error}");
            let _ = writeln!(console.err, "{}", text.get(lang));
            return FAILED;
        }
        DONE
    })
}

/// The streams of a command, and the language of who reads them.
struct Console<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    lang: Lang,
    /// Called under stunnel's name, with this source: failures have its form.
    as_stunnel: Option<Source>,
}

impl Console<'_> {
    /// Prints mistakes or warnings on standard error, one a line.
    fn remarks(&mut self, remarks: &[Remark]) -> io::Result<()> {
        remarks.iter().try_for_each(|remark| writeln!(self.err, "{}", remark.line(self.lang)))
    }

    /// Tells why the service does not start: `mistakes`, and where there is none what the log kept meanwhile.
    fn failure(&mut self, kept: &[Event], mistakes: &[Remark]) -> io::Result<()> {
        if let Some(source) = self.as_stunnel.take() {
            return writeln!(self.err, "{}", stunnel::failure(&source, kept, mistakes, self.lang));
        }
        let serious = kept.iter().filter(|event| mistakes.is_empty() && event.level <= Level::Error);
        let lines = serious.map(|event| event.text.get(self.lang).to_owned());
        lines.into_iter().try_for_each(|line| writeln!(self.err, "{line}"))?;
        self.remarks(mistakes)
    }

    fn complain(&mut self, text: &text::Text) -> io::Result<()> {
        writeln!(self.err, "{}", text.get(self.lang))
    }
}

/// Where the configuration comes from, at the start and at each reload.
#[derive(Clone, Debug)]
struct Source {
    path: PathBuf,
    /// What a descriptor gave (`-fd`): it cannot be read twice.
    bytes: Option<Vec<u8>>,
    overrides: Overrides,
}

impl Source {
    fn file(path: PathBuf, lang: Lang) -> Self {
        Self { path, bytes: None, overrides: Overrides { program_is_stunnel: false, lang } }
    }

    fn load(&self) -> Result<Config, Vec<Remark>> {
        self.read().map_err(|rejected| supervisor::all_mistakes(rejected, Moment::Reload))
    }

    fn read(&self) -> Result<Config, Rejected> {
        match &self.bytes {
            Some(bytes) => config::load_bytes_partly(&self.path, bytes, &self.overrides),
            None => config::load_partly(&self.path, &self.overrides),
        }
    }

    /// Loads the file for a command; its mistakes are told in its own language. `None`: it has some.
    fn load_for(&self, console: &mut Console<'_>) -> io::Result<Option<Config>> {
        match self.read() {
            Ok(config) => {
                console.lang = config.global.lang;
                Ok(Some(config))
            }
            Err(rejected) => {
                console.lang = rejected.rest.as_ref().map_or(console.lang, |rest| rest.global.lang);
                let mistakes = supervisor::all_mistakes(rejected, Moment::Start);
                console.failure(&[], &mistakes).map(|()| None)
            }
        }
    }
}

fn dispatch(mut args: Vec<OsString>, console: &mut Console<'_>) -> io::Result<u8> {
    if stunnel::is_called(args.first()) {
        args.remove(0);
        return as_stunnel(&args, console);
    }
    if let [_, file] = args.as_slice()
        && is_file_name(file)
    {
        return run::run(&Source::file(PathBuf::from(file), console.lang), console);
    }
    match args::parse(args, console.lang) {
        Ok(args) => command(args, console),
        Err(Ending { words, code: DONE }) => write!(console.out, "{words}").map(|()| DONE),
        Err(Ending { words, code }) => write!(console.err, "{words}").map(|()| code),
    }
}

fn as_stunnel(args: &[OsString], console: &mut Console<'_>) -> io::Result<u8> {
    // scripts that look for stunnel's words find them whatever the locale: `lang` in the file is who wants others
    let overrides = Overrides { program_is_stunnel: true, lang: Lang::En };
    console.lang = Lang::En;
    let source = match stunnel::parse(args) {
        stunnel::Request::Print(words) => return writeln!(console.err, "{words}").map(|()| DONE),
        stunnel::Request::Refuse(words) => return writeln!(console.err, "{words}").map(|()| FAILED),
        stunnel::Request::File(path) => Source { path, bytes: None, overrides },
        stunnel::Request::Descriptor(number) => {
            let path = PathBuf::from(format!("/dev/fd/{number}"));
            match read_descriptor(&path) {
                Ok(bytes) => Source { path, bytes: Some(bytes), overrides },
                Err(error) => {
                    let path = path.display();
                    return writeln!(console.err, "[!] {path}: {error}").map(|()| FAILED);
                }
            }
        }
    };
    console.as_stunnel = Some(source.clone());
    run::run(&source, console)
}

/// A descriptor is read once: a daemon gets what its first process found there.
fn read_descriptor(path: &Path) -> io::Result<Vec<u8>> {
    match Daemon::detach() {
        Some(daemon) => daemon.input(),
        None => std::fs::read(path),
    }
}

/// `pertuis FILE`: a word that is no command, and that looks like a file or is one.
fn is_file_name(word: &OsString) -> bool {
    let text = word.to_string_lossy();
    let looks = || text.contains(['/', '\\', '.']) || Path::new(word).exists();
    !text.starts_with('-') && !args::is_command(&text) && looks()
}

fn command(args: Args, console: &mut Console<'_>) -> io::Result<u8> {
    let source = Source::file(args.config.unwrap_or_else(default_file), console.lang);
    match args.command {
        Command::Run => run::run(&source, console),
        Command::Check { explain } => check::run(&source, explain, console),
        Command::Fetch { names, dry_run, json } => with_config(&source, console, |config, events, console| {
            let options = fetch::Options { names, dry_run, json };
            fetch::run(config, &options, events, console.lang, console.out, console.err)
        }),
        Command::Ledger { command } => with_config(&source, console, |config, events, console| {
            ledger::run(config, &command, events, console.lang, console.out, console.err)
        }),
        Command::Filter { pattern, names } => filter::run(&pattern, &names, console.lang, console.out, console.err),
        Command::Demo { keep } => crate::demo::run(keep, console.lang, console.out, console.err),
        Command::Test { names } => with_config(&source, console, |config, events, console| {
            test::run(config, &names, events, console.lang, console.out, console.err)
        }),
        Command::Login { name, forget } => with_config(&source, console, |config, events, console| {
            login::run(config, (&name, forget), events, console.lang, console.out, console.err)
        }),
        Command::Decode { path, to } => decode::run(&path, &to, console.lang, console.out, console.err),
        Command::Man => documents::man(console),
        Command::Sample => documents::sample(console),
        Command::Options => documents::options(console),
    }
}

/// Loads the file and opens a log on standard error for a command that ends by itself.
fn with_config(
    source: &Source,
    console: &mut Console<'_>,
    work: impl FnOnce(&Config, &Events, &mut Console<'_>) -> io::Result<u8>,
) -> io::Result<u8> {
    let Some(config) = source.load_for(console)? else { return Ok(FAILED) };
    match Log::open(Settings::on_standard_error(&config)) {
        Ok(log) => work(&config, &log.events(), console),
        Err(text) => console.complain(&text).map(|()| FAILED),
    }
}

/// Keeps what is told while there is no log yet.
fn collect() -> (Events, mpsc::Receiver<Event>) {
    let (sender, receiver) = mpsc::channel();
    // nobody reads on: nobody needs to know
    (Events::to(move |event| drop(sender.send(event))), receiver)
}

fn default_file() -> PathBuf {
    let named = std::env::var_os("PERTUIS_CONFIG").filter(|name| !name.is_empty());
    named.map_or_else(system_file, PathBuf::from)
}

#[cfg(not(windows))]
fn system_file() -> PathBuf {
    PathBuf::from("/etc/pertuis/pertuis.ini")
}

#[cfg(windows)]
fn system_file() -> PathBuf {
    let data = std::env::var_os("ProgramData").unwrap_or_else(|| OsString::from(r"C:\ProgramData"));
    PathBuf::from(data).join("pertuis").join("pertuis.ini")
}

const DONE: u8 = 0;
const FAILED: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = main(args.iter().map(OsString::from).collect(), &mut out, &mut err);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn decoding_needs_no_configuration_and_a_place_to_write_to() {
        let (code, out, err) = run(&["pertuis", "-c", "no-such.ini", "decode", "no-such.eml", "--to", "no-such"]);
        assert_eq!((code, out.as_str()), (1, ""));
        assert!(err.contains("no-such.eml"), "{err}");
        assert_eq!(run(&["pertuis", "decode", "x"]).0, 2);
    }

    #[test]
    fn mistakes_are_told_in_the_files_own_language_and_words() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pertuis.ini");
        let text = "langue = fr\n[a]\nlanceur = pop3\nServeur = host:0\ncompte = c\nApres = seen\nlivrer = COLD\n";
        std::fs::write(&file, text.replace("COLD", &dir.path().display().to_string())).unwrap();
        let (code, _, err) = run(&["pertuis", "-c", &file.to_string_lossy(), "check"]);
        assert_eq!(code, 1, "{err}");
        for words in ["Serveur : port 0", "Apres : POP3 ne sait que", "demande `mot_de_passe =`"] {
            assert!(err.contains(words), "{words}: {err}");
        }
    }

    #[test]
    fn a_missing_file_is_a_failure_that_names_it() {
        for line in [&["pertuis", "-c", "no-such.ini", "check"][..], &["pertuis", "./no-such.ini"]] {
            let (code, _, err) = run(line);
            assert_eq!(code, 1, "{err}");
            assert!(err.contains("no-such.ini"), "{err}");
        }
    }

    #[test]
    fn a_word_that_is_neither_command_nor_file_is_wrong_usage() {
        assert_eq!(run(&["pertuis", "chekc"]).0, 2);
        assert_eq!(run(&["pertuis"]).0, 2);
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        struct Shut;
        impl Write for Shut {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from(ErrorKind::BrokenPipe))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert_eq!(main(["pertuis", "options"].map(OsString::from).to_vec(), &mut Shut, &mut Vec::new()), 0);
    }
}
