//! Launchers of envelopes: what they have, what they refuse, and how they share a directory.

use super::*;
use crate::config::launcher::Index;
use crate::model::EnvelopeKind::{self, Actes, Chorus, Helios, Pastell, Webdelib};

#[test]
fn a_launcher_of_envelopes_has_defaults_of_its_own() {
    let launcher = adullact("");
    assert_eq!((launcher.kind, launcher.source.as_str()), (Kind::Adullact, "/srv/depot"));
    assert_eq!((launcher.max_size, launcher.max_unpacked, launcher.max_entries), (4 << 30, 2 << 30, 20_000));
    assert_eq!((launcher.max_ratio, launcher.max_depth, launcher.settle.as_secs()), (300, 8, 30));
    assert_eq!((launcher.index, launcher.template.to_string().as_str()), (Index::Json, "{key}_{n}_{name}"));
    assert_eq!((launcher.envelope.as_slice(), launcher.takes_unknown), (EnvelopeKind::ALL.as_slice(), true));
    assert_eq!((launcher.alias, launcher.end_marker), (vec![], None));
    assert_eq!(adullact("group = folder\n").template.to_string(), "{name}");
    assert_eq!(adullact("group = folder\nname = {n}-{name}\n").template.to_string(), "{n}-{name}");
    assert_eq!(adullact("index = none\n").index, Index::None);
}

#[test]
fn its_options_are_read_in_both_vocabularies() {
    let launcher = adullact(
        "Enveloppe = acte_nature\nenvelope = CHORUS\nenvelope = chorus_fact\nalias = Facture = GED = chorus_fact\n\
         alias = actes_ged = actes\nmarqueur_fin = fin.txt\nmax_ratio = 500\napres = move /srv/fait\n\
         apres_vide = supprimer\nstabilisation = 5s\ndepuis = 30d\nmax_unpacked = 1G\nmax_entries = 9\nmax_depth = 2\n",
    );
    assert_eq!(launcher.envelope, [Actes, Chorus]);
    assert_eq!(launcher.alias, [("Facture = GED".to_owned(), Chorus), ("actes_ged".to_owned(), Actes)]);
    assert_eq!((launcher.end_marker.as_deref(), launcher.max_ratio), (Some("fin.txt"), 500));
    assert_eq!(launcher.after, Disposition::Move("/srv/fait".to_owned()));
    assert_eq!((launcher.after_empty, launcher.settle.as_secs()), (Disposition::Delete, 5));
    assert_eq!((launcher.max_unpacked, launcher.max_entries, launcher.max_depth), (1 << 30, 9, 2));
    for (word, kind) in [("helios", Helios), ("pastell", Pastell), ("webdelib", Webdelib), ("acte-nature", Actes)] {
        assert_eq!(adullact(&format!("envelope = {word}\n")).envelope, [kind]);
    }
}

#[test]
fn what_such_a_launcher_cannot_have_is_a_mistake_at_its_line() {
    for (more, words) in [
        ("envelope = helio", "did you mean \"helios\""),
        ("envelope = chorus_fac", "did you mean \"chorus_fact\""),
        ("envelope = acte_nature, helios", "one line for each"),
        ("envelope = ", "no kind of envelope"),
        ("alias = facture", "expected NAME = KIND"),
        ("alias = = chorus", "expected NAME = KIND"),
        ("alias = x = chrous", "did you mean \"chorus\""),
        ("alias = x = chorus\nalias = X = actes", "two kinds"),
        ("end_marker = a/b", "without a folder"),
        ("max_ratio = 0", "no whole number from 1"),
        ("server = h", "an adullact launcher has no use for it"),
        ("password = p", "an adullact launcher has no use for it"),
        ("filter_from = /x/", "an adullact launcher has no use for it"),
        ("subfolders = yes", "an adullact launcher has no use for it"),
        ("proxy = http://h:1", "an adullact launcher has no use for it"),
        ("accept = 1", "it belongs in a tunnel"),
        ("after = seen", "left, moved or deleted"),
        ("after = move /srv/depot/fait", "move out of it"),
        ("staging = /srv/depot/x", "where each directory is a deposit"),
        ("quarantine = /srv/depot", "where each directory is a deposit"),
        ("marqueur = fin.txt", "is unknown"),
        ("end_market = fin.txt", "did you mean \"end_marker\""),
    ] {
        let mistakes = lines(&load_text(&format!("{ADULLACT}{more}\n")).unwrap_err());
        assert!(mistakes.len() == 1 && mistakes[0].contains(words), "{more}: {mistakes:?}");
        let line = 5 + more.matches('\n').count();
        assert!(mistakes[0].starts_with(&format!("t.ini:{line}: ")), "{more}: {mistakes:?}");
    }
    for deliver in ["/srv/depot", "/srv/depot/wait"] {
        let text = ADULLACT.replace("/srv/wait", deliver);
        assert_eq!(load_text(&text).unwrap_err().len(), 1, "{deliver}");
    }
    let mistakes = lines(&load_text("[a]\nlauncher = adullact\n").unwrap_err());
    assert!(
        mistakes.len() == 2 && mistakes[0].contains("needs `deliver =`") && mistakes[1].contains("needs `source =`")
    );
}

