//! Drop directories in the situations that the field knows: complete, growing, vanishing, replaced, side by side, shared.

use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use super::*;
use crate::config::{Overrides, load_bytes};
use crate::delivery::replace;
use crate::source::outlet::outlet;

fn launchers(text: &str) -> Vec<Launcher> {
    let loaded = load_bytes(Path::new("t.ini"), text.as_bytes(), &Overrides::default());
    loaded.unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}")).launchers
}

fn launcher(dir: &Path, more: &str) -> Launcher {
    let dir = dir.display();
    launchers(&format!("[d]\nlauncher = adullact\nsource = {dir}\ndeliver = /nowhere/wait\nsettle = 0\n{more}\n"))
        .remove(0)
}

fn source(dir: &Path, more: &str) -> Adullact {
    Adullact::new(&launcher(dir, more), Events::nowhere())
}

/// Names with contents.
type Files<'a> = &'a [(&'a str, &'a str)];

/// Writes files, and the directories that their names need; a name that ends with `/` is a directory.
fn lay(dir: &Path, files: Files<'_>) {
    for (name, content) in files {
        let path = dir.join(name);
        fs::create_dir_all(if name.ends_with('/') { &path } else { path.parent().unwrap() }).unwrap();
        if !name.ends_with('/') {
            fs::write(&path, content).unwrap();
        }
    }
}

async fn discovered(source: &mut Adullact) -> Discovery {
    source.discover(None).await.unwrap()
}

async fn fetched(source: &mut Adullact, item: &Item) -> Result<Content, Fault> {
    let (sender, mut receiver) = outlet(1);
    let spool = tempfile::tempdir().unwrap();
    let spool = Spool::open(spool.path()).unwrap();
    let (done, answer) = tokio::join!(source.fetch(std::slice::from_ref(item), &spool, sender), receiver.recv());
    done.unwrap();
    answer.unwrap().content
}

