//! `pertuis login NAME`: a person signs a launcher in, once; `--forget` takes that back.
//!
//! Not the renewal: what is stored here the running service takes up by itself, and renews. Nothing is stored before
//! everything is known to be right (the account above all), so that Ctrl-C and every refusal leave what was there. Launchers
//! that work without a person are tried all the same: `login` is what an administrator runs to see whether it works.

use std::convert::Infallible;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::fetch::choose;
use crate::config::oauth::{OAuth, Provider};
use crate::config::{Config, Launcher};
use crate::event::Events;
use crate::model::{Code, Fault};
use crate::oauth::google::{Answer, CodeRequest, Redirect};
use crate::oauth::{Authority, DeviceCode, Grant, Refusal, SignedIn, Store, identity, scopes};
use crate::text;
use crate::text::{Lang, Text};

/// Runs the command; answers the exit code of the contract (section 2).
pub fn run(
    config: &Config,
    (name, forget): (&str, bool),
    events: &Events,
    lang: Lang,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let launchers = match choose(config, &[name.to_owned()]) {
        Ok(launchers) => launchers,
        Err(text) => return writeln!(err, "{}", text.get(lang)).map(|()| 2),
    };
    let found = launchers.first().and_then(|launcher| Some((*launcher, launcher.oauth.as_ref()?)));
    let Some((launcher, oauth)) = found else {
        return writeln!(err, "{}", no_sign_in(name).get(lang)).map(|()| 1);
    };
    let mut desk = Desk { config, launcher, oauth, events: events.clone(), lang, out, err };
    if forget {
        let ended = desk.forget();
        return desk.end(ended);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        let ended = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(Ending::Fault(interrupted())),
            ended = desk.sign_in(typed_lines) => ended,
        };
        desk.end(ended)
    });
    // an open name resolution must not hold up the end
    runtime.shutdown_background();
    code
}

/// Lines of standard input.
type Typed = mpsc::UnboundedReceiver<String>;

/// One sign-in under way.
struct Desk<'a> {
    config: &'a Config,
    launcher: &'a Launcher,
    oauth: &'a OAuth,
    events: Events,
    lang: Lang,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

