//! A Twitter that does as the test says: answers, waits, breaks off, drips, hangs, talks nonsense.
//!
//! A blocking HTTP/1.1 server, a thread for each connection. It keeps every request it has seen,
//! and asks the test's script how to answer each one.

#![allow(dead_code)] // each test binary uses its own part

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::support::{PATIENCE, wait_until};

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its place among all requests, from 0.
    pub number: usize,
    /// The request line.
    pub line: String,
    /// The header fields, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, as long as the head says.
    pub body: String,
}

impl Request {
    /// The target of the request line.
    pub fn target(&self) -> &str {
        let target = self.line.split(' ').nth(1);
        target.unwrap_or_else(|| panic!("no request line: {}", self.line))
    }

    /// The header field `name`, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value.as_str())
    }

    /// The values of the query's parameters called `name`, decoded.
    pub fn parameters(&self, name: &str) -> Vec<String> {
        let query = self.target().split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| percent_decoded(value))
            .collect()
    }
}

fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                let digits = String::from_utf8(digits).expect("two digits follow a %");
                u8::from_str_radix(&digits, 16).expect("two digits follow a %")
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).expect("the query is text")
}

/// Something that the test opens, and that answers wait for.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A gate that is closed.
    pub fn closed() -> Gate {
        Gate::default()
    }

    /// Opens it, for good.
    pub fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let is_open = lock(&self.0.0);
        let wait = self
            .0
            .1
            .wait_timeout_while(is_open, PATIENCE, |open| !*open);
        drop(wait);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How a request is answered.
#[derive(Clone)]
pub enum Answer {
    /// A whole response with this status and body; the connection stays.
    Full(u16, Vec<u8>),
    /// The same, and the connection is closed without a word about that.
    FullThenClose(u16, Vec<u8>),
    /// These bytes, whatever they are; then the connection is closed.
    Raw(Vec<u8>),
    /// The connection is reset.
    Reset,
    /// Nothing at all, for as long as the asker likes.
    Never,
    /// The head of a response, then a byte of its body every so often, without end.
    Drip(Duration),
    /// The other answer, once the gate is open.
    After(Gate, Box<Answer>),
}

impl Answer {
    /// Status 200 and this body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Answer {
        Answer::Full(200, body.into())
    }

    /// A whole response with header fields of the test's own; then the connection is closed.
    pub fn with(status: u16, fields: &[(&str, &str)], body: &str) -> Answer {
        Answer::Raw(response_with(status, fields, body.as_bytes()))
    }

    /// This answer, once `gate` is open.
    pub fn after(self, gate: &Gate) -> Answer {
        Answer::After(gate.clone(), Box::new(self))
    }
}

/// The bytes of a whole response with header fields of the test's own.
pub fn response_with(status: u16, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Stub\r\nContent-Length: {length}\r\n{fields}\r\n");
    [head.as_bytes(), body].concat()
}

/// The bytes of a whole response.
pub fn response(status: u16, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Stub\r\nContent-Type: application/json;charset=utf-8\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

struct Shared {
    script: Box<Script>,
    requests: Mutex<Vec<Request>>,
    /// Connections that were closed here.
    closed: AtomicUsize,
    stopped: AtomicBool,
}

/// The stub, listening until it is dropped.
pub struct StubTwitter {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl StubTwitter {
    /// Starts one that answers as `script` says.
    pub fn start(script: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> StubTwitter {
        StubTwitter::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    /// The same, but no answer leaves before the gate is open.
    pub fn gated(
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> (StubTwitter, Gate) {
        let gate = Gate::closed();
        let held = gate.clone();
        let twitter = StubTwitter::start(move |request| script(request).after(&held));
        (twitter, gate)
    }

    /// The same as the first, at an address that is known to be free.
    pub fn start_at(
        address: SocketAddr,
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> StubTwitter {
        let listener = TcpListener::bind(address).expect("the port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            requests: Mutex::default(),
            closed: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let stub = StubTwitter {
            address,
            shared: Arc::clone(&shared),
        };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    serve(stream, &shared);
                    shared.closed.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        stub
    }

    /// Its search address.
    pub fn url(&self) -> String {
        format!("http://{}/search.json", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// Waits until there have been `count` requests.
    pub fn wait_for_requests(&self, count: usize) {
        wait_until(&format!("Twitter is asked {count} times"), || {
            self.requests().len() >= count
        });
    }

    /// Waits until `count` connections have been closed.
    pub fn wait_for_closed(&self, count: usize) {
        wait_until(&format!("Twitter has closed {count} connections"), || {
            self.shared.closed.load(Ordering::Relaxed) >= count
        });
    }
}

impl Drop for StubTwitter {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address); // wakes the listener
    }
}

/// Serves one connection. An asker that has gone is nobody's trouble.
fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    while let Some((mut request, length)) = peek_request(&stream) {
        {
            let mut requests = lock(&shared.requests);
            request.number = requests.len();
            requests.push(request.clone());
        }
        let mut answer = (shared.script)(&request);
        while let Answer::After(gate, then) = answer {
            gate.pass();
            answer = *then;
        }
        if let Answer::Reset = answer {
            return; // closing a socket with unread bytes resets the connection
        }
        let mut head = vec![0; length];
        if stream.read_exact(&mut head).is_err() {
            return;
        }
        let written = match answer {
            Answer::Full(status, body) => stream.write_all(&response(status, &body)),
            Answer::FullThenClose(status, body) => {
                let _ = stream.write_all(&response(status, &body));
                return;
            }
            Answer::Raw(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Answer::Never => {
                let _ = stream.read(&mut [0]); // until the asker gives up
                return;
            }
            Answer::Drip(every) => drip(&mut stream, every),
            Answer::Reset | Answer::After(..) => unreachable!("dealt with above"),
        };
        if written.is_err() {
            return;
        }
    }
}

fn drip(stream: &mut TcpStream, every: Duration) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 Stub\r\nContent-Length: 1000000\r\n\r\n{")?;
    loop {
        stream.write_all(b" ")?;
        thread::sleep(every);
    }
}

/// Waits for a whole request without taking it out of the socket; gives its length too.
fn peek_request(stream: &TcpStream) -> Option<(Request, usize)> {
    let mut bytes = vec![0; 64 * 1024];
    let mut before = 0;
    loop {
        let n = stream.peek(&mut bytes).ok()?;
        if let Some(at) = bytes[..n].windows(4).position(|four| four == b"\r\n\r\n") {
            let mut request = parse_head(&bytes[..at]);
            let length = request.header("content-length").map_or(Ok(0), str::parse);
            let end = at + 4 + length.unwrap_or(0);
            if end <= n {
                request.body = String::from_utf8_lossy(&bytes[at + 4..end]).into_owned();
                return Some((request, end));
            }
        }
        if n == before {
            thread::sleep(Duration::from_millis(1)); // peeking again would not wait
        }
        if n == 0 {
            return None;
        }
        before = n;
    }
}

fn parse_head(bytes: &[u8]) -> Request {
    let head = String::from_utf8_lossy(bytes);
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Request {
        number: 0,
        line,
        headers,
        body: String::new(),
    }
}
