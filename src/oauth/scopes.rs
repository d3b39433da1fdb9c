//! What a launcher asks to be allowed (RFC 6749, 3.3), and whether it was.
//!
//! Not a decision of the server's: it may spell scopes differently and grant more. A person is asked for each permission by
//! its name, to see what is consented to; a program has what an administrator granted to it (`.default`). Who may write may
//! read, but not to Microsoft's mind: what only reads (`pertuis test`) is renewed by the larger permission where that is
//! the one that was consented to.

use super::Resource;
use super::identity::is_same;
use crate::config::Launcher;
use crate::config::launcher::Kind;
use crate::config::oauth::{OAuth, Provider};
use crate::model::Disposition;

/// The resource that a launcher of this kind speaks with.
pub fn resource(launcher: &Launcher) -> Resource {
    match launcher.kind {
        Kind::Pop3 => Resource::Pop,
        Kind::Imap => Resource::Imap,
        Kind::O365 | Kind::Directory | Kind::Adullact => Resource::Graph,
    }
}

/// What `launcher` needs of the mailbox: without what every sign-in asks for besides.
pub fn permissions(launcher: &Launcher, oauth: &OAuth) -> Vec<String> {
    match oauth.provider {
        Provider::Google => vec![GMAIL.to_owned()],
        Provider::Microsoft => vec![match resource(launcher) {
            Resource::Graph => format!("{}/{}", oauth.graph_root, graph(launcher)[0]),
            mail => by_mail(oauth, mail),
        }],
    }
}

/// What is asked of Graph, and what would do as well. Reading is enough where nothing is changed; the mailboxes of others
/// have permissions of their own.
pub(super) fn graph(launcher: &Launcher) -> &'static [&'static str] {
    let reads = [&launcher.after, &launcher.after_empty].iter().all(|after| **after == Disposition::Leave);
    let own = |mailbox: &&String| launcher.account.as_ref().is_some_and(|account| is_same(account, mailbox));
    match (reads, launcher.mailbox.as_ref().is_some_and(|mailbox| !own(&mailbox))) {
        (true, false) => &["Mail.Read", "Mail.ReadWrite"],
        (true, true) => &["Mail.Read.Shared", "Mail.ReadWrite.Shared"],
        (false, false) => &["Mail.ReadWrite"],
        (false, true) => &["Mail.ReadWrite.Shared"],
    }
}

fn by_mail(oauth: &OAuth, resource: Resource) -> String {
    let protocol = if resource == Resource::Pop { "POP" } else { "IMAP" };
    format!("https://{}/{protocol}.AccessAsUser.All", oauth.mail_host)
}

/// What a sign-in asks for: the permissions, a refresh token, and who it was.
pub(super) fn of_sign_in(permissions: &[String], provider: Provider) -> String {
    let besides = match provider {
        Provider::Microsoft => "offline_access openid profile email",
        // Google gives a refresh token by a parameter of its own, and knows no `offline_access`
        Provider::Google => "openid email",
    };
    format!("{} {besides}", permissions.join(" "))
}

/// What a renewal asks for: one resource alone; the first is what is meant, the others would do. `graph` as [`graph`] says.
pub(super) fn of_renewal(oauth: &OAuth, resource: Resource, graph: &[&str]) -> Vec<String> {
    match (oauth.provider, resource) {
        (Provider::Google, _) => vec![GMAIL.to_owned()],
        (Provider::Microsoft, Resource::Graph) => {
            graph.iter().map(|permission| format!("{}/{permission} offline_access", oauth.graph_root)).collect()
        }
        (Provider::Microsoft, mail) => vec![format!("{} offline_access", by_mail(oauth, mail))],
    }
}

/// What a program asks for that signs in by itself: all that an administrator granted to it.
pub(super) fn of_the_program(oauth: &OAuth, resource: Resource) -> String {
    match (oauth.provider, resource) {
        (Provider::Google, _) => GMAIL.to_owned(),
        (Provider::Microsoft, Resource::Graph) => format!("{}/.default", oauth.graph_root),
        (Provider::Microsoft, _) => format!("https://{}/.default", oauth.mail_host),
    }
}

/// Those of `permissions` that were not granted. Compared by their last part, whatever their case: servers leave the
/// resource away, or spell it differently. `None`: granted as asked (RFC 6749, 5.1).
pub fn missing(permissions: &[String], granted: Option<&str>) -> Vec<String> {
    let Some(granted) = granted else { return Vec::new() };
    let granted: Vec<String> = granted.split_whitespace().map(last_part).collect();
    let lacks = |permission: &&String| {
        let wanted = last_part(permission);
        // whoever may write may read
        let larger = wanted.replacen("mail.read", "mail.readwrite", 1);
        !granted.contains(&wanted) && !granted.contains(&larger)
    };
    permissions.iter().filter(lacks).cloned().collect()
}

fn last_part(scope: &str) -> String {
    scope.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_lowercase()
}

/// All of Gmail, by IMAP, POP3 and SMTP.
const GMAIL: &str = "https://mail.google.com/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_granted_is_compared_by_its_last_part() {
        let asked = vec!["https://graph.microsoft.com/Mail.Read".to_owned()];
        let shared = vec!["https://graph.microsoft.com/Mail.ReadWrite.Shared".to_owned()];
        let gmail = vec![GMAIL.to_owned()];
        let cases = [
            (&asked, None, true),
            (&asked, Some("openid profile Mail.Read"), true),
            (&asked, Some("https://graph.microsoft.com//mail.read"), true),
            (&asked, Some("Mail.ReadWrite User.Read"), true),
            (&asked, Some("Mail.Send User.Read"), false),
            (&asked, Some(""), false),
            (&shared, Some("Mail.ReadWrite"), false),
            (&shared, Some("Mail.ReadWrite.Shared"), true),
            (&gmail, Some("openid https://mail.google.com/"), true),
            (&gmail, Some("openid email"), false),
        ];
        for (asked, granted, all) in cases {
            assert_eq!(missing(asked, granted).is_empty(), all, "{asked:?} {granted:?}");
        }
    }
}
