//! What is demanded of the other side's certificate, from the options that speak of it.
//!
//! Not the verification itself (`tls::verify`). Verification is on: a client-mode tunnel and every launcher check
//! chain and name unless the file says otherwise, and whatever weakens that is a warning or a mistake, never silent.
//! With `defaults = stunnel` tunnels follow stunnel's own rules and its own mistakes.

use super::global::Defaults;
use super::section::{Options, Report};
use super::{Check, Place, Store, Trust, value};
use crate::text;
use crate::text::Text;

/// Reads the trust of a section. `client`: we connect to a server (client-mode tunnels, launchers).
pub(super) fn build(options: &Options, client: bool, defaults: Defaults, report: &mut Report) -> Trust {
    let asked = Asked::read(options, client, defaults);
    let mut trust = Trust {
        check: Check::Off,
        ca_file: options.get("CAfile", value::path),
        ca_path: options.get("CApath", value::path),
        ca_store: options.get("CAstore", store),
        crl_file: options.get("CRLfile", value::path),
        crl_path: options.get("CRLpath", value::path),
        pins: options.list("pin", value::pin),
        check_host: options.list("checkHost", value::some),
        check_email: options.list("checkEmail", value::some),
        check_ip: options.list("checkIP", value::ip),
        dialled_name: false,
        require: !client && (asked.require || options.yes("requireCert", false)),
        probe: false,
        old_leaves: defaults == Defaults::Stunnel,
    };
    trust.check = asked.check(&trust, client, defaults);
    trust.require |= !client && !trust.pins.is_empty();
    trust.probe = client && defaults == Defaults::Stunnel && trust.check == Check::Off && asked.is_nothing();
    let named = trust.check == Check::Chain && defaults == Defaults::Pertuis;
    trust.dialled_name = client && no_lists(&trust) && (named || trust.probe);
    complain(options, &trust, &asked, client, defaults, report);
    trust
}

/// `CAstore`, of `OSSL_STORE`'s many kinds (`ossl_store(7)`) the two that mean something without OpenSSL.
///
/// # Errors
/// Another kind.
pub(super) fn store(value: &str) -> Result<Store, Text> {
    let (scheme, rest) = match value.split_once(':') {
        // one letter is a drive of Windows
        Some((scheme, rest)) if scheme.len() > 1 && !scheme.contains(['/', '\\']) => (scheme, rest),
        _ => ("file", value),
    };
    let path = rest.strip_prefix("//localhost").or_else(|| rest.strip_prefix("//")).unwrap_or(rest);
    match scheme.to_ascii_lowercase().as_str() {
        "file" if !path.is_empty() => Ok(Store::File(path.into())),
        "org.openssl.winstore" => Ok(Store::System),
        _ => Err(text!(
            "{value:?}: only file:PATH and org.openssl.winstore: (the system's authorities) can be read; export the \
             certificates and name them in CAfile or CApath (see docs/tls.md)",
            "{value:?} : seuls file:CHEMIN et org.openssl.winstore: (les autorités du système) peuvent être lus ; \
             exportez les certificats et indiquez-les dans CAfile ou CApath (voir docs/tls.fr.md)"
        )),
    }
}

/// What `verify`, `verifyChain` and `verifyPeer` ask for; later ones change earlier ones, as in stunnel.
#[derive(Default)]
struct Asked {
    chain: Option<bool>,
    peer: Option<bool>,
    require: bool,
    /// The last option that spoke of it.
    place: Option<Place>,
}

impl Asked {
    fn read(options: &Options, client: bool, defaults: Defaults) -> Self {
        let mut asked = Self::default();
        for entry in options.good() {
            match entry.row.name {
                "verify" => asked.level(&entry.value, client, defaults),
                "verifyChain" => asked.chain = value::yes_no(&entry.value).ok(),
                "verifyPeer" => asked.peer = value::yes_no(&entry.value).ok(),
                _ => continue,
            }
            asked.require |= entry.row.name != "verify" && value::yes_no(&entry.value) == Ok(true);
            asked.place = Some(entry.place.clone());
        }
        asked
    }

    /// The levels of `verify`. A client of ours takes 1 as 0: "verify if there is a certificate" never meant more
    /// than a warning in the files that have it.
    fn level(&mut self, level: &str, client: bool, defaults: Defaults) {
        let weak = client && defaults == Defaults::Pertuis;
        let (chain, peer, require) = match level {
            "1" if !weak => (true, false, false),
            "2" => (true, false, true),
            "3" => (true, true, true),
            "4" => (false, true, true),
            _ => (false, false, false),
        };
        *self = Self { chain: Some(chain), peer: Some(peer), require, place: None };
    }

    fn is_nothing(&self) -> bool {
        self.chain.is_none() && self.peer.is_none()
    }

