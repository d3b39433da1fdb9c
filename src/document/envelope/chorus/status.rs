//! `CPPStatut` (`CPPStatutPivot_V1_19.xsd`): what became of an invoice (01 to 41) or of a flow (90 to 96).
//!
//! It announces nothing and holds no file; what it belongs to is found by the numbers in it.

use super::labels::Labels;
use super::pivot::{PARAMETER, parameter};
use super::walk::Take::{self, Code, Date, Own, Text};
use super::walk::{Context, Table, walk};
use crate::document::envelope::Error;
use crate::document::envelope::values::Values;
use crate::document::envelope::xml::Xml;

/// Reads the root that just began, to its end.
pub(super) fn read(xml: &mut Xml<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    let mut flow = Values::default();
    walk(xml, &FLOW, &mut flow, &mut |xml, flow, part| match part {
        Part::Parameter => parameter(xml, flow),
        Part::Unit => unit(xml, context),
    })?;
    // the flow that a status is about, not the one that brings it
    if context.reading.values.first("id_flux").is_some() {
        flow.remove("id_flux");
    }
    context.reading.values.merge(flow);
    Ok(())
}

#[derive(Clone, Copy)]
enum Part {
    Parameter,
    Unit,
}

const FLOW: [(&str, Take<Part>); 5] = [
    (PARAMETER, Own(Part::Parameter)),
    ("CPPFactureStatuts/CPPFactureStatutUnitaire", Own(Part::Unit)),
    ("CPPFluxStatuts/CPPFluxStatutUnitaire", Own(Part::Unit)),
    ("CPPFactureStatutUnitaire", Own(Part::Unit)),
    ("CPPFluxStatutUnitaire", Own(Part::Unit)),
];

#[derive(Clone, Copy)]
enum Field {
    Fault,
}

/// Paths inside a status. A moment stays one: the order of statuses matters within a day.
const UNIT: [(&str, Take<Field>); 19] = [
    ("Fournisseur/TypeIdentifiant", Text("type_identifiant")),
    ("Fournisseur/Identifiant", Text("fournisseur")),
    ("Fournisseur/RaisonSociale", Text("fournisseur_raison_sociale")),
    ("Fournisseur/CodePays", Text("fournisseur_code_pays")),
    ("Debiteur/Identifiant", Text("siret")),
    ("Debiteur/Nom", Text("destinataire_nom")),
    ("Debiteur/CodeService", Text("service_destinataire_code")),
    ("Debiteur/NomService", Text("service_destinataire")),
    ("DonneesStatut/IdStatut", Code("statut_cpp", Labels::Status)),
    ("DonneesStatut/ComplementStatut", Text("statut_complement")),
    ("DonneesStatut/Commentaire", Text("statut_commentaire")),
    ("DonneesStatut/Horodatage", Text("statut_horodatage")),
    ("DonneesStatut/IdProducteur", Text("producteur_id")),
    ("DonneesStatut/Producteur", Text("producteur")),
    ("DonneesStatut/IdFacture", Text("no_facture")),
    ("DonneesStatut/DateFacture", Date("date_facture")),
    ("DonneesStatut/IdMandatDP", Text("numero_mandat")),
    ("DonneesStatut/IdFlux", Text("id_flux")),
    ("DonneesStatut/Details/LigneErreurDetail", Own(Field::Fault)),
];

fn unit(xml: &mut Xml<'_>, context: &mut Context<'_>) -> Result<(), Error> {
    let mut values = Values::default();
    walk(xml, &UNIT, &mut values, &mut |xml, values, field| match field {
        Field::Fault => fault(xml, values),
    })?;
    context.items.add(values.clone().into_json());
    context.reading.values.merge(values);
    Ok(())
}

/// `code - label (description)`, as much as there is.
fn fault(xml: &mut Xml<'_>, values: &mut Values) -> Result<(), Error> {
    const ROWS: &Table<()> =
        &[("CodeErreur", Text("code")), ("LibelleErreur", Text("label")), ("DescriptionErreur", Text("description"))];
    let mut own = Values::default();
    walk(xml, ROWS, &mut own, &mut |xml, _, ()| xml.skip())?;
    let parts: Vec<&str> = ["code", "label"].iter().filter_map(|key| own.first(key)).collect();
    let description = own.first("description").map(|text| format!(" ({text})")).unwrap_or_default();
    values.add("erreurs", &format!("{}{description}", parts.join(" - ")));
    Ok(())
}
