//! Lists that hide nothing, and rounds of changes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::mailbox::{Folder, Quirks};
use super::server::{Asked, Reply, Server};
use super::{graph, voice};
use crate::model::Code;
use crate::source::{Cursor, Discovery, Source, SourceError};

async fn serve(folder: Arc<Folder>) -> Server {
    Server::start(move |root, asked| match asked.path.as_str() {
        path if path.ends_with("/messages") => folder.page(root, asked),
        path if path.ends_with("/mailFolders/inbox") || path.ends_with("/AAMkINBOX") => Reply::json(&folder.as_json()),
        path if path.contains("/messages/AAkAL") => {
            let id = path.rsplit('/').next().unwrap().to_owned();
            let received = folder.messages.lock().unwrap().iter().find(|(one, ..)| *one == id).unwrap().1.clone();
            if folder.damaged.contains(&id) {
                return Reply::error(500, "ErrorContentConversionFailed", "");
            }
            Reply::json(&json!({"id": id, "receivedDateTime": received}))
        }
        path if path.ends_with("/archive") => {
            Reply::json(&json!({"id": "AAMkARCHIVE", "displayName": "Archive", "totalItemCount": 0}))
        }
        path => panic!("{path}"),
    })
    .await
}

fn ids(discovery: &Discovery) -> Vec<String> {
    let mut ids: Vec<String> = discovery.items.iter().map(|item| item.key.as_str().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn whatever_is_wrong_with_links_and_pages_nothing_is_hidden() {
    let no = Quirks::default();
    let cases = [
        no,
        Quirks { skip_gap: true, ..no },
        Quirks { short_pages: true, ..no },
        Quirks { empty_page_with_next: true, ..no },
        Quirks { lost_next_link: true, ..no },
        Quirks { skip_gap: true, short_pages: true, lost_next_link: true, ..no },
        Quirks { skip_gap: true, short_pages: true, empty_page_with_next: true, ..no },
        Quirks { skip_gap: true, short_pages: true, empty_page_with_next: true, lost_next_link: true },
    ];
    for quirks in cases {
        // and many messages within one second
        for (count, each) in [(0, 1), (1, 1), (2500, 1), (1700, 5)] {
            let count = if quirks.short_pages { count.min(400) } else { count };
            let folder = Arc::new(Folder::of(count, each, quirks));
            let server = serve(folder.clone()).await;
            let discovery = graph(&server, "after = move archive").discover(None).await.unwrap();
            let found = discovery.items.len();
            assert!(ids(&discovery) == folder.ids(), "{quirks:?} {count} {each}: {found} found");
            let sorted = discovery.items.windows(2).all(|two| two[0].hint <= two[1].hint);
            assert!(sorted, "oldest first");
        }
    }
    let folder = Arc::new(Folder::of(1300, 1300, no));
    let server = serve(folder.clone()).await;
    let discovery = graph(&server, "after = delete").discover(None).await.unwrap();
    assert!(ids(&discovery) == folder.ids(), "all within one second");
    assert_eq!(discovery.items[0].hint, "20261101T000000");
}

#[tokio::test]
async fn filters_are_the_servers_and_a_message_without_a_date_is_found_all_the_same() {
    let folder = Arc::new(Folder::of(90, 1, Quirks::default()));
    let server = serve(folder.clone()).await;
    let discovery = graph(&server, "unseen_only = yes\nsince = 2026-10-31").discover(None).await.unwrap();
    assert_eq!(discovery.items.len(), 60);
    assert!(server.all().iter().any(|asked| asked.param("$filter").ends_with("and isRead eq false")));
    assert!(server.all().iter().any(|asked| asked.param("$filter").starts_with("receivedDateTime ge 2026-10-3")));
    let undated = Arc::new(Folder::of(3, 1, Quirks::default()));
    undated.messages.lock().unwrap().push(("AAkALundated".to_owned(), "-".to_owned(), false));
    let server = serve(undated.clone()).await;
    let discovery = graph(&server, "after = delete").discover(None).await.unwrap();
    assert_eq!(ids(&discovery), undated.ids());
}

#[tokio::test]
async fn a_damaged_message_is_listed_by_its_id_else_stepped_over_and_stops_no_other_one() {
    let mut folder = Folder::of(120, 1, Quirks::default());
    folder.damaged = vec!["AAkAL00000".to_owned(), "AAkAL00060".to_owned(), "AAkAL00061".to_owned()];
    let folder = Arc::new(folder);
    let server = serve(folder.clone()).await;
    let (voice, told) = voice();
    let mut source = graph(&server, "after = delete");
    source.voice = voice;
    source.times.first_retry = std::time::Duration::from_millis(1);
    let discovery = source.discover(None).await.unwrap();
    let expected: Vec<String> = folder.ids().into_iter().filter(|id| !folder.damaged.contains(id)).collect();
    assert_eq!(ids(&discovery), expected);
    assert!(told.lock().unwrap().contains(&"graph_not_listed"));
    let mut folder = Folder::of(120, 1, Quirks::default());
    (folder.damaged, folder.ids_are_told) = (vec!["AAkAL00000".to_owned(), "AAkAL00119".to_owned()], true);
    let folder = Arc::new(folder);
    let server = serve(folder.clone()).await;
    let discovery = graph(&server, "after = delete").discover(None).await.unwrap();
    assert_eq!(ids(&discovery), folder.ids());
    // and none but those: no date tells where to go on
    folder.messages.lock().unwrap().retain(|(id, ..)| folder.damaged.contains(id));
    let before = server.all().len();
    let discovery = graph(&server, "after = delete").discover(None).await.unwrap();
    assert_eq!(ids(&discovery), folder.ids());
    let asked = server.lines().split_off(before);
    assert!(asked.len() < 12, "{asked:#?}");
}

/// Seconds do not lead past a damaged message, whose date is not told: it may be the only one, or the youngest by far.
#[tokio::test]
async fn a_damaged_message_hides_none_of_its_second_and_is_no_reason_to_ask_for_ever() {
    // how many within one second, and which is damaged
    for (count, damaged) in [(1, 0), (3, 1), (3, 2), (30, 11), (30, 29)] {
        for ids_are_told in [true, false] {
            let mut folder = Folder::of(count, count, Quirks::default());
            let damaged = format!("AAkAL{damaged:05}");
            (folder.damaged, folder.ids_are_told) = (vec![damaged.clone()], ids_are_told);
            let last = ("AAkALlast".to_owned(), "2026-11-20T00:00:00Z".to_owned(), false);
            folder.messages.lock().unwrap().push(last.clone());
            folder.damaged.push(last.0);
            let folder = Arc::new(folder);
            let server = serve(folder.clone()).await;
            let mut source = graph(&server, "after = delete");
            source.times.first_retry = std::time::Duration::from_millis(1);
            let discovery = source.discover(None);
            let discovery = tokio::time::timeout(std::time::Duration::from_secs(30), discovery).await.unwrap().unwrap();
            let told = |id: &String| ids_are_told || !folder.damaged.contains(id);
            let expected: Vec<String> = folder.ids().into_iter().filter(told).collect();
            assert_eq!(ids(&discovery), expected, "{damaged} of {count}");
        }
    }
}

/// A folder that answers delta with `rounds`: the pages of each, by the token that is asked for.
async fn changes(pages: impl Fn(&str, &Asked) -> Reply + Send + Sync + 'static) -> Server {
    let folder = Folder::of(5, 1, Quirks::default());
    Server::start(move |root, asked| match asked.path.as_str() {
        path if path.ends_with("/messages/delta") => pages(root, asked),
        path if path.ends_with("/messages") => folder.page(root, asked),
        path if path.ends_with("/msgfolderroot") => Reply::json(&json!({"id": "AAMkROOT", "displayName": "Top"})),
        _ => Reply::json(&folder.as_json()),
    })
    .await
}

fn page(root: &str, ids: &[&str], link: &str) -> Reply {
    let (name, query) = link.split_once(' ').unwrap();
    let value: Vec<_> = ids
        .iter()
        .map(|id| match id.strip_prefix('-') {
            Some(id) => json!({"id": id, "@removed": {"reason": "deleted"}}),
            None => json!({"id": id, "receivedDateTime": format!("2026-11-0{}T00:00:00Z", &id[1..2])}),
        })
        .collect();
    let mut page = json!({"value": value});
    page[format!("@odata.{name}")] = json!(format!("{root}/v1.0/me/mailFolders('AAMkINBOX')/messages/delta?{query}"));
    Reply::json(&page)
}

/// Also where the link is written with parentheses.
async fn rounds(pages: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Server {
    changes(move |root, asked| {
        let token = ["$skiptoken", "$deltatoken"].map(|name| asked.param(name)).concat();
        pages(root, &token)
    })
    .await
}

#[tokio::test]
async fn a_round_is_followed_to_its_end_and_the_next_one_begins_there() {
    let server = rounds(|root, token| match token {
        "" => page(root, &["m2", "m1"], "nextLink $skiptoken=a"),
        "a" => page(root, &[], "nextLink $skiptoken=b"),
        "b" => page(root, &["m3", "m1", "-m2", "-m9"], "deltaLink $deltatoken=c"),
        "c" => page(root, &["m4", "m3"], "deltaLink $deltatoken=d"),
        "d" => page(root, &[], "deltaLink $deltatoken=d"),
        token => panic!("{token}"),
    })
    .await;
    let mut source = graph(&server, "after = seen");
    let first = source.discover(None).await.unwrap();
    // what left within the round is not hidden, what was never listed does not come
    assert_eq!(ids(&first), ["m1", "m2", "m3"]);
    assert_eq!(first.items[0].key.as_str(), "m1");
    let second = source.discover(first.cursor.as_ref()).await.unwrap();
    assert_eq!(ids(&second), ["m3", "m4"]);
    let third = graph(&server, "after = seen").discover(second.cursor.as_ref()).await.unwrap();
    assert!(third.items.is_empty());
    let delta = server.all().into_iter().find(|asked| asked.path.ends_with("/delta")).unwrap();
    assert_eq!(delta.header("prefer"), "IdType=\"ImmutableId\", odata.maxpagesize=500");
    assert_eq!((delta.param("$select"), delta.param("$filter")), ("id,receivedDateTime", ""));
    // where it began: nothing is seen through, and reissued ids are noticed
    assert!(!first.start.unwrap().0.contains("deltatoken"));
}

#[tokio::test]
async fn a_forgotten_link_brings_everything_again_also_in_the_middle_of_a_round() {
    let forgets = AtomicUsize::new(0);
    let server = rounds(move |root, token| match token {
        "" => page(root, &["m1", "m2"], "nextLink $skiptoken=a"),
        "a" if forgets.fetch_add(1, Ordering::SeqCst) == 0 => Reply::error_with(
            410,
            "SyncStateNotFound",
            "The sync state generation is not found;",
            "Location: https://evil.test/\r\n",
        ),
        "a" => page(root, &["m3"], "deltaLink $deltatoken=c"),
        "old" => Reply::error(410, "resyncRequired", ""),
        token => panic!("{token}"),
    })
    .await;
    let mut source = graph(&server, "");
    let cursor = source.discover(None).await.unwrap();
    assert_eq!(ids(&cursor), ["m1", "m2", "m3"]);
    let old = Cursor(cursor.cursor.clone().unwrap().0.replace("$deltatoken=c", "$deltatoken=old"));
    let again = source.discover(Some(&old)).await.unwrap();
    assert_eq!(ids(&again), ["m1", "m2", "m3"]);
    assert_eq!(again.cursor, cursor.cursor);
    // a link to another server is as good as forgotten
    let elsewhere = Cursor(old.0.replace(&server.root, "https://evil.test"));
    assert_eq!(ids(&source.discover(Some(&elsewhere)).await.unwrap()), ["m1", "m2", "m3"]);
}

/// The link of a round by ids alone brings ids alone for ever.
#[tokio::test]
async fn a_server_that_fails_for_a_moment_is_not_asked_for_ids_alone() {
    let server = rounds(|root, token| match token {
        "c" => Reply::error(500, "InternalServerError", ""),
        _ => page(root, &["m1"], "deltaLink $deltatoken=c"),
    })
    .await;
    let first = graph(&server, "").discover(None).await.unwrap();
    let second = graph(&server, "").discover(first.cursor.as_ref()).await.unwrap();
    assert_eq!((second.items.as_slice(), second.cursor), (first.items.as_slice(), first.cursor));
    assert!(server.all().iter().all(|asked| asked.param("$select") != "id"));
}

#[tokio::test]
async fn without_delta_the_folder_is_listed() {
    let whole: Vec<String> = Folder::of(5, 1, Quirks::default()).ids();
    let useless: [fn() -> Reply; 5] = [
        || Reply::error(400, "BadRequest", "Resource not found for the segment 'delta'."),
        || Reply::error(501, "NotImplemented", ""),
        || Reply::error(500, "InternalServerError", "Error while processing response."),
        || Reply::error(410, "SyncStateNotFound", ""),
        || Reply::json(&json!({"value": []})),
    ];
    for reply in useless {
        let server = rounds(move |_, _| reply()).await;
        let discovery = graph(&server, "after = category GED").discover(None).await.unwrap();
        assert_eq!(ids(&discovery), whole);
        assert!(!discovery.cursor.unwrap().0.contains("link"));
    }
    let server = rounds(|_, _| Reply::error(403, "ErrorAccessDenied", "Access is denied.")).await;
    let error = graph(&server, "").discover(None).await.unwrap_err();
    assert!(matches!(error, SourceError::Mailbox(ref fault) if fault.code == Code::Folder), "{error}");
    // a link that goes round in a circle
    let server = rounds(|root, _| page(root, &["m1"], "nextLink $skiptoken=a")).await;
    assert_eq!(ids(&graph(&server, "").discover(None).await.unwrap()), whole);
}

#[tokio::test]
async fn since_is_kept_here_and_an_earlier_one_lists_anew() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let server = rounds(move |root, token| {
        log.lock().unwrap().push(token.to_owned());
        page(root, &["m1", "m2", "m5"], "deltaLink $deltatoken=c")
    })
    .await;
    let first = graph(&server, "since = 2026-11-02").discover(None).await.unwrap();
    assert_eq!(ids(&first), ["m2", "m5"]);
    let second = graph(&server, "since = 2026-11-02").discover(first.cursor.as_ref()).await.unwrap();
    graph(&server, "since = 2026-11-01").discover(second.cursor.as_ref()).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), ["", "c", ""]);
}

