//! `herd check`: what is wrong with files before a server reads them.
//!
//! `main` is the caller. A topology is right or wrong as servers read it; beside that, links between a server that
//! has a key and one that has none are told, since they would never be up.

use std::path::{Path, PathBuf};

use crate::keys::OwnKey;
use crate::private_file;
use crate::topology::Topology;

/// The topology, if it can be read; and what is wrong with it and with keys that belong to it, one line for each.
pub fn check(topology: &Path, keys: &[PathBuf]) -> (Option<Topology>, Vec<String>) {
    let shown = private_file::shown(topology);
    let (topology, mut wrong) = match Topology::check(topology) {
        Ok(topology) => (Some(topology), Vec::new()),
        Err(wrong) => (None, wrong),
    };
    for path in keys {
        let of = private_file::shown(path);
        match OwnKey::read(path) {
            Err(error) => wrong.push(format!("{of} {error}")),
            Ok(key) => {
                let key = key.fingerprint;
                let mut members = topology.iter().flat_map(Topology::members);
                if topology.is_some() && !members.any(|member| member.keys.contains(&key)) {
                    wrong.push(format!("{of}: no server of {shown} has key={key}"));
                }
            }
        }
    }
    if let Some(topology) = &topology {
        wrong.extend(half_keyed(topology).map(|words| format!("{shown}: {words}")));
    }
    (topology, wrong)
}

/// The links that have a key on one side only.
fn half_keyed(topology: &Topology) -> impl Iterator<Item = String> {
    let with_key = topology.members().iter().filter(|one| !one.keys.is_empty());
    with_key.flat_map(|one| {
        let neighbours = topology.neighbours(one);
        let without = neighbours.filter(|other| other.keys.is_empty());
        without.map(|other| {
            let (one, other) = (&one.name, &other.name);
            format!("no link between {one} and {other}: {one} has a key=, and {other} has none")
        })
    })
}
