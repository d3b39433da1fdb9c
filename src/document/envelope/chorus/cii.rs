//! CII: `CrossIndustryInvoice` (UN/CEFACT D16B, as in EN 16931, Factur-X and `XRechnung`), and the `CrossIndustryDocument` of
//! `ZUGFeRD` 1, which has the same values under older names.
//!
//! The values of the header; its lines are passed over. Files embedded in it are its attachments.

use super::amounts::Sum;
use super::labels::Labels;
use super::parties::{Party, Says};
use super::ubl::{add_vat, close, embedded, framework};
use super::walk::Take::{self, Amount, Code, Date, Own, Text};
use super::walk::{Context, walk};
use crate::document::envelope::Error;
use crate::document::envelope::values::Values;
use crate::document::envelope::xml::Xml;

/// Reads the root that just began, to its end.
pub(super) fn read(xml: &mut Xml<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    let mut values = Values::default();
    let mut vat = Sum::default();
    walk(xml, &INVOICE, &mut values, &mut |xml, values, part| match part {
        Part::Framework => framework(xml, values),
        Part::Agreement => agreement(xml, values, context),
        Part::Settlement => {
            walk(xml, &SETTLEMENT, values, &mut |xml, values, Total::Vat| add_vat(xml, values, &mut vat))
        }
    })?;
    if let Some(sum) = vat.text() {
        values.add("montant_tva", &sum);
    }
    context.reading.values.merge(values);
    Ok(())
}

#[derive(Clone, Copy)]
enum Part {
    Framework,
    Agreement,
    Settlement,
}

/// D16B, then `ZUGFeRD` 1.
const INVOICE: [(&str, Take<Part>); 14] = [
    ("ExchangedDocumentContext/BusinessProcessSpecifiedDocumentContextParameter/ID", Own(Part::Framework)),
    ("ExchangedDocument/ID", Text("no_facture")),
    ("ExchangedDocument/TypeCode", Code("type_facture", Labels::Type)),
    ("ExchangedDocument/IssueDateTime/DateTimeString", Date("date_facture")),
    ("SupplyChainTradeTransaction/ApplicableHeaderTradeAgreement", Own(Part::Agreement)),
    (
        "SupplyChainTradeTransaction/ApplicableHeaderTradeDelivery/ActualDeliverySupplyChainEvent/OccurrenceDateTime/DateTimeString",
        Date("date_livraison"),
    ),
    ("SupplyChainTradeTransaction/ApplicableHeaderTradeSettlement", Own(Part::Settlement)),
    ("SpecifiedExchangedDocumentContext/BusinessProcessSpecifiedDocumentContextParameter/ID", Own(Part::Framework)),
    ("HeaderExchangedDocument/ID", Text("no_facture")),
    ("HeaderExchangedDocument/TypeCode", Code("type_facture", Labels::Type)),
    ("HeaderExchangedDocument/IssueDateTime/DateTimeString", Date("date_facture")),
    ("SpecifiedSupplyChainTradeTransaction/ApplicableSupplyChainTradeAgreement", Own(Part::Agreement)),
    (
        "SpecifiedSupplyChainTradeTransaction/ApplicableSupplyChainTradeDelivery/ActualDeliverySupplyChainEvent/OccurrenceDateTime/DateTimeString",
        Date("date_livraison"),
    ),
    ("SpecifiedSupplyChainTradeTransaction/ApplicableSupplyChainTradeSettlement", Own(Part::Settlement)),
];

#[derive(Clone, Copy)]
enum Agreed {
    Seller,
    Buyer,
    Document,
}

const AGREEMENT: [(&str, Take<Agreed>); 8] = [
    ("BuyerReference", Text("service_destinataire_code")),
    ("SellerTradeParty", Own(Agreed::Seller)),
    ("BuyerTradeParty", Own(Agreed::Buyer)),
    ("BuyerOrderReferencedDocument/IssuerAssignedID", Text("facture_numero_engagement")),
    ("BuyerOrderReferencedDocument/ID", Text("facture_numero_engagement")),
    ("ContractReferencedDocument/IssuerAssignedID", Text("facture_numero_marche")),
    ("ContractReferencedDocument/ID", Text("facture_numero_marche")),
    ("AdditionalReferencedDocument", Own(Agreed::Document)),
];

