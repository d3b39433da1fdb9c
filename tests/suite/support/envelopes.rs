//! Deposits of our own making: what Pastell, a transmission operator and Chorus Pro drop, each with contents that no other
//! has, so that a document that arrives tells where it comes from.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use pertuis::model::Digest;

use super::mails::bytes;

/// How deposits lie in the drop directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An ACTES envelope as its operator makes it: a tar.gz.
    Actes,
    /// A PES, as a file.
    Pes,
    /// A flow of Chorus Pro, as a file.
    Pivot,
    /// A directory of Pastell with its end marker.
    Pastell,
    /// The same as a ZIP.
    Zip,
}

impl Shape {
    pub(crate) const ALL: [Self; 5] = [Self::Actes, Self::Pes, Self::Pivot, Self::Pastell, Self::Zip];
}

/// A deposit, not dropped yet.
pub(crate) struct Made {
    /// Its name in the drop directory.
    pub(crate) name: String,
    /// Its files; a single one without a name is the deposit itself.
    files: Vec<(String, Vec<u8>)>,
    /// The digests of the documents that must arrive, each once.
    pub(crate) documents: Vec<Digest>,
}

/// The `n`-th deposit of a shape, about `size` bytes of documents in it.
pub(crate) fn made(shape: Shape, n: u64, size: usize) -> Made {
    match shape {
        Shape::Actes => actes(n, size),
        Shape::Pes => {
            single(format!("PES_{n}.xml"), pes(n, &[pdf(2 * n, size), pdf(2 * n + 1, size)]), &[2 * n, 2 * n + 1], size)
        }
        Shape::Pivot => single(format!("facture_{n}.xml"), pivot(n, &pdf(2 * n, size)), &[2 * n], size),
        Shape::Pastell => pastell(n, size),
        Shape::Zip => {
            let Made { name, files, documents } = pastell(n, size);
            let inside: Vec<_> = files.iter().filter(|(name, _)| name != MARKER).cloned().collect();
            Made { name: format!("{name}.zip"), files: vec![(String::new(), zip(&inside))], documents }
        }
    }
}

impl Made {
    /// Drops it as its producer does: the files in their order, the end marker last.
    pub(crate) fn drop_into(&self, dir: &Path) -> PathBuf {
        let path = dir.join(&self.name);
        match self.files.as_slice() {
            [(name, content)] if name.is_empty() => fs::write(&path, content).unwrap(),
            files => {
                fs::create_dir_all(&path).unwrap();
                for (name, content) in files {
                    fs::write(path.join(name), content).unwrap();
                }
            }
        }
        path
    }

    /// The bytes of a deposit that is one file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.files[0].1
    }
}

fn single(name: String, content: Vec<u8>, inside: &[u64], size: usize) -> Made {
    let mut documents = vec![Digest::of(&content)];
    documents.extend(inside.iter().map(|seed| Digest::of(&pdf(*seed, size))));
    Made { name, files: vec![(String::new(), content)], documents }
}

/// A document that looks like a PDF and is like no other.
pub(crate) fn pdf(seed: u64, size: usize) -> Vec<u8> {
    [b"%PDF-1.4\n", bytes(seed, size).as_slice(), b"\n%%EOF\n"].concat()
}

/// The message 1-1 of an acte with one annexe.
pub(crate) fn acte(n: u64) -> String {
    format!(
        r#"<?xml version="1.0" encoding="ISO-8859-1"?>
<actes:Acte xmlns:actes="http://www.interieur.gouv.fr/ACTES#v1.1-20040216" actes:Date="2024-03-18" actes:NumeroInterne="DEL_{n}" actes:CodeNatureActe="1">
 <actes:CodeMatiere1 actes:CodeMatiere="3"/><actes:CodeMatiere2 actes:CodeMatiere="2"/>
 <actes:Objet>Deliberation {n}</actes:Objet>
 <actes:ClassificationDateVersion>2023-06-05</actes:ClassificationDateVersion>
 <actes:Document><actes:NomFichier>99_DE-{id}-1-1_1.pdf</actes:NomFichier></actes:Document>
 <actes:Annexes actes:Nombre="1"><actes:Annexe><actes:NomFichier>22_DP-{id}-1-1_2.pdf</actes:NomFichier></actes:Annexe></actes:Annexes>
</actes:Acte>
"#,
        id = acte_id(n)
    )
}

fn acte_id(n: u64) -> String {
    format!("034-999888777-20240318-DEL_{n}-DE")
}

fn actes(n: u64, size: usize) -> Made {
    let (id, message) = (acte_id(n), acte(n));
    let envelope = format!(
        r#"<?xml version="1.0" encoding="ISO-8859-1"?>
<actes:EnveloppeCLMISILL xmlns:actes="http://www.interieur.gouv.fr/ACTES#v1.1-20040216" xmlns:insee="http://xml.insee.fr/schema">
 <actes:Emetteur><actes:IDCL insee:SIREN="999888777" actes:Departement="034" actes:Arrondissement="2" actes:Nature="31"/></actes:Emetteur>
 <actes:FormulairesEnvoyes><actes:Formulaire><actes:NomFichier>{id}-1-1_0.xml</actes:NomFichier></actes:Formulaire></actes:FormulairesEnvoyes>
</actes:EnveloppeCLMISILL>
"#
    );
    let (document, annex) = (pdf(2 * n, size), pdf(2 * n + 1, size));
    let documents = [message.as_bytes(), &document, &annex].map(Digest::of).to_vec();
    let files = [
        (format!("EACT--999888777--20240318-{n}.xml"), envelope.into_bytes()),
        (format!("{id}-1-1_0.xml"), message.into_bytes()),
        (format!("99_DE-{id}-1-1_1.pdf"), document),
        (format!("22_DP-{id}-1-1_2.pdf"), annex),
    ];
    let name = format!("SLO-EACT--999888777--20240318-{n}.tar.gz");
    Made { name, files: vec![(String::new(), tar_gz(&files))], documents }
}

