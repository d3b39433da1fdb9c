//! The configuration as a whole: files in, values, mistakes and warnings out.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::launcher::{Kind, Since};
use super::oauth::{Credential, Provider};
use super::schedule::Interval::Every as every;
use super::tunnel::{Failover, Setting, Side, Sni};
use super::*;
use crate::event::Level;
use crate::model::Disposition;
use crate::secret::Secret;

fn load_text(text: &str) -> Result<Config, Vec<Remark>> {
    load_bytes(Path::new("t.ini"), text.as_bytes(), &Overrides::default())
}

fn good(text: &str) -> Config {
    load_text(text).unwrap_or_else(|mistakes| panic!("{text}\n{}", lines(&mistakes).join("\n")))
}

fn as_stunnel(text: &str) -> Result<Config, Vec<Remark>> {
    let overrides = Overrides { program_is_stunnel: true, lang: Lang::En };
    load_bytes(Path::new("t.ini"), text.as_bytes(), &overrides)
}

fn lines(remarks: &[Remark]) -> Vec<String> {
    remarks.iter().map(|remark| remark.line(Lang::En)).collect()
}

/// The mistakes of a client-mode tunnel with these lines besides.
fn tunnel_mistakes(more: &str) -> Vec<String> {
    lines(&load_text(&format!("{CLIENT}{more}")).err().unwrap_or_default())
}

fn client(more: &str) -> Tunnel {
    good(&format!("{CLIENT}{more}")).tunnels.remove(0)
}

fn server(more: &str) -> Tunnel {
    good(&format!("[t]\ncert = c.pem\naccept = 1\nconnect = 2\n{more}")).tunnels.remove(0)
}

fn imap(more: &str) -> Launcher {
    good(&format!("{IMAP}{more}")).launchers.remove(0)
}

fn o365(more: &str) -> Launcher {
    good(&format!("{O365}{more}")).launchers.remove(0)
}

fn imap_mistakes(more: &str) -> Vec<String> {
    lines(&load_text(&format!("{IMAP}{more}")).err().unwrap_or_default())
}

mod adullact;

const CLIENT: &str = "[t]\nclient = yes\naccept = 1\nconnect = h:2\n";
const IMAP: &str = "[l]\nlauncher = imap\nserver = imap.example.test\naccount = a@example.test\npassword = p\n\
                    deliver = /srv/wait\n";
const O365: &str = "[o]\nlauncher = o365\ndeliver = /srv/wait\n";
const DIRECTORY: &str = "[d]\nlauncher = directory\nsource = /srv/in\ndeliver = /srv/wait\n";

#[test]
fn the_configuration_of_the_wiki_runs_unchanged() {
    let config = load(Path::new("conf/wiki.ini"), &Overrides::default()).unwrap();
    let names: Vec<&str> = config.tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect();
    assert_eq!(names, ["gmail-pop3", "gmail-smtp"]);
    for tunnel in &config.tunnels {
        assert!(tunnel.client);
        assert_eq!(tunnel.trust.check, Check::Chain);
        assert!(tunnel.trust.dialled_name && !tunnel.trust.probe);
        assert_eq!(tunnel.versions, (TlsVersion::V12, TlsVersion::V13));
    }
    assert_eq!(config.tunnels[0].accept[0].to_string(), "127.0.0.1:110");
    assert_eq!(config.tunnels[1].connect[0].to_string(), "smtp.gmail.com:465");
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].text.en.contains("negotiates TLS 1.2 or 1.3"), "{:?}", config.warnings);
    assert!(config.path.is_absolute());
}

#[test]
fn the_commented_sections_of_the_wiki_work_once_they_have_a_certificate() {
    let text = std::fs::read_to_string("conf/wiki.ini").unwrap();
    let text = text
        .lines()
        .map(|line| match line.strip_prefix(';') {
            Some(rest) if !rest.starts_with([' ', '*']) => rest,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    let config = good(&format!("cert = /etc/cert.pem\n{text}"));
    assert_eq!(config.tunnels.len(), 6);
    assert_eq!(config.tunnels.iter().filter(|tunnel| !tunnel.client).count(), 3);
}

#[test]
fn every_file_of_conf_loads() {
    let mut seen = 0;
    for entry in std::fs::read_dir("conf").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "ini") {
            let config = load(&path, &Overrides::default());
            assert!(config.is_ok(), "{}", lines(&config.unwrap_err()).join("\n"));
            seen += 1;
        }
    }
    assert!(seen >= 3);
}

#[test]
fn every_invalid_file_fails_with_a_place() {
    let mut seen = 0;
    for entry in std::fs::read_dir("tests/data/invalid").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "ini") {
            continue;
        }
        seen += 1;
        let Err(mistakes) = load(&path, &Overrides::default()) else { panic!("{} loads", path.display()) };
        assert!(!mistakes.is_empty());
        let text = std::fs::read_to_string(&path).unwrap();
        for want in text.lines().filter_map(|line| line.strip_prefix("; mistake ")) {
            let (line, words) = want.split_once(' ').unwrap();
            let found = mistakes.iter().any(|m| m.place.line.to_string() == line && m.text.en.contains(words));
            assert!(found, "{}: wanted {want}, got\n{}", path.display(), lines(&mistakes).join("\n"));
        }
    }
    assert!(seen >= 15);
}

#[test]
fn five_mistakes_give_five_lines() {
    let text =
        "verfy = 2\n[t]\nclient = maybe\naccept = 70000\nconnect = h:1\nTIMEOUTidle = 5x\n[l]\nlauncher = adulact\n";
    let mistakes = load_text(text).unwrap_err();
    let places: Vec<String> = mistakes.iter().map(|m| m.place.to_string()).collect();
    assert_eq!(places, ["t.ini:1", "t.ini:3", "t.ini:4", "t.ini:6", "t.ini:8"], "{}", lines(&mistakes).join("\n"));
    assert!(mistakes[0].text.en.contains("did you mean \"verify\""));
    assert!(mistakes[4].text.en.contains("expected one of"));
}

