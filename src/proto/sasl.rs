//! SASL: proving an identity with a password or a token, for every protocol that has AUTHENTICATE or AUTH (RFC 4422).
//!
//! Not the protocol around it: which line is a challenge, and where the first message goes, is the caller's. A mechanism
//! sees whole messages; [`Exchange::reply`] puts them into lines. Nothing is random here: SCRAM's nonce comes from the
//! caller.
//! A mechanism that speaks first gives its message through [`Exchange::initial`], or in answer to an empty challenge
//! where the protocol has no room for it in the command.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::text;
use crate::text::Text;

/// The mechanisms, those with a password first, the strongest before the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// The server never sees the password, and proves that it knows it (RFC 5802, 7677).
    ScramSha256,
    /// The password is not sent, but the server stores it in clear (RFC 2195).
    CramMd5,
    /// Account and password in one message (RFC 4616).
    Plain,
    /// The same in two, as servers ask for them (draft-murchison-sasl-login).
    Login,
    /// An access token, in the form of Google and Microsoft (developers.google.com/gmail/imap/xoauth2-protocol).
    XOAuth2,
    /// An access token (RFC 7628).
    OAuthBearer,
}

impl Mechanism {
    /// All that prove a password, strongest first.
    pub const ALL: [Self; 4] = [Self::ScramSha256, Self::CramMd5, Self::Plain, Self::Login];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::CramMd5 => "CRAM-MD5",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::XOAuth2 => "XOAUTH2",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }

    /// Whether it takes an access token instead of a password.
    pub fn takes_token(self) -> bool {
        matches!(self, Self::XOAuth2 | Self::OAuthBearer)
    }

    /// The strongest with a password of those that a server offers, whatever their case.
    pub fn strongest<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let offered: Vec<&str> = offered.into_iter().collect();
        let is_offered = |mechanism: &Self| offered.iter().any(|name| name.eq_ignore_ascii_case(mechanism.name()));
        Self::ALL.into_iter().find(is_offered)
    }
}

/// Why an exchange ends without a login.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// What the server sent is not what the mechanism says comes next.
    #[error("{0} does not allow the server's message")]
    Unexpected(&'static str),
    /// The server wants so many rounds of hashing: too few to be safe, or enough to keep this machine busy.
    #[error("the server asks for {0} rounds of hashing")]
    Rounds(u32),
    /// The server did not prove that it knows the password: it is somebody else.
    #[error("the server did not prove that it knows the password")]
    Imposter,
    /// The server's own word for its refusal (RFC 5802, 7: `e=`).
    #[error("refused: {0}")]
    Refused(String),
}

impl SaslError {
    /// The sentence for people.
    pub fn text(&self) -> Text {
        match self {
            Self::Unexpected(name) => text!(
                "the server's message is not one of {name}; try another `auth`",
                "le message du serveur n'est pas conforme à {name} ; essayez un autre `auth`"
            ),
            Self::Rounds(rounds) => text!(
                "the server asks for {rounds} rounds of hashing, {ROUNDS_LEAST} to {ROUNDS_MOST} are accepted; use `auth = plain`",
                "le serveur demande {rounds} tours de hachage, on en accepte de {ROUNDS_LEAST} à {ROUNDS_MOST} ; utilisez `auth = plain`"
            ),
            Self::Imposter => text!(
                "the server did not prove that it knows the password: it may be another server than it says",
                "le serveur n'a pas prouvé qu'il connaît le mot de passe : c'est peut-être un autre serveur"
            ),
            Self::Refused(word) => text!("the server refuses: {word}", "le serveur refuse : {word}"),
        }
    }
}

/// One login under way.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    account: String,
    password: Secret,
    step: Step,
    /// Why it was given up.
    trouble: Option<SaslError>,
    /// Why the server refuses a token, in its own words (JSON).
    reason: Option<String>,
}

