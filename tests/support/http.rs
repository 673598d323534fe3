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

/// A block of a stream of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// An event: its type, its id, its data.
    Event(String, String, String),
    /// `id` alone: where the client would resume.
    Id(String),
    /// A comment.
    Comment,
}

/// A stream of Server-Sent Events.
pub struct Events {
    http: Http,
    read: Vec<u8>,
    /// The id with which the client would resume.
    pub last_id: String,
}

impl Events {
    /// Follows from what the query and the fields, each ended by CRLF, say. An id alone comes first.
    pub fn follow(address: SocketAddr, query: &str, fields: &str) -> Events {
        let mut events = Events::open(address, query, fields);
        assert!(matches!(events.next(), Some(Block::Id(_))));
        events
    }

    /// The same, whatever comes first.
    pub fn open(address: SocketAddr, query: &str, fields: &str) -> Events {
        let mut http = Http::connect(address);
        http.send("GET", &format!("/v1/events{query}"), fields, b"");
        let head = http.head();
        assert_eq!(head.status, 200);
        assert_eq!(head.field("content-type"), Some("text/event-stream"));
        assert_eq!(head.field("transfer-encoding"), Some("chunked"));
        let (read, last_id) = (Vec::new(), String::new());
        Events {
            http,
            read,
            last_id,
        }
    }

    /// Goes on after the event of this id.
    pub fn resume(address: SocketAddr, id: &str) -> Events {
        Events::follow(address, "", &format!("Last-Event-ID: {id}\r\n"))
    }

    /// The next block; `None` at the end of the stream.
    pub fn next(&mut self) -> Option<Block> {
        let end = loop {
            if let Some(at) = self.read.windows(2).position(|two| two == b"\n\n") {
                break at;
            }
            let size = self.http.client.line();
            let size = size.strip_suffix('\r').expect("CRLF");
            let size = usize::from_str_radix(size, 16).expect("a size");
            self.read.extend(self.http.client.bytes(size));
            assert_eq!(self.http.client.bytes(2), b"\r\n");
            if size == 0 {
                assert!(self.read.is_empty());
                return None;
            }
        };
        let block: Vec<u8> = self.read.drain(..end + 2).collect();
        let block = String::from_utf8(block).expect("UTF-8");
        let (mut kind, mut id, mut data) = (String::new(), None, None);
        for line in block
            .lines()
            .filter(|line| !line.is_empty() && *line != ":")
        {
            let (name, value) = line.split_once(": ").expect("a field");
            match name {
                "event" => kind = value.to_owned(),
                "id" => id = Some(value.to_owned()),
                "data" => data = Some(value.to_owned()),
                "retry" => {}
                _ => panic!("{block}"),
            }
        }
        self.last_id = id.clone().unwrap_or(self.last_id.clone());
        Some(match (id, data) {
            (id, Some(data)) => Block::Event(kind, id.unwrap_or_default(), data),
            (Some(id), None) => Block::Id(id),
            (None, None) => Block::Comment,
        })
    }

    /// The next event, comments left out: its type and data.
    pub fn event(&mut self) -> (String, serde_json::Value) {
        loop {
            match self.next().expect("an event, not the end") {
                Block::Event(kind, _, data) => {
                    return (kind, serde_json::from_str(&data).expect("JSON"));
                }
                Block::Id(_) | Block::Comment => {}
            }
        }
    }

    /// The next event, which is a location: its client and time.
    pub fn location(&mut self) -> (String, String) {
        let (kind, data) = self.event();
        assert_eq!(kind, "location", "{data}");
        let text = |name: &str| data[name].as_str().expect("a text").to_owned();
        (text("client"), text("time"))
    }

    /// The next event, which has this type and no data.
    pub fn expect(&mut self, want: &str) {
        assert_eq!(self.event(), (want.to_owned(), serde_json::json!({})));
    }
}
