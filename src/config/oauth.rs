//! How a launcher signs in with OAuth 2.0: which application, at whose authorization server, and as whom.
//!
//! Not the conversation with that server and no token: values of the file, checked against each other. There is no
//! application of our own: `client_id` is the one that the customer registers, so that he decides what it may read.
//! Who signs in follows from what is given: a secret or a certificate is the application itself, a key file Google's
//! service account, nothing of these a person, who signs in once with `pertuis login`.

use std::path::PathBuf;

use super::launcher::{Kind, Launcher};
use super::section::{Options, Report};
use super::value;
use crate::secret::Secret;
use crate::text;
use crate::text::Text;

/// The app registration and the sign-in of a launcher.
#[derive(Clone, Debug, PartialEq)]
pub struct OAuth {
    /// `provider`: whose dialect is spoken.
    pub provider: Provider,
    /// `authority`: base URL of the authorization server, without a final slash; for Google the one of its sign-in page.
    pub authority: String,
    /// `tenant`: GUID or domain of a directory, or `organizations`, `common`, `consumers`. Microsoft only.
    pub tenant: String,
    /// `client_id`; empty for a service account.
    pub client_id: String,
    /// Who signs in, and by what.
    pub credential: Credential,
    /// `graph_root`: base URL of Microsoft Graph, without a final slash and without its version.
    pub graph_root: String,
    /// The host whose name the scopes of IMAP and POP3 begin with in this cloud.
    pub mail_host: &'static str,
}

/// `provider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Microsoft Entra.
    Microsoft,
    /// Google.
    Google,
}

/// Who signs in, and by what.
#[derive(Clone, Debug, PartialEq)]
pub enum Credential {
    /// A person, with `pertuis login`: at Microsoft by device code (RFC 8628), at Google by authorization code with
    /// PKCE (RFC 7636).
    Person {
        /// What Google gives to desktop applications, and is no secret.
        secret: Option<Secret>,
    },
    /// The application itself (client credentials, RFC 6749, 4.4), by a secret.
    Secret(Secret),
    /// The same, by a certificate (RFC 7523).
    Certificate {
        /// Its PEM file.
        cert: PathBuf,
        /// The PEM file of its private key; may be the same.
        key: PathBuf,
    },
    /// Google's key file (JSON), acting for the launcher's account (domain-wide delegation).
    ServiceAccount(PathBuf),
}

impl Provider {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Microsoft => "microsoft",
            Self::Google => "google",
        }
    }

    /// Whose server this is, where its name tells.
    fn of_host(host: &str) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_in =
            |domain: &&str| host.strip_suffix(*domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let known = [(Self::Google, GOOGLE_HOSTS), (Self::Microsoft, MICROSOFT_HOSTS)];
        known.into_iter().find(|(_, domains)| domains.iter().any(is_in)).map(|(provider, _)| provider)
    }
}

impl Credential {
    /// Whether a person signs in, once, with `pertuis login`; else the program signs in by itself.
    pub fn is_person(&self) -> bool {
        matches!(self, Self::Person { .. })
    }
}

impl OAuth {
    /// Reads the options of `launcher`; `None` where it signs in otherwise, or where something is missing (reported).
    pub(super) fn build(launcher: &Launcher, options: &Options, report: &mut Report) -> Option<Self> {
        if options.is_kind_unknown() {
            return None;
        }
        if launcher.kind != Kind::O365 {
            refuse(&["mailbox", "graph_root"], options, report, only_o365);
        }
        if launcher.kind != Kind::O365 && !launcher.auth.is_oauth() {
            refuse(&OPTIONS, options, report, only_oauth);
            return None;
        }
        match provider(launcher, options, report)? {
            Provider::Microsoft => microsoft(launcher, options, report),
            Provider::Google => google(launcher, options, report),
        }
    }
}

/// What is written, else what the server's name tells.
fn provider(launcher: &Launcher, options: &Options, report: &mut Report) -> Option<Provider> {
    let written = match super::launcher::word(options, "provider").as_deref() {
        Some("google") => Some(Provider::Google),
        Some("microsoft") => Some(Provider::Microsoft),
        _ => None,
    };
    if launcher.kind == Kind::O365 {
        if written == Some(Provider::Google) {
            let text = text!(
                "launcher = o365 is Microsoft's; for Gmail use launcher = imap with auth = xoauth2",
                "lanceur = o365 est celui de Microsoft ; pour Gmail, utiliser lanceur = imap avec auth = xoauth2"
            );
            report.mistake(options.place_of("provider"), text);
        }
        return Some(Provider::Microsoft);
    }
    let host = launcher.server.as_ref().and_then(|server| server.host.as_deref());
    let found = written.or_else(|| Provider::of_host(host?));
    if let (None, Some(host), false) = (found, host, options.has("provider")) {
        let text = text!(
            "auth: the name {host} does not tell whose sign-in this is; add `provider = microsoft` or `provider = google`",
            "auth : le nom {host} ne dit pas chez qui se connecter ; ajouter `provider = microsoft` ou `provider = google`"
        );
        report.mistake(options.place_of("auth"), text);
    }
    found
}