fn agreement(xml: &mut Xml<'_>, values: &mut Values, context: &mut Context<'_>) -> Result<(), Error> {
    walk(xml, &AGREEMENT, values, &mut |xml, values, agreed| match agreed {
        Agreed::Seller => party(xml).map(|party| party.sells(values)),
        Agreed::Buyer => party(xml).map(|party| party.buys(values)),
        Agreed::Document => document(xml, context, values.first("no_facture").unwrap_or("?")),
    })
}

#[derive(Clone, Copy)]
enum Total {
    Vat,
}

const SETTLEMENT: [(&str, Take<Total>); 13] = [
    ("InvoiceCurrencyCode", Text("devise")),
    ("SpecifiedTradeSettlementPaymentMeans/TypeCode", Code("mode_paiement", Labels::Payment)),
    ("SpecifiedTradePaymentTerms/DueDateDateTime/DateTimeString", Date("date_echeance")),
    ("InvoiceReferencedDocument/IssuerAssignedID", Text("facture_origine")),
    ("InvoiceReferencedDocument/ID", Text("facture_origine")),
    ("SpecifiedTradeSettlementHeaderMonetarySummation/TaxBasisTotalAmount", Amount("montant_ht")),
    ("SpecifiedTradeSettlementHeaderMonetarySummation/TaxTotalAmount", Own(Total::Vat)),
    ("SpecifiedTradeSettlementHeaderMonetarySummation/GrandTotalAmount", Amount("montant_ttc")),
    ("SpecifiedTradeSettlementHeaderMonetarySummation/DuePayableAmount", Amount("montant_net")),
    ("SpecifiedTradeSettlementMonetarySummation/TaxBasisTotalAmount", Amount("montant_ht")),
    ("SpecifiedTradeSettlementMonetarySummation/TaxTotalAmount", Own(Total::Vat)),
    ("SpecifiedTradeSettlementMonetarySummation/GrandTotalAmount", Amount("montant_ttc")),
    ("SpecifiedTradeSettlementMonetarySummation/DuePayableAmount", Amount("montant_net")),
];

/// The name of a party is its legal name (BT-27, BT-44), which CII calls `Name`.
const PARTY: [(&str, Take<Says>); 7] = [
    ("ID", Own(Says::Id)),
    ("GlobalID", Own(Says::Id)),
    ("SpecifiedLegalOrganization/ID", Own(Says::Id)),
    ("URIUniversalCommunication/URIID", Own(Says::Id)),
    ("SpecifiedTaxRegistration/ID", Own(Says::Vat)),
    ("Name", Own(Says::LegalName)),
    ("SpecifiedLegalOrganization/TradingBusinessName", Own(Says::Name)),
];

fn party(xml: &mut Xml<'_>) -> Result<Party, Error> {
    let mut party = Party::default();
    walk(xml, &PARTY, &mut Values::default(), &mut |xml, _, says| {
        let scheme = xml.attribute("schemeID").unwrap_or_default().to_owned();
        let text = xml.text()?;
        // `FC` is the number of a tax office
        if !matches!(says, Says::Vat) || scheme != "FC" {
            party.add(says, &scheme, &text);
        }
        Ok(())
    })?;
    Ok(party)
}

#[derive(Clone, Copy)]
enum PieceField {
    Content,
}

const DOCUMENT: [(&str, Take<PieceField>); 3] =
    [("IssuerAssignedID", Text("id")), ("ID", Text("id")), ("AttachmentBinaryObject", Own(PieceField::Content))];

/// A document that is named; only one that is inside is an attachment.
fn document(xml: &mut Xml<'_>, context: &mut Context<'_>, invoice: &str) -> Result<(), Error> {
    let mut own = Values::default();
    let mut piece = None;
    walk(xml, &DOCUMENT, &mut own, &mut |xml, _, PieceField::Content| embedded(xml, context, &mut piece))?;
    close(piece, &own, invoice, context)
}
