//! Reaching a server through a proxy: HTTP CONNECT (RFC 9110, 9.3.6) or SOCKS 5 (RFC 1928, with the login of RFC 1929).
//!
//! Not a connection of its own kind: what comes out is the plain TCP stream, on which TLS is spoken with the server as
//! if nothing stood in between. Replies are read to their last byte and not beyond it, so that what the server sends at
//! once is still in the socket. The proxy resolves the server's name: in many networks nobody else can.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::dial::{dial, host_of};
use crate::config::Address;
use crate::config::launcher::{Proxy, ProxyKind};
use crate::model::{Code, Fault};
use crate::text;
use crate::text::Text;

/// Connects to `address`, through `proxy` where there is one. Each address, and the talk with the proxy, may take
/// `patience`.
///
/// # Errors
/// As [`dial`] (also for the proxy's own name); code `connect`, naming both, when the proxy does not do it.
pub async fn reach(proxy: Option<&Proxy>, address: &Address, patience: Duration) -> Result<TcpStream, Fault> {
    let Some(proxy) = proxy else { return dial(address, patience).await };
    let mut stream = dial(&proxy.address, patience).await.map_err(|fault| of_the_proxy(proxy, address, fault))?;
    let talk = async {
        match proxy.kind {
            ProxyKind::Http => connect(&mut stream, proxy, address).await,
            ProxyKind::Socks5 => socks(&mut stream, proxy, address).await,
        }
    };
    let seconds = patience.as_secs();
    let late = || Err(text!("it does not answer within {seconds} s", "il ne répond pas en {seconds} s"));
    match timeout(patience, talk).await.unwrap_or_else(|_| late()) {
        Ok(()) => Ok(stream),
        Err(text) => Err(of_the_proxy(proxy, address, Fault::new(Code::Connect, text))),
    }
}

/// A proxy as messages name it: without its login.
pub fn shown(proxy: &Proxy) -> String {
    let scheme = match proxy.kind {
        ProxyKind::Http => "http",
        ProxyKind::Socks5 => "socks5",
    };
    format!("{scheme}://{}", proxy.address)
}

fn of_the_proxy(proxy: &Proxy, address: &Address, fault: Fault) -> Fault {
    let (proxy, Fault { code, text: Text { en, fr } }) = (shown(proxy), fault);
    Fault::new(
        code,
        text!(
            "no way to {address} through the proxy {proxy}: {en}",
            "{address} hors d'atteinte par le proxy {proxy} : {fr}"
        ),
    )
}

/// RFC 9110, 9.3.6.
async fn connect(stream: &mut TcpStream, proxy: &Proxy, address: &Address) -> Result<(), Text> {
    let mut request = Zeroizing::new(format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n"));
    if let Some((user, secret)) = &proxy.login {
        // RFC 7617, 2
        let pair = Zeroizing::new(format!("{user}:{}", secret.reveal()));
        let pair = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()));
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(&pair);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| broke(&error))?;
    loop {
        let head = read_head(stream).await?;
        let status = status_of(&head).ok_or_else(|| not_spoken("HTTP", "socks5://"))?;
        match status {
            // RFC 9110, 15.2: something in between, the answer is still to come
            100..=199 => {}
            200..=299 => return Ok(()),
            _ => return Err(refused(status, &head, proxy.login.is_some())),
        }
    }
}

