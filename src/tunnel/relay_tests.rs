//! Tests of the relay: both sides in memory, real TLS between, time on a paused clock.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsStream, server};

use super::*;
use crate::config::tls::Settings;
use crate::config::tunnel::Sni;
use crate::config::{Check, TlsVersion, Trust};
use crate::tls::ca::TestCa;
use crate::tls::client::{ClientOptions, ClientTls};
use crate::tls::server::{ServerOptions, ServerTls};

const PATIENT: Limits = Limits { idle: None, close: Duration::from_mins(1) };

/// Both ends of a TLS configuration.
struct Ends {
    client: ClientTls,
    server: ServerTls,
}

impl Ends {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = TestCa::new(dir.path());
        let pair = ca.good("localhost");
        let trust = Trust { ca_file: Some(ca.cert.clone()), ..Trust::default() };
        let versions = (TlsVersion::V12, TlsVersion::V13);
        let (sni, settings) = (&Sni::Dialled, &Settings::default());
        let client = ClientTls::build(&ClientOptions {
            trust: &trust,
            cert: None,
            key: None,
            sni,
            versions,
            resume: true,
            settings,
        });
        let anybody = Trust { check: Check::Off, ..trust.clone() };
        let (cert, key) = (pair.cert.as_path(), Some(pair.key.as_path()));
        let server = ServerTls::build(&ServerOptions {
            trust: &anybody,
            cert,
            key,
            versions,
            resume: true,
            settings,
            redirect: false,
        });
        Self { client: client.unwrap(), server: server.unwrap() }
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        near: S,
        far: S,
    ) -> (TlsStream<S>, server::TlsStream<S>) {
        let (near, far) = tokio::join!(self.client.connect(near, "localhost"), self.server.accept(far, "test"));
        (near.unwrap().into(), far.unwrap())
    }
}

/// A relay in the middle: the application's end, the TLS peer's end, and the relay's result.
struct Rig<S> {
    app: S,
    peer: server::TlsStream<S>,
    relay: JoinHandle<(Counts, End)>,
}

fn spawn<P, T>(mut plain: P, mut tls: T, limits: Limits) -> JoinHandle<(Counts, End)>
where
    P: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: Secure + Send + 'static,
{
    tokio::spawn(async move {
        let mut counts = Counts::default();
        let mut told = Counts::default();
        let hear = |notice| {
            if let Notice::Moved(counts) = notice {
                told = counts;
            }
        };
        let end = relay(&mut plain, &mut tls, limits, &mut counts, hear).await;
        assert_eq!(told, counts, "what is told while it runs");
        (counts, end)
    })
}

async fn in_memory(limits: Limits) -> Rig<DuplexStream> {
    let (app, plain) = duplex(16 * 1024);
    let (near, far) = duplex(16 * 1024);
    let (tls, peer) = Ends::new().handshake(near, far).await;
    Rig { app, peer, relay: spawn(plain, tls, limits) }
}

async fn on_loopback(limits: Limits) -> Rig<TcpStream> {
    let ((app, plain), (near, far)) = (pair().await, pair().await);
    let (tls, peer) = Ends::new().handshake(near, far).await;
    Rig { app, peer, relay: spawn(plain, tls, limits) }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n * 7 + n / 253) % 251).unwrap()).collect()
}

#[tokio::test]
async fn megabytes_arrive_unchanged_both_ways_at_once() {
    let Rig { mut app, peer, relay } = on_loopback(PATIENT).await;
    let sent = pattern(3_000_000);
    let (mut peer_read, mut peer_write) = tokio::io::split(peer);
    let (mut app_read, mut app_write) = app.split();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let send_up = async {
        app_write.write_all(&sent).await.unwrap();
        app_write.shutdown().await.unwrap();
    };
    let send_down = async {
        peer_write.write_all(&sent).await.unwrap();
        peer_write.shutdown().await.unwrap();
    };
    let ((), (), one, two) =
        tokio::join!(send_up, send_down, peer_read.read_to_end(&mut up), app_read.read_to_end(&mut down));
    one.unwrap();
    two.unwrap();
    assert!(up == sent && down == sent);
    let (counts, end) = relay.await.unwrap();
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!(counts, Counts { to_tls: 3_000_000, to_plain: 3_000_000 });
}

