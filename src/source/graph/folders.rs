//! Which folders of a mailbox are meant: by well-known name, by path, by id, a whole tree.
//!
//! Not a cache: a folder is looked for again in each cycle. Graph has no paths (`mailFolder`, v1.0), so a path is walked one
//! listing for each level, with all folders that fit so far: there may be several of one name. Well-known names hold in
//! every language; what people read on their screen is a display name.

use reqwest::Method;
use serde_json::json;
use unicode_normalization::UnicodeNormalization as _;

use super::client::Client;
use super::json::{MailFolder, Page};
use crate::model::{Code, Fault};
use crate::source::SourceError;
use crate::text;

/// A folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folder {
    pub(super) id: String,
    /// Display names from the top, a slash within a name as `\/`.
    pub(super) path: String,
    pub(super) parent: Option<String>,
    pub(super) count: Option<u64>,
    children: bool,
    hidden: bool,
}

impl Folder {
    fn of(found: MailFolder, above: &str) -> Self {
        let name = found.display_name.unwrap_or_else(|| found.id.clone()).replace('/', "\\/");
        let path = if above.is_empty() { name } else { format!("{above}/{name}") };
        Self {
            id: found.id,
            path,
            parent: found.parent_folder_id,
            count: found.total_item_count,
            children: found.child_folder_count != Some(0),
            hidden: found.is_hidden == Some(true),
        }
    }

    fn name(&self) -> String {
        segments(&self.path).pop().unwrap_or_default()
    }
}

impl Client {
    /// The folder that a user wrote as `name`.
    ///
    /// # Errors
    /// None of that name, or several (code `folder`), naming what is there.
    pub(super) async fn folder(&self, name: &str) -> Result<Folder, SourceError> {
        match self.look_for(name).await? {
            Looked::Found(folder) => Ok(folder),
            Looked::Missing { there, .. } => Err(self.no_folder(name, &there)),
            Looked::Several(folders) => Err(self.several(name, &folders)),
        }
    }

    /// The folder with this id, or of this well-known name; `None` where there is none.
    pub(super) async fn folder_by_id(&self, id: &str) -> Result<Option<Folder>, SourceError> {
        let request = self.get(&["mailFolders", id], FOLDER);
        match self.json::<MailFolder>(&request).await? {
            Ok(found) => Ok(Some(Folder::of(found, ""))),
            Err(refusal) if refusal.is_gone() && !refusal.is_no_mailbox() => Ok(None),
            Err(refusal) => Err(refusal.error()),
        }
    }

    /// Where messages go that are to be moved to `name`; what is missing of its path is made.
    pub(super) async fn target(&self, name: &str) -> Result<Folder, SourceError> {
        match self.look_for_target(name).await? {
            Looked::Missing { above, rest, .. } => self.make(name, above, &rest).await,
            Looked::Found(folder) => Ok(folder),
            Looked::Several(folders) => Err(self.several(name, &folders)),
        }
    }

    /// The same, nothing made: where it is missing, the folder below which it would be made (`None`: the root), and false.
    pub(super) async fn leads_to(&self, name: &str) -> Result<(Option<Folder>, bool), SourceError> {
        match self.look_for_target(name).await? {
            Looked::Missing { above, .. } => Ok((above, false)),
            Looked::Found(folder) => Ok((Some(folder), true)),
            Looked::Several(folders) => Err(self.several(name, &folders)),
        }
    }

    /// An id that is not there is not the name of a folder to be made.
    async fn look_for_target(&self, name: &str) -> Result<Looked, SourceError> {
        match self.look_for(name).await? {
            Looked::Missing { there, .. } if looks_like_id(name) => Err(self.no_folder(name, &there)),
            looked => Ok(looked),
        }
    }

    async fn make(&self, name: &str, above: Option<Folder>, rest: &[String]) -> Result<Folder, SourceError> {
        let mut above = above;
        for segment in rest {
            let body = Some(json!({ "displayName": segment }));
            let request = match &above {
                Some(folder) => self.request(Method::POST, &["mailFolders", &folder.id, "childFolders"], "", body),
                None => self.request(Method::POST, &["mailFolders"], "", body),
            };
            let path = above.map(|folder| folder.path).unwrap_or_default();
            match self.json::<MailFolder>(&request).await? {
                Ok(made) => above = Some(Folder::of(made, &path)),
                // somebody else made it just now
                Err(refusal) if refusal.status == 409 || refusal.is("ErrorFolderExists") => {
                    return self.folder(name).await;
                }
                Err(refusal) => return Err(refusal.error()),
            }
        }
        match above {
            Some(folder) => Ok(folder),
            None => self.folder(name).await,
        }
    }

