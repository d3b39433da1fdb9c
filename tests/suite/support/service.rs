//! The real binary as a service: started, watched through its log, stopped.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::site::Site;

/// Longer than anything here takes; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a program writes, line by line, and a bell that rings at each.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        lines.and(stream);
        lines
    }

    /// Hears this too; the thread ends with the stream.
    pub(crate) fn and(&self, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let heard = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                heard.0.0.lock().unwrap().push(line);
                heard.0.1.notify_all();
            }
        })
    }

    /// All that was heard so far.
    pub(crate) fn all(&self) -> String {
        self.0.0.lock().unwrap().join("\n")
    }

    /// The `nth` line (from 0) that contains `words`; waits.
    pub(crate) fn wait(&self, words: &str, nth: usize) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut list = self.0.0.lock().unwrap();
        loop {
            if let Some(line) = list.iter().filter(|line| line.contains(words)).nth(nth) {
                return line.clone();
            }
            let left = deadline.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("no `{words}` in {list:#?}"));
            list = self.0.1.wait_timeout(list, left).unwrap().0;
        }
    }
}

/// A running `pertuis run`; killed when the test ends before it.
pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) log: Lines,
}

impl Service {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Lines::of(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// The same, once it is up.
    pub(crate) fn up(site: &Site) -> Self {
        let service = Self::start(&mut site.command(&["run"]));
        service.log.wait("Accepting new connections", 0);
        service
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        until("the end of the service", || self.child.try_wait().unwrap())
    }

    /// Where the `nth` tunnel that was bound listens.
    pub(crate) fn bound(&self, name: &str, nth: usize) -> SocketAddr {
        let line = self.log.wait(&format!("Service [{name}] bound to "), nth);
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
