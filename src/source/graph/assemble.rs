//! A message put together from its parts: header fields, text and attachments as Graph tells them (RFC 5322, RFC 2045 to
//! 2047, RFC 2183, RFC 2231).
//!
//! Not what was sent: a message whose MIME the server cannot make has no other form. What is behind it stays one path:
//! the parts are found again as those of any mail. Attachments are streamed, and coded while they are written.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;

use super::client::{Answer, Ended};
use super::fetch::{Body, Fetcher, spool_fault};
use super::json::{Attachment, Kind, MESSAGE, Message, Page, Recipient};
use super::list::moment;
use super::trouble::Refusal;
use crate::delivery::spool::SpoolWriter;
use crate::model::{Digest, Fault};
use crate::source::SourceError;

/// Why the parts do not come together.
enum Stopped {
    Body(Body),
    Error(SourceError),
}

impl From<SourceError> for Stopped {
    fn from(error: SourceError) -> Self {
        Self::Error(error)
    }
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Error(spool_fault(&error))
    }
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::Body(Body::Cut(fault))
    }
}

impl Fetcher {
    /// Writes the message `id` to `writer`, from its parts.
    pub(super) async fn rebuild(&self, id: &str, mut writer: SpoolWriter) -> Result<Body, SourceError> {
        match self.write(id, &mut writer).await {
            Ok(()) => Ok(Body::Whole(writer)),
            Err(Stopped::Body(body)) => Ok(body),
            Err(Stopped::Error(error)) => Err(error),
        }
    }

    async fn write(&self, id: &str, writer: &mut SpoolWriter) -> Result<(), Stopped> {
        let request = self.client.get(&["messages", id], &format!("$select={MESSAGE}"));
        let message: Message = self.client.json(&request).await?.map_err(stopped)?;
        // no part can hold it, and the same message comes out each time
        let boundary = format!("=_{}", &Digest::of(id.as_bytes()).to_string()[..40]);
        writer.write_all(head(&message, &boundary).as_bytes())?;
        text_part(writer, &message, &boundary)?;
        drop(message.body);
        let query = "$select=id,name,contentType,size,isInline&$top=100";
        let mut request = self.client.get(&["messages", id, "attachments"], query);
        for _ in 0..PAGES {
            let page: Page<Attachment> = self.client.json(&request).await?.map_err(without_part)?;
            for attachment in &page.value {
                write!(writer, "\r\n--{boundary}\r\n")?;
                match attachment.kind() {
                    Kind::Reference => link_part(writer, attachment, message.web_link.as_deref())?,
                    kind => self.attachment(id, attachment, kind, writer).await?,
                }
            }
            let Some(next) = page.next else { break };
            request = self.client.follow(&next)?;
        }
        write!(writer, "\r\n--{boundary}--\r\n")?;
        Ok(())
    }

    /// Writes one attachment, headers and content, as its bytes arrive.
    async fn attachment(
        &self,
        id: &str,
        attachment: &Attachment,
        kind: Kind,
        writer: &mut SpoolWriter,
    ) -> Result<(), Stopped> {
        let path = ["messages", id, "attachments", &attachment.id, "$value"];
        let mut answer: Answer = match self.client.open(&self.client.get(&path, "")).await {
            Ok(answer) => answer.map_err(without_part)?,
            Err(Ended::Cut(fault)) => return Err(fault.into()),
            Err(Ended::Done(error)) => return Err(error.into()),
        };
        let mut first = Vec::new();
        while first.len() < FIRST {
            let Some(bytes) = answer.chunk().await? else { break };
            first.extend_from_slice(&bytes);
        }
        let form = Form::of(attachment, kind, &first);
        writer.write_all(form.head(attachment).as_bytes())?;
        let mut coder = Coder::new(writer, form.is_raw());
        coder.take(&first)?;
        drop(first);
        while let Some(bytes) = answer.chunk().await? {
            coder.take(&bytes)?;
            if coder.out.size() > self.largest {
                return Err(Stopped::Body(Body::TooLarge(coder.out.size())));
            }
        }
        coder.end()?;
        Ok(())
    }
}

fn stopped(refusal: Refusal) -> Stopped {
    Stopped::Body(if refusal.has_left() { Body::Gone } else { Body::Refused(refusal) })
}

/// The message is there: an attachment that is not does not make it one that has left.
fn without_part(refusal: Refusal) -> Stopped {
    Stopped::Body(Body::Refused(refusal))
}

