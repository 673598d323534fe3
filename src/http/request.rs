//! A request, whole.

use std::borrow::Cow;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// An answer.
    Get,
    /// An answer without its body.
    Head,
    /// To take what the body says.
    Post,
    /// To replace.
    Put,
    /// To delete.
    Delete,
    /// To say what may be asked for.
    Options,
    /// Anything else.
    Other,
}

impl Method {
    /// The one of this name.
    pub fn named(name: &str) -> Method {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
            Method::Other => "(another method)",
        }
    }
}

/// A request, whole and not ambiguous. It borrows from the bytes in which it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What is asked for.
    pub method: Method,
    /// The path of the target, beginning with `/`, still percent-encoded.
    pub path: &'a str,
    /// What follows the target's first `?`, still percent-encoded; empty if there is none.
    pub query: &'a str,
    /// The host that is asked, with its port if it has one; of the target if it names one, otherwise of the
    /// `Host` field, which HTTP/1.0 may leave away.
    pub host: Option<&'a str>,
    /// Header fields, in the order in which they came; names as they came.
    pub fields: Vec<(&'a str, &'a [u8])>,
    /// The body, chunks put together.
    pub body: Cow<'a, [u8]>,
    /// How it is to be answered.
    pub manner: Manner,
}

/// What a response must keep to, whatever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Whether the connection may carry another request after it. Otherwise the owner closes.
    pub keep_alive: bool,
    /// Whether its body is left away, since HEAD was asked.
    pub head_only: bool,
    /// Whether it may come in chunks: HTTP/1.0 knows none.
    pub chunks: bool,
}

impl Manner {
    /// That of a response to what was refused: the last on its connection.
    pub const LAST: Manner = Manner {
        keep_alive: false,
        head_only: false,
        chunks: false,
    };
}

impl<'a> Request<'a> {
    /// The values of the header fields of this name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let named = self.fields.iter();
        let named = named.filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| *value)
    }

    /// The first header field of this name, if it is text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        let value = self.values(name).next()?;
        std::str::from_utf8(value).ok()
    }
}
