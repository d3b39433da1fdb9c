//! The demonstration: the whole product on loopback, with nothing else needed.
//!
//! Not a mock-up: the ini is loaded, the tunnels and launchers run as in the service; only the mail server is a small
//! one of our own ([`mailbox`]). What happens is shown as it happens; at the end everything that was expected is
//! compared byte for byte, and anything missing or too many is a failure.

mod authority;
pub mod mailbox;
mod mails;
mod stage;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, Overrides};
use crate::event::{Event, Events, Level};
use crate::launcher::{self, Env, Report};
use crate::model::Digest;
use crate::supervisor::{self, Moment, Supervisor};
use crate::text;
use crate::text::{Lang, Text};

use mailbox::Mailbox;
use mails::{Expected, Mail};
use stage::{ACCOUNT, PASSWORD, Stage};

/// Runs the demonstration; answers the exit code: 1 when anything did not arrive as it should.
///
/// # Errors
/// The output cannot be written, or the temporary folder cannot be made.
pub fn run(keep: bool, lang: Lang, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let dir = tempfile::Builder::new().prefix("pertuis-demo-").tempdir()?;
    // absolute, because paths are shown; not canonical: Windows would write them as \\?\C:\…
    let folder = std::path::absolute(dir.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (sender, events) = mpsc::unbounded_channel();
    let sink = Events::to(move |event| {
        // once nobody shows them any more, there is nobody to tell
        let _ = sender.send(event);
    });
    let mut show = Show { lang, out, err, events, sink };
    let code = runtime.block_on(show.play(&folder, keep));
    runtime.shutdown_timeout(Duration::from_secs(1));
    if keep {
        // from here on it is the user's
        let _ = dir.keep();
    }
    code
}

/// Who shows what happens.
struct Show<'a> {
    lang: Lang,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    events: mpsc::UnboundedReceiver<Event>,
    sink: Events,
}

