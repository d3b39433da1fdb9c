//! What codes of invoices mean, in the words of those who made them: French, as they stand in the index.
//!
//! Not complete: a code is here where its meaning is certain (`CPPFacturePivot_V2_02.xsd`, `CPPStatutPivot_V1_19.xsd`, UN/ECE
//! 4461, UNTDID 1001); any other code stands in the index alone.

/// A list of codes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Labels {
    /// `Type`, `InvoiceTypeCode`, `TypeCode`: UNTDID 1001.
    Type,
    /// `Cadre`: framework of invoicing.
    Framework,
    /// `IdStatut`, `CodeStatut`.
    Status,
    /// `ModePaiement/Code`: UN/ECE 4461.
    Payment,
}

impl Labels {
    /// The label of `code`, whose case and leading zeros do not matter.
    pub(super) fn of(self, code: &str) -> Option<&'static str> {
        let table: &[(&str, &str)] = match self {
            Self::Type => &TYPES,
            Self::Framework => &FRAMEWORKS,
            Self::Status => &STATUSES,
            Self::Payment => &PAYMENTS,
        };
        let code = code.trim().trim_start_matches('0');
        table.iter().find(|(row, _)| row.eq_ignore_ascii_case(code)).map(|(_, label)| *label)
    }
}

const TYPES: [(&str, &str); 6] = [
    ("380", "Facture"),
    ("381", "Avoir"),
    ("384", "Facture rectificative"),
    ("386", "Facture d'acompte"),
    ("389", "Facture auto-facturée"),
    ("393", "Facture affacturée"),
];

/// Frameworks on which all versions of the pivot agree (A10 and A22 to A24 have changed), without A19 and A20, of which the schema
/// names another author than the rules of works do.
const FRAMEWORKS: [(&str, &str); 18] = [
    ("A1", "Dépôt par un fournisseur d'une facture"),
    ("A2", "Dépôt par un fournisseur d'une facture déjà payée"),
    ("A3", "Dépôt par un fournisseur d'un mémoire de frais de justice"),
    ("A4", "Dépôt par un fournisseur d'un projet de décompte mensuel"),
    ("A5", "Dépôt par un fournisseur d'un état d'acompte"),
    ("A6", "Dépôt par un fournisseur d'un état d'acompte validé"),
    ("A7", "Dépôt par un fournisseur d'un projet de décompte final"),
    ("A8", "Dépôt par un fournisseur d'un décompte général et définitif"),
    ("A9", "Dépôt par un sous-traitant d'une facture"),
    ("A11", "Dépôt par un sous-traitant d'un projet de décompte final"),
    ("A12", "Dépôt par un cotraitant d'une facture"),
    ("A13", "Dépôt par un cotraitant d'un projet de décompte mensuel"),
    ("A14", "Dépôt par un cotraitant d'un projet de décompte final"),
    ("A15", "Dépôt par une MOE d'un état d'acompte"),
    ("A16", "Dépôt par une MOE d'un état d'acompte validé"),
    ("A17", "Dépôt par une MOE d'un projet de décompte général"),
    ("A18", "Dépôt par une MOE d'un décompte général"),
    ("A21", "Dépôt par un bénéficiaire d'une demande de remboursement de la TIC"),
];

/// 1 to 12 are statuses of invoices, 90 to 96 of flows.
const STATUSES: [(&str, &str); 19] = [
    ("1", "Déposée"),
    ("2", "En cours d'acheminement"),
    ("3", "Mise à disposition"),
    ("4", "À recycler"),
    ("5", "Rejetée"),
    ("6", "Suspendue"),
    ("7", "Service fait"),
    ("8", "Mandatée"),
    ("9", "Mise à disposition comptable"),
    ("10", "Comptabilisée"),
    ("11", "Mise en paiement"),
    ("12", "Complétée"),
    ("90", "Reçu"),
    ("91", "En cours de transmission"),
    ("92", "Reçu destinataire final"),
    ("93", "Erreur réception"),
    ("94", "Erreur réception destinataire final"),
    ("95", "Erreur de transmission au destinataire final"),
    ("96", "Reçu - intégration partielle"),
];

const PAYMENTS: [(&str, &str); 12] = [
    ("10", "Espèces"),
    ("20", "Chèque"),
    ("30", "Virement"),
    ("31", "Virement débiteur"),
    ("42", "Virement sur compte bancaire"),
    ("48", "Carte bancaire"),
    ("49", "Prélèvement"),
    ("54", "Carte de crédit"),
    ("57", "Accord permanent"),
    ("58", "Virement SEPA"),
    ("59", "Prélèvement SEPA"),
    ("97", "Compensation entre partenaires"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_label_or_none() {
        for (labels, code, label) in [
            (Labels::Type, "380", Some("Facture")),
            (Labels::Type, "381", Some("Avoir")),
            (Labels::Type, "999", None),
            (Labels::Framework, "a1", Some("Dépôt par un fournisseur d'une facture")),
            (Labels::Framework, "A10", None),
            (Labels::Status, "07", Some("Service fait")),
            (Labels::Status, "7", Some("Service fait")),
            (Labels::Status, "92", Some("Reçu destinataire final")),
            (Labels::Status, "41", None),
            (Labels::Payment, "42", Some("Virement sur compte bancaire")),
            (Labels::Payment, "01", None),
            (Labels::Payment, "", None),
        ] {
            assert_eq!(labels.of(code), label, "{code}");
        }
    }
}
