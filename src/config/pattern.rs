//! File-name patterns: `/regex/flags` in PCRE syntax.
//!
//! Not a glob and not an unanchored search: a file name is matched from its first character, as Python's `re.match`
//! does, because EzGED's own filters are written for that (an unanchored `(?!x).*` would match from the second
//! character on and refuse nothing).

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As it is written, slashes and flags included.
    pub text: String,
    regex: fancy_regex::Regex,
}
