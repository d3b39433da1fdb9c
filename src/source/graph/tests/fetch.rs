//! Bodies, whole, cut, too large, and put together from their parts.

use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::source::outlet::outlet;
use serde_json::json;

use super::server::{Asked, Reply, Server};
use super::{client, graph, voice};
use crate::delivery::spool::{Spool, SpoolFile};
use crate::document::header::Head;
use crate::document::mime::{Damage, Limits, PartHead, Visitor, walk};
use crate::model::{Code, Fault, ItemKey};
use crate::source::graph::fetch::Fetcher;
use crate::source::{Content, Item, Source, SourceError};

fn items(ids: &[&str]) -> Vec<Item> {
    let item = |id: &&str| Item { key: ItemKey::new(*id), hint: String::new(), size: None, reissued: false };
    ids.iter().map(item).collect()
}

type Answers = Vec<(String, Result<Content, Fault>)>;

async fn fetch(server: &Server, more: &str, ids: &[&str]) -> (Result<(), SourceError>, Answers) {
    let spool = Spool::open(server.spool.path()).unwrap();
    let (sender, mut receiver) = outlet(4);
    let mut source = graph(server, more);
    let (batch, mut answers) = (items(ids), Vec::new());
    let take = async {
        while let Some(fetched) = receiver.recv().await {
            answers.push((fetched.key.as_str().to_owned(), fetched.content));
        }
    };
    let (result, ()) = tokio::join!(source.fetch(&batch, &spool, sender), take);
    answers.sort_by(|a, b| a.0.cmp(&b.0));
    (result, answers)
}

