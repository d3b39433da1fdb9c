//! How streams of a PDF are coded (ISO 32000-1, 7.4): not at all, or deflated, for cross-references with predictors.
//!
//! Other filters exist; no writer of Factur-X uses them for what is read here.

use std::io;

use super::syntax::{Dictionary, Object};

/// How a stream is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Deflated,
}

/// `None` for filters that nobody uses here.
pub(super) fn coding(dictionary: &Dictionary) -> Option<Coding> {
    let is_deflate = |filter: &Object| matches!(filter, Object::Name(name) if name == b"FlateDecode" || name == b"Fl");
    match dictionary.get("Filter") {
        None | Some(Object::Other) => Some(Coding::Plain),
        Some(Object::Array(filters)) if filters.is_empty() => Some(Coding::Plain),
        Some(Object::Array(filters)) if filters.len() == 1 => {
            filters.iter().all(is_deflate).then_some(Coding::Deflated)
        }
        Some(filter) => is_deflate(filter).then_some(Coding::Deflated),
    }
}

/// A stream that is damaged has no more to give; anything else is the disk.
pub(super) fn damage(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Ok(0),
        _ => Err(error),
    }
}

/// Undoes the predictors of PNG (RFC 2083, 6) for one byte a sample, which is how cross-references are written.
pub(super) fn unpredicted(dictionary: &Dictionary, bytes: Vec<u8>) -> Vec<u8> {
    let parameters = match dictionary.get("DecodeParms") {
        Some(Object::Dictionary(own)) => Some(own),
        Some(Object::Array(all)) => {
            all.first().and_then(|own| if let Object::Dictionary(own) = own { Some(own) } else { None })
        }
        _ => None,
    };
    let Some(parameters) = parameters.filter(|own| own.number("Predictor").is_some_and(|kind| kind >= 10)) else {
        return bytes;
    };
    let columns = usize::try_from(parameters.number("Columns").unwrap_or(1)).unwrap_or(1).clamp(1, LONGEST_ROW);
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut above = vec![0_u8; columns];
    for row in bytes.chunks(columns + 1) {
        let Some((kind, row)) = row.split_first() else { break };
        let mut line = vec![0_u8; columns];
        for (at, byte) in row.iter().enumerate() {
            let (left, corner) = if at == 0 { (0, 0) } else { (line[at - 1], above[at - 1]) };
            line[at] = byte.wrapping_add(match kind {
                1 => left,
                2 => above[at],
                3 => u8::midpoint(left, above[at]),
                4 => paeth(left, above[at], corner),
                _ => 0,
            });
        }
        out.extend_from_slice(&line);
        above = line;
    }
    out
}

fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let guess = i16::from(left) + i16::from(above) - i16::from(corner);
    let distance = |value: u8| (guess - i16::from(value)).abs();
    [left, above, corner].into_iter().min_by_key(|value| distance(*value)).unwrap_or(0)
}

/// Bytes of a row of cross-references.
const LONGEST_ROW: usize = 4 << 10;