/// A `PES_Aller` of one mandate with these pieces.
pub(crate) fn pes(n: u64, pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut xml = format!(
        r#"<?xml version="1.0" encoding="ISO-8859-1"?>
<n:PES_Aller xmlns:n="http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/aller">
<Enveloppe><Parametres><Version V="2"/><TypFic V="PESALR2"/><NomFic V="FLUX_{n}"/></Parametres><Emetteur><Sigle V="Gestion"/></Emetteur></Enveloppe>
<EnTetePES><DteStr V="2024-03-18"/><IdPost V="034001"/><IdColl V="99988877700015"/><CodCol V="244"/><CodBud V="00"/><LibelleColBud V="Commune"/></EnTetePES>
<PES_DepenseAller><EnTeteDepense><InfoDematerialisee V="0"/></EnTeteDepense><Bordereau><BlocBordereau><Exer V="2024"/><IdBord V="{n}"/><DteBordEm V="2024-03-15"/><MtBordHT V="4874.40"/></BlocBordereau>
<Piece><BlocPiece><InfoPce><IdPce V="{n:010}"/><Obj V="Mandat {n}"/></InfoPce></BlocPiece></Piece></Bordereau></PES_DepenseAller>
<PES_PJ>
"#
    )
    .into_bytes();
    for (at, piece) in pieces.iter().enumerate() {
        xml.extend_from_slice(b"<PJ><Contenu><Fichier MIMEType=\"application/pdf\">");
        xml.extend_from_slice(STANDARD.encode(gzip(piece)).as_bytes());
        let rest = format!(
            "</Fichier></Contenu><IdUnique V=\"PJ{n}-{at}\"/><NomPJ V=\"piece {n}-{at}.pdf\"/><TypePJ V=\"003\"/></PJ>\n"
        );
        xml.extend_from_slice(rest.as_bytes());
    }
    xml.extend_from_slice(b"</PES_PJ></n:PES_Aller>\n");
    xml
}

/// A flow of one invoice.
pub(crate) fn pivot(n: u64, invoice: &[u8]) -> Vec<u8> {
    let content = STANDARD.encode(zip(&[(format!("FAC{n}.pdf"), invoice.to_vec())]));
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<CPPFacturePivot><Enveloppe><EnveloppeUnitaire><Parametres><ParametreIndiv><Code>IdFlx</Code><Valeurparametre>CPP{n:022}</Valeurparametre></ParametreIndiv></Parametres></EnveloppeUnitaire></Enveloppe>
<CPPFactures Compteur="1"><CPPFacturePivotUnitaire NumOrdre="1">
<Fournisseur><TypeIdentifiant>1</TypeIdentifiant><Identifiant>99911122200033</Identifiant><RaisonSociale>Société Martin</RaisonSociale></Fournisseur>
<Debiteur><TypeIdentifiant>1</TypeIdentifiant><Identifiant>99988877700015</Identifiant><Nom>Commune de Sète</Nom><CodeService>SVC1</CodeService></Debiteur>
<DonneesFacture><Id>FA-2024-{n}</Id><IdCPRO>{n}</IdCPRO><Type>380</Type><DateEmissionFacture>2024-03-01</DateEmissionFacture><Devise>EUR</Devise>
<Montants><MontantHT>1000.00</MontantHT><MontantTTC>1200.50</MontantTTC><MontantNetAPayer>1200.50</MontantNetAPayer></Montants></DonneesFacture>
<PJ><Contenu>{content}</Contenu><NomPJ>FAC{n}.pdf</NomPJ><TypePJ>01</TypePJ><MimeTypePJ>application/pdf</MimeTypePJ></PJ>
</CPPFacturePivotUnitaire></CPPFactures></CPPFacturePivot>
"#
    )
    .into_bytes()
}

/// A deposit of an acte by Pastell: the files, then the metadata, then the end marker.
fn pastell(n: u64, size: usize) -> Made {
    let (document, annex) = (pdf(2 * n, size), pdf(2 * n + 1, size));
    let metadata = format!(
        "<?xml version=\"1.0\"?>\n<flux>\n  <files name=\"arrete\"><file content=\"arrete {n}.pdf\"/></files>\n  \
         <files name=\"autre_document_attache\"><file content=\"annexe.pdf\"/></files>\n  \
         <data name=\"acte_nature\" value=\"2\"/>\n  <data name=\"numero_de_lacte\" value=\"ARR{n}\"/>\n  \
         <data name=\"objet\" value=\"Arr&#xEA;t&#xE9; {n}\"/>\n</flux>\n"
    );
    let documents = vec![Digest::of(&document), Digest::of(&annex)];
    let files = vec![
        (format!("arrete {n}.pdf"), document),
        ("annexe.pdf".to_owned(), annex),
        ("metadata.xml".to_owned(), metadata.into_bytes()),
        (MARKER.to_owned(), "Le transfert est terminé".into()),
    ];
    Made { name: format!("Arrêté {n}"), files, documents }
}

/// `content` under gzip.
pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A ZIP of these files.
pub(crate) fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A tar.gz of these files.
pub(crate) fn tar_gz(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// The end marker of Pastell.
const MARKER: &str = "fichier_termine.txt";
