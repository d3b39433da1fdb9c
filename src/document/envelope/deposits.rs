//! Tests alone: deposits in a temporary folder, as directories, ZIP and tar.gz.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use zip::write::SimpleFileOptions;

use super::limits::Limits;
use super::store::folder::Folder;
use super::{Deposit, Envelope, Error, Identity, Member, decode, identify};
use crate::model::EnvelopeKind;

/// Names and bytes.
pub(super) type Files<'a> = &'a [(&'a str, &'a [u8])];

pub(super) const LIMITS: Limits = Limits { max_unpacked: 64 << 20, max_entries: 1000, max_ratio: 300, max_depth: 4 };

/// A folder with deposits in it.
pub(super) struct Drop {
    dir: tempfile::TempDir,
}

impl Drop {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A directory.
    pub(super) fn directory(&self, name: &str, files: Files<'_>) -> Deposit {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        let members = files.iter().map(|(name, bytes)| member(&dir.join(name), bytes)).collect();
        Deposit { name: name.to_owned(), members }
    }

    /// One file.
    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> Deposit {
        Deposit { name: name.to_owned(), members: vec![member(&self.dir.path().join(name), bytes)] }
    }
}

fn member(path: &Path, bytes: &[u8]) -> Member {
    fs::write(path, bytes).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    Member { name, path: PathBuf::from(path), size: bytes.len() as u64, body: None }
}

pub(super) fn decoded(deposit: &Deposit) -> Result<Envelope, Error> {
    decoded_within(deposit, &LIMITS).0
}

/// The envelope, and the store, which has to live as long as its bodies are read.
pub(super) fn decoded_within(deposit: &Deposit, limits: &Limits) -> (Result<Envelope, Error>, Folder) {
    let mut store = Folder::new();
    (decode(deposit, limits, &[], &mut store), store)
}

pub(super) fn identified(deposit: &Deposit) -> Identity {
    let aliases = [("chorus_fact".to_owned(), EnvelopeKind::Chorus)];
    identify(deposit, &LIMITS, &aliases).unwrap()
}

pub(super) fn zip(files: Files<'_>) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        // the writer refuses a name that is there already: another one of equal length is patched afterwards
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Entries `(name, type, bytes)`, with names and types as they are, whatever they are.
pub(super) fn tar_raw(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, kind, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(tar::EntryType::new(*kind));
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.extend_from_slice(header.as_bytes());
        tar.extend_from_slice(bytes);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

pub(super) fn tar(files: Files<'_>) -> Vec<u8> {
    let entries: Vec<_> = files.iter().map(|(name, bytes)| (*name, b'0', *bytes)).collect();
    tar_raw(&entries)
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A 1-1 that names `document` and `annexes`.
pub(super) fn acte(document: &str, annexes: &[&str]) -> Vec<u8> {
    let count = annexes.len();
    let annexes: String =
        annexes.iter().map(|name| format!("<a:Annexe><a:NomFichier>{name}</a:NomFichier></a:Annexe>")).collect();
    format!(
        "<a:Acte xmlns:a=\"http://www.interieur.gouv.fr/ACTES#v1.1-20040216\" a:Date=\"2024-03-18\" a:NumeroInterne=\"DEL_1\" \
         a:CodeNatureActe=\"1\"><a:Objet>Forêt</a:Objet><a:Document><a:NomFichier>{document}</a:NomFichier></a:Document>\
         <a:Annexes a:Nombre=\"{count}\">{annexes}</a:Annexes></a:Acte>"
    )
    .into_bytes()
}

pub(super) fn actes_envelope(messages: &[&str]) -> Vec<u8> {
    let forms: String = messages
        .iter()
        .map(|name| format!("<a:Formulaire><a:NomFichier>{name}</a:NomFichier></a:Formulaire>"))
        .collect();
    format!(
        "<a:EnveloppeCLMISILL xmlns:a=\"http://www.interieur.gouv.fr/ACTES#v1.1-20040216\" xmlns:i=\"http://xml.insee.fr/schema\">\
         <a:Emetteur><a:IDCL i:SIREN=\"999888777\" a:Departement=\"034\"/></a:Emetteur>\
         <a:FormulairesEnvoyes>{forms}</a:FormulairesEnvoyes></a:EnveloppeCLMISILL>"
    )
    .into_bytes()
}

pub(super) fn receipt() -> Vec<u8> {
    "<a:ARActe xmlns:a=\"http://www.interieur.gouv.fr/ACTES#v1.1-20040216\" a:IDActe=\"034-999888777-20240318-DEL_1-DE\" \
     a:DateReception=\"2024-03-19\"/>"
        .as_bytes()
        .to_vec()
}

/// A PES with one piece.
pub(super) fn pes(nom_fic: &str, piece: (&str, &[u8])) -> Vec<u8> {
    let (name, content) = (piece.0, STANDARD.encode(gzip(piece.1)));
    format!(
        "<n:PES_Aller xmlns:n=\"http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/aller\"><Enveloppe><Parametres>\
         <NomFic V=\"{nom_fic}\"/></Parametres></Enveloppe><EnTetePES><CodCol V=\"244\"/></EnTetePES><PES_PJ><PJ><Contenu>\
         <Fichier MIMEType=\"application/pdf\">{content}</Fichier></Contenu><IdUnique V=\"1\"/><NomPJ V=\"{name}\"/>\
         </PJ></PES_PJ></n:PES_Aller>"
    )
    .into_bytes()
}

/// A pivot with one invoice and its PJ 01.
pub(super) fn pivot(number: &str, piece: (&str, &[u8])) -> Vec<u8> {
    let (name, content) = (piece.0, STANDARD.encode(zip(&[("entry.pdf", piece.1)])));
    format!(
        "<CPPFacturePivot><CPPFactures><CPPFacturePivotUnitaire><DonneesFacture><Id>{number}</Id></DonneesFacture>\
         <PJ><Contenu>{content}</Contenu><NomPJ>{name}</NomPJ><TypePJ>01</TypePJ></PJ>\
         </CPPFacturePivotUnitaire></CPPFactures></CPPFacturePivot>"
    )
    .into_bytes()
}

/// Names and roles, in order.
pub(super) fn listing(envelope: &Envelope) -> Vec<(String, String)> {
    envelope.files.iter().map(|file| (file.name.clone(), file.role.as_str().to_owned())).collect()
}

pub(super) const PDF: &[u8] = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF\n";
