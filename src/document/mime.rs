//! The walker of messages: reads RFC 5322 with MIME (RFC 2045, 2046) once, line by line, and hands every leaf to a
//! [`Visitor`], decoded on the way.
//!
//! Not a tree: what was read is gone, and memory stays small whatever the message weighs. Mail in the wild breaks
//! every rule, so nothing is refused for being wrong; what may have cost content is told as [`Damage`], and the caller
//! decides what becomes of the message. An attached message (`message/rfc822`) is one leaf, its bytes unchanged, and
//! with [`Limits::nested`] its own leaves follow it. Parts that are only a wrapping are opened instead of told:
//! winmail.dat (TNEF), signed S/MIME, files that are uuencoded in the text.

use std::fs::File;
use std::io::{self, BufRead};
use std::ops::ControlFlow;

use super::container::Tree;
use super::names::extension_of;
use super::walker::{Start, Walker};
use crate::model::Role;
use crate::text;
use crate::text::Text;

pub use super::header::Head;

/// Reads a whole message and tells `visitor` what is in it.
///
/// # Errors
/// See [`WalkError`]. What the visitor was told until then is worth nothing.
pub fn walk(input: impl BufRead, limits: &Limits, visitor: &mut dyn Visitor) -> Result<Walked, WalkError> {
    let mut tree = Tree::new(limits, visitor);
    Walker::new(&mut tree, Start::Message, 0, Vec::new()).run(input)?;
    Ok(tree.walked)
}

/// Who is told what a message holds. Every call may fail with an I/O error, which ends the walk.
#[allow(clippy::missing_errors_doc)] // said once, above
pub trait Visitor {
    /// The message begins. `Break` ends the walk without an error.
    fn message(&mut self, head: &Head) -> io::Result<ControlFlow<()>>;

    /// A leaf begins; `true` asks for its content.
    fn part(&mut self, part: &PartHead) -> io::Result<bool>;

    /// Decoded content of the part that was asked for last, in order.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The part that was asked for last is over.
    fn end(&mut self, damage: Option<Damage>) -> io::Result<()>;

    /// A file without a name for a container that is too large for memory; asked for at any time.
    fn scratch(&mut self) -> io::Result<File> {
        tempfile::tempfile()
    }
}

/// A leaf of the tree of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHead {
    /// Its number among the leaves, from 1, bodies included.
    pub n: usize,
    /// `type/subtype` in lower case; `text/plain` where none is given (RFC 2045, 5.2).
    pub media_type: String,
    /// The name it was given, decoded, not sanitised; for an attached message without one, its subject and `.eml`.
    pub name: Option<String>,
    /// The word of `Content-Disposition` in lower case.
    pub disposition: Option<String>,
    /// `Content-ID` without angle brackets.
    pub content_id: Option<String>,
    /// What it is for; `None`: the text of the message, no document.
    pub role: Option<Role>,
    /// The media types of the multiparts and containers around it, outermost first.
    pub path: Vec<String>,
    /// Containers around it; 0: a part of the message itself.
    pub level: usize,
    /// It is a container that is handed over as it came because it could not be opened: [`Damage::Unopened`] says why.
    /// Its bytes are what was sent; the documents inside, or some of them, are told nowhere else.
    pub unopened: Option<Damage>,
}

impl PartHead {
    /// Its own name, or `attachment-N.EXT` after its media type; not sanitised. What filters judge.
    pub fn file_name(&self) -> String {
        let made = || format!("attachment-{}.{}", self.n, extension_of(&self.media_type));
        self.name.clone().unwrap_or_else(made)
    }
}

/// How the walk of a whole message ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Leaves that were seen.
    pub parts: usize,
    /// What is wrong with the message as a whole.
    pub damage: Vec<Damage>,
}

/// Something that breaks the rules of MIME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Characters that the transfer encoding does not have; they were left out (base64) or kept (quoted-printable).
    ForeignCharacters,
    /// The encoded text ends in the middle of a byte.
    CutShort,
    /// A `Content-Transfer-Encoding` that nobody knows; the content is as it came.
    UnknownEncoding(String),
    /// No blank line ends the header of the part: its content may have been taken for header.
    NoContent,
    /// The message ends before the closing boundary.
    NoEnd,
    /// A multipart without any part: none of its lines is the boundary that its header announces.
    NoParts,
    /// A container that could not be opened, and why.
    Unopened(Text),
}

