//! Tests of the driver: the same conversations over streams in memory in pieces of any size, and with TLS on both ends.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use proptest::prelude::*;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::super::tests::{look_up, protocol, with_login, words_of};
use super::super::{Ending, Negotiation, Start, before, inside, rehearse};
use super::*;
use crate::config::protocol::{Authentication, Kind, Protocol};
use crate::config::{Address, Endpoint};
use crate::net::stream::Addr;
use crate::tls;

/// A stream that gives its pieces one at a time, then its end, and takes everything.
#[derive(Default)]
struct Pieces {
    rest: VecDeque<Vec<u8>>,
    taken: Vec<u8>,
}

impl Pieces {
    fn of(bytes: &[u8], sizes: &[usize]) -> Self {
        let (mut rest, mut left) = (VecDeque::new(), bytes);
        let mut sizes = sizes.iter().cycle();
        while !left.is_empty() {
            let (piece, more) = left.split_at((*sizes.next().unwrap()).clamp(1, left.len()));
            rest.push_back(piece.to_vec());
            left = more;
        }
        Self { rest, taken: Vec::new() }
    }
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.rest.pop_front() {
            let more = piece.split_off(piece.len().min(out.remaining()));
            out.put_slice(&piece);
            if !more.is_empty() {
                self.rest.push_front(more);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.taken.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// What a rehearsal says must be what the driver does, whatever the pieces.
fn as_rehearsed(protocol: &Protocol, client: bool, tls: bool, sent: (&[u8], &[u8]), sizes: &[usize]) {
    let rehearsed = rehearse(protocol, client, tls, sent, look_up);
    let machine = if tls { inside(protocol, client, None) } else { before(protocol, client) };
    let Some(machine) = machine else { return };
    // what is looked up would be looked up in the network
    if rehearsed_looks_up(protocol.kind, client) {
        return;
    }
    let (mut local, mut remote) = (Pieces::of(sent.0, sizes), Pieces::of(sent.1, sizes));
    let about = About { name: "peer.test", protocol: protocol.kind.as_str(), client };
    let ends = Ends { local: Some(&mut local), remote: Some(&mut remote) };
    let played = run(play(machine, ends, about));
    let said = |who| -> Vec<u8> {
        rehearsed.said.iter().filter(|(to, _)| *to == who).flat_map(|(_, words)| words.clone()).collect()
    };
    assert_eq!((local.taken, remote.taken), (said(Who::Local), said(Who::Remote)));
    match (&rehearsed.ending, played) {
        (Ending::Waiting(_), Err(failed)) => {
            assert!(failed.fault.text.en.contains("closed the connection"), "{failed:?}");
        }
        (Ending::Failed(fault), Err(failed)) => {
            assert_eq!(failed.fault.code, fault.code);
            let start = format!("peer.test, protocol = {}: {}", protocol.kind.as_str(), fault.text.en);
            assert_eq!(failed.fault.text.en, start);
            assert!(failed.fault.text.fr.starts_with("peer.test, protocol = "));
        }
        (Ending::Follow, Ok(Then::Follow)) | (Ending::Direct, Ok(Then::Direct(_))) | (Ending::Over, Ok(Then::End)) => {}
        (Ending::Target(to), Ok(Then::Go(target))) => assert_eq!(to, &target.endpoints),
        (rehearsed, played) => panic!("{}: {played:?}", words_of(rehearsed)),
    }
}

fn rehearsed_looks_up(kind: Kind, client: bool) -> bool {
    !client && matches!(kind, Kind::Connect | Kind::Socks)
}

const KINDS: [Kind; 10] = [
    Kind::Connect,
    Kind::Imap,
    Kind::Ldap,
    Kind::Nntp,
    Kind::Pgsql,
    Kind::Pop3,
    Kind::Proxy,
    Kind::ProxyV2,
    Kind::Smtp,
    Kind::Socks,
];

/// Words that get somewhere, between bytes that do not.
fn script() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"* OK hi\r\n",
        b"stunnel OK\r\n",
        b"a CAPABILITY\r\n",
        b"a STARTTLS\r\n",
        b"* CAPABILITY X\r\na OK\r\n",
        b"+OK hi\r\n",
        b"STLS\r\n",
        b"220 hi\r\n",
        b"220-hi\r\n",
        b"250 x\r\n",
        b"250-x\r\n",
        b"EHLO me\r\n",
        b"STARTTLS\r\n",
        b"382 go\r\n",
        b"200 hi\r\n",
        b"S",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"CONNECT 192.0.2.1:1 HTTP/1.1\r\n\r\n",
        b"\x05\x00",
        b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50",
        b"334 x\r\n",
        b"235 yes\r\n",
        b"\n",
    ];
    let word = prop_oneof![
        8 => proptest::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(word, 0..8).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_split_of_anything_gives_the_same_outcome(
        kind in proptest::sample::select(&KINDS[..]),
        client: bool,
        tls: bool,
        local in script(),
        remote in script(),
        sizes in proptest::collection::vec(1_usize..40, 1..6),
    ) {
        as_rehearsed(&with_login(kind, Authentication::Login), client, tls, (&local, &remote), &sizes);
    }

    #[test]
    fn any_bytes_are_survived(
        kind in proptest::sample::select(&KINDS[..]),
        client: bool,
        tls: bool,
        local in proptest::collection::vec(any::<u8>(), 0..300),
        remote in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        as_rehearsed(&protocol(kind), client, tls, (&local, &remote), &[1]);
        as_rehearsed(&protocol(kind), client, tls, (&local, &remote), &[300]);
    }
}

/// Both ends of TLS with a certificate of its own.
fn configurations() -> (TlsConnector, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.clone()).unwrap();
    let client = ClientConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let server = ServerConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
    (TlsConnector::from(Arc::new(client)), TlsAcceptor::from(Arc::new(server)))
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

async fn expect(stream: &mut DuplexStream, words: &[u8]) {
    let mut read = vec![0; words.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(read.escape_ascii().to_string(), words.escape_ascii().to_string());
}

/// What a server expects to hear, and what it answers.
type Scene = (&'static [u8], &'static [u8]);

/// What a backend greets with, what a client sends, what it is told.
type Intrusion = (Kind, &'static [u8], &'static [u8], &'static [u8]);

/// How dialling failed, and what the client of SOCKS hears of it.
type Answer = (Option<Fault>, &'static [u8]);

#[tokio::test]
async fn tls_stands_behind_every_negotiation_with_a_server() {
    let (connector, acceptor) = configurations();
    let scenes: [(Kind, &[Scene]); 7] = [
        (Kind::Imap, &[(b"", b"* OK hi\r\n"), (b"stunnel STARTTLS\r\n", b"stunnel OK\r\n")]),
        (Kind::Pop3, &[(b"", b"+OK\r\n"), (b"STLS\r\n", b"+OK\r\n")]),
        (Kind::Smtp, &[(b"", b"220 x\r\n"), (b"EHLO localhost\r\n", b"250 x\r\n"), (b"STARTTLS\r\n", b"220 go\r\n")]),
        (Kind::Nntp, &[(b"", b"200 x\r\n"), (b"STARTTLS\r\n", b"382 go\r\n")]),
        (Kind::Pgsql, &[(b"\0\0\0\x08\x04\xd2\x16\x2f", b"S")]),
        (
            Kind::Ldap,
            &[(
                b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037",
                b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00",
            )],
        ),
        (
            Kind::Connect,
            &[(b"CONNECT far.test:993 HTTP/1.1\r\nHost: far.test:993\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n")],
        ),
    ];
    for (kind, scenes) in scenes {
        let (mut near, mut far) = duplex(4096);
        let (mut plain, _app) = duplex(4096);
        let acceptor = acceptor.clone();
        let server = tokio::spawn(async move {
            for (heard, answer) in scenes {
                expect(&mut far, heard).await;
                far.write_all(answer).await.unwrap();
            }
            let mut stream = acceptor.accept(far).await.unwrap();
            stream.write_all(b"inside").await.unwrap();
            stream.flush().await.unwrap();
            stream
        });
        let negotiation = Negotiation::new(&protocol(kind), true);
        negotiation.before_tls(&mut plain, &mut near, "server.test").await.unwrap();
        let mut stream = connector.connect(name(), near).await.unwrap();
        let mut inside = [0; 6];
        stream.read_exact(&mut inside).await.unwrap();
        assert_eq!(&inside, b"inside", "{kind:?}");
        drop(server.await.unwrap());
    }
}

#[tokio::test]
async fn tls_stands_behind_every_negotiation_with_a_client() {
    let (connector, acceptor) = configurations();
    let version = env!("CARGO_PKG_VERSION");
    let found = format!("HTTP/1.0 200 OK\r\nServer: pertuis/{version}\r\n\r\n").into_bytes();
    let found: &'static [u8] = found.leak();
    let scenes: [(Kind, &[u8], &[Scene]); 5] = [
        (
            Kind::Imap,
            b"* OK hi\r\n",
            &[(b"* OK hi (stunnel)\r\n", b"a STARTTLS\r\n"), (b"a OK Begin TLS negotiation now\r\n", b"")],
        ),
        (
            Kind::Pop3,
            b"+OK hi\r\n",
            &[(b"+OK hi + stunnel\r\n", b"STLS\r\n"), (b"+OK Stunnel starts TLS negotiation\r\n", b"")],
        ),
        (Kind::Smtp, b"220 mx hi\r\n", &[(b"220 mx stunnel for hi\r\n", b"STARTTLS\r\n"), (b"220 Go ahead\r\n", b"")]),
        (Kind::Pgsql, b"", &[(b"", b"\0\0\0\x08\x04\xd2\x16\x2f"), (b"S", b"")]),
        (Kind::Connect, b"", &[(b"", b"CONNECT 192.0.2.7:993 HTTP/1.1\r\n\r\n"), (found, b"")]),
    ];
    for (kind, greeting, scenes) in scenes {
        let (mut near, mut far) = duplex(4096);
        let (mut backend, mut behind) = duplex(4096);
        behind.write_all(greeting).await.unwrap();
        let negotiation = Negotiation::new(&protocol(kind), false);
        let client = async {
            for (heard, says) in scenes {
                expect(&mut far, heard).await;
                far.write_all(says).await.unwrap();
            }
            let mut stream = connector.connect(name(), far).await.unwrap();
            stream.write_all(b"inside").await.unwrap();
            stream.flush().await.unwrap();
            stream
        };
        let server = async {
            let backend = negotiation.connects_first().then_some(&mut backend);
            let start = negotiation.greet(&mut near, backend, "192.0.2.1:5").await.unwrap();
            let mut stream = acceptor.accept(near).await.unwrap();
            let mut inside = [0; 6];
            stream.read_exact(&mut inside).await.unwrap();
            assert_eq!(&inside, b"inside");
            start
        };
        let (start, _client) = tokio::join!(server, client);
        match start {
            Start::Tls(Some(target)) => {
                let address = Address { host: Some("192.0.2.7".to_owned()), port: 993 };
                assert_eq!((kind, target.endpoints), (Kind::Connect, vec![Endpoint::Tcp(address)]));
            }
            other => assert!(other == Start::Tls(None) && kind != Kind::Connect, "{kind:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_lies_behind_the_words_that_precede_tls_is_refused_on_both_sides() {
    let servers: [(Kind, &[u8]); 7] = [
        (Kind::Imap, b"* OK hi\r\nstunnel OK\r\n* 1 EXISTS\r\n"),
        (Kind::Pop3, b"+OK hi\r\n+OK\r\n+OK again\r\n"),
        (Kind::Smtp, b"220 x\r\n250 x\r\n220 go\r\n250 x\r\n"),
        (Kind::Nntp, b"200 x\r\n382 go\r\n200 x\r\n"),
        (Kind::Pgsql, b"SE"),
        (Kind::Ldap, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00\x30"),
        (Kind::Connect, b"HTTP/1.1 200 OK\r\n\r\nx"),
    ];
    for (kind, sent) in servers {
        let (mut plain, _app) = duplex(4096);
        let (mut near, mut far) = duplex(4096);
        far.write_all(sent).await.unwrap();
        let negotiation = Negotiation::new(&protocol(kind), true);
        let failed = negotiation.before_tls(&mut plain, &mut near, "server.test").await.unwrap_err();
        let said = &failed.fault.text.en;
        assert!(!failed.told && failed.fault.code == Code::Tls && said.contains("the server sent more"), "{failed:?}");
        assert!(said.starts_with(&format!("server.test, protocol = {}: ", kind.as_str())), "{said}");
    }
    let clients: [Intrusion; 5] = [
        (Kind::Imap, b"* OK hi\r\n", b"a STARTTLS\r\nb NOOP\r\n", b"* OK hi (stunnel)\r\n"),
        (Kind::Pop3, b"+OK hi\r\n", b"STLS\r\nUSER x\r\n", b"+OK hi + stunnel\r\n"),
        (Kind::Smtp, b"220 mx hi\r\n", b"STARTTLS\r\nRSET\r\n", b"220 mx stunnel for hi\r\n"),
        (Kind::Pgsql, b"", b"\0\0\0\x08\x04\xd2\x16\x2f\x16\x03", b""),
        (Kind::Connect, b"", b"CONNECT 192.0.2.7:993 HTTP/1.1\r\n\r\n\x16", b""),
    ];
    for (kind, greeting, sent, told) in clients {
        let (mut near, mut far) = duplex(4096);
        let (mut backend, mut behind) = duplex(4096);
        behind.write_all(greeting).await.unwrap();
        let negotiation = Negotiation::new(&protocol(kind), false);
        let client = async {
            expect(&mut far, told).await;
            far.write_all(sent).await.unwrap();
        };
        let greet = negotiation.greet(&mut near, Some(&mut backend), "192.0.2.1:5");
        let (failed, ()) = tokio::join!(greet, client);
        let failed = failed.unwrap_err();
        assert!(failed.fault.text.en.contains("the client sent more"), "{failed:?}");
        drop(near);
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{kind:?} said {} before it refused", rest.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_begins_with_tls_gets_it() {
    for kind in [Kind::Smtp, Kind::Imap] {
        let (mut near, mut far) = duplex(4096);
        let (mut backend, mut behind) = duplex(4096);
        behind.write_all(b"220 mx hi\r\n").await.unwrap();
        far.write_all(b"\x16\x03\x01").await.unwrap();
        let negotiation = Negotiation::new(&protocol(kind), false);
        let start = negotiation.greet(&mut near, Some(&mut backend), "192.0.2.1:5").await.unwrap();
        assert_eq!(start, Start::Direct(vec![0x16]));
        // the rest of the handshake and the backend's greeting are still there
        expect(&mut near, b"\x03\x01").await;
        expect(&mut backend, b"220 mx hi\r\n").await;
    }
}

#[tokio::test]
async fn a_refusal_tells_the_client_in_the_words_of_its_protocol() {
    for (kind, sent, told) in [
        (Kind::Imap, &b"* OK hi\r\nstunnel NO no\r\n"[..], &b"* BYE stunnel: Server does not support TLS\r\n"[..]),
        (Kind::Pop3, b"+OK hi\r\n-ERR no\r\n", b"-ERR Server does not support TLS\r\n"),
        (Kind::Smtp, b"220 hi\r\n250 x\r\n502 no\r\n", b"421 Server does not support TLS\r\n"),
        (Kind::Nntp, b"200 hi\r\n502 no\r\n", b"400 Server does not support TLS\r\n"),
    ] {
        let (mut plain, mut app) = duplex(4096);
        let (mut near, mut far) = duplex(4096);
        far.write_all(sent).await.unwrap();
        let negotiation = Negotiation::new(&protocol(kind), true);
        let failed = negotiation.before_tls(&mut plain, &mut near, "server.test").await.unwrap_err();
        assert!(failed.told, "{failed:?}");
        assert!(failed.fault.text.en.contains("leave out `protocol`"), "{failed:?}");
        drop(plain);
        let mut heard = Vec::new();
        app.read_to_end(&mut heard).await.unwrap();
        assert!(heard.ends_with(told), "{}", heard.escape_ascii());
    }
    // nobody is there any more to be told
    let (mut plain, app) = duplex(4096);
    drop(app);
    let (mut near, mut far) = duplex(4096);
    far.write_all(b"* BYE busy\r\n").await.unwrap();
    let negotiation = Negotiation::new(&protocol(Kind::Imap), true);
    let failed = negotiation.before_tls(&mut plain, &mut near, "server.test").await.unwrap_err();
    assert!(!failed.told && failed.fault.text.en.contains("`* BYE busy`"), "{failed:?}");
}

#[tokio::test]
async fn a_client_of_socks_learns_how_dialling_went() {
    let negotiation = Negotiation::new(&protocol(Kind::Socks), false);
    let no = |code| Fault::new(code, text!("no", "non"));
    let asked: [(&[u8], [Answer; 3]); 2] = [
        (
            b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x02\x03\xe1",
            [
                (None, b"\x05\x00\x00\x01\xc0\x00\x02\x02\x03\xe1"),
                (Some(no(Code::Connect)), b"\x05\x05\x00\x01\xc0\x00\x02\x02\x03\xe1"),
                (Some(no(Code::Resolve)), b"\x05\x04\x00\x01\xc0\x00\x02\x02\x03\xe1"),
            ],
        ),
        (
            b"\x04\x01\x03\xe1\xc0\x00\x02\x02joe\0",
            [
                (None, b"\0\x5a\x03\xe1\xc0\x00\x02\x02"),
                (Some(no(Code::Connect)), b"\0\x5b\x03\xe1\xc0\x00\x02\x02"),
                (Some(no(Code::Resolve)), b"\0\x5b\x03\xe1\xc0\x00\x02\x02"),
            ],
        ),
    ];
    for (asked, answers) in asked {
        for (failure, answer) in answers {
            let (mut near, mut far) = duplex(4096);
            far.write_all(asked).await.unwrap();
            let target = negotiation.target(&mut near, "192.0.2.1:5").await.unwrap().unwrap();
            if asked[0] == 5 {
                expect(&mut far, b"\x05\x00").await;
            }
            let at = Addr::Ip("192.0.2.2:993".parse().unwrap());
            let dialled = failure.as_ref().map_or(Ok(&at), Err);
            negotiation.answer(&mut near, &target, dialled, "192.0.2.1:5").await.unwrap();
            expect(&mut far, answer).await;
        }
    }
    let (mut near, mut far) = duplex(4096);
    far.write_all(b"\x05\x01\x00\x05\xf0\x00\x01\xc0\x00\x02\x02\x00\x00").await.unwrap();
    assert_eq!(negotiation.target(&mut near, "192.0.2.1:5").await.unwrap(), None);
}

#[tokio::test]
async fn a_protocol_without_words_at_some_point_says_none() {
    for kind in [Kind::Proxy, Kind::ProxyV2, Kind::Socks] {
        let (mut near, mut far) = duplex(64);
        let negotiation = Negotiation::new(&protocol(kind), false);
        assert_eq!(negotiation.greet(&mut near, None::<&mut DuplexStream>, "x").await.unwrap(), Start::Tls(None));
        drop(near);
        let mut rest = Vec::new();
        far.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
    let (mut near, _far) = duplex(64);
    let negotiation = Negotiation::new(&protocol(Kind::Imap), true);
    negotiation.inside_tls(&mut near, None, "x").await.unwrap();
}
