//! Tests of the machines of server mode: conversations byte for byte.

use super::*;

/// Towards a client: what it and the backend send, what they are told, how it ends.
type Both = (&'static [u8], &'static [u8], &'static [u8], &'static [u8], &'static str);

fn towards_clients(kind: Kind, tls: bool, rows: &[Both]) {
    for (client, backend, local, remote, end) in rows {
        let (sent, told) = ((*client, *backend), (*local, *remote));
        hold(&protocol(kind), &Case { kind, client: false, tls, sent, told, end });
    }
}

#[test]
fn imap_offers_tls_to_clients_and_nothing_else() {
    let hello = &b"* OK Real ready. (stunnel)\r\n"[..];
    let greeting = &b"* OK [CAPABILITY IMAP4rev1 IDLE] Real ready.\r\n"[..];
    towards_clients(
        Kind::Imap,
        false,
        &[
            (
                b"c starttls\r\n",
                greeting,
                b"* OK Real ready. (stunnel)\r\nc OK Begin TLS negotiation now\r\n",
                b"",
                "follow",
            ),
            (b"c STARTTLS\r\nd NOOP\r\n", greeting, hello, b"", "failed tls"),
            (b"c STARTTLS\r\n\x16", greeting, hello, b"", "failed tls"),
            (
                b"a CAPABILITY\r\nb STARTTLS\r\n",
                b"* OK hi\r\n* CAPABILITY IMAP4rev1 starttls LOGINDISABLED AUTH=PLAIN SASL-IR IDLE\r\na OK done\r\n",
                b"* OK hi (stunnel)\r\n* CAPABILITY IMAP4rev1 IDLE STARTTLS LOGINDISABLED\r\na OK done\r\n\
                  b OK Begin TLS negotiation now\r\n",
                b"a CAPABILITY\r\n",
                "follow",
            ),
            (
                b"a LOGIN joe hunter2\r\nb noop\r\n\r\nx+ NOOP\r\n",
                greeting,
                b"* OK Real ready. (stunnel)\r\na NO [PRIVACYREQUIRED] STARTTLS first\r\nb OK NOOP completed\r\n\
                  * BAD tag and command expected\r\n* BAD tag and command expected\r\n",
                b"",
                "waiting Local",
            ),
            (
                b"a logout\r\n",
                greeting,
                b"* OK Real ready. (stunnel)\r\n* BYE server terminating\r\na OK LOGOUT completed\r\n",
                b"stunnel LOGOUT\r\n",
                "failed tls",
            ),
            (b"", b"* PREAUTH hi\r\n", b"* BYE unexpected server response\r\n", b"", "failed tls"),
            (b"", b"* BYE hi\r\n", b"* BYE hi\r\n", b"", "failed connect"),
            (b"", b"+OK hi\r\n", b"* BYE unexpected server response\r\n", b"", "failed protocol"),
            (
                b"a CAPABILITY\r\n",
                b"* OK hi\r\nRUBBISH\r\n",
                b"* OK hi (stunnel)\r\n* BYE unexpected server response\r\n",
                b"a CAPABILITY\r\n",
                "failed protocol",
            ),
        ],
    );
}

#[test]
fn pop3_offers_tls_to_clients_and_nothing_else() {
    towards_clients(
        Kind::Pop3,
        false,
        &[
            (
                b"CAPA\r\nstls\r\n",
                b"+OK hi <1.2@x>\r\n",
                b"+OK hi <1.2@x> + stunnel\r\n+OK Stunnel capability list follows\r\nSTLS\r\n.\r\n\
                  +OK Stunnel starts TLS negotiation\r\n",
                b"",
                "follow",
            ),
            (b"STLS\r\nUSER x\r\n", b"+OK hi\r\n", b"+OK hi + stunnel\r\n", b"", "failed tls"),
            (
                b"USER joe\r\nNOOP\r\nQUIT\r\n",
                b"+OK hi\r\n",
                b"+OK hi + stunnel\r\n-ERR STLS first\r\n+OK\r\n+OK\r\n",
                b"",
                "failed tls",
            ),
            (b"", b"-ERR busy\r\n", b"-ERR busy\r\n", b"", "failed connect"),
            (b"", b"220 hi\r\n", b"-ERR unexpected server response\r\n", b"", "failed protocol"),
        ],
    );
}

#[test]
fn smtp_offers_tls_to_clients_and_nothing_else() {
    let hello = &b"220 mx.test stunnel for ESMTP Real\r\n"[..];
    let greeting = &b"220 mx.test ESMTP Real\r\n"[..];
    towards_clients(
        Kind::Smtp,
        false,
        &[
            (
                b"EHLO me\r\nSTARTTLS\r\n",
                b"220-mx.test ESMTP Real\r\n220-two\r\n220 three\r\n",
                b"220-mx.test stunnel for ESMTP Real\r\n220-two\r\n220 three\r\n250-mx.test\r\n250 STARTTLS\r\n220 Go ahead\r\n",
                b"",
                "follow",
            ),
            (b"STARTTLS\r\nNOOP\r\n", greeting, hello, b"", "failed tls"),
            (
                b"helo me\r\nMAIL FROM:<a@b>\r\nrset\r\nquit\r\n",
                greeting,
                b"220 mx.test stunnel for ESMTP Real\r\n250 mx.test\r\n530 Must issue a STARTTLS command first\r\n250 OK\r\n\
                  221 mx.test\r\n",
                b"",
                "failed tls",
            ),
            (b"", b"220\r\n", b"220 localhost stunnel for \r\n", b"", "waiting Local"),
            (b"", b"554-no\r\n554 no\r\n", b"554-no\r\n554 no\r\n", b"", "failed connect"),
            (b"", b"* OK\r\n", b"421 unexpected server response\r\n", b"", "failed protocol"),
        ],
    );
}

#[test]
fn postgresql_offers_tls_to_clients_and_nothing_else() {
    let error = b"E\0\0\0\x42SFATAL\0VFATAL\0C08001\0MTLS is required: set sslmode = require\0\0";
    towards_clients(
        Kind::Pgsql,
        false,
        &[
            (b"\0\0\0\x08\x04\xd2\x16\x2f", b"", b"S", b"", "follow"),
            (b"\0\0\0\x08\x04\xd2\x16\x30\0\0\0\x08\x04\xd2\x16\x2f", b"", b"NS", b"", "follow"),
            (b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x08", b"", b"", b"", "failed tls"),
            (b"\x16\x03\x01", b"", b"", b"", "direct"),
            (b"\0\0\0\x08\0\x03\0\0", b"", error, b"", "failed tls"),
        ],
    );
}

#[test]
fn a_proxy_of_http_says_where_before_tls() {
    let version = env!("CARGO_PKG_VERSION");
    let reply = |line: &str| -> &'static [u8] {
        format!("HTTP/1.0 {line}\r\nServer: pertuis/{version}\r\n\r\n").into_bytes().leak()
    };
    let rows: [(&[u8], &[u8], &str); 12] = [
        (
            b"CONNECT two.test:993 HTTP/1.1\r\nHost: x\r\n\r\n",
            reply("200 OK"),
            "target 192.0.2.1:993 [2001:db8::1]:993",
        ),
        (b"\r\nconnect 127.0.0.1:80 HTTP/1.0\n\n", reply("200 OK"), "target 127.0.0.1:80"),
        (b"CONNECT [2001:db8::1]:1 HTTP/1.1\r\n\r\n", reply("200 OK"), "target [2001:db8::1]:1"),
        (b"CONNECT two.test:993 HTTP/1.1\r\n\r\n\x16\x03", b"", "failed tls"),
        (b"CONNECT none.test:993 HTTP/1.1\r\n\r\n", reply("404 Not Found"), "failed resolve"),
        (b"CONNECT two.test HTTP/1.1\r\n\r\n", reply("404 Not Found"), "failed resolve"),
        (b"CONNECT 993 HTTP/1.1\r\n\r\n", reply("404 Not Found"), "failed resolve"),
        (b"CONNECT /run/x HTTP/1.1\r\n\r\n", reply("404 Not Found"), "failed resolve"),
        (b"CONNECT two.test:0 HTTP/1.1\r\n\r\n", reply("404 Not Found"), "failed resolve"),
        (b"GET / HTTP/1.1\r\n\r\n", reply("400 Bad Request Method"), "failed protocol"),
        (b"CONNECT two.test:993\r\n\r\n", reply("400 Bad Request Protocol"), "failed protocol"),
        (b"CONNECT two.test:993 HTTP/1.1\r\nHost: x\r\n", b"", "waiting Local"),
    ];
    for (sent, local, end) in rows {
        towards_clients(Kind::Connect, false, &[(sent, b"", local, b"", end)]);
    }
}

#[test]
fn a_server_of_socks_5_hears_where_inside_tls() {
    let ok = &b"\x05\x00"[..];
    let rows: [(&[u8], &[u8], &str); 17] = [
        (b"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x02\x03\xe1data", ok, "target 192.0.2.2:993"),
        (b"\x05\x02\x02\x00\x05\x01\x00\x03\x08two.test\x03\xe1", ok, "target 192.0.2.1:993 [2001:db8::1]:993"),
        (b"\x05\x01\x00\x05\x01\x00\x03\x09half.test\x03\xe1", ok, "target 192.0.2.9:993"),
        (
            b"\x05\x01\x00\x05\x01\x00\x03\x09localhost\x03\xe1",
            b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0",
            "failed connect",
        ),
        (
            b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x03\xe1",
            b"\x05\x00\x05\x02\x00\x01\x7f\x00\x00\x01\x03\xe1",
            "failed connect",
        ),
        (
            b"\x05\x01\x00\x05\x01\x00\x01\0\0\0\0\x03\xe1",
            b"\x05\x00\x05\x02\x00\x01\0\0\0\0\x03\xe1",
            "failed connect",
        ),
        (
            b"\x05\x01\x00\x05\x01\x00\x01\0\0\0\x07\x03\xe1",
            b"\x05\x00\x05\x02\x00\x01\0\0\0\x07\x03\xe1",
            "failed connect",
        ),
        (
            b"\x05\x01\x00\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01\x03\xe1",
            b"\x05\x00\x05\x02\x00\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01\x03\xe1",
            "failed connect",
        ),
        (
            b"\x05\x01\x00\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x03\xe1",
            b"\x05\x00\x05\x02\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x03\xe1",
            "failed connect",
        ),
        (
            b"\x05\x01\x00\x05\x01\x00\x03\x09none.test\x03\xe1",
            b"\x05\x00\x05\x04\x00\x01\0\0\0\0\0\0",
            "failed connect",
        ),
        (b"\x05\x01\x00\x05\x01\x00\x03\x00\x03\xe1", b"\x05\x00\x05\x04\x00\x01\0\0\0\0\0\0", "failed connect"),
        (b"\x05\x01\x00\x05\x02\x00\x01", b"\x05\x00\x05\x07\x00\x01\0\0\0\0\0\0", "failed connect"),
        (b"\x05\x01\x00\x05\x01\x00\x02", b"\x05\x00\x05\x07\x00\x01\0\0\0\0\0\0", "failed connect"),
        (b"\x05\x01\x00\x05\xf0\x00\x03\x09localhost\0\0", b"\x05\x00\x05\x00\x00\x01\x7f\0\0\x01\0\0", "over"),
        (b"\x05\x01\x00\x05\xf0\x00\x03\x09none.test\0\0", b"\x05\x00\x05\x04\x00\x01\0\0\0\0\0\0", "failed connect"),
        (b"\x05\x01\x02", b"\x05\xff", "failed protocol"),
        (b"\x05\x00", b"\x05\xff", "failed protocol"),
    ];
    for (sent, local, end) in rows {
        towards_clients(Kind::Socks, true, &[(sent, b"", local, b"", end)]);
    }
    let more = rehearse(&protocol(Kind::Socks), false, true, (rows[0].0, b""), look_up);
    assert_eq!(more.taken.0, rows[0].0.len() - 4, "what the client says next was taken");
}

#[test]
fn a_server_of_socks_4_hears_where_inside_tls() {
    let rows: [(&[u8], &[u8], &str); 10] = [
        (b"\x04\x01\x03\xe1\xc0\0\x02\x02joe\0", b"", "target 192.0.2.2:993"),
        (b"\x04\x01\x03\xe1\0\0\0\x01joe\0two.test\0", b"", "target 192.0.2.1:993 [2001:db8::1]:993"),
        (b"\x04\x01\x03\xe1\0\0\0\x01\0localhost\0", b"\0\x5b\x03\xe1\0\0\0\x01", "failed connect"),
        (b"\x04\x01\x03\xe1\x7f\0\0\x01joe\0", b"\0\x5b\x03\xe1\x7f\0\0\x01", "failed connect"),
        (b"\x04\x01\x03\xe1\0\0\0\0joe\0", b"\0\x5b\x03\xe1\0\0\0\0", "failed connect"),
        (b"\x04\x01\x03\xe1\0\0\0\x01\0none.test\0", b"\0\x5b\x03\xe1\0\0\0\x01", "failed connect"),
        (b"\x04\x02\x03\xe1\xc0\0\x02\x02joe\0", b"\0\x5b\x03\xe1\xc0\0\x02\x02", "failed connect"),
        (b"\x04\xf0\x03\xe1\0\0\0\x01\0two.test\0", b"\0\x5a\x03\xe1\xc0\0\x02\x01", "over"),
        (b"\x06", b"", "failed protocol"),
        (b"\x04\x01\x03\xe1\xc0\0\x02\x02joe", b"", "waiting Local"),
    ];
    for (sent, local, end) in rows {
        towards_clients(Kind::Socks, true, &[(sent, b"", local, b"", end)]);
    }
}

#[test]
fn proxy_headers_are_those_of_the_specification() {
    let ip = |text: &str| Addr::Ip(text.parse().unwrap());
    let unix = |path: &str| Addr::Unix(Some(path.into()));
    let (v4, v6, mapped) = (ip("192.0.2.1:5"), ip("[2001:db8::1]:6"), ip("[::ffff:192.0.2.9]:7"));
    let v1 = Negotiation::new(&protocol(Kind::Proxy), false);
    for (from, to, line) in [
        (&v4, &ip("198.51.100.2:443"), "PROXY TCP4 192.0.2.1 198.51.100.2 5 443\r\n"),
        (&v6, &ip("[2001:db8::2]:443"), "PROXY TCP6 2001:db8::1 2001:db8::2 6 443\r\n"),
        (&mapped, &v4, "PROXY TCP4 192.0.2.9 192.0.2.1 7 5\r\n"),
        (&v4, &v6, "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 5 6\r\n"),
        (&unix("/a"), &unix("/b"), "PROXY UNKNOWN\r\n"),
        (&Addr::Unix(None), &v4, "PROXY UNKNOWN\r\n"),
    ] {
        assert_eq!(String::from_utf8(v1.preamble(from, to)).unwrap(), line);
    }
    let v2 = Negotiation::new(&protocol(Kind::ProxyV2), false);
    let head = b"\r\n\r\n\0\r\nQUIT\n";
    for (from, to, rest) in [
        (&v4, &mapped, &b"\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x09\x00\x05\x00\x07"[..]),
        (&unix("/a"), &v4, b"\x21\x00\x00\x00"),
        (&Addr::Unix(None), &Addr::Unix(None), b"\x20\x00\x00\x00"),
    ] {
        assert_eq!(v2.preamble(from, to), [head, rest].concat(), "{from} {to}");
    }
    let six = v2.preamble(&v6, &v4);
    assert_eq!((six.len(), &six[12..16]), (16 + 36, &b"\x21\x21\x00\x24"[..]));
    let paths = v2.preamble(&unix("/run/a"), &unix("/run/b"));
    assert_eq!((paths.len(), &paths[12..16]), (16 + 216, &b"\x21\x31\x00\xd8"[..]));
    assert_eq!((&paths[16..23], &paths[124..131]), (&b"/run/a\0"[..], &b"/run/b\0"[..]));
    for other in [Kind::Smtp, Kind::Socks] {
        assert!(Negotiation::new(&protocol(other), false).preamble(&v4, &v4).is_empty());
    }
}
