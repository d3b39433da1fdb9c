//! Tokens, pauses, cuts, links and redirects.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::server::{Asked, Reply, Server};
use super::{client, launcher};
use crate::model::Code;
use crate::source::SourceError;
use crate::source::graph::client::{Client, Request};
use crate::source::graph::trouble::Refusal;

async fn ask(client: &Client, request: &Request) -> Result<Result<Value, Refusal>, SourceError> {
    client.json(request).await
}

/// Answers the first requests with `first`, then with an empty object.
async fn once(first: Vec<Reply>) -> Server {
    let number = AtomicUsize::new(0);
    Server::start(move |_, _| {
        let at = number.fetch_add(1, Ordering::SeqCst);
        first.get(at).cloned().unwrap_or_else(|| Reply::json(&json!({"id": "x"})))
    })
    .await
}

#[tokio::test]
async fn every_request_has_a_token_an_id_of_its_own_and_asks_for_immutable_ids() {
    let server = once(Vec::new()).await;
    let (client, _) = client(&server, "mailbox = factures@example.test");
    for _ in 0..2 {
        ask(&client, &client.get(&["mailFolders", "in/box"], "$select=id")).await.unwrap().unwrap();
    }
    ask(&client, &client.get(&["x"], "").pages_of(50)).await.unwrap().unwrap();
    let asked = server.all();
    assert_eq!(asked[0].path, "/users/factures@example.test/mailFolders/in/box");
    assert_eq!((asked[0].header("authorization"), asked[0].param("$select")), ("Bearer token-1", "id"));
    assert_eq!(asked[0].header("prefer"), "IdType=\"ImmutableId\"");
    assert_eq!(asked[2].header("prefer"), "IdType=\"ImmutableId\", odata.maxpagesize=50");
    let ids: Vec<&str> = asked.iter().map(|asked| asked.header("client-request-id")).collect();
    assert!(ids[0] != ids[1] && ids[0].len() == 36 && &ids[0][14..15] == "4", "{ids:?}");
}

#[tokio::test]
async fn a_401_is_answered_with_a_fresh_token_once_and_claims_are_passed_on() {
    let claims = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ";
    let header = format!(
        "WWW-Authenticate: Bearer realm=\"\", authorization_uri=\"https://x\", error=\"insufficient_claims\", claims=\"{claims}\"\r\n"
    );
    for status in [401, 403] {
        let refusal = Reply::error_with(status, "InvalidAuthenticationToken", "token-1 is not good", &header);
        let server = once(vec![refusal.clone()]).await;
        let (one, tokens) = client(&server, "");
        ask(&one, &one.get(&[], "")).await.unwrap().unwrap();
        let decoded = r#"{"access_token":{"nbf":{"essential":true}}}"#;
        assert_eq!(*tokens.refused.lock().unwrap(), [("token-1".to_owned(), Some(decoded.to_owned()))]);
        assert_eq!(server.all()[1].header("authorization"), "Bearer token-2");
        // a server that repeats what it was sent
        let server = Server::start(move |_, asked| {
            Reply::error(401, "InvalidAuthenticationToken", asked.header("authorization"))
        });
        let server = server.await;
        let (two, _) = client(&server, "");
        let error = ask(&two, &two.get(&[], "")).await.unwrap_err();
        let text = &error.fault().text;
        assert!(matches!(error, SourceError::Credentials(_)), "{error}");
        assert!(text.en.contains("InvalidAuthenticationToken") && text.en.contains("request-id srv-1"), "{text}");
        assert!(text.en.contains("client-request-id ") && text.fr.contains("`pertuis login "), "{}", text.fr);
        assert!(text.en.contains("Bearer ***") && !text.en.contains("token-2"), "{text}");
        assert_eq!(server.all().len(), 2);
    }
}

