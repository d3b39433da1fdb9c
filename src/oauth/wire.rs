//! One request to an authorization server: a form goes out, JSON comes back.
//!
//! Not a conversation: what is asked and what an answer means is [`super::grants`]'. Whatever comes back is bounded in size
//! and time, and never followed elsewhere. What is no OAuth answer at all (a firewall's page, a proxy's) is told as such.

use std::time::{Duration, SystemTime};

use hyper::body::Bytes;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, LOCATION};
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::Value;
use zeroize::Zeroizing;

use super::advice::Words;
use super::form::Form;
use super::refusal::{Next, Refusal};
use crate::model::{Code, Fault};
use crate::net::web;
use crate::text;
use crate::text::Text;

/// Posts `form` to `url`; the JSON of a success, or why there is none.
pub(super) async fn post(client: &Client, url: &str, form: Form, words: &Words) -> Result<Value, Refusal> {
    let url = Url::parse(url).map_err(|_| Refusal::of(no_address(url)))?;
    let host = url.host_str().unwrap_or("?").to_owned();
    let (body, secrets) = form.done();
    let request = client
        .post(url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .timeout(PATIENCE)
        .body(Bytes::from_owner(Wiped(body)));
    let response = request.send().await.map_err(|error| Refusal::of(web::fault(&host, &error)))?;
    let (status, headers) = (response.status(), response.headers().clone());
    if status.is_redirection() {
        return Err(redirected(&host, &headers));
    }
    let body = read(response, &host).await?;
    let answer: Option<Value> = serde_json::from_slice(&body).ok().filter(Value::is_object);
    let refusal = match answer {
        Some(answer) if status.is_success() && answer.get("error").is_none() => return Ok(answer),
        Some(answer) => Refusal::said(&answer, words, &secrets),
        None => None,
    };
    Err(by_status(refusal, status, &headers, &host))
}

/// What is sent, wiped when it has been.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The body, which no honest server makes long.
async fn read(mut response: Response, host: &str) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let mut body = Zeroizing::new(Vec::with_capacity(LARGEST));
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(piece)) if body.len() + piece.len() <= LARGEST => body.extend_from_slice(&piece),
            Ok(Some(_)) => {
                let text = text!("{host} answers without end", "{host} répond sans fin");
                return Err(Refusal::of(Fault::new(Code::Protocol, text)));
            }
            Err(error) => return Err(Refusal::of(web::fault(host, &error))),
        }
    }
}

/// What the HTTP status says beside, or instead of, the server's own words: 429 and 5xx pass by themselves.
fn by_status(refusal: Option<Refusal>, status: StatusCode, headers: &HeaderMap, host: &str) -> Refusal {
    let code = match status.as_u16() {
        429 => Some(Code::Throttled),
        408 | 500..=599 => Some(Code::Connect),
        _ => None,
    };
    let said = refusal.is_some();
    let mut refusal = refusal.unwrap_or_else(|| Refusal::of(unexplained(status, host)));
    if let Some(code) = code {
        refusal.fault.code = code;
        refusal.next = Next::Later(None);
        if !said {
            refusal.fault.text = text!(
                "{host} is disturbed or overloaded (HTTP {status}); it will be tried again",
                "{host} est perturbé ou surchargé (HTTP {status}) ; de nouveaux essais suivront"
            );
        }
    }
    if let Next::Later(wait) = &mut refusal.next {
        *wait = web::retry_after(headers, SystemTime::now());
    }
    if refusal.next == Next::SignIn
        && let Some(Text { en, fr }) = skew(headers, Timestamp::now())
    {
        let Text { en: before, fr: avant } = &refusal.fault.text;
        refusal.fault.text = text!("{before}; {en}", "{avant} ; {fr}");
    }
    refusal
}

/// Neither a grant nor an error of OAuth.
fn unexplained(status: StatusCode, host: &str) -> Fault {
    Fault::new(
        Code::Protocol,
        text!(
            "{host} answers HTTP {status} and nothing that OAuth knows: check `authority` and `tenant`, and whether a proxy \
             or firewall answers in its place",
            "{host} répond HTTP {status} et rien de ce qu'OAuth connaît : vérifier `authority` et `tenant`, et si un proxy ou \
             pare-feu répond à sa place"
        ),
    )
}

/// A secret is not carried elsewhere.
fn redirected(host: &str, headers: &HeaderMap) -> Refusal {
    let to = headers.get(LOCATION).and_then(|to| Url::parse(to.to_str().ok()?).ok()?.host_str().map(ToOwned::to_owned));
    let to = to.unwrap_or_else(|| "?".to_owned());
    let text = text!(
        "{host} sends on to {to}, where secrets are not sent: check `authority`, and whether a proxy or a sign-in page of \
         this network answers in its place",
        "{host} renvoie vers {to}, où les secrets ne sont pas envoyés : vérifier `authority`, et si un proxy ou une page de \
         connexion de ce réseau répond à sa place"
    );
    Refusal::of(Fault::new(Code::Protocol, text))
}

/// A clock that is wrong makes signed requests useless, and no server says so plainly.
fn skew(headers: &HeaderMap, now: Timestamp) -> Option<Text> {
    let theirs = web::date(headers.get(DATE)?.to_str().ok()?)?;
    let seconds = now.duration_since(theirs).as_secs();
    let minutes = seconds.unsigned_abs() / 60;
    if minutes < SKEW {
        return None;
    }
    Some(if seconds > 0 {
        text!(
            "the clock of this machine is {minutes} minutes ahead of theirs",
            "l'horloge de cette machine avance de {minutes} minutes sur la leur"
        )
    } else {
        text!(
            "the clock of this machine is {minutes} minutes behind theirs",
            "l'horloge de cette machine retarde de {minutes} minutes sur la leur"
        )
    })
}

fn no_address(url: &str) -> Fault {
    Fault::new(Code::Config, text!("`authority`: {url} is no address", "`authority` : {url} n'est pas une adresse"))
}

/// For a whole answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Tokens of people in many groups have some 20 KB.
const LARGEST: usize = 256 << 10;
/// Minutes; what servers tolerate.
const SKEW: u64 = 3;

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_wrong_clock_is_told_with_its_direction() {
        let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static("Wed, 26 Nov 2025 04:00:00 GMT"))]);
        let at = |minutes: i64| Timestamp::from_second(1_764_129_600 + minutes * 60).unwrap();
        for (minutes, words) in
            [(0, None), (2, None), (-2, None), (12, Some("12 minutes ahead")), (-60, Some("60 minutes behind"))]
        {
            let found = skew(&headers, at(minutes));
            assert_eq!(found.is_some(), words.is_some(), "{minutes}");
            assert!(found.is_none_or(|text| text.en.contains(words.unwrap_or_default())), "{minutes}");
        }
    }
}