/// The header block of the whole, up to its blank line.
fn head(message: &Message, boundary: &str) -> String {
    let mut fields = Vec::new();
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            fields.push(format!("{name}: {value}\r\n"));
        }
    };
    let date = message.sent_date_time.as_deref().or(message.received_date_time.as_deref()).and_then(moment);
    let date = date.and_then(|date| jiff::fmt::rfc2822::to_string(&date.to_zoned(TimeZone::UTC)).ok());
    field("Date", &date.unwrap_or_default());
    let from = message.from.as_ref().or(message.sender.as_ref());
    field("From", &addresses(from));
    field(
        "Sender",
        &message.sender.as_ref().filter(|_| message.from.is_some()).map(|one| addresses(Some(one))).unwrap_or_default(),
    );
    field("Reply-To", &addresses(message.reply_to.iter().flatten()));
    field("To", &addresses(message.to_recipients.iter().flatten()));
    field("Cc", &addresses(message.cc_recipients.iter().flatten()));
    field("Bcc", &addresses(message.bcc_recipients.iter().flatten()));
    field("Message-ID", &atom(message.internet_message_id.as_deref().unwrap_or_default()));
    field("Subject", &words(message.subject.as_deref().unwrap_or_default()));
    field("MIME-Version", "1.0");
    field("Content-Type", &format!("multipart/mixed;\r\n boundary=\"{boundary}\""));
    fields.push("\r\n".to_owned());
    fields.concat()
}

fn text_part(writer: &mut SpoolWriter, message: &Message, boundary: &str) -> io::Result<()> {
    let body = message.body.as_ref();
    let html = body.and_then(|body| body.content_type.as_deref()).is_some_and(|kind| kind.eq_ignore_ascii_case("html"));
    let kind = if html { "html" } else { "plain" };
    write!(
        writer,
        "--{boundary}\r\nContent-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )?;
    let mut coder = Coder::new(writer, false);
    coder.take(body.and_then(|body| body.content.as_deref()).unwrap_or_default().as_bytes())?;
    coder.end()
}

/// What stands for a file that lies elsewhere.
fn link_part(writer: &mut SpoolWriter, attachment: &Attachment, message: Option<&str>) -> io::Result<()> {
    let name = attachment.name.as_deref().unwrap_or("link");
    let link = attachment.source_url.as_deref();
    let text = match (link, message) {
        (Some(link), _) => format!("{name}\r\n{link}\r\n"),
        (None, message) => format!(
            "{name}\r\nThis attachment is a link to a file in OneDrive or SharePoint; the message has it:\r\n\
             Cette pièce jointe est un lien vers un fichier OneDrive ou SharePoint ; le message le contient :\r\n{}\r\n",
            message.unwrap_or("-")
        ),
    };
    let name = parameter("filename", &format!("{name}.txt"));
    write!(
        writer,
        "Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: attachment{name}\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n"
    )?;
    let mut coder = Coder::new(writer, false);
    coder.take(text.as_bytes())?;
    coder.end()
}

/// How an attachment is written.
#[derive(Debug, PartialEq, Eq)]
enum Form {
    /// Coded, with this media type.
    Coded(String),
    /// A message, as it is.
    Message,
    /// A MIME entity with a header of its own, as it is: what Exchange keeps of a signed message.
    Entity,
}

impl Form {
    fn of(attachment: &Attachment, kind: Kind, first: &[u8]) -> Self {
        let declared = media_type(attachment.content_type.as_deref().unwrap_or_default());
        let upper = String::from_utf8_lossy(&first[..first.len().min(FIRST)]).trim_start().to_ascii_uppercase();
        match kind {
            Kind::Item if upper.starts_with("BEGIN:VCALENDAR") => Self::Coded("text/calendar".to_owned()),
            Kind::Item if upper.starts_with("BEGIN:VCARD") => Self::Coded("text/vcard".to_owned()),
            Kind::Item => Self::Message,
            _ if declared.starts_with("multipart/") && upper.contains("CONTENT-TYPE:") => Self::Entity,
            _ if declared.starts_with("multipart/") || declared.starts_with("message/") => {
                Self::Coded(OCTETS.to_owned())
            }
            _ => Self::Coded(declared),
        }
    }

    fn is_raw(&self) -> bool {
        !matches!(self, Self::Coded(_))
    }

    fn head(&self, attachment: &Attachment) -> String {
        let inline = attachment.is_inline == Some(true);
        let disposition = if inline { "inline" } else { "attachment" };
        let own = attachment.name.as_deref().unwrap_or_default();
        match self {
            Self::Entity => String::new(),
            Self::Message => {
                let name = parameter("filename", &format!("{}.eml", if own.is_empty() { "message" } else { own }));
                format!(
                    "Content-Type: message/rfc822\r\nContent-Disposition: {disposition}{name}\r\n\
                     Content-Transfer-Encoding: 8bit\r\n\r\n"
                )
            }
            Self::Coded(media_type) => {
                let (name, file) = if own.is_empty() {
                    (String::new(), String::new())
                } else {
                    (parameter("name", own), parameter("filename", own))
                };
                format!(
                    "Content-Type: {media_type}{name}\r\nContent-Disposition: {disposition}{file}\r\n\
                     Content-Transfer-Encoding: base64\r\n\r\n"
                )
            }
        }
    }
}

/// Writes Base64 in lines (RFC 2045, 6.8), or the bytes as they are.
struct Coder<'a> {
    out: &'a mut SpoolWriter,
    raw: bool,
    /// Bytes that do not fill a line yet.
    held: Vec<u8>,
}

