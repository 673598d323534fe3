//! Syncs that hang or fail.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use crate::hanging_sync::SlowDisk;
use crate::http::Http;
use crate::support::{Client, Herd, PATIENCE, wait_until};
use crate::wired::PAIR;
use crate::{ALONE, FAILING, KIWI, RESTORED, assert_known, report_meanwhile, said};

/// Checks that a client is sent nothing for a while.
fn assert_silence(client: &Client) {
    let patience = Some(Duration::from_millis(300));
    client.stream.set_read_timeout(patience).expect("not zero");
    let arrived = client.stream.peek(&mut [0]).map_err(|error| error.kind());
    assert_eq!(arrived, Err(ErrorKind::WouldBlock));
    let patience = Some(PATIENCE);
    client.stream.set_read_timeout(patience).expect("not zero");
}

#[test]
fn with_fsync_always_each_reply_waits_for_a_sync() {
    let mut herd = Herd::new(ALONE);
    let disk = SlowDisk::under(&mut herd);
    herd.start_arguing("Ann", &["--fsync", "always"]);
    let mut client = herd.client("Ann");
    let mut known = Vec::new();
    for number in 0..50 {
        let before = disk.synced();
        client.say(&format!("IAMAT c{number} +00+000 1"));
        known.push(client.line());
        assert!(disk.synced() > before, "reply {number} came without a sync");
    }
    herd.kill("Ann");
    herd.start_arguing("Ann", &["--fsync", "always"]);
    assert_known(&herd, "Ann", &known);
}

#[test]
fn with_fsync_always_a_sync_that_hangs_holds_replies_to_clients_and_no_link() {
    let mut herd = Herd::with_http(PAIR);
    let disk = SlowDisk::under(&mut herd);
    herd.start_arguing("Ann", &["--fsync", "always", "--line-timeout", "3s"]);
    herd.start("Bob");
    herd.wait_for_link("Ann", "Bob");
    let mut clients: Vec<_> = (0..3).map(|_| herd.client("Ann")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.say(&format!("IAMAT early{number} +00+000 1"));
        assert!(client.line().starts_with("AT Ann "));
    }
    let mut within_line = herd.client("Ann");
    within_line.send(b"IAMAT moa +00+000 1\nIAMAT moa +01");
    assert!(within_line.line().ends_with(" moa +00+000 1"));
    let mut within_request = Http::connect(herd.http("Ann"));
    let whole = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let begun = "GET /v1/clients/kiwi HTTP/1.1\r\n";
    within_request
        .client
        .send(format!("{whole}{begun}").as_bytes());
    assert_eq!(within_request.reply().status, 200);
    disk.hang(true);
    clients[0].say(KIWI);
    herd.wait_for_record("Bob", " kiwi "); // a neighbour may know it: it loses nothing by that
    assert_silence(&clients[0]);
    // Whoever comes then is not read, and waits too.
    clients[1].say("IAMAT emu +00+000 1");
    clients[2].say("no command");
    let mut late = herd.client("Ann");
    late.say("WHATSAT kiwi 1 0");
    within_line.send(b"+001 2\n"); // in good time, had it been read
    within_request.client.send(b"Host: localhost\r\n\r\n"); // as above
    assert_silence(&clients[1]);
    // What Bob tells meanwhile comes in, for longer than a link may be silent.
    let since = Instant::now();
    let mut count = 0;
    while since.elapsed() < Duration::from_secs(10) {
        count += 1;
        herd.ask("Bob", &format!("IAMAT bobs{count} +00+000 1"));
        herd.wait_for_record("Ann", &format!(" bobs{count} "));
        thread::sleep(Duration::from_millis(500));
    }
    assert!(herd.link_is_up("Ann", "Bob") && herd.link_is_up("Bob", "Ann"));
    assert_silence(&clients[0]);
    assert_silence(&clients[2]);
    disk.hang(false);
    assert!(clients[0].line().ends_with(" kiwi +27.5916+086.5640 1"));
    assert!(clients[1].line().ends_with(" emu +00+000 1"));
    assert_eq!(clients[2].line(), "? no command");
    assert!(late.line().ends_with(" kiwi +27.5916+086.5640 1"));
    assert!(within_line.line().ends_with(" moa +01+001 2"));
    assert_eq!(within_request.reply().status, 200);
    for client in &mut clients {
        client.say("IAMAT afterwards +00+000 1");
        assert!(client.line().ends_with(" afterwards +00+000 1"));
    }
}

#[test]
fn a_sync_that_hangs_holds_nobody_up_where_none_is_waited_for() {
    for fsync in ["second", "never"] {
        let mut herd = Herd::new(ALONE);
        let disk = SlowDisk::under(&mut herd);
        herd.start_arguing("Ann", &["--fsync", fsync]);
        disk.hang(true);
        let known = report_meanwhile(&herd, "meanwhile");
        herd.kill("Ann");
        disk.hang(false);
        herd.start_arguing("Ann", &["--fsync", fsync]);
        assert_known(&herd, "Ann", &known);
        let synced = disk.synced(); // the file that a start begins is
        herd.ask("Ann", KIWI);
        if fsync == "second" {
            wait_until("it is synced by itself", || disk.synced() > synced);
        }
    }
}

#[test]
fn a_sync_that_fails_is_a_failure_of_the_disk() {
    for fsync in ["always", "second"] {
        let mut herd = Herd::new(ALONE);
        let disk = SlowDisk::under(&mut herd);
        herd.start_arguing("Ann", &["--fsync", fsync]);
        herd.ask("Ann", KIWI);
        disk.fail(true);
        herd.ask("Ann", "IAMAT emu +00+000 1");
        wait_until("it says so", || said(&mut herd, "Ann", FAILING) == 1);
        let known = report_meanwhile(&herd, "meanwhile");
        assert_eq!(said(&mut herd, "Ann", FAILING), 1, "once is enough");
        disk.fail(false);
        wait_until("it is written again", || {
            said(&mut herd, "Ann", RESTORED) == 1
        });
        herd.kill("Ann");
        herd.start_arguing("Ann", &["--fsync", fsync]);
        assert_known(&herd, "Ann", &known);
    }
}
