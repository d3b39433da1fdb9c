//! A webhook for alerts, on a free port of 127.0.0.1.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::service::PATIENCE;

/// A webhook: what was posted to it, in order.
#[derive(Clone, Default)]
pub(crate) struct Hook(Arc<(Mutex<Vec<Value>>, Condvar)>);

impl Hook {
    /// Answers the address too; the first post is refused.
    pub(crate) fn start() -> (Self, SocketAddr) {
        let hook = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let posted = hook.clone();
        std::thread::spawn(move || {
            for (nth, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                posted.take(stream, nth > 0);
            }
        });
        (hook, address)
    }

    /// What was posted so far, whole.
    pub(crate) fn posts(&self) -> Vec<Value> {
        self.0.0.lock().unwrap().clone()
    }

    fn take(&self, mut stream: TcpStream, good: bool) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() <= 2 {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let status = if good { "204 No Content" } else { "500 Internal Server Error" };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        if good {
            self.0.0.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
            self.0.1.notify_all();
        }
    }

    /// Launcher, state and code of what was posted so far.
    pub(crate) fn told(&self) -> Vec<[String; 3]> {
        let posted = self.0.0.lock().unwrap();
        let told =
            posted.iter().map(|post| ["launcher", "state", "code"].map(|key| post[key].as_str().unwrap().to_owned()));
        told.collect()
    }

    /// The same, sorted, once there are `count`.
    pub(crate) fn wait(&self, count: usize) -> Vec<[String; 3]> {
        self.wait_for(count, PATIENCE)
    }

    /// The same, for so long at most.
    pub(crate) fn wait_for(&self, count: usize, patience: Duration) -> Vec<[String; 3]> {
        let few = |posted: &mut Vec<Value>| posted.len() < count;
        drop(self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), patience, few).unwrap());
        let mut told = self.told();
        assert!(told.len() >= count, "waited in vain for {count} posts: {told:?}");
        told.sort();
        told
    }
}

/// What [`Hook::told`] answers for one post.
pub(crate) fn told(launcher: &str, state: &str, code: &str) -> [String; 3] {
    [launcher, state, code].map(ToOwned::to_owned)
}
