//! Lines that do not end, and clients that never stop talking.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{raise_descriptors, wait_until};
use crate::{alone_with, logged, logged_by_now};

#[test]
#[ignore = "needs 5,500 open files (ulimit -Hn)"]
fn lines_without_an_end_are_bounded_and_who_ends_his_is_answered() {
    // More than the 256 MiB that may be kept, in lines that are just not too long.
    const UNFINISHED: usize = 4_500;
    const LINE_BYTES: usize = 65_000;
    raise_descriptors(UNFINISHED as u64 + 1_000);
    let mut herd = alone_with(&[]);
    let mut slow = herd.client("Ann");
    slow.send(b"IAMAT kiwi +00+000 ");
    let mut crowd = Vec::new();
    for _ in 0..UNFINISHED {
        let mut client = herd.client("Ann");
        let _ = client.stream.write_all(&[b'x'; LINE_BYTES]); // it may be closed by then
        crowd.push(client);
    }
    wait_until("some are given up", || {
        logged(
            &herd,
            "Ann",
            "over 256 MiB of unhandled input were buffered",
        ) > 0
    });
    slow.say("1");
    assert!(slow.line().starts_with("AT Ann "));
    let given_up = logged_by_now(
        &herd,
        "Ann",
        "over 256 MiB of unhandled input were buffered",
    );
    assert!(given_up < UNFINISHED / 4, "{given_up} were too many");
    let said = "connections with the most unhandled input are closed";
    wait_until("Ann says so", || herd.process("Ann").said().contains(said));
}

#[test]
fn a_client_that_never_stops_talking_does_not_keep_others_waiting() {
    let herd = alone_with(&[]);
    let mut talker = herd.client("Ann");
    let mut hearer = talker.stream.try_clone().expect("a second handle");
    let talking = thread::spawn(move || {
        let lines = "WHERE am I\n".repeat(10_000);
        while talker.stream.write_all(lines.as_bytes()).is_ok() {}
    });
    let hearing = thread::spawn(move || {
        let mut bytes = vec![0; 1 << 20];
        while hearer.read(&mut bytes).is_ok_and(|n| n > 0) {}
    });
    let mut client = herd.client("Ann");
    for _ in 0..50 {
        let since = Instant::now();
        client.say("WHERE");
        assert_eq!(client.line(), "? WHERE");
        let took = since.elapsed();
        assert!(took < Duration::from_secs(2), "others waited {took:?}");
    }
    assert!(!talking.is_finished(), "it talks still");
    drop(herd); // Ann is killed, so they come to an end
    talking.join().expect("it does not panic");
    hearing.join().expect("it does not panic");
}
