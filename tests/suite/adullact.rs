//! Envelopes from drop directory to delivery, with the real binary: every shape of deposit, hostile ones, drops that are
//! written slowly or vanish, and kills at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pertuis::model::Digest;
use serde_json::Value;

use crate::support::envelopes::{Made, Shape, acte, gzip, made, pdf, pes, tar_gz, zip};
use crate::support::mails::Random;
use crate::support::service::{Service, until};
use crate::support::site::{Site, report};

/// A site with a drop directory and one launcher over it.
fn site(options: &str) -> Site {
    let site = Site::new();
    fs::create_dir(site.path("drop")).unwrap();
    site.write_ini(&section(&site, "enveloppes", options));
    site
}

fn section(site: &Site, name: &str, options: &str) -> String {
    let drop = site.path("drop");
    format!("[{name}]\nlauncher = adullact\nsource = {}\ndeliver = COLD\n{options}\n", drop.display())
}

fn indexes(dir: &Path) -> Vec<Value> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let indexes = names.filter(|path| path.to_string_lossy().ends_with(".index.json"));
    indexes.map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
}

/// Each file that an index tells, as (role, own name).
fn told(index: &Value) -> Vec<(&str, &str)> {
    let files = index["files"].as_array().unwrap();
    files.iter().map(|file| (file["role"].as_str().unwrap(), file["original_name"].as_str().unwrap())).collect()
}

#[test]
fn every_shape_of_deposit_arrives_side_by_side_under_one_prefix_with_the_index_that_tells_it() {
    let site = site("settle = 0");
    let deposits: Vec<Made> = (1..).zip(Shape::ALL).map(|(n, shape)| made(shape, n, 5_000)).collect();
    for deposit in &deposits {
        deposit.drop_into(&site.path("drop"));
    }
    let report = site.fetch();
    assert_eq!((&report["items"]["found"], &report["items"]["delivered"]), (&5.into(), &5.into()), "{report}");
    let (delivered, indexes) = (site.delivered(), indexes(&site.cold()));
    for deposit in &deposits {
        for document in &deposit.documents {
            assert_eq!(delivered.get(document), Some(&1), "{}", deposit.name);
        }
    }
    assert_eq!(indexes.len(), 5);
    let mut kinds = BTreeMap::<&str, Vec<&Value>>::new();
    for index in &indexes {
        kinds.entry(index["kind"].as_str().unwrap()).or_default().push(index);
        for file in index["files"].as_array().unwrap() {
            let name = file["name"].as_str().unwrap();
            let prefix = format!("{}_", index["key"].as_str().unwrap());
            assert!(name.starts_with(&prefix), "{name} {prefix}");
            assert_eq!(file["sha256"], Digest::of(&fs::read(site.cold().join(name)).unwrap()).to_string());
        }
    }
    assert_eq!(
        kinds.iter().map(|(kind, all)| (*kind, all.len())).collect::<Vec<_>>(),
        [("actes", 3), ("chorus", 1), ("helios", 1)]
    );
    let helios = &kinds["helios"][0];
    assert_eq!(told(helios), [("pes", "PES_2.xml"), ("attachment", "piece 2-0.pdf"), ("attachment", "piece 2-1.pdf")]);
    let values = &helios["metadata"];
    for (key, value) in
        [("nom_fic", "FLUX_2"), ("cod_col", "244"), ("id_bordereau", "2"), ("montant_bordereau", "4874.40")]
    {
        assert_eq!(values[key], value, "{values}");
    }
    let invoice = &kinds["chorus"][0];
    assert_eq!(told(invoice), [("pivot", "facture_3.xml"), ("invoice", "FAC3.pdf")]);
    assert_eq!(
        (&invoice["metadata"]["no_facture"], &invoice["files"][1]["readable"]),
        (&"FA-2024-3".into(), &true.into())
    );
    let acte = kinds["actes"].iter().find(|index| index["metadata"]["numero_de_lacte"] == "DEL_1").unwrap();
    assert_eq!(acte["metadata"]["acte_unique_id"], "034-999888777-20240318-DEL_1-DE");
    assert_eq!(told(acte)[..3].iter().map(|(role, _)| *role).collect::<Vec<_>>(), ["message", "document", "annex"]);
    let again = site.fetch();
    assert_eq!((&again["items"]["already"], &again["items"]["delivered"]), (&5.into(), &0.into()), "{again}");
}

