//! What is delivered and under which names: `take`, `empty`, `name`, `group`, `index`; and that neither folder nor
//! index changes anything about "exactly once".

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::config::launcher::{Index, Since, Take};
use crate::config::template::Template;

fn bench(change: impl FnOnce(&mut Launcher)) -> Bench {
    let mut bench = Bench::new();
    change(&mut bench.launcher);
    bench
}

fn one(n: u32, mail: Vec<u8>) -> Script {
    Script { messages: BTreeMap::from([(n, mail)]), ..Script::default() }
}

fn in_folders(launcher: &mut Launcher) {
    launcher.folder = Some(Template::folder("{subject}").unwrap());
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn a_message_is_taken_whole_byte_for_byte_alone_or_with_its_documents() {
    let body = mail(1, &[("a.pdf", b"a"), ("thumbs.db", b"b")]);
    for (take, expected, filtered) in
        [(Take::Message, vec!["Facture 1.eml"], 0), (Take::Both, vec!["Facture 1.eml", "a.pdf"], 1)]
    {
        let bench = bench(|launcher| {
            launcher.take = take;
            launcher.filter = vec![Pattern::parse(r"/.*\.pdf/").unwrap()];
        });
        let report = bench.run(&mut one(1, body.clone())).await;
        assert_eq!((report.items.delivered, report.files.filtered), (1, filtered), "{report:?}");
        assert_eq!(bench.names(), expected);
        assert_eq!(fs::read(bench.deliver().join("Facture 1.eml")).unwrap(), body);
    }
}

#[tokio::test]
async fn a_message_without_any_document_is_delivered_itself_on_request_and_one_whose_documents_were_filtered_is_not() {
    let bench = bench(|launcher| {
        launcher.empty_message = true;
        launcher.filter = vec![Pattern::parse(r"/.*\.pdf/").unwrap()];
    });
    let mut source = one(1, mail(1, &[]));
    source.messages.insert(2, mail(2, &[("thumbs.db", b"b")]));
    source.messages.insert(3, Vec::new());
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.delivered, report.items.empty, report.items.failed), (1, 2, 0), "{report:?}");
    assert_eq!(bench.names(), ["Facture 1.eml"]);
}

#[tokio::test]
async fn a_message_of_no_bytes_is_empty() {
    for take in [Take::Attachments, Take::Message, Take::Both] {
        let bench = bench(|launcher| launcher.take = take);
        let report = bench.run(&mut one(1, Vec::new())).await;
        assert_eq!((report.items.empty, report.items.failed, report.items.quarantined), (1, 0, 0), "{report:?}");
        assert!(bench.names().is_empty() && report.is_success());
    }
}

#[tokio::test]
async fn names_follow_their_template_and_numbers_go_on_after_each_other() {
    let bench = bench(|launcher| {
        launcher.take = Take::Both;
        launcher.template = Template::document("{uid}_{n}_{role}_{subject}").unwrap();
    });
    bench.run(&mut one(7, mail(7, &[("a.pdf", b"a"), ("b", b"b")]))).await;
    assert_eq!(
        bench.names(),
        ["7_1_message_Facture 7.eml", "7_2_attachment_Facture 7.pdf", "7_3_attachment_Facture 7"]
    );
}

#[tokio::test]
async fn each_message_has_a_folder_of_its_own_in_which_names_are_told_apart() {
    let bench = bench(|launcher| {
        in_folders(launcher);
        launcher.index = Index::Json;
    });
    let body = mail(1, &[("a.pdf", b"a"), ("A.pdf", b"b"), ("index.json", b"c")]);
    let mut source = one(1, body.clone());
    source.messages.insert(2, body);
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.delivered, report.files.delivered), (2, 6), "{report:?}");
    assert_eq!(bench.names(), ["Facture 1", "Facture 1 (2)"]);
    for folder in bench.names() {
        let folder = bench.deliver().join(folder);
        assert_eq!(names(&folder), ["A (2).pdf", "a.pdf", "index (2).json", "index.json"]);
        assert_eq!((read(&folder.join("A (2).pdf")), read(&folder.join("index (2).json"))), ("b".into(), "c".into()));
        let index: Value = serde_json::from_str(&read(&folder.join("index.json"))).unwrap();
        assert_eq!(index["files"][1]["name"], "A (2).pdf");
        assert_eq!(index["files"][1]["original_name"], "A.pdf");
    }
    assert_eq!(names(&bench.staging()), ["generation"]);
    assert_eq!(bench.run(&mut source).await.items.already, 2);
}

