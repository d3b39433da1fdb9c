//! Side by side with stunnel4: one table of configurations, one runner.
//!
//! Each row is one configuration and one script of peers. The runner plays it twice, against stunnel4 and against this
//! program under the name `stunnel4`, and compares everything the script noted and the log lines that scripts look for.
//! A difference is a failure unless it is written down as a gap with its reason; a gap that is no longer there is a
//! failure too. stunnel4 is Debian's (5.68 in Debian 12).

mod bench;
mod files;
mod life;
mod log;
mod mistakes;
mod protocols;
mod times;
mod trust;
mod tunnels;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bench::{Bench, Subject};

/// A configuration, what is done with it, and where the two programs may differ.
struct Row {
    /// A sentence.
    name: &'static str,
    /// The text of the file; `{name}` is an address with a free port, a file (`{ca}`, `{cert}`, `{key}` …) or what the
    /// script sets.
    config: &'static str,
    /// Plays the peers and notes what it sees.
    act: fn(&mut Bench),
    /// Differences that are meant.
    gaps: &'static [Gap],
}

/// A difference that is meant.
struct Gap {
    /// What was seen differently; `log` are the telling lines of the log.
    what: &'static str,
    /// Lines of it that contain this are compared no further; empty: the whole of it.
    lines: &'static str,
    /// Why it is right.
    why: &'static str,
}

/// All rows.
fn table() -> Vec<&'static Row> {
    [tunnels::ROWS, trust::ROWS, times::ROWS, life::ROWS, files::ROWS, mistakes::ROWS, protocols::ROWS]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn the_same_configuration_behaves_as_with_stunnel() {
    let (rows, next, failures) = (chosen(), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if let Err(failure) = compare(row) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    let seen = seen_gaps().lock().unwrap();
    let gone = EVERYWHERE.iter().filter(|gap| rows.len() == table().len() && !seen.contains(gap.lines));
    failures.extend(gone.map(|gap| format!("\nno gap any more, in no row: {} ({})", gap.lines, gap.why)));
    eprintln!("{} configurations side by side in {:.1} s", rows.len(), began.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "{} of {} rows differ\n{}", failures.len(), rows.len(), failures.join("\n"));
}

#[test]
fn the_table_has_forty_rows_and_every_option_that_users_rely_on() {
    let rows = table();
    assert!(rows.len() >= 40, "{} rows", rows.len());
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "two rows share a name");
    // what most rows begin with is no proof of any option
    let written = rows.iter().flat_map(|row| row.config.lines()).map(|line| plain(line.trim_start_matches("{head}")));
    let written: Vec<String> = written.collect();
    let missing: Vec<_> = RELIED_ON
        .iter()
        .filter(|wanted| {
            let wanted = plain(wanted);
            !written.iter().any(|line| line.starts_with(&wanted))
        })
        .collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

/// Lower case, without blanks.
fn plain(line: &str) -> String {
    line.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase()
}

/// The rows, or those whose name contains `PARITY_ROW`.
fn chosen() -> Vec<&'static Row> {
    let wanted = std::env::var("PARITY_ROW").unwrap_or_default();
    table().into_iter().filter(|row| row.name.contains(&wanted)).collect()
}

/// Plays a row with both programs.
fn compare(row: &Row) -> Result<(), String> {
    let (theirs, their_log) = play(row, Subject::Stunnel)?;
    let (ours, our_log) = play(row, Subject::Pertuis)?;
    let mut text = String::new();
    let mut unused: Vec<_> = row.gaps.iter().collect();
    for what in names_of(&theirs, &ours) {
        let (theirs, ours) = (value_of(&theirs, &what), value_of(&ours, &what));
        let (mut their_lines, mut our_lines): (Vec<_>, Vec<_>) = (theirs.lines().collect(), ours.lines().collect());
        for gap in row.gaps.iter().chain(EVERYWHERE).filter(|gap| gap.what == what) {
            if take(&mut their_lines, gap.lines) != take(&mut our_lines, gap.lines) {
                seen_gaps().lock().unwrap().insert(gap.lines);
                unused.retain(|other| !std::ptr::eq(*other, gap));
            }
        }
        for (side, sign, other) in [(&their_lines, "stunnel4", &our_lines), (&our_lines, "pertuis", &their_lines)] {
            for line in side.iter().filter(|line| !other.contains(line)) {
                let _ = writeln!(text, "  {what}: {sign}: {line}");
            }
        }
        if text.is_empty() && their_lines != our_lines {
            let _ = writeln!(text, "  {what}: {their_lines:#?} in another order: {our_lines:#?}");
        }
    }
    for gap in unused {
        let _ = writeln!(text, "  no gap any more: {} {:?} ({})", gap.what, gap.lines, gap.why);
    }
    if text.is_empty() {
        return Ok(());
    }
    if std::env::var_os("PARITY_LOG").is_some() {
        let _ = writeln!(text, "---- stunnel4\n{their_log}\n---- pertuis\n{our_log}");
    }
    Err(format!("\n{}\n{text}", row.name))
}

