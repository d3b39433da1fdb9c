//! The two ends of a tunnel, spoken by the test itself: what they send, what reaches them, how it ended for them.
//!
//! Everything blocks and has an end ([`PATIENCE`]); one thread can play both ends, because the program under test
//! stands between them. TLS is rustls without any verification: what the peers saw is for the test to judge.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use pertuis::tls::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, ResolvesClientCert, Resumption};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, HandshakeKind, ProtocolVersion, RootCertStore,
    ServerConfig, ServerConnection, SignatureScheme, SupportedProtocolVersion,
};

use super::ca::Pair;

/// Longer than anything here takes; what reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A port of 127.0.0.1 that nobody has, outside of the range from which the kernel takes the ports of clients.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 150).unwrap() * 64;
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if [[127, 0, 0, 1], [0, 0, 0, 0]].iter().all(|host| TcpListener::bind(SocketAddr::from((*host, port))).is_ok())
        {
            return port;
        }
    }
}

/// Whether anybody listens on a port, without a connection that would be seen.
pub(crate) fn is_listening(port: u16) -> bool {
    const LISTEN: &str = "0A";
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        std::fs::read_to_string(table).unwrap_or_default().lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, state) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
            state == LISTEN && local.ends_with(&format!(":{port:04X}"))
        })
    })
}

/// A listening socket; connections are taken when the test wants one.
pub(crate) struct Target {
    listener: TcpListener,
}

impl Target {
    pub(crate) fn new() -> Self {
        Self::on(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(crate) fn on(at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener }
    }

    pub(crate) fn at(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection.
    pub(crate) fn accept(&self) -> Conn {
        self.accept_within(PATIENCE).expect("nobody came")
    }

    pub(crate) fn accept_within(&self, patience: Duration) -> Option<Conn> {
        let deadline = Instant::now() + patience;
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => return Some(Conn::of(socket)),
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(_) => return None,
            }
        }
    }
}

/// One end of a connection, plain at first.
pub(crate) struct Conn {
    socket: TcpStream,
    tls: Option<Box<Connection>>,
    asked: Option<Arc<AtomicBool>>,
}

/// How a connection ended for the peer that looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// End of the stream, by TCP alone.
    Fin,
    /// Aborted.
    Reset,
    /// TLS said goodbye, then TCP ended.
    NotifyFin,
    /// TLS said goodbye, TCP was aborted.
    NotifyReset,
    /// TLS said goodbye and TCP stays open.
    Notify,
    /// It is still open.
    Open,
    /// A TLS alert or nonsense.
    Broken,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl Conn {
    pub(crate) fn to(at: SocketAddr) -> io::Result<Self> {
        TcpStream::connect_timeout(&at, PATIENCE).map(Self::of)
    }

    pub(crate) fn of(socket: TcpStream) -> Self {
        socket.set_nonblocking(false).unwrap();
        // a connection that is aborted already is no reason to fail here
        let _ = socket.set_nodelay(true);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { socket, tls: None, asked: None }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.socket.peer_addr().unwrap()
    }

    /// Shakes hands as a TLS server.
    pub(crate) fn accept_tls(self, server: &Arc<ServerConfig>) -> io::Result<Self> {
        let tls = ServerConnection::new(Arc::clone(server)).unwrap();
        self.secure(tls.into(), None)
    }

    /// Shakes hands as a TLS client; an empty `name` sends no server name.
    pub(crate) fn connect_tls(self, client: &Client, name: &str) -> io::Result<Self> {
        let mut config = (*client.config).clone();
        client.asked.store(false, Ordering::SeqCst);
        config.enable_sni = !name.is_empty();
        let name = if name.is_empty() { "localhost" } else { name };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        self.secure(tls.into(), Some(Arc::clone(&client.asked)))
    }

    fn secure(mut self, mut tls: Connection, asked: Option<Arc<AtomicBool>>) -> io::Result<Self> {
        while tls.is_handshaking() {
            tls.complete_io(&mut self.socket)?;
        }
        // tickets, and the end of a handshake that the other side may refuse
        while tls.wants_write() {
            tls.write_tls(&mut self.socket)?;
        }
        self.tls = Some(Box::new(tls));
        self.asked = asked;
        Ok(self)
    }

    /// Sends; what the other side no longer takes is its business.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        let Some(tls) = &mut self.tls else { return self.socket.write_all(bytes).is_ok() };
        for part in bytes.chunks(16 << 10) {
            if tls.writer().write_all(part).is_err() {
                return false;
            }
            while tls.wants_write() {
                if tls.write_tls(&mut self.socket).is_err() {
                    return false;
                }
            }
        }
        true
    }

    /// Exactly `length` bytes as text, or what came before the end.
    pub(crate) fn take(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        let mut have = 0;
        while have < length {
            match self.read(&mut bytes[have..]) {
                Ok(0) | Err(_) => break,
                Ok(count) => have += count,
            }
        }
        String::from_utf8_lossy(&bytes[..have]).into_owned()
    }

    /// Up to and with the next line feed.
    pub(crate) fn line(&mut self) -> String {
        let mut text = String::new();
        while !text.ends_with('\n') {
            let one = self.take(1);
            if one.is_empty() {
                break;
            }
            text += &one;
        }
        text
    }

    /// Sends `bytes` and expects the other end of the tunnel to get them.
    pub(crate) fn say(&mut self, words: &str, other: &mut Self) -> String {
        self.send(words.as_bytes());
        other.take(words.len())
    }

    /// Plain: FIN. TLS: `close_notify` and no FIN.
    pub(crate) fn finish(&mut self) {
        match &mut self.tls {
            None => drop(self.socket.shutdown(Shutdown::Write)),
            Some(tls) => {
                tls.send_close_notify();
                while tls.wants_write() && tls.write_tls(&mut self.socket).is_ok() {}
            }
        }
    }

    /// FIN, whatever TLS would have to say.
    pub(crate) fn finish_tcp(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Aborts the connection.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads to the end: what came, and how it ended. `patience` without anything means open.
    pub(crate) fn ending(&mut self, patience: Duration) -> (String, Ending) {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let (mut all, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
        let end = loop {
            match self.read(&mut buffer) {
                Ok(0) if self.tls.is_some() => break self.below(),
                Ok(0) => break Ending::Fin,
                Ok(count) => all.extend(&buffer[..count]),
                Err(error) => break ending_of(&error),
            }
        };
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        (String::from_utf8_lossy(&all).into_owned(), end)
    }

    /// How the connection ends, when nothing more than the end is of interest.
    pub(crate) fn ends(&mut self) -> Ending {
        self.ending(PATIENCE).1
    }

    /// Waits for the other side's end and answers with our own: how it ended.
    pub(crate) fn ends_ours(&mut self) -> String {
        let (rest, end) = self.ending(PATIENCE);
        self.finish();
        self.finish_tcp();
        format!("{end:?} {rest}")
    }

    /// What TCP says after TLS has said goodbye. A short look: "open" is an answer here.
    fn below(&mut self) -> Ending {
        self.socket.set_read_timeout(Some(A_MOMENT)).unwrap();
        let mut rest = [0; 1024];
        loop {
            match self.socket.read(&mut rest) {
                Ok(0) => return Ending::NotifyFin,
                Ok(_) => {}
                Err(error) if ending_of(&error) == Ending::Open => return Ending::Notify,
                Err(_) => return Ending::NotifyReset,
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            if tls.read_tls(&mut self.socket)? == 0 {
                // the next look tells a goodbye from a mere end
                continue;
            }
            let state = tls.process_new_packets();
            while tls.wants_write() && tls.write_tls(&mut self.socket).is_ok() {}
            state.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        }
    }

    // ---- what the handshake was ----

    /// `TLSv1.3`, `TLSv1.2`.
    pub(crate) fn version(&self) -> &'static str {
        match self.tls().protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "?",
        }
    }

    /// Whether an earlier session went on.
    pub(crate) fn resumed(&self) -> bool {
        self.tls().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The common name of the certificate that the other side showed.
    pub(crate) fn shown(&self) -> Option<String> {
        common_name(self.tls().peer_certificates()?.first()?)
    }

    /// The suite, as RFC 8446 and RFC 5289 name it.
    pub(crate) fn suite(&self) -> String {
        self.tls().negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite()))
    }

    /// Which of these certificates the other side showed.
    pub(crate) fn same_as<'a>(&self, known: &[(&'a str, &Pair)]) -> &'a str {
        let shown = self.tls().peer_certificates().and_then(|shown| shown.first());
        known.iter().find(|(_, pair)| shown == chain(&pair.cert).first()).map_or("another", |(name, _)| name)
    }

    /// As a server: the name that the client sent.
    pub(crate) fn server_name(&self) -> Option<String> {
        match self.tls() {
            Connection::Server(server) => server.server_name().map(ToOwned::to_owned),
            Connection::Client(_) => None,
        }
    }

    /// As a client: whether the server asked for a certificate.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.load(Ordering::SeqCst))
    }

    fn tls(&self) -> &Connection {
        self.tls.as_ref().expect("no TLS")
    }
}