#[tokio::test]
async fn a_folder_with_another_id_under_its_path_has_reissued_keys() {
    let server = rounds(|root, _| page(root, &["m1"], "deltaLink $deltatoken=c")).await;
    let first = graph(&server, "").discover(None).await.unwrap();
    assert!(!first.items[0].reissued);
    let other = Cursor(first.cursor.unwrap().0.replace("\"AAMkINBOX\"", "\"AAMkOLD\""));
    let second = graph(&server, "").discover(Some(&other)).await.unwrap();
    assert!(second.items[0].reissued);
    // another mailbox is another matter
    let third = graph(&server, "mailbox = other@example.test").discover(Some(&other)).await.unwrap();
    assert!(!third.items[0].reissued);
}

/// A folder that is passed over stays as it was: another id, or another `since`, is noticed once it can be listed.
#[tokio::test]
async fn a_folder_that_is_passed_over_is_not_seen_through() {
    let refused = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let refuses = refused.clone();
    let server = rounds(move |root, token| match token {
        _ if refuses.load(Ordering::SeqCst) => Reply::error(403, "ErrorAccessDenied", ""),
        "" => page(root, &["m1", "m3"], "deltaLink $deltatoken=c"),
        "c" => page(root, &[], "deltaLink $deltatoken=c"),
        token => panic!("{token}"),
    })
    .await;
    let of = |more: &str| graph(&server, &format!("subfolders = yes\n{more}"));
    refused.store(false, Ordering::SeqCst);
    let first = of("since = 2026-11-02").discover(None).await.unwrap();
    assert_eq!(ids(&first), ["m3"]);
    let first = first.cursor.unwrap();
    let other = Cursor(first.0.replace("\"AAMkINBOX\"", "\"AAMkOLD\""));
    for (before, since, expected) in [
        (&first, "since = 2026-11-02", &[][..]),
        (&first, "", &["m1", "m3"][..]),
        (&other, "since = 2026-11-02", &["m3"][..]),
    ] {
        refused.store(true, Ordering::SeqCst);
        let nothing = of(since).discover(Some(before)).await.unwrap();
        assert!(nothing.items.is_empty());
        refused.store(false, Ordering::SeqCst);
        let again = of(since).discover(nothing.cursor.as_ref()).await.unwrap();
        assert_eq!(ids(&again), expected, "{since}");
        assert!(again.items.iter().all(|item| item.reissued == (before == &other)));
    }
}
