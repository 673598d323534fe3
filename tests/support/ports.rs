//! Addresses on loopback that nobody else takes, however many tests and benches run side by side.
//!
//! Not those that port 0 gives: they are of the range from which the kernel also takes the near end
//! of every connection, and one that a server leaves free while it is down may be taken by then.

use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::Mutex;

/// What is dealt out: below the range of port 0, which Linux begins at 32768.
const PORTS: Range<u16> = 13_000..32_000;

/// So many of them are dealt out at once.
const BLOCK: u16 = 50;

/// The ports of this process: blocks, each its own for as long as it listens on the first of it.
struct Ports {
    guards: Vec<TcpListener>,
    /// What is left of the latest block.
    left: Range<u16>,
}

static OURS: Mutex<Ports> = Mutex::new(Ports {
    guards: Vec::new(),
    left: 0..0,
});

impl Ports {
    fn next(&mut self) -> SocketAddr {
        loop {
            let Some(port) = self.left.next() else {
                self.take_block();
                continue;
            };
            let address = on(port);
            if TcpListener::bind(address).is_ok() {
                return address; // no test is there, and no other program
            }
        }
    }

    /// Takes the next block that no other process has.
    fn take_block(&mut self) {
        let blocks = PORTS.len() as u32 / u32::from(BLOCK);
        let mine = std::process::id() % blocks;
        let mut blocks = (mine..blocks).chain(0..mine);
        let free = blocks.find_map(|block| {
            let first = PORTS.start + block as u16 * BLOCK;
            TcpListener::bind(on(first))
                .ok()
                .map(|guard| (guard, first))
        });
        let (guard, first) = free.expect("tests hold all ports there are");
        self.guards.push(guard);
        self.left = first + 1..first + BLOCK;
    }
}

fn on(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// An address at which nobody is, and nobody will be but whom the test puts there.
pub fn free_address() -> SocketAddr {
    OURS.lock().expect("nobody panics with it").next()
}

/// The same, several.
pub fn free_addresses(count: usize) -> Vec<SocketAddr> {
    (0..count).map(|_| free_address()).collect()
}
