//! HTTP's CONNECT (RFC 9110, 9.3.6): through a proxy to a server, or as such a proxy.
//!
//! In server mode the request comes in clear and TLS follows on the same connection, as in stunnel (RFC 2817, 5.2 with
//! ourselves at the far end too): the other end of a client's `protocol = connect`. The target is dialled once TLS stands,
//! so that nobody makes us dial whose certificate is not accepted.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::Target;
use super::machine::{Machine, Next, Then, Turn, Who, quoted, quoted_without, words};
use crate::config::protocol::Protocol;
use crate::config::value;
use crate::config::{Address, Endpoint};
use crate::model::Code;
use crate::text;
use crate::text::{Text, shown};

/// Towards a proxy.
pub(super) struct Client {
    request: Zeroizing<Vec<u8>>,
    /// The password of the request and the pair with it in Base64, if there are any.
    login: Vec<Zeroizing<String>>,
    status: Option<u16>,
    line: String,
}

impl Client {
    /// With the host, login and headers of `protocol`.
    pub(super) fn new(protocol: &Protocol) -> Self {
        let host = protocol.host.as_deref().unwrap_or_default();
        let mut request = Zeroizing::new(format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n"));
        let mut login = Vec::new();
        if let Some((user, password)) = protocol.username.as_deref().zip(protocol.password.as_ref()) {
            // RFC 7617, 2; in small letters, as stunnel writes it
            let pair = Zeroizing::new(format!("{user}:{}", password.reveal()));
            let pair = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
            request.push_str("Proxy-Authorization: basic ");
            request.push_str(&pair);
            request.push_str("\r\n");
            login = vec![pair, Zeroizing::new(password.reveal().to_owned())];
        }
        for header in &protocol.headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let request = Zeroizing::new(request.as_bytes().to_vec());
        Self { request, login, status: None, line: String::new() }
    }
}

impl Machine for Client {
    fn start(&mut self) -> Turn {
        Turn::line(Who::Remote).saying(Who::Remote, &self.request[..])
    }

    fn read(&mut self, line: &[u8]) -> Turn {
        let Some(status) = self.status else {
            self.status = status_of(line);
            let secrets: Vec<&str> = self.login.iter().map(|secret| &***secret).collect();
            self.line = quoted_without(line, &secrets);
            return if self.status.is_some() { Turn::line(Who::Remote) } else { not_http(&self.line) };
        };
        if !line.is_empty() {
            return Turn::line(Who::Remote);
        }
        self.status = None;
        match status {
            // RFC 9110, 15.2: the answer is still to come
            100..=199 => Turn::line(Who::Remote),
            200..=299 => Turn::secure(Who::Remote),
            _ => refused(status, &self.line, !self.login.is_empty()),
        }
    }
}

/// `HTTP/1.1 200 Connection established`.
fn status_of(line: &[u8]) -> Option<u16> {
    let mut words = words(line);
    words.next().filter(|version| version.starts_with(b"HTTP/"))?;
    let code = std::str::from_utf8(words.next()?).ok()?;
    code.parse().ok().filter(|code| (100..600).contains(code))
}

fn refused(status: u16, said: &str, login: bool) -> Turn {
    let (code, Text { en, fr }) = match status {
        407 if login => (
            Code::Credentials,
            text!(
                "it does not take the name and password of `protocolUsername` and `protocolPassword`, or wants another \
                 scheme than Basic",
                "il ne prend pas le compte et le mot de passe de `protocolUsername` et `protocolPassword`, ou exige un \
                 autre schéma que Basic"
            ),
        ),
        407 => (
            Code::Credentials,
            text!(
                "it wants a login: `protocolUsername` and `protocolPassword`",
                "il exige une identification : `protocolUsername` et `protocolPassword`"
            ),
        ),
        403 | 405 => (
            Code::Connect,
            text!(
                "its rules forbid this connection (many proxies allow port 443 alone): have host and port allowed",
                "ses règles interdisent cette connexion (beaucoup de proxys n'autorisent que le port 443) : faire \
                 autoriser l'hôte et le port"
            ),
        ),
        404 | 502..=504 => (
            Code::Connect,
            text!(
                "it could not reach the server: check `protocolHost`",
                "il n'a pas pu joindre le serveur : vérifier `protocolHost`"
            ),
        ),
        _ => (
            Code::Connect,
            text!(
                "check `connect` (the proxy) and `protocolHost` (the server)",
                "vérifier `connect` (le proxy) et `protocolHost` (le serveur)"
            ),
        ),
    };
    Turn::fail(
        code,
        text!(
            "CONNECT request rejected, the proxy answers `{said}`: {en}",
            "CONNECT refusé, le proxy répond « {said} » : {fr}"
        ),
    )
}

fn not_http(said: &str) -> Turn {
    Turn::fail(
        Code::Protocol,
        text!(
            "no HTTP proxy answers, what comes is `{said}`: `connect` names the proxy, `protocolHost` the server behind it",
            "ce n'est pas un proxy HTTP qui répond, il vient « {said} » : `connect` désigne le proxy, `protocolHost` le \
             serveur derrière lui"
        ),
    )
}

/// As a proxy, towards a client.
#[derive(Default)]
pub(super) struct Server {
    request: Option<Vec<u8>>,
}

impl Machine for Server {
    fn start(&mut self) -> Turn {
        Turn::line(Who::Local)
    }

