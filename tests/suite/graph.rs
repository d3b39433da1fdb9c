//! The Microsoft 365 launcher as a user runs it, against the simulator: whatever Graph does, each document arrives once.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use pertuis::model::Digest;
use serde_json::Value;

use crate::support::mails::{bytes, mail};
use crate::support::microsoft::faults::{Fault, Quirks};
use crate::support::microsoft::mailbox::{Attachment, AttachmentKind, Kind};
use crate::support::microsoft::{MARIE, Microsoft, PUBLIC, SHARED};
use crate::support::office::Office;
use crate::support::service::{Service, until};

/// The counts of a report, in the words of the contract.
fn count(report: &Value, outcome: &str) -> u64 {
    report["items"][outcome].as_u64().unwrap_or_else(|| panic!("no {outcome}: {report}"))
}

/// Fetches until a cycle finds no trouble; answers its report.
fn fetched_in_the_end(office: &Office) -> Value {
    for _ in 0..20 {
        let report = office.fetch();
        if report["error"].is_null() && count(&report, "failed") == 0 {
            return report;
        }
    }
    panic!("no good cycle: {} {:#?}", office.fetch(), office.asked());
}

// ---- a folder that is emptied while its pages lie -------------------------------------------------------------------

/// `number` messages are moved away while next links are lost, pages come short or empty, `$skip` jumps and both ends
/// of the limits are felt.
fn all_are_moved(number: u64) {
    let office = Office::signed_in("source = Factures\nafter = move Archives GED");
    {
        let mut world = office.server.world();
        world.mailbox().make_folder("msgfolderroot", "Factures");
        world.mailbox().make_folder("msgfolderroot", "Archives GED");
        world.faults.latency = Duration::from_millis(2);
        let quirks = Quirks { skip_gap: true, short_pages: true, ..Quirks::default() };
        world.faults.quirks = Quirks { empty_pages: 5, lost_next_links: 3, ..quirks };
        for (part, skip, wait) in [("/$value", 7, "1"), ("/move", 11, "0.4"), ("/messages?", 2, "")] {
            let method = if part == "/move" { "POST" } else { "GET" };
            let fault = Fault::Throttled(429, "ApplicationThrottled", wait);
            world.faults.add_after(skip, method, part, 2, fault);
        }
        world.faults.add_after(30, "GET", "/$value", 1, Fault::Throttled(503, "serviceNotAvailable", "2.128"));
        world.faults.add_after(40, "GET", "/$value", 1, Fault::Cut(300));
        world.faults.add_after(50, "GET", "/$value", 1, Fault::Refused(504, "UnknownError", ""));
    }
    let expected = office.fill("Factures", 0..number);
    fetched_in_the_end(&office);
    assert_eq!(office.site.delivered(), expected);
    fetched_in_the_end(&office);
    assert_eq!(office.site.delivered(), expected, "a second cycle delivers none");
    let mut world = office.server.world();
    assert_eq!(world.mailbox().in_folder("Factures").len(), 0, "all were moved");
    assert_eq!(world.mailbox().in_folder("Archives GED").len() as u64, number);
    assert!(world.faults.all_used(), "{:?}", world.faults.rules);
    drop(world);
    office.well_behaved();
}

#[test]
fn a_hundred_and_fifty_messages_are_moved_while_pages_lie() {
    all_are_moved(150);
}

#[test]
#[ignore = "long"]
fn two_and_a_half_thousand_messages_are_moved_while_pages_lie() {
    all_are_moved(2500);
}

#[test]
fn killed_again_and_again_nothing_is_lost_and_nothing_comes_twice() {
    let office = Office::signed_in("after = move archive");
    office.server.world().faults.latency = Duration::from_millis(2);
    let expected = office.fill("inbox", 0..60);
    for round in 1..6 {
        let mut child = office.site.start_fetch();
        let moved = || office.server.world().mailbox().in_folder("archive").len() >= round * 8;
        until("some moves, or the end", || (moved() || child.try_wait().unwrap().is_some()).then_some(()));
        let _ = child.kill();
        child.wait().unwrap();
    }
    fetched_in_the_end(&office);
    assert_eq!(office.site.delivered(), expected);
    assert_eq!(office.server.world().mailbox().in_folder("archive").len(), 60);
}

