//! The way in: greeting, STARTTLS, login (RFC 3501, 6.1 and 6.2; RFC 2595).
//!
//! Not the mechanisms (`proto::sasl`). With `tls = starttls` nothing that came in clear counts: capabilities are
//! forgotten, a server that is logged in already or sends more behind its agreement is refused (CVE-2021-39272,
//! CVE-2021-33515), and one without STARTTLS gets no password.

use zeroize::Zeroizing;

use super::session::Session;
use super::trouble::{passing, words};
use super::wire::Reply;
use crate::config::Launcher;
use crate::config::launcher::{Auth, Tls};
use crate::model::Code;
use crate::proto::imap::names;
use crate::proto::imap::response::{Kind, Response, Status};
use crate::proto::sasl::{self, Exchange, Mechanism};
use crate::secret::Secret;
use crate::source::SourceError;
use crate::source::trouble::{
    connection, login_refused, no_agreement, no_randomness, no_tls, not_offered, token_refused, turned_away,
};
use crate::text;
use crate::tls;

/// How a login is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The LOGIN command.
    Command,
    /// AUTHENTICATE.
    Sasl(Mechanism),
}

impl Session {
    /// From the greeting to the login.
    pub(super) async fn enter(&mut self, launcher: &Launcher, secret: &Secret) -> Result<(), SourceError> {
        let logged_in = self.greet().await?;
        if launcher.tls == Tls::StartTls {
            if logged_in {
                return Err(self.logged_in_without_tls());
            }
            self.start_tls(launcher).await?;
        }
        if logged_in { Ok(()) } else { self.login(launcher, secret).await }
    }

    /// The greeting; `true` where the server has logged us in already.
    async fn greet(&mut self) -> Result<bool, SourceError> {
        let Response::Status(status) = self.wire.next(None).await?.response else {
            return Err(self.wire.not_imap());
        };
        match (&status.tag, status.kind) {
            (None, Kind::Ok | Kind::Preauth) => {}
            (None, Kind::Bye) => return Err(self.turned_away(&status)),
            _ => return Err(self.wire.not_imap()),
        }
        self.wire.link.greeted = true;
        if let Some(list) = status.code("CAPABILITY") {
            self.learn(list.split_whitespace());
        }
        if self.capabilities.is_empty() {
            self.ask_capabilities().await?;
        }
        Ok(status.kind == Kind::Preauth)
    }

    /// Goes over to TLS (RFC 3501, 6.2.1), and asks anew for what the server said in clear.
    async fn start_tls(&mut self, launcher: &Launcher) -> Result<(), SourceError> {
        if !self.has("STARTTLS") {
            return Err(no_tls(self.wire.host(), "STARTTLS", "CAPABILITY", IMAPS));
        }
        let reply = self.wire.command("STARTTLS").await?;
        if reply.status.kind != Kind::Ok {
            return Err(passing(self.wire.host(), &reply.status)
                .unwrap_or_else(|| no_tls(self.wire.host(), "STARTTLS", &words(&reply.status), IMAPS)));
        }
        self.wire.start_tls(launcher).await?;
        self.capabilities.clear();
        self.ask_capabilities().await
    }

    async fn login(&mut self, launcher: &Launcher, secret: &Secret) -> Result<(), SourceError> {
        let account = launcher.account.as_deref().unwrap_or_default();
        let way = self.way_in(launcher.auth)?;
        let reply = match way {
            Way::Sasl(mechanism) => self.authenticate(mechanism, launcher, secret).await?,
            Way::Command => self.login_command(account, secret).await?,
        };
        if reply.status.kind != Kind::Ok {
            return Err(self.login_refused(account, way, &reply.status));
        }
        self.learn_after_login(&reply).await
    }

    /// What was asked for; else the strongest that both sides have, the LOGIN command last, unless it is forbidden.
    fn way_in(&self, asked: Auth) -> Result<Way, SourceError> {
        let offered = || self.capabilities.iter().filter_map(|capability| capability.strip_prefix("AUTH="));
        let disabled = self.has("LOGINDISABLED");
        let asked = match asked {
            Auth::Auto => match Mechanism::strongest(offered()) {
                Some(mechanism) if mechanism != Mechanism::Login || disabled => return Ok(Way::Sasl(mechanism)),
                _ if disabled => return Err(self.no_login()),
                _ => return Ok(Way::Command),
            },
            Auth::Login | Auth::Apop if !disabled => return Ok(Way::Command),
            Auth::Login | Auth::Apop if self.has("AUTH=LOGIN") => Mechanism::Login,
            Auth::Login | Auth::Apop => return Err(self.no_login()),
            // some take it that do not say so
            Auth::Plain => return Ok(Way::Sasl(Mechanism::Plain)),
            Auth::CramMd5 => Mechanism::CramMd5,
            Auth::ScramSha256 => Mechanism::ScramSha256,
            Auth::XOAuth2 => Mechanism::XOAuth2,
            Auth::OAuthBearer => Mechanism::OAuthBearer,
        };
        let list: Vec<&str> = offered().collect();
        if list.contains(&asked.name()) {
            Ok(Way::Sasl(asked))
        } else {
            Err(not_offered(self.wire.host(), asked.name(), &list))
        }
    }

