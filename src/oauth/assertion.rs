//! Signed requests: JSON Web Tokens (RFC 7519, 7515) with which a program proves who it is (RFC 7523).
//!
//! Not a JWT library: two kinds of header, one kind of key. The signature is made by the TLS provider, which has RSA-PSS and
//! RSA PKCS #1 with SHA-256 for its own handshakes; PS256 and RS256 are exactly these (RFC 7518, 3.3 and 3.5), so no other
//! cryptography comes into the program. Base64url has no padding anywhere here (RFC 7515, 2).

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::SignatureScheme;
use rustls::sign::SigningKey;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::model::{Code, Digest, Fault};
use crate::secret::Secret;
use crate::text;
use crate::text::Text;
use crate::tls::{self, material};

/// Microsoft's: the application proves itself by the certificate that was uploaded to its registration.
///
/// # Errors
/// Files that are missing, of no use, not a pair, or no RSA key (code `config`).
pub(super) fn by_certificate(
    (cert, key): (&Path, &Path),
    client_id: &str,
    audience: &str,
    now: SystemTime,
) -> Result<Secret, Fault> {
    let pair = material::certified_key(&tls::provider(), cert, key)?;
    // the chain is not empty: material checks it
    let leaf = pair.cert.first().map(|leaf| Digest::of(leaf)).ok_or_else(|| not_rsa(key))?;
    let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(leaf.0)});
    let now = seconds(now);
    let claims = json!({
        "aud": audience, "iss": client_id, "sub": client_id, "jti": guid()?,
        "nbf": now, "iat": now, "exp": now + MICROSOFT.as_secs(),
    });
    sign(pair.key.as_ref(), SignatureScheme::RSA_PSS_SHA256, &header, &claims, key)
}

/// Google's key file.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
}

/// Google's: a service account acts for `account` (domain-wide delegation).
///
/// # Errors
/// A key file that is missing or none (code `config`).
pub(super) fn by_service_account(
    file: &Path,
    account: &str,
    scope: &str,
    audience: &str,
    now: SystemTime,
) -> Result<Secret, Fault> {
    let name = file.display();
    let bytes = fs::read(file).map(Zeroizing::new).map_err(|error| {
        let Text { en, fr } = Text::io(&error);
        config(text!(
            "cannot read {name}: {en}; check the path and who may read it",
            "impossible de lire {name} : {fr} ; vérifiez le chemin et les droits de lecture"
        ))
    })?;
    let KeyFile { client_email, private_key, private_key_id } =
        serde_json::from_slice(&bytes).map_err(|_| no_key_file(file))?;
    let private_key = Zeroizing::new(private_key);
    let key = PrivateKeyDer::from_pem_slice(private_key.as_bytes()).map_err(|_| no_key_file(file))?;
    let key = tls::provider().key_provider.load_private_key(key).map_err(|_| no_key_file(file))?;
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if let Some(id) = private_key_id {
        header["kid"] = Value::String(id);
    }
    let now = seconds(now);
    let claims = json!({
        "iss": client_email, "sub": account, "scope": scope, "aud": audience,
        "iat": now, "exp": now + GOOGLE.as_secs(),
    });
    sign(key.as_ref(), SignatureScheme::RSA_PKCS1_SHA256, &header, &claims, file)
}

/// Header, claims and signature (RFC 7515, 3.1).
fn sign(
    key: &dyn SigningKey,
    scheme: SignatureScheme,
    header: &Value,
    claims: &Value,
    file: &Path,
) -> Result<Secret, Fault> {
    let signer = key.choose_scheme(&[scheme]).ok_or_else(|| not_rsa(file))?;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = signer.sign(text.as_bytes()).map_err(|error| {
        let name = file.display();
        config(text!("{name}: this key does not sign: {error}", "{name} : cette clé ne signe pas : {error}"))
    })?;
    Ok(Secret::new(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

/// A random number in the form of RFC 9562, 5.4, so that no two requests are the same.
fn guid() -> Result<String, Fault> {
    let mut bytes = [0_u8; 16];
    let silent =
        || config(text!("the system gives no random numbers", "le système ne donne pas de nombres aléatoires"));
    tls::provider().secure_random.fill(&mut bytes).map_err(|_| silent())?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// Since 1970; a clock before that is told by the server.
fn seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn not_rsa(file: &Path) -> Fault {
    let name = file.display();
    config(text!(
        "{name}: the sign-in needs an RSA key of 2048 bits or more: openssl req -x509 -newkey rsa:2048 -nodes -days 730 \
         -subj /CN=pertuis -keyout pertuis.key -out pertuis.pem",
        "{name} : la connexion demande une clé RSA d'au moins 2048 bits : openssl req -x509 -newkey rsa:2048 -nodes -days \
         730 -subj /CN=pertuis -keyout pertuis.key -out pertuis.pem"
    ))
}

fn no_key_file(file: &Path) -> Fault {
    let name = file.display();
    config(text!(
        "{name} is no key file of a Google service account: expected the JSON that the console gives under IAM & Admin > \
         Service accounts > Keys > Add key (with client_email and private_key)",
        "{name} n'est pas le fichier de clé d'un compte de service Google : attendu le JSON que donne la console sous IAM et \
         administration > Comptes de service > Clés > Ajouter une clé (avec client_email et private_key)"
    ))
}

fn config(text: Text) -> Fault {
    Fault::new(Code::Config, text)
}

/// Microsoft: five to ten minutes.
const MICROSOFT: Duration = Duration::from_mins(10);
/// Google: an hour at most.
const GOOGLE: Duration = Duration::from_hours(1);
