//! Distinguished names in one line, as stunnel tells them to programs: `C=FR, O="Dupont, fils", CN=x`.
//!
//! The form is that of `openssl x509 -subject -nameopt oneline,-esc_msb,-space_eq`, which stunnel 5.68 prints to the
//! byte. Not x509-parser's: that one quotes nothing, so that a common name could forge the attributes after it, and it
//! gives some of them names of its own, which scripts that compare would miss.

use std::fmt::Write as _;

use x509_parser::asn1_rs::{Any, Class, Oid, Tag, ToDer as _};
use x509_parser::prelude::X509Name;

/// `name` in one line: no value can be taken for more than itself, control characters are `\` and two figures, and an
/// attribute that OpenSSL has no short name for is its object identifier.
pub fn one_line(name: &X509Name<'_>) -> String {
    let mut line = String::new();
    for part in name.iter_rdn() {
        let mut separator = ", ";
        for attribute in part.iter() {
            if !line.is_empty() {
                line.push_str(separator);
            }
            separator = " + ";
            line.push_str(&short_name(attribute.attr_type()));
            line.push('=');
            match characters(attribute.attr_value()) {
                Some(value) => push_value(&mut line, &value),
                None => push_bytes(&mut line, attribute.attr_value()),
            }
        }
    }
    line
}

/// OpenSSL's short name, else the identifier in figures.
fn short_name(oid: &Oid<'_>) -> String {
    let figures = figures(oid.as_bytes());
    let known = figures.rsplit_once('.').and_then(|(branch, last)| {
        let last: usize = last.parse().ok()?;
        let names = |&(of, first, names): &(&str, usize, &'static [&'static str])| {
            (of == branch).then(|| last.checked_sub(first).and_then(|index| names.get(index))).flatten()
        };
        SHORT_NAMES.iter().find_map(names)
    });
    known.map_or(figures, |name| (*name).to_owned())
}

/// X.690, 8.19. Not asn1-rs's: that one takes the first octet for the first two arcs, which is wrong below 2.
fn figures(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut arc = Some(0_u128);
    for byte in bytes {
        // larger ones are nobody's; an identifier of this kind is still unlike any other
        arc = arc.and_then(|arc| arc.checked_mul(128)).map(|arc| arc | u128::from(byte & 0x7f));
        if byte & 0x80 != 0 {
            continue;
        }
        // writing to a text never fails
        let _ = match arc {
            None => write!(text, ".?"),
            Some(arc) if text.is_empty() => write!(text, "{}.{}", (arc / 40).min(2), arc - (arc / 40).min(2) * 40),
            Some(arc) => write!(text, ".{arc}"),
        };
        arc = Some(0);
    }
    text
}

/// What kinds of string say; `None` for all else, and for a string that is none.
fn characters(value: &Any<'_>) -> Option<String> {
    if value.class() != Class::Universal || value.header.is_constructed() {
        return None;
    }
    match value.tag() {
        Tag::Utf8String => std::str::from_utf8(value.data).ok().map(ToOwned::to_owned),
        // those of one byte are Latin 1 to OpenSSL, whatever they should be
        Tag::NumericString | Tag::PrintableString | Tag::T61String | Tag::Ia5String | Tag::VisibleString => {
            Some(value.data.iter().copied().map(char::from).collect())
        }
        Tag::BmpString => wide::<2>(value.data),
        Tag::UniversalString => wide::<4>(value.data),
        _ => None,
    }
}

/// Characters of `N` bytes each.
fn wide<const N: usize>(bytes: &[u8]) -> Option<String> {
    let (whole, rest) = bytes.as_chunks::<N>();
    let character = |one: &[u8; N]| char::from_u32(one.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
    if rest.is_empty() { whole.iter().map(character).collect() } else { None }
}

/// Quoted where a separator is in it, or where blanks or a `#` would be lost at its ends.
fn push_value(line: &mut String, value: &str) {
    let quoted = value.contains([',', '+', '<', '>', ';']) || value.starts_with(['#', ' ']) || value.ends_with(' ');
    let quote = if quoted { "\"" } else { "" };
    line.push_str(quote);
    for character in value.chars() {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            '\0'..='\x1f' | '\x7f' => {
                let _ = write!(line, "\\{:02X}", u32::from(character));
            }
            _ => line.push(character),
        }
    }
    line.push_str(quote);
}

/// The whole value in DER, which no text can be mistaken for: that would have been quoted.
fn push_bytes(line: &mut String, value: &Any<'_>) {
    line.push('#');
    for byte in value.to_der_vec().unwrap_or_default() {
        let _ = write!(line, "{byte:02X}");
    }
}

