//! SIGHUP: what the operator has written anew is read, compared with what is in force, and applied; all of it
//! or nothing.
//!
//! `Driver` calls [`reload`]. What can fail comes first: files are read, and new addresses bound. Clients and
//! links that no change concerns notice nothing. What is not in these files, the options, needs a restart.

use super::places::{self, Place};
use super::security::Security;
use super::shell::Shell;
use super::start;
use crate::node::Node;
use crate::private_file;
use crate::topology::{Member, ServerName, Topology};

/// Applies what the files say now. Gives what has changed, in words.
///
/// # Errors
/// One line that says what is wrong; then all is as before.
pub fn reload(node: &mut Node, shell: &mut Shell) -> Result<String, String> {
    let in_force = &shell.in_force;
    let path = private_file::shown(&in_force.path);
    let own = &in_force.member.name;
    let topology = Topology::read(&in_force.path)?;
    let member = topology.member(own.as_str()).cloned();
    let member = member.ok_or_else(|| {
        format!("{path} has no server {own} any longer, and a server that runs keeps its name")
    })?;
    let access = start::read_tokens(in_force.http_tokens.as_deref())?;
    let security = Security::read(&in_force.keys, &member)?;
    let before = places::places(&in_force.member, &shell.security);
    let after = places::places(&member, &security);
    let is_new = |place: &&Place| !before.iter().any(|old| is_same(old, place));
    let new: Vec<_> = after.iter().filter(is_new).collect();
    let mut listening = Vec::new();
    for place in &new {
        match place.listen(&mut shell.reactor, &access, &shell.operator) {
            Ok(bound) => listening.push((*place, bound)),
            Err(why) => {
                for (place, bound) in &listening {
                    shell.reactor.unlisten(place.role, bound);
                }
                return Err(why);
            }
        }
    }
    // From here on nothing fails.
    let mut changes = neighbours_changed(&in_force.topology, &in_force.member, &topology, &member);
    for (place, bound) in &listening {
        shell.reactor.listen_only(place.role, &place.offer, bound);
        changes.push(place.words(bound));
    }
    for old in &before {
        if !after.iter().any(|place| is_like(old, place)) {
            shell.reactor.stop_offering(old.role, &old.offer);
            changes.push(format!("no longer listens for {}", old.whom));
        }
    }
    if shell.web.access != access {
        shell.web.access = access;
        // Whoever has a token still comes back, and resumes.
        for (id, last) in shell.web.followers.end() {
            shell.reactor.send(id, &[&last]);
            shell.reactor.cut(id, "the tokens have changed");
        }
        changes.push("the HTTP tokens have changed".to_owned());
    }
    let names = topology.neighbours(&member).map(|other| &other.name);
    node.handle_neighbours(names, shell.now, shell);
    let link = |name: &ServerName| node.link_to(name);
    let members = topology.neighbours(&member);
    shell.neighbours.update(members, link, shell.now.mono);
    changes.extend(security.changes(&shell.security));
    shell.set_security(security, node);
    (shell.in_force.topology, shell.in_force.member) = (topology, member);
    Ok(match changes.is_empty() {
        true => format!("reloaded {path}: nothing has changed"),
        false => format!("reloaded {path}: {}", changes.join(", ")),
    })
}

fn is_same(one: &Place, other: &Place) -> bool {
    is_like(one, other) && one.address == other.address
}

/// Whether both are for the same connections.
fn is_like(one: &Place, other: &Place) -> bool {
    one.role == other.role && one.offer.is_like(&other.offer)
}

/// Which neighbours are new, are none any longer, or are elsewhere, in words.
fn neighbours_changed(
    before: &Topology,
    old: &Member,
    after: &Topology,
    new: &Member,
) -> Vec<String> {
    let named = |topology: &Topology, member: &Member, name: &ServerName| {
        let mut neighbours = topology.neighbours(member);
        let found = neighbours.find(|other| other.name == *name);
        found.map(|other| (other.server_address.clone(), other.keys.clone()))
    };
    let mut changes = Vec::new();
    for Member {
        name,
        server_address: address,
        keys,
        ..
    } in after.neighbours(new)
    {
        match named(before, old, name) {
            None => changes.push(format!("{name} is a neighbour")),
            Some((was, had)) => {
                if was != *address {
                    changes.push(format!("{name} is at {address}"));
                }
                if had != *keys {
                    changes.push(format!("{name} has other keys"));
                }
            }
        }
    }
    for Member { name, .. } in before.neighbours(old) {
        if named(after, new, name).is_none() {
            changes.push(format!("{name} is no neighbour any longer"));
        }
    }
    changes
}
