//! Rows about who is believed: each configuration meets a set of peers, and both programs must take the same ones.

use std::time::Duration;

use rustls::{ALL_VERSIONS, version};

use super::bench::{Bench, Files};
use super::tunnels::see_talk;
use super::{Gap, Row};
use crate::support::ca::Pair;
use crate::support::peers::{Client, Ending, PATIENCE, server};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "verify = 0 asks and looks away",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverify = 0\nCAfile = {ca}\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "verify = 1 refuses a certificate that is presented and wrong",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverify = 1\nCAfile = {ca}\n",
        act: judge_servers,
        gaps: &[Gap {
            what: "log",
            lines: "Peer certificate",
            why: "a server's certificate that is verified is demanded: TLS of today knows no server without one",
        }],
    },
    Row {
        name: "verify = 2 demands a chain",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverify = 2\nCAfile = {ca}\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "verify = 3 demands a chain and a certificate that is listed",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverify = 3\nCAfile = {listed}\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "verify = 4 demands a certificate that is listed",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverify = 4\nCAfile = {listed}\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "verifyChain alone checks no name",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverifyChain = yes\nCAfile = {ca}\n\
                 sni = elsewhere.test\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "the CA may lie in a folder of hashed names",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverifyChain = yes\nCApath = {hashed}\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "checkHost demands the name, and the common name counts where there is no other",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverifyChain = yes\nCAfile = {ca}\n\
                 checkHost = LOCALHOST\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "checkHost refuses another name",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverifyChain = yes\nCAfile = {ca}\n\
                 checkHost = elsewhere.test\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "an asterisk of a certificate stands for one label",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverifyChain = yes\nCAfile = {ca}\n\
                 checkHost = mail.example.test\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "an asterisk of a certificate does not stand for two labels",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverifyChain = yes\nCAfile = {ca}\n\
                 checkHost = a.mail.example.test\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "checkIP demands the address",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverifyChain = yes\nCAfile = {ca}\n\
                 checkIP = 127.0.0.1\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "one right name among several is enough",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverifyChain = yes\nCAfile = {ca}\n\
                 checkHost = elsewhere.test\ncheckIP = 10.9.8.7\ncheckEmail = a@b.test\ncheckHost = localhost\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "verifyPeer takes what is listed, and its renewal with the same key",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverifyPeer = yes\nCAfile = {listed}\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "a listed certificate that signed itself is its own chain",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverifyChain = yes\nCAfile = {self.cert}\n",
        act: judge_servers,
        gaps: &[],
    },
    Row {
        name: "a server without verification asks for no certificate",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\n",
        act: judge_clients,
        gaps: &[],
    },
    Row {
        name: "requireCert demands any certificate",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nrequireCert = yes\n",
        act: judge_clients,
        gaps: &[],
    },
    Row {
        name: "verify = 1 of a server takes no certificate and no wrong one",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nverify = 1\nCAfile = {ca}\n",
        act: judge_clients,
        gaps: &[],
    },
    Row {
        name: "verify = 2 of a server demands a chain",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nverify = 2\nCAfile = {ca}\n",
        act: judge_clients,
        gaps: &[],
    },
    Row {
        name: "verifyChain of a server demands a chain",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nverifyChain = yes\n\
                 CAfile = {ca}\n",
        act: judge_clients,
        gaps: &[],
    },
    Row {
        name: "verifyPeer of a server takes listed clients",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nverifyPeer = yes\n\
                 CAfile = {client.cert}\n",
        act: judge_clients,
        gaps: &[],
    },
    Row {
        name: "a revoked client is refused",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nverifyChain = yes\n\
                 CAfile = {ca}\nCRLfile = {crl}\n",
        act: judge_clients,
        gaps: &[],
    },
    Row {
        name: "redirect leads who is not believed elsewhere",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = {cert}\nkey = {key}\nverifyChain = yes\n\
                 CAfile = {ca}\nredirect = {other}\n",
        act: judge_clients,
        gaps: &[Gap {
            what: "log",
            lines: "Certificate accepted at depth=0: CN=localhost",
            why: "stunnel says of a certificate that it rejects that it is accepted too",
        }],
    },
];

/// Servers of every kind: which one is believed.
fn judge_servers(b: &mut Bench) {
    let files = Files::get();
    let target = b.target("far");
    b.start();
    let servers = [
        ("good", &files.good),
        ("stranger", &files.stranger),
        ("expired", &files.expired),
        ("self-signed", &files.self_signed),
        ("common name only", &files.name_only),
        ("renewed", &files.renewed),
    ];
    for (turn, (what, pair)) in servers.into_iter().enumerate() {
        let mut near = b.connect("near");
        if let Ok(mut far) = target.accept().accept_tls(&server(pair, None, ALL_VERSIONS)) {
            b.see(what, "believed");
            see_talk(b, &mut near, &mut far);
            near.finish();
            b.see(&format!("{what}: far end"), far.ends_ours());
        } else {
            b.see(what, "refused");
            b.see(&format!("{what}: near end"), format!("{:?}", near.ending(PATIENCE)));
        }
        b.wait_log_n(" byte(s) sent to TLS, ", turn + 1);
    }
}

/// Clients of every kind, in both versions: which one gets through, and to whom.
fn judge_clients(b: &mut Bench) {
    let files = Files::get();
    let (target, other) = (b.target("far"), b.target("other"));
    b.start();
    let clients: [(&str, Option<&Pair>); 5] = [
        ("nothing", None),
        ("client", Some(&files.client)),
        ("another client", Some(&files.good)),
        ("stranger", Some(&files.stranger)),
        ("expired", Some(&files.expired)),
    ];
    let mut turn = 0;
    for (name, versions) in [("TLS 1.2", [&version::TLS12]), ("TLS 1.3", [&version::TLS13])] {
        for (what, pair) in clients {
            let what = format!("{what} with {name}");
            turn += 1;
            let Ok(mut near) = b.connect("near").connect_tls(&Client::new(&versions, pair), "localhost") else {
                b.see(&what, "refused");
                b.wait_log_n(" byte(s) sent to TLS, ", turn);
                continue;
            };
            b.see(&format!("{what}: asked for a certificate"), near.was_asked());
            // TLS 1.3 tells a client only after its own handshake that it is refused
            let there = loop {
                let there = [("target", &target), ("redirect", &other)];
                let came = there.into_iter().find_map(|(to, at)| Some((to, at.accept_within(A_LOOK)?)));
                if came.is_some() || near.ending(A_LOOK).1 != Ending::Open {
                    break came;
                }
            };
            match there {
                None => b.see(&what, "refused"),
                Some((to, mut far)) => {
                    b.see(&what, to);
                    see_talk(b, &mut near, &mut far);
                    far.finish();
                    b.see(&format!("{what}: near end"), near.ends_ours());
                }
            }
            b.wait_log_n(" byte(s) sent to TLS, ", turn);
        }
    }
}

const A_LOOK: Duration = Duration::from_millis(10);
