//! The grammar of names in ACTES (facts A.2): `IDActe`, names of messages and of documents.
//!
//! Not a source of dates or kinds: gateways fill the parts of file names differently, and what is inside the XML counts.

/// An identifier: `department-SIREN-yyyymmdd-number-nature`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IdActe {
    pub(super) department: String,
    /// Nine digits, else nothing.
    pub(super) siren: Option<String>,
    /// `YYYY-MM-DD`.
    pub(super) date: String,
    /// It may hold hyphens and blanks: under the older XSD that is allowed.
    pub(super) number: String,
    /// Two capitals.
    pub(super) nature: String,
}

impl IdActe {
    /// Splits it from both ends.
    pub(super) fn split(id: &str) -> Option<Self> {
        let (department, rest) = id.trim().split_once('-')?;
        let (siren, rest) = rest.split_once('-')?;
        let (date, rest) = rest.split_once('-')?;
        let (number, nature) = rest.rsplit_once('-')?;
        let is_nature = nature.len() == 2 && nature.bytes().all(|byte| byte.is_ascii_alphabetic());
        let is_date = date.len() == 8 && all_digits(date);
        if !is_department(department) || !is_date || !is_nature || number.is_empty() {
            return None;
        }
        Some(Self {
            department: department.to_owned(),
            siren: is_siren(siren).then(|| siren.to_owned()),
            date: format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]),
            number: number.to_owned(),
            nature: nature.to_ascii_uppercase(),
        })
    }
}

/// Department and SIREN in the name of a message or a document: `034-999888777-…`, `99_DE-034-999888777-…`.
pub(super) fn sender(name: &str) -> Option<(String, String)> {
    let at = sender_at(name)?;
    Some((name[at..at + 3].to_owned(), name[at + 4..at + 13].to_owned()))
}

/// The typology of a document: what stands before the department in its name.
pub(super) fn typology(name: &str) -> Option<&str> {
    let typology = match sender_at(name) {
        Some(at) => name[..at].strip_suffix('-')?,
        None => name.split_once('-')?.0,
    };
    let (left, right) = typology.split_once('_')?;
    let is_code = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_code(left) && is_code(right)).then_some(typology)
}

/// A date as `YYYY-MM-DD`: without the time zone that `xsd:date` may have; another text stays.
pub(in super::super) fn day(date: &str) -> &str {
    let is_day = |day: &str| {
        let mut bytes = day.bytes().enumerate();
        bytes.all(|(n, byte)| if n == 4 || n == 7 { byte == b'-' } else { byte.is_ascii_digit() })
    };
    date.get(..10).filter(|day| is_day(day)).unwrap_or(date)
}

/// Three digits, or Corsica's `02A` and `02B`.
pub(super) fn is_department(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 3 && bytes[..2].iter().all(u8::is_ascii_digit) && matches!(bytes[2], b'0'..=b'9' | b'A' | b'B')
}

/// Where `DPT-SIREN-` begins.
fn sender_at(name: &str) -> Option<usize> {
    let begins = |at: &usize| {
        let mut parts = name[*at..].split('-');
        let (department, siren) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        is_department(department) && is_siren(siren)
    };
    let hyphens = name.match_indices('-').map(|(at, _)| at + 1);
    std::iter::once(0).chain(hyphens).take(3).find(begins)
}

fn is_siren(text: &str) -> bool {
    text.len() == 9 && all_digits(text)
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
