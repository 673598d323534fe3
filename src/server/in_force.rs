//! What of the operator's files is in force, to be compared with what they say by now.
//!
//! `Shell` has one; `reload` replaces what has changed.

use std::path::PathBuf;

use super::security::KeyFiles;
use crate::private_file;
use crate::topology::{Member, ServerName, Topology};

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
    /// What to do about a server that is no neighbour, where the file names it as one by now.
    pub fn hint(&self, name: &ServerName) -> Option<String> {
        let topology = Topology::read(&self.path).ok()?;
        let own = &self.member.name;
        let member = topology.member(own.as_str())?;
        let is_named = topology.neighbours(member).any(|other| other.name == *name);
        let path = private_file::shown(&self.path);
        is_named.then(|| format!("{path} names it by now: reload {own} (SIGHUP)"))
    }
}
