//! Percent-encoding (RFC 3986 section 2.1): client-ids in paths, parameters in queries.

/// What a query or a form has beyond so many parameters is not looked at: no app has nearly as many, and each is
/// decoded again for each name that is looked for.
const PARAMETERS_MAX: usize = 256;

/// The bytes that `text` stands for. `None` if a `%` is not followed by two hexadecimal digits.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return Some(bytes),
            [b'%', high, low, after @ ..] => {
                bytes.push((digit(*high)? * 16 + digit(*low)?) as u8);
                after
            }
            [b'%', ..] => return None,
            [byte, after @ ..] => {
                bytes.push(*byte);
                after
            }
        };
    }
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

/// The parameters of a query or of a form (`application/x-www-form-urlencoded`), decoded, in their order. Those
/// that are not well encoded are left out.
pub fn parameters(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.take(PARAMETERS_MAX);
    pairs.filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text: &str| decode(&text.replace('+', " "));
        Some((decoded(name)?, decoded(value)?))
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
            assert_eq!(decode(text).as_deref(), want, "{text}");
        }
        let pairs: Vec<_> = parameters("a=1+2&b&&%63=%3d&d=%zz&=x").collect();
        let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let want = [
            pair("a", "1 2"),
            pair("b", ""),
            pair("c", "="),
            pair("", "x"),
        ];
        assert_eq!(pairs, want);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn noise_never_panics(text in "[%a-f0-9=&+é]{0,40}") {
            let _ = decode(&text);
            parameters(&text).count();
        }
    }
}
