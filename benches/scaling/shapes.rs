//! Who is linked with whom.

use std::collections::BTreeSet;

use herd::random::SplitMix64;
use herd::topology::Topology;

/// Pairs of servers, the smaller first.
pub type Links = BTreeSet<(usize, usize)>;

/// A shape of herds.
pub struct Shape {
    pub name: &'static str,
    /// The links of so many servers.
    pub links: fn(usize) -> Links,
    /// On which of two sides a server is when so many are cut in halves.
    pub side: fn(usize, usize) -> bool,
}

pub const SHAPES: [Shape; 6] = [
    Shape {
        name: "line",
        links: |count| (1..count).map(|at| (at - 1, at)).collect(),
        side: half,
    },
    Shape {
        name: "star",
        links: |count| (1..count).map(|at| (0, at)).collect(),
        side: half, // those of the second half are alone
    },
    Shape {
        name: "ring",
        links: |count| {
            let next = (1..count).map(|at| (at - 1, at));
            next.chain([(0, count - 1)]).collect()
        },
        side: half,
    },
    Shape {
        name: "tree",
        links: |count| (1..count).map(|at| (parent(at), at)).collect(),
        side: |mut at, _| {
            while at > 2 {
                at = parent(at);
            }
            at == 1 // the first child of the root, and all below it
        },
    },
    Shape {
        name: "mesh",
        links: |count| {
            let smaller = |at| (0..at).map(move |other| (other, at));
            (1..count).flat_map(smaller).collect()
        },
        side: half,
    },
    Shape {
        name: "random",
        links: random,
        side: half,
    },
];

fn half(at: usize, count: usize) -> bool {
    at < count / 2
}

/// In a binary tree.
fn parent(at: usize) -> usize {
    (at - 1) / 2
}

/// Each server dials two others, such that every server is reached from every other.
fn random(count: usize) -> Links {
    let mut dice = SplitMix64(count as u64);
    loop {
        let mut links = Links::new();
        for at in 0..count {
            let mut dialled = BTreeSet::new();
            while dialled.len() < 2.min(count - 1) {
                let other = dice.below(count as u64) as usize;
                dialled.extend((other != at).then_some((at.min(other), at.max(other))));
            }
            links.extend(dialled);
        }
        if is_connected(count, &links) {
            return links;
        }
    }
}

fn is_connected(count: usize, links: &Links) -> bool {
    let mut reached = BTreeSet::from([0]);
    let mut before = 0;
    while reached.len() > before {
        before = reached.len();
        for &(a, b) in links {
            if reached.contains(&a) || reached.contains(&b) {
                reached.extend([a, b]);
            }
        }
    }
    reached.len() == count
}

/// So many servers with these links. Of two the one with the smaller name dials.
pub fn topology(count: usize, links: &Links) -> Topology {
    let mut dialled = vec![String::new(); count];
    for (a, b) in links {
        dialled[*a] += &format!(" S{b:04}");
    }
    let lines = dialled.iter().enumerate().map(|(at, dialled)| {
        let port = at + 1;
        format!("S{at:04} clients:{port} servers:{port}{dialled}\n")
    });
    let text: String = lines.collect();
    Topology::parse(text.as_bytes()).expect("the text is a topology")
}