impl<'a> Coder<'a> {
    fn new(out: &'a mut SpoolWriter, raw: bool) -> Self {
        Self { out, raw, held: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.raw {
            return self.out.write_all(bytes);
        }
        self.held.extend_from_slice(bytes);
        let full = self.held.len() - self.held.len() % LINE;
        let lines: Vec<u8> = self.held.drain(..full).collect();
        lines.chunks(LINE).try_for_each(|line| self.line(line))
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        self.out.write_all(format!("{}\r\n", STANDARD.encode(line)).as_bytes())
    }

    fn end(mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() { Ok(()) } else { self.line(&held) }
    }
}

/// A list of addresses (RFC 5322, 3.4), one on a line.
fn addresses<'a>(all: impl IntoIterator<Item = &'a Recipient>) -> String {
    let address = |one: &Recipient| {
        let one = one.email_address.as_ref()?;
        let address = atom(one.address.as_deref().unwrap_or_default());
        let name = one.name.as_deref().map(str::trim).filter(|name| !name.is_empty() && *name != address);
        match name {
            Some(name) => Some(format!("{} <{address}>", phrase(name))),
            None if address.is_empty() => None,
            None => Some(format!("<{address}>")),
        }
    };
    all.into_iter().filter_map(address).collect::<Vec<_>>().join(",\r\n ")
}

fn phrase(name: &str) -> String {
    let plain = one_line(name);
    if plain.is_ascii() && plain.len() <= LONGEST_PLAIN {
        return format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""));
    }
    words(name)
}

/// Text of a field: as it is, or in encoded words (RFC 2047, 2).
fn words(text: &str) -> String {
    let text = one_line(text);
    let plain = text.is_ascii() && text.len() <= LONGEST_PLAIN && !text.contains("=?");
    if plain || text.is_empty() {
        return text;
    }
    let (mut coded, mut word) = (Vec::new(), String::new());
    for c in text.chars() {
        if word.len() + c.len_utf8() > WORD {
            coded.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    coded.push(word);
    let coded: Vec<String> = coded.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word))).collect();
    coded.join("\r\n ")
}

/// A parameter with its semicolon (RFC 2045, 5.1); with other letters, or a long one, in pieces (RFC 2231, 3 and 4).
fn parameter(name: &str, value: &str) -> String {
    let value = one_line(value);
    if value.is_ascii() && value.len() <= LONGEST_PLAIN && !value.contains(['"', '\\']) {
        return format!(";\r\n {name}=\"{value}\"");
    }
    let coded = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    let (mut pieces, mut piece) = (Vec::new(), String::from("utf-8''"));
    for byte in value.bytes() {
        if piece.len() > LONGEST_PLAIN {
            pieces.push(std::mem::take(&mut piece));
        }
        piece.push_str(&coded(byte));
    }
    pieces.push(piece);
    let pieces: Vec<_> = pieces.iter().enumerate().map(|(n, piece)| format!(";\r\n {name}*{n}*={piece}")).collect();
    pieces.concat()
}

/// A media type without its parameters; of no use, it says nothing.
fn media_type(declared: &str) -> String {
    let plain = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    match plain.split_once('/') {
        Some((kind, sub)) if token(kind) && token(sub) => plain,
        _ => OCTETS.to_owned(),
    }
}

/// What no header field may hold is left out of a text, and blanks of an address.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

fn atom(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !c.is_whitespace()).take(LONGEST_ADDRESS).collect()
}

const OCTETS: &str = "application/octet-stream";
/// Bytes in a line of Base64 (76 characters), in an encoded word (75), and of a text that fits a line as it is.
const LINE: usize = 57;
const WORD: usize = 42;
const LONGEST_PLAIN: usize = 60;
const LONGEST_ADDRESS: usize = 320;
/// So much of an attachment tells what it is.
const FIRST: usize = 4096;
/// Pages of attachments.
const PAGES: usize = 1000;
