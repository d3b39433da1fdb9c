//! Google's sign-in of a person: a page in a browser, whose answer comes back to this machine, or by hand.
//!
//! No device code: Google refuses it for mail. The authorization code with PKCE (RFC 7636) comes to a port of loopback
//! (RFC 8252, 7.3) when the browser runs on this machine. On a server it runs elsewhere, its last page does not load, and the
//! address of that page is what the person pastes: it holds the same answer. Both ways are open at once.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::form::encoded;
use crate::config::oauth::OAuth;
use crate::model::{Code, Digest, Fault};
use crate::net::listen;
use crate::secret::Secret;
use crate::text;
use crate::text::{Lang, Text};
use crate::tls;

/// A sign-in that waits for its answer.
#[derive(Debug)]
pub struct CodeRequest {
    /// The page to open.
    pub url: String,
    /// Where its answer goes.
    pub redirect: String,
    /// Proves that the one who redeems the code is the one who asked (RFC 7636, 4.1).
    pub(super) verifier: Secret,
    /// Comes back with the answer, or it is not ours (RFC 6749, 10.12).
    state: Secret,
}

/// What the browser brought back.
#[derive(Debug)]
pub enum Answer {
    /// The code (RFC 6749, 4.1.2).
    Code(Secret),
    /// What the server says instead (RFC 6749, 4.1.2.1): `access_denied` and the like.
    Refused(String),
}

impl CodeRequest {
    /// A new request, whose answer goes to `redirect`.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn new(oauth: &OAuth, scope: &str, account: Option<&str>, redirect: &str) -> Result<Self, Fault> {
        let (verifier, state) = (random()?, random()?);
        let challenge = URL_SAFE_NO_PAD.encode(Digest::of(verifier.reveal().as_bytes()).0);
        let mut url = format!(
            "{}?response_type=code&client_id={}&redirect_uri={}&scope={}&state={}&code_challenge={challenge}\
             &code_challenge_method=S256&access_type=offline&prompt=consent",
            page(oauth),
            encoded(&oauth.client_id),
            encoded(redirect),
            encoded(scope),
            encoded(state.reveal()),
        );
        if let Some(account) = account {
            url.push_str("&login_hint=");
            url.push_str(&encoded(account));
        }
        Ok(Self { url, redirect: redirect.to_owned(), verifier, state })
    }

    /// The answer in the address of the last page, whole or from its `?` on.
    ///
    /// # Errors
    /// It is no such address, or that of another sign-in.
    pub fn answer(&self, address: &str) -> Result<Answer, Text> {
        let query = address.trim().split_once('?').map(|(_, query)| query).ok_or_else(no_answer)?;
        let url = Zeroizing::new(format!("http://localhost/?{query}"));
        let url = Url::parse(&url).map_err(|_| no_answer())?;
        let find = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        if find("state").map(Secret::new).as_ref() != Some(&self.state) {
            return Err(other_sign_in());
        }
        match (find("code").filter(|code| !code.is_empty()), find("error")) {
            (Some(code), _) => Ok(Answer::Code(Secret::new(code))),
            (None, Some(error)) => Ok(Answer::Refused(error.chars().filter(|c| !c.is_control()).take(100).collect())),
            (None, None) => Err(no_answer()),
        }
    }
}

/// A port of loopback to which a browser on this machine brings the answer.
#[derive(Debug)]
pub struct Redirect {
    listener: TcpListener,
    /// What Google sends the browser to.
    pub uri: String,
}

impl Redirect {
    /// Opens a free port.
    ///
    /// # Errors
    /// The system gives none.
    pub async fn open() -> Result<Self, Fault> {
        let broken = |error: &std::io::Error| {
            let Text { en, fr } = Text::io(error);
            let text =
                text!("no port of 127.0.0.1 for the answer: {en}", "pas de port de 127.0.0.1 pour la réponse : {fr}");
            Fault::new(Code::Connect, text)
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| broken(&error))?;
        let port = listener.local_addr().map_err(|error| broken(&error))?.port();
        Ok(Self { listener, uri: format!("http://127.0.0.1:{port}") })
    }

