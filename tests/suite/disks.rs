//! Disks that are full, read-only, or gone: a clear error, nothing half done to be seen, and the work goes on by itself.
//!
//! Volumes are small tmpfs mounts; who may not mount skips what needs one.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pertuis::model::Digest;
use serde_json::Value;

use crate::fetch::fill;
use crate::support::ca::TestCa;
use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::harm::{Harm, Point, Proxy, Side};
use crate::support::service::{Service, until};
use crate::support::site::{Site, report};

type Documents = BTreeMap<Digest, usize>;

/// A file system of its own; unmounted when it is dropped.
struct Volume(PathBuf);

impl Volume {
    /// A tmpfs of so many kilobytes at `path`; `None` where this user may not mount.
    fn mount(path: PathBuf, kilobytes: u32) -> Option<Self> {
        let options = format!("size={kilobytes}k,mode=777");
        Self::attach(&["-t", "tmpfs", "-o", &options, "tmpfs"], path)
    }

    /// Another mount of `volume`.
    fn bind(volume: &Self, path: PathBuf) -> Option<Self> {
        Self::attach(&["--bind", &volume.0.display().to_string()], path)
    }

    fn attach(arguments: &[&str], path: PathBuf) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let output = Command::new("mount").args(arguments).arg(&path).output().ok()?;
        if !output.status.success() {
            eprintln!("SKIPPED, this user may not mount: {}", String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        Some(Self(path))
    }

    fn write_protect(&self, protect: bool) {
        let option = if protect { "remount,ro" } else { "remount,rw" };
        assert!(Command::new("mount").args(["-o", option]).arg(&self.0).status().unwrap().success());
    }

    /// Fills it but for so many bytes.
    fn fill(&self, but: usize) {
        let mut ballast = fs::File::create(self.0.join("ballast")).unwrap();
        let block = [0; 4096];
        let mut size = 0;
        while let Ok(count) = ballast.write(&block) {
            size += count;
        }
        ballast.set_len(u64::try_from(size.saturating_sub(but)).unwrap()).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A mailbox and a site that fetches from it and deletes what it delivered; `deliver` and `state` are to be said.
struct Place {
    site: Site,
    server: Dovecot,
    expected: Documents,
}

impl Place {
    fn new(mails: u64) -> Self {
        let site = Site::new();
        let ca = TestCa::new(site.dir.path());
        let pair = ca.good("localhost");
        let mut server = Dovecot::start_tls(&pair.cert, &pair.key);
        let expected = fill(&mut server, mails);
        Self { site, server, expected }
    }

    fn write_ini(&self, state: &Path, deliver: &Path, more: &str) {
        let door = self.server.imap();
        let (state, deliver) = (state.display(), deliver.display());
        let text = format!(
            "state = {state}\nlang = en\n[factures]\nlauncher = imap\nserver = {door}\ntls = none\naccount = {ACCOUNT}\n\
             password = {PASSWORD}\ndeliver = {deliver}\nafter = delete\n{more}\n"
        );
        fs::write(self.site.path("pertuis.ini"), text).unwrap();
    }

    /// What lies in `cold` is whole, and no more of it than there may be.
    fn assert_whole(&self, cold: &Path) {
        for (digest, count) in digests(cold) {
            assert!(self.expected.get(&digest).is_some_and(|most| count <= *most), "not whole, or too many: {digest}");
        }
    }
}

fn digests(dir: &Path) -> Documents {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        *found.entry(Digest::of(&fs::read(entry.unwrap().path()).unwrap())).or_default() += 1;
    }
    found
}

fn add(all: &mut Documents, more: Documents) {
    for (digest, count) in more {
        *all.entry(digest).or_default() += count;
    }
}

/// The code of a report, and that its message says where: the path, or the option.
fn code(report: &Value, place: &Path) -> String {
    let error = &report["error"];
    let message = error["message"].as_str().unwrap_or_default();
    let says_where = message.contains(&*place.to_string_lossy()) || message.contains("`state`");
    assert!(error.is_null() || says_where, "says where: {error}");
    error["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_delivery_volume_that_is_full_again_and_again_gets_every_document_once() {
    let mut place = Place::new(120);
    let Some(volume) = Volume::mount(place.site.path("volume"), 400) else { return };
    let cold = volume.0.join("cold");
    fs::create_dir(&cold).unwrap();
    place.write_ini(&place.site.path("state"), &cold, "");
    let (mut arrived, mut full) = (Documents::new(), 0);
    for room in [0, 5_000, 20_000, 60_000].into_iter().cycle().take(60) {
        volume.fill(room);
        let report = place.site.fetch();
        match code(&report, &volume.0).as_str() {
            "deliver" => full += 1,
            other => assert_eq!(other, "", "{report}"),
        }
        place.assert_whole(&cold);
        volume.empty();
        add(&mut arrived, digests(&cold));
        for entry in fs::read_dir(&cold).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        if place.server.messages("INBOX").is_empty() {
            break;
        }
    }
    assert!(full > 3, "only {full} times full");
    assert_eq!(place.site.fetch()["error"], Value::Null);
    add(&mut arrived, digests(&cold));
    assert_eq!(arrived, place.expected);
    // the mailbox of a finished work, and new mail on the volume that has room again
    let more = fill(&mut place.server, 3);
    assert_eq!(place.site.fetch()["items"]["delivered"], 3);
    assert!(digests(&cold).keys().all(|digest| more.contains_key(digest)));
}

#[test]
fn a_state_volume_that_is_full_loses_and_doubles_nothing() {
    let place = Place::new(120);
    let Some(volume) = Volume::mount(place.site.path("volume"), 8_000) else { return };
    let (state, cold) = (volume.0.join("state"), place.site.cold());
    place.write_ini(&state, &cold, "");
    let mut full = 0;
    for room in [0, 4_096, 20_000, 50_000, 90_000, 130_000, 200_000, 400_000] {
        volume.fill(room);
        let report = place.site.fetch();
        match code(&report, &state).as_str() {
            "deliver" | "ledger" => full += 1,
            other => assert_eq!(other, "", "{room}: {report}"),
        }
        place.assert_whole(&cold);
        volume.empty();
    }
    assert!(full > 1, "only {full} times full");
    let report = place.site.fetch();
    assert_eq!(report["error"], Value::Null);
    assert_eq!(digests(&cold), place.expected);
    assert!(place.server.messages("INBOX").is_empty());
}

#[test]
fn a_write_protected_volume_is_named_and_gets_its_documents_later() {
    let place = Place::new(10);
    let Some(volume) = Volume::mount(place.site.path("volume"), 4_000) else { return };
    let cold = volume.0.join("cold");
    fs::create_dir(&cold).unwrap();
    place.write_ini(&place.site.path("state"), &cold, "");
    volume.write_protect(true);
    for _ in 0..4 {
        let report = place.site.fetch();
        assert_eq!((code(&report, &volume.0).as_str(), &report["items"]["quarantined"]), ("deliver", &0.into()));
    }
    assert_eq!((digests(&cold).len(), place.server.messages("INBOX").len()), (0, 10));
    volume.write_protect(false);
    assert_eq!(place.site.fetch()["items"]["delivered"], 10);
    assert_eq!(digests(&cold), place.expected);
}

/// The site's binary as somebody to whom rights apply; `None` where that cannot be.
fn unprivileged(site: &Site) -> Option<Command> {
    let mut command = site.command(&["fetch", "--json"]);
    if rustix::process::getuid().is_root() {
        fs::set_permissions(site.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for path in [site.dir.path().to_owned(), site.cold(), site.path("pertuis.ini")] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        command.uid(NOBODY).gid(NOBODY);
        if Command::new(env!("CARGO_BIN_EXE_pertuis")).arg("--version").uid(NOBODY).output().is_err() {
            eprintln!("SKIPPED, nobody may not execute {}", env!("CARGO_BIN_EXE_pertuis"));
            return None;
        }
    }
    Some(command)
}

#[test]
fn a_delivery_directory_without_rights_is_named_and_gets_its_documents_later() {
    let place = Place::new(10);
    let cold = place.site.cold();
    place.write_ini(&place.site.path("state"), &cold, "");
    let Some(mut command) = unprivileged(&place.site) else { return };
    let allow = |mode| fs::set_permissions(&cold, fs::Permissions::from_mode(mode)).unwrap();
    allow(0o555);
    for _ in 0..4 {
        let report = report(&command.output().unwrap());
        assert_eq!(
            (code(&report, &cold).as_str(), &report["items"]["quarantined"]),
            ("deliver", &0.into()),
            "{report}"
        );
    }
    assert_eq!((digests(&cold).len(), place.server.messages("INBOX").len()), (0, 10));
    allow(0o755);
    let report = report(&command.output().unwrap());
    assert_eq!((&report["error"], &report["items"]["delivered"]), (&Value::Null, &10.into()), "{report}");
    assert_eq!(digests(&cold), place.expected);
}

/// `run` while the line stands still in the middle of a mailbox: `vanish` makes the delivery directory go, and what it
/// answers brings it back.
fn comes_back<'a>(place: &Place, cold: &Path, vanish: impl FnOnce() -> Box<dyn FnOnce() + 'a>) {
    let proxy = Proxy::start(place.server.imap());
    place.write_ini(&place.site.path("state"), cold, &format!("server = {}\ninterval = 1s", proxy.address()));
    let ini = fs::read_to_string(place.site.path("pertuis.ini")).unwrap();
    let direct = format!("server = {}\n", place.server.imap());
    fs::write(place.site.path("pertuis.ini"), format!("foreground = yes\n{}", ini.replacen(&direct, "", 1))).unwrap();
    // well within the bodies, long enough for what comes now
    let harm = Harm::Stall(Duration::from_secs(3));
    proxy.set(&[Point { side: Side::Server, byte: 1_500_000, harm }]);
    let mut service = Service::start(&mut place.site.command(&["run"]));
    until("a first document", || fs::read_dir(cold).ok()?.next().map(drop));
    let bring_back = vanish();
    let line = service.log.wait("deliver:", 0);
    assert!(line.contains(&cold.parent().unwrap().display().to_string()), "says where: {line}");
    assert!(service.child.try_wait().unwrap().is_none(), "the service lives");
    bring_back();
    until("an empty mailbox", || (place.server.count("INBOX") == 0).then_some(()));
    service.signal(rustix::process::Signal::TERM);
    assert!(service.end().success());
}

#[test]
fn a_delivery_directory_that_is_renamed_in_mid_cycle_and_comes_back_gets_every_document_once() {
    let place = Place::new(400);
    let (cold, away) = (place.site.cold(), place.site.path("away"));
    comes_back(&place, &cold, || {
        rename(&cold, &away);
        Box::new(|| rename(&away, &cold))
    });
    assert_eq!(digests(&cold), place.expected);
}

#[test]
fn a_delivery_directory_that_is_made_anew_gets_what_the_old_one_did_not() {
    let place = Place::new(400);
    let (cold, away) = (place.site.cold(), place.site.path("away"));
    comes_back(&place, &cold, || {
        rename(&cold, &away);
        Box::new(|| fs::create_dir(&cold).unwrap())
    });
    let mut all = digests(&cold);
    add(&mut all, digests(&away));
    assert_eq!(all, place.expected);
}

#[test]
fn a_share_that_is_unmounted_in_mid_cycle_and_comes_back_gets_every_document_once() {
    let place = Place::new(400);
    let Some(volume) = Volume::mount(place.site.path("volume"), 64_000) else { return };
    fs::create_dir(volume.0.join("cold")).unwrap();
    let share = place.site.path("share");
    let mut mounted = Volume::bind(&volume, share.clone());
    let (volume, place_of_share, mount) = (&volume, share.clone(), &mut mounted);
    comes_back(&place, &share.join("cold"), move || {
        *mount = None;
        Box::new(move || *mount = Volume::bind(volume, place_of_share))
    });
    assert_eq!(digests(&share.join("cold")), place.expected);
    drop(mounted);
    // what stood below the mount point stayed empty
    assert_eq!(fs::read_dir(&share).unwrap().count(), 0);
}

#[allow(clippy::disallowed_methods)] // a directory of the test's own, renamed to where nothing is
fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}

const NOBODY: u32 = 65534;
