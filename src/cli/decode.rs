//! `pertuis decode PATH --to DIR`: one mail or envelope into a directory.
//!
//! Needs no configuration, and knows no ledger: decoding the same file again writes it again, under the next free names.

use std::io::{self, Write};
use std::path::Path;

use crate::launcher;
use crate::text;
use crate::text::{Lang, Text};

/// Writes one line for each file on `out`, then what was found; why it cannot be decoded goes to `err`. Answers the exit
/// code: 0, or 1 with nothing left in `to`.
///
/// # Errors
/// `out` or `err` cannot be written.
pub fn run(path: &Path, to: &Path, lang: Lang, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    match launcher::decode(path, to) {
        Ok(decoded) => {
            for file in &decoded.files {
                writeln!(out, "{}", plain(&file.display().to_string()))?;
            }
            let (path, Text { en, fr }) = (path.display(), &decoded.report);
            writeln!(out, "{}", plain(text!("{path}: {en}", "{path} : {fr}").get(lang)))?;
            Ok(0)
        }
        Err(text) => {
            writeln!(err, "{}", plain(text.get(lang)))?;
            Ok(1)
        }
    }
}

/// Without characters that a terminal would obey: names are strangers'.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '.' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn decode(path: &Path, to: &Path) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(path, to, Lang::Fr, &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    const MAIL: &str = "From: Marie <marie@example.test>\r\nSubject: Facture\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nBonjour\r\n\
        --b\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\none\r\n\
        --b\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\ntwo\r\n\
        --b\r\nContent-Disposition: attachment; filename=index.json\r\n\r\nthree\r\n--b--\r\n";

    #[test]
    fn a_mail_is_taken_apart_into_a_directory_that_is_made_and_its_index_comes_last() {
        let dir = tempfile::tempdir().unwrap();
        let (mail, to) = (dir.path().join("facture.eml"), dir.path().join("new/er"));
        fs::write(&mail, MAIL).unwrap();
        let (code, out, err) = decode(&mail, &to);
        assert_eq!((code, err.as_str()), (0, ""));
        let names: Vec<_> = out.lines().take(4).map(|line| line.rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(names, ["a.pdf", "a (2).pdf", "index (2).json", "index.json"]);
        assert!(out.lines().last().unwrap().contains("3 fichier(s)"), "{out}");
        assert_eq!(fs::read_to_string(to.join("a (2).pdf")).unwrap(), "two");
        let index: serde_json::Value = serde_json::from_slice(&fs::read(to.join("index.json")).unwrap()).unwrap();
        assert_eq!((&index["kind"], &index["subject"]), (&"mail".into(), &"Facture".into()));
        assert_eq!((index.get("launcher"), index["files"][2]["name"].as_str()), (None, Some("index (2).json")));
        assert_eq!(fs::read_dir(&to).unwrap().count(), 4, "and nothing else");
        // once more: nothing is replaced
        let (code, out, _) = decode(&mail, &to);
        assert!(code == 0 && out.contains("index (3).json") && out.contains("a (3).pdf"), "{out}");
    }

    #[test]
    fn what_cannot_be_decoded_fails_with_its_reason_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("kept");
        fs::create_dir(&kept).unwrap();
        for (name, bytes) in [
            ("broken.zip", &b"PK\x03\x04 no archive"[..]),
            ("broken.eml", b"\x00\x01\x02"),
            ("doctype.xml", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"),
            ("other.xml", b"<html/>"),
            ("empty.xml", b""),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            for to in [kept.clone(), dir.path().join("made/below")] {
                let (code, out, err) = decode(&path, &to);
                assert_eq!((code, out.as_str()), (1, ""), "{name}: {err}");
                assert!(err.contains(name), "{name}: {err}");
            }
            assert_eq!(fs::read_dir(&kept).unwrap().count(), 0, "{name}");
            assert!(!dir.path().join("made").exists(), "{name}");
        }
        assert_eq!(decode(&dir.path().join("no-such"), &kept).0, 1);
    }
}
