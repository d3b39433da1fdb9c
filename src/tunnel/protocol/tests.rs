//! Tests of the machines: conversations byte for byte, without a socket.

use std::net::SocketAddr;

use super::*;
use crate::config::protocol::Authentication;
use crate::config::value;
use crate::secret::Secret;

/// A conversation.
#[derive(Clone, Copy)]
struct Case {
    kind: Kind,
    client: bool,
    /// Inside TLS.
    tls: bool,
    /// What the client and the server send.
    sent: (&'static [u8], &'static [u8]),
    /// What they are told.
    told: (&'static [u8], &'static [u8]),
    /// How it ends.
    end: &'static str,
}

pub(super) fn protocol(kind: Kind) -> Protocol {
    let host = match kind {
        Kind::Connect | Kind::Socks => Some("far.test:993".to_owned()),
        _ => None,
    };
    let destination = host.as_deref().map(|host| value::target(host).unwrap());
    Protocol {
        kind,
        host,
        destination,
        username: None,
        password: None,
        authentication: Authentication::Plain,
        headers: Vec::new(),
    }
}

pub(super) fn with_login(kind: Kind, authentication: Authentication) -> Protocol {
    let (username, password) = (Some("joe".to_owned()), Some(Secret::new("hunter2")));
    Protocol { username, password, authentication, ..protocol(kind) }
}

/// What a look-up finds in these tests.
pub(super) fn look_up(host: &str, port: u16) -> Vec<SocketAddr> {
    let ips: &[&str] = match host {
        "two.test" => &["192.0.2.1", "2001:db8::1"],
        "half.test" => &["127.0.0.1", "192.0.2.9"],
        "localhost" => &["127.0.0.1", "::1"],
        "none.test" => &[],
        host => &[host],
    };
    ips.iter().filter_map(|ip| ip.parse().ok()).map(|ip| SocketAddr::new(ip, port)).collect()
}

pub(super) fn words_of(ending: &Ending) -> String {
    match ending {
        Ending::Nothing => "nothing".to_owned(),
        Ending::Waiting(who) => format!("waiting {who:?}"),
        Ending::Follow => "follow".to_owned(),
        Ending::Direct => "direct".to_owned(),
        Ending::Over => "over".to_owned(),
        Ending::Failed(fault) => format!("failed {}", fault.code),
        Ending::Target(to) => to.iter().fold("target".to_owned(), |all, one| format!("{all} {one}")),
    }
}

fn told(rehearsal: &Rehearsal) -> (Vec<u8>, Vec<u8>) {
    let to = |who| rehearsal.said.iter().filter(|(to, _)| *to == who).flat_map(|(_, words)| words.clone()).collect();
    (to(Who::Local), to(Who::Remote))
}

fn hold(protocol: &Protocol, case: &Case) {
    let rehearsal = rehearse(protocol, case.client, case.tls, case.sent, look_up);
    let name = format!("{:?} {}", case.kind, String::from_utf8_lossy(&[case.sent.0, b" | ", case.sent.1].concat()));
    let (local, remote) = told(&rehearsal);
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(shown(&local), shown(case.told.0), "told to the client: {name}");
    assert_eq!(shown(&remote), shown(case.told.1), "told to the server: {name}");
    assert_eq!(words_of(&rehearsal.ending), case.end, "{name}: {:?}", rehearsal.ending);
    if let Ending::Failed(fault) = &rehearsal.ending {
        assert!(!fault.text.en.is_empty() && fault.text.en != fault.text.fr, "{fault}");
    }
}

/// Towards a server: what it sends, what client and server are told, how it ends.
type Row = (&'static [u8], &'static [u8], &'static [u8], &'static str);

fn towards_servers(kind: Kind, rows: &[Row]) {
    for (sent, local, remote, end) in rows {
        let (sent, told) = ((&b""[..], *sent), (*local, *remote));
        hold(&protocol(kind), &Case { kind, client: true, tls: false, sent, told, end });
    }
}

