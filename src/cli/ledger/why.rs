//! `ledger why`: what was decided about an item then, and what today's configuration would decide.

use std::io::{self, Write};

use super::{Desk, day, plain, title, word};
use crate::config::Launcher;
use crate::delivery::ledger::{Sheet, SheetPart};
use crate::launcher::{Judgement, Verdict, judge};
use crate::text;
use crate::text::{Lang, Text};

impl Desk<'_> {
    /// Tells why an item was taken or left out.
    pub(super) fn why(&mut self, sheet: &Sheet) -> io::Result<u8> {
        let line = &sheet.line;
        writeln!(self.out, "{}  {}  {}", line.launcher, line.key, plain(&title(line)))?;
        self.then(sheet)?;
        let launcher = match self.launcher(&line.launcher) {
            Ok(launcher) => launcher.clone(),
            Err(text) => return self.complain(&text, 0),
        };
        let verdict = judge(&launcher, sheet);
        self.today(&launcher, sheet, &verdict)?;
        let file = self.config.path.display();
        let text = advice(sheet, &verdict, &file.to_string());
        self.say(&text)?;
        Ok(0)
    }

    fn then(&mut self, sheet: &Sheet) -> io::Result<()> {
        let (line, lang) = (&sheet.line, self.lang);
        let (when, stage) = (day(line.recorded), word(&line.stage, lang));
        writeln!(self.out, "{}", text!("Then ({when}): {stage}", "Alors ({when}) : {stage}").get(lang))?;
        if let Some(text) = explanation(&line.stage, sheet.parts.is_empty()) {
            writeln!(self.out, "  {}", text.get(lang))?;
        }
        if let Some(reason) = &line.reason {
            for reason in reason.get(lang).lines() {
                writeln!(self.out, "  {}", plain(reason))?;
            }
        }
        sheet.parts.iter().filter(|part| part.n > 0).try_for_each(|part| {
            let decision = decided(part);
            let decision = decision.get(lang);
            part_line(self.out, part, decision, lang)
        })
    }

    fn today(&mut self, launcher: &Launcher, sheet: &Sheet, verdict: &Verdict) -> io::Result<()> {
        let lang = self.lang;
        writeln!(self.out, "{}", text!("Today:", "Aujourd'hui :").get(lang))?;
        for text in barriers(launcher, sheet, verdict) {
            writeln!(self.out, "  {}", plain(text.get(lang)))?;
        }
        for (part, judgement) in sheet.parts.iter().zip(&verdict.parts).filter(|(part, _)| part.n > 0) {
            let judgement = judged(judgement);
            part_line(self.out, part, judgement.get(lang), lang)?;
        }
        Ok(())
    }
}

fn part_line(out: &mut dyn Write, part: &SheetPart, decision: &str, lang: Lang) -> io::Result<()> {
    let (name, colon) = (plain(part.original_name.as_deref().unwrap_or_default()), text!(":", " :"));
    writeln!(out, "  {}. {name}{} {}", part.n, colon.get(lang), plain(decision))
}

/// What the word of a stage does not say.
fn explanation(stage: &str, no_parts: bool) -> Option<Text> {
    match stage {
        "empty" if no_parts => Some(text!("no document was in it", "aucun document ne s'y trouvait")),
        "adopted" => Some(text!(
            "`ledger adopt` marked it as done; nothing of it was looked at",
            "`ledger adopt` l'a marqué comme fait ; rien n'en a été regardé"
        )),
        "failed" => Some(text!(
            "it is tried again by each cycle, and goes to quarantine after the third failure in a row",
            "chaque cycle le réessaie ; au troisième échec de suite il part en quarantaine"
        )),
        _ => None,
    }
}

