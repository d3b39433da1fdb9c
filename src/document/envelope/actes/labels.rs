//! Words for the codes of ACTES: natures, typologies of documents, matters, letters of a prefecture.
//!
//! Typologies and matters as the State's own classification returns (7-2) have them. Each prefecture may add levels below the
//! second of its own, and typologies come and go: an unknown code stands without a word.

use crate::document::envelope::values::Values;

/// Puts the words beside the codes that are known.
pub(in super::super) fn add(values: &mut Values) {
    let keys: [(&str, fn(&str) -> Option<String>); 5] = [
        ("acte_nature", |code| Some(nature(code)?.label.to_owned())),
        ("type_acte", |code| word(TYPOLOGIES, code)),
        ("type_pj", |code| word(TYPOLOGIES, code)),
        ("classification", matter),
        ("type_reponse", |code| word(ANSWERS, code)),
    ];
    for (key, label) in keys {
        let labels: Vec<String> = values.all(key).iter().filter_map(|code| label(code)).collect();
        for label in labels {
            values.add(&format!("{key}_libelle"), &label);
        }
    }
}

/// The abbreviation of a nature in `IDActe`: `DE` of 1.
pub(super) fn abbreviation(code: &str) -> Option<&'static str> {
    nature(code).map(|nature| nature.abbreviation)
}

/// The code of a nature by its abbreviation.
pub(super) fn code_of_abbreviation(abbreviation: &str) -> Option<&'static str> {
    NATURES.iter().find(|nature| nature.abbreviation == abbreviation).map(|nature| nature.code)
}

/// The code of a nature by its word, as web-delib writes it: singular or plural, with or without accents.
pub(in super::super) fn code_of_nature(word: &str) -> Option<&'static str> {
    let word = word.trim().to_lowercase().replace(['é', 'É'], "e");
    let beginnings = [
        ("deliberation", "1"),
        ("actes reglementaires", "2"),
        ("acte reglementaire", "2"),
        ("arrete reglementaire", "2"),
        ("arretes reglementaires", "2"),
        ("actes individuels", "3"),
        ("acte individuel", "3"),
        ("arrete individuel", "3"),
        ("arretes individuels", "3"),
        ("contrat", "4"),
        ("convention", "4"),
        ("document budgetaire", "5"),
        ("documents budgetaires", "5"),
        ("autre", "6"),
    ];
    beginnings.iter().find(|(beginning, _)| word.starts_with(beginning)).map(|(_, code)| *code)
}

struct Nature {
    code: &'static str,
    abbreviation: &'static str,
    label: &'static str,
}

/// `1`, or `01`: the XSD says an integer.
fn nature(code: &str) -> Option<&'static Nature> {
    let code = code.trim_start_matches('0');
    NATURES.iter().find(|nature| nature.code == code)
}

/// The first two levels of a matter; Pastell writes the word behind the code already (`2.1 Documents d urbanisme`).
fn matter(code: &str) -> Option<String> {
    let code = code.split_whitespace().next()?;
    let mut levels = code.split('.');
    let first = levels.next()?;
    let label = word(MATTERS, first)?;
    let second = levels.next().and_then(|second| word(MATTERS, &format!("{first}.{second}")));
    Some(second.map_or_else(|| label.clone(), |second| format!("{label} / {second}")))
}

fn word(table: &[(&str, &str)], code: &str) -> Option<String> {
    table.iter().find(|(known, _)| *known == code).map(|(_, word)| (*word).to_owned())
}

const NATURES: [Nature; 6] = [
    Nature { code: "1", abbreviation: "DE", label: "Délibérations" },
    Nature { code: "2", abbreviation: "AR", label: "Actes réglementaires" },
    Nature { code: "3", abbreviation: "AI", label: "Actes individuels" },
    Nature { code: "4", abbreviation: "CC", label: "Contrats, conventions et avenants" },
    Nature { code: "5", abbreviation: "BF", label: "Documents budgétaires et financiers" },
    Nature { code: "6", abbreviation: "AU", label: "Autres" },
];

const ANSWERS: &[(&str, &str)] = &[
    ("2", "Courrier simple"),
    ("3", "Demande de pièces complémentaires"),
    ("4", "Lettre d'observations"),
    ("5", "Déféré au tribunal administratif"),
];

