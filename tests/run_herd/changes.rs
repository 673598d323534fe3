//! A herd that runs is given another topology, program, keys or Twitter.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::ports;
use crate::{Herd, LOOK_AGAIN, NAMES, STAND_IN, ask_without_nc};

#[test]
fn a_changed_topology_is_reloaded_and_a_mistake_is_told() {
    let herd = Herd::started();
    let text = fs::read_to_string(herd.topology()).expect("the topology file");
    let before = herd.processes();
    // Ada and Cyd become neighbours, named by one of them.
    fs::write(herd.topology(), text.replace("\x0cBob", "\x0cBob Cyd")).expect("it is ours");
    let reload = herd.run(&["reload"]);
    assert_eq!(reload.code, 0, "{reload:?}");
    for told in [
        "Ada: reloaded ",
        ": Cyd is a neighbour\n",
        ": Ada is a neighbour\n",
    ] {
        assert!(reload.out.contains(told), "{reload:?}");
    }
    assert!(
        reload.out.contains("nothing has changed"),
        "Bob: {reload:?}"
    );
    herd.wait_for_links("Ada", "Bob up; Cyd up");
    // A start applies a change, too, though there is nothing to start.
    fs::write(herd.topology(), &text).expect("it is ours");
    let start = herd.run(&["start"]);
    assert!(
        start.code == 0 && start.out.contains("already running"),
        "{start:?}"
    );
    herd.wait_for_links("Ada", " Bob up");
    // What only a server can know it says; what is wrong with the file itself is said before any is told.
    let squatter = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let taken = squatter.local_addr().expect("it is bound").to_string();
    let ada = herd.client_address("Ada");
    fs::write(herd.topology(), text.replace(&ada, &taken)).expect("it is ours");
    let reload = herd.run(&["reload"]);
    assert_eq!(reload.code, 1, "{reload:?}");
    assert!(
        reload
            .out
            .contains("Ada: not reloaded, nothing has changed: "),
        "{reload:?}"
    );
    fs::write(herd.topology(), text.replace("\x0cBob", "\x0cBob Bob=x")).expect("it is ours");
    let reload = herd.run(&["reload"]);
    assert_eq!((reload.code, reload.out.as_str()), (1, ""), "{reload:?}");
    assert!(reload.err.contains("an attribute 'Bob'"), "{reload:?}");
    assert_eq!(herd.processes(), before);
}

