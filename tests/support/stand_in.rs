//! `herd twitter`, running as a process.

#![allow(dead_code)] // each test binary uses its own part

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use crate::support::reference::HERD;
use crate::support::{PATIENCE, Process, wait_until};

/// The stand-in for Twitter; it ends with its owner.
pub struct StandIn {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl StandIn {
    /// Starts one as it is without options.
    pub fn started() -> StandIn {
        StandIn::started_with(&[])
    }

    /// Starts one with more arguments, and waits until it listens.
    pub fn started_with(arguments: &[&str]) -> StandIn {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(HERD);
        command.args(["twitter", "--listen", "127.0.0.1:0"]);
        command.args(arguments);
        let mut process = Process::start(command, directory.path().join("twitter.err"));
        let mut address = None;
        wait_until("the stand-in listens", || {
            assert!(process.is_running(), "it ended: {}", process.said());
            let said = process.said();
            let line = said.lines().find(|line| line.contains("listening on "));
            address = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
            address.is_some()
        });
        StandIn {
            process,
            address: address.expect("waited for"),
            _directory: directory,
        }
    }

    /// A connection to it.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream
    }

    /// Says `request`, and gives all that comes until the end.
    pub fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect();
        let written = stream.write_all(request.as_bytes());
        written.expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it closes");
        text
    }
}