/// What OpenSSL 3 calls attributes of names (`openssl list -objects`): the branch, the first of a row, and the row.
const SHORT_NAMES: &[(&str, usize, &[&str])] = &[
    ("2.5.4", 3, X520),
    ("2.5.4", 65, &["pseudonym"]),
    ("2.5.4", 72, &["role"]),
    ("2.5.4", 97, &["organizationIdentifier", "c3", "n3", "dnsName"]),
    ("1.2.840.113549.1.9", 1, PKCS9),
    ("1.2.840.113549.1.9", 20, &["friendlyName", "localKeyID"]),
    ("0.9.2342.19200300.100.1", 1, PILOT),
    ("0.9.2342.19200300.100.1", 20, PILOT_20),
    ("0.9.2342.19200300.100.1", 37, PILOT_37),
    ("1.3.6.1.4.1.311.60.2.1", 1, &["jurisdictionL", "jurisdictionST", "jurisdictionC"]),
    ("1.2.643.3.131.1", 1, &["INN"]),
    ("1.2.643.100", 1, &["OGRN"]),
    ("1.2.643.100", 3, &["SNILS"]),
    ("1.2.643.100", 5, &["OGRNIP"]),
];

const X520: &[&str] = &[
    "CN",
    "SN",
    "serialNumber",
    "C",
    "L",
    "ST",
    "street",
    "O",
    "OU",
    "title",
    "description",
    "searchGuide",
    "businessCategory",
    "postalAddress",
    "postalCode",
    "postOfficeBox",
    "physicalDeliveryOfficeName",
    "telephoneNumber",
    "telexNumber",
    "teletexTerminalIdentifier",
    "facsimileTelephoneNumber",
    "x121Address",
    "internationaliSDNNumber",
    "registeredAddress",
    "destinationIndicator",
    "preferredDeliveryMethod",
    "presentationAddress",
    "supportedApplicationContext",
    "member",
    "owner",
    "roleOccupant",
    "seeAlso",
    "userPassword",
    "userCertificate",
    "cACertificate",
    "authorityRevocationList",
    "certificateRevocationList",
    "crossCertificatePair",
    "name",
    "GN",
    "initials",
    "generationQualifier",
    "x500UniqueIdentifier",
    "dnQualifier",
    "enhancedSearchGuide",
    "protocolInformation",
    "distinguishedName",
    "uniqueMember",
    "houseIdentifier",
    "supportedAlgorithms",
    "deltaRevocationList",
    "dmdName",
];

const PKCS9: &[&str] = &[
    "emailAddress",
    "unstructuredName",
    "contentType",
    "messageDigest",
    "signingTime",
    "countersignature",
    "challengePassword",
    "unstructuredAddress",
    "extendedCertificateAttributes",
];

const PILOT: &[&str] = &[
    "UID",
    "textEncodedORAddress",
    "mail",
    "info",
    "favouriteDrink",
    "roomNumber",
    "photo",
    "userClass",
    "host",
    "manager",
    "documentIdentifier",
    "documentTitle",
    "documentVersion",
    "documentAuthor",
    "documentLocation",
];

const PILOT_20: &[&str] = &[
    "homeTelephoneNumber",
    "secretary",
    "otherMailbox",
    "lastModifiedTime",
    "lastModifiedBy",
    "DC",
    "aRecord",
    "pilotAttributeType27",
    "mXRecord",
    "nSRecord",
    "sOARecord",
    "cNAMERecord",
];

