//! The requests byte for byte, and each kind of answer, against a scripted server on loopback.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::google::{Answer, Redirect};
use super::super::script::Script;
use super::*;
use crate::config::tls::Settings;
use crate::config::{Check, Overrides, TlsVersion, Trust, load_bytes};
use crate::model::Digest;
use crate::tls;
use crate::tls::ca::TestCa;
use crate::tls::material;
use crate::tls::server::{ServerOptions, ServerTls};

const CLIENT: &str = "11111111-2222-3333-4444-555555555555";
const TENANT: &str = "99999999-8888-7777-6666-555555555555";
const GRANTED: &str = r#"{"token_type":"Bearer","scope":"Mail.Read","expires_in":3599,"ext_expires_in":3599,
    "access_token":"access-1","refresh_token":"refresh-2","id_token":"e30.eyJwcmVmZXJyZWRfdXNlcm5hbWUiOiJhQGIuZnIifQ.x"}"#;

fn launcher(kind: &str, more: &str) -> Launcher {
    let server =
        if kind == "o365" { "" } else { "server = 127.0.0.1\naccount = factures@contoso.fr\nauth = xoauth2\n" };
    let text = format!("[factures]\nlauncher = {kind}\n{server}deliver = /tmp\n{more}");
    load_bytes(Path::new("t.ini"), text.as_bytes(), &Overrides::default()).unwrap().launchers.remove(0)
}

fn microsoft(kind: &str, base: &str, more: &str) -> Authority {
    let provider = if kind == "o365" { "" } else { "provider = microsoft\n" };
    let text = format!("{provider}client_id = {CLIENT}\nauthority = {base}\n{more}");
    Authority::new(&launcher(kind, &text)).unwrap()
}

fn google(base: &str, more: &str) -> Authority {
    Authority::new(&launcher("imap", &format!("provider = google\nauthority = {base}\n{more}"))).unwrap()
}

/// An RSA key and a certificate of it.
fn pair(dir: &Path) -> (std::path::PathBuf, std::path::PathBuf, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let cert = rcgen::CertificateParams::new(vec!["pertuis".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (cert_file, key_file) = (dir.join("app.pem"), dir.join("app.key"));
    std::fs::write(&cert_file, cert.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    (cert_file, key_file, key)
}

/// Header and claims of a signed request whose signature is right.
fn verified(jwt: &str, scheme: SignatureScheme, key: &rcgen::KeyPair) -> (Value, Value) {
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let algorithms = tls::provider().signature_verification_algorithms;
    let (_, list) = algorithms.mapping.iter().find(|(one, _)| *one == scheme).unwrap();
    let right =
        list.iter().any(|one| one.verify_signature(key.public_key_raw(), signed.as_bytes(), &signature).is_ok());
    assert!(right, "{jwt}");
    assert!(!jwt.contains(['=', '+', '/']), "{jwt}");
    let part = |number| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jwt.split('.').nth(number).unwrap()).unwrap());
    (part(0).unwrap(), part(1).unwrap())
}

#[tokio::test]
async fn a_device_code_is_asked_for_byte_by_byte_and_in_french() {
    let answer = r#"{"user_code":"F7KQ2XRTN","device_code":"dev ice","verification_uri":"https://microsoft.com/devicelogin",
        "expires_in":900,"interval":5,"message":"Pour vous connecter, ouvrez la page."}"#;
    let script = Script::json(&[(200, answer), (200, answer), (200, GRANTED)]).await;
    let authority = microsoft("o365", &script.base, "graph_root = https://graph.microsoft.com\n");
    let permissions = vec!["https://graph.microsoft.com/Mail.ReadWrite".to_owned()];
    authority.device_code(&permissions, Lang::En).await.unwrap();
    let asked = script.last();
    assert_eq!(asked.line(), "POST /organizations/oauth2/v2.0/devicecode");
    assert!(
        asked.head.to_lowercase().contains("\r\ncontent-type: application/x-www-form-urlencoded\r\n"),
        "{}",
        asked.head
    );
    assert_eq!(
        asked.body,
        format!(
            "client_id={CLIENT}&scope=https%3A%2F%2Fgraph.microsoft.com%2FMail.ReadWrite%20offline_access%20openid\
             %20profile%20email"
        )
    );
    let code = authority.device_code(&permissions, Lang::Fr).await.unwrap();
    assert_eq!(script.last().line(), "POST /organizations/oauth2/v2.0/devicecode?mkt=fr-FR");
    assert_eq!((code.user_code.as_str(), code.interval.as_secs(), code.expires_in.as_secs()), ("F7KQ2XRTN", 5, 900));
    assert_eq!(code.message.as_deref(), Some("Pour vous connecter, ouvrez la page."));
    let grant = authority.poll(&code).await.unwrap();
    let asked = script.last();
    assert_eq!(asked.line(), "POST /organizations/oauth2/v2.0/token");
    assert_eq!(
        asked.body,
        format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&client_id={CLIENT}&device_code=dev%20ice"
        )
    );
    assert_eq!((grant.access.reveal(), grant.refresh), ("access-1", Some(Secret::new("refresh-2"))));
    assert_eq!(grant.identity.unwrap().username.as_deref(), Some("a@b.fr"));
}