// ---- a folder that is left as it is ---------------------------------------------------------------------------------

#[test]
fn what_is_left_in_place_is_listed_by_what_changed() {
    let office = Office::signed_in("");
    let quirks = Quirks { replay: true, delta_page: 40, ..Quirks::default() };
    office.server.world().faults.quirks = quirks;
    let mut expected = office.fill("inbox", 0..130);
    assert_eq!(office.fetched().0, 130);
    let first = office.server.world().records.count("GET", "/messages");
    assert_eq!((office.fetched().0, office.site.delivered()), (0, expected.clone()));
    let second = office.server.world().records.count("GET", "/messages") - first;
    assert!(second <= 3, "{second} requests although nothing changed: {:#?}", office.asked());
    expected.extend(office.fill("inbox", 200..203));
    {
        let mut world = office.server.world();
        let archive = world.mailbox().folder("archive");
        let gone = world.mailbox().in_folder("inbox")[0].number;
        world.mailbox().relocate(gone, archive);
        let read = world.mailbox().in_folder("inbox")[0].number;
        world.mailbox().message(read).is_read = true;
    }
    assert_eq!((office.fetched().0, office.site.delivered()), (3, expected));
    office.well_behaved();
}

#[test]
fn a_link_that_is_gone_in_the_middle_of_a_round_starts_it_afresh_without_duplicates() {
    for located in [false, true] {
        let office = Office::signed_in("");
        let mut expected = office.fill("inbox", 0..150);
        office.server.world().faults.quirks.delta_page = 40;
        office.server.world().faults.add_after(1, "GET", "skiptoken", 1, Fault::Gone(located));
        fetched_in_the_end(&office);
        assert!(office.server.world().faults.all_used(), "a round of several pages: {:#?}", office.asked());
        assert_eq!(office.site.delivered(), expected, "in the middle of the first round");
        expected.extend(office.fill("inbox", 150..152));
        office.server.world().expire_delta();
        office.server.world().faults.quirks.gone_with_location = located;
        fetched_in_the_end(&office);
        assert_eq!(office.site.delivered(), expected, "the stored link");
        office.well_behaved();
    }
}

#[test]
fn the_service_brings_what_arrives() {
    let office = Office::signed_in("interval = 1s");
    let expected = office.fill("inbox", 0..2);
    let service = Service::start(&mut office.site.command(&["run"]));
    until("the first documents", || (office.site.delivered() == expected).then_some(()));
    let more: BTreeMap<_, _> = expected.into_iter().chain(office.fill("inbox", 2..4)).collect();
    until("the next ones", || (office.site.delivered() == more).then_some(()));
    drop(service);
    office.well_behaved();
}

// ---- messages that cannot be had as they are ------------------------------------------------------------------------

/// Files in quarantine with a reason.
fn reasons(office: &Office) -> Vec<String> {
    let all = crate::support::office::files(&office.site.path("state"));
    let reasons = all.into_iter().filter(|(name, _)| name.ends_with(".reason.txt"));
    reasons.map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect()
}

#[test]
fn a_message_that_can_never_be_converted_arrives_by_its_parts_and_stops_nobody() {
    for after in ["leave", "move archive"] {
        let office = Office::signed_in(&format!("after = {after}"));
        let mut expected = office.fill("inbox", 0..3);
        let content = bytes(99, 20_000);
        let number = office.server.deliver("inbox", &mail("Signé", &[("facture signée.pdf", &content)]));
        office.server.world().mailbox().message(number).kind = Kind::Smime;
        expected.extend(office.fill("inbox", 3..6));
        expected.insert(Digest::of(&content), 1);
        fetched_in_the_end(&office);
        assert_eq!((office.site.delivered(), reasons(&office)), (expected, vec![]), "{after}");
        let asked = office.server.world().records.graph().filter(|record| record.status == 500).count();
        assert!(asked <= 3, "{asked} questions for what will never be");
        office.well_behaved();
    }
}

