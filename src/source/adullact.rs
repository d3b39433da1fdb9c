//! A directory into which envelopes are dropped: by Pastell, by hand, by other programs.
//!
//! Under construction: the configuration stands, the listing follows.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Cursor, Discovery, Fetched, Fingerprint, Item, Source, SourceError};
use crate::config::Launcher;
use crate::delivery::spool::Spool;
use crate::event::Events;
use crate::model::{Disposition, ItemKey};

/// A drop directory.
#[derive(Debug)]
pub struct Adullact {}

impl Adullact {
    /// A source for an `adullact` launcher; the directory is looked at by [`Source::discover`] only.
    pub fn new(_: &Launcher, _: Events) -> Self {
        Self {}
    }
}

#[async_trait]
impl Source for Adullact {
    async fn discover(&mut self, _: Option<&Cursor>) -> Result<Discovery, SourceError> {
        Ok(Discovery { items: Vec::new(), cursor: None, start: None, present: None, copies: 0, standing: true })
    }

    async fn identify(&mut self, _: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        Ok(Vec::new())
    }

    async fn fetch(&mut self, _: &[Item], _: &Spool, _: mpsc::Sender<Fetched>) -> Result<(), SourceError> {
        Ok(())
    }

    async fn acknowledge(&mut self, _: &[ItemKey], _: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        Ok(Vec::new())
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}
