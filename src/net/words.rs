//! Errors of the system with words of ours: an [`io::Error`] that says in both languages what to do.
//!
//! Not another error type: whoever takes an [`io::Error`] may know nothing of it and prints English.

use std::fmt;
use std::io;

use crate::text::Text;

/// An error of that kind with these words.
pub(crate) fn explained(kind: io::ErrorKind, text: Text) -> io::Error {
    io::Error::new(kind, Explained(text))
}

/// The words of an error: ours where it has them, else the system's ([`Text::io`]).
pub fn words(error: &io::Error) -> Text {
    own_words(error).cloned().unwrap_or_else(|| Text::io(error))
}

/// Our words for an error that has them.
pub(crate) fn own_words(error: &io::Error) -> Option<&Text> {
    error.get_ref()?.downcast_ref::<Explained>().map(|explained| &explained.0)
}

#[derive(Debug)]
struct Explained(Text);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Explained {}
