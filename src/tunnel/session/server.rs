//! A session of server mode: TLS here, plain there.

use tokio::io::AsyncWriteExt as _;

use super::pace::Paced;
use super::target::Reached;
use super::tell::Step;
use super::{Cut, Secured, Session, Stop, Visit, Why};
use crate::event::Level;
use crate::model::{Code, Fault};
use crate::net::ahead::ReadAhead;
use crate::net::stream::Addr;
use crate::text;
use crate::text::Text;
use crate::tls::refusal::Refusal;
use crate::tls::server::{self, Hello};
use crate::tunnel::lock;
use crate::tunnel::protocol::{Negotiation, Start, Target};
use crate::tunnel::settings::{Mode, is_named};

/// A client that has begun with TLS.
struct Greeted {
    hello: Hello<ReadAhead<Paced>>,
    /// Where its protocol needs the backend before TLS.
    backend: Option<Reached>,
    /// Where it named its target in clear.
    target: Option<Target>,
}

impl Session {
    pub(super) async fn server(&mut self, local: Paced) {
        let peer = self.about.peer.as_ref().map_or_else(|| "the client".to_owned(), Addr::to_string);
        match self.secure_local(local, &peer).await {
            Ok((mut local, mut remote)) => self.relay(&mut remote.stream, &mut local, None).await,
            Err(stop) => self.stopped(&stop),
        }
    }

    async fn secure_local(&mut self, local: Paced, peer: &str) -> Result<(Secured, Reached), Stop> {
        let greeted = self.until_cut(Box::pin(self.greet(local, peer))).await?;
        // the configuration knows no host of a tunnel that has its target by now; none may reach it past that tunnel's trust
        if greeted.backend.is_none() && greeted.target.is_none() {
            self.choose_host(greeted.hello.server_name());
        }
        self.until_cut(Box::pin(self.secure(greeted, peer))).await
    }

    /// What is said in clear, then the first message of TLS.
    async fn greet(&self, mut local: Paced, peer: &str) -> Result<Greeted, Stop> {
        let (mut backend, mut target, mut begun) = (None, None, Vec::new());
        if let Some(negotiation) = &self.settings.negotiation {
            if negotiation.connects_first() {
                backend = Some(self.reach(None).await?);
            }
            let stream = backend.as_mut().map(|reached: &mut Reached| &mut reached.stream);
            let greeting = Box::pin(negotiation.greet(&mut local, stream, peer));
            match self.busy(Step::Protocol, greeting).await? {
                Ok(Start::Tls(named)) => target = named,
                Ok(Start::Direct(bytes)) => begun = bytes,
                Err(failed) => return Err(self.negotiation_failed(failed, &mut local).await),
            }
        }
        self.tell_demand();
        let hello = Box::pin(server::hello(ReadAhead::after(begun, local), peer));
        let hello = self.busy(Step::Tls, hello).await?;
        // the stream is dropped behind the order how
        let hello = hello.map_err(|(failure, _stream)| self.not_shaken(failure))?;
        Ok(Greeted { hello, backend, target })
    }

    /// The first virtual host whose pattern the name matches takes the connection over; without one it stays here
    /// (stunnel 5.75, sni.c).
    fn choose_host(&mut self, name: Option<&str>) {
        if self.settings.hosts.is_empty() {
            return;
        }
        let Some(name) = name else {
            return self.tell(Level::Notice, "sni_missing", || {
                text!("SNI: no servername received", "SNI : aucun nom de serveur reçu")
            });
        };
        let shown = text::shown(name, LONGEST_NAME);
        self.tell(Level::Info, "sni_received", || {
            text!("SNI: requested servername: {shown}", "SNI : nom de serveur demandé : {shown}")
        });
        let hosts = &self.settings.hosts;
        let found = hosts.iter().find(|host| host.tunnel.virtual_host.as_ref().is_some_and(|one| is_named(one, name)));
        let Some(host) = found.cloned() else {
            return self.tell(Level::Error, "sni_unknown", || {
                text!("SNI: no pattern matched servername: {shown}", "SNI : aucun motif pour le nom {shown}")
            });
        };
        let service = &host.tunnel.name;
        self.tell(Level::Notice, "sni_switched", || {
            text!("SNI: switched to service [{service}]", "SNI : passage au service [{service}]")
        });
        *lock(&self.entry.name) = service.clone();
        self.settings = host;
    }

