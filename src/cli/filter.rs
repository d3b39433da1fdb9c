//! `pertuis filter PATTERN NAME…`: whether a file-name pattern takes each name.
//!
//! The same pattern, read by the same code, as `filter =` of a launcher; needs no configuration.

use std::io::{self, Write};

use crate::config::pattern::Pattern;
use crate::text;
use crate::text::Lang;

/// Says for each name whether `pattern` takes it, one line each on `out`; warnings and mistakes go to `err`. Answers
/// with the exit code: 0, 1 when the pattern gave up on a name, 2 when it is no pattern.
///
/// # Errors
/// `out` or `err` cannot be written.
pub fn run(pattern: &str, names: &[String], lang: Lang, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let pattern = match Pattern::parse(pattern) {
        Ok(pattern) => pattern,
        Err(mistake) => {
            writeln!(err, "{}", mistake.get(lang))?;
            return Ok(2);
        }
    };
    let mut code = 0;
    for name in names {
        match pattern.takes(name) {
            Ok(true) => writeln!(out, "{}", text!("taken     {name}", "pris      {name}").get(lang))?,
            Ok(false) => writeln!(out, "{}", text!("left out  {name}", "écarté    {name}").get(lang))?,
            Err(gave_up) => {
                writeln!(err, "{}", gave_up.get(lang))?;
                code = 1;
            }
        }
    }
    for remark in pattern.remarks() {
        let (en, fr) = (&remark.en, &remark.fr);
        writeln!(err, "{}", text!("warning: {en}", "attention : {fr}").get(lang))?;
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pattern: &str, names: &[&str], lang: Lang) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let code = run(pattern, &names, lang, &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn each_name_gets_its_line_in_either_language() {
        let names = ["facture.pdf", "photo.2023.db", "x.db"];
        let (code, out, err) = answer(r"/.*\.(?!db).*/", &names, Lang::Fr);
        assert_eq!((code, out.as_str()), (0, "pris      facture.pdf\npris      photo.2023.db\nécarté    x.db\n"));
        assert!(err.starts_with("attention : le motif"), "{err}");
        let (_, out, err) = answer(r"/.*\.pdf/i", &names[..1], Lang::En);
        assert_eq!((out.as_str(), err.as_str()), ("taken     facture.pdf\n", ""));
    }

    #[test]
    fn what_is_no_pattern_is_wrong_usage() {
        let (code, out, err) = answer("*.pdf", &["a.pdf"], Lang::En);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("between slashes"), "{err}");
    }
}
