//! Tests of dialling against the real system.

use std::collections::BTreeSet;

use tokio::net::TcpListener;

use super::*;
use crate::config::tunnel::{Failover, Setting, Side, SocketOption};
use crate::net::stream::Stream;

fn at(host: &str, port: u16) -> Address {
    Address { host: Some(host.to_owned()), port }
}

async fn listener(host: &str) -> (TcpListener, u16) {
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn closed_port() -> u16 {
    listener("127.0.0.1").await.1
}

fn options(endpoints: Vec<Endpoint>) -> DialOptions {
    DialOptions {
        endpoints,
        failover: Failover::Prio,
        delay: false,
        timeout_each: Duration::from_secs(5),
        options: Vec::new(),
        local: None,
        transparent_source: false,
    }
}

fn to(ports: &[u16]) -> DialOptions {
    options(ports.iter().map(|port| Endpoint::Tcp(at("127.0.0.1", *port))).collect())
}

async fn dialled(dialler: &Dialler) -> u16 {
    dialler.dial(None).await.unwrap().target.ip().unwrap().port()
}

#[tokio::test]
async fn a_refused_connection_names_host_and_address() {
    let port = closed_port().await;
    let fault = dial(&at("127.0.0.1", port), Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(fault.code, Code::Connect);
    assert!(fault.text.en.contains(&format!("127.0.0.1:{port}")) && fault.text.en.contains("refused"), "{fault}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_resolve_fault() {
    let fault = dial(&at("no-such-host.invalid", 1), Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(fault.code, Code::Resolve);
    assert!(fault.text.en.contains("no-such-host.invalid"), "{fault}");
}

#[tokio::test]
async fn prio_begins_with_the_first_each_time_and_tells_who_did_not_answer() {
    let ((_one, one), (_two, two)) = (listener("127.0.0.1").await, listener("127.0.0.1").await);
    let dead = closed_port().await;
    let prio = Dialler::new(to(&[dead, one, two]));
    for _ in 0..3 {
        let dialled = prio.dial(None).await.unwrap();
        assert_eq!(dialled.target.ip().unwrap().port(), one);
        assert!(dialled.failed.len() == 1 && dialled.failed[0].0.ip().unwrap().port() == dead);
        assert!(dialled.failed[0].1.en.contains("connection refused"));
    }
}

#[tokio::test]
async fn round_robin_begins_with_the_next_address_of_the_list_whether_it_answers_or_not() {
    let ((_one, one), (_two, two)) = (listener("127.0.0.1").await, listener("127.0.0.1").await);
    let (dead, gone) = (closed_port().await, closed_port().await);
    // as stunnel 5.68 does it with four targets, the first and the last of them dead
    let turns = Dialler::new(DialOptions { failover: Failover::RoundRobin, ..to(&[dead, one, two, gone]) });
    let mut order = Vec::new();
    for _ in 0..9 {
        order.push(dialled(&turns).await);
    }
    let round = [two, one, one, one].repeat(4);
    assert!((0..4).any(|start| round[start..start + 9] == order), "{order:?} is no part of {round:?}");
}

#[tokio::test]
async fn many_start_at_different_places_of_the_round() {
    let mut listeners = Vec::new();
    for _ in 0..4 {
        listeners.push(listener("127.0.0.1").await);
    }
    let ports: Vec<u16> = listeners.iter().map(|(_, port)| *port).collect();
    let mut first = BTreeSet::new();
    for _ in 0..40 {
        first.insert(dialled(&Dialler::new(DialOptions { failover: Failover::RoundRobin, ..to(&ports) })).await);
    }
    assert!(first.len() > 1, "{first:?}");
}

#[tokio::test]
async fn all_addresses_of_a_name_take_their_turn() {
    let (v4, port) = listener("127.0.0.1").await;
    let Ok(v6) = TcpListener::bind(("::1", port)).await else { return eprintln!("skipped: {port} of ::1 is taken") };
    let targets = resolve(&at("localhost", port)).await.unwrap();
    if targets.len() < 2 {
        return eprintln!("skipped: localhost has one address");
    }
    let one_name = options(vec![Endpoint::Tcp(at("localhost", port))]);
    let turns = Dialler::new(DialOptions { failover: Failover::RoundRobin, ..one_name });
    let (first, second) = (turns.dial(None).await.unwrap(), turns.dial(None).await.unwrap());
    assert_ne!(first.target, second.target);
    drop((v4, v6));
}

#[tokio::test]
async fn delay_forces_prio() {
    let ((_one, one), (_two, two)) = (listener("127.0.0.1").await, listener("127.0.0.1").await);
    let delayed = Dialler::new(DialOptions { failover: Failover::RoundRobin, delay: true, ..to(&[one, two]) });
    for _ in 0..4 {
        assert_eq!(dialled(&delayed).await, one);
    }
}

#[tokio::test]
async fn the_preferred_target_comes_first_if_it_is_among_them() {
    let ((_one, one), (_two, two)) = (listener("127.0.0.1").await, listener("127.0.0.1").await);
    let address = |port| Addr::Ip(([127, 0, 0, 1], port).into());
    let dead = closed_port().await;
    for failover in [Failover::Prio, Failover::RoundRobin] {
        let dialler = Dialler::new(DialOptions { failover, ..to(&[one, two, dead]) });
        for _ in 0..3 {
            let dialled = dialler.dial_preferring(None, Some(&address(two))).await.unwrap();
            assert_eq!(dialled.target, address(two), "{failover:?}");
            let dialled = dialler.dial_preferring(None, Some(&address(dead))).await.unwrap();
            assert_eq!(dialled.failed[0].0, address(dead), "{failover:?}");
        }
        assert!(dialler.dial_preferring(None, Some(&address(1))).await.is_ok());
    }
}

#[tokio::test]
async fn an_address_that_fails_is_resolved_again() {
    let (_listener, port) = listener("127.0.0.1").await;
    let dialler = Dialler::new(to(&[port]));
    dialler.remember(0, vec![Addr::Ip(([127, 0, 0, 1], closed_port().await).into())]);
    assert_eq!(dialled(&dialler).await, port);
}

#[tokio::test]
async fn a_name_that_nobody_knows_any_more_is_dialled_where_it_was_also_after_a_reload() {
    let (listener, port) = listener("127.0.0.1").await;
    let lost = || {
        let endpoints = vec![Endpoint::Tcp(Address { host: Some("lost.invalid".to_owned()), port })];
        Dialler::new(DialOptions { endpoints, ..to(&[port]) })
    };
    let dialler = lost();
    assert_eq!(dialler.dial(None).await.unwrap_err().code, Code::Resolve);
    dialler.remember(0, vec![Addr::Ip(listener.local_addr().unwrap())]);
    dialler.forget(&[0]);
    let successor = lost();
    successor.learn_from(&dialler);
    for dialler in [&dialler, &successor] {
        assert_eq!(dialled(dialler).await, port);
    }
}

#[tokio::test]
async fn local_is_where_connections_come_from() {
    let (listener, port) = listener("127.0.0.1").await;
    let dialler = Dialler::new(DialOptions { local: Some("127.0.0.2".into()), ..to(&[port]) });
    let _dialled = dialler.dial(None).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1.ip().to_string(), "127.0.0.2");
}

#[tokio::test]
async fn a_target_of_another_protocol_than_local_is_left_out() {
    let (_listener, port) = listener("127.0.0.1").await;
    let both = options(vec![Endpoint::Tcp(at("::1", port)), Endpoint::Tcp(at("127.0.0.1", port))]);
    let dialler = Dialler::new(DialOptions { local: Some("127.0.0.2".into()), ..both });
    let dialled = dialler.dial(None).await.unwrap();
    assert!(dialled.failed[0].1.en.contains("local = 127.0.0.2 has no address of IPv6"), "{:?}", dialled.failed);
    let only = options(vec![Endpoint::Tcp(at("127.0.0.1", port))]);
    let fault = Dialler::new(DialOptions { local: Some("::1".into()), ..only }).dial(None).await.unwrap_err();
    assert!(fault.text.fr.contains("n'a pas d'adresse IPv4"), "{}", fault.text.fr);
}

#[tokio::test]
async fn local_that_is_elsewhere_or_nowhere_says_so() {
    let (_listener, port) = listener("127.0.0.1").await;
    for (local, code, words) in [
        ("192.0.2.1", Code::Connect, "must be an address of this machine"),
        ("no-such-host.invalid", Code::Resolve, "cannot resolve local"),
    ] {
        let dialler = Dialler::new(DialOptions { local: Some(local.into()), ..to(&[port]) });
        let fault = dialler.dial(None).await.unwrap_err();
        assert!(fault.code == code && fault.text.en.contains(words), "{fault}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn transparent_source_keeps_the_clients_address_and_its_port_if_that_is_free() {
    let (listener, port) = listener("127.0.0.1").await;
    let dialler = Dialler::new(DialOptions { transparent_source: true, ..to(&[port]) });
    let free = closed_port().await;
    let client: SocketAddr = ([127, 0, 0, 9], free).into();
    let mapped = SocketAddr::new(std::net::Ipv4Addr::new(127, 0, 0, 9).to_ipv6_mapped().into(), free);
    let first = match dialler.dial(Some(client)).await {
        Err(fault) if fault.text.en.contains("CAP_NET_ADMIN") => return eprintln!("skipped: no CAP_NET_ADMIN"),
        ended => ended.unwrap(),
    };
    assert_eq!(listener.accept().await.unwrap().1, client);
    // the port is taken now; as an address of IPv6 it is the same client
    let _second = dialler.dial(Some(mapped)).await.unwrap();
    let from = listener.accept().await.unwrap().1;
    assert!(from.ip() == client.ip() && from.port() != client.port(), "{from}");
    let fault = dialler.dial(Some("[::1]:1000".parse().unwrap())).await.unwrap_err();
    assert!(fault.text.en.contains("one is IPv4 and the other IPv6"), "{fault}");
    drop(first);
    // nobody to take the address from
    assert!(dialler.dial(None).await.is_ok());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_nobody_redirected_has_no_original_destination() {
    for host in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        let (listener, port) = listener(host).await;
        let (_client, accepted) = tokio::join!(TcpStream::connect((host, port)), listener.accept());
        let stream = Stream::Tcp(accepted.unwrap().0);
        let error = original_destination(&stream).unwrap_err();
        assert!(error.to_string().contains("no firewall redirected it"), "{error}");
        // TPROXY
        let Stream::Tcp(tcp) = &stream else { unreachable!() };
        let socket = socket2::SockRef::from(tcp);
        let set =
            if host == "127.0.0.1" { socket.set_ip_transparent_v4(true) } else { socket.set_ip_transparent_v6(true) };
        match set {
            Ok(()) => assert_eq!(original_destination(&stream).unwrap(), tcp.local_addr().unwrap(), "{host}"),
            Err(error) => eprintln!("skipped: {error}"),
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_option_that_restricts_and_is_refused_is_a_failure_of_the_connection() {
    let (_listener, port) = listener("127.0.0.1").await;
    let remote = |setting| vec![SocketOption { side: Side::Remote, setting }];
    let dialler = Dialler::new(DialOptions { options: remote(Setting::Device("no-such-if".into())), ..to(&[port]) });
    let fault = dialler.dial(None).await.unwrap_err();
    assert!(fault.code == Code::Connect && fault.text.en.contains("SO_BINDTODEVICE"), "{fault}");
    let dialler = Dialler::new(DialOptions { options: remote(Setting::TypeOfService(16)), ..to(&[port]) });
    let Stream::Tcp(stream) = dialler.dial(None).await.unwrap().stream else { unreachable!() };
    assert_eq!(socket2::SockRef::from(&stream).tos_v4().unwrap(), 16);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_target_that_never_answers_is_given_up_by_the_time_limit_in_words_of_stunnel() {
    // a queue of one that is full: the next SYN is dropped
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let target = socket.local_addr().unwrap().as_socket().unwrap();
    let _waiting = TcpStream::connect(target).await.unwrap();
    let limit = DialOptions { timeout_each: Duration::from_millis(100), ..to(&[target.port()]) };
    let fault = Dialler::new(limit).dial(None).await.unwrap_err();
    assert!(fault.text.en.contains("TIMEOUTconnect exceeded: no answer within 0.1 s"), "{fault}");
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_are_dialled_with_the_same_limit_and_clear_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let dialler = Dialler::new(DialOptions {
        timeout_each: Duration::from_millis(100),
        ..options(vec![Endpoint::Unix(path.clone())])
    });
    let missing = dialler.dial(None).await.unwrap_err();
    assert!(missing.code == Code::Connect && missing.text.en.contains("No such file"), "{missing}");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    let refused = dialler.dial(None).await.unwrap_err();
    assert!(
        refused.text.en.contains("connection refused") && refused.text.en.contains("service behind it"),
        "{refused}"
    );
    socket.listen(0).unwrap();
    let one = dialler.dial(None).await.unwrap();
    assert_eq!((one.target, one.host.as_str()), (Addr::Unix(Some(path)), "localhost"));
    let full = dialler.dial(None).await.unwrap_err();
    assert!(full.text.en.contains("TIMEOUTconnect exceeded"), "{full}");
}
