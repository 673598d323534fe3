//! Percent-encoding (RFC 3986 section 2.1): what stands in paths, parameters in queries and forms.

use std::borrow::Cow;

/// What a query or a form has beyond so many parameters is not looked at: no app has nearly as many.
const PARAMETERS_MAX: usize = 256;

/// A name and its value, decoded.
pub type Parameter<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The bytes that `text` stands for. `None` if a `%` is not followed by two hexadecimal digits.
pub fn decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    match text.contains(&b'%') {
        false => Some(Cow::Borrowed(text)),
        true => decode_all(text.iter().copied()).map(Cow::Owned),
    }
}

fn decode_all(mut text: impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let mut bytes = Vec::new();
    while let Some(byte) = text.next() {
        bytes.push(match byte {
            b'%' => (digit(text.next())? * 16 + digit(text.next())?) as u8,
            byte => byte,
        });
    }
    Some(bytes)
}

/// `bytes` such that [`decode`] gives them back: all but unreserved characters are encoded.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}

/// The parameters of a query or of a form (`application/x-www-form-urlencoded`), decoded, in their order. A name or
/// a value that is not well encoded is given as it is: who reads it shall refuse it, not miss it.
pub fn parameters(query: &str) -> impl Iterator<Item = Parameter<'_>> {
    let is_plain = memchr::memchr2(b'%', b'+', query.as_bytes()).is_none();
    let decoded = move |text| match is_plain {
        true => Cow::Borrowed(text),
        false => decode_form(text).map_or(Cow::Borrowed(text), Cow::Owned),
    };
    pairs(query)
        .filter(|(name, value)| !(name.is_empty() && value.is_none()))
        .take(PARAMETERS_MAX)
        .map(move |(name, value)| (decoded(name), decoded(value.unwrap_or_default())))
}

/// What a name or a value in a form stands for, where `+` is a space.
fn decode_form(text: &[u8]) -> Option<Vec<u8>> {
    let spaced = text
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte });
    decode_all(spaced)
}

/// What stands between `&` in a query, as it is: a name and, if a `=` follows it, a value.
pub fn pairs(query: &str) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    let pairs = query.as_bytes().split(|&byte| byte == b'&');
    pairs.map(|pair| match pair.iter().position(|&byte| byte == b'=') {
        None => (pair, None),
        Some(at) => (&pair[..at], Some(&pair[at + 1..])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        for (text, want) in [
            ("", Some(&b""[..])),
            ("a+b", Some(b"a+b")),
            ("%41%2f%fF", Some(b"A/\xff")),
            ("%", None),
            ("%4", None),
            ("%4g", None),
            ("a%%41", None),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), want, "{text}");
        }
        for (text, want) in [
            ("-._~aZ9", "-._~aZ9"),
            ("a:b/c%", "a%3Ab%2Fc%25"),
            ("ü +", "%C3%BC%20%2B"),
        ] {
            assert_eq!(encode(text.as_bytes()), want);
        }
        let pairs: Vec<_> = parameters("a=1+2&b&&%63=%3d&d=+%zz&%=100%&=x").collect();
        let pair = |name: &'static str, value: &'static str| {
            (name.as_bytes().into(), value.as_bytes().into())
        };
        let want = [
            pair("a", "1 2"),
            pair("b", ""),
            pair("c", "="),
            pair("d", "+%zz"),
            pair("%", "100%"),
            pair("", "x"),
        ];
        assert_eq!(pairs, want);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let encoded = encode(&bytes);
            let decoded = decode(encoded.as_bytes());
            prop_assert_eq!(decoded.as_deref(), Some(&*bytes));
        }

        #[test]
        fn noise_never_panics(text in "[%a-f0-9=&+é]{0,40}") {
            let _ = decode(text.as_bytes());
            parameters(&text).count();
        }
    }
}
