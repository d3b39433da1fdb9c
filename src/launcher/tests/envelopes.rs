//! Envelopes through the cycle: names, folder, index in its three forms, what belongs together, quarantine, retries and
//! crashes. The source is scripted: it lists directories and files that lie in one drop directory.

use std::path::PathBuf;

use serde_json::Value;

use super::deliver::Arrived;
use super::*;
use crate::config::launcher::Index;
use crate::config::template::Template;
use crate::delivery::ledger::{Stage, Which};
use crate::delivery::stamp::Stamp;
use crate::document::envelope::{Deposit, Member};
use crate::source::outlet::Outlet;

/// A drop directory whose deposits are listed in the order in which they were put there.
#[derive(Default)]
struct Drop {
    deposits: Vec<PathBuf>,
    copies: u64,
    standing: bool,
    /// Written into the first deposit between the listing and the decoding.
    change: Option<&'static str>,
    acknowledged: Vec<(ItemKey, Disposition)>,
}

fn key(path: &Path) -> ItemKey {
    let digest = Digest::of(path.file_name().unwrap().as_encoded_bytes());
    ItemKey::new(serde_json::json!(["envelope", digest.to_string()]).to_string())
}

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() { names(path).into_iter().map(|name| path.join(name)).collect() } else { vec![path.to_owned()] }
}

fn own_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn content(path: &Path) -> Content {
    let files = files(path);
    let size = |file: &PathBuf| fs::metadata(file).unwrap().len();
    let member = |file: &PathBuf| Member { name: own_name(file), path: file.clone(), size: size(file), body: None };
    let stamps = files.iter().map(|file| Stamp::of(file).unwrap()).collect();
    let deposit = Deposit { name: own_name(path), members: files.iter().map(member).collect() };
    let listing = path.is_dir().then(|| files.iter().cloned().collect());
    Content::Envelope { path: path.to_owned(), deposit, stamps, listing }
}

#[async_trait]
impl Source for Drop {
    async fn discover(&mut self, _: Option<&Cursor>) -> Result<Discovery, SourceError> {
        let there = self.deposits.iter().filter(|path| path.exists());
        let size = |path: &Path| files(path).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        let item =
            |path: &PathBuf| Item { key: key(path), hint: String::new(), size: Some(size(path)), reissued: false };
        let items = there.map(item).collect();
        let (copies, standing) = (self.copies, self.standing);
        Ok(Discovery { items, cursor: None, start: None, present: None, copies, standing })
    }

    async fn identify(&mut self, _: &[Item]) -> Result<Vec<(ItemKey, Fingerprint)>, SourceError> {
        Ok(Vec::new())
    }

