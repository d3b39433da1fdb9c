//! Graph's side: who may, how much at once, and which resource a path means.
//!
//! What the resources are like stands in `items.rs` (folders, messages, attachments) and `sync.rs` (delta).

use std::collections::{HashMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::faults;
use super::http::{Answer, Asked};
use super::json::{guid, object};
use super::mailbox::Mailbox;
use super::query::{Query, Wrong};
use super::records::is_immutable;
use super::tokens::Resource;
use super::{World, items, sync};

/// Mailboxes and what Graph remembers.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) mailboxes: Vec<Mailbox>,
    /// Delta links of an older generation are of no use any more.
    pub(super) generation: u64,
    /// What a token must have been asked for with since the last challenge.
    pub(super) challenge: Option<String>,
    /// Tokens of another authorization server open this person's mailbox as if they were Entra's.
    pub(crate) foreign: Option<&'static str>,
    /// Those that were seen, in the order in which they came.
    pub(crate) foreign_seen: Vec<String>,
    /// When an app asked for a mailbox in the last ten minutes.
    asked: HashMap<(String, usize), VecDeque<u64>>,
}

impl World {
    /// Marie's mailbox.
    pub(crate) fn mailbox(&mut self) -> &mut Mailbox {
        &mut self.graph.mailboxes[0]
    }

    /// Every access token is refused with a challenge until one was asked for with its claims (CAE).
    pub(crate) fn challenge(&mut self) {
        self.entra.issued.revoke_access();
        let since = self.clock.seconds();
        self.graph.challenge =
            Some(format!("{{\"access_token\":{{\"nbf\":{{\"essential\":true, \"value\":\"{since}\"}}}}}}"));
    }

    /// Every delta link that there is now is of no use any more.
    pub(crate) fn expire_delta(&mut self) {
        self.graph.generation += 1;
    }
}

/// A request to a mailbox whose sender may.
pub(super) struct Call<'a> {
    pub(super) world: &'a mut World,
    pub(super) asked: &'a Asked,
    pub(super) query: Query,
    /// Immutable ids were asked for.
    pub(super) immutable: bool,
    pub(super) mailbox: usize,
    /// Whether the sender may change something.
    pub(super) writes: bool,
}

impl Call<'_> {
    pub(super) fn mailbox(&mut self) -> &mut Mailbox {
        &mut self.world.graph.mailboxes[self.mailbox]
    }

    pub(super) fn seen(&self) -> &Mailbox {
        &self.world.graph.mailboxes[self.mailbox]
    }

    pub(super) fn refuse(&self, (status, code, message): Wrong) -> Answer {
        refuse(self.world, self.asked, status, code, message)
    }

    /// A success with what was preferred.
    pub(super) fn json(&self, status: u16, body: String) -> Answer {
        self.preferences(Answer::new(status, MEDIA_TYPE, body))
    }

    pub(super) fn preferences(&self, answer: Answer) -> Answer {
        if self.immutable { answer.with("Preference-Applied", "IdType=\"ImmutableId\"") } else { answer }
    }

    /// The end of `@odata.context`.
    pub(super) fn context(&self, what: &str) -> Value {
        json!(format!("https://graph.microsoft.com/v1.0/$metadata#users('{}'){what}", encoded_upn(&self.seen().upn)))
    }
}

