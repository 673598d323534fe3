//! A server on each of five hosts: cables are unplugged, swallow or lose what they carry, a host
//! loses its power. Everything heals, with plain links and with encrypted ones, and what was acknowledged is known everywhere.
//!
//! And one host whose names and ports are as a test needs them.
//!
//! The hosts are network namespaces, which need root: all of it is `#[ignore]`d.

#[path = "support/hosts.rs"]
mod hosts;
#[path = "support/keys.rs"]
mod keys;
mod support;

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use hosts::{Hosts, Poor, unshared};
use support::reference::{HERD, Program, ServerCommand, say};
use support::{Client, FIVE, Herd, Process, free_addresses, wait_until};

/// How soon a link is up after its way is open: 1 s is promised on an idle machine.
const SOON: Duration = Duration::from_secs(3);

/// How soon silence is noticed: 15 s are promised.
const NOTICED: Duration = Duration::from_secs(15);

/// After this long a kernel that still repeats the SYN of a first dial, ever more rarely, would not
/// do so again for longer than [`SOON`].
const RARELY: Duration = Duration::from_secs(12);

/// Lets attempts grow rare, while `name` serves on.
fn serve_on(hosts: &Hosts, name: &str) {
    let since = Instant::now();
    let mut client = hosts.client(name);
    while since.elapsed() < RARELY {
        client.say("IAMAT meanwhile +00+000 1");
        assert!(client.line().starts_with("AT "));
        thread::sleep(Duration::from_millis(50));
    }
}

/// Asserts that all links are up [`SOON`] after `since`.
fn all_up_since(hosts: &Hosts, since: Instant) {
    hosts.wait_for_links();
    let took = since.elapsed();
    println!("all links were up after {took:?}");
    assert!(took < SOON, "the links were up only after {took:?}");
}

#[test]
#[ignore = "needs root and ip (apt-get install iproute2)"]
fn a_cable_unplugged_is_noticed_and_heals_when_plugged_in() {
    for hosts in Hosts::both_ways(FIVE) {
        let before = hosts.ask("Metta", "IAMAT before +00+000 1");
        hosts.wait_for_at_everywhere(&before);
        hosts.plug("Bryant", "Metta", false); // Metta's only one
        let since = Instant::now();
        hosts.wait_until_down("Bryant", "Metta");
        let took = since.elapsed();
        assert!(took < NOTICED, "it was noticed only after {took:?}");
        serve_on(&hosts, "Metta");
        let here = hosts.ask("Blake", "IAMAT here +27.5916+086.5640 1");
        let there = hosts.ask("Metta", "IAMAT there +34.068930-118.445127 1");
        let moved = hosts.ask("Metta", "IAMAT before +01+001 2");
        for name in ["Bryant", "Gasol", "Howard"] {
            hosts.wait_for_at(name, &here);
        }
        let unheard = hosts.ask("Metta", "WHATSAT here 1 0");
        assert_eq!(unheard, "? WHATSAT here 1 0", "the cable is out");
        hosts.plug("Bryant", "Metta", true);
        all_up_since(&hosts, Instant::now());
        for at in [here, there, moved] {
            hosts.wait_for_at_everywhere(&at);
        }
    }
}

#[test]
#[ignore = "needs root and ip (apt-get install iproute2)"]
fn a_cable_out_for_a_moment_loses_nothing() {
    for hosts in Hosts::both_ways(FIVE) {
        let mut told = Vec::new();
        for round in 0..5 {
            for (one, other) in [
                ("Blake", "Howard"),
                ("Bryant", "Metta"),
                ("Bryant", "Gasol"),
            ] {
                hosts.plug(one, other, false);
                for name in [one, other] {
                    told.push(hosts.ask(name, &format!("IAMAT {name}{other}{round} +00+000 1")));
                }
                hosts.plug(one, other, true);
            }
        }
        told.iter().for_each(|at| hosts.wait_for_at_everywhere(at));
        hosts.wait_for_links();
    }
}

#[test]
#[ignore = "needs root and ip (apt-get install iproute2)"]
fn a_cable_that_swallows_one_direction_is_gone_round_and_heals() {
    for hosts in Hosts::both_ways(FIVE) {
        hosts.swallow("Blake", "Bryant");
        let since = Instant::now();
        // There is only the way by Howard and Gasol to Bryant and Metta.
        let round_about = hosts.ask("Blake", "IAMAT roundabout +00+000 1");
        hosts.wait_for_at_everywhere(&round_about);
        // Bryant hears nothing and hangs up, which Blake hears.
        hosts.wait_until_down("Blake", "Bryant");
        let took = since.elapsed();
        assert!(took < NOTICED, "it was noticed only after {took:?}");
        serve_on(&hosts, "Blake");
        let one = hosts.ask("Bryant", "IAMAT one +00+000 1");
        let two = hosts.ask("Blake", "IAMAT two +00+000 1");
        hosts.wait_for_at_everywhere(&one);
        hosts.wait_for_at_everywhere(&two);
        hosts.swallow_no_more("Blake", "Bryant");
        all_up_since(&hosts, Instant::now());
    }
}

