//! What may be unpacked from one item, whatever it claims: bytes, entries, ratio, depth.
//!
//! Not a guess from headers: what counts is what comes out, while it comes out, because every declared size may lie.

use super::Error;
use crate::text;

/// The limits of one item, named as the options that set them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `max_unpacked`: bytes that may come out of all archives and pieces together.
    pub max_unpacked: u64,
    /// `max_entries`: files, entries of archives and pieces.
    pub max_entries: usize,
    /// `max_ratio`: bytes out for each byte in, of one archive or piece, past its first [`FREE`] bytes.
    pub max_ratio: u64,
    /// `max_depth`: archives inside each other, elements of an XML.
    pub max_depth: usize,
}

/// What has been unpacked so far.
#[derive(Clone, Debug)]
pub struct Budget {
    /// What it is held against.
    pub limits: Limits,
    entries: usize,
    unpacked: u64,
}

/// One compressed stream: what went in and what came out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    /// Bytes read of it.
    pub packed: u64,
    /// Bytes that came out.
    pub unpacked: u64,
}

impl Budget {
    /// Nothing has been unpacked yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, entries: 0, unpacked: 0 }
    }

    /// One more file, entry or piece.
    ///
    /// # Errors
    /// `max_entries`.
    pub fn entry(&mut self) -> Result<(), Error> {
        let limit = self.limits.max_entries;
        self.entries += 1;
        if self.entries <= limit {
            return Ok(());
        }
        Err(Error::Refused(text!(
            "it holds more than {limit} entries (max_entries)",
            "il contient plus de {limit} entrées (max_entries)"
        )))
    }

    /// `bytes` more came out of `flow`, of which `packed` bytes have been read in all.
    ///
    /// # Errors
    /// `max_unpacked`, `max_ratio`.
    pub fn unpack(&mut self, flow: &mut Flow, packed: u64, bytes: u64) -> Result<(), Error> {
        let Limits { max_unpacked, max_ratio, .. } = self.limits;
        flow.packed = packed;
        flow.unpacked += bytes;
        self.unpacked += bytes;
        if self.unpacked > max_unpacked {
            return Err(Error::Refused(text!(
                "more than {max_unpacked} bytes come out of it (max_unpacked)",
                "plus de {max_unpacked} octets en sortent (max_unpacked)"
            )));
        }
        if flow.unpacked > FREE && flow.unpacked / flow.packed.max(1) > max_ratio {
            return Err(Error::Refused(text!(
                "more than {max_ratio} bytes come out of each byte in it (max_ratio)",
                "plus de {max_ratio} octets sortent de chaque octet (max_ratio)"
            )));
        }
        Ok(())
    }
}

/// Bytes below which no ratio is suspicious: an empty form compresses very well.
pub const FREE: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_unpacked: 100 << 20, max_entries: 2, max_ratio: 300, max_depth: 8 };

    #[test]
    fn each_limit_is_named_when_it_is_reached() {
        let refused = |result: Result<(), Error>| result.unwrap_err().to_string();
        let mut budget = Budget::new(LIMITS);
        assert!(budget.entry().is_ok() && budget.entry().is_ok());
        assert!(refused(budget.entry()).contains("max_entries"));
        let mut flow = Flow::default();
        assert!(budget.unpack(&mut flow, 10, FREE).is_ok(), "small things may be full of blanks");
        assert!(refused(budget.unpack(&mut flow, 10, 1)).contains("max_ratio"));
        assert!(refused(budget.unpack(&mut Flow::default(), 90 << 20, 85 << 20)).contains("max_unpacked"));
    }
}