#[test]
fn a_deposit_that_comes_again_with_the_same_content_is_known_and_put_away_too() {
    let site = site("settle = 0\nafter = delete\ngroup = folder");
    let deposit = made(Shape::Pastell, 7, 3_000);
    let lies_there = |site: &Site| fs::read_dir(site.path("drop")).unwrap().count();
    deposit.drop_into(&site.path("drop"));
    assert_eq!((site.fetch()["items"]["delivered"].clone(), lies_there(&site)), (1.into(), 0));
    // as Pastell names what it sends again
    let first = deposit.drop_into(&site.path("drop"));
    rename(&first, first.with_file_name("Arrêté 7_20240318023015_4711")).unwrap();
    let report = site.fetch();
    assert_eq!((&report["items"]["already"], &report["items"]["delivered"]), (&1.into(), &0.into()), "{report}");
    assert_eq!((lies_there(&site), fs::read_dir(site.cold()).unwrap().count()), (0, 1));
}

#[test]
fn each_launcher_takes_its_kinds_and_leaves_the_rest_untouched() {
    let site = site("");
    for name in ["actes", "helios"] {
        fs::create_dir(site.path(name)).unwrap();
    }
    let launcher = |name: &str, kind: &str| {
        let (drop, deliver) = (site.path("drop"), site.path(name));
        let (drop, deliver) = (drop.display(), deliver.display());
        format!(
            "[{name}]\nlauncher = adullact\nsource = {drop}\ndeliver = {deliver}\nenvelope = {kind}\nsettle = 0\nafter = delete\n"
        )
    };
    site.write_ini(&(launcher("actes", "acte_nature") + &launcher("helios", "helios")));
    for (n, shape) in (1..).zip([Shape::Actes, Shape::Pes, Shape::Pivot]) {
        made(shape, n, 2_000).drop_into(&site.path("drop"));
    }
    fs::write(site.path("drop").join("rapport.xml"), "<rapport/>").unwrap();
    assert_eq!(
        report(&site.run(&["fetch", "--json"]))["items"]["quarantined"],
        1,
        "what has no kind is the first one's"
    );
    assert_eq!(indexes(&site.path("actes"))[0]["kind"], "actes");
    assert_eq!(indexes(&site.path("helios"))[0]["kind"], "helios");
    let left: BTreeSet<_> = fs::read_dir(site.path("drop")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["facture_3.xml", "rapport.xml"].map(Into::into).into());
    // two for one kind
    site.write_ini(&(launcher("actes", "helios") + &launcher("helios", "helios")));
    let refused = site.run(&["check"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("helios") && said.contains("actes"), "{said}");
}

/// Takes folders out of the delivery directory the moment they appear, and proves that each is whole.
struct Consumer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<Digest, usize>>,
}

impl Consumer {
    fn start(site: &Site) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, cold, taken) = (Arc::clone(&stop), site.cold(), site.path("taken"));
        fs::create_dir(&taken).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut arrived, mut count) = (BTreeMap::new(), 0);
            loop {
                let last = stopped.load(Ordering::SeqCst);
                for entry in fs::read_dir(&cold).unwrap() {
                    let folder = taken.join(count.to_string());
                    count += 1;
                    rename(entry.unwrap().path(), &folder).unwrap();
                    take(&folder, &mut arrived);
                }
                if last {
                    return arrived;
                }
                std::thread::yield_now();
            }
        });
        Self { stop, thread }
    }

    fn stop(self) -> BTreeMap<Digest, usize> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

/// What the index tells is there, and nothing else.
fn take(folder: &Path, arrived: &mut BTreeMap<Digest, usize>) {
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    let files = index["files"].as_array().unwrap();
    assert_eq!(fs::read_dir(folder).unwrap().count(), files.len() + 1, "{index}");
    for file in files {
        let content = fs::read(folder.join(file["name"].as_str().unwrap())).unwrap();
        assert_eq!(file["sha256"], Digest::of(&content).to_string());
        *arrived.entry(Digest::of(&content)).or_default() += 1;
    }
    fs::remove_dir_all(folder).unwrap();
}

fn assert_each_once(arrived: &BTreeMap<Digest, usize>, deposits: &[Made]) {
    let doubled: Vec<_> = arrived.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    for deposit in deposits {
        let lost = deposit.documents.iter().filter(|document| !arrived.contains_key(document)).count();
        assert_eq!(lost, 0, "{}: {lost} documents are lost", deposit.name);
    }
}