#[test]
fn one_server_is_stopped_started_and_given_options() {
    let herd = Herd::started();
    let before = herd.processes();
    let stop = herd.run(&["stop", "Bob"]);
    assert_eq!(
        (stop.code, stop.out.as_str()),
        (0, "Stopped: Bob\n"),
        "{stop:?}"
    );
    assert_eq!(herd.processes().len(), before.len() - 1);
    let start = herd.run(&["start", "Bob", "--", "--fsync", "second"]);
    assert_eq!(start.code, 0, "{start:?}");
    let bob = |processes: Vec<(i32, String)>| {
        let mut all = processes.into_iter();
        all.find(|(_, line)| line.contains(" serve Bob "))
            .expect("it runs")
    };
    let (pid, line) = bob(herd.processes());
    assert!(line.ends_with(" --fsync second "), "{line}");
    assert_eq!(
        herd.run(&["start"]).code,
        0,
        "more options are no other settings"
    );
    let wrong = herd.run(&["restart", "Bob", "--", "--fsync", "allways"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(wrong.err.contains("'allways'"), "{wrong:?}");
    assert_eq!(bob(herd.processes()).0, pid, "it runs on");
    assert_eq!(herd.run(&["stop", "Cyd"]).code, 0);
    let start = herd.run(&["start"]);
    assert_eq!(start.code, 0, "{start:?}");
    let told = "Bob has more options (--fsync second): Cyd may want these too";
    assert!(start.err.contains(told), "{start:?}");
    let before = herd.processes();
    let restart = herd.run(&["restart", "Bob"]);
    assert_eq!(restart.code, 0, "{restart:?}");
    let (after, line) = bob(herd.processes());
    assert!(after != pid && !line.contains("--fsync"), "{line}");
    let others = herd.processes().into_iter().filter(|p| before.contains(p));
    assert_eq!(others.count(), before.len() - 1, "the others ran on");
    assert_eq!(herd.run(&["status"]).code, 0);
}

#[test]
fn the_status_has_what_should_run_and_what_should_not() {
    let herd = Herd::started();
    let stop = herd.run(&["stop", STAND_IN]);
    assert_eq!(stop.code, 0, "{stop:?}");
    let status = herd.run(&["status"]);
    assert_eq!(status.code, 1, "servers ask it: {status:?}");
    let row = status.out.lines().find(|line| line.starts_with(STAND_IN));
    assert!(
        row.is_some_and(|row| row.ends_with("not running")),
        "{status:?}"
    );
    assert_eq!(herd.run(&["start"]).code, 0);

    let text = fs::read_to_string(herd.topology()).expect("the topology file");
    let others = text.lines().filter(|line| !line.starts_with("Cyd"));
    let others: Vec<_> = others.map(|line| line.replace(" Cyd", "")).collect();
    fs::write(herd.topology(), others.join("\n")).expect("a topology file");
    let status = herd.run(&["status"]);
    let row = status.out.lines().find(|line| line.starts_with("Cyd "));
    assert!(
        row.is_some_and(|row| row.contains(" removed ")),
        "{status:?}"
    );
    assert_eq!(herd.run(&["stop", "Cyd"]).out, "Stopped: Cyd\n");
    let again = herd.run(&["stop", "Cyd"]);
    assert!(again.out.starts_with("Cyd is not running"), "{again:?}");
}

#[test]
fn a_stop_says_what_is_lost() {
    let herd = Herd::started();
    let lost = "Bob: the journal could not be written to the end: a restart does not know the latest reports";
    let mut said = fs::File::options()
        .append(true)
        .open(herd.log_dir().join("Bob.err"))
        .expect("it is there");
    writeln!(said, "{lost}").expect("there is room");
    let stop = herd.run(&["stop"]);
    assert_eq!(stop.code, 1, "{stop:?}");
    assert!(
        stop.out.contains("Stopped:") && stop.err.contains(lost),
        "{stop:?}"
    );
    assert_eq!(herd.processes(), []);
}

/// Five servers, a hundred clients that report and come back, and one server after the other replaced: what was
/// acknowledged is known everywhere, and no client waits long for its server.
#[test]
fn an_upgrade_under_load_loses_nothing_and_keeps_nobody_waiting() {
    const CLIENTS: usize = 100;
    const NAMES: [&str; 5] = ["Blake", "Bryant", "Gasol", "Howard", "Metta"];
    let herd = Herd::new();
    let free = ports::free_addresses(2 * NAMES.len());
    let links = ["Bryant Howard", "Gasol Metta", "Howard", "", ""];
    let lines = NAMES.iter().zip(links).enumerate();
    let lines = lines
        .map(|(n, (name, links))| format!("{name} {} {} {links}\n", free[2 * n], free[2 * n + 1]));
    fs::write(herd.topology(), lines.collect::<String>()).expect("it is ours");
    let start = herd.run(&["start", "--", "--log", "off"]);
    assert_eq!(start.code, 0, "{start:?}");
    let is_over = AtomicBool::new(false);
    let new = herd.dir.path().join("herd-new");
    fs::copy(env!("CARGO_BIN_EXE_herd"), &new).expect("there is room");
    let (upgrade, ended, late) = thread::scope(|scope| {
        let late = scope.spawn(|| latest_tick(&is_over));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (home, is_over) = (free[2 * (client % NAMES.len())], &is_over);
                scope.spawn(move || reports_until(is_over, home, client))
            })
            .collect();
        let mut command = herd.command(&["upgrade"]);
        let upgrade = herd.run_program(command.env("HERD_BIN", &new));
        is_over.store(true, Ordering::SeqCst);
        let ended = clients
            .into_iter()
            .map(|client| client.join().expect("it goes on"));
        (
            upgrade,
            ended.collect::<Vec<_>>(),
            late.join().expect("it ticks"),
        )
    });
    assert_eq!(upgrade.code, 0, "{upgrade:?}");
    let processes = herd.processes();
    let is_new = |p: &&(i32, String)| p.1.contains("herd-new ");
    assert_eq!(
        processes.iter().filter(is_new).count(),
        NAMES.len() + 1,
        "{processes:?}"
    );
    assert!(
        processes
            .iter()
            .filter(|p| p.1.contains(" --log off "))
            .count()
            == NAMES.len()
    );
    for (client, (last, waited)) in ended.iter().enumerate() {
        // Two seconds, and what the machine itself is late.
        assert!(
            *waited < Duration::from_secs(2) + 20 * late,
            "client {client} waited {waited:?}, {late:?}"
        );
        for home in free.iter().step_by(2) {
            herd.wait_for("the last report", || {
                let line = format!("WHATSAT client-{client} 1 0\n");
                let reply = ask_without_nc(&home.to_string(), &line).unwrap_or_default();
                let time = reply
                    .lines()
                    .next()?
                    .rsplit(' ')
                    .next()?
                    .parse::<u64>()
                    .ok();
                (time >= Some(*last)).then_some(())
            });
        }
    }
}

/// A client that reports to its server until it is told that it is over, and comes back when the server does.
/// Gives the time of the last report that was acknowledged, and the longest that it waited for one.
fn reports_until(is_over: &AtomicBool, home: SocketAddr, client: usize) -> (u64, Duration) {
    let (mut acknowledged, mut waited, mut since) = (0, Duration::ZERO, Instant::now());
    let mut stream: Option<BufReader<TcpStream>> = None;
    for time in 1.. {
        if is_over.load(Ordering::SeqCst) && acknowledged > 0 && stream.is_some() {
            break;
        }
        let Some(open) = &mut stream else {
            thread::sleep(LOOK_AGAIN);
            stream = TcpStream::connect(home).ok().map(BufReader::new);
            continue;
        };
        let line = format!("IAMAT client-{client} +34.0-118.4 {time}\n");
        let mut reply = String::new();
        let told = open.get_mut().write_all(line.as_bytes());
        let heard = told.and_then(|()| open.read_line(&mut reply));
        if heard.is_ok() && reply.ends_with(&format!(" {time}\n")) {
            (acknowledged, waited) = (time, waited.max(since.elapsed()));
            thread::sleep(LOOK_AGAIN);
            since = Instant::now();
        } else {
            stream = None;
        }
    }
    (acknowledged, waited)
}

