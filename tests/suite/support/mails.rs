//! Generated mails with attachments whose bytes are known.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A mail with these attachments, names as RFC 2231 writes them, bodies as base64 lines of 76 characters.
pub(crate) fn mail(subject: &str, attachments: &[(&str, &[u8])]) -> Vec<u8> {
    let mut mail = format!(
        "From: =?utf-8?q?Mairie_de_Saint-=C3=89tienne?= <mairie@example.org>\r\nTo: ged@example.org\r\n\
         Subject: {subject}\r\nMessage-ID: <{subject}@example.org>\r\nDate: Mon, 2 Nov 2026 10:00:00 +0100\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_limite\"\r\n\r\n\
         --=_limite\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nVeuillez trouver ci-joint.\r\n"
    );
    for (name, content) in attachments {
        let _ = write!(
            mail,
            "--=_limite\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename*=utf-8''{}\r\n\r\n",
            percent(name)
        );
        let encoded = STANDARD.encode(content);
        for line in encoded.as_bytes().chunks(76) {
            mail.push_str(std::str::from_utf8(line).unwrap());
            mail.push_str("\r\n");
        }
    }
    mail.push_str("--=_limite--\r\n");
    mail.into_bytes()
}

/// Bytes that look random and are the same for the same seed.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| random.next()).take(length.div_ceil(8)).flat_map(u64::to_le_bytes).collect();
    bytes.truncate(length);
    bytes
}

/// xorshift64*: good enough to choose moments and bytes, and its seed can be printed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

fn percent(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}
