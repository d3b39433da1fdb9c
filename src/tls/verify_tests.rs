//! Certificates of every kind that a tunnel meets, judged.

use std::path::Path;

use super::super::ca::{Pair, TestCa, host_params};
use super::super::material;
use super::super::provider;
use super::*;

/// A CA, and one that nobody trusts.
struct World {
    _dir: tempfile::TempDir,
    ca: TestCa,
    stranger: TestCa,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (ca, stranger) = (TestCa::new(dir.path()), TestCa::new(dir.path()));
        Self { _dir: dir, ca, stranger }
    }

    fn chain(&self) -> Trust {
        Trust { ca_file: Some(self.ca.cert.clone()), ..trust(Check::Chain) }
    }
}

fn trust(check: Check) -> Trust {
    Trust { check, dialled_name: check == Check::Chain, ..Trust::default() }
}

fn listing(check: Check, file: &Path) -> Trust {
    Trust { ca_file: Some(file.to_owned()), ..trust(check) }
}

fn judge(trust: &Trust, pair: &Pair, host: &str) -> Result<(), Reason> {
    let (policy, _) = Policy::new(trust, Peer::Server, &provider()).unwrap();
    let certs = material::certificates(&pair.cert).unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    policy.judge(&certs[0], &certs[1..], Some(&name), UnixTime::now()).map_err(|refusal| refusal.reason)
}

fn pin_of(pair: &Pair) -> Digest {
    subject_and_key(&material::certificates(&pair.cert).unwrap()[0]).unwrap().1
}

fn other_name(wanted: &str, name: &str) -> Result<(), Reason> {
    Err(Reason::OtherName { wanted: wanted.to_owned(), names: vec![name.to_owned()] })
}

