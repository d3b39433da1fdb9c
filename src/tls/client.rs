//! The client's end of a handshake: for client-mode tunnels and for launchers alike.
//!
//! Built once from the configuration, used for every connection. What goes wrong is explained in a sentence that
//! names the host and tells apart the four cases an administrator treats differently: the certificate was refused,
//! the peer does not speak TLS, there is no common version or cipher, the connection was cut.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::{Resumption, Tls12Resumption};
use rustls::{AlertDescription, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::{Cause, Failure, Shaken};
use super::material;
use super::refusal::Refusal;
use super::verifier::ServerVerifier;
use super::verify::Verdict;
use crate::config::tls::Settings;
use crate::config::tunnel::Sni;
use crate::config::{Launcher, TlsVersion, Trust};
use crate::model::{Code, Fault};
use crate::text;
use crate::text::Text;

/// What a client's end is made of.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions<'a> {
    /// What is demanded of the server's certificate.
    pub trust: &'a Trust,
    /// A certificate of our own, should the server ask for one.
    pub cert: Option<&'a Path>,
    /// Its key; the same file as `cert` when it is not given.
    pub key: Option<&'a Path>,
    /// The server name that is sent (RFC 6066, 3).
    pub sni: &'a Sni,
    /// Lowest and highest version.
    pub versions: (TlsVersion, TlsVersion),
    /// Whether sessions are resumed.
    pub resume: bool,
    /// How it is tuned.
    pub settings: &'a Settings,
}

/// A client's end, ready for connections. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    connector: TlsConnector,
    verifier: Arc<ServerVerifier>,
    /// The name that stands in for the dialled host.
    name: Option<String>,
    warnings: Arc<[Text]>,
}

impl ClientTls {
    /// Reads the files and builds the configuration.
    ///
    /// # Errors
    /// A file that is missing or of no use, or a system without roots (code `config`).
    pub fn build(options: &ClientOptions<'_>) -> Result<Self, Fault> {
        let provider = super::tuned(options.settings);
        let (verifier, mut warnings) = ServerVerifier::new(options.trust, &provider)?;
        let verifier = Arc::new(verifier);
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&super::protocol_versions(options.versions))
            .map_err(|error| no_versions(&error))?
            .dangerous() // rustls' word for a verifier of one's own
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = match options.cert {
            None => builder.with_no_client_auth(),
            Some(cert) => {
                let key = options.key.unwrap_or(cert);
                warnings.extend(material::exposed_key(key));
                let pair = material::certified_key(&provider, cert, key)?;
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair)))
            }
        };
        config.enable_sni = *options.sni != Sni::Off;
        config.resumption = if options.resume {
            let kept = Resumption::in_memory_sessions(options.settings.cache_size);
            let kind = if options.settings.tickets {
                Tls12Resumption::SessionIdOrTickets
            } else {
                Tls12Resumption::SessionIdOnly
            };
            kept.tls12_resumption(kind)
        } else {
            Resumption::disabled()
        };
        let name = match options.sni {
            Sni::Name(name) => Some(name.clone()),
            Sni::Dialled | Sni::Off => None,
        };
        Ok(Self { connector: Arc::new(config).into(), verifier, name, warnings: warnings.into() })
    }

    /// For a launcher: its trust and certificate, TLS 1.2 and up, the dialled host as server name.
    ///
    /// # Errors
    /// As [`ClientTls::build`].
    pub fn for_launcher(launcher: &Launcher) -> Result<Self, Fault> {
        Self::build(&ClientOptions {
            trust: &launcher.trust,
            cert: launcher.cert.as_deref(),
            key: launcher.key.as_deref(),
            sni: &Sni::Dialled,
            versions: (TlsVersion::V12, TlsVersion::V13),
            // built anew for each connection: there would be nothing to resume
            resume: false,
            settings: &Settings::default(),
        })
    }

    /// Shakes hands over `stream`; `host` is the name or address that was dialled, without brackets or port. The
    /// certificate must name it (or `sni`), unless [`Trust`] says otherwise. Sets no time limit of its own.
    ///
    /// # Errors
    /// The handshake failed (code `tls`), with what to do.
    pub async fn connect<S>(&self, stream: S, host: &str) -> Result<TlsStream<S>, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.shake(stream, host).await.map_err(|(failure, _)| failure.fault)
    }

    /// The same for whom the kind of failure makes a difference.
    ///
    /// # Errors
    /// As [`ClientTls::connect`].
    pub async fn shake<S>(&self, stream: S, host: &str) -> Shaken<TlsStream<S>, S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match server_name(self.name.as_deref().unwrap_or(host)) {
            Ok(name) => name,
            Err(fault) => return Err((fault.into(), stream)),
        };
        let shaking = Box::pin(self.connector.connect(name, stream).into_fallible());
        let (connected, refusal) = Refusal::watch(shaking).await;
        connected.map_err(|(error, stream)| {
            let cause = Cause::of(&error, refusal.as_ref());
            let text = refusal.map_or_else(|| explain(host, &error), |refusal| refusal.text(host));
            (Failure { fault: Fault::new(Code::Tls, text), cause }, stream)
        })
    }

    /// With `trust.probe`: whether verification would have succeeded at the latest full handshake; each verdict is
    /// handed out once.
    pub fn take_verdict(&self) -> Option<Verdict> {
        self.verifier.take_verdict()
    }

    /// What is odd about the files but stops nothing.
    pub fn warnings(&self) -> &[Text] {
        &self.warnings
    }
}