#[test]
fn one_file_means_the_same_in_every_encoding_and_with_the_labels_of_the_forms() {
    let english = "[été]\nlauncher = imap\nserver = h\nsource = INBOX/Reçus\naccount = a\npassword = pässé\n\
                   deliver = /srv/wait\nfilter = /é.*/\nafter = seen\nunseen_only = yes\n";
    let french = "[été]\r\nLanceur = IMAP\r\nServeur = h\r\nChemin source = INBOX/Reçus\r\nCompte = a\r\n\
                  Mot de passe = pässé\r\nLivrer = /srv/wait\r\nFiltre = /é.*/\r\nAprès = lu\r\nNon lus = oui\r\n";
    let wanted = good(english).launchers;
    let wide = |text: &str, order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        "\u{FEFF}".encode_utf16().chain(text.encode_utf16()).flat_map(order).collect()
    };
    for text in [english, french] {
        for bytes in [
            text.as_bytes().to_vec(),
            format!("\u{FEFF}{text}").into_bytes(),
            wide(text, u16::to_le_bytes),
            wide(text, u16::to_be_bytes),
            encoding_rs::WINDOWS_1252.encode(text).0.into_owned(),
        ] {
            let config = load_bytes(Path::new("t.ini"), &bytes, &Overrides::default()).unwrap();
            assert_eq!(config.launchers, wanted);
        }
    }
}

#[test]
fn defaults_of_the_preamble_reach_later_sections_and_repeatable_ones_add_up() {
    let config = good(
        "client = yes\nconnect = first:1\nCAfile = /ca.pem\nTIMEOUTclose = 0\nverifyPeer = yes\ninterval = 1h\n\
         filter = /a.*/\n[t]\naccept = 1\nconnect = second:2\nTIMEOUTclose = 5\n[l]\nlauncher = imap\n\
         server = h\naccount = a\npassword = p\ndeliver = /w\nfilter = /b.*/\n",
    );
    let (tunnel, launcher) = (&config.tunnels[0], &config.launchers[0]);
    let targets: Vec<String> = tunnel.connect.iter().map(ToString::to_string).collect();
    assert_eq!(targets, ["first:1", "second:2"]);
    assert_eq!(tunnel.timeout_close, Duration::from_secs(5));
    assert_eq!(tunnel.trust.check, Check::Pinned);
    assert_eq!(launcher.interval, every(Duration::from_hours(1)));
    assert_eq!(launcher.filter.len(), 2);
    assert_eq!((launcher.trust.check, &launcher.trust.ca_file), (Check::Chain, &None));
}

#[test]
fn a_client_verifies_chain_and_name_unless_the_file_says_otherwise() {
    for more in ["", "verifyChain = yes", "verify = 2", "verifyPeer = no", "CAfile = ca.pem\nverify = 2"] {
        let trust = client(more).trust;
        assert_eq!((trust.check, trust.dialled_name, trust.probe), (Check::Chain, true, false), "{more}");
    }
    for more in ["verifyChain = no", "verify = 0", "verify = 1"] {
        let config = good(&format!("[t]\nclient = yes\naccept = 1\nconnect = h:2\n{more}"));
        assert_eq!(config.tunnels[0].trust.check, Check::Off, "{more}");
        assert_eq!(config.warnings.len(), 1, "{more}");
    }
    assert_eq!(client("CAfile = c\nverify = 3").trust.check, Check::ChainAndPinned);
    assert_eq!(client("CAfile = c\nverify = 4").trust.check, Check::Pinned);
    assert_eq!(client("CAfile = c\nverifyPeer = yes").trust.check, Check::Pinned);
    assert_eq!(client("CAfile = c\nverifyPeer = yes\nverifyChain = yes").trust.check, Check::ChainAndPinned);
    let pin = format!("pin = {}", "0".repeat(64));
    assert_eq!(client(&pin).trust.check, Check::Pinned);
    assert!(!client(&pin).trust.dialled_name);
    assert_eq!(client(&format!("{pin}\nverify = 2")).trust.check, Check::Pinned);
    let named = client("checkHost = a\ncheckHost = b\ncheckIP = ::1").trust;
    assert_eq!((named.check_host.len(), named.check_ip.len(), named.dialled_name), (2, 1, false));
}

#[test]
fn pinning_needs_something_to_pin_and_names_need_verification() {
    for more in ["verifyPeer = yes", "verify = 3", "verify = 4", "CAfile = c\nCAfile =\nverifyPeer = yes"] {
        assert!(tunnel_mistakes(more).concat().contains("Either \"CAengine\", \"CAfile\""), "{more}");
    }
    let mistakes = tunnel_mistakes("verifyChain = no\ncheckHost = x");
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(mistakes[0].starts_with("t.ini:6: Either \"verifyChain\" or \"verifyPeer\""));
}

#[test]
fn a_server_asks_for_client_certificates_as_stunnel_does() {
    let of = |more: &str| {
        let trust = server(more).trust;
        (trust.check, trust.require)
    };
    assert_eq!(of(""), (Check::Off, false));
    assert_eq!(of("requireCert = yes"), (Check::Off, true));
    assert_eq!(of("CAfile = c\nverify = 0"), (Check::Off, false));
    assert_eq!(of("CAfile = c\nverify = 1"), (Check::Chain, false));
    assert_eq!(of("CAfile = c\nverify = 2"), (Check::Chain, true));
    assert_eq!(of("CAfile = c\nverifyChain = yes"), (Check::Chain, true));
    assert_eq!(of("CAfile = c\nverifyPeer = yes"), (Check::Pinned, true));
    assert!(load_text("[t]\ncert = c\naccept = 1\nconnect = 2\nverifyChain = yes").is_err());
}