/// One message whose every page fails, and itself too.
fn a_corrupt_message(after: &str) {
    let office = Office::signed_in(&format!("after = {after}"));
    let mut expected = office.fill("inbox", 0..3);
    let number = office.server.deliver("inbox", &mail("Abîmé", &[("perdu.pdf", b"lost")]));
    office.server.world().mailbox().message(number).kind = Kind::Corrupt;
    expected.extend(office.fill("inbox", 3..6));
    for _ in 0..5 {
        office.fetch();
    }
    assert_eq!(office.site.delivered(), expected, "{after}: {:#?}", office.asked());
    let reasons = reasons(&office);
    assert!(reasons.len() == 1 && reasons[0].contains("ErrorContentConversionFailed"), "{after}: {reasons:?}");
    assert!(office.fetch()["error"].is_null(), "{after}");
}

#[test]
fn a_corrupt_message_ends_in_quarantine_with_its_reason_and_the_others_arrive() {
    a_corrupt_message("leave");
}

#[test]
fn a_corrupt_message_in_a_folder_that_is_emptied_ends_in_quarantine_too() {
    a_corrupt_message("move archive");
}

#[test]
fn a_message_too_large_for_its_text_arrives_by_its_attachments_of_all_kinds() {
    let office = Office::signed_in("nested = yes");
    let (large, nested) = (bytes(1, 60_000), bytes(2, 4000));
    let number = office.server.deliver("inbox", &mail("Gros", &[("plan.pdf", &large)]));
    {
        let mut world = office.server.world();
        world.faults.quirks.mime_limit = 10_000;
        let attachment = |kind, name: &str, media_type: &str, bytes: Vec<u8>| Attachment {
            kind,
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            bytes,
            inline: false,
            content_id: None,
        };
        let inner = mail("Dedans", &[("dedans.pdf", &nested)]);
        world.mailbox().message(number).attachments = Some(vec![
            attachment(AttachmentKind::File, "plan.pdf", "application/pdf", large.clone()),
            attachment(AttachmentKind::Item, "Dedans", "", inner),
            attachment(AttachmentKind::Reference, "Partagé.docx", "", Vec::new()),
        ]);
    }
    let report = fetched_in_the_end(&office);
    assert_eq!(count(&report, "delivered"), 1, "{report}");
    let delivered = office.site.delivered();
    assert!(delivered.contains_key(&Digest::of(&large)), "{delivered:?}");
    assert!(delivered.contains_key(&Digest::of(&nested)), "the attachment of the attached message: {delivered:?}");
}

#[test]
fn bodies_that_are_cut_or_have_no_end_are_never_taken_for_whole() {
    let office = Office::signed_in("");
    let content = bytes(1, 30_000);
    office.server.deliver("inbox", &mail("Facture", &[("facture.pdf", &content)]));
    let mut expected = office.fill("inbox", 1..4);
    expected.insert(Digest::of(&content), 1);
    let whole = usize::MAX;
    for fault in [Fault::Cut(20_000), Fault::UntilClose(20_000), Fault::UntilClose(whole), Fault::ErrorInside] {
        office.server.world().faults.add("GET", "/$value", 1, fault.clone());
        let _ = office.fetch();
        for digest in office.site.delivered().keys() {
            assert!(expected.contains_key(digest), "{fault:?}: something else than a document was delivered");
        }
    }
    fetched_in_the_end(&office);
    assert_eq!(office.site.delivered(), expected);
    office.well_behaved();
}

#[test]
fn lists_that_are_cut_or_broken_hide_nothing() {
    for after in ["leave", "move archive"] {
        let office = Office::signed_in(&format!("after = {after}"));
        let expected = office.fill("inbox", 0..30);
        let faults = [
            Fault::ErrorInside,
            Fault::Cut(100),
            Fault::UntilClose(usize::MAX),
            Fault::Page(502),
            Fault::Refused(500, "InternalServerError", "Error while processing response."),
        ];
        for fault in faults {
            office.server.world().faults.add("GET", "/messages", 1, fault);
            let _ = office.fetch();
        }
        fetched_in_the_end(&office);
        assert_eq!(office.site.delivered(), expected, "{after}");
    }
}

