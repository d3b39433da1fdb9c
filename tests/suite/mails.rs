//! Awkward messages of our own making (`tests/data/mails`): what the walker tells of each, down to the content.
//!
//! One row a message: its file, what is awkward about it, and a line for each leaf: role, the name it would be
//! delivered under, content (or size and digest). `>` stands for each container around it, `!` for damage, `?` for a
//! container that stays closed. Messages whose file begins with `nested` are walked with `nested = yes`.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use pertuis::document::mime::{Damage, Head, Limits, PartHead, Visitor, WalkError, walk};
use pertuis::document::names::safe_name;
use pertuis::model::{Digest, Role};

#[derive(Default)]
struct Told {
    leaves: Vec<(PartHead, Vec<u8>, Option<Damage>)>,
    scratches: usize,
}

impl Visitor for Told {
    fn message(&mut self, _: &Head) -> io::Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }

    fn part(&mut self, part: &PartHead) -> io::Result<bool> {
        self.leaves.push((part.clone(), Vec::new(), None));
        Ok(true)
    }

    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.leaves.last_mut().expect("a part began").1.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, damage: Option<Damage>) -> io::Result<()> {
        self.leaves.last_mut().expect("a part began").2 = damage;
        Ok(())
    }

    fn scratch(&mut self) -> io::Result<File> {
        self.scratches += 1;
        tempfile::tempfile()
    }
}

/// The lines of a message.
fn told(message: &[u8], nested: bool) -> Vec<String> {
    let mut told = Told::default();
    let limits = Limits { nested, ..Limits::default() };
    let walked = match walk(BufReader::new(message), &limits, &mut told) {
        Ok(walked) => walked,
        Err(error) => return vec![format!("error: {error}")],
    };
    let whole = walked.damage.iter().map(|damage| format!("whole ! {damage:?}"));
    told.leaves.iter().map(|(head, content, damage)| line(head, content, damage.as_ref())).chain(whole).collect()
}

fn line(head: &PartHead, content: &[u8], damage: Option<&Damage>) -> String {
    let role = head.role.as_ref().map_or("text", Role::as_str);
    let content = match std::str::from_utf8(content) {
        Ok(text) if text.len() <= 60 => format!("{text:?}"),
        _ => format!("{} bytes {}", content.len(), &Digest::of(content).to_string()[..16]),
    };
    let damage = damage.map(|damage| format!(" ! {damage:?}")).unwrap_or_default();
    let unopened = head.unopened.as_ref().map(|why| format!(" ? {}", why.text().en)).unwrap_or_default();
    let level = ">".repeat(head.level);
    format!("{level}{role} {} {content}{damage}{unopened}", safe_name(&head.file_name()))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/mails")
}

