//! HTTPS as a client, for the launchers that speak it: one way to build it, one way to say what went wrong.
//!
//! Not a protocol: what is asked and how often is the caller's. The launcher's trust and proxy hold here as they do for
//! mail; redirects are never followed, because what is sent is mostly a secret; the environment's proxies are not asked, as
//! they are not for mail either.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Url};
use zeroize::Zeroizing;

use super::proxy;
use crate::config::launcher::{Proxy, ProxyKind};
use crate::config::{Launcher, Trust};
use crate::model::{Code, Fault};
use crate::text;
use crate::text::Text;
use crate::tls::client;
use crate::tls::refusal::Refusal;

/// A client for the server behind `base`, with `launcher`'s trust and proxy. The caller adds time limits of its own for
/// whole answers; here a connection may take [`PATIENCE`].
///
/// # Errors
/// Trust files that are missing or of no use, a proxy that cannot be used (code `config`).
pub fn builder(launcher: &Launcher, base: &str) -> Result<ClientBuilder, Fault> {
    // the names that `checkHost` gives are the mail server's
    let trust = Trust {
        check_host: Vec::new(),
        check_email: Vec::new(),
        check_ip: Vec::new(),
        dialled_name: true,
        ..launcher.trust.clone()
    };
    let builder = Client::builder()
        .tls_backend_preconfigured(client::web_client(&trust)?)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(PATIENCE)
        .user_agent(concat!("pertuis/", env!("CARGO_PKG_VERSION")))
        .no_proxy();
    match &launcher.proxy {
        // plain text stays on this machine
        Some(proxy) if !base.starts_with("http:") => Ok(builder.proxy(through(proxy)?)),
        _ => Ok(builder),
    }
}

/// The proxy as reqwest takes it. SOCKS resolves names at its end, as for mail.
fn through(proxy: &Proxy) -> Result<reqwest::Proxy, Fault> {
    let scheme = match proxy.kind {
        ProxyKind::Http => "http",
        ProxyKind::Socks5 => "socks5h",
    };
    let shown = proxy::shown(proxy);
    let unusable =
        || Fault::new(Code::Config, text!("proxy {shown}: no usable address", "proxy {shown} : adresse inutilisable"));
    let mut url = Url::parse(&format!("{scheme}://{}", proxy.address)).map_err(|_| unusable())?;
    if let Some((user, secret)) = &proxy.login {
        url.set_username(user).map_err(|()| unusable())?;
        url.set_password(Some(secret.reveal())).map_err(|()| unusable())?;
    }
    let text = Zeroizing::new(String::from(url));
    reqwest::Proxy::all(text.as_str()).map_err(|_| unusable())
}

/// What became of a request to `host`, for people. Never shows the URL: it may hold a secret.
pub fn fault(host: &str, error: &reqwest::Error) -> Fault {
    let mut below: Option<&(dyn Error + 'static)> = error.source();
    let mut innermost = None;
    while let Some(cause) = below {
        if let Some(fault) = cause.downcast_ref::<io::Error>().and_then(|error| of_the_connection(host, error)) {
            return fault;
        }
        innermost = Some(in_words(cause));
        below = cause.source();
    }
    let Text { en: said, fr: dit } = innermost.unwrap_or_else(|| Text::same("?"));
    let (code, words) = if error.is_timeout() {
        (Code::Connect, text!("{host} does not answer", "{host} ne répond pas"))
    } else if is_resolution(error) {
        (Code::Resolve, text!("the name {host} does not resolve: {said}", "le nom {host} ne se résout pas : {dit}"))
    } else if error.is_connect() {
        (Code::Connect, text!("no connection to {host}: {said}", "pas de connexion à {host} : {dit}"))
    } else {
        (Code::Connect, text!("{host}: the exchange broke off: {said}", "{host} : échange interrompu : {dit}"))
    };
    Fault::new(code, words)
}

/// The innermost cause: the system's in both languages, others as they are, on one line.
fn in_words(cause: &(dyn Error + 'static)) -> Text {
    match cause.downcast_ref::<io::Error>() {
        // one that only wraps another speaks with that one's words, and comes again
        Some(error) if error.raw_os_error().is_some() => Text::io(error),
        _ => Text::same(cause.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()),
    }
}

/// What the certificate or the system said.
fn of_the_connection(host: &str, error: &io::Error) -> Option<Fault> {
    if let Some(refusal) = Refusal::find(error) {
        return Some(Fault::new(Code::Tls, refusal.text(host)));
    }
    let inner = error.get_ref()?;
    inner.downcast_ref::<rustls::Error>().map(|_| Fault::new(Code::Tls, client::explain(host, error)))
}

/// hyper says "dns error" of the resolver's answer, and has no type for it that could be asked.
fn is_resolution(error: &reqwest::Error) -> bool {
    let mut below: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = below {
        if cause.to_string().contains("dns error") {
            return true;
        }
        below = cause.source();
    }
    false
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, which Microsoft also writes with a fraction, or a date.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok().map(|wait| wait.min(LONGEST_WAIT));
    }
    let at = SystemTime::from(date(value)?);
    Some(at.duration_since(now).unwrap_or_default().min(LONGEST_WAIT))
}

/// A date of HTTP (RFC 9110, 5.6.7), in the form that is not obsolete.
pub fn date(value: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(value).ok().map(|zoned| zoned.timestamp())
}

/// For the connection, its TLS included.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// No server can mean that it wants to be left alone for longer.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_read_in_each_of_its_forms() {
        let now = SystemTime::from(date("Wed, 26 Nov 2025 04:00:00 GMT").unwrap());
        let cases = [
            ("3", Some(3.0)),
            ("2.128", Some(2.128)),
            (" 0 ", Some(0.0)),
            ("Wed, 26 Nov 2025 04:01:30 GMT", Some(90.0)),
            ("Wed, 26 Nov 2025 03:00:00 GMT", Some(0.0)),
            ("99999999999", Some(86400.0)),
            ("Thu, 26 Nov 2099 03:00:00 GMT", Some(86400.0)),
            ("-1", None),
            ("soon", None),
            ("inf", None),
        ];
        for (value, expected) in cases {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            let found = retry_after(&headers, now);
            assert_eq!(found, expected.map(Duration::from_secs_f64), "{value}");
        }
    }
}