#[tokio::test]
async fn an_item_without_documents_makes_neither_folder_nor_index() {
    let bench = bench(|launcher| {
        in_folders(launcher);
        launcher.index = Index::Xml;
    });
    let report = bench.run(&mut one(1, mail(1, &[]))).await;
    assert_eq!((report.items.empty, bench.names().len()), (1, 0), "{report:?}");
}

#[tokio::test]
async fn the_index_names_what_could_not_be_delivered() {
    let bench = bench(|launcher| launcher.index = Index::Json);
    let body = String::from_utf8(mail(1, &[("a.pdf", b"a"), ("b.pdf", b"QUJDR")])).unwrap();
    let at = body.rfind("8bit").unwrap();
    let body = format!("{}base64{}", &body[..at], &body[at + 4..]);
    let report = bench.run(&mut one(1, body.into_bytes())).await;
    assert_eq!((report.items.quarantined, report.files.delivered), (1, 1), "{report:?}");
    let name = bench.names().into_iter().find(|name| name.ends_with(".index.json")).unwrap();
    let index: Value = serde_json::from_str(&read(&bench.deliver().join(name))).unwrap();
    assert_eq!(index["missing"], serde_json::json!(["b.pdf"]));
    assert!(index["warnings"][0].as_str().unwrap().starts_with("b.pdf: "), "{index}");
    assert_eq!(index["files"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_dropped_file_has_an_index_too() {
    let (mut bench, drop) = Bench::of_directory();
    bench.launcher.index = Index::Csv;
    bench.launcher.template = Template::document("{kind}-{stem}").unwrap();
    assert_eq!(bench.fetch().await.items.delivered, 1);
    let names = bench.names();
    assert_eq!((names.len(), names[1].as_str()), (2, "file-a.pdf"), "{names:?}");
    let csv = read(&bench.deliver().join(&names[0]));
    assert!(csv.contains(";directory;") && csv.contains(&drop.display().to_string()), "{csv}");
    assert!(csv.contains(";file-a.pdf;a.pdf;;3;"), "{csv}");
}

#[tokio::test]
async fn mails_before_since_are_rejected_where_the_server_knows_no_dates() {
    let dated = |n: u32, date: &str| {
        let mail = String::from_utf8(mail(n, &[("a.pdf", b"a")])).unwrap();
        mail.replacen("Subject:", &format!("Date: {date}\r\nSubject:"), 1).into_bytes()
    };
    let mut bench = bench(|launcher| {
        launcher.since = Some(Since::Date(jiff::civil::date(2026, 2, 1)));
        launcher.after = Disposition::Delete;
        launcher.after_empty = Disposition::Delete;
    });
    let mut source = one(1, dated(1, "Tue, 6 Jan 2026 10:00:00 +0100"));
    source.messages.insert(2, dated(2, "Tue, 10 Feb 2026 10:00:00 +0100"));
    // a sender whose clock is wrong
    source.messages.insert(3, dated(3, "Thu, 1 Jan 1970 00:00:00 +0000"));
    source.undated.extend([1, 2]);
    bench.launcher.kind = Kind::Pop3;
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.rejected, report.items.delivered), (1, 2), "{report:?}");
    assert_eq!(source.acknowledged, [2, 3]);
}

#[tokio::test]
async fn a_dry_run_names_what_would_be_delivered_and_leaves_nothing() {
    let bench = bench(|launcher| {
        in_folders(launcher);
        launcher.index = Index::Json;
        launcher.take = Take::Both;
    });
    let stop = CancellationToken::new();
    let mut source = one(1, mail(1, &[("a.pdf", b"a")]));
    let report = cycle(&bench.launcher, &bench.env, &mut source, true, &stop).await.report;
    assert_eq!((report.items.delivered, report.files.delivered), (1, 2), "{report:?}");
    assert_eq!((bench.names().len(), names(bench.dir.path())), (0, vec!["cold".to_owned()]));
}

#[tokio::test]
async fn a_folder_waits_for_a_delivery_directory_that_vanished() {
    let bench = bench(|launcher| {
        in_folders(launcher);
        launcher.index = Index::Json;
    });
    let mut source = mailbox(2);
    source.pull_away = Some(bench.deliver().to_owned());
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.failed, report.error.unwrap().code), (2, Code::Deliver));
    source.pull_away = None;
    fs::create_dir(bench.deliver()).unwrap();
    let report = bench.run(&mut source).await;
    assert_eq!((report.items.delivered, report.files.delivered), (2, 2), "{report:?}");
    assert_eq!(bench.names(), ["Facture 1", "Facture 2"]);
}