type Seen = Vec<(String, String)>;

fn play(row: &Row, subject: Subject) -> Result<(Seen, String), String> {
    let played = std::panic::catch_unwind(|| {
        let mut bench = Bench::new(subject, row.config);
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (row.act)(&mut bench);
            bench.settle();
        }));
        (acted.map(|()| std::mem::take(&mut bench.seen)), bench.log())
    });
    let words = |panic: Box<dyn std::any::Any + Send>| {
        let words = panic.downcast_ref::<String>().cloned();
        words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    };
    let (acted, log) = played.map_err(|panic| format!("\n{}\n  {subject:?}: {}", row.name, words(panic)))?;
    let seen = acted.map_err(|panic| format!("\n{}\n  {subject:?}: {}\n{log}", row.name, words(panic)))?;
    Ok((seen, log))
}

/// What was seen by either, in order; what was seen twice has a number.
fn names_of(theirs: &Seen, ours: &Seen) -> Vec<String> {
    let mut names: Vec<String> = theirs.iter().map(|(what, _)| what.clone()).collect();
    let more: Vec<_> = ours.iter().map(|(what, _)| what).filter(|what| !names.contains(what)).cloned().collect();
    names.extend(more);
    names
}

fn value_of(seen: &Seen, what: &str) -> String {
    seen.iter().find(|(name, _)| name == what).map_or_else(|| UNSEEN.to_owned(), |(_, value)| value.clone())
}

/// Takes out the lines that contain `words`.
fn take<'a>(lines: &mut Vec<&'a str>, words: &str) -> Vec<&'a str> {
    let (taken, kept) = lines.iter().partition(|line| line.contains(words));
    *lines = kept;
    taken
}

/// Differences that any row may show.
const EVERYWHERE: &[Gap] = &[
    Gap { what: "log", lines: "bound to", why: "which addresses are open is worth a notice, stunnel has it at info" },
    Gap { what: "log", lines: "SNI: sending servername: {at}", why: "an address is no server name (RFC 6066, 3)" },
];

/// The gaps that were there.
fn seen_gaps() -> &'static Mutex<BTreeSet<&'static str>> {
    static SEEN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    &SEEN
}

const UNSEEN: &str = "(not seen)";

/// Rows that are played at the same time.
const AT_ONCE: usize = 4;

/// What an stunnel user relies on: the beginning of a line, without regard to blanks and case.
const RELIED_ON: &[&str] = &[
    "debug =",
    "foreground = yes",
    "foreground = quiet",
    "foreground = no",
    "output =",
    "pid =",
    "pid = /",
    "setuid =",
    "setgid =",
    "syslog =",
    "log =",
    "service =",
    "chroot =",
    "include =",
    "accept =",
    "connect =",
    "client = yes",
    "client = no",
    "cert =",
    "key =",
    "CAfile =",
    "CApath =",
    "verify = 0",
    "verify = 1",
    "verify = 2",
    "verify = 3",
    "verify = 4",
    "verifyChain = yes",
    "verifyPeer = yes",
    "requireCert = yes",
    "checkHost =",
    "checkEmail =",
    "checkIP =",
    "sni =",
    "sslVersion =",
    "sslVersionMin =",
    "sslVersionMax =",
    "options = NO_TLSv1_2",
    "options = NO_TLSv1_3",
    "options = NO_TICKET",
    "options = -NO_SSLv3",
    "sessionResume = no",
    "failover = rr",
    "failover = prio",
    "delay = yes",
    "retry =",
    "reset = no",
    "reset = yes",
    "TIMEOUTbusy =",
    "TIMEOUTclose =",
    "TIMEOUTconnect =",
    "TIMEOUTidle =",
    "exec =",
    "execArgs =",
    "protocol = pop3",
    "protocol = imap",
    "protocol = smtp",
    "protocol = connect",
    "protocol = proxy",
    "protocol = nntp",
    "protocol = socks",
    "protocolHost =",
    "protocolUsername =",
    "protocolPassword =",
    "protocolAuthentication =",
    "redirect =",
    "local =",
    "CRLfile =",
    "socket = l:TCP_NODELAY",
    "socket = r:TCP_NODELAY",
    "socket = l:SO_KEEPALIVE",
    "socket = r:SO_KEEPALIVE",
    "socket = r:TCP_KEEPIDLE",
    "socket = r:TCP_KEEPINTVL",
    "socket = r:TCP_KEEPCNT",
    "socket = a:SO_REUSEADDR",
    "socket = l:SO_LINGER",
    "socket = r:SO_RCVBUF",
    "socket = r:SO_SNDBUF",
    "logId = sequential",
    "logId = unique",
];
