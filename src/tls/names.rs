//! Whether a certificate names whom we meant, as OpenSSL's `X509_check_host`, `_email` and `_ip` do.
//!
//! Not webpki's name check: that one knows neither the common name of old certificates, nor e-mail addresses, nor
//! stunnel's leading dot. Alternatives are tried in turn; one match is enough.

use std::fmt::Write as _;
use std::net::IpAddr;

use rustls_pki_types::ServerName;
use x509_parser::prelude::{GeneralName, X509Certificate, X509Name};

use crate::config::Trust;

/// Whom the certificate must name.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    hosts: Vec<String>,
    emails: Vec<String>,
    addresses: Vec<IpAddr>,
    dialled: bool,
}

impl Wanted {
    /// The names that `trust` asks for.
    pub fn of(trust: &Trust) -> Self {
        Self {
            hosts: trust.check_host.clone(),
            emails: trust.check_email.clone(),
            addresses: trust.check_ip.clone(),
            dialled: trust.dialled_name,
        }
    }

    /// Whether `cert` names one of them, or `expected` (the host dialled, or the server name sent) where no list
    /// was given and the dialled name counts.
    ///
    /// # Errors
    /// What was wanted, as text, when nothing matches.
    pub fn check(&self, cert: &X509Certificate<'_>, expected: Option<&ServerName<'_>>) -> Result<(), String> {
        if !self.has_lists() {
            return match expected.filter(|_| self.dialled) {
                None => Ok(()),
                Some(ServerName::IpAddress(ip)) => {
                    verdict(is_address(cert, (*ip).into()), || IpAddr::from(*ip).to_string())
                }
                Some(name) => verdict(is_host(cert, &name.to_str()), || name.to_str().into_owned()),
            };
        }
        let found = self.hosts.iter().any(|host| is_host(cert, host) || is_address_text(cert, host))
            || self.emails.iter().any(|email| is_email(cert, email))
            || self.addresses.iter().any(|address| is_address(cert, *address));
        verdict(found, || self.list())
    }

    fn has_lists(&self) -> bool {
        !(self.hosts.is_empty() && self.emails.is_empty() && self.addresses.is_empty())
    }

    fn list(&self) -> String {
        let addresses = self.addresses.iter().map(ToString::to_string);
        self.hosts.iter().chain(&self.emails).cloned().chain(addresses).collect::<Vec<_>>().join(", ")
    }
}

/// All names of a certificate, for people: DNS names, else the common name; then e-mail and IP addresses.
pub fn names_of(cert: &X509Certificate<'_>) -> Vec<String> {
    let mut names: Vec<String> = host_names(cert).map(ToOwned::to_owned).collect();
    for name in alternative_names(cert) {
        match name {
            GeneralName::RFC822Name(email) => names.push((*email).to_owned()),
            GeneralName::IPAddress(bytes) => names.extend(address_of(bytes).map(|ip| ip.to_string())),
            _ => {}
        }
    }
    // a common name is often the address once more
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// A subject or issuer in one form for comparison, as OpenSSL's `X509_NAME_cmp` sees it (RFC 5280, 7.1): case, the kind of
/// string and doubled blanks do not count.
pub(crate) fn canonical(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    for part in name.iter_rdn() {
        for attribute in part.iter() {
            let value = match attribute.as_str() {
                Ok(value) => value.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" "),
                Err(_) => crate::model::hex(attribute.as_slice()),
            };
            // writing to a text never fails
            let _ = write!(text, "/{}={}", attribute.attr_type(), value.escape_debug());
        }
        text.push('|');
    }
    text
}

