//! Servers that are looked at while they talk: two with proxies between them, and what their logs
//! say of their links.

#![allow(dead_code)] // each test binary uses its own part

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;

use crate::support::{Herd, wait_until};
use crate::wire::Proxy;

/// Two servers and their link.
pub const PAIR: &[(&str, &[&str])] = &[("Ann", &["Bob"]), ("Bob", &[])];

/// The text of a topology in which `name`'s neighbours are where `servers` says.
pub fn topology_with(herd: &Herd, servers: &[(&str, SocketAddr)]) -> String {
    let mut text = String::new();
    for member in &herd.members {
        let other = servers.iter().find(|(name, _)| *name == member.name);
        let address = other.map_or(member.servers, |(_, address)| *address);
        let neighbours = member.neighbours.join(" ");
        let (name, clients) = (&member.name, member.clients);
        writeln!(text, "{name} {clients} {address} {neighbours}").expect("a String takes all");
    }
    text
}

/// Starts `name` with a topology file of its own.
pub fn start_with_topology(herd: &mut Herd, name: &str, text: &str) {
    let path = herd.directory.path().join(format!("topology-{name}.txt"));
    fs::write(&path, text).expect("the directory is ours");
    let command = herd.command_with(name, &path);
    herd.start_with(name, command);
}

/// Two servers and the proxies between them: one before each server port.
pub struct Wired {
    /// Ann and Bob.
    pub herd: Herd,
    /// Before Ann's server port.
    pub to_ann: Proxy,
    /// Before Bob's.
    pub to_bob: Proxy,
}

impl Wired {
    /// Both run, and their link is up.
    pub fn started() -> Wired {
        let wired = Wired::apart();
        wired.heal();
        wired.wait_until_up();
        wired
    }

    /// Both run, and neither reaches the other.
    pub fn apart() -> Wired {
        Wired::between(Herd::new(PAIR))
    }

    /// Starts these two, and lets neither reach the other.
    pub fn between(mut herd: Herd) -> Wired {
        let to_ann = Proxy::to(herd.member("Ann").servers);
        let to_bob = Proxy::to(herd.member("Bob").servers);
        to_ann.cut();
        to_bob.cut();
        let text = topology_with(&herd, &[("Bob", to_bob.address)]);
        start_with_topology(&mut herd, "Ann", &text);
        let text = topology_with(&herd, &[("Ann", to_ann.address)]);
        start_with_topology(&mut herd, "Bob", &text);
        Wired {
            herd,
            to_ann,
            to_bob,
        }
    }

    /// Waits until both say that their link is up.
    pub fn wait_until_up(&self) {
        self.herd.wait_for_link("Ann", "Bob");
        self.herd.wait_for_link("Bob", "Ann");
    }

    /// Whether both say that it is not.
    pub fn is_down(&self) -> bool {
        !self.herd.link_is_up("Ann", "Bob") && !self.herd.link_is_up("Bob", "Ann")
    }

    /// Cuts the way between them, and waits until both have noticed.
    pub fn cut(&self) {
        self.to_ann.cut();
        self.to_bob.cut();
        wait_until("both say that the link is down", || self.is_down());
    }

    /// At each of them ten clients of its own move and ten of the other's, of those that are called
    /// `Ann0`, `Bob0` and so on. Gives the replies.
    pub fn move_some(&self, time: u64) -> Vec<String> {
        let mut moved = Vec::new();
        for (name, from) in [("Ann", 0), ("Bob", 10)] {
            let line = |whose| move |n| format!("IAMAT {whose}{n} +01+001 {time}");
            let of_ann = (from..from + 10).map(line("Ann"));
            let lines: Vec<_> = of_ann.chain((from..from + 10).map(line("Bob"))).collect();
            moved.extend(report(&self.herd, name, &lines));
        }
        moved
    }

    /// Lets everything through, and waits until both hold these AT lines and have marked them.
    pub fn heal_and_settle(&self, lines: &[String]) {
        self.heal();
        self.wait_until_up();
        self.herd.wait_for_all(&["Ann", "Bob"], lines);
        self.wait_until_marked();
    }