#[derive(Debug)]
enum Step {
    Plain,
    CramMd5,
    LoginAccount,
    LoginPassword,
    /// The token is to be sent.
    Token,
    /// It was: a challenge can only say why it is refused, and wants an answer before the refusal itself.
    TokenSent,
    Scram(Scram),
    /// Nothing more is sent.
    Done,
}

#[derive(Debug)]
enum Scram {
    Start {
        nonce: String,
    },
    /// The first message was sent.
    First {
        nonce: String,
        /// Without the header of channel binding.
        bare: String,
    },
    /// The proof was sent.
    Proven {
        /// What the server has to answer.
        signature: [u8; 32],
    },
}

impl Exchange {
    /// Begins. `password` is the token, for mechanisms that take one. `nonce` is fresh and random, printable without a
    /// comma (RFC 5802, 5.1), for SCRAM; the others need none.
    pub fn new(mechanism: Mechanism, account: &str, password: &Secret, nonce: &str) -> Self {
        let step = match mechanism {
            Mechanism::ScramSha256 => Step::Scram(Scram::Start { nonce: nonce.to_owned() }),
            Mechanism::CramMd5 => Step::CramMd5,
            Mechanism::Plain => Step::Plain,
            Mechanism::Login => Step::LoginAccount,
            Mechanism::XOAuth2 | Mechanism::OAuthBearer => Step::Token,
        };
        let (account, password) = (account.to_owned(), password.clone());
        Self { mechanism, account, password, step, trouble: None, reason: None }
    }

    /// The first message, where it is the client's; to be sent with the command, or else left to [`Self::answer`].
    pub fn initial(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let message = match &mut self.step {
            Step::Plain => Zeroizing::new(format!("\0{}\0{}", self.account, self.password.reveal()).into_bytes()),
            Step::Token => {
                self.step = Step::TokenSent;
                return Some(self.token_message());
            }
            Step::Scram(Scram::Start { nonce }) => {
                let nonce = std::mem::take(nonce);
                let bare = format!("n={},r={nonce}", scram_name(&self.account));
                let message = Zeroizing::new(format!("{NO_BINDING}{bare}").into_bytes());
                self.step = Step::Scram(Scram::First { nonce, bare });
                return Some(message);
            }
            _ => return None,
        };
        self.step = Step::Done;
        Some(message)
    }

    /// The answer to a challenge.
    pub fn answer(&mut self, challenge: &[u8]) -> Result<Zeroizing<Vec<u8>>, SaslError> {
        if let Some(message) = self.initial() {
            return Ok(message);
        }
        let bytes = |text: &str| Zeroizing::new(text.as_bytes().to_vec());
        let (answer, next) = match &self.step {
            Step::CramMd5 => (cram_md5(&self.account, &self.password, challenge), Step::Done),
            Step::LoginAccount => (bytes(&self.account), Step::LoginPassword),
            Step::LoginPassword => (bytes(self.password.reveal()), Step::Done),
            Step::TokenSent => {
                self.reason = Some(String::from_utf8_lossy(challenge).trim().to_owned());
                (bytes(if self.mechanism == Mechanism::OAuthBearer { "\x01" } else { "" }), Step::Done)
            }
            Step::Scram(Scram::First { nonce, bare }) => {
                let (answer, signature) = prove(&self.password, nonce, bare, challenge)?;
                (answer, Step::Scram(Scram::Proven { signature }))
            }
            Step::Scram(Scram::Proven { signature }) => {
                check_signature(challenge, signature)?;
                (bytes(""), Step::Done)
            }
            _ => return Err(SaslError::Unexpected("SASL")),
        };
        self.step = next;
        Ok(answer)
    }

    /// Account and token: Google's and Microsoft's form, and RFC 7628, 3.1.
    fn token_message(&self) -> Zeroizing<Vec<u8>> {
        let (account, token) = (&self.account, self.password.reveal());
        let begin = match self.mechanism {
            Mechanism::OAuthBearer => format!("n,a={},", escaped(account)),
            _ => format!("user={account}"),
        };
        Zeroizing::new(format!("{begin}\x01auth=Bearer {token}\x01\x01").into_bytes())
    }

