//! What Graph says, as far as it is read (Microsoft Graph v1.0: `message`, `mailFolder`, `attachment`).
//!
//! Not its schema: every field that can be absent or null is, and nothing is read that is not used.

use serde::Deserialize;
use serde_json::Value;

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    /// What is on it; may be fewer than were asked for, and none although more follow.
    pub(super) value: Vec<T>,
    /// Where it goes on; opaque.
    #[serde(rename = "@odata.nextLink")]
    pub(super) next: Option<String>,
    /// Where the next round begins; opaque. Delta only.
    #[serde(rename = "@odata.deltaLink")]
    pub(super) delta: Option<String>,
}

/// A message in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) received_date_time: Option<String>,
    /// Delta: it has left the folder.
    #[serde(rename = "@removed")]
    pub(super) removed: Option<Value>,
}

/// Where a message is and what it carries.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    pub(super) parent_folder_id: Option<String>,
    pub(super) received_date_time: Option<String>,
    pub(super) categories: Option<Vec<String>>,
}

/// A folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MailFolder {
    pub(super) id: String,
    pub(super) display_name: Option<String>,
    pub(super) parent_folder_id: Option<String>,
    pub(super) child_folder_count: Option<u64>,
    pub(super) total_item_count: Option<u64>,
    pub(super) is_hidden: Option<bool>,
    #[serde(rename = "@odata.type")]
    kind: Option<String>,
}

impl MailFolder {
    /// A stored search: a view of other folders.
    pub(super) fn is_search(&self) -> bool {
        self.kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("#microsoft.graph.mailSearchFolder"))
    }
}

/// Who signed in.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) mail: Option<String>,
    pub(super) user_principal_name: Option<String>,
}

/// A whole message but its attachments.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message {
    pub(super) subject: Option<String>,
    pub(super) from: Option<Recipient>,
    pub(super) sender: Option<Recipient>,
    pub(super) reply_to: Option<Vec<Recipient>>,
    pub(super) to_recipients: Option<Vec<Recipient>>,
    pub(super) cc_recipients: Option<Vec<Recipient>>,
    pub(super) bcc_recipients: Option<Vec<Recipient>>,
    pub(super) internet_message_id: Option<String>,
    pub(super) sent_date_time: Option<String>,
    pub(super) received_date_time: Option<String>,
    pub(super) body: Option<Body>,
    pub(super) web_link: Option<String>,
}

/// The properties of [`Message`].
pub(super) const MESSAGE: &str = "subject,from,sender,replyTo,toRecipients,ccRecipients,bccRecipients,\
    internetMessageId,sentDateTime,receivedDateTime,body,webLink";

/// Somebody.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Recipient {
    pub(super) email_address: Option<EmailAddress>,
}

/// Name and address.
#[derive(Debug, Default, Deserialize)]
pub(super) struct EmailAddress {
    pub(super) name: Option<String>,
    pub(super) address: Option<String>,
}

/// The text of a message.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    pub(super) content_type: Option<String>,
    pub(super) content: Option<String>,
}

/// An attachment in a list, without its content.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) is_inline: Option<bool>,
    pub(super) source_url: Option<String>,
    #[serde(rename = "@odata.type")]
    kind: Option<String>,
}

/// What kind of attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes.
    File,
    /// A message, an event or a contact.
    Item,
    /// A link to a file that lies elsewhere; it has no bytes.
    Reference,
}

impl Attachment {
    pub(super) fn kind(&self) -> Kind {
        match self.kind.as_deref().unwrap_or_default().rsplit('.').next().unwrap_or_default() {
            kind if kind.eq_ignore_ascii_case("itemAttachment") => Kind::Item,
            kind if kind.eq_ignore_ascii_case("referenceAttachment") => Kind::Reference,
            _ => Kind::File,
        }
    }
}

/// The `error` of an answer, also one inside a list that was broken off: its codes from the outside in, and its sentence.
pub(super) fn error_of(answer: &Value) -> Option<(Vec<String>, String)> {
    let inside = || answer.get("value")?.as_array()?.iter().find_map(|entry| entry.get("error"));
    let error = answer.get("error").filter(|error| error.is_object()).or_else(inside)?;
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (mut codes, mut level) = (Vec::new(), Some(error));
    while let Some(error) = level.filter(|_| codes.len() < DEEPEST) {
        codes.extend(error.get("code").and_then(Value::as_str).map(ToOwned::to_owned));
        level = error.get("innerError").or_else(|| error.get("innererror"));
    }
    Some((codes, message))
}

const DEEPEST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_wherever_it_stands() {
        let plain = serde_json::json!({"error": {"code": "A", "message": "m", "innererror": {"code": "B"}}});
        assert_eq!(error_of(&plain), Some((vec!["A".to_owned(), "B".to_owned()], "m".to_owned())));
        let inside = serde_json::json!({"value": [{"id": "1"}, {"error": {"code": "C"}}]});
        assert_eq!(error_of(&inside), Some((vec!["C".to_owned()], String::new())));
        assert_eq!(error_of(&serde_json::json!({"value": [{"id": "1"}]})), None);
    }

    #[test]
    fn kinds_of_attachments_are_told_by_their_type() {
        let kind = |kind: &str| {
            let attachment: Attachment =
                serde_json::from_value(serde_json::json!({"id": "1", "@odata.type": kind})).unwrap();
            attachment.kind()
        };
        assert_eq!(kind("#microsoft.graph.itemAttachment"), Kind::Item);
        assert_eq!(kind("#microsoft.graph.referenceAttachment"), Kind::Reference);
        assert_eq!(kind("#Microsoft.OutlookServices.FileAttachment"), Kind::File);
    }
}
