//! The server's end of a handshake, for server-mode tunnels.
//!
//! Built once from the configuration, used for every connection; a certificate that was renewed on disk is read by
//! the next reload.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{Acceptor, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, TlsAcceptor};

use super::client::{is_cut, no_versions};
use super::material;
use super::refusal::Refusal;
use super::verify::ClientVerifier;
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
    acceptor: TlsAcceptor,
    warnings: Arc<[Text]>,
}

/// A connection whose first message, the `ClientHello`, was read: who decides by the server name chooses now.
pub struct Hello<S> {
    start: StartHandshake<S>,
    server_name: Option<String>,
}

/// Reads the `ClientHello` (RFC 8446, 4.1.2) of a connection. Sets no time limit of its own.
///
/// # Errors
/// The client does not speak TLS, or hung up (code `tls`).
pub async fn hello<S>(stream: S, peer: &str) -> Result<Hello<S>, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await;
    let start = start.map_err(|error| Fault::new(Code::Tls, explain(peer, &error)))?;
    let server_name = start.client_hello().server_name().map(str::to_owned);
    Ok(Hello { start, server_name })
}

impl<S> Hello<S> {
    /// The server name that the client sent (RFC 6066, 3).
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
}

impl ServerTls {
    /// Reads the files and builds the configuration.
    ///
    /// # Errors
    /// A file that is missing or of no use, or clients to verify against nothing (code `config`).
    pub fn build(options: &ServerOptions<'_>) -> Result<Self, Fault> {
        let provider = super::provider();
        let (verifier, mut warnings) = ClientVerifier::new(options.trust, &provider)?;
        let key = options.key.unwrap_or(options.cert);
        warnings.extend(material::exposed_key(key));
        let pair = material::certified_key(&provider, options.cert, key)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&super::protocol_versions(options.versions))
            .map_err(|error| no_versions(&error))?;
        let mut config = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
            None => builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
        }
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        if options.resume {
            if let Some(ticketer) = super::ticketer() {
                config.ticketer = ticketer;
            }
        } else {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { acceptor: Arc::new(config).into(), warnings: warnings.into() })
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
        self.accept_hello(hello(stream, peer).await?, peer).await
    }

    /// The same for a connection whose first message was read already.
    ///
    /// # Errors
    /// As [`ServerTls::accept`].
    pub async fn accept_hello<S>(&self, hello: Hello<S>, peer: &str) -> Result<TlsStream<S>, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = hello.start.into_stream(self.acceptor.config().clone()).await;
        accepted.map_err(|error| Fault::new(Code::Tls, explain(peer, &error)))
    }

    /// With `redirect`: whether the client of this connection, new or resumed, showed the certificate that is
    /// demanded.
    ///
    /// # Errors
    /// Why not.
    pub fn verdict<S>(&self, _stream: &TlsStream<S>) -> Result<(), Refusal> {
        todo!()
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

fn explain(peer: &str, error: &io::Error) -> Text {
    use rustls::Error as E;
    if let Some(refusal) = Refusal::find(error) {
        return refusal.text(peer);
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<E>());
    match inner {
        Some(E::InvalidMessage(_)) => text!(
            "{peer} does not speak TLS; set its software to TLS from the first byte (SSL), not to plain text or STARTTLS",
            "{peer} ne parle pas TLS ; réglez son logiciel sur TLS dès le premier octet (SSL), ni en clair ni STARTTLS"
        ),
        Some(E::NoCertificatesPresented) => text!(
            "{peer} presented no certificate, which this service requires; give it a `cert` and `key`",
            "{peer} n'a présenté aucun certificat, ce service en exige un ; donnez-lui `cert` et `key`"
        ),
        Some(E::PeerIncompatible(why)) => text!(
            "no common TLS version or cipher with {peer} ({why:?}); it must offer TLS 1.2 (ECDHE with AES-GCM or \
             ChaCha20) or TLS 1.3: software that stops at TLS 1.1 must be updated",
            "aucune version de TLS ni chiffrement en commun avec {peer} ({why:?}) ; il doit proposer TLS 1.2 (ECDHE \
             avec AES-GCM ou ChaCha20) ou TLS 1.3 : un logiciel qui s'arrête à TLS 1.1 doit être mis à jour"
        ),
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