    fn read(&mut self, line: &[u8]) -> Turn {
        match &self.request {
            // RFC 9112, 2.2: a blank line before a request is passed over
            None if line.is_empty() => Turn::line(Who::Local),
            None => {
                self.request = Some(line.to_vec());
                Turn::line(Who::Local)
            }
            Some(_) if !line.is_empty() => Turn::line(Who::Local),
            Some(request) => asked(request),
        }
    }

    fn resolved(&mut self, addresses: &[SocketAddr]) -> Turn {
        if addresses.is_empty() {
            return self.request.as_deref().map_or_else(|| not_found(b""), not_found);
        }
        let to = |at: &SocketAddr| Endpoint::Tcp(Address { host: Some(at.ip().to_string()), port: at.port() });
        let target = Target { endpoints: addresses.iter().map(to).collect(), request: None };
        let next = Turn { say: Vec::new(), next: Next::Done { quiet: Some(Who::Local), then: Then::Go(target) } };
        next.saying(Who::Local, status("200 OK"))
    }
}

fn asked(request: &[u8]) -> Turn {
    let mut words = words(request);
    let (method, target, version) = (words.next(), words.next(), words.next());
    if !method.is_some_and(|method| method.eq_ignore_ascii_case(b"CONNECT")) {
        return bad_request(request).saying(Who::Local, status("400 Bad Request Method"));
    }
    if !version.is_some_and(|version| version.starts_with(b"HTTP/")) {
        return bad_request(request).saying(Who::Local, status("400 Bad Request Protocol"));
    }
    let target = target.and_then(|target| std::str::from_utf8(target).ok());
    let address = target.filter(|target| !target.starts_with('/')).and_then(|target| value::target(target).ok());
    match address.filter(|address| address.host.is_some()) {
        Some(address) => Turn::resolve(address),
        None => not_found(request),
    }
}

fn bad_request(request: &[u8]) -> Turn {
    let said = quoted(request);
    Turn::fail(
        Code::Protocol,
        text!(
            "the client does not ask for CONNECT but says `{said}`: its own setting is an HTTP proxy, to which it speaks TLS \
             after CONNECT",
            "le client ne demande pas CONNECT mais dit « {said} » : il lui faut un proxy HTTP, avec TLS après CONNECT"
        ),
    )
}

fn not_found(request: &[u8]) -> Turn {
    let said = quoted(words(request).nth(1).unwrap_or_default());
    let refusal = Turn::fail(
        Code::Resolve,
        text!(
            "the client wants to go to `{said}`, which is no HOST:PORT that can be resolved",
            "le client veut aller à « {said} », qui n'est pas un HÔTE:PORT que l'on puisse résoudre"
        ),
    );
    refusal.saying(Who::Local, status("404 Not Found"))
}

fn status(line: &str) -> String {
    let version = shown(env!("CARGO_PKG_VERSION"), 20);
    format!("HTTP/1.0 {line}\r\nServer: pertuis/{version}\r\n\r\n")
}
