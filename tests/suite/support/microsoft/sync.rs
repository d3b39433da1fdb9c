//! Delta: what is in a folder, then what has changed since, by links that one day are of no use any more.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::World;
use super::graph::{BAD_REQUEST, Call, refuse};
use super::http::{Answer, Asked};
use super::items::{message_fields, place};
use super::json::object;
use super::mailbox::Kind;

/// What a link says: the options of the first request, and how far it was.
#[derive(Clone, Serialize, Deserialize)]
struct Token {
    folder: usize,
    generation: u64,
    /// Changes up to this one were told.
    after: u64,
    /// Removals before this change are none of this round.
    mark: u64,
    options: Vec<(String, String)>,
}

pub(super) fn delta(call: &mut Call<'_>, id: &str) -> Answer {
    if call.asked.method != "GET" {
        return call.refuse(BAD_REQUEST);
    }
    let folder = match place(call, id) {
        Ok(folder) => folder,
        Err(refused) => return refused,
    };
    let token = call.query.get("skiptoken").or_else(|| call.query.get("deltatoken")).map(ToOwned::to_owned);
    let token = match token.filter(|token| !token.is_empty()) {
        None => Token {
            folder,
            generation: call.world.graph.generation,
            after: 0,
            mark: call.seen().change,
            options: call.query.options.clone(),
        },
        Some(text) => match read(&text) {
            Some(token) if token.generation == call.world.graph.generation && token.folder == folder => token,
            _ => return gone(call.world, call.asked, call.world.faults.quirks.gone_with_location),
        },
    };
    call.query.options.clone_from(&token.options);
    round(call, id, token)
}

/// The answer to a link of no use.
pub(super) fn gone(world: &World, asked: &Asked, located: bool) -> Answer {
    let message = "The sync state generation is not found; generation=149;[highest=157][157][155][156].";
    let answer = refuse(world, asked, 410, "SyncStateNotFound", message);
    if !located {
        return answer;
    }
    let path = asked.target.split('?').next().unwrap_or_default();
    answer.with("Location", format!("{}{path}?$deltatoken=", world.root))
}

/// A page of a round, with the link to the next page or the next round.
fn round(call: &mut Call<'_>, id: &str, token: Token) -> Answer {
    let since = match call.query.since() {
        Ok(since) => since,
        Err(wrong) => return call.refuse(wrong),
    };
    let mut preferred = call.asked.list("prefer").into_iter();
    let preferred = preferred.find_map(|one| one.strip_prefix("odata.maxpagesize=")?.parse().ok());
    let size = preferred.unwrap_or_else(|| call.query.top().unwrap_or(10));
    let largest = call.world.faults.quirks.delta_page;
    let size = if largest > 0 { size.min(largest) } else { size };
    let mailbox = call.seen();
    let inside = mailbox.messages.iter().filter(|message| {
        message.folder == token.folder
            && message.change > token.after
            && since.is_none_or(|since| message.received >= since)
    });
    let mut changes: Vec<(u64, u64, bool)> = inside.map(|message| (message.change, message.number, false)).collect();
    let removed = mailbox.removals.iter().filter(|(change, folder, number)| {
        let back = mailbox.messages.iter().any(|own| own.number == *number && own.folder == token.folder);
        *change > token.after.max(token.mark) && *folder == token.folder && !back
    });
    changes.extend(removed.map(|(change, _, number)| (*change, *number, true)));
    changes.sort_unstable();
    let replayed = call.world.faults.quirks.replay && token.after > 0;
    let again = changes.iter().rev().find(|(_, _, removed)| replayed && !removed).copied();
    let page: Vec<_> = changes.iter().take(size).copied().chain(again).collect();
    let after = changes.iter().take(size).next_back().map_or(token.after, |(change, ..)| *change);
    let value: Vec<Value> = page.iter().map(|(_, number, removed)| shown(call, *number, *removed)).collect();
    let more = changes.len() > size;
    let mark = if more { token.mark } else { 0 };
    let state = Token { after, mark, ..token };
    let (name, link) = if more { ("@odata.nextLink", "skiptoken") } else { ("@odata.deltaLink", "deltatoken") };
    let prefix = call.asked.target.split("/mail").next().unwrap_or_default();
    let id = super::http::encoded(id);
    let link = format!("{}{prefix}/mailfolders('{id}')/messages/delta?${link}={}", call.world.root, write(&state));
    let context = json!("https://graph.microsoft.com/v1.0/$metadata#Collection(message)");
    call.json(200, object(&[("@odata.context", context), (name, json!(link)), ("value", json!(value))]))
}

fn shown(call: &Call<'_>, number: u64, removed: bool) -> Value {
    let mailbox = call.seen();
    if removed {
        return json!({"@odata.type": "#microsoft.graph.message", "id": mailbox.immutable_id(number),
                      "@removed": {"reason": "deleted"}});
    }
    let message = mailbox.messages.iter().find(|message| message.number == number).unwrap();
    let mut object = json!({});
    if message.kind != Kind::Event {
        object["@odata.type"] = json!("#microsoft.graph.message");
    }
    for (name, value) in message_fields(call, message) {
        object[name] = value;
    }
    if call.world.faults.quirks.is_read_as_text && object["isRead"].is_boolean() {
        object["isRead"] = json!(object["isRead"].to_string());
    }
    object
}

fn write(token: &Token) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(token).unwrap())
}

fn read(text: &str) -> Option<Token> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
