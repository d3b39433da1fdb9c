//! What a cycle did, in the words of the contract.
//!
//! Counts only: what happened to each item is in the ledger and in the events.

use serde::Serialize;

use crate::model::{Fault, ServiceName};

/// What a cycle did. Serialised it is one object of `fetch --json`; never translated.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The launcher.
    pub name: String,
    /// What became of the items that the cycle saw.
    pub items: Items,
    /// What became of their documents.
    pub files: Files,
    /// Why the cycle ended early.
    #[serde(serialize_with = "error")]
    pub error: Option<Fault>,
}

/// Messages, envelopes or dropped files; each is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Items {
    /// The sum of the others.
    pub found: u64,
    /// Delivered whole.
    pub delivered: u64,
    /// Done by an earlier cycle.
    pub already: u64,
    /// No document in it, or all filtered out.
    pub empty: u64,
    /// Left out by `filter_from` or `filter_subject`.
    pub rejected: u64,
    /// Put into quarantine, whole or in part.
    pub quarantined: u64,
    /// To be tried again.
    pub failed: u64,
}

/// Documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Published.
    pub delivered: u64,
    /// Left out by `filter`, or inline.
    pub filtered: u64,
    /// Put into quarantine.
    pub quarantined: u64,
}

impl Report {
    /// A report that says nothing yet.
    pub fn new(name: &ServiceName) -> Self {
        Self { name: name.to_string(), items: Items::default(), files: Files::default(), error: None }
    }

    /// The same, ended by an error.
    #[must_use]
    pub fn failed(mut self, fault: Fault) -> Self {
        self.error = Some(fault);
        self
    }

    /// The counts of items, each with its word.
    pub fn items_by_word(&self) -> Vec<(&'static str, u64)> {
        let Items { found, delivered, already, empty, rejected, quarantined, failed } = self.items;
        vec![
            ("found", found),
            ("delivered", delivered),
            ("already", already),
            ("empty", empty),
            ("rejected", rejected),
            ("quarantined", quarantined),
            ("failed", failed),
        ]
    }

    /// The counts of files, each with its word.
    pub fn files_by_word(&self) -> Vec<(&'static str, u64)> {
        let Files { delivered, filtered, quarantined } = self.files;
        vec![("delivered", delivered), ("filtered", filtered), ("quarantined", quarantined)]
    }

    /// Whether `fetch` ends with 0 as far as this launcher is concerned.
    pub fn is_success(&self) -> bool {
        self.error.is_none() && self.items.failed == 0
    }

    /// Sets `found` to the sum of the others.
    pub(super) fn sum_up(&mut self) {
        let items = &mut self.items;
        items.found = items.delivered + items.already + items.empty + items.rejected + items.quarantined + items.failed;
    }
}

#[allow(clippy::ref_option)] // the shape that serde wants
fn error<S: serde::Serializer>(fault: &Option<Fault>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Error<'a> {
        code: &'a str,
        message: &'a str,
    }
    fault.as_ref().map(|fault| Error { code: fault.code.as_str(), message: &fault.text.en }).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Code;
    use crate::text::Text;

    #[test]
    fn the_json_is_the_contracts() {
        let report = Report::new(&ServiceName::new("factures"));
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"name":"factures","items":{"found":0,"delivered":0,"already":0,"empty":0,"rejected":0,"quarantined":0,"failed":0},"files":{"delivered":0,"filtered":0,"quarantined":0},"error":null}"#
        );
        let report = report.failed(Fault::new(Code::Busy, Text { en: "busy".into(), fr: "occupé".into() }));
        assert!(serde_json::to_string(&report).unwrap().ends_with(r#""error":{"code":"busy","message":"busy"}}"#));
        assert!(!report.is_success());
    }
}
