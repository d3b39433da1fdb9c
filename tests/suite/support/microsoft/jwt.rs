//! JSON Web Tokens (RFC 7515, 7519): those that the simulator issues, and the assertions that it verifies.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pertuis::tls;
use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize, SigningKey as _};
use rustls_pki_types::alg_id;
use serde_json::{Value, json};
use sha2::Digest as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A token with these claims, signed with the simulator's key (RS256).
pub(crate) fn issue(claims: &Value) -> String {
    static KEY: OnceLock<KeyPair> = OnceLock::new();
    let key = KEY.get_or_init(|| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap());
    let head = json!({"typ": "JWT", "alg": "RS256", "kid": "test1"});
    let text = format!("{}.{}", encode(head.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = key.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", encode(&signature))
}

/// The claims of a client's assertion, where one of the certificates (DER) signed it and is named in it.
pub(crate) fn verified(assertion: &str, certificates: &[Vec<u8>]) -> Result<Value, &'static str> {
    let (text, signature) = assertion.rsplit_once('.').ok_or("not a JWT")?;
    let (head, claims) = text.split_once('.').ok_or("not a JWT")?;
    let (head, claims) = (object(head)?, object(claims)?);
    let print = head["x5t#S256"].as_str().ok_or("no x5t#S256")?;
    let named = |der: &&Vec<u8>| encode(&sha2::Sha256::digest(der)) == print;
    let certificate = certificates.iter().find(named).ok_or("certificate not registered")?;
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| "bad certificate")?;
    let algorithm = match head["alg"].as_str() {
        Some("PS256") => alg_id::RSA_PSS_SHA256,
        Some("RS256") => alg_id::RSA_PKCS1_SHA256,
        _ => return Err("algorithm not supported"),
    };
    let provider = tls::provider();
    let known = provider.signature_verification_algorithms.all.iter();
    let verifier = known
        .into_iter()
        .find(|one| one.signature_alg_id() == algorithm && one.public_key_alg_id() == alg_id::RSA_ENCRYPTION)
        .ok_or("algorithm not supported")?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "signature is no base64url")?;
    let key = &certificate.tbs_certificate.subject_pki.subject_public_key.data;
    verifier.verify_signature(key, text.as_bytes(), &signature).map_err(|_| "wrong signature")?;
    Ok(claims)
}

fn object(part: &str) -> Result<Value, &'static str> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| "no base64url without padding")?;
    serde_json::from_slice(&bytes).map_err(|_| "no JSON")
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
