//! What rustls asks during a handshake, answered by a [`Policy`]: one verifier for each end.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::refusal::{Reason, Refusal};
use super::signature;
use super::verify::{Peer, Policy, Verdict};
use crate::config::{Check, Trust};
use crate::model::Fault;
use crate::text::Text;

/// The verifier of servers' certificates.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    policy: Policy,
    probe: Option<Probe>,
}

/// Judges without refusing, and remembers what it would have said.
#[derive(Debug)]
struct Probe {
    policy: Policy,
    verdict: Mutex<Option<Verdict>>,
}

impl ServerVerifier {
    /// With `trust.probe` nothing is refused, but verification as pertuis' own defaults ask for is tried.
    ///
    /// # Errors
    /// As [`Policy::new`]; a probe that cannot be set up is a warning.
    pub(crate) fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<(Self, Vec<Text>), Fault> {
        let (policy, mut warnings) = Policy::new(trust, Peer::Server, provider)?;
        let probe = if trust.probe {
            let asked = Trust { check: Check::Chain, dialled_name: true, probe: false, ..trust.clone() };
            Policy::new(&asked, Peer::Server, provider).map(|(policy, _)| policy).map_err(|fault| fault.text)
        } else {
            return Ok((Self { policy, probe: None }, warnings));
        };
        let probe = probe.map_err(|why| warnings.push(why)).ok();
        let probe = probe.map(|policy| Probe { policy, verdict: Mutex::new(None) });
        Ok((Self { policy, probe }, warnings))
    }

    /// What the probe said about the latest full handshake, once for each.
    pub(crate) fn take_verdict(&self) -> Option<Verdict> {
        self.probe.as_ref()?.verdict.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(probe) = &self.probe {
            let verdict = probe.policy.judge(end_entity, intermediates, Some(server_name), now);
            *probe.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
        }
        self.policy.judge(end_entity, intermediates, Some(server_name), now).map_err(Refusal::into_rustls)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature::tls12(message, cert, dss, self.policy.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature::tls13(message, cert, dss, self.policy.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.policy.algorithms().supported_schemes()
    }
}

/// The verifier of clients' certificates.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    policy: Policy,
    hints: Vec<DistinguishedName>,
    require: bool,
    /// What is refused passes for now: [`ClientVerifier::verdict`] tells afterwards.
    later: bool,
}

impl ClientVerifier {
    /// `None` when clients are not asked for a certificate. `later`: nobody is refused during the handshake.
    ///
    /// # Errors
    /// As [`Policy::new`].
    pub(crate) fn new(
        trust: &Trust,
        later: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(Option<Self>, Vec<Text>), Fault> {
        if trust.check == Check::Off && !trust.require {
            return Ok((None, Vec::new()));
        }
        let (policy, warnings) = Policy::new(trust, Peer::Client, provider)?;
        let hints = policy.hints();
        Ok((Some(Self { policy, hints, require: trust.require, later }), warnings))
    }

    /// Judges what a client showed, in this handshake or in the one whose session it resumes.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn verdict(&self, chain: Option<&[CertificateDer<'_>]>) -> Verdict {
        match chain.and_then(<[_]>::split_first) {
            Some((leaf, rest)) => self.policy.judge(leaf, rest, None, UnixTime::now()),
            None if self.require => Err(Refusal { reason: Reason::NoCertificate, subject: "-".to_owned(), pin: None }),
            None => Ok(()),
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.require && !self.later
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.later {
            self.policy.judge(end_entity, intermediates, None, now).map_err(Refusal::into_rustls)?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature::tls12(message, cert, dss, self.policy.algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature::tls13(message, cert, dss, self.policy.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.policy.algorithms().supported_schemes()
    }
}