    /// Why the server refuses the token, as far as it said so before the refusal itself.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The line that answers the line of a challenge: in base64, or the `*` that gives up (RFC 3501, 6.2.2; RFC 5034, 4).
    pub fn reply(&mut self, challenge: &str) -> Zeroizing<String> {
        // some give the reason of a refusal as it is
        let plain = self.mechanism.takes_token().then(|| challenge.as_bytes().to_vec());
        let challenge = decode(challenge).or(plain).ok_or(SaslError::Unexpected(self.mechanism.name()));
        match challenge.and_then(|challenge| self.answer(&challenge)) {
            Ok(answer) => encode(&answer),
            Err(error) => {
                self.trouble = Some(error);
                Zeroizing::new("*".to_owned())
            }
        }
    }

    /// Whether `*` was said: who asks on is not answered any more.
    pub fn is_given_up(&self) -> bool {
        self.trouble.is_some()
    }

    /// What the exchange says to its end, after which the server grants the login or not.
    pub fn outcome(self, granted: bool) -> Result<(), SaslError> {
        match self.trouble {
            Some(error) => Err(error),
            None if granted => self.finish(),
            None => Ok(()),
        }
    }

    /// The server says that the login is done: whether it may be believed. SCRAM's server has to have proven itself.
    pub fn finish(self) -> Result<(), SaslError> {
        match self.step {
            Step::Scram(_) => Err(SaslError::Imposter),
            _ => Ok(()),
        }
    }
}

/// A message as protocols write it.
pub fn encode(message: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(message))
}

/// The message in what a server wrote; `None` where it is not base64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok()
}

fn cram_md5(account: &str, password: &Secret, challenge: &[u8]) -> Zeroizing<Vec<u8>> {
    let digest = mac::<Hmac<Md5>>(password.reveal().as_bytes(), challenge);
    let mut answer = format!("{account} ");
    answer.extend(digest.iter().map(|byte| format!("{byte:02x}")));
    Zeroizing::new(answer.into_bytes())
}

/// The client's final message, and the signature that the server has to answer (RFC 5802, 3).
fn prove(
    password: &Secret,
    nonce: &str,
    bare: &str,
    challenge: &[u8],
) -> Result<(Zeroizing<Vec<u8>>, [u8; 32]), SaslError> {
    let first = std::str::from_utf8(challenge).map_err(|_| UNEXPECTED)?;
    let mut parts = first.split(',');
    // a mandatory extension (`m=`) would stand in front
    let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(UNEXPECTED);
    let (both, salt, rounds) = (part("r=")?, part("s=")?, part("i=")?);
    if both.len() <= nonce.len() || !both.starts_with(nonce) {
        return Err(UNEXPECTED);
    }
    let salt = decode(salt).ok_or(UNEXPECTED)?;
    let rounds = rounds.parse().map_err(|_| UNEXPECTED)?;
    if !(ROUNDS_LEAST..=ROUNDS_MOST).contains(&rounds) {
        return Err(SaslError::Rounds(rounds));
    }
    let final_bare = format!("c={},r={both}", STANDARD.encode(NO_BINDING));
    let signed = format!("{bare},{first},{final_bare}");
    let salted = salt_password(password, &salt, rounds);
    let client_key = Zeroizing::new(sha_mac(&*salted, b"Client Key"));
    let stored_key = Sha256::digest(client_key.as_slice());
    let mut proof = sha_mac(&stored_key, signed.as_bytes());
    proof.iter_mut().zip(client_key.iter()).for_each(|(proof, key)| *proof ^= key);
    let server_key = Zeroizing::new(sha_mac(&*salted, b"Server Key"));
    let signature = sha_mac(&*server_key, signed.as_bytes());
    let answer = format!("{final_bare},p={}", STANDARD.encode(proof));
    Ok((Zeroizing::new(answer.into_bytes()), signature))
}

