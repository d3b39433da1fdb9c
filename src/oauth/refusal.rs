//! Why an authorization server grants nothing, named by what the caller does next.
//!
//! Not a log: [`Refusal::event`] makes the one event that helps Microsoft's support, the caller emits it. What happens next
//! is decided by `error` and the HTTP status alone, as Microsoft's own page asks; the AADSTS number only picks the advice
//! ([`super::aadsts`]). Whatever a server says is shown on one line and without our secrets, should it repeat them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use zeroize::Zeroizing;

use super::aadsts;
use super::advice::{self, Words};
use super::form::encoded;
use crate::event::{Event, Level};
use crate::model::{Code, Fault, ServiceName};
use crate::secret::Secret;
use crate::text;
use crate::text::Text;

/// A grant that was refused.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{fault}")]
pub struct Refusal {
    /// For people, with the advice, and the contract's code.
    pub fault: Fault,
    /// What the caller does next.
    pub next: Next,
    /// The word of the standard (RFC 6749, 5.2; RFC 8628, 3.5); empty where no server said any.
    pub error: String,
    /// Microsoft's number for it.
    pub aadsts: Option<u32>,
    /// What Microsoft's support asks for; empty where the server does not say it.
    pub trace: Box<Trace>,
}

/// What to do after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nobody has signed in yet: ask again after the interval (`authorization_pending`).
    Wait,
    /// The same, five seconds slower from now on (`slow_down`).
    SlowDown,
    /// Only a person, or the administrator, helps.
    SignIn,
    /// It passes by itself; after so long, where the server says it.
    Later(Option<Duration>),
}

/// What makes a refusal findable in the sign-in logs of the directory: what the server said, each on one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The number of this answer.
    pub trace_id: Option<String>,
    /// The number of the conversation.
    pub correlation_id: Option<String>,
    /// When, by the server's clock.
    pub timestamp: Option<String>,
    /// `suberror`: Microsoft's finer word.
    pub suberror: Option<String>,
    /// `error_description`, whole.
    pub said: Option<String>,
}

impl Refusal {
    /// One that no server spoke: the network, or our own configuration.
    pub fn of(fault: Fault) -> Self {
        let next = match fault.code {
            Code::Config | Code::Credentials => Next::SignIn,
            _ => Next::Later(None),
        };
        Self { fault, next, error: String::new(), aadsts: None, trace: Box::default() }
    }

    /// What a server said with an error of its own (RFC 6749, 5.2); `None` where `answer` is no such thing. `secrets` are
    /// those that were sent.
    pub(super) fn said(answer: &Value, words: &Words, secrets: &[Secret]) -> Option<Self> {
        let field = |name: &str| said(answer.get(name)?, secrets);
        let error = field("error")?;
        let trace = Box::new(Trace {
            trace_id: field("trace_id"),
            correlation_id: field("correlation_id"),
            timestamp: field("timestamp"),
            suberror: field("suberror"),
            said: field("error_description"),
        });
        let aadsts = number(answer, trace.said.as_deref());
        let (code, next) = classified(&error);
        let text = sentence(&error, aadsts, &trace, words);
        Some(Self { fault: Fault::new(code, text), next, error, aadsts, trace })
    }

    /// Whether it is about what was asked for: nobody consented to it, or it is more than was granted (RFC 6749, 5.2).
    pub(super) fn is_of_scope(&self) -> bool {
        let consent = "consent_required";
        matches!(self.error.as_str(), "invalid_scope" | "consent_required")
            || self.trace.suberror.as_deref() == Some(consent)
    }

    /// The event for the log: what the server said, whole, with its numbers and the page that explains them.
    pub fn event(&self, launcher: &ServiceName) -> Event {
        let Trace { trace_id, correlation_id, timestamp, suberror, said } = self.trace.as_ref();
        let mut words = vec![if self.error.is_empty() { "-".to_owned() } else { self.error.clone() }];
        let mut add = |name: &str, value: &Option<String>| {
            words.extend(value.as_ref().map(|value| format!("{name} {value}")));
        };
        add("suberror", suberror);
        add("trace_id", trace_id);
        add("correlation_id", correlation_id);
        add("timestamp", timestamp);
        add("see", &self.aadsts.map(aadsts::page));
        words.extend(said.clone());
        let (level, words) = (self.level(), words.join("; "));
        let Text { en, fr } = &self.fault.text;
        let text = match self.error.as_str() {
            "" => text!("{launcher}: {en}", "{launcher} : {fr}"),
            _ => text!(
                "{launcher}: the sign-in server refuses: {words}",
                "{launcher} : le serveur d'authentification refuse : {words}"
            ),
        };
        Event::new(level, "oauth_refused", text).of(launcher)
    }

    fn level(&self) -> Level {
        match self.next {
            // what is expected while a person is at the browser
            Next::Wait | Next::SlowDown => Level::Debug,
            Next::SignIn | Next::Later(_) => Level::Warning,
        }
    }
}

/// The contract's code and what comes next, by the word alone.
fn classified(error: &str) -> (Code, Next) {
    match error {
        "authorization_pending" => (Code::Credentials, Next::Wait),
        "slow_down" => (Code::Credentials, Next::SlowDown),
        "temporarily_unavailable" => (Code::Throttled, Next::Later(None)),
        "server_error" => (Code::Connect, Next::Later(None)),
        "invalid_request"
        | "invalid_scope"
        | "invalid_resource"
        | "invalid_target"
        | "unauthorized_client"
        | "unsupported_grant_type"
        | "unsupported_response_type" => (Code::Config, Next::SignIn),
        _ => (Code::Credentials, Next::SignIn),
    }
}

