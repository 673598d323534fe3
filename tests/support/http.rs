//! An HTTP client for tests: it sends what the test says, byte for byte, and reads responses strictly.

#![allow(dead_code)] // each test binary uses its own part

use std::net::SocketAddr;

use crate::support::Client;

/// A response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its fields, their names in lower case.
    pub fields: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The field `name`, given in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.field("content-type"), Some("application/json"));
        let parsed = serde_json::from_slice(&self.body);
        parsed.unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// A connection to an HTTP port.
pub struct Http {
    /// What it speaks over.
    pub client: Client,
    host: String,
}

impl Http {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Http {
        let client = Client::connect(address);
        let host = address.to_string();
        Http { client, host }
    }

    /// Sends a request with these header fields, each ended by CRLF, beside `Host` and `Content-Length`.
    pub fn send(&mut self, method: &str, target: &str, fields: &str, body: &[u8]) {
        let (host, length) = (&self.host, body.len());
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{fields}\r\n"
        );
        self.client.send(&[head.as_bytes(), body].concat());
    }

    /// The head of the next response: status and fields.
    pub fn head(&mut self) -> Reply {
        let mut line = || {
            let line = self.client.line();
            line.strip_suffix('\r').expect("CRLF").to_owned()
        };
        let first = line();
        let status = first.strip_prefix("HTTP/1.1 ").expect("HTTP/1.1");
        let status = status.split(' ').next().and_then(|text| text.parse().ok());
        let mut fields = Vec::new();
        loop {
            let line = line();
            let Some((name, value)) = line.split_once(": ") else {
                assert_eq!(line, "");
                break;
            };
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Reply {
            status: status.expect("a status"),
            fields,
            body: Vec::new(),
        }
    }

    /// The next response, with a body as long as it says.
    pub fn reply(&mut self) -> Reply {
        let mut reply = self.head();
        let length = reply.field("content-length").expect("a length");
        let length = length.parse().expect("a number");
        reply.body = self.client.bytes(length);
        reply
    }

    /// Asks, and reads the response.
    pub fn ask(&mut self, method: &str, target: &str, fields: &str, body: &[u8]) -> Reply {
        self.send(method, target, fields, body);
        self.reply()
    }

    /// Asks with GET.
    pub fn get(&mut self, target: &str) -> Reply {
        self.ask("GET", target, "", b"")
    }

    /// Asks with POST.
    pub fn post(&mut self, target: &str, body: &str) -> Reply {
        self.ask("POST", target, "", body.as_bytes())
    }
}

/// Asks over a connection of its own.
pub fn get(address: SocketAddr, target: &str) -> Reply {
    Http::connect(address).get(target)
}

/// The same with POST.
pub fn post(address: SocketAddr, target: &str, body: &str) -> Reply {
    Http::connect(address).post(target, body)
}
