//! The source against a server that is scripted request by request.

mod change;
mod client;
mod fetch;
mod folders;
mod list;
mod mailbox;
mod server;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use self::server::Server;
use super::client::{Bearer, Client, Times};
use super::{Graph, Voice};
use crate::config::{Launcher, Overrides, load_bytes};
use crate::event::Events;
use crate::oauth::TokenError;
use crate::secret::Secret;

/// Tokens `token-1`, and after each refusal the next one.
#[derive(Default)]
pub(crate) struct Tokens {
    refused: Mutex<Vec<(String, Option<String>)>>,
}

#[async_trait]
impl Bearer for Tokens {
    async fn access(&self) -> Result<Secret, TokenError> {
        Ok(Secret::new(format!("token-{}", self.refused.lock().unwrap().len() + 1)))
    }

    fn refused(&self, access: &Secret, claims: Option<String>) {
        self.refused.lock().unwrap().push((access.reveal().to_owned(), claims));
    }
}

pub(crate) const TEST_TIMES: Times = Times {
    patience: Duration::from_secs(2),
    first_retry: Duration::from_millis(5),
    longest_wait: Duration::from_secs(5),
};

/// A launcher with `more` lines; each server is a sign-in of its own, so tests do not wait for each other.
pub(crate) fn launcher(server: &Server, more: &str) -> Launcher {
    let root = &server.root;
    let text = format!(
        "[o365]\nlauncher = o365\nclient_id = 11111111-2222-3333-4444-555555555555\ngraph_root = {root}\ndeliver = /x\n{more}\n"
    );
    let config = load_bytes(Path::new("t.ini"), text.as_bytes(), &Overrides::default());
    let config =
        config.map_err(|mistakes| mistakes.iter().map(|one| one.line(crate::text::Lang::En)).collect::<Vec<_>>());
    config.unwrap().launchers.remove(0)
}

pub(crate) fn client(server: &Server, more: &str) -> (Client, Arc<Tokens>) {
    let tokens = Arc::new(Tokens::default());
    (Client::new(&launcher(server, more), tokens.clone(), TEST_TIMES).unwrap(), tokens)
}

pub(crate) fn graph(server: &Server, more: &str) -> Graph {
    Graph::with_bearer(launcher(server, more), Arc::new(Tokens::default()), Events::nowhere(), TEST_TIMES)
}

/// What is told, by name.
pub(crate) fn voice() -> (Voice, Arc<Mutex<Vec<&'static str>>>) {
    let told = Arc::<Mutex<Vec<&'static str>>>::default();
    let log = told.clone();
    let events = Events::to(move |event| log.lock().unwrap().push(event.name));
    (Voice { events, service: crate::model::ServiceName::new("t") }, told)
}
