//! The state machine of [`walk`](super::mime::walk): one for the message, one for each entity inside a container.
//!
//! Fed line by line. Knows boundaries, header blocks and leaves; what a container holds is [`container`](super::container)'s.

use std::io::BufRead;
use std::ops::ControlFlow;

use super::container::{Container, Kind, Tree};
use super::header::{Fields, Head, Parameters, subject};
use super::lines::{Lines, Piece};
use super::mime::{Damage, PartHead, WalkError};
use super::names::{message_name, part_name, sniffed};
use super::transfer::Decoder;
use super::uuencode;
use crate::model::Role;
use crate::text;

/// Where the walk of one message or entity stands.
pub(super) struct Walker<'t, 'a> {
    tree: &'t mut Tree<'a>,
    start: Start,
    /// Containers around it.
    level: usize,
    /// The media types around it.
    around: Vec<String>,
    stack: Vec<Multipart>,
    state: State,
    /// Decoded content on its way to the visitor.
    out: Vec<u8>,
}

/// What the walk begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// The message itself, whose head is told.
    Message,
    /// A message that is attached to another and was told as a leaf.
    Attached,
    /// A MIME entity: header fields of a part and its content.
    Entity,
}

enum State {
    /// In the header block of the message.
    Message(Vec<u8>),
    /// In the header block of a part.
    Header(Vec<u8>),
    /// In the content of a leaf.
    Leaf(Box<Leaf>),
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
    /// Something stands outside its parts.
    has_text: bool,
}

struct Leaf {
    head: PartHead,
    stage: Stage,
    decoder: Decoder,
    damage: Option<Damage>,
    /// The break of the last line: it belongs to the boundary if one follows (RFC 2046, 5.1.1).
    held_break: &'static [u8],
    /// It holds documents of its own.
    container: Option<Container>,
    /// Text of the message, where uuencoded files may stand.
    is_text: bool,
    /// Nothing of it has come, and its header has lines that are none of a header.
    is_missing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// An attached message whose subject is still looked for; so many decoded bytes were searched. Or bytes that say
    /// neither their name nor their type.
    Naming(usize),
    /// A container that is told, if at all, when it is whole.
    Held,
    /// The visitor wants it.
    Wanted,
    /// The visitor does not.
    Skipped,
}

impl<'t, 'a> Walker<'t, 'a> {
    pub(super) fn new(tree: &'t mut Tree<'a>, start: Start, level: usize, around: Vec<String>) -> Self {
        let state = if start == Start::Entity { State::Header(Vec::new()) } else { State::Message(Vec::new()) };
        Self { tree, start, level, around, stack: Vec::new(), state, out: Vec::new() }
    }

    /// Reads to the end and tells everything.
    pub(super) fn run(mut self, input: impl BufRead) -> Result<(), WalkError> {
        // what lies in a container is read from the visitor's scratch
        let error = if self.start == Start::Message { WalkError::Read } else { WalkError::Visit };
        let mut lines = Lines::new(input);
        while let Some(piece) = lines.next().map_err(error)? {
            if self.piece(&piece)?.is_break() {
                return Ok(());
            }
        }
        self.finish()
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
            State::Leaf(_) => self.leaf_piece(piece)?,
            State::Between => self.adopt_boundary(piece),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn leaf_piece(&mut self, piece: &Piece<'_>) -> Result<(), WalkError> {
        if matches!(&self.state, State::Leaf(leaf) if leaf.is_text)
            && piece.whole_line().is_some_and(|line| uuencode::begin(line).is_some())
        {
            self.split_text()?;
        }
        let State::Leaf(leaf) = &mut self.state else { return Ok(()) };
        if !leaf.is_read() {
            return Ok(());
        }
        if self.out.capacity() == 0 {
            self.out.reserve(FIRST);
        }
        let (content, line_break) = piece.split_break();
        leaf.decoder.push(leaf.held_break, &mut self.out);
        leaf.decoder.push(content, &mut self.out);
        leaf.held_break = line_break;
        leaf.is_missing = leaf.is_missing && content.is_empty();
        if self.out.len() >= PASS_ON || matches!(leaf.stage, Stage::Naming(_)) { self.pass_on(false) } else { Ok(()) }
    }

    /// A uuencoded file seems to begin inside the text: what came before is a leaf of its own, the rest is looked at
    /// when it is whole.
    fn split_text(&mut self) -> Result<(), WalkError> {
        let State::Leaf(leaf) = &mut self.state else { return Ok(()) };
        if leaf.is_read() {
            leaf.decoder.push(std::mem::take(&mut leaf.held_break), &mut self.out);
        }
        self.pass_on(true)?;
        let State::Leaf(leaf) = &mut self.state else { return Ok(()) };
        if leaf.stage == Stage::Wanted {
            self.tree.end(None)?;
        }
        (leaf.stage, leaf.is_text, leaf.container) = (Stage::Held, false, Some(Container::new(Kind::Text)));
        Ok(())
    }

    fn header_piece(&mut self, piece: &Piece<'_>, first: bool) -> Result<ControlFlow<()>, WalkError> {
        let limit = self.tree.limits.header;
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
        let fields = Fields::parse(block);
        if is_message && self.start == Start::Message {
            let told = self.tree.message(&Head::of(block, &fields))?;
            if told.is_break() {
                return Ok(told);
            }
        }
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
            "" if self.parent_is("multipart/digest") => "message/rfc822".to_owned(),
            "" | "text" => "text/plain".to_owned(),
            known if known.contains('/') => known.trim_end_matches(',').to_owned(),
            _ => "application/octet-stream".to_owned(),
        }
    }

