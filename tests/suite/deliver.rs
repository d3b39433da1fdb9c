//! What `fetch` delivers and under which names, with the real binary against a real Dovecot and a directory of dropped
//! files: whole messages, nested ones, folders, indexes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::process::Command;

use pertuis::model::Digest;
use serde_json::Value;

use crate::support::ca::TestCa;
use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::mails::{bytes, mail};
use crate::support::site::Site;

/// A Dovecot with these mails in its INBOX, and a site that fetches them with these options.
fn site(mails: &[&[u8]], options: &str) -> (Site, Dovecot) {
    let place = Site::new();
    let ca = TestCa::new(place.dir.path());
    let pair = ca.good("localhost");
    let mut server = Dovecot::start_tls(&pair.cert, &pair.key);
    for mail in mails {
        server.deliver(mail);
    }
    let (port, ca) = (server.imaps().port(), ca.cert.display());
    place.write_ini(&format!(
        "[factures]\nlauncher = imap\nserver = 127.0.0.1:{port}\naccount = {ACCOUNT}\npassword = {PASSWORD}\n\
         deliver = COLD\ncheckHost = localhost\nCAfile = {ca}\n{options}\n"
    ));
    (place, server)
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A mail that holds another one, with a PDF in it.
fn forwarded(subject: &str, inner: &[u8]) -> Vec<u8> {
    let mut outer = format!(
        "From: a@example.org\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"=_dehors\"\r\n\r\n\
         --=_dehors\r\nContent-Type: text/plain\r\n\r\nVoir ci-joint.\r\n\
         --=_dehors\r\nContent-Type: message/rfc822\r\n\r\n"
    )
    .into_bytes();
    outer.extend(inner);
    outer.extend(b"\r\n--=_dehors--\r\n");
    outer
}

#[test]
fn a_message_with_its_documents_arrives_in_one_folder_with_an_index_that_tells_them() {
    let (pdf, text) = (bytes(1, 40_000), b"".to_vec());
    let one = mail("Facture été/2026", &[("facture.pdf", &pdf), ("facture.pdf", &text)]);
    let two = mail("Sans pièce", &[]);
    let options = "take = both\ngroup = folder\nfolder_name = {date}_{subject}\nindex = json\n";
    let (site, _server) = site(&[&one, &two], options);
    let report = site.fetch();
    assert_eq!((&report["items"]["delivered"], &report["files"]["delivered"]), (&2.into(), &4.into()), "{report}");
    assert_eq!(names(&site.cold()), set(&["2026-11-02_Facture été_2026", "2026-11-02_Sans pièce"]));
    let folder = site.cold().join("2026-11-02_Facture été_2026");
    let files = ["Facture été_2026.eml", "facture (2).pdf", "facture.pdf", "index.json"];
    assert_eq!(names(&folder), set(&files));
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["subject"], "Facture été/2026");
    assert_eq!((&index["kind"], &index["source"], &index["folder"]), (&"mail".into(), &"imap".into(), &"INBOX".into()));
    let told = index["files"].as_array().unwrap();
    assert_eq!((told.len(), &told[0]["role"], &told[1]["role"]), (3, &"message".into(), &"attachment".into()));
    for file in told {
        let content = fs::read(folder.join(file["name"].as_str().unwrap())).unwrap();
        assert_eq!(file["sha256"], Digest::of(&content).to_string());
        assert_eq!(file["size"], content.len());
    }
    assert_eq!(fs::read(folder.join("facture.pdf")).unwrap(), pdf);
    // the .eml is what the server sends, which knows no bare line feeds
    assert_eq!(fs::read(folder.join("Facture été_2026.eml")).unwrap(), one);
    assert_eq!(site.fetch()["items"]["delivered"], 0);
}

#[test]
fn a_nested_message_is_one_document_and_on_request_its_attachments_too_which_filters_judge() {
    let inner = mail("Dedans", &[("dedans.pdf", b"pdf"), ("notes.db", b"db")]);
    let outer = forwarded("Dehors", &inner);
    for (options, expected) in [
        ("", vec!["Dedans.eml"]),
        ("nested = yes", vec!["Dedans.eml", "dedans.pdf", "notes.db"]),
        ("nested = yes\nfilter = /.*\\.pdf/", vec!["dedans.pdf"]),
        ("nested = yes\nmax_depth = 1\nname = {n}-{name}", vec!["1-Dedans.eml", "2-dedans.pdf", "3-notes.db"]),
    ] {
        let (site, _server) = site(&[&outer], options);
        let report = site.fetch();
        assert_eq!(report["items"]["delivered"], 1, "{options}: {report}");
        assert_eq!(names(&site.cold()), set(&expected), "{options}");
    }
}

