//! A folder as Graph lists it, with all that it is known to do wrong.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::server::{Asked, Reply};

/// What goes wrong with lists.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quirks {
    /// `$skip` grows by more than the page.
    pub(crate) skip_gap: bool,
    /// Pages hold fewer than were asked for.
    pub(crate) short_pages: bool,
    /// A page holds nothing, and has a link.
    pub(crate) empty_page_with_next: bool,
    /// Every other link is missing.
    pub(crate) lost_next_link: bool,
}

/// Messages: id, received, read.
pub(crate) struct Folder {
    pub(crate) messages: Mutex<Vec<(String, String, bool)>>,
    pub(crate) quirks: Quirks,
    /// Ids that make a page fail.
    pub(crate) damaged: Vec<String>,
    /// Unless their ids alone are asked for.
    pub(crate) ids_are_told: bool,
    pages: Mutex<usize>,
}

impl Folder {
    pub(crate) fn new(messages: Vec<(String, String, bool)>, quirks: Quirks) -> Self {
        Self { messages: Mutex::new(messages), quirks, damaged: Vec::new(), ids_are_told: false, pages: Mutex::new(0) }
    }

    /// So many messages, `each` received within one second.
    pub(crate) fn of(count: usize, each: usize, quirks: Quirks) -> Self {
        let start: jiff::Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let message = |n: usize| {
            let received = start + jiff::SignedDuration::from_secs(i64::try_from(n / each).unwrap());
            (format!("AAkAL{n:05}"), received.to_string(), n.is_multiple_of(3))
        };
        Self::new((0..count).map(message).collect(), quirks)
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.messages.lock().unwrap().iter().map(|(id, ..)| id.clone()).collect();
        ids.sort();
        ids
    }

    pub(crate) fn as_json(&self) -> Value {
        let count = self.messages.lock().unwrap().len();
        json!({"id": "AAMkINBOX", "displayName": "Boîte de réception", "totalItemCount": count, "childFolderCount": 0})
    }

    /// A page of the list.
    pub(crate) fn page(&self, root: &str, asked: &Asked) -> Reply {
        let mut messages = self.messages.lock().unwrap().clone();
        let filter = asked.param("$filter");
        for term in filter.split(" and ").filter(|term| !term.is_empty()) {
            let [property, operator, value]: [&str; 3] = term.split(' ').collect::<Vec<_>>().try_into().unwrap();
            messages.retain(|(_, received, read)| match (property, operator) {
                ("receivedDateTime", "ge") => received.as_str() >= value,
                ("isRead", "eq") => read.to_string() == value,
                _ => panic!("{term}"),
            });
        }
        match asked.param("$orderby") {
            "" => messages.sort_by(|a, b| b.1.cmp(&a.1)),
            "receivedDateTime asc" if filter.starts_with("receivedDateTime") => messages.sort_by(|a, b| a.1.cmp(&b.1)),
            _ => return Reply::error(400, "InefficientFilter", "The restriction or sort order is too complex."),
        }
        let number = {
            let mut pages = self.pages.lock().unwrap();
            *pages += 1;
            *pages
        };
        let top: usize = asked.param("$top").parse().unwrap();
        let skip: usize = asked.param("$skip").parse().unwrap_or(0);
        let empty = self.quirks.empty_page_with_next && number % 3 == 2;
        let length = match (empty, self.quirks.short_pages) {
            (true, _) => 0,
            (false, true) => top.min(7),
            (false, false) => top,
        };
        let shown: Vec<_> = messages.iter().skip(skip).take(length).collect();
        let only_ids = self.ids_are_told && asked.param("$select") == "id";
        if !only_ids && shown.iter().any(|(id, ..)| self.damaged.contains(id)) {
            return Reply::error(500, "InternalServerError", "Error while processing response.");
        }
        let value: Vec<Value> = shown
            .iter()
            .map(|(id, received, _)| match asked.param("$select") {
                "id" => json!({"@odata.etag": "W/\"1\"", "id": id}),
                _ => json!({"@odata.etag": "W/\"1\"", "id": id, "receivedDateTime": received}),
            })
            .collect();
        let gap = if self.quirks.skip_gap { 3 } else { 0 };
        let after = skip + length + gap;
        let lost = self.quirks.lost_next_link && number.is_multiple_of(2);
        let mut page = json!({"value": value});
        if skip + length < messages.len() && !lost {
            let query =
                ["$filter", "$orderby", "$top"].map(|name| format!("{name}={}", asked.param(name).replace(' ', "%20")));
            page["@odata.nextLink"] = json!(format!("{root}/v1.0{}?{}&$skip={after}", asked.path, query.join("&")));
        }
        Reply::json(&page)
    }
}