    async fn look_for(&self, name: &str) -> Result<Looked, SourceError> {
        let name = name.trim().trim_start_matches('/');
        if name.is_empty() {
            return Ok(self.folder_by_id(ROOT).await?.map_or_else(Looked::nothing, Looked::Found));
        }
        if looks_like_id(name)
            && let Some(folder) = self.folder_by_id(name).await?
        {
            return Ok(Looked::Found(folder));
        }
        let wanted = segments(name);
        let Some((first, rest)) = wanted.split_first() else { return Ok(Looked::nothing()) };
        if let Some(well_known) = well_known(first, &WELL_KNOWN)
            && let Some(folder) = self.folder_by_id(well_known).await?
        {
            return self.walk(vec![folder], rest).await;
        }
        let roots = self.children(None).await?;
        let fitting = fitting(&roots, first);
        if !fitting.is_empty() {
            return self.walk(fitting, rest).await;
        }
        // the name that it has in another language than this mailbox's
        if let Some(well_known) = well_known(first, &ELSEWHERE)
            && let Some(folder) = self.folder_by_id(well_known).await?
        {
            return self.walk(vec![folder], rest).await;
        }
        Ok(Looked::Missing { there: roots, above: None, rest: wanted })
    }

    /// Down from `folders`, which all fit so far.
    async fn walk(&self, mut folders: Vec<Folder>, rest: &[String]) -> Result<Looked, SourceError> {
        for (at, segment) in rest.iter().enumerate() {
            let mut there = Vec::new();
            for folder in folders.iter().filter(|folder| folder.children) {
                there.extend(self.children(Some(folder)).await?);
            }
            let next = fitting(&there, segment);
            if next.is_empty() {
                let above = folders.into_iter().next();
                return Ok(Looked::Missing { there, above, rest: rest[at..].to_vec() });
            }
            folders = next;
        }
        Ok(match folders.as_slice() {
            [folder] => Looked::Found(folder.clone()),
            _ => Looked::Several(folders),
        })
    }

    /// The folders below `folder`, hidden ones too; below the root without one. Stored searches are left out.
    async fn children(&self, folder: Option<&Folder>) -> Result<Vec<Folder>, SourceError> {
        let query = format!("{FOLDER}&$top={PAGE}&includeHiddenFolders=true");
        let mut request = match folder {
            Some(folder) => self.get(&["mailFolders", &folder.id, "childFolders"], &query),
            None => self.get(&["mailFolders"], &query),
        };
        let above = folder.filter(|folder| !folder.path.is_empty()).map_or("", |folder| folder.path.as_str());
        let mut found: Vec<Folder> = Vec::new();
        for _ in 0..PAGES {
            let page: Page<MailFolder> = match self.json(&request).await? {
                Ok(page) => page,
                Err(refusal) if folder.is_some() && refusal.is_gone() => return Ok(found),
                Err(refusal) => return Err(refusal.error()),
            };
            for one in page.value.into_iter().filter(|one| !one.is_search()) {
                // a page may repeat what an earlier one held
                if found.iter().all(|known| known.id != one.id) {
                    found.push(Folder::of(one, above));
                }
            }
            let Some(next) = page.next else { break };
            request = self.follow(&next)?;
        }
        Ok(found)
    }

    /// The folders to be read where `root` is the root of a tree: itself first, then what is below it. Hidden folders are
    /// left out, and below the root of the mailbox those in which nobody files.
    pub(super) async fn tree(&self, root: &Folder) -> Result<Vec<Folder>, SourceError> {
        let top = self.folder_by_id(ROOT).await?;
        let is_top = top.is_some_and(|top| top.id == root.id);
        let mut left_out = Vec::new();
        if is_top {
            for name in LEFT_OUT {
                left_out.extend(self.folder_by_id(name).await?.map(|folder| folder.id));
            }
        }
        let mut found = vec![root.clone()];
        let mut at = 0;
        while let Some(folder) = found.get(at).cloned() {
            at += 1;
            if !folder.children {
                continue;
            }
            let above = Folder { path: if is_top && at == 1 { String::new() } else { folder.path }, ..folder };
            for child in self.children(Some(&above)).await? {
                if !child.hidden && !left_out.contains(&child.id) && found.iter().all(|known| known.id != child.id) {
                    found.push(child);
                }
            }
        }
        if is_top {
            found.remove(0); // holds folders only
        }
        Ok(found)
    }

