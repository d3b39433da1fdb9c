//! The names under which a listed file may lie in a deposit: each generation of Pastell cleans names in its own way, and
//! its metadata keep the names from before (facts A.1).
//!
//! Not a search: every way is one function from a listed name to a name on the disk.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use super::Listed;

/// `member` is `listed` under one of its names.
pub(super) fn matches(listed: &Listed, member: &str) -> bool {
    let member: String = member.nfc().collect();
    let (field, n) = (&listed.field, listed.n);
    if member.strip_suffix(&format!(".yml_{field}_{n}")).is_some_and(|id| !id.is_empty()) {
        return true;
    }
    let names = [Some(&listed.name), listed.original.as_ref()];
    let mut names = names.into_iter().flatten().map(|name| name.nfc().collect::<String>());
    let plain = without_conflict(&member);
    // generation 1b marks the signed PES, which has the name of the unsigned one
    let unmarked = |member: &str| member.strip_prefix("signe_").filter(|_| field.contains("sign")).map(str::to_owned);
    let written: Vec<String> = [Some(member.clone()), plain.clone()].into_iter().flatten().collect();
    let unsigned: Vec<String> = written.iter().filter_map(|member| unmarked(member)).collect();
    names.any(|name| {
        let ways =
            [name.clone(), dashed(&name), folded(&name), folded(&name.replace('-', "_")), last(&name).to_owned()];
        written.iter().chain(&unsigned).any(|member| !member.is_empty() && ways.contains(member))
    })
}

/// Generation 2: `#[\\/]#` becomes a hyphen.
fn dashed(name: &str) -> String {
    name.replace(['/', '\\'], "-")
}

/// Generation 1: blanks become `_`, accents go, and so does everything else but letters, digits, `_` and dots.
fn folded(name: &str) -> String {
    let plain = name.nfd().filter(|char| !is_combining_mark(*char));
    let plain = plain.map(|char| if char == ' ' { '_' } else { char });
    plain.filter(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.')).collect()
}

/// In a ZIP a name with a slash is a name in a folder.
fn last(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// Where the name was taken, Pastell puts `_<14 digits>_<number>` before the extension.
fn without_conflict(member: &str) -> Option<String> {
    let (stem, extension) = match member.rfind('.') {
        Some(dot) => member.split_at(dot),
        None => (member, ""),
    };
    let (stem, number) = stem.rsplit_once('_')?;
    let (stem, moment) = stem.rsplit_once('_')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(number) && digits(moment) && moment.len() == 14).then(|| format!("{stem}{extension}"))
}
