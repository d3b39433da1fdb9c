//! Tunnels under load, under abuse and under reloads: the real binary, its memory and its descriptors.
//!
//! Most tests lead through two tunnels back to back (`front` is a TLS client, `back` its TLS server), so each connection
//! passes both modes. What a peer does slowly (a byte a second, a pause) is its behaviour, not a wait of the test.

#![cfg(target_os = "linux")] // /proc tells memory and descriptors of a process

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, setrlimit};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::ca::{Pair, TestCa};
use crate::support::peers::{Client, Conn, Ending, PATIENCE, Target, free_port, is_listening};
use crate::support::service::{Service, until};
use crate::support::site::Site;

// ---- what the tests are made of -------------------------------------------------------------------------------------

/// Two tunnels back to back in one process: plain → TLS → plain.
struct Pipe {
    site: Site,
    ca: TestCa,
    pair: Pair,
    service: Service,
    front: SocketAddr,
    back: SocketAddr,
    target: SocketAddr,
}

impl Pipe {
    /// Leads to `target`, with these lines in both tunnels.
    fn start(target: SocketAddr, options: &str) -> Self {
        raise_descriptor_limit();
        let site = Site::new();
        let ca = TestCa::new(site.dir.path());
        let pair = ca.good("127.0.0.1");
        let [front, back] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        site.write_ini(&text(&pair, &ca, &[front], back, target, options));
        // one arena: memory that the allocator keeps is then what was needed at once, whichever thread it was for
        let service = Service::start(site.command(&["run"]).env("MALLOC_ARENA_MAX", "1"));
        until("the tunnels", || [front, back].iter().all(|at| is_listening(at.port())).then_some(()));
        Self { site, ca, pair, service, front, back, target }
    }

    fn pid(&self) -> u32 {
        self.service.child.id()
    }

    /// Other addresses for the front, in the same file.
    fn rewrite(&self, fronts: &[SocketAddr]) {
        self.site.write_ini(&text(&self.pair, &self.ca, fronts, self.back, self.target, ""));
    }

    /// Memory and descriptors once both have come down to `before` with a margin; fails when they never do.
    fn settles(&self, before: Usage, margin: u64) -> Usage {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Usage::of(self.pid());
            if now.descriptors <= before.descriptors && now.memory <= before.memory + margin {
                return now;
            }
            assert!(Instant::now() < deadline, "before {before}, now {now}: it does not come back");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn text(
    pair: &Pair,
    ca: &TestCa,
    fronts: &[SocketAddr],
    back: SocketAddr,
    target: SocketAddr,
    options: &str,
) -> String {
    let mut accept = String::new();
    for front in fronts {
        let _ = writeln!(accept, "accept = {front}");
    }
    let (cert, key, ca) = (pair.cert.display(), pair.key.display(), ca.cert.display());
    format!(
        "debug = warning\n{options}\n[back]\naccept = {back}\nconnect = {target}\ncert = {cert}\nkey = {key}\n\
         [front]\nclient = yes\n{accept}connect = {back}\nCAfile = {ca}\n"
    )
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Usage {
    /// Its own memory (`RssAnon`), in bytes.
    memory: u64,
    descriptors: usize,
}

impl Usage {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        Self { memory: kilobytes << 10, descriptors }
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} MiB and {} descriptors", megabytes(self.memory), self.descriptors)
    }
}

#[allow(clippy::cast_precision_loss)] // for people
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// As many descriptors as the system allows; the program under test inherits it.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Sends everything back, for as many connections as come.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    address
}

/// Opens a connection, has a few bytes echoed, ends it and sees its end; says what went wrong.
async fn visit(at: SocketAddr, number: usize) -> Result<(), String> {
    let visit = async {
        let mut stream = TcpStream::connect(at).await.map_err(|error| format!("connect: {error}"))?;
        talk(&mut stream, number).await?;
        stream.shutdown().await.map_err(|error| format!("shutdown: {error}"))?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.map_err(|error| format!("end: {error}"))?;
        if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes too many", rest.len())) }
    };
    timeout(PATIENCE, visit).await.unwrap_or_else(|_| Err("hangs".to_owned()))
}

async fn talk(stream: &mut TcpStream, number: usize) -> Result<(), String> {
    let words = format!("connection {number:>8}");
    stream.write_all(words.as_bytes()).await.map_err(|error| format!("write: {error}"))?;
    let mut back = vec![0; words.len()];
    stream.read_exact(&mut back).await.map_err(|error| format!("read: {error}"))?;
    if back == words.as_bytes() { Ok(()) } else { Err("other bytes came back".to_owned()) }
}

