//! The three pages of `metrics`: `/metrics`, `/healthz`, `/readyz`.
//!
//! Not a tunnel, but a port that is taken is treated like one of theirs: said, and tried again, while everything else
//! runs.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::Status;
use super::metrics::OPEN_METRICS;
use crate::backoff::Backoff;
use crate::config::{Address, Endpoint, Owner};
use crate::event::{Event, Events, Level};
use crate::net::http::{self, PLAIN, Page};
use crate::net::listen::{self, BindError};
use crate::text;

/// The pages at an address; they end with this.
#[derive(Debug)]
pub struct Pages {
    address: Address,
    task: JoinHandle<()>,
}

impl Pages {
    /// Serves the pages, as soon as `before` has let go of its port.
    pub fn start(address: Address, status: Status, events: Events, before: Option<Self>) -> Self {
        let work = serve(address.clone(), status, events);
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                before.stop().await;
            }
            work.await;
        });
        Self { address, task }
    }

    /// Where they are wanted.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Ends them and frees the port.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(address: Address, status: Status, events: Events) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    let listeners = loop {
        match listen::bind(&Endpoint::Tcp(address.clone()), &[], &Owner::default()).await {
            Ok(bound) => break bound.listeners,
            Err(error) => events.emit(Event::new(Level::Error, "metrics_bind_failed", bind_failed(&error))),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    };
    for at in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
        let text = text!("Metrics served on http://{at}/metrics", "Mesures servies sur http://{at}/metrics");
        events.emit(Event::new(Level::Notice, "metrics_listening", text));
    }
    http::serve(listeners, move |path| page(path, &status)).await;
}

fn bind_failed(failure: &BindError) -> text::Text {
    let (address, text::Text { en, fr }) = (&failure.address, failure.reason());
    text!(
        "metrics: cannot listen on {address}: {en}; trying again",
        "metrics : écoute sur {address} impossible : {fr} ; nouvel essai"
    )
}

fn page(path: &str, status: &Status) -> Option<Page> {
    match path {
        "/metrics" => Some(Page { good: true, media_type: OPEN_METRICS, body: status.metrics() }),
        "/healthz" => Some(Page { good: true, media_type: PLAIN, body: "ok\n".to_owned() }),
        "/readyz" => Some(ready(status)),
        _ => None,
    }
}

fn ready(status: &Status) -> Page {
    let (lang, unready) = (status.lang(), status.unready());
    let mut body = if unready.is_empty() { "ok\n".to_owned() } else { String::new() };
    for (name, reason) in &unready {
        let _ = writeln!(body, "{name}: {}", reason.get(lang));
    }
    Page { good: unready.is_empty(), media_type: PLAIN, body }
}
