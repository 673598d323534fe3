//! What a herd promises between its servers: locations flood, once each way and verbatim; links
//! come back and resume where they were; who stops, stalls or talks nonsense harms nobody else.
//!
//! Some tests put proxies between two servers, or are a neighbour themselves: `support/wire.rs`.

mod flooding;
mod hellos;
mod outages;
mod server_port;
mod slow;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/wire.rs"]
mod wire;
#[path = "../support/wired.rs"]
mod wired;

use support::reference::Program;
use support::{Herd, wait_until};
use wire::{FakeNeighbour, Hello};
use wired::report;

const NAMES: [&str; 5] = ["Blake", "Bryant", "Gasol", "Howard", "Metta"];

/// A herd in which Ann runs, and Bob and Cid are for the test to be.
fn ann_alone() -> Herd {
    ann_arguing(&[])
}

/// The same, where Ann has these arguments if she is a herd of ours.
fn ann_arguing(arguments: &[&str]) -> Herd {
    let mut herd = Herd::new(&[("Ann", &["Bob", "Cid"]), ("Bob", &[]), ("Cid", &[])]);
    let is_ours = herd.member("Ann").server.program() == Program::Herd;
    herd.start_arguing("Ann", if is_ours { arguments } else { &[] });
    // A neighbour that comes before she has found out that none is there keeps clients out until it says a mark.
    if is_ours {
        wait_until("Ann serves clients", || {
            herd.process("Ann")
                .said()
                .contains("ready: clients are served")
        });
    }
    herd
}

/// Bob as Ann knows him.
fn bob(herd: &Herd, incarnation: u64, serial: u64, known: Option<(&str, u64)>) -> (Bob, Hello) {
    let address = herd.member("Ann").servers;
    FakeNeighbour::introduced(address, ("Bob", "Ann"), incarnation, serial, known)
}

/// Bob hangs up, and Ann notices. She would refuse a HELLO of his that she reads before that.
fn hang_up(herd: &Herd, bob: Bob) {
    drop(bob);
    wait_until("Ann says that the link is down", || {
        !herd.link_is_up("Ann", "Bob")
    });
}

/// Bob is no real server.
type Bob = FakeNeighbour;

/// Cid, likewise.
fn cid(herd: &Herd) -> FakeNeighbour {
    let address = herd.member("Ann").servers;
    FakeNeighbour::introduced(address, ("Cid", "Ann"), 0xc1d, 1, None).0
}

/// Reports `count` clients with names of some 400 bytes. Gives the last reply.
fn fill(herd: &Herd, name: &str, prefix: &str, count: usize) -> String {
    let pad = "x".repeat(400);
    let line = |n| format!("IAMAT {prefix}{n}.{pad} +00+000 1");
    let mut replies = report(herd, name, &(0..count).map(line).collect::<Vec<_>>());
    replies.pop().expect("some were reported")
}
