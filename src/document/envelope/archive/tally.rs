//! What one walk counts and remembers: bytes in, bytes out, and the first thing that went wrong.
//!
//! The readers of other crates turn every error into one of their own; so the cause is kept here, where it happened, and
//! taken from here when a walk fails.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Seek, SeekFrom};

use super::{Trouble, broken};
use crate::document::envelope::Error;
use crate::document::envelope::limits::{Budget, Flow};

/// The counts of one walk.
pub(super) struct Tally<'a> {
    budget: &'a RefCell<Budget>,
    flow: Cell<Flow>,
    packed: Cell<u64>,
    trouble: Cell<Option<Trouble>>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(budget: &'a RefCell<Budget>) -> Self {
        Self { budget, flow: Cell::default(), packed: Cell::default(), trouble: Cell::default() }
    }

    /// One more entry, of whatever kind.
    pub(super) fn entry(&self) -> Result<(), Error> {
        self.budget.borrow_mut().entry()
    }

    /// A reader below the decoder.
    pub(super) fn packed<R>(&self, inner: R) -> Packed<'_, 'a, R> {
        Packed { inner, tally: self }
    }

    /// A reader above the decoder.
    pub(super) fn unpacked<R>(&self, inner: R) -> Unpacked<'_, 'a, R> {
        Unpacked { inner, tally: self }
    }

    /// What a walk comes to: the cause, where one is known, before what others made of it.
    pub(super) fn settle<T>(&self, result: Result<T, Trouble>) -> Result<T, Trouble> {
        match self.trouble.take() {
            Some(trouble) => Err(trouble),
            None => result,
        }
    }

    fn failed(&self, trouble: Trouble) -> io::Error {
        let first = self.trouble.take().unwrap_or(trouble);
        self.trouble.set(Some(first));
        io::Error::other("the walk through the archive has ended")
    }

    fn came_out(&self, bytes: u64) -> Result<(), Error> {
        let mut flow = self.flow.get();
        let result = self.budget.borrow_mut().unpack(&mut flow, self.packed.get(), bytes);
        self.flow.set(flow);
        result
    }
}

/// Counts what goes in; its errors are the disk's.
pub(super) struct Packed<'t, 'a, R> {
    inner: R,
    tally: &'t Tally<'a>,
}

impl<R: Read> Read for Packed<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).map_err(|error| self.tally.failed(Error::Read(error).into()))?;
        self.tally.packed.set(self.tally.packed.get() + count as u64);
        Ok(count)
    }
}

impl<R: Seek> Seek for Packed<'_, '_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        // a place before the beginning is the archive's mistake, not the disk's
        self.inner.seek(to)
    }
}

/// Counts what comes out; its errors are the archive's.
pub(super) struct Unpacked<'t, 'a, R> {
    inner: R,
    tally: &'t Tally<'a>,
}

impl<R: Read> Read for Unpacked<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.inner.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(self.tally.failed(broken(&error))),
        };
        self.tally.came_out(count as u64).map_err(|error| self.tally.failed(error.into()))?;
        Ok(count)
    }
}
