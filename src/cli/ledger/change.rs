//! `ledger retry|forget|adopt|rename`: what an administrator changes.

use std::io;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{Desk, choose};
use crate::config::Launcher;
use crate::config::launcher::Kind;
use crate::delivery::ledger::{Forgotten, Ledger, Sheet, Which, names};
use crate::delivery::lock::Lock;
use crate::launcher::{self, Env};
use crate::model::{Code, Fault, ServiceName};
use crate::text;
use crate::text::Text;

impl Desk<'_> {
    /// Marks one item to be taken again.
    pub(super) fn retry_one(&mut self, name: &str, key: &str) -> io::Result<u8> {
        if let Err(text) = self.launcher(name) {
            return self.complain(&text, 2);
        }
        self.with_item(name, key, |desk, sheet| {
            let short = &sheet.line.key;
            match desk.mark(name, &[Which::Short(short)]) {
                Ok(0) => desk.complain(&not_marked(short), 1),
                result => desk.told_marked(name, result),
            }
        })
    }

    /// Marks all items of these kinds to be taken again.
    pub(super) fn retry_all(&mut self, name: &str, quarantined: bool, empty: bool, rejected: bool) -> io::Result<u8> {
        if let Err(text) = self.launcher(name) {
            return self.complain(&text, 2);
        }
        let all = [(quarantined, Which::Quarantined), (empty, Which::Empty), (rejected, Which::Rejected)];
        let which: Vec<_> = all.into_iter().filter(|(asked, _)| *asked).map(|(_, which)| which).collect();
        let marked = if self.path.exists() { self.mark(name, &which) } else { Ok(0) };
        self.told_marked(name, marked)
    }

    /// No lock: a running cycle goes on, and the next one sees the marks.
    fn mark(&self, name: &str, which: &[Which<'_>]) -> Result<usize, Fault> {
        let mut ledger = Ledger::open(&self.config.global.state, &ServiceName::new(name))?;
        which.iter().map(|which| ledger.retry(*which)).sum()
    }

    fn told_marked(&mut self, name: &str, marked: Result<usize, Fault>) -> io::Result<u8> {
        match marked {
            Ok(count) => {
                self.say(&text!(
                    "{name}: {count} item(s) marked; the next cycle takes them again (at once: `pertuis fetch {name}`)",
                    "{name} : {count} élément(s) marqués ; le prochain cycle les reprend (tout de suite : `pertuis fetch {name}`)"
                ))?;
                Ok(0)
            }
            Err(fault) => self.finish(Err(fault)),
        }
    }

    /// Forgets an item.
    pub(super) fn forget(&mut self, sheet: &Sheet) -> io::Result<u8> {
        let (state, name, short) = (&self.config.global.state, &sheet.line.launcher, &sheet.line.key);
        let service = ServiceName::new(name);
        let forgotten = Lock::take(state, &service)
            .and_then(|_lock| Ledger::open(state, &service)?.forget(short))
            .and_then(|forgotten| if forgotten == Forgotten::UnderWay { Err(under_way(short)) } else { Ok(()) });
        if forgotten.is_ok() {
            let kind = self.launcher(name).ok().map(|launcher| launcher.kind);
            self.say(&after_forget(name, short, kind))?;
        }
        self.finish(forgotten)
    }

    /// Marks what is at the source as done.
    pub(super) fn adopt(&mut self, name: &str, before: Option<Date>) -> io::Result<u8> {
        let launcher = match self.launcher(name) {
            Ok(launcher) => launcher,
            Err(text) => return self.complain(&text, 2),
        };
        let env = self.env();
        let before = before.and_then(|day| day.to_zoned(TimeZone::system()).ok()).map(|day| day.timestamp().into());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let adopted = runtime.block_on(async {
            let mut source = launcher::source(launcher, &env);
            launcher::adopt(launcher, &env, source.as_mut(), before).await
        });
        if let Ok(count) = &adopted {
            self.say(&text!(
                "{name}: {count} item(s) marked as done, none delivered",
                "{name} : {count} élément(s) marqués comme faits, aucun livré"
            ))?;
        }
        self.finish(adopted.map(drop))
    }

    /// Gives a section the history of its old name.
    pub(super) fn rename(&mut self, old: &str, new: &str) -> io::Result<u8> {
        let launcher = match self.launcher(new) {
            Ok(launcher) => launcher,
            Err(text) => return self.complain(&text, 2),
        };
        match names(&self.path) {
            Ok(known) if known.iter().any(|(known, _)| known == old) => {}
            Ok(_) => return self.complain(&unknown_name(old), 2),
            Err(fault) => return self.finish(Err(fault)),
        }
        if self.launcher(old).is_ok() {
            return self.complain(&still_there(old), 2);
        }
        let renamed = launcher::rename(launcher, &self.env(), &ServiceName::new(old));
        if renamed.is_ok() {
            self.say(&text!("{old} is {new} from now on", "{old} s'appelle désormais {new}"))?;
        }
        self.finish(renamed)
    }

    fn env(&self) -> Env {
        Env::new(self.config.global.state.clone(), self.events.clone())
    }

    pub(super) fn launcher(&self, name: &str) -> Result<&'_ Launcher, Text> {
        choose(self.config, &[name.to_owned()]).map(|launchers| launchers[0])
    }
}

fn not_marked(short: &str) -> Text {
    text!(
        "{short}: not marked: it is about to be delivered, or its source lists it anew as another item",
        "{short} : pas marqué : il est en cours de livraison, ou sa source l'annonce à nouveau comme un autre élément"
    )
}

fn under_way(short: &str) -> Fault {
    let text = text!(
        "{short}: its documents are on their way; the next cycle delivers them, forget it after that",
        "{short} : ses documents sont en route ; le prochain cycle les livre, oubliez-le ensuite"
    );
    Fault::new(Code::Ledger, text)
}

fn after_forget(name: &str, short: &str, kind: Option<Kind>) -> Text {
    match kind {
        Some(Kind::Imap) => text!(
            "{name}: {short} is forgotten. A mailbox lists only what is newer than what was seen, so it does not come again by itself; `ledger retry` would have had it delivered again",
            "{name} : {short} est oublié. Une boîte n'annonce que ce qui est plus récent que ce qui a été vu : il ne reviendra pas de lui-même ; c'est `ledger retry` qui l'aurait fait livrer à nouveau"
        ),
        _ => text!(
            "{name}: {short} is forgotten; if it is still at its source, the next cycle takes it as new",
            "{name} : {short} est oublié ; s'il est encore à sa source, le prochain cycle le prend comme nouveau"
        ),
    }
}

fn unknown_name(old: &str) -> Text {
    text!(
        "the ledger knows no launcher {old}; `pertuis ledger list` shows their names",
        "le registre ne connaît aucun lanceur {old} ; `pertuis ledger list` montre leurs noms"
    )
}

fn still_there(old: &str) -> Text {
    text!(
        "{old} is still a section of the file: without its history it would deliver everything again. Rename the section first",
        "{old} est encore une section du fichier : sans son historique elle livrerait tout à nouveau. Renommez d'abord la section"
    )
}
