//! What the tests of the links share besides the herd itself: a proxy that can cut, hold back and
//! count what goes between two servers, and a neighbour whose every line the test says by hand.

#![allow(dead_code)] // each test binary uses its own part

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a fake neighbour waits for a line.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a proxy looks whether something has changed.
const TICK: Duration = Duration::from_millis(5);

/// One direction through a proxy.
#[derive(Default)]
pub struct Flow {
    held: AtomicBool,
    bytes: AtomicU64,
    at_lines: AtomicU64,
}

impl Flow {
    /// Bytes that have passed.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Lines beginning with `AT ` that have begun to pass.
    pub fn at_lines(&self) -> u64 {
        self.at_lines.load(Ordering::SeqCst)
    }

    /// Lets nothing through from now on, not even an end, or everything again.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }

    fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }
}

/// What the threads of a proxy share.
struct Shared {
    target: SocketAddr,
    cut: AtomicBool,
    gone: AtomicBool,
    /// From who dialled to the target.
    there: Flow,
    /// From the target to who dialled.
    back: Flow,
    streams: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn close_all(&self) {
        let mut streams = self.streams.lock().expect("no thread panics with it");
        for stream in streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both); // it may be closed already
        }
    }

    fn is_over(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

/// Stands between who dials and who listens.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy on a free port that leads to `target`.
    pub fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("sockets can");
        let shared = Arc::new(Shared {
            target,
            cut: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            there: Flow::default(),
            back: Flow::default(),
            streams: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Proxy { address, shared }
    }

    /// From who dialled to the target.
    pub fn there(&self) -> &Flow {
        &self.shared.there
    }

    /// From the target to who dialled.
    pub fn back(&self) -> &Flow {
        &self.shared.back
    }

    /// Closes every connection, and each new one at once.
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        self.shared.close_all();
    }

    /// Holds everything back: nobody hears anything, not even an end.
    pub fn blackhole(&self) {
        self.there().hold(true);
        self.back().hold(true);
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
        self.there().hold(false);
        self.back().hold(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.gone.store(true, Ordering::SeqCst);
        self.shared.close_all();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.is_over() {
        match listener.accept() {
            Ok((stream, _)) => {
                let shared = Arc::clone(shared);
                thread::spawn(move || carry(stream, &shared));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(TICK),
            Err(error) => panic!("the proxy cannot accept: {error}"),
        }
    }
}

/// Carries one connection until it ends on both sides.
fn carry(near: TcpStream, shared: &Arc<Shared>) {
    if shared.cut.load(Ordering::SeqCst) {
        return;
    }
    // A way that lets nothing through in either direction does not let a SYN through.
    while shared.there.is_held() && shared.back.is_held() {
        if shared.is_over() {
            return;
        }
        thread::sleep(TICK);
    }
    let Ok(far) = TcpStream::connect(shared.target) else {
        return; // closes `near`: nobody is at home
    };
    for stream in [&near, &far] {
        stream.set_nonblocking(false).expect("sockets can");
        stream.set_read_timeout(Some(TICK)).expect("not zero");
        stream.set_nodelay(true).expect("it is connected");
    }
    let clone = |stream: &TcpStream| stream.try_clone().expect("there are descriptors");
    {
        let mut streams = shared.streams.lock().expect("no thread panics with it");
        streams.extend([clone(&near), clone(&far)]);
    }
    if shared.cut.load(Ordering::SeqCst) || shared.is_over() {
        shared.close_all(); // it came between
    }
    let back = {
        let (shared, near, far) = (Arc::clone(shared), clone(&near), clone(&far));
        thread::spawn(move || pump(&shared, &shared.back, far, near))
    };
    pump(shared, &shared.there, near, far);
    let _ = back.join();
}

/// Whether a read with a time-out has only to be made again.
fn is_nothing_yet(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Carries one direction until its end.
fn pump(shared: &Shared, flow: &Flow, mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 65_536];
    let mut beginning: Vec<u8> = Vec::new(); // of the line under way, as far as it matters
    while !shared.is_over() {
        if flow.is_held() {
            thread::sleep(TICK);
            continue;
        }
        let n = match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if is_nothing_yet(e.kind()) => continue,
            Err(_) => break,
        };
        while flow.is_held() && !shared.is_over() {
            thread::sleep(TICK); // read before it was held, to be heard after
        }
        for &byte in &bytes[..n] {
            match byte {
                b'\n' => beginning.clear(),
                _ if beginning.len() < 3 => {
                    beginning.push(byte);
                    let begins = u64::from(beginning == b"AT ");
                    flow.at_lines.fetch_add(begins, Ordering::SeqCst);
                }
                _ => {}
            }
        }
        flow.bytes.fetch_add(n as u64, Ordering::SeqCst);
        if to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write); // it may be closed already
}

/// A neighbour whose lines the test says.
pub struct FakeNeighbour {
    /// Its socket.
    pub stream: TcpStream,
    read: Vec<u8>,
    scanned: usize,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The whole line.
    pub line: String,
    /// Its incarnation.
    pub incarnation: String,
    /// Counts its hellos.
    pub serial: u64,
    /// The incarnation of ours that it knows, or `-`.
    pub known_incarnation: String,
    /// Up to where it has our changes.
    pub known_number: u64,
}

impl FakeNeighbour {
    /// Connects to a server port, and says nothing yet.
    pub fn dial(address: SocketAddr) -> FakeNeighbour {
        FakeNeighbour::over(TcpStream::connect(address).expect("somebody listens there"))
    }

    /// Waits until a server dials `listener`.
    pub fn accept(listener: &TcpListener) -> FakeNeighbour {
        listener.set_nonblocking(true).expect("sockets can");
        let until = Instant::now() + PATIENCE;
        loop {
            match listener.accept() {
                Ok((stream, _)) => return FakeNeighbour::over(stream),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            assert!(Instant::now() < until, "nobody dialled");
            thread::sleep(TICK);
        }
    }

    fn over(stream: TcpStream) -> FakeNeighbour {
        stream.set_nonblocking(false).expect("sockets can");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_nodelay(true).expect("it is connected");
        let (read, scanned) = (Vec::new(), 0);
        FakeNeighbour {
            stream,
            read,
            scanned,
        }
    }

    /// Connects, presents itself, and hears the server's hello.
    pub fn introduced(
        address: SocketAddr,
        names: (&str, &str),
        incarnation: u64,
        serial: u64,
        known: Option<(&str, u64)>,
    ) -> (FakeNeighbour, Hello) {
        let mut fake = FakeNeighbour::dial(address);
        fake.hello(names, incarnation, serial, known);
        let hello = fake.expect_hello();
        (fake, hello)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends bytes as far as the server takes them: it may hang up in the middle.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes); // that it hung up shows when reading
    }

    /// Says a line.
    pub fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    /// Presents itself: from and to, its incarnation, its serial, what it has of the server's feed.
    pub fn hello(
        &mut self,
        (from, to): (&str, &str),
        incarnation: u64,
        serial: u64,
        known: Option<(&str, u64)>,
    ) {
        let (known, number) = known.unwrap_or(("-", 0));
        self.say(&format!(
            "HELLO herd/1 {from} {to} {incarnation:016x} {serial} {known} {number}"
        ));
    }

    /// The next line without LF; `None` when the server has closed.
    pub fn line_bytes(&mut self) -> Option<Vec<u8>> {
        loop {
            let found = self.read[self.scanned..].iter().position(|&b| b == b'\n');
            if let Some(at) = found {
                let end = self.scanned + at;
                let line = self.read[..end].to_vec();
                self.read.drain(..=end);
                self.scanned = 0;
                return Some(line);
            }
            self.scanned = self.read.len();
            let mut bytes = [0; 65_536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(n) => self.read.extend_from_slice(&bytes[..n]),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return None,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("the server says nothing: {e}"),
            }
        }
    }

    /// The next line as text.
    pub fn line(&mut self) -> String {
        let line = self.line_bytes().expect("a line, not the end");
        String::from_utf8(line).expect("text")
    }

    /// The server's hello, which is the next line.
    pub fn expect_hello(&mut self) -> Hello {
        let line = self.line();
        let fields: Vec<&str> = line.split(' ').collect();
        assert!(
            fields.len() == 8 && fields[..2] == ["HELLO", "herd/1"],
            "wanted HELLO herd/1 and six fields, got: {line}"
        );
        Hello {
            incarnation: fields[4].to_owned(),
            serial: fields[5].parse().expect(&line),
            known_incarnation: fields[6].to_owned(),
            known_number: fields[7].parse().expect(&line),
            line: line.clone(),
        }
    }

    /// The next line that is no mark.
    pub fn news(&mut self) -> String {
        loop {
            let line = self.line();
            if !line.starts_with("MARK ") {
                return line;
            }
        }
    }

    /// The next mark above `number`, all news before it skipped.
    pub fn mark_above(&mut self, number: u64) -> u64 {
        loop {
            let line = self.line();
            let mark = line.strip_prefix("MARK ").map(|n| n.parse().expect(&line));
            if let Some(mark) = mark.filter(|&mark: &u64| mark > number) {
                return mark;
            }
        }
    }

    /// All lines up to the server's end, which must come.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line_bytes())
            .map(|line| line.escape_ascii().to_string())
            .collect()
    }

    /// Reads what has come, as far as `bytes` bytes, without waiting for more than a moment.
    pub fn sip(&mut self, bytes: usize) -> usize {
        let mut some = vec![0; bytes];
        self.stream.set_read_timeout(Some(TICK)).expect("not zero");
        let n = match self.stream.read(&mut some) {
            Ok(n) => n,
            Err(e) if is_nothing_yet(e.kind()) => 0,
            Err(e) => panic!("the server closed: {e}"),
        };
        self.read.extend_from_slice(&some[..n]);
        let patience = Some(PATIENCE);
        self.stream.set_read_timeout(patience).expect("not zero");
        n
    }
}
