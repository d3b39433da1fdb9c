//! UBL `Invoice` and `CreditNote` (OASIS UBL 2.x, as EN 16931 and Chorus Pro use it).
//!
//! The values of the header; its lines are passed over. Files embedded in it are its attachments.

use super::amounts::Sum;
use super::labels::Labels;
use super::parties::{Party, Says};
use super::pieces::Piece;
use super::walk::Take::{self, Amount, Code, Date, Own, Text};
use super::walk::{Context, code, walk};
use crate::document::envelope::Error;
use crate::document::envelope::values::Values;
use crate::document::envelope::xml::Xml;

/// Reads the root that just began, to its end; `root` is its name.
pub(super) fn read(xml: &mut Xml<'_>, context: &mut Context<'_>, root: &str) -> Result<(), Error> {
    let mut values = Values::default();
    let mut vat = Sum::default();
    walk(xml, &INVOICE, &mut values, &mut |xml, values, field| match field {
        Field::Framework => framework(xml, values),
        Field::Seller => party(xml).map(|party| party.sells(values)),
        Field::Buyer => party(xml).map(|party| party.buys(values)),
        Field::Vat => add_vat(xml, values, &mut vat),
        Field::Document => document(xml, context, values.first("no_facture").unwrap_or("?")),
    })?;
    if values.first("type_facture").is_none() && root.eq_ignore_ascii_case("CreditNote") {
        code(&mut values, "type_facture", Labels::Type, "381");
    }
    if let Some(sum) = vat.text() {
        values.add("montant_tva", &sum);
    }
    context.reading.values.merge(values);
    Ok(())
}

#[derive(Clone, Copy)]
enum Field {
    Framework,
    Seller,
    Buyer,
    Vat,
    Document,
}

const INVOICE: [(&str, Take<Field>); 21] = [
    ("ProfileID", Own(Field::Framework)),
    ("ID", Text("no_facture")),
    ("IssueDate", Date("date_facture")),
    ("DueDate", Date("date_echeance")),
    ("InvoiceTypeCode", Code("type_facture", Labels::Type)),
    ("CreditNoteTypeCode", Code("type_facture", Labels::Type)),
    ("DocumentCurrencyCode", Text("devise")),
    ("BuyerReference", Text("service_destinataire_code")),
    ("OrderReference/ID", Text("facture_numero_engagement")),
    ("BillingReference/InvoiceDocumentReference/ID", Text("facture_origine")),
    ("ContractDocumentReference/ID", Text("facture_numero_marche")),
    ("AdditionalDocumentReference", Own(Field::Document)),
    ("AccountingSupplierParty/Party", Own(Field::Seller)),
    ("AccountingCustomerParty/Party", Own(Field::Buyer)),
    ("Delivery/ActualDeliveryDate", Date("date_livraison")),
    ("PaymentMeans/PaymentMeansCode", Code("mode_paiement", Labels::Payment)),
    ("TaxTotal/TaxAmount", Own(Field::Vat)),
    ("LegalMonetaryTotal/TaxExclusiveAmount", Amount("montant_ht")),
    ("LegalMonetaryTotal/TaxInclusiveAmount", Amount("montant_ttc")),
    ("LegalMonetaryTotal/PayableAmount", Amount("montant_net")),
    ("AccountingCustomerParty/AccountingContact/Name", Text("service_destinataire")),
];

/// The process (BT-23) is a framework of Chorus Pro where it looks like one: `A1`, `A12`.
pub(super) fn framework(xml: &mut Xml<'_>, values: &mut Values) -> Result<(), Error> {
    let text = xml.text()?;
    let is_number = |rest: &str| (1..=2).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_digit());
    if text.strip_prefix('A').is_some_and(is_number) {
        code(values, "facture_cadre", Labels::Framework, &text);
    }
    Ok(())
}

/// A total of taxes counts when it is in the currency of the document (BT-110), not in that of the accounts (BT-111).
pub(super) fn add_vat(xml: &mut Xml<'_>, values: &Values, vat: &mut Sum) -> Result<(), Error> {
    let currency = xml.attribute("currencyID").unwrap_or_default().to_owned();
    let text = xml.text()?;
    if currency.is_empty() || values.first("devise").is_none_or(|devise| devise == currency) {
        vat.add(&text);
    }
    Ok(())
}

const PARTY: [(&str, Take<Says>); 6] = [
    ("EndpointID", Own(Says::Id)),
    ("PartyIdentification/ID", Own(Says::Id)),
    ("PartyLegalEntity/CompanyID", Own(Says::Id)),
    ("PartyTaxScheme/CompanyID", Own(Says::Vat)),
    ("PartyLegalEntity/RegistrationName", Own(Says::LegalName)),
    ("PartyName/Name", Own(Says::Name)),
];

fn party(xml: &mut Xml<'_>) -> Result<Party, Error> {
    let mut party = Party::default();
    walk(xml, &PARTY, &mut Values::default(), &mut |xml, _, says| {
        let scheme = xml.attribute("schemeID").or_else(|| xml.attribute("schemeName")).unwrap_or_default().to_owned();
        party.add(says, &scheme, &xml.text()?);
        Ok(())
    })?;
    Ok(party)
}

#[derive(Clone, Copy)]
enum PieceField {
    Content,
}

const DOCUMENT: [(&str, Take<PieceField>); 2] =
    [("ID", Text("id")), ("Attachment/EmbeddedDocumentBinaryObject", Own(PieceField::Content))];

/// A document that is named; only one that is inside is an attachment.
fn document(xml: &mut Xml<'_>, context: &mut Context<'_>, invoice: &str) -> Result<(), Error> {
    let mut own = Values::default();
    let mut piece = None;
    walk(xml, &DOCUMENT, &mut own, &mut |xml, _, PieceField::Content| embedded(xml, context, &mut piece))?;
    close(piece, &own, invoice, context)
}

/// The content of an embedded file, with its name and its media type as attributes.
pub(super) fn embedded(xml: &mut Xml<'_>, context: &mut Context<'_>, piece: &mut Option<Piece>) -> Result<(), Error> {
    let attribute = |name: &str| xml.attribute(name).unwrap_or_default().trim().to_owned();
    let (name, media_type) = (attribute("filename"), attribute("mimeCode"));
    let own = match piece {
        Some(own) => own,
        None => piece.insert(Piece::begin(context)?),
    };
    own.name = name;
    own.media_type = media_type;
    own.unpack(xml, context)
}

/// Ends a document that is named; `own` has its `id`.
pub(super) fn close(piece: Option<Piece>, own: &Values, invoice: &str, context: &mut Context<'_>) -> Result<(), Error> {
    let Some(mut piece) = piece else { return Ok(()) };
    own.first("id").unwrap_or_default().clone_into(&mut piece.id);
    piece.close(invoice, context)
}