#[test]
fn under_the_name_of_stunnel_its_defaults_hold() {
    let text = "[t]\nclient = yes\naccept = 1\nconnect = h:2\n";
    let config = as_stunnel(text).unwrap();
    let trust = &config.tunnels[0].trust;
    assert_eq!((trust.check, trust.probe, config.global.defaults), (Check::Off, true, Defaults::Stunnel));
    assert_eq!((config.global.foreground, config.global.syslog), (Foreground::No, cfg!(unix)));
    let said = good(&format!("defaults = stunnel\n{text}"));
    assert_eq!(said.tunnels, config.tunnels);
    let ours = as_stunnel(&format!("defaults = pertuis\n{text}")).unwrap();
    assert_eq!(ours.tunnels[0].trust.check, Check::Chain);
    for more in ["verify = 2", "verifyChain = yes", "verifyPeer = yes", "verify = 1"] {
        let mistakes = lines(&as_stunnel(&format!("{text}{more}")).unwrap_err());
        assert!(mistakes[0].contains("Either \"CAengine\""), "{more}");
    }
    let chain = as_stunnel(&format!("{text}CAfile = c\nverifyChain = yes")).unwrap();
    assert!(!chain.tunnels[0].trust.dialled_name);
    assert!(chain.warnings[0].text.en.contains("without the name"));
    assert!(as_stunnel(&format!("pid = run.pid\n{text}")).unwrap_err()[0].text.en.contains("full path"));
}

#[test]
fn what_a_tunnel_lacks_is_said_in_the_words_of_stunnel() {
    let of = |text: &str| lines(&load_text(text).unwrap_err());
    assert_eq!(of("[t]\nclient = yes\naccept = 1").len(), 1);
    assert!(of("[t]\nclient = yes\naccept = 1")[0].contains("Each service must define two endpoints"));
    assert!(of("[t]\naccept = 1\nconnect = 2")[0].contains("TLS server needs a certificate"));
    assert!(of("[t]\ncert = c\naccept = 1\nprotocol = socks\nconnect = 2")[0].contains("2 targets"));
    // stunnel itself wants a `connect` that this protocol never uses
    assert!(load_text("[t]\ncert = c\naccept = 1\nprotocol = connect\nconnect = 2").is_ok());
    assert!(load_text("[t]\ncert = c\naccept = 1\nprotocol = connect").is_ok());
    assert!(of("client = yes")[0].contains("no [section]"));
    assert!(of("")[0].starts_with("t.ini:0: "));
    assert!(of("[t]\nclient = yes\naccept = 1\nconnect = 2\noutput = /x")[0].contains("before the first section"));
    assert!(of("[t]\nclient = yes\naccept = 1\nconnect = 2\ndeliver = /x")[0].contains("belongs in a launcher"));
    assert!(of("[l]\nserver = h\naccount = a\npassword = p\ndeliver = /x")[0].contains("no `launcher =`"));
    assert!(of("launcher = imap\n[t]\nclient = yes\naccept = 1\nconnect = 2")[0].contains("stands in it"));
}

#[test]
fn values_of_a_tunnel_arrive_typed() {
    let tunnel = client(
        "TIMEOUTbusy = 5m\nTIMEOUTidle = -1\nTIMEOUTconnect=3\nfailover = RR\ndelay = yes\nreset = no\nsni =\n\
         socket = l:TCP_NODELAY=1\nsocket = r:SO_KEEPALIVE=1\ndebug = 7\nsessionResume = no\nlogId = unique\n\
         retry = yes\nstack = 65536\nkey = k\ncert = c",
    );
    assert_eq!(tunnel.timeout_busy, Duration::from_mins(5));
    assert_eq!(tunnel.timeout_connect, Duration::from_secs(3));
    assert_eq!(tunnel.timeout_idle, None);
    assert_eq!((tunnel.failover, tunnel.sni, tunnel.debug), (Failover::RoundRobin, Sni::Off, Level::Debug));
    assert!(tunnel.delay && !tunnel.reset && !tunnel.resume);
    assert_eq!(tunnel.socket.len(), 2);
    assert_eq!((tunnel.socket[1].side, &tunnel.socket[1].setting), (Side::Remote, &Setting::KeepAlive(true)));
    assert_eq!(client("TIMEOUTidle = 0").timeout_idle, Some(Duration::ZERO));
    assert_eq!(client("").timeout_idle, Some(Duration::from_hours(12)));
    assert_eq!(client("sni = mail.example.test").sni, Sni::Name("mail.example.test".to_owned()));
    assert!(!server("options = NO_TICKET").tls.tickets && server("options = NO_TICKET").resume);
    let keys = "ticketKeySecret = 00112233445566778899aabbccddeeff\nticketMacSecret = ffeeddccbbaa99887766554433221100";
    assert!(server(keys).tls.ticket_keys.is_some());
    assert!(server("options = NO_TICKET\noptions = -NO_TICKET").resume);
}

#[test]
fn protocol_versions_are_raised_to_what_is_still_spoken() {
    use TlsVersion::{V12, V13};
    for (more, wanted) in [
        ("", (V12, V13)),
        ("sslVersion = SSLV3", (V12, V13)),
        ("sslVersion = all", (V12, V13)),
        ("sslVersion = TLSv1.2", (V12, V12)),
        ("sslVersionMin = TLSv1", (V12, V13)),
        ("sslVersionMin = TLSv1.3", (V13, V13)),
        ("sslVersionMax = TLSv1.1", (V12, V13)),
        ("options = NO_TLSv1_3", (V12, V12)),
        ("options = NO_TLSv1_2\noptions = NO_SSLv2", (V13, V13)),
    ] {
        assert_eq!(client(more).versions, wanted, "{more}");
    }
    for more in [
        "sslVersion = SSLv2",
        "sslVersionMin = TLSv1.3\nsslVersionMax = TLSv1.2",
        "options = NO_TLSv1_2\noptions = NO_TLSv1_3",
        "sslVersion = TLSv1.2\noptions = NO_TLSv1_2",
    ] {
        assert_eq!(tunnel_mistakes(more).len(), 1, "{more}");
    }
}