/// What is listed: each deposit as its name and the names of its files, `name: a b`, in the order of names.
async fn listed(source: &mut Adullact) -> Vec<String> {
    let items = discovered(source).await.items;
    let mut all = Vec::new();
    for item in &items {
        let Ok(Content::Envelope { deposit, stamps, .. }) = fetched(source, item).await else { panic!("{item:?}") };
        assert_eq!(deposit.members.len(), stamps.len());
        let members: Vec<&str> = deposit.members.iter().map(|member| member.name.as_str()).collect();
        all.push(format!("{}: {}", deposit.name, members.join(" ")));
    }
    all.sort();
    all
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn only(discovery: &Discovery) -> ItemKey {
    assert_eq!(discovery.items.len(), 1, "{:?}", discovery.items);
    discovery.items[0].key.clone()
}

const PES: &str = r#"<?xml version="1.0"?><n:PES_Aller xmlns:n="http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/aller"><Enveloppe/></n:PES_Aller>"#;
const FLUX: &str = r#"<?xml version="1.0"?><flux><files name="arrete"><file content="acte.pdf"/></files><data name="acte_nature" value="1"/></flux>"#;
const ACTE: &str = r#"<a:Acte xmlns:a="http://www.interieur.gouv.fr/ACTES#v1.1-20040216" a:Date="2024-03-18" a:NumeroInterne="D1" a:CodeNatureActe="1"><a:Document><a:NomFichier>034-1.pdf</a:NomFichier></a:Document><a:Annexes a:Nombre="1"><a:Annexe><a:NomFichier>034-2.PDF</a:NomFichier></a:Annexe></a:Annexes></a:Acte>"#;
const RECEIPT: &str = r#"<a:ARActe xmlns:a="http://www.interieur.gouv.fr/ACTES#v1.1-20040216" a:IDActe="034-1-20240318-D1-DE" a:DateReception="2024-03-19"><a:ActeRecu a:Date="2024-03-18"><a:Document><a:NomFichier>034-1.pdf</a:NomFichier></a:Document></a:ActeRecu></a:ARActe>"#;
const PDF: &str = "%PDF-1.4\n%%EOF\n";

#[tokio::test]
async fn what_belongs_together_is_one_deposit() {
    let table: &[(Files<'_>, &[&str])] = &[
        // directories
        (&[("Délib 1/metadata.xml", FLUX), ("Délib 1/acte.pdf", PDF)], &["Délib 1: acte.pdf metadata.xml"]),
        (&[("d/a.xml", PES), ("d/fichier_termine.txt", "fin")], &["d: a.xml fichier_termine.txt"]),
        (&[("d/a.xml", PES), ("d/fin.ok", "")], &["d: a.xml fichier_termine.txt"]),
        (&[("d/sub/deep/a.xml", PES), ("d/b.pdf", PDF)], &["d: b.pdf a.xml"]),
        (
            &[
                ("d/a.xml", PES),
                ("d/Thumbs.db", "x"),
                ("d/__MACOSX/._a.xml", "x"),
                ("d/.DS_Store", ""),
                ("d/x.part", "x"),
            ],
            &["d: a.xml"],
        ),
        (&[("empty/", ""), ("junk/Thumbs.db", "x")], &[]),
        // nobody's
        (&[(".hidden.xml", PES), (".h/a.xml", PES), ("a.xml.part", PES), ("b.tmp", PES), ("c.xml.filepart", PES)], &[]),
        (&[("x.ocre", PES), ("Thumbs.db", "x"), ("fichier_termine.txt", ""), ("fin.ok", "")], &[]),
        // loose files
        (&[("a.xml", PES), ("z.pdf", PDF)], &["a.xml: a.xml", "z.pdf: z.pdf"]),
        (
            &[("m.xml", FLUX), ("acte.pdf", PDF), ("z.pdf", "%PDF-1.5\n%%EOF")],
            &["m.xml: m.xml acte.pdf", "z.pdf: z.pdf"],
        ),
        (
            &[("x.json", r#"{"acte_nature":"1","arrete":["acte.pdf"]}"#), ("acte.pdf", PDF)],
            &["x.json: x.json acte.pdf"],
        ),
        (
            &[("034-1-1.xml", ACTE), ("034-1.pdf", PDF), ("034-2.pdf", "%PDF 2 %%EOF"), ("034-1-2.xml", RECEIPT)],
            &["034-1-1.xml: 034-1-1.xml 034-1.pdf 034-2.pdf", "034-1-2.xml: 034-1-2.xml"],
        ),
        // a metadata file may list a message, which names a document
        (
            &[
                ("m.xml", &FLUX.replace("acte.pdf", "034-1-1.xml")),
                ("034-1-1.xml", ACTE),
                ("034-1.pdf", PDF),
                ("034-2.pdf", "%PDF 2 %%EOF"),
            ],
            &["m.xml: m.xml 034-1-1.xml 034-1.pdf 034-2.pdf"],
        ),
        // one marker beside one set ends it, and belongs to none where there are two
        (
            &[("m.xml", FLUX), ("acte.pdf", PDF), ("transfert_termine.txt", "")],
            &["m.xml: m.xml acte.pdf fichier_termine.txt"],
        ),
    ];
    for (files, wanted) in table {
        let dir = tempfile::tempdir().unwrap();
        lay(dir.path(), files);
        let mut source = source(dir.path(), "end_marker = fin.ok");
        let found = listed(&mut source).await;
        assert_eq!(found, *wanted, "{:?}", files.iter().map(|(name, _)| name).collect::<Vec<_>>());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn links_and_pipes_are_not_followed() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    lay(outside.path(), &[("secret.xml", PES), ("d/a.xml", PES)]);
    lay(dir.path(), &[("own/a.xml", PES)]);
    std::os::unix::fs::symlink(outside.path().join("secret.xml"), dir.path().join("link.xml")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("d"), dir.path().join("linked")).unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("own/linked")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("pipe.xml"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let mut source = source(dir.path(), "");
    assert_eq!(listed(&mut source).await, ["own: a.xml"]);
    let key = only(&discovered(&mut source).await);
    source.acknowledge(&[key], &Disposition::Delete).await.unwrap();
    assert_eq!(names(dir.path()), ["link.xml", "linked", "pipe.xml"]);
    assert_eq!(names(outside.path()), ["d", "secret.xml"]);
}

#[tokio::test]
async fn what_has_not_settled_waits_unless_an_end_marker_is_there() {
    let dir = tempfile::tempdir().unwrap();
    lay(dir.path(), &[("fresh/a.xml", PES), ("ended/b.xml", &PES.replace("Enveloppe", "E")), ("c.xml", PES)]);
    lay(dir.path(), &[("ended/transfert_termine.txt", "")]);
    let mut source = source(dir.path(), "settle = 1h");
    assert_eq!(listed(&mut source).await, ["ended: b.xml fichier_termine.txt"]);
    let due = source.settling.due().unwrap();
    assert!(due > Duration::from_mins(59) && due <= Duration::from_hours(1), "{due:?}");
}

#[tokio::test]
async fn what_may_still_grow_is_left_to_a_later_cycle() {
    for (files, more) in [
        (vec![("p.xml", &PES[..PES.len() - 9])], ("p.xml", PES)),
        (vec![("m.xml", FLUX)], ("acte.pdf", PDF)),
        (vec![("d/m.xml", FLUX)], ("d/acte.pdf", PDF)),
        (
            vec![("d/metadata.json", ""), ("d/acte.pdf", PDF)],
            ("d/metadata.json", r#"{"acte_nature":"1","arrete":["acte.pdf"]}"#),
        ),
        (vec![("acte.pdf", PDF)], ("m.xml", FLUX)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        lay(dir.path(), &files);
        let mut source = source(dir.path(), "");
        assert_eq!(listed(&mut source).await.len(), 1, "{files:?}: with settle = 0 nothing is waited for");
        source.patience = Duration::from_hours(1);
        assert_eq!(listed(&mut source).await, [""; 0], "{files:?}");
        lay(dir.path(), &[more]);
        assert_eq!(listed(&mut source).await.len(), 1, "{files:?} and then {more:?}");
    }
}

#[tokio::test]
async fn a_deposit_is_known_by_what_it_holds_and_its_copies_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    lay(
        dir.path(),
        &[("a/x.xml", PES), ("a_20240318_12/x.xml", PES), ("b.xml", PES), ("c.xml", &PES.replace("Env", "v"))],
    );
    let mut source = source(dir.path(), "");
    let discovery = discovered(&mut source).await;
    assert_eq!((discovery.items.len(), discovery.copies, discovery.standing), (2, 2, true));
    assert_eq!(discovery.present, None);
    for item in &discovery.items {
        assert!(item.key.as_str().starts_with("[\"envelope\",\""), "{}", item.key);
    }
    // all copies go
    let key = discovery.items.iter().find(|item| item.hint != "c").unwrap().key.clone();
    source.acknowledge(&[key], &Disposition::Delete).await.unwrap();
    assert_eq!(names(dir.path()), ["c.xml"]);
}

#[tokio::test]
async fn marks_are_letters_and_digits_of_the_stem() {
    let dir = tempfile::tempdir().unwrap();
    lay(dir.path(), &[("Délibération n° 12/a.xml", PES), ("x.tar.gz", "no archive"), ("034-1-1.XML", ACTE)]);
    let items = discovered(&mut source(dir.path(), "")).await.items;
    let mut hints: Vec<&str> = items.iter().map(|item| item.hint.as_str()).collect();
    hints.sort_unstable();
    assert_eq!(hints, ["03411", "Deliberationn12", "x"]);
}

#[tokio::test]
async fn each_of_two_launchers_touches_only_its_own() {
    let dir = tempfile::tempdir().unwrap();
    lay(dir.path(), &[("pes.xml", PES), ("d/m.xml", FLUX), ("d/acte.pdf", PDF), ("z.pdf", "%PDF z %%EOF")]);
    let text = |name: &str, kind: &str| {
        let dir = dir.path().display();
        format!(
            "[{name}]\nlauncher = adullact\nsource = {dir}\ndeliver = /nowhere/{name}\nsettle = 0\nenvelope = {kind}\n"
        )
    };
    let both = launchers(&(text("a", "acte_nature") + &text("h", "helios")));
    let mut actes = Adullact::new(&both[0], Events::nowhere());
    let mut helios = Adullact::new(&both[1], Events::nowhere());
    assert_eq!(listed(&mut actes).await, ["d: acte.pdf m.xml", "z.pdf: z.pdf"]);
    assert_eq!(listed(&mut helios).await, ["pes.xml: pes.xml"]);
    let keys: Vec<ItemKey> = discovered(&mut helios).await.items.into_iter().map(|item| item.key).collect();
    helios.acknowledge(&keys, &Disposition::Delete).await.unwrap();
    assert_eq!(names(dir.path()), ["d", "z.pdf"]);
}

#[tokio::test]
async fn too_large_is_listed_by_name_and_not_read() {
    let dir = tempfile::tempdir().unwrap();
    lay(dir.path(), &[("big/a.xml", &PES.repeat(20)), ("small.xml", PES)]);
    let discovery = discovered(&mut source(dir.path(), "max_size = 1K")).await;
    let big = discovery.items.iter().find(|item| item.hint == "big").unwrap();
    assert!(big.size.unwrap() > 1024 && big.key.as_str().starts_with("[\"envelope\",\"size\","), "{}", big.key);
    assert_eq!(discovery.items.len(), 2);
}

#[tokio::test]
async fn what_holds_too_much_is_listed_to_be_refused() {
    let dir = tempfile::tempdir().unwrap();
    let deep = format!("deep/{}x.xml", "d/".repeat(70));
    lay(dir.path(), &[("many/1", "a"), ("many/2", "b"), ("many/3", "c"), ("many/4", "d"), (&deep, PES)]);
    let mut source = source(dir.path(), "max_entries = 2");
    let items = discovered(&mut source).await.items;
    assert_eq!(items.len(), 2);
    for item in &items {
        match (item.hint.as_str(), fetched(&mut source, item).await) {
            ("many", Ok(Content::Envelope { deposit, .. })) => assert_eq!(deposit.members.len(), 3),
            ("deep", Err(fault)) => assert!(fault.text.en.contains("64 deep"), "{fault}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn only_what_is_newer_than_since_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    lay(dir.path(), &[("old/a.xml", PES), ("new.xml", &PES.replace("Env", "v"))]);
    let file = File::options().write(true).open(dir.path().join("old/a.xml")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_hours(48)).unwrap();
    assert_eq!(listed(&mut source(dir.path(), "since = 1d")).await, ["new.xml: new.xml"]);
    let items = discovered(&mut source(dir.path(), "")).await.items;
    assert_eq!(items.iter().map(|item| item.hint.as_str()).collect::<Vec<_>>(), ["old", "new"], "oldest first");
}

#[tokio::test]
async fn what_vanished_or_changed_since_it_was_listed_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    lay(dir.path(), &[("a.xml", PES), ("d/m.xml", FLUX), ("d/acte.pdf", PDF)]);
    let mut source = source(dir.path(), "");
    let items = discovered(&mut source).await.items;
    fs::remove_file(dir.path().join("a.xml")).unwrap();
    lay(dir.path(), &[("d/late.pdf", PDF)]);
    for item in &items {
        assert!(matches!(fetched(&mut source, item).await, Ok(Content::Gone)), "{item:?}");
    }
    // and nothing of it is removed, since it is not what was delivered
    let keys: Vec<ItemKey> = items.into_iter().map(|item| item.key).collect();
    assert_eq!(source.acknowledge(&keys, &Disposition::Delete).await.unwrap(), keys);
    assert_eq!(names(&dir.path().join("d")), ["acte.pdf", "late.pdf", "m.xml"]);
    assert_eq!(discovered(&mut source).await.items.len(), 1, "it is a new one");
}

#[tokio::test]
async fn what_is_put_away_goes_as_a_whole() {
    let files = [
        ("d/m.xml", FLUX),
        ("d/sub/acte.pdf", PDF),
        ("d/Thumbs.db", "x"),
        ("d/__MACOSX/._m", "x"),
        ("d/fichier_termine.txt", "fin"),
        ("a.xml", PES),
        ("034-1-1.xml", ACTE),
        ("034-1.pdf", "%PDF acte %%EOF"),
    ];
    let (dir, done) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for what in [Disposition::Delete, Disposition::Move(done.path().join("fait").to_string_lossy().into_owned())] {
        for _ in 0..2 {
            lay(dir.path(), &files);
            // days later, and without a fetch before it
            let keys: Vec<ItemKey> =
                discovered(&mut source(dir.path(), "")).await.items.into_iter().map(|item| item.key).collect();
            assert_eq!(keys.len(), 3);
            let answered = source(dir.path(), "").acknowledge(&keys, &what).await.unwrap();
            assert_eq!(answered, keys);
            assert_eq!(names(dir.path()), [""; 0], "{what:?}");
            assert_eq!(source(dir.path(), "").acknowledge(&keys, &what).await.unwrap(), keys, "it is repeatable");
        }
    }
    let moved = names(&done.path().join("fait"));
    let (first, second): (Vec<&String>, Vec<&String>) = moved.iter().partition(|name| !name.contains("(2)"));
    assert_eq!(first, ["034-1-1.xml", "034-1.pdf", "a.xml", "d"]);
    assert_eq!(second, ["034-1 (2).pdf", "034-1-1 (2).xml", "a (2).xml", "d (2)"]);
    assert_eq!(names(&done.path().join("fait/d")), ["Thumbs.db", "__MACOSX", "fichier_termine.txt", "m.xml", "sub"]);
}

#[tokio::test]
async fn a_file_that_two_deposits_need_goes_with_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let other = FLUX.replace("value=\"1\"", "value=\"2\"");
    lay(dir.path(), &[("m1.xml", FLUX), ("m2.xml", &other), ("acte.pdf", PDF)]);
    let mut source = source(dir.path(), "");
    let items = discovered(&mut source).await.items;
    assert_eq!(items.len(), 2);
    source.acknowledge(&[items[0].key.clone()], &Disposition::Delete).await.unwrap();
    assert_eq!(names(dir.path()).len(), 2);
    let left = discovered(&mut source).await;
    assert_eq!(only(&left), items[1].key, "the other one is whole");
    source.acknowledge(&[items[1].key.clone()], &Disposition::Delete).await.unwrap();
    assert_eq!(names(dir.path()), [""; 0]);
}

#[tokio::test]
async fn an_interrupted_removal_is_finished_whatever_after_says_by_now() {
    let dir = tempfile::tempdir().unwrap();
    lay(dir.path(), &[("d/m.xml", FLUX), ("d/acte.pdf", PDF), ("d/b.pdf", "%PDF b %%EOF"), ("e.xml", PES)]);
    let rules = Arc::clone(&source(dir.path(), "").rules);
    let root = fs::canonicalize(dir.path()).unwrap();
    for after in ["after = leave", "after = delete", "after = move /nowhere/done"] {
        dispose::begin(&Unit::of_directory(&root.join("d"), &rules).unwrap()).unwrap();
        fs::remove_file(root.join("d/acte.pdf")).unwrap();
        let mut source = source(dir.path(), after);
        // a test and a dry run change nothing, and do not take the rest for a new deposit
        source.count().await.unwrap();
        source.finish().await.unwrap();
        assert_eq!(listed(&mut source).await, ["e.xml: e.xml"]);
        assert_eq!(names(&dir.path().join("d")), ["b.pdf", "m.xml"], "{after}");
        // what came or changed since stays
        lay(dir.path(), &[("d/new.pdf", PDF), ("d/b.pdf", "%PDF changed %%EOF")]);
        source.finish().await.unwrap();
        assert_eq!(listed(&mut source).await, ["d: b.pdf new.pdf", "e.xml: e.xml"], "{after}");
        assert_eq!(names(dir.path()), ["d", "e.xml"]);
        fs::remove_dir_all(dir.path().join("d")).unwrap();
        lay(dir.path(), &[("d/m.xml", FLUX), ("d/acte.pdf", PDF), ("d/b.pdf", "%PDF b %%EOF")]);
    }
}

#[tokio::test]
async fn an_interrupted_move_to_where_after_no_longer_leads_is_told_and_moves_nothing() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    lay(dir.path(), &[("d/m.xml", FLUX)]);
    let stamp = crate::delivery::stamp::Stamp::of(&dir.path().join("d/m.xml")).unwrap();
    let files = serde_json::json!([["d/m.xml", stamp.size, nanoseconds(stamp.modified).to_string()]]);
    let plan = serde_json::json!({ "to": path_to_json(other.path()), "files": files, "dirs": ["d"] });
    fs::write(dir.path().join(".pertuis-0.plan"), plan.to_string()).unwrap();
    let told = dispose::resume(dir.path(), &[Disposition::Delete, Disposition::Leave]);
    assert!(told.len() == 1 && told[0].en.contains(".pertuis-0.plan"), "{told:?}");
    assert_eq!((names(other.path()), names(&dir.path().join("d"))), (vec![], vec!["m.xml".to_owned()]));
    let there = Disposition::Move(other.path().to_string_lossy().into_owned());
    assert_eq!(dispose::resume(dir.path(), &[there]), []);
    assert_eq!((names(other.path()), names(dir.path())), (vec!["m.xml".to_owned()], vec![]));
}

#[cfg(unix)]
#[tokio::test]
async fn a_plan_is_not_written_through_a_link() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    lay(outside.path(), &[("victim", "x")]);
    lay(dir.path(), &[("d/m.xml", FLUX)]);
    let rules = Arc::clone(&source(dir.path(), "").rules);
    let unit = Unit::of_directory(&fs::canonicalize(dir.path()).unwrap().join("d"), &rules).unwrap();
    let plan = dispose::begin(&unit).unwrap();
    fs::remove_file(&plan).unwrap();
    std::os::unix::fs::symlink(outside.path().join("victim"), plan.with_extension("part")).unwrap();
    dispose::begin(&unit).unwrap();
    assert_eq!(fs::read_to_string(outside.path().join("victim")).unwrap(), "x");
}

#[tokio::test]
async fn what_is_on_its_way_is_not_put_away_for_what_it_holds_so_far() {
    let dir = tempfile::tempdir().unwrap();
    lay(dir.path(), &[("d/a.xml", PES)]);
    let key = only(&discovered(&mut source(dir.path(), "")).await);
    let mut waiting = source(dir.path(), "settle = 1h");
    waiting.acknowledge(std::slice::from_ref(&key), &Disposition::Delete).await.unwrap();
    assert_eq!(names(&dir.path().join("d")), ["a.xml"]);
    source(dir.path(), "").acknowledge(&[key], &Disposition::Delete).await.unwrap();
    assert_eq!(names(dir.path()), [""; 0]);
}

#[tokio::test]
async fn metadata_files_that_list_without_end_are_looked_through_in_bounded_time() {
    let dir = tempfile::tempdir().unwrap();
    let many: Vec<String> = (0..50_000).map(|n| format!("absent {n}.pdf")).collect();
    let metadata = serde_json::json!({ "acte_nature": "1", "autre_document_attache": many }).to_string();
    for n in 0..2 {
        lay(dir.path(), &[(&format!("m{n}.json"), &metadata)]);
    }
    for n in 0..10 {
        fs::write(dir.path().join(format!("{n}.pdf")), PDF).unwrap();
    }
    assert_eq!(source(dir.path(), "").count().await.unwrap(), 12);
}

#[cfg(unix)]
#[tokio::test]
async fn a_plan_reaches_nothing_outside_the_drop_directory() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    lay(outside.path(), &[("victim", "x")]);
    std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
    let stamp = crate::delivery::stamp::Stamp::of(&outside.path().join("victim")).unwrap();
    let modified = nanoseconds(stamp.modified).to_string();
    let absolute = outside.path().join("victim").to_string_lossy().into_owned();
    let outside_name = outside.path().file_name().unwrap().to_string_lossy().into_owned();
    let files: Vec<_> = [absolute, format!("../{outside_name}/victim"), "link/victim".to_owned()]
        .map(|path| serde_json::json!([path, 1, modified]))
        .into();
    let plan = serde_json::json!({ "to": null, "files": files, "dirs": ["link", "..", "."] });
    fs::write(dir.path().join(".pertuis-0.plan"), plan.to_string()).unwrap();
    let mut source = source(dir.path(), "after = delete");
    discovered(&mut source).await;
    source.finish().await.unwrap();
    assert_eq!(names(outside.path()), ["victim"]);
    assert_eq!(names(dir.path()), ["link"]);
}

#[tokio::test]
async fn what_cannot_be_put_away_holds_up_no_other_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    lay(dir.path(), &[("a.xml", PES), ("b.xml", &PES.replace("Env", "v")), ("file", "x")]);
    let mut source = source(dir.path(), "envelope = helios");
    let keys: Vec<ItemKey> = discovered(&mut source).await.items.into_iter().map(|item| item.key).collect();
    let into_a_file = Disposition::Move(dir.path().join("file/x").to_string_lossy().into_owned());
    let error = source.acknowledge(&keys, &into_a_file).await.unwrap_err();
    assert!(error.fault().text.en.contains("`after` cannot be carried out"), "{error}");
    assert_eq!(names(dir.path()), ["a.xml", "b.xml", "file"]);
}

#[tokio::test]
async fn what_was_found_is_remembered_across_a_restart_as_long_as_it_looks_the_same() {
    let dir = tempfile::tempdir().unwrap();
    lay(dir.path(), &[("d/m.xml", FLUX), ("d/acte.pdf", PDF), ("a.xml", PES), ("cut.xml", &PES[..PES.len() - 9])]);
    let mut first = source(dir.path(), "");
    let found = discovered(&mut first).await;
    let cursor = found.cursor.unwrap();
    assert!(cursor.0.contains("helios") && !cursor.0.contains("cut.xml"), "{}", cursor.0);
    // a second look has nothing to add
    assert_eq!(first.discover(Some(&cursor)).await.unwrap().cursor, None);
    // what is remembered is not read: another kind in the text is believed
    let believed = Cursor(cursor.0.replace("helios", "chorus"));
    let mut second = source(dir.path(), "envelope = chorus");
    let found = second.discover(Some(&believed)).await.unwrap();
    assert!(found.items.iter().any(|item| item.hint == "a"), "{:?}", found.items);
    // unless it changed, or is looked for with other words
    lay(dir.path(), &[("a.xml", &PES.replace("Env", "v"))]);
    for more in ["envelope = chorus", "envelope = chorus\nalias = x = helios"] {
        let found = source(dir.path(), more).discover(Some(&believed)).await.unwrap();
        assert!(!found.items.iter().any(|item| item.hint == "a"), "{more}: {:?}", found.items);
    }
    // and what has left is forgotten
    fs::remove_file(dir.path().join("a.xml")).unwrap();
    let text = second.discover(Some(&believed)).await.unwrap().cursor.unwrap().0;
    assert!(!text.contains("\"a.xml\"") && text.contains("\"d\""), "{text}");
    for nonsense in ["", "{", "[]", "0:0", r#"{"version":"x","known":{}}"#] {
        source(dir.path(), "").discover(Some(&Cursor(nonsense.to_owned()))).await.unwrap();
    }
}

#[tokio::test]
async fn a_share_that_is_not_mounted_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let drop = dir.path().join("drop");
    lay(&drop, &[("a.xml", PES)]);
    let mut source = source(&drop, "");
    let before = discovered(&mut source).await;
    replace(&drop, &dir.path().join("away")).unwrap();
    let error = source.discover(before.cursor.as_ref()).await.unwrap_err();
    assert!(matches!(error, SourceError::Mailbox(_)) && error.fault().text.en.contains("drop"), "{error}");
    fs::create_dir(&drop).unwrap();
    let empty = source.discover(before.cursor.as_ref()).await.unwrap();
    assert_eq!((empty.items.len(), empty.cursor, empty.present), (0, None, None));
    fs::remove_dir(&drop).unwrap();
    replace(&dir.path().join("away"), &drop).unwrap();
    assert_eq!(discovered(&mut source).await.items, before.items);
}

#[cfg(unix)]
#[tokio::test]
async fn names_that_are_not_utf8_are_taken_and_put_away() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let name = |bytes: &'static [u8]| dir.path().join(std::ffi::OsStr::from_bytes(bytes));
    fs::create_dir(name(b"d\xe9p\xf4t")).unwrap();
    fs::write(name(b"d\xe9p\xf4t/\xe9.xml"), PES).unwrap();
    fs::write(name(b"\xe9.xml"), ACTE).unwrap();
    let mut source = source(dir.path(), "");
    assert_eq!(listed(&mut source).await, ["dépôt: é.xml", "é.xml: é.xml"]);
    let keys: Vec<ItemKey> = discovered(&mut source).await.items.into_iter().map(|item| item.key).collect();
    source.acknowledge(&keys, &Disposition::Delete).await.unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_drop_wakes_the_launcher_before_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = source(dir.path(), "");
    discovered(&mut source).await;
    let (long, short) = (Duration::from_hours(1), Duration::from_millis(1));
    assert_eq!(source.wait(short).await, Wake::Deadline);
    lay(dir.path(), &[("d/a.xml", PES)]);
    assert_eq!(source.wait(long).await, Wake::News);
    discovered(&mut source).await;
    // what has not settled is a reason to come back too
    source.settling = Settling::new(Duration::from_millis(20));
    lay(dir.path(), &[("d/b.xml", PES)]);
    discovered(&mut source).await;
    assert_eq!(source.wait(long).await, Wake::News);
}
