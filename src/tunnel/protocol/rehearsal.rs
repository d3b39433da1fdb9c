//! A negotiation on bytes that are all there: for tests and for the fuzzer, without a socket.

use std::net::SocketAddr;

use super::machine::{Next, Said, Talk, Then, Who};
use super::{Target, before, inside, wire};
use crate::config::Endpoint;
use crate::config::protocol::Protocol;
use crate::model::Fault;

/// What came of it.
#[derive(Debug)]
pub struct Rehearsal {
    /// What was said, in this order.
    pub said: Vec<(Who, Vec<u8>)>,
    /// How many bytes were taken of what the client and what the server sent.
    pub taken: (usize, usize),
    /// How it ended.
    pub ending: Ending,
}

/// How a rehearsal ended.
#[derive(Debug)]
pub enum Ending {
    /// This protocol says nothing at this point.
    Nothing,
    /// More bytes of this side are waited for.
    Waiting(Who),
    /// What the session does next may follow.
    Follow,
    /// TLS at once.
    Direct,
    /// The client wants to go there.
    Target(Vec<Endpoint>),
    /// All is said and the connection ends.
    Over,
    /// It failed; the sentence does not name the peer.
    Failed(Fault),
}

/// Plays `protocol` before TLS, or with `tls` inside it, on what the two sides send. `look_up` finds the addresses of a
/// name.
pub fn rehearse(
    protocol: &Protocol,
    client: bool,
    tls: bool,
    (local, remote): (&[u8], &[u8]),
    look_up: impl Fn(&str, u16) -> Vec<SocketAddr>,
) -> Rehearsal {
    let machine = if tls { inside(protocol, client, None) } else { before(protocol, client) };
    let mut rehearsal = Rehearsal { said: Vec::new(), taken: (0, 0), ending: Ending::Nothing };
    let Some(machine) = machine else { return rehearsal };
    let (mut talk, mut said) = Talk::start(machine);
    loop {
        let left = |taken: (usize, usize), who| match who {
            Who::Local => &local[taken.0..],
            Who::Remote => &remote[taken.1..],
        };
        if let Next::Done { quiet: Some(who), .. } = talk.next()
            && !left(rehearsal.taken, *who).is_empty()
        {
            rehearsal.ending = Ending::Failed(wire::unasked(client));
            return rehearsal;
        }
        rehearsal.hear(&said);
        said = match talk.next() {
            Next::Done { .. } | Next::Fail(_) => {
                rehearsal.ending = ending(talk.into_next());
                return rehearsal;
            }
            Next::Resolve(address) => {
                let found = look_up(address.host.as_deref().unwrap_or_default(), address.port);
                talk.resolved(&found)
            }
            Next::Line(who) | Next::Bytes(who, _) => {
                let who = *who;
                let Some(byte) = left(rehearsal.taken, who).first() else {
                    rehearsal.ending = Ending::Waiting(who);
                    return rehearsal;
                };
                match who {
                    Who::Local => rehearsal.taken.0 += 1,
                    Who::Remote => rehearsal.taken.1 += 1,
                }
                talk.feed(*byte).unwrap_or_default()
            }
        };
    }
}

impl Rehearsal {
    fn hear(&mut self, said: &Said) {
        self.said.extend(said.iter().map(|(to, words)| (*to, words.to_vec())));
    }
}

fn ending(next: Next) -> Ending {
    match next {
        Next::Fail(fault) => Ending::Failed(fault),
        Next::Done { then: Then::Direct(_), .. } => Ending::Direct,
        Next::Done { then: Then::Go(Target { endpoints, .. }), .. } => Ending::Target(endpoints),
        Next::Done { then: Then::End, .. } => Ending::Over,
        Next::Done { then: Then::Follow, .. } => Ending::Follow,
        Next::Line(who) | Next::Bytes(who, _) => Ending::Waiting(who),
        Next::Resolve(_) => Ending::Nothing,
    }
}