fn bytes(file: &SpoolFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.open().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn mail(content: &Result<Content, Fault>) -> Vec<u8> {
    match content {
        Ok(Content::Mail { file, .. }) => bytes(file),
        other => panic!("{other:?}"),
    }
}

const PLAIN: &[u8] = b"Subject: x\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n";

/// Where a message is and when it came.
fn state() -> Reply {
    Reply::json(&json!({"id": "m", "parentFolderId": "AAMkX", "receivedDateTime": "2026-11-24T04:00:00Z"}))
}

/// Whether this asks where a message is.
fn is_state(asked: &Asked) -> bool {
    asked.param("$select").contains("parentFolderId")
}

#[tokio::test]
async fn bodies_come_as_they_are_three_at_once_and_what_is_gone_is_told() {
    let looked_for = AtomicUsize::new(0);
    let server = Server::start(move |_, asked| match asked.path.as_str() {
        "/me/messages/gone" | "/me/messages/left/$value" => Reply::error(404, "ErrorItemNotFound", ""),
        // it leaves while it is fetched
        "/me/messages/left" if looked_for.fetch_add(1, Ordering::SeqCst) > 0 => {
            Reply::error(404, "ErrorItemNotFound", "")
        }
        path if path.ends_with("/$value") => Reply::mime(PLAIN).after(Duration::from_millis(20)),
        _ => state(),
    })
    .await;
    let names: Vec<String> = (0..12).map(|n| format!("m{n:02}")).collect();
    let mut ids: Vec<&str> = names.iter().map(String::as_str).collect();
    ids.extend(["gone", "left"]);
    let (result, answers) = fetch(&server, "source = inbox", &ids).await;
    result.unwrap();
    assert_eq!(answers.len(), 14);
    for (key, content) in &answers {
        match content {
            Ok(Content::Gone) => assert!(matches!(key.as_str(), "gone" | "left"), "{key}"),
            Ok(Content::Mail { file, folder, received }) => {
                assert_eq!((bytes(file).as_slice(), folder.as_str()), (PLAIN, "inbox"));
                assert!(received.is_some());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(server.most_at_once.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_breaks_off_is_asked_for_again_and_a_short_multipart_is_not_believed_at_once() {
    let whole: &[u8] = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n";
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nSub\r\n";
    let short = &whole[..whole.len() - 6];
    for first in [Reply::raw(cut), Reply::mime(short), Reply::raw("HTTP/1.1 200 OK\r\n\r\nSubject: x\r\n\r\nhalf")] {
        let asked = AtomicUsize::new(0);
        let server = Server::start(move |_, request| match asked.fetch_add(1, Ordering::SeqCst) {
            _ if is_state(request) => state(),
            1 => first.clone(),
            _ => Reply::mime(whole),
        })
        .await;
        let (result, answers) = fetch(&server, "", &["m1"]).await;
        result.unwrap();
        assert_eq!(mail(&answers[0].1), whole);
        assert_eq!(server.count("GET /me/messages/m1/$value"), 2);
    }
}

/// A proxy that cuts at its limit cuts at the same place each time: what has no end is put together from its parts.
#[tokio::test]
async fn a_multipart_that_never_ends_is_not_delivered_cut() {
    let short = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n";
    let server = Server::start(move |_, asked| parts(asked, &Reply::mime(short))).await;
    let (result, answers) = fetch(&server, "", &["m1"]).await;
    result.unwrap();
    check(&mail(&answers[0].1));
    assert_eq!(server.count("GET /me/messages/m1/$value"), 3);
}

/// What is taken for gone is never asked for again: only the message itself can say so.
#[tokio::test]
async fn a_message_is_not_gone_because_something_of_it_is() {
    let cases: [(&str, &str, u16, bool); 4] = [
        ("/$value", "ErrorItemNotFound", 404, true),
        ("/$value", "ErrorInvalidIdMalformed", 400, true),
        ("/attachments/a1/$value", "ErrorItemNotFound", 404, false),
        ("/attachments", "ErrorItemNotFound", 404, false),
    ];
    for (what, code, status, is_had) in cases {
        let server = Server::start(move |_, asked| match asked.path.as_str() {
            "/me/mailFolders/inbox" => Reply::json(&json!({"id": "AAMkINBOX"})),
            path if path == format!("/me/messages/m1{what}") => Reply::error(status, code, ""),
            _ => parts(asked, &Reply::error(500, "ErrorMimeContentConversionFailed", "")),
        })
        .await;
        let (result, answers) = fetch(&server, "", &["m1"]).await;
        result.unwrap();
        match &answers[0].1 {
            content @ Ok(Content::Mail { .. }) if is_had => check(&mail(content)),
            Err(fault) if !is_had => assert!(fault.text.en.contains(code), "{fault}"),
            other => panic!("{what} {code}: {other:?}"),
        }
    }
}

/// A server that cannot make MIME of this message, and has its parts.
fn parts(asked: &Asked, mime: &Reply) -> Reply {
    let path = asked.path.strip_prefix("/me/messages/m1").unwrap_or_default();
    match path {
        _ if is_state(asked) => state(),
        "/$value" => mime.clone(),
        "" => Reply::json(&json!({
            "subject": "Facture nº 12 d'été, très longue, qui ne tient pas dans une seule ligne de cet en-tête",
            "from": {"emailAddress": {"name": "Société \"Évreux\"", "address": "a@example.test"}},
            "toRecipients": [{"emailAddress": {"name": "Doe, Jane", "address": "j@example.test"}}, {"emailAddress": {"address": "k@example.test"}}],
            "ccRecipients": [], "internetMessageId": "<42@example.test>\r\nBcc: x@evil.test",
            "sentDateTime": "2026-11-24T04:00:00Z", "webLink": "https://outlook.test/42",
            "body": {"contentType": "html", "content": "<p>Voilà</p>"}
        })),
        "/attachments" if asked.param("$skip").is_empty() => Reply::json(&json!({
            "value": [
                {"@odata.type": "#microsoft.graph.fileAttachment", "id": "a1", "name": "Reçu d'été.pdf", "contentType": "application/pdf", "isInline": false},
                {"@odata.type": "#microsoft.graph.itemAttachment", "id": "a2", "name": "Message joint"}],
            "@odata.nextLink": format!("http://{}/v1.0/me/messages/m1/attachments?$skip=2", asked.header("host"))
        })),
        "/attachments" => Reply::json(&json!({"value": [
            {"@odata.type": "#microsoft.graph.referenceAttachment", "id": "a3", "name": "Plans"},
            {"@odata.type": "#microsoft.graph.fileAttachment", "id": "a4", "name": "logo.png", "contentType": "image/png\r\nX: y", "isInline": true}]})),
        "/attachments/a1/$value" => Reply::chunked(200, "application/pdf", "", &pdf()),
        "/attachments/a2/$value" => Reply::mime(b"Subject: inside\r\n\r\nx\r\n"),
        "/attachments/a4/$value" => Reply::chunked(200, "image/png", "", b""),
        path => panic!("{path}"),
    }
}

fn pdf() -> Vec<u8> {
    (0..100_000_u32).map(|n| (n % 251) as u8).collect()
}

/// Leaves: media type, name, content.
#[derive(Default)]
struct Parts(Vec<(String, Option<String>, Vec<u8>)>);

impl Visitor for Parts {
    fn message(&mut self, _: &Head) -> io::Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }

    fn part(&mut self, part: &PartHead) -> io::Result<bool> {
        self.0.push((part.media_type.clone(), part.name.clone(), Vec::new()));
        Ok(true)
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.last_mut().unwrap().2.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, damage: Option<Damage>) -> io::Result<()> {
        assert_eq!(damage, None);
        Ok(())
    }
}

fn leaves(message: &[u8]) -> Parts {
    let mut parts = Parts::default();
    let walked = walk(message, &Limits::default(), &mut parts).unwrap();
    assert_eq!(walked.damage, []);
    parts
}

#[tokio::test]
async fn a_message_without_mime_is_put_together_from_its_parts() {
    let for_ever = Reply::error(500, "ErrorMimeContentConversionFailed", "MIME content conversion failed.");
    let too_large = Reply::error(504, "UnknownError", "");
    let cut = Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\nSubject: x\r\n");
    for (mime, asked_for) in [(for_ever, 1), (too_large, 4), (cut, 3)] {
        let server = Server::start(move |_, asked| parts(asked, &mime)).await;
        let (result, answers) = fetch(&server, "", &["m1"]).await;
        result.unwrap();
        assert_eq!(server.count("GET /me/messages/m1/$value"), asked_for);
        let message = mail(&answers[0].1);
        check(&message);
        let listed = server.all().into_iter().find(|asked| asked.path.ends_with("/attachments")).unwrap();
        // without it every content comes along
        assert!(listed.param("$select").starts_with("id,name"), "{listed:?}");
    }
}

fn check(message: &[u8]) {
    let end = message.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = Head::parse(&message[..end]);
    let subject = "Facture nº 12 d'été, très longue, qui ne tient pas dans une seule ligne de cet en-tête";
    assert_eq!(head.subject.as_deref(), Some(subject));
    assert_eq!(head.message_id.as_deref(), Some("<42@example.test>"));
    assert!(head.from.as_deref().is_some_and(|from| from.contains("a@example.test")), "{:?}", head.from);
    assert!(head.date.is_some());
    let text = String::from_utf8_lossy(message);
    assert!(!text.lines().any(|line| line.starts_with("Bcc:") || line.starts_with("X:")), "a header was added");
    assert!(text.lines().all(|line| line.len() < 998));
    let leaves: Vec<_> = leaves(message).0;
    let told: Vec<_> = leaves.iter().map(|(kind, name, _)| (kind.as_str(), name.as_deref())).collect();
    let expected = [
        ("text/html", None),
        ("application/pdf", Some("Reçu d'été.pdf")),
        ("message/rfc822", Some("Message joint.eml")),
        ("text/plain", Some("Plans.txt")),
        ("application/octet-stream", Some("logo.png")),
    ];
    assert_eq!(told, expected);
    assert_eq!(leaves[0].2, "<p>Voilà</p>".as_bytes());
    assert_eq!(leaves[1].2, pdf());
    assert!(leaves[2].2.starts_with(b"Subject: inside\r\n\r\nx"), "{:?}", leaves[2]);
    assert!(String::from_utf8_lossy(&leaves[3].2).contains("https://outlook.test/42"));
    assert!(leaves[4].2.is_empty());
}

/// What Exchange keeps of a signed message is a MIME entity of its own; of an opaque one the CMS bytes.
#[tokio::test]
async fn a_signed_message_is_put_together_so_that_its_documents_are_found() {
    let entity: &[u8] = b"Content-Type: multipart/signed; boundary=s; protocol=\"application/pkcs7-signature\"\r\n\r\n\
        --s\r\nContent-Type: application/pdf; name=f.pdf\r\n\r\n%PDF\r\n--s\r\nContent-Type: application/pkcs7-signature; name=smime.p7s\r\n\r\nx\r\n--s--\r\n";
    let cases: [(&str, &[u8], &[&str]); 2] =
        [("multipart/signed", entity, &["f.pdf", "smime.p7s"]), ("application/pkcs7-mime", b"not CMS", &["smime.p7m"])];
    for (kind, content, names) in cases {
        let content = content.to_vec();
        let server = Server::start(move |_, asked| match asked.path.as_str() {
            _ if is_state(asked) => state(),
            "/me/messages/m1/$value" => Reply::error(500, "ErrorMimeContentConversionFailed", ""),
            "/me/messages/m1/attachments" => Reply::json(&json!({"value": [
                {"@odata.type": "#microsoft.graph.fileAttachment", "id": "a1", "name": "smime.p7m", "contentType": kind}]})),
            "/me/messages/m1" => Reply::json(&json!({"subject": "signed"})),
            _ => Reply::chunked(200, "x/y", "", &content),
        })
        .await;
        let (result, answers) = fetch(&server, "", &["m1"]).await;
        result.unwrap();
        let mut parts = Parts::default();
        let message = mail(&answers[0].1);
        walk(message.as_slice(), &Limits::default(), &mut parts).unwrap();
        let found: Vec<_> = parts.0.iter().filter_map(|(_, name, _)| name.as_deref()).collect();
        assert_eq!(found, names, "{}", String::from_utf8_lossy(&message));
    }
}

#[tokio::test]
async fn a_message_of_which_nothing_can_be_had_fails_alone_and_not_for_the_service() {
    let failing = |folder: fn() -> Reply| {
        Server::start(move |_, asked: &Asked| match asked.path.as_str() {
            _ if is_state(asked) => state(),
            path if path.starts_with("/me/mailFolders") => folder(),
            path if path.starts_with("/me/messages/bad") => Reply::error(500, "ErrorContentConversionFailed", "no"),
            _ => Reply::mime(PLAIN),
        })
    };
    let server = failing(|| Reply::json(&json!({"id": "AAMkINBOX"}))).await;
    let (result, answers) = fetch(&server, "", &["bad", "good"]).await;
    result.unwrap();
    let fault = answers[0].1.as_ref().unwrap_err();
    assert!(fault.code == Code::Protocol && fault.text.en.contains("nor its parts"), "{fault}");
    assert!(
        fault.text.fr.contains("ErrorContentConversionFailed") && fault.text.en.contains("request-id srv-1"),
        "{fault}"
    );
    assert_eq!(mail(&answers[1].1), PLAIN);
    // it is the mailbox that cannot be read
    let server = failing(|| Reply::error(503, "serviceNotAvailable", "")).await;
    let (result, answers) = fetch(&server, "", &["bad"]).await;
    assert_eq!((result.unwrap_err().fault().code, answers.len()), (Code::Connect, 0));
}

/// Somebody else's folder may be open where the inbox is not: a bad message in it stops no other one.
#[tokio::test]
async fn the_folder_that_is_read_tells_whether_the_mailbox_can_be() {
    let server = Server::start(|_, asked| match asked.path.as_str() {
        _ if is_state(asked) => state(),
        "/me/mailFolders/AAMkX" => Reply::json(&json!({"id": "AAMkX"})),
        "/me/mailFolders/inbox" => Reply::error(403, "ErrorAccessDenied", ""),
        _ => Reply::error(500, "ErrorContentConversionFailed", "no"),
    })
    .await;
    let fetcher = Fetcher {
        client: client(&server, "").0,
        voice: voice().0,
        largest: 1 << 20,
        first_retry: Duration::from_millis(1),
        known: std::sync::Arc::default(),
        folders: [("AAMkX".to_owned(), "Factures".to_owned())].into(),
        source: "Factures".to_owned(),
    };
    let dir = tempfile::tempdir().unwrap();
    let brought = fetcher.bring(&ItemKey::new("bad"), &Spool::open(dir.path()).unwrap()).await;
    assert!(matches!(brought, Ok(Err(ref fault)) if fault.code == Code::Protocol), "{brought:?}");
}

#[tokio::test]
async fn nobody_who_wants_the_rest_ends_the_call() {
    let server = Server::start(|_, asked| if is_state(asked) { state() } else { Reply::mime(PLAIN) }).await;
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path()).unwrap();
    let (sender, receiver) = outlet(1);
    drop(receiver);
    let names: Vec<String> = (0..50).map(|n| format!("m{n}")).collect();
    let batch = items(&names.iter().map(String::as_str).collect::<Vec<_>>());
    graph(&server, "").fetch(&batch, &spool, sender).await.unwrap();
    assert!(server.all().len() < 20, "{}", server.all().len());
}

#[tokio::test]
async fn a_reissued_message_is_known_by_its_header_block_and_others_by_what_the_list_says() {
    let server = Server::start(|_, asked| match asked.path.as_str() {
        "/me/messages/gone" | "/me/messages/gone/$value" => Reply::error(404, "ErrorItemNotFound", ""),
        "/me/messages/large/$value" => Reply::error(504, "UnknownError", ""),
        "/me/mailFolders/inbox" => Reply::json(&json!({"id": "AAMkINBOX"})),
        _ if is_state(asked) => state(),
        _ => Reply::mime(PLAIN),
    })
    .await;
    let mut batch = items(&["m1", "large", "gone", "m2"]);
    (batch[0].reissued, batch[1].reissued) = (true, true);
    let prints = graph(&server, "").identify(&batch).await.unwrap();
    let print = |id: &str| prints.iter().find(|(key, _)| key.as_str() == id).map(|(_, print)| print);
    let head = PLAIN.split(|byte| *byte == b'\r').count();
    assert!(head > 3 && print("gone").is_none() && prints.len() == 2);
    let expected = crate::source::Fingerprint::of(&PLAIN[..PLAIN.len() - 7], None);
    assert_eq!(print("m1").unwrap(), &expected);
    assert!(print("m2").unwrap().date.is_some());
    assert_eq!(server.count("GET /me/messages/m2/$value"), 0);
}
