//! Herds of many shapes and sizes, as the text of a topology file.

use std::collections::BTreeSet;

use herd::random::SplitMix64;
use herd::topology::Topology;

/// Two servers, the smaller first.
pub type Pair = (usize, usize);

/// The pair of `a` and `b`.
pub fn pair(a: usize, b: usize) -> Pair {
    (a.min(b), a.max(b))
}

/// The herd of the assignment.
pub fn assignment() -> Topology {
    build(5, &[(0, 1), (0, 3), (1, 2), (2, 3), (1, 4)].into())
}

/// Any connected herd of 2 to 50: mostly small ones, in which everything meets sooner.
pub fn random(dice: &mut SplitMix64) -> Topology {
    let count = match dice.below(100) {
        0..70 => 2 + dice.below(5),
        70..95 => 7 + dice.below(8),
        _ => 15 + dice.below(36),
    } as usize;
    let mut links: BTreeSet<Pair> = BTreeSet::new();
    match dice.below(8) {
        0 => return assignment(),
        1 => links.extend((1..count).map(|host| (host - 1, host))), // a line
        2 => links.extend((1..count).map(|host| (0, host))),        // a star
        3 => {
            // a ring
            links.extend((1..count).map(|host| (host - 1, host)));
            links.insert(pair(0, count - 1));
        }
        4 => {
            // a mesh: everybody with everybody
            let count = count.min(7);
            links.extend((0..count).flat_map(|a| (0..a).map(move |b| (b, a))));
            return build(count, &links);
        }
        5 => links.extend((1..count).map(|host| ((host - 1) / 2, host))), // a binary tree
        shape => {
            // any tree, and in one case of two some more links
            links.extend((1..count).map(|host| pair(host, dice.below(host as u64) as usize)));
            for _ in 0..dice.below(1 + count as u64) * (shape - 6) {
                let other = |dice: &mut SplitMix64| dice.below(count as u64) as usize;
                let (a, b) = (other(dice), other(dice));
                links.extend((a != b).then(|| pair(a, b)));
            }
        }
    }
    build(count, &links)
}

fn build(count: usize, links: &BTreeSet<Pair>) -> Topology {
    const NAMES: [&str; 5] = ["Blake", "Bryant", "Gasol", "Howard", "Metta"];
    // Names out of the order of the file, so that the smaller name is not always the one above.
    let name = |host: usize| match NAMES.get(host) {
        Some(name) => (*name).to_owned(),
        None => format!("S{}", (host * 7) % 50),
    };
    let mut text = String::new();
    for host in 0..count {
        let neighbours = links.iter().filter(|(a, _)| *a == host);
        let neighbours: Vec<_> = neighbours.map(|(_, b)| name(*b)).collect();
        let (clients, servers) = (1000 + host, 2000 + host);
        let neighbours = neighbours.join(" ");
        text += &format!("{} h:{clients} h:{servers} {neighbours}\n", name(host));
    }
    Topology::parse(text.as_bytes()).expect("the text is a topology")
}
