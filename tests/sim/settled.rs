//! What must hold once all is healed, and what it may cost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use memchr::memmem;

use crate::clients::Client;
use crate::disk::Crash;
use crate::herd::Herd;
use crate::host::Host;
use crate::records::{self, SECOND};

/// What a host holds, by client.
type Held = BTreeMap<Vec<u8>, Vec<u8>>;

impl Herd {
    /// Servers that are up and reach each other, over whomever.
    fn components(&self) -> Vec<BTreeSet<usize>> {
        let mut found: Vec<BTreeSet<usize>> = Vec::new();
        let up = |host: usize| self.hosts[host].node.is_some();
        for host in (0..self.hosts.len()).filter(|&host| up(host)) {
            if found.iter().any(|component| component.contains(&host)) {
                continue;
            }
            let mut component = BTreeSet::new();
            let mut edge = vec![host];
            while let Some(host) = edge.pop() {
                if component.insert(host) {
                    let next = self.hosts[host].neighbours.iter().copied();
                    edge.extend(next.filter(|&other| up(other)));
                }
            }
            found.push(component);
        }
        found
    }

    fn table_of(&self, host: usize) -> Held {
        let node = self.hosts[host].node.as_ref().expect("it is up");
        let records = node.table().changes_after(0);
        records
            .map(|change| (records::client(change.line).to_vec(), change.line.to_vec()))
            .collect()
    }

