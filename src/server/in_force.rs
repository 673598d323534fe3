//! What of the operator's files is in force, to be compared with what they say by now.
//!
//! `Shell` has one; `reload` replaces what has changed.

use std::path::PathBuf;

use super::security::KeyFiles;
use crate::private_file;
use crate::topology::{Fingerprint, Member, ServerName, Topology};

/// What of the operator's files is in force, and where the files are.
pub struct InForce {
    /// The file of the topology.
    pub path: PathBuf,
    /// That of the tokens, if there is one.
    pub http_tokens: Option<PathBuf>,
    /// Those of keys and certificates.
    pub keys: KeyFiles,
    /// The topology.
    pub topology: Topology,
    /// The server's line of it.
    pub member: Member,
}

impl InForce {
    /// What to do about a server that was refused, where the file has it as a neighbour by now, or has other keys
    /// for it.
    pub fn hint(&self, name: &ServerName) -> Option<String> {
        let topology = Topology::read(&self.path).ok()?;
        let own = &self.member.name;
        let (path, by_now) = (private_file::shown(&self.path), keys(&topology, own, name)?);
        let what = match keys(&self.topology, own, name) {
            None => "names it",
            Some(in_force) if in_force != by_now => "has other keys for it",
            Some(_) => return None,
        };
        Some(format!("{path} {what} by now: reload {own} (SIGHUP)"))
    }
}

/// The keys of a neighbour of `own`.
fn keys<'a>(
    topology: &'a Topology,
    own: &ServerName,
    name: &ServerName,
) -> Option<&'a [Fingerprint]> {
    let member = topology.member(own.as_str())?;
    let mut neighbours = topology.neighbours(member);
    let neighbour = neighbours.find(|other| other.name == *name)?;
    Some(&neighbour.keys)
}
