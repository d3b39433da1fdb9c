//! Which folder is meant, and what is said where none is.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::client;
use super::server::{Asked, Reply, Server};
use crate::model::Code;
use crate::source::SourceError;

/// Folders: id, name, parent, hidden.
type Row = (&'static str, &'static str, &'static str, bool);

const ROWS: [Row; 16] = [
    ("AAMkROOT00000000", "Top", "-", false),
    ("AAMkINBOX0000000", "Boîte de réception", "AAMkROOT00000000", false),
    ("AAMkTRASH0000000", "Éléments supprimés", "AAMkROOT00000000", false),
    ("AAMkJUNK00000000", "Courrier indésirable", "AAMkROOT00000000", false),
    ("AAMkFACTURES/+==", "Factures", "AAMkINBOX0000000", false),
    ("AAMkAVOIRS000000", "Factures/Avoirs", "AAMkINBOX0000000", false),
    ("AAMk202600000000", "2026", "AAMkFACTURES/+==", false),
    ("AAMkHIDDEN000000", "Caché", "AAMkINBOX0000000", true),
    ("AAMkDOUBLE000001", "Double", "AAMkROOT00000000", false),
    ("AAMkDOUBLE000002", "DOUBLE", "AAMkROOT00000000", false),
    ("AAMkUNDER0000002", "Dessous", "AAMkDOUBLE000002", false),
    ("AAMkSAME00000001", "Même", "AAMkROOT00000000", false),
    ("AAMkSAME00000002", "Même", "AAMkROOT00000000", true),
    ("AAMkTWICE0000001", "Deux fois", "AAMkROOT00000000", false),
    ("AAMkTWICE0000002", "Deux fois", "AAMkROOT00000000", false),
    ("AAMkSEARCH000000", "Recherche", "AAMkROOT00000000", false),
];

const KNOWN: [(&str, &str); 4] = [
    ("msgfolderroot", "AAMkROOT00000000"),
    ("inbox", "AAMkINBOX0000000"),
    ("deleteditems", "AAMkTRASH0000000"),
    ("junkemail", "AAMkJUNK00000000"),
];

fn folder(row: &Row) -> Value {
    let children = ROWS.iter().filter(|(_, _, parent, _)| *parent == row.0).count();
    let mut value = json!({"id": row.0, "displayName": row.1, "parentFolderId": row.2, "childFolderCount": children,
        "totalItemCount": 3, "isHidden": row.3});
    if row.0.contains("SEARCH") {
        value["@odata.type"] = json!("#microsoft.graph.mailSearchFolder");
    }
    value
}

/// Pages of two folders.
fn answer(root: &str, asked: &Asked, made: &Mutex<Vec<String>>) -> Reply {
    if asked.method == "POST" {
        let name = asked.body["displayName"].as_str().unwrap().to_owned();
        made.lock().unwrap().push(format!("{} {name}", asked.path));
        return Reply::chunked(
            201,
            "application/json",
            "",
            json!({"id": format!("AAMkNEW{name}"), "displayName": name}).to_string().as_bytes(),
        );
    }
    let path = asked.path.strip_prefix("/me/mailFolders").unwrap().trim_start_matches('/');
    let listed = path.is_empty() || path.ends_with("/childFolders");
    let id = path.trim_end_matches("/childFolders");
    let id = if path.is_empty() { "msgfolderroot" } else { id };
    let id = KNOWN.iter().find(|(name, _)| *name == id).map_or(id, |(_, id)| *id);
    let Some(row) = ROWS.iter().find(|row| row.0 == id) else {
        let malformed = !id.starts_with("AAMk");
        return if malformed {
            Reply::error(400, "ErrorInvalidIdMalformed", "Id is malformed.")
        } else {
            Reply::error(404, "ErrorItemNotFound", "The specified object was not found in the store.")
        };
    };
    if !listed {
        return Reply::json(&folder(row));
    }
    assert_eq!(asked.param("includeHiddenFolders"), "true", "{asked:?}");
    let skip: usize = asked.param("$skip").parse().unwrap_or(0);
    let below: Vec<&Row> = ROWS.iter().filter(|(_, _, parent, _)| *parent == id).collect();
    let mut page = json!({"value": below.iter().skip(skip).take(2).map(|row| folder(row)).collect::<Vec<_>>()});
    if skip + 2 < below.len() {
        let path = asked.path.replace('+', "%2B").replace('=', "%3D").replace("FACTURES/", "FACTURES%2F");
        page["@odata.nextLink"] = json!(format!("{root}/v1.0{path}?includeHiddenFolders=true&$skip={}", skip + 2));
    }
    Reply::json(&page)
}

async fn server() -> (Server, std::sync::Arc<Mutex<Vec<String>>>) {
    let made = std::sync::Arc::<Mutex<Vec<String>>>::default();
    let log = made.clone();
    (Server::start(move |root, asked| answer(root, asked, &log)).await, made)
}

#[tokio::test]
async fn a_folder_is_found_by_well_known_name_path_and_id() {
    let (server, _) = server().await;
    let (client, _) = client(&server, "");
    let cases = [
        ("INBOX", "AAMkINBOX0000000", "Boîte de réception"),
        ("Inbox/factures", "AAMkFACTURES/+==", "Boîte de réception/Factures"),
        ("Boîte de réception/Factures/2026", "AAMk202600000000", "Boîte de réception/Factures/2026"),
        ("boi\u{302}te de re\u{301}ception/FACTURES", "AAMkFACTURES/+==", "Boîte de réception/Factures"),
        (r"inbox/Factures\/Avoirs", "AAMkAVOIRS000000", r"Boîte de réception/Factures\/Avoirs"),
        ("inbox/Caché", "AAMkHIDDEN000000", "Boîte de réception/Caché"),
        ("AAMkFACTURES/+==", "AAMkFACTURES/+==", "Factures"),
        ("Deleted Items", "AAMkTRASH0000000", "Éléments supprimés"),
        ("Double", "AAMkDOUBLE000001", "Double"),
        ("DOUBLE/Dessous", "AAMkUNDER0000002", "DOUBLE/Dessous"),
        ("double/dessous", "AAMkUNDER0000002", "DOUBLE/Dessous"),
        ("Même", "AAMkSAME00000001", "Même"),
        ("/", "AAMkROOT00000000", "Top"),
    ];
    for (name, id, path) in cases {
        let found = client.folder(name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((found.id.as_str(), found.path.as_str()), (id, path), "{name}");
    }
}

#[tokio::test]
async fn a_missing_folder_names_what_is_there_and_several_name_their_ids() {
    let (server, _) = server().await;
    let (client, _) = client(&server, "");
    let error = client.folder("inbox/Facture").await.unwrap_err();
    let (SourceError::Mailbox(fault), shown) = (&error, "Boîte de réception/Factures, ") else { panic!("{error}") };
    assert_eq!(fault.code, Code::Folder);
    assert!(fault.text.en.contains(shown) && fault.text.fr.contains(shown), "{fault}");
    assert!(!fault.text.en.contains("Caché"), "{fault}");
    for name in ["Recherche", "AAMkNOTTHERE0000", "Inbox/Factures/2026/x", "archive"] {
        assert_eq!(client.folder(name).await.expect_err(name).fault().code, Code::Folder, "{name}");
    }
    let error = client.folder("deux fois").await.unwrap_err();
    assert!(
        error.fault().text.en.contains("AAMkTWICE0000001") && error.fault().text.en.contains("AAMkTWICE0000002"),
        "{error}"
    );
}

#[tokio::test]
async fn a_target_is_made_where_it_is_missing_below_what_is_there() {
    let (server, made) = server().await;
    let (client, _) = client(&server, "");
    assert_eq!(client.leads_to("Traité/2026").await.unwrap(), (None, false));
    assert!(made.lock().unwrap().is_empty());
    let target = client.target("Traité/2026").await.unwrap();
    assert_eq!((target.id.as_str(), target.path.as_str()), ("AAMkNEW2026", "Traité/2026"));
    client.target(r"inbox/Factures/A\/B").await.unwrap();
    assert_eq!(client.target("inbox/factures").await.unwrap().id, "AAMkFACTURES/+==");
    let expected = [
        "/me/mailFolders Traité",
        "/me/mailFolders/AAMkNEWTraité/childFolders 2026",
        "/me/mailFolders/AAMkFACTURES/+==/childFolders A/B",
    ];
    assert_eq!(*made.lock().unwrap(), expected);
    assert!(client.target("AAMkNOTTHERE0000").await.is_err(), "a folder named like an id");
}

#[tokio::test]
async fn a_tree_is_read_without_what_is_hidden_and_the_whole_mailbox_without_trash() {
    let (server, _) = server().await;
    let (client, _) = client(&server, "");
    let paths = |folders: Vec<crate::source::graph::folders::Folder>| {
        folders.into_iter().map(|folder| folder.path).collect::<Vec<_>>()
    };
    let root = client.folder("inbox").await.unwrap();
    let expected = [
        "Boîte de réception",
        "Boîte de réception/Factures",
        r"Boîte de réception/Factures\/Avoirs",
        "Boîte de réception/Factures/2026",
    ];
    assert_eq!(paths(client.tree(&root).await.unwrap()), expected);
    let root = client.folder("/").await.unwrap();
    let all = paths(client.tree(&root).await.unwrap());
    assert!(all.contains(&"Boîte de réception/Factures/2026".to_owned()), "{all:?}");
    let has = |word: &str| all.iter().any(|path| path.contains(word));
    assert!(!has("supprimés") && !has("indésirable") && !has("Recherche") && !has("Top") && !has("Caché"), "{all:?}");
}