/// Kills `fetch` at random moments while deposits are dropped and folders are taken away at once.
fn survives_kills(deposits: u64, kills: u32) {
    let site = site("settle = 0\nafter = delete\ngroup = folder");
    let deposits: Vec<Made> =
        (0..deposits).map(|n| made(Shape::ALL[usize::try_from(n).unwrap() % Shape::ALL.len()], n, 60_000)).collect();
    let consumer = Consumer::start(&site);
    let mut random = Random(std::process::id().into());
    let mut next = deposits.iter();
    let each = deposits.len().div_ceil(kills as usize * 2 / 3 + 1);
    for _ in 0..kills {
        next.by_ref().take(each).for_each(|deposit| drop(deposit.drop_into(&site.path("drop"))));
        let mut child = site.start_fetch();
        // not a wait: the moment of the kill
        std::thread::sleep(Duration::from_micros(random.next() % 150_000));
        let _ = child.kill();
        child.wait().unwrap();
    }
    next.for_each(|deposit| drop(deposit.drop_into(&site.path("drop"))));
    let report = site.fetch();
    assert_eq!((&report["error"], &report["items"]["failed"]), (&Value::Null, &0.into()), "{report}");
    let report = site.fetch();
    assert_eq!(report["items"]["delivered"], 0, "{report}");
    assert_each_once(&consumer.stop(), &deposits);
    assert_eq!(fs::read_dir(site.path("drop")).unwrap().count(), 0);
}

#[test]
fn kills_lose_and_double_no_envelope() {
    survives_kills(15, 12);
}

#[test]
#[ignore = "long"]
fn a_hundred_kills_over_forty_drops_lose_and_double_no_envelope() {
    survives_kills(40, 100);
}

#[test]
fn drops_that_are_written_slowly_renamed_replaced_or_vanish_are_never_taken_in_part_and_never_lost() {
    let site = site("settle = 1s\ninterval = 1s\ngroup = folder\nafter = delete");
    let consumer = Consumer::start(&site);
    let _service = Service::start(&mut site.command(&["run"]));
    let drop = site.path("drop");
    let deposits: Vec<Made> = (0..8).map(|n| made(Shape::ALL[n % 5], n as u64, 20_000)).collect();
    let writers: Vec<JoinHandle<()>> = vec![
        slowly(drop.join(&deposits[1].name), deposits[1].bytes().to_vec()),
        slowly(drop.join(&deposits[0].name), deposits[0].bytes().to_vec()),
        slowly(drop.join(&deposits[4].name), deposits[4].bytes().to_vec()),
        renamed(drop.join(&deposits[2].name), deposits[2].bytes().to_vec()),
        replaced(drop.join(&deposits[6].name), deposits[6].bytes().to_vec()),
        vanishes(drop.join("perdu.xml"), deposits[7].bytes().to_vec()),
    ];
    deposits[3].drop_into(&drop); // with its end marker
    deposits[5].drop_into(&drop);
    for writer in writers {
        writer.join().unwrap();
    }
    until("an empty drop directory", || (fs::read_dir(&drop).unwrap().count() == 0).then_some(()));
    let arrived = consumer.stop();
    assert_each_once(&arrived, &deposits[..7]);
    assert!(!arrived.contains_key(&Digest::of(deposits[7].bytes())), "it was never there whole");
    let quarantine = site.path("state").join("quarantine");
    assert!(!quarantine.exists(), "{:?}", fs::read_dir(quarantine).map(Iterator::count));
}

/// Writes a file in many pieces; the pauses are what a slow line makes.
fn slowly(path: PathBuf, content: Vec<u8>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut file = fs::File::create(path).unwrap();
        for byte in &content[..200] {
            file.write_all(&[*byte]).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        for piece in content[200..].chunks(content.len() / 10) {
            file.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }
    })
}

/// Written beside under a name of a transfer, renamed at the end.
fn renamed(path: PathBuf, content: Vec<u8>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let part = path.with_extension("xml.part");
        slowly(part.clone(), content).join().unwrap();
        rename(part, path).unwrap();
    })
}

/// A shorter version first, then the real one in its place.
fn replaced(path: PathBuf, content: Vec<u8>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        fs::write(&path, &content[..content.len() / 2]).unwrap();
        std::thread::sleep(Duration::from_millis(700));
        let next = path.with_extension("tmp");
        fs::write(&next, &content).unwrap();
        rename(next, path).unwrap();
    })
}

