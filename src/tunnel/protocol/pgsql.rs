//! `PostgreSQL`'s `SSLRequest` (its manual, "Message Flow", "SSL Session Encryption"), both sides.
//!
//! Of what a server answers one byte alone is read: an error message before TLS could come from anybody
//! (CVE-2024-10977).

use super::machine::{Machine, Then, Turn, Who, quoted};
use crate::model::Code;
use crate::text;

/// Towards a server.
pub(super) struct Client;

impl Machine for Client {
    fn start(&mut self) -> Turn {
        Turn::bytes(Who::Remote, 1).saying(Who::Remote, SSL_REQUEST)
    }

    fn read(&mut self, answer: &[u8]) -> Turn {
        if answer == b"S" {
            return Turn::secure(Who::Remote);
        }
        let said = quoted(answer);
        let refusal = if answer == b"N" {
            Turn::fail(
                Code::Tls,
                text!(
                    "the server refuses TLS: `ssl = on` in its postgresql.conf switches it on",
                    "le serveur refuse TLS : `ssl = on` dans son postgresql.conf l'active"
                ),
            )
        } else {
            Turn::fail(
                Code::Protocol,
                text!(
                    "the server does not answer SSLRequest as PostgreSQL does, its answer begins with `{said}`: check host \
                     and port, and its log",
                    "le serveur ne répond pas à SSLRequest comme PostgreSQL, sa réponse commence par « {said} » : vérifier \
                     l'hôte et le port, et son journal"
                ),
            )
        };
        refusal.saying(Who::Local, error("the server does not support TLS"))
    }
}

/// Towards a client.
#[derive(Default)]
pub(super) struct Server {
    /// The first byte of a message.
    first: Option<u8>,
}

impl Machine for Server {
    fn start(&mut self) -> Turn {
        Turn::bytes(Who::Local, 1)
    }

    fn read(&mut self, input: &[u8]) -> Turn {
        let Some(first) = self.first.take() else {
            // a client of version 17 that begins with TLS (`sslnegotiation = direct`)
            if input == [HANDSHAKE] {
                return Turn::done(Then::Direct(input.to_vec()));
            }
            self.first = input.first().copied();
            return Turn::bytes(Who::Local, SSL_REQUEST.len() - 1);
        };
        let message = [&[first], input].concat();
        if message == SSL_REQUEST {
            return Turn::secure(Who::Local).saying(Who::Local, b"S");
        }
        if message == GSSENC_REQUEST {
            // it asks for TLS next
            return Turn::bytes(Who::Local, 1).saying(Who::Local, b"N");
        }
        let refusal = Turn::fail(
            Code::Tls,
            text!(
                "the client does not ask for TLS: set sslmode = require in its connection settings",
                "le client ne demande pas TLS : mettre sslmode = require dans ses paramètres de connexion"
            ),
        );
        refusal.saying(Who::Local, error("TLS is required: set sslmode = require"))
    }
}

/// `ErrorResponse`: severity, code (`sqlclient_unable_to_establish_sqlconnection`), message.
fn error(message: &str) -> Vec<u8> {
    let fields = ["SFATAL\0VFATAL\0C08001\0M", message, "\0\0"].concat();
    let length = u32::try_from(fields.len() + 4).unwrap_or(0);
    [&b"E"[..], &length.to_be_bytes(), fields.as_bytes()].concat()
}

/// Length 8, code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
/// Length 8, code 80877104.
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x30];
/// How TLS begins (RFC 8446, 5.1).
const HANDSHAKE: u8 = 0x16;
