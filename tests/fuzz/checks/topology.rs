//! A topology file: whatever it holds, it is refused in one line of words, or it is a herd.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use herd::node::Node;
use herd::topology::{Address, ServerName, Topology};

use super::effects::Recorder;
use super::model::{SEEDS, start};

/// Reads `bytes` as a topology file.
pub fn check(bytes: &[u8]) {
    let lines = bytes.split(|&byte| byte == b'\n').count();
    let topology = match Topology::parse(bytes) {
        Ok(topology) => topology,
        Err(error) => {
            assert!((1..=lines).contains(&error.line), "{error:?}");
            assert!(!error.message.contains(['\n', '\r']), "{error:?}");
            return;
        }
    };
    let members = topology.members();
    let names: BTreeSet<_> = members.iter().map(|member| &member.name).collect();
    assert_eq!(names.len(), members.len(), "a name is used twice");
    let addresses = members
        .iter()
        .flat_map(|member| [&member.client_address, &member.server_address]);
    let addresses: BTreeSet<_> = addresses.collect();
    assert_eq!(addresses.len(), 2 * members.len(), "an address used twice");
    for address in addresses {
        assert_eq!(Address::parse(address.as_str()).as_ref(), Ok(address));
    }
    for (place, member) in members.iter().enumerate() {
        assert!(ServerName::is_valid(member.name.as_bytes()));
        assert_eq!(topology.member(member.name.as_str()), Some(member));
        let neighbours = &member.neighbours;
        assert!(neighbours.is_sorted_by(|one, other| one < other));
        for &neighbour in neighbours {
            assert_ne!(neighbour, place, "a server is its own neighbour");
            assert!(members[neighbour].neighbours.contains(&place));
        }
        let mut now = start();
        let mut node = Node::new(member, &topology, SEEDS, now);
        now.mono += Duration::from_secs(1);
        let mut effects = Recorder::default();
        node.handle_timeout(now, &mut effects);
        assert_eq!(effects.take().len(), neighbours.len());
        node.check_invariants();
    }
    assert_eq!(Topology::parse(text(&topology).as_bytes()), Ok(topology));
}

/// A topology as somebody would write it who knows one way only.
fn text(topology: &Topology) -> String {
    let mut text = String::new();
    for member in topology.members() {
        let (clients, servers) = (&member.client_address, &member.server_address);
        write!(text, "{} {clients} {servers}", member.name).expect("it is a String");
        for neighbour in topology.neighbours(member) {
            write!(text, " {}", neighbour.name).expect("it is a String");
        }
        text.push('\n');
    }
    text
}
