//! Folders, messages and attachments as Graph shows and changes them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

use super::graph::{BAD_REQUEST, Call, DENIED, MALFORMED, NOT_FOUND};
use super::http::{Answer, encoded};
use super::json::object;
use super::mailbox::{Attachment, AttachmentKind, Kind, Message, NAMES};
use super::written;

type Fields = Vec<(&'static str, Value)>;

/// `GET P`: who it is.
pub(super) fn profile(call: &Call<'_>, permissions: &[String]) -> Answer {
    if !permissions.iter().any(|one| one == "User.Read") {
        let message = "Insufficient privileges to complete the operation.";
        return call.refuse((403, "Authorization_RequestDenied", message));
    }
    let upn = &call.seen().upn;
    let person = call.world.entra.people.iter().find(|person| person.upn == upn);
    let body = object(&[
        ("@odata.context", json!("https://graph.microsoft.com/v1.0/$metadata#users/$entity")),
        ("id", json!(person.map(|person| person.oid))),
        ("displayName", json!(upn.split('@').next())),
        ("mail", json!(upn)),
        ("userPrincipalName", json!(upn)),
    ]);
    call.json(200, body)
}

// ---- folders --------------------------------------------------------------------------------------------------------

/// The number of the folder that is meant.
pub(super) fn place(call: &Call<'_>, id: &str) -> Result<usize, Answer> {
    let found = call.seen().find_folder(id);
    let formed = id.starts_with("AQMk") || id.starts_with("AAMk") || NAMES.contains(&id.to_lowercase().as_str());
    found.ok_or_else(|| call.refuse(if formed { NOT_FOUND } else { MALFORMED }))
}

pub(super) fn folder(call: &Call<'_>, id: &str) -> Answer {
    if call.asked.method != "GET" {
        return call.refuse(BAD_REQUEST);
    }
    match place(call, id) {
        Ok(folder) => {
            let mut fields = vec![("@odata.context", call.context("/mailFolders/$entity"))];
            fields.extend(chosen(call, folder_fields(call, folder)));
            call.json(200, object(&fields))
        }
        Err(refused) => refused,
    }
}

/// The children of a folder.
pub(super) fn folders(call: &mut Call<'_>, parent: &str) -> Answer {
    let parent = match place(call, parent) {
        Ok(parent) => parent,
        Err(refused) => return refused,
    };
    let (top, names) = match (call.query.top(), call.query.display_names()) {
        (Ok(top), Ok(names)) => (top, names),
        (Err(wrong), _) | (_, Err(wrong)) => return call.refuse(wrong),
    };
    let hidden = call.query.get("includehiddenfolders") == Some("true");
    let mailbox = call.seen();
    let fits = |at: &usize| {
        let folder = &mailbox.folders[*at];
        let named = names
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name.to_lowercase() == folder.name.to_lowercase()));
        folder.parent == Some(parent) && (hidden || !folder.hidden) && named
    };
    let list: Vec<usize> = (0..mailbox.folders.len()).filter(fits).collect();
    let skip = call.query.skip();
    let page: Vec<Value> =
        list.iter().skip(skip).take(top).map(|at| value(&chosen(call, folder_fields(call, *at)))).collect();
    let mut fields = vec![("@odata.context", call.context("/mailFolders")), ("value", json!(page))];
    if skip + top < list.len() {
        fields.push(("@odata.nextLink", json!(next_link(call, skip + top))));
    }
    call.json(200, object(&fields))
}

fn folder_fields(call: &Call<'_>, at: usize) -> Fields {
    let mailbox = call.seen();
    let folder = &mailbox.folders[at];
    let inside = mailbox.messages.iter().filter(|message| message.folder == at);
    let unread = inside.clone().filter(|message| !message.is_read).count();
    let parent = folder.parent.map_or_else(|| "AQMkADYAAAIBAAAAAA==".to_owned(), |parent| mailbox.folder_id(parent));
    let mut fields = vec![
        ("id", json!(mailbox.folder_id(at))),
        ("displayName", json!(folder.name)),
        ("parentFolderId", json!(parent)),
        ("childFolderCount", json!(mailbox.folders.iter().filter(|child| child.parent == Some(at)).count())),
        ("unreadItemCount", json!(unread)),
        ("totalItemCount", json!(inside.count())),
        ("isHidden", json!(folder.hidden)),
    ];
    if folder.search {
        fields.insert(0, ("@odata.type", json!("#microsoft.graph.mailSearchFolder")));
    }
    fields
}

