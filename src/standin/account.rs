//! Who may ask the stand-in: tokens as Twitter's APIs 1.1 and 2 want them. Pure.
//!
//! There are no accounts here. A token, a key or a secret counts if it begins with `stand-in`, so
//! that a real one sent here by mistake is refused as it would be elsewhere.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// How every token, key and secret of the stand-in begins.
pub const PREFIX: &str = "stand-in";

/// The token that the stand-in gives for any key and secret.
const TOKEN: &str = "stand-in-token";

/// Whether the `Authorization` of a request holds a token that counts.
#[must_use]
pub fn has_token(authorization: Option<&str>) -> bool {
    let token = authorization.and_then(|value| of_scheme(value, "Bearer"));
    token.is_some_and(|token| token.starts_with(PREFIX))
}

/// Answers "POST oauth2/token": status and body.
#[must_use]
pub fn token(authorization: Option<&str>, form: &[u8]) -> (u16, String) {
    if form.trim_ascii() != b"grant_type=client_credentials" {
        let message = "Missing required parameter: grant_type";
        return (403, super::search_1_1::error_body(170, message));
    }
    let pair = authorization
        .and_then(|value| of_scheme(value, "Basic"))
        .and_then(|value| BASE64_STANDARD.decode(value).ok())
        .and_then(|pair| String::from_utf8(pair).ok());
    let counts = pair
        .as_ref()
        .and_then(|pair| pair.split_once(':'))
        .is_some_and(|(key, secret)| key.starts_with(PREFIX) && secret.starts_with(PREFIX));
    match counts {
        true => {
            let body = format!("{{\"token_type\":\"bearer\",\"access_token\":\"{TOKEN}\"}}");
            (200, body)
        }
        false => {
            let message = "Unable to verify your credentials";
            (403, super::search_1_1::error_body(99, message))
        }
    }
}

/// The credentials of `scheme` (RFC 9110, section 11.4), which is known in upper and lower case.
fn of_scheme<'a>(authorization: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, credentials) = authorization.trim().split_once(' ')?;
    let credentials = credentials.trim_start();
    (given.eq_ignore_ascii_case(scheme) && !credentials.is_empty()).then_some(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_count() {
        for (authorization, counts) in [
            (None, false),
            (Some("Bearer stand-in"), true),
            (Some("bearer  stand-in-token"), true),
            (Some("Bearer AAAAAAAA"), false),
            (Some("Bearer "), false),
            (Some("Bearer"), false),
            (Some("Basic stand-in"), false),
        ] {
            assert_eq!(has_token(authorization), counts, "{authorization:?}");
        }
    }

    #[test]
    fn a_token_for_a_key() {
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        let form = "grant_type=client_credentials";
        for (authorization, form, want) in [
            (Some(basic("stand-in-key:stand-in-secret")), form, 200),
            (Some(basic("stand-in-key:secret")), form, 403),
            (Some(basic("stand-in-key")), form, 403),
            (Some("Basic ????".to_owned()), form, 403),
            (None, form, 403),
            (
                Some(basic("stand-in-key:stand-in-secret")),
                "grant_type=password",
                403,
            ),
        ] {
            let (status, body) = token(authorization.as_deref(), form.as_bytes());
            assert_eq!(status, want, "{authorization:?}: {body}");
            assert_eq!(body.contains(TOKEN), want == 200, "{body}");
        }
        assert!(has_token(Some(&format!("Bearer {TOKEN}"))));
    }
}