fn microsoft(launcher: &Launcher, options: &Options, report: &mut Report) -> Option<OAuth> {
    refuse(&["service_account"], options, report, only_google);
    let word = super::launcher::word(options, "cloud");
    let cloud = CLOUDS.iter().find(|cloud| word.as_deref() == Some(cloud.folded)).unwrap_or(&CLOUDS[0]);
    let tenant = options.get("tenant", value::tenant);
    let credential = application(launcher, options, report).unwrap_or(Credential::Person { secret: None });
    if !credential.is_person() {
        check_application(launcher, tenant.as_deref(), options, report);
    }
    let client_id = client_id(launcher, options, report, documented)?;
    let or = |url: Option<String>, preset: &str| url.unwrap_or_else(|| preset.to_owned());
    Some(OAuth {
        provider: Provider::Microsoft,
        authority: or(options.get("authority", value::base_url), cloud.authority),
        tenant: tenant.unwrap_or_else(|| ANY_ORGANIZATION.to_owned()),
        client_id,
        credential,
        graph_root: or(options.get("graph_root", value::base_url), cloud.graph_root),
        mail_host: cloud.mail_host,
    })
}

/// The application's own credential, where there is one.
fn application(launcher: &Launcher, options: &Options, report: &mut Report) -> Option<Credential> {
    if let Some(cert) = &launcher.cert {
        refuse(&["client_secret"], options, report, |name| {
            text!(
                "{name}: the application proves itself with a secret or with a certificate (cert), not both",
                "{name} : l'application se prouve par un secret ou par un certificat (cert), pas les deux"
            )
        });
        let key = launcher.key.as_ref().unwrap_or(cert).clone();
        return Some(Credential::Certificate { cert: cert.clone(), key });
    }
    options.get("client_secret", value::secret).map(Credential::Secret)
}

/// An application is known in one directory, and belongs to no mailbox.
fn check_application(launcher: &Launcher, tenant: Option<&str>, options: &Options, report: &mut Report) {
    let anybody = tenant.is_none_or(|tenant| ANYBODY.iter().any(|name| name.eq_ignore_ascii_case(tenant)));
    if anybody && !options.is_bad("tenant") {
        let text = text!(
            "tenant: with client_secret or cert the application itself signs in, which needs the directory: its GUID, or a \
             domain as example.onmicrosoft.com",
            "tenant : avec client_secret ou cert, l'application se connecte elle-même et demande l'annuaire : son GUID, ou un \
             domaine comme example.onmicrosoft.com"
        );
        report.mistake(options.place_of("tenant"), text);
    }
    if launcher.kind == Kind::O365 && !options.has("mailbox") && !options.has("account") {
        let text = text!(
            "with client_secret or cert the application itself signs in, and has no mailbox: name the one to read with \
             `mailbox =`",
            "avec client_secret ou cert, l'application se connecte elle-même et n'a pas de boîte : nommer celle à relever avec \
             `boite =`"
        );
        report.mistake(&options.place, text);
    }
}

fn google(launcher: &Launcher, options: &Options, report: &mut Report) -> Option<OAuth> {
    refuse(&["tenant", "cloud", "cert", "key"], options, report, only_microsoft);
    let (client_id, credential) = if options.has("service_account") {
        refuse(&["client_id", "client_secret"], options, report, |name| {
            text!(
                "{name}: the file of service_account says who signs in; remove {name}",
                "{name} : le fichier de service_account dit qui se connecte ; retirer {name}"
            )
        });
        (String::new(), Credential::ServiceAccount(options.get("service_account", value::path)?))
    } else {
        let secret = options.get("client_secret", value::secret);
        (client_id(launcher, options, report, in_the_console)?, Credential::Person { secret })
    };
    let authority = options.get("authority", value::base_url).unwrap_or_else(|| GOOGLE.to_owned());
    let (tenant, graph_root) = (String::new(), String::new());
    let provider = Provider::Google;
    Some(OAuth { provider, authority, tenant, client_id, credential, graph_root, mail_host: GMAIL })
}

