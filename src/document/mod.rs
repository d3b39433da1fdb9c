//! Documents inside what was fetched: parts of a message and the names they are delivered under.
//!
//! Every reader is any [`std::io::BufRead`], and what is found goes to a visitor of the caller. Whatever the size of a
//! message, memory stays small, because no body is ever held whole: what has to be read twice waits in a file that the
//! visitor gives.

mod container;
pub mod envelope;
pub mod header;
mod lines;
pub mod mime;
pub mod names;
mod smime;
mod tnef;
mod transfer;
mod uuencode;
mod walker;

#[cfg(test)]
mod samples;
