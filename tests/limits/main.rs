//! The limits that an operator sets, and those that keep some clients from harming others: what is
//! full is said, and who was there first is served on.

mod connections;
#[path = "../support/effects.rs"]
mod effects;
mod expiry;
mod forgetting;
mod links;
mod silent;
mod stopping;
#[path = "../support/stub_twitter.rs"]
mod stub_twitter;
#[path = "../support/mod.rs"]
mod support;
mod unended;
mod unread;
#[path = "../support/wire.rs"]
mod wire;

use std::net::TcpStream;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

use support::{Client, Herd};

const ALONE: &[(&str, &[&str])] = &[("Ann", &[])];
const PAIR: &[(&str, &[&str])] = &[("Ann", &["Bob"]), ("Bob", &[])];

fn alone_with(arguments: &[&str]) -> Herd {
    let mut herd = Herd::new(ALONE);
    herd.start_arguing("Ann", arguments);
    herd
}

/// Records of `name`'s log in which `words` stand.
fn logged(herd: &Herd, name: &str, words: &str) -> usize {
    let log = herd.log(name);
    log.lines().filter(|record| record.contains(words)).count()
}

/// The same of what has happened by now: it is written behind.
fn logged_by_now(herd: &Herd, name: &str, words: &str) -> usize {
    let log = herd.settled_log(name);
    log.lines().filter(|record| record.contains(words)).count()
}

/// A client whose kernel takes little before it has read.
fn narrow_client(herd: &Herd) -> Client {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    let fd: OwnedFd = socket_with(family, kind, SocketFlags::CLOEXEC, None).expect("a socket");
    sockopt::set_socket_recv_buffer_size(&fd, 4096).expect("it is not connected yet");
    connect(&fd, &herd.member("Ann").clients).expect("Ann listens");
    Client::over(TcpStream::from(fd))
}
