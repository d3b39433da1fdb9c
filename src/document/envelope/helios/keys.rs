//! Which element of a PES is which value of the index (facts, "Key names of `metadata`"), and how it is written there.
//!
//! Not a copy of the schemas: only what the index has a key for. `MtCumulAnnuel` stands beside the amount of a bordereau
//! and is none.

use std::borrow::Cow;

/// The key of an element, given the local names from the root to it.
pub(super) fn key(path: &[String]) -> Option<&'static str> {
    let [.., parent, local] = path else { return None };
    let key = match (parent.as_str(), local.as_str()) {
        ("Parametres", "NomFic") => "nom_fic",
        ("Parametres", "TypFic") => "typ_fic",
        ("Emetteur", "Sigle") => "emetteur",
        ("EnTetePES", "DteStr") => "dte_str",
        ("EnTetePES", "IdPost") => "id_post",
        ("EnTetePES", "LibellePoste") => "libelle_poste",
        ("EnTetePES", "IdColl") => "id_coll",
        ("EnTetePES", "FinJur") => "fin_jur",
        // CodColl in returns
        ("EnTetePES", "CodCol" | "CodColl") => "cod_col",
        ("EnTetePES", "CodBud") => "cod_bud",
        ("EnTetePES", "LibelleColBud") => "libelle_col_bud",
        ("RefCompta", "Exercice") | (_, "Exer" | "ExerciceBord") => "exercice",
        (_, "IdBord" | "NumBord") => "id_bordereau",
        (_, "DteBordEm") => "date_bordereau",
        // MtBordHT of expenses, MtBordHt of revenue
        (_, "MtBordHT" | "MtBordHt") => "montant_bordereau",
        ("RefCompta", "Identifiant") | (_, "IdPce" | "NumPiece") => "id_pce",
        ("BlocPiece" | "InfoPce" | "InfoPiece" | "Piece", "Obj" | "ObjPce") => "objet",
        ("InfoTiers", "Nom") => "nom_tiers",
        ("InfoTiers", "IdTiers") => "id_tiers",
        (line, "Nature") if is_line(line) => "id_nature",
        (line, "Fonction") if is_line(line) => "id_fonction",
        (line, "MtHT") if is_line(line) => "montant_ligne",
        (_, "NumeroEngagement") => "numero_engagement",
        (_, "NumeroMarche") => "numero_marche",
        (_, "NumeroFacture") => "numero_facture",
        (_, "NomFichierRetour") => "nom_fichier_retour",
        // at three levels: element, piece, line
        (_, "LibelleAnoAck") => "erreurs",
        _ => return None,
    };
    Some(key)
}

/// `InfoLignePce` of expenses, `InfoLignePiece` of revenue and returns.
fn is_line(parent: &str) -> bool {
    matches!(parent, "InfoLignePce" | "InfoLignePiece" | "BlocLignePiece")
}

/// The domain of a block below the root, and its label.
pub(super) fn domain(block: &str) -> Option<(&'static str, &'static str)> {
    match block {
        "PES_DepenseAller" | "PES_DepenseRetour" => Some(("depense", "Dépense")),
        "PES_RecetteAller" | "PES_RecetteRetour" => Some(("recette", "Recette")),
        "PES_Facture" => Some(("facture", "Facture")),
        "PES_Marche" => Some(("marche", "Marché")),
        "PES_PJ" => Some(("pj", "Pièces justificatives")),
        _ => None,
    }
}

/// A value as the index has it: dates and amounts in one form, everything else as written, at most [`LONGEST`] bytes.
pub(super) fn value<'v>(key: &str, written: &'v str) -> Cow<'v, str> {
    let written = written[..written.floor_char_boundary(LONGEST)].trim();
    match key {
        "dte_str" | "date_bordereau" => Cow::Owned(date(written)),
        "montant_bordereau" | "montant_ligne" => Cow::Owned(written.replace(',', ".").replace([' ', '\u{a0}'], "")),
        _ => Cow::Borrowed(written),
    }
}

/// `YYYY-MM-DD` of a date, a moment, `YYYYMMDD` or `DD/MM/YYYY`; what is none of these stays.
fn date(written: &str) -> String {
    let is_digits = |text: Option<&str>| text.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let part = |from: usize, to: usize| written.get(from..to);
    let [year, month, day] = match written.as_bytes() {
        [_, _, _, _, b'-', _, _, b'-', _, _, ..] => [part(0, 4), part(5, 7), part(8, 10)],
        [_, _, b'/', _, _, b'/', _, _, _, _] => [part(6, 10), part(3, 5), part(0, 2)],
        [_, _, _, _, _, _, _, _] => [part(0, 4), part(4, 6), part(6, 8)],
        _ => [None; 3],
    };
    match [year, month, day] {
        [Some(y), Some(m), Some(d)] if [year, month, day].into_iter().all(is_digits) => format!("{y}-{m}-{d}"),
        _ => written.to_owned(),
    }
}

/// Bytes of one value; the schemas allow at most 250 characters.
const LONGEST: usize = 2 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_amounts_have_one_form() {
        for (written, date) in [
            (" 2024-03-18 ", "2024-03-18"),
            ("2024-03-18T10:00:00+01:00", "2024-03-18"),
            ("20240318", "2024-03-18"),
            ("18/03/2024", "2024-03-18"),
            ("mars 2024", "mars 2024"),
            ("éééé", "éééé"),
            ("2024-0é-8", "2024-0é-8"),
            ("", ""),
        ] {
            assert_eq!(value("dte_str", written), date);
        }
        for (written, amount) in [("4874.40", "4874.40"), ("1 234,50", "1234.50"), ("-12.000000", "-12.000000")] {
            assert_eq!(value("montant_ligne", written), amount);
        }
        assert_eq!(value("id_pce", "0000001305"), "0000001305");
        assert_eq!(value("objet", &"é".repeat(LONGEST)).len(), LONGEST);
    }
}
