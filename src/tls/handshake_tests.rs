//! Both ends of a handshake against each other, and old clients' first messages.

use std::path::Path;

use rustls::{CipherSuite, HandshakeKind, NamedGroup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::ca::{Pair, TestCa};
use super::client::{ClientOptions, ClientTls, explain};
use super::failure::Cause;
use super::server::{ServerOptions, ServerTls, hello};
use crate::config::tls::{Auth, Cipher, Group, Settings, Suite, TicketKeys};
use crate::config::tunnel::Sni;
use crate::config::{Check, TlsVersion, Trust};
use crate::model::{Code, Fault};

fn trust(check: Check, file: Option<&Path>) -> Trust {
    Trust { check, ca_file: file.map(Path::to_owned), ..Trust::default() }
}

fn client(trust: &Trust, pair: Option<&Pair>, versions: (TlsVersion, TlsVersion)) -> ClientTls {
    let (cert, key) = (pair.map(|pair| pair.cert.as_path()), pair.map(|pair| pair.key.as_path()));
    ClientTls::build(&ClientOptions {
        trust,
        cert,
        key,
        sni: &Sni::Dialled,
        versions,
        resume: true,
        settings: &Settings::default(),
    })
    .unwrap()
}

fn server(trust: &Trust, pair: &Pair, versions: (TlsVersion, TlsVersion), resume: bool) -> ServerTls {
    ServerTls::build(&ServerOptions {
        trust,
        cert: &pair.cert,
        key: Some(&pair.key),
        versions,
        resume,
        settings: &Settings::default(),
        redirect: false,
    })
    .unwrap()
}

const BOTH: (TlsVersion, TlsVersion) = (TlsVersion::V12, TlsVersion::V13);
const OLD: (TlsVersion, TlsVersion) = (TlsVersion::V12, TlsVersion::V12);
const NEW: (TlsVersion, TlsVersion) = (TlsVersion::V13, TlsVersion::V13);

/// Shakes hands and carries one byte each way; whether the session was resumed.
async fn meet(client: &ClientTls, server: &ServerTls) -> (Result<bool, Fault>, Result<(), Fault>) {
    let (near, far) = duplex(64 * 1024);
    let there = async {
        let mut stream = server.accept(far, "client").await?;
        let said = stream.read_u8().await;
        let _ = stream.write_u8(said.unwrap_or(0)).await;
        let _ = stream.shutdown().await;
        Ok(())
    };
    let here = async {
        let mut stream = client.connect(near, "localhost").await?;
        let answer = async {
            stream.write_u8(7).await?;
            stream.flush().await?;
            stream.read_u8().await
        };
        answer.await.map_err(|error| Fault::new(Code::Tls, explain("localhost", &error)))?;
        let kind = stream.get_ref().1.handshake_kind();
        Ok(kind == Some(rustls::HandshakeKind::Resumed))
    };
    tokio::join!(here, there)
}

#[tokio::test]
async fn version_1_certificates_sign_in_both_versions_of_tls() {
    let dir = tempfile::tempdir().unwrap();
    let pair = TestCa::new(dir.path()).version_1("localhost");
    for versions in [OLD, NEW] {
        let client = client(&trust(Check::Chain, Some(&pair.cert)), None, versions);
        let server = server(&trust(Check::Off, None), &pair, BOTH, true);
        assert!(!meet(&client, &server).await.0.unwrap(), "{versions:?}");
    }
}

#[tokio::test]
async fn a_refused_certificate_is_explained_to_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let server = server(&trust(Check::Off, None), &ca.expired("localhost"), BOTH, true);
    let (here, there) = meet(&client(&trust(Check::Chain, Some(&ca.cert)), None, BOTH), &server).await;
    let fault = here.unwrap_err();
    assert_eq!(fault.code, Code::Tls);
    for word in ["localhost", "2021-01-01", "pin = "] {
        assert!(fault.text.en.contains(word) && fault.text.fr.contains(word), "{fault}");
    }
    assert!(there.unwrap_err().text.en.contains("CertificateExpired"));
}

