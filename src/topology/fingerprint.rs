//! The fingerprint of a server's public key, as a topology line gives it.

use std::fmt;

/// SHA-256 of a public key's SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), which is what
/// `openssl pkey -pubout -outform DER | sha256sum` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint that these 32 bytes are.
    pub const fn new(bytes: [u8; 32]) -> Fingerprint {
        Fingerprint(bytes)
    }

    /// Reads `sha256:` and 64 hexadecimal digits, of either case.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse(text: &str) -> Result<Fingerprint, String> {
        let fail = || {
            let shown: String = text.escape_debug().take(80).collect();
            format!("'{shown}' is no fingerprint: sha256: and 64 hexadecimal digits are wanted")
        };
        let digits = text.strip_prefix("sha256:").ok_or_else(fail)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if digits.len() != 64 || !is_hex {
            return Err(fail());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..][..2], 16).map_err(|_| fail())?;
        }
        Ok(Fingerprint(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_and_written() {
        let text = format!("sha256:{}", "0aF9".repeat(16));
        let read = Fingerprint::parse(&text).expect("it is one");
        assert_eq!(read.to_string(), text.to_lowercase());
        let short = &text[..text.len() - 1];
        let long = format!("{text}0");
        let signed = format!("sha256:+a{}", "0".repeat(62));
        let wide = format!("sha256:{}é", "0".repeat(62));
        for bad in [
            "",
            "sha256:",
            &text[7..],
            short,
            &long,
            &signed,
            &wide,
            "md5:00",
        ] {
            let error = Fingerprint::parse(bad).expect_err(bad);
            assert!(error.contains("is no fingerprint"), "{bad:?}: {error}");
        }
    }
}
