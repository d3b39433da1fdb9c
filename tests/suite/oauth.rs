//! Signing in with OAuth, as a user does it: `pertuis login`, then `fetch` and `run`.
//!
//! The device flow runs against the real oidc-provider; what Microsoft does otherwise, and what must not happen, against
//! the simulator. Its tokens open the simulated mailbox of `support/microsoft`.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use memchr::memmem;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::hook::{Hook, told};
use crate::support::microsoft::entra::{Barred, Kill, Rotation};
use crate::support::microsoft::records::Record;
use crate::support::microsoft::{DAEMON, MARIE, Microsoft, SECRET, SHARED, TENANT};
use crate::support::office::{Login, NAME, Office, files};
use crate::support::oidc::{self, Lifetimes, Oidc};
use crate::support::service::{Service, until};

/// The command that helps when only a person does.
const REMEDY: &str = "pertuis login factures";

/// The message of a report's error, with its code.
fn error(report: &Value) -> (String, String) {
    let part = |name: &str| report["error"][name].as_str().unwrap_or_default().to_owned();
    (part("code"), part("message"))
}

/// A service that has begun to work; its ini says `debug = info`.
fn service(office: &Office) -> Service {
    Service::up(&office.site)
}

// ---- the real oidc-provider -----------------------------------------------------------------------------------------

/// A launcher whose people sign in at the real server; what it issues opens Marie's mailbox.
fn real(lifetimes: Lifetimes) -> Option<(Office, Oidc)> {
    let server = Microsoft::start();
    server.world().graph.foreign = Some(MARIE);
    let root = server.root();
    let scopes = ["Mail.Read", "Mail.ReadWrite"].map(|one| format!("{root}/{one}"));
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let provider = Oidc::start(&scopes, lifetimes)?;
    let options = format!("client_id = {}\nauthority = {}\ngraph_root = {root}\n", oidc::CLIENT, provider.authority());
    Some((Office::with(server, options, ""), provider))
}

/// The code that `login` shows.
fn shown(login: &Login) -> String {
    until("a user code", || {
        let said = login.said.all();
        let is_code = |word: &&str| {
            let part = |part: &str| part.len() == 4 && part.bytes().all(|byte| byte.is_ascii_uppercase());
            word.split_once('-').is_some_and(|(one, other)| part(one) && part(other))
        };
        said.split(|c: char| !c.is_ascii_uppercase() && c != '-').find(is_code).map(ToOwned::to_owned)
    })
}

#[test]
fn a_person_signs_in_at_the_real_server_and_its_tokens_are_renewed_until_an_old_one_comes_back() {
    // an access token that is over before the next cycle begins: each fetch renews
    let Some((office, mut provider)) = real(Lifetimes { access: 30, ..Lifetimes::default() }) else { return };
    let login = Login::start(&office.site);
    let code = shown(&login);
    let said = login.said.all();
    assert!(said.contains(&format!("{}/device", provider.authority())), "the address of the page: {said}");
    provider.wait_refused("authorization_pending");
    provider.approve(&code, MARIE);
    let (status, said) = login.end();
    assert!(status.success() && said.contains(MARIE), "{said}");
    let expected = office.fill("inbox", 0..5);
    assert_eq!(office.fetched(), (5, 0));
    assert_eq!(office.site.delivered(), expected);
    let old = Kept::of(&office);
    assert_eq!(office.fetched().0, 0);
    assert_eq!(office.fetched().0, 0, "the token that came with the second one");
    let seen = office.server.world().graph.foreign_seen.len();
    assert!(seen >= 3, "{seen} access tokens for three cycles");
    // a snapshot is restored: the server sees an old token, and revokes all
    old.restore();
    let report = office.fetch();
    let (code, message) = error(&report);
    assert!(code == "credentials" && message.contains(REMEDY), "{report}");
}

/// What the state folder had for tokens.
struct Kept(Vec<(String, Vec<u8>)>);

impl Kept {
    fn of(office: &Office) -> Self {
        Self(files(&office.site.path("state/tokens")))
    }