/// What arrived: names (with their folder) and contents, in the order of arrival.
#[derive(Default)]
pub(super) struct Arrived(Vec<(String, String)>);

impl Arrived {
    /// Takes everything out of the delivery directory, as the COLD does; an index must never come before its files.
    pub(super) fn consume(&mut self, deliver: &Path) {
        let mut found = Vec::new();
        for name in names(deliver) {
            let path = deliver.join(&name);
            if path.is_dir() {
                let inside = names(&path).into_iter().map(|file| (format!("{name}/{file}"), read(&path.join(&file))));
                found.extend(inside);
                fs::remove_dir_all(path).unwrap();
            } else {
                found.push((name, read(&path)));
                fs::remove_file(path).unwrap();
            }
        }
        found.sort_by_key(|(name, _)| is_index(name));
        self.0.extend(found);
    }

    /// The contents of all documents, and what each index says arrived before it under that name.
    pub(super) fn check(&self, context: &str, indexes: usize) -> Vec<&str> {
        let all = || self.0.iter().enumerate().filter(|(_, (name, _))| is_index(name));
        assert_eq!(all().count(), indexes, "{context}");
        let mut told = Vec::new();
        for (at, (name, content)) in all() {
            let index: Value = serde_json::from_str(content).unwrap();
            let folder = name.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
            for file in index["files"].as_array().unwrap() {
                let (name, digest) = (file["name"].as_str().unwrap(), file["sha256"].as_str().unwrap());
                let is_it = |(own, content): &&(String, String)| {
                    *own == format!("{folder}{name}") && Digest::of(content.as_bytes()).to_string() == digest
                };
                assert!(self.0[..at].iter().any(|file| is_it(&file)), "{context}: {name} {:?}", self.0);
                told.push(digest.to_owned());
            }
        }
        let documents = self.0.iter().filter(|(name, _)| !is_index(name));
        let mut contents: Vec<_> = documents.map(|(_, content)| content.as_str()).collect();
        contents.sort_unstable();
        if indexes > 0 {
            let ours = contents.iter().filter(|content| **content != FOREIGN).count();
            assert_eq!(told.len(), ours, "{context}: the indexes tell every document once");
        }
        contents
    }
}

fn is_index(name: &str) -> bool {
    name.ends_with("index.json")
}

/// The file of somebody else under a name that was promised.
const FOREIGN: &str = "foreign";

/// Three messages with five documents.
fn five_documents() -> Script {
    let mut source = mailbox(2);
    source.messages.insert(3, mail(3, &[("a.pdf", b"a"), ("facture.pdf", b"b"), ("a.pdf", b"c")]));
    source
}