/// Reads up to the blank line and no further: what follows belongs to the server.
async fn read_head(stream: &mut TcpStream) -> Result<String, Text> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && !head.ends_with(b"\n\n") {
        head.push(stream.read_u8().await.map_err(|error| broke(&error))?);
        if head.len() > LONGEST_HEAD || (head.len() == MAGIC.len() && head != MAGIC) {
            return Err(not_spoken("HTTP", "socks5://"));
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// `HTTP/1.1 200 Connection established`.
fn status_of(head: &str) -> Option<u16> {
    let code = head.lines().next()?.split_whitespace().nth(1)?;
    code.parse().ok().filter(|code| (100..600).contains(code))
}

fn refused(status: u16, head: &str, login: bool) -> Text {
    let said: String = head.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(100).collect();
    match status {
        407 if login => text!(
            "it refuses the name and password of `proxy` ({said}); it may also want another scheme than Basic",
            "il refuse le compte et le mot de passe de `proxy` ({said}) ; il exige peut-être un autre schéma que Basic"
        ),
        407 => text!(
            "it wants a name and a password ({said}): proxy = http://name:password@host:port",
            "il exige un compte et un mot de passe ({said}) : proxy = http://compte:secret@hôte:port"
        ),
        403 | 405 => text!(
            "it forbids this connection ({said}); many proxies allow port 443 alone: have this port allowed",
            "il interdit cette connexion ({said}) ; beaucoup de proxys n'autorisent que le port 443 : faire autoriser ce port"
        ),
        502..=504 => text!(
            "it could not reach the server ({said}); check host and port",
            "il n'a pas pu joindre le serveur ({said}) ; vérifiez l'hôte et le port"
        ),
        _ => text!("it answers: {said}", "il répond : {said}"),
    }
}

/// RFC 1928.
async fn socks(stream: &mut TcpStream, proxy: &Proxy, address: &Address) -> Result<(), Text> {
    let methods: &[u8] = if proxy.login.is_some() { &[SOCKS, 2, NO_LOGIN, BY_PASSWORD] } else { &[SOCKS, 1, NO_LOGIN] };
    send(stream, methods).await?;
    let [version, method] = read(stream).await?;
    if version != SOCKS {
        return Err(not_spoken("SOCKS 5", "http://"));
    }
    match (method, &proxy.login) {
        (NO_LOGIN, _) => {}
        (BY_PASSWORD, Some((user, secret))) => socks_login(stream, user, secret.reveal()).await?,
        (_, Some(_)) => {
            return Err(text!(
                "it wants another kind of login than name and password",
                "il exige une autre identification que compte et mot de passe"
            ));
        }
        (_, None) => {
            return Err(text!(
                "it wants a name and a password: proxy = socks5://name:password@host:port",
                "il exige un compte et un mot de passe : proxy = socks5://compte:secret@hôte:port"
            ));
        }
    }
    let mut request = vec![SOCKS, 1, 0];
    request.extend(destination(host_of(address))?);
    request.extend(address.port.to_be_bytes());
    send(stream, &request).await?;
    let [_, reply, _, kind] = read(stream).await?;
    if reply != 0 {
        return Err(socks_refused(reply));
    }
    // the address that the proxy uses, which is of no interest; then its port
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(stream.read_u8().await.map_err(|error| broke(&error))?),
        _ => return Err(not_spoken("SOCKS 5", "http://")),
    };
    let mut rest = vec![0; length + 2];
    stream.read_exact(&mut rest).await.map(drop).map_err(|error| broke(&error))
}

/// RFC 1929.
async fn socks_login(stream: &mut TcpStream, user: &str, secret: &str) -> Result<(), Text> {
    let mut login = Zeroizing::new(vec![1]);
    for part in [user, secret] {
        let length = u8::try_from(part.len()).map_err(|_| too_long())?;
        login.push(length);
        login.extend(part.as_bytes());
    }
    send(stream, &login).await?;
    let [_, status] = read(stream).await?;
    if status == 0 {
        return Ok(());
    }
    Err(text!("it refuses the name and password of `proxy`", "il refuse le compte et le mot de passe de `proxy`"))
}

/// An address as such, anything else as a name.
fn destination(host: &str) -> Result<Vec<u8>, Text> {
    Ok(match host.parse() {
        Ok(IpAddr::V4(ip)) => [&[IPV4][..], &ip.octets()].concat(),
        Ok(IpAddr::V6(ip)) => [&[IPV6][..], &ip.octets()].concat(),
        Err(_) => {
            let length = u8::try_from(host.len()).map_err(|_| too_long())?;
            [&[NAME, length][..], host.as_bytes()].concat()
        }
    })
}

/// RFC 1928, 6.
fn socks_refused(reply: u8) -> Text {
    match reply {
        2 => text!(
            "its rules forbid this connection; have host and port allowed",
            "ses règles interdisent cette connexion ; faire autoriser l'hôte et le port"
        ),
        3 => text!("it has no route to the server's network", "il n'a pas de route vers le réseau du serveur"),
        4 => text!(
            "it cannot reach or resolve the host; check its spelling",
            "il ne peut joindre ou résoudre l'hôte ; vérifiez son orthographe"
        ),
        5 => text!(
            "the server refuses its connection; check the port",
            "le serveur refuse sa connexion ; vérifiez le port"
        ),
        6 => text!("the server does not answer it", "le serveur ne lui répond pas"),
        7 | 8 => text!(
            "it does not make such connections (reply {reply})",
            "il ne fait pas de telles connexions (réponse {reply})"
        ),
        _ => text!("it fails (reply {reply})", "il échoue (réponse {reply})"),
    }
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), Text> {
    stream.write_all(bytes).await.map_err(|error| broke(&error))
}

async fn read<const N: usize>(stream: &mut TcpStream) -> Result<[u8; N], Text> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(|error| broke(&error))?;
    Ok(bytes)
}