    /// Waits for the answer to `request`; whatever else comes to the port gets a page that says so.
    pub async fn wait(&self, request: &CodeRequest, lang: Lang) -> Answer {
        let found = Arc::new(Mutex::new(None));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (found, asked) = (found.clone(), Asked::of(request));
                        connections.spawn(async move {
                            let _ = timeout(WHOLE, serve(stream, &asked, &found, lang)).await;
                        });
                    }
                    Err(error) => tokio::time::sleep(listen::pause_after(&error)).await,
                },
                Some(_) = connections.join_next() => {}
            }
            let answer = found.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(answer) = answer {
                // the browser gets its page to the end
                let all = async { while connections.join_next().await.is_some() {} };
                let _ = timeout(LAST_WORDS, all).await;
                return answer;
            }
        }
    }
}

/// What a connection has to know of the request.
struct Asked(CodeRequest);

impl Asked {
    fn of(request: &CodeRequest) -> Self {
        Self(CodeRequest {
            url: String::new(),
            redirect: String::new(),
            verifier: Secret::new(""),
            state: request.state.clone(),
        })
    }
}

/// One request, one page.
async fn serve(stream: TcpStream, asked: &Asked, found: &Mutex<Option<Answer>>, lang: Lang) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = asked.0.answer(&request.uri().to_string());
        let (status, words) = match &answer {
            Ok(Answer::Code(_)) => (StatusCode::OK, signed_in()),
            Ok(Answer::Refused(error)) => (StatusCode::OK, refused(error)),
            Err(text) => (StatusCode::BAD_REQUEST, text.clone()),
        };
        if let Ok(answer) = answer {
            *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        }
        let response = response(status, words.get(lang));
        async { Ok::<_, Infallible>(response) }
    });
    let _ = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
}

fn response(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("pertuis\n\n{words}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The page of the sign-in.
fn page(oauth: &OAuth) -> String {
    format!("{}/o/oauth2/v2/auth", oauth.authority)
}

/// Where codes, refresh tokens and signed requests are redeemed; the audience of the latter.
pub(super) fn token_url(oauth: &OAuth) -> String {
    if oauth.authority == GOOGLE { GOOGLE_TOKENS.to_owned() } else { format!("{}/token", oauth.authority) }
}

/// 43 characters of 256 random bits (RFC 7636, 4.1).
fn random() -> Result<Secret, Fault> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    tls::provider().secure_random.fill(bytes.as_mut()).map_err(|_| {
        let text = text!("the system gives no random numbers", "le système ne donne pas de nombres aléatoires");
        Fault::new(Code::Config, text)
    })?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes.as_ref())))
}

fn signed_in() -> Text {
    text!(
        "Signed in. You may close this page; the rest is said where `pertuis login` runs.",
        "Connecté. Vous pouvez fermer cette page ; la suite se lit là où tourne `pertuis login`."
    )
}

fn refused(error: &str) -> Text {
    text!("Not signed in: {error}", "Pas connecté : {error}")
}

fn no_answer() -> Text {
    text!(
        "this is not the address of the last page: expected http://127.0.0.1:…/?state=…&code=…, whole",
        "ce n'est pas l'adresse de la dernière page : attendue http://127.0.0.1:…/?state=…&code=…, entière"
    )
}

fn other_sign_in() -> Text {
    text!(
        "this is the answer to another sign-in; open the link above and take the address of its last page",
        "c'est la réponse à une autre connexion ; ouvrir le lien ci-dessus et prendre l'adresse de sa dernière page"
    )
}

const GOOGLE: &str = "https://accounts.google.com";
const GOOGLE_TOKENS: &str = "https://oauth2.googleapis.com/token";
/// For one request to the port.
const WHOLE: Duration = Duration::from_secs(10);
const LAST_WORDS: Duration = Duration::from_secs(1);