impl Show<'_> {
    async fn play(&mut self, folder: &Path, keep: bool) -> io::Result<u8> {
        let mailbox = Mailbox::start(ACCOUNT, PASSWORD).await?;
        let stage = Stage::set(folder, mailbox.address(), self.lang)?;
        let mails = mails::mails();
        self.fill(&stage, &mailbox, &mails)?;
        let Some(config) = self.load(&stage.ini)? else { return Ok(1) };
        let Some(supervisor) = self.tunnels(&config).await? else { return Ok(1) };
        let read = self.old_client(stage.plain, mails.len()).await?;
        let first = self.cycle(&config, text!("First cycle of the launchers", "Premier cycle des lanceurs")).await?;
        let second = self
            .cycle(
                &config,
                text!("Second cycle: nothing is delivered twice", "Second cycle : rien n'est livré deux fois"),
            )
            .await?;
        let arrived = self.tree(&stage, &mails)?;
        let good = read && first.iter().chain(&second).all(Report::is_success) && arrived && idle(&second);
        self.verdict(good)?;
        if keep {
            self.leave(&stage).await?;
        }
        supervisor.stop(Duration::from_secs(1), std::future::pending()).await;
        drop(mailbox);
        Ok(u8::from(!good))
    }

    /// Mails into the mailbox, files into the folder.
    fn fill(&mut self, stage: &Stage, mailbox: &Mailbox, mails: &[Mail]) -> io::Result<()> {
        let address = mailbox.address();
        self.title(&text!("A mailbox on {address}", "Une boîte aux lettres sur {address}"))?;
        for Mail { subject, bytes, documents } in mails {
            mailbox.append("INBOX", bytes);
            let (size, count) = (human(bytes.len() as u64, self.lang), documents.len());
            self.line(&text!(
                "“{subject}”, {size}, {count} document(s)",
                "« {subject} », {size}, {count} document(s)"
            ))?;
        }
        self.title(&text!("Two files dropped by a scanner", "Deux fichiers déposés par un scanner"))?;
        for mails::Drop { name, bytes } in mails::drops() {
            std::fs::write(stage.drop.join(name), &bytes)?;
            let size = human(bytes.len() as u64, self.lang);
            self.line(&Text::same(format!("{name}, {size}")))?;
        }
        Ok(())
    }

    fn load(&mut self, ini: &Path) -> io::Result<Option<Config>> {
        let loaded = config::load(ini, &Overrides { program_is_stunnel: false, lang: self.lang });
        match loaded {
            Ok(config) => Ok(Some(config)),
            Err(mistakes) => {
                mistakes.iter().try_for_each(|mistake| writeln!(self.err, "{}", mistake.line(self.lang)))?;
                Ok(None)
            }
        }
    }

    /// The tunnels run as in the service; the launchers get their cycles one by one, to be watched.
    async fn tunnels(&mut self, config: &Config) -> io::Result<Option<Supervisor>> {
        self.title(&text!(
            "Two tunnels back to back: plain → TLS → plain",
            "Deux tunnels dos à dos : clair → TLS → clair"
        ))?;
        // the launchers' folders and certificates are checked too
        let checked = supervisor::prepare(config.clone(), &Events::nowhere(), Moment::Start);
        let tunnels = Config { launchers: Vec::new(), ..config.clone() };
        match checked.and_then(|_| supervisor::prepare(tunnels, &self.sink, Moment::Start)) {
            Ok(prepared) => {
                let supervisor = Supervisor::start(prepared, self.sink.clone());
                supervisor.settled(Duration::from_secs(5)).await;
                self.drain()?;
                Ok(Some(supervisor))
            }
            Err(mistakes) => {
                mistakes.iter().try_for_each(|mistake| writeln!(self.err, "{}", mistake.line(self.lang)))?;
                Ok(None)
            }
        }
    }

    /// A program from before TLS reads the mailbox through both tunnels.
    async fn old_client(&mut self, address: SocketAddr, mails: usize) -> io::Result<bool> {
        self.title(&text!(
            "An old program that knows no TLS, on {address}",
            "Un vieux programme qui ignore TLS, sur {address}"
        ))?;
        let talk = tokio::time::timeout(PATIENCE, converse(address));
        let dialogue = match talk.await.map_err(io::Error::from).flatten() {
            Ok(dialogue) => dialogue,
            Err(error) => {
                self.line(&text!("failed: {error}", "échec : {error}"))?;
                return Ok(false);
            }
        };
        for line in &dialogue {
            self.line(&Text::same(line))?;
        }
        self.drain()?;
        Ok(dialogue.iter().any(|line| line.ends_with(&format!("* {mails} EXISTS"))))
    }

    /// One cycle of each launcher, with what it tells.
    async fn cycle(&mut self, config: &Config, title: Text) -> io::Result<Vec<Report>> {
        self.title(&title)?;
        let stop = CancellationToken::new();
        let env = Env::new(config.global.state.clone(), self.sink.clone());
        let mut reports = Vec::new();
        for launcher in &config.launchers {
            let cycle = launcher::once(launcher, &env, false, &stop);
            tokio::pin!(cycle);
            let report = loop {
                tokio::select! {
                    biased;
                    Some(event) = self.events.recv() => self.event(&event)?,
                    outcome = &mut cycle => break outcome.report,
                }
            };
            self.drain()?;
            reports.push(report);
        }
        Ok(reports)
    }

    /// What lies in the delivery directory, compared with what was sent.
    fn tree(&mut self, stage: &Stage, mails: &[Mail]) -> io::Result<bool> {
        let folder = stage.deliver.display();
        self.title(&text!("Delivered into {folder}", "Livré dans {folder}"))?;
        let mut missing = expected(mails);
        let mut good = true;
        for (name, path) in listing(&stage.deliver)? {
            let bytes = std::fs::read(path)?;
            let size = human(bytes.len() as u64, self.lang);
            let right = missing.remove(&name) == Some(Digest::of(&bytes));
            good &= right;
            let mark = if right { "✓" } else { "✗" };
            writeln!(self.out, "  {mark} {size:>10}  {name}")?;
        }
        for name in missing.keys() {
            good = false;
            self.line(&text!("✗ missing: {name}", "✗ manque : {name}"))?;
        }
        Ok(good)
    }

    fn verdict(&mut self, good: bool) -> io::Result<()> {
        let text = if good {
            text!(
                "\nEverything arrived once, byte for byte (SHA-256 compared).",
                "\nTout est arrivé une seule fois, octet pour octet (SHA-256 comparés)."
            )
        } else {
            text!("\nNot everything arrived as it should.", "\nTout n'est pas arrivé comme prévu.")
        };
        writeln!(self.out, "{}", text.get(self.lang))
    }

    /// Says what can be tried. On a terminal the mailbox and the tunnels stay up until Ctrl-C.
    async fn leave(&mut self, stage: &Stage) -> io::Result<()> {
        let (dir, ini) = (stage.dir.display(), stage.ini.display());
        let (drop, program) = (stage.drop.display(), program());
        let (mail, file) = if self.lang == Lang::Fr { ("courriel", "FICHIER") } else { ("mail", "FILE") };
        self.title(&text!("The folder stays: {dir}", "Le dossier reste : {dir}"))?;
        let commands = [
            format!("{program} -c {ini} check --explain"),
            format!("{program} -c {ini} ledger list"),
            format!("cp {file} {drop}; {program} -c {ini} fetch scanner"),
        ];
        commands.iter().try_for_each(|command| writeln!(self.out, "  {command}"))?;
        if !io::stdin().is_terminal() {
            let text = text!(
                "The mailbox ends now: a fetch of [{mail}] says so.",
                "La boîte s'arrête maintenant : une relève de [{mail}] le dira."
            );
            return self.line(&text);
        }
        writeln!(self.out, "  {program} -c {ini} fetch {mail}")?;
        let text = text!(
            "\nMailbox and tunnels stay up for other terminals; Ctrl-C ends them.",
            "\nBoîte et tunnels restent disponibles pour d'autres terminaux ; Ctrl-C les arrête."
        );
        writeln!(self.out, "{}", text.get(self.lang))?;
        self.out.flush()?;
        let end = tokio::signal::ctrl_c();
        tokio::pin!(end);
        loop {
            tokio::select! {
                ended = &mut end => return ended,
                Some(event) = self.events.recv() => self.event(&event)?,
            }
        }
    }

    fn title(&mut self, text: &Text) -> io::Result<()> {
        writeln!(self.out, "\n{}", text.get(self.lang))
    }

    fn line(&mut self, text: &Text) -> io::Result<()> {
        writeln!(self.out, "  {}", text.get(self.lang))
    }

    /// Shows what was told so far.
    fn drain(&mut self) -> io::Result<()> {
        while let Ok(event) = self.events.try_recv() {
            self.event(&event)?;
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        // single connections would drown the rest
        let shown = if event.connection.is_some() { Level::Warning } else { Level::Info };
        if event.level > shown {
            return Ok(());
        }
        let name = event.service.as_ref().map(ToString::to_string).unwrap_or_default();
        writeln!(self.out, "  {name:>9} │ {}", event.text.get(self.lang))
    }
}

