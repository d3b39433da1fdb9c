//! What Microsoft's numbers mean (AADSTS…), and what an administrator does about each.
//!
//! Data, not behaviour: a number picks a sentence and nothing else. Microsoft renumbers, so its own page says never to decide
//! by them, and nothing here does. Source: the page "Microsoft Entra authentication and authorization error codes".

use super::advice::Advice;

/// The advice for a number; `None` for one that we do not know.
pub fn advice(code: u32) -> Option<&'static Advice> {
    TABLE.iter().find(|(codes, _)| codes.contains(&code)).map(|(_, advice)| advice)
}

/// Microsoft's own page about a number.
pub fn page(code: u32) -> String {
    format!("https://login.microsoftonline.com/error?code={code}")
}

/// One row for each thing to do.
pub const TABLE: &[(&[u32], Advice)] = &[
    (
        &[65001, 90094, 90095],
        Advice {
            en: "an administrator's consent is required: a Global Administrator opens {consent} and accepts, then {login}",
            fr: "accord de l'administrateur requis : un administrateur général ouvre {consent} et accepte, puis {login}",
        },
    ),
    (
        &[65004],
        Advice {
            en: "the person who signed in declined the permissions: sign in again and accept them: {login}",
            fr: "la personne qui s'est connectée a refusé les autorisations : recommencer et les accepter : {login}",
        },
    ),
    (
        &[650_052],
        Advice {
            en: "the organisation has not enabled the service that is asked for (Exchange Online, Microsoft Graph): check its \
             licences, and add the API permissions to the app registration {client}",
            fr: "l'organisation n'a pas activé le service demandé (Exchange Online, Microsoft Graph) : vérifier ses licences, et \
             ajouter les autorisations d'API à l'inscription d'application {client}",
        },
    ),
    (
        &[650_056, 650_057],
        Advice {
            en: "the app registration {client} lacks what is asked for: App registrations > API permissions > add the mail \
             permissions, then have them consented: {consent}",
            fr: "l'inscription d'application {client} n'a pas ce qui est demandé : Inscriptions d'applications > API \
                 autorisées > ajouter les autorisations de messagerie, puis les faire accorder : {consent}",
        },
    ),
    (
        &[7_000_218],
        Advice {
            en: "the app registration {client} is not a public client: App registrations > Authentication > \"Allow public \
             client flows\" = Yes, with the platform \"Mobile and desktop applications\" and not \"Web\" alone; or give \
             `client_secret` or `cert` to run without a person",
            fr: "l'inscription d'application {client} n'est pas un client public : Inscriptions d'applications > \
             Authentification > « Autoriser les flux clients publics » = Oui, avec la plateforme « Applications mobiles et \
             de bureau » et pas seulement « Web » ; ou bien donner `client_secret` ou `cert` pour se passer d'une personne",
        },
    ),
    (
        &[700_025],
        Advice {
            en: "the app registration {client} is a public client, but a secret was sent: remove `client_secret`",
            fr: "l'inscription d'application {client} est un client public, or un secret a été envoyé : retirer `client_secret`",
        },
    ),
    (
        &[7_000_215],
        Advice {
            en: "the secret is wrong: create a new one (App registrations > Certificates & secrets) and put its *value* into \
             `client_secret`, not its *ID*",
            fr: "le secret est faux : en créer un nouveau (Inscriptions d'applications > Certificats et secrets) et mettre sa \
             *valeur* dans `client_secret`, pas son *ID*",
        },
    ),
    (
        &[7_000_222],
        Advice {
            en: "the secret has expired: create a new one (App registrations > Certificates & secrets) and put its *value* into \
             `client_secret`; a certificate lasts longer",
            fr: "le secret a expiré : en créer un nouveau (Inscriptions d'applications > Certificats et secrets) et mettre sa \
             *valeur* dans `client_secret` ; un certificat dure plus longtemps",
        },
    ),
    (
        &[700_027],
        Advice {
            en: "the certificate of `cert` is not the one of the app registration {client}, or has expired: upload it there \
             (Certificates & secrets > Certificates); check the clock of this machine too",
            fr: "le certificat de `cert` n'est pas celui de l'inscription d'application {client}, ou a expiré : l'y déposer \
             (Certificats et secrets > Certificats) ; vérifier aussi l'heure de cette machine",
        },
    ),
    (
        &[700_024, 50013],
        Advice {
            en: "the signed request is out of its time or its certificate is another one: set the clock of this machine (NTP), \
             and check that `cert` was uploaded to the app registration {client}",
            fr: "la demande signée est hors délai, ou son certificat est un autre : mettre cette machine à l'heure (NTP), et \
             vérifier que `cert` a été déposé dans l'inscription d'application {client}",
        },
    ),
    (
        &[700_016],
        Advice {
            en: "the directory {tenant} knows no application {client}: check `client_id` (Application (client) ID of the \
             registration's overview page) and `tenant`",
            fr: "l'annuaire {tenant} ne connaît pas l'application {client} : vérifier `client_id` (ID d'application (client) de \
             la page Vue d'ensemble de l'inscription) et `tenant`",
        },
    ),
    (
        &[90002],
        Advice {
            en: "there is no directory {tenant}: check `tenant` (Directory (tenant) ID, or a domain of the organisation) and \
             `cloud`",
            fr: "il n'y a pas d'annuaire {tenant} : vérifier `tenant` (ID de l'annuaire (locataire), ou un domaine de \
             l'organisation) et `cloud`",
        },
    ),
    (
        &[50194],
        Advice {
            en: "the app registration {client} is for one directory alone: put that directory's ID into `tenant`",
            fr: "l'inscription d'application {client} ne vaut que pour un annuaire : mettre l'ID de cet annuaire dans `tenant`",
        },
    ),
    (
        &[50020],
        Advice {
            en: "the account is not of the directory {tenant}: sign in with one that is, or correct `tenant`",
            fr: "le compte n'est pas de l'annuaire {tenant} : se connecter avec un compte qui en est, ou corriger `tenant`",
        },
    ),
    (
        &[50034],
        Advice {
            en: "the directory {tenant} knows no such account: check its spelling, and `tenant`",
            fr: "l'annuaire {tenant} ne connaît pas ce compte : vérifier son orthographe, et `tenant`",
        },
    ),
    (
        &[50076, 50074, 50078],
        Advice {
            en: "another proof of identity is required (multi-factor authentication): sign in again with a new code: {login}",
            fr: "une autre preuve d'identité est demandée (authentification multifacteur) : se reconnecter avec un nouveau \
             code : {login}",
        },
    ),
    (
        &[50079, 50072],
        Advice {
            en: "the account must first be enrolled for multi-factor authentication: do that at https://aka.ms/mfasetup, then \
             {login}",
            fr: "le compte doit d'abord être inscrit à l'authentification multifacteur : le faire sur https://aka.ms/mfasetup, \
             puis {login}",
        },
    ),
    (
        &[53003, 50199],
        Advice {
            en: "Conditional Access blocks this sign-in, very often by the policy \"Block device code flow\": exclude this account \
             or application from the policy, or let the application work for itself (`cert`): see docs/microsoft365.md",
            fr: "l'accès conditionnel bloque cette connexion, très souvent par la stratégie « Bloquer le flux de code \
             d'appareil » : exclure ce compte ou cette application de la stratégie, ou faire travailler l'application pour \
             elle-même (`cert`) : voir docs/microsoft365.fr.md",
        },
    ),
    (
        &[50097, 53000, 53001],
        Advice {
            en: "Conditional Access wants a managed device, which a device code cannot prove: exclude this account or application \
             from the policy, or let the application work for itself (`cert`): see docs/microsoft365.md",
            fr: "l'accès conditionnel exige un appareil géré, ce qu'un code d'appareil ne peut prouver : exclure ce compte ou \
             cette application de la stratégie, ou faire travailler l'application pour elle-même (`cert`) : voir \
             docs/microsoft365.fr.md",
        },
    ),
    (
        &[530_035],
        Advice {
            en: "the security defaults of the directory block this sign-in: let the application work for itself (`cert`), or \
             replace the security defaults by Conditional Access policies",
            fr: "les paramètres de sécurité par défaut de l'annuaire bloquent cette connexion : faire travailler l'application \
             pour elle-même (`cert`), ou remplacer ces paramètres par des stratégies d'accès conditionnel",
        },
    ),
    (
        &[70043],
        Advice {
            en: "a Conditional Access policy wants people to sign in again and again (sign-in frequency): {login}; for good, \
             exclude the account from it or let the application work for itself (`cert`)",
            fr: "une stratégie d'accès conditionnel exige de se reconnecter régulièrement (fréquence de connexion) : {login} ; \
             durablement, en exclure le compte ou faire travailler l'application pour elle-même (`cert`)",
        },
    ),
    (
        &[700_082, 70008],
        Advice {
            en: "the sign-in was not used for 90 days and has expired: {login}",
            fr: "la connexion n'a pas servi pendant 90 jours et a expiré : se reconnecter : {login}",
        },
    ),
    (
        &[50173],
        Advice {
            en: "the sign-in was revoked, or the password was reset: {login}",
            fr: "la connexion a été révoquée, ou le mot de passe réinitialisé : se reconnecter : {login}",
        },
    ),
    (
        &[50057],
        Advice {
            en: "the account is disabled: have an administrator enable it",
            fr: "le compte est désactivé : le faire activer par un administrateur",
        },
    ),
    (
        &[50053],
        Advice {
            en: "the account is locked after too many wrong passwords, or this address is held for dangerous: wait, or have an \
             administrator unlock it",
            fr: "le compte est verrouillé après trop de mots de passe faux, ou cette adresse est jugée dangereuse : attendre, ou \
             le faire déverrouiller par un administrateur",
        },
    ),
    (
        &[50055],
        Advice {
            en: "the account's password has expired: change it, then {login}",
            fr: "le mot de passe du compte a expiré : le changer, puis {login}",
        },
    ),
    (
        &[50105],
        Advice {
            en: "the account is not assigned to the application: Enterprise applications > {client} > Users and groups > add it",
            fr: "le compte n'est pas affecté à l'application : Applications d'entreprise > {client} > Utilisateurs et groupes > \
             l'ajouter",
        },
    ),
    (
        &[50196],
        Advice {
            en: "tokens were asked for too often; wait an hour, and if it comes back report it with the lines of the log: a \
             defect of pertuis, or several programs that use one registration",
            fr: "des jetons ont été demandés trop souvent ; attendre une heure, et si cela revient le signaler avec les lignes du \
             journal : un défaut de pertuis, ou plusieurs programmes sur une même inscription",
        },
    ),
    (
        &[90055, 90024, 90033, 50033],
        Advice {
            en: "Microsoft's service is disturbed or overloaded; it will be tried again",
            fr: "le service de Microsoft est perturbé ou surchargé ; de nouveaux essais suivront",
        },
    ),
    (
        &[70018, 70019, 70020],
        Advice {
            en: "the code is not good, or no longer; ask for a new one: {login}",
            fr: "le code n'est pas bon, ou ne l'est plus ; en demander un nouveau : {login}",
        },
    ),
    (
        &[70011, 700_022],
        Advice {
            en: "what is asked for does not exist in this cloud: check `cloud`, `graph_root` and `authority`",
            fr: "ce qui est demandé n'existe pas dans ce nuage : vérifier `cloud`, `graph_root` et `authority`",
        },
    ),
    (
        &[9_001_023],
        Advice {
            en: "an application that works for itself has one directory: put its ID into `tenant`, not {tenant}",
            fr: "une application qui travaille pour elle-même a un seul annuaire : mettre son ID dans `tenant`, et non {tenant}",
        },
    ),
];

#[cfg(test)]
mod tests;