// ---- messages -------------------------------------------------------------------------------------------------------

/// A page of a folder as it is now; of all folders without one.
pub(super) fn messages(call: &mut Call<'_>, folder: Option<&str>) -> Answer {
    if call.asked.method != "GET" {
        return call.refuse(BAD_REQUEST);
    }
    let at = match folder.map(|folder| place(call, folder)).transpose() {
        Ok(at) => at,
        Err(refused) => return refused,
    };
    let top = match call.query.top() {
        Ok(top) => top,
        Err(wrong) => return call.refuse(wrong),
    };
    let all = call.seen().messages.iter().filter(|message| at.is_none_or(|at| message.folder == at));
    let list: Vec<u64> = match call.query.apply(all.collect()) {
        Ok(list) => list.into_iter().map(|message| message.number).collect(),
        Err(wrong) => return call.refuse(wrong),
    };
    let skip = call.query.skip();
    let (count, next) = page(call, list.len(), skip, top);
    let shown: Vec<u64> = list.iter().skip(skip).take(count).copied().collect();
    let only_ids = call.query.select().is_some_and(|select| select == ["id"]);
    if !only_ids && shown.iter().any(|number| find(call, *number).kind == Kind::Corrupt) {
        return call.refuse((500, "InternalServerError", "Error while processing response."));
    }
    let value: Vec<Value> = shown.iter().map(|number| value(&message_fields(call, find(call, *number)))).collect();
    let select = call.query.get("select").map_or(String::new(), |select| format!("({select})"));
    let place = folder.map_or(String::new(), |folder| format!("/mailFolders('{}')", encoded(folder)));
    let mut fields = vec![("@odata.context", call.context(&format!("{place}/messages{select}")))];
    if call.query.get("count") == Some("true") {
        fields.push(("@odata.count", json!(list.len())));
    }
    fields.push(("value", json!(value)));
    if let Some(next) = next {
        fields.push(("@odata.nextLink", json!(next_link(call, next))));
    }
    call.json(200, object(&fields))
}

/// How many messages a page holds, and the `$skip` of the next one, as the quirks have it.
fn page(call: &mut Call<'_>, all: usize, skip: usize, top: usize) -> (usize, Option<usize>) {
    let quirks = &mut call.world.faults.quirks;
    let left = all.saturating_sub(skip);
    quirks.pages += 1;
    if left > 0 && quirks.empty_pages > 0 && quirks.pages.is_multiple_of(quirks.empty_pages) {
        return (0, Some(skip));
    }
    let count = if quirks.short_pages && left > 1 { left.min(top).div_ceil(2) } else { left.min(top) };
    if count == left {
        return (count, None);
    }
    quirks.links += 1;
    if quirks.lost_next_links > 0 && quirks.links.is_multiple_of(quirks.lost_next_links) {
        return (count, None);
    }
    (count, Some(skip + count + if quirks.skip_gap { top } else { 0 }))
}

fn find<'a>(call: &'a Call<'_>, number: u64) -> &'a Message {
    call.seen().messages.iter().find(|message| message.number == number).unwrap()
}

/// The same request with another `$skip`, as Graph writes it.
fn next_link(call: &Call<'_>, skip: usize) -> String {
    let path = call.asked.target.split('?').next().unwrap_or_default();
    let plain = call.asked.query().into_iter().filter(|(name, _)| !["$skip", "skip"].contains(&name.as_str()));
    let mut options: Vec<String> =
        plain.map(|(name, value)| format!("{}={}", encoded(&name), encoded(&value))).collect();
    options.push(format!("%24skip={skip}"));
    format!("{}{path}?{}", call.world.root, options.join("&"))
}

