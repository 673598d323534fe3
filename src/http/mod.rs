//! HTTP/1.1 messages: bytes to requests, responses to bytes.
//!
//! Whoever serves HTTP gives its connections a [`Codec`], takes requests from it one after the other, and
//! writes their responses in the same order. The rules are those of RFC 9110 and RFC 9112, read
//! strictly: where two readers could take the same bytes for different requests (request smuggling), they are
//! refused, and the connection ends. Everything is bounded. Pure: no socket, and time is an argument.

mod body;
mod codec;
mod deadlines;
mod line;
mod parse;
pub mod percent;
mod refusal;
mod request;
mod response;

#[cfg(test)]
mod tests;

pub use self::body::BODY_BYTES_MAX;
pub use self::codec::{Codec, KEEP_ALIVE_MAX, REQUEST_MAX, Step, Timeout};
pub use self::deadlines::Deadlines;
pub use self::parse::{HEAD_BYTES_MAX, HEADERS_MAX};
pub use self::refusal::Refusal;
pub use self::request::{Manner, Method, Request};
pub use self::response::{CONTINUE, Date, Response, Stream, reason};
