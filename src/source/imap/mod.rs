//! x
use super::*;
use crate::config::Launcher;
use crate::event::Events;
/// x
pub struct Imap;
impl Imap {
    /// x
    pub fn new(_: Launcher, _: Events) -> Self {
        Imap
    }
}
#[async_trait]
impl Source for Imap {
    async fn discover(&mut self, _: Option<&Cursor>) -> Result<Discovery, SourceError> {
        unimplemented!()
    }
    async fn identify(&mut self, _: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        unimplemented!()
    }
    async fn fetch(&mut self, _: &[Item], _: &Spool, _: mpsc::Sender<Fetched>) -> Result<(), SourceError> {
        unimplemented!()
    }
    async fn acknowledge(&mut self, _: &[ItemKey], _: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        unimplemented!()
    }
    async fn finish(&mut self) -> Result<(), SourceError> {
        unimplemented!()
    }
}