/// One message and what can be done to it.
pub(super) fn message(call: &mut Call<'_>, id: &str, deed: &[&str], more: &[&str]) -> Answer {
    let formed = id.starts_with("AAMk") || id.starts_with("AQMk") || id.starts_with("AAkA");
    let found = call.seen().find(id).map(|message| (message.number, message.kind));
    let Some((number, kind)) = found else { return call.refuse(if formed { NOT_FOUND } else { MALFORMED }) };
    let method = call.asked.method.clone();
    if method != "GET" && !call.writes {
        return call.refuse(DENIED);
    }
    if kind == Kind::Corrupt && method == "GET" {
        let message = "The message content could not be converted.";
        return call.refuse((500, "ErrorContentConversionFailed", message));
    }
    match (method.as_str(), deed) {
        ("GET", []) => entity(call, 200, number),
        ("GET", ["$value"]) => mime(call, number),
        ("GET", ["attachments", ..]) => attachments(call, number, &more[1..]),
        ("PATCH", []) => patch(call, number),
        ("DELETE", []) => {
            let bin = call.seen().folder("deleteditems");
            if find(call, number).folder == bin {
                call.mailbox().erase(number);
            } else {
                call.mailbox().relocate(number, bin);
            }
            Answer::new(204, "text/plain", "")
        }
        ("POST", ["permanentdelete"]) => {
            call.mailbox().erase(number);
            Answer::new(204, "text/plain", "")
        }
        ("POST", ["move" | "copy"]) => relocate(call, number, deed[0] == "copy"),
        _ => call.refuse(BAD_REQUEST),
    }
}

fn entity(call: &Call<'_>, status: u16, number: u64) -> Answer {
    let context = json!("https://graph.microsoft.com/v1.0/$metadata#message");
    let mut fields = vec![("@odata.context", context)];
    fields.extend(message_fields(call, find(call, number)));
    call.json(status, object(&fields))
}

fn mime(call: &Call<'_>, number: u64) -> Answer {
    let message = find(call, number);
    let limit = call.world.faults.quirks.mime_limit;
    if message.kind == Kind::Smime {
        return call.refuse((500, "ErrorMimeContentConversionFailed", "MIME content conversion failed."));
    }
    if limit > 0 && message.mime.len() > limit {
        return call.refuse((504, "UnknownError", ""));
    }
    call.preferences(Answer::new(200, "text/plain", message.mime.clone()))
}

fn patch(call: &mut Call<'_>, number: u64) -> Answer {
    let body: Value = serde_json::from_slice(&call.asked.body).unwrap_or_default();
    let unreadable = (400, "RequestBodyRead", "The property does not exist on type 'microsoft.graph.message'.");
    let Some(fields) = body.as_object() else { return call.refuse(unreadable) };
    let known = ["isRead", "categories", "flag", "importance", "subject"];
    if fields.is_empty() || fields.keys().any(|name| !known.contains(&name.as_str())) {
        return call.refuse(unreadable);
    }
    let mailbox = call.mailbox();
    mailbox.touch(number);
    let message = mailbox.message(number);
    if let Some(read) = body["isRead"].as_bool() {
        message.is_read = read;
    }
    if let Some(list) = body["categories"].as_array() {
        message.categories = list.iter().filter_map(|one| one.as_str()).map(ToOwned::to_owned).collect();
    }
    if let Some(status) = body["flag"]["flagStatus"].as_str() {
        message.flagged = status == "flagged";
    }
    entity(call, 200, number)
}

