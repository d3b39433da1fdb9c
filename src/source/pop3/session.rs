//! A session: greeting, capabilities, STLS, login (RFC 1939, 2449, 2595, 5034).
//!
//! Not the mailbox behind it, nor the mechanisms (`proto::sasl`). With `tls = starttls` nothing that came in clear
//! counts: capabilities are asked for anew, a server that sends more behind its agreement is refused, and one without
//! STLS gets no password.
//!
//! `auth = auto` takes the strongest that both sides have: SCRAM-SHA-256, CRAM-MD5, and over TLS, which keeps the
//! password from everybody else, PLAIN or USER and PASS. APOP is older than salt: it comes before the password in clear
//! where there is no TLS, and else last.

use std::collections::HashSet;
use std::time::Duration;

use zeroize::Zeroizing;

use super::mailbox::Mailbox;
use super::trouble::{passing, refused, words};
use super::wire::Wire;
use crate::config::Launcher;
use crate::config::launcher::{Auth, Tls};
use crate::model::{Code, Fault};
use crate::proto::pop3::listing::Capabilities;
use crate::proto::pop3::status::{Kind, Status, apop, timestamp};
use crate::proto::sasl::{self, Exchange, Mechanism};
use crate::secret::Secret;
use crate::source::SourceError;
use crate::source::trouble::{
    login_refused, no_agreement, no_randomness, no_tls, not_offered, token_refused, turned_away,
};
use crate::text;
use crate::tls;

/// A connection that is logged in.
pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) capabilities: Capabilities,
    /// What is there; numbers mean something in this session alone (RFC 1939, 3).
    pub(super) mailbox: Option<Mailbox>,
    /// The numbers that are marked as deleted.
    pub(super) deleted: HashSet<u32>,
    /// QUIT has been sent: nothing else can be asked.
    pub(super) quitting: bool,
}

/// How a login is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// USER and PASS.
    Pass,
    Apop,
    /// AUTH.
    Sasl(Mechanism),
}

impl Session {
    /// Connects and logs in with `secret`: the password, or a token.
    pub(super) async fn open(launcher: &Launcher, secret: &Secret, patience: Duration) -> Result<Self, SourceError> {
        let wire = Wire::open(launcher, patience).await?;
        let capabilities = Capabilities::default();
        let mut session = Self { wire, capabilities, mailbox: None, deleted: HashSet::new(), quitting: false };
        let mut stamp = session.greet().await?;
        session.ask_capabilities().await?;
        if launcher.tls == Tls::StartTls {
            session.start_tls(launcher).await?;
            // the greeting came in clear: its timestamp may be anybody's
            stamp = None;
        }
        session.login(launcher, secret, stamp.as_deref()).await?;
        if session.capabilities.known {
            session.ask_capabilities().await?; // some have more to offer now (RFC 2449, 5)
        }
        Ok(session)
    }

    /// A command that must succeed; `step` names it in the error.
    pub(super) fn expect_ok(&self, step: &str, status: &Status) -> Result<(), SourceError> {
        if status.is_ok() { Ok(()) } else { Err(refused(self.wire.host(), step, status)) }
    }

    /// The greeting; the timestamp of one that has APOP.
    async fn greet(&mut self) -> Result<Option<String>, SourceError> {
        let status = self.wire.status().await?;
        if status.is_ok() {
            return Ok(timestamp(&status.text).map(str::to_owned));
        }
        let (host, said) = (self.wire.host(), words(&status));
        Err(passing(host, &status, None).unwrap_or_else(|| turned_away(host, &said)))
    }

    /// CAPA; a server that does not know it has told nothing.
    async fn ask_capabilities(&mut self) -> Result<(), SourceError> {
        let mut capabilities = Capabilities::default();
        let status = self.wire.list("CAPA", |line| capabilities.learn(line)).await?;
        self.capabilities = Capabilities { known: status.is_ok(), ..capabilities };
        Ok(())
    }

    /// Goes over to TLS, and asks anew for what the server said in clear.
    async fn start_tls(&mut self, launcher: &Launcher) -> Result<(), SourceError> {
        if self.capabilities.known && !self.capabilities.stls {
            return Err(no_tls(self.wire.host(), "STLS", "CAPA", POP3S));
        }
        let status = self.wire.command("STLS").await?;
        if !status.is_ok() {
            let error = passing(self.wire.host(), &status, None);
            return Err(error.unwrap_or_else(|| no_tls(self.wire.host(), "STLS", &words(&status), POP3S)));
        }
        self.wire.start_tls(launcher).await?;
        self.ask_capabilities().await
    }

    async fn login(&mut self, launcher: &Launcher, password: &Secret, stamp: Option<&str>) -> Result<(), SourceError> {
        let account = launcher.account.as_deref().unwrap_or_default();
        if [account, password.reveal()].iter().any(|text| text.contains(['\r', '\n', '\0'])) {
            return Err(line_end(launcher));
        }
        self.wire.link.hide(password.reveal());
        let way = self.way_in(launcher.auth, launcher.tls != Tls::None, stamp.is_some())?;
        let status = match (way, stamp) {
            (Way::Sasl(mechanism), _) => self.authenticate(mechanism, launcher, password).await?,
            (Way::Apop, Some(stamp)) => {
                let digest = apop(stamp, password);
                self.wire.command(&format!("APOP {account} {digest}")).await?
            }
            _ => self.user_and_pass(account, password).await?,
        };
        if status.is_ok() { Ok(()) } else { Err(self.login_refused(account, way, &status)) }
    }