#[test]
fn what_only_such_a_launcher_has_is_a_mistake_elsewhere() {
    for more in ["envelope = helios", "alias = Facture = chorus", "end_marker = fin.txt"] {
        let mistakes = imap_mistakes(more);
        assert!(mistakes.len() == 1 && mistakes[0].contains("only adullact launchers have it"), "{mistakes:?}");
        let mistakes = lines(&load_text(&format!("{DIRECTORY}{more}\n")).unwrap_err());
        assert!(mistakes.len() == 1 && mistakes[0].contains("only adullact launchers have it"), "{mistakes:?}");
    }
    assert!(imap_mistakes("settle = 5s")[0].contains("only directory and adullact launchers have it"));
    // before the first section they are meant for those that have them
    let config = good(&format!("envelope = helios\nafter = seen\nsubfolders = yes\n{IMAP}{ADULLACT}"));
    assert_eq!(
        (&config.launchers[1].after, config.launchers[1].envelope.as_slice()),
        (&Disposition::Leave, &[Helios][..])
    );
    assert!(config.launchers[0].subfolders && !config.launchers[1].subfolders);
}

#[test]
fn launchers_of_one_directory_share_the_kinds_and_the_first_takes_what_has_none() {
    let two = |first: &str, second: &str| {
        format!("{ADULLACT}{first}\n[b]\nlauncher = adullact\ndeliver = /srv/b\n{second}\n")
    };
    let takers = |text: &str| -> Vec<bool> { good(text).launchers.iter().map(|l| l.takes_unknown).collect() };
    for (first, second, wanted) in [
        ("envelope = actes", "source = /srv/depot\nenvelope = helios", [true, false]),
        ("envelope = actes", "source = /srv/x/../depot/.\nenvelope = helios", [true, false]),
        ("envelope = actes\nenabled = no", "source = /srv/depot\nenvelope = helios", [false, true]),
        ("envelope = actes\nenabled = no", "source = /srv/depot\nenvelope = actes", [false, true]),
        ("", "source = /srv/depot2", [true, true]),
        ("enabled = no", "source = /srv/depot\nenabled = no", [true, true]),
    ] {
        assert_eq!(takers(&two(first, second)), wanted, "{first} {second}");
    }
    for (first, second, line, words) in [
        ("envelope = actes", "source = /srv/depot\nenvelope = helios\nenvelope = acte_nature", 11, "takes actes from"),
        ("", "source = /srv/depot\nenvelope = helios", 10, "takes helios from"),
        ("envelope = helios", "source = /srv/./depot", 6, "takes helios from"),
        ("envelope = actes", "source = /srv/depot/actes\nenvelope = helios", 9, "lie inside each other"),
        ("envelope = actes", "source = /srv\nenvelope = helios", 9, "lie inside each other"),
    ] {
        let mistakes = lines(&load_text(&two(first, second)).unwrap_err());
        let found =
            mistakes.iter().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{second}: {mistakes:?}"));
        assert!(found.starts_with(&format!("t.ini:{line}: ")) && found.contains("[a] at t.ini:1"), "{found}");
    }
}

#[test]
fn its_values_are_explained() {
    let config =
        good(&format!("{ADULLACT}envelope = acte_nature\n[b]\nlauncher = adullact\nsource = /b\ndeliver = /c\n"));
    let value = |section: &str, option: &str| {
        let found = |e: &&Explained| e.section.as_ref().is_some_and(|s| s.as_str() == section) && e.option == option;
        config.explain().iter().find(found).map(|e| e.value.clone())
    };
    for (section, option, wanted) in [
        ("a", "envelope", "acte_nature"),
        ("b", "envelope", "actes, helios, chorus, pastell, webdelib"),
        ("b", "name", "{key}_{n}_{name}"),
        ("b", "index", "json"),
        ("b", "max_size", "4G"),
        ("b", "max_ratio", "300"),
        ("b", "settle", "30s"),
        ("b", "end_marker", ""),
    ] {
        assert_eq!(value(section, option).as_deref(), Some(wanted), "{section} {option}");
    }
    assert_eq!(value("b", "server"), None);
}

fn adullact(more: &str) -> Launcher {
    good(&format!("{ADULLACT}{more}")).launchers.remove(0)
}

const ADULLACT: &str = "[a]\nlauncher = adullact\nsource = /srv/depot\ndeliver = /srv/wait\n";
