//! A small IMAP server in memory: the mailbox of `demo`, and what the tests script.
//!
//! Not a general server: one account, plain TCP on loopback (in `demo` a server-mode tunnel in front of it speaks
//! TLS), everything lost when it is dropped, and one session does not hear of another one's expunges. It knows the
//! commands of RFC 3501 that this program, Python's imaplib and common mail programs send, with LITERAL+, SASL-IR,
//! UIDPLUS, MOVE, UNSELECT, and IDLE where a test has it told; ENVELOPE and BODYSTRUCTURE it refuses. [`Trouble`] makes it misbehave on purpose.

mod session;
mod store;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use self::store::Store;

/// The server; stopped when it is dropped.
#[derive(Debug)]
pub struct Mailbox {
    address: SocketAddr,
    store: Shared,
    accepting: JoinHandle<()>,
}

/// A message as it stands in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its UID.
    pub uid: u32,
    /// Its flags, sorted: `\Seen`.
    pub flags: Vec<String>,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

/// How the server misbehaves. What has a number of times wears off, the others stay until [`Mailbox::calm`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Closes the connection after so many bytes of the next message body; once.
    CutBody(usize),
    /// Closes the connection instead of answering the next command that begins so; once.
    CloseAt(String),
    /// Answers the next commands that begin so with this (`NO [LIMIT] slower`), without doing anything.
    Answer {
        /// How the command begins: `UID FETCH`.
        command: String,
        /// The answer without its tag.
        reply: String,
        /// How often.
        times: usize,
    },
    /// Reads commands that begin so and says nothing.
    Silent(String),
    /// Greets with this line.
    Greeting(String),
    /// Never sends this message, though it is listed.
    Withhold(u32),
    /// Never sends this message whole, only in parts.
    WithholdWhole(u32),
    /// Sends this in place of the whole message of this UID (`{0}`, `NIL`), line end and all.
    InPlaceOf(u32, String),
    /// Tells this as the size of every message.
    Sizes(String),
    /// Says good-bye after so many more message bodies; once.
    ByeAfter(usize),
    /// Sends this line before each FETCH response.
    Interject(String),
    /// Names the message after its body instead of before.
    UidLast,
    /// Answers FETCH from the last message to the first.
    Backwards,
    /// Removes this message when the next FETCH of a body arrives, before it is answered; once.
    ExpungeAtFetch(u32),
}

impl Mailbox {
    /// Starts on a free port of 127.0.0.1, with an empty INBOX. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn start(account: &str, password: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let store: Shared = Arc::new(Mutex::new(Store::new(account, password)));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&store)));
        Ok(Self { address, store, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts a message into `folder` (as the server writes names: `/` separates, modified UTF-7), making the folder if
    /// need be. Returns its UID.
    pub fn append(&self, folder: &str, message: &[u8]) -> u32 {
        let mut store = lock(&self.store);
        store.arrived.notify_waiters();
        store.folder(folder).append(message)
    }

    /// What is in `folder`, in order; nothing where there is no such folder.
    pub fn messages(&self, folder: &str) -> Vec<Message> {
        lock(&self.store).find(folder).map(store::Folder::snapshot).unwrap_or_default()
    }

    /// The names of all folders.
    pub fn folders(&self) -> Vec<String> {
        lock(&self.store).names()
    }

    /// Adds flags to a message, as another mail program would.
    pub fn flag(&self, folder: &str, uid: u32, flags: &[&str]) {
        lock(&self.store).folder(folder).flag(uid, flags);
    }

    /// Removes a message, as another mail program would.
    pub fn remove(&self, folder: &str, uid: u32) {
        lock(&self.store).folder(folder).remove(|message| message.uid == uid);
    }

    /// The next message of `folder` gets this UID.
    pub fn set_next_uid(&self, folder: &str, uid: u32) {
        lock(&self.store).folder(folder).next_uid = uid;
    }

    /// Gives `folder` another UIDVALIDITY and its messages other UIDs.
    pub fn renumber(&self, folder: &str) {
        lock(&self.store).renumber(folder);
    }

    /// Gives `folder` an attribute (`\\Sent`, `\\Noselect`), making it if need be.
    pub fn mark(&self, folder: &str, attribute: &str) {
        lock(&self.store).folder(folder).attributes.push(attribute.to_owned());
    }

    /// Removes a folder with what is in it.
    pub fn remove_folder(&self, folder: &str) {
        lock(&self.store).remove_folder(folder);
    }

    /// From now on names have this separator (`/` before), and those of the account's own folders begin with `prefix`.
    pub fn set_namespace(&self, prefix: &str, separator: char) {
        let mut store = lock(&self.store);
        (store.prefix, store.separator) = (prefix.to_owned(), separator);
    }

    /// The capabilities that are told, in place of all.
    pub fn set_capabilities(&self, capabilities: &[&str]) {
        lock(&self.store).capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
    }

    /// Misbehaves from now on.
    pub fn trouble(&self, trouble: Trouble) {
        lock(&self.store).troubles.push(trouble);
    }

    /// Behaves again.
    pub fn calm(&self) {
        lock(&self.store).troubles.clear();
    }

    /// The commands that came, without tags and without what LOGIN and AUTHENTICATE say.
    pub fn commands(&self) -> Vec<String> {
        lock(&self.store).commands.clone()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Shared = Arc<Mutex<Store>>;

/// A panic of one session does not take the others along.
fn lock(store: &Shared) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until it is aborted; its sessions end with it.
async fn accept(listener: TcpListener, store: Shared) {
    let mut sessions = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while sessions.try_join_next().is_some() {}
        let store = Arc::clone(&store);
        sessions.spawn(async move {
            // a client that goes away is no matter of this server
            let _ = session::serve(stream, store).await;
        });
    }
}