const MEDIA_TYPE: &str =
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";
pub(super) const NOT_FOUND: Wrong = (
    404,
    "ErrorItemNotFound",
    "The specified object was not found in the store., The process failed to get the correct properties.",
);
pub(super) const MALFORMED: Wrong = (400, "ErrorInvalidIdMalformed", "Id is malformed.");
pub(super) const DENIED: Wrong = (403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.");
pub(super) const BAD_REQUEST: Wrong = (400, "BadRequest", "Resource not found for the segment.");

/// Answers a request to Graph.
pub(super) fn answer(world: &mut World, asked: &Asked) -> Answer {
    let fault = world.faults.of(asked);
    let replaced = fault.as_ref().and_then(|fault| faults::instead(world, asked, fault));
    let answer = replaced.unwrap_or_else(|| truth(world, asked).unwrap_or_else(|refused| refused));
    let answer = match &fault {
        Some(fault) => faults::on_the_way(answer, fault),
        None => answer,
    };
    let client = asked.header("client-request-id").map_or_else(guid, ToOwned::to_owned);
    let server = "{\"ServerInfo\":{\"DataCenter\":\"France Central\",\"Slice\":\"E\",\"Ring\":\"5\",\"ScaleUnit\":\"003\",\
                  \"RoleInstance\":\"SIM0001\"}}";
    answer
        .with("request-id", guid())
        .with("client-request-id", client)
        .with("x-ms-ags-diagnostic", server)
        .with("Strict-Transport-Security", "max-age=31536000")
        .with("Cache-Control", "private")
}

/// A refusal on its way.
type Refused = Answer;

fn truth(world: &mut World, asked: &Asked) -> Result<Answer, Refused> {
    let path = segments(asked);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let Some((&"v1.0", rest)) = path.split_first() else {
        return Err(refuse(world, asked, 404, "ResourceNotFound", "Invalid version."));
    };
    if rest == ["$batch"] {
        return batch(world, asked);
    }
    let (who, rest) = match rest {
        ["me", rest @ ..] => (None, rest),
        ["users", who, rest @ ..] => (Some(*who), rest),
        _ => return Err(refuse(world, asked, BAD_REQUEST.0, BAD_REQUEST.1, BAD_REQUEST.2)),
    };
    let access = match foreign(world, asked) {
        Some(access) => access,
        None => authenticated(world, asked)?,
    };
    let (mailbox, permissions) = authorised(world, asked, &access, who)?;
    throttled(world, asked, &access.client, mailbox)?;
    let writes = permissions.iter().any(|one| one.starts_with("Mail.ReadWrite"));
    let immutable = asked.list("prefer").iter().any(|prefer| is_immutable(prefer));
    let mut call = Call { world, asked, query: Query::new(asked.query()), immutable, mailbox, writes };
    let names: Vec<String> = rest.iter().map(|name| name.to_lowercase()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let answer = match (names.as_slice(), rest) {
        ([], _) => items::profile(&call, &access.permissions),
        (["mailfolders"], _) => items::folders(&mut call, "msgfolderroot"),
        (["mailfolders", _], [_, id]) => items::folder(&call, id),
        (["mailfolders", _, "childfolders"], [_, id, _]) => items::folders(&mut call, id),
        (["mailfolders", _, "messages"], [_, id, _]) => items::messages(&mut call, Some(id)),
        (["mailfolders", _, "messages", "delta" | "delta()"], [_, id, ..]) => sync::delta(&mut call, id),
        (["messages", "delta" | "delta()"], _) => call.refuse(BAD_REQUEST),
        (["mailfolders", _, "messages", _, deed @ ..], [_, _, _, id, more @ ..])
        | (["messages", _, deed @ ..], [_, id, more @ ..]) => items::message(&mut call, id, deed, more),
        (["messages"], _) => items::messages(&mut call, None),
        _ => call.refuse(BAD_REQUEST),
    };
    Ok(answer)
}

/// The path, with `mailFolders('x')` written as two segments.
fn segments(asked: &Asked) -> Vec<String> {
    let parts = asked.path().into_iter();
    parts
        .flat_map(|part| match part.strip_suffix("')").and_then(|rest| rest.split_once("('")) {
            Some((name, id)) => vec![name.to_owned(), id.to_owned()],
            None => vec![part],
        })
        .collect()
}

/// The token of another authorization server, where such are taken.
fn foreign(world: &mut World, asked: &Asked) -> Option<super::tokens::Access> {
    let upn = world.graph.foreign?;
    let token = asked.header("authorization")?.strip_prefix("Bearer ")?.to_owned();
    if !world.graph.foreign_seen.contains(&token) {
        world.graph.foreign_seen.push(token.clone());
    }
    let permissions = vec!["Mail.ReadWrite".to_owned()];
    let (resource, client, upn) = (Resource::Graph, super::PUBLIC.to_owned(), Some(upn.to_owned()));
    Some(super::tokens::Access {
        token,
        resource,
        client,
        upn,
        permissions,
        until: u64::MAX,
        revoked: false,
        claims: None,
    })
}

/// The token of the request, where it is good.
fn authenticated(world: &World, asked: &Asked) -> Result<super::tokens::Access, Refused> {
    let now = world.clock.seconds();
    let invalid = |message: &str, more: &str| {
        let w = "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
                 client_id=\"00000003-0000-0000-c000-000000000000\"";
        let answer = refuse(world, asked, 401, "InvalidAuthenticationToken", message);
        answer.with("WWW-Authenticate", format!("{w}{more}"))
    };
    let token = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if token.is_empty() {
        return Err(invalid("Access token is empty.", ""));
    }
    let Some(access) = world.entra.issued.access(token) else {
        return Err(invalid("CompactToken parsing failed with error code: 80049217", ""));
    };
    if access.until <= now {
        return Err(invalid("Lifetime validation failed, the token is expired.", ""));
    }
    if access.resource != Resource::Graph {
        return Err(invalid("Access token validation failure. Invalid audience.", ""));
    }
    let challenge = world.graph.challenge.as_ref();
    let same = |claims: &String| json_of(claims) == challenge.and_then(|challenge| json_of(challenge));
    if access.revoked || (challenge.is_some() && !access.claims.as_ref().is_some_and(same)) {
        let claims = STANDARD.encode(challenge.map_or("", String::as_str));
        let more = format!(", error=\"insufficient_claims\", claims=\"{claims}\"");
        return Err(invalid(
            "Continuous access evaluation resulted in challenge with result: InteractionRequired.",
            &more,
        ));
    }
    Ok(access.clone())
}

fn json_of(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// The mailbox that is meant, and what its sender may do there.
fn authorised(
    world: &World,
    asked: &Asked,
    access: &super::tokens::Access,
    who: Option<&str>,
) -> Result<(usize, Vec<String>), Refused> {
    let refuse = |(status, code, message): Wrong| refuse(world, asked, status, code, message);
    let upn = match (who, &access.upn) {
        (Some(who), _) => who.to_owned(),
        (None, Some(upn)) => upn.clone(),
        (None, None) => {
            let message = "/me request is only valid with delegated authentication flow.";
            return Err(refuse((400, "BadRequest", message)));
        }
    };
    let oid = world.entra.people.iter().find(|person| person.oid == upn).map(|person| person.upn);
    let upn = oid.unwrap_or(&upn);
    let shared = access.upn.as_ref().is_some_and(|own| !own.eq_ignore_ascii_case(upn));
    let fits = |one: &&String| one.starts_with("Mail.") && (!shared || one.ends_with(".Shared"));
    let permissions: Vec<String> = access.permissions.iter().filter(fits).cloned().collect();
    if permissions.is_empty() {
        return Err(refuse(DENIED));
    }
    let app = world.entra.apps.iter().find(|app| app.id == access.client).unwrap();
    if access.upn.is_none() && app.only.as_ref().is_some_and(|only| !only.contains(&upn)) {
        return Err(refuse((403, "ErrorAccessDenied", "Access to OData is disabled.")));
    }
    let found = world.graph.mailboxes.iter().position(|mailbox| mailbox.upn.eq_ignore_ascii_case(upn));
    let Some(found) = found else {
        let known = world.entra.people.iter().any(|person| person.upn.eq_ignore_ascii_case(upn));
        if known {
            return Err(refuse(no_mailbox(world)));
        }
        let message = format!("The requested user '{upn}' is invalid.");
        return Err(self::refuse(world, asked, 404, "ErrorInvalidUser", &message));
    };
    let mailbox = &world.graph.mailboxes[found];
    if mailbox.absent {
        return Err(refuse(no_mailbox(world)));
    }
    let own = access.upn.as_deref().unwrap_or_default();
    if shared && !mailbox.delegates.iter().any(|delegate| delegate == own) {
        return Err(refuse(DENIED));
    }
    Ok((found, permissions))
}

fn no_mailbox(world: &World) -> Wrong {
    if world.faults.quirks.resource_not_found {
        return (404, "ResourceNotFound", "Resource could not be discovered.");
    }
    (404, "MailboxNotEnabledForRESTAPI", "REST API is not yet supported for this mailbox.")
}

/// Four requests at once for an app, ten thousand in ten minutes for an app and a mailbox.
fn throttled(world: &mut World, asked: &Asked, client: &str, mailbox: usize) -> Result<(), Refused> {
    if world.faults.quirks.no_throttle {
        return Ok(());
    }
    if world.records.in_flight() > 4 {
        let message = "Application is over its MailboxConcurrency limit.";
        let answer = refuse(world, asked, 429, "ApplicationThrottled", message);
        return Err(answer.with("Retry-After", "1"));
    }
    let now = world.clock.seconds();
    let times = world.graph.asked.entry((client.to_owned(), mailbox)).or_default();
    times.push_back(now);
    while times.front().is_some_and(|first| first + 600 < now) {
        times.pop_front();
    }
    if times.len() > 10_000 {
        let answer = error(asked, 429, "TooManyRequests", "Please retry again later.", Some("429"), world);
        return Err(answer.with("Retry-After", "2.128"));
    }
    Ok(())
}

/// Twenty requests in one; each goes through everything that a single one does.
fn batch(world: &mut World, asked: &Asked) -> Result<Answer, Refused> {
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let requests = body["requests"].as_array().cloned().unwrap_or_default();
    let ids: std::collections::HashSet<&str> = requests.iter().filter_map(|one| one["id"].as_str()).collect();
    let relative = requests.iter().all(|one| one["url"].as_str().is_some_and(|url| url.starts_with('/')));
    if asked.method != "POST" || requests.is_empty() || requests.len() > 20 || ids.len() != requests.len() || !relative
    {
        let message = "Number of batch request steps must be between 1 and 20, with unique ids and relative urls.";
        return Err(refuse(world, asked, 400, "BadRequest", message));
    }
    let mut statuses: HashMap<String, u16> = HashMap::new();
    let mut responses = Vec::new();
    for request in &requests {
        let id = request["id"].as_str().unwrap_or_default().to_owned();
        let on = request["dependsOn"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let failed = on.into_iter().any(|on| statuses.get(on).is_none_or(|status| *status >= 300));
        let answer = if failed {
            refuse(world, asked, 424, "FailedDependency", "The request failed because a request it depends on failed.")
        } else {
            answer(world, &part(asked, request))
        };
        statuses.insert(id.clone(), answer.status);
        let headers = answer.headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
        let headers: serde_json::Map<String, Value> = headers.collect();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let body = json_of(&text).unwrap_or_else(|| json!(STANDARD.encode(&answer.body)));
        responses.push(json!({"id": id, "status": answer.status, "headers": headers, "body": body}));
    }
    // in any order but that of the requests
    responses.reverse();
    Ok(Answer::new(200, "application/json", object(&[("responses", json!(responses))])))
}

/// A request of a batch as if it had come by itself.
fn part(asked: &Asked, request: &Value) -> Asked {
    let mut headers: Vec<(String, String)> = request["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    headers.extend(asked.headers.iter().filter(|(name, _)| name == "authorization").cloned());
    let body = request.get("body").map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let method = request["method"].as_str().unwrap_or("GET").to_uppercase();
    Asked { method, target: format!("/v1.0{}", request["url"].as_str().unwrap_or_default()), headers, body }
}

/// The envelope of every error.
pub(super) fn refuse(world: &World, asked: &Asked, status: u16, code: &str, message: &str) -> Answer {
    error(asked, status, code, message, None, world)
}

fn error(asked: &Asked, status: u16, code: &str, message: &str, inner: Option<&str>, world: &World) -> Answer {
    let request = guid();
    let client = asked.header("client-request-id").unwrap_or(&request);
    let mut fields = vec![
        ("date", json!(world.clock.written("%Y-%m-%dT%H:%M:%S"))),
        ("request-id", json!(request)),
        ("client-request-id", json!(client)),
    ];
    if let Some(inner) = inner {
        fields.insert(0, ("code", json!(inner)));
    }
    let key = if world.faults.quirks.small_inner_error { "innererror" } else { "innerError" };
    let (code, message) = (json!(code), json!(message));
    let body = format!("{{\"error\":{{\"code\":{code},\"message\":{message},\"{key}\":{}}}}}", object(&fields));
    Answer::new(status, "application/json", body)
}

fn encoded_upn(upn: &str) -> String {
    super::http::encoded(upn)
}