    /// AUTHENTICATE, with the first message in the command where the server takes it (RFC 4959).
    async fn authenticate(
        &mut self,
        mechanism: Mechanism,
        launcher: &Launcher,
        secret: &Secret,
    ) -> Result<Reply, SourceError> {
        let nonce = tls::nonce().ok_or_else(no_randomness)?;
        let account = launcher.account.as_deref().unwrap_or_default();
        let mut exchange = Exchange::new(mechanism, account, secret, &nonce);
        let mut line = Zeroizing::new(format!("AUTHENTICATE {}", mechanism.name()));
        if self.has("SASL-IR")
            && let Some(first) = exchange.initial()
        {
            let first = sasl::encode(&first);
            self.wire.link.hide(&first);
            line.push(' ');
            line.push_str(&first);
        }
        let reply = self.wire.dialogue(&line, |challenge| Some(exchange.reply(challenge))).await?;
        let reason = exchange.reason().map(|reason| self.wire.link.quoted(reason.as_bytes()));
        let outcome = exchange.outcome(reply.status.kind == Kind::Ok);
        outcome.map_err(|error| no_agreement(self.wire.host(), account, &error))?;
        let (host, status) = (self.wire.host(), &reply.status);
        if mechanism.takes_token() && status.kind == Kind::No && passing(host, status).is_none() {
            return Err(token_refused(launcher, &words(status), reason, secret));
        }
        Ok(reply)
    }

    /// The LOGIN command; UTF-8 goes in literals, which is what servers without PLAIN mostly take.
    async fn login_command(&mut self, account: &str, password: &Secret) -> Result<Reply, SourceError> {
        let password = password.reveal();
        if is_simple(account) && is_simple(password) {
            let quoted = Zeroizing::new(names::quote(password));
            self.wire.link.hide(quoted.trim_matches('"'));
            let line = Zeroizing::new(format!("LOGIN {} {}", names::quote(account), *quoted));
            return self.wire.command(&line).await;
        }
        let first = format!("LOGIN {{{}}}", account.len());
        let later = [format!("{account} {{{}}}", password.len()), password.to_owned()];
        let mut later = later.into_iter().map(Zeroizing::new);
        self.wire.dialogue(&first, |_| later.next()).await
    }

    /// Capabilities may change with the login (RFC 3501, 6.2.3): in its reply, or asked for.
    async fn learn_after_login(&mut self, reply: &Reply) -> Result<(), SourceError> {
        self.capabilities.clear();
        if let Some(list) = reply.status.code("CAPABILITY") {
            self.learn(list.split_whitespace());
        }
        self.learn_from(reply);
        if self.capabilities.is_empty() { self.ask_capabilities().await } else { Ok(()) }
    }

    fn login_refused(&self, account: &str, way: Way, status: &Status) -> SourceError {
        let host = self.wire.host();
        if let Some(error) = passing(host, status) {
            return error;
        }
        let said = words(status);
        if status.kind != Kind::No {
            let text =
                text!("{host} does not understand the login: {said}", "{host} ne comprend pas la connexion : {said}");
            return connection(Code::Protocol, text);
        }
        let hashed = matches!(way, Way::Sasl(Mechanism::ScramSha256 | Mechanism::CramMd5));
        login_refused(host, "IMAP", account, &said, hashed)
    }

    fn no_login(&self) -> SourceError {
        let host = self.wire.host();
        let text = text!(
            "{host} takes no password on this connection (LOGINDISABLED); use tls = implicit or starttls, or another port",
            "{host} n'accepte pas de mot de passe sur cette connexion (LOGINDISABLED) ; utilisez tls = implicit ou \
             starttls, ou un autre port"
        );
        connection(Code::Protocol, text)
    }

    fn logged_in_without_tls(&self) -> SourceError {
        let host = self.wire.host();
        let text = text!(
            "{host} says that we are logged in before TLS has begun (PREAUTH): somebody may stand in between; use tls = \
             implicit",
            "{host} nous dit identifiés avant que TLS ait commencé (PREAUTH) : quelqu'un s'est peut-être interposé ; \
             utilisez tls = implicit"
        );
        connection(Code::Tls, text)
    }

    fn turned_away(&self, status: &Status) -> SourceError {
        let (host, said) = (self.wire.host(), &status.text);
        passing(host, status).unwrap_or_else(|| turned_away(host, said))
    }
}

/// RFC 8314, 7.3.
const IMAPS: u16 = 993;

/// Printable ASCII, which a quoted string holds.
fn is_simple(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
