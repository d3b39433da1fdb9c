//! What is done afterwards, once and again.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::server::{Asked, Reply, Server};
use super::{graph, launcher, voice};
use crate::model::{Code, Disposition, ItemKey};
use crate::source::graph::tests::{TEST_TIMES, Tokens};
use crate::source::graph::{Graph, Known};
use crate::source::{Source, SourceError};

/// A message of the mailbox.
#[derive(Clone, Debug)]
struct Message {
    id: &'static str,
    parent: String,
    categories: Vec<String>,
    marks: Vec<Value>,
}

type Box365 = Arc<Mutex<Vec<Message>>>;

fn answer(all: &Box365, asked: &Asked) -> Reply {
    let folder = |id: &str, name: &str| Reply::json(&json!({"id": id, "displayName": name, "totalItemCount": 1}));
    let rest = asked.path.strip_prefix("/me/").unwrap();
    match rest {
        "mailFolders/inbox" => return folder("AAMkINBOX", "Inbox"),
        "mailFolders/archive" => return folder("AAMkARCHIVE", "Archive"),
        _ => {}
    }
    let id = rest.strip_prefix("messages/").unwrap_or_else(|| panic!("{rest}")).trim_end_matches("/move");
    let mut all = all.lock().unwrap();
    let Some(at) = all.iter().position(|message| message.id == id) else {
        return Reply::error(404, "ErrorItemNotFound", "The specified object was not found in the store.");
    };
    let message = &mut all[at];
    match asked.method.as_str() {
        "GET" => Reply::json(&json!({"id": id, "parentFolderId": message.parent, "categories": message.categories})),
        "PATCH" => {
            message.marks.push(asked.body.clone());
            if let Some(categories) = asked.body["categories"].as_array() {
                message.categories = categories.iter().map(|one| one.as_str().unwrap().to_owned()).collect();
            }
            Reply::json(&json!({"id": id}))
        }
        "POST" => {
            asked.body["destinationId"].as_str().unwrap().clone_into(&mut message.parent);
            Reply::chunked(201, "application/json", "", json!({"id": id}).to_string().as_bytes())
        }
        "DELETE" if message.parent == "AAMkTRASH" => {
            all.remove(at);
            Reply::empty(204)
        }
        "DELETE" => {
            "AAMkTRASH".clone_into(&mut message.parent);
            Reply::empty(204)
        }
        method => panic!("{method}"),
    }
}

async fn mailbox() -> (Server, Box365) {
    let message = |id, parent: &str| Message {
        id,
        parent: parent.to_owned(),
        categories: vec!["Urgent".to_owned()],
        marks: Vec::new(),
    };
    let all: Box365 = Arc::new(Mutex::new(vec![
        message("m1", "AAMkINBOX"),
        message("m2", "AAMkINBOX"),
        message("m3", "AAMkELSEWHERE"),
    ]));
    let own = all.clone();
    (Server::start(move |_, asked| answer(&own, asked)).await, all)
}

fn keys(ids: &[&str]) -> Vec<ItemKey> {
    ids.iter().map(|id| ItemKey::new(*id)).collect()
}

fn sorted(mut keys: Vec<ItemKey>) -> Vec<ItemKey> {
    keys.sort();
    keys
}

#[tokio::test]
async fn marks_are_set_and_what_is_gone_is_done() {
    let (server, all) = mailbox().await;
    let mut source = graph(&server, "after = seen");
    let wanted = keys(&["m1", "m2", "m9"]);
    for what in [Disposition::Seen, Disposition::Flag, Disposition::Seen] {
        assert_eq!(sorted(source.acknowledge(&wanted, &what).await.unwrap()), wanted);
    }
    let marks = all.lock().unwrap()[0].marks.clone();
    let seen = json!({"isRead": true});
    assert_eq!(marks, [seen.clone(), json!({"flag": {"flagStatus": "flagged"}}), seen]);
    let before = server.all().len();
    assert_eq!(source.acknowledge(&wanted, &Disposition::Leave).await.unwrap(), wanted);
    assert_eq!(server.all().len(), before);
}

