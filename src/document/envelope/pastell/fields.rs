//! The fields of Pastell's document types that mean something to a deposit: what their files are, which names give a
//! metadata file away (facts A.1, "Keys per type").
//!
//! Not all fields: an unknown one is kept as it stands, and its files have its name as their role.

use crate::model::Role;

/// What the files of a field are: one of the roles of the contract, else the name of the field.
pub fn role(field: &str) -> Role {
    match field {
        "arrete" => Role::Document,
        "autre_document_attache" => Role::Annex,
        "fichier_pes" | "fichier_pes_signe" | "pes_aller" => Role::Pes,
        "aractes" | "aractes_annulation" | "fichier_reponse" | "pes_acquit" => Role::Receipt,
        "fichier_facture" => Role::Pivot,
        "facture_pj_01" => Role::Invoice,
        "facture_pj_02" => Role::Attachment,
        other => Role::Field(other.into()),
    }
}

/// A field that holds one file, also where its value is a plain string.
pub(super) fn is_file(field: &str) -> bool {
    FILES.contains(&field)
}

/// A list of strings that are no names of files.
pub(super) fn is_list_of_codes(field: &str) -> bool {
    field == "type_pj" || field.ends_with("_type")
}

const FILES: [&str; 30] = [
    "acte_tamponne",
    "annexes_tamponnees",
    "ar_sae",
    "aractes",
    "aractes_annulation",
    "arrete",
    "autre_document_attache",
    "bordereau",
    "document_signe",
    "echange_prefecture",
    "echange_prefecture_ar",
    "facture_pj_01",
    "facture_pj_02",
    "fichier_facture",
    "fichier_facture_pdf",
    "fichier_pes",
    "fichier_pes_signe",
    "fichier_reponse",
    "histo_statut_cpp",
    "iparapheur_annexe_sortie",
    "iparapheur_historique",
    "json_metadata",
    "pes_acquit",
    "pes_aller",
    "reply_sae",
    "reponse_prefecture",
    "reponse_prefecture_unzip",
    "signature",
    "type_piece_fichier",
    "visuel_pdf",
];

/// Fields that no note or letter has: a text file with one of them is a metadata file whatever its name.
pub(super) const KNOWN: [&str; 24] = [
    "acte_nature",
    "acte_unique_id",
    "arrete",
    "autre_document_attache",
    "chorus_fact",
    "date_de_lacte",
    "dte_str",
    "etat_ack",
    "facture_pj_01",
    "fichier_facture",
    "fichier_pes",
    "helios",
    "id_coll",
    "id_facture_cpp",
    "no_facture",
    "numero_de_lacte",
    "numero_facture",
    "pes_acquit",
    "pes_aller",
    "pes_etat_ack",
    "reponse_prefecture",
    "statut_cpp",
    "tedetis_transaction_id",
    "type_reponse",
];

/// JSON files that Pastell writes as documents of their own; `ged_document_id.json` comes back from a GED.
pub(super) const OTHER_JSON: [&str; 4] = ["histo_statut_cpp", "type_piece", "json_metadata", "ged_document_id"];
