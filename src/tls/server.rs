//! The server's end of a handshake, for server-mode tunnels.
//!
//! Built once from the configuration, used for every connection; a certificate that was renewed on disk is read by
//! the next reload.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::server::{Accepted, Acceptor, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{HandshakeKind, PeerIncompatible, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use super::client::{is_cut, no_versions};
use super::failure::{Cause, Failure, Shaken};
use super::offer::{Offer, START};
use super::refusal::Refusal;
use super::verifier::ClientVerifier;
use super::{material, sessions};
use crate::config::tls::Settings;
use crate::config::{TlsVersion, Trust};
use crate::model::{Code, Fault};
use crate::text;
use crate::text::Text;

/// What a server's end is made of.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions<'a> {
    /// What is demanded of clients' certificates.
    pub trust: &'a Trust,
    /// Our chain.
    pub cert: &'a Path,
    /// Its key; the same file as `cert` when it is not given.
    pub key: Option<&'a Path>,
    /// Lowest and highest version.
    pub versions: (TlsVersion, TlsVersion),
    /// Whether sessions are resumed; off: no cache, no tickets.
    pub resume: bool,
    /// How it is tuned.
    pub settings: &'a Settings,
    /// Clients whose certificate is refused, or missing, do not fail the handshake: [`ServerTls::verdict`] tells.
    pub redirect: bool,
}

/// A server's end, ready for connections. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// `None` where clients are not asked for a certificate.
    verifier: Option<Arc<ClientVerifier>>,
    redirect: bool,
    warnings: Arc<[Text]>,
}

/// A connection whose first message, the `ClientHello`, was read: who decides by the server name chooses now.
pub struct Hello<S> {
    start: Box<StartHandshake<S>>,
    server_name: Option<String>,
    offer: Offer,
    note: Vec<u8>,
}

/// Reads the `ClientHello` (RFC 8446, 4.1.2) of a connection. Sets no time limit of its own.
///
/// # Errors
/// The client does not speak TLS, or hung up (code `tls`).
pub async fn hello<S>(mut stream: S, peer: &str) -> Shaken<Hello<S>, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut start = Vec::with_capacity(START);
    let read = Box::pin(read_hello(&mut stream, &mut start)).await;
    let accepted = match read {
        Ok(accepted) => accepted,
        Err(error) => return Err((failure(peer, &error, None, &Offer::new(&start, &[])), stream)),
    };
    let hello = accepted.client_hello();
    let server_name = hello.server_name().map(str::to_owned);
    let offer = Offer::new(&start, hello.cipher_suites());
    let start = Box::new(StartHandshake::from_parts(accepted, stream));
    Ok(Hello { start, server_name, offer, note: Vec::new() })
}