/// How late a thread that sleeps for 10 ms at a time is at most.
fn latest_tick(is_over: &AtomicBool) -> Duration {
    let mut latest = Duration::ZERO;
    while !is_over.load(Ordering::SeqCst) {
        let (tick, since) = (Duration::from_millis(10), Instant::now());
        thread::sleep(tick);
        latest = latest.max(since.elapsed() - tick);
    }
    latest
}

#[test]
fn with_keys_links_are_encrypted() {
    let herd = Herd::new();
    let run = |word: &str| {
        let mut command = herd.command(&[word]);
        herd.run_program(command.env("KEYS", "yes"))
    };
    let started = run("start");
    assert_eq!(started.code, 0, "{started:?}");
    herd.check_that_it_answers();
    for name in NAMES {
        let said = fs::read_to_string(herd.log_dir().join(format!("{name}.err")));
        let said = said.expect("it has said something");
        assert!(said.contains("servers over TLS on "), "{said}");
        let key = herd.data_dir().join("keys").join(format!("{name}.key"));
        let mode = fs::metadata(key).expect("it was made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    for word in ["reload", "start", "status", "stop"] {
        let ended = run(word);
        assert_eq!(ended.code, 0, "{word}: {ended:?}");
    }
    let again = herd.run(&["start"]);
    assert_eq!(again.code, 0, "with the keys that are there: {again:?}");
    let keyed = |processes: Vec<(i32, String)>| processes.iter().any(|p| p.1.contains(" --key "));
    assert!(keyed(herd.processes()));
    let mut command = herd.command(&["restart"]);
    let plain = herd.run_program(command.env("KEYS", "no"));
    assert_eq!(plain.code, 0, "{plain:?}");
    assert!(!keyed(herd.processes()));
}

#[test]
fn another_twitter_means_no_stand_in() {
    let mut herd = Herd::started();
    assert_eq!(herd.run(&["stop"]).code, 0);
    herd.twitter_url = Some(format!("http://{}/elsewhere.json", herd.stand_in));
    let start = herd.run(&[]);
    assert_eq!(start.code, 0, "{start:?}");
    let processes = herd.processes();
    assert_eq!(processes.len(), NAMES.len(), "{processes:?}");
    let told = |p: &(i32, String)| p.1.contains("/elsewhere.json");
    assert!(processes.iter().all(told), "{processes:?}");
    let status = herd.run(&["status"]);
    assert_eq!(status.code, 0, "{status:?}");
    assert!(!status.out.contains(STAND_IN), "{status:?}");

    // What is shown is what was started, whatever the environment says now.
    herd.twitter_url = None;
    let status = herd.run(&["status"]);
    assert_eq!(status.code, 0, "{status:?}");
    assert!(!status.out.contains(STAND_IN), "{status:?}");
    let start = herd.run(&[]);
    assert_eq!(start.code, 1, "{start:?}");
    assert!(start.err.contains("with other settings"), "{start:?}");
    assert!(start.err.contains("/elsewhere.json"), "{start:?}");
    assert_eq!(herd.processes(), processes, "it is left alone");
}

#[test]
fn another_api_is_spoken_with_the_stand_in() {
    let herd = Herd::new();
    let text = fs::read_to_string(herd.topology()).expect("the topology file");
    // As some editors save it, with a byte order mark.
    fs::write(herd.topology(), format!("\u{feff}{text}")).expect("a topology file");
    let credentials = herd.dir.path().join("of Twitter");
    fs::write(&credentials, "TWITTER_BEARER_TOKEN=stand-in-hush\n").expect("a file");
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let mut command = herd.command(&["start"]);
    command.current_dir(herd.dir.path());
    command.env("TWITTER_API", "2");
    command.env("TWITTER_CREDENTIALS", "of Twitter");
    let start = herd.run_program(&mut command);
    assert_eq!(start.code, 0, "{start:?}");
    assert!(start.out.contains("WHATSAT kiwi 40 2 "), "{start:?}");
    let lines = "IAMAT kiwi +34.068930-118.445127 1\nWHATSAT kiwi 40 1\n";
    let reply = herd.ask("Bob", lines);
    assert!(
        reply
            .lines()
            .nth(2)
            .is_some_and(|line| line.starts_with("{\"data\":[{")),
        "{reply}"
    );
    for (_, command_line) in herd.processes() {
        assert!(!command_line.contains("hush"), "{command_line}");
    }

    let mut command = herd.command(&["start"]);
    let start = herd.run_program(command.env("TWITTER_API", "3"));
    assert_eq!(start.code, 2, "{start:?}");
    assert!(
        start.err.contains("TWITTER_API is none of 1.0, 1.1, 2"),
        "{start:?}"
    );
}