    async fn secure(&self, greeted: Greeted, peer: &str) -> Result<(Secured, Reached), Stop> {
        let Greeted { mut hello, backend, target } = greeted;
        let Mode::Server(tls) = &self.settings.tls else { return Err(self.stop(Why::Over, Cut::Both)) };
        let number = lock(&self.settings.memory).number();
        hello.note(number.to_be_bytes().to_vec());
        let stream = self.shaken(Box::pin(tls.accept_hello(hello, peer))).await?;
        let resumed = server::note_of(&stream).and_then(|note| note.try_into().ok()).map(u64::from_be_bytes);
        let before = resumed.and_then(|number| lock(&self.settings.memory).recall(number));
        let _ = self.visit.set(Visit { number, before });
        let verdict = if self.settings.redirect.is_some() { tls.verdict(&stream) } else { Ok(()) };
        let mut local = Secured::from(stream);
        self.negotiated("TLS accepted", &local, &verdict);
        let mut remote = match (verdict, backend, target) {
            (Err(refusal), ..) => self.redirect(&refusal, peer).await?,
            (Ok(()), Some(backend), _) => backend,
            (Ok(()), None, Some(target)) => self.reach_one_of(&target.endpoints).await?,
            (Ok(()), None, None) => self.ask(&mut local, peer).await?,
        };
        self.introduce(&mut remote).await?;
        Ok((local, remote))
    }

    /// Where clients go whose certificate is refused.
    async fn redirect(&self, refusal: &Refusal, peer: &str) -> Result<Reached, Stop> {
        self.tell(Level::Warning, "certificate_refused", || refusal.text(peer));
        self.tell(Level::Notice, "connection_redirected", || text!("Redirecting connection", "Connexion redirigée"));
        match &self.settings.redirect {
            Some(dialler) => self.dial(dialler).await,
            None => Err(self.stop(Why::Over, Cut::Both)),
        }
    }

    /// Where the configuration, or the client inside TLS, says.
    async fn ask(&self, local: &mut Secured, peer: &str) -> Result<Reached, Stop> {
        match self.settings.negotiation.as_ref().filter(|negotiation| negotiation.chooses_target()) {
            None => self.reach(Some(local)).await,
            Some(negotiation) => self.chosen(negotiation, local, peer).await,
        }
    }

    async fn chosen(&self, negotiation: &Negotiation, local: &mut Secured, peer: &str) -> Result<Reached, Stop> {
        let target = match self.busy(Step::Protocol, Box::pin(negotiation.target(local, peer))).await? {
            Ok(Some(target)) => target,
            Ok(None) => {
                self.farewell(local).await;
                return Err(self.stop(Why::Over, Cut::None));
            }
            Err(failed) => return Err(self.negotiation_failed(failed, local).await),
        };
        let dialled = self.dialler_of(&target.endpoints).dial(self.source()).await;
        let outcome = dialled.as_ref().map(|dialled| &dialled.target);
        let answer = Box::pin(negotiation.answer(local, &target, outcome, peer));
        let answered = self.busy(Step::Protocol, answer).await?;
        match (dialled, answered) {
            (Ok(dialled), Ok(())) => Ok(self.dialled(dialled)),
            (Ok(_), Err(failed)) => Err(self.negotiation_failed(failed, local).await),
            // the client knows by the answer
            (Err(fault), _) => {
                self.farewell(local).await;
                Err(self.stop(Why::Unreached(fault), Cut::None))
            }
        }
    }

    /// The first bytes towards the backend, before anything of the client's.
    async fn introduce(&self, remote: &mut Reached) -> Result<(), Stop> {
        let (Some(negotiation), Some(from), Some(to)) = (&self.settings.negotiation, &self.about.peer, &self.about.own)
        else {
            return Ok(());
        };
        let preamble = negotiation.preamble(from, to);
        let written = async {
            remote.stream.write_all(&preamble).await?;
            remote.stream.flush().await
        };
        self.busy(Step::Protocol, written).await?.map_err(|error| {
            let Text { en, fr } = Text::io(&error);
            let text = text!("the server took no PROXY header: {en}", "le serveur n'a pas pris l'en-tête PROXY : {fr}");
            self.fail(Fault::new(Code::Connect, text), Cut::Both)
        })
    }
}

/// RFC 1035, 2.3.4.
const LONGEST_NAME: usize = 255;