#[test]
#[ignore = "needs root and ip (apt-get install iproute2)"]
fn late_and_lossy_cables_carry_everything_and_stay_up() {
    for hosts in Hosts::both_ways(FIVE) {
        let poor = match hosts.make_poor() {
            Ok(Poor::Netem) => Poor::Netem,
            Ok(Poor::Tbf) => {
                say(
                    "hosts: no netem in this kernel; the cables are slow and drop what is too much",
                );
                Poor::Tbf
            }
            Err(why) => panic!("this test needs a kernel with netem or tbf: {why}"),
        };
        let mut last = Vec::new();
        for name in ["Metta", "Howard"] {
            let mut client = hosts.client(name);
            for number in 0..2_000 {
                client.say(&format!("IAMAT {name}{number} +27.5916+086.5640 1"));
            }
            last.extend((0..2_000).map(|_| client.line()));
        }
        let since = Instant::now();
        last.iter()
            .step_by(99)
            .for_each(|at| hosts.wait_for_at_everywhere(at));
        let dropped = hosts.dropped();
        println!(
            "{poor:?}: {dropped} packets dropped; 4,000 reports were everywhere after {:?}",
            since.elapsed()
        );
        assert!(dropped > 0, "no packet was lost");
        for (name, others) in FIVE {
            for other in *others {
                for (one, other) in [(name, other), (other, name)] {
                    let said = hosts
                        .herd
                        .member(one)
                        .process
                        .as_ref()
                        .expect("it runs")
                        .said();
                    let down = format!("link to {other} is down");
                    assert!(!said.contains(&down), "a poor cable is no dead one: {said}");
                }
            }
        }
    }
}

#[test]
#[ignore = "needs root and ip (apt-get install iproute2)"]
fn a_host_that_loses_its_power_comes_back_knowing_everything() {
    for mut hosts in Hosts::both_ways(FIVE) {
        let before = hosts.ask("Bryant", "IAMAT before +00+000 1");
        hosts.wait_for_at_everywhere(&before);
        for noticed in [false, true] {
            // Not even flooded, perhaps; but acknowledged.
            let last_word = hosts.ask("Bryant", &format!("IAMAT word{noticed} +00+000 1"));
            hosts.power_off("Bryant");
            let at_metta = hosts.ask("Metta", &format!("IAMAT metta{noticed} +00+000 1"));
            let at_blake = hosts.ask("Blake", &format!("IAMAT blake{noticed} +00+000 1"));
            if noticed {
                for other in ["Blake", "Gasol", "Metta"] {
                    wait_until(&format!("{other} has noticed"), || {
                        !hosts.herd.link_is_up(other, "Bryant")
                    });
                }
            }
            hosts.power_on("Bryant");
            let since = Instant::now();
            hosts.start("Bryant");
            all_up_since(&hosts, since);
            for at in [&before, &last_word, &at_metta, &at_blake] {
                hosts.wait_for_at_everywhere(at);
            }
        }
    }
}

// ---- one host

/// A name with an IPv4 and an IPv6 address.
const NAME: &str = "both.test";

/// Both addresses of [`NAME`] with this port.
fn both(port: u16) -> [SocketAddr; 2] {
    [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ]
}

/// Ann, who listens at [`NAME`], in a directory where `hosts` says what that is.
fn ann_at_name() -> Herd {
    let herd = Herd::new(&[("Ann", &[])]);
    let hosts = format!("127.0.0.1 localhost {NAME}\n::1 {NAME}\n127.0.0.1 {NAME}\n");
    fs::write(herd.directory.path().join("hosts"), hosts).expect("the directory is ours");
    let topology = herd
        .topology_text()
        .replace("127.0.0.1:", &format!("{NAME}:"));
    fs::write(herd.topology(), topology).expect("the directory is ours");
    herd
}

/// `command` where `/etc/hosts` is what lies in the directory of `herd`.
fn with_hosts(herd: &Herd, command: &Command) -> Command {
    let hosts = herd.directory.path().join("hosts");
    let script = format!("mount --bind {} /etc/hosts", hosts.display());
    unshared("-m", &script, command)
}

#[test]
#[ignore = "needs root, for namespaces of its own"]
fn a_name_with_several_addresses_is_listened_at_on_each() {
    let mut herd = ann_at_name();
    let ports = [herd.member("Ann").clients, herd.member("Ann").servers].map(|at| at.port());
    let command = with_hosts(&herd, &herd.command("Ann"));
    herd.start_with("Ann", command);
    for address in both(ports[0]) {
        let mut client = Client::connect(address);
        client.say("WHERE");
        assert_eq!(client.line(), "? WHERE");
    }
    for address in both(ports[1]) {
        let mut stranger = Client::connect(address);
        stranger.say("WHERE");
        assert!(stranger.line().starts_with("BYE "));
    }
    let said = herd.process("Ann").said();
    for (whom, port) in [("clients", ports[0]), ("servers", ports[1])] {
        let [v4, v6] = both(port);
        let told = [(v4, v6), (v6, v4)]
            .map(|(one, other)| format!("{whom} on {NAME}:{port} ({one} and {other})"));
        assert!(told.iter().any(|told| said.contains(told)), "{said}");
    }
}

