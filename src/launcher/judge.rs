//! What today's configuration would decide about an item that the ledger knows: `ledger why`.
//!
//! Not the decision itself, which falls while a message is read ([`stage`](super::stage)): here the same patterns are
//! asked about what the ledger kept of it, so that a look at an old item needs no source.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::stage::{refusal, rejection};
use crate::config::Launcher;
use crate::config::launcher::Take;
use crate::delivery::ledger::{Sheet, SheetPart, Stage};
use crate::model::Role;
use crate::text::Text;

/// What would be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The pattern of `filter_from` or `filter_subject` that leaves the item out, or the one that reached its limit.
    pub rejected: Option<Result<String, Text>>,
    /// It is larger than `max_size`.
    pub too_large: bool,
    /// It is older than `since`: its source does not list it.
    pub too_old: bool,
    /// For each of its documents.
    pub parts: Vec<Judgement>,
    /// Something would be taken that was not.
    pub more: bool,
    /// Something would be left out that was taken.
    pub less: bool,
}

/// What would be decided about a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Taken.
    Taken,
    /// This pattern leaves it out.
    Filtered(String),
    /// It is an inline part.
    Inline,
    /// `take` does not ask for it.
    Unwanted,
    /// A pattern reached its limit.
    Undecided(Text),
}

/// Judges an item by what is known of it.
pub fn judge(launcher: &Launcher, sheet: &Sheet) -> Verdict {
    let line = &sheet.line;
    // nothing is known of the sender of what was never looked at
    let looked_at = sheet.from.is_some() || line.subject.is_some() || sheet.message_id.is_some();
    let rejected = looked_at.then(|| rejection(launcher, sheet.from.as_deref(), line.subject.as_deref()));
    let rejected = rejected.and_then(Result::transpose);
    let too_large = line.size.is_some_and(|size| size > launcher.max_size);
    let parts: Vec<_> = sheet.parts.iter().map(|part| judge_part(launcher, part)).collect();
    let stage = line.stage.as_str();
    let barred = rejected.is_some() || too_large;
    let was_taken = |part: &SheetPart| part.decision == "taken";
    let both = || sheet.parts.iter().zip(&parts);
    let part_more = both().any(|(then, now)| *now == Judgement::Taken && is_left_out(then));
    let part_less = both().any(|(then, now)| *now != Judgement::Taken && was_taken(then));
    let empty = stage == Stage::Empty.as_str();
    let nothing_in_it = || sheet.parts.iter().all(|part| part.decision == "inline");
    let message = empty
        && !launcher.kind.is_dropped()
        && (launcher.take != Take::Attachments || (launcher.empty_message && nothing_in_it()));
    let unbarred = stage == Stage::Rejected.as_str() || is_refused_for_size(sheet, stage);
    Verdict {
        more: !barred && (part_more || message || unbarred),
        less: (barred && sheet.parts.iter().any(was_taken)) || part_less,
        too_old: is_too_old(launcher, sheet),
        rejected,
        too_large,
        parts,
    }
}

fn is_left_out(part: &SheetPart) -> bool {
    matches!(part.decision.as_str(), "filtered" | "inline")
}

/// Of what was refused for its size nothing was read, no digest is known.
fn is_refused_for_size(sheet: &Sheet, stage: &str) -> bool {
    let nothing_known = sheet.parts.is_empty() && sheet.message_id.is_none() && sheet.from.is_none();
    let undecodable = sheet.contents.is_some() && !sheet.line.reason.as_ref().is_some_and(names_max_size);
    stage == Stage::Quarantined.as_str() && nothing_known && !undecodable
}

/// An envelope that was refused for what it holds is refused again.
fn names_max_size(reason: &Text) -> bool {
    reason.en.contains("max_size")
}

fn judge_part(launcher: &Launcher, part: &SheetPart) -> Judgement {
    let mail = !launcher.kind.is_dropped();
    if mail && part.role == Role::Message.as_str() {
        return Judgement::Taken; // `filter` judges documents (contract, section 3)
    }
    if mail && launcher.take == Take::Message {
        return Judgement::Unwanted;
    }
    if mail && part.role == Role::Inline.as_str() && !launcher.inline {
        return Judgement::Inline;
    }
    match refusal(&launcher.filter, part.original_name.as_deref().unwrap_or_default()) {
        Ok(None) => Judgement::Taken,
        Ok(Some(pattern)) => Judgement::Filtered(pattern),
        Err(text) => Judgement::Undecided(text),
    }
}

fn is_too_old(launcher: &Launcher, sheet: &Sheet) -> bool {
    let date = sheet.received.or(sheet.date).and_then(|millis| u64::try_from(millis).ok());
    let date = date.and_then(|millis| UNIX_EPOCH.checked_add(Duration::from_millis(millis)));
    let first = launcher.since.and_then(crate::config::launcher::Since::first_moment);
    let older = |date: SystemTime| first.is_some_and(|first| date < first);
    date.is_some_and(older)
}