/// Why there is no sign-in.
enum Ending {
    /// Said and done.
    Fault(Fault),
    /// By an authorization server: its numbers go to the log.
    Refusal(Box<Refusal>),
    /// The terminal has gone.
    Output(io::Error),
}

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(Box::new(refusal))
    }
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl<'a> Desk<'a> {
    /// Says how it ended; the exit code.
    fn end(&mut self, ended: Result<Text, Ending>) -> io::Result<u8> {
        let (name, lang) = (&self.launcher.name, self.lang);
        let fault = match ended {
            Ok(Text { en, fr }) => {
                return writeln!(self.out, "{}", text!("{name}: {en}", "{name} : {fr}").get(lang)).map(|()| 0);
            }
            Err(Ending::Output(error)) => return Err(error),
            Err(Ending::Fault(fault)) => fault,
            Err(Ending::Refusal(refusal)) => {
                // where no server spoke, the last line says it all
                if !refusal.error.is_empty() {
                    self.events.emit(refusal.event(name));
                }
                refusal.fault
            }
        };
        // in the order in which it happened, also where both go to one terminal
        self.out.flush()?;
        let (code, Text { en, fr }) = (fault.code, fault.text);
        writeln!(self.err, "{}", text!("{name}: {code}: {en}", "{name} : {code} : {fr}").get(lang)).map(|()| 1)
    }

    async fn sign_in(&mut self, typed: impl FnOnce() -> Typed) -> Result<Text, Ending> {
        let authority = Authority::new(self.launcher)?;
        if !self.oauth.credential.is_person() {
            let grant = authority.for_itself(scopes::resource(self.launcher), None).await?;
            return Ok(works_by_itself(self.oauth, grant.expires_in));
        }
        let store = Store::open(&self.config.global.state, self.launcher)?;
        store.prepare()?;
        let others = self.sharing(&store);
        self.announce(&others)?;
        let permissions = self.permissions(&others);
        let grant = match self.oauth.provider {
            Provider::Microsoft => self.by_device_code(&authority, &permissions).await?,
            Provider::Google => self.by_page(&authority, &permissions, typed).await?,
        };
        let identity = grant.identity.clone().unwrap_or_default();
        self.check_account(&grant)?;
        let Some(refresh) = grant.refresh.clone() else { return Err(no_refresh_token(self.oauth.provider).into()) };
        self.check_permissions(&permissions, &grant)?;
        let now = SystemTime::now();
        store.put(&SignedIn { refresh, identity, since: now, renewed: now })?;
        Ok(connected(&grant))
    }

    /// The other launchers that this sign-in serves.
    fn sharing(&self, store: &Store) -> Vec<&'a Launcher> {
        let state = &self.config.global.state;
        let same = |other: &&Launcher| Store::open(state, other).is_ok_and(|other| other.is_that_of(store));
        self.config.launchers.iter().filter(|other| other.name != self.launcher.name).filter(same).collect()
    }

    /// What is asked for: of one resource, for all launchers that speak with it.
    fn permissions(&self, others: &[&Launcher]) -> Vec<String> {
        let own = scopes::resource(self.launcher);
        let all = std::iter::once(self.launcher).chain(others.iter().copied());
        let mut permissions = Vec::new();
        for launcher in all.filter(|launcher| scopes::resource(launcher) == own) {
            let more = scopes::permissions(launcher, launcher.oauth.as_ref().unwrap_or(self.oauth));
            permissions.extend(more.into_iter().filter(|one| !permissions.contains(one)).collect::<Vec<_>>());
        }
        permissions
    }

    /// Who is expected, and for whom else this is.
    fn announce(&mut self, others: &[&Launcher]) -> io::Result<()> {
        let name = &self.launcher.name;
        if let Some(account) = &self.launcher.account {
            let text = text!("{name}: sign in as {account}", "{name} : se connecter avec le compte {account}");
            writeln!(self.out, "{}", text.get(self.lang))?;
        }
        if others.is_empty() {
            return Ok(());
        }
        let list = names(others);
        let text = text!("{name}: this sign-in also serves: {list}", "{name} : cette connexion sert aussi à : {list}");
        writeln!(self.out, "{}", text.get(self.lang))?;
        let own = scopes::resource(self.launcher);
        let apart: Vec<_> = others.iter().copied().filter(|other| scopes::resource(other) != own).collect();
        if apart.is_empty() {
            return Ok(());
        }
        let list = names(&apart);
        let text = text!(
            "{name}: {list} speaks another protocol, whose permission is not part of this sign-in: have it consented to by \
             an administrator (docs/microsoft365.md)",
            "{name} : {list} parle un autre protocole, dont l'autorisation n'est pas demandée ici : la faire accorder par un \
             administrateur (docs/microsoft365.fr.md)"
        );
        writeln!(self.err, "{}", text.get(self.lang))
    }

    async fn by_device_code(&mut self, authority: &Authority, permissions: &[String]) -> Result<Grant, Ending> {
        let code = authority.device_code(permissions, self.lang).await?;
        let since = Instant::now();
        writeln!(self.out, "{}", to_type(&code).get(self.lang))?;
        self.out.flush()?;
        let countdown = Countdown::new(since + code.expires_in, self.lang);
        countdown.begin(self.err)?;
        let (events, name) = (self.events.clone(), self.launcher.name.clone());
        let trouble = |refusal: &Refusal| countdown.above(|| events.emit(refusal.event(&name)));
        let granted = tokio::select! {
            granted = authority.wait(&code, since, trouble) => granted,
            never = countdown.run() => match never {},
        };
        countdown.end();
        Ok(granted?)
    }

    async fn by_page(
        &mut self,
        authority: &Authority,
        permissions: &[String],
        typed: impl FnOnce() -> Typed,
    ) -> Result<Grant, Ending> {
        let redirect = Redirect::open().await?;
        let request = authority.page(permissions, &redirect.uri)?;
        writeln!(self.out, "{}", to_open(&request).get(self.lang))?;
        self.out.flush()?;
        let waiting = self.answer(&redirect, &request, typed());
        let answer = tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| Ending::from(too_late()))??;
        match answer {
            Answer::Code(code) => Ok(authority.code(&request, &code).await?),
            Answer::Refused(error) => Err(authority.declined(&error).into()),
        }
    }

    /// What the browser brings to this machine or a person pastes, whichever comes first.
    async fn answer(&mut self, redirect: &Redirect, request: &CodeRequest, mut typed: Typed) -> io::Result<Answer> {
        let mut open = true;
        loop {
            let line = tokio::select! {
                answer = redirect.wait(request, self.lang) => return Ok(answer),
                line = typed.recv(), if open => line,
            };
            match line.as_deref().map(str::trim) {
                None => open = false,
                Some("") => {}
                Some(line) => match request.answer(line) {
                    Ok(answer) => return Ok(answer),
                    Err(text) => writeln!(self.err, "{}", text.get(self.lang))?,
                },
            }
        }
    }

    /// Another account than the one that is configured would read somebody else's mail.
    fn check_account(&mut self, grant: &Grant) -> Result<(), Ending> {
        let Some(account) = &self.launcher.account else { return Ok(()) };
        if grant.names.is_empty() {
            let text = text!(
                "{account}: the server does not say who signed in; `pertuis test` shows whether it was this account",
                "{account} : le serveur ne dit pas qui s'est connecté ; `pertuis test` montre si c'était ce compte"
            );
            return Ok(writeln!(self.err, "{}", text.get(self.lang))?);
        }
        if identity::is_account(&grant.names, account) {
            return Ok(());
        }
        Err(other_account(&grant.names.join(", "), account).into())
    }

    /// What an administrator of Microsoft's can still grant is warned of; at Google only another sign-in helps.
    fn check_permissions(&mut self, permissions: &[String], grant: &Grant) -> Result<(), Ending> {
        let missing = scopes::missing(permissions, grant.scope.as_deref());
        if missing.is_empty() {
            return Ok(());
        }
        let (name, list) = (&self.launcher.name, missing.join(", "));
        if self.oauth.provider == Provider::Google {
            return Err(not_ticked(&list).into());
        }
        let text = text!(
            "{name}: WARNING: not granted: {list}; add it to the registration's API permissions, have it consented to, and \
             sign in again",
            "{name} : ATTENTION : non accordé : {list} ; l'ajouter aux autorisations d'API de l'inscription, le faire \
             accorder, et se reconnecter"
        );
        Ok(writeln!(self.err, "{}", text.get(self.lang))?)
    }

    fn forget(&mut self) -> Result<Text, Ending> {
        if !self.oauth.credential.is_person() {
            return Ok(nothing_kept());
        }
        let store = Store::open(&self.config.global.state, self.launcher)?;
        // what cannot be read any more can still be removed
        let who = store.get().ok().flatten().and_then(|signed_in| signed_in.identity.username);
        let others = self.sharing(&store).iter().map(|other| other.name.to_string()).collect::<Vec<_>>().join(", ");
        if !store.forget()? {
            return Ok(text!("nobody had signed in", "personne ne s'était connecté"));
        }
        Ok(forgotten(self.oauth.provider, &who.unwrap_or_else(|| "?".to_owned()), &others))
    }
}

