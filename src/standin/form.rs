//! A query string, as HTML forms write it: taken apart, decoded, and encoded again; and the numbers in it.
//!
//! `query` and the rooms of the APIs read and echo parameters with it. It knows no parameter by name.

use crate::http::percent;

/// The parameters of a query string, decoded.
pub fn parameters(query_string: &str) -> impl Iterator<Item = (String, String)> {
    query_string.split('&').map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (decode(name), decode(value))
    })
}

/// Digits only; more than 64 bits hold are as good as the greatest number they do hold.
pub fn number(value: &str) -> Option<u64> {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| value.parse().unwrap_or(u64::MAX))
}

/// A finite number in plain decimal: Rust would also read `inf`, `nan` and `1e3`.
pub fn decimal(text: &str) -> Option<f64> {
    let is_plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.');
    let number: f64 = text.bytes().all(is_plain).then(|| text.parse().ok())??;
    number.is_finite().then_some(number)
}

/// Undoes `application/x-www-form-urlencoded`. A `%` without two hexadecimal digits is itself, and
/// what is not UTF-8 becomes U+FFFD, which no tweet has.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, left @ ..] = rest {
        rest = left;
        let digit = |index: usize| {
            left.get(index)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        bytes.push(match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                rest = &left[2..];
                u8::try_from(high * 16 + low).expect("two hexadecimal digits make a byte")
            }
            (b'+', ..) => b' ',
            _ => *first,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The inverse of [`decode`]: a form has a plus for a space, and encodes `~` too.
pub fn encode(text: &str) -> String {
    let encoded = percent::encode(text.as_bytes());
    encoded.replace("%20", "+").replace('~', "%7E")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_asked_is_echoed_as_a_form_has_it() {
        assert_eq!(encode("a_b-c. ~+%ü"), "a_b-c.+%7E%2B%25%C3%BC");
    }

    #[test]
    fn what_is_no_encoding_is_itself() {
        for (encoded, want) in [
            ("%", "%"),
            ("%4", "%4"),
            ("%zz1", "%zz1"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decode(encoded), want);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in ".*") {
            prop_assert_eq!(decode(&encode(&text)), text);
        }
    }
}