#[test]
#[ignore = "needs root, for namespaces of its own"]
fn one_address_of_a_name_is_enough_and_none_is_too_few() {
    let mut herd = ann_at_name();
    let port = herd.member("Ann").clients.port();
    let [v4, v6] = both(port);
    let in_the_way = TcpListener::bind(v4).expect("the port is free");
    let command = with_hosts(&herd, &herd.command("Ann"));
    herd.start_with("Ann", command);
    let mut client = Client::connect(v6);
    client.say("WHERE");
    assert_eq!(client.line(), "? WHERE");
    let failed = format!("cannot listen for clients on {v4}, an address of {NAME}:{port}: ");
    let bound = format!("clients on {NAME}:{port} ({v6})");
    wait_until("she has said where she listens, and where not", || {
        let said = herd.process("Ann").said();
        said.contains(&failed) && said.contains(&bound)
    });
    herd.kill("Ann");
    let _also = TcpListener::bind(v6).expect("it has gone");
    let mut process = Process::start(
        with_hosts(&herd, &herd.command("Ann")),
        herd.directory.path().join("again.err"),
    );
    assert_eq!(process.wait().code(), Some(2));
    let said = process.said();
    let told = format!("Ann cannot listen for clients on {NAME}:{port}: ");
    assert!(said.contains(&told), "{said}");
    drop(in_the_way);
}

#[test]
#[ignore = "needs root, for namespaces of its own"]
fn the_stand_in_listens_at_each_address_of_a_name_too() {
    let herd = ann_at_name();
    let port = free_addresses(1)[0].port();
    let mut command = match ServerCommand::under_test() {
        server if server.program() == Program::Herd => server.command(),
        _ => Command::new(HERD), // the others have no stand-in
    };
    command.args(["twitter", "--listen", &format!("{NAME}:{port}")]);
    let stderr = herd.directory.path().join("twitter.err");
    let mut process = Process::start(with_hosts(&herd, &command), stderr);
    for address in both(port) {
        let told = format!("listening on {address}");
        wait_until(&told, || {
            assert!(process.is_running(), "it ended: {}", process.said());
            process.said().contains(&told)
        });
        let mut client = Client::connect(address);
        client.send(b"GET /nowhere HTTP/1.0\r\n\r\n");
        assert!(client.rest().starts_with(b"HTTP/1.1 404 "));
    }
}

/// The port of a neighbour that is down; and the only ports from which its host dials.
const DOWN: u16 = 17_304;

#[test]
#[ignore = "needs root, for namespaces of its own"]
fn a_dial_that_comes_back_to_itself_is_nobody_and_leaves_no_trace() {
    let mut herd = Herd::new(&[("Ann", &["Bob"]), ("Bob", &[])]);
    for (port, name) in [(17_400, "Ann"), (17_410, "Bob")] {
        let member = herd.member_mut(name);
        member.clients.set_port(port);
        member.servers.set_port(port + 1);
    }
    herd.member_mut("Bob").servers.set_port(DOWN);
    fs::write(herd.topology(), herd.topology_text()).expect("the directory is ours");
    let dial_from =
        |low: u16, high: u16| format!("echo {low} {high} > /proc/sys/net/ipv4/ip_local_port_range");
    let script = format!("ip link set lo up && {}", dial_from(DOWN, DOWN + 1));
    let command = unshared("-n", &script, &herd.command("Ann"));
    herd.start_with("Ann", command);
    wait_until("Bob is said not to be reached", || {
        let said = herd.process("Ann").said();
        said.contains("nobody listens there, the dial came back to itself")
    });
    // Of that host: `unshare` has become the server.
    let pid = herd.process("Ann").pid();
    let sockets = fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("it runs");
    let own = format!("0100007F:{DOWN:04X} ");
    let in_time_wait = |line: &&str| line.contains(&own) && line.contains(" 06 ");
    assert_eq!(sockets.lines().find(in_time_wait), None, "{sockets}");
    let log = herd.log("Ann");
    assert!(!log.contains("HELLO"), "{log}");
    // So whose port it is can listen there.
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid.to_string(), "-n", "sh", "-c"]);
    let script = format!("{} && exec \"$@\"", dial_from(20_000, 30_000));
    command.arg(script).arg("sh");
    let bob = herd.command("Bob");
    command.arg(bob.get_program()).args(bob.get_args());
    herd.start_with("Bob", command);
    herd.wait_for_link("Ann", "Bob");
    herd.wait_for_link("Bob", "Ann");
}