#[tokio::test]
async fn a_category_is_added_once_and_others_stay() {
    let (server, all) = mailbox().await;
    let mut source = graph(&server, "after = category GED importé");
    let wanted = keys(&["m1", "m9"]);
    for name in ["GED importé", "ged IMPORTÉ", "urgent"] {
        let done = source.acknowledge(&wanted, &Disposition::Category(name.to_owned())).await.unwrap();
        assert_eq!(sorted(done), wanted);
    }
    let all = all.lock().unwrap();
    assert_eq!(
        (all[0].categories.as_slice(), all[0].marks.len()),
        (&["Urgent".to_owned(), "GED importé".to_owned()][..], 1)
    );
}

#[tokio::test]
async fn what_somebody_filed_elsewhere_is_neither_moved_nor_deleted_and_a_repetition_does_nothing() {
    let (server, all) = mailbox().await;
    let mut source = graph(&server, "after = move archive");
    let wanted = keys(&["m1", "m3", "m9"]);
    for _ in 0..2 {
        let done = source.acknowledge(&wanted, &Disposition::Move("archive".to_owned())).await.unwrap();
        assert_eq!(sorted(done), wanted);
    }
    let parents = |all: &Box365| all.lock().unwrap().iter().map(|message| message.parent.clone()).collect::<Vec<_>>();
    assert_eq!(parents(&all), ["AAMkARCHIVE", "AAMkINBOX", "AAMkELSEWHERE"]);
    assert_eq!(server.count("POST /me/messages/m1/move"), 1);
    let wanted = keys(&["m2", "m3"]);
    for _ in 0..2 {
        assert_eq!(sorted(source.acknowledge(&wanted, &Disposition::Delete).await.unwrap()), wanted);
    }
    // once: a second time would empty the trash
    assert_eq!(parents(&all), ["AAMkARCHIVE", "AAMkTRASH", "AAMkELSEWHERE"]);
}

#[tokio::test]
async fn what_was_just_listed_is_believed_to_be_there() {
    let (server, _) = mailbox().await;
    let mut source: Graph = graph(&server, "after = delete");
    let known = Known { received: None, folder: "Inbox".into(), at: tokio::time::Instant::now(), reissued: false };
    source.known = Arc::new([("m1".to_owned(), known)].into());
    source.acknowledge(&keys(&["m1"]), &Disposition::Delete).await.unwrap();
    assert_eq!((server.count("GET /me/messages/m1"), server.count("DELETE /me/messages/m1")), (0, 1));
}

