//! Who signed in, by the claims of an `id_token`.
//!
//! Not a proof: the token's signature is not checked. It came over TLS from the token endpoint itself, which is proof enough
//! of its issuer (`OpenID` Connect Core 1.0, 3.1.3.7, 6); and what it decides is whether a person picked the account that
//! was meant.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Identity;

/// The claims that name an account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Claims {
    preferred_username: Option<String>,
    upn: Option<String>,
    email: Option<String>,
    sub: Option<String>,
    tid: Option<String>,
    oid: Option<String>,
}

/// The account of an `id_token`, and every name by which the server knows it; `None` where it is no token.
pub(super) fn of_token(token: &str) -> Option<(Identity, Vec<String>)> {
    let payload = token.split('.').nth(1)?;
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?);
    let Claims { preferred_username, upn, email, sub, tid, oid } = serde_json::from_slice(&bytes).ok()?;
    let mut names: Vec<String> =
        [preferred_username, upn, email].into_iter().flatten().filter_map(|n| shown(&n)).collect();
    names.dedup_by(|a, b| is_same(a, b));
    let shown_of = |claim: Option<String>| claim.and_then(|claim| shown(&claim));
    let identity = Identity { username: names.first().cloned(), tenant: shown_of(tid), object: shown_of(oid.or(sub)) };
    Some((identity, names))
}

/// Whether an account that is known by these names is the one that the file names.
pub fn is_account(names: &[String], account: &str) -> bool {
    names.iter().any(|name| is_same(name, account))
}

/// Whether two names are one account's: case counts nowhere in Microsoft's or Google's.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

/// What may be printed: on one line, not endless; `None` where nothing is left.
fn shown(claim: &str) -> Option<String> {
    let claim: String = claim.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    Some(claim.trim().to_owned()).filter(|claim| !claim.is_empty())
}

/// No address is longer (RFC 5321, 4.5.3.1).
const LONGEST: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn an_account_is_known_by_every_name_whatever_its_case() {
        let cases = [
            (
                r#"{"preferred_username":"Factures@Contoso.com","tid":"t","oid":"o","sub":"s"}"#,
                "factures@contoso.COM",
                true,
            ),
            (r#"{"preferred_username":"f@x.onmicrosoft.com","email":"Compta@contoso.fr"}"#, "compta@contoso.fr", true),
            (r#"{"upn":"É.Dupont@contoso.fr"}"#, " é.dupont@contoso.fr", true),
            (r#"{"preferred_username":"other@contoso.com"}"#, "factures@contoso.com", false),
            (r#"{"email":"factures@contoso.com.evil.test"}"#, "factures@contoso.com", false),
            ("{}", "factures@contoso.com", false),
        ];
        for (claims, account, same) in cases {
            let (_, names) = of_token(&token(claims)).unwrap();
            assert_eq!(is_account(&names, account), same, "{claims}");
        }
        let (identity, _) = of_token(&token(cases[0].0)).unwrap();
        let expected = (Some("Factures@Contoso.com"), Some("t"), Some("o"));
        assert_eq!((identity.username.as_deref(), identity.tenant.as_deref(), identity.object.as_deref()), expected);
        let (google, _) = of_token(&token(r#"{"email":"a@gmail.com","sub":"1"}"#)).unwrap();
        assert_eq!((google.username.as_deref(), google.object.as_deref()), (Some("a@gmail.com"), Some("1")));
    }

    #[test]
    fn what_is_no_token_or_would_break_a_line_does_no_harm() {
        for bad in ["", "a", "a.b.c", "a.!!.c", "e30.Ig.x"] {
            assert!(of_token(bad).is_none(), "{bad}");
        }
        let (identity, _) = of_token(&token(r#"{"preferred_username":"a\r\n\u001b[2Jb@c"}"#)).unwrap();
        assert_eq!(identity.username.as_deref(), Some("a[2Jb@c"));
    }
}