/// `count` visits, `at_once` at a time.
async fn visits(at: SocketAddr, count: usize, at_once: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        let next = Arc::clone(&next);
        tasks.spawn(async move {
            let mut failures = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return failures;
                }
                if let Err(words) = visit(at, number).await {
                    failures.push(format!("{number}: {words}"));
                }
            }
        });
    }
    let failures = tasks.join_all().await.concat();
    assert!(failures.is_empty(), "{} of {count} failed: {:?}", failures.len(), &failures[..failures.len().min(5)]);
}

/// Visits while the file is changed and read again every 100 ms; memory and descriptors come back.
async fn visits_under_reloads(pipe: &Pipe, count: usize, change: impl Fn(usize) + Send + 'static) {
    visits(pipe.front, 300, AT_ONCE).await;
    let before = Usage::of(pipe.pid());
    let (began, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let (pid, stopped) = (Pid::from_child(&pipe.service.child), Arc::clone(&stop));
    let reloading = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        let mut reloads = 0;
        while !stopped.load(Ordering::SeqCst) {
            pace.tick().await;
            change(reloads);
            rustix::process::kill_process(pid, Signal::HUP).unwrap();
            reloads += 1;
        }
        reloads
    });
    visits(pipe.front, count, AT_ONCE).await;
    stop.store(true, Ordering::SeqCst);
    let reloads = reloading.await.unwrap();
    let after = pipe.settles(before, MARGIN);
    eprintln!("{count} connections, {reloads} reloads, {:?}: before {before}, after {after}", began.elapsed());
    assert!(reloads > 1);
    assert!(!pipe.service.log.all().contains("LOG3"), "{}", pipe.service.log.all());
}