    fn check(&self, trust: &Trust, client: bool, defaults: Defaults) -> Check {
        let peer = self.peer == Some(true);
        if !trust.pins.is_empty() && !peer {
            return Check::Pinned;
        }
        let by_default = client && defaults == Defaults::Pertuis && !peer;
        match (self.chain.unwrap_or(by_default), peer) {
            (true, true) => Check::ChainAndPinned,
            (true, false) => Check::Chain,
            (false, true) => Check::Pinned,
            (false, false) => Check::Off,
        }
    }
}

fn no_lists(trust: &Trust) -> bool {
    trust.check_host.is_empty() && trust.check_email.is_empty() && trust.check_ip.is_empty()
}

fn complain(options: &Options, trust: &Trust, asked: &Asked, client: bool, defaults: Defaults, report: &mut Report) {
    let place = asked.place.clone().unwrap_or_else(|| options.place.clone());
    let given = |name| options.has(name) && options.text(name) != Some("");
    let system = trust.ca_store == Some(Store::System);
    let no_file = !given("CAfile") && !given("CApath") && (!given("CAstore") || system);
    let no_ca = no_file && !(system && client);
    let pinned = matches!(trust.check, Check::Pinned | Check::ChainAndPinned);
    let chain = matches!(trust.check, Check::Chain | Check::ChainAndPinned);
    let strict = !client || defaults == Defaults::Stunnel;
    let unpinned = no_file && pinned && !options.has("pin");
    if unpinned || (no_ca && chain && strict) {
        report.mistake(&place, needs_ca(pinned, client));
    }
    let lists = ["CRLfile", "CRLpath"].into_iter().find(|name| given(name)).map(|name| options.place_of(name));
    match lists {
        Some(at) if trust.check == Check::Off => report.warning(at, lists_without_verification()),
        Some(at) if no_file => report.mistake(at, lists_without_ca()),
        _ => {}
    }
    if trust.check == Check::Off && !no_lists(trust) {
        let name = ["checkHost", "checkEmail", "checkIP"].into_iter().find(|name| options.has(name));
        report.mistake(options.place_of(name.unwrap_or("checkHost")), needs_verification());
    }
    if client && trust.check == Check::Off && !trust.probe && no_lists(trust) {
        report.warning(&place, unverified());
    }
    if client && defaults == Defaults::Stunnel && trust.check == Check::Chain && no_lists(trust) {
        report.warning(&place, without_name());
    }
    if trust.check == Check::Pinned && !trust.pins.is_empty() && asked.chain == Some(true) {
        report.warning(options.place_of("pin"), pin_replaces());
    }
}

fn needs_ca(pinned: bool, client: bool) -> Text {
    let (en, fr) = match (pinned, client) {
        (true, true) => {
            ("the file of the server's certificate, or `pin =`", "le fichier du certificat du serveur, ou `pin =`")
        }
        (false, true) => (
            "CAfile = /etc/ssl/certs/ca-certificates.crt is the usual one",
            "CAfile = /etc/ssl/certs/ca-certificates.crt est le plus courant",
        ),
        (_, false) => {
            ("the authority that issues the clients' certificates", "l'autorité qui émet les certificats des clients")
        }
    };
    text!(
        "Either \"CAengine\", \"CAfile\", \"CApath\" or \"CAstore\" has to be configured: {en}",
        "il faut CAfile ou CApath : {fr}"
    )
}

fn lists_without_verification() -> Text {
    text!(
        "revocation lists have no effect without verifyChain or verifyPeer: every certificate is accepted",
        "les listes de révocation sont sans effet sans verifyChain ou verifyPeer : tout certificat est accepté"
    )
}

/// The issuer's key proves the list; the system's verification has no room for lists of ours.
fn lists_without_ca() -> Text {
    text!(
        "revocation lists need the CA that signs them: name its certificate in CAfile or CApath",
        "les listes de révocation demandent l'autorité qui les signe : indiquez son certificat dans CAfile ou CApath"
    )
}

fn needs_verification() -> Text {
    text!(
        "Either \"verifyChain\" or \"verifyPeer\" has to be enabled: without them nobody looks at the name",
        "il faut verifyChain ou verifyPeer : sans eux personne ne regarde le nom"
    )
}

fn unverified() -> Text {
    text!(
        "the server's certificate is not verified: whoever stands in between can read and change everything",
        "le certificat du serveur n'est pas vérifié : un intermédiaire peut tout lire et tout modifier"
    )
}

fn without_name() -> Text {
    text!(
        "the chain is verified without the name: any certificate of these authorities is accepted; add checkHost",
        "la chaîne est vérifiée sans le nom : tout certificat de ces autorités est accepté ; ajouter checkHost"
    )
}

fn pin_replaces() -> Text {
    text!(
        "pin replaces the verification of the chain: verifyChain adds nothing to it",
        "pin remplace la vérification de la chaîne : verifyChain n'y ajoute rien"
    )
}