/// Passwords are compared in one Unicode form (RFC 7677, 3; `SASLprep` is NFKC and a few tables).
fn salt_password(password: &Secret, salt: &[u8], rounds: u32) -> Zeroizing<[u8; 32]> {
    let password = Zeroizing::new(password.reveal().nfkc().collect::<String>());
    let mut salted = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, rounds, &mut *salted);
    salted
}

fn check_signature(challenge: &[u8], signature: &[u8; 32]) -> Result<(), SaslError> {
    let last = std::str::from_utf8(challenge).map_err(|_| UNEXPECTED)?;
    let first = last.split(',').next().unwrap_or_default();
    if let Some(word) = first.strip_prefix("e=") {
        return Err(SaslError::Refused(word.chars().filter(|c| !c.is_control()).take(WORD_LIMIT).collect()));
    }
    let proof = first.strip_prefix("v=").and_then(decode).ok_or(UNEXPECTED)?;
    if proof == signature { Ok(()) } else { Err(SaslError::Imposter) }
}

/// `saslname` (RFC 5802, 7).
fn scram_name(account: &str) -> String {
    escaped(&account.nfkc().collect::<String>())
}

fn escaped(account: &str) -> String {
    account.replace('=', "=3D").replace(',', "=2C")
}

fn sha_mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    mac::<Hmac<Sha256>>(key, text).into()
}

fn mac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> hmac::digest::Output<M> {
    match <M as KeyInit>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(text).finalize().into_bytes(),
        // HMAC takes keys of any length (RFC 2104, 2)
        Err(_) => hmac::digest::Output::<M>::default(),
    }
}