    /// What was asked for; else the strongest that both sides have.
    fn way_in(&self, asked: Auth, safe: bool, stamp: bool) -> Result<Way, SourceError> {
        let offered = &self.capabilities.sasl;
        let mechanism = match asked {
            Auth::Auto => return Ok(self.strongest(safe, stamp)),
            Auth::Login => return Ok(Way::Pass),
            Auth::Apop if stamp => return Ok(Way::Apop),
            Auth::Apop => return Err(self.not_offered("APOP")),
            // some take it that do not say so
            Auth::Plain => return Ok(Way::Sasl(Mechanism::Plain)),
            Auth::CramMd5 => Mechanism::CramMd5,
            Auth::ScramSha256 => Mechanism::ScramSha256,
            Auth::XOAuth2 => Mechanism::XOAuth2,
            Auth::OAuthBearer => Mechanism::OAuthBearer,
        };
        let is_offered = offered.iter().any(|name| name.eq_ignore_ascii_case(mechanism.name()));
        if is_offered { Ok(Way::Sasl(mechanism)) } else { Err(self.not_offered(mechanism.name())) }
    }

    fn strongest(&self, safe: bool, stamp: bool) -> Way {
        let Capabilities { known, user, .. } = self.capabilities;
        match Mechanism::strongest(self.capabilities.sasl.iter().map(String::as_str)) {
            Some(mechanism @ (Mechanism::ScramSha256 | Mechanism::CramMd5)) => Way::Sasl(mechanism),
            _ if stamp && !safe => Way::Apop,
            Some(Mechanism::Plain) => Way::Sasl(Mechanism::Plain),
            _ if user || !known => Way::Pass,
            _ if stamp => Way::Apop,
            Some(mechanism) => Way::Sasl(mechanism),
            None => Way::Pass,
        }
    }

    async fn user_and_pass(&mut self, account: &str, password: &Secret) -> Result<Status, SourceError> {
        let status = self.wire.command(&format!("USER {account}")).await?;
        if !status.is_ok() {
            return Ok(status);
        }
        self.wire.command(&Zeroizing::new(format!("PASS {}", password.reveal()))).await
    }

    /// AUTH, with the first message in the command where it fits in (RFC 5034, 4); a token never does, and Exchange ends
    /// a connection on which it is tried.
    async fn authenticate(
        &mut self,
        mechanism: Mechanism,
        launcher: &Launcher,
        secret: &Secret,
    ) -> Result<Status, SourceError> {
        let nonce = tls::nonce().ok_or_else(no_randomness)?;
        let account = launcher.account.as_deref().unwrap_or_default();
        let mut exchange = Exchange::new(mechanism, account, secret, &nonce);
        let mut line = Zeroizing::new(format!("AUTH {}", mechanism.name()));
        let room = LINE_LIMIT - line.len() - 1;
        // base64 makes four of three
        if !mechanism.takes_token()
            && account.len() + secret.reveal().len() + SCRAM_EXTRA < room / 4 * 3
            && let Some(first) = exchange.initial()
        {
            let first = sasl::encode(&first);
            self.wire.link.hide(&first);
            line.push(' ');
            line.push_str(&first);
        }
        let mut status = self.wire.command(&line).await?;
        while status.kind == Kind::Challenge && !exchange.is_given_up() {
            let answer = exchange.reply(&status.text);
            self.wire.link.hide(&answer);
            status = self.wire.command(&answer).await?;
        }
        let reason = exchange.reason().map(|reason| self.wire.link.quoted(reason.as_bytes()));
        let outcome = exchange.outcome(status.is_ok());
        outcome.map_err(|error| no_agreement(self.wire.host(), account, &error))?;
        if mechanism.takes_token() && !status.is_ok() && passing(self.wire.host(), &status, None).is_none() {
            return Err(token_refused(launcher, &words(&status), reason, secret));
        }
        Ok(status)
    }

    fn login_refused(&self, account: &str, way: Way, status: &Status) -> SourceError {
        let host = self.wire.host();
        if let Some(error) = passing(host, status, self.capabilities.login_delay.map(Duration::from_secs)) {
            return error;
        }
        let said = words(status);
        let hashed = matches!(way, Way::Sasl(Mechanism::ScramSha256 | Mechanism::CramMd5) | Way::Apop);
        login_refused(host, "POP3", account, &said, hashed)
    }

    fn not_offered(&self, asked: &str) -> SourceError {
        let offered: Vec<&str> = self.capabilities.sasl.iter().map(String::as_str).collect();
        not_offered(self.wire.host(), asked, &offered)
    }
}

fn line_end(launcher: &Launcher) -> SourceError {
    let name = &launcher.name;
    let text = text!(
        "[{name}]: account or password holds a line end, which no POP3 command can",
        "[{name}] : le compte ou le mot de passe contient une fin de ligne, impossible dans une commande POP3"
    );
    SourceError::Credentials(Fault::new(Code::Credentials, text))
}

/// RFC 8314, 7.3.
const POP3S: u16 = 995;
/// Longest command line, bytes, line end left out (RFC 2449, 4).
const LINE_LIMIT: usize = 253;
/// What a first message holds beside account and password.
const SCRAM_EXTRA: usize = 64;
