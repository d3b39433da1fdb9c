//! The log: what becomes of the events that the engines send up.
//!
//! Not a framework: one sink behind [`Events`], no global logger, nothing that a library could write to. An event is
//! rendered once for each shape that is wanted (stunnel's line, JSON) and written to each target in one call, with no
//! buffer between: a crash loses nothing, and a line is never cut in two by another one. A target that fails (full
//! disk, syslog away) costs lines, never the program; how many is said as soon as the target works again.

mod line;
mod syslog;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{Config, Foreground, LogFormat};
use crate::event::{Event, Events, Level};
use crate::model::ServiceName;
use crate::text;
use crate::text::{Lang, Text};

use syslog::Syslog;

/// What is logged, how and where to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Lines or JSON.
    pub format: LogFormat,
    /// The language of lines; JSON is always English.
    pub lang: Lang,
    /// Events up to this level.
    pub level: Level,
    /// The same for single sections (`debug =` of a tunnel).
    pub levels: HashMap<ServiceName, Level>,
    /// Standard error.
    pub stderr: bool,
    /// `output`.
    pub file: Option<PathBuf>,
    /// `log = overwrite`.
    pub overwrite: bool,
    /// `syslog`.
    pub syslog: Option<SyslogSettings>,
}

/// Where and as whom to speak to the syslog daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogSettings {
    /// The daemon's datagram socket; absent is no error.
    pub socket: PathBuf,
    /// `service`: the tag of a line.
    pub ident: String,
    /// The facility's number.
    pub facility: u8,
}

impl Settings {
    /// What `run` does with a configuration.
    pub fn of(config: &Config) -> Self {
        let global = &config.global;
        let mut levels = HashMap::new();
        for tunnel in &config.tunnels {
            // two tunnels may share a name: the more talkative one decides
            let level = levels.entry(tunnel.name.clone()).or_insert(tunnel.debug);
            *level = (*level).max(tunnel.debug);
        }
        let syslog = SyslogSettings {
            socket: PathBuf::from(SYSLOG_SOCKET),
            ident: global.service.clone(),
            facility: global.facility,
        };
        Self {
            format: global.log_format,
            lang: global.lang,
            level: global.debug,
            levels,
            stderr: global.foreground == Foreground::Yes,
            file: global.output.clone(),
            overwrite: global.overwrite,
            syslog: (global.syslog && cfg!(unix)).then_some(syslog),
        }
    }

    /// The same for a command that ends by itself: standard error alone.
    pub fn on_standard_error(config: &Config) -> Self {
        Self { stderr: true, file: None, syslog: None, ..Self::of(config) }
    }

    fn wants(&self, event: &Event) -> bool {
        self.wants_level(event.level, event.service.as_ref())
    }

    fn wants_level(&self, level: Level, service: Option<&ServiceName>) -> bool {
        let own = service.and_then(|service| self.levels.get(service));
        level <= *own.unwrap_or(&self.level)
    }
}

/// A log. Clones write to the same targets.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Targets>>);

impl Log {
    /// A log that keeps what it is told until [`Log::start`]: its file belongs to a user, and lies in a directory, that
    /// the process may not have changed to yet. The syslog daemon is called at once, as stunnel does: a jail has none.
    pub fn waiting(settings: Settings) -> Self {
        let syslog = settings.syslog.clone().map(Syslog::new);
        let zone = TimeZone::system();
        Self(Arc::new(Mutex::new(Targets { settings, file: None, syslog, zone, kept: Some(Vec::new()) })))
    }

    /// Opens every target of `settings`.
    ///
    /// # Errors
    /// The log file cannot be opened. An absent syslog is no error.
    pub fn open(settings: Settings) -> Result<Self, Text> {
        let log = Self::waiting(settings);
        log.start().map(|()| log)
    }

    /// Opens the file of a waiting log and writes what it kept.
    ///
    /// # Errors
    /// The log file cannot be opened; the log then waits on.
    pub fn start(&self) -> Result<(), Text> {
        let mut targets = self.lock();
        let Settings { file, overwrite, .. } = &targets.settings;
        targets.file = file.as_deref().map(|path| LogFile::open(path, *overwrite)).transpose()?;
        for (event, at) in targets.kept.take().unwrap_or_default() {
            targets.log(&event, at);
        }
        Ok(())
    }

    /// What a waiting log kept, of every level.
    pub fn kept(&self) -> Vec<Event> {
        let kept = self.lock().kept.replace(Vec::new());
        kept.unwrap_or_default().into_iter().map(|(event, _)| event).collect()
    }