/// What becomes of each line of a tunnel: a mistake, one that says "not in this version", a warning, nothing.
const FATES: [(&str, &[&str]); 4] = [
    (
        "mistake",
        &[
            "PSKsecrets = /x",
            "CRLfile = x",
            "CAstore = pkcs11:token=x",
            "cert = pkcs11:token=x",
            "ciphers = AES256-SHA",
            "ciphersuites = TLS_AES_128_CCM_SHA256",
            "curves = P-521",
            "curves = foo",
            "ticketKeySecret = 0011",
            "ciphers = PSK",
            "OCSP = http://x",
            "ident = root",
            "libwrap = yes",
            "engineId = x",
            "sessiond = h:1",
            "CAengine = x",
            "pty = yes",
            "protocol = cifs",
            "protocol = proxy",
            "protocol = xmpp",
            "protocol = connect",
            "protocolAuthentication = ntlm",
            "redirect = 1",
            "exec = /bin/x",
            "connect = h",
            "config = Foo:bar",
            "options = NO_SUCH",
        ],
    ),
    ("later", &["bridge = yes", "local_password = x"]),
    (
        "warning",
        &[
            "retry = 500",
            "execArgs = cat",
            "protocolHost = h:1",
            "requireCert = yes",
            "curve = prime256v1:X448",
            "ticketKeySecret = 00112233445566778899aabbccddeeff",
            "securityLevel = 0",
            "OCSPaia = yes",
            "OCSPnonce = yes",
            "options = -NO_SSLv3",
            "config = Curves:x",
            "TIMEOUTocsp = 5",
            "socket = l:SO_OOBINLINE=yes",
        ],
    ),
    (
        "nothing",
        &[
            "OCSPaia = no",
            "ciphers = HIGH:!PSK",
            "ciphersuites = TLS_AES_128_GCM_SHA256",
            "curve = prime256v1",
            "session = 300",
            "CRLfile = x\nCAfile = y",
            "CAstore = file:/x",
            "CAstore = org.openssl.winstore:",
            "options = ALL",
            "options = SINGLE_DH_USE",
            "transparent = none",
            "libwrap = no",
            "renegotiation = no",
            "sessionCacheSize = 10",
            "retry = no",
            "protocol = pop3",
            "local = 127.0.0.1",
            "transparent = source",
            "setuid = nobody",
            "connect = /run/x",
            "logId = unique",
            "socket = l:IP_TOS=16",
            "socket = r:SO_BINDTODEVICE=lo",
        ],
    ),
];

#[test]
fn what_cannot_be_honoured_is_a_mistake_and_what_only_tunes_a_warning() {
    for (fate, options) in FATES {
        for more in options {
            let (mistakes, warnings) = match load_text(&format!("{CLIENT}{more}")) {
                Ok(config) => (Vec::new(), config.warnings.len()),
                Err(mistakes) => (lines(&mistakes), 0),
            };
            let later = mistakes.iter().filter(|mistake| mistake.contains("not in this version")).count();
            let seen = match (mistakes.len(), later, warnings) {
                (1, 0, 0) => "mistake",
                (1, 1, 0) => "later",
                (0, 0, 1) => "warning",
                (0, 0, 0) => "nothing",
                _ => "several",
            };
            assert_eq!(seen, fate, "{more}: {mistakes:?}");
        }
    }
    let fips = load_text(&format!("fips = yes\n{CLIENT}")).unwrap_err();
    assert!(fips[0].text.en.contains("FIPS support is not available"));
    let config = good(&format!("fips = no\ncompression = zlib\nRNDfile = x\nengine = auto\n{CLIENT}"));
    assert_eq!(config.warnings.len(), 3);
}

#[test]
fn values_of_a_launcher_arrive_typed() {
    let launcher = imap(
        "tls = implicit\nsource = INBOX/Factures\nauth = plain\nsince = 2024-01-31\nmax_size = 20M\nafter = move Done\n\
         after_empty = delete\ninterval = 90s\ninline = yes\nenabled = no\nstaging = /srv/stage\nquarantine = /q\n\
         keep = 0\ntake = attachments\nnested = no\nempty = skip\nname = {name}\ngroup = flat\nindex = none\n\
         subfolders = no\nidle = no\nunseen_only = yes\npin = sha256:0000000000000000000000000000000000000000000000000000000000000000",
    );
    assert_eq!(launcher.kind, Kind::Imap);
    assert_eq!(launcher.server.as_ref().unwrap().to_string(), "imap.example.test:993");
    assert_eq!((launcher.auth, launcher.max_size), (launcher::Auth::Plain, 20 << 20));
    assert_eq!(launcher.since, Some(Since::Date(jiff::civil::date(2024, 1, 31))));
    assert_eq!(launcher.after, Disposition::Move("Done".to_owned()));
    assert_eq!(launcher.after_empty, Disposition::Delete);
    assert_eq!(launcher.interval, every(Duration::from_secs(90)));
    assert!(launcher.inline && !launcher.enabled && launcher.unseen_only);
    assert_eq!(launcher.trust.check, Check::Pinned);
    let plain = imap("");
    assert_eq!((plain.source.as_str(), plain.max_size, plain.enabled), ("INBOX", 150 << 20, true));
    assert_eq!(plain.interval, every(Duration::from_mins(5)));
    let directory = good(&format!("{DIRECTORY}after = déplacer /srv/done")).launchers.remove(0);
    assert_eq!((directory.kind, directory.max_size), (Kind::Directory, 4 << 30));
    assert_eq!(directory.settle, Duration::from_secs(30));
    assert_eq!(directory.after, Disposition::Move("/srv/done".to_owned()));
}

