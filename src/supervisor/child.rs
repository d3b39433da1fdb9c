//! A launcher's thread: started, watched, started again when it should fall, stopped.
//!
//! One thread with a current-thread runtime for each launcher, so that the ledger and files may block it without holding
//! up anybody else. Not the launcher's loop: what runs here is only expected to go on until it is told to stop. A
//! launcher that ends before that, by a panic or by itself, would be a silent stop: it is said and it starts again.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::event::{Event, Events, Level};
use crate::model::ServiceName;
use crate::text;

/// A running launcher.
#[derive(Debug)]
pub(super) struct Child {
    stop: CancellationToken,
    abort: CancellationToken,
    ended: CancellationToken,
}

impl Child {
    /// Starts `run` on a thread of its own, as soon as `after` has ended: two of one launcher never run at once.
    pub(super) fn start<R, F>(
        name: &ServiceName,
        events: &Events,
        after: Option<&Self>,
        run: R,
    ) -> std::io::Result<Self>
    where
        R: Fn(CancellationToken) -> F + Send + 'static,
        F: Future<Output = ()>,
    {
        let child =
            Self { stop: CancellationToken::new(), abort: CancellationToken::new(), ended: CancellationToken::new() };
        let before = after.map(|child| child.ended.clone());
        // dropped with the thread's closure, also when the thread cannot be made
        let ended = child.ended.clone().drop_guard();
        let (stop, abort) = (child.stop.clone(), child.abort.clone());
        let watch = Watch { name: name.clone(), events: events.clone(), stop, abort };
        std::thread::Builder::new().name(name.as_str().replace('\0', "")).spawn(move || {
            let _ended = ended;
            watch.run(before, run);
        })?;
        Ok(child)
    }

    /// Asks it to stop between two items.
    pub(super) fn ask(&self) {
        self.stop.cancel();
    }

    /// Stops it where it waits next. What was half done, the ledger takes up again.
    pub(super) fn abort(&self) {
        self.stop.cancel();
        self.abort.cancel();
    }

    /// Returns when its thread has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// A child that nobody holds any more stops by itself.
impl Drop for Child {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What the thread itself does.
struct Watch {
    name: ServiceName,
    events: Events,
    stop: CancellationToken,
    abort: CancellationToken,
}

impl Watch {
    fn run<R, F>(&self, before: Option<CancellationToken>, run: R)
    where
        R: Fn(CancellationToken) -> F,
        F: Future<Output = ()>,
    {
        let mut backoff = Backoff::new(FIRST_DELAY, LARGEST_DELAY);
        let Some(runtime) = self.runtime() else { return };
        if let Some(before) = before {
            runtime.block_on(before.cancelled());
        }
        while !self.stop.is_cancelled() {
            let began = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(self.until_aborted(&run))));
            if self.stop.is_cancelled() {
                break;
            }
            if began.elapsed() > LARGEST_DELAY {
                backoff.reset();
            }
            let delay = backoff.next_delay();
            self.tell(outcome.err().as_deref(), delay);
            let wait = tokio::time::timeout;
            let _ = runtime.block_on(async { wait(delay, self.stop.cancelled()).await });
        }
        // an open name resolution must not hold up the end
        runtime.shutdown_background();
    }

    async fn until_aborted<R, F>(&self, run: &R)
    where
        R: Fn(CancellationToken) -> F,
        F: Future<Output = ()>,
    {
        tokio::select! {
            () = run(self.stop.clone()) => {}
            () = self.abort.cancelled() => {}
        }
    }

    fn runtime(&self) -> Option<Runtime> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        // the thread that stages and delivers is of no use between two cycles
        let runtime = builder.enable_all().thread_keep_alive(Duration::from_secs(1)).build();
        runtime
            .map_err(|error| {
                let words = text!("cannot start this launcher: {error}", "impossible de démarrer ce lanceur : {error}");
                self.events.emit(Event::new(Level::Critical, "launcher_not_started", words).of(&self.name));
            })
            .ok()
    }

    fn tell(&self, panic: Option<&(dyn Any + Send)>, delay: Duration) {
        let why = panic.map_or("it ended by itself", words);
        let seconds = delay.as_secs_f32().ceil();
        let text = text!(
            "the launcher fell ({why}): it starts again in {seconds} s; please report this, nothing is lost",
            "le lanceur est tombé ({why}) : il redémarre dans {seconds} s ; merci de le signaler, rien n'est perdu"
        );
        self.events.emit(Event::new(Level::Critical, "launcher_fell", text).of(&self.name));
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?")
}

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LARGEST_DELAY: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::sync::{Arc, Mutex};

    use super::*;

    fn listener() -> (Events, Arc<Mutex<Vec<Event>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&seen);
        (Events::to(move |event| list.lock().unwrap().push(event)), seen)
    }

    #[tokio::test]
    async fn a_launcher_that_panics_is_started_again_and_said() {
        let (events, seen) = listener();
        let (sender, calls) = mpsc::channel();
        let count = Arc::new(AtomicUsize::new(0));
        let child = Child::start(&ServiceName::new("l"), &events, None, move |stop| {
            let round = count.fetch_add(1, Ordering::SeqCst);
            sender.send(round).unwrap();
            async move {
                assert!(round > 0, "first round");
                stop.cancelled().await;
            }
        })
        .unwrap();
        assert_eq!(calls.recv().unwrap(), 0);
        assert_eq!(calls.recv().unwrap(), 1);
        child.ask();
        child.ended().await;
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].name, "launcher_fell");
        assert!(seen[0].text.en.contains("first round"), "{}", seen[0].text);
    }

    #[tokio::test]
    async fn a_launcher_that_does_not_listen_is_aborted() {
        let (sender, began) = mpsc::channel();
        let child = Child::start(&ServiceName::new("l"), &Events::nowhere(), None, move |_| {
            sender.send(()).unwrap();
            std::future::pending()
        })
        .unwrap();
        began.recv().unwrap();
        child.ask();
        assert!(tokio::time::timeout(Duration::from_millis(20), child.ended()).await.is_err());
        child.abort();
        child.ended().await;
    }

    #[tokio::test]
    async fn a_successor_waits_for_the_one_before() {
        let (sender, order) = mpsc::channel();
        let name = ServiceName::new("l");
        let first = {
            let sender = sender.clone();
            Child::start(&name, &Events::nowhere(), None, move |stop| {
                let sender = sender.clone();
                async move {
                    sender.send("first begins").unwrap();
                    stop.cancelled().await;
                    tokio::task::yield_now().await;
                    sender.send("first ends").unwrap();
                }
            })
            .unwrap()
        };
        let second = Child::start(&name, &Events::nowhere(), Some(&first), move |stop| {
            sender.send("second begins").unwrap();
            async move { stop.cancelled().await }
        })
        .unwrap();
        assert_eq!(order.recv().unwrap(), "first begins");
        first.ask();
        assert_eq!([order.recv().unwrap(), order.recv().unwrap()], ["first ends", "second begins"]);
        second.ask();
        second.ended().await;
    }
}