fn relocate(call: &mut Call<'_>, number: u64, copy: bool) -> Answer {
    let body: Value = serde_json::from_slice(&call.asked.body).unwrap_or_default();
    let to = match place(call, body["destinationId"].as_str().unwrap_or_default()) {
        Ok(to) => to,
        Err(refused) => return refused,
    };
    let now = call.world.clock.now();
    let mailbox = call.mailbox();
    if !copy {
        mailbox.relocate(number, to);
        return entity(call, 201, number);
    }
    let (mime, kind) = (mailbox.message(number).mime.clone(), mailbox.message(number).kind);
    let copied = mailbox.deliver("inbox", &mime, now);
    (mailbox.message(copied).folder, mailbox.message(copied).kind) = (to, kind);
    entity(call, 201, copied)
}

/// What is shown of a message: what was chosen, and what always is.
pub(super) fn message_fields(call: &Call<'_>, message: &Message) -> Fields {
    let mailbox = call.seen();
    let etag = format!("W/\"CQAAABYAAADHcgC8Hl9tRZ/hc1wEUs1TAAA{:08X}\"", message.change);
    let mut fields = vec![("@odata.etag", json!(etag)), ("id", json!(mailbox.id(message, call.immutable)))];
    if message.kind == Kind::Event {
        fields.insert(0, ("@odata.type", json!("#microsoft.graph.eventMessageRequest")));
    }
    fields.extend(chosen(call, all_fields(call, message)));
    fields
}

fn all_fields(call: &Call<'_>, message: &Message) -> Fields {
    let (mailbox, head) = (call.seen(), &message.head);
    let select = call.query.select();
    let wants = |name: &str| select.as_ref().is_some_and(|list| list.iter().any(|one| one == name));
    let time = |time| written(time, "%Y-%m-%dT%H:%M:%SZ");
    let received = time(message.received);
    let person = |(name, address): &(Option<String>, String)| json!({"emailAddress": {"name": name.as_deref().unwrap_or(address), "address": address}});
    let people = |list: &[(Option<String>, String)]| json!(list.iter().map(person).collect::<Vec<_>>());
    let from = head.from.first().filter(|_| message.kind != Kind::Draft).map(person);
    // a body costs: it is read only where it is shown
    let text = if select.is_none() || wants("body") || wants("bodyPreview") { message.text() } else { String::new() };
    let mut fields = vec![
        ("createdDateTime", json!(received)),
        ("lastModifiedDateTime", json!(received)),
        ("changeKey", json!(format!("CQAAABYAAADHcgC8Hl9tRZ/hc1wEUs1TAAA{:08X}", message.change))),
        ("categories", json!(message.categories)),
        ("receivedDateTime", json!(received)),
        ("sentDateTime", json!(head.sent.map_or_else(|| received.clone(), time))),
        ("hasAttachments", json!(head.has_attachments)),
        ("internetMessageId", json!(head.message_id)),
        ("subject", json!(head.subject)),
        ("bodyPreview", json!(text.chars().take(255).collect::<String>())),
        ("importance", json!("normal")),
        ("parentFolderId", json!(mailbox.folder_id(message.folder))),
        ("conversationId", json!(format!("AAQkAGE{}", URL_SAFE.encode(message.number.to_be_bytes())))),
        ("isDeliveryReceiptRequested", Value::Null),
        ("isReadReceiptRequested", json!(false)),
        ("isRead", json!(message.is_read)),
        ("isDraft", json!(message.kind == Kind::Draft)),
        ("webLink", json!("https://outlook.office365.com/owa/?ItemID=x&exvsurl=1&viewmodel=ReadMessageItem")),
        ("inferenceClassification", json!("focused")),
        ("body", json!({"contentType": "text", "content": text})),
        ("sender", json!(from)),
        ("from", json!(from)),
        ("toRecipients", people(&head.to)),
        ("ccRecipients", people(&head.cc)),
        ("bccRecipients", json!([])),
        ("replyTo", json!([])),
        ("flag", json!({"flagStatus": if message.flagged { "flagged" } else { "notFlagged" }})),
    ];
    if wants("internetMessageHeaders") {
        let list = head.headers.iter().map(|(name, value)| json!({"name": name, "value": value}));
        fields.push(("internetMessageHeaders", json!(list.collect::<Vec<_>>())));
    }
    if wants("uniqueBody") {
        fields.push(("uniqueBody", json!({"contentType": "text", "content": text})));
    }
    fields
}