    /// The latest report of each client that some host of these holds.
    fn latest<'a>(tables: impl Iterator<Item = &'a Held>) -> BTreeMap<&'a [u8], &'a [u8]> {
        let mut latest = BTreeMap::new();
        for (client, line) in tables.flatten() {
            let known = latest.entry(&client[..]).or_insert(&line[..]);
            if *known != line && records::rank(known) < records::rank(line) {
                *known = line;
            }
        }
        latest
    }

    /// All links are up, nothing is left to be said, all clients have been answered, and whoever
    /// can reach each other hold the same.
    pub fn check_settled(&mut self) {
        if self.judges_by_time() {
            let up: Vec<_> = (0..self.hosts.len())
                .filter(|&host| self.hosts[host].node.is_some())
                .collect();
            up.into_iter().for_each(|host| self.turn(host)); // so that all judge by the same time
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let Some(node) = &host.node else { continue };
            assert_eq!(
                node.backlogs().count(),
                0,
                "host {index} has a backlog left"
            );
            let owed: usize = host.clients.values().map(Client::owed).sum();
            assert_eq!(owed, 0, "host {index} owes replies");
            assert!(
                host.disk.is_complete(),
                "host {index}: its journal lacks something"
            );
        }
        // Where reports are forgotten only what was made when all clocks were right counts: what one
        // had forgotten before, another may still hold, and against that a later one may lose.
        let forgets = self.weather.forget_after.is_some();
        for component in self.components() {
            let tables: BTreeMap<_, _> = component
                .into_iter()
                .map(|host| (host, self.table_of(host)))
                .collect();
            for (client, latest) in Herd::latest(tables.values()) {
                if forgets && self.made[latest].at <= self.healed {
                    continue;
                }
                if self.may_have_made_room(latest) {
                    continue;
                }
                for (host, table) in &tables {
                    let held = table.get(client).map(Vec::as_slice);
                    if held != Some(latest) {
                        let [held, latest] = [held.unwrap_or(b"nothing"), latest];
                        let (held, latest) = (held.escape_ascii(), latest.escape_ascii());
                        panic!("host {host} holds {held}, where another holds {latest}");
                    }
                }
            }
        }
    }

    /// Of whom a server has erased its disk says nothing any longer. All copies were made by somebody else.
    pub fn check_erased(&self) {
        for (index, host) in self.hosts.iter().enumerate() {
            let erased = host.heard.must_be_held();
            let erased: Vec<_> = erased
                .filter(|(_, line)| records::is_erased(line))
                .map(|(client, _)| [b" ", client, b" +"].concat())
                .collect();
            if erased.is_empty() || host.node.is_none() {
                continue;
            }
            let contents = host.disk.contents();
            let used = contents
                .iter()
                .filter(|(name, _)| !name.ends_with(".quarantined"));
            for (name, bytes) in used {
                for place in &erased {
                    let found = memmem::find(bytes, place);
                    let place = place.escape_ascii();
                    assert_eq!(
                        found, None,
                        "host {index}: {name} has{place}, which was erased"
                    );
                }
            }
        }
    }

    /// Once clocks are right again, and what is no further ahead than they may be has been overtaken, every
    /// client's next report counts everywhere, whatever clocks showed before.
    pub fn check_next_reports(&mut self) {
        for component in self.components() {
            let hosts: Vec<_> = component.into_iter().collect();
            if hosts.len() == 1 {
                continue; // it has nobody to ask
            }
            for &host in &hosts {
                let node = self.hosts[host].node.as_ref().expect("it is up");
                let distrust = node.clock_distrust();
                assert_eq!(distrust, None, "host {host} does not trust its clock");
            }
            for client in self.script.names.clone() {
                let host = hosts[self.dice.below(hosts.len() as u64) as usize];
                let wall = (self.wall(host) / SECOND).to_string();
                self.report_now(host, client.clone());
                self.elapse(Duration::from_secs(1));
                self.check();
                for &other in &hosts {
                    let held = self.table_of(other).remove(&client).unwrap_or_default();
                    let counts = held.ends_with(format!(" {wall}").as_bytes());
                    let (client, held) = (client.escape_ascii(), held.escape_ascii());
                    assert!(
                        counts,
                        "host {other}: {client} reported at {host} at {wall}, holds {held}"
                    );
                }
            }
        }
    }

    /// `AT` messages that have been sent over links.
    pub fn locations_said(&self) -> u64 {
        self.hosts.iter().map(|host| host.costs.locations).sum()
    }

    /// In quiet an update costs 2·links - (servers - 1) messages, where it can go: no more, no
    /// less.
    pub fn check_cost_of_updates(&mut self) {
        for component in self.components() {
            let links: usize = component
                .iter()
                .flat_map(|&host| self.hosts[host].neighbours.iter())
                .filter(|other| component.contains(other))
                .count();
            let cost = links + 1 - component.len(); // each link was counted from both sides
            let hosts: Vec<_> = component.into_iter().collect();
            for _ in 0..2 {
                let host = hosts[self.dice.below(hosts.len() as u64) as usize];
                let before = self.locations_said();
                self.report_fresh(host);
                self.elapse(Duration::from_secs(1));
                self.check();
                let said = self.locations_said() - before;
                // One whose clock is behind reports what has had to make room elsewhere.
                let is_less = self.weather.tables_are_small && said < cost as u64;
                assert!(
                    said == cost as u64 || is_less,
                    "{said} messages for an update at host {host}, not {cost}"
                );
            }
        }
    }

    /// In quiet a restart costs nothing: everybody knows what the others have. Unless the clock is behind
    /// the journal: then that is in doubt.
    pub fn check_cost_of_a_restart(&mut self) {
        self.elapse(Duration::from_secs(3)); // so that everything is marked
        let forgets = self.weather.forget_after.is_some();
        let up = |index: &usize| {
            let host = &self.hosts[*index];
            host.node.is_some() && host.disk.is_in_order(self.wall(*index), forgets)
        };
        let up: Vec<_> = (0..self.hosts.len()).filter(up).collect();
        // Who holds something that is too far ahead asks for everything when it starts, and who was told
        // something of the kind since it last asked.
        let doubts = |host: &Host| {
            let Some(node) = &host.node else { return false };
            let table = node.table();
            let mut stored = table.stored_after(0).filter_map(|(_, stored)| stored);
            let was_told = host.up.values().any(|id| host.refused.contains(id));
            was_told || stored.any(|stored| stored.effective > table.newest())
        };
        if up.is_empty() || self.hosts.iter().any(doubts) {
            return;
        }
        let host = up[self.dice.below(up.len() as u64) as usize];
        let before = self.locations_said();
        let crash = [Crash::Killed, Crash::Stopped][self.dice.below(2) as usize];
        self.crash(host, crash);
        let wait = Duration::from_millis(self.dice.below(2_000));
        self.elapse(wait);
        self.boot(host);
        self.elapse(Duration::from_secs(3));
        self.check();
        let said = self.locations_said() - before;
        assert_eq!(said, 0, "messages for a restart of host {host}");
    }
}
