//! The simulator of Microsoft 365 keeps its word: plain requests to it, and what the real one would answer.
//!
//! What is wrong here would make the tests of the program prove nothing. No part of the program runs.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, SigningKey as _};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::support::mails::{bytes, mail};
use crate::support::microsoft::entra::{Barred, Busy, Kill, Rotation};
use crate::support::microsoft::faults::Fault;
use crate::support::microsoft::mailbox::{Attachment, AttachmentKind, Kind};
use crate::support::microsoft::{DAEMON, MARIE, Microsoft, PUBLIC, SECRET, SHARED, TENANT};
use crate::support::oidc::{self, Lifetimes, Oidc};

// ---- a small client -------------------------------------------------------------------------------------------------

/// What came back.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    /// The end of the body was seen.
    whole: bool,
}

impl Got {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Status and code of a refusal by Graph.
    fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
    }
}

fn request(root: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Got {
    let host = root.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let (head, rest) = (String::from_utf8(all[..end].to_vec()).unwrap(), &all[end + 4..]);
    let headers: BTreeMap<String, String> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let chunked = headers.get("transfer-encoding").is_some_and(|value| value == "chunked");
    let (body, whole) = if chunked { dechunked(rest) } else { (rest.to_vec(), headers.contains_key("content-length")) };
    Got { status, headers, body, whole }
}

fn dechunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let upto = (end + 2 + size).min(rest.len());
        body.extend_from_slice(&rest[end + 2..upto]);
        rest = rest.get(upto + 2..).unwrap_or_default();
    }
    (body, false)
}

fn form(fields: &[(&str, &str)]) -> String {
    let one = |(name, value): &(&str, &str)| {
        let value: Vec<String> = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("{name}={}", value.concat())
    };
    fields.iter().map(one).collect::<Vec<_>>().join("&")
}

fn post(root: &str, target: &str, fields: &[(&str, &str)]) -> Got {
    request(root, "POST", target, &[("Content-Type", "application/x-www-form-urlencoded")], &form(fields))
}

const SCOPE: &str = "https://graph.microsoft.com/Mail.ReadWrite offline_access openid profile";
const BY_CODE: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
const BY_TOKEN: (&str, &str) = ("grant_type", "refresh_token");

fn token(server: &Microsoft, fields: &[(&str, &str)]) -> Got {
    post(&server.root(), "/organizations/oauth2/v2.0/token", fields)
}

/// A device code: (code, user code).
fn code(server: &Microsoft) -> (String, String) {
    let target = "/organizations/oauth2/v2.0/devicecode?mkt=fr-FR";
    let got = post(&server.root(), target, &[("client_id", PUBLIC), ("scope", SCOPE)]);
    assert_eq!(got.status, 200, "{got:?}");
    let said = got.json();
    assert!(said["message"].as_str().unwrap().starts_with("Pour vous connecter"), "{said}");
    assert!(said.get("verification_uri_complete").is_none() && said["interval"] == 5 && said["expires_in"] == 900);
    (said["device_code"].as_str().unwrap().into(), said["user_code"].as_str().unwrap().into())
}

fn poll(server: &Microsoft, code: &str) -> Got {
    token(server, &[BY_CODE, ("client_id", PUBLIC), ("device_code", code)])
}

/// Signs Marie in: the tokens.
fn sign_in(server: &Microsoft) -> Value {
    let (code, user_code) = code(server);
    server.world().entra.approve(&user_code, MARIE);
    let got = poll(server, &code);
    assert_eq!(got.status, 200, "{got:?}");
    got.json()
}

fn refresh(server: &Microsoft, token: &str) -> Got {
    self::token(server, &[BY_TOKEN, ("client_id", PUBLIC), ("refresh_token", token), ("scope", SCOPE)])
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no {field}: {value}")).to_owned()
}

/// A client of Graph with a token.
struct Client {
    root: String,
    token: String,
}

impl Client {
    fn marie(server: &Microsoft) -> Self {
        Self { root: server.root(), token: text(&sign_in(server), "access_token") }
    }

    fn ask(&self, method: &str, target: &str, body: &str) -> Got {
        let token = format!("Bearer {}", self.token);
        let headers = [("Authorization", token.as_str()), ("Prefer", "IdType=\"ImmutableId\"")];
        request(&self.root, method, target, &headers, body)
    }

    fn get(&self, target: &str) -> Got {
        self.ask("GET", target, "")
    }
}

fn ids(page: &Value) -> Vec<String> {
    page["value"].as_array().unwrap().iter().map(|one| text(one, "id")).collect()
}

