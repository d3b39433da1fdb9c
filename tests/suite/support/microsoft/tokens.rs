//! Tokens that Entra issued: what each is good for, and how long.

use std::time::Duration;

use serde_json::{Value, json};

use super::entra::{Rotation, opaque};
use super::json::{guid, object};
use super::{TENANT, World, jwt};

/// A refresh token that nobody used for so long is dead.
const INACTIVE: Duration = Duration::from_hours(90 * 24);

/// Whose interface an access token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Graph,
    Outlook,
}

/// What was asked for, in one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scopes {
    pub(crate) resource: Option<Resource>,
    /// The last segments: `Mail.ReadWrite`, `.default`.
    pub(crate) permissions: Vec<String>,
    offline: bool,
    openid: bool,
}

impl Scopes {
    /// Of a list separated by blanks; the number and text of the error where it cannot be.
    pub(super) fn parse(text: &str, root: &str) -> Result<Self, (u32, String)> {
        let mut scopes = Self::default();
        for word in text.split_whitespace() {
            match word {
                "offline_access" => scopes.offline = true,
                "openid" | "profile" | "email" => scopes.openid = true,
                _ => scopes.add(word, root).ok_or_else(|| Self::wrong(word, &scopes))?,
            }
        }
        Ok(scopes)
    }

    fn add(&mut self, word: &str, root: &str) -> Option<()> {
        let graph = ["https://graph.microsoft.com", root];
        let outlook = ["https://outlook.office.com", "https://outlook.office365.com"];
        let (host, permission) = match word.rsplit_once('/') {
            Some((host, permission)) => (host.trim_end_matches('/'), permission),
            None => ("https://graph.microsoft.com", word),
        };
        let resource = if graph.contains(&host) {
            Resource::Graph
        } else if outlook.contains(&host) {
            Resource::Outlook
        } else {
            return None;
        };
        let known: &[&str] = match resource {
            Resource::Graph => {
                &["Mail.Read", "Mail.ReadWrite", "Mail.Read.Shared", "Mail.ReadWrite.Shared", "User.Read"]
            }
            Resource::Outlook => &["IMAP.AccessAsUser.All", "POP.AccessAsUser.All", "SMTP.Send"],
        };
        let known = permission == ".default" || known.contains(&permission);
        let fits = known && self.resource.is_none_or(|own| own == resource);
        if fits {
            self.resource = Some(resource);
            self.permissions.push(permission.to_owned());
        }
        fits.then_some(())
    }

    fn wrong(word: &str, so_far: &Self) -> (u32, String) {
        if so_far.resource.is_some() && word.starts_with("https://") && !word.contains("graph") {
            let text = "The provided value for the input parameter scope is not valid because it contains more than one \
                        resource.";
            return (700_022, text.to_owned());
        }
        let text = format!(
            "The provided request must include a 'scope' input parameter. The provided value for the \
                            input parameter 'scope' is not valid. The scope '{word}' does not exist."
        );
        (70011, text)
    }

    /// A refresh goes on with a refresh token whether or not it is asked for again.
    pub(super) fn with_refresh(self, granted: &Self) -> Self {
        Self { offline: self.offline || granted.offline, ..self }
    }
}

/// All that was issued.
#[derive(Default)]
pub(crate) struct Issued {
    access: Vec<Access>,
    refresh: Vec<Refresh>,
    identities: Vec<String>,
    families: usize,
}

/// An access token.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) token: String,
    pub(crate) resource: Resource,
    pub(crate) client: String,
    /// Who signed in; nobody for the app itself.
    pub(crate) upn: Option<String>,
    /// Permissions, delegated or the app's own.
    pub(crate) permissions: Vec<String>,
    pub(crate) until: u64,
    /// The server refuses it now (CAE).
    pub(crate) revoked: bool,
    /// The claims that were asked for with it.
    pub(crate) claims: Option<String>,
}

