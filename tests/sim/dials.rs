//! Connections between servers: how they begin, carry and end.

use std::time::Duration;

use herd::connection_id::ConnectionId;
use herd::input::Input;
use herd::lines::Lines;
use herd::node::effects::LinkId;

use crate::agenda::Event;
use crate::herd::Herd;
use crate::host::{Host, Peer};
use crate::network::{End, Parcel};
use crate::topology::pair;

impl Herd {
    /// A host dials: the answer comes after a while, or never.
    pub fn dial(&mut self, host: usize, link: LinkId) {
        self.dials += 1;
        let dial = self.dials;
        self.hosts[host].dials.insert(link, dial);
        let other = self.hosts[host].neighbour(link);
        if self.is_silent(host, other) {
            return;
        }
        let there = self.network.delay(host, other, &mut self.dice);
        let back = self.network.delay(host, other, &mut self.dice);
        let moment = self.hosts[host].moment(host);
        let at = self.now + there + back;
        self.agenda.plan(at, Event::Dialled(moment, link, dial));
    }

    fn is_silent(&self, a: usize, b: usize) -> bool {
        self.network.is_dark(a, b) || self.network.is_dark(b, a)
    }

    pub fn finish_dial(&mut self, host: usize, link: LinkId, dial: u64) {
        let other = self.hosts[host].neighbour(link);
        if self.hosts[host].dials.get(&link) != Some(&dial) || self.is_silent(host, other) {
            return; // given up; or its answer was lost
        }
        self.hosts[host].dials.remove(&link);
        let now = self.clock(host);
        if self.hosts[other].node.is_none() || self.network.ways[&pair(host, other)].cut {
            return self.hosts[host].node().handle_dial_failed(link, now);
        }
        let id = self.hosts[host].new_id();
        let incarnation = self.hosts[host].incarnation;
        let end = End {
            host,
            incarnation,
            id,
        };
        let wire = self.network.connect(end, other);
        let (now_is, agenda) = (self.now, &mut self.agenda);
        self.network
            .push((wire, 0), Parcel::Open, now_is, agenda, &mut self.dice);
        self.add_peer(host, id, (wire, 0));
        let (node, effects) = self.hosts[host].up();
        node.handle_connected(link, id, now, effects);
    }

    fn add_peer(&mut self, host: usize, id: ConnectionId, wire: (u64, usize)) {
        let peer = Peer {
            wire,
            lines: Lines::default(),
            input: Input::default(),
            made: self.now,
            closing: false,
            closed_at: Duration::ZERO,
        };
        self.hosts[host].peers.insert(id, peer);
    }

    pub fn arrive(&mut self, wire: u64, direction: usize) {
        let Some(hosts) = self.network.wires.get(&wire).map(|wire| wire.hosts) else {
            return;
        };
        let (from, to) = (hosts[direction], hosts[1 - direction]);
        let Some((parcel, end)) = self.network.take(wire, direction) else {
            return;
        };
        let here = |end: &End| {
            let host = &self.hosts[to];
            host.node.is_some()
                && host.incarnation == end.incarnation
                && host.peers.contains_key(&end.id)
        };
        match (parcel, end.filter(here)) {
            (Parcel::Open, _) if self.hosts[to].node.is_some() => {
                self.look_at_clock(to);
                let id = self.hosts[to].new_id();
                let incarnation = self.hosts[to].incarnation;
                if let Some(wire) = self.network.wires.get_mut(&wire) {
                    wire.ends[1] = Some(End {
                        host: to,
                        incarnation,
                        id,
                    });
                }
                self.add_peer(to, id, (wire, 1));
                let now = self.clock(to);
                self.hosts[to].node().handle_accepted(id, now);
                self.end_turn(to);
            }
            (Parcel::Bytes(bytes), Some(end)) => {
                self.look_at_clock(to);
                self.hear_peer(to, end.id, &bytes);
                self.end_turn(to);
            }
            (Parcel::End, Some(end)) => {
                self.look_at_clock(to);
                self.lose(to, end.id);
                self.end_turn(to);
            }
            _ => {
                // Nobody is there: the sender is told so (a reset).
                let (now, agenda) = (self.now, &mut self.agenda);
                let back = (wire, 1 - direction);
                self.network.close(back, false, now, agenda, &mut self.dice);
            }
        }
        let waits = |host: &Host| {
            host.node
                .as_ref()
                .is_some_and(|n| n.backlogs().next().is_some())
        };
        if waits(&self.hosts[from]) {
            self.end_turn(from); // there is room on the wire
        }
    }

    /// A connection of a host has ended.
    pub fn lose(&mut self, host: usize, id: ConnectionId) {
        if let Some(peer) = self.hosts[host].peers.remove(&id) {
            let (now, agenda) = (self.now, &mut self.agenda);
            self.network
                .close(peer.wire, false, now, agenda, &mut self.dice);
        }
        let now = self.clock(host);
        let (node, effects) = self.hosts[host].up();
        node.handle_peer_lost(id, "it has ended", now, effects);
    }
}
