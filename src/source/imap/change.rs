//! What is done to messages at the server once they are delivered: flags, move, delete.
//!
//! Not when: the launcher says so, maybe days later. Everything is repeatable, and nothing but the named messages is
//! touched: flags are added, never set; `\Deleted` of other programs survives (UID EXPUNGE, RFC 4315; no CLOSE).

use std::collections::BTreeSet;

use super::session::Session;
use super::trouble::{passing, refused, words};
use crate::model::{Code, Disposition, Fault};
use crate::proto::imap::names;
use crate::proto::imap::response::{Kind, Status};
use crate::proto::imap::sets::{Set, sets};
use crate::source::SourceError;
use crate::text;

/// Does `what` to `uids` of the open folder; returns those for which it is done.
pub(super) async fn change(
    session: &mut Session,
    uids: &[u32],
    what: &Disposition,
) -> Result<BTreeSet<u32>, SourceError> {
    let target = match what {
        Disposition::Move(folder) => Some(move_target(session, folder).await?),
        _ => None,
    };
    let mut done = BTreeSet::new();
    for set in sets(uids, TOGETHER) {
        let outcome = match (what, &target) {
            (Disposition::Leave, _) => Ok(()),
            (Disposition::Seen, _) => store(session, &set, "\\Seen").await?,
            (Disposition::Flag, _) => store(session, &set, "\\Flagged").await?,
            (Disposition::Delete, _) => delete(session, &set).await?,
            (Disposition::Move(_), Some(target)) => relocate(session, &set, target).await?,
            (Disposition::Category(_) | Disposition::Move(_), _) => return Err(no_category()),
        };
        match outcome {
            Ok(()) => done.extend(&set.uids),
            Err(status) => not_done(session, &set, &status)?,
        }
    }
    Ok(done)
}

/// The server's name of the target, which must not be the source: each message would come back as a new one.
async fn move_target(session: &mut Session, folder: &str) -> Result<String, SourceError> {
    let target = session.target(folder).await?;
    match &session.selected {
        Some(selected) if target.is_among(std::slice::from_ref(&selected.name), false, "") => {
            Err(would_come_back(session.wire.host(), folder))
        }
        _ => Ok(target.name),
    }
}

/// `after = move` names a folder that is read.
pub(super) fn would_come_back(host: &str, folder: &str) -> SourceError {
    let text = text!(
        "{host}: `move {folder}` names a folder that is read; each message would come back as new: name one outside of `source`",
        "{host} : `move {folder}` désigne un dossier qui est lu ; chaque message reviendrait comme nouveau : nommez-en un hors \
         de `source`"
    );
    SourceError::Mailbox(Fault::new(Code::Config, text))
}

/// A command over a set; inside, its refusal.
async fn try_run(session: &mut Session, line: &str) -> Result<Result<(), Status>, SourceError> {
    let reply = session.wire.command(line).await?;
    Ok(if reply.status.kind == Kind::Ok { Ok(()) } else { Err(reply.status) })
}

async fn store(session: &mut Session, set: &Set, flag: &str) -> Result<Result<(), Status>, SourceError> {
    try_run(session, &format!("UID STORE {} +FLAGS.SILENT ({flag})", set.text)).await
}

async fn delete(session: &mut Session, set: &Set) -> Result<Result<(), Status>, SourceError> {
    if let Err(status) = store(session, set, "\\Deleted").await? {
        return Ok(Err(status));
    }
    if session.has("UIDPLUS") {
        return try_run(session, &format!("UID EXPUNGE {}", set.text)).await;
    }
    expunge_without_uidplus(session, set).await
}

