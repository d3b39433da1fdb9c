//! What a source fetches on its way to whoever takes it: bounded by bytes, not by number.
//!
//! Not a queue of fixed length: as many small messages may wait as a batch that is being delivered takes time, and as few
//! large ones as fit into the processor's cache. A source is held back once the room is used up.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::{Content, Fetched};

/// Where a source sends what it fetches.
#[derive(Clone, Debug)]
pub struct Outlet {
    sender: mpsc::UnboundedSender<Waiting>,
    room: Arc<Semaphore>,
    /// Bytes that may wait.
    size: u32,
}

/// The other end.
#[derive(Debug)]
pub struct Inlet {
    receiver: mpsc::UnboundedReceiver<Waiting>,
    room: Arc<Semaphore>,
}

/// Nobody takes anything any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes what is fetched any more")]
pub struct Closed;

#[derive(Debug)]
struct Waiting {
    fetched: Fetched,
    room: OwnedSemaphorePermit,
}

/// Both ends; bodies of `size` bytes may wait, and never fewer than four of them nor more than 1,024.
pub fn outlet(size: u32) -> (Outlet, Inlet) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(size as usize));
    (Outlet { sender, room: Arc::clone(&room), size }, Inlet { receiver, room })
}

impl Outlet {
    /// Sends one answer, once there is room for it.
    ///
    /// # Errors
    /// The other end is gone.
    pub async fn send(&self, fetched: Fetched) -> Result<(), Closed> {
        let room = Arc::clone(&self.room).acquire_many_owned(self.weight(&fetched)).await.map_err(|_| Closed)?;
        self.sender.send(Waiting { fetched, room }).map_err(|_| Closed)
    }

    /// A body in a file counts too: it takes room on the disk.
    fn weight(&self, fetched: &Fetched) -> u32 {
        let bytes = match &fetched.content {
            Ok(Content::Mail { file, .. }) => u32::try_from(file.size).unwrap_or(u32::MAX),
            _ => 0,
        };
        bytes.clamp(self.size / 1024, self.size / 4).max(1)
    }
}

impl Inlet {
    /// The next answer; `None` once the source has come to its end.
    pub async fn recv(&mut self) -> Option<Fetched> {
        self.receiver.recv().await.map(|waiting| waiting.fetched)
    }

    /// Waits for the next answers and adds them, at most `most`: the source is told once that there is room for more.
    pub async fn recv_many(&mut self, into: &mut impl Extend<Fetched>, most: usize) {
        let mut waiting = Vec::with_capacity(most);
        self.receiver.recv_many(&mut waiting, most).await;
        let mut freed: Option<OwnedSemaphorePermit> = None;
        into.extend(waiting.into_iter().map(|Waiting { fetched, room }| {
            match &mut freed {
                Some(freed) => freed.merge(room),
                None => freed = Some(room),
            }
            fetched
        }));
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;
    use crate::delivery::spool::Spool;
    use crate::model::ItemKey;

    fn mail(size: usize) -> Fetched {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Spool::open(dir.path()).unwrap().create(&ItemKey::new("k"));
        std::io::Write::write_all(&mut writer, &vec![b'x'; size]).unwrap();
        let file = writer.finish().unwrap();
        Fetched { key: ItemKey::new("k"), content: Ok(Content::Mail { file, folder: String::new(), received: None }) }
    }

    /// How many of this size a source can send before it is held back.
    fn sent(size: usize) -> usize {
        let (out, _inlet) = outlet(2 << 20);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        (0..2000).find(|_| std::pin::pin!(out.send(mail(size))).poll(&mut context) == Poll::Pending).unwrap()
    }

    #[test]
    fn many_small_answers_may_wait_and_few_large_ones() {
        assert_eq!([sent(0), sent(20 << 10), sent(200 << 10), sent(600 << 10)], [1024, 102, 10, 4]);
    }

    #[tokio::test]
    async fn who_waits_for_room_goes_on_when_there_is_some_and_ends_when_nobody_takes_it() {
        let (out, mut inlet) = outlet(2 << 20);
        let sending = tokio::spawn(async move {
            let mut count = 0;
            while out.send(mail(600 << 10)).await.is_ok() {
                count += 1;
            }
            count
        });
        let mut taken = Vec::new();
        while taken.len() < 9 {
            inlet.recv_many(&mut taken, 4).await;
        }
        drop(inlet);
        assert!(sending.await.unwrap() >= 9);
    }
}