/// `start` becomes the first bytes that were read. Bounded by rustls, which takes no message above 64 KiB.
async fn read_hello<S>(stream: &mut S, start: &mut Vec<u8>) -> io::Result<Accepted>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut acceptor, mut buffer) = (Acceptor::default(), vec![0; CHUNK]);
    loop {
        let count = stream.read(&mut buffer).await?;
        let mut rest = &buffer[..count];
        if rest.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        start.extend(rest.iter().take(START - start.len()));
        while !rest.is_empty() && acceptor.read_tls(&mut rest)? > 0 {}
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => return Ok(accepted),
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                alert.write_all(&mut bytes)?;
                // it fails anyway, for a better reason than that nobody listens to the alert
                let _ = stream.write_all(&bytes).await;
                let _ = stream.flush().await;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

impl<S> Hello<S> {
    /// The server name that the client sent (RFC 6066, 3).
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// What [`note_of`] gives back once this session is resumed. It travels in the ticket, which the client cannot read.
    pub fn note(&mut self, note: Vec<u8>) {
        self.note = note;
    }
}

/// What was [noted](Hello::note) in the session that this connection resumed.
pub fn note_of<S>(stream: &TlsStream<S>) -> Option<&[u8]> {
    stream.get_ref().1.received_resumption_data()
}

impl ServerTls {
    /// Reads the files and builds the configuration.
    ///
    /// # Errors
    /// A file that is missing or of no use, or clients to verify against nothing (code `config`).
    pub fn build(options: &ServerOptions<'_>) -> Result<Self, Fault> {
        let provider = super::tuned(options.settings);
        let (verifier, mut warnings) = ClientVerifier::new(options.trust, options.redirect, &provider)?;
        let verifier = verifier.map(Arc::new);
        let key = options.key.unwrap_or(options.cert);
        warnings.extend(material::exposed_key(key));
        let pair = material::certified_key(&provider, options.cert, key)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&super::protocol_versions(options.versions))
            .map_err(|error| no_versions(&error))?;
        let mut config = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
        }
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        sessions::keep(&mut config, options.settings, options.resume);
        Ok(Self { config: Arc::new(config), verifier, redirect: options.redirect, warnings: warnings.into() })
    }

    /// Shakes hands over `stream`; `peer` is the client's address, for the error's text. Sets no time limit of its
    /// own.
    ///
    /// # Errors
    /// The handshake failed (code `tls`), with what to do.
    pub async fn accept<S>(&self, stream: S, peer: &str) -> Result<TlsStream<S>, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // on the heap: both hold a whole connection of rustls, and so would all that waits for them
        let hello = Box::pin(hello(stream, peer)).await.map_err(|(failure, _)| failure.fault)?;
        Box::pin(self.accept_hello(hello, peer)).await.map_err(|(failure, _)| failure.fault)
    }

    /// The same for a connection whose first message was read already.
    ///
    /// # Errors
    /// As [`ServerTls::accept`].
    pub async fn accept_hello<S>(&self, hello: Hello<S>, peer: &str) -> Shaken<TlsStream<S>, S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let noted = |connection: &mut ServerConnection| connection.set_resumption_data(&hello.note);
        let shaken = hello.start.into_stream_with(self.config.clone(), noted);
        let (accepted, refusal) = Refusal::watch(Box::pin(shaken.into_fallible())).await;
        let stream =
            accepted.map_err(|(error, stream)| (failure(peer, &error, refusal.as_ref(), &hello.offer), stream))?;
        // a session may be older than the list that revokes its certificate, or be of a service that demands less
        let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let verdict = if resumed && !self.redirect { self.verdict(&stream) } else { Ok(()) };
        if let Err(refusal) = verdict {
            let fault = Fault::new(Code::Tls, refusal.text(peer));
            return Err((Failure { fault, cause: Cause::refused(&refusal) }, stream.into_inner().0));
        }
        Ok(stream)
    }

    /// With `redirect`: whether the client of this connection, new or resumed, showed the certificate that is
    /// demanded.
    ///
    /// # Errors
    /// Why not.
    pub fn verdict<S>(&self, stream: &TlsStream<S>) -> Result<(), Refusal> {
        let chain = stream.get_ref().1.peer_certificates();
        self.verifier.as_ref().map_or(Ok(()), |verifier| verifier.verdict(chain))
    }

    /// What is odd about the files but stops nothing.
    pub fn warnings(&self) -> &[Text] {
        &self.warnings
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl<S> std::fmt::Debug for Hello<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// A handshake with the client at `peer` that ended with this error.
fn failure(peer: &str, error: &io::Error, refusal: Option<&Refusal>, offer: &Offer) -> Failure {
    let cause = match Cause::of(error, refusal) {
        // an old version of TLS is TLS
        Cause::NoTls if offer.complaint(peer).is_some() => Cause::Other,
        cause => cause,
    };
    Failure { fault: Fault::new(Code::Tls, explain(peer, error, refusal, offer)), cause }
}

/// What an error of the handshake with the client at `peer` means.
fn explain(peer: &str, error: &io::Error, refusal: Option<&Refusal>, offer: &Offer) -> Text {
    use rustls::Error as E;
    if let Some(refusal) = refusal.or_else(|| Refusal::find(error)) {
        return refusal.text(peer);
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<E>());
    if let (Some(E::InvalidMessage(_) | E::PeerIncompatible(_)), Some(text)) = (inner, offer.complaint(peer)) {
        return text;
    }
    match inner {
        Some(E::InvalidMessage(_)) => text!(
            "{peer} does not speak TLS; set its software to TLS from the first byte (SSL), not to plain text or STARTTLS",
            "{peer} ne parle pas TLS ; réglez son logiciel sur TLS dès le premier octet (SSL), ni en clair ni STARTTLS"
        ),
        Some(E::NoCertificatesPresented) => text!(
            "peer did not return a certificate: {peer} presented none, which this service requires; give it a `cert` and \
             `key`",
            "{peer} n'a présenté aucun certificat, ce service en exige un ; donnez-lui `cert` et `key`"
        ),
        Some(E::PeerIncompatible(why)) => nothing_common(peer, why),
        Some(E::AlertReceived(alert)) => text!(
            "{peer} ended the TLS handshake with the alert {alert:?}; it may not trust our certificate (`cert`)",
            "{peer} a interrompu la négociation TLS par l'alerte {alert:?} ; il ne fait peut-être pas confiance à notre \
             certificat (`cert`)"
        ),
        Some(other) => {
            text!("TLS handshake with {peer} failed: {other}", "échec de la négociation TLS avec {peer} : {other}")
        }
        None if is_cut(error) => text!(
            "{peer} closed the connection during the TLS handshake",
            "{peer} a fermé la connexion pendant la négociation TLS"
        ),
        None => text!("TLS handshake with {peer} failed: {error}", "échec de la négociation TLS avec {peer} : {error}"),
    }
}

fn nothing_common(peer: &str, why: &PeerIncompatible) -> Text {
    text!(
        "no common TLS version or cipher with {peer} ({why:?}); it must offer TLS 1.2 (ECDHE with AES-GCM or ChaCha20) or \
         TLS 1.3, and what this service allows (see docs/tls.md)",
        "aucune version de TLS ni chiffrement en commun avec {peer} ({why:?}) ; il doit proposer TLS 1.2 (ECDHE avec \
         AES-GCM ou ChaCha20) ou TLS 1.3, et ce que ce service admet (voir docs/tls.fr.md)"
    )
}

/// Read at once of a first message; most fit.
const CHUNK: usize = 4096;
