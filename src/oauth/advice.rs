//! What to do about a refusal: sentences with holes, and those for the words of the standard.
//!
//! Not the numbers of Microsoft ([`super::aadsts`]), which come first where they are known. A word says less, so each
//! provider has its own sentence for it.

use crate::config::oauth::Provider;
use crate::text::Text;

/// A sentence with holes, in both languages.
#[derive(Clone, Copy, Debug)]
pub struct Advice {
    /// English.
    pub en: &'static str,
    /// French.
    pub fr: &'static str,
}

/// What goes into the holes.
#[derive(Clone, Debug)]
pub struct Words {
    /// Who refuses: `Microsoft`, `Google`.
    pub provider: &'static str,
    /// Whether a person signs in; else the program itself does.
    pub person: bool,
    /// `{login}`: the command that signs the launcher in.
    pub login: String,
    /// `{consent}`: the page on which an administrator consents for everybody.
    pub consent: String,
    /// `{tenant}`: the directory that was asked.
    pub tenant: String,
    /// `{client}`: the application.
    pub client: String,
}

impl Advice {
    /// The sentence with its holes filled, without a full stop.
    pub fn text(&self, words: &Words) -> Text {
        let fill = |sentence: &str| {
            let holes = [
                ("{login}", &words.login),
                ("{consent}", &words.consent),
                ("{tenant}", &words.tenant),
                ("{client}", &words.client),
            ];
            holes.iter().fold(sentence.to_owned(), |text, (hole, word)| text.replace(hole, word))
        };
        Text { en: fill(self.en).into(), fr: fill(self.fr).into() }
    }
}

/// The advice for a word of the standard; `None` where only what the server says helps.
pub(super) fn by_word(error: &str, words: &Words) -> Option<&'static Advice> {
    let fits = |row: &&Row| row.error == error && row.provider.is_none_or(|one| name(one) == words.provider);
    let mut rows = BY_WORD.iter().filter(fits).filter(|row| row.person.is_none_or(|person| person == words.person));
    rows.next().map(|row| &row.advice)
}

/// As people call it.
pub(super) fn name(provider: Provider) -> &'static str {
    match provider {
        Provider::Microsoft => "Microsoft",
        Provider::Google => "Google",
    }
}

/// A row: the word, whose, and whether for a person or for a program; the first one that fits counts.
struct Row {
    error: &'static str,
    provider: Option<Provider>,
    person: Option<bool>,
    advice: Advice,
}

const BY_WORD: &[Row] = &[
    Row {
        error: "authorization_pending",
        provider: None,
        person: None,
        advice: Advice { en: "nobody has signed in yet", fr: "personne ne s'est encore connecté" },
    },
    Row {
        error: "slow_down",
        provider: None,
        person: None,
        advice: Advice { en: "it wants to be asked less often", fr: "il veut être interrogé moins souvent" },
    },
    Row { error: "authorization_declined", provider: None, person: None, advice: DECLINED },
    Row { error: "access_denied", provider: None, person: Some(true), advice: DECLINED },
    Row { error: "expired_token", provider: None, person: None, advice: EXPIRED },
    Row { error: "bad_verification_code", provider: None, person: None, advice: EXPIRED },
    Row {
        error: "admin_policy_enforced",
        provider: Some(Provider::Google),
        person: None,
        advice: Advice {
            en: "an administrator of Google Workspace must allow the application: Security > API controls > App access \
                 control > {client}",
            fr: "un administrateur Google Workspace doit autoriser l'application : Sécurité > Commandes des API > Contrôle \
                 de l'accès des applications > {client}",
        },
    },
    Row {
        error: "invalid_grant",
        provider: Some(Provider::Google),
        person: Some(true),
        advice: Advice {
            en: "the sign-in is no longer good: revoked, password changed, unused for six months, or seven days old while \
                 the consent screen is in \"Testing\": {login}",
            fr: "la connexion n'est plus valable : révoquée, mot de passe changé, inutilisée depuis six mois, ou vieille de \
                 sept jours quand l'écran de consentement est « En test » : se reconnecter : {login}",
        },
    },
    Row {
        error: "invalid_grant",
        provider: Some(Provider::Google),
        person: Some(false),
        advice: Advice {
            en: "check that `account` is a user of the Workspace domain, that the key of `service_account` was not deleted, \
                 and the clock of this machine",
            fr: "vérifier que `account` est un utilisateur du domaine Workspace, que la clé de `service_account` n'a pas été \
                 supprimée, et l'heure de cette machine",
        },
    },
    Row {
        error: "unauthorized_client",
        provider: Some(Provider::Google),
        person: Some(false),
        advice: Advice {
            en: "the service account may not act for users yet: Admin console > Security > API controls > Domain-wide \
                 delegation > add its client ID with the scope https://mail.google.com/",
            fr: "le compte de service ne peut pas encore agir pour des utilisateurs : console d'administration > Sécurité > \
                 Commandes des API > Délégation au niveau du domaine > ajouter son ID client avec le champ d'application \
                 https://mail.google.com/",
        },
    },
    Row {
        error: "invalid_client",
        provider: Some(Provider::Google),
        person: Some(true),
        advice: Advice {
            en: "check `client_id` and `client_secret`: both come from one client of the type \"Desktop app\"",
            fr: "vérifier `client_id` et `client_secret` : tous deux viennent d'un même client du type « Application de \
                 bureau »",
        },
    },
    Row {
        error: "invalid_grant",
        provider: None,
        person: Some(true),
        advice: Advice { en: "sign in again: {login}", fr: "se reconnecter : {login}" },
    },
    Row {
        error: "interaction_required",
        provider: None,
        person: None,
        advice: Advice {
            en: "it wants to see a person: {login}; without one, let the application work for itself (`cert`)",
            fr: "une personne est exigée : se reconnecter : {login} ; sans elle, faire travailler l'application pour \
                 elle-même (`cert`)",
        },
    },
    Row {
        error: "temporarily_unavailable",
        provider: None,
        person: None,
        advice: Advice { en: "it will be tried again", fr: "de nouveaux essais suivront" },
    },
    Row {
        error: "server_error",
        provider: None,
        person: None,
        advice: Advice { en: "it will be tried again", fr: "de nouveaux essais suivront" },
    },
];

const DECLINED: Advice = Advice {
    en: "the person at the browser declined: sign in again and accept: {login}",
    fr: "la personne devant le navigateur a refusé : recommencer et accepter : {login}",
};

const EXPIRED: Advice = Advice {
    en: "the code is not good, or no longer; ask for a new one: {login}",
    fr: "le code n'est pas bon, ou ne l'est plus ; en demander un nouveau : {login}",
};
