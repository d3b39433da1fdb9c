//! Every number of the table, as Microsoft sends it: what comes next, the contract's code, and the advice in both languages.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::advice::Words;
use super::super::refusal::{Next, Refusal};
use super::*;
use crate::model::{Code, ServiceName};

const GRANT: &str = "invalid_grant";
const CLIENT: &str = "invalid_client";
const REQUEST: &str = "invalid_request";
const UNKNOWN: &str = "unauthorized_client";
const SCOPE: &str = "invalid_scope";
const BUSY: &str = "temporarily_unavailable";

/// The number, `error`, `suberror`; the code; a part of the advice in English, in French.
type Row = (u32, &'static str, &'static str, Code, &'static str, &'static str);

const ROWS: &[Row] = &[
    (
        65001,
        GRANT,
        "consent_required",
        Code::Credentials,
        "consent is required: a Global Administrator opens https://login.test/contoso.fr/adminconsent?client_id=app and accepts, then `pertuis login factures`",
        "accord de l'administrateur requis : un administrateur général ouvre https://login.test/contoso.fr/adminconsent?client_id=app et accepte, puis `pertuis login factures`",
    ),
    (
        90094,
        GRANT,
        "consent_required",
        Code::Credentials,
        "adminconsent?client_id=app",
        "accord de l'administrateur requis",
    ),
    (
        90095,
        "interaction_required",
        "",
        Code::Credentials,
        "adminconsent?client_id=app",
        "accord de l'administrateur requis",
    ),
    (
        65004,
        "access_denied",
        "",
        Code::Credentials,
        "declined the permissions: sign in again",
        "a refusé les autorisations : recommencer",
    ),
    (650_052, UNKNOWN, "", Code::Config, "has not enabled the service", "n'a pas activé le service demandé"),
    (650_056, REQUEST, "", Code::Config, "app lacks what is asked for", "app n'a pas ce qui est demandé"),
    (650_057, "invalid_resource", "", Code::Config, "API permissions > add", "API autorisées > ajouter"),
    (
        7_000_218,
        CLIENT,
        "",
        Code::Credentials,
        "\"Allow public client flows\" = Yes",
        "« Autoriser les flux clients publics » = Oui",
    ),
    (700_025, CLIENT, "", Code::Credentials, "remove `client_secret`", "retirer `client_secret`"),
    (
        7_000_215,
        CLIENT,
        "",
        Code::Credentials,
        "the secret is wrong: create a new one",
        "le secret est faux : en créer un nouveau",
    ),
    (
        7_000_222,
        CLIENT,
        "",
        Code::Credentials,
        "the secret has expired: create a new one",
        "le secret a expiré : en créer un nouveau",
    ),
    (
        700_027,
        CLIENT,
        "",
        Code::Credentials,
        "the certificate of `cert` is not the one",
        "le certificat de `cert` n'est pas celui",
    ),
    (700_024, CLIENT, "", Code::Credentials, "set the clock of this machine", "mettre cette machine à l'heure"),
    (50013, GRANT, "", Code::Credentials, "set the clock of this machine", "mettre cette machine à l'heure"),
    (
        700_016,
        UNKNOWN,
        "",
        Code::Config,
        "the directory contoso.fr knows no application app",
        "l'annuaire contoso.fr ne connaît pas l'application app",
    ),
    (90002, REQUEST, "", Code::Config, "there is no directory contoso.fr", "il n'y a pas d'annuaire contoso.fr"),
    (50194, REQUEST, "", Code::Config, "is for one directory alone", "ne vaut que pour un annuaire"),
    (
        50020,
        GRANT,
        "",
        Code::Credentials,
        "the account is not of the directory contoso.fr",
        "le compte n'est pas de l'annuaire contoso.fr",
    ),
    (50034, GRANT, "", Code::Credentials, "knows no such account", "ne connaît pas ce compte"),
    (
        50076,
        GRANT,
        "basic_action",
        Code::Credentials,
        "multi-factor authentication): sign in again with a new code: `pertuis",
        "multifacteur) : se reconnecter avec un nouveau code : `pertuis",
    ),
    (
        50079,
        "interaction_required",
        "basic_action",
        Code::Credentials,
        "enrolled for multi-factor",
        "inscrit à l'authentification multifacteur",
    ),
    (
        50072,
        "interaction_required",
        "",
        Code::Credentials,
        "enrolled for multi-factor",
        "inscrit à l'authentification multifacteur",
    ),
    (
        50074,
        "interaction_required",
        "",
        Code::Credentials,
        "sign in again with a new code",
        "se reconnecter avec un nouveau code",
    ),
    (50078, GRANT, "", Code::Credentials, "sign in again with a new code", "se reconnecter avec un nouveau code"),
    (
        53003,
        GRANT,
        "message_only",
        Code::Credentials,
        "very often by the policy \"Block device code flow\"",
        "très souvent par la stratégie « Bloquer le flux de code d'appareil »",
    ),
    (
        50199,
        "access_denied",
        "",
        Code::Credentials,
        "let the application work for itself (`cert`)",
        "faire travailler l'application pour elle-même (`cert`)",
    ),
    (50097, "interaction_required", "", Code::Credentials, "wants a managed device", "exige un appareil géré"),
    (53000, "interaction_required", "", Code::Credentials, "wants a managed device", "exige un appareil géré"),
    (53001, "interaction_required", "", Code::Credentials, "wants a managed device", "exige un appareil géré"),
    (530_035, "access_denied", "", Code::Credentials, "the security defaults", "les paramètres de sécurité par défaut"),
    (
        70043,
        GRANT,
        "token_expired",
        Code::Credentials,
        "(sign-in frequency): `pertuis login factures`",
        "(fréquence de connexion) : `pertuis login factures`",
    ),
    (
        700_082,
        GRANT,
        "bad_token",
        Code::Credentials,
        "not used for 90 days and has expired: `pertuis login factures`",
        "pas servi pendant 90 jours et a expiré : se reconnecter : `pertuis login factures`",
    ),
    (70008, GRANT, "", Code::Credentials, "not used for 90 days", "pas servi pendant 90 jours"),
    (
        50173,
        GRANT,
        "bad_token",
        Code::Credentials,
        "was revoked, or the password was reset: `pertuis",
        "a été révoquée, ou le mot de passe réinitialisé : se reconnecter : `pertuis",
    ),
    (50057, GRANT, "", Code::Credentials, "the account is disabled", "le compte est désactivé"),
    (50053, GRANT, "", Code::Credentials, "the account is locked", "le compte est verrouillé"),
    (
        50055,
        GRANT,
        "",
        Code::Credentials,
        "password has expired: change it",
        "mot de passe du compte a expiré : le changer",
    ),
    (50105, GRANT, "", Code::Credentials, "not assigned to the application", "n'est pas affecté à l'application"),
    (50196, GRANT, "", Code::Credentials, "asked for too often", "demandés trop souvent"),
    (
        90055,
        BUSY,
        "",
        Code::Throttled,
        "disturbed or overloaded; it will be tried again",
        "perturbé ou surchargé ; de nouveaux essais suivront",
    ),
    (90024, BUSY, "", Code::Throttled, "it will be tried again", "de nouveaux essais suivront"),
    (90033, BUSY, "", Code::Throttled, "it will be tried again", "de nouveaux essais suivront"),
    (50033, "server_error", "", Code::Connect, "it will be tried again", "de nouveaux essais suivront"),
    (
        70018,
        "bad_verification_code",
        "",
        Code::Credentials,
        "ask for a new one: `pertuis login factures`",
        "en demander un nouveau : `pertuis login factures`",
    ),
    (70019, "expired_token", "", Code::Credentials, "ask for a new one", "en demander un nouveau"),
    (70020, "expired_token", "", Code::Credentials, "ask for a new one", "en demander un nouveau"),
    (70011, SCOPE, "", Code::Config, "check `cloud`", "vérifier `cloud`"),
    (700_022, SCOPE, "", Code::Config, "check `cloud`", "vérifier `cloud`"),
    (
        9_001_023,
        REQUEST,
        "",
        Code::Config,
        "put its ID into `tenant`, not contoso.fr",
        "mettre son ID dans `tenant`, et non contoso.fr",
    ),
];

