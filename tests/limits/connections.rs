//! How many may be connected, and limits that make no sense.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use crate::stub_twitter::{Answer, StubTwitter};
use crate::support::reference::HERD;
use crate::support::{Herd, wait_until};
use crate::{ALONE, PAIR, alone_with, logged};

#[test]
fn a_client_too_many_is_told_so_and_those_who_are_there_are_served() {
    let mut herd = Herd::new(PAIR);
    herd.start_arguing("Ann", &["--max-connections", "3"]);
    let mut clients: Vec<_> = (0..3).map(|_| herd.client("Ann")).collect();
    for client in &mut clients {
        client.say("IAMAT kiwi +00+000 1");
        assert!(client.line().starts_with("AT Ann "));
    }
    for round in 0..50 {
        let mut surplus = herd.client("Ann");
        let _ = surplus.stream.write_all(b"IAMAT emu +00+000 1\n"); // it may be closed by then
        let told = String::from_utf8(surplus.rest()).expect("text");
        assert_eq!(
            told, "{\"error\":\"Ann has 3 clients and takes no more, try another server\"}\n",
            "client {round} too many"
        );
        clients[round % 3].say("WHERE");
        assert_eq!(clients[round % 3].line(), "? WHERE");
    }
    wait_until("the log has them dropped", || {
        logged(&herd, "Ann", "refused: too many clients") == 50
    });
    assert_eq!(logged(&herd, "Ann", "IAMAT emu"), 0, "it was not read");
    assert_eq!(logged(&herd, "Ann", "has 3 clients and takes no"), 50);
    let said = herd.process("Ann").said();
    let full = |line: &&str| line.contains("3 are connected, all that may be");
    assert_eq!(
        said.lines().filter(full).count(),
        1,
        "once a minute: {said}"
    );
    herd.start("Bob"); // servers are no clients
    herd.wait_for_link("Ann", "Bob");
    clients.pop();
    wait_until("there is room for another", || {
        let mut next = herd.client("Ann");
        let _ = next.stream.write_all(b"WHERE\n");
        next.line_bytes().as_deref() == Some(b"? WHERE")
    });
}

#[test]
fn who_has_said_its_last_and_waits_for_an_answer_takes_a_place() {
    let (twitter, gate) = StubTwitter::gated(|_| Answer::ok("{}"));
    let mut herd = Herd::new(ALONE);
    herd.twitter_url = twitter.url();
    herd.start_arguing("Ann", &["--max-connections", "1"]);
    let mut client = herd.client("Ann");
    client.send(b"IAMAT kiwi +00+000 1\nWHATSAT kiwi 1 1\ntail");
    let at = client.line();
    twitter.wait_for_requests(1);
    client.end();
    wait_until("its end has been read", || {
        logged(&herd, "Ann", "? tail") == 1
    });
    let refused = "{\"error\":\"Ann has 1 clients and takes no more, try another server\"}";
    assert_eq!(herd.client("Ann").line(), refused);
    gate.open();
    for line in [&*at, "{}", "? tail"] {
        assert_eq!(client.line(), line);
    }
    client.expect_end();
    wait_until("there is room for another", || {
        let mut next = herd.client("Ann");
        let _ = next.stream.write_all(b"WHERE\n");
        next.line_bytes().as_deref() == Some(b"? WHERE")
    });
}

#[test]
fn who_leaves_before_another_comes_makes_room_for_it() {
    let herd = alone_with(&["--max-connections", "1"]);
    for round in 0..300 {
        let mut client = herd.client("Ann");
        client.say("WHERE");
        assert_eq!(client.line(), "? WHERE", "client {round}");
        client.end();
        client.expect_end(); // the server has seen it leave
    }
}

/// Starts Ann with 80 descriptors at most.
fn start_with_few_descriptors(herd: &mut Herd, arguments: &str) {
    let usual = herd.command("Ann");
    let mut command = Command::new("bash");
    let script = format!("ulimit -n 80; exec \"$@\" {arguments}");
    command
        .args(["-c", &script, "bash"])
        .arg(usual.get_program());
    command.args(usual.get_args());
    herd.start_with("Ann", command);
}

#[test]
fn more_clients_than_descriptors_are_not_promised() {
    let mut herd = Herd::new(ALONE);
    start_with_few_descriptors(&mut herd, "--max-connections 1000");
    let said = herd.process("Ann").said();
    let want =
        "1000 clients may connect, but the limit of files (ulimit -n) allows only 40 at once";
    assert!(said.contains(want), "{said}");
}

#[test]
fn strangers_at_the_server_port_keep_no_client_out() {
    let mut herd = Herd::new(PAIR);
    start_with_few_descriptors(&mut herd, "");
    let address = herd.member("Ann").servers;
    let connect = || TcpStream::connect(address).expect("the kernel takes it");
    let _strangers: Vec<_> = (0..200).map(|_| connect()).collect();
    wait_until("as many are in as may be", || {
        herd.process("Ann").said().contains("24 are open, the most")
    });
    let _clients: Vec<_> = (0..14)
        .map(|_| {
            let mut client = herd.client("Ann");
            client.say("WHERE");
            assert_eq!(client.line(), "? WHERE");
            client
        })
        .collect();
    herd.start("Bob"); // who is dialled, whoever waits at the port
    herd.wait_for_link("Ann", "Bob");
}

#[test]
fn senseless_limits_are_refused() {
    for (option, value) in [
        ("--max-connections", "0"),
        ("--max-connections", "-1"),
        ("--max-connections", "many"),
        ("--idle-timeout", "0"),
        ("--idle-timeout", "5 minutes"),
        ("--line-timeout", "0"),
        ("--line-timeout", "soon"),
        ("--forget-after", "0s"),
        ("--forget-after", "-1"),
        ("--max-table-bytes", "0"),
        ("--max-table-bytes", "-1"),
        ("--max-table-bytes", "1023K"),
        ("--max-table-bytes", "much"),
    ] {
        let argument = format!("{option}={value}");
        let output = Command::new(HERD)
            .args(["serve", "Ann", &argument])
            .output();
        let output = output.expect("it can be started");
        assert_eq!(output.status.code(), Some(2), "{argument}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(option), "{argument}: {said}");
    }
}