fn client_id(launcher: &Launcher, options: &Options, report: &mut Report, how: fn() -> Text) -> Option<String> {
    let found = options.get("client_id", value::some);
    if !options.has("client_id") {
        let Text { en, fr } = how();
        let (what_en, what_fr) = if launcher.kind == Kind::O365 {
            ("launcher = o365".to_owned(), "lanceur = o365".to_owned())
        } else {
            let auth = options.text("auth").unwrap_or_default();
            (format!("auth = {auth}"), format!("auth = {auth}"))
        };
        let text = text!("{what_en} needs `client_id =`: {en}", "{what_fr} demande `client_id =` : {fr}");
        report.mistake(&options.place, text);
    }
    found
}

/// Each of `names` that stands in the section itself is a mistake; a default of the preamble is meant for others.
pub(super) fn refuse(names: &[&str], options: &Options, report: &mut Report, why: impl Fn(&str) -> Text) {
    for name in names {
        if options.last(name).is_some_and(|entry| !entry.inherited) {
            report.mistake(options.place_of(name), why(options.written(name)));
        }
    }
}

fn documented() -> Text {
    text!(
        "the application that you register with Microsoft Entra; docs/microsoft365.md shows the clicks",
        "l'application à inscrire dans Microsoft Entra ; docs/microsoft365.fr.md montre les clics"
    )
}

fn in_the_console() -> Text {
    text!(
        "a client of the type `Desktop app`, made in Google Cloud's console (or give service_account)",
        "un client du type « Application de bureau », créé dans la console Google Cloud (ou donner service_account)"
    )
}

fn only_o365(name: &str) -> Text {
    text!("{name}: only launcher = o365 has it", "{name} : seul lanceur = o365 l'a")
}

fn only_oauth(name: &str) -> Text {
    text!(
        "{name}: only for launcher = o365, or with auth = xoauth2 or oauthbearer",
        "{name} : seulement pour lanceur = o365, ou avec auth = xoauth2 ou oauthbearer"
    )
}

fn only_google(name: &str) -> Text {
    text!(
        "{name}: is Google's; at Microsoft the application signs in with client_secret or cert",
        "{name} : c'est pour Google ; chez Microsoft l'application se connecte avec client_secret ou cert"
    )
}

fn only_microsoft(name: &str) -> Text {
    text!("{name}: is Microsoft's; Google has none", "{name} : c'est pour Microsoft ; Google n'en a pas")
}

/// What only a sign-in with OAuth has a use for.
const OPTIONS: [&str; 7] =
    ["client_id", "tenant", "client_secret", "cloud", "authority", "provider", "service_account"];

/// A cloud of Microsoft's. Tokens of one are of no use in another.
struct Cloud {
    /// The word of `cloud`, folded.
    folded: &'static str,
    authority: &'static str,
    graph_root: &'static str,
    mail_host: &'static str,
}

/// The first one is the default. Authorities and roots: Microsoft's pages on national clouds, MSAL's lists of sovereign
/// ones; `authority` and `graph_root` put right what changes.
const CLOUDS: [Cloud; 6] = [
    Cloud {
        folded: "global",
        authority: "https://login.microsoftonline.com",
        graph_root: "https://graph.microsoft.com",
        mail_host: "outlook.office365.com",
    },
    Cloud {
        folded: "bleu",
        authority: "https://login.sovcloud-identity.fr",
        graph_root: "https://graph.svc.sovcloud.fr",
        mail_host: "outlook.sovcloud.fr",
    },
    Cloud {
        folded: "delos",
        authority: "https://login.sovcloud-identity.de",
        graph_root: "https://graph.svc.sovcloud.de",
        mail_host: "outlook.sovcloud.de",
    },
    Cloud {
        folded: "gcchigh",
        authority: "https://login.microsoftonline.us",
        graph_root: "https://graph.microsoft.us",
        mail_host: "outlook.office365.us",
    },
    Cloud {
        folded: "dod",
        authority: "https://login.microsoftonline.us",
        graph_root: "https://dod-graph.microsoft.us",
        mail_host: "outlook-dod.office365.us",
    },
    Cloud {
        folded: "china",
        authority: "https://login.partner.microsoftonline.cn",
        graph_root: "https://microsoftgraph.chinacloudapi.cn",
        mail_host: "partner.outlook.cn",
    },
];

const GOOGLE: &str = "https://accounts.google.com";
const GMAIL: &str = "mail.google.com";
/// Stand for a directory where people sign in: whichever they are of.
const ANYBODY: [&str; 3] = [ANY_ORGANIZATION, "common", "consumers"];
const ANY_ORGANIZATION: &str = "organizations";
const GOOGLE_HOSTS: &[&str] = &["gmail.com", "googlemail.com", "google.com"];
const MICROSOFT_HOSTS: &[&str] = &[
    "office365.com",
    "office.com",
    "outlook.com",
    "hotmail.com",
    "live.com",
    "office365.us",
    "outlook.cn",
    "sovcloud.fr",
    "sovcloud.de",
];
