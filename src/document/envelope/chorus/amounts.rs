//! Amounts and dates as the index writes them.
//!
//! Not arithmetic in general: a sum of decimals, exact, in integers. What is neither an amount nor a date stays as written,
//! because a stranger's value that a person can read is worth more than none.

/// A decimal number with the digits behind its dot that its source has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Decimal {
    /// All digits, with the sign.
    units: i128,
    /// How many of them stand behind the dot.
    scale: u32,
}

impl Decimal {
    /// Reads an amount as [`amount`] gives it; `None` for what is none, or has more than 37 digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = amount(text);
        let (digits, negative) = text.strip_prefix('-').map_or((text.as_str(), false), |rest| (rest, true));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let units = [whole, fraction].concat().parse::<i128>().ok().filter(|units| *units < MOST)?;
        Some(Self { units: if negative { -units } else { units }, scale: u32::try_from(fraction.len()).ok()? })
    }

    /// The sum, with the longer fraction of both; `None` where it does not fit.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let at = |number: Self| number.units.checked_mul(10_i128.checked_pow(scale - number.scale)?);
        let units = at(self)?.checked_add(at(other)?)?;
        Some(Self { units, scale })
    }

    /// With a dot.
    pub(super) fn text(self) -> String {
        let sign = if self.units < 0 { "-" } else { "" };
        let scale = self.scale as usize;
        let digits = format!("{:0width$}", self.units.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let dot = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{dot}{fraction}")
    }
}

/// A sum of which one part may be no number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    sum: Option<Decimal>,
    is_broken: bool,
}

impl Sum {
    /// Adds a part; an empty one counts for nothing.
    pub(super) fn add(&mut self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        let part = Decimal::parse(text);
        let sum = part.and_then(|part| self.sum.unwrap_or_default().plus(part));
        self.is_broken |= sum.is_none();
        self.sum = sum.or(self.sum);
    }

    /// The sum; `None` without parts, and with a part that is no number.
    pub(super) fn text(self) -> Option<String> {
        self.sum.filter(|_| !self.is_broken).map(Decimal::text)
    }

    /// Whether a part was no number.
    pub(super) fn is_broken(self) -> bool {
        self.is_broken
    }
}

/// A decimal number with a dot, without separators of thousands or a plus sign; anything else as it stands.
pub(super) fn amount(text: &str) -> String {
    let text = text.trim();
    let plain: String = text.strip_prefix('+').unwrap_or(text).chars().filter(|c| !c.is_whitespace()).collect();
    let dotted = if plain.contains('.') { plain } else { plain.replacen(',', ".", 1) };
    let digits = dotted.strip_prefix('-').unwrap_or(&dotted);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_number(whole) || !is_number(fraction) {
        return text.to_owned();
    }
    let sign = if digits.len() < dotted.len() { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{dot}{fraction}")
}

/// The day as `YYYY-MM-DD`, of `YYYY-MM-DD` with or without time or zone and of `YYYYMMDD` with or without time
/// (formats 102, 203 and 204 of UN/CEFACT); anything else as it stands.
pub(super) fn date(text: &str) -> String {
    let text = text.trim();
    let digits = |range| text.get(range).filter(|part: &&str| part.bytes().all(|byte| byte.is_ascii_digit()));
    let dashed = text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    if dashed && let (Some(year), Some(month), Some(day)) = (digits(0..4), digits(5..7), digits(8..10)) {
        let ends =
            text.get(10..).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() && c != 'T' && c != 'Z'));
        if ends {
            return format!("{year}-{month}-{day}");
        }
    }
    let is_compact = [8, 12, 14].contains(&text.len()) && digits(0..text.len()).is_some();
    if is_compact && let (Some(year), Some(month), Some(day)) = (digits(0..4), digits(4..6), digits(6..8)) {
        return format!("{year}-{month}-{day}");
    }
    text.to_owned()
}

/// What fits beside a carry.
const MOST: i128 = 10_i128.pow(37);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sum_is_exact_at_any_scale_and_sign() {
        for (parts, sum) in [
            (&["0.681450"][..], Some("0.681450")),
            (&["0.1", "0.2"], Some("0.3")),
            (&["200", "0.50"], Some("200.50")),
            (&["-12.30", "2.3"], Some("-10.00")),
            (&["-0.05"], Some("-0.05")),
            (&["+1", ".5", "1,25", "1 000,00"], Some("1002.75")),
            (&["99999999999999999999.999999", "0.000001"], Some("100000000000000000000.000000")),
            (&["", " "], None),
            (&["1.00", "n/a"], None),
            (&["1e3"], None),
            (&["12345678901234567890123456789012345678901234567890"], None),
        ] {
            let mut own = Sum::default();
            parts.iter().for_each(|part| own.add(part));
            assert_eq!(own.text().as_deref(), sum, "{parts:?}");
            let is_broken = sum.is_none() && parts.iter().any(|part| !part.trim().is_empty());
            assert_eq!(own.is_broken(), is_broken, "{parts:?}");
        }
    }

    #[test]
    fn amounts_have_a_dot_and_dates_have_dashes() {
        for (written, read) in [
            ("1200.500000", "1200.500000"),
            (" 1 200,50 ", "1200.50"),
            ("1\u{202f}200", "1200"),
            ("+3", "3"),
            ("-.5", "-0.5"),
            ("1.200,50", "1.200,50"),
            ("--1", "--1"),
            ("gratuit", "gratuit"),
            ("-", "-"),
        ] {
            assert_eq!(amount(written), read, "{written}");
        }
        for (written, read) in [
            ("2024-03-01", "2024-03-01"),
            ("2024-03-01+01:00", "2024-03-01"),
            ("2024-03-01Z", "2024-03-01"),
            ("2018-12-18T16:51:55.000+01:00", "2018-12-18"),
            ("20240301", "2024-03-01"),
            ("202403011530", "2024-03-01"),
            ("20240301153000", "2024-03-01"),
            ("2024-03-015", "2024-03-015"),
            ("01/03/2024", "01/03/2024"),
            ("mars 2024", "mars 2024"),
            ("2024é03-01", "2024é03-01"),
        ] {
            assert_eq!(date(written), read, "{written}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_left(text in "\\PC{0,40}") {
            let _ = date(&text);
            let read = amount(&text);
            prop_assert_eq!(amount(&read), read.clone());
            if let Some(number) = Decimal::parse(&text) {
                prop_assert_eq!(Decimal::parse(&number.text()), Some(number));
            }
        }

        #[test]
        fn a_sum_is_that_of_whole_cents(cents in proptest::collection::vec(-10_000_000_i64..10_000_000, 1..20)) {
            let mut sum = Sum::default();
            for one in &cents {
                let sign = if *one < 0 { "-" } else { "" };
                let one = one.unsigned_abs();
                sum.add(&format!("{sign}{}.{:02}", one / 100, one % 100));
            }
            let own = sum.text().unwrap().replace('.', "").parse::<i64>().unwrap();
            prop_assert_eq!(own, cents.iter().sum::<i64>());
        }
    }
}
