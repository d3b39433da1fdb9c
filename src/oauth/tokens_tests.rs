//! Tokens against a scripted authorization server: rotation, crashes, full disks, clocks, `login` beside the service.

use std::collections::{BTreeSet, VecDeque};
use std::fs;

use tokio::sync::Semaphore;
use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::oauth::Identity;

/// An authorization server.
#[derive(Clone)]
struct Server(Arc<Inner>);

struct Inner {
    script: Mutex<Script>,
    /// Each answer takes one.
    answers: Semaphore,
}

struct Script {
    /// Refresh tokens that are good.
    valid: BTreeSet<String>,
    /// What each request asked for: resource and claims.
    asked: Vec<(Resource, Option<String>)>,
    /// Whether a refresh brings a new refresh token.
    rotates: bool,
    /// Whether that revokes the old one.
    strict: bool,
    refusals: VecDeque<Refusal>,
    life: Duration,
    /// Every token that was given away.
    secrets: Vec<String>,
}

impl Server {
    fn new(refresh: &str) -> Self {
        let script = Script {
            valid: [refresh.to_owned()].into(),
            asked: Vec::new(),
            rotates: true,
            strict: true,
            refusals: VecDeque::new(),
            life: Duration::from_secs(3599),
            secrets: vec![refresh.to_owned()],
        };
        Self(Arc::new(Inner { script: Mutex::new(script), answers: Semaphore::new(Semaphore::MAX_PERMITS) }))
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().unwrap()
    }

    fn count(&self) -> usize {
        self.script().asked.len()
    }

    /// A person signs in.
    fn sign_in(&self, refresh: &str) {
        let mut script = self.script();
        script.valid.insert(refresh.to_owned());
        script.secrets.push(refresh.to_owned());
    }
}

impl Script {
    fn grant(&mut self, refresh: Option<String>) -> Grant {
        let access = format!("eyJaccess{}", self.asked.len());
        self.secrets.extend(refresh.clone());
        self.secrets.push(access.clone());
        let refresh = refresh.map(Secret::new);
        let access = Secret::new(access);
        Grant { access, refresh, expires_in: self.life, scope: None, identity: None, names: Vec::new() }
    }
}

#[async_trait]
impl Issuer for Server {
    async fn refresh(&self, token: &Secret, resource: Resource, claims: Option<&str>) -> Result<Grant, Refusal> {
        let next = {
            let mut script = self.script();
            script.asked.push((resource, claims.map(ToOwned::to_owned)));
            if let Some(refusal) = script.refusals.pop_front() {
                return Err(refusal);
            }
            if !script.valid.contains(token.reveal()) {
                return Err(invalid_grant());
            }
            let next = script.rotates.then(|| format!("0.Arefresh{}", script.asked.len()));
            if next.is_some() && script.strict {
                script.valid.remove(token.reveal());
            }
            script.valid.extend(next.clone());
            next
        };
        self.0.answers.acquire().await.unwrap().forget();
        Ok(self.script().grant(next))
    }

    async fn for_itself(&self, resource: Resource, claims: Option<&str>) -> Result<Grant, Refusal> {
        let mut script = self.script();
        script.asked.push((resource, claims.map(ToOwned::to_owned)));
        match script.refusals.pop_front() {
            Some(refusal) => Err(refusal),
            None => Ok(script.grant(None)),
        }
    }
}

fn invalid_grant() -> Refusal {
    let text = text!("the sign-in was revoked", "la connexion a été révoquée");
    Refusal::of(Fault::new(Code::Credentials, text))
}

fn down() -> Refusal {
    Refusal::of(Fault::new(Code::Connect, text!("no connection", "pas de connexion")))
}

/// A `state` in which somebody has signed in, and what was told.
struct Bench {
    dir: tempfile::TempDir,
    server: Server,
    events: Events,
    told: Arc<Mutex<Vec<String>>>,
}

const FIRST: &str = "0.Arefresh0";

