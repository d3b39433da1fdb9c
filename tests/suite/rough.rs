//! `pertuis fetch` on a rough line: whatever happens to the connection, at whichever byte, the runs after it complete
//! the work, and every document arrives once and whole.
//!
//! The moments are random; a failing run prints its seed, and `SEED=… cargo test` repeats it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use pertuis::model::Digest;
use serde_json::Value;

use crate::fetch::{assert_exactly_once, fill, kill_at_random, undisturbed};
use crate::support::ca::TestCa;
use crate::support::dovecot::{ACCOUNT, Dovecot, PASSWORD};
use crate::support::harm::{Harm, Point, Proxy, Side};
use crate::support::mails::Random;
use crate::support::site::{Consumer, Site};

/// What the tests of every protocol run over.
const PROTOCOLS: [&str; 2] = ["imap", "pop3"];

/// How a launcher comes to its mailbox.
#[derive(Clone, Copy, Debug)]
struct Way {
    protocol: &'static str,
    tls: &'static str,
    after: &'static str,
}

impl Way {
    /// The four ways of a protocol, in turn.
    fn nth(protocol: &'static str, n: u32) -> Self {
        let (tls, after) = [("implicit", "delete"), ("none", "leave"), ("none", "delete"), ("implicit", "leave")]
            [usize::try_from(n % 4).unwrap()];
        Self { protocol, tls, after }
    }

    fn door(self, server: &Dovecot) -> SocketAddr {
        match (self.protocol, self.tls) {
            ("imap", "none") => server.imap(),
            ("imap", _) => server.imaps(),
            (_, "none") => server.pop3(),
            _ => server.pop3s(),
        }
    }
}

/// A Dovecot, a proxy before it, and a site that fetches through the proxy.
struct Line {
    site: Site,
    server: Dovecot,
    proxy: Proxy,
}

impl Line {
    fn new(way: Way) -> Self {
        let site = Site::new();
        let ca = TestCa::new(site.dir.path());
        let pair = ca.good("localhost");
        let server = Dovecot::start_tls(&pair.cert, &pair.key);
        let proxy = Proxy::start(way.door(&server));
        let (Way { protocol, tls, after }, door) = (way, proxy.address());
        let trust = format!("CAfile = {}\ncheckHost = localhost\n", ca.cert.display());
        let trust = if tls == "none" { "" } else { &trust };
        site.write_ini(&format!(
            "[factures]\nlauncher = {protocol}\nserver = {door}\ntls = {tls}\naccount = {ACCOUNT}\n\
             password = {PASSWORD}\ndeliver = COLD\nafter = {after}\n{trust}"
        ));
        Self { site, server, proxy }
    }
}

fn seed() -> u64 {
    let now = || u64::from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos());
    let seed = std::env::var("SEED").map_or_else(|_| now(), |seed| seed.parse().unwrap());
    eprintln!("SEED={seed}");
    seed | 1
}

/// One harm that ends the connection, often one before it that does not; most in what the server sends, some in what
/// the client says.
fn points(random: &mut Random, (client, server): (u64, u64)) -> Vec<Point> {
    let mut point = |one, other| {
        let harm = if random.next().is_multiple_of(2) { one } else { other };
        let (side, bytes) =
            if random.next().is_multiple_of(5) { (Side::Client, client) } else { (Side::Server, server) };
        Point { side, byte: random.next() % bytes.max(1), harm }
    };
    let end = point(Harm::Cut, Harm::Reset);
    let mild = point(Harm::Slow(2000), Harm::Stall(Duration::from_millis(200)));
    if mild.side == end.side && mild.byte < end.byte { vec![mild, end] } else { vec![end] }
}

/// A run that failed must blame the line, not the password, the folder or the disk.
fn assert_blames_the_line(report: &Value, points: &[Point]) {
    let error = &report["error"];
    let code = error["code"].as_str();
    assert!(code.is_none() || matches!(code, Some("connect" | "tls" | "protocol")), "{points:?}: {error}");
    assert_eq!(report["items"]["quarantined"], 0, "{points:?}: {report}");
}

/// `points` times harm, over as many mailboxes of `mails` messages as it takes; after each mailbox, exactly once.
fn survives(protocol: &'static str, mails: u64, points: u32) {
    let mut random = Random(seed());
    let (mut used, mut mailbox) = (0, 0);
    while used < points {
        let way = Way::nth(protocol, mailbox);
        mailbox += 1;
        used += one_mailbox(way, mails, &mut random, (points - used).min(points.div_ceil(4)));
    }
    eprintln!("{protocol}: {used} points over {mailbox} mailboxes");
}

