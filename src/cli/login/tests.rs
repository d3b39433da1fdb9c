//! What a person sees of a sign-in, and what is stored of it: nothing unless all is right.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::config::{Overrides, load_bytes};
use crate::oauth::script::Script;

/// `{"preferred_username":"factures@contoso.fr","tid":"t","oid":"o"}` without a signature.
const ID: &str = "e30.eyJwcmVmZXJyZWRfdXNlcm5hbWUiOiJmYWN0dXJlc0Bjb250b3NvLmZyIiwidGlkIjoidCIsIm9pZCI6Im8ifQ.x";
const CODE: &str = r#"{"user_code":"F7KQ2XRTN","device_code":"d-1","verification_uri":"https://microsoft.com/devicelogin",
    "expires_in":900,"interval":1,"message":"Ouvrez la page et tapez le code."}"#;
const PENDING: &str = r#"{"error":"authorization_pending","error_codes":[70016]}"#;

/// A writer that can be looked into meanwhile.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Exit code, standard output, standard error, and the names of the events.
struct Said {
    code: u8,
    out: String,
    err: String,
    events: Vec<&'static str>,
}

fn granted(scope: &str, rest: &str) -> String {
    format!(r#"{{"token_type":"Bearer","scope":"{scope}","expires_in":3599,"access_token":"access-1"{rest}}}"#)
}

fn config(state: &Path, sections: &str) -> Config {
    let text = format!("state = {}\n{sections}", state.display());
    load_bytes(Path::new("t.ini"), text.as_bytes(), &Overrides::default()).unwrap()
}

fn o365(name: &str, base: &str, more: &str) -> String {
    format!("[{name}]\nlauncher = o365\nclient_id = app\nauthority = {base}\ndeliver = /tmp/{name}\n{more}\n")
}

async fn sign_in(config: &Config, name: &str, lang: Lang, out: &Paper, typed: Typed) -> Said {
    let (err, names) = (Paper::default(), Arc::<Mutex<Vec<&'static str>>>::default());
    let told = names.clone();
    let launcher = config.launchers.iter().find(|launcher| launcher.name.as_str() == name).unwrap();
    let (mut output, mut errors) = (out.clone(), err.clone());
    let mut desk = Desk {
        config,
        launcher,
        oauth: launcher.oauth.as_ref().unwrap(),
        events: Events::to(move |event| told.lock().unwrap().push(event.name)),
        lang,
        out: &mut output,
        err: &mut errors,
    };
    let ended = desk.sign_in(|| typed).await;
    let code = desk.end(ended).unwrap();
    let events = names.lock().unwrap().clone();
    Said { code, out: out.text(), err: err.text(), events }
}

fn nothing() -> Typed {
    mpsc::unbounded_channel().1
}

fn kept(config: &Config, number: usize) -> Option<SignedIn> {
    Store::open(&config.global.state, &config.launchers[number]).unwrap().get().unwrap()
}

#[tokio::test]
async fn a_sign_in_shows_page_and_code_names_the_account_and_serves_all_of_it() {
    let state = tempfile::tempdir().unwrap();
    let rest = format!(r#","refresh_token":"refresh-1","id_token":"{ID}""#);
    let answers = [CODE.to_owned(), PENDING.to_owned(), granted("Mail.Read openid", &rest)];
    let script = Script::json(&[(200, &answers[0]), (400, &answers[1]), (200, &answers[2])]).await;
    let account = "account = Factures@Contoso.FR\n";
    let sections = [
        o365("factures", &script.base, account),
        o365("clients", &script.base, &format!("{account}after = seen\n")),
        o365("autres", &script.base, "account = autres@contoso.fr\n"),
        format!(
            "[courrier]\nlauncher = imap\nserver = outlook.office365.com\nauth = xoauth2\nclient_id = app\n{account}\
             authority = {}\ndeliver = /tmp/courrier\n",
            script.base
        ),
    ];
    let config = config(state.path(), &sections.concat());
    let said = sign_in(&config, "factures", Lang::Fr, &Paper::default(), nothing()).await;
    assert_eq!(said.code, 0, "{}", said.err);
    for words in [
        "factures : se connecter avec le compte Factures@Contoso.FR\n",
        "factures : cette connexion sert aussi à : clients, courrier\n",
        "Ouvrez la page et tapez le code.\n",
        "  page : https://microsoft.com/devicelogin\n  code : F7KQ2XRTN\n",
        "factures : connecté : factures@contoso.fr ; un service en marche en tient compte de lui-même\n",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    // the permission of another protocol, and what was not granted
    assert!(said.err.contains("courrier parle un autre protocole"), "{}", said.err);
    let write = "https://graph.microsoft.com/Mail.ReadWrite";
    assert!(said.err.contains(&format!("ATTENTION : non accordé : {write} ;")), "{}", said.err);
    assert!(said.err.contains("en attente, 15 minutes au plus\n"), "{}", said.err);
    assert_eq!(said.events, ["oauth_refused"], "while nobody had signed in");
    let scope = script.asked()[0].field("scope").unwrap();
    assert_eq!(scope, format!("https://graph.microsoft.com/Mail.Read {write} offline_access openid profile email"));
    let signed_in = kept(&config, 0).unwrap();
    assert_eq!(signed_in.refresh.reveal(), "refresh-1");
    assert_eq!(signed_in.identity.username.as_deref(), Some("factures@contoso.fr"));
    assert_eq!((kept(&config, 1).as_ref(), kept(&config, 2)), (Some(&signed_in), None));
}

#[tokio::test]
async fn nothing_is_stored_of_what_is_not_right() {
    let good = granted("Mail.Read", &format!(r#","refresh_token":"refresh-1","id_token":"{ID}""#));
    let lasting = granted("Mail.Read", &format!(r#","id_token":"{ID}""#));
    let declined = r#"{"error":"authorization_declined","trace_id":"t"}"#;
    let consent = r#"{"error":"invalid_grant","error_codes":[65001],"suberror":"consent_required"}"#;
    let cases = [
        (
            "account = other@contoso.fr\n",
            200,
            good.as_str(),
            "factures@contoso.fr s'est connecté, mais `account` est other@",
        ),
        ("", 200, &lasting, "n'a pas donné de jeton d'actualisation"),
        ("", 400, declined, "a refusé : recommencer et accepter : `pertuis login factures`"),
        ("", 400, consent, "/organizations/adminconsent?client_id=app"),
    ];
    for (more, status, answer, words) in cases {
        let state = tempfile::tempdir().unwrap();
        let script = Script::json(&[(200, CODE), (status, answer)]).await;
        let config = config(state.path(), &o365("factures", &script.base, more));
        let said = sign_in(&config, "factures", Lang::Fr, &Paper::default(), nothing()).await;
        assert_eq!(said.code, 1, "{}", said.out);
        assert!(said.err.contains(words), "{words}: {}", said.err);
        assert!(!said.err.contains("refresh-1") && !said.out.contains("connecté :"), "{} {}", said.out, said.err);
        assert_eq!(said.events.len(), usize::from(status != 200));
        assert!(kept(&config, 0).is_none());
        let left = std::fs::read_dir(state.path().join("tokens")).unwrap().map(|entry| entry.unwrap().path());
        assert!(left.into_iter().all(|path| path.extension().is_some_and(|extension| extension == "lock")));
    }
}

#[tokio::test]
async fn what_signs_in_by_itself_is_tried_and_needs_nobody() {
    let state = tempfile::tempdir().unwrap();
    let refused = r#"{"error":"invalid_client","error_codes":[7000215],"error_description":"AADSTS7000215: Invalid."}"#;
    let script = Script::json(&[(200, r#"{"expires_in":3599,"access_token":"x"}"#), (401, refused)]).await;
    let more = "tenant = contoso.fr\nclient_secret = hunter2-simple\nmailbox = f@contoso.fr\n";
    let config = config(state.path(), &o365("factures", &script.base, more));
    let said = sign_in(&config, "factures", Lang::En, &Paper::default(), nothing()).await;
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.contains("no sign-in is needed: the application app signs in by itself"), "{}", said.out);
    let said = sign_in(&config, "factures", Lang::En, &Paper::default(), nothing()).await;
    assert!(said.code == 1 && said.err.starts_with("factures: credentials: Microsoft refuses"), "{}", said.err);
    assert!(said.err.contains("not its *ID*") && !said.err.contains("hunter2"), "{}", said.err);
    assert_eq!(said.events, ["oauth_refused"]);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let forgot = run(&config, ("factures", true), &Events::nowhere(), Lang::En, &mut out, &mut err).unwrap();
    assert!(forgot == 0 && String::from_utf8_lossy(&out).contains("nothing is kept"));
}

/// A person signs in at Google and pastes the address of the last page; this is granted.
async fn pasted(state: &Path, scope: &str) -> (Said, Config, Script) {
    let rest = format!(r#","refresh_token":"1//refresh","id_token":"{ID}""#);
    let answer = granted(scope, &rest);
    let script = Script::json(&[(200, &answer)]).await;
    let section = format!(
        "[gmail]\nlauncher = imap\nserver = imap.gmail.com\naccount = factures@contoso.fr\nauth = xoauth2\nclient_id = app\n\
         client_secret = GOCSPX-1\nauthority = {}\ndeliver = /tmp/gmail\n",
        script.base
    );
    let config = config(state, &section);
    let (paper, (typist, typed)) = (Paper::default(), mpsc::unbounded_channel());
    let paste = async {
        let state = loop {
            let text = paper.text();
            if let Some((_, rest)) = text.split_once("&state=") {
                break rest.split('&').next().unwrap().to_owned();
            }
            tokio::task::yield_now().await;
        };
        for line in ["", "4/0AXyz", "http://127.0.0.1:1/?state=other&code=4%2F0A"] {
            typist.send(line.to_owned()).unwrap();
        }
        typist.send(format!("http://127.0.0.1:1/?state={state}&code=4%2F0A")).unwrap();
    };
    let (said, ()) = tokio::join!(sign_in(&config, "gmail", Lang::Fr, &paper, typed), paste);
    (said, config, script)
}

#[tokio::test]
async fn at_google_the_address_of_the_last_page_is_pasted() {
    let state = tempfile::tempdir().unwrap();
    let (said, config, script) = pasted(state.path(), "https://mail.google.com/ openid").await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("ce n'est pas l'adresse de la dernière page"), "{}", said.err);
    assert!(said.err.contains("c'est la réponse à une autre connexion"), "{}", said.err);
    assert!(said.out.contains("gmail : connecté : factures@contoso.fr"), "{}", said.out);
    let asked = script.last();
    assert_eq!(
        (asked.field("code").as_deref(), asked.field("client_secret").as_deref()),
        (Some("4/0A"), Some("GOCSPX-1"))
    );
    assert_eq!(kept(&config, 0).unwrap().refresh.reveal(), "1//refresh");
}

#[tokio::test]
async fn what_could_not_be_stored_is_said_before_anybody_is_sent_to_a_browser() {
    let state = tempfile::tempdir().unwrap();
    let script = Script::json(&[(200, CODE)]).await;
    let config = config(state.path(), &o365("factures", &script.base, ""));
    std::fs::write(state.path().join("tokens"), "in the place of a folder").unwrap();
    let said = sign_in(&config, "factures", Lang::Fr, &Paper::default(), nothing()).await;
    assert_eq!((said.code, said.out.as_str(), script.asked().len()), (1, "", 0));
    assert!(said.err.contains("factures : ledger : ") && said.err.contains("`state` doit être"), "{}", said.err);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let forgot = run(&config, ("factures", true), &Events::nowhere(), Lang::En, &mut out, &mut err).unwrap();
    assert_eq!((forgot, out.as_slice()), (1, &b""[..]), "that nobody had signed in is not known");
}

#[tokio::test]
async fn what_no_server_said_is_said_once() {
    let state = tempfile::tempdir().unwrap();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = config(state.path(), &o365("factures", &format!("http://{closed}"), ""));
    let said = sign_in(&config, "factures", Lang::Fr, &Paper::default(), nothing()).await;
    assert_eq!((said.code, said.events.as_slice()), (1, &[][..]));
    assert_eq!(said.err, "factures : connect : pas de connexion à 127.0.0.1 : connexion refusée\n");
}

#[tokio::test]
async fn at_google_a_box_that_was_not_ticked_leaves_what_was_there() {
    let state = tempfile::tempdir().unwrap();
    let (said, config, _) = pasted(state.path(), "openid").await;
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.err.contains("laisser cochée la case de Gmail"), "{}", said.err);
    assert!(kept(&config, 0).is_none());
}

#[test]
fn forgetting_says_what_is_left_to_do_and_names_nobody_twice() {
    let state = tempfile::tempdir().unwrap();
    let account = "account = factures@contoso.fr\n";
    let sections = [o365("factures", "https://login.test", account), o365("clients", "https://login.test", account)];
    let config = config(state.path(), &sections.concat());
    let forget = |lang| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&config, ("factures", true), &Events::nowhere(), lang, &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    };
    let now = SystemTime::now();
    let identity = crate::oauth::Identity { username: Some("factures@contoso.fr".to_owned()), ..Default::default() };
    let signed_in = SignedIn { refresh: crate::secret::Secret::new("r"), identity, since: now, renewed: now };
    Store::open(state.path(), &config.launchers[1]).unwrap().put(&signed_in).unwrap();
    let (code, out, err) = forget(Lang::Fr);
    assert_eq!((code, err.as_str()), (0, ""));
    for words in ["la connexion de factures@contoso.fr", "(clients)", "https://myapps.microsoft.com"] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(kept(&config, 0).is_none());
    assert_eq!(forget(Lang::En), (0, "factures: nobody had signed in\n".to_owned(), String::new()));
}

#[test]
fn who_has_nothing_to_sign_in_to_is_told_so() {
    let state = tempfile::tempdir().unwrap();
    let sections = "[disque]\nlauncher = directory\nsource = /srv/in\ndeliver = /srv/out\n";
    let config = config(state.path(), sections);
    for (name, forget, code, words) in [
        ("facture", false, 2, "aucun lanceur ne s'appelle facture dans"),
        ("disque", false, 1, "disque n'a pas besoin de connexion"),
        ("disque", true, 1, "disque n'a pas besoin de connexion"),
    ] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ended = run(&config, (name, forget), &Events::nowhere(), Lang::Fr, &mut out, &mut err).unwrap();
        let err = String::from_utf8(err).unwrap();
        assert!(ended == code && out.is_empty() && err.contains(words), "{name}: {ended} {err}");
    }
}