// ---- Entra ----------------------------------------------------------------------------------------------------------

/// Status, `error`, first AADSTS code and `suberror` of a refusal; the form of the envelope is seen on the way.
fn refused(got: &Got) -> (u16, String, u64, String) {
    let said = got.json();
    let (description, code) = (text(&said, "error_description"), said["error_codes"][0].as_u64().unwrap());
    assert!(description.starts_with(&format!("AADSTS{code}: ")) && description.contains("\r\nTrace ID: "));
    assert!(got.text().starts_with("{\"error\":\"") && text(&said, "timestamp").contains(' '), "{said}");
    assert_eq!(got.headers["content-type"], "application/json; charset=utf-8");
    assert_eq!(
        (got.headers["cache-control"].as_str(), got.headers["pragma"].as_str()),
        ("no-store, no-cache", "no-cache")
    );
    (got.status, text(&said, "error"), code, said["suberror"].as_str().unwrap_or_default().to_owned())
}

fn said(status: u16, error: &str, code: u64, suberror: &str) -> (u16, String, u64, String) {
    (status, error.to_owned(), code, suberror.to_owned())
}

#[test]
fn device_codes_are_pending_declined_used_and_over() {
    let server = Microsoft::start();
    let (first, user_code) = code(&server);
    assert!(user_code.len() == 9 && !user_code.contains(['0', '1', 'I', 'O']), "{user_code}");
    assert_eq!(refused(&poll(&server, &first)), said(400, "authorization_pending", 70016, ""));
    server.world().entra.slow_down = true;
    assert_eq!(poll(&server, &first).json()["error"], "slow_down");
    server.world().entra.slow_down = false;
    let elsewhere = post(
        &server.root(),
        &format!("/{TENANT}/oauth2/v2.0/token"),
        &[BY_CODE, ("client_id", PUBLIC), ("device_code", &first)],
    );
    assert_eq!(refused(&elsewhere), said(400, "bad_verification_code", 70018, ""));
    server.world().entra.approve(&user_code, MARIE);
    let tokens = poll(&server, &first).json();
    assert_eq!((tokens["token_type"].as_str(), tokens["expires_in"].as_u64()), (Some("Bearer"), Some(3599)));
    let claims = text(&tokens, "id_token");
    let claims = URL_SAFE_NO_PAD.decode(claims.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((claims["preferred_username"].as_str(), claims["tid"].as_str()), (Some(MARIE), Some(TENANT)));
    assert_eq!(refused(&poll(&server, &first)), said(400, "invalid_grant", 54005, ""));
    let (second, user_code) = code(&server);
    server.world().entra.decline(&user_code);
    assert_eq!(refused(&poll(&server, &second)), said(400, "authorization_declined", 70018, ""));
    let (third, _) = code(&server);
    server.world().clock.advance(Duration::from_secs(901));
    assert_eq!(refused(&poll(&server, &third)), said(400, "expired_token", 70020, ""));
}

#[test]
fn a_sign_in_can_be_barred_after_the_approval() {
    for (barred, expected) in [
        (Barred::Consent, said(400, "invalid_grant", 65001, "consent_required")),
        (Barred::ConditionalAccess("access_denied"), said(400, "access_denied", 53003, "message_only")),
        (Barred::Mfa, said(400, "invalid_grant", 50076, "basic_action")),
    ] {
        let server = Microsoft::start();
        server.world().entra.person(MARIE).barred = Some(barred);
        let (code, user_code) = code(&server);
        server.world().entra.approve(&user_code, MARIE);
        let got = poll(&server, &code);
        assert_eq!(refused(&got), expected);
        assert_eq!(got.json().get("claims").is_some(), matches!(barred, Barred::ConditionalAccess(_)));
    }
    let server = Microsoft::start();
    let (code, user_code) = code(&server);
    server.world().entra.app(PUBLIC).public = false;
    server.world().entra.approve(&user_code, MARIE);
    assert_eq!(refused(&poll(&server, &code)), said(401, "invalid_client", 7_000_218, ""));
}

#[test]
fn mistakes_of_the_request_have_their_numbers() {
    let server = Microsoft::start();
    server.world().entra.app(DAEMON).multi_tenant = false;
    let outlook = "https://outlook.office.com/IMAP.AccessAsUser.All";
    let both = format!("https://graph.microsoft.com/Mail.Read {outlook}");
    let table: [(&str, &[(&str, &str)], _); 7] = [
        ("organizations", &[("scope", SCOPE)], said(400, "invalid_request", 900_144, "")),
        ("organizations", &[("client_id", PUBLIC)], said(400, "invalid_request", 900_144, "")),
        ("nowhere", &[("client_id", PUBLIC), ("scope", SCOPE)], said(400, "invalid_request", 90002, "")),
        ("common", &[("client_id", "x"), ("scope", SCOPE)], said(400, "unauthorized_client", 700_016, "")),
        ("common", &[("client_id", DAEMON), ("scope", SCOPE)], said(400, "invalid_request", 50194, "")),
        (
            "common",
            &[("client_id", PUBLIC), ("scope", "https://graph.microsoft.com/Mail.Nothing")],
            said(400, "invalid_scope", 70011, ""),
        ),
        ("common", &[("client_id", PUBLIC), ("scope", &both)], said(400, "invalid_scope", 700_022, "")),
    ];
    for (tenant, fields, expected) in table {
        let got = post(&server.root(), &format!("/{tenant}/oauth2/v2.0/devicecode"), fields);
        assert_eq!(refused(&got), expected, "{tenant} {fields:?}");
    }
    let got = request(&server.root(), "GET", "/common/oauth2/v2.0/devicecode", &[], "");
    assert_eq!(refused(&got), said(400, "invalid_request", 900_561, ""));
}

#[test]
fn refresh_tokens_rotate_in_three_ways_and_die_in_five() {
    let server = Microsoft::start();
    let first = text(&sign_in(&server), "refresh_token");
    let second = text(&refresh(&server, &first).json(), "refresh_token");
    assert!(first != second && refresh(&server, &first).status == 200, "the old one stays good");
    server.world().entra.rotation = Rotation::NoNew;
    assert!(refresh(&server, &second).json().get("refresh_token").is_none());
    server.world().entra.transient = 1;
    assert_eq!(refused(&refresh(&server, &second)), said(400, "invalid_grant", 50089, ""));
    assert_eq!(refresh(&server, &second).status, 200);
    for (kill, code, suberror) in [
        (Kill::Inactive, 700_082, "bad_token"),
        (Kill::Revoked, 50173, "bad_token"),
        (Kill::SignInFrequency, 70043, "token_expired"),
        (Kill::Disabled, 50057, ""),
    ] {
        server.world().entra.kill = Some(kill);
        assert_eq!(refused(&refresh(&server, &second)), said(400, "invalid_grant", code, suberror));
    }
    server.world().entra.kill = None;
    server.world().entra.busy = vec![Busy::Page, Busy::Throttled("3")];
    let busy = refresh(&server, &second);
    assert_eq!((busy.status, busy.headers["retry-after"].as_str()), (429, "3"));
    assert_eq!(refresh(&server, &second).status, 503);
    server.world().clock.advance(Duration::from_hours(91 * 24));
    assert_eq!(refused(&refresh(&server, &second)).2, 700_082, "ninety days");
    let fresh = text(&sign_in(&server), "refresh_token");
    server.world().entra.rotation = Rotation::RevokeOld;
    let next = text(&refresh(&server, &fresh).json(), "refresh_token");
    assert_eq!(refused(&refresh(&server, &fresh)).2, 50173, "an old one is replayed");
    assert_eq!(refused(&refresh(&server, &next)).2, 50173, "and the family is lost");
    assert!(server.world().entra.secrets().contains(&next));
}

#[test]
fn an_app_shows_a_secret_or_signs_with_its_certificate() {
    let server = Microsoft::start();
    let (root, target) = (server.root(), format!("/{TENANT}/oauth2/v2.0/token"));
    let scope = ("scope", "https://graph.microsoft.com/.default");
    let ask = |tenant: &str, fields: &[(&str, &str)]| {
        let all = [&[("grant_type", "client_credentials"), ("client_id", DAEMON)], fields].concat();
        post(&root, &format!("/{tenant}/oauth2/v2.0/token"), &all)
    };
    let good = ask(TENANT, &[scope, ("client_secret", SECRET)]);
    let names: Vec<String> = good.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["access_token", "expires_in", "ext_expires_in", "token_type"]);
    let organizations = ask("organizations", &[scope, ("client_secret", SECRET)]);
    assert_eq!(refused(&organizations), said(400, "invalid_request", 9_001_023, ""));
    let narrow = ask(TENANT, &[("scope", "https://graph.microsoft.com/Mail.Read"), ("client_secret", SECRET)]);
    assert_eq!(refused(&narrow), said(400, "invalid_scope", 70011, ""));
    assert_eq!(refused(&ask(TENANT, &[scope, ("client_secret", "x")])), said(401, "invalid_client", 7_000_215, ""));
    server.world().entra.app(DAEMON).secrets = vec![("old".into(), 1)];
    assert_eq!(refused(&ask(TENANT, &[scope, ("client_secret", "old")])), said(401, "invalid_client", 7_000_222, ""));
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    server.world().entra.app(DAEMON).certificates.push(certificate.der().to_vec());
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let print = encode(&sha2::Sha256::digest(certificate.der()));
    let now = server.world().clock.seconds();
    let assertion = |audience: &str, until: u64, print: &str| {
        let head = json!({"alg": "RS256", "typ": "JWT", "x5t#S256": print});
        let claims = json!({"aud": audience, "iss": DAEMON, "sub": DAEMON, "jti": "1", "nbf": now, "exp": until});
        let text = format!("{}.{}", encode(head.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        format!("{text}.{}", encode(&key.sign(text.as_bytes()).unwrap()))
    };
    let audience = format!("{root}{target}");
    let ask = |assertion: &str| {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        ask(TENANT, &[scope, ("client_assertion_type", kind), ("client_assertion", assertion)])
    };
    assert_eq!(ask(&assertion(&audience, now + 300, &print)).status, 200);
    let padded = format!("{print}=");
    for (assertion, code) in [
        (assertion("https://elsewhere.example", now + 300, &print), 700_027),
        (assertion(&audience, now + 300, &padded), 700_027),
        (assertion(&audience, now - 1, &print), 700_024),
        (assertion(&audience, now + 300, &print) + "AA", 700_027),
    ] {
        assert_eq!(refused(&ask(&assertion)), said(401, "invalid_client", code, ""));
    }
}

// ---- Graph ----------------------------------------------------------------------------------------------------------

#[test]
fn who_may_not_is_told_so_in_the_right_order() {
    let server = Microsoft::start();
    let client = Client::marie(&server);
    let inbox = "/v1.0/me/mailFolders/inbox/messages";
    let nobody = request(&client.root, "GET", inbox, &[], "");
    assert_eq!(nobody.refusal(), (401, "InvalidAuthenticationToken".into()));
    assert!(nobody.headers["www-authenticate"].starts_with("Bearer realm=\"\", authorization_uri="), "{nobody:?}");
    let garbage = Client { root: client.root.clone(), token: "x.y.z".into() }.get(inbox);
    assert!(garbage.text().contains("80049217"), "{garbage:?}");
    assert_eq!(client.get(inbox).status, 200);
    for (who, expected) in [
        ("nobody@contoso.example", (404, "ErrorInvalidUser")),
        ("paul@contoso.example", (404, "MailboxNotEnabledForRESTAPI")),
    ] {
        // the permission to open other people's mailboxes comes first
        let got = client.get(&format!("/v1.0/users/{who}/messages"));
        assert_eq!(got.refusal(), (403, "ErrorAccessDenied".into()));
        let scope = "https://graph.microsoft.com/Mail.ReadWrite.Shared offline_access";
        let old = server.world().entra.issued.refresh_tokens().pop().unwrap();
        let fields = [BY_TOKEN, ("client_id", PUBLIC), ("refresh_token", old.as_str()), ("scope", scope)];
        let wide = Client { root: client.root.clone(), token: text(&token(&server, &fields).json(), "access_token") };
        let got = wide.get(&format!("/v1.0/users/{who}/messages")).refusal();
        assert_eq!(got, (expected.0, expected.1.to_owned()), "{who}");
        assert_eq!(wide.get(&format!("/v1.0/users/{SHARED}/messages")).status, 200);
    }
    server.world().challenge();
    let challenged = client.get(inbox);
    let header = &challenged.headers["www-authenticate"];
    let claims = header.split("claims=\"").nth(1).unwrap().trim_end_matches('"');
    let claims = String::from_utf8(STANDARD.decode(claims).unwrap()).unwrap();
    assert!(header.contains("error=\"insufficient_claims\"") && claims.contains("nbf"), "{header}");
    let old = server.world().entra.issued.refresh_tokens().pop().unwrap();
    let mut fields = vec![BY_TOKEN, ("client_id", PUBLIC), ("refresh_token", old.as_str()), ("scope", SCOPE)];
    let without = Client { root: client.root.clone(), token: text(&token(&server, &fields).json(), "access_token") };
    assert_eq!(without.get(inbox).status, 401);
    fields.push(("claims", &claims));
    let with = Client { root: client.root.clone(), token: text(&token(&server, &fields).json(), "access_token") };
    assert_eq!(with.get(inbox).status, 200);
    server.world().clock.advance(Duration::from_hours(1));
    assert!(with.get(inbox).text().contains("Lifetime validation failed"));
}

#[test]
fn apps_open_only_mailboxes_that_the_policy_names() {
    let server = Microsoft::start();
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", DAEMON),
        ("client_secret", SECRET),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    let got = post(&server.root(), &format!("/{TENANT}/oauth2/v2.0/token"), &fields);
    let app = Client { root: server.root(), token: text(&got.json(), "access_token") };
    assert_eq!(app.get("/v1.0/me/messages").refusal(), (400, "BadRequest".into()));
    assert_eq!(app.get(&format!("/v1.0/users/{SHARED}/messages")).status, 200);
    server.world().entra.app(DAEMON).only = Some(vec![MARIE]);
    let got = app.get(&format!("/v1.0/users/{SHARED}/messages"));
    assert!(got.status == 403 && got.text().contains("Access to OData is disabled."), "{got:?}");
}

#[test]
fn folders_have_pages_levels_and_names() {
    let server = Microsoft::start();
    let client = Client::marie(&server);
    for n in 0..12 {
        server.world().mailbox().make_folder("msgfolderroot", &format!("Dossier {n}"));
    }
    server.world().mailbox().make_folder("inbox", "Factures d'été");
    let first = client.get("/v1.0/me/mailFolders").json();
    assert_eq!(ids(&first).len(), 10);
    let next = text(&first, "@odata.nextLink");
    assert!(next.ends_with("/v1.0/me/mailFolders?%24skip=10"), "{next}");
    let rest = client.get(next.trim_start_matches(&client.root)).json();
    assert!(ids(&rest).len() == 9 && rest.get("@odata.nextLink").is_none(), "{rest}");
    let named = "/v1.0/me/mailfolders('inbox')/childFolders?$filter=displayName%20eq%20'factures%20d''%C3%A9t%C3%A9'";
    let found = client.get(named).json();
    assert_eq!(found["value"][0]["displayName"], "Factures d'été");
    assert_eq!(client.get("/v1.0/me/mailFolders/Inbox").json()["displayName"], "Boîte de réception");
    let wrong = [
        ("/v1.0/me/mailFolders/Factures", (400, "ErrorInvalidIdMalformed")),
        ("/v1.0/me/mailFolders/AQMkADYAAAIBZZ==", (404, "ErrorItemNotFound")),
        ("/v1.0/me/mailFolders?$filter=displayName%20in%20('x')", (400, "ErrorInvalidUrlQueryFilter")),
        ("/v1.0/me/messages/delta", (400, "BadRequest")),
        ("/v1.0/me/messages?$top=1001", (400, "ErrorInvalidParameter")),
        ("/v1.0/me/messages?$filter=isRead%20eq%20false&$orderby=receivedDateTime", (400, "InefficientFilter")),
    ];
    for (target, (status, code)) in wrong {
        assert_eq!(client.get(target).refusal(), (status, code.to_owned()), "{target}");
    }
}

#[test]
fn pages_are_those_of_the_folder_as_it_is_now() {
    let server = Microsoft::start();
    let client = Client::marie(&server);
    for n in 0..6 {
        server.deliver("inbox", &mail(&format!("Facture {n}"), &[]));
    }
    let target = "/v1.0/me/mailFolders/inbox/messages?$select=id,subject&$top=2\
                  &$filter=receivedDateTime%20ge%201970-01-01T00:00:00Z%20and%20isRead%20eq%20false\
                  &$orderby=receivedDateTime%20asc";
    let got = client.get(target);
    assert_eq!(got.headers["preference-applied"], "IdType=\"ImmutableId\"");
    assert!(got.headers["content-type"].starts_with("application/json;odata.metadata=minimal") && got.whole);
    let page = got.json();
    assert_eq!((page["value"][0]["subject"].as_str(), ids(&page).len()), (Some("Facture 0"), 2));
    let next = text(&page, "@odata.nextLink");
    assert!(next.contains("%24select=id%2csubject&%24top=2&") && next.ends_with("&%24skip=2"), "{next}");
    for id in ids(&page) {
        let moved = client.ask("POST", &format!("/v1.0/me/messages/{id}/move"), "{\"destinationId\":\"archive\"}");
        assert_eq!((moved.status, text(&moved.json(), "id")), (201, id), "an immutable id outlives a move");
    }
    let rest = client.get(next.trim_start_matches(&client.root)).json();
    assert_eq!(rest["value"][0]["subject"], "Facture 4", "two were skipped, as by the real one");
    let ordinary = |client: &Client| {
        let token = format!("Bearer {}", client.token);
        let target = "/v1.0/me/mailFolders/archive/messages?$select=id";
        request(&client.root, "GET", target, &[("Authorization", &token)], "").json()
    };
    let before = ids(&ordinary(&client)).remove(0);
    assert!(before.contains('/') && before.starts_with("AAMk"), "{before}");
    let path = format!("/v1.0/me/messages/{}", before.replace('/', "%2F").replace('+', "%2B"));
    assert_eq!(client.ask("POST", &format!("{path}/move"), "{\"destinationId\":\"inbox\"}").status, 201);
    assert_eq!(client.get(&path).refusal(), (404, "ErrorItemNotFound".into()), "an ordinary id does not");
}

#[test]
fn the_quirks_of_pages_can_be_switched_on() {
    let server = Microsoft::start();
    let client = Client::marie(&server);
    let numbers: Vec<u64> = (0..8).map(|n| server.deliver("inbox", &mail(&format!("Facture {n}"), &[]))).collect();
    let target = "/v1.0/me/mailFolders/inbox/messages?$select=id,subject&$top=4";
    server.world().faults.quirks.short_pages = true;
    assert_eq!(ids(&client.get(target).json()).len(), 2);
    server.world().faults.quirks.skip_gap = true;
    assert!(text(&client.get(target).json(), "@odata.nextLink").ends_with("skip=6"));
    server.world().faults.quirks.lost_next_links = 1;
    assert!(client.get(target).json().get("@odata.nextLink").is_none());
    server.world().faults.quirks.empty_pages = 1;
    let empty = client.get(target).json();
    assert!(ids(&empty).is_empty() && text(&empty, "@odata.nextLink").ends_with("skip=0"), "{empty}");
    server.world().faults.quirks.empty_pages = 0;
    server.world().mailbox().message(numbers[7]).kind = Kind::Corrupt;
    assert_eq!(client.get(target).refusal(), (500, "InternalServerError".into()));
    let only_ids = client.get(&target.replace("id,subject", "id")).json();
    let corrupt = format!("/v1.0/me/messages/{}", ids(&only_ids)[0]);
    assert_eq!(client.get(&corrupt).refusal(), (500, "ErrorContentConversionFailed".into()));
}

#[test]
fn a_message_has_its_bytes_its_parts_and_its_deeds() {
    let server = Microsoft::start();
    let client = Client::marie(&server);
    let content = bytes(1, 40_000);
    let mime = mail("Facture", &[("facture d'été.pdf", &content)]);
    let number = server.deliver("inbox", &mime);
    let id = server.world().mailbox().immutable_id(number);
    let path = format!("/v1.0/me/mailFolders/inbox/messages/{id}");
    let raw = client.get(&format!("{path}/$value"));
    assert_eq!((raw.headers["content-type"].as_str(), &raw.body), ("text/plain", &mime));
    assert_eq!(raw.headers["transfer-encoding"], "chunked");
    let whole = client.get(&path).json();
    assert_eq!(
        (whole["isDeliveryReceiptRequested"].is_null(), whole["flag"]["flagStatus"].as_str()),
        (true, Some("notFlagged"))
    );
    assert_eq!(
        (text(&whole, "internetMessageId"), whole["hasAttachments"].as_bool()),
        ("<Facture@example.org>".into(), Some(true))
    );
    assert!(whole.get("internetMessageHeaders").is_none(), "only when it is chosen");
    let list = client.get(&format!("{path}/attachments?$select=id,name,contentType,size,isInline")).json();
    let part = &list["value"][0];
    assert_eq!((part["name"].as_str(), part.get("contentBytes")), (Some("facture d'été.pdf"), None));
    assert!(part["size"].as_u64().unwrap() > 40_000, "never equal to the bytes");
    let part = format!("{path}/attachments/{}", text(part, "id"));
    assert_eq!(client.get(&format!("{part}/$value")).body, content);
    assert_eq!(STANDARD.decode(text(&client.get(&part).json(), "contentBytes")).unwrap(), content);
    let attachment = |kind, name: &str| Attachment {
        kind,
        name: name.to_owned(),
        media_type: "message/rfc822".into(),
        bytes: b"Subject: x\r\n\r\nx\r\n".to_vec(),
        inline: false,
        content_id: None,
    };
    server.world().mailbox().message(number).attachments =
        Some(vec![attachment(AttachmentKind::Item, "Un courriel"), attachment(AttachmentKind::Reference, "lien")]);
    let list = client.get(&format!("{path}/attachments")).json();
    let kinds: Vec<&str> = (0..2).filter_map(|at| list["value"][at]["@odata.type"].as_str()).collect();
    assert_eq!(kinds, ["#microsoft.graph.itemAttachment", "#microsoft.graph.referenceAttachment"]);
    let parts = ids(&list);
    assert!(client.get(&format!("{path}/attachments/{}/$value", parts[0])).body.starts_with(b"Subject: x"));
    assert_eq!(client.get(&format!("{path}/attachments/{}/$value", parts[1])).status, 405);
    let patched = client.ask("PATCH", &path, "{\"isRead\":true,\"categories\":[\"GED importé\"]}").json();
    assert!(patched["isRead"] == true && patched["categories"][0] == "GED importé", "{patched}");
    assert!(patched["@odata.etag"] != whole["@odata.etag"]);
    assert_eq!(client.ask("PATCH", &path, "{\"nothing\":1}").refusal(), (400, "RequestBodyRead".into()));
    server.world().mailbox().message(number).kind = Kind::Smime;
    assert_eq!(client.get(&format!("{path}/$value")).refusal(), (500, "ErrorMimeContentConversionFailed".into()));
    let copied = client.ask("POST", &format!("{path}/copy"), "{\"destinationId\":\"archive\"}");
    assert!(copied.status == 201 && text(&copied.json(), "id") != id);
    assert_eq!(client.ask("DELETE", &path, "").status, 204);
    assert_eq!(server.world().mailbox().in_folder("deleteditems").len(), 1);
    assert_eq!(client.ask("POST", &format!("{path}/permanentDelete"), "").status, 204);
    assert_eq!(client.ask("DELETE", &path, "").refusal(), (404, "ErrorItemNotFound".into()));
}

#[test]
fn delta_tells_all_then_what_changed_then_that_it_forgot() {
    let server = Microsoft::start();
    let client = Client::marie(&server);
    let numbers: Vec<u64> = (0..5).map(|n| server.deliver("inbox", &mail(&format!("Facture {n}"), &[]))).collect();
    let follow = |link: &str| client.get(link.trim_start_matches(&client.root));
    let first = client.get("/v1.0/me/mailFolders/inbox/messages/delta?$select=id,isRead&$top=3").json();
    assert_eq!((ids(&first).len(), first["value"][0]["@odata.type"].as_str()), (3, Some("#microsoft.graph.message")));
    assert!(text(&first, "@odata.nextLink").contains("/mailfolders('inbox')/messages/delta?$skiptoken="), "{first}");
    server.world().mailbox().erase(numbers[4]);
    let second = follow(&text(&first, "@odata.nextLink")).json();
    assert_eq!(second["value"][1]["@removed"]["reason"], "deleted", "{second}");
    let link = text(&second, "@odata.deltaLink");
    let quiet = follow(&link).json();
    assert!(ids(&quiet).is_empty() && quiet.get("@odata.deltaLink").is_some(), "{quiet}");
    let new = server.deliver("inbox", &mail("Nouvelle", &[]));
    {
        let mut world = server.world();
        let archive = world.mailbox().folder("archive");
        world.mailbox().relocate(numbers[0], archive);
        world.faults.quirks.is_read_as_text = true;
    }
    let news = follow(&link).json();
    let expected = [new, numbers[0]].map(|number| server.world().mailbox().immutable_id(number));
    assert_eq!((ids(&news), news["value"][0]["isRead"].as_str()), (expected.to_vec(), Some("false")));
    server.world().expire_delta();
    server.world().faults.quirks.gone_with_location = true;
    let gone = follow(&link);
    assert_eq!(gone.refusal(), (410, "SyncStateNotFound".into()));
    assert!(gone.headers["location"].ends_with("/messages/delta?$deltatoken="), "{gone:?}");
    assert_eq!(ids(&follow(&gone.headers["location"]).json()).len(), 4);
}

#[test]
fn a_batch_is_answered_in_another_order_with_what_depends_on_what() {
    let server = Microsoft::start();
    let client = Client::marie(&server);
    let id = {
        let number = server.deliver("inbox", &mail("Facture", &[]));
        server.world().mailbox().immutable_id(number)
    };
    let one = |id: &str, method: &str, url: &str, on: &[&str]| json!({"id": id, "method": method, "url": url, "dependsOn": on, "body": {"isRead": true}});
    let requests = json!({"requests": [
        one("1", "PATCH", &format!("/me/messages/{id}"), &[]),
        one("2", "GET", "/me/messages/AAMkNowhere", &[]),
        one("3", "GET", "/me/mailFolders/inbox", &["2"]),
    ]});
    let got = client.ask("POST", "/v1.0/$batch", &requests.to_string()).json();
    let parts = got["responses"].as_array().unwrap();
    let statuses: Vec<_> =
        parts.iter().map(|one| (one["id"].as_str().unwrap(), one["status"].as_u64().unwrap())).collect();
    assert_eq!(statuses, [("3", 424), ("2", 404), ("1", 200)]);
    let many = json!({"requests": (0..21).map(|n| one(&n.to_string(), "GET", "/me", &[])).collect::<Vec<_>>()});
    assert_eq!(client.ask("POST", "/v1.0/$batch", &many.to_string()).status, 400);
}

#[test]
fn more_than_four_at_once_and_more_than_ten_thousand_in_ten_minutes_are_too_many() {
    let server = Microsoft::start();
    let client = Client::marie(&server);
    server.world().faults.latency = Duration::from_millis(300);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..6).map(|_| scope.spawn(|| client.get("/v1.0/me/messages").status)).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 2, "{statuses:?}");
    assert_eq!(server.world().records.most_in_flight(), 6);
    assert_eq!(server.world().records.without_immutable_ids(), Vec::<String>::new());
    server.world().faults.latency = Duration::ZERO;
    let early = client.get("/v1.0/me/messages");
    assert_eq!(early.status, 200);
    assert!(!server.world().records.too_early().is_empty(), "a second has not passed");
}

