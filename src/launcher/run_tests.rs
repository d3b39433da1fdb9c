//! The launcher's loop on a paused clock, with a directory as its source.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::*;
use crate::delivery::spool::Spool;
use crate::model::{Fault, ItemKey};
use crate::oauth::{Identity, SignedIn, Store};
use crate::secret::Secret;
use crate::source::outlet::Outlet;
use crate::source::{Cursor, Discovery, Fingerprint, Item, SourceError};

/// Runs a launcher of a directory for so long; answers the seconds at which its cycles ended.
async fn cycles(interval: &str, how_long: Duration) -> Vec<u64> {
    let dir = tempfile::tempdir().unwrap();
    for name in ["drop", "cold"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let text = format!(
        "[a]\nlauncher = directory\nsource = {0}/drop\ndeliver = {0}/cold\ninterval = {interval}\n",
        dir.path().display()
    );
    let config = crate::config::load_bytes(Path::new("t.ini"), text.as_bytes(), &crate::config::Overrides::default());
    let launcher = Arc::new(config.unwrap().launchers.remove(0));
    let (told, began) = (Arc::new(Mutex::new(Vec::new())), Instant::now());
    let sink = Arc::clone(&told);
    let events = Events::to(move |event| {
        assert_eq!(event.name, "cycle_done", "{}", event.text);
        sink.lock().unwrap().push(began.elapsed().as_secs());
    });
    let env = Env::new(dir.path().join("state"), events);
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let timer = async {
        tokio::time::sleep(how_long).await;
        stopping.cancel();
    };
    tokio::join!(run(launcher, env, stop), timer);
    told.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn the_first_cycle_comes_soon_and_the_others_an_interval_apart() {
    let times = cycles("5m", Duration::from_mins(21)).await;
    assert_eq!(times.len(), 5, "{times:?}");
    assert!(times[0] <= 4, "{times:?}");
    assert!(times.windows(2).all(|pair| (300..302).contains(&(pair[1] - pair[0]))), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn launchers_that_start_together_do_not_knock_together() {
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let due = Due::first(&Interval::Every(Duration::from_hours(1)));
        let began = Instant::now();
        due.wait(None).await;
        assert!(began.elapsed() <= Duration::from_secs(5));
        firsts.insert(began.elapsed().as_millis() / 100);
    }
    assert!(firsts.len() > 10, "{firsts:?}");
}

async fn waited(due: Due) -> u64 {
    let began = Instant::now();
    due.wait(None).await;
    began.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn trouble_decides_when_to_come_back() {
    let every = |seconds| Interval::Every(Duration::from_secs(seconds));
    for (interval, largest) in [(30, 300), (3600, 3600)] {
        let interval = every(interval);
        let mut backoff = Backoff::new(FIRST_RETRY, largest_retry(&interval));
        let mut longest = 0;
        for step in 0..12 {
            let seconds = waited(next_due(&interval, Next::Backoff(None), &mut backoff)).await;
            assert!(step > 0 || (5..=10).contains(&seconds), "{seconds}");
            longest = longest.max(seconds);
        }
        assert!((largest / 2..=largest).contains(&longest), "{longest}");
        let asked = Next::Backoff(Some(Duration::from_secs(9999)));
        assert_eq!(waited(next_due(&interval, asked, &mut backoff)).await, 9999);
        let for_ever = Next::Backoff(Some(Duration::MAX));
        assert_eq!(waited(next_due(&interval, for_ever, &mut backoff)).await, 24 * 3600);
        let refused = waited(next_due(&interval, Next::Credentials, &mut backoff)).await;
        assert!((1200..=3600).contains(&refused), "{refused}");
    }
}

/// A mailbox that can be locked, or never says what it has.
struct Door {
    open: Arc<AtomicBool>,
    silent: bool,
}

#[async_trait::async_trait]
impl Source for Door {
    async fn discover(&mut self, _: Option<&Cursor>) -> Result<Discovery, SourceError> {
        if self.silent {
            std::future::pending::<()>().await;
        }
        if self.open.load(Ordering::SeqCst) {
            return Ok(Discovery {
                items: Vec::new(),
                cursor: None,
                start: None,
                present: None,
                copies: 0,
                standing: false,
            });
        }
        Err(SourceError::Credentials(Fault::new(Code::Credentials, text!("revoked", "révoqué"))))
    }

    async fn identify(&mut self, _: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        Ok(Vec::new())
    }

    async fn fetch(&mut self, _: &[Item], _: &Spool, _: Outlet) -> Result<(), SourceError> {
        Ok(())
    }

    async fn acknowledge(&mut self, _: &[ItemKey], _: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        Ok(Vec::new())
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

/// A launcher of an account that signs in, on a paused clock.
struct Account {
    dir: tempfile::TempDir,
    launcher: Launcher,
    open: Arc<AtomicBool>,
    silent: bool,
}

impl Account {
    fn new(kind: &str, interval: &str, open: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("cold")).unwrap();
        let text = format!(
            "[mes factures]\n{kind}\nclient_id = 00000000-0000-0000-0000-000000000001\naccount = a@example.org\n\
             deliver = {}/cold\ninterval = {interval}\n",
            dir.path().display()
        );
        let overrides = crate::config::Overrides::default();
        let launcher = crate::config::load_bytes(Path::new("t.ini"), text.as_bytes(), &overrides).unwrap();
        let account = Self { dir, launcher: launcher.launchers[0].clone(), open: Arc::new(open.into()), silent: false };
        account.login("first");
        account
    }

    /// `pertuis login` in another process.
    fn login(&self, refresh: &str) {
        let now = std::time::SystemTime::now();
        let (refresh, identity) = (Secret::new(refresh), Identity::default());
        let signed_in = SignedIn { refresh, identity, since: now, renewed: now };
        Store::open(self.dir.path(), &self.launcher).unwrap().put(&signed_in).unwrap();
    }

    /// Something ends the sign-in.
    fn ruin(&self) {
        let tokens = fs::read_dir(self.dir.path().join("tokens")).unwrap().map(|entry| entry.unwrap().path());
        let file = tokens.filter(|path| path.extension().is_none()).last().unwrap();
        fs::write(file, "garbage").unwrap();
    }

    /// Runs the launcher while `script` does; answers when its cycles ended, and how.
    async fn live(&self, script: impl Future<Output = ()>) -> Vec<(u64, String)> {
        let (told, began) = (Arc::new(Mutex::new(Vec::new())), Instant::now());
        let sink = Arc::clone(&told);
        let events = Events::to(move |event| {
            let fault = event.cycle.map(|cycle| cycle.fault.map_or("done".to_owned(), |fault| fault.text.fr.into()));
            sink.lock().unwrap().extend(fault.map(|how| (began.elapsed().as_secs(), how)));
        });
        let (env, stop) = (Env::new(self.dir.path().to_owned(), events), CancellationToken::new());
        let door = || Box::new(Door { open: Arc::clone(&self.open), silent: self.silent }) as Box<dyn Source>;
        let running = rounds(&self.launcher, &env, &stop, door);
        tokio::join!(running, async {
            script.await;
            stop.cancel();
        });
        told.lock().unwrap().clone()
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

const KINDS: [&str; 2] = ["launcher = o365", "launcher = imap\nserver = outlook.office365.com\nauth = xoauth2"];

#[tokio::test(start_paused = true)]
async fn a_cycle_that_is_stopped_before_it_saw_anything_ends_no_alert() {
    for silent in [true, false] {
        let account = Account { silent, ..Account::new(KINDS[0], "5m", true) };
        let told = account.live(pass(100)).await;
        assert_eq!(told.is_empty(), silent, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_launcher_goes_on_within_seconds_after_a_sign_in() {
    for kind in KINDS {
        let account = Account::new(kind, "5m", false);
        let times = account
            .live(async {
                pass(1900).await;
                account.open.store(true, Ordering::SeqCst);
                account.login("second");
                pass(10).await;
            })
            .await;
        let [(_, first), (at, second), (resumed, third)] = times.as_slice() else { panic!("{times:?}") };
        assert_eq!([first, second, third], ["révoqué", "révoqué", "done"]);
        assert!((1200..1210).contains(at) && (1900..=1906).contains(resumed), "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_does_not_help_wakes_nobody() {
    let account = Account::new(KINDS[0], "5m", false);
    let store = Store::open(account.dir.path(), &account.launcher).unwrap();
    let times = account
        .live(async {
            pass(100).await;
            let signed_in = store.get().unwrap().unwrap();
            store.put(&SignedIn { refresh: Secret::new("rotated"), ..signed_in }).unwrap();
            pass(1000).await;
        })
        .await;
    assert_eq!(times.len(), 1, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_launcher_that_seldom_runs_says_the_same_day_that_its_sign_in_is_lost() {
    for kind in KINDS {
        let account = Account::new(kind, "30d", true);
        let times = account
            .live(async {
                pass(1000).await;
                account.ruin();
                pass(9000).await;
                account.login("second");
                pass(10).await;
            })
            .await;
        let [(_, first), (at, lost), (resumed, again)] = times.as_slice() else { panic!("{times:?}") };
        assert!(lost.contains("`pertuis login \"mes factures\"`"), "{lost}");
        assert_eq!([first, again], ["done", "done"]);
        assert!((3600..3610).contains(at) && (10_000..=10_006).contains(resumed), "{times:?}");
    }
}