/// A bench whose first cycle stops after `crossings` boundaries; true when it was stopped.
async fn stopped(bench: &Bench, source: &mut Script, crossings: u32) -> bool {
    crash_after_crossing(crossings);
    let cycle = AssertUnwindSafe(bench.run(source)).catch_unwind().await;
    crash_after_crossing(None);
    cycle.is_err()
}

#[tokio::test]
async fn a_crash_at_any_boundary_neither_loses_nor_doubles_files_folders_or_indexes() {
    for (folder, index) in [(false, Index::Json), (true, Index::None), (true, Index::Json)] {
        let indexes = if index == Index::Json { 3 } else { 0 };
        for crossings in 0.. {
            let bench = bench(|launcher| {
                launcher.index = index;
                launcher.after = Disposition::Delete;
                if folder {
                    in_folders(launcher);
                }
            });
            let (mut source, mut arrived) = (five_documents(), Arrived::default());
            let context = format!("folder {folder}, {index:?}, {crossings} boundaries");
            let is_stopped = stopped(&bench, &mut source, crossings).await;
            arrived.consume(bench.deliver());
            let report = bench.run(&mut source).await;
            assert!(report.is_success(), "{context}: {report:?}");
            arrived.consume(bench.deliver());
            assert_eq!(arrived.check(&context, indexes), ["a", "b", "c", "content 1", "content 2"], "{context}");
            assert!(source.acknowledged.contains(&3), "{context}");
            bench.run(&mut source).await;
            assert_eq!(names(&bench.staging()), ["generation"], "{context}");
            if !is_stopped {
                assert!(crossings > 15, "{context}");
                break;
            }
        }
    }
}

/// Boundaries up to the one behind the record.
async fn until_recorded(bench: &Bench, source: &mut Script) {
    for crossings in 0.. {
        assert!(stopped(bench, source, crossings).await, "never recorded");
        if !bench.ledger().recorded().unwrap().is_empty() {
            return;
        }
    }
}

#[tokio::test]
async fn the_index_tells_the_names_under_which_files_arrived_though_somebody_took_the_promised_ones() {
    for folder in [false, true] {
        for crossings in 0.. {
            let bench = bench(|launcher| {
                launcher.index = Index::Json;
                if folder {
                    in_folders(launcher);
                }
            });
            let (mut source, mut arrived) = (five_documents(), Arrived::default());
            let context = format!("folder {folder}, {crossings} boundaries");
            until_recorded(&bench, &mut source).await;
            let promised = bench.ledger().recorded().unwrap().into_iter().flat_map(|item| item.files);
            let foreign = promised.map(|file| fs::write(file.directory.join(file.name), FOREIGN).unwrap()).count();
            let is_stopped = stopped(&bench, &mut source, crossings).await;
            let report = bench.run(&mut source).await;
            assert!(report.is_success(), "{context}: {report:?}");
            // the foreign files under the names of indexes are no indexes
            for name in bench.names() {
                let path = bench.deliver().join(&name);
                if path.is_file() && is_index(&name) && read(&path) == FOREIGN {
                    fs::remove_file(&path).unwrap();
                    fs::write(bench.deliver().join(format!("{name}.foreign")), FOREIGN).unwrap();
                }
            }
            rename_numbered_indexes(bench.deliver());
            arrived.consume(bench.deliver());
            let contents = arrived.check(&context, 3);
            assert_eq!(contents.len(), 5 + foreign, "{context}");
            assert_eq!(contents[..5], ["a", "b", "c", "content 1", "content 2"], "{context}");
            if !is_stopped {
                break;
            }
        }
    }
}

/// `KEY.index (2).json` stands for `KEY.index.json`.
fn rename_numbered_indexes(deliver: &Path) {
    for name in names(deliver).into_iter().filter(|name| name.ends_with(".index (2).json")) {
        let plain = name.replace(" (2)", "");
        crate::delivery::replace(&deliver.join(name), &deliver.join(plain)).unwrap();
    }
}
