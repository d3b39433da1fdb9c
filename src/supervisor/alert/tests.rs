//! The task with a scripted courier and a paused clock.

use std::sync::Mutex;

use tokio::time::sleep;

use super::*;
use crate::config::schedule::Interval;
use crate::event::Cycle;
use crate::model::Code;

const AFTER: Duration = Duration::from_mins(15);

/// Who got what, and whether the world takes anything at all.
#[derive(Clone, Default)]
struct World {
    got: Arc<Mutex<Vec<(String, State, String)>>>,
    down: Arc<Mutex<bool>>,
}

impl World {
    fn orders(&self, targets: &[&str]) -> Orders {
        let world = self.clone();
        let carrier: Carrier = Arc::new(move |to, notice: Notice| {
            let world = world.clone();
            Box::pin(async move {
                // an SMTP server takes its time, and a broken one all of it
                sleep(Duration::from_secs(20)).await;
                if *world.down.lock().unwrap() {
                    return Err(Text::same("smtp: down"));
                }
                world.got.lock().unwrap().push((written(&to), notice.state, notice.code));
                Ok(())
            })
        });
        let watches = vec![(name(), Watch { after: AFTER, interval: Interval::Every(Duration::from_mins(5)) })];
        let targets = vec![(name(), targets.iter().map(ToString::to_string).collect())];
        Orders { watches, targets, carrier }
    }

    fn got(&self) -> Vec<(String, State, String)> {
        std::mem::take(&mut *self.got.lock().unwrap())
    }
}

fn name() -> ServiceName {
    ServiceName::new("factures")
}

fn cycle(code: Option<Code>) -> Event {
    let fault = code.map(|code| Fault::new(code, Text::same("why")));
    let cycle = Cycle { items: Vec::new(), files: Vec::new(), fault, took: Duration::from_secs(1) };
    Event::new(Level::Info, "cycle", Text::same("")).of(&name()).ending(cycle)
}

fn start(state: &Path, world: &World, targets: &[&str]) -> Alerts {
    let alerts = Alerts::start(state, Events::nowhere());
    alerts.signs.send(Sign::Follow(Box::new(world.orders(targets))));
    alerts
}

/// Lets time pass in small steps, so that everything that waits for it is awake in between.
async fn pass(time: Duration) {
    for _ in 0..time.as_secs().div_ceil(30) {
        sleep(Duration::from_secs(30)).await;
    }
}

const MAIL: &str = "mailto:a@example.org";
const HOOK: &str = "https://hook.example.org/x";

fn failing(to: &str) -> (String, State, String) {
    (to.to_owned(), State::Failing, "folder".to_owned())
}

fn recovered(to: &str) -> (String, State, String) {
    (to.to_owned(), State::Recovered, "folder".to_owned())
}

#[tokio::test(start_paused = true)]
async fn every_target_gets_one_alert_and_one_all_clear() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::default();
    let alerts = start(dir.path(), &world, &[MAIL, HOOK]);
    alerts.signs().note(&cycle(Some(Code::Folder)));
    pass(AFTER.mul_f32(0.9)).await;
    assert!(world.got().is_empty());
    pass(Duration::from_mins(30)).await;
    assert_eq!(world.got(), [failing(HOOK), failing(MAIL)]);
    alerts.signs().note(&cycle(Some(Code::Deliver)));
    pass(AFTER * 3).await;
    assert!(world.got().is_empty());
    alerts.signs().note(&cycle(None));
    pass(Duration::from_mins(1)).await;
    assert_eq!(world.got(), [recovered(HOOK), recovered(MAIL)]);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_server_did_not_take_comes_when_it_is_back_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::default();
    *world.down.lock().unwrap() = true;
    let alerts = start(dir.path(), &world, &[MAIL]);
    alerts.signs().note(&cycle(Some(Code::Folder)));
    pass(AFTER * 4).await;
    drop(alerts);
    pass(Duration::from_mins(1)).await;
    *world.down.lock().unwrap() = false;
    let alerts = start(dir.path(), &world, &[MAIL]);
    pass(Duration::from_mins(20)).await;
    assert_eq!(world.got(), [failing(MAIL)]);
    alerts.signs().note(&cycle(Some(Code::Folder)));
    pass(AFTER * 2).await;
    assert!(world.got().is_empty(), "an alert was repeated after a restart");
    drop(alerts);
    pass(Duration::from_mins(1)).await;
    let alerts = start(dir.path(), &world, &[MAIL]);
    alerts.signs().note(&cycle(None));
    pass(Duration::from_mins(1)).await;
    assert_eq!(world.got(), [recovered(MAIL)]);
    let kept = read(&dir.path().join(FILE), &Events::nowhere());
    assert_eq!(kept, Kept::default());
}

#[tokio::test(start_paused = true)]
async fn what_arrives_while_the_service_ends_is_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::default();
    let alerts = start(dir.path(), &world, &[MAIL]);
    alerts.signs().note(&cycle(Some(Code::Folder)));
    sleep(AFTER + Duration::from_secs(18)).await;
    assert!(world.got().is_empty());
    alerts.end().await;
    assert_eq!(world.got(), [failing(MAIL)]);
    let _alerts = start(dir.path(), &world, &[MAIL]);
    pass(Duration::from_mins(1)).await;
    assert!(world.got().is_empty(), "an alert was repeated after a restart");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_left_the_file_gets_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::default();
    *world.down.lock().unwrap() = true;
    let alerts = start(dir.path(), &world, &[MAIL]);
    alerts.signs().note(&cycle(Some(Code::Folder)));
    pass(AFTER * 2).await;
    alerts.signs.send(Sign::Follow(Box::new(world.orders(&[HOOK]))));
    // what was on its way at that moment still meets a dead server
    pass(Duration::from_mins(1)).await;
    *world.down.lock().unwrap() = false;
    pass(AFTER * 2).await;
    assert!(world.got().is_empty());
    alerts.signs().note(&cycle(None));
    pass(Duration::from_mins(1)).await;
    assert_eq!(world.got(), [recovered(HOOK)]);
}

#[tokio::test]
async fn a_file_that_is_none_counts_as_empty_and_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    fs::write(&path, "{").unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let list = heard.clone();
    let events = Events::to(move |event| list.lock().unwrap().push(event.name));
    assert_eq!(read(&path, &events), Kept::default());
    assert_eq!(*heard.lock().unwrap(), ["alert_not_kept"]);
}
