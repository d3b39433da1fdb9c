//! Forms as OAuth posts them (`application/x-www-form-urlencoded`), and what may be shown of them: nothing.
//!
//! Not reqwest's own form: the text is wiped when it has been sent, and the secrets in it are remembered, so that an answer
//! that repeats one does not bring it into a log.

use zeroize::Zeroizing;

use crate::secret::Secret;

/// A form that is being filled in.
#[derive(Default)]
pub(super) struct Form {
    text: Zeroizing<String>,
    secrets: Vec<Secret>,
}

impl Form {
    /// Adds a field.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        let value = Zeroizing::new(encoded(value));
        // grown by hand: a string that grows by itself leaves its old text behind
        let mut text = Zeroizing::new(String::with_capacity(self.text.len() + name.len() + value.len() + 2));
        text.push_str(&self.text);
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(&value);
        self.text = text;
        self
    }

    /// Adds a field that nobody may see.
    pub(super) fn with_secret(mut self, name: &str, value: &Secret) -> Self {
        self.secrets.push(value.clone());
        self.with(name, value.reveal())
    }

    /// Adds a field where there is a value.
    pub(super) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The body, and the secrets in it.
    pub(super) fn done(self) -> (Zeroizing<String>, Vec<Secret>) {
        (self.text, self.secrets)
    }
}

/// Percent-encoded but for the characters that never need it (RFC 3986, 2.3); right in a form and in a query.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from(HEX[usize::from(digit)]));
            }
        }
    }
    out
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_written_byte_for_byte_and_remembers_its_secrets() {
        let form = Form::default()
            .with("client_id", "11-22")
            .with_some("claims", None)
            .with("scope", "https://graph.microsoft.com/Mail.Read offline_access")
            .with_secret("client_secret", &Secret::new("a+b&c=é~"));
        let (text, secrets) = form.done();
        assert_eq!(
            text.as_str(),
            "client_id=11-22&scope=https%3A%2F%2Fgraph.microsoft.com%2FMail.Read%20offline_access\
             &client_secret=a%2Bb%26c%3D%C3%A9~"
        );
        assert_eq!(secrets, [Secret::new("a+b&c=é~")]);
    }
}