/// What an error after the handshake says about us: with TLS 1.3 a refused client certificate is told only then, by
/// an alert in place of the first answer. `None` for every other error.
pub fn explain_alert(host: &str, error: &io::Error) -> Option<Text> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(alert_text(host, *alert)),
        _ => None,
    }
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

/// rustls with the system's roots and ordinary verification: for libraries that speak TLS themselves.
///
/// # Errors
/// The system has no roots (code `config`).
pub fn system_client() -> Result<ClientConfig, Fault> {
    web_client(&Trust::default())
}

/// rustls that verifies as `trust` says: for libraries that speak TLS themselves.
///
/// # Errors
/// As [`ClientTls::build`].
pub fn web_client(trust: &Trust) -> Result<ClientConfig, Fault> {
    let provider = super::provider();
    let (verifier, _) = ServerVerifier::new(trust, &provider)?;
    let versions = super::protocol_versions((TlsVersion::V12, TlsVersion::V13));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| no_versions(&error))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

pub(super) fn no_versions(error: &rustls::Error) -> Fault {
    Fault::new(
        Code::Config,
        text!("these TLS versions cannot be used: {error}", "ces versions de TLS sont inutilisables : {error}"),
    )
}

fn server_name(host: &str) -> Result<ServerName<'static>, Fault> {
    let plain = host.strip_suffix('.').unwrap_or(host);
    ServerName::try_from(plain.to_owned()).map_err(|_| {
        Fault::new(
            Code::Config,
            text!(
                "\"{host}\" is no host name that TLS can check; write it in ASCII (xn--… for accents), \
                 or give the name with `sni`",
                "« {host} » n'est pas un nom d'hôte que TLS sache vérifier ; écrivez-le en ASCII (xn--… pour les \
                 accents), ou donnez le nom avec `sni`"
            ),
        )
    })
}

/// What an error of the handshake with `host` means.
pub fn explain(host: &str, error: &io::Error) -> Text {
    use rustls::Error as E;
    if let Some(refusal) = Refusal::find(error) {
        return refusal.text(host);
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<E>());
    match inner {
        Some(E::InvalidMessage(_)) => text!(
            "{host} does not speak TLS on this port; use its TLS port (POP3 995, IMAP 993, SMTP 465)",
            "{host} ne parle pas TLS sur ce port ; utilisez son port TLS (POP3 995, IMAP 993, SMTP 465)"
        ),
        Some(E::AlertReceived(alert)) => alert_text(host, *alert),
        Some(E::PeerIncompatible(why)) => text!(
            "no common TLS version or cipher with {host} ({why:?}); it must offer TLS 1.2 (ECDHE with AES-GCM or \
             ChaCha20) or TLS 1.3 (see docs/tls.md)",
            "aucune version de TLS ni chiffrement en commun avec {host} ({why:?}) ; il doit proposer TLS 1.2 (ECDHE \
             avec AES-GCM ou ChaCha20) ou TLS 1.3 (voir docs/tls.fr.md)"
        ),
        Some(other) => {
            text!("TLS handshake with {host} failed: {other}", "échec de la négociation TLS avec {host} : {other}")
        }
        None if is_cut(error) => text!(
            "{host} closed the connection during the TLS handshake; it may refuse this machine's address, or not \
             speak TLS on this port",
            "{host} a fermé la connexion pendant la négociation TLS ; il refuse peut-être l'adresse de cette machine, \
             ou ne parle pas TLS sur ce port"
        ),
        None => text!("TLS handshake with {host} failed: {error}", "échec de la négociation TLS avec {host} : {error}"),
    }
}

/// What the server's alert says about us (RFC 8446, 6.2).
fn alert_text(host: &str, alert: AlertDescription) -> Text {
    use AlertDescription as A;
    match alert {
        A::ProtocolVersion | A::HandshakeFailure | A::InsufficientSecurity => text!(
            "{host} found no common TLS version or cipher ({alert:?}); it must offer TLS 1.2 (ECDHE with AES-GCM or \
             ChaCha20) or TLS 1.3 (see docs/tls.md), or it wants a certificate of ours (`cert`)",
            "{host} n'a trouvé aucune version de TLS ni chiffrement en commun ({alert:?}) ; il doit proposer TLS 1.2 \
             (ECDHE avec AES-GCM ou ChaCha20) ou TLS 1.3 (voir docs/tls.fr.md), ou bien il exige un certificat de notre part (`cert`)"
        ),
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::CertificateRequired
        | A::NoCertificate
        | A::UnknownCA
        | A::AccessDenied => text!(
            "{host} refuses our certificate ({alert:?}); check `cert` and `key`",
            "{host} refuse notre certificat ({alert:?}) ; vérifiez `cert` et `key`"
        ),
        A::UnrecognisedName => text!(
            "{host} knows no server of the name we sent; give the right one with `sni`, or send none with `sni =`",
            "{host} ne connaît aucun serveur du nom envoyé ; donnez le bon avec `sni`, ou n'en envoyez pas avec `sni =`"
        ),
        _ => text!(
            "{host} ended the TLS handshake with the alert {alert:?}",
            "{host} a interrompu la négociation TLS par l'alerte {alert:?}"
        ),
    }
}

/// Whether the peer hung up, rather than said something wrong.
pub(super) fn is_cut(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}