    async fn fetch(&mut self, batch: &[Item], _: &Spool, out: Outlet) -> Result<(), SourceError> {
        for item in batch {
            let path = self.deposits.iter().find(|path| key(path) == item.key && path.exists());
            let content = path.map_or(Content::Gone, |path| content(path));
            if let (Content::Envelope { path, .. }, Some(name)) = (&content, self.change.take()) {
                fs::write(path.join(name), "changed").unwrap();
            }
            if out.send(Fetched { key: item.key.clone(), content: Ok(content) }).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn acknowledge(&mut self, batch: &[ItemKey], what: &Disposition) -> Result<Vec<ItemKey>, SourceError> {
        self.acknowledged.extend(batch.iter().map(|key| (key.clone(), what.clone())));
        for path in self.deposits.iter().filter(|path| batch.contains(&key(path)) && path.exists()) {
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        Ok(batch.to_vec())
    }

    async fn finish(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

fn bench(change: impl FnOnce(&mut Launcher)) -> (Bench, PathBuf) {
    let mut bench = Bench::new();
    let drop = bench.dir.path().join("drop");
    fs::create_dir(&drop).unwrap();
    bench.launcher.kind = Kind::Adullact;
    bench.launcher.index = Index::Json;
    bench.launcher.account = None;
    bench.launcher.template = Template::document("{key}_{n}_{name}").unwrap();
    change(&mut bench.launcher);
    (bench, drop)
}

async fn run(bench: &Bench, source: &mut Drop) -> Report {
    cycle(&bench.launcher, &bench.env, source, false, &CancellationToken::new()).await.report
}

/// A deposit of Pastell: an acte with two annexes, one of them announced and absent.
fn acte(drop: &Path, name: &str, number: &str, object: &str) -> PathBuf {
    let path = drop.join(name);
    fs::create_dir(&path).unwrap();
    fs::write(path.join("acte.pdf"), format!("{name} acte")).unwrap();
    fs::write(path.join("plan.pdf"), format!("{name} plan")).unwrap();
    let metadata = serde_json::json!({
        "acte_nature": "1", "numero_de_lacte": number, "acte_unique_id": format!("034-999888777-20240318-{number}-DE"),
        "objet": object, "arrete": ["acte.pdf"], "autre_document_attache": ["plan.pdf", "absent.pdf"],
    });
    fs::write(path.join("metadata.json"), metadata.to_string()).unwrap();
    path
}

fn pes(drop: &Path, name: &str, root: &str, space: &str, flow: &str) -> PathBuf {
    let path = drop.join(name);
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><n:{root} xmlns:n=\"http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/{space}\">\
         <Enveloppe><Parametres><Version V=\"1\"/><TypFic V=\"PESALR2\"/><NomFic V=\"{flow}\"/></Parametres></Enveloppe>\
         <EnTetePES><DteStr V=\"2024-03-18\"/><IdColl V=\"99988877700015\"/><CodCol V=\"244\"/></EnTetePES>\
         <!-- {name} --></n:{root}>"
    );
    fs::write(&path, xml).unwrap();
    path
}

/// The indexes in the delivery directory, by the name of their first document.
fn indexes(bench: &Bench) -> BTreeMap<String, Value> {
    let indexes = bench.names().into_iter().filter(|name| name.ends_with("index.json"));
    let read = |name: String| serde_json::from_slice::<Value>(&fs::read(bench.deliver().join(name)).unwrap()).unwrap();
    indexes.map(read).map(|index| (index["files"][0]["original_name"].as_str().unwrap().to_owned(), index)).collect()
}

#[tokio::test]
async fn an_envelope_is_delivered_flat_with_its_index_and_told_in_a_report() {
    let (bench, drop) = bench(|_| {});
    let mut source = Drop { deposits: vec![acte(&drop, "Forêt", "DEL_1", "Aménagement")], ..Drop::default() };
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.delivered, report.files.delivered), (1, 2), "{report:?}");
    let key = bench.lines()[0].key.clone();
    assert_eq!(bench.names(), [format!("{key}.index.json"), format!("{key}_1_acte.pdf"), format!("{key}_2_plan.pdf")]);
    let index = &indexes(&bench)["acte.pdf"];
    assert_eq!((index["kind"].as_str(), index["source"].as_str()), (Some("actes"), Some("adullact")));
    assert_eq!(index["metadata"]["objet"], "Aménagement");
    assert_eq!(
        (index["files"][0]["role"].as_str(), index["files"][1]["role"].as_str()),
        (Some("document"), Some("annex"))
    );
    assert_eq!(index["missing"], serde_json::json!(["absent.pdf"]));
    assert!(bench.told.lock().unwrap().contains(&"envelope_report"));
    assert_eq!(bench.lines()[0].title.as_deref(), Some("Aménagement"));
    assert_eq!(bench.sheet(&key).contents.unwrap().missing, ["absent.pdf"]);
    assert_eq!(run(&bench, &mut source).await.items.already, 1);
}

#[tokio::test]
async fn in_a_folder_it_appears_whole_and_names_know_its_kind() {
    for index in [Index::Json, Index::Xml, Index::Csv] {
        let (bench, drop) = bench(|launcher| {
            launcher.folder = Some(Template::folder("{kind} {subject}").unwrap());
            launcher.template = Template::document("{role} {n}.{ext}").unwrap();
            launcher.index = index;
        });
        let mut source = Drop { deposits: vec![acte(&drop, "d", "DEL_1", "A/B")], ..Drop::default() };
        assert_eq!(run(&bench, &mut source).await.items.delivered, 1);
        assert_eq!(bench.names(), ["actes A_B"]);
        let extension = super::super::index::extension(index).unwrap();
        let folder = bench.deliver().join("actes A_B");
        assert_eq!(names(&folder), ["annex 2.pdf", "document 1.pdf", &format!("index.{extension}")]);
        let text = fs::read_to_string(folder.join(format!("index.{extension}"))).unwrap();
        let expected = match index {
            Index::Xml => "<numero_de_lacte>DEL_1</numero_de_lacte>",
            Index::Csv => "metadata.numero_de_lacte",
            _ => "\"numero_de_lacte\": \"DEL_1\"",
        };
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn filters_judge_the_members_and_numbers_follow_what_is_taken() {
    let (mut bench, drop) = bench(|launcher| launcher.filter = vec![Pattern::parse("/plan/").unwrap()]);
    let mut source = Drop { deposits: vec![acte(&drop, "d", "DEL_1", "x")], ..Drop::default() };
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.delivered, report.files.delivered, report.files.filtered), (1, 1, 1), "{report:?}");
    assert!(bench.names().iter().any(|name| name.ends_with("_1_plan.pdf")), "{:?}", bench.names());
    bench.launcher.filter = vec![Pattern::parse("/nothing/").unwrap()];
    bench.launcher.after_empty = Disposition::Delete;
    source.deposits.push(acte(&drop, "e", "DEL_2", "x"));
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.empty, report.files.filtered, report.items.already), (1, 2, 1), "{report:?}");
    assert!(drop.join("d").exists() && !drop.join("e").exists());
    assert_eq!(names(&bench.staging()), ["generation"]);
    let sheet = bench.sheet(key(&drop.join("d")).as_str());
    assert!(judge(&bench.launcher, &sheet).less, "why: what was taken would be left out today");
}