fn ending_of(error: &io::Error) -> Ending {
    match error.kind() {
        ErrorKind::UnexpectedEof => Ending::Fin,
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Ending::Open,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => Ending::Reset,
        _ => Ending::Broken,
    }
}

fn common_name(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    certificate.subject().iter_common_name().next()?.as_str().ok().map(ToOwned::to_owned)
}

/// A TLS client with a session cache of its own.
#[derive(Clone)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    asked: Arc<AtomicBool>,
}

impl Client {
    pub(crate) fn new(versions: &[&'static SupportedProtocolVersion], pair: Option<&Pair>) -> Self {
        let verifier = Arc::new(Anyone);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(32)));
        let key = pair.map(|pair| {
            let signer = provider().key_provider.load_private_key(private_key(&pair.key)).unwrap();
            Arc::new(CertifiedKey::new(chain(&pair.cert), signer))
        });
        let asked = Arc::new(AtomicBool::new(false));
        config.client_auth_cert_resolver = Arc::new(Shows { key, asked: Arc::clone(&asked) });
        Self { config: Arc::new(config), asked }
    }

    /// Any version, no certificate.
    pub(crate) fn plain() -> Self {
        Self::new(rustls::ALL_VERSIONS, None)
    }

    /// The first message of a handshake, byte by byte.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let name = ServerName::try_from("localhost").unwrap();
        let (mut tls, mut bytes) = (ClientConnection::new(Arc::clone(&self.config), name).unwrap(), Vec::new());
        tls.write_tls(&mut bytes).unwrap();
        bytes
    }
}

/// A TLS server; with `ca` it asks for a certificate of this CA, and takes none as well.
pub(crate) fn server(
    pair: &Pair,
    ca: Option<&Path>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let builder = match ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(chain(ca));
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        }
    };
    let mut config = builder.with_single_cert(chain(&pair.cert), private_key(&pair.key)).unwrap();
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(64);
    Arc::new(config)
}

fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

fn private_key(path: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(path).unwrap()
}

/// Shows one certificate, or none, and remembers that it was asked for.
#[derive(Debug)]
struct Shows {
    key: Option<Arc<CertifiedKey>>,
    asked: Arc<AtomicBool>,
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::SeqCst);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Trusts whoever comes.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// How long a look lasts that expects nothing to come.
const A_MOMENT: Duration = Duration::from_millis(250);