/// Uses up points until the work is done; answers how many.
fn one_mailbox(way: Way, mails: u64, random: &mut Random, most: u32) -> u32 {
    let mut line = Line::new(way);
    let expected = fill(&mut line.server, mails);
    undisturbed(&line.site);
    let (client, server) = line.proxy.passed();
    let consumer = Consumer::start(&line.site.cold());
    let (mut used, mut story) = (0, Vec::new());
    while used < most {
        // a tenth of the whole each time, so that a mailbox is good for many points
        let points = points(random, (client, server / 10));
        line.proxy.set(&points);
        let report = line.site.fetch();
        story.push(format!("{points:?}: {} {}", report["items"], report["error"]["code"]));
        assert_blames_the_line(&report, &points);
        used += u32::try_from(points.len() - line.proxy.left()).unwrap();
        if line.proxy.left() > 0 {
            break; // the work was over before this byte
        }
    }
    line.proxy.set(&[]);
    let last = line.site.fetch();
    assert!(last["error"].is_null() && last["items"]["failed"] == 0, "{way:?} {story:#?}: {last}");
    let again = line.site.fetch();
    assert!(again["error"].is_null() && again["items"]["delivered"] == 0, "{way:?} {story:#?}: {again}");
    told(way, &consumer.stop(), &expected, &story);
    let left = line.server.messages("INBOX");
    let kept = if way.after == "leave" { usize::try_from(mails).unwrap() } else { 0 };
    assert_eq!(left.len(), kept, "{way:?} {story:#?}");
    // many POP3 servers mark as read what RETR brings (Dovecot does); no command of POP3 says otherwise
    let touched = way.protocol == "imap" && !left.iter().all(|(flags, _)| flags.is_empty());
    assert!(!touched, "{way:?}: the flags were touched");
    used.max(1)
}

fn told(way: Way, arrived: &BTreeMap<Digest, Vec<String>>, expected: &BTreeMap<Digest, usize>, story: &[String]) {
    let whole =
        arrived.len() == expected.len() && arrived.iter().all(|(d, names)| expected.get(d) == Some(&names.len()));
    if !whole {
        eprintln!("{way:?}: {story:#?}");
    }
    assert_exactly_once(arrived, expected);
}

#[test]
fn a_line_that_cuts_stalls_and_slows_loses_and_doubles_no_mail_over_imap() {
    survives("imap", 100, 24);
}

#[test]
fn a_line_that_cuts_stalls_and_slows_loses_and_doubles_no_mail_over_pop3() {
    survives("pop3", 100, 24);
}

#[test]
#[ignore = "long"]
fn two_hundred_harms_over_three_hundred_mails_lose_and_double_nothing_over_pop3() {
    survives("pop3", 300, 200);
}

#[test]
#[ignore = "long"]
fn two_hundred_harms_over_three_hundred_mails_lose_and_double_nothing_over_imap() {
    survives("imap", 300, 200);
}

#[test]
#[ignore = "long"]
fn a_line_that_stands_still_for_good_is_given_up_and_the_next_run_completes_the_work() {
    for protocol in PROTOCOLS {
        stands_still(protocol);
    }
}

fn stands_still(protocol: &'static str) {
    let mut line = Line::new(Way { protocol, tls: "implicit", after: "delete" });
    let expected = fill(&mut line.server, 100);
    undisturbed(&line.site);
    let (_, server) = line.proxy.passed();
    // longer than anybody's patience
    let harm = Harm::Stall(Duration::from_hours(1));
    line.proxy.set(&[Point { side: Side::Server, byte: server / 2, harm }]);
    let begun = Instant::now();
    let report = line.site.fetch();
    let words = format!("{protocol}, after {:?}: {report}", begun.elapsed());
    assert_eq!(report["error"]["code"], "connect", "{words}");
    assert!(begun.elapsed() < Duration::from_secs(100), "{words}");
    assert!(report["items"]["delivered"].as_u64().unwrap() > 0, "what had arrived is delivered: {words}");
    assert!(line.site.fetch()["error"].is_null());
    assert_eq!(line.site.delivered(), expected);
}

/// SIGKILL at random moments of a mailbox whose messages are deleted once they are delivered.
fn survives_kills(protocol: &'static str, kills: u32) {
    let mut line = Line::new(Way { protocol, tls: "implicit", after: "delete" });
    let expected = fill(&mut line.server, 500);
    let longest = undisturbed(&line.site);
    let finish = || assert_eq!(line.site.fetch()["error"], Value::Null);
    let arrived = kill_at_random(kills, longest, &line.site.cold(), || line.site.start_fetch(), finish);
    assert_exactly_once(&arrived, &expected);
    assert!(line.server.messages("INBOX").is_empty());
}

#[test]
#[ignore = "long"]
fn a_hundred_kills_lose_and_double_nothing_that_is_deleted_at_its_source() {
    for protocol in PROTOCOLS {
        survives_kills(protocol, 100);
    }
}