#[test]
fn a_message_without_a_document_is_skipped_or_delivered_itself_and_never_downloaded_again() {
    let empty = mail("Bonjour", &[]);
    for (options, expected) in [("", vec![]), ("empty = message", vec!["Bonjour.eml"])] {
        let (site, _server) = site(&[&empty], options);
        let report = site.fetch();
        let (empty, delivered) = (&report["items"]["empty"], &report["items"]["delivered"]);
        assert_eq!((empty, delivered), (&(1 - expected.len()).into(), &expected.len().into()), "{report}");
        assert_eq!(names(&site.cold()), set(&expected));
        // a source that lists only what is new may say 0
        let again = site.fetch();
        assert_eq!((&again["items"]["empty"], &again["items"]["delivered"]), (&0.into(), &0.into()), "{again}");
    }
}

#[test]
fn the_index_of_files_side_by_side_has_the_name_of_the_key_and_comes_as_xml_or_csv() {
    let one = mail("Facture; <1> & \"2\"", &[("a.pdf", b"a"), ("b;c.pdf", b"b")]);
    for format in ["xml", "csv"] {
        let (site, _server) = site(&[&one], &format!("index = {format}\nname = {{key}}_{{n}}_{{name}}\n"));
        assert_eq!(site.fetch()["items"]["delivered"], 1);
        let names = names(&site.cold());
        let index = names.iter().find(|name| name.ends_with(&format!(".index.{format}"))).unwrap();
        let key = index.split_once(".index").unwrap().0;
        assert_eq!(names, set(&[index, &format!("{key}_1_a.pdf"), &format!("{key}_2_b;c.pdf")]));
        let text = fs::read_to_string(site.cold().join(index)).unwrap();
        if format == "xml" {
            assert!(text.contains("<subject>Facture; &lt;1&gt; &amp; &quot;2&quot;</subject>"), "{text}");
            assert!(text.contains(&format!("<name>{key}_2_b;c.pdf</name>")), "{text}");
        } else {
            let lines: Vec<_> = text.lines().collect();
            assert_eq!((lines.len(), text.starts_with('\u{feff}')), (3, true), "{text}");
            assert!(lines[2].contains("\"Facture; <1> & \"\"2\"\"\""), "{text}");
        }
    }
}

/// A site whose delivery directory is a volume of its own, so small that it is soon full.
#[cfg(target_os = "linux")]
struct Small {
    site: Site,
}

#[cfg(target_os = "linux")]
impl Small {
    /// `None` where this user may not mount.
    fn new(size: &str) -> Option<Self> {
        let site = Site::new();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "pertuis-test"])
            .arg(site.cold())
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self { site })
    }
}

#[cfg(target_os = "linux")]
impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.site.cold()).status();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn on_a_full_disk_what_fits_is_delivered_whole_with_its_index_and_the_rest_follows_once_there_is_room() {
    let Some(small) = Small::new("2M") else {
        eprintln!("skipped: this user may not mount a small volume");
        return;
    };
    let site = &small.site;
    let (deliver, staging, drop) = (site.cold().join("cold"), site.cold().join("staging"), site.path("drop"));
    fs::create_dir(&deliver).unwrap();
    fs::create_dir(&drop).unwrap();
    for n in 0..8_u8 {
        fs::write(drop.join(format!("{n}.pdf")), vec![n; 400_000]).unwrap();
    }
    for group in ["flat", "folder"] {
        let _ = fs::remove_dir_all(site.path("state"));
        let _ = fs::remove_dir_all(&staging);
        site.write_ini(&format!(
            "[factures]\nlauncher = directory\nsource = {}\ndeliver = {}\nstaging = {}\nsettle = 0\nindex = json\n\
             group = {group}\nfolder_name = {{key}}\n",
            drop.display(),
            deliver.display(),
            staging.display()
        ));
        let mut arrived = BTreeSet::new();
        for _ in 0..10 {
            let report = site.fetch();
            let found = take_out(&deliver);
            if arrived.is_empty() {
                assert_eq!(report["error"]["code"], "deliver", "{group}: {report}");
                assert!((1..8).contains(&found.len()), "{group}: {}", found.len());
            }
            for digest in found {
                assert!(arrived.insert(digest), "{group}: delivered twice");
            }
            if arrived.len() == 8 {
                break;
            }
        }
        assert_eq!(arrived, (0..8_u8).map(|n| Digest::of(&vec![n; 400_000])).collect(), "{group}");
    }
}

/// Takes everything out of a delivery directory: the digests of the documents, each of which an index tells.
#[cfg(target_os = "linux")]
fn take_out(deliver: &Path) -> Vec<Digest> {
    let (mut documents, mut told) = (Vec::new(), BTreeSet::new());
    let mut take = |path: &Path| {
        let content = fs::read(path).unwrap();
        if path.extension().is_some_and(|extension| extension == "json") {
            let index: Value = serde_json::from_slice(&content).unwrap();
            told.insert(index["files"][0]["sha256"].as_str().unwrap().to_owned());
        } else {
            documents.push(Digest::of(&content));
        }
    };
    for entry in fs::read_dir(deliver).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            for file in fs::read_dir(&path).unwrap() {
                take(&file.unwrap().path());
            }
            fs::remove_dir_all(path).unwrap();
        } else {
            take(&path);
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(told, documents.iter().map(ToString::to_string).collect());
    documents
}