const MATTERS: &[(&str, &str)] = &[
    ("1", "Commande publique"),
    ("1.1", "Marchés publics"),
    ("1.2", "Délégations de service public"),
    ("1.3", "Conventions de mandat"),
    ("1.4", "Autres types de contrats"),
    ("1.5", "Transactions (protocole d'accord transactionnel)"),
    ("1.6", "Actes relatifs à la maîtrise d'œuvre"),
    ("1.7", "Actes spéciaux et divers"),
    ("2", "Urbanisme"),
    ("2.1", "Documents d'urbanisme"),
    ("2.2", "Actes relatifs au droit d'occupation ou d'utilisation des sols"),
    ("2.3", "Droit de préemption urbain"),
    ("3", "Domaine et patrimoine"),
    ("3.1", "Acquisitions"),
    ("3.2", "Aliénations"),
    ("3.3", "Locations"),
    ("3.4", "Limites territoriales"),
    ("3.5", "Autres actes de gestion du domaine public"),
    ("3.6", "Autres actes de gestion du domaine privé"),
    ("4", "Fonction publique"),
    ("4.1", "Personnels titulaires et stagiaires de la fonction publique territoriale"),
    ("4.2", "Personnels contractuels"),
    ("4.3", "Fonction publique hospitalière"),
    ("4.4", "Autres catégories de personnels"),
    ("4.5", "Régime indemnitaire"),
    ("5", "Institutions et vie politique"),
    ("5.1", "Élection de l'exécutif"),
    ("5.2", "Fonctionnement des assemblées"),
    ("5.3", "Désignation de représentants"),
    ("5.4", "Délégation de fonctions"),
    ("5.5", "Délégation de signature"),
    ("5.6", "Exercice des mandats locaux"),
    ("5.7", "Intercommunalité"),
    ("5.8", "Décision d'ester en justice"),
    ("6", "Libertés publiques et pouvoirs de police"),
    ("6.1", "Police municipale"),
    ("6.2", "Pouvoirs du président du conseil départemental"),
    ("6.3", "Pouvoirs du président du conseil régional"),
    ("6.4", "Autres actes réglementaires"),
    ("6.5", "Actes pris au nom de l'État et soumis au contrôle hiérarchique"),
    ("7", "Finances locales"),
    ("7.1", "Décisions budgétaires"),
    ("7.2", "Fiscalité"),
    ("7.3", "Emprunts"),
    ("7.4", "Interventions économiques"),
    ("7.5", "Subventions"),
    ("7.6", "Contributions budgétaires"),
    ("7.7", "Avances"),
    ("7.8", "Fonds de concours"),
    ("7.9", "Prises de participation (SEM, etc.)"),
    ("7.10", "Divers"),
    ("8", "Domaines de compétences par thèmes"),
    ("8.1", "Enseignement"),
    ("8.2", "Aide sociale"),
    ("8.3", "Voirie"),
    ("8.4", "Aménagement du territoire"),
    ("8.5", "Politique de la ville, habitat, logement"),
    ("8.6", "Emploi, formation professionnelle"),
    ("8.7", "Transports"),
    ("8.8", "Environnement"),
    ("8.9", "Culture"),
    ("9", "Autres domaines de compétences"),
    ("9.1", "Autres domaines de compétences des communes"),
    ("9.2", "Autres domaines de compétences des départements"),
    ("9.3", "Autres domaines de compétences des régions"),
    ("9.4", "Vœux et motions"),
];