#[tokio::test]
async fn codes_are_read_in_each_form_that_servers_give_them() {
    let cases = [
        (r#"{"user_code":"A","device_code":"d","verification_url":"http://x","expires_in":"600"}"#, Some((5, 600))),
        (
            r#"{"user_code":"A","device_code":"d","verification_uri":"http://x","verification_url":"http://y","interval":1}"#,
            Some((1, 900)),
        ),
        (
            r#"{"user_code":"A","device_code":"d","verification_uri":"http://x","interval":0,"expires_in":null}"#,
            Some((1, 900)),
        ),
        (r#"{"user_code":"A","device_code":"d","expires_in":600}"#, None),
        (r#"{"user_code":"","device_code":"d","verification_uri":"http://x"}"#, None),
        (r#"["nothing"]"#, None),
    ];
    let script = Script::json(&cases.map(|(body, _)| (200, body))).await;
    let authority = microsoft("o365", &script.base, "");
    for (body, expected) in cases {
        let code = authority.device_code(&[], Lang::En).await;
        let found = code.as_ref().map(|code| (code.interval.as_secs(), code.expires_in.as_secs())).ok();
        assert_eq!(found, expected, "{body}");
        match code {
            Ok(code) => assert_eq!(code.verification_uri, "http://x"),
            Err(refusal) => assert_eq!((refusal.fault.code, refusal.next), (Code::Protocol, Next::Later(None))),
        }
    }
}

#[tokio::test]
async fn a_renewal_always_says_for_what_and_takes_every_form_of_answer() {
    let answers = [
        (GRANTED, Some("refresh-2"), 3599),
        (r#"{"access_token":"a","expires_in":"4000"}"#, None, 4000),
        (r#"{"access_token":"a","refresh_token":""}"#, None, 3600),
        (r#"{"access_token":"a","expires_in":1799.9}"#, None, 1799),
        (r#"{"access_token":"a","expires_in":18446744073709551615,"id_token":"broken"}"#, None, 30 * 86400),
    ];
    let script = Script::json(&answers.map(|(body, ..)| (200, body))).await;
    let base = script.base.as_str();
    let outlook = "https%3A%2F%2Foutlook.office365.com%2F";
    let gmail = "client_secret=GOCSPX-x&refresh_token=refresh%2F1&scope=https%3A%2F%2Fmail.google.com%2F";
    let claims = r#"{"access_token":{"nbf":{"essential":true}}}"#;
    let cases = [
        (
            microsoft("o365", base, "graph_root = https://graph.microsoft.com\nafter = delete\n"),
            Resource::Graph,
            Some(claims),
            "refresh_token=refresh%2F1&scope=https%3A%2F%2Fgraph.microsoft.com%2FMail.ReadWrite%20offline_access&claims=%7B%22\
             access_token%22%3A%7B%22nbf%22%3A%7B%22essential%22%3Atrue%7D%7D%7D"
                .to_owned(),
        ),
        (
            microsoft("imap", base, ""),
            Resource::Imap,
            None,
            format!("refresh_token=refresh%2F1&scope={outlook}IMAP.AccessAsUser.All%20offline_access"),
        ),
        (
            microsoft("pop3", base, ""),
            Resource::Pop,
            None,
            format!("refresh_token=refresh%2F1&scope={outlook}POP.AccessAsUser.All%20offline_access"),
        ),
        (google(base, &format!("client_id = {CLIENT}\nclient_secret = GOCSPX-x\n")), Resource::Imap, None, gmail.to_owned()),
        (google(base, &format!("client_id = {CLIENT}\nclient_secret = GOCSPX-x\n")), Resource::Imap, None, gmail.to_owned()),
    ];
    for ((authority, resource, claims, body), (_, refresh, seconds)) in cases.into_iter().zip(answers) {
        let grant = authority.refresh(&Secret::new("refresh/1"), resource, claims).await.unwrap();
        let asked = script.last();
        assert_eq!(asked.body, format!("grant_type=refresh_token&client_id={CLIENT}&{body}"));
        let google = authority.oauth.provider == Provider::Google;
        assert_eq!(asked.line(), if google { "POST /token" } else { "POST /organizations/oauth2/v2.0/token" });
        assert_eq!((grant.refresh.as_ref().map(Secret::reveal), grant.expires_in.as_secs()), (refresh, seconds));
    }
}

#[tokio::test]
async fn what_only_reads_is_renewed_by_the_larger_permission_where_that_one_was_consented_to() {
    const CONSENT: &str = r#"{"error":"invalid_grant","suberror":"consent_required","error_codes":[65001]}"#;
    const REVOKED: &str = r#"{"error":"invalid_grant","suberror":"bad_token","error_codes":[50173]}"#;
    const NARROW: &str = r#"{"error":"invalid_scope","error_description":"refresh token missing requested scope"}"#;
    // options, answers, the scopes that are asked for, the number of the refusal
    type Case = (&'static str, &'static [&'static str], &'static [&'static str], Option<u32>);
    let cases: [Case; 5] = [
        ("", &[GRANTED], &["Mail.Read"], None),
        ("", &[CONSENT, GRANTED], &["Mail.Read", "Mail.ReadWrite"], None),
        (
            "account = a@b.fr\nmailbox = c@b.fr\n",
            &[NARROW, GRANTED],
            &["Mail.Read.Shared", "Mail.ReadWrite.Shared"],
            None,
        ),
        ("", &[CONSENT, CONSENT], &["Mail.Read", "Mail.ReadWrite"], Some(65001)),
        ("account = a@b.fr\nmailbox = A@b.fr\nafter = seen\n", &[REVOKED], &["Mail.ReadWrite"], Some(50173)),
    ];
    for (more, answers, asked, refused) in cases {
        let answers: Vec<_> = answers.iter().map(|body| (if *body == GRANTED { 200 } else { 400 }, *body)).collect();
        let script = Script::json(&answers).await;
        let authority = microsoft("o365", &script.base, &format!("graph_root = https://graph.microsoft.com\n{more}"));
        let ended = authority.refresh(&Secret::new("refresh-1"), Resource::Graph, None).await;
        assert_eq!(ended.err().map(|refusal| refusal.aadsts), refused.map(Some), "{more}");
        let scopes: Vec<_> = script.asked().iter().map(|one| one.field("scope").unwrap()).collect();
        let expected: Vec<_> =
            asked.iter().map(|one| format!("https://graph.microsoft.com/{one} offline_access")).collect();
        assert_eq!(scopes, expected, "{more}");
    }
}

#[tokio::test]
async fn a_program_proves_itself_by_its_secret() {
    let script = Script::json(&[(200, r#"{"token_type":"Bearer","expires_in":3599,"access_token":"x"}"#); 2]).await;
    let secret = "client_secret = a~b+c/d&e\nmailbox = factures@contoso.fr\n";
    for (kind, resource, scope) in [
        ("o365", Resource::Graph, "https%3A%2F%2Fgraph.microsoft.com%2F.default"),
        ("imap", Resource::Imap, "https%3A%2F%2Foutlook.office365.com%2F.default"),
    ] {
        let secret = if kind == "imap" { "client_secret = a~b+c/d&e\n" } else { secret };
        let authority = microsoft(kind, &script.base, &format!("tenant = {TENANT}\n{secret}"));
        let grant = authority.for_itself(resource, None).await.unwrap();
        let asked = script.last();
        assert_eq!(asked.line(), format!("POST /{TENANT}/oauth2/v2.0/token"));
        assert_eq!(
            asked.body,
            format!("grant_type=client_credentials&client_id={CLIENT}&client_secret=a~b%2Bc%2Fd%26e&scope={scope}")
        );
        assert!(grant.refresh.is_none() && grant.identity.is_none());
    }
}

#[tokio::test]
async fn a_program_proves_itself_by_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key_file, key) = pair(dir.path());
    let script = Script::json(&[(200, r#"{"expires_in":3599,"access_token":"x"}"#); 3]).await;
    let files = format!("cert = {}\nkey = {}\n", cert.display(), key_file.display());
    let authority =
        microsoft("o365", &script.base, &format!("tenant = {TENANT}\nmailbox = factures@contoso.fr\n{files}"));
    let mut seen = Vec::new();
    for form in ["PRIVATE KEY", "RSA PRIVATE KEY"] {
        if form == "RSA PRIVATE KEY" {
            // PKCS #8 wraps PKCS #1 in 26 bytes for a key of 2048 bits (RFC 5958, 2)
            let inner = base64::engine::general_purpose::STANDARD.encode(&key.serialized_der()[26..]);
            std::fs::write(&key_file, format!("-----BEGIN {form}-----\n{inner}\n-----END {form}-----\n")).unwrap();
        }
        authority.for_itself(Resource::Graph, None).await.unwrap();
        let asked = script.last();
        let jwt = asked.field("client_assertion").unwrap();
        assert_eq!(
            asked.body,
            format!(
                "grant_type=client_credentials&client_id={CLIENT}&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth\
                 %3Aclient-assertion-type%3Ajwt-bearer&client_assertion={jwt}&scope=https%3A%2F%2Fgraph.microsoft.com\
                 %2F.default"
            )
        );
        let (header, claims) = verified(&jwt, SignatureScheme::RSA_PSS_SHA256, &key);
        let thumbprint = Digest::of(&material::certificates(&cert).unwrap()[0]);
        let expected =
            serde_json::json!({"alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(thumbprint.0)});
        assert_eq!(header, expected);
        let audience = format!("{}/{TENANT}/oauth2/v2.0/token", script.base);
        assert_eq!(
            (&claims["aud"], &claims["iss"], &claims["sub"]),
            (&audience.into(), &CLIENT.into(), &CLIENT.into())
        );
        let time = |claim: &str| claims[claim].as_u64().unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(time("iat") <= now && now - time("iat") < 60, "{claims}");
        assert_eq!((time("nbf"), time("exp")), (time("iat"), time("iat") + 600));
        let id = claims["jti"].as_str().unwrap().to_owned();
        assert!(id.len() == 36 && id.as_bytes()[14] == b'4', "{id}");
        seen.push(id);
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_key_that_is_of_no_use_is_told_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, _, _) = pair(dir.path());
    let other_dir = tempfile::tempdir().unwrap();
    let (_, other_key, _) = pair(other_dir.path());
    let elliptic = rcgen::KeyPair::generate().unwrap();
    let elliptic_cert = rcgen::CertificateParams::new(vec!["p".to_owned()]).unwrap().self_signed(&elliptic).unwrap();
    let elliptic_file = dir.path().join("ec.pem");
    std::fs::write(&elliptic_file, format!("{}{}", elliptic_cert.pem(), elliptic.serialize_pem())).unwrap();
    let script = Script::json(&[]).await;
    let missing = dir.path().join("none.pem");
    for (cert, key, words) in [
        (&cert, &other_key, "does not belong"),
        (&elliptic_file, &elliptic_file, "needs an RSA key"),
        (&cert, &missing, "cannot read"),
    ] {
        let files = format!("cert = {}\nkey = {}\n", cert.display(), key.display());
        let more = format!("tenant = {TENANT}\nmailbox = f@contoso.fr\n{files}");
        let refusal = microsoft("o365", &script.base, &more).for_itself(Resource::Graph, None).await.unwrap_err();
        assert_eq!((refusal.fault.code, refusal.next), (Code::Config, Next::SignIn), "{refusal}");
        assert!(refusal.fault.text.en.contains(words), "{refusal}");
    }
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn googles_service_account_acts_for_the_account() {
    let dir = tempfile::tempdir().unwrap();
    let (_, _, key) = pair(dir.path());
    let file = dir.path().join("key.json");
    let json = serde_json::json!({
        "type": "service_account", "client_email": "ged@p.iam.gserviceaccount.com", "private_key_id": "k1",
        "private_key": key.serialize_pem(),
    });
    std::fs::write(&file, json.to_string()).unwrap();
    let script = Script::json(&[(200, r#"{"expires_in":3599,"access_token":"x"}"#)]).await;
    let authority = google(&script.base, &format!("service_account = {}\n", file.display()));
    authority.for_itself(Resource::Imap, None).await.unwrap();
    let asked = script.last();
    assert_eq!(asked.line(), "POST /token");
    let jwt = asked.field("assertion").unwrap();
    let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
    assert_eq!(asked.body, format!("{grant}&assertion={jwt}"));
    let (header, claims) = verified(&jwt, SignatureScheme::RSA_PKCS1_SHA256, &key);
    assert_eq!(header, serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let iat = claims["iat"].as_u64().unwrap();
    let expected = serde_json::json!({
        "iss": "ged@p.iam.gserviceaccount.com", "sub": "factures@contoso.fr", "scope": "https://mail.google.com/",
        "aud": format!("{}/token", script.base), "iat": iat, "exp": iat + 3600,
    });
    assert_eq!(claims, expected);
    for bad in ["{}", "no json", r#"{"client_email":"a","private_key":"no key"}"#] {
        std::fs::write(&file, bad).unwrap();
        let refusal = authority.for_itself(Resource::Imap, None).await.unwrap_err();
        assert!(
            refusal.fault.code == Code::Config && refusal.fault.text.en.contains("is no key file"),
            "{bad}: {refusal}"
        );
    }
}

#[tokio::test]
async fn googles_page_brings_a_code_that_only_we_can_redeem() {
    let script = Script::json(&[(200, GRANTED)]).await;
    let authority = google(&script.base, &format!("client_id = {CLIENT}\nclient_secret = GOCSPX-x\n"));
    let redirect = Redirect::open().await.unwrap();
    let request = authority.page(&["https://mail.google.com/".to_owned()], &redirect.uri).unwrap();
    let url = reqwest::Url::parse(&request.url).unwrap();
    assert_eq!(url.path(), "/o/oauth2/v2/auth");
    let find = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", &redirect.uri),
        ("scope", "https://mail.google.com/ openid email"),
        ("code_challenge_method", "S256"),
        ("access_type", "offline"),
        ("prompt", "consent"),
        ("login_hint", "factures@contoso.fr"),
    ] {
        assert_eq!(find(name), value, "{name}");
    }
    let browser =
        reqwest::Client::builder().tls_backend_preconfigured(tls::client::system_client().unwrap()).build().unwrap();
    let get = async |query: String| browser.get(format!("{}/?{query}", redirect.uri)).send().await.unwrap();
    let visits = async {
        // somebody else's answer, and what browsers ask besides, change nothing
        for query in ["state=other&code=stolen", "code=stolen", ""] {
            assert_eq!(get(query.to_owned()).await.status(), 400, "{query}");
        }
        let page = get(format!("state={}&code=4%2F0A&scope=x", find("state"))).await;
        assert_eq!(page.status(), 200);
        page.text().await.unwrap()
    };
    let (answer, page) = tokio::join!(redirect.wait(&request, Lang::Fr), visits);
    assert!(page.contains("Connecté"), "{page}");
    let Answer::Code(code) = answer else { panic!("{answer:?}") };
    authority.code(&request, &code).await.unwrap();
    let asked = script.last();
    let verifier = asked.field("code_verifier").unwrap();
    assert_eq!(verifier.len(), 43);
    assert_eq!(find("code_challenge"), URL_SAFE_NO_PAD.encode(Digest::of(verifier.as_bytes()).0));
    let redirect = redirect.uri.replace(':', "%3A").replace('/', "%2F");
    assert_eq!(
        asked.body,
        format!(
            "grant_type=authorization_code&client_id={CLIENT}&client_secret=GOCSPX-x&code=4%2F0A&redirect_uri={redirect}\
             &code_verifier={verifier}"
        )
    );
}

#[tokio::test]
async fn the_address_of_the_last_page_holds_the_same_answer() {
    let authority = google("http://127.0.0.1:1", &format!("client_id = {CLIENT}\n"));
    let request = authority.page(&[], "http://127.0.0.1:4711").unwrap();
    let url = reqwest::Url::parse(&request.url).unwrap();
    let state = url.query_pairs().find(|(key, _)| key == "state").unwrap().1.into_owned();
    for (address, expected) in [
        (format!("  http://127.0.0.1:4711/?state={state}&code=4%2F0A&scope=x\n"), Ok("4/0A")),
        (format!("?code=c&state={state}"), Ok("c")),
        (format!("http://127.0.0.1:4711/?error=access_denied&state={state}"), Ok("access_denied")),
        (format!("http://127.0.0.1:4711/?state={state}x&code=c"), Err("another sign-in")),
        ("http://127.0.0.1:4711/?code=c".to_owned(), Err("another sign-in")),
        (format!("http://127.0.0.1:4711/?state={state}"), Err("not the address")),
        (String::new(), Err("not the address")),
        ("4/0AX4XfWh".to_owned(), Err("not the address")),
    ] {
        match (request.answer(&address), expected) {
            (Ok(Answer::Code(code)), Ok(expected)) => assert_eq!(code.reveal(), expected),
            (Ok(Answer::Refused(error)), Ok(expected)) => assert_eq!(error, expected),
            (Err(text), Err(words)) => assert!(text.en.contains(words), "{address}: {text}"),
            (found, expected) => panic!("{address}: {found:?}, not {expected:?}"),
        }
    }
    let refusal = authority.declined("access_denied");
    assert!(refusal.next == Next::SignIn && refusal.fault.text.fr.contains("a refusé"), "{refusal}");
}

#[tokio::test]
async fn what_is_no_grant_is_told_by_what_comes_next() {
    let long = "x".repeat(300 << 10);
    let proxy = "<html>Authentication required</html>";
    let json = "Content-Type: application/json\r\n";
    let late = Next::Later(None);
    let in_three = Next::Later(Some(Duration::from_secs(3)));
    let cases: [(&str, &str, &str, Code, Next, &str); 13] = [
        (
            "400 X",
            json,
            r#"{"error":"authorization_pending"}"#,
            Code::Credentials,
            Next::Wait,
            "nobody has signed in yet",
        ),
        ("400 X", json, r#"{"error":"slow_down"}"#, Code::Credentials, Next::SlowDown, "less often"),
        ("400 X", json, r#"{"error":"authorization_declined"}"#, Code::Credentials, Next::SignIn, "declined"),
        ("400 X", json, r#"{"error":"expired_token"}"#, Code::Credentials, Next::SignIn, "ask for a new one"),
        (
            "400 X",
            json,
            r#"{"error":"strange","error_description":"Words of it"}"#,
            Code::Credentials,
            Next::SignIn,
            "(strange: Words of it)",
        ),
        ("400 X", json, r#"{"error":"temporarily_unavailable"}"#, Code::Throttled, late, "tried again"),
        ("429 X", "Retry-After: 3\r\n", "", Code::Throttled, in_three, "overloaded (HTTP 429"),
        ("429 X", "Retry-After: 3\r\n", r#"{"error":"invalid_request"}"#, Code::Throttled, in_three, "invalid_request"),
        ("503 X", "Content-Type: text/html\r\n", proxy, Code::Connect, late, "overloaded (HTTP 503"),
        (
            "302 X",
            "Location: https://portal.test/login?token=x\r\n",
            "",
            Code::Protocol,
            late,
            "sends on to portal.test, where",
        ),
        ("407 X", "Content-Type: text/html\r\n", proxy, Code::Protocol, late, "answers HTTP 407"),
        ("200 X", "Content-Type: text/html\r\n", proxy, Code::Protocol, late, "nothing that OAuth knows"),
        ("200 X", json, &long, Code::Protocol, late, "without end"),
    ];
    let script = Script::new(&cases.map(|(status, headers, body, ..)| (status, headers, body))).await;
    let authority = microsoft("o365", &script.base, "");
    for (status, _, body, code, next, words) in cases {
        let refusal = authority.refresh(&Secret::new("refresh-1"), Resource::Graph, None).await.unwrap_err();
        let shown = &body[..body.len().min(60)];
        assert_eq!((refusal.fault.code, refusal.next), (code, next), "{status} {shown}: {refusal}");
        assert!(refusal.fault.text.en.contains(words), "{status} {shown}: {refusal}");
        assert!(!refusal.fault.text.fr.contains("token=x"), "{refusal}");
    }
    // nobody listens any more
    drop(script);
    let refusal = authority.refresh(&Secret::new("refresh-1"), Resource::Graph, None).await.unwrap_err();
    assert_eq!((refusal.fault.code, refusal.next), (Code::Connect, late), "{refusal}");
}

#[tokio::test]
async fn a_server_that_repeats_our_secrets_does_not_bring_them_anywhere() {
    let secret = "s3cret+/~value";
    let said =
        |words: &str| format!(r#"{{"error":"invalid_client","error_description":"{words}","trace_id":"{words}"}}"#);
    let bodies = [
        said(&format!("got refresh_token=1.AREFRESHed/token and {secret}")),
        said("got 1.AREFRESHed%2Ftoken"),
        said(&URL_SAFE_NO_PAD.encode("1.AREFRESHed/token")),
        said("is \\u0031.AREFRESHed/token ok"),
        said(&format!("token:eyJhbGciOiJQUzI1NiJ9.{}.{}", "x".repeat(40), "y".repeat(40))),
        said("s3cret%2B%2F~value"),
    ];
    let script = Script::json(&bodies.each_ref().map(|body| (401, body.as_str()))).await;
    let more = format!("tenant = {TENANT}\nmailbox = f@contoso.fr\nclient_secret = {secret}\n");
    let authority = microsoft("o365", &script.base, &more);
    for body in &bodies {
        let refusal = authority.refresh(&Secret::new("1.AREFRESHed/token"), Resource::Graph, None).await.unwrap_err();
        let event = refusal.event(&ServiceName::new("factures"));
        let all = format!("{refusal:?} {} {} {}", refusal.fault.text.fr, event.text.en, event.text.fr);
        for hidden in ["AREFRESH", "s3cret", "QVJFRlJFU0h", "eyJhbGci"] {
            assert!(!all.contains(hidden), "{body}: {all}");
        }
        assert!(all.contains("***"), "{all}");
        assert!(!format!("{authority:?}").contains("s3cret"));
    }
}

#[tokio::test]
async fn the_log_gets_what_microsofts_support_asks_for_on_one_line() {
    let body = r#"{"error":"invalid_grant",
        "error_description":"AADSTS999999: Something new.\r\nTrace ID: 342171d0\r\nCorrelation ID: 2d132a74\u001b[2J\u202e",
        "error_codes":[999999],"timestamp":"2026-11-24 04:00:00Z","trace_id":"342171d0","correlation_id":"2d132a74",
        "suberror":"bad_token"}"#;
    let script = Script::json(&[(400, body)]).await;
    let refusal = microsoft("o365", &script.base, "")
        .refresh(&Secret::new("refresh-1"), Resource::Graph, None)
        .await
        .unwrap_err();
    let whole = "AADSTS999999: Something new. Trace ID: 342171d0 Correlation ID: 2d132a74 [2J";
    let event = refusal.event(&ServiceName::new("factures"));
    assert_eq!((event.name, event.level), ("oauth_refused", crate::event::Level::Warning));
    assert_eq!(
        event.text.fr,
        format!(
            "factures : le serveur d'authentification refuse : invalid_grant; suberror bad_token; trace_id 342171d0; \
             correlation_id 2d132a74; timestamp 2026-11-24 04:00:00Z; see \
             https://login.microsoftonline.com/error?code=999999; {whole}"
        )
    );
    // an unknown number is shown whole, and the word still says what to do
    assert_eq!(
        refusal.fault.text.en,
        format!("Microsoft refuses (invalid_grant: {whole}): sign in again: `pertuis login factures`")
    );
}

#[tokio::test]
async fn a_wrong_clock_is_told_with_the_refusal() {
    let headers = "Content-Type: application/json\r\nDate: Wed, 26 Nov 2025 04:00:00 GMT\r\n";
    let script = Script::new(&[("401 X", headers, r#"{"error":"invalid_client","error_codes":[700024]}"#)]).await;
    let refusal = microsoft("o365", &script.base, "")
        .refresh(&Secret::new("refresh-1"), Resource::Graph, None)
        .await
        .unwrap_err();
    assert!(refusal.fault.text.en.contains("minutes ahead of theirs"), "{refusal}");
    assert!(refusal.fault.text.fr.contains("mettre cette machine à l'heure"), "{refusal}");
}

#[tokio::test]
async fn an_application_has_one_directory_and_a_person_signs_in_for_itself() {
    let mut wanted =
        launcher("o365", &format!("client_id = {CLIENT}\ntenant = {TENANT}\nclient_secret = x\nmailbox = m@c.fr\n"));
    wanted.oauth.as_mut().unwrap().tenant = "Organizations".to_owned();
    let refusal = Authority::new(&wanted).unwrap().for_itself(Resource::Graph, None).await.unwrap_err();
    assert!(refusal.next == Next::SignIn && refusal.fault.text.fr.contains("un seul annuaire"), "{refusal}");
    let person = microsoft("o365", "http://127.0.0.1:1", "");
    let refusal = person.for_itself(Resource::Graph, None).await.unwrap_err();
    assert!(refusal.next == Next::SignIn && refusal.fault.text.en.contains("`pertuis login factures`"), "{refusal}");
    wanted.oauth = None;
    assert!(Authority::new(&wanted).unwrap_err().text.en.contains("without OAuth"));
}

/// A proxy that leads to one port, whatever it is asked for; what it heard before that.
async fn proxy(to: u16, socks: bool) -> (u16, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // what it waits for, and what it says then
        let talk: &[(usize, &[u8])] = if socks {
            // the greeting, then name and password, then the name of the host and its port
            &[(3, b"\x05\x02"), (12, b"\x01\x00"), (4 + 1 + 10 + 2, b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")]
        } else {
            &[(usize::MAX, b"HTTP/1.1 200 OK\r\n\r\n")]
        };
        let mut heard = Vec::new();
        for (count, answer) in talk {
            let before = heard.len();
            while heard.len() - before < *count && !heard.ends_with(b"\r\n\r\n") {
                heard.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
        }
        let mut server = tokio::net::TcpStream::connect(("127.0.0.1", to)).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
        heard
    });
    (port, task)
}

#[tokio::test]
async fn the_launchers_trust_and_proxy_hold_for_the_authorization_server() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let pair = ca.good("login.test");
    let server = || {
        let versions = (TlsVersion::V12, TlsVersion::V13);
        let (trust, key) = (Trust { check: Check::Off, ..Trust::default() }, Some(pair.key.as_path()));
        ServerTls::build(&ServerOptions {
            trust: &trust,
            cert: &pair.cert,
            key,
            versions,
            resume: false,
            settings: &Settings::default(),
            redirect: false,
        })
        .unwrap()
    };
    let json = "Content-Type: application/json\r\n";
    let trusted = format!("CAfile = {}\n", ca.cert.display());
    for (scheme, socks, shown) in
        [("http", false, "Proxy-Authorization: Basic bWU6cEBzcw=="), ("socks5", true, "\x01\x02me\x07p@ss123")]
    {
        let script = Script::over(&[("200 X", json, GRANTED)], Some(server())).await;
        let (port, task) = proxy(script.port, socks).await;
        let secret = if socks { "p%40ss123" } else { "p%40ss" };
        let more = format!("{trusted}proxy = {scheme}://me:{secret}@127.0.0.1:{port}\n");
        let authority = microsoft("o365", &format!("https://login.test:{}", script.port), &more);
        authority.refresh(&Secret::new("refresh-1"), Resource::Graph, None).await.unwrap();
        drop(authority);
        let said = String::from_utf8_lossy(&task.await.unwrap()).into_owned();
        assert!(said.to_lowercase().contains(&shown.to_lowercase()) && said.contains("login.test"), "{said:?}");
    }
    // nobody trusts this authority: nothing is said to it
    let script = Script::over(&[("200 X", json, GRANTED)], Some(server())).await;
    let (port, _task) = proxy(script.port, false).await;
    let more = format!("CAfile = {}\nproxy = http://127.0.0.1:{port}\n", TestCa::new(dir.path()).cert.display());
    let authority = microsoft("o365", &format!("https://login.test:{}", script.port), &more);
    let refusal = authority.refresh(&Secret::new("refresh-1"), Resource::Graph, None).await.unwrap_err();
    assert_eq!((refusal.fault.code, refusal.next), (Code::Tls, Next::Later(None)), "{refusal}");
    assert!(
        refusal.fault.text.fr.contains("autorité inconnue") && refusal.fault.text.fr.contains("pin = "),
        "{refusal}"
    );
    assert!(script.asked().is_empty());
    // a proxy that nobody answers at, and a name that does not exist
    let more = format!("{trusted}proxy = http://127.0.0.1:1\n");
    let refusal =
        microsoft("o365", "https://login.test", &more).refresh(&Secret::new("r"), Resource::Graph, None).await;
    assert_eq!(refusal.unwrap_err().fault.code, Code::Connect);
    let refusal =
        microsoft("o365", "https://login.invalid", &trusted).refresh(&Secret::new("r"), Resource::Graph, None).await;
    let refusal = refusal.unwrap_err();
    assert!(refusal.fault.code == Code::Resolve && refusal.fault.text.en.contains("login.invalid"), "{refusal}");
}

#[test]
fn a_connection_of_a_thread_that_is_busy_holds_up_no_other() {
    // one that keeps its connections open
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{GRANTED}", GRANTED.len());
    let server = std::thread::spawn(move || {
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut stream = listener.accept().unwrap().0;
            std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
            std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
            open.push(stream);
        }
    });
    let authority = microsoft("o365", &base, "");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let token = Secret::new("refresh-1");
    let refresh = async || {
        let asked = authority.refresh(&token, Resource::Graph, None);
        tokio::time::timeout(Duration::from_secs(10), asked).await.map(|grant| grant.is_ok())
    };
    let busy = runtime();
    assert_eq!(busy.block_on(refresh()), Ok(true));
    // from here on nobody drives what the first one has opened
    assert_eq!(runtime().block_on(refresh()), Ok(true));
    server.join().unwrap();
}
