//! Herds with keys, and peers that speak TLS as the test wants them to.

#![allow(dead_code)] // each test binary uses its own part

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use herd::keys::OwnKey;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::support::{Herd, PATIENCE};

/// Where the key of `name` is.
pub fn key_file(herd: &Herd, name: &str) -> PathBuf {
    herd.directory.path().join(format!("{name}.key"))
}

/// Makes a key by `herd keygen`, and gives the attribute that it prints.
pub fn keygen(out: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
    let made = command.args(["keygen", "--out"]).arg(out).output();
    let made = made.expect("the program can be started");
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8(made.stdout).expect("it is text");
    said.trim_end().to_owned()
}

/// Gives a server a key, in its command line and in its line of the topology.
pub fn give_key(herd: &mut Herd, name: &str) {
    let file = key_file(herd, name);
    let attribute = keygen(&file);
    let member = herd.member_mut(name);
    member.attributes.push(attribute);
    let file = file.to_str().expect("its name is text").to_owned();
    member.arguments.extend(["--key".to_owned(), file]);
    herd.write_topology();
}

/// A herd of which each server has a key.
pub fn with_keys(links: &[(&str, &[&str])]) -> Herd {
    let mut herd = Herd::new(links);
    for (name, _) in links {
        give_key(&mut herd, name);
    }
    herd
}

/// Somebody with a key who speaks TLS.
pub struct TlsPeer(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl TlsPeer {
    /// Connects, and shakes hands with the first line.
    pub fn connect(address: SocketAddr, key: &OwnKey) -> TlsPeer {
        let socket = TcpStream::connect(address).expect("somebody listens there");
        socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
        socket.set_write_timeout(Some(PATIENCE)).expect("not zero");
        socket.set_nodelay(true).expect("it is connected");
        let name = ServerName::try_from("anybody").expect("a name");
        let session = ClientConnection::new(Arc::clone(&key.client), name);
        let session = session.expect("it is configured");
        TlsPeer(BufReader::new(StreamOwned::new(session, socket)))
    }

    /// Says bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        let stream = self.0.get_mut();
        stream.write_all(bytes).expect("the server reads");
        stream.flush().expect("the server reads");
    }

    /// Presents itself.
    pub fn hello(&mut self, from: &str, to: &str, serial: u64) {
        let line = format!("HELLO herd/1 {from} {to} 0000000000000b0b {serial} - 0\n");
        self.send(line.as_bytes());
    }

    /// The next line, without LF; empty at the end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        read.unwrap_or_else(|error| panic!("{error}, after {line:?}"));
        line.trim_end_matches('\n').to_owned()
    }

    /// All that comes until the end, which must be in good order.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        let read = self.0.read_to_string(&mut rest);
        read.expect("it ends in good order");
        rest
    }

    /// Its socket.
    pub fn socket(&self) -> &TcpStream {
        self.0.get_ref().get_ref()
    }

    /// Says that it ends, in TLS.
    pub fn end(&mut self) {
        let stream = self.0.get_mut();
        stream.conn.send_close_notify();
        stream.flush().expect("the server reads");
    }
}