const TYPOLOGIES: &[(&str, &str)] = &[
    ("10_AV", "Avenant au contrat"),
    ("10_DE", "Délibération autorisant à passer le contrat"),
    ("11_AC", "Avis d'appel public à concurrence"),
    ("11_AE", "Acte d'engagement"),
    ("11_AP", "Cahier des clauses administratives particulières"),
    ("11_AT", "Renseignements, attestations et déclarations fournies par l'attributaire"),
    ("11_AV", "Avis du jury de concours"),
    ("11_IN", "Invitation des candidats à soumissionner"),
    ("11_JU", "Rapport justifiant le choix du marché, les modalités et la procédure de passation"),
    ("11_PV", "Procès-verbal de la commission d'appel d'offres"),
    ("11_RA", "Rapport de la commission d'appel d'offres"),
    ("11_RC", "Règlement de consultation"),
    ("11_RP", "Rapport de présentation de l'acheteur"),
    ("11_TP", "Cahier des clauses techniques particulières"),
    ("12_AD", "Avis de délégation"),
    ("12_CC", "Cahier des charges"),
    ("12_CD", "Contrat de délégation"),
    ("12_CR", "Courriers de rejet des offres incomplètes ou irrecevables"),
    ("12_DA", "Déclarations et documents justificatifs de l'attributaire"),
    ("12_DC", "Documents de consultation"),
    ("12_IP", "Invitation à présenter une offre"),
    ("12_NR", "Notification du rejet des offres"),
    ("12_RS", "Rapport de sélection du délégataire"),
    ("12_ST", "Spécifications techniques et fonctionnelles"),
    ("15_JU", "Copie du jugement d'homologation de la transaction"),
    ("17_CE", "Demande de cautionnement"),
    ("17_GA", "Garantie d'emprunt"),
    ("17_RC", "Règlement de concours"),
    ("21_DA", "Décision arrêtant le projet"),
    ("21_DB", "Débat d'orientation du plan d'aménagement et de développement durable"),
    ("21_DE", "Délibération de prescription"),
    ("21_DO", "Document d'orientation et d'objectif"),
    ("21_EP", "Enquête publique"),
    ("21_GP", "Récépissé dépôt GPU"),
    ("21_PA", "Projet d'aménagement et de développement durable"),
    ("21_RP", "Rapport de présentation"),
    ("22_AC", "Accord d'une autorité administrative"),
    ("22_AG", "Agrément ou certificat"),
    ("22_AR", "Accusé de réception"),
    ("22_AT", "Attestation"),
    ("22_AV", "Avis"),
    ("22_CO", "Convention"),
    ("22_DD", "Demande"),
    ("22_DN", "Décision"),
    ("22_DP", "Document photographique"),
    ("22_LE", "Lettre"),
    ("22_NE", "Notice explicative"),
    ("22_PE", "Présentation des états initiaux et futurs"),
    ("22_PN", "Plans"),
    ("22_RE", "Rapport d'étude"),
    ("22_TA", "Tableau"),
    ("23_DE", "Délibération autorisant la mise en œuvre du droit de préemption"),
    ("23_IA", "Déclaration d'intention d'aliéner"),
    ("23_PR", "Décision de préempter"),
    ("31_AA", "Avis de l'autorité compétente de l'État"),
    ("31_CO", "Contrat"),
    ("31_DE", "Délibération autorisant l'acquisition"),
    ("31_DP", "Documents pré-contractuels"),
    ("32_AA", "Avis de l'autorité compétente de l'État"),
    ("32_CV", "Contrat de vente"),
    ("32_DC", "Délibération constatant la désaffectation"),
    ("32_DE", "Délibération de déclassement"),
    ("32_DP", "Documents pré-contractuels"),
    ("33_AC", "Avis de l'autorité compétente de l'État"),
    ("33_AO", "Autorisation d'occupation du domaine public"),
    ("33_CC", "Contrat de concession"),
    ("41_AT", "Attestation"),
    ("41_AV", "Avis de vacance d'emploi"),
    ("41_CA", "Avis de commission administrative paritaire"),
    ("41_CM", "Avis de la commission mixte paritaire"),
    ("41_DA", "Demande de l'agent"),
    ("41_DE", "Délibération établissant la liste de postes à pourvoir"),
    ("41_IC", "Information du centre de gestion"),
    ("41_IN", "Inscription sur liste d'aptitude"),
    ("41_NC", "Notification de création ou de vacance de poste"),
    ("41_RA", "Rapport biennal des avancements d'échelons"),
    ("42_AC", "Avenant au contrat"),
    ("42_AT", "Attestation"),
    ("42_AV", "Avis de vacance d'emploi"),
    ("42_DE", "Délibération"),
    ("43_AC", "Avenant au contrat"),
    ("43_AV", "Avis de vacance d'emploi"),
    ("43_CA", "Avis de commission administrative paritaire"),
    ("43_CM", "Avis de la commission mixte paritaire"),
    ("43_DA", "Demande de l'agent"),
    ("43_IN", "Inscription sur liste d'aptitude"),
    ("43_LI", "Liste de postes à pourvoir"),
    ("43_NC", "Notification de création ou de vacance de poste"),
    ("70_DE", "Délibération"),
    ("99_AI", "Acte individuel"),
    ("99_AR", "Acte réglementaire"),
    ("99_AT", "Acte réglementaire"),
    ("99_AU", "Autre document"),
    ("99_BU", "Document budgétaire"),
    ("99_CO", "Contrat"),
    ("99_DC", "Document contractuel"),
    ("99_DE", "Délibération"),
    ("99_SE", "Fichier de signature électronique"),
];
