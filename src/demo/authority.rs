//! A certificate authority for a quarter of an hour: made at each run, never stored elsewhere.

use std::io;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// The files of a CA and of one server certificate that it signed.
#[derive(Debug)]
pub(super) struct Authority {
    /// The CA's certificate.
    pub(super) ca: PathBuf,
    /// The server's certificate.
    pub(super) cert: PathBuf,
    /// Its key.
    pub(super) key: PathBuf,
}

impl Authority {
    /// Makes them in `dir`, for `localhost` and `127.0.0.1`.
    ///
    /// # Errors
    /// The folder is not writable.
    pub(super) fn create(dir: &Path) -> io::Result<Self> {
        let (ca, server) = certificates().map_err(io::Error::other)?;
        let files = Self { ca: dir.join("ca.pem"), cert: dir.join("server.pem"), key: dir.join("server.key") };
        std::fs::write(&files.ca, ca)?;
        std::fs::write(&files.cert, server.0)?;
        write_private(&files.key, &server.1)?;
        Ok(files)
    }
}

/// PEM of the CA, of the server's certificate and of its key.
fn certificates() -> Result<(String, (String, String)), rcgen::Error> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name.push(DnType::CommonName, "pertuis demo CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let server_key = KeyPair::generate()?;
    let mut server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    let server = server.signed_by(&server_key, &Issuer::new(ca, ca_key))?;
    Ok((ca_pem, (server.pem(), server_key.serialize_pem())))
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    io::Write::write_all(&mut options.open(path)?, text.as_bytes())
}
