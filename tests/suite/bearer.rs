//! Logins with an access token: byte for byte against scripted servers that speak as Exchange and Gmail do, and against a
//! real Dovecot that checks signed tokens (JWT, RFC 7519) by itself.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pertuis::config::launcher::Kind;
use pertuis::config::{self, Launcher, Overrides};
use pertuis::event::Events;
use pertuis::model::Code;
use pertuis::oauth::{Resource, TokenError};
use pertuis::secret::Secret;
use pertuis::source::bearer::Bearer;
use pertuis::source::imap::Imap;
use pertuis::source::pop3::Pop3;
use pertuis::source::{Source, SourceError};

use crate::support::dovecot::{self, Dovecot};

const ACCOUNT: &str = "ged@example.test";

/// Tokens that are given one after the other: each refusal brings the next.
#[derive(Clone)]
struct Given {
    tokens: Vec<String>,
    refused: Arc<AtomicUsize>,
}

impl Given {
    fn new(tokens: &[&str]) -> Self {
        Self { tokens: tokens.iter().map(ToString::to_string).collect(), refused: Arc::default() }
    }

    fn refusals(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Bearer for Given {
    async fn access(&self, _: Resource) -> Result<Secret, TokenError> {
        Ok(Secret::new(self.tokens[self.refusals()].clone()))
    }

    fn refused(&self, _: Resource, token: &Secret) {
        assert_eq!(token.reveal(), self.tokens[self.refusals()]);
        self.refused.fetch_add(1, Ordering::SeqCst);
    }
}

fn launcher(kind: &str, auth: &str, server: SocketAddr, account: &str, more: &str) -> Launcher {
    let text = format!(
        "[factures]\nlauncher = {kind}\nserver = {server}\ntls = none\naccount = {account}\nauth = {auth}\n\
         client_id = app\nprovider = microsoft\ndeliver = /nowhere\nidle = no\n{more}"
    );
    let config = config::load_bytes(Path::new("test.ini"), text.as_bytes(), &Overrides::default());
    config.unwrap().launchers.remove(0)
}

fn source(launcher: Launcher, given: &Given) -> Box<dyn Source> {
    let patience = Duration::from_secs(20);
    if launcher.kind == Kind::Pop3 {
        return Box::new(Pop3::new(launcher, Events::nowhere()).with_patience(patience).with_tokens(given.clone()));
    }
    Box::new(Imap::new(launcher, Events::nowhere()).with_patience(patience).with_tokens(given.clone()))
}

/// A connection: the greeting, and what each line that comes is answered with.
type Dialogue = Vec<String>;

/// Plays one dialogue for each connection; answers where, and what was said to it.
fn played(dialogues: Vec<Dialogue>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, said) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let heard = Arc::clone(&said);
    std::thread::spawn(move || {
        for dialogue in dialogues {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let (greeting, answers) = dialogue.split_first().unwrap();
            write!(stream, "{greeting}\r\n").unwrap();
            for answer in answers {
                let Some(Ok(line)) = lines.next() else { break };
                heard.lock().unwrap().push(line);
                write!(stream, "{answer}\r\n").unwrap();
            }
        }
    });
    (address, said)
}

fn dialogue(lines: &[&str]) -> Dialogue {
    lines.iter().map(ToString::to_string).collect()
}

fn google_form(token: &str) -> String {
    STANDARD.encode(format!("user={ACCOUNT}\x01auth=Bearer {token}\x01\x01"))
}

fn standard_form(token: &str) -> String {
    STANDARD.encode(format!("n,a={ACCOUNT},\x01auth=Bearer {token}\x01\x01"))
}

/// Logs in and out; what was said to the server.
async fn said(kind: &str, auth: &str, given: &Given, dialogues: &[&[&str]]) -> (Vec<String>, Result<(), SourceError>) {
    let (address, said) = played(dialogues.iter().map(|lines| dialogue(lines)).collect());
    let mut source = source(launcher(kind, auth, address, ACCOUNT, ""), given);
    let result = source.login().await;
    if result.is_ok() {
        source.finish().await.unwrap();
    }
    let said = said.lock().unwrap().clone();
    (said, result)
}

#[tokio::test]
async fn exchange_gets_a_token_in_two_steps_by_pop3_and_in_the_command_by_imap() {
    let given = Given::new(&["ey.one"]);
    let capa = "+OK\r\nTOP\r\nUIDL\r\nSASL PLAIN XOAUTH2\r\nUSER\r\n.";
    let (lines, result) = said("pop3", "xoauth2", &given, &[&["+OK", capa, "+ ", "+OK", capa, "+OK"]]).await;
    result.unwrap();
    assert_eq!(lines, ["CAPA", "AUTH XOAUTH2", &google_form("ey.one"), "CAPA", "QUIT"]);

    let greeting = "* OK [CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR] ready";
    let capabilities = "* CAPABILITY IMAP4rev1 IDLE MOVE\r\nP0002 OK done";
    let exchange = [greeting, "P0001 OK AUTHENTICATE completed.", capabilities, "P0003 OK bye"];
    let (lines, result) = said("imap", "xoauth2", &given, &[&exchange]).await;
    result.unwrap();
    let first = format!("P0001 AUTHENTICATE XOAUTH2 {}", google_form("ey.one"));
    assert_eq!(lines, [first.as_str(), "P0002 CAPABILITY", "P0003 LOGOUT"], "capabilities are asked for anew");
    assert_eq!(given.refusals(), 0);
}

#[tokio::test]
async fn a_refusal_is_answered_as_its_mechanism_says_and_tried_once_more_with_a_fresh_token() {
    let reason = STANDARD.encode(r#"{"status":"invalid_token"}"#);
    let greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER AUTH=XOAUTH2] ready";
    let challenge = format!("+ {reason}");
    let refuses = [greeting, "+ ", &challenge, "P0001 NO [AUTHENTICATIONFAILED] no"];
    let admits = [greeting, "+ ", "P0001 OK [CAPABILITY IMAP4rev1] in", "P0002 OK bye"];
    for (auth, name, form, answer) in [
        ("oauthbearer", "OAUTHBEARER", standard_form as fn(&str) -> String, "AQ=="),
        ("xoauth2", "XOAUTH2", google_form, ""),
    ] {
        let given = Given::new(&["ey.revoked", "ey.fresh"]);
        let (lines, result) = said("imap", auth, &given, &[&refuses, &admits]).await;
        result.unwrap();
        let first = format!("P0001 AUTHENTICATE {name}");
        let wanted = [&first, &form("ey.revoked"), answer, &first, &form("ey.fresh"), "P0002 LOGOUT"];
        assert_eq!(lines, wanted);
        assert_eq!(given.refusals(), 1);

        let given = Given::new(&["ey.revoked", "ey.fresh"]);
        let (_, result) = said("imap", auth, &given, &[&refuses, &refuses]).await;
        let Err(SourceError::Credentials(fault)) = result else { panic!("{result:?}") };
        for text in [fault.text.en.as_ref(), fault.text.fr.as_ref()] {
            assert!(text.contains("invalid_token") && text.contains("IMAP.AccessAsUser.All"), "{text}");
            assert!(!text.contains("ey.") && !text.contains(&form("ey.fresh")), "{text}");
        }
        assert_eq!((fault.code, given.refusals()), (Code::Credentials, 1), "no third try");
    }
}

#[tokio::test]
async fn exchange_by_pop3_refuses_in_words_and_by_imap_without_a_challenge() {
    let given = Given::new(&["ey.a", "ey.b"]);
    let no = "-ERR Authentication failure: unknown user name or bad password.";
    let capa = "+OK\r\nSASL XOAUTH2\r\n.";
    let pop3: [&str; 4] = ["+OK", capa, "+ ", no];
    let (_, result) = said("pop3", "xoauth2", &given, &[&pop3, &pop3]).await;
    let Err(SourceError::Credentials(fault)) = result else { panic!("{result:?}") };
    assert!(fault.text.en.contains("unknown user name") && fault.text.en.contains("POP.AccessAsUser.All"), "{fault}");
    let given = Given::new(&["ey.a", "ey.b"]);
    let imap = ["* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR] x", "P0001 NO AUTHENTICATE failed."];
    let (_, result) = said("imap", "xoauth2", &given, &[&imap, &imap]).await;
    let Err(SourceError::Credentials(fault)) = result else { panic!("{result:?}") };
    assert!(fault.text.en.contains("AUTHENTICATE failed.") && fault.text.en.contains("Set-CASMailbox"), "{fault}");
    // trouble that passes costs no token
    let given = Given::new(&["ey.a"]);
    let busy = ["* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR] x", "P0001 NO [UNAVAILABLE] later"];
    let (_, result) = said("imap", "xoauth2", &given, &[&busy]).await;
    assert!(matches!(result, Err(SourceError::Connection { .. })), "{result:?}");
    let (_, result) = said("imap", "oauthbearer", &given, &[&busy]).await;
    assert!(matches!(&result, Err(SourceError::Mailbox(fault)) if fault.code == Code::Config), "{result:?}");
    assert_eq!(given.refusals(), 0);
}

/// A key of its own that signs tokens, and a Dovecot that knows its public half.
struct Signer {
    dir: tempfile::TempDir,
}

impl Signer {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("jwt").tempdir().unwrap();
        readable(dir.path());
        let keys = dir.path().join("keys/default/RS256");
        std::fs::create_dir_all(&keys).unwrap();
        let signer = Self { dir };
        signer.openssl(&["genrsa", "-out", "key.pem", "2048"]);
        signer.openssl(&["rsa", "-in", "key.pem", "-pubout", "-out", "keys/default/RS256/default"]);
        let base = signer.dir.path().display();
        let conf = format!(
            "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={base}/keys/\n\
             username_attribute = email\n"
        );
        std::fs::write(signer.dir.path().join("oauth2.conf"), conf).unwrap();
        signer
    }