    /// Lets everything through.
    pub fn heal(&self) {
        self.to_ann.heal();
        self.to_bob.heal();
    }

    /// `AT` lines that have crossed from Ann to Bob, and from Bob to Ann.
    pub fn crossed(&self) -> (u64, u64) {
        (
            self.to_bob.there().at_lines() + self.to_ann.back().at_lines(),
            self.to_ann.there().at_lines() + self.to_bob.back().at_lines(),
        )
    }

    /// Bytes that have crossed from Ann to Bob, and from Bob to Ann.
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.to_bob.there().bytes() + self.to_ann.back().bytes(),
            self.to_ann.there().bytes() + self.to_bob.back().bytes(),
        )
    }

    /// Waits until either has marked all it has said, and the other has heard it. Logs are written behind: what has
    /// crossed must be in them too, else an earlier mark would do.
    pub fn wait_until_marked(&self) {
        for (one, other) in [("Ann", "Bob"), ("Bob", "Ann")] {
            wait_until(&format!("{one}'s changes are marked"), || {
                let crossed = match one {
                    "Ann" => self.crossed().0,
                    _ => self.crossed().1,
                };
                let (said, heard) = (self.herd.log(one), self.herd.log(other));
                let said = link_records(&said, '>', other);
                let locations = said.iter().filter(|line| line.starts_with("AT ")).count();
                let last = said.last();
                locations as u64 >= crossed
                    && last.is_some_and(|line| line.starts_with("MARK "))
                    && last == link_records(&heard, '<', one).last()
            });
        }
    }
}

/// The lines that went (`>`) or came (`<`) over links with `neighbour`, as a log has them.
pub fn link_records<'a>(log: &'a str, direction: char, neighbour: &str) -> Vec<&'a str> {
    let record = |line: &'a str| {
        let mut fields = line.splitn(4, ' ');
        let (_, at, label, text) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        let (_, name) = label.strip_prefix('s')?.split_once(':')?;
        (at == direction.to_string() && name == neighbour).then_some(text)
    };
    log.lines().filter_map(record).collect()
}

/// How many `AT` lines went out over links, or came in, in all five logs.
pub fn floods(herd: &Herd, direction: char) -> usize {
    let mut count = 0;
    for member in &herd.members {
        let log = herd.log(&member.name);
        for neighbour in &member.neighbours {
            let records = link_records(&log, direction, neighbour);
            count += records.iter().filter(|r| r.starts_with("AT ")).count();
        }
    }
    count
}

/// Reports the clients `client0` to `client999`, half of them to Ann and half to Bob, and waits until
/// each knows that the other has all.
pub fn report_a_thousand(herd: &Herd) {
    for (name, clients) in [("Ann", 0..500), ("Bob", 500..1_000)] {
        let line = |n| format!("IAMAT client{n} +00+000 1");
        report(herd, name, &clients.map(line).collect::<Vec<_>>());
    }
    for (one, other) in [("Ann", "Bob"), ("Bob", "Ann")] {
        wait_until("each knows that the other has all", || {
            link_records(&herd.log(one), '<', other).contains(&"MARK 1000")
        });
    }
}

/// How many `AT` lines the logs of Ann and Bob have of their link: two for each that has crossed.
pub fn crossings(herd: &Herd) -> usize {
    let sent = |name, other| {
        let log = match herd.member(name).process {
            Some(_) => herd.settled_log(name),
            None => herd.log(name),
        };
        log.matches(&format!(":{other} AT ")).count()
    };
    sent("Ann", "Bob") + sent("Bob", "Ann")
}

/// Reports many clients at once and gives the replies, in their order.
pub fn report(herd: &Herd, name: &str, lines: &[String]) -> Vec<String> {
    let mut client = herd.client(name);
    let mut replies = Vec::new();
    for lines in lines.chunks(500) {
        client.send((lines.join("\n") + "\n").as_bytes());
        for line in lines {
            let reply = client.line();
            assert!(reply.starts_with("AT "), "to {line}: {reply}");
            replies.push(reply);
        }
    }
    replies
}