fn broke(error: &std::io::Error) -> Text {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        return text!("it closes the connection", "il ferme la connexion");
    }
    Text::io(error)
}

fn not_spoken(protocol: &str, other: &str) -> Text {
    text!(
        "it does not speak {protocol}; is it rather {other}, or another port?",
        "il ne parle pas {protocol} ; est-ce plutôt {other}, ou un autre port ?"
    )
}

fn too_long() -> Text {
    text!(
        "SOCKS 5 has room for 255 bytes of a name or a password",
        "SOCKS 5 n'a place que pour 255 octets d'un nom ou d'un mot de passe"
    )
}

/// How every reply of an HTTP server begins.
const MAGIC: &[u8] = b"HTTP/";
/// No proxy that means well says more.
const LONGEST_HEAD: usize = 16 * 1024;
/// The version of SOCKS, and its numbers for methods and kinds of address (RFC 1928, 3 and 5).
const SOCKS: u8 = 5;
const NO_LOGIN: u8 = 0;
const BY_PASSWORD: u8 = 2;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value;
    use tokio::net::TcpListener;

    type Script = &'static [(usize, &'static [u8])];

    /// A proxy that reads so many bytes, says something, reads and says, …; then `reach` through it.
    async fn through(proxy: &str, script: Script) -> (Result<TcpStream, Fault>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            for (count, answer) in script {
                let mut bytes = vec![0; *count];
                stream.read_exact(&mut bytes).await.unwrap();
                read.extend(bytes);
                stream.write_all(answer).await.unwrap();
            }
            read
        });
        let proxy = value::proxy(&proxy.replace("PORT", &format!("127.0.0.1:{port}"))).unwrap();
        let address = Address { host: Some("imap.test".into()), port: 993 };
        let result = reach(Some(&proxy), &address, Duration::from_secs(5)).await;
        (result, peer.await.unwrap())
    }

    const PLAIN: usize = "CONNECT imap.test:993 HTTP/1.1\r\nHost: imap.test:993\r\n\r\n".len();

    #[tokio::test]
    async fn what_the_server_says_right_behind_the_reply_is_not_lost() {
        let script: Script = &[(PLAIN, b"HTTP/1.1 100 Wait\r\n\r\nHTTP/1.0 200 OK\r\nVia: x\r\n\r\n* OK ready\r\n")];
        let (stream, asked) = through("http://PORT", script).await;
        let mut greeting = String::new();
        stream.unwrap().read_to_string(&mut greeting).await.unwrap();
        assert_eq!(greeting, "* OK ready\r\n");
        assert_eq!(asked.len(), PLAIN);
        let script: Script = &[(3, b"\x05\x00"), (16, b"\x05\x00\x00\x03\x02ab\x00\x00* OK ready\r\n")];
        let (stream, asked) = through("socks5://PORT", script).await;
        let mut greeting = String::new();
        stream.unwrap().read_to_string(&mut greeting).await.unwrap();
        assert_eq!(greeting, "* OK ready\r\n");
        assert_eq!(asked, b"\x05\x01\x00\x05\x01\x00\x03\x09imap.test\x03\xe1");
    }

    #[tokio::test]
    async fn a_login_goes_to_the_proxy_as_it_wants_it() {
        let request =
            "CONNECT imap.test:993 HTTP/1.1\r\nHost: imap.test:993\r\nProxy-Authorization: Basic bWU6cMOpOg==\r\n\r\n";
        let (stream, asked) = through("http://me:p%C3%A9%3A@PORT", &[(96, b"HTTP/1.1 200 OK\r\n\r\n")]).await;
        stream.unwrap();
        assert_eq!(String::from_utf8(asked).unwrap(), request);
        let script: Script = &[(4, b"\x05\x02"), (9, b"\x01\x00"), (16, b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")];
        let (stream, asked) = through("socks5://me:abcd@PORT", script).await;
        stream.unwrap();
        assert_eq!(&asked[..13], b"\x05\x02\x00\x02\x01\x02me\x04abcd");
    }

    #[tokio::test]
    async fn each_refusal_is_explained_and_names_proxy_and_server_but_no_secret() {
        let cases: [(&str, Script, &str); 9] = [
            ("http://PORT", &[(PLAIN, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")], "wants a name"),
            ("http://me:hunter2@PORT", &[(9, b"HTTP/1.1 407 No\r\n\r\n")], "refuses the name"),
            ("http://PORT", &[(PLAIN, b"HTTP/1.1 403 Forbidden\r\n\r\n")], "port 443"),
            ("http://PORT", &[(PLAIN, b"HTTP/1.1 503 Unavailable\r\n\r\n")], "could not reach"),
            ("http://PORT", &[(PLAIN, b"* OK IMAP ready\r\n")], "does not speak HTTP"),
            ("socks5://PORT", &[(3, b"\x05\xff")], "wants a name"),
            ("socks5://me:hunter2@PORT", &[(4, b"\x05\x02"), (12, b"\x01\x01")], "refuses the name"),
            ("socks5://PORT", &[(3, b"\x05\x00"), (16, b"\x05\x05\x00\x01\0\0\0\0\0\0")], "check the port"),
            ("socks5://PORT", &[(3, b"HTTP/1.1 400 Bad\r\n\r\n")], "does not speak SOCKS"),
        ];
        for (proxy, script, words) in cases {
            let fault = through(proxy, script).await.0.unwrap_err();
            assert_eq!(fault.code, Code::Connect, "{proxy}");
            let Text { en, fr } = &fault.text;
            assert!(en.contains(words) && en.contains("imap.test:993") && en.contains("127.0.0.1"), "{en}");
            assert!(fr.contains("proxy") && !en.contains("hunter2"), "{fr}");
        }
    }

    #[tokio::test]
    async fn an_endless_reply_and_silence_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
            while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
            let silent = listener.accept().await.unwrap();
            tokio::time::sleep(Duration::from_mins(1)).await;
            drop(silent);
        });
        let proxy = value::proxy(&format!("http://127.0.0.1:{port}")).unwrap();
        let address = Address { host: Some("imap.test".into()), port: 993 };
        let fault = reach(Some(&proxy), &address, Duration::from_secs(5)).await.unwrap_err();
        assert!(fault.text.en.contains("does not speak HTTP"), "{fault}");
        let fault = reach(Some(&proxy), &address, Duration::from_millis(50)).await.unwrap_err();
        assert!(fault.text.en.contains("does not answer"), "{fault}");
        peer.abort();
    }
}
