//! The walker of messages: reads RFC 5322 with MIME (RFC 2045, 2046) once, line by line, and hands every leaf to a
//! [`Visitor`], decoded on the way.
//!
//! Not a tree: what was read is gone, and memory stays below 2 MiB whatever the message weighs. Mail in the wild breaks
//! every rule, so nothing is refused for being wrong; what may have cost content is told as [`Damage`], and the caller
//! decides what becomes of the message. An attached message (`message/rfc822`) is one leaf, its bytes unchanged.

use std::io::{self, BufRead};
use std::ops::ControlFlow;

use super::header::{Fields, Parameters};
use super::names::{extension_of, message_name, part_name};
use super::transfer::Decoder;
use crate::model::Role;
use crate::text;
use crate::text::Text;

pub use super::header::Head;

/// Reads a whole message and tells `visitor` what is in it.
///
/// # Errors
/// See [`WalkError`]. What the visitor was told until then is worth nothing.
pub fn walk(input: impl BufRead, limits: &Limits, visitor: &mut dyn Visitor) -> Result<Walked, WalkError> {
    let mut lines = Lines { input, piece: Vec::new(), carried: None, at_start: true };
    let mut walker = Walker::new(limits, visitor);
    while let Some(piece) = lines.next().map_err(WalkError::Read)? {
        if walker.piece(&piece)?.is_break() {
            return Ok(walker.walked);
        }
    }
    walker.finish()?;
    Ok(walker.walked)
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
    /// The media types of the multiparts around it, outermost first.
    pub path: Vec<String>,
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
    /// Leaves.
    pub parts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header: 1024 * 1024, depth: 64, parts: 20_000 }
    }
}

/// Why a walk ended early.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The message could not be read.
    #[error(transparent)]
    Read(io::Error),
    /// The visitor failed.
    #[error(transparent)]
    Visit(io::Error),
    /// The message has more than [`Limits`] allows.
    #[error("{0}")]
    Limit(Text),
}

/// Where the walk stands.
struct Walker<'a> {
    limits: &'a Limits,
    visitor: &'a mut dyn Visitor,
    walked: Walked,
    stack: Vec<Multipart>,
    state: State,
    /// Decoded content on its way to the visitor.
    out: Vec<u8>,
}

enum State {
    /// In the header block of the message.
    Message(Vec<u8>),
    /// In the header block of a part.
    Header(Vec<u8>),
    /// In the content of a leaf.
    Leaf(Leaf),
    /// Before the first or after the last part of a multipart.
    Between,
}

struct Multipart {
    media_type: String,
    /// `None` until the first line that looks like one, where the header names none.
    boundary: Option<Vec<u8>>,
    /// `start` of multipart/related (RFC 2387, 3.2), without angle brackets.
    start: Option<String>,
    parts: usize,
    closed: bool,
}

struct Leaf {
    head: PartHead,
    stage: Stage,
    decoder: Decoder,
    damage: Option<Damage>,
    /// The break of the last line: it belongs to the boundary if one follows (RFC 2046, 5.1.1).
    held_break: &'static [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// An attached message whose subject is still looked for; so many decoded bytes were searched.
    Naming(usize),
    /// The visitor wants it.
    Wanted,
    /// The visitor does not.
    Skipped,
}

impl<'a> Walker<'a> {
    fn new(limits: &'a Limits, visitor: &'a mut dyn Visitor) -> Self {
        let state = State::Message(Vec::new());
        Self { limits, visitor, walked: Walked::default(), stack: Vec::new(), state, out: Vec::new() }
    }