#[tokio::test]
async fn what_changes_while_it_is_read_is_taken_by_a_later_cycle() {
    for (change, delivered) in [("plan.pdf", 3), ("new.pdf", 4)] {
        let (bench, drop) = bench(|_| {});
        let deposits = vec![acte(&drop, "d", "DEL_1", "x")];
        let mut source = Drop { deposits, change: Some(change), ..Drop::default() };
        let report = run(&bench, &mut source).await;
        assert_eq!((report.items.found, report.items.delivered), (0, 0), "{report:?}");
        assert_eq!(names(&bench.staging()), ["generation"]);
        run(&bench, &mut source).await;
        assert_eq!(bench.names().len(), delivered, "{change}: {:?}", bench.names());
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_in_quarantine_whole_until_a_retry_succeeds() {
    let (bench, drop) = bench(|launcher| launcher.after = Disposition::Delete);
    let (folder, file) = (drop.join("odd"), drop.join("Odd.XML"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.txt"), "nothing known").unwrap();
    fs::write(folder.join("b.txt"), "nothing known").unwrap();
    fs::write(&file, "<html/>").unwrap();
    let mut source = Drop { deposits: vec![folder.clone(), file.clone()], standing: true, ..Drop::default() };
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.quarantined, report.error.is_none()), (2, true), "{report:?}");
    let keys: Vec<_> = bench.lines().into_iter().map(|line| line.key).collect();
    let quarantine = bench.env.state.join("quarantine").join(bench.launcher.name.file_stem());
    assert_eq!(names(&quarantine.join(&keys[0])), ["a.txt", "b.txt"]);
    assert_eq!(fs::read_to_string(quarantine.join(format!("{}.xml", keys[1]))).unwrap(), "<html/>");
    assert_eq!(bench.lines()[1].title.as_deref(), Some("Odd.XML"));
    assert!(!judge(&bench.launcher, &bench.sheet(&keys[1])).more, "it would be refused again");
    // it stays where it is, however often it is listed
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.already, source.acknowledged.len(), folder.exists()), (2, 0, true));
    // from its source, then from the copy that is the only one left
    for _ in 0..2 {
        bench.ledger().retry(Which::Quarantined).unwrap();
        assert_eq!(run(&bench, &mut source).await.items.quarantined, 2);
        assert_eq!(names(&quarantine).len(), 4, "{:?}", names(&quarantine));
        source.deposits.clear();
    }
    // as if a later version could read them
    fs::remove_dir_all(quarantine.join(&keys[0])).unwrap();
    acte(&quarantine, &keys[0], "DEL_1", "x");
    fs::write(
        quarantine.join(format!("{}.xml", keys[1])),
        fs::read(pes(&drop, "p", "PES_Aller", "aller", "F")).unwrap(),
    )
    .unwrap();
    bench.ledger().retry(Which::Quarantined).unwrap();
    assert_eq!(run(&bench, &mut source).await.items.delivered, 2);
    assert_eq!((names(&quarantine).len(), bench.names().len()), (0, 5));
    assert!(indexes(&bench).contains_key("Odd.XML"), "its own name is known: {:?}", bench.names());
    assert_eq!(names(&bench.staging()), ["generation"]);
}

#[tokio::test]
async fn of_what_is_too_large_only_the_reason_is_kept() {
    let (bench, drop) = bench(|launcher| launcher.max_size = 10);
    let mut source = Drop { deposits: vec![acte(&drop, "d", "DEL_1", "x")], ..Drop::default() };
    assert_eq!(run(&bench, &mut source).await.items.quarantined, 1);
    let quarantine = bench.env.state.join("quarantine").join(bench.launcher.name.file_stem());
    assert_eq!(names(&quarantine), [format!("{}.reason.txt", bench.lines()[0].key)]);
}