/// The fields of `$select`.
fn chosen(call: &Call<'_>, fields: Fields) -> Fields {
    match call.query.select() {
        Some(select) => fields
            .into_iter()
            .filter(|(name, _)| name.starts_with('@') || *name == "id" || select.iter().any(|one| one == name))
            .collect(),
        None => fields,
    }
}

fn value(fields: &Fields) -> Value {
    // the order of a list's fields is lost here, and matters to nobody
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<serde_json::Map<_, _>>().into()
}

// ---- attachments ----------------------------------------------------------------------------------------------------

fn attachments(call: &Call<'_>, number: u64, rest: &[&str]) -> Answer {
    let list = find(call, number).attachments();
    let ids: Vec<String> = (0..list.len()).map(|at| attachment_id(number, at)).collect();
    let [id, rest @ ..] = rest else {
        let value: Vec<Value> =
            list.iter().zip(&ids).map(|(one, id)| value(&chosen(call, attachment_fields(call, one, id)))).collect();
        let mut fields = vec![("@odata.context", call.context("/messages/attachments")), ("value", json!([]))];
        fields[1].1 = json!(value);
        return call.json(200, object(&fields));
    };
    let Some(at) = ids.iter().position(|own| own == id) else { return call.refuse(NOT_FOUND) };
    match rest {
        [] => {
            let mut fields = vec![("@odata.context", call.context("/messages/attachments/$entity"))];
            fields.extend(chosen(call, attachment_fields(call, &list[at], id)));
            call.json(200, object(&fields))
        }
        [last] if last.eq_ignore_ascii_case("$value") => match list[at].kind {
            AttachmentKind::Reference => {
                let message = "The $value of a reference attachment is not supported.";
                call.refuse((405, "ErrorInvalidRequest", message))
            }
            AttachmentKind::Item => Answer::new(200, "text/plain", list[at].bytes.clone()),
            AttachmentKind::File => Answer::new(200, &list[at].media_type, list[at].bytes.clone()),
        },
        _ => call.refuse(BAD_REQUEST),
    }
}

fn attachment_id(number: u64, at: usize) -> String {
    let bytes = [&number.to_be_bytes()[..], &[0xFB, u8::try_from(at).unwrap()]].concat();
    format!("AAMkAGUzY5QKjAAABEgAQ{}", URL_SAFE.encode(bytes))
}

fn attachment_fields(call: &Call<'_>, attachment: &Attachment, id: &str) -> Fields {
    let (kind, media) = match attachment.kind {
        AttachmentKind::File => ("#microsoft.graph.fileAttachment", json!(attachment.media_type)),
        AttachmentKind::Item => ("#microsoft.graph.itemAttachment", Value::Null),
        AttachmentKind::Reference => ("#microsoft.graph.referenceAttachment", Value::Null),
    };
    let mut fields = vec![("@odata.type", json!(kind))];
    if attachment.kind == AttachmentKind::File {
        fields.push(("@odata.mediaContentType", media.clone()));
    }
    fields.extend([
        ("id", json!(id)),
        ("lastModifiedDateTime", json!("2019-04-02T03:41:29Z")),
        ("name", json!(attachment.name)),
        ("contentType", media),
        ("size", json!(attachment.bytes.len() + 348)),
        ("isInline", json!(attachment.inline)),
    ]);
    if attachment.kind == AttachmentKind::File {
        fields.push(("contentId", json!(attachment.content_id)));
        fields.push(("contentLocation", Value::Null));
        fields.push(("contentBytes", json!(STANDARD.encode(&attachment.bytes))));
    }
    let expand = call.query.get("expand").unwrap_or_default().to_lowercase();
    if attachment.kind == AttachmentKind::Item && expand.contains("itemattachment/item") {
        let item = json!({"@odata.type": "#microsoft.graph.message", "subject": attachment.name});
        fields.push(("item", item));
    }
    fields
}