/// Half of a file that goes away again.
fn vanishes(path: PathBuf, content: Vec<u8>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        fs::write(&path, &content[..content.len() / 2]).unwrap();
        std::thread::sleep(Duration::from_millis(1_500));
        fs::remove_file(path).unwrap();
    })
}

/// As other programs rename: over what is there.
#[allow(clippy::disallowed_methods)] // the ban is for what pertuis delivers
fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> std::io::Result<()> {
    fs::rename(from, to)
}

/// Hostile deposits: their name, their bytes, a word of the reason.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let zeros = |megabytes: usize| vec![0_u8; megabytes << 20];
    let message = ("m-1-1_0.xml".to_owned(), acte(1).into_bytes());
    let bomb = pes(1, &[zeros(18)]);
    let laughs =
        r#"<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><PES_Aller>&b;</PES_Aller>"#;
    let many: Vec<_> = (0..100_000).map(|n| (format!("{n}.txt"), Vec::new())).collect();
    let whole = made(Shape::Zip, 1, 50_000);
    vec![
        ("bombe.zip", zip(&[message.clone(), ("zero.bin".into(), zeros(18))]), "max_ratio"),
        ("bombe.tar.gz", tar_gz(&[message.clone(), ("zero.bin".into(), zeros(19))]), "max_ratio"),
        ("bombe-pj.xml", bomb, "max_ratio"),
        ("entites.xml", laughs.into(), "DOCTYPE"),
        ("entrees.tar.gz", tar_gz(&many), "max_entries"),
        ("entrees.zip", zip(&many[..20_000]), "max_entries"),
        ("gros.zip", zip(&[message.clone(), ("bruit.bin".into(), pdf(3, 21 << 20))]), "max_unpacked"),
        ("coupe.zip", whole.bytes()[..whole.bytes().len() / 2].to_vec(), ""),
        (
            "coupe.tar.gz",
            {
                let all = made(Shape::Actes, 2, 50_000);
                all.bytes()[..all.bytes().len() / 2].to_vec()
            },
            "",
        ),
        ("coupe.xml", pes(3, &[pdf(1, 5_000)])[..3_000].to_vec(), ""),
        ("inconnu.xml", b"<rapport/>".to_vec(), ""),
        ("vide.zip", zip(&[]), ""),
        ("bombes.zip", zip(&[("a.tar.gz".into(), tar_gz(&[("b.gz".into(), gzip(&zeros(18)))])), message]), ""),
    ]
}

#[test]
fn what_is_hostile_goes_to_quarantine_with_its_reason_and_the_next_deposit_arrives() {
    let site = site("settle = 0\nmax_unpacked = 20M\nmax_ratio = 20\nmax_entries = 1000");
    let (drop, hostile) = (site.path("drop"), hostile());
    for (name, content, _) in &hostile {
        fs::write(drop.join(name), content).unwrap();
    }
    let good = made(Shape::Pastell, 5, 3_000);
    good.drop_into(&drop);
    let report = site.fetch();
    assert_eq!(
        (&report["items"]["quarantined"], &report["items"]["delivered"]),
        (&hostile.len().into(), &1.into()),
        "{report}"
    );
    assert_eq!(report["error"], Value::Null, "{report}");
    let reasons = quarantine(&site);
    assert_eq!(reasons.len(), hostile.len());
    for (name, content, word) in &hostile {
        let found = reasons.iter().find(|(copy, _)| copy.as_deref() == Some(content.as_slice()));
        let (_, reason) = found.unwrap_or_else(|| panic!("{name} is not in quarantine"));
        assert!(reason.contains(word), "{name}: {reason}");
    }
    assert!(good.documents.iter().all(|document| site.delivered().contains_key(document)));
    assert_eq!(fs::read_dir(&drop).unwrap().count(), hostile.len() + 1, "what is in quarantine stays at its source");
    assert_eq!(site.fetch()["items"]["already"], hostile.len() + 1);
}