#[tokio::test]
async fn sessions_are_resumed_unless_the_server_is_told_not_to() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let pair = ca.good("localhost");
    for versions in [OLD, NEW] {
        for resume in [true, false] {
            let client = client(&trust(Check::Chain, Some(&ca.cert)), None, versions);
            let server = server(&trust(Check::Off, None), &pair, BOTH, resume);
            assert!(!meet(&client, &server).await.0.unwrap());
            assert_eq!(meet(&client, &server).await.0.unwrap(), resume, "{versions:?}");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_asked_for_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, stranger) = (TestCa::new(dir.path()), TestCa::new(dir.path()));
    let asking = Trust { require: true, ..trust(Check::Chain, Some(&ca.cert)) };
    let server = server(&asking, &ca.good("localhost"), BOTH, true);
    let towards = trust(Check::Chain, Some(&ca.cert));
    let (good, bad) = (ca.good("me.test"), stranger.good("me.test"));
    assert!(meet(&client(&towards, Some(&good), BOTH), &server).await.0.is_ok());
    let (here, there) = meet(&client(&towards, Some(&bad), BOTH), &server).await;
    assert!(here.unwrap_err().text.en.contains("our certificate"));
    assert!(there.unwrap_err().text.en.contains("refused"));
    let (here, there) = meet(&client(&towards, None, BOTH), &server).await;
    assert!(here.is_err());
    assert!(there.unwrap_err().text.en.contains("did not return a certificate"));
}

#[tokio::test]
async fn plain_text_a_missing_version_and_a_cut_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let towards = trust(Check::Chain, Some(&ca.cert));
    for (says, word) in [("+OK POP3 ready\r\n", "does not speak TLS"), ("", "closed the connection")] {
        let (near, mut far) = duplex(64 * 1024);
        far.write_all(says.as_bytes()).await.unwrap();
        far.shutdown().await.unwrap();
        let fault = client(&towards, None, BOTH).connect(near, "mail.test").await.unwrap_err();
        assert!(fault.text.en.contains(word) && fault.text.en.contains("mail.test"), "{fault}");
    }
    let server = server(&trust(Check::Off, None), &ca.good("localhost"), OLD, true);
    let (here, there) = meet(&client(&towards, None, NEW), &server).await;
    assert!(here.unwrap_err().text.en.contains("no common TLS version"));
    assert!(there.unwrap_err().text.en.contains("no common TLS version"));
}

#[tokio::test]
async fn a_probe_accepts_and_says_what_verification_would_have_said() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let probing = Trust { probe: true, ..trust(Check::Off, Some(&ca.cert)) };
    for (pair, expected) in [(ca.good("localhost"), true), (ca.good("other.test"), false)] {
        let client = client(&probing, None, BOTH);
        assert!(client.take_verdict().is_none());
        let server = server(&trust(Check::Off, None), &pair, BOTH, true);
        assert!(meet(&client, &server).await.0.is_ok());
        assert_eq!(client.take_verdict().unwrap().is_ok(), expected);
        assert!(client.take_verdict().is_none());
    }
}

/// A server with these settings, which resumes.
fn tuned(trust: &Trust, pair: &Pair, settings: &Settings, redirect: bool) -> ServerTls {
    let key = Some(pair.key.as_path());
    let options = ServerOptions { trust, cert: &pair.cert, key, versions: BOTH, resume: true, settings, redirect };
    ServerTls::build(&options).unwrap()
}

fn tickets(first: u8) -> Settings {
    let keys = TicketKeys { key: vec![first; 32].into(), mac: vec![2; 16].into() };
    Settings { ticket_keys: Some(keys), ..Settings::default() }
}

