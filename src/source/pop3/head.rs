//! The header block of a message, taken from what passes: what recognises it, and when it was received.

use std::time::SystemTime;

use crate::document::header::Fields;
use crate::model::Digest;
use crate::source::Fingerprint;

/// Collects the header block of a message that comes in pieces; counts the rest.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    block: Vec<u8>,
    whole: bool,
    /// Bytes so far, header and body.
    pub(super) size: u64,
}

impl HeadReader {
    /// Takes a piece of the message.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if self.whole {
            return;
        }
        // mostly the first piece has all of it, and much that follows
        if self.block.is_empty()
            && let Some(end) = blank_line(&bytes[..bytes.len().min(HEAD_LIMIT)], 0)
        {
            self.block.extend_from_slice(&bytes[..end]);
            self.whole = true;
            return;
        }
        // a blank line may begin in the piece before
        let from = self.block.len().saturating_sub(3);
        let room = HEAD_LIMIT - self.block.len();
        self.block.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if let Some(end) = blank_line(&self.block, from) {
            self.block.truncate(end);
            self.whole = true;
        }
        self.whole |= self.block.len() >= HEAD_LIMIT;
    }

    /// What recognises the message. LIST is no help: each server counts in its own way, and it is a new server that
    /// has new unique-ids.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.block, None)
    }

    /// The digest that a key is made of: without the fields in which some servers note what was read.
    pub(super) fn digest(&self) -> Digest {
        let mut kept = Vec::with_capacity(self.block.len());
        let mut keep = true;
        for line in self.block.split_inclusive(|&byte| byte == b'\n') {
            if !line.starts_with(b" ") && !line.starts_with(b"\t") {
                let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
                keep = !NOTES.iter().any(|note| name.eq_ignore_ascii_case(note.as_bytes()));
            }
            if keep {
                kept.extend_from_slice(line.trim_ascii_end());
                kept.push(b'\n');
            }
        }
        Digest::of(kept.trim_ascii_end())
    }

    /// When the server received it: POP3 has no dates, but the topmost `Received` is that server's own.
    pub(super) fn received(&self) -> Option<SystemTime> {
        let fields = Fields::parse(first_field(&self.block, b"received")?);
        let field = fields.first("received")?;
        let date = field.rsplit(|&byte| byte == b';').next()?;
        let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
        parser.parse_timestamp(date.trim_ascii()).ok().map(SystemTime::from)
    }
}

/// The first field of this name with the lines that continue it: the other fields need not be read for it.
fn first_field<'a>(block: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let line_end = |bytes: &[u8]| memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
    let mut rest = block;
    while !rest.is_empty() {
        let mut end = line_end(rest);
        let is_named = |own: &[u8]| own.eq_ignore_ascii_case(name);
        if rest.get(..name.len()).is_some_and(is_named) && rest[name.len()..].trim_ascii_start().starts_with(b":") {
            while matches!(rest.get(end), Some(b' ' | b'\t')) {
                end += line_end(&rest[end..]);
            }
            return Some(&rest[..end]);
        }
        rest = &rest[end..];
    }
    None
}

/// Where the blank line that ends the header ends, looked for from `from` on.
fn blank_line(block: &[u8], from: usize) -> Option<usize> {
    for start in [&b"\r\n"[..], b"\n"] {
        if block.starts_with(start) {
            return Some(start.len());
        }
    }
    let mut at = from;
    while let Some(next) = memchr::memchr(b'\n', &block[at..]) {
        at += next + 1;
        match &block[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
    None
}

/// Notes of old servers (UW, qpopper) on messages that were read.
const NOTES: [&str; 6] = ["Status", "X-Status", "X-UIDL", "X-UID", "X-Keywords", "X-IMAP"];
/// Most of a header that is looked at, bytes.
const HEAD_LIMIT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &[u8] = b"Received: from a by b\r\n\t(x; y); Mon, 2 Nov 2026 10:00:00 +0100 (CET)\r\n\
        Received: from c; Mon, 2 Nov 2020 10:00:00 +0100\r\nStatus: RO\r\nSubject: x\r\nMessage-ID: <a@b>\r\n\r\nbody\r\n\r\nmore";

    fn read(mail: &[u8], size: usize) -> HeadReader {
        let mut reader = HeadReader::default();
        mail.chunks(size).for_each(|piece| reader.take(piece));
        reader
    }

    #[test]
    fn a_header_is_the_same_whatever_the_pieces() {
        let end = MAIL.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        for size in 1..MAIL.len() {
            let reader = read(MAIL, size);
            let print = reader.fingerprint();
            assert_eq!((print.message_id.as_deref(), reader.size), (Some("<a@b>"), MAIL.len() as u64));
            assert_eq!(print.header, Digest::of(&MAIL[..end + 2]));
            let received = SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(498_225);
            assert_eq!(reader.received(), Some(received));
        }
        for empty in [&b""[..], b"\r\n", b"\nbody: x\n\n"] {
            assert_eq!(read(empty, 1).fingerprint().header, Digest::of(b""));
        }
        let other = b"Received-SPF: pass; x\r\nRECEIVED : from a;\r\n Mon, 2 Nov 2026 10:00:00 +0100\r\n\r\n";
        assert_eq!(
            (read(other, 500).received(), read(b"Subject: x\r\n\r\n", 9).received()),
            (read(MAIL, 9).received(), None)
        );
        assert_eq!(read(b"a: b\n\nc: d\n\n", 5).fingerprint().header, Digest::of(b"a: b\n"));
        assert!(read(&vec![b'x'; HEAD_LIMIT * 2], 1 << 16).block.len() <= HEAD_LIMIT);
    }

    #[test]
    fn what_a_server_notes_on_a_message_does_not_change_its_key() {
        let unread = read(b"Subject: x\r\nX-UIDL: abc\r\n def\r\nTo: y\r\n\r\n", 9).digest();
        assert_eq!(unread, read(b"Subject: x\r\nTo: y\r\nStatus: RO\r\n\r\n", 9).digest());
        assert_ne!(unread, read(b"Subject: x\r\nTo: z\r\n\r\n", 9).digest());
    }
}
