//! The progress bars of `fetch`: one for each launcher that has something to do, on a terminal only.
//!
//! Not an output: what was done is said by the summary; the bars vanish with the end. Lines that are printed meanwhile
//! go above them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::model::ServiceName;

/// All bars. Cheap to clone.
#[derive(Clone)]
pub(super) struct Bars {
    all: MultiProgress,
    each: Arc<Mutex<HashMap<ServiceName, ProgressBar>>>,
    /// Somebody sees them.
    pub(super) drawn: bool,
}

impl Bars {
    /// Bars on standard error; nothing is drawn where that is no terminal, or `hidden`.
    pub(super) fn new(hidden: bool) -> Self {
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let all = MultiProgress::with_draw_target(target);
        let drawn = !all.is_hidden();
        Self { all, each: Arc::default(), drawn }
    }

    /// So many of so many items of a launcher are done.
    pub(super) fn show(&self, launcher: &ServiceName, done: u64, total: u64) {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = each.entry(launcher.clone()).or_insert_with(|| self.add(launcher, total));
        bar.set_position(done);
    }

    /// Prints something meanwhile.
    pub(super) fn above(&self, print: impl FnOnce()) {
        if self.drawn { self.all.suspend(print) } else { print() }
    }

    /// Takes the bars away.
    pub(super) fn end(&self) {
        // a terminal that has gone is no reason to fail
        let _ = self.all.clear();
    }

    fn add(&self, launcher: &ServiceName, total: u64) -> ProgressBar {
        let bar = self.all.add(ProgressBar::new(total));
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.with_prefix(launcher.to_string())
    }
}

const TEMPLATE: &str = "{prefix} {wide_bar} {pos}/{len} {per_sec} {eta}";
