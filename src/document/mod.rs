//! Documents inside what was fetched: parts of a message and the names they are delivered under.
//!
//! Nothing here touches the disk: every reader is any [`std::io::BufRead`], and what is found goes to a visitor of the
//! caller. Whatever the size of a message, memory stays small, because no body is ever held whole.

pub mod header;
pub mod mime;
pub mod names;
mod transfer;

#[cfg(test)]
mod samples;
