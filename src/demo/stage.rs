//! The stage of the demonstration: folders, certificates, the ini file.
//!
//! The ini is written and then loaded like any other, so what is shown is the real way, and with `--keep` it is what
//! a user plays with.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::authority::Authority;
use crate::text::Lang;

/// Where everything is.
#[derive(Debug)]
pub(super) struct Stage {
    /// The folder.
    pub(super) dir: PathBuf,
    /// The ini in it.
    pub(super) ini: PathBuf,
    /// Where the COLD would wait.
    pub(super) deliver: PathBuf,
    /// Where files are dropped.
    pub(super) drop: PathBuf,
    /// Where an old client speaks IMAP in clear.
    pub(super) plain: SocketAddr,
}

impl Stage {
    /// Sets the stage in `dir`, with a mailbox that listens on `mailbox`.
    ///
    /// # Errors
    /// The folder is not writable, or no port is free.
    pub(super) fn set(dir: &Path, mailbox: SocketAddr, lang: Lang) -> io::Result<Self> {
        for folder in ["certs", "state", DELIVER, DROP] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let authority = Authority::create(&dir.join("certs"))?;
        let (secure, plain) = free_ports()?;
        let stage = Self {
            dir: dir.to_owned(),
            ini: dir.join("pertuis.ini"),
            deliver: dir.join(DELIVER),
            drop: dir.join(DROP),
            plain,
        };
        fs::write(&stage.ini, stage.text(&authority, mailbox, secure, lang))?;
        Ok(stage)
    }

    fn text(&self, authority: &Authority, mailbox: SocketAddr, secure: SocketAddr, lang: Lang) -> String {
        let (state, deliver, drop) = (self.dir.join("state"), self.deliver.display(), self.drop.display());
        let (state, plain) = (state.display(), self.plain);
        let (ca, cert, key) = (authority.ca.display(), authority.cert.display(), authority.key.display());
        match lang {
            Lang::En => format!(
                "; written by `pertuis demo`\nstate = {state}\nlang = en\n\n\
                 ; TLS in front of a mail server that speaks none\n[imaps]\naccept = {secure}\nconnect = {mailbox}\n\
                 cert = {cert}\nkey = {key}\n\n\
                 ; an old program speaks in clear to this machine, TLS goes on from here\n[imap]\nclient = yes\n\
                 accept = {plain}\nconnect = {secure}\nCAfile = {ca}\n\n\
                 ; its mailbox lives as long as the demonstration\n[mail]\nlauncher = imap\nserver = {secure}\nCAfile = {ca}\naccount = {ACCOUNT}\npassword = {PASSWORD}\n\
                 source = INBOX\nfilter = {FILTER}\ndeliver = {deliver}\nafter = seen\n\n\
                 [scanner]\nlauncher = directory\nsource = {drop}\ndeliver = {deliver}\nsettle = 0\n"
            ),
            Lang::Fr => format!(
                "; écrit par `pertuis demo`\nstate = {state}\nlangue = fr\n\n\
                 ; du TLS devant un serveur de courriel qui n'en parle pas\n[imaps]\naccept = {secure}\n\
                 connect = {mailbox}\ncert = {cert}\nkey = {key}\n\n\
                 ; un vieux programme parle en clair à cette machine, le TLS commence ici\n[imap]\nclient = yes\n\
                 accept = {plain}\nconnect = {secure}\nCAfile = {ca}\n\n\
                 ; sa boîte aux lettres ne vit que le temps de la démonstration\n[courriel]\nlanceur = imap\nserveur = {secure}\nCAfile = {ca}\ncompte = {ACCOUNT}\n\
                 mot de passe = {PASSWORD}\nchemin source = INBOX\nfiltre = {FILTER}\nlivrer = {deliver}\napres = lu\n\n\
                 [scanner]\nlanceur = repertoire\nchemin source = {drop}\nlivrer = {deliver}\nstabilisation = 0\n"
            ),
        }
    }
}

/// Two ports that nobody has just now. They stand in the ini, because a launcher must know where to go; should
/// somebody be faster, the tunnel tries again and says who it is.
fn free_ports() -> io::Result<(SocketAddr, SocketAddr)> {
    // both held at once, so that they differ
    let sockets = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((sockets.0.local_addr()?, sockets.1.local_addr()?))
}

/// The account of the mailbox.
pub(super) const ACCOUNT: &str = "ged@mairie.example";
/// Its password.
pub(super) const PASSWORD: &str = "demo";

const DELIVER: &str = "wait";
const DROP: &str = "drop";
/// Leaves out `Thumbs.db` and its like.
const FILTER: &str = r"/(?!.*\.db[^.]*$).*/i";
