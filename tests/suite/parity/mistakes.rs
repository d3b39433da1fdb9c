//! Rows about files that are wrong: the program ends with 1, opens nothing and says which line it is.

use super::bench::Bench;
use super::{Gap, Row};
use crate::support::peers::Target;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "mistake: an option that does not exist",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nvreify = 2\n",
        act: |b| refused_at(b, "Specified option name is not valid here"),
        gaps: &[],
    },
    Row {
        name: "mistake: a global option in a section",
        config: "{head}[s]\nclient = yes\nforeground = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| refused_at(b, "Specified option name is not valid here"),
        gaps: &[],
    },
    Row {
        name: "mistake: a line without an equals sign",
        config: "{head}[s]\nclient = yes\naccept {near}\nconnect = {far}\n",
        act: |b| refused_at(b, "No '=' found"),
        gaps: &[],
    },
    Row {
        name: "mistake: nothing to accept on",
        config: "{head}[s]\nclient = yes\nconnect = {far}\n",
        act: |b| refused(b, "Each service must define two endpoints"),
        gaps: &[],
    },
    Row {
        name: "mistake: nowhere to connect to",
        config: "{head}[s]\nclient = yes\naccept = {near}\n",
        act: |b| refused(b, "Each service must define two endpoints"),
        gaps: &[],
    },
    Row {
        name: "mistake: a server without a certificate",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\n",
        act: |b| refused(b, "TLS server needs a certificate"),
        gaps: &[],
    },
    Row {
        name: "mistake: a certificate that is not there",
        config: "{head}[s]\naccept = {near}\nconnect = {far}\ncert = /nowhere/cert.pem\n",
        act: |b| refused(b, ""),
        gaps: &[],
    },
    Row {
        name: "mistake: neither yes nor no",
        config: "{head}[s]\nclient = true\naccept = {near}\nconnect = {far}\n",
        act: |b| refused_at(b, "The argument needs to be either 'yes' or 'no'"),
        gaps: &[],
    },
    Row {
        name: "mistake: a comment behind a value",
        config: "{head}[s]\nclient = yes ; of course\naccept = {near}\nconnect = {far}\n",
        act: |b| refused_at(b, "The argument needs to be either 'yes' or 'no'"),
        gaps: &[],
    },
    Row {
        name: "mistake: verification without a CA",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverifyChain = yes\n",
        act: |b| refused(b, "has to be configured"),
        gaps: &[],
    },
    Row {
        name: "mistake: a CA file that is not there",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverifyChain = yes\nCAfile = /nowhere/ca.pem\n",
        act: |b| refused(b, "Failed to initialize TLS context"),
        gaps: &[Gap { what: "words", lines: "", why: OWN_WORDS }],
    },
    Row {
        name: "mistake: a name to check without verification",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\ncheckHost = localhost\n",
        act: |b| refused(b, "Either \"verifyChain\" or \"verifyPeer\" has to be enabled"),
        gaps: &[],
    },
    Row {
        name: "mistake: a level of verification that does not exist",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nverify = 5\n",
        act: |b| refused_at(b, "Bad verify level"),
        gaps: &[Gap { what: "words", lines: "", why: OWN_WORDS }],
    },
    Row {
        name: "mistake: a version of TLS that does not exist",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nsslVersion = TLSv9\n",
        act: |b| refused_at(b, "Invalid protocol version"),
        gaps: &[],
    },
    Row {
        name: "mistake: a range of versions that is empty",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nsslVersionMin = TLSv1.3\nsslVersionMax = TLSv1.2\n",
        act: |b| refused(b, "Invalid protocol version range"),
        gaps: &[],
    },
    Row {
        name: "mistake: a TLS option that does not exist",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\noptions = NO_SUCH\n",
        act: |b| refused_at(b, "Illegal TLS option"),
        gaps: &[],
    },
    Row {
        name: "mistake: a time that is no number",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nTIMEOUTidle = long\n",
        act: |b| refused_at(b, "Illegal idle timeout"),
        gaps: &[Gap { what: "words", lines: "", why: OWN_WORDS }],
    },
    Row {
        name: "mistake: an option of sockets in the wrong case",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nsocket = l:NO_SUCH=1\n",
        act: |b| refused_at(b, "Illegal socket option"),
        gaps: &[],
    },
    Row {
        name: "mistake: a protocol that does not exist",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nprotocol = xmpp\n",
        act: |b| refused(b, "Protocol not supported"),
        gaps: &[Gap { what: "words", lines: "", why: OWN_WORDS }],
    },
    Row {
        name: "mistake: a failover that does not exist",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nfailover = leastconn\n",
        act: |b| refused_at(b, "'prio'"),
        gaps: &[Gap { what: "words", lines: "", why: OWN_WORDS }],
    },
    Row {
        name: "mistake: a level of the log that does not exist",
        config: "foreground = yes\nsyslog = no\npid =\ndebug = loud\n[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| refused_at(b, "Illegal debug level"),
        gaps: &[],
    },
    Row {
        name: "mistake: redirect in a client",
        config: "{head}[s]\nclient = yes\naccept = {near}\nconnect = {far}\nredirect = {other}\n",
        act: |b| refused(b, "\"redirect\" is unsupported in client sections"),
        gaps: &[],
    },
    Row {
        name: "mistake: a virtual host of a section that does not exist",
        config: "{head}[s]\nsni = other:a.test\nconnect = {far}\ncert = {cert}\nkey = {key}\n",
        act: |b| refused(b, "SNI section name not found"),
        gaps: &[],
    },
    Row {
        name: "mistake: a user that does not exist",
        config: "{head}setuid = nobody-of-this-name\n[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| refused_at(b, "Illegal UID"),
        gaps: &[],
    },
    Row {
        name: "mistake: a relative log file of a daemon",
        config: "foreground = no\nsyslog = no\noutput = relative.log\n[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| refused(b, "Log file must include full path name"),
        gaps: &[],
    },
    Row {
        name: "mistake: an address that cannot be looked up",
        config: "{head}[s]\nclient = yes\naccept = nowhere.invalid:25\nconnect = {far}\n",
        act: |b| refused(b, "Cannot resolve accept target"),
        gaps: &[
            Gap { what: "Configuration failed", lines: "", why: LOOKED_UP_LATER },
            Gap { what: "words", lines: "", why: LOOKED_UP_LATER },
        ],
    },
    Row {
        name: "mistake: a file that does not exist",
        config: "",
        act: |b| {
            let mut command = b.command();
            command.arg("--help");
            b.spawn(command);
            let code = b.exit();
            b.see("exit code", code);
            let text = b.whole_stderr();
            b.see("says so", !text.is_empty());
        },
        gaps: &[],
    },
    Row {
        name: "a port that is taken is the end at the start",
        config: "{head}[s]\nclient = yes\naccept = {taken}\nconnect = {far}\n",
        act: |b| {
            let taken = Target::new();
            b.set("taken", taken.at());
            b.launch();
            let code = b.exit();
            b.see("exit code", code);
            let text = b.whole_stderr();
            b.see("says so", text.contains("Binding service [s] failed"));
        },
        gaps: &[],
    },
    Row {
        name: "a log file that cannot be written is the end at the start",
        config: "foreground = yes\nsyslog = no\npid =\noutput = {dir}/nowhere/log\n[s]\nclient = yes\naccept = {near}\nconnect = {far}\n",
        act: |b| {
            b.launch();
            let code = b.exit();
            b.see("exit code", code);
            b.see_open("open", "near");
        },
        gaps: &[],
    },
];

/// The program does not start: exit code, what scripts look for, and stunnel's own words.
fn refused(b: &mut Bench, words: &str) {
    b.launch();
    let code = b.exit();
    b.see("exit code", code);
    b.see_open("open", "near");
    let text = b.whole_stderr();
    b.see("Configuration failed", text.contains("Configuration failed"));
    b.see("words", text.contains(words));
}

/// The same, and the line that is at fault.
fn refused_at(b: &mut Bench, words: &str) {
    refused(b, words);
    let (file, text) = (format!("{}:", b.path("stunnel.conf").display()), b.stderr());
    let mut errors = text.lines().filter(|line| line.starts_with("[!]"));
    let line = errors.find_map(|line| line.split_once(&file)?.1.split([':', ' ']).next().map(ToOwned::to_owned));
    b.see("line", line.unwrap_or_default());
}

const OWN_WORDS: &str = "words of our own, which say what would be right";

const LOOKED_UP_LATER: &str = "names of accept are looked up when ports are opened, not while the file is read";