struct Refresh {
    token: String,
    family: usize,
    client: String,
    upn: String,
    scopes: Scopes,
    touched: u64,
    used: bool,
    revoked: bool,
}

impl Issued {
    /// The access token of this text.
    pub(crate) fn access(&self, token: &str) -> Option<&Access> {
        self.access.iter().rev().find(|access| access.token == token)
    }

    /// How many access tokens there were.
    pub(crate) fn count(&self) -> usize {
        self.access.len()
    }

    /// The latest access token.
    pub(crate) fn latest(&self) -> Option<&Access> {
        self.access.last()
    }

    /// The servers refuse all access tokens that there are (continuous access evaluation).
    pub(crate) fn revoke_access(&mut self) {
        self.access.iter_mut().for_each(|access| access.revoked = true);
    }

    /// An administrator revokes all sessions: no refresh token is good any more.
    pub(crate) fn revoke_refresh(&mut self) {
        self.refresh.iter_mut().for_each(|refresh| refresh.revoked = true);
    }

    /// Every token, in the order in which its kind was issued.
    pub(crate) fn all(&self) -> Vec<String> {
        let access = self.access.iter().map(|access| access.token.clone());
        access.chain(self.refresh_tokens()).chain(self.identities.iter().cloned()).collect()
    }

    /// The refresh tokens, oldest first.
    pub(crate) fn refresh_tokens(&self) -> Vec<String> {
        self.refresh.iter().map(|refresh| refresh.token.clone()).collect()
    }

    pub(super) fn knows(&self, token: &str) -> bool {
        self.refresh.iter().any(|refresh| refresh.token == token)
    }
}

/// The family, person and scopes of a refresh token that is good. Who shows one that was used before, where old ones
/// are revoked, loses the whole family.
pub(super) fn redeem(world: &mut World, token: &str, client: &str) -> Option<(usize, String, Scopes)> {
    let rotation = world.entra.rotation;
    let issued = &mut world.entra.issued;
    let at = issued.refresh.iter().position(|refresh| refresh.token == token && refresh.client == client)?;
    let family = issued.refresh[at].family;
    if rotation == Rotation::RevokeOld && issued.refresh[at].used {
        issued.refresh.iter_mut().filter(|refresh| refresh.family == family).for_each(|refresh| refresh.revoked = true);
    }
    let refresh = &issued.refresh[at];
    (!refresh.revoked).then(|| (family, refresh.upn.clone(), refresh.scopes.clone()))
}

/// Whether nobody used it for ninety days.
pub(super) fn is_stale(world: &World, token: &str) -> bool {
    let now = world.clock.seconds();
    let mut same = world.entra.issued.refresh.iter().filter(|refresh| refresh.token == token);
    same.any(|refresh| now > refresh.touched + INACTIVE.as_secs())
}

pub(super) fn used(world: &mut World, token: &str) {
    let now = world.clock.seconds();
    let same = world.entra.issued.refresh.iter_mut().filter(|refresh| refresh.token == token);
    same.for_each(|refresh| (refresh.used, refresh.touched) = (true, now));
}

/// The answer with the tokens of a person.
pub(super) fn delegated(
    world: &mut World,
    client: &str,
    upn: &str,
    scopes: &Scopes,
    claims: Option<&String>,
    family: Option<usize>,
) -> String {
    let oid = world.entra.people.iter().find(|person| person.upn == upn).map(|person| person.oid);
    let resource = scopes.resource.unwrap_or(Resource::Graph);
    let permissions: Vec<String> = match scopes.permissions.as_slice() {
        [one] if one == ".default" => consents(world, client),
        list => list.to_vec(),
    };
    let more = json!({"oid": oid, "upn": upn, "email": upn, "scp": permissions.join(" ")});
    let access = access(world, client, resource, Some(upn), permissions.clone(), claims, &more);
    let mut scope: String = permissions.join(" ");
    scope += if scopes.openid { " profile openid email" } else { "" };
    let mut fields = vec![("token_type", json!("Bearer")), ("scope", json!(scope))];
    fields.extend(lifetime(world));
    fields.push(("access_token", json!(access)));
    let rotates = family.is_none() || world.entra.rotation != Rotation::NoNew;
    if scopes.offline && rotates {
        fields.push(("refresh_token", json!(refresh(world, client, upn, scopes, family))));
    }
    if scopes.openid {
        let identity = identity(world, client, upn, oid);
        world.entra.issued.identities.push(identity.clone());
        fields.push(("id_token", json!(identity)));
    }
    object(&fields)
}