/// Who refuses, what, and what to do. A number that we know says enough; everything else is shown as it came.
fn sentence(error: &str, aadsts: Option<u32>, trace: &Trace, words: &Words) -> Text {
    let provider = words.provider;
    let known = aadsts.and_then(|code| Some((code, aadsts::advice(code)?)));
    let (label, advice) = if let Some((code, advice)) = known {
        (format!("{error}, AADSTS{code}"), Some(advice))
    } else {
        let said = trace.said.as_ref().map_or(String::new(), |said| format!(": {said}"));
        (format!("{error}{said}"), advice::by_word(error, words))
    };
    match advice.map(|advice| advice.text(words)) {
        Some(Text { en, fr }) => {
            text!("{provider} refuses ({label}): {en}", "{provider} refuse ({label}) : {fr}")
        }
        None => text!("{provider} refuses ({label})", "{provider} refuse ({label})"),
    }
}

/// The number: `error_codes` first, else the one in the text.
fn number(answer: &Value, said: Option<&str>) -> Option<u32> {
    let listed =
        answer.get("error_codes").and_then(|codes| codes.get(0)?.as_u64()).and_then(|code| code.try_into().ok());
    let written = || {
        let (_, rest) = said?.split_once("AADSTS")?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    listed.or_else(written)
}

/// A text or a number as it may be shown; `None` where it is neither, or nothing.
fn said(value: &Value, secrets: &[Secret]) -> Option<String> {
    let text = match value {
        Value::String(text) => Zeroizing::new(text.clone()),
        Value::Number(number) => Zeroizing::new(number.to_string()),
        _ => return None,
    };
    Some(one_line(&hushed(&text, secrets))).filter(|text| !text.is_empty())
}

/// `said` without the secrets that we sent, in whichever form they come back, and without anything that looks like a token.
fn hushed(said: &str, secrets: &[Secret]) -> String {
    let mut said = said.to_owned();
    for secret in secrets.iter().map(Secret::reveal).filter(|secret| secret.len() >= HIDDEN_LEAST) {
        let base64 = (STANDARD.encode(secret), URL_SAFE_NO_PAD.encode(secret));
        let forms =
            [secret.to_owned(), encoded(secret), secret.replace('+', " "), base64.0, base64.1].map(Zeroizing::new);
        for form in &forms {
            said = said.replace(form.as_str(), "***");
        }
    }
    without_tokens(&said)
}

/// JSON Web Tokens that nobody sent have no business in a log either.
fn without_tokens(said: &str) -> String {
    let mut out = String::with_capacity(said.len());
    let mut rest = said;
    while let Some(at) = rest.find(TOKEN) {
        let (before, found) = rest.split_at(at);
        let end = found.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(found.len());
        out.push_str(before);
        out.push_str(if end > TOKEN_LEAST { "***" } else { &found[..end] });
        rest = &found[end..];
    }
    out + rest
}

/// On one line, without what could move a terminal's cursor, and not endless.
fn one_line(said: &str) -> String {
    let plain: String =
        said.chars().map(|c| if c.is_control() || is_mark(c) { ' ' } else { c }).take(LONGEST).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Line separators and marks that turn the direction of writing.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A shorter secret would be found in any sentence.
const HIDDEN_LEAST: usize = 4;
/// The base64 of `{"`: every JSON Web Token begins so.
const TOKEN: &str = "eyJ";
/// And none is shorter.
const TOKEN_LEAST: usize = 40;
/// Microsoft's longest texts have some 900 characters.
const LONGEST: usize = 4000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_answer_breaks_a_line_or_shows_a_secret(
            before in ".{0,40}", secret in "[A-Za-z0-9+/=~.-]{8,80}", after in ".{0,40}", encode in 0..3_usize,
        ) {
            let forms: [String; 3] = [secret.clone(), encoded(&secret), URL_SAFE_NO_PAD.encode(&secret)];
            let written = forms[encode].clone();
            let value = Value::String(format!("{before}{written}{after}"));
            let shown = said(&value, &[Secret::new(secret.as_str())]).unwrap_or_default();
            prop_assert!(!shown.contains(&written) && !shown.contains(&secret), "{}", shown);
            prop_assert!(!shown.chars().any(|c| c.is_control() || is_mark(c)), "{:?}", shown);
        }

        #[test]
        fn no_token_makes_it_panic(token in "(eyJ)?.{0,80}", claims in "\\{?.{0,40}\\}?") {
            let _ = without_tokens(&token);
            let _ = super::super::identity::of_token(&token);
            let _ = super::super::identity::of_token(&format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims)));
        }
    }

    #[test]
    fn a_token_is_hidden_wherever_it_stands_and_words_are_not() {
        let token = format!("eyJ{}.{}.c-_", "a".repeat(40), "b".repeat(40));
        assert_eq!(without_tokens(&format!("(Bearer:{token}) and {token}")), "(Bearer:***) and ***");
        assert_eq!(without_tokens("keyJunk eyJ and eyJshort."), "keyJunk eyJ and eyJshort.");
    }
}