impl Bench {
    fn new() -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let events = Events::to(move |event| log.lock().unwrap().push(format!("{event:?}")));
        let bench = Self { dir: tempfile::tempdir().unwrap(), server: Server::new(FIRST), events, told };
        bench.login(FIRST);
        bench
    }

    /// What another process has.
    fn tokens(&self) -> Tokens {
        self.by(&SignIns::default(), &launcher("a", ""))
    }

    fn by(&self, sign_ins: &SignIns, launcher: &Launcher) -> Tokens {
        sign_ins.by(launcher, self.dir.path(), &self.events, || Ok(Box::new(self.server.clone()))).unwrap()
    }

    fn store(&self) -> Store {
        Store::open(self.dir.path(), &launcher("a", "")).unwrap()
    }

    /// `pertuis login` in another process.
    fn login(&self, refresh: &str) {
        let (now, identity) = (SystemTime::now(), Identity::default());
        let signed_in = SignedIn { refresh: Secret::new(refresh), identity, since: now, renewed: now };
        self.store().put(&signed_in).unwrap();
    }

    fn kept(&self) -> String {
        self.store().get().unwrap().unwrap().refresh.reveal().to_owned()
    }

    /// Sets back the day of the last renewal.
    fn age(&self, by: i64) {
        let mut signed_in = self.store().get().unwrap().unwrap();
        let seconds = Duration::from_secs(by.unsigned_abs());
        signed_in.renewed = if by < 0 { SystemTime::now() + seconds } else { SystemTime::now() - seconds };
        self.store().put(&signed_in).unwrap();
    }

    /// As a full disk does: nothing new can be written.
    fn fill(&self) -> PathBuf {
        let tokens = self.dir.path().join("tokens");
        let names = fs::read_dir(&tokens).unwrap().map(|entry| entry.unwrap().path());
        let draft = names.filter(|path| path.extension().is_none()).last().unwrap().with_extension("new");
        fs::create_dir(&draft).unwrap();
        draft
    }

    /// Searches all that was written, and all that was told.
    fn assert_no_secret_in_clear(&self, more: &str) {
        let mut written = vec![self.told.lock().unwrap().concat().into_bytes(), more.as_bytes().to_vec()];
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() { folders.push(path) } else { written.push(fs::read(path).unwrap()) }
            }
        }
        let secrets = self.server.script().secrets.clone();
        assert!(written.len() >= 4 && !secrets.is_empty(), "nothing to search, or nothing to search for");
        for secret in secrets {
            let holds = |bytes: &Vec<u8>| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!written.iter().any(holds), "{secret} in clear");
        }
    }
}

fn launcher(name: &str, more: &str) -> Launcher {
    let text =
        format!("[{name}]\nlauncher = o365\nclient_id = 00000000-0000-0000-0000-000000000001\ndeliver = /x\n{more}");
    let config = crate::config::load_bytes(Path::new("t.ini"), text.as_bytes(), &crate::config::Overrides::default());
    config.unwrap().launchers.remove(0)
}