#[tokio::test]
async fn suites_and_groups_are_those_of_the_settings() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let pair = ca.good("localhost");
    let settings = Settings {
        suites13: Some(vec![Cipher::ChaCha20Poly1305]),
        suites12: Some(vec![Suite { auth: Auth::Ecdsa, cipher: Cipher::Aes128Gcm }]),
        groups: Some(vec![Group::P384]),
        ..Settings::default()
    };
    for (versions, suite) in [
        (NEW, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
        (OLD, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ] {
        let client = client(&trust(Check::Chain, Some(&ca.cert)), None, versions);
        let server = tuned(&trust(Check::Off, None), &pair, &settings, false);
        let (near, far) = duplex(64 * 1024);
        let (here, there) = tokio::join!(client.connect(near, "localhost"), server.accept(far, "client"));
        let (here, _there) = (here.unwrap(), there.unwrap());
        let state = here.get_ref().1;
        assert_eq!(state.negotiated_cipher_suite().unwrap().suite(), suite);
        assert_eq!(state.negotiated_key_exchange_group().unwrap().name(), NamedGroup::secp384r1);
    }
    // RSA alone is nothing for this certificate
    let rsa = Settings { suites12: Some(vec![Suite { auth: Auth::Rsa, cipher: Cipher::Aes128Gcm }]), ..settings };
    let server = tuned(&trust(Check::Off, None), &pair, &rsa, false);
    let (_, there) = meet(&client(&trust(Check::Chain, Some(&ca.cert)), None, OLD), &server).await;
    assert!(there.unwrap_err().text.en.contains("docs/tls.md"));
}

#[tokio::test]
async fn tickets_of_the_same_secrets_outlive_a_restart_and_a_cache_alone_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let pair = ca.good("localhost");
    let cache = Settings { tickets: false, ..Settings::default() };
    for versions in [OLD, NEW] {
        for (first, second, after) in [
            (tickets(1), tickets(1), true),
            (tickets(1), tickets(3), false),
            (Settings::default(), Settings::default(), false),
            (cache.clone(), cache.clone(), false),
        ] {
            let off = trust(Check::Off, None);
            let client = client(&trust(Check::Chain, Some(&ca.cert)), None, versions);
            let (one, two) = (tuned(&off, &pair, &first, false), tuned(&off, &pair, &second, false));
            assert!(!meet(&client, &one).await.0.unwrap());
            assert!(meet(&client, &one).await.0.unwrap(), "{versions:?} {first:?}");
            assert_eq!(meet(&client, &two).await.0.unwrap(), after, "{versions:?} {first:?} {second:?}");
        }
    }
}

#[tokio::test]
async fn a_session_of_a_service_that_demands_less_opens_none_that_demands_more() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, stranger) = (TestCa::new(dir.path()), TestCa::new(dir.path()));
    let pair = ca.good("localhost");
    let strict = Trust { require: true, ..trust(Check::Chain, Some(&ca.cert)) };
    let (bad, good) = (stranger.good("me.test"), ca.good("me.test"));
    for versions in [OLD, NEW] {
        for (lax, shown, word) in [
            (trust(Check::Off, None), None, "did not return a certificate"),
            (Trust { require: true, ..trust(Check::Off, None) }, Some(&bad), "unknown CA"),
            (Trust { require: true, ..trust(Check::Off, None) }, Some(&good), ""),
        ] {
            let client = client(&trust(Check::Chain, Some(&ca.cert)), shown, versions);
            let open = tuned(&lax, &pair, &tickets(1), false);
            assert!(meet(&client, &open).await.0.is_ok());
            let (here, there) = meet(&client, &tuned(&strict, &pair, &tickets(1), false)).await;
            match there {
                Ok(()) => assert!(word.is_empty() && here.unwrap(), "{versions:?} resumed"),
                Err(fault) => assert!(!word.is_empty() && fault.text.en.contains(word), "{versions:?} {word}: {fault}"),
            }
        }
    }
}