#[test]
fn awkward_messages_give_their_documents() {
    let mut wrong = Vec::new();
    for (name, awkward, expected) in MAILS {
        let message = fs::read(folder().join(format!("{name}.eml"))).unwrap();
        let told = told(&message, name.starts_with("nested"));
        if told != *expected {
            wrong.push(format!("(\n{name:?},\n{awkward:?},\n&{told:#?},\n),"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), MAILS.len(), wrong.join("\n"));
}

#[test]
fn every_awkward_message_has_its_row() {
    let mut files: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let mut rows: Vec<&str> = MAILS.iter().map(|(name, ..)| *name).collect();
    rows.sort_unstable();
    assert_eq!(rows, files);
    assert!(rows.len() >= 60);
}

/// What openssl makes of an entity, from its standard input.
fn openssl(arguments: &[&str], entity: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl runs");
    let mut input = child.stdin.take().unwrap();
    let entity = entity.to_vec();
    let feeding = std::thread::spawn(move || input.write_all(&entity));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}

#[test]
fn what_openssl_signs_is_taken_out_and_what_it_encrypts_stays_closed() {
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str| place.path().join(name).to_string_lossy().into_owned();
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    let request =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=a", "-out", &certificate, "-keyout", &key];
    openssl(&request, b"");
    let pdf: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[(n % 3) as usize] | 0x80).collect();
    let head = b"Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: binary\r\n\r\n";
    let entity = [head.as_slice(), &pdf].concat();
    let sign = ["cms", "-sign", "-binary", "-nodetach", "-signer", &certificate, "-inkey", &key, "-outform", "SMIME"];
    let streamed: Vec<&str> = sign.iter().copied().chain(["-stream"]).collect();
    for arguments in [sign.as_slice(), &streamed] {
        let mut told = Told::default();
        let message = openssl(arguments, &entity);
        walk(BufReader::new(message.as_slice()), &Limits::default(), &mut told).unwrap();
        let [(head, content, None)] = told.leaves.as_slice() else { panic!("{} leaves", told.leaves.len()) };
        assert_eq!((head.file_name().as_str(), head.level), ("a.pdf", 1));
        assert!(*content == pdf, "the content is not what was signed");
        assert_eq!(told.scratches, 1);
    }
    let message = openssl(&["cms", "-encrypt", "-binary", "-aes256", "-outform", "SMIME", &certificate], &entity);
    let told = told(&message, false);
    assert!(told.len() == 1 && told[0].starts_with("attachment smime.p7m "), "{told:?}");
    assert!(!told[0].contains(['!', '?']), "{told:?}");
}

#[test]
fn what_is_inside_counts_for_the_limits() {
    let message = fs::read(folder().join("nested-twice.eml")).unwrap();
    let limit = |limits: Limits| match walk(message.as_slice(), &limits, &mut Told::default()) {
        Err(WalkError::Limit(text)) => Some(text.en.into_owned()),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    };
    let nested = Limits { nested: true, ..Limits::default() };
    assert_eq!(limit(nested), None);
    assert_eq!(limit(Limits { parts: 5, ..nested }).as_deref(), Some("more than 5 parts"));
    let many = limit(Limits { unpacked: 500, ..nested });
    assert_eq!(many.as_deref(), Some("the containers inside the message have more than 500 bytes"));
}

/// File, what is awkward, what is told.
#[rustfmt::skip]
const MAILS: &[(&str, &str, &[&str])] = &[
    ("name-rfc2231", "RFC 2231 in UTF-8", &[
        r#"attachment Facture n° 12 €.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-rfc2231-continued", "segments out of order, cut inside a character", &[
        r#"attachment Décembre.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-rfc2231-latin1", "RFC 2231 in ISO-8859-1", &[
        r#"attachment été.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-rfc2231-mixed", "encoded and plain segments", &[
        r#"attachment Relevé mai.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-rfc2231-liar", "says UTF-8, is Windows-1252", &[
        r#"attachment €té.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-rfc2231-bare", "without charset and apostrophes", &[
        r#"attachment té.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-rfc2231-before-plain", "the extended name wins over the plain one", &[
        r#"attachment été.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-rfc2047", "an encoded word in quotes, forbidden and common", &[
        r#"attachment Facture décembre.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-rfc2047-cut", "two words that cut a character", &[
        r#"attachment Décembre été.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-rfc2047-unquoted", "an encoded word without quotes", &[
        r#"attachment 10 €.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-rfc2047-unknown-charset", "a charset that nobody knows", &[
        r#"attachment été.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-cp850", "the charset of DOS", &[
        r#"attachment été.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-utf7", "UTF-7", &[
        r#"attachment café.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-raw-windows-1252", "raw bytes", &[
        r#"attachment Décompte €.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-raw-utf8", "raw UTF-8", &[
        r#"attachment Décompte €.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-raw-declared", "raw bytes in the charset of the part", &[
        r#"attachment тест.csv "a;b\n""#,
    ]),
    ("name-decomposed", "accents as macOS writes them", &[
        r#"attachment été.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-of-content-type", "only Content-Type has it", &[
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-two", "Content-Disposition wins over Content-Type", &[
        r#"attachment disposition.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-unquoted", "blanks without quotes", &[
        r#"attachment Facture mars 2026.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-no-end-quote", "the end quote is missing", &[
        r#"attachment Facture mars.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-folded", "a line break inside the name", &[
        r#"attachment Facture mars.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-windows-path", "a whole path, backslashes unescaped", &[
        r#"attachment facture.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-traversal", "a path upwards", &[
        r#"attachment facture.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-traversal-encoded", "a path upwards, percent-encoded", &[
        r#"attachment facture.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-device", "a device of Windows", &[
        r#"attachment _CON.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-hidden", "begins with a dot", &[
        r#"attachment htaccess "%PDF-1.4 facture\n""#,
    ]),
    ("name-direction", "a mark that shows fdp.exe as exe.pdf", &[
        r#"attachment facturefdp.exe "%PDF-1.4 facture\n""#,
    ]),
    ("name-control", "NUL and line break, percent-encoded", &[
        r#"attachment facture.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-forbidden", "characters that Windows refuses", &[
        r#"attachment a_b__c_d_e_.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-long", "300 characters", &[
        r#"attachment éééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-empty", "an empty name", &[
        r#"attachment attachment-1.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-dots", "nothing but dots", &[
        r#"attachment document "%PDF-1.4 facture\n""#,
    ]),
    ("name-missing", "no name at all", &[
        r#"attachment attachment-1.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-missing-octet-stream", "neither name nor type: the content says that it is a PDF", &[
        r#"attachment attachment-1.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("name-missing-unknown", "neither name nor type nor a known content", &[
        r#"attachment attachment-1.bin "\u{1}\u{2}""#,
    ]),
    ("name-twice", "two different files of one name", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
        r#"attachment a.pdf "%PDF-1.4 autre\n""#,
    ]),
    ("inline-pdf", "Apple Mail sends invoices inline", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
        r#"text attachment-3.txt "Bonjour""#,
    ]),
    ("inline-picture", "a picture between texts", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"inline scan.png "\u{89}PNG""#,
    ]),
    ("inline-picture-unnamed", "the same without a name", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"inline attachment-2.png "png""#,
    ]),
    ("related-picture", "the logo of a page", &[
        r#"text attachment-1.html "<p>Bonjour <img src=\"cid:logo@exemple.fr\"></p>""#,
        r#"inline logo.png "png""#,
    ]),
    ("related-pdf", "a PDF beside a page is no decoration", &[
        r#"text attachment-1.html "<p>Bonjour <img src=\"cid:logo@exemple.fr\"></p>""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("only-part", "the message is the PDF", &[
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("alternative-with-mixed", "the PDF lies inside the alternative to the text", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"text attachment-2.html "<p>Bonjour <img src=\"cid:logo@exemple.fr\"></p>""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("alternative-pdf", "the PDF is an alternative itself", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("alternative-calendar", "an invitation beside its text", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"text attachment-2.ics "BEGIN:VCALENDAR""#,
    ]),
    ("calendar", "a calendar as a part of its own", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment attachment-2.ics "BEGIN:VCALENDAR""#,
    ]),
    ("text-named", "text with a name", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment notes.txt "notes""#,
    ]),
    ("text-attached", "text without a name, as attachment", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment attachment-2.txt "notes""#,
    ]),
    ("text-only", "no document at all", &[
        r#"text attachment-1.txt "Bonjour\n""#,
    ]),
    ("type-nonsense", "a type that is none", &[
        r#"attachment a.pdf "%PDF""#,
    ]),
    ("boundary-no-end", "the closing boundary is missing", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n" ! NoEnd"#,
        "whole ! NoEnd",
    ]),
    ("boundary-unannounced", "the header does not say the boundary", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("boundary-wrong", "the header says another boundary", &[
        "whole ! NoParts",
    ]),
    ("boundary-prefix", "the outer boundary begins as the inner one", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("boundary-inner-open", "the inner multipart is never closed", &[
        r#"text attachment-1.txt "Bonjour\n""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("boundary-same", "inner and outer have the same boundary", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("boundary-blanks", "blanks behind the boundaries", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("boundary-glued", "text behind the closing boundary", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("part-behind-the-end", "a part behind the closing boundary", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
        r#"attachment late.bin "late""#,
    ]),
    ("part-without-header", "a part begins with its blank line", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("part-without-blank-line", "no blank line between header and content", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "" ! NoContent"#,
    ]),
    ("multipart-empty", "a multipart and nothing in it", &[
        "whole ! NoParts",
    ]),
    ("multipart-deep", "ten multiparts inside each other", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("lines-cr-lf-mixed", "LF in the header, CRLF in the parts", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.bin "a\nb""#,
    ]),
    ("lines-blank-first", "blank lines before the header", &[
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("line-long", "one line of 100,000 characters", &[
        "attachment long.txt 100001 bytes bfea3d32f999b72a",
    ]),
    ("nul-bytes", "NUL in the text and in the header", &[
        r#"attachment a.txt "a\0b""#,
    ]),
    ("header-only", "a header and no blank line", &[
        r#"text attachment-1.txt "" ! NoContent"#,
    ]),
    ("header-from-line", "the envelope line of a mailbox file stands first", &[
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("header-type-twice", "two Content-Type fields: the first counts", &[
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("empty", "no byte at all", &[
        r#"text attachment-1.txt "" ! NoContent"#,
    ]),
    ("base64-one-line", "no line breaks", &[
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("base64-foreign", "characters that do not belong there", &[
        r#"attachment a.pdf "%PDF1.4" ! ForeignCharacters"#,
    ]),
    ("base64-cut", "ends in the middle of a byte", &[
        r#"attachment a.pdf "%PDF-1.4 " ! CutShort"#,
    ]),
    ("base64-unpadded", "the padding is missing", &[
        r#"attachment a.pdf "%PDF-1.4""#,
    ]),
    ("base64-runs", "two padded runs", &[
        r#"attachment a.pdf "%PDF-1.4""#,
    ]),
    ("base64-footer", "a mailing list wrote below it", &[
        r#"attachment a.pdf "%PDF-1.4 facture\n" ! ForeignCharacters"#,
    ]),
    ("base64-odd-name", "the encoding in capitals with a blank behind", &[
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("qp-binary", "a PDF in quoted-printable", &[
        r#"attachment a.pdf "%PDF\r\nab=""#,
    ]),
    ("qp-broken", "codes that are none", &[
        r#"attachment a.pdf "a=zz b" ! CutShort"#,
    ]),
    ("encoding-unknown", "an encoding that nobody knows", &[
        r#"attachment a.pdf "%PDF" ! UnknownEncoding("x-secret")"#,
    ]),
    ("encoding-8bit", "raw bytes", &[
        "attachment a.pdf 8 bytes 623bc25b39bacb40",
    ]),
    ("message", "named after its subject", &[
        r#"text attachment-1.txt "Bonjour""#,
        "attachment Relevé 12_2026.eml 245 bytes 9c25266ec0136a7b",
    ]),
    ("message-named", "with a name", &[
        r#"text attachment-1.txt "Bonjour""#,
        "attachment transfert.eml 245 bytes 9c25266ec0136a7b",
    ]),
    ("message-no-subject", "without a subject", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment attachment-2.eml "From: a@exemple.fr\n\nBonjour""#,
    ]),
    ("message-base64", "in base64, forbidden and common", &[
        r#"text attachment-1.txt "Bonjour""#,
        "attachment Relevé 12_2026.eml 245 bytes 9c25266ec0136a7b",
    ]),
    ("message-digest", "parts of a digest are messages", &[
        r#"attachment un.eml "Subject: un\n\nBonjour""#,
        r#"attachment deux.eml "Subject: deux\n\nBonsoir""#,
    ]),
    ("nested", "nested = yes: its attachments follow it", &[
        r#"text attachment-1.txt "Bonjour""#,
        "attachment Relevé 12_2026.eml 245 bytes 9c25266ec0136a7b",
        r#">text attachment-3.txt "Bonjour""#,
        r#">attachment a.pdf "%PDF-1.4 facture\n""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("nested-twice", "nested = yes: a message in a message", &[
        r#"text attachment-1.txt "Bonjour""#,
        "attachment dehors.eml 393 bytes bfef5ec099056a5b",
        r#">text attachment-3.txt "Bonjour""#,
        ">attachment Relevé 12_2026.eml 245 bytes 9c25266ec0136a7b",
        r#">>text attachment-5.txt "Bonjour""#,
        r#">>attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("nested-base64", "nested = yes: in base64", &[
        r#"text attachment-1.txt "Bonjour""#,
        "attachment Relevé 12_2026.eml 245 bytes 9c25266ec0136a7b",
        r#">text attachment-3.txt "Bonjour""#,
        r#">attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("nested-deep", "nested = yes: eleven messages inside each other", &[
        "attachment 8.eml 614 bytes 9883b573a301cbb7",
        ">attachment 7.eml 573 bytes 3819ec451ffdbccf",
        ">>attachment 6.eml 532 bytes d90d7e154653cd63",
        ">>>attachment 5.eml 491 bytes bc1248ed0c348a5a",
        ">>>>attachment 4.eml 450 bytes ef78bf47e7caa99b",
        ">>>>>attachment 3.eml 409 bytes 9e64e3a808a73332",
        ">>>>>>attachment 2.eml 368 bytes d0a02834eb08e896",
        ">>>>>>>attachment 1.eml 327 bytes f506b68b00f55267",
        ">>>>>>>>attachment 0.eml 286 bytes 3f7c30d6c0bf47e3 ? the documents inside cannot all be taken out: more than 8 containers inside each other; it is kept as it came",
    ]),
    ("nested-header-only", "nested = yes: a bounce brings back no more than a header", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment perdu.eml "Subject: perdu\nContent-Type: multipart/mixed; boundary=x\n\n""#,
    ]),
    ("report-delivery", "a bounce: its parts are text", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"text attachment-2.bin "Action: failed""#,
        r#"text attachment-3.txt "Subject: perdu""#,
    ]),
    ("report-disposition", "a notice of reading", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"text attachment-2.bin "Disposition: displayed""#,
    ]),
    ("report-feedback", "a complaint brings the message back", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"text attachment-2.bin "Feedback-Type: abuse""#,
        "attachment Relevé 12_2026.eml 245 bytes 9c25266ec0136a7b",
    ]),
    ("message-partial", "a piece of a message, as it came", &[
        r#"attachment attachment-1.bin "Subject: a\n\nB""#,
    ]),
    ("signed-detached", "the signature is no document", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
        r#"text smime.p7s "sig""#,
    ]),
    ("signed-pgp", "the same of OpenPGP", &[
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
        r#"text signature.asc "-----BEGIN""#,
    ]),
    ("signature-of-a-file", "a detached signature beside its PDF is a document", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
        r#"attachment a.pdf.p7s "sig""#,
    ]),
    ("encrypted-pgp", "as it came", &[
        r#"attachment attachment-1.bin "Version: 1""#,
        r#"attachment encrypted.asc "-----BEGIN""#,
    ]),
    ("p7m-signed", "the content lies inside the signature", &[
        r#">text attachment-1.txt "Bonjour""#,
        r#">attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("p7m-signed-streamed", "in chunks of indefinite length", &[
        r#">text attachment-1.txt "Bonjour""#,
        r#">attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("p7m-signed-untyped", "as application/octet-stream", &[
        r#">text attachment-1.txt "Bonjour""#,
        r#">attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("p7m-signed-twice", "signed data in signed data", &[
        r#">>text attachment-1.txt "Bonjour""#,
        r#">>attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("p7m-enveloped", "encrypted: as it came", &[
        "attachment smime.p7m 52 bytes 754dee7d82285804",
    ]),
    ("p7m-enveloped-untyped", "encrypted, and only the content says so", &[
        "attachment smime.p7m 52 bytes 754dee7d82285804",
    ]),
    ("p7m-cut", "signed data cut short: as it came, and told", &[
        "attachment smime.p7m 120 bytes b87948da57ea4e84 ? the documents inside cannot all be taken out: its end is missing; it is kept as it came",
    ]),
    ("p7m-document", "a signed document under its own name is no wrapping", &[
        r#"text attachment-1.txt "Bonjour""#,
        "attachment facture.xml.p7m 64 bytes b99b4c8857e62281",
    ]),
    ("winmail", "two files: a Unicode name, a name in the code page", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#">text attachment-2.rtf """#,
        r#">attachment Facture décembre.pdf "%PDF-1.4 facture\n""#,
        r#">attachment Décompte.csv "a;b\n""#,
    ]),
    ("winmail-code-page", "names in the code page of Russian Windows", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#">attachment счёт.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("winmail-untyped", "as application/octet-stream", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#">text attachment-2.rtf """#,
        r#">attachment Facture décembre.pdf "%PDF-1.4 facture\n""#,
        r#">attachment Décompte.csv "a;b\n""#,
    ]),
    ("winmail-data-first", "the data before the name, no title", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#">attachment affiche.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("winmail-no-name", "neither name nor title", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#">attachment attachment-2.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("winmail-data-property", "the data as a property", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#">attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("winmail-picture", "a picture inside the text", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#">inline logo.png "png""#,
    ]),
    ("winmail-message", "an embedded message and its own files", &[
        r#"text attachment-1.txt "Bonjour""#,
        ">attachment Message joint 314 bytes 518485803da33e2a",
        r#">>text attachment-3.rtf """#,
        r#">>attachment Facture décembre.pdf "%PDF-1.4 facture\n""#,
        r#">>attachment Décompte.csv "a;b\n""#,
    ]),
    ("winmail-object", "an OLE object", &[
        r#"text attachment-1.txt "Bonjour""#,
        ">attachment Objet 8 bytes 4774807c39fbc5e7",
    ]),
    ("winmail-checksum", "wrong checksums and rubbish behind the end", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#">attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("winmail-cut", "cut inside the second file: the first, and itself", &[
        r#"text attachment-1.txt "Bonjour""#,
        "attachment winmail.dat 246 bytes dacde6d9acea2661 ? the documents inside cannot all be taken out: the winmail.dat is damaged at byte 227; it is kept as it came",
        r#">text attachment-3.rtf """#,
        r#">attachment Facture décembre.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("winmail-nonsense", "no winmail.dat but in name", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#"attachment winmail.dat "nothing of the kind" ? the documents inside cannot all be taken out: it does not begin as a winmail.dat does; it is kept as it came"#,
    ]),
    ("winmail-base64-cut", "its base64 is cut short", &[
        r#"text attachment-1.txt "Bonjour""#,
        "attachment winmail.dat 272 bytes 93fa9f1a5ab5a0f6 ? the documents inside cannot all be taken out: the winmail.dat is damaged at byte 252; it is kept as it came",
        r#">text attachment-3.rtf """#,
        r#">attachment Facture décembre.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("winmail-no-file", "nothing but text", &[
        r#"text attachment-1.txt "Bonjour""#,
        r#">text attachment-2.html """#,
    ]),
    ("uuencode", "in the text of a message without MIME", &[
        r#"text attachment-1.txt "Bonjour,\n\n""#,
        "attachment a.pdf 68 bytes 44d4136445557a6d",
        r#"text attachment-3.txt "\nCordialement\n""#,
    ]),
    ("uuencode-two", "two files, nothing between them", &[
        r#"text attachment-1.txt """#,
        "attachment a.pdf 68 bytes 44d4136445557a6d",
        r#"attachment données.csv "a;b\n""#,
    ]),
    ("uuencode-part", "in a text part among others", &[
        r#"text attachment-1.txt "Bonjour\n""#,
        "attachment a.pdf 68 bytes 44d4136445557a6d",
        r#"attachment a.pdf "%PDF-1.4 facture\n""#,
    ]),
    ("uuencode-qp", "the text is in quoted-printable", &[
        r#"text attachment-1.txt """#,
        "attachment a.pdf 68 bytes 44d4136445557a6d",
    ]),
    ("uuencode-base64", "the text is in base64", &[
        r#"text attachment-1.txt "Bonjour\n""#,
        "attachment a.pdf 68 bytes 44d4136445557a6d",
    ]),
    ("uuencode-encoding", "as encoding of the part", &[
        "attachment b.pdf 68 bytes 44d4136445557a6d",
    ]),
    ("uuencode-cut", "its end is missing", &[
        r#"text attachment-1.txt """#,
        "attachment a.pdf 68 bytes 44d4136445557a6d ! CutShort",
    ]),
    ("uuencode-sentence", "a sentence that only begins so", &[
        r#"text attachment-1.txt """#,
        r#"text attachment-2.txt "begin 644 times if you must\nbut begin.\n""#,
    ]),
];