#[test]
fn a_redirect_never_carries_the_token_elsewhere() {
    let (office, thief) = (Office::signed_in(""), Microsoft::start());
    let expected = office.fill("inbox", 0..3);
    for part in ["/$value", "/messages", "/mailFolders"] {
        office.server.world().faults.add("GET", part, 1, Fault::Redirect(307, thief.root()));
        let _ = office.fetch();
    }
    fetched_in_the_end(&office);
    assert_eq!(office.site.delivered(), expected);
    let world = thief.world();
    let told: Vec<_> = world.records.all().iter().filter(|one| one.asked.header("authorization").is_some()).collect();
    assert!(told.is_empty(), "{told:#?}");
}

// ---- afterwards -----------------------------------------------------------------------------------------------------

#[test]
fn what_was_delivered_is_marked_filed_or_deleted_and_nothing_else() {
    for after in ["seen", "flag", "category GED importé", "move Archives\\/2026/Été", "delete"] {
        let office = Office::signed_in(&format!("after = {after}\nfilter_subject = /Facture [0-3]$/"));
        {
            let mut world = office.server.world();
            world.mailbox().make_folder("msgfolderroot", "Archives/2026");
            world.mailbox().make_folder("Archives/2026", "Été");
        }
        office.fill("inbox", 0..6);
        let own = {
            let mut world = office.server.world();
            let number = world.mailbox().in_folder("inbox")[0].number;
            world.mailbox().message(number).categories = vec!["Bleu".to_owned()];
            number
        };
        assert_eq!(office.fetched().0, 4, "{after}");
        let mut world = office.server.world();
        let mailbox = world.mailbox();
        let stays = |word: &str| after.starts_with(word);
        let left = mailbox.in_folder("inbox").len();
        assert_eq!(left, if stays("move") || stays("delete") { 2 } else { 6 }, "{after}");
        assert_eq!(mailbox.in_folder("Été").len(), if stays("move") { 4 } else { 0 }, "{after}");
        let marked = |fits: &dyn Fn(&crate::support::microsoft::mailbox::Message) -> bool| {
            mailbox.in_folder("inbox").into_iter().filter(|message| fits(message)).count()
        };
        assert_eq!(marked(&|message| message.is_read), if stays("seen") { 4 } else { 0 }, "{after}");
        assert_eq!(marked(&|message| message.flagged), if stays("flag") { 4 } else { 0 }, "{after}");
        let named = marked(&|message| message.categories.iter().any(|name| name == "GED importé"));
        assert_eq!(named, if stays("category") { 4 } else { 0 }, "{after}");
        if stays("category") {
            let list = &mailbox.message(own).categories;
            assert!(list.contains(&"Bleu".to_owned()), "the categories of the user stay: {list:?}");
        }
        drop(world);
        assert_eq!(office.fetched().0, 0, "{after}");
        office.well_behaved();
    }
}

#[test]
fn an_answer_that_is_lost_after_a_move_or_deletion_is_no_trouble() {
    for (after, method, part) in [("move archive", "POST", "/move"), ("delete", "DELETE", "/messages/")] {
        let office = Office::signed_in(&format!("after = {after}"));
        let expected = office.fill("inbox", 0..6);
        // done, and nobody hears of it
        for skip in [0, 1] {
            office.server.world().faults.add_after(skip, method, part, 1, Fault::Cut(0));
        }
        fetched_in_the_end(&office);
        fetched_in_the_end(&office);
        assert_eq!(office.site.delivered(), expected, "{after}");
        assert_eq!(office.server.world().mailbox().in_folder("inbox").len(), 0, "{after}");
    }
}

// ---- folders and mailboxes ------------------------------------------------------------------------------------------