#[test]
fn bodies_come_in_every_form_that_goes_wrong() {
    let server = Microsoft::start();
    let client = Client::marie(&server);
    let mime = mail("Facture", &[("facture.pdf", &bytes(2, 50_000))]);
    let number = server.deliver("inbox", &mime);
    let target = format!("/v1.0/me/messages/{}/$value", server.world().mailbox().immutable_id(number));
    let faults = [
        Fault::Cut(20_000),
        Fault::UntilClose(20_000),
        Fault::UntilClose(usize::MAX),
        Fault::Page(502),
        Fault::ErrorInside,
        Fault::Throttled(503, "serviceNotAvailable", "2.128"),
        Fault::Redirect(302, "http://elsewhere.example".into()),
        Fault::Refused(500, "ErrorInternalServerTransientError", "Cannot read."),
    ];
    let got: Vec<Got> = faults
        .into_iter()
        .map(|fault| {
            server.world().faults.add("GET", "/$value", 1, fault);
            client.get(&target)
        })
        .collect();
    assert_eq!((got[0].body.as_slice(), got[0].whole), (&mime[..20_000], false));
    assert_eq!((got[1].body.as_slice(), got[1].whole), (&mime[..20_000], false));
    assert!(!got[1].headers.contains_key("transfer-encoding") && !got[1].headers.contains_key("content-length"));
    assert_eq!((got[2].body.as_slice(), got[2].whole), (&mime[..], false));
    assert_eq!((got[3].status, got[3].headers["content-type"].as_str()), (502, "text/html"));
    assert!(got[4].status == 200 && serde_json::from_slice::<Value>(&got[4].body).is_err());
    assert_eq!((got[5].status, got[5].headers["retry-after"].as_str()), (503, "2.128"));
    assert_eq!(
        (got[6].status, got[6].headers["location"].as_str()),
        (302, format!("http://elsewhere.example{target}").as_str())
    );
    assert_eq!(got[7].refusal(), (500, "ErrorInternalServerTransientError".into()));
    assert!(client.get(&target).body == mime && server.world().faults.all_used());
}