    fn no_folder(&self, name: &str, there: &[Folder]) -> SourceError {
        let (host, mailbox) = (self.host(), self.mailbox());
        let mut shown: Vec<&Folder> = there.iter().filter(|folder| !folder.hidden).collect();
        let wanted = fold(&segments(name).pop().unwrap_or_default());
        shown.sort_by_cached_key(|folder| {
            let likeness = strsim::jaro_winkler(&fold(&folder.name()), &wanted);
            std::cmp::Reverse(thousandths(likeness))
        });
        let shown: Vec<&str> = shown.iter().take(CANDIDATES).map(|folder| folder.path.as_str()).collect();
        let folders = if shown.is_empty() { "-".to_owned() } else { shown.join(", ") };
        let text = text!(
            "{host}: there is no folder {name} in the mailbox {mailbox}; the nearest ones where it was looked for: {folders}",
            "{host} : pas de dossier {name} dans la boîte {mailbox} ; les plus proches là où il a été cherché : {folders}"
        );
        SourceError::Mailbox(Fault::new(Code::Folder, text))
    }

    fn several(&self, name: &str, folders: &[Folder]) -> SourceError {
        let host = self.host();
        let ids: Vec<String> = folders.iter().map(|folder| format!("{} ({})", folder.id, folder.path)).collect();
        let ids = ids.join(", ");
        let text = text!(
            "{host}: several folders fit {name}; name the one that is meant by its id: {ids}",
            "{host} : plusieurs dossiers correspondent à {name} ; désignez celui voulu par son id : {ids}"
        );
        SourceError::Mailbox(Fault::new(Code::Folder, text))
    }
}

/// What became of looking for a folder.
enum Looked {
    Found(Folder),
    /// It is not there; `rest` is missing below `above` (the root without one).
    Missing {
        there: Vec<Folder>,
        above: Option<Folder>,
        rest: Vec<String>,
    },
    /// More than one fits as well.
    Several(Vec<Folder>),
}

impl Looked {
    fn nothing() -> Self {
        Self::Missing { there: Vec::new(), above: None, rest: Vec::new() }
    }
}

/// The names of a path; a slash after a backslash belongs to its name.
pub(super) fn segments(path: &str) -> Vec<String> {
    let (mut found, mut name) = (Vec::new(), String::new());
    let mut rest = path.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.peek() == Some(&'/') => name.extend(rest.next()),
            '/' => found.push(std::mem::take(&mut name)),
            c => name.push(c),
        }
    }
    found.push(name);
    found.retain(|name| !name.trim().is_empty());
    found
}

/// Those of `folders` that are meant by `name`: letter for letter, else without case; shown ones before hidden ones.
fn fitting(folders: &[Folder], name: &str) -> Vec<Folder> {
    let composed = |text: &str| text.trim().nfc().collect::<String>();
    let exact = |folder: &Folder| composed(&folder.name()) == composed(name);
    let folded = |folder: &Folder| fold(&folder.name()) == fold(name);
    let rounds: [&dyn Fn(&Folder) -> bool; 4] =
        [&|folder| !folder.hidden && exact(folder), &|folder| !folder.hidden && folded(folder), &exact, &folded];
    let hits = |round: &&dyn Fn(&Folder) -> bool| folders.iter().filter(|folder| round(folder)).cloned().collect();
    rounds.iter().map(hits).find(|hits: &Vec<Folder>| !hits.is_empty()).unwrap_or_default()
}

fn fold(name: &str) -> String {
    name.trim().nfc().collect::<String>().to_lowercase().nfc().collect()
}