#[test]
fn pop3_has_its_own_ports_and_none_of_what_only_folders_have() {
    let section = "[l]\nlanceur = POP\nserveur = pop.example.test\ncompte = a\nmot_de_passe = b\nlivrer = /w\n";
    let launcher = good(&format!("idle = yes\nsubfolders = yes\n{section}chemin_source = inbox\n")).launchers.remove(0);
    assert_eq!((launcher.kind, launcher.server.unwrap().port), (Kind::Pop3, 995));
    assert!(!launcher.subfolders && !launcher.idle);
    let launcher = good(&format!("{section}tls = starttls\nauth = apop\nafter = delete\n")).launchers.remove(0);
    assert_eq!((launcher.server.unwrap().port, launcher.auth), (110, launcher::Auth::Apop));
    for more in ["source = INBOX/Factures", "subfolders = yes", "unseen_only = yes", "after = seen", "after = move X"] {
        let mistakes = lines(&load_text(&format!("{section}{more}\n")).unwrap_err());
        assert!(mistakes.len() == 1 && mistakes[0].contains("POP3"), "{more}: {mistakes:?}");
    }
    assert!(imap_mistakes("auth = apop")[0].contains("POP3"));
}

#[test]
fn a_sections_own_alerts_replace_those_before_it() {
    let text =
        "alert = mailto:a@x.test\nalert = https://hook.test/1\n[l]\nlauncher = directory\nsource = /in\ndeliver = /w\n";
    assert_eq!(good(text).launchers[0].alert.len(), 2);
    let own = good(&format!("{text}alert = mailto:b@x.test\n")).launchers.remove(0).alert;
    assert_eq!(own, [launcher::Alert::Mail("b@x.test".to_owned())]);
    for bad in
        ["alert = mailto:nobody", "alert = http://x.test/", "alert = x", "proxy = ftp://h:1", "proxy = http://u:p@h"]
    {
        let mistakes = imap_mistakes(bad);
        assert!(mistakes.len() == 1 && mistakes[0].contains("expected"), "{bad}: {mistakes:?}");
    }
}

#[test]
fn a_launcher_of_microsoft_365_needs_an_application_and_nothing_else() {
    let launcher = o365("client_id = app\n");
    assert_eq!((launcher.kind, launcher.server, launcher.account), (Kind::O365, None, None));
    assert_eq!((launcher.source.as_str(), launcher.max_size, launcher.idle), ("INBOX", 150 << 20, false));
    let oauth = launcher.oauth.unwrap();
    assert_eq!((oauth.provider, oauth.client_id.as_str()), (Provider::Microsoft, "app"));
    assert_eq!((oauth.tenant.as_str(), oauth.credential), ("organizations", Credential::Person { secret: None }));
    assert_eq!(oauth.authority, "https://login.microsoftonline.com");
    assert_eq!((oauth.graph_root.as_str(), oauth.mail_host), ("https://graph.microsoft.com", "outlook.office365.com"));
    let launcher = o365(
        "client_id = app\ntenant = example.test\nclient_secret = s\nboite = f@example.test\nsous_dossiers = oui\n\
         non_lus = oui\ndepuis = 30d\napres = catégorie GED importé\napres_vide = move Archive\ngraph_root = \
         http://127.0.0.1:1/graph/\nauthority = http://[::1]:2\n",
    );
    assert!(launcher.subfolders && launcher.unseen_only && launcher.since.is_some());
    assert_eq!(launcher.mailbox.as_deref(), Some("f@example.test"));
    assert_eq!(launcher.after, Disposition::Category("GED importé".to_owned()));
    let oauth = launcher.oauth.unwrap();
    assert_eq!((oauth.authority.as_str(), oauth.graph_root.as_str()), ("http://[::1]:2", "http://127.0.0.1:1/graph"));
    assert_eq!(oauth.credential, Credential::Secret(Secret::new("s")));
    // a default before the sections is meant for launchers of other kinds
    let defaults = "auth = plain\npassword = p\ntls = starttls\nafter = seen\nclient_id = app\n";
    let config = good(&format!("{defaults}{O365}{IMAP}{DIRECTORY}"));
    assert_eq!((&config.launchers[0].password, &config.launchers[1].oauth), (&None, &None));
}

#[test]
fn each_cloud_has_its_own_addresses() {
    let seen: HashSet<String> = ["global", "Bleu", "delos", "gcc-high", "DoD", "china"]
        .map(|cloud| o365(&format!("client_id = a\ncloud = {cloud}\n")).oauth.unwrap().graph_root)
        .into();
    assert_eq!(seen.len(), 6, "{seen:?}");
    let bleu = o365("client_id = a\nnuage = bleu\n").oauth.unwrap();
    assert_eq!(
        (bleu.authority.as_str(), bleu.mail_host),
        ("https://login.sovcloud-identity.fr", "outlook.sovcloud.fr")
    );
}

#[test]
fn a_certificate_is_the_applications_where_it_signs_in_itself() {
    let app = "client_id = a\ntenant = example.test\nmailbox = m@example.test\ncert = /c.pem\n";
    let certificate = |key: &str| Credential::Certificate { cert: "/c.pem".into(), key: key.into() };
    for (more, key) in [("", "/c.pem"), ("key = /k.pem\n", "/k.pem")] {
        let launcher = o365(&format!("{app}{more}"));
        assert_eq!(launcher.oauth.unwrap().credential, certificate(key));
        assert_eq!((launcher.cert, launcher.key), (None, None));
    }
    let launcher = imap("cert = /c.pem");
    assert_eq!((launcher.cert, launcher.oauth), (Some("/c.pem".into()), None));
}