// ---- the real server ------------------------------------------------------------------------------------------------

#[test]
fn the_oidc_provider_is_there_and_a_person_can_be_played() {
    let Some(mut server) = Oidc::start(&["https://graph.microsoft.com/Mail.ReadWrite"], Lifetimes::default()) else {
        return;
    };
    let (root, base) = (server.authority().to_owned(), format!("/{}/oauth2/v2.0", oidc::TENANT));
    let code = || {
        let got = post(&root, &format!("{base}/devicecode"), &[("client_id", oidc::CLIENT), ("scope", SCOPE)]).json();
        assert!(got.get("interval").is_none() && got.get("message").is_none(), "{got}");
        (text(&got, "device_code"), text(&got, "user_code"))
    };
    let ((first, user_code), (second, other)) = (code(), code());
    let poll = |code: &str| {
        let fields = [BY_CODE, ("client_id", oidc::CLIENT), ("device_code", code)];
        post(&root, &format!("{base}/token"), &fields).json()
    };
    assert_eq!(poll(&first)["error"], "authorization_pending");
    server.approve(&user_code, MARIE);
    assert!(text(&poll(&first), "scope").contains("Mail.ReadWrite"));
    server.decline(&other);
    assert_eq!(poll(&second)["error"], "access_denied");
}
