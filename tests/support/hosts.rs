//! Five hosts on one machine: network namespaces, joined by a cable (a veth pair) for each link.
//!
//! Each has its own loopback, routes, neighbours and TCP, so that what happens on a cable is what
//! happens between hosts: no FIN or RST crosses one that is unplugged. Making them needs root and
//! `ip` of iproute2: tests with hosts are `#[ignore]`d. Their names hold the process id; they go when their
//! owner is dropped.

#![allow(dead_code)] // each test binary uses its own part

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::keys;
use crate::support::reference::{Program, ServerCommand};
use crate::support::{Client, Herd, client_of, wait_until};

/// Where each server listens for clients, on its host's loopback.
const CLIENTS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 12_590);

/// Where each listens for servers, on all its cables.
const SERVERS_PORT: u16 = 12_690;

/// A MAC address that nobody has (locally administered).
const NOBODY: &str = "02:00:00:00:00:99";

/// Runs a command; what it said on standard error if it failed.
fn run(words: &str) -> Result<String, String> {
    let mut words_left = words.split_whitespace();
    let program = words_left.next().expect("a command");
    let output = Command::new(program).args(words_left).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            Err(format!("{words}: {}", stderr.trim()))
        }
    }
}

fn ip(words: &str) -> String {
    run(&format!("ip {words}")).unwrap_or_else(|error| panic!("{error}"))
}

/// `command` in namespaces of its own, as `unshare` is told with `which`, after the shell has done there what
/// `script` says. It needs root.
pub fn unshared(which: &str, script: &str, command: &Command) -> Command {
    if let Err(why) = run(&format!("unshare {which} true")) {
        panic!("this test needs root, for namespaces of its own: {why}");
    }
    let mut unshared = Command::new("unshare");
    unshared.args([which, "sh", "-c"]);
    unshared.arg(format!("{script} && exec \"$@\"")).arg("sh");
    unshared.arg(command.get_program()).args(command.get_args());
    unshared
}

/// A network namespace.
struct Namespace(String);

impl Namespace {
    fn new() -> Result<Namespace, String> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let serial = MADE.fetch_add(1, Ordering::Relaxed);
        let namespace = Namespace(format!("herd-{}-{serial}", std::process::id()));
        run(&format!("ip netns add {}", namespace.0))?;
        run(&format!("ip -n {} link set lo up", namespace.0))?;
        Ok(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run(&format!("ip netns del {}", self.0)); // it may never have been made
    }
}

/// A host, which runs one server.
struct Host {
    name: String,
    namespace: Namespace,
}

/// One end of a cable.
#[derive(Clone)]
struct End {
    host: String,
    /// What the interface is called on its host.
    interface: String,
    address: Ipv4Addr,
}

/// How a cable loses and delays packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poor {
    /// 100 ms later, and one in a hundred never (tc-netem(8)).
    Netem,
    /// 1 Mbit/s behind 100 ms of queue, beyond which packets are dropped (tc-tbf(8)): for kernels
    /// that have no netem.
    Tbf,
}

/// The hosts, their cables, and the herd that runs on them.
pub struct Hosts {
    /// Dropped first: its processes run in the namespaces.
    pub herd: Herd,
    hosts: Vec<Host>,
    cables: Vec<[End; 2]>,
}

impl Hosts {
    /// Hosts for these servers, none of them started yet; with keys or without.
    fn new(links: &[(&str, &[&str])], with_keys: bool) -> Hosts {
        let make = |(name, _): &(&str, &[&str])| {
            let name = (*name).to_owned();
            Namespace::new().map(|namespace| Host { name, namespace })
        };
        let hosts = links.iter().map(make).collect::<Result<Vec<Host>, _>>();
        let hosts = hosts.unwrap_or_else(|why| {
            panic!("this test needs root and ip (apt-get install iproute2): {why}")
        });
        let mut hosts = Hosts {
            herd: match with_keys {
                true => keys::with_keys(links),
                false => Herd::new(links),
            },
            hosts,
            cables: Vec::new(),
        };
        let named = links.iter();
        let pairs = named.flat_map(|(one, others)| others.iter().map(move |other| (*one, *other)));
        for (one, other) in pairs {
            hosts.lay_cable(one, other);
        }
        for (name, _) in links {
            let topology = hosts.topology(name);
            fs::write(hosts.topology_path(name), topology).expect("the directory is ours");
        }
        hosts
    }

