//! How a notice reaches somebody: a mail by SMTP submission, or a POST of JSON.
//!
//! One try each; trying again is the outbox's. The address of a webhook is often a secret itself, so errors name its
//! host alone.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use zeroize::Zeroizing;

use super::book::{Notice, State};
use crate::config::launcher::Alert;
use crate::config::{Address, Global, value};
use crate::secret::Secret;
use crate::text;
use crate::text::{Lang, Text};
use crate::tls::client::system_client;

/// What sending takes, from the configuration.
#[derive(Clone, Debug)]
pub(super) struct Courier {
    lang: Lang,
    server: Option<Address>,
    login: Option<(String, Secret)>,
    from: Option<String>,
}

impl Courier {
    pub(super) fn of(global: &Global) -> Self {
        let login = global.alert_account.clone().zip(global.alert_password.clone());
        Self { lang: global.lang, server: global.alert_server.clone(), login, from: sender(global) }
    }

    /// Sends a notice once.
    pub(super) async fn send(self, to: Alert, notice: Notice) -> Result<(), Text> {
        let work = async {
            match &to {
                Alert::Mail(address) => self.mail(address, &notice).await,
                Alert::Web(url) => post(url, &notice).await,
            }
        };
        tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(text!("no answer", "pas de réponse")))
    }

    async fn mail(&self, to: &str, notice: &Notice) -> Result<(), Text> {
        let Some(Address { host, port }) = &self.server else {
            return Err(text!("`alert_server` is missing", "il manque `alert_server`"));
        };
        let host = host.as_deref().unwrap_or("localhost");
        let message = self.message(to, notice)?;
        let at = Text::same(format!("{host}:{port}"));
        let security = self.security(host, *port).map_err(|error| refused(&at, &error))?;
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(*port).tls(security);
        if let Some((account, password)) = &self.login {
            transport = transport.credentials(Credentials::new(account.clone(), password.reveal().to_owned()));
        }
        transport.build().send(message).await.map(drop).map_err(|error| self.hushed(&refused(&at, &error)))
    }

    /// What a server says without the login, should it repeat what AUTH PLAIN or LOGIN sent.
    fn hushed(&self, said: &Text) -> Text {
        let Some((account, password)) = &self.login else { return said.clone() };
        let encode = |text: &[u8]| Zeroizing::new(STANDARD.encode(text));
        let password = password.reveal();
        let whole = Zeroizing::new(format!("\0{account}\0{password}"));
        let secrets = [encode(whole.as_bytes()), encode(password.as_bytes()), Zeroizing::new(password.to_owned())];
        let secrets = secrets.iter().filter(|secret| secret.len() >= HIDDEN_LEAST);
        Text::same(secrets.fold(said.en.to_string(), |said, secret| said.replace(secret.as_str(), "***")))
    }

    /// TLS before anything is said (RFC 8314, 3.3) or by STARTTLS (RFC 3207); to this machine itself plain text may do,
    /// but a password takes TLS where it is on offer.
    fn security(&self, host: &str, port: u16) -> Result<Tls, lettre::transport::smtp::Error> {
        let local = value::is_loopback(host);
        if port == SUBMISSIONS {
            return TlsParameters::new(host.to_owned()).map(Tls::Wrapper);
        }
        match (local, &self.login) {
            (true, None) => Ok(Tls::None),
            (true, Some(_)) => TlsParameters::new(host.to_owned()).map(Tls::Opportunistic),
            (false, _) => TlsParameters::new(host.to_owned()).map(Tls::Required),
        }
    }

    fn message(&self, to: &str, notice: &Notice) -> Result<Message, Text> {
        let mailbox = |address: &str| {
            address.parse::<Mailbox>().map_err(|error| {
                text!("{address} is no mail address: {error}", "{address} n'est pas une adresse : {error}")
            })
        };
        let words = words(notice);
        let body = format!("{}\r\n", words.body.get(self.lang).replace('\n', "\r\n"));
        // nobody's holiday answers to it (RFC 3834, 5)
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(mailbox(self.from.as_deref().unwrap_or_default())?)
            .to(mailbox(to)?)
            .subject(words.subject.get(self.lang))
            .date_now()
            .message_id(None)
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(body)
            .map_err(|error| Text::same(error.to_string()))
    }
}

