//! The launcher's loop on a paused clock, with a directory as its source.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use tokio::time::Instant;

use super::*;

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