fn names(launchers: &[&Launcher]) -> String {
    launchers.iter().map(|launcher| launcher.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// What is typed, or pasted, line by line; ends with the input.
fn typed_lines() -> Typed {
    let (sender, receiver) = mpsc::unbounded_channel();
    // reading blocks for ever, and the program may end meanwhile
    std::thread::spawn(move || {
        for line in io::stdin().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// How long the code is still good: counted down on a terminal, said once elsewhere.
struct Countdown {
    bar: ProgressBar,
    end: Instant,
    lang: Lang,
}

impl Countdown {
    fn new(end: Instant, lang: Lang) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Self { bar, end, lang }
    }

    fn begin(&self, err: &mut dyn Write) -> io::Result<()> {
        if !self.bar.is_hidden() {
            return Ok(());
        }
        let minutes = self.left().as_secs().div_ceil(60);
        let text = text!("waiting for it, at most {minutes} minutes", "en attente, {minutes} minutes au plus");
        writeln!(err, "{}", text.get(self.lang))?;
        err.flush()
    }

    async fn run(&self) -> Infallible {
        loop {
            let seconds = self.left().as_secs();
            let clock = format!("{}:{:02}", seconds / 60, seconds % 60);
            let text =
                text!("waiting for the sign-in: {clock} (Ctrl-C ends)", "en attente : {clock} (Ctrl-C pour arrêter)");
            self.bar.set_message(text.get(self.lang).to_owned());
            self.bar.tick();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn above(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

/// The server's own sentence where it has one, and its parts to copy.
fn to_type(code: &DeviceCode) -> Text {
    let DeviceCode { user_code, verification_uri, verification_uri_complete, message, .. } = code;
    let said = message.as_ref().map_or(String::new(), |message| format!("{message}\n\n"));
    let direct = verification_uri_complete.as_ref().map_or(String::new(), |url| format!("\n         {url}"));
    text!(
        "\n{said}  page:  {verification_uri}\n  code:  {user_code}{direct}\n",
        "\n{said}  page : {verification_uri}\n  code : {user_code}{direct}\n"
    )
}

fn to_open(request: &CodeRequest) -> Text {
    let url = &request.url;
    text!(
        "\nOpen this page in a browser and sign in:\n\n{url}\n\nWhere the browser runs on another machine, its last page \
         (127.0.0.1) does not load. That is expected:\npaste the whole address of that page here and press Enter.\n",
        "\nOuvrir cette page dans un navigateur et se connecter :\n\n{url}\n\nSi le navigateur tourne sur une autre machine, \
         sa dernière page (127.0.0.1) ne s'affiche pas. C'est normal :\ncoller ici l'adresse entière de cette page, puis \
         Entrée.\n"
    )
}

fn connected(grant: &Grant) -> Text {
    let who = grant.names.first().map_or("?", String::as_str);
    text!(
        "connected: {who}; a running service takes it up by itself",
        "connecté : {who} ; un service en marche en tient compte de lui-même"
    )
}

fn works_by_itself(oauth: &OAuth, lasts: Duration) -> Text {
    let (client, minutes) = (&oauth.client_id, lasts.as_secs() / 60);
    let who = if client.is_empty() { String::new() } else { format!(" {client}") };
    text!(
        "no sign-in is needed: the application{who} signs in by itself, and it works (token for {minutes} minutes)",
        "aucune connexion à faire : l'application{who} se connecte elle-même, et cela fonctionne (jeton pour {minutes} \
         minutes)"
    )
}

fn other_account(who: &str, account: &str) -> Fault {
    let text = text!(
        "{who} signed in, but `account` is {account}: nothing was stored; sign in again as {account} (a private window of \
         the browser asks whom), or change `account`; to read a shared mailbox use launcher = o365 with `mailbox`",
        "{who} s'est connecté, mais `account` est {account} : rien n'a été enregistré ; recommencer avec {account} (une \
         fenêtre privée du navigateur demande le compte), ou changer `account` ; pour relever une boîte partagée, lanceur = \
         o365 avec `mailbox`"
    );
    Fault::new(Code::Credentials, text)
}

fn no_refresh_token(provider: Provider) -> Fault {
    let provider = provider.as_str();
    let text = text!(
        "{provider} gave no refresh token, so the sign-in would end within the hour: nothing was stored; is \
         `offline_access` forbidden, or the client of another type?",
        "{provider} n'a pas donné de jeton d'actualisation, la connexion ne durerait pas une heure : rien n'a été \
         enregistré ; `offline_access` est-il interdit, ou le client d'un autre type ?"
    );
    Fault::new(Code::Credentials, text)
}

fn not_ticked(scopes: &str) -> Fault {
    let text = text!(
        "Google did not grant {scopes}: nothing was stored; sign in again, and leave the box of Gmail ticked on the page that \
         asks for your consent",
        "Google n'a pas accordé {scopes} : rien n'a été enregistré ; recommencer, et laisser cochée la case de Gmail sur la \
         page qui demande votre accord"
    );
    Fault::new(Code::Credentials, text)
}

fn forgotten(provider: Provider, who: &str, others: &str) -> Text {
    let page = match provider {
        Provider::Microsoft => "https://myapps.microsoft.com",
        Provider::Google => "https://myaccount.google.com/connections",
    };
    let also = if others.is_empty() { String::new() } else { format!(" ({others})") };
    text!(
        "forgotten: the sign-in of {who}; the launcher{also} fails until somebody signs in again. What {who} allowed stands: \
         it is revoked at {page}, or by an administrator",
        "oublié : la connexion de {who} ; le lanceur{also} échouera jusqu'à une nouvelle connexion. Ce que {who} a autorisé \
         le reste : cela se révoque sur {page}, ou par un administrateur"
    )
}

fn nothing_kept() -> Text {
    text!(
        "nothing is kept: the application signs in by itself; remove its secret or certificate from the file, and at the \
         provider",
        "rien n'est conservé : l'application se connecte elle-même ; retirer son secret ou certificat du fichier, et chez le \
         fournisseur"
    )
}

fn no_sign_in(name: &str) -> Text {
    text!(
        "{name} needs no sign-in: `login` is for launcher = o365, and for auth = xoauth2 or oauthbearer",
        "{name} n'a pas besoin de connexion : `login` sert à lanceur = o365, et à auth = xoauth2 ou oauthbearer"
    )
}

fn interrupted() -> Fault {
    Fault::new(Code::Credentials, text!("interrupted, nothing was stored", "interrompu, rien n'a été enregistré"))
}

fn too_late() -> Fault {
    let text = text!(
        "nobody signed in within 15 minutes; run it again",
        "personne ne s'est connecté en 15 minutes ; relancer la commande"
    );
    Fault::new(Code::Credentials, text)
}

/// How long a page is waited for; as long as Microsoft's codes are good.
const PATIENCE: Duration = Duration::from_mins(15);

#[cfg(test)]
mod tests;