#[tokio::test]
async fn copies_count_as_already_and_what_still_lies_there_has_after_carried_out_again() {
    let (mut bench, drop) = bench(|launcher| launcher.after = Disposition::Delete);
    let mut source =
        Drop { deposits: vec![acte(&drop, "d", "DEL_1", "x")], copies: 2, standing: true, ..Drop::default() };
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.found, report.items.delivered, report.items.already), (3, 1, 2), "{report:?}");
    assert_eq!((source.acknowledged.len(), drop.join("d").exists()), (1, false));
    source.copies = 0;
    // dropped again
    acte(&drop, "d", "DEL_1", "x");
    bench.launcher.keep = Duration::from_hours(1);
    assert_eq!(run(&bench, &mut source).await.items.already, 1);
    assert!(drop.join("d").exists(), "`keep` counts from the delivery");
    bench.launcher.keep = Duration::ZERO;
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.already, source.acknowledged.len(), drop.join("d").exists()), (1, 2, false));
    assert_eq!(bench.names().len(), 3);
    // a source whose items stay by design is left alone
    acte(&drop, "d", "DEL_1", "x");
    source.standing = false;
    run(&bench, &mut source).await;
    assert!(drop.join("d").exists());
}

#[tokio::test]
async fn what_belongs_together_is_named_newest_first_also_within_one_batch() {
    let (bench, drop) = bench(|_| {});
    let mut source = Drop { deposits: vec![acte(&drop, "1", "DEL_1", "x")], ..Drop::default() };
    run(&bench, &mut source).await;
    source.deposits.extend([
        acte(&drop, "2", "DEL_1", "x"),
        acte(&drop, "3", "DEL_2", "x"),
        acte(&drop, "4", "DEL_1", "x"),
    ]);
    run(&bench, &mut source).await;
    let keys: Vec<_> = bench.lines().into_iter().map(|line| line.key).collect();
    let related = |key: &str| {
        let path = bench.deliver().join(format!("{key}.index.json"));
        let index: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        index["metadata"].get("related").cloned()
    };
    assert_eq!((related(&keys[0]), related(&keys[2])), (None, None));
    assert_eq!(related(&keys[1]), Some(serde_json::json!([keys[0]])));
    assert_eq!(related(&keys[3]), Some(serde_json::json!([keys[1], keys[0]])));
}