    fn restore(&self) {
        for (path, bytes) in &self.0 {
            fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn who_declines_at_the_real_server_is_not_signed_in() {
    let Some((office, mut provider)) = real(Lifetimes::default()) else { return };
    let login = Login::start(&office.site);
    provider.decline(&shown(&login));
    let (status, said) = login.end();
    assert!(status.code() == Some(1) && said.contains("declined"), "{said}");
    let report = office.fetch();
    assert!(error(&report).0 == "credentials" && error(&report).1.contains(REMEDY), "{report}");
}

#[test]
fn a_code_of_the_real_server_that_nobody_enters_runs_out() {
    let Some((office, _provider)) = real(Lifetimes { device_code: 7, ..Lifetimes::default() }) else { return };
    let started = Instant::now();
    let login = Login::start(&office.site);
    shown(&login);
    let (status, said) = login.end();
    assert!(status.code() == Some(1) && said.contains("expired") || said.contains("ran out"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

// ---- login ----------------------------------------------------------------------------------------------------------

#[test]
fn login_shows_code_page_and_account_and_can_be_forgotten() {
    let office = Office::new("");
    let login = office.start_login();
    let code = login.user_code.clone();
    login.said.wait(&code, 0);
    office.server.world().entra.approve(&code, MARIE);
    let (status, said) = login.end();
    assert!(status.success() && said.contains("https://microsoft.com/devicelogin") && said.contains(MARIE), "{said}");
    let expected = office.fill("inbox", 0..3);
    assert_eq!((office.fetched(), office.site.delivered()), ((3, 0), expected));
    let forgotten = office.site.run(&["login", NAME, "--forget"]);
    assert!(forgotten.status.success(), "{forgotten:?}");
    let report = office.fetch();
    assert!(error(&report).0 == "credentials" && error(&report).1.contains(REMEDY), "{report}");
    assert_eq!(office.site.run(&["login", "nobody"]).status.code(), Some(2));
}

#[test]
fn what_bars_a_sign_in_is_said_with_its_advice_and_number() {
    let table: [(Option<Barred>, &str); 3] = [
        (Some(Barred::ConditionalAccess("invalid_grant")), "53003"),
        (Some(Barred::Consent), "65001"),
        (Some(Barred::Mfa), "50076"),
    ];
    for (barred, number) in table {
        let office = Office::new("");
        office.server.world().entra.person(MARIE).barred = barred;
        let login = office.start_login();
        office.server.world().entra.approve(&login.user_code, MARIE);
        let (status, said) = login.end();
        assert!(status.code() == Some(1) && said.contains(&format!("AADSTS{number}")), "{number}: {said}");
    }
    let office = Office::new("");
    let login = office.start_login();
    office.server.world().entra.decline(&login.user_code);
    let (status, said) = login.end();
    assert!(status.code() == Some(1) && said.contains("declined"), "{said}");
    let login = office.start_login();
    office.server.world().clock.advance(Duration::from_mins(16));
    let (status, said) = login.end();
    assert!(status.code() == Some(1) && (said.contains("expired") || said.contains("70020")), "{said}");
}

#[test]
fn another_account_than_the_one_of_the_file_is_refused_with_both_names() {
    let office = Office::new(&format!("account = {MARIE}"));
    let login = office.start_login();
    office.server.world().entra.approve(&login.user_code, "paul@contoso.example");
    let (status, said) = login.end();
    assert!(status.code() == Some(1) && said.contains("paul@contoso.example") && said.contains(MARIE), "{said}");
    assert_eq!(error(&office.fetch()).0, "credentials");
    office.sign_in();
    assert_eq!(office.fetched(), (0, 0));
}

// ---- an application that signs in by itself -------------------------------------------------------------------------

#[test]
fn an_application_reads_a_mailbox_with_its_secret() {
    let office = Office::by_itself("");
    let now = office.server.world().clock.now();
    let mime = crate::support::mails::mail("Facture", &[("facture.pdf", b"%PDF-1.4 facture")]);
    office.server.world().graph.mailboxes[1].deliver("inbox", &mime, now);
    assert_eq!(office.fetched(), (1, 0));
    assert_eq!(office.site.run(&["test"]).status.code(), Some(0));
    office.server.world().entra.app(DAEMON).only = Some(vec![MARIE]);
    let report = office.fetch();
    assert!(!report["error"].is_null(), "{report}");
    office.server.world().entra.app(DAEMON).only = None;
    office.server.world().entra.app(DAEMON).secrets = vec![(SECRET.to_owned(), 1)];
    let (code, message) = error(&office.fetch());
    assert!(code == "credentials" && message.contains("7000222"), "{code}: {message}");
    assert!(!message.contains(SECRET));
}

#[test]
fn an_application_reads_a_mailbox_with_its_certificate() {
    let server = Microsoft::start();
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let cert = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert_file, key_file) = (folder.path().join("app.crt.pem"), folder.path().join("app.key.pem"));
    fs::write(&cert_file, cert.pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    private(&key_file);
    let options = server.options(DAEMON, TENANT)
        + &format!("cert = {}\nkey = {}\nmailbox = {SHARED}\n", cert_file.display(), key_file.display());
    let office = Office::with(server, options, "");
    let (code, message) = error(&office.fetch());
    assert!(code == "credentials" && message.contains("700027"), "not registered: {code}: {message}");
    office.server.world().entra.app(DAEMON).certificates.push(cert.der().to_vec());
    assert_eq!(office.fetched(), (0, 0));
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

// ---- tokens that end ------------------------------------------------------------------------------------------------

#[test]
fn tokens_that_end_in_mid_run_are_renewed_once_for_all_requests() {
    let office = Office::signed_in("");
    let expected = office.fill("inbox", 0..40);
    office.server.world().faults.latency = Duration::from_millis(20);
    let mut child = office.site.start_fetch();
    until("some messages", || (office.server.world().records.count("GET", "/$value") > 10).then_some(()));
    let before = office.server.world().records.grants("refresh_token");
    office.server.world().clock.advance(Duration::from_hours(2));
    assert!(until("the end of fetch", || child.try_wait().unwrap()).success(), "{:#?}", office.asked());
    let renewed = office.server.world().records.grants("refresh_token") - before;
    assert_eq!((renewed, office.site.delivered()), (1, expected));
    office.well_behaved();
}

#[test]
fn a_challenge_is_answered_with_its_claims() {
    let office = Office::signed_in("");
    let expected = office.fill("inbox", 0..40);
    office.server.world().faults.latency = Duration::from_millis(20);
    let mut child = office.site.start_fetch();
    until("some messages", || (office.server.world().records.count("GET", "/$value") > 10).then_some(()));
    office.server.world().challenge();
    assert!(until("the end of fetch", || child.try_wait().unwrap()).success(), "{:#?}", office.asked());
    assert_eq!(office.site.delivered(), expected);
    let world = office.server.world();
    let claims = world.entra.issued.latest().unwrap().claims.clone().unwrap_or_default();
    assert!(claims.contains("nbf"), "{claims}");
}

#[test]
fn a_busy_or_wavering_token_endpoint_costs_no_sign_in() {
    use crate::support::microsoft::entra::Busy;
    let office = Office::signed_in("");
    let expected = office.fill("inbox", 0..3);
    for trouble in [Some(Busy::Page), Some(Busy::Throttled("1")), None] {
        {
            let mut world = office.server.world();
            world.clock.advance(Duration::from_hours(2));
            world.entra.busy = trouble.into_iter().collect();
            world.entra.transient = usize::from(trouble.is_none());
        }
        let report = office.fetch();
        let (code, message) = error(&report);
        // what is refused once for no reason is asked for a second time
        assert_ne!(code, "credentials", "{trouble:?}: {message}");
        until("a good cycle", || office.fetch()["error"].is_null().then_some(()));
    }
    assert_eq!(office.site.delivered(), expected);
}

#[test]
fn a_busy_token_endpoint_is_left_alone_for_as_long_as_it_asks() {
    use crate::support::microsoft::entra::Busy;
    let office = Office::signed_in("");
    office.write_ini("debug = info", "interval = 1s");
    let expected = office.fill("inbox", 0..2);
    office.server.world().entra.busy = vec![Busy::Throttled("3"), Busy::Throttled("1.5")];
    let service = service(&office);
    until("the documents", || (office.site.delivered() == expected).then_some(()));
    drop(service);
    assert!(office.server.world().entra.busy.is_empty());
    assert_eq!(office.server.world().records.too_early(), Vec::<String>::new());
}

// ---- killed between two tokens --------------------------------------------------------------------------------------

/// The refresh tokens that were shown to the token endpoint, in order.
fn shown_tokens(office: &Office) -> Vec<String> {
    let world = office.server.world();
    let token = |record: &Record| record.asked.form().into_iter().find(|(name, _)| name == "refresh_token");
    world.records.login().filter_map(token).map(|(_, value)| value).collect()
}

/// A fetch that is killed so long after the answer with a new refresh token was on its way; whether the next one would
/// show the old token again.
fn killed_while_it_renews(office: &Office, after: Duration) -> bool {
    let victim: Arc<Mutex<Option<Pid>>> = Arc::default();
    let mut child = {
        let mut world = office.server.world();
        world.clock.advance(Duration::from_hours(2));
        let victim = Arc::clone(&victim);
        world.entra.on_refresh = Some(Box::new(move || {
            std::thread::spawn(move || {
                std::thread::sleep(after);
                if let Some(pid) = victim.lock().unwrap().take() {
                    let _ = kill_process(pid, Signal::KILL);
                }
            });
        }));
        office.site.start_fetch()
    };
    *victim.lock().unwrap() = Some(Pid::from_child(&child));
    until("the end of fetch", || child.try_wait().unwrap());
    victim.lock().unwrap().take();
    let fresh = office.server.world().entra.issued.refresh_tokens().pop().unwrap();
    let report = office.fetch();
    let again = shown_tokens(office).pop().unwrap() != fresh;
    assert!(again || report["error"].is_null(), "the new token was stored, and is of no use: {report}");
    again
}

#[test]
fn killed_before_a_new_token_is_stored_the_next_start_works_where_the_old_one_is_still_good() {
    let office = Office::signed_in("");
    let mut hits = 0;
    for step in 0..12 {
        hits += usize::from(killed_while_it_renews(&office, Duration::from_micros(step * 500)));
        assert_eq!(office.fetched(), (0, 0));
    }
    assert!(hits > 0, "it was never killed in time");
}

#[test]
fn killed_before_a_new_token_is_stored_where_old_ones_are_revoked_there_is_one_alert() {
    let office = Office::signed_in("");
    office.server.world().entra.rotation = Rotation::RevokeOld;
    let hit = (0..12).any(|step| killed_while_it_renews(&office, Duration::from_micros(step * 200)));
    assert!(hit, "it was never killed in time");
    let (hook, address) = Hook::start();
    office.write_ini(&format!("debug = info\nalert = http://{address}/\nalert_after = 1s"), "interval = 1s");
    let service = service(&office);
    assert_eq!(hook.wait(1), [told(NAME, "failing", "credentials")]);
    assert!(hook.posts()[0]["message"].as_str().unwrap().contains(REMEDY), "{:?}", hook.posts());
    service.log.wait("credentials", 1);
    assert_eq!(hook.told().len(), 1);
}

// ---- revoked, and signed in again -----------------------------------------------------------------------------------

#[test]
fn a_revoked_token_gives_one_alert_and_login_beside_the_service_ends_it() {
    let office = Office::signed_in("");
    let (hook, address) = Hook::start();
    office.write_ini(&format!("debug = info\nalert = http://{address}/\nalert_after = 1s"), "interval = 1s");
    let expected = office.fill("inbox", 0..3);
    let mut service = service(&office);
    until("the first documents", || (office.site.delivered().len() == 3).then_some(()));
    {
        let mut world = office.server.world();
        world.entra.issued.revoke_refresh();
        world.entra.issued.revoke_access();
    }
    assert_eq!(hook.wait(1), [told(NAME, "failing", "credentials")]);
    let message = hook.posts()[0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(REMEDY) && message.contains("50173"), "{message}");
    let more = office.fill("inbox", 3..6);
    let asked = office.server.world().records.grants("refresh_token");
    assert!(asked < 10, "{asked} questions with a dead token");
    office.sign_in();
    until("work to go on", || (office.site.delivered().len() == 6).then_some(()));
    assert_eq!(hook.wait(2)[1], told(NAME, "recovered", "credentials"));
    let all = expected.into_iter().chain(more).collect();
    assert_eq!(office.site.delivered(), all);
    assert_eq!(hook.told().len(), 2);
    service.signal(Signal::TERM);
    assert!(service.end().success());
}

#[test]
fn each_end_of_a_refresh_token_names_its_number_and_the_remedy() {
    for (kill, number) in [
        (Kill::Inactive, "700082"),
        (Kill::Revoked, "50173"),
        (Kill::SignInFrequency, "70043"),
        (Kill::Disabled, "50057"),
    ] {
        let office = Office::signed_in("");
        office.server.world().clock.advance(Duration::from_hours(2));
        office.server.world().entra.kill = Some(kill);
        let report = office.fetch();
        let (code, message) = error(&report);
        assert!(code == "credentials" && message.contains(number), "{kill:?}: {report}");
        // of a disabled account a sign-in is no remedy
        assert!(kill == Kill::Disabled || message.contains(REMEDY), "{kill:?}: {report}");
        // it may have been a mood of the server's: the sign-in is not thrown away
        office.server.world().entra.kill = None;
        until("a good cycle", || office.fetch()["error"].is_null().then_some(()));
    }
}

// ---- secrets --------------------------------------------------------------------------------------------------------

#[test]
fn no_token_and_no_secret_stands_in_the_state_folder_or_in_any_log() {
    let office = Office::by_itself("");
    // the same file holds a person's launcher and one that signs in by itself; neither secret stands in the ini
    let person = office.server.options(crate::support::microsoft::PUBLIC, "organizations");
    let daemon = office.server.options(DAEMON, TENANT);
    let log = office.site.path("log.txt");
    office.server.world().entra.interval = 1;
    office.site.write_ini(&format!(
        "debug = debug\noutput = {}\n[{NAME}]\nlauncher = o365\n{person}deliver = COLD\ninterval = 1s\nafter = seen\n\
         [daemon]\nlauncher = o365\n{daemon}client_secret = env:APP_SECRET\nmailbox = {SHARED}\ndeliver = COLD\n\
         interval = 1s\n",
        log.display()
    ));
    let mut said = Vec::new();
    let login = office.start_login_with(|command| command.env("APP_SECRET", SECRET));
    office.server.world().entra.approve(&login.user_code, MARIE);
    let (status, words) = login.end();
    assert!(status.success(), "{words}");
    said.push(("login".to_owned(), words.into_bytes()));
    office.fill("inbox", 0..3);
    let mut command = office.site.command(&["run"]);
    let service = Service::start(command.env("APP_SECRET", SECRET).stdout(Stdio::null()));
    until("the documents", || (office.site.delivered().len() == 3).then_some(()));
    // renewals, refusals of either server, and the end of the sign-in
    let rounds = |count: usize| {
        let before = office.server.world().records.graph().count();
        until("more requests", || (office.server.world().records.graph().count() > before + count).then_some(()));
    };
    rounds(6);
    office.server.world().clock.advance(Duration::from_hours(2));
    rounds(6);
    office.server.world().challenge();
    rounds(6);
    {
        let mut world = office.server.world();
        world.clock.advance(Duration::from_hours(2));
        world.entra.kill = Some(Kill::Revoked);
        world.entra.app(DAEMON).secrets = vec![(SECRET.to_owned(), 1)];
    }
    until("both refusals", || {
        let log = fs::read_to_string(&log).unwrap_or_default() + &service.log.all();
        (log.contains("50173") && log.contains("7000222")).then_some(())
    });
    said.push(("standard error of the service".to_owned(), service.log.all().into_bytes()));
    drop(service);
    said.push((log.display().to_string(), fs::read(&log).unwrap_or_default()));
    said.extend(files(&office.site.path("state")));
    assert!(said.len() > 5, "{:?}", said.iter().map(|(name, _)| name).collect::<Vec<_>>());
    for secret in office.server.world().entra.secrets() {
        // the ends too: a log that cuts a long line would still show what matters
        for part in [secret.as_str(), &secret[..secret.len().min(60)]] {
            let found = said.iter().find(|(_, bytes)| memmem::find(bytes, part.as_bytes()).is_some());
            assert!(found.is_none(), "{part} stands in {}", found.unwrap().0);
        }
    }
}

#[test]
#[cfg(target_os = "linux")] // /proc tells the limits of a process
fn a_crash_leaves_no_core_file_with_tokens_in_it() {
    let office = Office::new("");
    office.write_ini("debug = info", "");
    let service = service(&office);
    let limits = fs::read_to_string(format!("/proc/{}/limits", service.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<&str> = line["Max core file size".len()..].split_whitespace().take(2).collect();
    assert_eq!(values, ["0", "0"], "{line}");
}
