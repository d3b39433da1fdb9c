//! A session of client mode: plain here, TLS there.

use rustls_pki_types::ServerName;

use super::pace::Paced;
use super::target::Reached;
use super::tell::Step;
use super::{Secured, Session, Stop};
use crate::config::tunnel::Sni;
use crate::event::Level;
use crate::net::ahead::ReadAhead;
use crate::text;
use crate::tls::client::ClientTls;

/// The TLS end, ready for data.
struct Remote {
    stream: Secured,
    host: String,
}

impl Session {
    pub(super) async fn client(&self, tls: &ClientTls, mut local: Paced) {
        match self.until_cut(Box::pin(self.secure_remote(tls, &mut local))).await {
            Ok(mut remote) => self.relay(&mut local, &mut remote.stream, Some(&remote.host)).await,
            Err(stop) => self.stopped(&stop),
        }
    }

    async fn secure_remote(&self, tls: &ClientTls, local: &mut Paced) -> Result<Remote, Stop> {
        let Reached { mut stream, host } = self.reach(None).await?;
        let negotiation = self.settings.negotiation.as_ref();
        if let Some(negotiation) = negotiation {
            let asked = Box::pin(negotiation.before_tls(local, &mut stream, &host));
            let asked = self.busy(Step::Protocol, asked).await?;
            if let Err(failed) = asked {
                return Err(self.negotiation_failed(failed, local).await);
            }
        }
        let name = negotiation.and_then(|negotiation| negotiation.tls_host()).unwrap_or(&host);
        self.tell_name(name);
        self.tell_demand();
        let shaking = self.shaken(Box::pin(tls.shake(ReadAhead::new(stream), name))).await;
        self.probed(tls, &host);
        let mut stream = Secured::from(shaking?);
        self.negotiated("TLS connected", &stream, &Ok(()));
        if let Some(negotiation) = negotiation {
            let destination = self.about.destination.as_ref().and_then(|known| known.as_ref().ok().copied());
            let asked = Box::pin(negotiation.inside_tls(&mut stream, destination, &host));
            if let Err(failed) = self.busy(Step::Protocol, asked).await? {
                return Err(self.negotiation_failed(failed, local).await);
            }
        }
        Ok(Remote { stream, host })
    }

    /// Which name the server is asked for (RFC 6066, 3).
    fn tell_name(&self, dialled: &str) {
        let name = match &self.settings.tunnel.sni {
            Sni::Off => {
                return self
                    .tell(Level::Info, "sni_off", || text!("SNI: extension disabled", "SNI : extension désactivée"));
            }
            Sni::Name(name) => name,
            Sni::Dialled => dialled,
        };
        // an address is no server name: none is sent
        if matches!(ServerName::try_from(name), Ok(ServerName::DnsName(_))) {
            self.tell(Level::Info, "sni_sent", || {
                text!("SNI: sending servername: {name}", "SNI : nom de serveur envoyé : {name}")
            });
        }
    }
}
