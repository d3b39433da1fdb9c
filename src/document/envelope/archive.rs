//! Archives as streams of entries: ZIP, tar, tar.gz, and the gzip of one file.
//!
//! Not an extractor: nothing is written here, and no name in an archive is ever used as a path. Who walks an archive gets
//! a name and a reader for each regular file, in the order of the archive; every byte that comes out is counted against
//! the [`Budget`] while it comes out, because declared sizes lie. Long names of tar are read here and not by the tar
//! crate, which would hold them whole in memory, whatever their size.

mod names;
mod tally;
mod tar;
mod zip;

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::{GzDecoder, MultiGzDecoder};

pub use self::names::{Entry, plain};
use self::tally::Tally;
use super::Error;
use super::limits::Budget;
use crate::text;
use crate::text::Text;

/// A container, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A ZIP that is no office document.
    Zip,
    /// A tar.
    Tar,
    /// A tar in gzip.
    TarGz,
    /// One file in gzip.
    Gzip,
}

impl Format {
    /// What `head`, the first bytes of a file (512 of them are enough), begins.
    pub fn of(head: &[u8]) -> Option<Self> {
        match head {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => (!zip::is_office(head)).then_some(Self::Zip),
            [0x1f, 0x8b, 8, ..] => {
                let mut block = [0; tar::BLOCK];
                let read = read_up_to(&mut GzDecoder::new(head), &mut block);
                Some(if tar::is_header(&block[..read]) { Self::TarGz } else { Self::Gzip })
            }
            _ => tar::is_header(head.get(..tar::BLOCK)?).then_some(Self::Tar),
        }
    }

    /// What people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zip => "ZIP",
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::Gzip => "gzip",
        }
    }
}

/// Why a walk ended early.
#[derive(Debug)]
pub enum Trouble {
    /// It is cut or damaged: it may still be on its way.
    Broken(Text),
    /// It is whole and yet cannot be read: encrypted, in several volumes, of an unknown method.
    Locked(Text),
    /// A limit or a disk; or what the caller of the walk returned.
    Error(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Broken(text) | Trouble::Locked(text) => Self::Refused(text),
            Trouble::Error(error) => error,
        }
    }
}

/// How a walk to the end went.
#[derive(Debug, Default)]
pub struct Walked {
    /// What was skipped, and names that were cut down; at most [`MOST_WARNINGS`].
    pub warnings: Vec<Text>,
    /// The archive itself does not say that it ends here (a tar without its two blocks of zeros).
    pub open: Option<Text>,
}

/// What takes the entries; what it leaves unread is read for it.
pub type Each<'a> = &'a mut dyn FnMut(Entry<'_>) -> Result<(), Error>;

/// Walks an archive that can be sought in. `name` is its own: the file in a gzip has it, less its ending.
///
/// # Errors
/// See [`Trouble`]; `each` may have been given a part of the entries by then.
pub fn walk<R: Read + Seek>(
    format: Format,
    name: &str,
    mut source: R,
    budget: &RefCell<Budget>,
    each: Each<'_>,
) -> Result<Walked, Trouble> {
    if format != Format::Zip {
        return stream(format, name, &mut source, budget, each);
    }
    source.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    let tally = Tally::new(budget);
    let mut walked = Walked::default();
    let result = zip::walk(tally.packed(source), &tally, &mut walked, each);
    tally.settle(result).map(|()| walked)
}

/// Walks an archive that can only be read; not a ZIP, whose table stands at its end.
///
/// # Errors
/// As [`walk`].
pub fn stream(
    format: Format,
    name: &str,
    source: &mut dyn Read,
    budget: &RefCell<Budget>,
    each: Each<'_>,
) -> Result<Walked, Trouble> {
    let tally = Tally::new(budget);
    let mut walked = Walked::default();
    let packed = tally.packed(source);
    let result = match format {
        Format::Zip => Err(Trouble::Locked(text!("a ZIP cannot be read as a stream", "un ZIP ne se lit pas en flux"))),
        Format::Tar => tar::walk(tally.unpacked(packed), false, &tally, &mut walked, each),
        Format::TarGz => tar::walk(tally.unpacked(MultiGzDecoder::new(packed)), true, &tally, &mut walked, each),
        Format::Gzip => single(name, tally.unpacked(MultiGzDecoder::new(packed)), &tally, each),
    };
    tally.settle(result).map(|()| walked)
}

/// The one file of a gzip.
fn single(name: &str, mut content: impl Read, tally: &Tally<'_>, each: Each<'_>) -> Result<(), Trouble> {
    let lower = name.to_ascii_lowercase();
    let stem = lower.strip_suffix(".gz").map_or(name, |stem| &name[..stem.len()]);
    tally.entry()?;
    each(Entry { name: names::or_document(stem), content: &mut content })?;
    drain(&mut content)
}

/// Reads to the end, for the checksum that stands there.
fn drain(content: &mut dyn Read) -> Result<(), Trouble> {
    io::copy(content, &mut io::sink()).map(drop).map_err(|error| broken(&error))
}

/// What a decoder said about bytes that it cannot read; it may quote them.
fn broken(error: &dyn std::fmt::Display) -> Trouble {
    let error = names::shown(&error.to_string());
    Trouble::Broken(text!("the archive is cut or damaged: {error}", "l'archive est tronquée ou abîmée : {error}"))
}

/// Fills `buffer` as far as `source` goes; an error is an end.
fn read_up_to(source: &mut dyn Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    filled
}

impl Walked {
    fn warn(&mut self, warning: Text) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(warning);
        } else if self.warnings.len() == MOST_WARNINGS {
            self.warnings.push(text!("more of the same is not listed", "d'autres du même genre ne sont pas listés"));
        }
    }
}

/// Warnings that one archive gives rise to: it may hold thousands of links.
pub const MOST_WARNINGS: usize = 20;

#[cfg(test)]
mod tests;