/// Who sends: `alert_from`, else the account where that is an address.
pub(in crate::supervisor) fn sender(global: &Global) -> Option<String> {
    let account = || global.alert_account.clone().filter(|account| is_address(account));
    global.alert_from.clone().or_else(account)
}

/// Whether a mail can go there or come from there.
pub(in crate::supervisor) fn is_address(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

struct Words {
    subject: Text,
    body: Text,
}

fn words(notice: &Notice) -> Words {
    let Notice { launcher, state, code, message, since } = notice;
    let (host, since) = (host(), local(*since));
    let (en, fr) = (&message.en, &message.fr);
    match state {
        State::Failing => Words {
            subject: text!(
                "pertuis: {launcher}: failing since {since}",
                "pertuis: {launcher} : en échec depuis {since}"
            ),
            body: text!(
                "The launcher {launcher} on {host} has been failing since {since}.\n\n{code}: {en}\n\n\
                 `pertuis test \"{launcher}\"` on that machine shows where it stops. Nothing is lost: it keeps trying, \
                 and a second message says when it works again.",
                "Le lanceur {launcher} de la machine {host} est en échec depuis le {since}.\n\n{code} : {fr}\n\n\
                 Sur cette machine, `pertuis test \"{launcher}\"` montre où il s'arrête. Rien n'est perdu : les essais \
                 continuent, et un second message dira quand tout sera rétabli."
            ),
        },
        State::Recovered => Words {
            subject: text!("pertuis: {launcher}: works again", "pertuis: {launcher} : rétabli"),
            body: text!(
                "The launcher {launcher} on {host} works again.\n\nIt had been failing since {since} ({code}: {en}).",
                "Le lanceur {launcher} de la machine {host} fonctionne de nouveau.\n\nIl était en échec depuis le \
                 {since} ({code} : {fr})."
            ),
        },
    }
}

fn local(time: jiff::Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// What this machine calls itself.
fn host() -> String {
    let linux = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = linux.or_else(|| std::env::var("COMPUTERNAME").ok()).or_else(|| std::env::var("HOSTNAME").ok());
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| "?".to_owned())
}

/// The JSON of a notice; never translated.
#[derive(serde::Serialize)]
struct Posted<'a> {
    launcher: &'a str,
    state: State,
    code: &'a str,
    message: &'a str,
    since: String,
}

async fn post(url: &str, notice: &Notice) -> Result<(), Text> {
    let url = reqwest::Url::parse(url).map_err(|error| Text::same(error.to_string()))?;
    let at = Text::same(url.host_str().unwrap_or("?").to_owned());
    let tls = system_client().map_err(|fault| fault.text)?;
    let redirects = reqwest::redirect::Policy::none();
    let mut client = reqwest::Client::builder().tls_backend_preconfigured(tls).redirect(redirects);
    if url.scheme() == "http" {
        // plain text stays on this machine whatever the environment says
        client = client.no_proxy();
    }
    let client = client.build().map_err(|error| refused(&at, &error.without_url()))?;
    let Notice { launcher, state, code, message, since } = notice;
    let posted = Posted { launcher, state: *state, code, message: &message.en, since: since.to_string() };
    let answer = client.post(url).json(&posted).send().await.map_err(|error| refused(&at, &error.without_url()))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(refused(&at, &std::io::Error::other(format!("HTTP {status}"))))
}

/// What an error and those below it say.
fn refused(at: &Text, error: &dyn std::error::Error) -> Text {
    let mut said = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let words = cause.to_string();
        if !said.contains(&words) {
            said = format!("{said}: {words}");
        }
        below = cause.source();
    }
    // one line, whatever a server says
    let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Text::same(format!("{at}: {said}"))
}

