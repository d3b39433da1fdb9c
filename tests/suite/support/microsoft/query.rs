//! The query options of Graph that mail knows: `$filter`, `$orderby`, `$select`, `$top`, `$skip`.
//!
//! Stricter than the real one where it says nothing certain: what is not understood is refused.

use std::time::SystemTime;

use super::mailbox::Message;

/// The options of a request, names without `$`.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    pub(super) options: Vec<(String, String)>,
}

/// A part of `$filter`.
#[derive(Clone, Debug)]
struct Clause {
    property: String,
    operator: String,
    value: String,
}

/// Why a query is refused: status, code, message.
pub(super) type Wrong = (u16, &'static str, &'static str);

pub(super) const INVALID_FILTER: Wrong =
    (400, "ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.");
const INEFFICIENT: Wrong =
    (400, "InefficientFilter", "The restriction or sort order is too complex for this operation.");
const INVALID_TOP: Wrong = (400, "ErrorInvalidParameter", "The value of $top must be between 1 and 1000.");

impl Query {
    pub(super) fn new(fields: Vec<(String, String)>) -> Self {
        let plain = |(name, value): (String, String)| (name.trim_start_matches('$').to_lowercase(), value);
        Self { options: fields.into_iter().map(plain).collect() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// `$top`, 10 without one.
    pub(super) fn top(&self) -> Result<usize, Wrong> {
        match self.get("top").map(str::parse) {
            None => Ok(10),
            Some(Ok(top)) if (1..=1000).contains(&top) => Ok(top),
            Some(_) => Err(INVALID_TOP),
        }
    }

    pub(super) fn skip(&self) -> usize {
        self.get("skip").and_then(|skip| skip.parse().ok()).unwrap_or(0)
    }

    /// The properties of `$select`.
    pub(super) fn select(&self) -> Option<Vec<String>> {
        let list = self.get("select")?;
        Some(list.split(',').map(|name| name.trim().to_owned()).collect())
    }

    /// The messages that fit, in the order that was asked for, newest first without one.
    pub(super) fn apply<'a>(&self, messages: Vec<&'a Message>) -> Result<Vec<&'a Message>, Wrong> {
        let clauses = self.clauses()?;
        let order = self.order();
        if order.iter().enumerate().any(|(at, (property, _))| {
            let filtered: Vec<&str> = unique(clauses.iter().map(|clause| clause.property.as_str()));
            !filtered.is_empty() && filtered.get(at) != Some(&property.as_str())
        }) {
            return Err(INEFFICIENT);
        }
        let mut fit = Vec::new();
        for message in messages {
            let mut all = true;
            for clause in &clauses {
                all &= clause.fits(message)?;
            }
            if all {
                fit.push(message);
            }
        }
        let (property, down) = order.first().cloned().unwrap_or(("receivedDateTime".to_owned(), true));
        match property.as_str() {
            "receivedDateTime" => fit.sort_by_key(|message| message.received),
            "subject" => fit.sort_by(|one, other| one.head.subject.cmp(&other.head.subject)),
            _ => return Err(INEFFICIENT),
        }
        if down {
            fit.reverse();
        }
        Ok(fit)
    }

    fn order(&self) -> Vec<(String, bool)> {
        let parts = self.get("orderby").into_iter().flat_map(|text| text.split(','));
        parts
            .map(|part| {
                let (property, direction) = part.trim().split_once(' ').unwrap_or((part.trim(), "asc"));
                (property.to_owned(), direction.trim().eq_ignore_ascii_case("desc"))
            })
            .collect()
    }

    fn clauses(&self) -> Result<Vec<Clause>, Wrong> {
        self.get("filter").into_iter().flat_map(|text| split(text, " and ")).map(|part| Clause::parse(&part)).collect()
    }

    /// The earliest time of the filter of a delta, the only one that it knows.
    pub(super) fn since(&self) -> Result<Option<SystemTime>, Wrong> {
        match self.clauses()?.as_slice() {
            [] => Ok(None),
            [one] if one.property == "receivedDateTime" && ["ge", "gt"].contains(&one.operator.as_str()) => {
                Ok(Some(time(&one.value)?))
            }
            _ => Err(INVALID_FILTER),
        }
    }

    /// The display names of a filter of folders: `displayName eq 'x'`, joined by `or`.
    pub(super) fn display_names(&self) -> Result<Option<Vec<String>>, Wrong> {
        let Some(text) = self.get("filter") else { return Ok(None) };
        let mut names = Vec::new();
        for part in split(text, " or ") {
            let clause = Clause::parse(&part)?;
            if clause.property != "displayName" || clause.operator != "eq" {
                return Err(INVALID_FILTER);
            }
            names.push(quoted(&clause.value)?);
        }
        Ok(Some(names))
    }
}

impl Clause {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let mut words = text.trim().splitn(3, ' ').map(ToOwned::to_owned);
        let (Some(property), Some(operator), Some(value)) = (words.next(), words.next(), words.next()) else {
            return Err(INVALID_FILTER);
        };
        if !["eq", "ne", "ge", "gt", "le", "lt"].contains(&operator.as_str()) {
            return Err(INVALID_FILTER);
        }
        Ok(Self { property, operator, value: value.trim().to_owned() })
    }

    fn fits(&self, message: &Message) -> Result<bool, Wrong> {
        Ok(match self.property.as_str() {
            "isRead" => self.compare(&message.is_read, &flag(&self.value)?),
            "hasAttachments" => self.compare(&message.head.has_attachments, &flag(&self.value)?),
            "receivedDateTime" => self.compare(&seconds(message.received), &seconds(time(&self.value)?)),
            "subject" => self.compare(&message.head.subject, &quoted(&self.value)?),
            "internetMessageId" => {
                self.compare(&message.head.message_id.clone().unwrap_or_default(), &quoted(&self.value)?)
            }
            "from/emailAddress/address" => {
                let from = message.head.from.first().map(|(_, address)| address.to_lowercase()).unwrap_or_default();
                self.compare(&from, &quoted(&self.value)?.to_lowercase())
            }
            _ => return Err(INVALID_FILTER),
        })
    }

    fn compare<T: PartialOrd>(&self, own: &T, other: &T) -> bool {
        match self.operator.as_str() {
            "eq" => own == other,
            "ne" => own != other,
            "ge" => own >= other,
            "gt" => own > other,
            "le" => own <= other,
            _ => own < other,
        }
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut list: Vec<&str> = Vec::new();
    for name in names {
        if !list.contains(&name) {
            list.push(name);
        }
    }
    list
}

/// Splits at a word, except inside quotes.
fn split(text: &str, word: &str) -> Vec<String> {
    let (mut parts, mut part, mut rest) = (Vec::new(), String::new(), text);
    let mut inside = false;
    while let Some(c) = rest.chars().next() {
        if !inside && rest.starts_with(word) {
            parts.push(std::mem::take(&mut part));
            rest = &rest[word.len()..];
            continue;
        }
        inside ^= c == '\'';
        part.push(c);
        rest = &rest[c.len_utf8()..];
    }
    parts.push(part);
    parts
}

fn quoted(value: &str) -> Result<String, Wrong> {
    let inner = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).ok_or(INVALID_FILTER)?;
    Ok(inner.replace("''", "'"))
}

fn flag(value: &str) -> Result<bool, Wrong> {
    value.parse().map_err(|_| INVALID_FILTER)
}

fn time(value: &str) -> Result<SystemTime, Wrong> {
    value.parse::<jiff::Timestamp>().map(SystemTime::from).map_err(|_| INVALID_FILTER)
}

/// Graph shows whole seconds.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