// ---- reloads --------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_pass_under_reloads_and_leave_nothing_behind() {
    let pipe = Pipe::start(echo().await, "");
    visits_under_reloads(&pipe, 1_000, |_| ()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long"]
async fn ten_thousand_connections_pass_under_reloads_and_leave_nothing_behind() {
    let pipe = Pipe::start(echo().await, "");
    visits_under_reloads(&pipe, 10_000, |_| ()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_change_under_reloads_break_no_connection() {
    let pipe = Pipe::start(echo().await, "");
    let (cert, key) = (pipe.pair.cert.clone(), pipe.pair.key.clone());
    let pairs = [(); 4].map(|()| pipe.ca.good("127.0.0.1"));
    visits_under_reloads(&pipe, 1_000, move |turn| {
        // one file holds both, so that no reload meets half of a change
        let pair = &pairs[turn % pairs.len()];
        let both = fs::read_to_string(&pair.key).unwrap() + &fs::read_to_string(&pair.cert).unwrap();
        for path in [&cert, &key] {
            let fresh = path.with_extension("new");
            fs::write(&fresh, &both).unwrap();
            #[allow(clippy::disallowed_methods)] // replacing is what is meant
            fs::rename(&fresh, path).unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_comes_and_goes_under_reloads_disturbs_no_other() {
    let pipe = Arc::new(Pipe::start(echo().await, ""));
    let other = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let rewriting = Arc::clone(&pipe);
    let stay = pipe.front;
    visits_under_reloads(&pipe, 1_000, move |turn| {
        if turn % 2 == 0 {
            rewriting.rewrite(&[stay, other]);
        } else {
            rewriting.rewrite(&[stay]);
        }
    })
    .await;
    pipe.rewrite(&[other]);
    pipe.service.signal(Signal::HUP);
    until("the other address alone", || (is_listening(other.port()) && !is_listening(stay.port())).then_some(()));
    visits(other, 50, 10).await;
}

#[test]
fn a_broken_certificate_on_reload_leaves_the_old_one_in_service_and_says_why() {
    let target = Target::new();
    let mut pipe = Pipe::start(target.at(), "");
    let client = Client::plain();
    let shown = |pipe: &Pipe| {
        let near = Conn::to(pipe.back).unwrap().connect_tls(&client, "localhost").unwrap();
        let known = [("old", &pipe.pair)];
        near.same_as(&known).to_owned()
    };
    assert_eq!(shown(&pipe), "old");
    // the old one stays readable under another name, to be recognised
    let good = [&pipe.pair.cert, &pipe.pair.key].map(|path| fs::read(path).unwrap());
    let (cert, key) = (pipe.site.path("old.crt"), pipe.site.path("old.key"));
    fs::write(&cert, &good[0]).unwrap();
    fs::write(&key, &good[1]).unwrap();
    let configured = std::mem::replace(&mut pipe.pair, Pair { cert, key });
    for (turn, broken) in ["", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        .into_iter()
        .enumerate()
    {
        fs::write(&configured.cert, broken).unwrap();
        pipe.service.signal(Signal::HUP);
        pipe.service.log.wait("Configuration failed", turn);
        assert_eq!(shown(&pipe), "old", "{broken}");
    }
    let name = configured.cert.display().to_string();
    let told = pipe.service.log.all().lines().filter(|line| line.contains("LOG3") && line.contains(&name)).count();
    assert!(told >= 3, "the file is named each time: {}", pipe.service.log.all());
    let other = pipe.ca.good("127.0.0.1");
    fs::copy(&other.cert, &configured.cert).unwrap();
    fs::copy(&other.key, &configured.key).unwrap();
    pipe.service.signal(Signal::HUP);
    until("the new certificate", || (shown(&pipe) != "old").then_some(()));
}

#[test]
fn a_reload_while_open_connections_are_let_end_does_not_cut_them() {
    let target = Target::new();
    let mut pipe = Pipe::start(target.at(), "");
    let (mut near, mut far) = (Conn::to(pipe.front).unwrap(), target.accept());
    assert_eq!(near.say("ping", &mut far), "ping");
    pipe.service.signal(Signal::TERM);
    until("the port to close", || std::net::TcpStream::connect(pipe.front).is_err().then_some(()));
    for turn in 0..5 {
        pipe.service.signal(Signal::HUP);
        let words = format!("still here {turn}");
        assert_eq!(near.say(&words, &mut far), words);
        assert_eq!(far.say(&words, &mut near), words);
    }
    near.finish();
    assert_eq!(far.ends(), Ending::Fin);
    far.finish();
    assert_eq!(near.ends(), Ending::Fin);
    assert!(pipe.service.end().success());
}

// ---- limits ---------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_connections_at_once_are_all_served() {
    let pipe = Pipe::start(echo().await, "");
    visits(pipe.front, 100, AT_ONCE).await;
    let (before, began) = (Usage::of(pipe.pid()), Instant::now());
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let during = storm(&pipe).await;
        // each connection is two sessions
        assert!(during.memory < before.memory + 2 * STORM * SESSION, "before {before}, during {during}");
        rounds.push(pipe.settles(before, u64::from(u32::MAX)));
        eprintln!("{STORM} at once: before {before}, during {during}, after {}", rounds.last().unwrap());
    }
    eprintln!("two storms in {:?}", began.elapsed());
    // the allocator keeps what a crowd needed for the next one: a second crowd needs no more
    assert!(rounds[1].memory < rounds[0].memory + MARGIN, "{} after {}", rounds[1], rounds[0]);
    visits(pipe.front, 10, 1).await;
}

/// Everybody comes at once, speaks, and stays until the last one has spoken; answers what that took.
async fn storm(pipe: &Pipe) -> Usage {
    let count = usize::try_from(STORM).unwrap();
    let [spoken, leave] = [(); 2].map(|()| Arc::new(tokio::sync::Barrier::new(count + 1)));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (at, spoken, leave) = (pipe.front, Arc::clone(&spoken), Arc::clone(&leave));
        tasks.spawn(async move {
            let told = async {
                let mut stream = TcpStream::connect(at).await.map_err(|error| format!("connect: {error}"))?;
                talk(&mut stream, number).await.map(|()| stream)
            };
            let told = told.await;
            spoken.wait().await;
            leave.wait().await;
            let mut stream = told?;
            talk(&mut stream, number).await?;
            stream.shutdown().await.map_err(|error| error.to_string())?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.map_err(|error| error.to_string())
        });
    }
    timeout(PATIENCE * 3, spoken.wait()).await.expect("not everybody is served");
    let during = Usage::of(pipe.pid());
    leave.wait().await;
    let ends = timeout(PATIENCE * 3, tasks.join_all()).await.expect("the storm does not end");
    let failures: Vec<_> = ends.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{} failed: {:?}", failures.len(), &failures[..failures.len().min(5)]);
    during
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_handshakes_that_stop_half_way_are_ended_and_hold_up_nobody() {
    let pipe = Pipe::start(echo().await, "TIMEOUTbusy = 8");
    let fresh = Usage::of(pipe.pid());
    visits(pipe.front, 100, AT_ONCE).await;
    // once the visits are over on the other side too: what follows counts descriptors
    let before = pipe.settles(fresh, u64::from(u32::MAX));
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let during = half_handshakes(&pipe, before).await;
        assert!(during.memory < before.memory + HALVES * SESSION, "before {before}, during {during}");
        rounds.push(pipe.settles(before, u64::from(u32::MAX)));
        eprintln!("{HALVES} halves: before {before}, during {during}, after {}", rounds.last().unwrap());
    }
    assert!(rounds[1].memory < rounds[0].memory + MARGIN, "{} after {}", rounds[1], rounds[0]);
}

/// Handshakes that each stop at another byte, until the last one is ended; answers what they took.
async fn half_handshakes(pipe: &Pipe, before: Usage) -> Usage {
    let (hello, count) = (Client::plain().hello(), usize::try_from(HALVES).unwrap());
    let mut halves = Vec::new();
    for number in 0..count {
        let mut stream = TcpStream::connect(pipe.back).await.unwrap();
        // from nothing at all to all but the last byte
        stream.write_all(&hello[..number * (hello.len() - 1) / (count - 1)]).await.unwrap();
        halves.push(stream);
    }
    let open = || Usage::of(pipe.pid()).descriptors >= before.descriptors + count;
    until("every half of a handshake", || open().then_some(()));
    let during = Usage::of(pipe.pid());
    visits(pipe.front, 20, 5).await;
    assert!(open(), "the visits came too late to show anything");
    let mut tasks = JoinSet::new();
    for mut stream in halves {
        tasks.spawn(async move {
            // an alert may come first; then the end, in whichever way
            let mut rest = Vec::new();
            timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
        });
    }
    assert!(tasks.join_all().await.into_iter().all(|ended| ended), "TIMEOUTbusy did not end all of them");
    during
}

// ---- ends and peers -------------------------------------------------------------------------------------------------

#[test]
fn each_side_may_end_first_and_still_hears_a_late_answer() {
    let target = Target::new();
    let pipe = Pipe::start(target.at(), "");
    for near_first in [true, false] {
        let (mut near, mut far) = (Conn::to(pipe.front).unwrap(), target.accept());
        assert_eq!(near.say("ping", &mut far), "ping");
        let (first, second) = if near_first { (&mut near, &mut far) } else { (&mut far, &mut near) };
        first.finish();
        assert_eq!(second.ending(PATIENCE), (String::new(), Ending::Fin));
        let late = "late answer ".repeat(5_000);
        assert_eq!(second.say(&late, first), late);
        second.finish();
        assert_eq!(first.ending(PATIENCE), (String::new(), Ending::Fin));
    }
}

#[test]
fn an_abort_of_either_side_ends_the_other_and_frees_everything() {
    let target = Target::new();
    let pipe = Pipe::start(target.at(), "");
    let talk = || {
        let (mut near, mut far) = (Conn::to(pipe.front).unwrap(), target.accept());
        assert_eq!(near.say("ping", &mut far), "ping");
        (near, far)
    };
    let before = Usage::of(pipe.pid());
    for _ in 0..20 {
        let (near, mut far) = talk();
        near.reset();
        assert!(matches!(far.ends(), Ending::Fin | Ending::Reset));
        let (mut near, far) = talk();
        far.reset();
        assert!(matches!(near.ends(), Ending::Fin | Ending::Reset));
    }
    pipe.settles(before, MARGIN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_reads_takes_little_memory_and_nothing_from_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pipe = Pipe::start(listener.local_addr().unwrap(), "");
    let before = Usage::of(pipe.pid());
    let mut pairs = Vec::new();
    let chunk = vec![7; 64 << 10];
    let mut total = 0;
    for _ in 0..20 {
        let mut near = TcpStream::connect(pipe.front).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        // until nothing more goes in for as long as a healthy tunnel would never need
        while let Ok(written) = timeout(Duration::from_millis(300), near.write(&chunk)).await {
            total += written.unwrap();
        }
        pairs.push((near, far));
    }
    let during = Usage::of(pipe.pid());
    eprintln!("{} MiB wait before deaf peers: before {before}, during {during}", total >> 20);
    assert!(during.memory < before.memory + (20 << 20), "{during}");
    let mut near = TcpStream::connect(pipe.front).await.unwrap();
    let (mut far, _) = listener.accept().await.unwrap();
    near.write_all(b"ping").await.unwrap();
    let mut four = [0; 4];
    timeout(PATIENCE, far.read_exact(&mut four)).await.unwrap().unwrap();
    // and nothing is lost once a deaf one listens after all
    let (mut near, mut far) = pairs.pop().unwrap();
    near.shutdown().await.unwrap();
    let mut all = Vec::new();
    timeout(PATIENCE, far.read_to_end(&mut all)).await.unwrap().unwrap();
    assert!(!all.is_empty() && all.iter().all(|byte| *byte == 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_a_second_is_no_silence() {
    let pipe = Pipe::start(echo().await, "TIMEOUTidle = 2");
    let mut stream = TcpStream::connect(pipe.front).await.unwrap();
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    for number in 0..5 {
        pace.tick().await;
        stream.write_all(&[number]).await.unwrap();
        let mut back = [0];
        timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
        assert_eq!(back, [number]);
    }
    let (began, mut rest) = (Instant::now(), Vec::new());
    // by an abort or an end: both tunnels of the pipe run out of patience at the same time
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("silence is not ended");
    assert!(rest.is_empty());
    assert!((1_500..4_500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn megabytes_both_ways_at_once_with_pauses_arrive_whole() {
    const LENGTH: usize = 48 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pipe = Pipe::start(listener.local_addr().unwrap(), "");
    let before = Usage::of(pipe.pid());
    let near = TcpStream::connect(pipe.front).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let began = Instant::now();
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let sent = [tokio::spawn(pour(near_out, 1, LENGTH)), tokio::spawn(pour(far_out, 2, LENGTH))];
    let came = [tokio::spawn(drain(far_in, 3)), tokio::spawn(drain(near_in, 4))];
    for (sent, came) in sent.into_iter().zip(came) {
        let came = timeout(PATIENCE * 3, came).await.expect("it hangs").unwrap();
        assert_eq!(came, (LENGTH, sent.await.unwrap()));
    }
    let during = Usage::of(pipe.pid());
    eprintln!("{} MiB each way in {:?}: before {before}, afterwards {during}", LENGTH >> 20, began.elapsed());
    assert!(during.memory < before.memory + MARGIN, "{during}");
}

/// Writes random bytes in random pieces with random pauses, and ends; answers their digest.
async fn pour(mut to: OwnedWriteHalf, seed: u64, length: usize) -> Vec<u8> {
    let (mut dice, mut digest, mut left) = (Dice(seed), Sha256::new(), length);
    while left > 0 {
        let piece = (1 + usize::try_from(dice.roll() % (200 << 10)).unwrap()).min(left);
        let bytes: Vec<u8> = (0..piece.div_ceil(8)).flat_map(|_| dice.roll().to_le_bytes()).take(piece).collect();
        digest.update(&bytes);
        to.write_all(&bytes).await.unwrap();
        left -= piece;
        dice.pause().await;
    }
    to.shutdown().await.unwrap();
    digest.finalize().to_vec()
}

/// Reads to the end with random pauses; answers how much came and its digest.
async fn drain(mut from: OwnedReadHalf, seed: u64) -> (usize, Vec<u8>) {
    let (mut dice, mut digest, mut length) = (Dice(seed), Sha256::new(), 0);
    let mut buffer = vec![0; 100 << 10];
    loop {
        let count = from.read(&mut buffer).await.unwrap();
        if count == 0 {
            return (length, digest.finalize().to_vec());
        }
        digest.update(&buffer[..count]);
        length += count;
        dice.pause().await;
    }
}

/// xorshift64: the same sequence in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Now and then a peer is busy with something else.
    async fn pause(&mut self) {
        if self.roll().is_multiple_of(16) {
            tokio::time::sleep(Duration::from_micros(self.roll() % 5_000)).await;
        }
    }
}

/// What memory may have grown by for good: pages that the allocator keeps.
const MARGIN: u64 = 12 << 20;

/// What a session may take; a debug build is not sparing with the states of its tasks.
const SESSION: u64 = if cfg!(debug_assertions) { 176 << 10 } else { 48 << 10 };

const AT_ONCE: usize = 25;

const STORM: u64 = 2_000;

const HALVES: u64 = 1_000;