const PILOT_37: &[&str] = &[
    "associatedDomain",
    "associatedName",
    "homePostalAddress",
    "personalTitle",
    "mobileTelephoneNumber",
    "pagerTelephoneNumber",
    "friendlyCountryName",
    "uid",
    "organizationalStatus",
    "janetMailbox",
    "mailPreferenceOption",
    "buildingName",
    "dSAQuality",
    "singleLevelQuality",
    "subtreeMinimumQuality",
    "subtreeMaximumQuality",
    "personalSignature",
    "dITRedirect",
    "audio",
    "documentPublisher",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use x509_parser::prelude::FromDer as _;

    use super::*;

    const UTF8: u8 = 12;
    const CN: &[u8] = b"\x55\x04\x03";

    /// An attribute: identifier, tag, value.
    type Attribute<'a> = (&'a [u8], u8, &'a [u8]);

    fn der(tag: u8, value: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(value.len()).unwrap()], value].concat()
    }

    fn shown(parts: &[&[Attribute<'_>]]) -> String {
        let attribute = |(oid, tag, value): &Attribute<'_>| der(0x30, &[der(6, oid), der(*tag, value)].concat());
        let part = |part: &&[Attribute<'_>]| der(0x31, &part.iter().flat_map(attribute).collect::<Vec<_>>());
        let name = der(0x30, &parts.iter().flat_map(part).collect::<Vec<_>>());
        one_line(&X509Name::from_der(&name).unwrap().1)
    }

    /// Each of them as stunnel 5.68 showed it to a program in `SSL_CLIENT_DN`.
    #[test]
    fn values_are_quoted_and_escaped_as_stunnel_does() {
        for (value, expected) in [
            ("x, OU=admin", r#""x, OU=admin""#),
            ("a\nb\x1b[31m\x7f\t\0", r"a\0Ab\1B[31m\7F\09\00"),
            ("#x", r##""#x""##),
            ("a#x", "a#x"),
            (" x", r#"" x""#),
            ("x ", r#""x ""#),
            (" ", r#"" ""#),
            ("", ""),
            (r#"a"b\"#, r#"a\"b\\"#),
            (r#"a"b,c\d"#, r#""a\"b,c\\d""#),
            ("a+b", r#""a+b""#),
            ("<", r#""<""#),
            (">", r#"">""#),
            (";", r#"";""#),
            ("a=b/c", "a=b/c"),
            ("\n ", r#""\0A ""#),
            ("é日本😀", "é日本😀"),
        ] {
            assert_eq!(shown(&[&[(CN, UTF8, value.as_bytes())]]), format!("CN={expected}"), "{value:?}");
        }
    }

    #[test]
    fn attributes_have_openssls_short_names_or_figures() {
        for (oid, expected) in [
            (&b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"[..], "emailAddress"),
            (b"\x55\x04\x05", "serialNumber"),
            (b"\x55\x04\x04", "SN"),
            (b"\x55\x04\x08", "ST"),
            (b"\x55\x04\x09", "street"),
            (b"\x55\x04\x36", "dmdName"),
            (b"\x55\x04\x61", "organizationIdentifier"),
            (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC"),
            (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", "UID"),
            (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x38", "documentPublisher"),
            (b"\x2b\x06\x01\x04\x01\x82\x37\x3c\x02\x01\x03", "jurisdictionC"),
            (b"\x2a\x03\x04\x05", "1.2.3.4.5"),
            (b"\x88\x37\x01", "2.999.1"),
            (b"\x55\x04\x00", "2.5.4.0"),
        ] {
            assert_eq!(shown(&[&[(oid, UTF8, b"x")]]), format!("{expected}=x"));
        }
        assert_eq!(figures(&[[0xff; 30].as_slice(), &[1, 2]].concat()), ".?.2");
    }

    #[test]
    fn several_values_and_every_kind_of_string_are_told_apart() {
        let (ou, country) = (b"\x55\x04\x0b", b"\x55\x04\x06");
        let parts: &[&[Attribute<'_>]] = &[&[(CN, UTF8, b"a"), (ou, UTF8, b"b, c")], &[(country, 19, b"FR")]];
        assert_eq!(shown(parts), r#"CN=a + OU="b, c", C=FR"#);
        assert_eq!(shown(&[]), "");
        for (tag, value, expected) in [
            (20, &b"caf\xe9, x"[..], r#""café, x""#),
            (22, b"ia5\xe9", "ia5é"),
            (30, b"\0\xe9\x65\xe5\0,", r#""é日,""#),
            (28, b"\0\0\0a\0\x01\xf6\0", "a😀"),
            (3, b"\0abc", "#030400616263"),
            (0x30, b"\x05\0", "#30020500"),
            // OpenSSL refuses certificates with these
            (UTF8, b"\xff\xfe", "#0C02FFFE"),
            (30, b"abc", "#1E03616263"),
            (30, b"\xd8\x3d", "#1E02D83D"),
            (28, b"\0\x11\0\0", "#1C0400110000"),
            (0x8c, b"a", "#8C0161"),
        ] {
            assert_eq!(shown(&[&[(CN, tag, value)]]), format!("CN={expected}"));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_line_has_control_characters_of_ascii(
            oid in prop::collection::vec(any::<u8>(), 1..20), tag in 1_u8..31, value in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let line = shown(&[&[(&oid, tag, &value)]]);
            prop_assert!(!line.contains(|one: char| one.is_ascii_control()), "{line:?}");
        }
    }
}