#[tokio::test]
async fn an_acquit_names_its_aller_the_newest_without_an_acquit_else_the_newest() {
    let (bench, drop) = bench(|_| {});
    let mut source = Drop::default();
    let aller = |name: &str, flow: &str| pes(&drop, name, "PES_Aller", "aller", flow);
    let acquit = |name: &str, flow: &str| pes(&drop, name, "PES_ACQUIT", "retour", flow);
    source.deposits = vec![aller("a1", "F"), aller("a2", "F"), aller("other", "G")];
    run(&bench, &mut source).await;
    source.deposits.extend([acquit("q1", "F"), acquit("q2", "F"), acquit("q3", "F"), acquit("q4", "H")]);
    let report = run(&bench, &mut source).await;
    assert_eq!(report.items.delivered, 4, "{report:?}");
    let (lines, indexes) = (bench.lines(), indexes(&bench));
    let key = |name: &str| lines.iter().find(|line| line.source_key == key(&drop.join(name))).unwrap().key.clone();
    for (name, expected) in [("q1", Some("a2")), ("q2", Some("a1")), ("q3", Some("a2")), ("q4", None), ("a2", None)] {
        let related = indexes[name]["metadata"].get("related").cloned();
        assert_eq!(related, expected.map(|aller| serde_json::json!([key(aller)])), "{name}");
    }
    // taken again it names the same one
    bench.ledger().retry(Which::Short(&key("q1"))).unwrap();
    fs::remove_file(bench.deliver().join(format!("{}.index.json", key("q1")))).unwrap();
    run(&bench, &mut source).await;
    assert_eq!(super::envelopes::indexes(&bench)["q1"]["metadata"]["related"], serde_json::json!([key("a2")]));
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_delivered_and_changes_nothing() {
    let (bench, drop) = bench(|launcher| launcher.after = Disposition::Delete);
    fs::write(drop.join("odd.xml"), "<html/>").unwrap();
    let deposits = vec![acte(&drop, "d", "DEL_1", "x"), drop.join("odd.xml")];
    let mut source = Drop { deposits, copies: 1, standing: true, ..Drop::default() };
    let report = cycle(&bench.launcher, &bench.env, &mut source, true, &CancellationToken::new()).await.report;
    let items = &report.items;
    assert_eq!((items.delivered, items.quarantined, items.already, report.files.delivered), (1, 1, 1, 2), "{report:?}");
    assert_eq!((bench.names().len(), names(bench.dir.path())), (0, vec!["cold".to_owned(), "drop".to_owned()]));
}

/// A bench whose first cycle stopped between the last rename and the row that says so.
async fn published_and_not_confirmed() -> (Bench, PathBuf, Drop) {
    for crossings in 0.. {
        let (bench, drop) = bench(|launcher| launcher.after = Disposition::Delete);
        let mut source = Drop { deposits: vec![acte(&drop, "Forêt", "DEL_1", "x")], ..Drop::default() };
        crash_after_crossing(crossings);
        let stopped = AssertUnwindSafe(run(&bench, &mut source)).catch_unwind().await.is_err();
        crash_after_crossing(None);
        assert!(stopped, "never published");
        if bench.names().len() == 3 {
            return (bench, drop, source);
        }
    }
    unreachable!("one of them")
}

#[tokio::test]
async fn a_copy_outlives_what_nobody_saw_delivered_and_is_taken_again() {
    let (bench, drop, mut source) = published_and_not_confirmed().await;
    assert!(run(&bench, &mut source).await.is_success());
    assert!(!drop.join("Forêt").exists());
    let key = bench.lines()[0].key.clone();
    assert!(bench.lines()[0].unconfirmed);
    for name in bench.names() {
        fs::remove_file(bench.deliver().join(name)).unwrap();
    }
    assert_eq!(bench.ledger().retry(Which::Short(&key)).unwrap(), 1);
    let report = run(&bench, &mut source).await;
    assert_eq!((report.items.delivered, report.files.delivered), (1, 2), "{report:?}");
    let index = &indexes(&bench)["acte.pdf"];
    assert_eq!(index["folder"].as_str(), Some(drop.to_str().unwrap()));
    assert_eq!(names(&bench.staging()), ["generation"]);
}

#[tokio::test]
async fn a_crash_at_any_boundary_neither_loses_nor_doubles_a_file_of_an_envelope() {
    for folder in [false, true] {
        for crossings in 0.. {
            let (bench, drop) = bench(|launcher| {
                launcher.after = Disposition::Delete;
                launcher.template = Template::own_name();
                launcher.folder = folder.then(|| Template::folder("{subject}").unwrap());
            });
            let deposits = vec![acte(&drop, "d", "DEL_1", "same"), acte(&drop, "e", "DEL_1", "same")];
            let (mut source, mut arrived) = (Drop { deposits, ..Drop::default() }, Arrived::default());
            let context = format!("folder {folder}, {crossings} boundaries");
            crash_after_crossing(crossings);
            let stopped = AssertUnwindSafe(run(&bench, &mut source)).catch_unwind().await.is_err();
            crash_after_crossing(None);
            arrived.consume(bench.deliver());
            let report = run(&bench, &mut source).await;
            assert!(report.is_success(), "{context}: {report:?}");
            arrived.consume(bench.deliver());
            assert_eq!(arrived.check(&context, 2), ["d acte", "d plan", "e acte", "e plan"], "{context}");
            assert!(names(&drop).is_empty(), "{context}");
            run(&bench, &mut source).await;
            assert_eq!(names(&bench.staging()), ["generation"], "{context}");
            if !stopped {
                assert!(crossings > 15, "{context}");
                break;
            }
        }
    }
}

#[test]
fn a_ledger_of_the_third_version_is_brought_up_to_date_and_keeps_its_rows() {
    let bench = Bench::new();
    fs::create_dir_all(&bench.env.state).unwrap();
    let path = Ledger::path(&bench.env.state);
    let old = rusqlite::Connection::open(&path).unwrap();
    for schema in [
        include_str!("../../delivery/ledger/schema.sql"),
        include_str!("../../delivery/ledger/schema2.sql"),
        include_str!("../../delivery/ledger/schema3.sql"),
    ] {
        old.execute_batch(schema).unwrap();
    }
    old.execute_batch(
        "PRAGMA user_version = 3; INSERT INTO launcher (name, created) VALUES ('factures', 1);
         INSERT INTO item (launcher, key, short, stage, generation, recorded) VALUES (1, 'old/1', '1-a', 'confirmed', 1, 1);",
    )
    .unwrap();
    std::mem::drop(old);
    let admission = bench.ledger().admit([&ItemKey::new("old/1")]).unwrap();
    assert_eq!(admission, [ledger::Admission::Done]);
    let sheet = bench.sheet("1-a");
    assert_eq!((sheet.line.stage.as_str(), sheet.contents), (Stage::Confirmed.as_str(), None));
}