#[test]
fn a_token_takes_the_place_of_the_password() {
    let section = IMAP.replace("password = p\n", "");
    let at = |server: &str, more: &str| {
        let text = section.replace("imap.example.test", server);
        good(&format!("{text}auth = xoauth2\n{more}")).launchers.remove(0)
    };
    for (server, provider) in [
        ("imap.gmail.com", Provider::Google),
        ("imap.googlemail.com:993", Provider::Google),
        ("outlook.office365.com", Provider::Microsoft),
        ("Outlook.Office.com.", Provider::Microsoft),
        ("imap-mail.outlook.com", Provider::Microsoft),
        ("partner.outlook.cn", Provider::Microsoft),
    ] {
        let launcher = at(server, "client_id = a\n");
        assert_eq!(launcher.oauth.unwrap().provider, provider, "{server}");
        assert_eq!((launcher.auth, launcher.password), (launcher::Auth::XOAuth2, None));
    }
    let google =
        at("127.0.0.1", "provider = google\nclient_id = a\nclient_secret = s\nauthority = http://127.0.0.1:1\n");
    let google = google.oauth.unwrap();
    assert_eq!(google.credential, Credential::Person { secret: Some(Secret::new("s")) });
    let service = at("imap.gmail.com", "service_account = /k.json\n").oauth.unwrap();
    assert_eq!(service.credential, Credential::ServiceAccount("/k.json".into()));
    let bearer = good(&format!("{section}auth = oauthbearer\nprovider = microsoft\nclient_id = a\n"));
    assert_eq!(bearer.launchers[0].auth, launcher::Auth::OAuthBearer);
}

#[test]
fn a_sign_in_that_cannot_be_right_is_a_mistake() {
    let of = |text: String| lines(&load_text(&text).err().unwrap_or_default());
    for (more, words) in [
        ("", "docs/microsoft365.md"),
        ("client_id =", "a value is missing"),
        ("client_id = a\nserver = outlook.office365.com", "no use for it"),
        ("client_id = a\npassword = p", "no use for it"),
        ("client_id = a\nauth = xoauth2", "no use for it"),
        ("client_id = a\nprovider = google", "Microsoft's"),
        ("client_id = a\nservice_account = /k.json", "is Google's"),
        ("client_id = a\ncloud = moon", "expected one of global"),
        ("client_id = a\ntenant = a/b", "GUID"),
        ("client_id = a\nauthority = http://login.example.test", "only towards this machine"),
        ("client_id = a\ngraph_root = graph.microsoft.com", "expected https://"),
        ("client_id = a\nclient_secret = s\nmailbox = m", "needs the directory"),
        ("client_id = a\nclient_secret = s\nmailbox = m\ntenant = Common", "needs the directory"),
        ("client_id = a\ncert = /c\nmailbox = m\ntenant = consumers", "needs the directory"),
        ("client_id = a\nclient_secret = s\ntenant = example.test", "has no mailbox"),
        ("client_id = a\nclient_secret = s\ncert = /c\ntenant = t.test\nmailbox = m", "not both"),
        ("client_id = a\nkey = /k.pem", "cert is missing"),
        ("client_id = a\nafter = category", "category NAME"),
        ("client_id = a\nafter = move inbox", "the folder that is read"),
        ("client_id = a\nsettle = 5s", "only directory and adullact launchers"),
    ] {
        let mistakes = of(format!("{O365}{more}\n"));
        assert!(mistakes.len() == 1 && mistakes[0].contains(words), "{more}: {mistakes:?}");
    }
    for (more, words) in [
        ("auth = xoauth2\nclient_id = a\nprovider = google", "not with a password"),
        ("client_id = a", "only for launcher = o365"),
        ("provider = google", "only for launcher = o365"),
        ("mailbox = m", "only launcher = o365"),
        ("after = category X", "has categories"),
    ] {
        let mistakes = imap_mistakes(more);
        assert!(mistakes.len() == 1 && mistakes[0].contains(words), "{more}: {mistakes:?}");
    }
    let section = IMAP.replace("password = p\n", "auth = xoauth2\n");
    for (more, words) in [
        ("client_id = a", "provider = microsoft"),
        ("provider = google", "Desktop app"),
        ("provider = microsoft", "docs/microsoft365.md"),
        ("provider = google\nclient_id = a\ntenant = t", "Google has none"),
        ("provider = google\nclient_id = a\ncert = /c", "Google has none"),
        ("provider = google\nservice_account = /k\nclient_id = a", "remove client_id"),
        ("provider = microsoft\nclient_id = a\nmailbox = m", "only launcher = o365"),
        ("provider = microsoft\nclient_id = a\nclient_secret = s", "needs the directory"),
    ] {
        let mistakes = of(format!("{section}{more}\n"));
        assert!(mistakes.len() == 1 && mistakes[0].contains(words), "{more}: {mistakes:?}");
    }
}

#[test]
fn what_is_moved_into_the_folder_that_is_read_would_be_found_again() {
    for more in
        ["after = move INBOX", "source = INBOX/Factures\nafter = move inbox/factures/", "apres_vide = move Inbox"]
    {
        let mistakes = imap_mistakes(more);
        assert!(mistakes.len() == 1 && mistakes[0].contains("the folder that is read"), "{more}: {mistakes:?}");
    }
    assert_eq!(imap_mistakes("after = move INBOX/Done"), Vec::<String>::new());
}