/// A name that the certificate itself bears, for verifiers that insist on checking one; wildcards filled in.
pub(crate) fn own_name(cert: &X509Certificate<'_>) -> Option<ServerName<'static>> {
    alternative_names(cert).find_map(|name| match name {
        GeneralName::DNSName(dns) => ServerName::try_from(dns.replacen('*', "x", 1)).ok(),
        GeneralName::IPAddress(bytes) => address_of(bytes).map(ServerName::from),
        _ => None,
    })
}

fn verdict(found: bool, wanted: impl FnOnce() -> String) -> Result<(), String> {
    if found { Ok(()) } else { Err(wanted()) }
}

fn is_host(cert: &X509Certificate<'_>, host: &str) -> bool {
    host_names(cert).any(|pattern| host_matches(pattern, host))
}

fn is_address_text(cert: &X509Certificate<'_>, text: &str) -> bool {
    text.parse().is_ok_and(|address| is_address(cert, address))
}

fn is_address(cert: &X509Certificate<'_>, wanted: IpAddr) -> bool {
    alternative_names(cert)
        .any(|name| matches!(name, GeneralName::IPAddress(bytes) if address_of(bytes) == Some(wanted)))
}

/// The local part's case counts, the domain's does not (RFC 5280, 7.5).
fn is_email(cert: &X509Certificate<'_>, wanted: &str) -> bool {
    let same = |have: &str| match (have.rsplit_once('@'), wanted.rsplit_once('@')) {
        (Some((user, domain)), Some((want, at))) => user == want && domain.eq_ignore_ascii_case(at),
        _ => false,
    };
    let mut alternatives = alternative_names(cert).filter_map(|name| match name {
        GeneralName::RFC822Name(email) => Some(*email),
        _ => None,
    });
    match alternatives.next() {
        Some(first) => same(first) || alternatives.any(same),
        None => cert.subject().iter_email().filter_map(|email| email.as_str().ok()).any(same),
    }
}

/// DNS names, or the common names of a certificate that has none (RFC 6125, 6.4.4).
fn host_names<'a>(cert: &'a X509Certificate<'_>) -> impl Iterator<Item = &'a str> {
    let dns = || {
        alternative_names(cert).filter_map(|name| match name {
            GeneralName::DNSName(dns) => Some(*dns),
            _ => None,
        })
    };
    let common =
        dns().next().is_none().then(|| cert.subject().iter_common_name().filter_map(|name| name.as_str().ok()));
    dns().chain(common.into_iter().flatten())
}

fn alternative_names<'a>(cert: &'a X509Certificate<'_>) -> impl Iterator<Item = &'a GeneralName<'a>> {
    let extension = cert.subject_alternative_name().ok().flatten();
    extension.map(|extension| extension.value.general_names.iter()).into_iter().flatten()
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A `*` as the whole left-most label stands for exactly one label, never right above a top-level domain; a wanted
/// name with a leading dot takes any sub-domain.
fn host_matches(pattern: &str, wanted: &str) -> bool {
    let wanted = wanted.strip_suffix('.').unwrap_or(wanted);
    if wanted.is_empty() || pattern.contains('\0') {
        return false;
    }
    if let Some(domain) = wanted.strip_prefix('.') {
        let cut = pattern.len().checked_sub(domain.len() + 1).filter(|cut| *cut > 0 && pattern.is_char_boundary(*cut));
        return cut.is_some_and(|cut| pattern[cut..].eq_ignore_ascii_case(wanted));
    }
    if pattern.eq_ignore_ascii_case(wanted) {
        return true;
    }
    match (pattern.strip_prefix("*."), wanted.split_once('.')) {
        (Some(rest), Some((label, domain))) => {
            !label.is_empty()
                && rest.contains('.')
                && rest.eq_ignore_ascii_case(domain)
                && wanted.parse::<IpAddr>().is_err()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_and_leading_dots_match_as_in_openssl() {
        for (pattern, wanted, expected) in [
            ("mail.example.test", "MAIL.example.TEST", true),
            ("mail.example.test", "mail.example.test.", true),
            ("*.example.test", "mail.example.test", true),
            ("*.example.test", "a.mail.example.test", false),
            ("*.example.test", "example.test", false),
            ("*.example.test", ".example.test", true),
            ("*.test", "example.test", false),
            ("m*.example.test", "mail.example.test", false),
            ("*.0.0.1", "127.0.0.1", false),
            ("a.mail.example.test", ".example.test", true),
            ("example.test", ".example.test", false),
            ("badexample.test", ".example.test", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("", "", false),
        ] {
            assert_eq!(host_matches(pattern, wanted), expected, "{pattern} {wanted}");
        }
    }
}