impl Damage {
    /// Whether content is missing or not what was sent; else the rules were broken and nothing is lost.
    pub fn is_loss(&self) -> bool {
        !matches!(self, Self::NoEnd | Self::ForeignCharacters)
    }

    /// For an administrator.
    pub fn text(&self) -> Text {
        match self {
            Self::ForeignCharacters => text!(
                "the encoded content holds characters that do not belong there",
                "le contenu codé comporte des caractères étrangers à son codage"
            ),
            Self::CutShort => text!("the encoded content is cut short", "le contenu codé est tronqué"),
            Self::UnknownEncoding(name) => {
                text!("the transfer encoding {name} is unknown", "le codage de transfert {name} est inconnu")
            }
            Self::NoContent => text!(
                "no blank line ends the header of the part, its content was not found",
                "aucune ligne vide ne termine l'en-tête de la partie, son contenu est introuvable"
            ),
            Self::NoEnd => {
                text!("the message ends before its closing boundary", "le message s'arrête avant son délimiteur de fin")
            }
            Self::NoParts => text!(
                "the message announces parts, and none was found",
                "le message annonce des parties, aucune n'a été trouvée"
            ),
            Self::Unopened(Text { en, fr }) => text!(
                "the documents inside cannot all be taken out: {en}; it is kept as it came",
                "impossible d'en extraire tous les documents : {fr} ; elle est gardée telle quelle"
            ),
        }
    }
}

/// What a message may have; larger ones are an error, never cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one header block.
    pub header: usize,
    /// Multiparts inside each other.
    pub depth: usize,
    /// Leaves and containers.
    pub parts: usize,
    /// Whether the parts of attached messages are told too, each behind its message.
    pub nested: bool,
    /// Containers inside each other; what lies deeper is no error, it is told unopened.
    pub levels: usize,
    /// Bytes of all containers of one message, decoded.
    pub unpacked: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let unpacked = 2 * 1024 * 1024 * 1024;
        Self { header: 1024 * 1024, depth: 64, parts: 20_000, nested: false, levels: 8, unpacked }
    }
}