#[test]
fn what_a_proxy_calls_loopback_is_not_ours() {
    let section = |proxy: &str| {
        format!(
            "[l]\nlauncher = imap\nserver = localhost\ntls = none\naccount = a\npassword = p\ndeliver = /w\nproxy = {proxy}\n"
        )
    };
    let mistakes = lines(&load_text(&section("http://proxy.test:3128")).unwrap_err());
    assert!(mistakes.len() == 1 && mistakes[0].contains("towards proxy.test"), "{mistakes:?}");
    good(&section("socks5://127.0.0.1:1080"));
}

#[test]
fn a_misspelt_kind_hides_no_other_mistake_and_makes_up_none() {
    let mistakes = load_text(
        "[l]\nlauncher = imapp\nsettle = 5s\nfilter = *.pdf\nmax_size = 12X\ninterval = 5 minutes\nafter = gone\n",
    );
    let places: Vec<String> = mistakes.unwrap_err().iter().map(|mistake| mistake.place.to_string()).collect();
    assert_eq!(places, ["t.ini:2", "t.ini:4", "t.ini:5", "t.ini:6", "t.ini:7"]);
}

#[test]
fn a_launcher_that_cannot_be_right_is_a_mistake() {
    for more in [
        "settle = 5s",
        "accept = 1",
        "tls = none",
        "staging = /srv/wait/.stage",
        "quarantine = /srv/wait",
        "server = https://x",
        "interval = 0",
        "max_size = 0",
        "max_unpacked = much",
        "max_entries = -1",
        "max_depth = 0",
        "filter = no slashes",
        "after = burn",
    ] {
        assert_eq!(imap_mistakes(more).len(), 1, "{more}: {:?}", imap_mistakes(more));
    }
    for more in ["after = seen", "deliver = /srv/in", "after = move /srv/in/done", "password = x", "since = hier"] {
        assert!(load_text(&format!("{DIRECTORY}{more}")).is_err(), "{more}");
    }
    let missing = load_text("[l]\nlauncher = imap\n").unwrap_err();
    assert_eq!(missing.len(), 4, "{}", lines(&missing).join("\n"));
    let twice = lines(&load_text(&format!("{IMAP}{IMAP}")).unwrap_err());
    assert!(twice.len() == 1 && twice[0].starts_with("t.ini:7: ") && twice[0].contains("t.ini:1"), "{twice:?}");
}

#[test]
fn defaults_that_only_mailboxes_can_follow_leave_directories_alone() {
    for after in ["seen", "move Done"] {
        let config = good(&format!("after = {after}\n{IMAP}{DIRECTORY}"));
        assert_ne!(config.launchers[0].after, Disposition::Leave);
        assert_eq!(config.launchers[1].after, Disposition::Leave);
    }
    let config = good(&format!("after = move /srv/done\n{DIRECTORY}"));
    assert_eq!(config.launchers[0].after, Disposition::Move("/srv/done".to_owned()));
}

#[test]
fn one_slip_gives_one_line() {
    for slip in ["lancheur = imap", "launcher = imapp", "launchr = imap"] {
        let mistakes = lines(&load_text(&IMAP.replace("launcher = imap", slip)).unwrap_err());
        assert!(mistakes.len() == 1 && mistakes[0].starts_with("t.ini:2: "), "{slip}: {mistakes:?}");
    }
    for right in ["launcher", "server", "password", "deliver"] {
        let text = IMAP.replacen(&format!("{right} ="), right, 1);
        let mistakes = lines(&load_text(&text).unwrap_err());
        assert!(mistakes.len() == 1 && mistakes[0].contains("No '=' found"), "{right}: {mistakes:?}");
    }
    for (right, slip) in [("server", "sever"), ("password", "Mot de pase"), ("deliver", "livrerr")] {
        let mistakes = lines(&load_text(&IMAP.replacen(&format!("{right} ="), &format!("{slip} ="), 1)).unwrap_err());
        assert!(mistakes.len() == 1 && mistakes[0].contains("did you mean"), "{slip}: {mistakes:?}");
    }
    let mistakes = lines(&load_text("[t]\nclient = yes\nacept = 1\nconnect = 2").unwrap_err());
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(load_text(&IMAP.replace("[l]", "[ ]")).is_err());
}

#[test]
fn a_file_of_nothing_but_unknown_options_is_refused_in_bounded_time() {
    let mistakes = load_text(&("nonsens = 1\n".repeat(5_000) + "[t]\n" + &"konnekt = 1\n".repeat(5_000))).unwrap_err();
    assert!(mistakes.len() <= 210, "{}", mistakes.len());
}

#[test]
fn clear_text_is_for_loopback_unless_it_is_allowed() {
    for host in ["localhost", "127.0.0.1:143", "[::1]"] {
        let text = IMAP.replace("imap.example.test", host);
        assert_eq!(good(&format!("{text}tls = none")).launchers[0].server.as_ref().unwrap().port, 143);
    }
    assert_eq!(imap("tls = none\nallow_clear_text = yes").tls, launcher::Tls::None);
}

#[test]
fn an_option_that_stands_twice_in_a_launcher_counts_last_and_is_told() {
    let config = good(&format!("{IMAP}after = seen\nafter = delete\nfilter = /a.*/\nfilter = /b.*/"));
    assert_eq!(config.launchers[0].after, Disposition::Delete);
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert_eq!(config.warnings[0].place.line, 7);
}

#[test]
fn the_blanks_of_a_google_application_password_are_dropped() {
    let of = |server: &str, password: &str| {
        let text = IMAP.replace("imap.example.test", server).replace("password = p", &format!("password = {password}"));
        good(&text).launchers[0].password.clone().unwrap().reveal().to_owned()
    };
    assert_eq!(of("imap.gmail.com", "abcd efgh ijkl mnop"), "abcdefghijklmnop");
    assert_eq!(of("imap.googlemail.com:993", "abcd efgh ijkl mnop"), "abcdefghijklmnop");
    assert_eq!(of("imap.example.test", "abcd efgh ijkl mnop"), "abcd efgh ijkl mnop");
    assert_eq!(of("imap.gmail.com", "abc defgh ijkl mnop"), "abc defgh ijkl mnop");
}