    /// Hosts without keys, then, of herd, hosts with keys; all started and every link up.
    pub fn both_ways(links: &[(&str, &[&str])]) -> impl Iterator<Item = Hosts> {
        let may_have_keys = ServerCommand::under_test().program() == Program::Herd;
        let ways = [false, true]
            .into_iter()
            .take(1 + usize::from(may_have_keys));
        ways.map(|with_keys| Hosts::started(links, with_keys))
    }

    /// All started and every link up.
    fn started(links: &[(&str, &[&str])], with_keys: bool) -> Hosts {
        let mut hosts = Hosts::new(links, with_keys);
        for (name, _) in links {
            hosts.start(name);
        }
        hosts.wait_for_links();
        hosts
    }

    fn lay_cable(&mut self, one: &str, other: &str) {
        let net = self.cables.len() as u8;
        let end = |host: &str, to: &str, last| End {
            host: host.to_owned(),
            interface: format!("to-{to}"),
            address: Ipv4Addr::new(10, 0, net, last),
        };
        let ends = [end(one, other, 1), end(other, one, 2)];
        let named = |end: &End| format!("{} netns {}", end.interface, self.namespace(&end.host));
        ip(&format!(
            "link add {} type veth peer name {}",
            named(&ends[0]),
            named(&ends[1])
        ));
        ends.iter().for_each(|end| self.bring_up(end));
        self.cables.push(ends);
    }

    /// Gives an interface its address and switches it on.
    fn bring_up(&self, end: &End) {
        let End {
            host,
            interface,
            address,
        } = end;
        let namespace = self.namespace(host);
        ip(&format!(
            "-n {namespace} addr add {address}/24 dev {interface}"
        ));
        ip(&format!("-n {namespace} link set {interface} up"));
    }

    /// What a host's topology file says: itself, and its neighbours as they are reached from it.
    fn topology(&self, name: &str) -> String {
        let attributes = |name: &str| self.herd.member(name).attributes.join(" ");
        let mut own = format!(
            "{name} {CLIENTS} 0.0.0.0:{SERVERS_PORT} {}",
            attributes(name)
        );
        let mut others = String::new();
        for [near, far] in self.ends_of(name) {
            let (other, address) = (&far.host, far.address);
            own += &format!(" {}", near.interface.trim_start_matches("to-"));
            let port = CLIENTS.port();
            let attributes = attributes(other);
            others +=
                &format!("{other} {address}:{port} {address}:{SERVERS_PORT} {name} {attributes}\n");
        }
        format!("{own}\n{others}")
    }

    fn topology_path(&self, name: &str) -> std::path::PathBuf {
        let directory = self.herd.directory.path();
        directory.join(format!("{name}.topology"))
    }

    /// The cables of a host, its own end first.
    fn ends_of(&self, name: &str) -> Vec<[End; 2]> {
        let cables = self.cables.iter().cloned();
        let turned = cables.map(|[one, other]| match other.host == name {
            true => [other, one],
            false => [one, other],
        });
        turned.filter(|[near, _]| near.host == name).collect()
    }

    /// The cable between two hosts, the end of `one` first.
    fn cable(&self, one: &str, other: &str) -> [End; 2] {
        let cable = self
            .ends_of(one)
            .into_iter()
            .find(|[_, far]| far.host == other);
        cable.unwrap_or_else(|| panic!("no cable joins {one} and {other}"))
    }

    fn namespace(&self, host: &str) -> &str {
        let host = self.hosts.iter().find(|it| it.name == host);
        &host.expect("it is one of ours").namespace.0
    }

    /// `ip` on the host of that end.
    fn ip_at(&self, end: &End, words: &str) {
        ip(&format!("-n {} {words}", self.namespace(&end.host)));
    }

    /// Starts the server of a host, and waits until it serves.
    pub fn start(&mut self, name: &str) {
        let herd = self.herd.command_with(name, &self.topology_path(name));
        // `ip netns exec` becomes the server: its pid is the server's.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace(name)]);
        command.arg(herd.get_program()).args(herd.get_args());
        self.herd.start_with(name, command);
    }

    /// Waits until every server says that all its links are up.
    pub fn wait_for_links(&self) {
        for [one, other] in &self.cables {
            self.herd.wait_for_link(&one.host, &other.host);
            self.herd.wait_for_link(&other.host, &one.host);
        }
    }

    /// Waits until both servers of a link say that it is down.
    pub fn wait_until_down(&self, one: &str, other: &str) {
        wait_until(
            &format!("{one} and {other} say that their link is down"),
            || !self.herd.link_is_up(one, other) && !self.herd.link_is_up(other, one),
        );
    }