/// The answer with the token of an app.
pub(super) fn own(world: &mut World, client: &str, resource: Resource, claims: Option<&String>) -> String {
    let roles = world.entra.apps.iter().find(|app| app.id == client).unwrap().roles.clone();
    let roles: Vec<String> = roles.into_iter().map(ToOwned::to_owned).collect();
    let token = access(world, client, resource, None, roles.clone(), claims, &json!({"roles": roles}));
    let mut fields = vec![("token_type", json!("Bearer"))];
    fields.extend(lifetime(world));
    fields.push(("access_token", json!(token)));
    object(&fields)
}

fn consents(world: &World, client: &str) -> Vec<String> {
    let app = world.entra.apps.iter().find(|app| app.id == client).unwrap();
    app.consents.iter().map(ToString::to_string).collect()
}

fn lifetime(world: &World) -> [(&'static str, Value); 2] {
    let seconds = world.entra.expires_in;
    let text = if world.entra.expires_in_as_text { json!(seconds.to_string()) } else { json!(seconds) };
    [("expires_in", text.clone()), ("ext_expires_in", text)]
}

fn access(
    world: &mut World,
    client: &str,
    resource: Resource,
    upn: Option<&str>,
    permissions: Vec<String>,
    asked: Option<&String>,
    more: &Value,
) -> String {
    let (now, until) = (world.clock.seconds(), world.clock.seconds() + world.entra.expires_in);
    let audience = match resource {
        Resource::Graph => "https://graph.microsoft.com",
        Resource::Outlook => "https://outlook.office.com",
    };
    let mut claims = json!({
        "aud": audience, "iss": format!("https://sts.windows.net/{TENANT}/"), "iat": now, "nbf": now, "exp": until,
        "tid": TENANT, "appid": client, "uti": guid(), "pad": "x".repeat(world.entra.token_pad),
    });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let token = jwt::issue(&claims);
    let (client, upn) = (client.to_owned(), upn.map(ToOwned::to_owned));
    let (revoked, claims) = (false, asked.cloned());
    let issued = Access { token: token.clone(), resource, client, upn, permissions, until, revoked, claims };
    world.entra.issued.access.push(issued);
    token
}

fn refresh(world: &mut World, client: &str, upn: &str, scopes: &Scopes, family: Option<usize>) -> String {
    let (touched, issued) = (world.clock.seconds(), &mut world.entra.issued);
    let family = family.unwrap_or_else(|| {
        issued.families += 1;
        issued.families
    });
    let token = format!("0.AX{}.AgAB{}", opaque(40), opaque(700));
    let (client, upn, scopes) = (client.to_owned(), upn.to_owned(), scopes.clone());
    let (used, revoked) = (false, false);
    issued.refresh.push(Refresh { token: token.clone(), family, client, upn, scopes, touched, used, revoked });
    token
}

fn identity(world: &World, client: &str, upn: &str, oid: Option<&str>) -> String {
    let now = world.clock.seconds();
    jwt::issue(&json!({
        "aud": client, "iss": format!("{}/{TENANT}/v2.0", world.root), "iat": now, "nbf": now, "exp": now + 3600,
        "name": upn.split('@').next(), "oid": oid, "preferred_username": upn, "sub": guid(), "tid": TENANT, "ver": "2.0",
    }))
}