#[test]
fn a_chain_to_the_ca_with_the_dialled_name_is_accepted() {
    let world = World::new();
    for (cert, dialled) in [
        ("mail.example.test", "mail.example.test"),
        ("*.example.test", "mail.example.test"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
    ] {
        assert_eq!(judge(&world.chain(), &world.ca.good(cert), dialled), Ok(()), "{cert} {dialled}");
    }
    assert_eq!(judge(&world.chain(), &world.ca.common_name_only("a.test"), "a.test"), Ok(()));
}

#[test]
fn each_refusal_says_which_it_is() {
    let world = World::new();
    let (ca, trust) = (&world.ca, world.chain());
    assert_eq!(
        judge(&trust, &ca.expired("a.test"), "a.test"),
        Err(Reason::Expired { on: "2021-01-01 00:00 UTC".into() })
    );
    assert_eq!(
        judge(&trust, &ca.future("a.test"), "a.test"),
        Err(Reason::NotYetValid { from: "2090-01-01 00:00 UTC".into() })
    );
    assert_eq!(judge(&trust, &ca.good("b.test"), "a.test"), other_name("a.test", "b.test"));
    assert_eq!(judge(&trust, &ca.common_name_only("b.test"), "a.test"), other_name("a.test", "b.test"));
    assert_eq!(judge(&trust, &ca.good("127.0.0.1"), "127.0.0.2"), other_name("127.0.0.2", "127.0.0.1"));
    // a name of an IP address does not do where an address is dialled
    assert_eq!(judge(&trust, &ca.common_name_only("127.0.0.1"), "127.0.0.1"), other_name("127.0.0.1", "127.0.0.1"));
    assert_eq!(judge(&trust, &ca.self_signed("a.test"), "a.test"), Err(Reason::SelfSigned));
    assert_eq!(judge(&trust, &ca.version_1("a.test"), "a.test"), Err(Reason::OldVersion));
    assert_eq!(judge(&trust, &ca.authority("a.test"), "a.test"), Err(Reason::Authority));
    let issuer = format!("CN={}", world.stranger.name);
    assert_eq!(judge(&trust, &world.stranger.good("a.test"), "a.test"), Err(Reason::UnknownIssuer { issuer }));
    let issuer = format!("CN={}", ca.name);
    assert_eq!(judge(&trust, &ca.impostor().good("a.test"), "a.test"), Err(Reason::OtherIssuerKey { issuer }));
}

#[test]
fn an_unknown_ca_is_named() {
    let world = World::new();
    let known = listing(Check::Chain, &world.ca.good("somebody.test").cert);
    let expected = Err(Reason::UnknownIssuer { issuer: format!("CN={}", world.ca.name) });
    assert_eq!(judge(&known, &world.ca.good("a.test"), "a.test"), expected);
}

#[test]
fn a_leaf_listed_itself_needs_no_chain_but_its_name_and_time() {
    let world = World::new();
    let ca = &world.ca;
    for pair in [ca.self_signed("a.test"), ca.version_1("a.test"), ca.good("a.test"), ca.authority("a.test")] {
        let listed = listing(Check::Chain, &pair.cert);
        assert_eq!(judge(&listed, &pair, "a.test"), Ok(()));
        assert_eq!(judge(&listed, &pair, "b.test"), other_name("b.test", "a.test"));
    }
    let expired = ca.expired("a.test");
    assert!(matches!(judge(&listing(Check::Chain, &expired.cert), &expired, "a.test"), Err(Reason::Expired { .. })));
}

#[test]
fn the_three_lists_are_alternatives() {
    let world = World::new();
    let pairs = [world.ca.good("a.test"), world.ca.good("10.0.0.1"), world.ca.good("Bob@example.test")];
    let any = Trust {
        check_host: vec!["z.test".into(), ".test".into()],
        check_email: vec!["Bob@EXAMPLE.test".into()],
        check_ip: vec!["10.0.0.1".parse().unwrap()],
        ..world.chain()
    };
    for pair in &pairs {
        assert_eq!(judge(&any, pair, "dialled.does.not.count"), Ok(()));
    }
    let case = Trust { check_email: vec!["bob@example.test".into()], ..world.chain() };
    assert_eq!(judge(&case, &pairs[2], "a.test"), other_name("bob@example.test", "Bob@example.test"));
    let none = Trust { check_host: vec!["z.test".into()], ..world.chain() };
    assert_eq!(judge(&none, &pairs[0], "a.test"), other_name("z.test", "a.test"));
}

#[test]
fn stunnels_verify_chain_alone_checks_no_name() {
    let world = World::new();
    let bare = Trust { dialled_name: false, ..world.chain() };
    assert_eq!(judge(&bare, &world.ca.good("a.test"), "b.test"), Ok(()));
}

#[test]
fn verify_peer_goes_by_the_key_and_survives_a_renewal() {
    let world = World::new();
    let old = world.ca.good("a.test");
    let peer = listing(Check::Pinned, &old.cert);
    assert_eq!(judge(&peer, &old, "whatever.test"), Ok(()));
    assert_eq!(judge(&peer, &world.ca.renewed(&old, "a.test"), "a.test"), Ok(()));
    assert_eq!(judge(&peer, &world.stranger.renewed(&old, "a.test"), "a.test"), Ok(()));
    assert_eq!(judge(&peer, &world.ca.good("a.test"), "a.test"), Err(Reason::OtherKey));
    let expired = world.ca.expired("a.test");
    assert!(matches!(judge(&listing(Check::Pinned, &expired.cert), &expired, "a.test"), Err(Reason::Expired { .. })));
}

#[test]
fn a_pin_is_enough_even_for_what_can_be_checked_no_more() {
    let world = World::new();
    let ca = &world.ca;
    for pair in [ca.expired("a.test"), ca.self_signed("a.test"), ca.version_1("a.test")] {
        let pinned = Trust { pins: vec![Digest([0; 32]), pin_of(&pair)], ..trust(Check::Pinned) };
        assert_eq!(judge(&pinned, &pair, "b.test"), Ok(()));
    }
    let wrong = Trust { pins: vec![Digest([0; 32])], ..trust(Check::Pinned) };
    assert_eq!(judge(&wrong, &ca.good("a.test"), "a.test"), Err(Reason::OtherKey));
}

#[test]
fn chain_and_pin_ask_for_both() {
    let world = World::new();
    let good = world.ca.good("a.test");
    let both = |pair: &Pair| Trust { check: Check::ChainAndPinned, pins: vec![pin_of(pair)], ..world.chain() };
    assert_eq!(judge(&both(&good), &good, "a.test"), Ok(()));
    assert_eq!(judge(&both(&good), &world.ca.good("a.test"), "a.test"), Err(Reason::OtherKey));
    let expired = world.ca.expired("a.test");
    assert!(matches!(judge(&both(&expired), &expired, "a.test"), Err(Reason::Expired { .. })));
}

#[test]
fn another_purpose_is_refused() {
    let world = World::new();
    let mut params = host_params("a.test");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let client = world.ca.issue(&params);
    assert_eq!(judge(&world.chain(), &client, "a.test"), Err(Reason::OtherPurpose));
    let (policy, _) = Policy::new(&Trust { require: true, ..world.chain() }, Peer::Client, &provider()).unwrap();
    let certs = material::certificates(&client.cert).unwrap();
    assert!(policy.judge(&certs[0], &[], None, UnixTime::now()).is_ok());
}

#[test]
fn what_cannot_verify_is_a_mistake_of_the_configuration() {
    let world = World::new();
    assert!(Policy::new(&trust(Check::Pinned), Peer::Server, &provider()).is_err());
    assert!(Policy::new(&trust(Check::Chain), Peer::Client, &provider()).is_err());
    let missing = listing(Check::Chain, Path::new("/nowhere/ca.pem"));
    let fault = Policy::new(&missing, Peer::Server, &provider()).unwrap_err();
    assert!(fault.code == Code::Config && fault.text.en.contains("/nowhere/ca.pem"), "{fault}");
    assert_eq!(judge(&trust(Check::Off), &world.stranger.expired("b.test"), "a.test"), Ok(()));
}

#[test]
fn a_refusal_shows_the_pin_that_would_accept_it() {
    let world = World::new();
    let pair = world.ca.expired("a.test");
    let (policy, _) = Policy::new(&world.chain(), Peer::Server, &provider()).unwrap();
    let certs = material::certificates(&pair.cert).unwrap();
    let refusal = policy.judge(&certs[0], &[], None, UnixTime::now()).unwrap_err();
    let text = refusal.text("a.test");
    let pin = format!("pin = {}", pin_of(&pair));
    assert!(text.en.contains("expired") && text.en.ends_with(&pin), "{}", text.en);
    assert!(text.fr.contains("expiré") && text.fr.ends_with(&pin), "{}", text.fr);
}

/// The CA's list in a file, and what is then said of a certificate.
fn listed(world: &World, list: &Path, pair: &Pair) -> Result<(), Reason> {
    judge(&Trust { crl_file: Some(list.to_owned()), ..world.chain() }, pair, "a.test")
}

#[test]
fn a_revocation_list_has_to_be_there_current_and_its_issuers() {
    let world = World::new();
    let (ca, good, bad) = (&world.ca, world.ca.good("a.test"), world.ca.good("a.test"));
    let current = ca.list(&[&bad], 2024, 2090);
    assert_eq!(listed(&world, &current, &good), Ok(()));
    assert_eq!(listed(&world, &current, &bad), Err(Reason::Revoked));
    let issuer = format!("CN={}", ca.name);
    let foreign = world.stranger.list(&[], 2024, 2090);
    assert_eq!(listed(&world, &foreign, &good), Err(Reason::NoRevocationList { issuer: issuer.clone() }));
    let forged = ca.impostor().list(&[], 2024, 2090);
    assert_eq!(listed(&world, &forged, &good), Err(Reason::ForeignRevocationList { issuer }));
    let old = ca.list(&[], 2020, 2021);
    assert_eq!(listed(&world, &old, &good), Err(Reason::OldRevocationList { on: "2021-01-01 00:00 UTC".into() }));
    let future = ca.list(&[], 2090, 2091);
    let expected = Err(Reason::FutureRevocationList { from: "2090-01-01 00:00 UTC".into() });
    assert_eq!(listed(&world, &future, &good), expected);
}

#[test]
fn of_several_lists_the_newest_that_holds_counts() {
    let world = World::new();
    let pair = world.ca.good("a.test");
    let lists =
        [world.ca.list(&[&pair], 2023, 2090), world.ca.list(&[], 2024, 2090), world.ca.list(&[&pair], 2025, 2026)];
    let all: String = lists.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let file = world.ca.cert.with_extension("lists");
    std::fs::write(&file, all).unwrap();
    assert_eq!(listed(&world, &file, &pair), Ok(()));
}

#[test]
fn a_list_that_changed_counts_once_the_files_are_read_again() {
    let world = World::new();
    let pair = world.ca.good("a.test");
    let file = world.ca.list(&[], 2024, 2090);
    assert_eq!(listed(&world, &file, &pair), Ok(()));
    std::fs::copy(world.ca.list(&[&pair], 2024, 2090), &file).unwrap();
    assert_eq!(listed(&world, &file, &pair), Err(Reason::Revoked));
}

#[test]
fn every_refusal_has_a_sentence_of_its_own_in_both_languages() {
    let (issuer, at) = ("CN=x".to_owned(), "2024-01-01".to_owned());
    let reasons = [
        Reason::Revoked,
        Reason::NoRevocationList { issuer: issuer.clone() },
        Reason::ForeignRevocationList { issuer },
        Reason::OldRevocationList { on: at.clone() },
        Reason::FutureRevocationList { from: at },
        Reason::NoAuthority,
        Reason::OtherSubject,
        Reason::NoCertificate,
        Reason::OtherKey,
        Reason::OtherPurpose,
        Reason::SelfSigned,
        Reason::OldVersion,
        Reason::Authority,
        Reason::ChainOutOfDate,
        Reason::RootOutOfDate,
    ];
    for reason in reasons {
        let text = reason.text();
        assert!(text.en != text.fr && text.en.len() > 30 && !text.en.contains("Reason"), "{reason:?}");
    }
}

#[test]
fn clients_are_told_of_the_authorities_in_the_file_alone() {
    let world = World::new();
    let folder = world.ca.cert.with_extension("d");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(&world.stranger.cert, folder.join("x.pem")).unwrap();
    let both = Trust { ca_path: Some(folder), require: true, ..world.chain() };
    let (policy, _) = Policy::new(&both, Peer::Client, &provider()).unwrap();
    assert_eq!(policy.hints().len(), 1);
    let certs = material::certificates(&world.stranger.good("me.test").cert).unwrap();
    assert!(policy.judge(&certs[0], &[], None, UnixTime::now()).is_ok());
}

#[test]
fn a_pinned_key_is_for_its_subject_alone_unless_the_key_itself_is_pinned() {
    let world = World::new();
    let old = world.ca.good("a.test");
    let other = world.ca.renewed(&old, "b.test");
    assert_eq!(judge(&listing(Check::Pinned, &old.cert), &other, "b.test"), Err(Reason::OtherSubject));
    let pinned = Trust { pins: vec![pin_of(&old)], ..trust(Check::Pinned) };
    assert_eq!(judge(&pinned, &other, "b.test"), Ok(()));
}

#[test]
fn old_kinds_of_certificates_count_where_openssl_takes_them() {
    let world = World::new();
    let old = Trust { old_leaves: true, ..world.chain() };
    let authority = world.ca.authority("a.test");
    assert_eq!(judge(&old, &authority, "a.test"), Ok(()));
    assert_eq!(judge(&old, &authority, "b.test"), other_name("b.test", "a.test"));
    assert_eq!(judge(&old, &world.stranger.authority("a.test"), "a.test"), Err(Reason::Authority));
    assert_eq!(judge(&old, &world.ca.impostor().authority("a.test"), "a.test"), Err(Reason::Authority));
    assert_eq!(judge(&old, &world.ca.self_signed("a.test"), "a.test"), Err(Reason::SelfSigned));
    assert_eq!(judge(&old, &world.ca.version_1("a.test"), "a.test"), Err(Reason::SelfSigned));
}