async fn graph(tokens: &Tokens) -> Result<String, TokenError> {
    tokens.access(Resource::Graph).await.map(|token| token.reveal().to_owned())
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_make_one_request_and_share_its_token() {
    let bench = Bench::new();
    let sign_ins = SignIns::default();
    let same = "account = a@example.org\n";
    let (one, other) = (launcher("a", same), launcher("b", same));
    let all: Vec<Tokens> = [&one, &other, &one, &other].map(|launcher| bench.by(&sign_ins, launcher)).into();
    all[0].session.store.as_ref().unwrap().put(&bench.store().get().unwrap().unwrap()).unwrap();
    let answers = futures(&all, Resource::Graph).await;
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    assert_eq!(bench.server.count(), 1);
    // another resource is another token of the same sign-in
    assert_ne!(all[1].access(Resource::Imap).await.unwrap().reveal(), answers[0]);
    assert_eq!(bench.server.count(), 2);
    // who signs in otherwise shares nothing
    let apart = bench.by(&sign_ins, &launcher("a", "account = a@example.org\nproxy = http://p.example.org:3128\n"));
    assert!(!Arc::ptr_eq(&apart.session, &all[0].session));
}

async fn futures(all: &[Tokens], resource: Resource) -> Vec<String> {
    let mut set = tokio::task::JoinSet::new();
    for tokens in all.iter().cloned().chain(all.iter().cloned()) {
        set.spawn(async move { tokens.access(resource).await.unwrap().reveal().to_owned() });
    }
    set.join_all().await
}

#[tokio::test]
async fn processes_renew_one_after_the_other_and_none_spends_an_old_token() {
    let bench = Bench::new();
    // each has a cache of its own; the server revokes everything old
    let all: Vec<Tokens> = (0..6).map(|_| bench.tokens()).collect();
    let answers = futures(&all, Resource::Graph).await;
    assert_eq!((answers.len(), bench.server.count()), (12, 6));
    assert!(bench.server.script().valid.contains(&bench.kept()));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_in_good_time() {
    for (life, good_for) in [(3599, 3299), (86_400, 86_100), (1200, 1080), (600, 540), (300, 240), (120, 60), (30, 15)]
    {
        let bench = Bench::new();
        bench.server.script().life = Duration::from_secs(life);
        let tokens = bench.tokens();
        let first = graph(&tokens).await.unwrap();
        advance(Duration::from_secs(good_for - 1)).await;
        assert_eq!(graph(&tokens).await.unwrap(), first, "{life}");
        advance(Duration::from_secs(1)).await;
        assert_ne!(graph(&tokens).await.unwrap(), first, "{life}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_token_is_used_while_the_server_is_down() {
    let bench = Bench::new();
    let tokens = bench.tokens();
    let first = graph(&tokens).await.unwrap();
    bench.server.script().refusals.extend([down(), down()]);
    advance(Duration::from_secs(3400)).await;
    assert_eq!(graph(&tokens).await.unwrap(), first);
    // good for less than a minute
    advance(Duration::from_secs(140)).await;
    assert!(matches!(graph(&tokens).await, Err(TokenError::Later { .. })));
    assert_ne!(graph(&tokens).await.unwrap(), first);
}

#[tokio::test(start_paused = true)]
async fn clocks_that_jump_cost_a_request_and_nothing_else() {
    let at = |seconds: i64| {
        let by = Duration::from_secs(seconds.unsigned_abs());
        let wall = if seconds < 0 { SystemTime::now() - by } else { SystemTime::now() + by };
        Deadline { steady: Instant::now(), wall }.later(Duration::from_hours(1))
    };
    // set forward by a day since: over, whatever the steady clock says (a machine that slept)
    assert!(at(-86_400).is_over());
    // set back by a day since: not over yet, and over when the steady clock says so
    let back = at(86_400);
    assert!(!back.is_over());
    advance(Duration::from_hours(1)).await;
    assert!(back.is_over());
    // no clock overflows
    let bench = Bench::new();
    bench.server.script().life = Duration::MAX;
    graph(&bench.tokens()).await.unwrap();
}

#[tokio::test]
async fn a_new_refresh_token_is_stored_before_anybody_has_the_access_token() {
    let bench = Bench::new();
    let tokens = bench.tokens();
    for round in 1..4 {
        let access = graph(&tokens).await.unwrap();
        assert_eq!(bench.kept(), format!("0.Arefresh{round}"));
        tokens.refused(Resource::Graph, &Secret::new(access), None);
    }
    // a server that gives no new one
    bench.server.script().rotates = false;
    graph(&tokens).await.unwrap();
    assert_eq!((bench.kept().as_str(), bench.server.count()), ("0.Arefresh3", 4));
    bench.assert_no_secret_in_clear(&format!("{tokens:?}"));
}

#[tokio::test]
async fn who_asked_may_go_away_and_the_answer_is_stored_all_the_same() {
    let bench = Bench::new();
    bench.server.0.answers.forget_permits(usize::MAX);
    let tokens = bench.tokens();
    assert!(timeout(Duration::from_millis(20), graph(&tokens)).await.is_err());
    assert_eq!((bench.server.count(), bench.kept().as_str()), (1, FIRST));
    bench.server.0.answers.add_permits(1);
    // the next one waits for that, and asks nothing
    graph(&tokens).await.unwrap();
    assert_eq!((bench.server.count(), bench.kept().as_str()), (1, "0.Arefresh1"));
}

#[test]
fn who_ends_after_the_renewal_has_settled_leaves_the_new_token_behind() {
    let bench = Bench::new();
    bench.server.0.answers.forget_permits(usize::MAX);
    let tokens = bench.tokens();
    let ended = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    ended.block_on(async {
        timeout(Duration::from_millis(20), graph(&tokens)).await.unwrap_err();
        assert!(timeout(Duration::from_millis(20), tokens.settled()).await.is_err());
        bench.server.0.answers.add_permits(1);
        tokens.settled().await;
    });
    ended.shutdown_background();
    assert_eq!((bench.server.count(), bench.kept().as_str()), (1, "0.Arefresh1"));
}

#[test]
fn an_end_between_answer_and_file_costs_nothing_where_the_old_token_is_still_good_else_one_alert() {
    for strict in [false, true] {
        let bench = Bench::new();
        bench.server.script().strict = strict;
        bench.server.0.answers.forget_permits(usize::MAX);
        let killed = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tokens = bench.tokens();
        killed.block_on(async { timeout(Duration::from_millis(20), graph(&tokens)).await.unwrap_err() });
        drop((killed, tokens));
        assert_eq!((bench.server.count(), bench.kept().as_str()), (1, FIRST));
        bench.server.0.answers.add_permits(9);
        let next = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = next.block_on(graph(&bench.tokens()));
        match answer {
            Ok(_) => assert!(!strict && bench.kept() == "0.Arefresh2"),
            Err(TokenError::SignIn(fault)) => {
                assert!(strict && fault.text.en.ends_with("`pertuis login a`"), "{fault}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_full_disk_says_so_and_the_new_token_waits_in_memory() {
    let bench = Bench::new();
    let tokens = bench.tokens();
    let draft = bench.fill();
    for _ in 0..3 {
        let Err(TokenError::Later { fault, .. }) = graph(&tokens).await else { panic!("stored nowhere, and used") };
        assert!(fault.code == Code::Ledger && fault.text.en.contains("cannot be stored"), "{fault}");
        assert!(fault.text.fr.contains("ne peut pas être enregistré"), "{}", fault.text.fr);
    }
    // for IMAP neither, and nothing new is asked for meanwhile
    assert!(tokens.access(Resource::Imap).await.is_err());
    assert_eq!((bench.server.count(), bench.kept().as_str()), (1, FIRST));
    fs::remove_dir(&draft).unwrap();
    assert_eq!(graph(&tokens).await.unwrap(), "eyJaccess1");
    assert_eq!((bench.server.count(), bench.kept().as_str()), (1, "0.Arefresh1"));
    bench.assert_no_secret_in_clear("");
}

#[tokio::test]
async fn a_full_disk_does_not_matter_where_there_is_nothing_new_to_keep() {
    let bench = Bench::new();
    bench.server.script().rotates = false;
    bench.fill();
    graph(&bench.tokens()).await.unwrap();
}

#[tokio::test]
async fn what_could_not_be_stored_gives_way_to_what_login_wrote_or_forgot() {
    for forgets in [false, true] {
        let bench = Bench::new();
        let tokens = bench.tokens();
        let draft = bench.fill();
        graph(&tokens).await.unwrap_err();
        fs::remove_dir(&draft).unwrap();
        if forgets {
            assert!(bench.store().forget().unwrap());
            let error = graph(&tokens).await.unwrap_err();
            assert!(error.fault().text.en.contains("`pertuis login a`"), "{error}");
            assert_eq!(bench.store().get().unwrap(), None);
        } else {
            bench.server.sign_in("0.Alogin");
            bench.login("0.Alogin");
            assert_eq!(graph(&tokens).await.unwrap(), "eyJaccess2");
            assert_eq!(bench.kept(), "0.Arefresh2");
        }
    }
}

#[tokio::test]
async fn what_could_not_be_stored_is_stored_by_the_next_sign_of_life() {
    let bench = Bench::new();
    let tokens = bench.tokens();
    let draft = bench.fill();
    graph(&tokens).await.unwrap_err();
    assert!(tokens.keep_alive().await.is_err());
    fs::remove_dir(&draft).unwrap();
    tokens.keep_alive().await.unwrap();
    assert_eq!((bench.server.count(), bench.kept().as_str()), (1, "0.Arefresh1"));
}

#[tokio::test]
async fn login_while_a_renewal_is_under_way_has_the_last_word() {
    let bench = Bench::new();
    bench.server.0.answers.forget_permits(usize::MAX);
    let tokens = bench.tokens();
    let renewing = tokio::spawn(async move { graph(&tokens).await });
    while bench.server.count() == 0 {
        tokio::task::yield_now().await;
    }
    let store = bench.store();
    let login = tokio::task::spawn_blocking(move || {
        let now = SystemTime::now();
        let (refresh, identity) = (Secret::new("0.Alogin"), Identity::default());
        store.put(&SignedIn { refresh, identity, since: now, renewed: now }).unwrap();
    });
    sleep(Duration::from_millis(5)).await;
    bench.server.0.answers.add_permits(1);
    renewing.await.unwrap().unwrap();
    login.await.unwrap();
    assert_eq!(bench.kept(), "0.Alogin");
}

#[tokio::test]
async fn a_new_sign_in_is_taken_up_at_once_and_a_forgotten_one_is_dropped() {
    let bench = Bench::new();
    let tokens = bench.tokens();
    let first = graph(&tokens).await.unwrap();
    // renewed by another process: what is at hand is still good
    graph(&bench.tokens()).await.unwrap();
    assert_eq!(graph(&tokens).await.unwrap(), first);
    sleep(Duration::from_millis(2)).await;
    bench.server.sign_in("0.Aother");
    bench.login("0.Aother");
    assert_eq!((graph(&tokens).await.unwrap().as_str(), bench.server.count()), ("eyJaccess3", 3));
    assert!(bench.store().forget().unwrap());
    assert!(matches!(graph(&tokens).await, Err(TokenError::SignIn(_))));
    assert_eq!(bench.server.count(), 3);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_with_the_claims_of_the_challenge() {
    let bench = Bench::new();
    let tokens = bench.tokens();
    let first = tokens.access(Resource::Graph).await.unwrap();
    tokens.refused(Resource::Graph, &first, Some("{\"access_token\":{}}".to_owned()));
    bench.server.script().refusals.push_back(down());
    assert!(tokens.access(Resource::Graph).await.is_err(), "a refused token was used");
    let second = tokens.access(Resource::Graph).await.unwrap();
    // somebody who had the first one comes late
    tokens.refused(Resource::Graph, &first, None);
    assert_eq!(tokens.access(Resource::Graph).await.unwrap(), second);
    tokens.refused(Resource::Graph, &second, None);
    tokens.access(Resource::Graph).await.unwrap();
    let claims: Vec<bool> = bench.server.script().asked.iter().map(|(_, claims)| claims.is_some()).collect();
    assert_eq!(claims, [false, true, true, false]);
}

#[tokio::test]
async fn a_revoked_sign_in_names_the_one_command_for_each_launcher_and_says_why() {
    let bench = Bench::new();
    let sign_ins = SignIns::default();
    bench.server.script().valid.clear();
    let same = "account = a@example.org\n";
    for name in ["mes factures", "b"] {
        let tokens = bench.by(&sign_ins, &launcher(name, same));
        tokens.session.store.as_ref().unwrap().put(&bench.store().get().unwrap().unwrap()).unwrap();
        let Err(TokenError::SignIn(fault)) = graph(&tokens).await else { panic!("{name}") };
        let login = if name == "b" { "`pertuis login b`" } else { "`pertuis login \"mes factures\"`" };
        assert!(fault.text.en.starts_with("the sign-in was revoked") && fault.text.en.ends_with(login), "{fault}");
        assert!(fault.text.fr.starts_with("la connexion a été révoquée") && fault.text.fr.ends_with(login), "{fault}");
        assert_eq!(fault.code, Code::Credentials);
    }
    // what only the administrator mends names no command
    let config = Refusal::of(Fault::new(Code::Config, text!("no such application", "application inconnue")));
    bench.server.script().refusals.push_back(config);
    let error = graph(&bench.tokens()).await.unwrap_err();
    assert_eq!(error.fault().text.en, "no such application");
    bench.assert_no_secret_in_clear("");
}

#[tokio::test]
async fn a_file_that_is_of_no_use_is_said_until_somebody_signs_in() {
    let bench = Bench::new();
    let tokens = bench.tokens();
    graph(&tokens).await.unwrap();
    let path = bench.fill().with_extension("");
    fs::remove_dir(path.with_extension("new")).unwrap();
    fs::write(&path, "garbage").unwrap();
    let Err(TokenError::SignIn(fault)) = graph(&tokens).await else { panic!("garbage was taken") };
    assert!(fault.text.fr.contains("endommagé") && fault.text.fr.contains("`pertuis login a`"), "{}", fault.text.fr);
    assert_eq!(tokens.since(), None);
    bench.server.sign_in("0.Alogin");
    bench.login("0.Alogin");
    graph(&tokens).await.unwrap();
    assert!(tokens.since().is_some());
}

#[tokio::test]
async fn a_program_that_signs_in_by_itself_keeps_nothing_on_disk() {
    let bench = Bench::new();
    let state = tempfile::tempdir().unwrap();
    let app = launcher("a", "tenant = example.org\nclient_secret = s3cret\nmailbox = m@example.org\n");
    let sign_ins = SignIns::default();
    let of = || sign_ins.by(&app, state.path(), &bench.events, || Ok(Box::new(bench.server.clone()))).unwrap();
    let tokens = of();
    let first = graph(&tokens).await.unwrap();
    assert_eq!((graph(&of()).await.unwrap(), bench.server.count()), (first.clone(), 1));
    tokens.refused(Resource::Graph, &Secret::new(first.clone()), Some("claims".to_owned()));
    assert_ne!(graph(&tokens).await.unwrap(), first);
    assert_eq!(bench.server.script().asked[1].1.as_deref(), Some("claims"));
    tokens.keep_alive().await.unwrap();
    assert_eq!((bench.server.count(), fs::read_dir(state.path()).unwrap().count()), (2, 0));
    bench.server.script().refusals.push_back(invalid_grant());
    let error = tokens.access(Resource::Imap).await.unwrap_err();
    assert!(!error.fault().text.en.contains("pertuis login"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_is_refused_once_is_tried_once_more() {
    for (times, good) in [(1, true), (2, false)] {
        let bench = Bench::new();
        let tokens = bench.tokens();
        for _ in 0..times {
            let refusal = Refusal { error: "invalid_grant".to_owned(), ..invalid_grant() };
            bench.server.script().refusals.push_back(refusal);
        }
        assert_eq!((graph(&tokens).await.is_ok(), bench.server.count()), (good, 2));
    }
}

#[tokio::test]
async fn an_idle_sign_in_is_renewed_every_day_whatever_the_clock_was() {
    let bench = Bench::new();
    let tokens = bench.tokens();
    for (age, asked) in [(60, 0), (23 * 3600, 0), (25 * 3600, 1), (60, 1), (-40 * 86_400, 2)] {
        bench.age(age);
        // another cache: what is at hand is no reason to ask
        let other = bench.tokens();
        other.keep_alive().await.unwrap();
        assert_eq!(bench.server.count(), asked, "{age}");
    }
    assert!(SystemTime::now().duration_since(bench.store().get().unwrap().unwrap().renewed).unwrap().as_secs() < 60);
    bench.age(25 * 3600);
    bench.server.script().valid.clear();
    assert!(matches!(tokens.keep_alive().await, Err(TokenError::SignIn(_))));
    // nobody signed in: that is the next cycle's to say
    assert!(bench.store().forget().unwrap());
    tokens.keep_alive().await.unwrap();
}