    fn piece(&mut self, piece: &Piece<'_>) -> Result<ControlFlow<()>, WalkError> {
        if let Some((level, closing)) = self.delimiter(piece) {
            self.cross(level, closing)?;
            return Ok(ControlFlow::Continue(()));
        }
        match &mut self.state {
            State::Message(block) | State::Header(block) => {
                let first = block.is_empty();
                return self.header_piece(piece, first);
            }
            State::Leaf(leaf) => {
                let (content, line_break) = piece.split_break();
                if leaf.stage != Stage::Skipped {
                    leaf.decoder.push(leaf.held_break, &mut self.out);
                    leaf.decoder.push(content, &mut self.out);
                    leaf.held_break = line_break;
                    self.pass_on(false)?;
                }
            }
            State::Between => self.adopt_boundary(piece),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn header_piece(&mut self, piece: &Piece<'_>, first: bool) -> Result<ControlFlow<()>, WalkError> {
        let limit = self.limits.header;
        let is_message = matches!(self.state, State::Message(_));
        let (State::Message(block) | State::Header(block)) = &mut self.state else {
            return Ok(ControlFlow::Continue(()));
        };
        let is_blank = piece.starts_line && piece.bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        // blank lines in front of a message are no end of its header; in front of a part they are
        if is_blank && first && is_message {
            return Ok(ControlFlow::Continue(()));
        }
        if is_blank {
            let block = std::mem::take(block);
            return self.header_done(&block, is_message);
        }
        if block.len() + piece.bytes.len() > limit {
            return Err(WalkError::Limit(text!(
                "a header block of more than {limit} bytes",
                "un bloc d'en-tête de plus de {limit} octets"
            )));
        }
        block.extend_from_slice(piece.bytes);
        Ok(ControlFlow::Continue(()))
    }

    /// A header block is whole: the message is told, a multipart goes onto the stack, a leaf begins.
    fn header_done(&mut self, block: &[u8], is_message: bool) -> Result<ControlFlow<()>, WalkError> {
        self.state = State::Between;
        if is_message {
            let told = self.visitor.message(&Head::parse(block)).map_err(WalkError::Visit)?;
            if told.is_break() {
                return Ok(told);
            }
        }
        let fields = Fields::parse(block);
        let content_type = Parameters::parse(fields.first("content-type").unwrap_or_default());
        let media_type = self.media_type(&content_type.value);
        if media_type.starts_with("multipart/") {
            self.enter(media_type, &content_type)?;
        } else {
            self.begin_leaf(&fields, &content_type, media_type)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn media_type(&self, written: &str) -> String {
        match written {
            "" if self.stack.last().is_some_and(|level| level.media_type == "multipart/digest") => {
                "message/rfc822".to_owned()
            }
            "" | "text" => "text/plain".to_owned(),
            known if known.contains('/') => known.trim_end_matches(',').to_owned(),
            _ => "application/octet-stream".to_owned(),
        }
    }

    fn enter(&mut self, media_type: String, content_type: &Parameters) -> Result<(), WalkError> {
        let limit = self.limits.depth;
        if self.stack.len() >= limit {
            return Err(WalkError::Limit(text!(
                "more than {limit} multiparts inside each other",
                "plus de {limit} niveaux de parties imbriquées"
            )));
        }
        let boundary = content_type.plain("boundary").map(|boundary| boundary.trim_ascii_end().to_vec());
        let start = content_type.plain("start").map(without_brackets);
        self.stack.push(Multipart { media_type, boundary, start, parts: 0, closed: false });
        Ok(())
    }

    fn begin_leaf(&mut self, fields: &Fields, content_type: &Parameters, media_type: String) -> Result<(), WalkError> {
        let limit = self.limits.parts;
        if self.walked.parts >= limit {
            return Err(WalkError::Limit(text!("more than {limit} parts", "plus de {limit} parties")));
        }
        self.walked.parts += 1;
        let disposition = Parameters::parse(fields.first("content-disposition").unwrap_or_default());
        let mut head = PartHead {
            n: self.walked.parts,
            name: part_name(&disposition, content_type),
            media_type,
            disposition: Some(disposition.value).filter(|word| !word.is_empty()),
            content_id: fields.first("content-id").map(without_brackets),
            role: None,
            path: self.stack.iter().map(|level| level.media_type.clone()).collect(),
        };
        head.role = role(&head, self.stack.last());
        let encoding = String::from_utf8_lossy(fields.first("content-transfer-encoding").unwrap_or_default());
        let (decoder, damage) = Decoder::new(&encoding);
        let is_message = matches!(head.media_type.as_str(), "message/rfc822" | "message/global");
        let stage = if is_message && head.name.is_none() { Stage::Naming(0) } else { self.ask(&head)? };
        self.state = State::Leaf(Leaf { head, stage, decoder, damage, held_break: b"" });
        Ok(())
    }

    fn ask(&mut self, head: &PartHead) -> Result<Stage, WalkError> {
        let wanted = self.visitor.part(head).map_err(WalkError::Visit)?;
        Ok(if wanted { Stage::Wanted } else { Stage::Skipped })
    }

    /// Hands decoded content to the visitor: large pieces, or all of it at the end.
    fn pass_on(&mut self, all: bool) -> Result<(), WalkError> {
        let State::Leaf(leaf) = &mut self.state else { return Ok(()) };
        if let Stage::Naming(searched) = leaf.stage {
            let end = header_end(&self.out, searched);
            if end.is_none() && !all && self.out.len() < NAMING {
                leaf.stage = Stage::Naming(self.out.len());
                return Ok(());
            }
            let subject = Head::parse(&self.out[..end.unwrap_or(self.out.len())]).subject;
            leaf.head.name = subject.map(|subject| message_name(&subject));
            let wanted = self.visitor.part(&leaf.head).map_err(WalkError::Visit)?;
            leaf.stage = if wanted { Stage::Wanted } else { Stage::Skipped };
        }
        if leaf.stage == Stage::Skipped {
            self.out.clear();
        } else if !self.out.is_empty() && (all || self.out.len() >= PASS_ON) {
            self.visitor.data(&self.out).map_err(WalkError::Visit)?;
            self.out.clear();
        }
        Ok(())
    }

    fn end_leaf(&mut self, extra: Option<Damage>) -> Result<(), WalkError> {
        if let State::Leaf(leaf) = &mut self.state
            && leaf.stage != Stage::Skipped
        {
            let damage = leaf.decoder.finish(&mut self.out);
            leaf.damage = leaf.damage.take().or(damage).or(extra);
        }
        self.pass_on(true)?;
        match std::mem::replace(&mut self.state, State::Between) {
            State::Leaf(leaf) if leaf.stage == Stage::Wanted => self.visitor.end(leaf.damage).map_err(WalkError::Visit),
            _ => Ok(()),
        }
    }

    /// Which multipart a line delimits, and whether it closes it: the innermost open one with this very boundary, else
    /// a closed one (a part behind the closing boundary is rather read than lost).
    fn delimiter(&self, piece: &Piece<'_>) -> Option<(usize, bool)> {
        let line = piece.whole_line()?.strip_prefix(b"--")?.trim_ascii_end();
        let matching = |wanted_closed: bool, boundary: &[u8]| {
            let own = |level: &Multipart| level.closed == wanted_closed && level.boundary.as_deref() == Some(boundary);
            self.stack.iter().rposition(own)
        };
        let found = |boundary: &[u8]| matching(false, boundary).or_else(|| matching(true, boundary));
        let exact = found(line).map(|level| (level, false));
        let closing = || Some((found(line.strip_suffix(b"--")?)?, true));
        exact.or_else(closing).or_else(|| Some((self.closed_with_junk(line)?, true)))
    }

    /// A closing boundary with something behind it; short boundaries are not trusted that far.
    fn closed_with_junk(&self, line: &[u8]) -> Option<usize> {
        let closes = |boundary: &[u8]| line.strip_prefix(boundary).is_some_and(|rest| rest.starts_with(b"--"));
        let trusted = |level: &&[u8]| level.len() >= TRUSTED;
        let boundaries = self.stack.iter().map(|level| level.boundary.as_deref().filter(trusted));
        boundaries
            .rev()
            .position(|boundary| boundary.is_some_and(closes))
            .map(|from_top| self.stack.len() - 1 - from_top)
    }

    /// A boundary of the multipart at `level` was met: what was inside is over.
    fn cross(&mut self, level: usize, closing: bool) -> Result<(), WalkError> {
        self.leave_part(None)?;
        while self.stack.len() > level + 1 {
            self.pop();
        }
        let Some(multipart) = self.stack.last_mut() else { return Ok(()) };
        multipart.closed = closing;
        if !closing {
            multipart.parts += 1;
            self.state = State::Header(Vec::new());
        }
        Ok(())
    }

    /// Ends whatever is being read; a header block without an end becomes a part without content.
    fn leave_part(&mut self, extra: Option<Damage>) -> Result<(), WalkError> {
        match &mut self.state {
            State::Header(block) if !block.is_empty() => {
                let block = std::mem::take(block);
                let _ = self.header_done(&block, false)?;
                self.end_leaf(Some(Damage::NoContent))
            }
            State::Header(_) | State::Message(_) | State::Between => {
                self.state = State::Between;
                Ok(())
            }
            State::Leaf(_) => self.end_leaf(extra),
        }
    }

    fn pop(&mut self) {
        if self.stack.pop().is_some_and(|level| level.parts == 0) {
            self.walked.damage.push(Damage::NoParts);
        }
    }

    /// A multipart whose header names no boundary: the first line with two dashes shows it.
    fn adopt_boundary(&mut self, piece: &Piece<'_>) {
        let Some(level) = self.stack.last_mut().filter(|level| level.boundary.is_none()) else { return };
        let boundary = piece.whole_line().and_then(|line| line.strip_prefix(b"--")).map(<[u8]>::trim_ascii_end);
        if let Some(boundary) = boundary.filter(|boundary| !boundary.is_empty()) {
            level.boundary = Some(boundary.to_vec());
            level.parts = 1;
            self.state = State::Header(Vec::new());
        }
    }

    /// The input is over.
    fn finish(&mut self) -> Result<(), WalkError> {
        if let State::Message(block) = &mut self.state {
            let block = std::mem::take(block);
            if self.header_done(&block, true)?.is_break() {
                return Ok(());
            }
            // no blank line ends the header: what was meant as content is in it
            self.end_leaf(Some(Damage::NoContent))?;
        }
        let unended = self.stack.iter().any(|level| !level.closed).then_some(Damage::NoEnd);
        if let State::Leaf(leaf) = &mut self.state
            && leaf.stage != Stage::Skipped
        {
            leaf.decoder.push(leaf.held_break, &mut self.out);
        }
        self.leave_part(unended.clone())?;
        while !self.stack.is_empty() {
            self.pop();
        }
        self.walked.damage.extend(unended.filter(|_| !self.walked.damage.contains(&Damage::NoParts)));
        Ok(())
    }
}

/// What a leaf is for. Not by disposition alone: Apple Mail and Outlook send invoices as `inline`, so only pictures can
/// be inline, and only text without a name is the message's own.
fn role(part: &PartHead, parent: Option<&Multipart>) -> Option<Role> {
    if part.disposition.as_deref() == Some("attachment") {
        return Some(Role::Attachment);
    }
    let parent_is = |kind: &str| parent.is_some_and(|level| level.media_type == kind);
    let is_text = part.media_type.starts_with("text/");
    let is_body = matches!(part.media_type.as_str(), "text/plain" | "text/html");
    if part.name.is_none() && (is_body || is_text && parent_is("multipart/alternative")) {
        return None;
    }
    let is_related = part.content_id.is_some() && parent_is("multipart/related") && !is_root(part, parent);
    let is_inline = part.disposition.as_deref() == Some("inline") && part.media_type.starts_with("image/");
    Some(if is_inline || is_related && is_picture(part) { Role::Inline } else { Role::Attachment })
}

/// The root of multipart/related: the one that `start` names, else the first (RFC 2387, 3.2).
fn is_root(part: &PartHead, parent: Option<&Multipart>) -> bool {
    parent.is_some_and(|level| match &level.start {
        Some(start) => part.content_id.as_ref() == Some(start),
        None => level.parts == 1,
    })
}

/// What a page shows: pictures, style sheets; also pictures that are sent as `application/octet-stream`.
fn is_picture(part: &PartHead) -> bool {
    let extension =
        part.name.as_deref().and_then(|name| name.rsplit_once('.')).map(|(_, end)| end.to_ascii_lowercase());
    let by_name = extension.is_some_and(|extension| PICTURES.contains(&extension.as_str()));
    part.media_type.starts_with("image/")
        || part.media_type == "text/css"
        || part.media_type == "application/octet-stream" && by_name
}

/// Where the header block of an attached message ends, looking from `searched` on.
fn header_end(content: &[u8], searched: usize) -> Option<usize> {
    let from = searched.saturating_sub(3);
    let tail = &content[from..];
    let lf = tail.windows(2).position(|pair| pair == b"\n\n").map(|at| from + at + 1);
    let crlf = tail.windows(3).position(|three| three == b"\n\r\n").map(|at| from + at + 1);
    lf.into_iter().chain(crlf).min()
}

fn without_brackets(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    text.trim().trim_start_matches('<').trim_end_matches('>').to_owned()
}

/// The input cut into lines, and lines that are too long into pieces; the cuts never depend on how it was read.
struct Lines<R> {
    input: R,
    piece: Vec<u8>,
    /// A CR at the end of a full piece: it may be half of a line break.
    carried: Option<u8>,
    at_start: bool,
}

struct Piece<'a> {
    bytes: &'a [u8],
    /// It begins a line.
    starts_line: bool,
    /// The line goes on in the next piece.
    goes_on: bool,
}

impl Piece<'_> {
    fn whole_line(&self) -> Option<&[u8]> {
        (self.starts_line && !self.goes_on).then_some(self.bytes)
    }

    /// The content of the piece and the break that ends it, if it ends a line.
    fn split_break(&self) -> (&[u8], &'static [u8]) {
        for line_break in [b"\r\n".as_slice(), b"\n"] {
            if let Some(content) = self.bytes.strip_suffix(line_break) {
                return (content, line_break);
            }
        }
        (self.bytes, b"")
    }
}

impl<R: BufRead> Lines<R> {
    /// The next piece; `None` at the end of the input.
    fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        self.piece.clear();
        self.piece.extend(self.carried.take());
        let mut over = false;
        while !over && self.piece.len() < LINE {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if available.is_empty() {
                break;
            }
            let room = &available[..available.len().min(LINE - self.piece.len())];
            let upto = room.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            over = upto.is_some();
            let taken = upto.unwrap_or(room.len());
            self.piece.extend_from_slice(&room[..taken]);
            self.input.consume(taken);
        }
        if self.piece.is_empty() {
            return Ok(None);
        }
        let goes_on = !over && self.piece.len() == LINE;
        if goes_on && self.piece.ends_with(b"\r") {
            self.carried = self.piece.pop();
        }
        let starts_line = std::mem::replace(&mut self.at_start, !goes_on);
        Ok(Some(Piece { bytes: &self.piece, starts_line, goes_on }))
    }
}

/// The longest piece of a line, bytes.
const LINE: usize = 64 * 1024;

/// Decoded content goes to the visitor in pieces of this size, bytes; the last line may make them larger by its length.
const PASS_ON: usize = 32 * 1024;

/// Shorter boundaries must stand alone on their line.
const TRUSTED: usize = 8;

/// So many decoded bytes of an attached message are searched for its subject.
const NAMING: usize = 64 * 1024;

const PICTURES: [&str; 13] =
    ["png", "jpg", "jpeg", "jpe", "gif", "bmp", "svg", "webp", "emf", "wmf", "emz", "wmz", "ico"];

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use proptest::prelude::*;

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
            let role = part.head.role.map_or("body", Role::as_str);
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
            visitor.parts.last().map(|part| part.head.role)
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