#[test]
fn imap_asks_for_tls_and_keeps_what_was_told_in_clear_to_itself() {
    let (hello, ask) = (&b"* OK Connected.\r\n"[..], &b"stunnel STARTTLS\r\n"[..]);
    let bye = b"* BYE stunnel: Server does not support TLS\r\n";
    let both = b"* OK Connected.\r\n* BYE stunnel: Server does not support TLS\r\n";
    towards_servers(
        Kind::Imap,
        &[
            (b"* OK [CAPABILITY IMAP4rev1] hi\r\nstunnel OK go\r\n", hello, ask, "follow"),
            (b"*  ok\nstunnel   ok\n", hello, ask, "follow"),
            (b"* OK hi\r\n* CAPABILITY X\r\n* 3 EXISTS\r\nstunnel OK\r\n", hello, ask, "follow"),
            (b"* OK hi\r\nstunnel OK go\r\n* injected\r\n", hello, ask, "failed tls"),
            (b"* OK hi\r\nstunnel OK go\r\nx", hello, ask, "failed tls"),
            (b"* OK hi\r\nstunnel NO no\r\n", both, ask, "failed tls"),
            (b"* OK hi\r\nstunnel BAD what\r\n", both, ask, "failed tls"),
            (b"* OK hi\r\nx OK go\r\n", both, ask, "failed tls"),
            (b"* OK hi\r\n* BYE tired\r\n", b"* OK Connected.\r\n* BYE tired\r\n", ask, "failed connect"),
            (b"* PREAUTH hi\r\n", bye, b"", "failed tls"),
            (b"* BYE busy\r\n", b"* BYE busy\r\n", b"", "failed connect"),
            (b"220 mx ESMTP\r\n", bye, b"", "failed protocol"),
            (b"\x16\x03\x01\x00\n", bye, b"", "failed protocol"),
            (b"* OK hi\r\n", hello, ask, "waiting Remote"),
            (b"", b"", b"", "waiting Remote"),
        ],
    );
}

#[test]
fn pop3_asks_for_tls() {
    towards_servers(
        Kind::Pop3,
        &[
            (b"+OK hi <1.2@x>\r\n+OK go\r\n", b"+OK hi <1.2@x>\r\n", b"STLS\r\n", "follow"),
            (b"+OK\n+ok\n", b"+OK\r\n", b"STLS\r\n", "follow"),
            (b"+OK hi\r\n+OK go\r\n+OK injected\r\n", b"+OK hi\r\n", b"STLS\r\n", "failed tls"),
            (b"+OK hi\r\n-ERR no\r\n", b"+OK hi\r\n-ERR Server does not support TLS\r\n", b"STLS\r\n", "failed tls"),
            (b"-ERR busy\r\n", b"-ERR busy\r\n", b"", "failed connect"),
            (b"* OK hi\r\n", b"-ERR unexpected server response\r\n", b"", "failed protocol"),
        ],
    );
}

#[test]
fn nntp_asks_for_tls() {
    towards_servers(
        Kind::Nntp,
        &[
            (b"200 hi\r\n382 go\r\n", b"200 hi\r\n", b"STARTTLS\r\n", "follow"),
            (b"201 hi\r\n382 go\r\nx", b"201 hi\r\n", b"STARTTLS\r\n", "failed tls"),
            (b"201 hi\r\n580 no\r\n", b"201 hi\r\n400 Server does not support TLS\r\n", b"STARTTLS\r\n", "failed tls"),
            (b"502 go away\r\n", b"502 go away\r\n", b"", "failed connect"),
            (b"220 smtp\r\n", b"400 unexpected server response\r\n", b"", "failed protocol"),
        ],
    );
}

#[test]
fn smtp_asks_for_tls_however_a_server_ends_its_lines() {
    let asked = &b"EHLO localhost\r\nSTARTTLS\r\n"[..];
    let refused = b"220 hi\r\n421 Server does not support TLS\r\n";
    towards_servers(
        Kind::Smtp,
        &[
            (b"220 hi\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n", b"220 hi\r\n", asked, "follow"),
            (b"220-a\r\n220 b\r\n250 x\r\n220-go\r\n220 now\r\n", b"220-a\r\n220 b\r\n", asked, "follow"),
            (b"220\n250 x\n250 STARTTLS\n250 SIZE\n220 go\n", b"220\r\n", asked, "follow"),
            (b"220 hi\r\n250 x\r\n220 go\r\n250 injected\r\n", b"220 hi\r\n", asked, "failed tls"),
            (b"220 hi\r\n250 x\r\n502 no\r\n", refused, asked, "failed tls"),
            (b"220 hi\r\n250 x\r\n454 not now\r\n", refused, asked, "failed tls"),
            (b"220 hi\r\n500 what\r\n", refused, b"EHLO localhost\r\n", "failed tls"),
            (b"554-no\r\n554 really\r\n", b"554-no\r\n554 really\r\n", b"", "failed connect"),
            (b"+OK hi\r\n", b"421 unexpected server response\r\n", b"", "failed protocol"),
        ],
    );
}