/// A shorter secret would be found in any sentence.
const HIDDEN_LEAST: usize = 4;
/// RFC 8314, 7.3.
const SUBMISSIONS: u16 = 465;
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

    use super::super::book::Sentence;
    use super::*;

    fn courier(login: Option<(&str, &str)>) -> Courier {
        Courier {
            lang: Lang::Fr,
            server: None,
            login: login.map(|(account, password)| (account.to_owned(), Secret::new(password))),
            from: Some("ged@example.org".to_owned()),
        }
    }

    fn notice(launcher: &str, state: State) -> Notice {
        let message = Sentence { en: "the folder is gone".to_owned(), fr: "le dossier a disparu".to_owned() };
        let since = Timestamp::UNIX_EPOCH;
        Notice { launcher: launcher.to_owned(), state, code: "folder".to_owned(), message, since }
    }

    #[test]
    fn beyond_this_machine_nothing_goes_in_plain_text() {
        let (open, closed) = (courier(None), courier(Some(("a", "b"))));
        for courier in [&open, &closed] {
            assert!(matches!(courier.security("smtp.example.org", 465), Ok(Tls::Wrapper(_))));
            assert!(matches!(courier.security("smtp.example.org", 587), Ok(Tls::Required(_))));
            assert!(matches!(courier.security("127.0.0.1", 465), Ok(Tls::Wrapper(_))));
        }
        assert!(matches!(open.security("localhost", 25), Ok(Tls::None)));
        assert!(matches!(closed.security("localhost", 25), Ok(Tls::Opportunistic(_))));
        assert!(!format!("{closed:?}").contains("\"b\""));
    }

    #[tokio::test]
    async fn a_server_that_repeats_the_login_does_not_bring_it_into_the_log() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (input, mut out) = stream.into_split();
            let mut lines = BufReader::new(input).lines();
            out.write_all(b"220 hello\r\n").await.unwrap();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer = if line.starts_with("EHLO") {
                    "250-x\r\n250 AUTH PLAIN LOGIN\r\n".to_owned()
                } else {
                    format!("535-no: {line}\r\n535 hunter2-simple aHVudGVyMi1zaW1wbGU=\r\n")
                };
                out.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let mut courier = courier(Some(("me", "hunter2-simple")));
        courier.server = Some(Address { host: Some("127.0.0.1".to_owned()), port });
        let why = courier.mail("admin@example.org", &notice("factures", State::Failing)).await.unwrap_err();
        let said = why.en.as_ref();
        assert!(said.contains("535") && said.contains("***") && !said.contains('\n'), "{said}");
        for secret in ["hunter2", "aHVudGVyMi1zaW1wbGU", "AG1lAGh1bnRlcjItc2ltcGxl"] {
            assert!(!said.contains(secret), "{said}");
        }
    }

    #[test]
    fn a_mail_says_who_what_since_when_and_what_to_do_and_a_name_cannot_add_headers() {
        let courier = courier(None);
        let failing = courier.message("admin@example.org", &notice("factures", State::Failing)).unwrap();
        let text = String::from_utf8(failing.formatted()).unwrap();
        assert!(text.contains("Auto-Submitted: auto-generated\r\n"), "{text}");
        let words = words(&notice("factures", State::Failing));
        assert!(words.subject.fr.starts_with("pertuis: factures : en échec depuis 19"), "{}", words.subject.fr);
        for part in ["factures", "folder : le dossier a disparu", "pertuis test", &host()] {
            assert!(words.body.fr.contains(part), "{}", words.body.fr);
        }
        let odd = courier.message("admin@example.org", &notice("a\r\nBcc: x@y.test\r\n", State::Failing)).unwrap();
        let text = String::from_utf8(odd.formatted()).unwrap();
        let (headers, _) = text.split_once("\r\n\r\n").unwrap();
        assert!(!headers.lines().any(|line| line.starts_with("Bcc")), "{headers}");
    }
}