/// No channel binding, and none is known (RFC 5802, 6).
const NO_BINDING: &str = "n,,";
const UNEXPECTED: SaslError = SaslError::Unexpected("SCRAM-SHA-256");
/// RFC 7677, 4.
const ROUNDS_LEAST: u32 = 4096;
/// A second or so of one core.
const ROUNDS_MOST: u32 = 2_000_000;
const WORD_LIMIT: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(mechanism: Mechanism, account: &str, password: &str, nonce: &str) -> Exchange {
        Exchange::new(mechanism, account, &Secret::new(password), nonce)
    }

    fn text(message: &[u8]) -> &str {
        std::str::from_utf8(message).unwrap()
    }

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    #[test]
    fn scram_speaks_as_rfc_7677_does() {
        let mut scram = exchange(Mechanism::ScramSha256, "user", "pencil", NONCE);
        assert_eq!(text(&scram.initial().unwrap()), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert_eq!(
            text(&scram.answer(FIRST.as_bytes()).unwrap()),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let last = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(text(&scram.answer(last).unwrap()), "");
        assert_eq!(scram.finish(), Ok(()));
    }

    #[test]
    fn a_scram_server_that_proves_nothing_is_not_believed() {
        let proven = || {
            let mut scram = exchange(Mechanism::ScramSha256, "user", "pencil", NONCE);
            scram.answer(b"").unwrap();
            scram.answer(FIRST.as_bytes()).unwrap();
            scram
        };
        assert_eq!(proven().finish(), Err(SaslError::Imposter));
        let other = b"v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(proven().answer(other), Err(SaslError::Imposter));
        assert_eq!(proven().answer(b"e=invalid-proof"), Err(SaslError::Refused("invalid-proof".to_owned())));
        assert_eq!(proven().answer(b"hello"), Err(UNEXPECTED));
    }

    #[test]
    fn scram_takes_no_other_nonce_and_no_odd_number_of_rounds() {
        for (first, error) in [
            (FIRST.replace("rOpr", "xOpr"), UNEXPECTED),
            (format!("r={NONCE},s=AAAA,i=4096"), UNEXPECTED),
            (format!("m=x,{FIRST}"), UNEXPECTED),
            (FIRST.replace("W22Z", "****"), UNEXPECTED),
            (FIRST.replace("i=4096", "i=1"), SaslError::Rounds(1)),
            (FIRST.replace("i=4096", "i=999999999"), SaslError::Rounds(999_999_999)),
            (FIRST.replace("i=4096", "i=-1"), UNEXPECTED),
        ] {
            let mut scram = exchange(Mechanism::ScramSha256, "user", "pencil", NONCE);
            scram.initial();
            assert_eq!(scram.answer(first.as_bytes()), Err(error), "{first}");
        }
        let mut odd = exchange(Mechanism::ScramSha256, "a=b,c", "x", "n");
        assert_eq!(text(&odd.initial().unwrap()), "n,,n=a=3Db=2Cc,r=n");
    }

    #[test]
    fn cram_md5_speaks_as_rfc_2195_does() {
        let mut cram = exchange(Mechanism::CramMd5, "tim", "tanstaaftanstaaf", "");
        assert!(cram.initial().is_none());
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        assert_eq!(text(&cram.answer(challenge).unwrap()), "tim b913a602c7eda7a495b4e6e7334d3890");
        assert!(cram.answer(challenge).is_err());
        assert_eq!(cram.finish(), Ok(()));
    }

    #[test]
    fn plain_and_login_say_what_they_are_asked() {
        let mut plain = exchange(Mechanism::Plain, "tim", "été", "");
        assert_eq!(text(&plain.answer(b"").unwrap()), "\0tim\0été");
        assert!(plain.answer(b"").is_err());
        let mut login = exchange(Mechanism::Login, "tim", "été", "");
        assert!(login.initial().is_none());
        assert_eq!(text(&login.answer(b"Username:").unwrap()), "tim");
        assert_eq!(text(&login.answer(b"Password:").unwrap()), "été");
        assert!(login.answer(b"More:").is_err());
    }

    #[test]
    fn tokens_go_out_in_both_forms_and_the_reason_of_a_refusal_is_kept() {
        let token = |mechanism| exchange(mechanism, "a=b,c@x.test", "ya29.tok", "");
        let mut google = token(Mechanism::XOAuth2);
        assert_eq!(text(&google.initial().unwrap()), "user=a=b,c@x.test\x01auth=Bearer ya29.tok\x01\x01");
        let reason = r#"{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}"#;
        assert_eq!(google.reply(&encode(reason.as_bytes())).as_str(), "");
        assert_eq!(google.reason(), Some(reason));
        assert_eq!(google.reply("").as_str(), "*", "nothing more is said");
        let mut bearer = token(Mechanism::OAuthBearer);
        // two steps: the server asks with an empty challenge
        let first = decode(&bearer.reply("")).unwrap();
        assert_eq!(text(&first), "n,a=a=3Db=2Cc@x.test,\x01auth=Bearer ya29.tok\x01\x01");
        assert_eq!(bearer.reason(), None);
        assert_eq!(bearer.reply(r#"{"status":"invalid_token"}"#).as_str(), "AQ==", "also without base64");
        assert_eq!(bearer.reason(), Some(r#"{"status":"invalid_token"}"#));
        assert_eq!(bearer.outcome(false), Ok(()), "the server's refusal follows");
        assert!(!Mechanism::ALL.iter().any(|mechanism| mechanism.takes_token()));
    }

    #[test]
    fn the_strongest_mechanism_of_both_sides_is_taken() {
        assert_eq!(Mechanism::strongest(["plain", "X", "cram-md5"]), Some(Mechanism::CramMd5));
        assert_eq!(Mechanism::strongest(Mechanism::ALL.map(Mechanism::name)), Some(Mechanism::ScramSha256));
        assert_eq!(Mechanism::strongest(["GSSAPI"]), None);
    }

    #[test]
    fn nothing_of_the_password_is_shown() {
        let exchange = exchange(Mechanism::Plain, "tim", "hunter2", "");
        assert!(!format!("{exchange:?}").contains("hunter2"));
    }
}