    fn parent_is(&self, media_type: &str) -> bool {
        self.stack.last().is_some_and(|level| level.media_type == media_type)
    }

    fn enter(&mut self, media_type: String, content_type: &Parameters) -> Result<(), WalkError> {
        let limit = self.tree.limits.depth;
        if self.stack.len() >= limit {
            return Err(WalkError::Limit(text!(
                "more than {limit} multiparts inside each other",
                "plus de {limit} niveaux de parties imbriquées"
            )));
        }
        let boundary = content_type.plain("boundary").map(|boundary| boundary.trim_ascii_end().to_vec());
        let start = content_type.plain("start").map(without_brackets);
        self.stack.push(Multipart { media_type, boundary, start, parts: 0, closed: false, has_text: false });
        Ok(())
    }

    fn begin_leaf(
        &mut self,
        fields: &Fields<'_>,
        content_type: &Parameters,
        media_type: String,
    ) -> Result<(), WalkError> {
        self.tree.count()?;
        let disposition = Parameters::parse(fields.first("content-disposition").unwrap_or_default());
        let mut head = PartHead {
            n: 0, // until it is told
            name: part_name(&disposition, content_type),
            media_type,
            disposition: Some(disposition.value).filter(|word| !word.is_empty()),
            content_id: fields.first("content-id").map(without_brackets),
            role: None,
            path: self.around.iter().chain(self.stack.iter().map(|level| &level.media_type)).cloned().collect(),
            level: self.level,
            unopened: None,
        };
        head.role = role(&head, self.stack.last());
        let encoding = String::from_utf8_lossy(fields.first("content-transfer-encoding").unwrap_or_default());
        let (mut decoder, mut damage) = Decoder::new(&encoding);
        let is_text = head.role.is_none() && head.media_type == "text/plain";
        let mut kind = Kind::of(&head, content_type, self.tree.limits);
        if uuencode::is_encoding(&encoding) {
            (decoder, damage, kind) = (Decoder::Identity, None, Some(Kind::Uuencoded));
        } else if is_text && matches!(decoder, Decoder::Base64(_)) {
            kind = Some(Kind::Text);
        }
        if self.level >= self.tree.limits.levels && kind.is_some_and(Kind::is_level) {
            (kind, head.unopened) = (None, Some(Damage::Unopened(self.tree.too_deep())));
        }
        let stage = match kind {
            Some(Kind::Message) | None if is_unnamed(&head) => Stage::Naming(0),
            Some(Kind::Message) | None => self.ask(&mut head)?,
            Some(_) => Stage::Held,
        };
        let (container, is_text) = (kind.map(Container::new), is_text && kind.is_none());
        let is_missing = fields.has_strangers;
        let leaf = Leaf { head, stage, decoder, damage, held_break: b"", container, is_text, is_missing };
        self.state = State::Leaf(Box::new(leaf));
        Ok(())
    }

    fn ask(&mut self, head: &mut PartHead) -> Result<Stage, WalkError> {
        Ok(if self.tree.ask(head)? { Stage::Wanted } else { Stage::Skipped })
    }

    /// Hands decoded content to the visitor and to the container: large pieces, or all of it at the end.
    fn pass_on(&mut self, all: bool) -> Result<(), WalkError> {
        let State::Leaf(leaf) = &mut self.state else { return Ok(()) };
        if let Stage::Naming(searched) = leaf.stage {
            if !leaf.name_after(&self.out, searched, all) {
                leaf.stage = Stage::Naming(self.out.len());
                return Ok(());
            }
            leaf.stage = if self.tree.ask(&mut leaf.head)? { Stage::Wanted } else { Stage::Skipped };
        }
        if self.out.is_empty() || !all && self.out.len() < PASS_ON {
            return Ok(());
        }
        if leaf.stage == Stage::Wanted {
            self.tree.data(&self.out)?;
        }
        if let Some(container) = &mut leaf.container {
            container.write(&self.out, self.tree)?;
        }
        self.out.clear();
        Ok(())
    }