fn words() -> Words {
    Words {
        provider: "Microsoft",
        person: true,
        login: "`pertuis login factures`".to_owned(),
        consent: "https://login.test/contoso.fr/adminconsent?client_id=app".to_owned(),
        tenant: "contoso.fr".to_owned(),
        client: "app".to_owned(),
    }
}

#[test]
fn each_number_has_its_advice_in_both_languages_and_the_word_alone_decides() {
    for (number, error, suberror, code, en, fr) in ROWS {
        let said =
            format!("AADSTS{number}: Some words.\r\nTrace ID: t-1\r\nCorrelation ID: c-1\r\nTimestamp: 2026-11-24");
        let answer = json!({
            "error": error, "error_description": said, "error_codes": [number], "timestamp": "2026-11-24 04:00:00Z",
            "trace_id": "t-1", "correlation_id": "c-1", "suberror": suberror,
        });
        let refusal = Refusal::said(&answer, &words(), &[]).unwrap();
        let later = [BUSY, "server_error"].contains(error);
        let next = if later { Next::Later(None) } else { Next::SignIn };
        assert_eq!((refusal.fault.code, refusal.next, refusal.aadsts), (*code, next, Some(*number)), "{number}");
        assert_eq!(refusal.error, *error);
        let label = format!("({error}, AADSTS{number})");
        let text = &refusal.fault.text;
        assert!(text.en.starts_with(&format!("Microsoft refuses {label}: ")) && text.en.contains(en), "{}", text.en);
        assert!(text.fr.starts_with(&format!("Microsoft refuse {label} : ")) && text.fr.contains(fr), "{}", text.fr);
        assert!(!text.en.contains(['{', '}', '\n']) && !text.fr.contains(['{', '}', '\n']), "{}", text.fr);
        let event = refusal.event(&ServiceName::new("factures")).text;
        for part in
            [page(*number).as_str(), "trace_id t-1", "correlation_id c-1", "Some words.", "2026-11-24 04:00:00Z"]
        {
            assert!(event.en.contains(part) && event.fr.contains(part), "{part}: {}", event.fr);
        }
        // the same number with another word: the word decides, the advice stays
        let pending = json!({"error": "authorization_pending", "error_codes": [number]});
        let refusal = Refusal::said(&pending, &words(), &[]).unwrap();
        assert!(refusal.next == Next::Wait && refusal.fault.text.en.contains(en), "{number}");
        // the number in the text alone
        let written = json!({"error": error, "error_description": said});
        assert_eq!(Refusal::said(&written, &words(), &[]).unwrap().aadsts, Some(*number));
    }
}

#[test]
fn every_number_of_the_table_is_tried_and_stands_there_once() {
    let tried: BTreeSet<u32> = ROWS.iter().map(|row| row.0).collect();
    let listed: Vec<u32> = TABLE.iter().flat_map(|(codes, _)| codes.iter().copied()).collect();
    assert_eq!(tried, listed.iter().copied().collect());
    assert_eq!((tried.len(), listed.len()), (ROWS.len(), ROWS.len()));
    assert!(advice(70016).is_none());
}

#[test]
fn french_advice_is_french() {
    for (codes, advice) in TABLE {
        assert_ne!(advice.en, advice.fr);
        for (at, _) in advice.fr.match_indices([':', ';', '?', '!']) {
            // but in addresses
            let (before, after) = (&advice.fr[..at], &advice.fr[at + 1..]);
            assert!(before.ends_with(' ') || after.starts_with("//") || before.contains("http"), "{codes:?}: {before}");
        }
    }
}
