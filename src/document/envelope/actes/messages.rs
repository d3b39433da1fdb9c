//! The roots of ACTES: transaction and message code, what the member is (facts, table A.2; `actesv1_1.xsd`).
//!
//! Codes 3-5 and 4-5 are from memory of the specification; their roots are in the XSD.

use crate::model::Role;

/// A kind of message.
pub(super) struct Message {
    root: &'static str,
    /// `T-M`; empty for envelopes and their anomalies.
    pub(super) code: &'static str,
    /// What it is called.
    pub(super) label: &'static str,
    /// What its member is.
    pub(super) role: Role,
    /// Pastell's `type_reponse`, for the letters of a prefecture.
    pub(super) answer: &'static str,
}

impl Message {
    /// The transmission of an acte itself.
    pub(super) fn is_acte(&self) -> bool {
        self.code == "1-1"
    }

    /// `ARActe` and `ARAnnulation`, of which the date of reception is that of the acte.
    pub(super) fn is_receipt_of_acte(&self) -> bool {
        matches!(self.code, "1-2" | "6-2")
    }
}

/// The message with this root; case does not matter.
pub(super) fn of(local: &str) -> Option<&'static Message> {
    MESSAGES.iter().find(|message| message.root.eq_ignore_ascii_case(local))
}

const fn message(code: &'static str, root: &'static str, label: &'static str) -> Message {
    Message { root, code, label, role: Role::Message, answer: "" }
}

const fn receipt(code: &'static str, root: &'static str, label: &'static str) -> Message {
    Message { root, code, label, role: Role::Receipt, answer: "" }
}

const fn letter(code: &'static str, root: &'static str, label: &'static str, answer: &'static str) -> Message {
    Message { root, code, label, role: Role::Message, answer }
}

const fn envelope(root: &'static str) -> Message {
    Message { root, code: "", label: "", role: Role::Envelope, answer: "" }
}

static MESSAGES: [Message; 24] = [
    envelope("EnveloppeCLMISILL"),
    envelope("EnveloppeMISILLCL"),
    message("", "AnomalieEnveloppe", ""),
    message("1-1", "Acte", "Transmission d'un acte"),
    receipt("1-2", "ARActe", "Accusé de réception d'un acte"),
    message("1-3", "AnomalieActe", "Anomalie dans la transmission d'un acte"),
    letter("2-1", "CourrierSimple", "Courrier simple", "2"),
    message("2-2", "ReponseCourrierSimple", "Réponse à un courrier simple"),
    letter("3-1", "DemandePieceComplementaire", "Demande de pièces complémentaires", "3"),
    receipt("3-2", "ARDemandePieceComplementaire", "Accusé de réception d'une demande de pièces complémentaires"),
    message("3-3", "RefusPieceComplementaire", "Refus d'envoi de pièces complémentaires"),
    message("3-4", "PieceComplementaire", "Transmission de pièces complémentaires"),
    receipt("3-5", "ARPieceComplementaire", "Accusé de réception de pièces complémentaires"),
    letter("4-1", "LettreObservations", "Lettre d'observations", "4"),
    receipt("4-2", "ARLettreObservations", "Accusé de réception d'une lettre d'observations"),
    message("4-3", "RejetLettreObservations", "Refus de répondre à une lettre d'observations"),
    message("4-4", "ReponseLettreObservations", "Réponse à une lettre d'observations"),
    receipt("4-5", "ARReponseRejetLettreObservations", "Accusé de réception d'une réponse à une lettre d'observations"),
    letter("5-1", "DefereTA", "Déféré au tribunal administratif", "5"),
    message("6-1", "Annulation", "Annulation de la transmission d'un acte"),
    receipt("6-2", "ARAnnulation", "Accusé de réception d'une annulation"),
    message("7-1", "DemandeClassification", "Demande de classification"),
    message("7-2", "RetourClassification", "Classification"),
    message("7-3", "ReponseClassificationSansChangement", "Classification sans changement"),
];