#[test]
fn a_secret_that_is_not_there_is_a_mistake_that_does_not_show_it() {
    let text = IMAP.replace("password = p", "password = file:/nonexistent/s\npasword = hunter2");
    let mistakes = lines(&load_text(&text).unwrap_err());
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(mistakes[0].starts_with("t.ini:5: ") && mistakes[0].contains("/nonexistent/s"));
    assert!(mistakes[1].contains("did you mean \"password\"") && !mistakes.concat().contains("hunter2"));
}

#[test]
fn explain_says_every_value_and_its_place_but_no_secret() {
    let config = good(&format!(
        "interval = 1h\n{IMAP}filter = /a.*/\nfilter = /b.*/\n[t]\nclient = yes\naccept = 1\nconnect = 2"
    ));
    let of = |section: &str, option: &str| -> Vec<(String, Option<usize>)> {
        config
            .explain()
            .iter()
            .filter(|e| e.section.as_ref().is_some_and(|s| s.as_str() == section) && e.option == option)
            .map(|e| (e.value.clone(), e.place.as_ref().map(|p| p.line)))
            .collect()
    };
    assert_eq!(of("l", "password"), [("***".to_owned(), Some(6))]);
    assert_eq!(of("l", "interval"), [("1h".to_owned(), Some(1))]);
    assert_eq!(of("l", "filter").len(), 2);
    assert_eq!(of("l", "source"), [("INBOX".to_owned(), None)]);
    assert_eq!(of("t", "TIMEOUTbusy"), [("300".to_owned(), None)]);
    assert_eq!(of("t", "verifyChain"), [("yes".to_owned(), None)]);
    assert!(
        of("l", "staging")[0].0.ends_with(".pertuis-staging") && of("l", "quarantine")[0].0.ends_with("quarantine")
    );
    assert!(config.explain().iter().any(|e| e.section.is_none() && e.option == "state"));
}

#[test]
fn places_tell_where_an_option_stands_and_do_not_take_part_in_equality() {
    let (first, second) = (client("delay = yes"), client("; comment\n\ndelay = yes"));
    assert_eq!(first, second);
    assert_eq!(first.places.of("delay").line, 5);
    assert_eq!(second.places.of("delay").line, 7);
    assert_eq!(first.places.of("cert").line, 1);
    assert_ne!(first, client("delay = no"));
}

#[test]
fn idioms_of_real_files_load() {
    let text = "# a comment\n; another\n  client = yes\ncert = C:\\stunnel\\cert.pem\npid =\nsocket = l:TCP_NODELAY=1\n\
        socket = r:TCP_NODELAY=1\nTIMEOUTclose = 0\nfips = no\nsyslog = no\ndebug = 7\noutput = /var/log/stunnel.log\n\
        options = NO_SSLv2\noptions = SINGLE_DH_USE\nsetEnv_is_no_option_here = 1\n"
        .replace("setEnv_is_no_option_here = 1\n", "")
        + "[389] \naccept=:::1636\nconnect=ldap.example.test:636\nCRLfile =\nOCSPaia = no \nretry = yes\n\
           [gemini wss]\nACCEPT = 127.0.0.1:1965\nConnect = example.test:443\nverify = 2\ndelay = yes\n\
           [redis]\naccept = 6380\nconnect = 10.0.0.1:6379\nverifyChain = no\nsslVersion = all\n\
           ciphers = DEFAULT@SECLEVEL=1\nsecurityLevel = 0\n\
           [old]\naccept = localhost:pop3\nconnect = pop.example.test:pop3s\nsslVersion = SSLv3\n\
           [server]\nclient = no\naccept = 0.0.0.0:443\nconnect = 80\nsslVersion = TLSv1\n";
    let config = good(&text);
    assert_eq!(config.tunnels.len(), 5);
    assert_eq!(config.tunnels[0].accept[0].tcp().unwrap().host.as_deref(), Some("::"));
    assert_eq!(config.tunnels[3].connect[0].tcp().unwrap().port, 995);
    assert_eq!(config.global.pid, None);
}

#[test]
fn idioms_that_stay_mistakes_say_why() {
    for (text, words) in [
        ("[x]\ncert = c\nclient = ${CLIENT}\naccept = 1\nconnect = 2", "either 'yes' or 'no'"),
        ("[x]\nclient = yes\naccept = 1\nconnect = h:${PORT}", "Unknown TCP service"),
        ("[x]\nclient = yes\naccept = 1\nconnect = 2\ncert = ~/c.pem", "`~` is not expanded"),
        ("[x]\nclient = yes\naccept = 1\nconnect = 2\nPSKsecrets = /x\nciphers = PSK", "PSK"),
        ("[x]\naccept = 1\nconnect = 2", "TLS server needs a certificate"),
    ] {
        let mistakes = lines(&load_text(text).unwrap_err());
        assert!(mistakes[0].contains(words), "{text}: {mistakes:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = load_bytes(Path::new("t.ini"), &bytes, &Overrides::default());
    }

    #[test]
    fn no_lines_make_it_panic(
        lines in proptest::collection::vec(
            (0_usize..option::all().len(), "[ -~é]{0,12}|yes|no|0|/a/|127.0.0.1:1", 0_u8..8), 0..30),
    ) {
        let mut text = String::new();
        for (row, value, section) in lines {
            if section == 0 {
                text.push_str("[s]\nclient = yes\n");
            } else if section == 1 {
                text.push_str("[l]\nlauncher = imap\n");
            }
            text.extend([option::all()[row].name, " = ", &value, "\n"]);
        }
        if let Err(mistakes) = load_text(&text) {
            prop_assert!(!mistakes.is_empty());
        }
    }
}