fn decided(part: &SheetPart) -> Text {
    let pattern = part.filter.as_deref().unwrap_or_default();
    match part.decision.as_str() {
        "taken" => {
            let name = part.name.as_deref().unwrap_or_default();
            text!("taken, delivered as {name}", "pris, livré sous le nom {name}")
        }
        "filtered" => text!("left out by filter = {pattern}", "écarté par filter = {pattern}"),
        "inline" => left_out_inline(),
        _ => text!("damaged, in quarantine", "abîmé, en quarantaine"),
    }
}

fn judged(judgement: &Judgement) -> Text {
    match judgement {
        Judgement::Taken => text!("taken by filter", "pris par filter"),
        Judgement::Filtered(pattern) => text!("left out by filter = {pattern}", "écarté par filter = {pattern}"),
        Judgement::Inline => left_out_inline(),
        Judgement::Unwanted => text!("left out by take = message", "écarté par take = message"),
        Judgement::Undecided(text) => text.clone(),
    }
}

fn left_out_inline() -> Text {
    text!("left out: an inline part, with inline = no", "écarté : une partie incorporée, avec inline = no")
}

/// What is decided about the item as a whole.
fn barriers(launcher: &Launcher, sheet: &Sheet, verdict: &Verdict) -> Vec<Text> {
    let mut texts = Vec::new();
    let (size, most) = (sheet.line.size.unwrap_or_default(), launcher.max_size);
    match &verdict.rejected {
        Some(Ok(pattern)) => texts.push(text!("left out by {pattern}", "écarté par {pattern}")),
        Some(Err(text)) => texts.push(text.clone()),
        None => texts.extend(taken_by(launcher, sheet)),
    }
    if verdict.too_large {
        texts
            .push(text!("too large: {size} bytes, max_size = {most}", "trop grand : {size} octets, max_size = {most}"));
    }
    if verdict.too_old {
        texts.push(text!(
            "older than since: its source no longer lists it",
            "antérieur à depuis : sa source ne l'annonce plus"
        ));
    }
    if texts.is_empty() {
        texts.push(text!("nothing leaves it out as a whole", "rien ne l'écarte en entier"));
    }
    texts
}

/// The patterns that find what they look for.
fn taken_by(launcher: &Launcher, sheet: &Sheet) -> Vec<Text> {
    let looked_at = sheet.from.is_some() || sheet.line.subject.is_some();
    let from = launcher.filter_from.iter().map(|pattern| ("filter_from", pattern, &sheet.from));
    let subject = launcher.filter_subject.iter().map(|pattern| ("filter_subject", pattern, &sheet.line.subject));
    let text = |(option, pattern, found): (&str, &crate::config::pattern::Pattern, &Option<String>)| {
        let (pattern, found) = (&pattern.text, found.as_deref().unwrap_or_default());
        text!("taken by {option} = {pattern}: {found}", "pris par {option} = {pattern} : {found}")
    };
    from.chain(subject).filter(|_| looked_at).map(text).collect()
}

fn advice(sheet: &Sheet, verdict: &Verdict, file: &str) -> Text {
    let line = &sheet.line;
    let (name, key) = (&line.launcher, &line.key);
    if line.retry {
        return text!("The next cycle takes it again.", "Le prochain cycle le reprend.");
    }
    match line.stage.as_str() {
        "failed" | "recorded" => text!("The next cycle goes on with it.", "Le prochain cycle le poursuit."),
        _ if verdict.more => text!(
            "{file} takes more than was taken then; that reaches old items only through `pertuis ledger retry {name} {key}`",
            "{file} prend plus que ce qui a été pris alors ; les anciens éléments n'en profitent que par `pertuis ledger retry {name} {key}`"
        ),
        "adopted" | "quarantined" => text!(
            "`pertuis ledger retry {name} {key}` has it taken again",
            "`pertuis ledger retry {name} {key}` le fait reprendre"
        ),
        _ if verdict.less => text!(
            "{file} would take less today; what was delivered stays delivered",
            "{file} prendrait moins aujourd'hui ; ce qui est livré reste livré"
        ),
        _ => text!("{file} decides today as it was decided then", "{file} décide aujourd'hui comme alors"),
    }
}