    /// A client on the host of `name`.
    pub fn client(&self, name: &str) -> Client {
        let namespace = File::open(format!("/run/netns/{}", self.namespace(name)));
        let namespace = namespace.expect("it has been made");
        // A socket stays where it was made; the thread that went there ends.
        let connect = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).expect("we are root");
            TcpStream::connect(CLIENTS).expect("somebody listens there")
        };
        let stream = thread::scope(|scope| scope.spawn(connect).join());
        Client::over(stream.expect("it has connected"))
    }

    /// Says one line to `name` and gives the reply.
    pub fn ask(&self, name: &str, line: &str) -> String {
        let mut client = self.client(name);
        client.say(line);
        client.line()
    }

    /// Waits until `name` holds the AT line `at`.
    pub fn wait_for_at(&self, name: &str, at: &str) {
        let about = client_of(at);
        wait_until(&format!("{name} holds {at}"), || {
            self.ask(name, &format!("WHATSAT {about} 1 0")) == at
        });
    }

    /// Waits until every server holds the AT line `at`.
    pub fn wait_for_at_everywhere(&self, at: &str) {
        for host in &self.hosts {
            self.wait_for_at(&host.name, at);
        }
    }

    /// Unplugs a cable, or plugs it in again: neither side has a carrier meanwhile.
    pub fn plug(&self, one: &str, other: &str, is_in: bool) {
        let [near, _] = self.cable(one, other);
        let state = if is_in { "up" } else { "down" };
        self.ip_at(&near, &format!("link set {} {state}", near.interface));
    }

    /// Makes what `from` sends to `to` vanish, while what `to` sends arrives: it goes to a station
    /// that is not there.
    pub fn swallow(&self, from: &str, to: &str) {
        let [near, far] = self.cable(from, to);
        let (address, interface) = (far.address, &near.interface);
        let station = format!("neigh replace {address} lladdr {NOBODY} dev {interface}");
        self.ip_at(&near, &format!("{station} nud permanent"));
    }

    /// Undoes [`Hosts::swallow`].
    pub fn swallow_no_more(&self, from: &str, to: &str) {
        let [near, far] = self.cable(from, to);
        let (address, interface) = (far.address, &near.interface);
        self.ip_at(&near, &format!("neigh del {address} dev {interface}"));
    }

    /// Makes all cables poor ones in both directions, as the kernel can.
    pub fn make_poor(&self) -> Result<Poor, String> {
        let all = || self.cables.iter().flatten();
        let each = |what: &str| {
            all().try_for_each(
                |End {
                     host, interface, ..
                 }| {
                    let namespace = self.namespace(host);
                    let to = format!("tc -n {namespace} qdisc add dev {interface} root {what}");
                    run(&to).map(drop)
                },
            )
        };
        let netem = each("netem delay 100ms loss 1%");
        let Err(no_netem) = netem else {
            return Ok(Poor::Netem);
        };
        match each("tbf rate 1mbit burst 3000 latency 100ms") {
            Ok(()) => Ok(Poor::Tbf),
            Err(no_tbf) => Err(format!("{no_netem}; {no_tbf}")),
        }
    }

    /// How many packets the poor cables have dropped.
    pub fn dropped(&self) -> u64 {
        let of = |End {
                      host, interface, ..
                  }: &End| {
            let namespace = self.namespace(host);
            let told = run(&format!("tc -n {namespace} -s qdisc show dev {interface}"));
            let told = told.unwrap_or_else(|error| panic!("{error}"));
            let count = told
                .split("dropped ")
                .nth(1)
                .and_then(|rest| rest.split(',').next());
            let count = count.and_then(|count| count.parse::<u64>().ok());
            count.unwrap_or_else(|| panic!("no count of packets dropped: {told}"))
        };
        self.cables.iter().flatten().map(of).sum()
    }

    /// Takes the power from a host: its server is gone, and its kernel with all that it knew of
    /// connections, before either could say a word. Its neighbours' cables have no carrier.
    pub fn power_off(&mut self, name: &str) {
        let ends = self.ends_of(name);
        for [near, _] in &ends {
            self.ip_at(near, &format!("link set {} down", near.interface));
        }
        self.herd.kill(name);
        // The interfaces move to a new kernel; the old one goes with its sockets.
        let fresh = Namespace::new().expect("there was room for one before");
        for [near, _] in &ends {
            self.ip_at(
                near,
                &format!("link set {} netns {}", near.interface, fresh.0),
            );
        }
        let host = self.hosts.iter_mut().find(|host| host.name == name);
        host.expect("it is one of ours").namespace = fresh;
    }

    /// Gives it back; its server is to be started.
    pub fn power_on(&self, name: &str) {
        for [near, _] in self.ends_of(name) {
            self.bring_up(&near);
        }
    }
}