#[tokio::test]
async fn with_redirect_nobody_is_refused_and_the_verdict_comes_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, stranger) = (TestCa::new(dir.path()), TestCa::new(dir.path()));
    let pair = ca.good("localhost");
    let strict = Trust { require: true, ..trust(Check::Chain, Some(&ca.cert)) };
    let (bad, good) = (stranger.good("me.test"), ca.good("me.test"));
    for versions in [OLD, NEW] {
        for (shown, expected) in [(Some(&good), true), (Some(&bad), false), (None, false)] {
            let server = tuned(&strict, &pair, &Settings::default(), true);
            let client = client(&trust(Check::Chain, Some(&ca.cert)), shown, versions);
            for resumed in [false, true] {
                let (near, far) = duplex(64 * 1024);
                let there = async {
                    let mut stream = server.accept(far, "client").await.unwrap();
                    stream.write_u8(1).await.unwrap();
                    stream.shutdown().await.unwrap();
                    (stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed), server.verdict(&stream))
                };
                let here = async {
                    let mut stream = client.connect(near, "localhost").await.unwrap();
                    stream.read_u8().await.unwrap();
                };
                let ((), (kind, verdict)) = tokio::join!(here, there);
                assert_eq!((kind, verdict.is_ok()), (resumed, expected), "{versions:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_name_that_a_client_sent_is_known_before_a_configuration_is_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let ca = TestCa::new(dir.path());
    let server = server(&trust(Check::Off, None), &ca.good("localhost"), BOTH, true);
    let client = client(&trust(Check::Chain, Some(&ca.cert)), None, BOTH);
    // in small pieces, as a slow line brings it; smaller ones than a message of rustls' client, which reads nothing while
    // it has something to send, would stop both
    let (near, far) = duplex(64);
    let there = async {
        let hello = hello(far, "client").await.unwrap();
        assert_eq!(hello.server_name(), Some("localhost"));
        let mut stream = server.accept_hello(hello, "client").await.unwrap();
        stream.write_u8(7).await.unwrap();
        stream.flush().await.unwrap();
    };
    let here = async { client.connect(near, "localhost").await.unwrap().read_u8().await.unwrap() };
    assert_eq!(tokio::join!(here, there).0, 7);
}

/// A `ClientHello` of this version with these suites (RFC 5246, 7.4.1.2), in a record of TLS 1.0.
fn client_hello(version: [u8; 2], suites: &[u16], extensions: &[u8]) -> Vec<u8> {
    let counted = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let mut body = [&version[..], &[7; 32], &[0], &counted(&suites), &[1, 0]].concat();
    if !extensions.is_empty() {
        body.extend(counted(extensions));
    }
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    [&[22, 3, 1], counted(&message).as_slice()].concat()
}

#[tokio::test]
async fn an_old_client_is_told_for_what_it_is_and_gets_an_alert() {
    // signature_algorithms and supported_groups, without which nothing is read of TLS 1.2
    let modern = [0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0];
    let dir = tempfile::tempdir().unwrap();
    let server = server(&trust(Check::Off, None), &TestCa::new(dir.path()).good("localhost"), BOTH, true);
    for (first, word, alert) in [
        (client_hello([3, 0], &[0x000A], &[]), "speaks SSL 3 at most", true),
        (client_hello([3, 1], &[0xC013, 0x002F], &[]), "speaks TLS 1.0 at most", true),
        (client_hello([3, 2], &[0xC013, 0x002F], &modern), "speaks TLS 1.1 at most", true),
        (client_hello([3, 3], &[0x009C, 0x002F, 0x00FF], &modern), "nothing but RSA key exchange,", true),
        (client_hello([3, 3], &[0xC013, 0x009C], &modern), "nothing but RSA key exchange or CBC", true),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "does not speak TLS", false),
    ] {
        let (mut near, far) = duplex(64 * 1024);
        near.write_all(&first).await.unwrap();
        let fault = server.accept(far, "192.0.2.7").await.unwrap_err();
        assert!(fault.text.en.contains(word) && fault.text.en.contains("192.0.2.7"), "{word}: {fault}");
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        assert!(!alert || answer.first() == Some(&21), "{word}: {answer:?}");
    }
}

#[tokio::test]
async fn a_stranger_to_tls_is_told_apart_from_an_old_client_and_gives_its_stream_back() {
    let old = client_hello([3, 1], &[0xC013, 0x002F], &[]);
    for (first, cause) in [(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), Cause::NoTls), (old, Cause::Other)] {
        let (mut near, far) = duplex(64 * 1024);
        near.write_all(&first).await.unwrap();
        let (failure, mut stream) = hello(far, "client").await.unwrap_err();
        assert_eq!(failure.cause, cause, "{}", failure.fault);
        stream.write_all(b"bye").await.unwrap();
    }
}