/// How this program was called, so that what is shown can be pasted also where it is not installed.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "pertuis".to_owned())
}

/// Greeting, login, number of mails.
async fn converse(address: SocketAddr) -> io::Result<Vec<String>> {
    let (read, mut write) = TcpStream::connect(address).await?.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut dialogue = Vec::new();
    let greeting = lines.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    dialogue.push(format!("← {greeting}"));
    let commands =
        [("a", format!("LOGIN {ACCOUNT} {PASSWORD}")), ("b", "EXAMINE INBOX".to_owned()), ("c", "LOGOUT".to_owned())];
    for (tag, command) in commands {
        write.write_all(format!("{tag} {command}\r\n").as_bytes()).await?;
        dialogue.push(format!("→ {tag} {}", command.replace(PASSWORD, "***")));
        while let Some(line) = lines.next_line().await? {
            let done = line.starts_with(&format!("{tag} "));
            if done || line.ends_with("EXISTS") {
                dialogue.push(format!("← {line}"));
            }
            if done {
                break;
            }
        }
    }
    Ok(dialogue)
}

fn expected(mails: &[Mail]) -> BTreeMap<String, Digest> {
    let mails = mails.iter().flat_map(|mail| &mail.documents).map(|Expected { name, digest }| (*name, *digest));
    let drops = mails::drops().into_iter().map(|drop| (drop.name, Digest::of(&drop.bytes)));
    mails.chain(drops).map(|(name, digest)| (name.to_owned(), digest)).collect()
}

/// Whether a cycle delivered nothing.
fn idle(reports: &[Report]) -> bool {
    reports.iter().all(|report| report.items.delivered == 0 && report.files.delivered == 0)
}

fn listing(dir: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let entries = std::fs::read_dir(dir)?;
    entries.map(|entry| entry.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))).collect()
}

fn human(bytes: u64, lang: Lang) -> String {
    let (unit, kilo, mega) = match lang {
        Lang::En => ("bytes", "KB", "MB"),
        Lang::Fr => ("octets", "Ko", "Mo"),
    };
    match bytes {
        0..1_000 => format!("{bytes} {unit}"),
        1_000..1_000_000 => format!("{} {kilo}", bytes / 1_000),
        _ => format!("{}.{} {mega}", bytes / 1_000_000, bytes / 100_000 % 10)
            .replace('.', if lang == Lang::Fr { "," } else { "." }),
    }
}

/// Longer than two tunnels on one machine take.
const PATIENCE: Duration = Duration::from_secs(10);