#[tokio::test]
async fn the_plain_sides_end_is_a_close_notify_without_fin_and_the_answer_still_comes() {
    let Rig { mut app, mut peer, relay } = on_loopback(PATIENT).await;
    app.write_all(b"last words").await.unwrap();
    app.shutdown().await.unwrap();
    let mut said = Vec::new();
    // an Ok here is a close_notify: without one rustls calls it an error
    peer.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"last words");
    // the TCP stream itself has not ended
    let mut byte = [0];
    let raw = peer.get_ref().0;
    let error = raw.try_read(&mut byte).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    peer.write_all(b"late answer").await.unwrap();
    peer.shutdown().await.unwrap();
    let mut answer = Vec::new();
    app.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"late answer");
    assert!(matches!(relay.await.unwrap().1, End::Closed));
}

#[tokio::test]
async fn the_tls_sides_end_is_the_plain_sides_end_and_the_answer_still_goes() {
    let Rig { mut app, mut peer, relay } = in_memory(PATIENT).await;
    peer.write_all(b"bye").await.unwrap();
    peer.get_mut().1.send_close_notify();
    peer.flush().await.unwrap();
    let mut said = Vec::new();
    app.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"bye");
    app.write_all(b"thanks").await.unwrap();
    app.shutdown().await.unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"thanks");
    assert!(matches!(relay.await.unwrap().1, End::Closed));
}

#[tokio::test]
async fn an_end_without_close_notify_is_an_ordinary_end() {
    let Rig { mut app, mut peer, relay } = on_loopback(PATIENT).await;
    peer.write_all(b"all of it").await.unwrap();
    peer.flush().await.unwrap();
    peer.into_inner().0.shutdown().await.unwrap();
    let mut said = Vec::new();
    app.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"all of it");
    drop(app);
    let (counts, end) = relay.await.unwrap();
    assert_eq!(counts.to_plain, 9);
    assert!(matches!(end, End::Closed | End::Reset { at: At::Tls, lost: false, .. }), "{end:?}");
}

#[tokio::test]
async fn a_reset_of_the_tls_side_ends_both_after_what_had_arrived() {
    let Rig { mut app, mut peer, relay } = on_loopback(PATIENT).await;
    peer.write_all(b"before").await.unwrap();
    peer.flush().await.unwrap();
    let mut said = [0; 6];
    app.read_exact(&mut said).await.unwrap();
    abort(peer.into_inner().0);
    let (_, end) = relay.await.unwrap();
    assert!(matches!(end, End::Reset { at: At::Tls, lost: false, .. }), "{end:?}");
}