#[test]
fn a_folder_is_found_by_its_path_in_the_users_language_or_by_its_id() {
    let office = Office::new("");
    let id = {
        let mut world = office.server.world();
        for n in 0..14 {
            world.mailbox().make_folder("inbox", &format!("Dossier {n}"));
        }
        world.mailbox().make_folder("inbox", "Factures/Avoirs");
        let deep = world.mailbox().make_folder("Factures/Avoirs", "E\u{301}te\u{301} 2026");
        world.mailbox().folder_id(deep)
    };
    office.sign_in();
    let folder = "E\u{301}te\u{301} 2026";
    let mut expected = BTreeMap::new();
    let paths = [
        "Boîte de réception/Factures\\/Avoirs/Été 2026",
        "inbox/factures\\/avoirs/été 2026",
        "INBOX/Factures\\/Avoirs/Été 2026",
        &id,
    ];
    for (n, source) in (0..).zip(paths) {
        office.write_ini("", &format!("source = {source}"));
        expected.extend(office.fill(folder, n * 2..n * 2 + 2));
        assert_eq!(office.fetched().0, 2, "{source}");
        assert_eq!(office.site.delivered(), expected, "{source}");
    }
    office.write_ini("", "source = inbox/Factures");
    let report = office.fetch();
    assert_eq!(report["error"]["code"], "folder", "{report}");
}

#[test]
fn a_shared_mailbox_is_read_with_ones_own_sign_in() {
    let office = Office::signed_in(&format!("mailbox = {SHARED}"));
    let now = office.server.world().clock.now();
    let mime = mail("Partagée", &[("partagée.pdf", b"%PDF shared")]);
    office.server.world().graph.mailboxes[1].deliver("inbox", &mime, now);
    office.fill("inbox", 0..2);
    assert_eq!(office.fetched().0, 1);
    office.server.world().graph.mailboxes[1].delegates.clear();
    let report = office.fetch();
    assert!(!report["error"].is_null(), "{report}");
}

#[test]
fn what_is_wrong_with_a_mailbox_is_said_with_what_to_do() {
    let office = Office::signed_in("");
    office.server.world().mailbox().absent = true;
    for not_found in [false, true] {
        office.server.world().faults.quirks.resource_not_found = not_found;
        let report = office.fetch();
        let message = report["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(MARIE) || message.contains("mailbox"), "{report}");
    }
    office.server.world().mailbox().absent = false;
    office.server.world().entra.app(PUBLIC).consents = vec!["User.Read"];
    office.server.world().clock.advance(Duration::from_hours(2));
    let report = office.fetch();
    assert!(["credentials", "folder"].contains(&report["error"]["code"].as_str().unwrap()), "{report}");
}

// ---- memory ---------------------------------------------------------------------------------------------------------

#[test]
#[ignore = "long"]
#[cfg(target_os = "linux")] // /proc tells the memory of a process
fn a_message_of_50_megabytes_passes_in_64_megabytes_of_memory() {
    for fallback in [false, true] {
        let office = Office::signed_in("");
        let content = bytes(1, 37 << 20);
        let message = mail("Plan cadastral", &[("plan.pdf", &content)]);
        assert!((50_000_000..60_000_000).contains(&message.len()), "{} bytes", message.len());
        let number = office.server.deliver("inbox", &message);
        if fallback {
            office.server.world().mailbox().message(number).kind = Kind::Smime;
        }
        let mut child = office.site.start_fetch();
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let now = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
            peak = peak.max(now);
            std::thread::sleep(Duration::from_millis(1)); // not a wait: how often it is looked at
        }
        assert!(child.wait().unwrap().success(), "{:#?}", office.asked());
        assert_eq!(office.site.delivered(), BTreeMap::from([(Digest::of(&content), 1)]), "fallback: {fallback}");
        eprintln!("fallback {fallback}: peak memory {} MiB", peak >> 10);
        assert!(peak > 0 && peak <= 64 << 10, "fallback {fallback}: {peak} KiB");
    }
}
