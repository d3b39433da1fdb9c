//! `CPPFacturePivot` (`CPPFacturePivot_V1_20.xsd` to `V2_02`) and `CPPFactureMixte`: invoices, each with its pieces.
//!
//! The values of all invoices stand under one set of keys, in the order of the document; `items` has them by invoice.

use serde_json::Value;

use super::amounts::Sum;
use super::labels::Labels;
use super::pieces::{Piece, SHOWN, mark_readable};
use super::walk::Take::{Amount, Code, Date, Own, Text};
use super::walk::{Context, Table, code, walk};
use crate::document::envelope::Error;
use crate::document::envelope::values::Values;
use crate::document::envelope::xml::Xml;
use crate::text;
use crate::text::shown;

/// Reads the root that just began, to its end.
pub(super) fn read(xml: &mut Xml<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    let mut flow = Values::default();
    walk(xml, &FLOW, &mut flow, &mut |xml, flow, part| match part {
        Part::Parameter => parameter(xml, flow),
        Part::Unit => unit(xml, context),
    })?;
    context.reading.values.merge(flow);
    Ok(())
}

#[derive(Clone, Copy)]
enum Part {
    Parameter,
    Unit,
}

const FLOW: [(&str, super::walk::Take<Part>); 5] = [
    (PARAMETER, Own(Part::Parameter)),
    ("CPPFactures/CPPFacturePivotUnitaire", Own(Part::Unit)),
    ("CPPFactures/CPPFactureMixteUnitaire", Own(Part::Unit)),
    ("CPPFacturePivotUnitaire", Own(Part::Unit)),
    ("CPPFactureMixteUnitaire", Own(Part::Unit)),
];

/// Where the parameters of a flow stand.
pub(super) const PARAMETER: &str = "Enveloppe/EnveloppeUnitaire/Parametres/ParametreIndiv";