#[tokio::test]
async fn a_reset_of_the_plain_side_ends_both() {
    let Rig { app, mut peer, relay } = on_loopback(PATIENT).await;
    abort(app);
    let (_, end) = relay.await.unwrap();
    assert!(matches!(end, End::Reset { at: At::Plain, lost: false, .. }), "{end:?}");
    // no close_notify: the peer must not take this for an orderly end
    let told = peer.read_to_end(&mut Vec::new()).await.unwrap_err().kind();
    assert!(matches!(told, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{told:?}");
}

fn abort(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

#[tokio::test]
async fn rubbish_in_the_tls_stream_is_an_error_that_ends_both() {
    let Rig { mut app, peer, relay } = on_loopback(PATIENT).await;
    peer.into_inner().0.write_all(&[0xFF; 64]).await.unwrap();
    let (_, end) = relay.await.unwrap();
    assert!(matches!(end, End::Failed { at: At::Tls, .. }), "{end:?}");
    assert_eq!(app.read(&mut [0]).await.unwrap_or(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_holds_back_the_sender_and_is_cut_when_idle() {
    let limits = Limits { idle: Some(Duration::from_mins(5)), ..PATIENT };
    let Rig { mut app, peer, relay } = in_memory(limits).await;
    let taken = tokio::spawn(async move {
        let mut taken = 0_usize;
        while let Ok(count) = app.write(&[0; 4096]).await {
            taken += count;
        }
        taken
    });
    let before = Instant::now();
    let (_, end) = relay.await.unwrap();
    assert!(matches!(end, End::Idle), "{end:?}");
    assert!(before.elapsed() >= Duration::from_mins(5));
    let taken = taken.await.unwrap();
    assert!(taken < 256 * 1024, "{taken} bytes were taken for a peer that reads nothing");
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_vanished_application_whose_bytes_nobody_takes_is_not_held_until_idle() {
    for close in [Duration::from_mins(1), Duration::ZERO] {
        let limits = Limits { idle: Some(Duration::from_hours(12)), close };
        let Rig { mut app, mut peer, relay } = in_memory(limits).await;
        // neither end reads: both directions are full
        let full = Duration::from_secs(5);
        let _ = tokio::time::timeout(full, async { while app.write_all(&[0; 4096]).await.is_ok() {} }).await;
        let _ = tokio::time::timeout(full, async { while peer.write_all(&[0; 4096]).await.is_ok() {} }).await;
        let before = Instant::now();
        drop(app);
        let (_, end) = relay.await.unwrap();
        assert!(matches!(end, End::Reset { at: At::Plain, lost: true, .. }), "{end:?}");
        let elapsed = before.elapsed();
        assert!(elapsed >= Duration::from_secs(1) && elapsed <= Duration::from_secs(61), "{elapsed:?}");
        drop(peer);
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_puts_off_the_idle_time_and_silence_does_not() {
    let limits = Limits { idle: Some(Duration::from_secs(100)), ..PATIENT };
    let Rig { mut app, mut peer, relay } = in_memory(limits).await;
    let before = Instant::now();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_mins(1)).await;
        app.write_u8(1).await.unwrap();
        peer.read_u8().await.unwrap();
    }
    let (_, end) = relay.await.unwrap();
    assert!(matches!(end, End::Idle), "{end:?}");
    let elapsed = before.elapsed().as_secs();
    assert!((400..=401).contains(&elapsed), "{elapsed}");
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_connection_dies_after_its_own_time() {
    let limits = Limits { idle: Some(Duration::from_hours(12)), close: Duration::from_mins(1) };
    let Rig { mut app, peer, relay } = in_memory(limits).await;
    let before = Instant::now();
    app.shutdown().await.unwrap();
    let (_, end) = relay.await.unwrap();
    assert!(matches!(end, End::HalfClosed), "{end:?}");
    let elapsed = before.elapsed().as_secs();
    assert!((60..=61).contains(&elapsed), "{elapsed}");
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn zero_idle_cuts_at_once_and_zero_close_ends_with_the_first_half() {
    let at_once = Limits { idle: Some(Duration::ZERO), ..PATIENT };
    let rig = in_memory(at_once).await;
    assert!(matches!(rig.relay.await.unwrap().1, End::Idle));
    let Rig { mut app, peer, relay } = in_memory(Limits { idle: None, close: Duration::ZERO }).await;
    let before = Instant::now();
    app.shutdown().await.unwrap();
    assert!(matches!(relay.await.unwrap().1, End::HalfClosed));
    assert!(before.elapsed() < Duration::from_secs(1));
    drop(peer);
}

#[tokio::test]
async fn what_a_peer_said_before_it_hung_up_on_us_is_not_lost() {
    // an SMTP server answers 421 and closes while the mail is still being sent: its system resets the connection
    for _ in 0..20 {
        let Rig { app, mut peer, relay } = on_loopback(PATIENT).await;
        let (mut read, mut write) = app.into_split();
        let sending = tokio::spawn(async move { while write.write_all(&[b'x'; 8192]).await.is_ok() {} });
        peer.read_u8().await.unwrap();
        peer.write_all(b"421 too busy").await.unwrap();
        peer.shutdown().await.unwrap();
        drop(peer);
        let mut said = [0; 12];
        read.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"421 too busy");
        let (_, end) = relay.await.unwrap();
        assert!(matches!(end, End::Reset { at: At::Tls, lost: true, .. }), "{end:?}");
        drop(read);
        sending.await.unwrap();
    }
}