    fn dovecot(&self) -> Dovecot {
        let extra = format!(
            "auth_mechanisms = xoauth2 oauthbearer\nauth_failure_delay = 0\n\
             passdb {{\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = {}/oauth2.conf\n}}\n\
             service anvil {{\n  unix_listener anvil-auth-penalty {{\n    mode = 0\n  }}\n}}\n",
            self.dir.path().display()
        );
        Dovecot::start_with(None, &extra)
    }

    /// A token for the account of the server, good for so many seconds.
    fn token(&self, seconds: i64) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed();
        let claims = serde_json::json!({
            "email": dovecot::ACCOUNT, "sub": "1", "iss": "test", "scope": "mail", "iat": now - 3600, "nbf": now - 3600,
            "exp": now + seconds,
        });
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        std::fs::write(self.dir.path().join("signed"), &signed).unwrap();
        self.openssl(&["dgst", "-sha256", "-sign", "key.pem", "-out", "signature", "signed"]);
        let signature = std::fs::read(self.dir.path().join("signature")).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn openssl(&self, arguments: &[&str]) {
        let done = Command::new("openssl").args(arguments).current_dir(self.dir.path()).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// Dovecot's own account looks up keys and configuration.
fn readable(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn dovecot_takes_signed_tokens_and_refuses_expired_ones() {
    let signer = Signer::new();
    let mut server = signer.dovecot();
    server.deliver(b"Subject: x\r\n\r\nx\r\n");
    let (good, expired) = (signer.token(3600), signer.token(-600));
    for (kind, auth, reason) in [
        ("imap", "xoauth2", r#""status":"#),
        ("imap", "oauthbearer", "invalid_token"),
        ("pop3", "xoauth2", r#""status":"#),
    ] {
        let at = if kind == "imap" { server.imap() } else { server.pop3() };
        let config = launcher(kind, auth, at, dovecot::ACCOUNT, "");
        for (tokens, refusals) in [([&good, &good], 0), ([&expired, &good], 1)] {
            let given = Given::new(&tokens.map(String::as_str));
            let mut source = source(config.clone(), &given);
            let count = source.count().await.unwrap_or_else(|error| panic!("{kind} {auth}: {error}\n{}", server.log()));
            assert_eq!((count, given.refusals()), (1, refusals), "{kind} {auth}");
            source.finish().await.unwrap();
        }
        let method = format!("method={}", auth.to_uppercase());
        assert!(server.log().contains(&method), "{method}: {}", server.log());
        let given = Given::new(&[&expired, &expired]);
        let error = source(config, &given).login().await.unwrap_err();
        assert!(matches!(error, SourceError::Credentials(_)), "{kind} {auth}: {error}");
        let said = error.fault().text.en.replace('\\', "");
        assert!(said.contains(reason) && !said.contains(&expired), "{kind} {auth}: {said}");
    }
}