/// EXPUNGE removes whatever is marked: only where nothing else is.
async fn expunge_without_uidplus(session: &mut Session, set: &Set) -> Result<Result<(), Status>, SourceError> {
    let marked = super::discover::search(session, "DELETED").await?;
    let ours: BTreeSet<u32> = set.uids.iter().copied().collect();
    let foreign = marked.iter().filter(|uid| !ours.contains(uid)).count();
    if foreign == 0 {
        return try_run(session, "EXPUNGE").await;
    }
    let host = session.wire.host();
    let text = text!(
        "{host} has no UID EXPUNGE and {foreign} other messages are marked as deleted: ours are left marked, not removed",
        "{host} n'a pas UID EXPUNGE et {foreign} autres messages sont marqués supprimés : les nôtres restent marqués sans \
         être effacés"
    );
    session.warn("imap_left_marked", text);
    Ok(Ok(()))
}

/// MOVE (RFC 6851), else COPY and delete. A target that is missing is made.
async fn relocate(session: &mut Session, set: &Set, target: &str) -> Result<Result<(), Status>, SourceError> {
    if session.has("MOVE") {
        return transfer(session, "MOVE", set, target).await;
    }
    // what is marked was copied before an interruption: a copy that cannot be finished is not made again and again
    let marked = super::discover::search(session, &format!("DELETED UID {}", set.text)).await?;
    let left: Vec<u32> = set.uids.iter().copied().filter(|uid| !marked.contains(uid)).collect();
    for part in sets(&left, TOGETHER) {
        if let Err(status) = transfer(session, "COPY", &part, target).await? {
            return Ok(Err(status));
        }
    }
    if let Err(status) = delete(session, set).await? {
        if passing(session.wire.host(), &status).is_some() {
            return Ok(Err(status));
        }
        let (host, said, uids) = (session.wire.host(), words(&status), &set.text);
        let text = text!(
            "{host}: messages {uids} were copied, but cannot be deleted here ({said}); they are left, and not copied again",
            "{host} : messages {uids} copiés, mais impossibles à supprimer ici ({said}) ; ils restent, et ne seront plus copiés"
        );
        session.warn("imap_left_behind", text);
    }
    Ok(Ok(()))
}

/// MOVE or COPY to `target`, which is made if it is missing.
async fn transfer(
    session: &mut Session,
    verb: &str,
    set: &Set,
    target: &str,
) -> Result<Result<(), Status>, SourceError> {
    let line = format!("UID {verb} {} {}", set.text, names::quote(target));
    let outcome = try_run(session, &line).await?;
    match &outcome {
        Err(status)
            if status.kind == Kind::No
                && passing(session.wire.host(), status).is_none()
                && make_folder(session, target).await? =>
        {
            try_run(session, &line).await
        }
        _ => Ok(outcome),
    }
}

/// Makes and subscribes a folder; `false` where it cannot be made, for one because it is there.
async fn make_folder(session: &mut Session, target: &str) -> Result<bool, SourceError> {
    let quoted = names::quote(target);
    if try_run(session, &format!("CREATE {quoted}")).await?.is_err() {
        return Ok(false);
    }
    // a folder that is not subscribed is there all the same
    let _ = try_run(session, &format!("SUBSCRIBE {quoted}")).await?;
    let (host, folder) = (session.wire.host(), names::show(target));
    let text = text!("{host}: folder {folder} was missing and has been made", "{host} : dossier {folder} absent, créé");
    session.wire.tell(crate::event::Level::Notice, "imap_folder_created", text);
    Ok(true)
}

fn not_done(session: &Session, set: &Set, status: &Status) -> Result<(), SourceError> {
    let host = session.wire.host();
    if let Some(error) = passing(host, status) {
        return Err(error);
    }
    if status.kind != Kind::No {
        return Err(refused(host, "UID STORE/MOVE/EXPUNGE", status));
    }
    let (said, uids) = (words(status), &set.text);
    let text = text!(
        "{host} refuses to change messages {uids}: {said}; trying again at the next cycle",
        "{host} refuse de modifier les messages {uids} : {said} ; nouvel essai au prochain cycle"
    );
    session.warn("imap_change_refused", text);
    Ok(())
}

fn no_category() -> SourceError {
    let text = text!("an IMAP mailbox has no categories", "une boîte IMAP n'a pas de catégories");
    SourceError::Mailbox(Fault::new(Code::Config, text))
}

/// Messages changed by one command.
const TOGETHER: usize = 500;