#[test]
fn smtp_signs_in_inside_tls() {
    let (kind, client, tls) = (Kind::Smtp, true, true);
    let rows: [(Authentication, &[u8], &[u8], &str); 7] = [
        (
            Authentication::Plain,
            b"250-x\r\n250 AUTH PLAIN\r\n235 yes\r\n",
            b"EHLO localhost\r\nAUTH PLAIN AGpvZQBodW50ZXIy\r\n",
            "follow",
        ),
        (
            Authentication::Plain,
            b"250 x\r\n250 y\r\n334 \r\n235 yes\r\n",
            b"EHLO localhost\r\nAUTH PLAIN AGpvZQBodW50ZXIy\r\nAGpvZQBodW50ZXIy\r\n",
            "follow",
        ),
        (
            Authentication::Login,
            b"250 x\r\n334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 yes\r\n",
            b"EHLO localhost\r\nAUTH LOGIN\r\nam9l\r\naHVudGVyMg==\r\n",
            "follow",
        ),
        (
            Authentication::Plain,
            b"250 x\r\n535-no\r\n535 no AGpvZQBodW50ZXIy hunter\r\n",
            b"EHLO localhost\r\nAUTH PLAIN AGpvZQBodW50ZXIy\r\n",
            "failed credentials",
        ),
        (
            Authentication::Login,
            b"250 x\r\n334 a\r\n334 b\r\n334 c\r\n",
            b"EHLO localhost\r\nAUTH LOGIN\r\nam9l\r\naHVudGVyMg==\r\n",
            "failed credentials",
        ),
        (Authentication::Plain, b"421 full\r\n", b"EHLO localhost\r\n", "failed connect"),
        (Authentication::Plain, b"\r\n", b"EHLO localhost\r\n", "failed protocol"),
    ];
    for (authentication, sent, remote, end) in rows {
        let case = Case { kind, client, tls, sent: (b"", sent), told: (b"", remote), end };
        hold(&with_login(kind, authentication), &case);
    }
    let nothing = rehearse(&protocol(kind), client, tls, (b"", b""), look_up);
    assert_eq!(words_of(&nothing.ending), "nothing");
}

#[test]
fn postgresql_asks_for_tls_and_reads_one_byte() {
    let asked = &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
    let error = b"E\0\0\0\x3bSFATAL\0VFATAL\0C08001\0Mthe server does not support TLS\0\0";
    towards_servers(
        Kind::Pgsql,
        &[
            (b"S", b"", asked, "follow"),
            (b"SX", b"", asked, "failed tls"),
            (b"N", error, asked, "failed tls"),
            (b"E\0\0\0\x10hello", error, asked, "failed protocol"),
        ],
    );
}