/// A parameter of the flow: its identifier or its day.
pub(super) fn parameter(xml: &mut Xml<'_>, flow: &mut Values) -> Result<(), Error> {
    const ROWS: &Table<()> = &[("Code", Text("code")), ("Valeurparametre", Text("value"))];
    let mut own = Values::default();
    walk(xml, ROWS, &mut own, &mut |xml, _, ()| xml.skip())?;
    let value = own.first("value").unwrap_or_default();
    match own.first("code").unwrap_or_default().to_ascii_lowercase().as_str() {
        "idflx" => flow.add("id_flux", value),
        "dtprd" => flow.add("date_production", &super::amounts::date(value)),
        _ => {}
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Field {
    Vat,
    Payment,
    Piece,
}

/// Paths inside an invoice.
const UNIT: [(&str, super::walk::Take<Field>); 36] = [
    ("Fournisseur/TypeIdentifiant", Text("type_identifiant")),
    ("Fournisseur/Identifiant", Text("fournisseur")),
    ("Fournisseur/RaisonSociale", Text("fournisseur_raison_sociale")),
    ("Fournisseur/CodePays", Text("fournisseur_code_pays")),
    ("Fournisseur/ReferenceBancaire/Compte", Text("fournisseur_compte")),
    ("Fournisseur/ModeEmission", Text("mode_emission")),
    ("Debiteur/Identifiant", Text("siret")),
    ("Debiteur/Nom", Text("destinataire_nom")),
    ("Debiteur/CodeService", Text("service_destinataire_code")),
    ("Debiteur/NomService", Text("service_destinataire")),
    ("DonneesFacture/Id", Text("no_facture")),
    ("DonneesFacture/IdCPRO", Text("id_facture_cpp")),
    ("DonneesFacture/Renvoi", Text("renvoi")),
    ("DonneesFacture/IdFactureOrigine", Text("facture_origine")),
    ("DonneesFacture/Type", Code("type_facture", Labels::Type)),
    ("DonneesFacture/Cadre", Code("facture_cadre", Labels::Framework)),
    ("DonneesFacture/DateEmissionFacture", Date("date_facture")),
    ("DonneesFacture/DateReception", Date("date_depot")),
    ("DonneesFacture/DateLivraison", Date("date_livraison")),
    ("DonneesFacture/DateMiseADispositionMOE", Date("date_mise_a_disposition_moe")),
    ("DonneesFacture/ModePaiement", Own(Field::Payment)),
    ("DonneesFacture/Devise", Text("devise")),
    ("DonneesFacture/Montants/MontantHT", Amount("montant_ht")),
    ("DonneesFacture/Montants/MontantTTC", Amount("montant_ttc")),
    ("DonneesFacture/Montants/MontantNetAPayer", Amount("montant_net")),
    ("DonneesFacture/TVAs/TVA/MontantTVA", Own(Field::Vat)),
    ("DonneesFacture/Engagement/NumeroEngagement", Text("facture_numero_engagement")),
    ("DonneesFacture/Engagement/NumeroMarche", Text("facture_numero_marche")),
    ("CycleDeValidation/ValidationUnitaire/CodeStatut", Code("validation_statut", Labels::Status)),
    ("CycleDeValidation/ValidationUnitaire/DateStatut", Date("validation_date")),
    ("CycleDeValidation/ValidationUnitaire/Commentaire", Text("validation_commentaire")),
    ("PJ", Own(Field::Piece)),
    // as some write it
    ("PJs/PJ", Own(Field::Piece)),
    ("DonneesFacture/PJ", Own(Field::Piece)),
    ("DonneesFacture/NumeroEngagement", Text("facture_numero_engagement")),
    ("DonneesFacture/NumeroMarche", Text("facture_numero_marche")),
];

/// An invoice.
fn unit(xml: &mut Xml<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    let mut values = Values::default();
    let mut vat = Sum::default();
    let before = context.reading.attachments.len();
    walk(xml, &UNIT, &mut values, &mut |xml, values, field| match field {
        Field::Vat => {
            vat.add(&xml.text()?);
            Ok(())
        }
        Field::Payment => payment(xml, values),
        Field::Piece => piece(xml, context, values.first("no_facture").unwrap_or("?")),
    })?;
    if let Some(sum) = vat.text() {
        values.add("montant_tva", &sum);
    }
    if vat.is_broken() && context.reading.warnings.len() < MOST_WARNINGS {
        let number = shown(values.first("no_facture").unwrap_or("?"), SHOWN);
        context.reading.warnings.push(text!(
            "invoice {number}: an amount of its VAT is no number, montant_tva is left out of the index",
            "facture {number} : un montant de TVA n'est pas un nombre, montant_tva est absent de l'index"
        ));
    }
    let after = context.reading.attachments.len();
    mark_readable(&mut context.reading.attachments, before..after)?;
    let files = context.reading.attachments.iter().skip(before).map(|file| Value::from(file.name.as_str()));
    let files: Vec<Value> = files.collect();
    let mut item = values.clone().into_json();
    if !files.is_empty() {
        item.insert(FILES.to_owned(), Value::Array(files));
    }
    context.items.add(item);
    context.reading.values.merge(values);
    Ok(())
}

/// A code, and the words of the document where ours are missing.
fn payment(xml: &mut Xml<'_>, values: &mut Values) -> Result<(), Error> {
    const ROWS: &Table<()> = &[("Code", Text("code")), ("Libelle", Text("label"))];
    let mut own = Values::default();
    walk(xml, ROWS, &mut own, &mut |xml, _, ()| xml.skip())?;
    let written = own.first("code").unwrap_or_default();
    code(values, "mode_paiement", Labels::Payment, written);
    if let (None, Some(label)) = (Labels::Payment.of(written), own.first("label")) {
        values.add("mode_paiement_libelle", label);
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum PieceField {
    Content,
}

/// Paths inside a piece.
const PIECE: [(&str, super::walk::Take<PieceField>); 6] = [
    ("IdUnique", Text("id")),
    ("IdOriginal", Text("id")),
    ("Contenu", Own(PieceField::Content)),
    ("NomPJ", Text("name")),
    ("TypePJ", Text("type")),
    ("MimeTypePJ", Text("media_type")),
];

fn piece(xml: &mut Xml<'_>, context: &mut Context<'_>, invoice: &str) -> Result<(), Error> {
    let mut own = Values::default();
    let mut piece = Piece::begin(context)?;
    walk(xml, &PIECE, &mut own, &mut |xml, _, field| match field {
        PieceField::Content => piece.unpack(xml, context),
    })?;
    let first = |key: &str| own.first(key).unwrap_or_default().to_owned();
    piece.name = first("name");
    piece.id = first("id");
    piece.media_type = first("media_type");
    piece.is_invoice = first("type").trim_start_matches('0') == "1";
    piece.close(invoice, context)
}

/// Warnings behind which one more helps nobody.
const MOST_WARNINGS: usize = 1_000;
/// The names of an invoice's files in its object of `items`.
const FILES: &str = "fichiers";
