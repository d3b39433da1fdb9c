//! Who sells and who buys, in UBL and in CII: several identifiers of several schemes, of which the index has one.

use crate::document::envelope::values::Values;

/// A seller or a buyer that is being read.
#[derive(Default)]
pub(super) struct Party {
    ids: Vec<(String, String)>,
    vat: String,
    legal_name: String,
    name: String,
}

/// What a text says of a party.
#[derive(Clone, Copy)]
pub(super) enum Says {
    /// An identifier; its scheme is an attribute.
    Id,
    /// The number of a registration for VAT.
    Vat,
    LegalName,
    Name,
}

impl Party {
    pub(super) fn add(&mut self, says: Says, scheme: &str, text: &str) {
        let place = match says {
            Says::Id if self.ids.len() < MOST_IDS && !text.is_empty() => {
                return self.ids.push((scheme.to_ascii_uppercase(), text.to_owned()));
            }
            Says::Id => return,
            Says::Vat => &mut self.vat,
            Says::LegalName => &mut self.legal_name,
            Says::Name => &mut self.name,
        };
        if place.is_empty() {
            text.clone_into(place);
        }
    }

    /// A SIRET, else a SIREN, else the VAT number, else the first identifier that is no mail address.
    fn identifier(&self) -> &str {
        let rank = |(scheme, id): &&(String, String)| {
            let digits = id.bytes().all(|byte| byte.is_ascii_digit());
            match (id.len(), scheme.as_str()) {
                (14, "0009" | "SIRET") if digits => 0,
                (14, _) if digits => 1,
                (9, "0002" | "SIREN") if digits => 2,
                (9, _) if digits => 3,
                _ => 4,
            }
        };
        let best = self.ids.iter().filter(|(scheme, id)| scheme != "EM" && !id.contains('@')).min_by_key(rank);
        match best {
            Some(best) if rank(&best) < 4 || self.vat.is_empty() => &best.1,
            _ => &self.vat,
        }
    }

    fn named(&self) -> &str {
        if self.legal_name.is_empty() { &self.name } else { &self.legal_name }
    }

    pub(super) fn sells(&self, values: &mut Values) {
        values.add("fournisseur", self.identifier());
        values.add("fournisseur_raison_sociale", self.named());
    }

    pub(super) fn buys(&self, values: &mut Values) {
        values.add("siret", self.identifier());
        values.add("destinataire_nom", self.named());
    }
}

const MOST_IDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_identifier_is_the_one() {
        for (ids, vat, best) in [
            (&[("EM", "a@b.fr"), ("0002", "999111222"), ("0009", "99911122200033")][..], "", "99911122200033"),
            (&[("0002", "999111222"), ("", "99911122200033")], "", "99911122200033"),
            (&[("SIREN", "99911122200033")], "", "99911122200033"),
            (&[("", "123456789"), ("0002", "999111222")], "FR1", "999111222"),
            (&[("0088", "3012345678901")], "FR12999111222", "FR12999111222"),
            (&[("0088", "3012345678901")], "", "3012345678901"),
            (&[("EM", "99911122200033")], "", ""),
            (&[], "", ""),
        ] {
            let mut party = Party::default();
            party.add(Says::Vat, "", vat);
            ids.iter().for_each(|(scheme, id)| party.add(Says::Id, scheme, id));
            assert_eq!(party.identifier(), best, "{ids:?}");
        }
    }
}