#[tokio::test]
async fn a_refused_change_is_tried_again_later_and_a_missing_right_says_so() {
    let refuse = |status, code: &'static str, message: &'static str| {
        Server::start(move |_, asked: &Asked| match asked.path.as_str() {
            "/me/mailFolders/inbox" => Reply::json(&json!({"id": "AAMkINBOX", "displayName": "Inbox"})),
            "/me/messages/m1" => Reply::error(status, code, message),
            _ => Reply::json(&json!({"id": "m2"})),
        })
    };
    let server = refuse(400, "ErrorPropertyUpdate", "no").await;
    let (voice, told) = voice();
    let mut source = graph(&server, "after = seen");
    source.voice = voice;
    assert_eq!(source.acknowledge(&keys(&["m1", "m2"]), &Disposition::Seen).await.unwrap(), keys(&["m2"]));
    assert_eq!(*told.lock().unwrap(), ["graph_change_refused"]);
    let server = refuse(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.").await;
    let error = graph(&server, "after = seen").acknowledge(&keys(&["m1"]), &Disposition::Seen).await.unwrap_err();
    assert!(
        error.fault().text.en.contains("Mail.ReadWrite") && error.fault().text.fr.contains("Mail.ReadWrite"),
        "{error}"
    );
    let server = refuse(503, "serviceNotAvailable", "").await;
    let error = graph(&server, "after = seen").acknowledge(&keys(&["m1"]), &Disposition::Seen).await.unwrap_err();
    assert_eq!(error.fault().code, Code::Connect);
}

/// With its id it can be found in the trash, too.
#[tokio::test]
async fn what_may_have_been_deleted_is_not_deleted_again() {
    let (first, all) = mailbox().await;
    let own = all.clone();
    let server = Server::start(move |_, asked| match (answer(&own, asked), asked.method.as_str()) {
        (_, "DELETE") => Reply::error(504, "UnknownError", ""),
        (reply, _) => reply,
    })
    .await;
    drop(first);
    let mut source = graph(&server, "after = delete");
    let wanted = keys(&["m1"]);
    let error = source.acknowledge(&wanted, &Disposition::Delete).await.unwrap_err();
    assert!(matches!(error, SourceError::Connection { .. }), "{error}");
    // the next cycle looks where it is
    assert_eq!(source.acknowledge(&wanted, &Disposition::Delete).await.unwrap(), wanted);
    assert_eq!((server.count("DELETE /me/messages/m1"), all.lock().unwrap()[0].parent.as_str()), (1, "AAMkTRASH"));
}

#[tokio::test]
async fn a_target_that_is_read_is_a_mistake_before_anything_is_moved() {
    let (server, all) = mailbox().await;
    // the same folder under another name is not seen by the configuration
    let mut source = graph(&server, "");
    source.launcher.after = Disposition::Move("Inbox".to_owned());
    for error in [
        source.discover(None).await.unwrap_err(),
        source.acknowledge(&keys(&["m1"]), &Disposition::Move("Inbox".to_owned())).await.unwrap_err(),
    ] {
        assert!(matches!(error, SourceError::Mailbox(ref fault) if fault.code == Code::Config), "{error}");
    }
    assert_eq!(all.lock().unwrap()[0].parent, "AAMkINBOX");
}

/// The next cycle would read it.
#[tokio::test]
async fn a_target_is_not_made_within_a_tree_that_is_read() {
    let own = |root: &str, asked: &Asked| match asked.path.as_str() {
        "/me/mailFolders/msgfolderroot" => Reply::json(&json!({"id": "AAMkROOT", "displayName": "Top"})),
        "/me/mailFolders/inbox" | "/me/mailFolders/AAMkINBOX" => {
            Reply::json(&json!({"id": "AAMkINBOX", "displayName": "Inbox", "totalItemCount": 0}))
        }
        path if path.ends_with("/delta") => Reply::json(&json!({"value": [], "@odata.deltaLink": format!("{root}/x")})),
        _ => Reply::json(&json!({"value": []})),
    };
    for (more, is_mistake) in [("subfolders = yes", true), ("", false)] {
        let server = Server::start(own).await;
        let mut source = graph(&server, &format!("after = move Inbox/Done\n{more}"));
        let result = source.discover(None).await;
        assert_eq!(result.is_err_and(|error| error.fault().code == Code::Config), is_mistake, "{more}");
        assert!(server.all().iter().all(|asked| asked.method == "GET"));
    }
}

#[tokio::test]
async fn login_and_count_need_the_mailbox_and_the_account_that_is_configured() {
    let whose = |mail: &'static str, status| {
        Server::start(move |_, asked: &Asked| match asked.path.as_str() {
            "/me" if status != 200 => Reply::error(status, "ErrorAccessDenied", ""),
            "/me" => Reply::json(&json!({"mail": null, "userPrincipalName": mail})),
            _ => Reply::json(&json!({"id": "AAMkINBOX", "displayName": "Inbox", "totalItemCount": 71})),
        })
    };
    let server = whose("Factures@Example.test", 200).await;
    let mut source = graph(&server, "account = factures@example.test");
    source.login().await.unwrap();
    assert_eq!(source.count().await.unwrap(), 71);
    let server = whose("other@example.test", 200).await;
    let error = graph(&server, "account = factures@example.test").login().await.unwrap_err();
    assert!(matches!(error, SourceError::Credentials(_)), "{error}");
    let text = &error.fault().text;
    assert!(text.en.contains("other@example.test has signed in") && text.fr.contains("pertuis login"), "{text}");
    // nothing is asked without an account, nor believed where it may not be asked
    graph(&server, "").login().await.unwrap();
    assert_eq!(server.count("GET /me"), 1);
    let server = whose("", 403).await;
    graph(&server, "account = factures@example.test").login().await.unwrap();
    // the application has no mailbox of its own
    let more = "client_secret = s3cret\ntenant = example.test\naccount = factures@example.test";
    let server = whose("", 403).await;
    graph(&server, more).login().await.unwrap();
    assert_eq!(server.lines(), ["GET /users/factures@example.test/mailFolders/inbox"]);
    let tokens = Arc::new(Tokens::default());
    let bad = crate::config::Launcher { oauth: None, ..launcher(&server, "") };
    let mut source = Graph::with_bearer(bad, tokens, crate::event::Events::nowhere(), TEST_TIMES);
    assert_eq!(source.login().await.unwrap_err().fault().code, Code::Config);
}