    /// The way in: every event sent to it is logged.
    pub fn events(&self) -> Events {
        let (log, settings) = (self.clone(), self.clone());
        Events::to(move |event| log.write(&event))
            .wanting(move |level, service| settings.lock().settings.wants_level(level, Some(service)))
    }

    /// Opens the log file again, after it was moved away (SIGUSR1). It is never emptied here. On failure the old one
    /// stays in use.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn reopen(&self) -> Result<(), Text> {
        let mut targets = self.lock();
        targets.look_at_the_clock();
        if let Some(path) = targets.settings.file.clone() {
            targets.file = Some(LogFile::open(&path, false)?);
        }
        Ok(())
    }

    /// What is logged, how and where to.
    pub fn settings(&self) -> Settings {
        self.lock().settings.clone()
    }

    /// Follows other settings (reload). On failure the old ones stay.
    ///
    /// # Errors
    /// A new log file cannot be opened.
    pub fn configure(&self, settings: Settings) -> Result<(), Text> {
        let mut targets = self.lock();
        if settings.file != targets.settings.file {
            targets.file = settings.file.as_deref().map(|path| LogFile::open(path, settings.overwrite)).transpose()?;
        }
        if settings.syslog != targets.settings.syslog {
            targets.syslog = settings.syslog.clone().map(Syslog::new);
        }
        targets.look_at_the_clock();
        targets.settings = settings;
        Ok(())
    }

    /// Logs one event.
    pub fn write(&self, event: &Event) {
        self.lock().take(event, Timestamp::now());
    }

    fn lock(&self) -> MutexGuard<'_, Targets> {
        // a panic while writing a line leaves nothing half-changed that the next line could stumble over
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Targets {
    settings: Settings,
    file: Option<LogFile>,
    syslog: Option<Syslog>,
    /// Held, since a jail has no list of time zones: there the hours of the log would change with the first line.
    zone: TimeZone,
    /// `Some`: nothing is written yet.
    kept: Option<Vec<(Event, Timestamp)>>,
}

impl Targets {
    fn take(&mut self, event: &Event, now: Timestamp) {
        match &mut self.kept {
            Some(kept) if kept.len() < MOST_KEPT => kept.push((event.clone(), now)),
            Some(_) => {}
            None => self.log(event, now),
        }
    }

    fn log(&mut self, event: &Event, now: Timestamp) {
        if self.settings.wants(event) {
            self.write(event, &now.to_zoned(self.zone.clone()));
        }
    }

    fn look_at_the_clock(&mut self) {
        if let Ok(zone) = TimeZone::try_system() {
            self.zone = zone;
        }
    }

    fn write(&mut self, event: &Event, now: &jiff::Zoned) {
        let (format, lang) = (self.settings.format, self.settings.lang);
        let render = |event: &Event| match format {
            LogFormat::Text => line::text(event, lang, now),
            LogFormat::Json => line::json(event, now),
        };
        let line = render(event);
        if self.settings.stderr {
            let _ = io::stderr().write_all(line.as_bytes());
        }
        if let Some(file) = &mut self.file {
            file.write(&line, |lost| render(&lines_lost(lost)));
        }
        if let Some(syslog) = &mut self.syslog {
            let words = match format {
                LogFormat::Text => line::body(event, lang),
                LogFormat::Json => line,
            };
            syslog.send(event.level, words.trim_end(), now);
        }
    }
}

/// The log file, and what a full disk made of it.
struct LogFile {
    file: File,
    lost: u64,
}

impl LogFile {
    fn open(path: &Path, overwrite: bool) -> Result<Self, Text> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, MODE);
        let open = || {
            let file = options.open(path)?;
            // `/dev/stdout` and other things that are no files cannot be emptied
            if overwrite && file.metadata()?.is_file() {
                file.set_len(0)?;
            }
            Ok(file)
        };
        open().map(|file| Self { file, lost: 0 }).map_err(|error: io::Error| {
            let path = path.display();
            let Text { en, fr } = Text::io(&error);
            text!(
                "Cannot open log file: {path}: {en}; its folder must exist and be writable for this user",
                "impossible d'ouvrir le journal {path} : {fr} ; son dossier doit exister et être accessible en \
                 écriture pour cet utilisateur"
            )
        })
    }

    fn write(&mut self, line: &str, confess: impl Fn(u64) -> String) {
        let written = match self.lost {
            0 => self.file.write_all(line.as_bytes()),
            // the last line may have been cut: start on a new one
            lost => self.file.write_all(format!("\n{}{line}", confess(lost)).as_bytes()),
        };
        self.lost = if written.is_ok() { 0 } else { self.lost + 1 };
    }
}

