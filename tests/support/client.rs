//! A client that fails rather than waits for ever.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

/// A client that fails rather than waits for ever.
pub struct Client {
    /// Its socket.
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).expect("somebody listens there"))
    }

    /// Talks over a stream that is connected.
    pub fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_nodelay(true).expect("it is connected");
        let read = Vec::new();
        Client { stream, read }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    /// Closes the sending side (`nc -N`).
    pub fn end(&mut self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("it is connected");
    }

    /// The next line, without LF; `None` if the server has closed instead.
    pub fn line_bytes(&mut self) -> Option<Vec<u8>> {
        let mut scanned = 0;
        loop {
            if let Some(at) = self.read[scanned..].iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.read.drain(..=scanned + at).collect();
                line.pop();
                return Some(line);
            }
            scanned = self.read.len();
            let mut bytes = [0; 65_536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return None,
                Ok(n) => self.read.extend_from_slice(&bytes[..n]),
                // Where there is a time-out, even a machine that was stopped for a while is one.
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("no reply comes in time: {e}"),
            }
        }
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            let mut bytes = [0; 65_536];
            match self.stream.read(&mut bytes) {
                Ok(0) => panic!("the server has closed before the end"),
                Ok(n) => self.read.extend_from_slice(&bytes[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("no reply comes in time: {e}"),
            }
        }
        self.read.drain(..count).collect()
    }

    /// The next line as text, without LF.
    pub fn line(&mut self) -> String {
        let line = self.line_bytes().expect("a line, not the end");
        String::from_utf8(line).expect("text")
    }

    /// Everything up to the server's end.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.read);
        self.stream
            .read_to_end(&mut rest)
            .expect("the server closes in time");
        rest
    }

    /// The server's end, and nothing before it.
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "unexpected: {}", rest.escape_ascii());
    }
}