/// Why a walk ended early.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The message could not be read.
    #[error(transparent)]
    Read(io::Error),
    /// The visitor failed, or its scratch file.
    #[error(transparent)]
    Visit(io::Error),
    /// The message has more than [`Limits`] allows.
    #[error("{0}")]
    Limit(Text),
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use proptest::prelude::*;

    use super::super::lines::LINE;
    use super::super::walker::PASS_ON;
    use super::*;

    /// Takes everything, decodes everything.
    #[derive(Debug, Default, PartialEq)]
    struct Everything {
        subject: Option<String>,
        parts: Vec<Found>,
        largest: usize,
        skip_bodies: bool,
    }

    #[derive(Debug, PartialEq)]
    struct Found {
        head: PartHead,
        content: Vec<u8>,
        size: u64,
        ended: bool,
        damage: Option<Damage>,
    }

    impl Visitor for Everything {
        fn message(&mut self, head: &Head) -> io::Result<ControlFlow<()>> {
            self.subject.clone_from(&head.subject);
            Ok(ControlFlow::Continue(()))
        }

        fn part(&mut self, part: &PartHead) -> io::Result<bool> {
            let wanted = !self.skip_bodies || part.role.is_some();
            if wanted {
                let head = part.clone();
                self.parts.push(Found { head, content: Vec::new(), size: 0, ended: false, damage: None });
            }
            Ok(wanted)
        }

        fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.largest = self.largest.max(bytes.len());
            let part = self.parts.last_mut().expect("a part began");
            part.size += bytes.len() as u64;
            if part.content.len() < 1024 * 1024 {
                part.content.extend_from_slice(bytes);
            }
            Ok(())
        }

        fn end(&mut self, damage: Option<Damage>) -> io::Result<()> {
            let part = self.parts.last_mut().expect("a part began");
            (part.ended, part.damage) = (true, damage);
            Ok(())
        }
    }

    fn read(message: &[u8]) -> (Everything, Walked) {
        let mut visitor = Everything::default();
        let walked = walk(message, &Limits::default(), &mut visitor).expect("within limits");
        assert!(visitor.parts.iter().all(|part| part.ended));
        (visitor, walked)
    }

    /// What a message yields, on one line for each leaf: role, name, content.
    fn lines(message: &str) -> Vec<String> {
        let (visitor, _) = read(message.replace('\n', "\r\n").as_bytes());
        let line = |part: &Found| {
            let role = part.head.role.as_ref().map_or("body", Role::as_str);
            format!("{role} {} {:?}", part.head.file_name(), String::from_utf8_lossy(&part.content))
        };
        visitor.parts.iter().map(line).collect()
    }

    const MIXED: &str = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\npreamble\n--b\n\nHello\n\n--b\n\
         Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\nYWJj\nZGVm\n--b--\nepilogue\n";

    #[test]
    fn the_line_break_before_a_boundary_belongs_to_the_boundary() {
        assert_eq!(lines(MIXED), [r#"body attachment-1.txt "Hello\r\n""#, r#"attachment a.pdf "abcdef""#]);
        let (visitor, walked) = read(MIXED.as_bytes());
        assert_eq!(visitor.parts[0].content, b"Hello\n");
        assert_eq!(walked, Walked { parts: 2, damage: vec![] });
    }

    #[test]
    fn a_message_without_multipart_is_one_leaf_with_its_last_line_break() {
        assert_eq!(lines("Subject: x\n\nHello\n"), [r#"body attachment-1.txt "Hello\r\n""#]);
        assert_eq!(
            lines("Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\nYWJj\n"),
            [r#"attachment attachment-1.pdf "abc""#]
        );
        assert_eq!(lines("Subject: x"), [r#"body attachment-1.txt """#]);
        assert_eq!(lines("\n\nContent-Type: application/pdf\n\nx"), [r#"attachment attachment-1.pdf "x""#]);
    }

    #[test]
    fn a_missing_final_boundary_loses_nothing_and_is_told() {
        let cut = MIXED.replace("--b--\nepilogue\n", "");
        let (visitor, walked) = read(cut.as_bytes());
        assert_eq!(visitor.parts[1].content, b"abcdef");
        assert_eq!(visitor.parts[1].damage, Some(Damage::NoEnd));
        assert_eq!(walked.damage, [Damage::NoEnd]);
    }

    #[test]
    fn nested_boundaries_may_begin_with_each_other() {
        let message = "Content-Type: multipart/mixed; boundary=\"b\"\n\n--b\nContent-Type: multipart/mixed; boundary=\"b-1\"\n\n\
             --b-1\nContent-Type: a/b; name=1\n\none\n--b-1 \nContent-Type: a/b; name=2\n\n--b-11\n--b-1--\n--b\n\
             Content-Type: a/b; name=3\n\nthree\n--b--";
        let found = lines(message);
        assert_eq!(found, [r#"attachment 1 "one""#, r#"attachment 2 "--b-11""#, r#"attachment 3 "three""#]);
        let (visitor, _) = read(message.as_bytes());
        assert_eq!(visitor.parts[0].head.path, ["multipart/mixed", "multipart/mixed"]);
    }

    #[test]
    fn an_outer_boundary_ends_an_inner_multipart_that_was_not_closed() {
        let message = "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/alternative; boundary=i\n\n\
             --i\n\ntext\n--o\nContent-Type: a/b; name=1\n\none\n--o--";
        assert_eq!(lines(message), [r#"body attachment-1.txt "text""#, r#"attachment 1 "one""#]);
    }

    #[test]
    fn a_part_behind_the_closing_boundary_is_read() {
        let message = MIXED.replace("epilogue\n", "\n--b\nContent-Type: a/b; name=1\n\none\n--b--\n");
        assert_eq!(lines(&message)[2], r#"attachment 1 "one""#);
    }

    #[test]
    fn a_boundary_that_is_not_announced_is_taken_from_the_first_line_with_dashes() {
        let message = MIXED.replace("; boundary=b", "");
        assert_eq!(lines(&message), lines(MIXED));
    }

    #[test]
    fn a_boundary_that_never_comes_is_told() {
        let (visitor, walked) = read(MIXED.replace("boundary=b", "boundary=c").as_bytes());
        assert_eq!((visitor.parts.len(), walked.damage), (0, vec![Damage::NoParts]));
        assert!(Damage::NoParts.is_loss());
    }

    #[test]
    fn a_header_without_its_blank_line_is_told() {
        let (visitor, _) = read(MIXED.replace("base64\n\nYWJj", "base64\nYWJj").as_bytes());
        assert_eq!(visitor.parts[1].damage, Some(Damage::NoContent));
        let (visitor, _) = read(b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n \r\nYWJj\r\n");
        assert_eq!(visitor.parts[0].damage, Some(Damage::NoContent));
    }

    #[test]
    fn a_closing_boundary_may_have_something_behind_it() {
        let message = MIXED.replace("boundary=b", "boundary=boundary").replace("--b", "--boundary");
        assert_eq!(lines(&message.replace("boundary--", "boundary-->")), lines(MIXED));
    }

    #[test]
    fn an_attached_message_is_one_leaf_named_after_its_subject() {
        let inner = "Subject: =?utf-8?Q?Relev=C3=A9?= 12/2026\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\ntext\n--i--\n";
        let message = format!(
            "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n\n{inner}\n--o--\n"
        );
        let (visitor, walked) = read(message.as_bytes());
        assert_eq!(visitor.parts[0].content, inner.as_bytes());
        assert_eq!(visitor.parts[0].head.file_name(), "Relevé 12_2026.eml");
        assert_eq!(visitor.parts[0].head.role, Some(Role::Attachment));
        assert_eq!(walked.parts, 1);
    }

    #[test]
    fn parts_of_a_digest_are_messages() {
        let message = "Content-Type: multipart/digest; boundary=o\n\n--o\n\nSubject: one\n\ntext\n--o--\n";
        assert_eq!(lines(message), [r#"attachment one.eml "Subject: one\r\n\r\ntext""#]);
    }

    #[test]
    fn bodies_pictures_and_documents_are_told_apart() {
        let part = |fields: &str| format!("--b\n{fields}\n\nx\n");
        let role = |kind: &str, first: &str, fields: &str| {
            let message = format!("Content-Type: multipart/{kind}; boundary=b\n\n{first}{}--b--\n", part(fields));
            let (visitor, _) = read(message.as_bytes());
            visitor.parts.last().map(|part| part.head.role.clone())
        };
        let page = part("Content-Type: text/html");
        let body = Some(None);
        let of = |role| Some(Some(role));
        assert_eq!(role("mixed", "", "Content-Type: text/html"), body);
        assert_eq!(role("mixed", "", "Content-Type: text/plain; name=a.txt"), of(Role::Attachment));
        assert_eq!(
            role("mixed", "", "Content-Type: text/plain\nContent-Disposition: attachment"),
            of(Role::Attachment)
        );
        assert_eq!(role("mixed", "", "Content-Type: text/calendar"), of(Role::Attachment));
        assert_eq!(role("alternative", &page, "Content-Type: text/calendar"), body);
        assert_eq!(role("alternative", &page, "Content-Type: application/pdf"), of(Role::Attachment));
        assert_eq!(
            role("mixed", "", "Content-Type: application/pdf; name=a.pdf\nContent-Disposition: inline"),
            of(Role::Attachment)
        );
        assert_eq!(
            role("mixed", "", "Content-Type: image/png; name=a.png\nContent-Disposition: inline"),
            of(Role::Inline)
        );
        assert_eq!(role("mixed", "", "Content-Type: image/png; name=a.png\nContent-ID: <a>"), of(Role::Attachment));
        assert_eq!(role("related", &page, "Content-Type: image/png; name=a.png\nContent-ID: <a>"), of(Role::Inline));
        assert_eq!(
            role("related", &page, "Content-Type: application/octet-stream; name=a.PNG\nContent-ID: <a>"),
            of(Role::Inline)
        );
        assert_eq!(
            role("related", &page, "Content-Type: application/pdf; name=a.pdf\nContent-ID: <a>"),
            of(Role::Attachment)
        );
        assert_eq!(role("related", "", "Content-Type: image/png; name=a.png\nContent-ID: <a>"), of(Role::Attachment));
    }

    #[test]
    fn limits_are_errors() {
        let try_with = |limits: Limits, message: &str| {
            matches!(walk(message.as_bytes(), &limits, &mut Everything::default()), Err(WalkError::Limit(_)))
        };
        let limits = Limits::default();
        assert!(try_with(Limits { header: 30, ..limits }, MIXED));
        assert!(try_with(Limits { parts: 1, ..limits }, MIXED));
        assert!(try_with(Limits { depth: 0, ..limits }, MIXED));
        assert!(!try_with(Limits { depth: 1, parts: 2, ..limits }, MIXED));
    }

    #[test]
    fn a_visitor_may_end_the_walk_at_the_head() {
        struct Refusing;
        impl Visitor for Refusing {
            fn message(&mut self, _: &Head) -> io::Result<ControlFlow<()>> {
                Ok(ControlFlow::Break(()))
            }
            fn part(&mut self, _: &PartHead) -> io::Result<bool> {
                panic!("the walk went on")
            }
            fn data(&mut self, _: &[u8]) -> io::Result<()> {
                panic!("the walk went on")
            }
            fn end(&mut self, _: Option<Damage>) -> io::Result<()> {
                panic!("the walk went on")
            }
        }
        assert_eq!(walk(MIXED.as_bytes(), &Limits::default(), &mut Refusing).unwrap().parts, 0);
        assert_eq!(walk("Subject: only".as_bytes(), &Limits::default(), &mut Refusing).unwrap().parts, 0);
    }

    #[test]
    fn what_is_not_asked_for_is_not_handed_over() {
        let mut visitor = Everything { skip_bodies: true, ..Everything::default() };
        walk(MIXED.as_bytes(), &Limits::default(), &mut visitor).unwrap();
        assert_eq!(visitor.parts.iter().map(|part| part.content.as_slice()).collect::<Vec<_>>(), [b"abcdef"]);
    }

    /// So many bytes of one pattern, made as they are read.
    fn endless(pattern: &'static [u8], size: u64) -> impl Read {
        struct Pattern(&'static [u8], usize);
        impl Read for Pattern {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let rest = &self.0[self.1..];
                let taken = rest.len().min(buffer.len());
                buffer[..taken].copy_from_slice(&rest[..taken]);
                self.1 = (self.1 + taken) % self.0.len();
                Ok(taken)
            }
        }
        Pattern(pattern, 0).take(size)
    }

    #[test]
    fn a_large_attachment_passes_in_small_pieces() {
        let head = "Content-Type: application/pdf\r\nContent-Transfer-Encoding: ";
        let line = b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n";
        for (encoding, pattern, size) in
            [("base64", line.as_slice(), 20_000_000 / 78 * 57), ("binary", b"\r", 20_000_000)]
        {
            let input = format!("{head}{encoding}\r\n\r\n");
            let encoded = if encoding == "base64" { 20_000_000 / 78 * 78 } else { 20_000_000 };
            let mut visitor = Everything::default();
            walk(BufReader::new(input.as_bytes().chain(endless(pattern, encoded))), &Limits::default(), &mut visitor)
                .unwrap();
            assert_eq!(visitor.parts[0].size, size, "{encoding}");
            assert!(visitor.largest <= PASS_ON + LINE, "{} bytes at once", visitor.largest);
        }
    }

    fn odd_message() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop::sample::select(vec![
            "--b",
            "--b--",
            "--bb",
            "--i--",
            "--i",
            "\r\n",
            "\n",
            "\r",
            "\r\n\r\n",
            "Content-Type: multipart/mixed; boundary=b",
            "Content-Type: multipart/related; boundary=i; start=<a>",
            "Content-Type: multipart/digest",
            "Content-Type: message/rfc822",
            "Content-Type: application/pdf; name=\"a.pdf\"",
            "Content-Transfer-Encoding: base64",
            "Content-ID: <a>",
            "YWJj",
            "=",
            " ",
            "Content-Transfer-Encoding: quoted-printable",
            "Subject: x",
            "\u{e9}",
        ]);
        let start = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n";
        (any::<bool>(), proptest::collection::vec(pieces, 0..40))
            .prop_map(move |(whole, pieces)| [if whole { start } else { "" }, &pieces.concat()].concat().into_bytes())
    }

    proptest! {
        #[test]
        fn any_cut_of_the_input_gives_the_same(message in odd_message(), size in 1usize..12) {
            let mut cut = Everything::default();
            let walked = walk(BufReader::with_capacity(size, message.as_slice()), &Limits::default(), &mut cut).unwrap();
            prop_assert_eq!((cut, walked), read(&message));
        }

        #[test]
        fn no_bytes_make_it_panic(message: Vec<u8>) {
            read(&message);
        }

        #[test]
        fn binary_content_passes_byte_for_byte(content: Vec<u8>) {
            let head = b"Content-Type: multipart/mixed; boundary=0123456789\r\n\r\n--0123456789\r\nContent-Type: a/b\r\n\r\n";
            let message = [head.as_slice(), &content, b"\r\n--0123456789--\r\n"].concat();
            prop_assert_eq!(&read(&message).0.parts[0].content, &content);
        }
    }
}
