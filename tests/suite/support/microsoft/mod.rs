//! A simulator of Microsoft 365: Entra's token endpoints and Graph's mail endpoints, on a free port of 127.0.0.1.
//!
//! It says what the real ones say, byte for byte where that is known, their faults too, and it keeps a record of all
//! that it was asked. Not a server for anything else than tests: one world behind one lock, and a test changes it as it
//! likes while the program talks to it. Time is the machine's, plus what the test adds: ninety days pass at once.

#![allow(dead_code)] // not every test needs every quirk

pub(crate) mod entra;
pub(crate) mod faults;
pub(crate) mod graph;
pub(crate) mod http;
mod items;
mod json;
mod jwt;
pub(crate) mod mailbox;
mod query;
pub(crate) mod records;
mod sync;
mod tokens;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use self::entra::Entra;
use self::faults::Faults;
use self::graph::Graph;
use self::http::{Answer, Asked};
use self::mailbox::Mailbox;
use self::records::Records;

/// The directory of every simulator.
pub(crate) const TENANT: &str = "7b2d4c1a-0f3e-4d5b-8a69-1c2b3d4e5f60";
/// One of its names.
pub(crate) const DOMAIN: &str = "contoso.example";
/// A public client that people sign in with.
pub(crate) const PUBLIC: &str = "11111111-aaaa-4bbb-8ccc-000000000001";
/// A client with a secret (and certificates, where a test registers some) that acts for itself.
pub(crate) const DAEMON: &str = "11111111-aaaa-4bbb-8ccc-000000000002";
/// The daemon's secret: it must appear nowhere.
pub(crate) const SECRET: &str = "Kd8~client+secret/of=the.daemon&%é";
/// A person with a mailbox.
pub(crate) const MARIE: &str = "marie@contoso.example";
/// A mailbox of several people, that Marie may open.
pub(crate) const SHARED: &str = "factures@contoso.example";

/// All that is behind the two services.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) entra: Entra,
    pub(crate) graph: Graph,
    pub(crate) faults: Faults,
    pub(crate) records: Records,
    /// The base URL of both services.
    pub(crate) root: String,
}

/// The machine's time, and what a test added to it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Clock {
    ahead: Duration,
}

impl Clock {
    pub(crate) fn now(self) -> SystemTime {
        SystemTime::now() + self.ahead
    }

    /// Seconds since 1970.
    pub(crate) fn seconds(self) -> u64 {
        self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.ahead += by;
    }

    /// A time as both services write it, in the pattern of strftime.
    pub(crate) fn written(self, pattern: &str) -> String {
        written(self.now(), pattern)
    }
}

/// A time of the world, in the pattern of strftime, UTC.
pub(crate) fn written(time: SystemTime, pattern: &str) -> String {
    jiff::Timestamp::try_from(time).unwrap().strftime(pattern).to_string()
}

/// Both services; they end with the test's process.
#[derive(Clone)]
pub(crate) struct Microsoft {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
}

impl Microsoft {
    /// A directory with Marie, the shared mailbox and both clients; nothing is wrong yet.
    pub(crate) fn start() -> Self {
        let mut graph = Graph::default();
        graph.mailboxes = vec![Mailbox::new(0, MARIE), Mailbox::new(1, SHARED)];
        graph.mailboxes[1].delegates.push(MARIE.to_owned());
        let world = World {
            clock: Clock::default(),
            entra: Entra::new(),
            graph,
            faults: Faults::default(),
            records: Records::default(),
            root: String::new(),
        };
        let world = Arc::new(Mutex::new(world));
        let shared = Arc::clone(&world);
        let address = http::serve(move |asked| answer(&shared, &asked));
        world.lock().unwrap().root = format!("http://{address}");
        Self { address, world }
    }

    /// The base URL, for `authority` and `graph_root`.
    pub(crate) fn root(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The world; both services wait as long as it is held.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Puts a message into Marie's folder (a well-known name or a display name).
    pub(crate) fn deliver(&self, folder: &str, mime: &[u8]) -> u64 {
        let mut world = self.world();
        let now = world.clock.now();
        world.graph.mailboxes[0].deliver(folder, mime, now)
    }

    /// The options of an o365 launcher that uses these services.
    pub(crate) fn options(&self, client: &str, tenant: &str) -> String {
        let root = self.root();
        format!("client_id = {client}\ntenant = {tenant}\nauthority = {root}\ngraph_root = {root}\n")
    }
}

/// One request, from its first byte to the last of its answer.
fn answer(world: &Arc<Mutex<World>>, asked: &Asked) -> Answer {
    let mut open = world.lock().unwrap();
    let number = open.records.begin(asked);
    let mut answer =
        if open.records.is_login(number) { entra::answer(&mut open, asked) } else { graph::answer(&mut open, asked) };
    open.records.decided(number, &answer);
    answer.delay += open.faults.latency;
    let (world, held) = (Arc::clone(world), answer.held.take());
    answer.held = Some(Box::new(OnDrop(Some(Box::new(move || {
        drop(held);
        let mut open = world.lock().unwrap();
        open.records.end(number);
    })))));
    answer
}

/// Does something when it is dropped.
struct OnDrop(Option<Box<dyn FnOnce() + Send>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(deed) = self.0.take() {
            deed();
        }
    }
}
