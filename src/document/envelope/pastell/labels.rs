//! Words for the codes of Pastell's own fields.
//!
//! Not the codes of ACTES, which Pastell shares: those stand with that family.

use crate::document::envelope::values::Values;

/// Puts the words beside the codes that are known.
pub(super) fn add(values: &mut Values) {
    for (key, table) in [("statut_cpp", STATUSES), ("etat_ack", ACKS)] {
        let words: Vec<&str> = values.all(key).iter().filter_map(|code| word(table, code)).collect();
        for word in words {
            values.add(&format!("{key}_libelle"), word);
        }
    }
}

fn word(table: &'static [(&str, &str)], code: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == code).map(|(_, word)| *word)
}

/// Facts A.4: Pastell keeps the word of a status of Chorus Pro.
const STATUSES: &[(&str, &str)] = &[
    ("DEPOSEE", "Déposée"),
    ("EN_COURS_ACHEMINEMENT", "En cours d'acheminement"),
    ("MISE_A_DISPOSITION", "Mise à disposition"),
    ("A_RECYCLER", "À recycler"),
    ("REJETEE", "Rejetée"),
    ("SUSPENDUE", "Suspendue"),
    ("SERVICE_FAIT", "Service fait"),
    ("MANDATEE", "Mandatée"),
    ("MISE_A_DISPOSITION_COMPTABLE", "Mise à disposition du comptable"),
    ("COMPTABILISEE", "Comptabilisée"),
    ("MISE_EN_PAIEMENT", "Mise en paiement"),
    ("COMPLETEE", "Complétée"),
];

/// Facts A.1: 0 stands for a PES without an acquit.
const ACKS: &[(&str, &str)] = &[("1", "Accepté"), ("2", "Refusé")];