fn well_known(name: &str, names: &[(&str, &'static str)]) -> Option<&'static str> {
    let name = fold(name);
    names.iter().find(|(known, _)| *known == name).map(|(_, well_known)| *well_known)
}

/// Whether a text is one of Exchange's ids: Base64 that begins as theirs do.
fn looks_like_id(name: &str) -> bool {
    let begins = ["AAMk", "AQMk", "AAkA"].iter().any(|start| name.starts_with(start));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte);
    begins && name.len() >= SHORTEST_ID && name.bytes().all(allowed)
}

/// Thousandths, which have an order.
#[allow(clippy::cast_possible_truncation)] // between 0 and 1000
fn thousandths(likeness: f64) -> i32 {
    (likeness * 1000.0) as i32
}

const ROOT: &str = "msgfolderroot";
/// What is asked of a folder.
const FOLDER: &str = "$select=id,displayName,parentFolderId,childFolderCount,totalItemCount,isHidden";
/// Folders on a page, and pages that are followed.
const PAGE: u16 = 100;
const PAGES: usize = 1000;
/// How many folders a message names.
const CANDIDATES: usize = 20;
const SHORTEST_ID: usize = 8;

/// `mailFolder`, v1.0: the names that hold in every language, folded.
const WELL_KNOWN: [(&str, &str); 17] = [
    ("inbox", "inbox"),
    ("drafts", "drafts"),
    ("sentitems", "sentitems"),
    ("deleteditems", "deleteditems"),
    ("junkemail", "junkemail"),
    ("archive", "archive"),
    ("outbox", "outbox"),
    ("msgfolderroot", ROOT),
    ("clutter", "clutter"),
    ("conflicts", "conflicts"),
    ("conversationhistory", "conversationhistory"),
    ("localfailures", "localfailures"),
    ("serverfailures", "serverfailures"),
    ("syncissues", "syncissues"),
    ("recoverableitemsdeletions", "recoverableitemsdeletions"),
    ("scheduled", "scheduled"),
    ("searchfolders", "searchfolders"),
];

/// What Outlook calls them in French and in English, for mailboxes that were made in the other language.
const ELSEWHERE: [(&str, &str); 11] = [
    ("boîte de réception", "inbox"),
    ("boite de reception", "inbox"),
    ("éléments envoyés", "sentitems"),
    ("sent items", "sentitems"),
    ("éléments supprimés", "deleteditems"),
    ("deleted items", "deleteditems"),
    ("courrier indésirable", "junkemail"),
    ("junk email", "junkemail"),
    ("brouillons", "drafts"),
    ("archives", "archive"),
    ("boîte d'envoi", "outbox"),
];

/// Not what somebody files.
const LEFT_OUT: [&str; 6] = ["junkemail", "deleteditems", "drafts", "outbox", "syncissues", "conversationhistory"];

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &str, hidden: bool) -> Folder {
        Folder { id: path.to_owned(), path: path.to_owned(), parent: None, count: None, children: true, hidden }
    }

    #[test]
    fn a_slash_within_a_name_is_escaped() {
        assert_eq!(
            segments(r"Boîte de réception/Factures\/Avoirs/2026"),
            ["Boîte de réception", "Factures/Avoirs", "2026"]
        );
        assert_eq!(segments("/a//b/"), ["a", "b"]);
        assert_eq!(segments(r"a\b"), [r"a\b"]);
        assert!(segments("/").is_empty());
    }

    #[test]
    fn names_are_found_letter_for_letter_then_without_case_and_shown_before_hidden() {
        let folders =
            [folder("factures", false), folder("Factures", false), folder("Reçus", true), folder("A\\/B", false)];
        let ids = |name: &str| fitting(&folders, name).into_iter().map(|folder| folder.id).collect::<Vec<_>>();
        assert_eq!(ids("Factures"), ["Factures"]);
        assert_eq!(ids("FACTURES"), ["factures", "Factures"]);
        // decomposed, as macOS writes it
        assert_eq!(ids("rec\u{327}us"), ["Reçus"]);
        assert_eq!(ids("a/b"), ["A\\/B"]);
        assert!(ids("x").is_empty());
    }

    #[test]
    fn ids_are_told_from_names() {
        assert!(looks_like_id("AQMkADYAAAIBDAAAAA=="));
        assert!(looks_like_id("AAMkAGUzY5QKjAAA/BEgAQAMk+pJI_X-LBFgvrv1PlZYd8="));
        assert!(!looks_like_id("AAMk archives") && !looks_like_id("Factures") && !looks_like_id("AAMk"));
    }
}