#[test]
fn ldap_asks_for_tls_in_ber() {
    let asked = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
    let sent: [(&[u8], &str); 16] = [
        (b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00", "follow"),
        (b"\x30\x24\x02\x01\x01\x78\x1f\x0a\x01\x00\x04\x00\x04\x00\x8a\x161.3.6.1.4.1.1466.20037", "follow"),
        // Active Directory writes lengths in four bytes
        (b"\x30\x84\0\0\0\x10\x02\x01\x01\x78\x84\0\0\0\x07\x0a\x01\x00\x04\x00\x04\x00", "follow"),
        (b"\x30\x81\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00", "follow"),
        (b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00\x30", "failed tls"),
        (b"\x30\x0e\x02\x01\x01\x78\x09\x0a\x01\x02\x04\x00\x04\x02no", "failed tls"),
        (b"\x30\x0e\x02\x01\x00\x78\x09\x0a\x01\x34\x04\x00\x04\x02no", "failed tls"),
        // shorter than it says, longer than fits, of no length, endless
        (b"\x30\x0c\x02\x01\x01\x78\x0a\x0a\x01\x00\x04\x00\x04\x00", "failed protocol"),
        (b"\x30\x84\x00\x00\x20\x01", "failed protocol"),
        (b"\x30\x84\xff\xff\xff\xff", "failed protocol"),
        (b"\x30\x00", "failed protocol"),
        (b"\x30\x80", "failed protocol"),
        (b"\x30\x85\0", "failed protocol"),
        (b"* OK", "failed protocol"),
        (b"\x30\x03\x02\x01\x01", "failed protocol"),
        (b"\x30\x0c\x02\x01", "waiting Remote"),
    ];
    for (sent, end) in sent {
        towards_servers(Kind::Ldap, &[(sent, b"", asked, end)]);
    }
}

#[test]
fn connect_asks_a_proxy_for_the_server() {
    let asked = b"CONNECT far.test:993 HTTP/1.1\r\nHost: far.test:993\r\n\r\n";
    let sent: [(&[u8], &str); 10] = [
        (b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n", "follow"),
        (b"HTTP/1.0 200\n\n", "follow"),
        (b"HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "follow"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x15", "failed tls"),
        (b"HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic\r\n\r\n<html>", "failed credentials"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "failed connect"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "failed connect"),
        (b"* OK hi\r\n", "failed protocol"),
        (b"HTTP/1.1 lots\r\n", "failed protocol"),
        (b"HTTP/1.1 200 OK\r\nVia: x\r\n", "waiting Remote"),
    ];
    for (sent, end) in sent {
        towards_servers(Kind::Connect, &[(sent, b"", asked, end)]);
    }
    let headers = vec!["X-One: 1".to_owned(), "X-Two:2".to_owned()];
    let with_all = Protocol { headers, ..with_login(Kind::Connect, Authentication::Plain) };
    let told =
        b"CONNECT far.test:993 HTTP/1.1\r\nHost: far.test:993\r\nProxy-Authorization: basic am9lOmh1bnRlcjI=\r\n\
                 X-One: 1\r\nX-Two:2\r\n\r\n";
    let (kind, client, tls) = (Kind::Connect, true, false);
    let case = Case {
        kind,
        client,
        tls,
        sent: (b"", b"HTTP/1.1 407 No\r\n\r\n"),
        told: (b"", told),
        end: "failed credentials",
    };
    hold(&with_all, &case);
}

#[test]
fn a_refusal_of_a_proxy_is_quoted_with_its_remedy() {
    let said = |protocol: &Protocol, sent: &[u8]| match rehearse(protocol, true, false, (b"", sent), look_up).ending {
        Ending::Failed(fault) => fault.text,
        other => panic!("{other:?}"),
    };
    let plain = protocol(Kind::Connect);
    let text = said(&plain, b"HTTP/1.1 407 Proxy\x07 Auth\r\n\r\n");
    assert!(text.en.contains("`HTTP/1.1 407 Proxy Auth`") && text.en.contains("`protocolUsername`"), "{text}");
    assert!(text.fr.contains("« HTTP/1.1 407 Proxy Auth »"), "{}", text.fr);
    let text = said(&with_login(Kind::Connect, Authentication::Plain), b"HTTP/1.1 407 No\r\n\r\n");
    assert!(text.en.contains("does not take the name and password"), "{text}");
    assert!(said(&plain, b"HTTP/1.1 403 No\r\n\r\n").en.contains("port 443"));
    assert!(said(&plain, b"HTTP/1.1 504 No\r\n\r\n").en.contains("`protocolHost`"));
}

#[test]
fn socks_asks_for_the_server_inside_tls() {
    let (kind, client, tls) = (Kind::Socks, true, true);
    let asked = b"\x05\x01\x00\x05\x01\x00\x03\x08far.test\x03\xe1";
    let rows: [(&[u8], &[u8], &str); 9] = [
        (b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50more", asked, "follow"),
        (b"\x05\x00\x05\x00\x00\x03\x02ab\x00\x50", asked, "follow"),
        (b"\x05\x00\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x00\x50", asked, "follow"),
        (b"\x05\x00\x05\x05\x00\x01\0\0\0\0\0\0", asked, "failed connect"),
        (b"\x05\x00\x05\x00\x00\x09", asked, "failed protocol"),
        (b"\x05\x00\x04\x00\x00\x01", asked, "failed protocol"),
        (b"\x05\xff", b"\x05\x01\x00", "failed credentials"),
        (b"HT", b"\x05\x01\x00", "failed protocol"),
        (b"\x05", b"\x05\x01\x00", "waiting Remote"),
    ];
    for (sent, remote, end) in rows {
        hold(&protocol(kind), &Case { kind, client, tls, sent: (b"", sent), told: (b"", remote), end });
    }
    let more = rehearse(&protocol(kind), client, tls, (b"", rows[0].0), look_up);
    assert_eq!(more.taken, (0, 12), "what the server says next was taken");
    let nowhere = Protocol { destination: None, ..protocol(kind) };
    hold(&nowhere, &Case { kind, client, tls, sent: (b"", b"\x05\x00"), told: (b"", b""), end: "failed config" });
}

#[test]
fn no_peer_can_make_us_hold_or_read_without_end() {
    let line = vec![b'x'; 100_000];
    let lines = b"* OK x\r\n".repeat(20_000);
    let untagged = [&b"* OK x\r\n"[..], &b"* 1 EXISTS\r\n".repeat(20_000)].concat();
    let user = [&b"\x04\x01\x03\xe1\xc0\0\x02\x02"[..], &[b'u'; 1000]].concat();
    for (kind, client, tls, sent) in [
        (Kind::Imap, true, false, &line),
        (Kind::Imap, true, false, &untagged),
        (Kind::Smtp, false, false, &lines),
        (Kind::Connect, true, false, &line),
        (Kind::Socks, false, true, &user),
    ] {
        let rehearsal = rehearse(&protocol(kind), client, tls, (sent, sent), look_up);
        assert_eq!(words_of(&rehearsal.ending), "failed protocol", "{kind:?}");
        assert!(rehearsal.taken.0 + rehearsal.taken.1 <= 64 * 1024, "{kind:?}: {:?}", rehearsal.taken);
    }
}

#[test]
fn no_sentence_and_no_debug_output_holds_a_password() {
    for authentication in [Authentication::Plain, Authentication::Login] {
        let negotiation = Negotiation::new(&with_login(Kind::Smtp, authentication), true);
        assert!(!format!("{negotiation:?}").contains("hunter2"));
        let mut machine = inside(&negotiation.protocol, true, None).unwrap();
        machine.start();
        let turn = format!("{:?}", machine.read(b"250 x"));
        assert!(!turn.contains("hunter2") && !turn.contains("AGpvZQ"), "{turn}");
    }
    // neither when the other side repeats it
    for (kind, tls, sent) in [
        (Kind::Smtp, true, &b"250 x\r\n535 no, AGpvZQBodW50ZXIy is wrong\r\n"[..]),
        (Kind::Smtp, true, b"250 x\r\n535 no, hunter2 is wrong\r\n"),
        (Kind::Connect, false, b"HTTP/1.1 407 basic am9lOmh1bnRlcjI=\r\n\r\n"),
        (Kind::Connect, false, b"HTTP/1.1 407 joe:hunter2\r\n\r\n"),
        (Kind::Connect, false, b"220 joe:hunter2\r\n\r\n"),
    ] {
        let protocol = with_login(kind, Authentication::Plain);
        let Ending::Failed(fault) = rehearse(&protocol, true, tls, (b"", sent), look_up).ending else {
            panic!("{kind:?}")
        };
        for secret in ["hunter2", "AGpvZQBodW50ZXIy", "am9lOmh1bnRlcjI="] {
            assert!(!fault.text.en.contains(secret) && !fault.text.fr.contains(secret), "{fault}");
        }
        assert!(fault.text.en.contains("***"), "{fault}");
    }
}

#[test]
fn a_session_is_told_what_to_do_when() {
    for kind in [Kind::Smtp, Kind::Imap, Kind::Pop3] {
        assert!(Negotiation::new(&protocol(kind), false).connects_first());
        assert!(!Negotiation::new(&protocol(kind), true).connects_first());
    }
    for kind in [Kind::Connect, Kind::Pgsql, Kind::Socks, Kind::Proxy, Kind::ProxyV2] {
        assert!(!Negotiation::new(&protocol(kind), false).connects_first());
        assert_eq!(Negotiation::new(&protocol(kind), false).chooses_target(), kind == Kind::Socks);
    }
    assert_eq!(Negotiation::new(&protocol(Kind::Connect), true).tls_host(), Some("far.test"));
    assert_eq!(Negotiation::new(&protocol(Kind::Socks), true).tls_host(), None);
    let v6 = Protocol { destination: Some(value::target("::1:993").unwrap()), ..protocol(Kind::Connect) };
    assert_eq!(Negotiation::new(&v6, true).tls_host(), Some("::1"));
}

#[path = "server_tests.rs"]
mod servers;