    fn end_leaf(&mut self, extra: Option<Damage>) -> Result<(), WalkError> {
        if let State::Leaf(leaf) = &mut self.state
            && leaf.is_read()
        {
            let damage = leaf.decoder.finish(&mut self.out);
            let missing = leaf.is_missing.then_some(Damage::NoContent);
            leaf.damage = leaf.damage.take().or(damage).or(missing).or(extra);
        }
        self.pass_on(true)?;
        let State::Leaf(leaf) = std::mem::replace(&mut self.state, State::Between) else { return Ok(()) };
        if leaf.stage == Stage::Wanted {
            self.tree.end(leaf.damage.clone())?;
        }
        let Leaf { head, damage, container, .. } = *leaf;
        container.map_or(Ok(()), |container| container.open(head, damage, self.tree))
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
        // a bounce often brings no more than the header of the message that came back
        let may_be_empty = self.start == Start::Attached;
        if self.stack.pop().is_some_and(|level| level.parts == 0 && (level.has_text || !may_be_empty)) {
            self.tree.walked.damage.push(Damage::NoParts);
        }
    }

    /// A multipart whose header names no boundary: the first line with two dashes shows it.
    fn adopt_boundary(&mut self, piece: &Piece<'_>) {
        let Some(level) = self.stack.last_mut() else { return };
        level.has_text = level.has_text || !piece.bytes.trim_ascii().is_empty();
        if level.boundary.is_some() {
            return;
        }
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
            && leaf.is_read()
        {
            leaf.decoder.push(leaf.held_break, &mut self.out);
        }
        self.leave_part(unended.clone())?;
        while !self.stack.is_empty() {
            self.pop();
        }
        let damage = &mut self.tree.walked.damage;
        damage.extend(unended.filter(|_| self.start != Start::Attached && !damage.contains(&Damage::NoParts)));
        Ok(())
    }
}

impl Leaf {
    /// Whether its content is of use to anybody.
    fn is_read(&self) -> bool {
        self.stage != Stage::Skipped || self.container.is_some()
    }

    /// Finds what the leaf is called by its content, decoded so far; `false` when more of it is needed.
    fn name_after(&mut self, content: &[u8], searched: usize, all: bool) -> bool {
        if !is_message(&self.head.media_type) {
            if content.len() < MAGIC && !all {
                return false;
            }
            if let Some(known) = sniffed(content) {
                known.clone_into(&mut self.head.media_type);
            }
            return true;
        }
        let end = header_end(content, searched);
        if end.is_none() && !all && content.len() < NAMING {
            return false;
        }
        let head = &content[..end.unwrap_or(content.len())];
        self.head.name = subject(&Fields::parse(head)).map(|subject| message_name(&subject));
        true
    }
}

fn is_message(media_type: &str) -> bool {
    matches!(media_type, "message/rfc822" | "message/global")
}

/// Whether only the content can say what the part is to be called.
fn is_unnamed(head: &PartHead) -> bool {
    head.name.is_none() && (is_message(&head.media_type) || head.media_type == "application/octet-stream")
}

/// What a leaf is for. Not by disposition alone: Apple Mail and Outlook send invoices as `inline`, so only pictures can
/// be inline, and only text without a name is the message's own; so are reports of delivery and detached signatures.
fn role(part: &PartHead, parent: Option<&Multipart>) -> Option<Role> {
    let parent_is = |kind: &str| parent.is_some_and(|level| level.media_type == kind);
    let media_type = part.media_type.as_str();
    if part.name.is_none() && REPORTS.contains(&media_type)
        || parent_is("multipart/signed") && SIGNATURES.contains(&media_type)
    {
        return None;
    }
    if part.disposition.as_deref() == Some("attachment") {
        return Some(Role::Attachment);
    }
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
pub(super) fn is_picture(part: &PartHead) -> bool {
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

/// Decoded content goes to the visitor in pieces of this size, bytes; the last line may make them larger by its length.
pub(super) const PASS_ON: usize = 32 * 1024;

/// Room for decoded content that is taken at once, bytes: what a small document needs.
const FIRST: usize = 4 * 1024;

/// Shorter boundaries must stand alone on their line.
const TRUSTED: usize = 8;

/// So many decoded bytes of an attached message are searched for its subject.
const NAMING: usize = 64 * 1024;

/// So many bytes tell what a document is.
const MAGIC: usize = 8;

/// Parts of reports on a message (RFC 3464, 8098, 5965), without a name: text for machines.
const REPORTS: [&str; 5] = [
    "message/delivery-status",
    "message/global-delivery-status",
    "message/disposition-notification",
    "message/feedback-report",
    "text/rfc822-headers",
];

/// Detached signatures inside multipart/signed (RFC 8551, 3.5.3; RFC 3156, 5).
const SIGNATURES: [&str; 3] =
    ["application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature"];

const PICTURES: [&str; 13] =
    ["png", "jpg", "jpeg", "jpe", "gif", "bmp", "svg", "webp", "emf", "wmf", "emz", "wmz", "ico"];
