//! What stands between the bytes of an IMAP connection and the launcher (RFC 3501, RFC 9051).
//!
//! Not a client: the exchanges are in `source/imap`. [`divert`] cuts the stream into whole responses and takes
//! message bodies out of it on the way, [`response`] reads a response leniently (odd replies of real servers belong
//! there), [`names`] and [`sets`] write folder names and UID sets.
//!
//! Why no async-imap: its session is dead for good after the first response that its grammar refuses, it takes a
//! tagged NO for an empty answer, holds whole bodies, and traces passwords. With bodies diverted and responses
//! framed here, a reader of two hundred lines is all that is left of it, and one odd reply costs one reply.

pub mod divert;
pub mod names;
pub mod response;
pub mod sets;
