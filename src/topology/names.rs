//! What servers are called, and where they are.

use std::fmt;

/// The longest name a server may have, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// A server's name: 1 to 64 bytes of `A-Z a-z 0-9 _ -`, so that it can stand anywhere in a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(String);

impl ServerName {
    /// Checks a name; `None` if it is none.
    pub fn parse(text: &[u8]) -> Option<ServerName> {
        let text = std::str::from_utf8(text).ok()?;
        ServerName::is_valid(text.as_bytes()).then(|| ServerName(text.to_owned()))
    }

    /// Whether `text` may name a server.
    pub fn is_valid(text: &[u8]) -> bool {
        (1..=NAME_BYTES_MAX).contains(&text.len())
            && text
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as it stands in a line.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `host:port` as written: `127.0.0.1:12590`, `[::1]:12590` or `blake.example.org:12590`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(String);

impl Address {
    /// Checks the form; whether the host exists is found out when it is dialled.
    pub fn parse(text: &str) -> Result<Address, String> {
        let shown = || -> String { text.escape_debug().take(80).collect() };
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("'{}' is no address: host:port is wanted", shown()))?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let is_text = !host.is_empty() && !host.contains(char::is_control);
        if !is_text || (host.contains(':') && !bracketed) {
            return Err(format!(
                "'{}' is no address: host:port is wanted, an IPv6 host in [brackets]",
                shown()
            ));
        }
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse::<u16>() {
            Ok(port @ 1..) if digits => {
                Ok(Address(format!("{}:{port}", host.to_ascii_lowercase())))
            }
            _ => Err(format!(
                "'{}' has no port from 1 to 65535 after the colon",
                shown()
            )),
        }
    }

    /// The address as text, in one form: the host in lower case, the port without zeros in front.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