#[tokio::test]
async fn no_request_comes_before_the_pause_is_over_whatever_its_form() {
    for (value, least) in [("1", 1.0), ("0.628", 0.628), ("date", 0.95), ("0", 0.002)] {
        for status in [429, 503, 500] {
            let number = AtomicUsize::new(0);
            let server = Server::start(move |_, _| {
                let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
                let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
                let value = if value == "date" { date.as_str() } else { value };
                match number.fetch_add(1, Ordering::SeqCst) {
                    0 => Reply::error_with(status, "TooManyRequests", "", &format!("Retry-After: {value}\r\n")),
                    _ => Reply::json(&json!({"id": "x"})),
                }
            });
            let server = server.await;
            let (one, _) = client(&server, "");
            // another launcher of the same mailbox keeps quiet, too
            let (other, _) = client(&server, "");
            ask(&one, &one.get(&[], "")).await.unwrap().unwrap();
            ask(&other, &other.get(&[], "")).await.unwrap().unwrap();
            let asked = server.all();
            let waited = asked[1].at - asked[0].at;
            assert!(waited >= Duration::from_secs_f64(least), "{value} {status}: {waited:?}");
        }
    }
}

#[tokio::test]
async fn the_whole_mailbox_is_left_alone_and_a_long_pause_ends_the_cycle_at_once() {
    let pause = Reply::error_with(429, "ApplicationThrottled", "over its limit", "Retry-After: 120\r\n");
    let server = once(vec![pause]).await;
    for _ in 0..2 {
        // each of a cycle of its own
        let (one, _) = client(&server, "");
        let began = Instant::now();
        let error = ask(&one, &one.get(&[], "")).await.unwrap_err();
        let SourceError::Connection { fault, retry_after } = error else { panic!("{error}") };
        assert_eq!(fault.code, Code::Throttled, "{fault}");
        assert!(retry_after.is_some_and(|left| left > Duration::from_secs(100)), "{retry_after:?}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    assert_eq!(server.all().len(), 1, "asked again although the mailbox is to be left alone");
}

#[tokio::test]
async fn trouble_that_passes_is_tried_again_within_bounds() {
    for status in [500, 502, 503, 504, 429, 509] {
        let server = once(vec![Reply::error(status, "UnknownError", ""); 3]).await;
        let (one, _) = client(&server, "");
        ask(&one, &one.get(&[], "")).await.unwrap().unwrap();
        let server = once(vec![Reply::error(status, "UnknownError", ""); 9]).await;
        let (two, _) = client(&server, "");
        let code = match ask(&two, &two.get(&[], "")).await {
            Ok(answer) => answer.unwrap_err().error().fault().code,
            Err(error) => error.fault().code,
        };
        assert_eq!(code, if matches!(status, 429 | 509) { Code::Throttled } else { Code::Connect }, "{status}");
        assert_eq!(server.all().len(), 4, "{status}");
    }
    for (status, code) in [(500, "ErrorMimeContentConversionFailed"), (404, "ErrorItemNotFound"), (400, "BadRequest")] {
        let server = once(vec![Reply::error(status, code, ""); 9]).await;
        let (one, _) = client(&server, "");
        assert!(ask(&one, &one.get(&[], "")).await.unwrap().unwrap_err().is(code));
        assert_eq!(server.all().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn cut_answers_and_those_without_a_known_end_are_refused() {
    let cuts: [(&str, &str); 6] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"id\":\"x\"}", "length"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{\"id\":\"x\"}\r\n", "no last chunk"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{\"id\":\"x\"}\r\n0\r\n",
            "no end of the last chunk",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"id\":\"x\"}", "close-delimited"),
        ("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"id\":\"x\"}", "HTTP/1.0"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n{\"id\":\"x\"}", "coded to the end of the connection"),
    ];
    for (bytes, what) in cuts {
        let server = once(vec![Reply::raw(bytes); 9]).await;
        let (one, _) = client(&server, "");
        let error = ask(&one, &one.get(&[], "")).await.expect_err(what);
        assert!(matches!(error, SourceError::Connection { .. }), "{what}: {error}");
        assert_eq!(server.all().len(), 4, "{what}");
        let server = once(vec![Reply::raw(bytes)]).await;
        let (two, _) = client(&server, "");
        ask(&two, &two.get(&[], "")).await.unwrap().unwrap();
    }
    let whole = "HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n{\"id\":\"x\"}";
    let server = once(vec![Reply::raw(whole)]).await;
    let (one, _) = client(&server, "");
    ask(&one, &one.get(&[], "")).await.unwrap().unwrap();
    assert_eq!(server.all().len(), 1);
}

#[tokio::test]
async fn a_silent_server_and_a_dribbling_one_are_given_up() {
    let silent = Reply { hang: true, ..Reply::raw("") };
    let server = once(vec![silent; 9]).await;
    let mut times = super::TEST_TIMES;
    times.patience = Duration::from_millis(50);
    let client = Client::new(&launcher(&server, ""), Arc::new(super::Tokens::default()), times).unwrap();
    let error = ask(&client, &client.get(&[], "")).await.unwrap_err();
    assert!(error.fault().text.en.contains("has not answered"), "{error}");
    let half = Reply { hang: true, ..Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{") };
    let server = once(vec![half; 9]).await;
    let client = Client::new(&launcher(&server, ""), Arc::new(super::Tokens::default()), times).unwrap();
    let error = ask(&client, &client.get(&[], "")).await.unwrap_err();
    assert!(error.fault().text.fr.contains("n'a pas répondu"), "{error}");
}

#[tokio::test]
async fn the_token_goes_nowhere_else() {
    let thief = once(Vec::new()).await;
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {}/v1.0/me\r\nContent-Length: 0\r\n\r\n", thief.root);
    let server = once(vec![Reply::raw(redirect)]).await;
    let (client, _) = client(&server, "");
    let error = ask(&client, &client.get(&[], "")).await.unwrap_err();
    assert!(error.fault().text.en.contains("redirects to 127.0.0.1"), "{error}");
    let port = server.root.rsplit(':').next().unwrap();
    for link in [
        format!("{}/v1.0/me?$skip=1", thief.root),
        format!("https://127.0.0.1:{port}/v1.0/me"),
        format!("http://127.0.0.1:{port}@evil.test/v1.0"),
        "//evil.test/x".to_owned(),
        "me?$skip=1".to_owned(),
    ] {
        let error = client.follow(&link).map(|_| ()).expect_err(&link);
        assert_eq!(error.fault().code, Code::Protocol, "{link}");
    }
    client.follow(&format!("{}/v1.0/me?$skip=1", server.root)).unwrap();
    assert_eq!((thief.all().len(), server.all().len()), (0, 1));
}

#[tokio::test]
async fn answers_that_are_none_of_graph_are_told_as_such() {
    let page = |asked: &Asked| asked.path.clone();
    let html = "<html><body>Sign in to the proxy</body></html>";
    let server = once(vec![Reply::chunked(200, "text/html", "", html.as_bytes()); 9]).await;
    let (one, _) = client(&server, "");
    let error = ask(&one, &one.get(&[], "")).await.unwrap_err();
    assert!(error.fault().text.en.contains("something else than Microsoft Graph"), "{error}");
    assert_eq!(page(&server.all()[0]), "/me");
    let server = once(vec![Reply::chunked(403, "text/html", "", html.as_bytes())]).await;
    let (two, _) = client(&server, "");
    let refusal = ask(&two, &two.get(&[], "")).await.unwrap().unwrap_err();
    assert_eq!((refusal.status, refusal.message.as_str()), (403, "(HTML)"));
    // an error inside a list that had begun
    let inside = json!({"value": [{"id": "1"}, {"error": {"code": "InternalServerError", "message": "m"}}]});
    let server = once(vec![Reply::json(&inside)]).await;
    let (three, _) = client(&server, "");
    assert!(ask(&three, &three.get(&[], "")).await.unwrap().unwrap_err().is("InternalServerError"));
    // JSON without an end
    let endless = format!("{{\"id\":\"{}\"}}", "x".repeat(17 << 20));
    let server = once(vec![Reply::json(&serde_json::from_str(&endless).unwrap()); 4]).await;
    let (four, _) = client(&server, "");
    let error = ask(&four, &four.get(&[], "")).await.unwrap_err();
    assert!(error.fault().text.en.contains("without an end"), "{error}");
}

#[tokio::test]
async fn no_more_than_three_requests_are_under_way_for_a_sign_in() {
    let server = Server::start(|_, _| Reply::json(&json!({"id": "x"})).after(Duration::from_millis(20))).await;
    // two launchers, two mailboxes, one sign-in
    let (one, _) = client(&server, "tenant = example.test");
    let (two, _) = client(&server, "tenant = Example.test\nmailbox = other@example.test");
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..24 {
        let client = if n % 2 == 0 { one.clone() } else { two.clone() };
        tasks.spawn(async move { ask(&client, &client.get(&[], "")).await.unwrap().map(drop).unwrap() });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    assert_eq!(server.most_at_once.load(Ordering::SeqCst), 3);
}