fn lines_lost(lost: u64) -> Event {
    let words = text!(
        "{lost} line(s) could not be written here (is the disk full?)",
        "{lost} ligne(s) n'ont pas pu être écrites ici (disque plein ?)"
    );
    Event::new(Level::Error, "log_lines_lost", words)
}

/// A start tells less; what exceeds it is no news.
const MOST_KEPT: usize = 10_000;

const SYSLOG_SOCKET: &str = "/dev/log";

/// Readable for the group, as logs are: host names and addresses of mailboxes are nobody else's business.
#[cfg(unix)]
const MODE: u32 = 0o640;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(file: Option<PathBuf>) -> Settings {
        Settings {
            format: LogFormat::Text,
            lang: Lang::En,
            level: Level::Notice,
            levels: HashMap::from([(ServiceName::new("loud"), Level::Debug)]),
            stderr: false,
            file,
            overwrite: false,
            syslog: None,
        }
    }

    fn event(level: Level, words: &str) -> Event {
        Event::new(level, "test", Text::same(words))
    }

    #[test]
    fn a_section_has_a_level_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::open(settings(Some(path.clone()))).unwrap();
        let events = log.events();
        events.emit(event(Level::Notice, "one"));
        events.emit(event(Level::Info, "two"));
        events.emit(event(Level::Debug, "three").of(&ServiceName::new("loud")));
        events.emit(event(Level::Debug, "four").of(&ServiceName::new("other")));
        let text = std::fs::read_to_string(path).unwrap();
        let words: Vec<_> = text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(words, ["one", "three"]);
    }

    #[test]
    fn the_file_is_appended_to_unless_it_is_to_be_overwritten_and_reopening_never_empties_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let lines = || std::fs::read_to_string(&path).unwrap().lines().count();
        for expected in [1, 2] {
            Log::open(settings(Some(path.clone()))).unwrap().write(&event(Level::Error, "x"));
            assert_eq!(lines(), expected);
        }
        let log = Log::open(Settings { overwrite: true, ..settings(Some(path.clone())) }).unwrap();
        assert_eq!(lines(), 0);
        log.write(&event(Level::Error, "x"));
        log.reopen().unwrap();
        log.write(&event(Level::Error, "x"));
        assert_eq!(lines(), 2);
    }

    #[test]
    fn a_reopened_log_writes_to_the_new_file_and_a_refused_one_to_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
        let log = Log::open(settings(Some(path.clone()))).unwrap();
        crate::delivery::replace(&path, &moved).unwrap();
        log.write(&event(Level::Error, "before"));
        log.reopen().unwrap();
        log.write(&event(Level::Error, "after"));
        assert!(std::fs::read_to_string(&moved).unwrap().ends_with("before\n"));
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("after\n"));
        let nowhere = dir.path().join("missing/log");
        let refused = log.configure(settings(Some(nowhere.clone()))).unwrap_err();
        assert!(refused.en.contains(nowhere.to_str().unwrap()), "{refused}");
        log.write(&event(Level::Error, "still"));
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("still\n"));
    }

    #[test]
    fn what_is_told_before_the_file_may_be_opened_is_kept_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/log");
        let log = Log::waiting(settings(Some(path.clone())));
        log.write(&event(Level::Notice, "one"));
        log.write(&event(Level::Debug, "unwanted"));
        assert!(log.start().unwrap_err().en.starts_with("Cannot open log file: "));
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        log.start().unwrap();
        log.write(&event(Level::Notice, "two"));
        let text = std::fs::read_to_string(path).unwrap();
        let words: Vec<_> = text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(words, ["one", "two"]);
    }

    #[test]
    fn a_removed_folder_keeps_the_log_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/log");
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let log = Log::open(Settings { overwrite: true, ..settings(Some(path.clone())) }).unwrap();
        std::fs::remove_dir_all(dir.path().join("sub")).unwrap();
        assert!(log.reopen().unwrap_err().en.contains("its folder must exist"));
        log.write(&event(Level::Notice, "to the file that has no name any more"));
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        log.reopen().unwrap();
        log.write(&event(Level::Notice, "back"));
        assert!(std::fs::read_to_string(path).unwrap().ends_with("back\n"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_costs_lines_and_says_how_many() {
        let mut full = LogFile::open(Path::new("/dev/full"), false).unwrap();
        full.write("one\n", |_| String::new());
        full.write("two\n", |_| String::new());
        assert_eq!(full.lost, 2);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = LogFile { lost: full.lost, ..LogFile::open(&path, false).unwrap() };
        file.write("three\n", |lost| format!("{lost} lost\n"));
        file.write("four\n", |lost| format!("{lost} lost\n"));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "\n2 lost\nthree\nfour\n");
    }
}