/// What stands in the quarantine: the copy, and the reason.
fn quarantine(site: &Site) -> Vec<(Option<Vec<u8>>, String)> {
    let root = site.path("state").join("quarantine");
    let folder = fs::read_dir(root).unwrap().next().unwrap().unwrap().path();
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let reasons = files.iter().filter(|path| path.to_string_lossy().ends_with(".reason.txt"));
    reasons
        .map(|path| {
            let key = path.file_name().unwrap().to_string_lossy().replace(".reason.txt", ".");
            let copy = files
                .iter()
                .find(|other| *other != path && other.file_name().unwrap().to_string_lossy().starts_with(&key));
            (copy.map(|copy| fs::read(copy).unwrap()), fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn archives_that_hold_paths_links_and_devices_give_their_files_and_nothing_else() {
    let site = site("settle = 0");
    let message = acte(1);
    let mut builder = tar::Builder::new(Vec::new());
    let mut entry = |kind: tar::EntryType, name: &str, content: &[u8], link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        // as a hostile program writes it: the crate would refuse such a name
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    };
    entry(tar::EntryType::Regular, "../../../../tmp/evil-1-1_0.xml", message.as_bytes(), "");
    entry(tar::EntryType::Regular, "/etc/cron.d/evil.pdf", b"%PDF-1.4 evil %%EOF", "");
    entry(tar::EntryType::Symlink, "passwd.pdf", b"", "/etc/passwd");
    entry(tar::EntryType::Link, "shadow.pdf", b"", "/etc/shadow");
    entry(tar::EntryType::Char, "null.pdf", b"", "");
    entry(tar::EntryType::Fifo, "pipe.pdf", b"", "");
    fs::write(site.path("drop").join("piege.tar.gz"), gzip(&builder.into_inner().unwrap())).unwrap();
    let report = site.fetch();
    assert_eq!(report["items"]["delivered"], 1, "{report}");
    let index = &indexes(&site.cold())[0];
    let names: BTreeSet<_> = told(index).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["evil-1-1_0.xml", "evil.pdf"].into());
    assert!(index["warnings"].to_string().contains("passwd.pdf"), "{index}");
    assert!(!Path::new("/tmp/evil-1-1_0.xml").exists() && !Path::new("/etc/cron.d/evil.pdf").exists());
}

#[test]
fn decode_takes_one_envelope_apart_and_leaves_nothing_of_what_it_cannot() {
    let site = Site::new();
    let to = site.path("sortie");
    let decode = |path: &Path| {
        let (path, to) = (path.display().to_string(), to.display().to_string());
        site.run(&["decode", &path, "--to", &to])
    };
    let deposit = made(Shape::Actes, 4, 3_000).drop_into(site.dir.path());
    let done = decode(&deposit);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let index: Value = serde_json::from_slice(&fs::read(to.join("index.json")).unwrap()).unwrap();
    assert_eq!((&index["kind"], &index["metadata"]["numero_de_lacte"]), (&"actes".into(), &"DEL_4".into()));
    assert_eq!(fs::read_dir(&to).unwrap().count(), index["files"].as_array().unwrap().len() + 1);
    fs::remove_dir_all(&to).unwrap();
    for (name, content, word) in
        hostile().into_iter().filter(|(name, ..)| name.starts_with("enti") || name.starts_with("coupe"))
    {
        fs::write(site.path(name), content).unwrap();
        let refused = decode(&site.path(name));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(word) && said.contains(name), "{name}: {said}");
        assert_eq!(fs::read_dir(&to).map_or(0, Iterator::count), 0, "{name}");
    }
}

/// Real envelopes of public projects, where they lie beside the checkout: each is recognised as what its folder holds.
#[test]
fn real_envelopes_are_recognised_as_what_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/samples/adullact");
    if !root.exists() {
        eprintln!("skipped: no samples beside the checkout");
        return;
    }
    for kind in ["actes", "helios", "chorus"] {
        let site = site("settle = 0");
        let mut count = 0;
        for (n, file) in files(&root.join(kind)).into_iter().enumerate() {
            let name = format!("{n} {}", file.file_name().unwrap().to_string_lossy());
            if file.extension().is_some_and(|extension| extension != "pdf") {
                count += 1;
                fs::copy(&file, site.path("drop").join(name)).unwrap();
            }
        }
        let report = site.fetch();
        assert_eq!(report["items"]["delivered"], count, "{kind}: {report}");
        for index in indexes(&site.cold()) {
            assert_eq!(index["kind"], kind, "{index}");
            assert!(index["metadata"].as_object().is_some_and(|values| !values.is_empty()), "{index}");
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() { all.extend(files(&entry.path())) } else { all.push(entry.path()) }
    }
    all.sort();
    all
}
