//! The page for people who glue other programs to a herd, docs/GLUE.md, tells the truth: its examples are
//! run against a herd. As they need other programs, all of it is `#[ignore]`d.

#[path = "support/http.rs"]
mod http;
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use support::{Herd, PATIENCE, wait_until};

const PAGE: &str = include_str!("../docs/GLUE.md");

const TWO: &[(&str, &[&str])] = &[("Blake", &["Bryant"]), ("Bryant", &[])];

/// The example in this language that has `word`, with the addresses of the page replaced by ours.
fn example(language: &str, word: &str, herd: &Herd, broker: u16) -> String {
    let begin = format!("```{language}\n");
    let mut blocks = PAGE.split(&begin).skip(1).map(|rest| {
        let (block, _) = rest.split_once("```").expect("a block ends");
        block
    });
    let block = blocks.find(|block| block.contains(word)).expect(word);
    let http = herd.http("Blake").to_string();
    block
        .replace("127.0.0.1:12790", &http)
        .replace("1883", &broker.to_string())
}

/// Fails unless all programs of the examples with MQTT can be run.
fn need_mqtt() {
    for program in ["curl", "mosquitto", "mosquitto_pub", "mosquitto_sub"] {
        let mut ask = Command::new("sh");
        ask.args(["-c", &format!("command -v {program}")]);
        let found = ask.stdout(Stdio::null()).status();
        assert!(
            found.is_ok_and(|status| status.success()),
            "this test needs {program} (apt-get install curl mosquitto mosquitto-clients)"
        );
    }
}

/// A program and all that it has started.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(program: &str, arguments: &[&str]) -> Running {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).process_group(0);
        let child = command.spawn();
        let mut child = child.unwrap_or_else(|why| {
            panic!("this test needs {program} (apt-get install {program}): {why}")
        });
        let output = child.stdout.take().expect("it is piped");
        let (said, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines }
    }

    /// Waits until it has said a line with `word`.
    fn says(&self, word: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect(word);
            if line.contains(word) {
                return line;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// An MQTT broker on a port of its own.
struct Broker {
    _running: Running,
    _folder: tempfile::TempDir,
    port: u16,
}

impl Broker {
    fn start() -> Broker {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mosquitto.conf");
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n");
        fs::write(&file, text).expect("it is ours");
        let file = file.to_str().expect("a path of ours");
        let running = Running::start("mosquitto", &["-c", file]);
        wait_until("the broker listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Broker {
            _running: running,
            _folder: folder,
            port,
        }
    }
}

fn herd() -> Herd {
    let mut herd = Herd::with_http(TWO);
    herd.start_all();
    herd
}

#[test]
#[ignore = "needs python3 (apt-get install python3)"]
fn a_program_follows_everybody_across_a_restart() {
    let mut herd = herd();
    assert!(
        herd.ask("Bryant", "IAMAT kiwi +34.0-118.4 1")
            .starts_with("AT ")
    );
    let program = example("python", "urllib", &herd, 0);
    let running = Running::start("python3", &["-c", &program]);
    assert_eq!(running.says("kiwi"), "kiwi +34.0-118.4 of 1");
    herd.kill("Blake");
    assert!(
        herd.ask("Bryant", "IAMAT emu +27.5+086.5 2")
            .starts_with("AT ")
    );
    herd.start("Blake");
    assert_eq!(running.says("emu"), "emu +27.5+086.5 of 2");
    assert!(
        herd.ask("Blake", "IAMAT kiwi +35.0-118.4 3")
            .starts_with("AT ")
    );
    assert_eq!(running.says("kiwi"), "kiwi +35.0-118.4 of 2");
}

#[test]
#[ignore = "needs mosquitto and curl (apt-get install curl mosquitto mosquitto-clients)"]
fn every_change_goes_into_mqtt() {
    need_mqtt();
    let (herd, broker) = (herd(), Broker::start());
    let port = broker.port.to_string();
    let listens = ["-h", "127.0.0.1", "-p", &port, "-t", "herd/locations"];
    let listener = Running::start("mosquitto_sub", &listens);
    let _bridge = Running::start("sh", &["-c", &example("sh", "sed", &herd, broker.port)]);
    // Whoever subscribes is told what comes from then on: so something goes on coming.
    let mut time = 0;
    wait_until("a change comes as a message", || {
        time += 1;
        let at = herd.ask("Bryant", &format!("IAMAT kiwi +34.5-118.4 {time}"));
        assert!(at.starts_with("AT "));
        let said = listener.lines.try_iter().next();
        said.is_some_and(|line| line.starts_with("{\"client\":\"kiwi\",\"latitude\":34.5,"))
    });
}

#[test]
#[ignore = "needs mosquitto and curl (apt-get install curl mosquitto mosquitto-clients)"]
fn reports_come_from_mqtt() {
    need_mqtt();
    let (herd, broker) = (herd(), Broker::start());
    let bridge = example("sh", "owntracks/+/+", &herd, broker.port);
    let _bridge = Running::start("sh", &["-c", &bridge]);
    let report = r#"{"_type":"location","lat":34.05,"lon":-118.25,"tst":1479413884,"tid":"ph"}"#;
    let port = broker.port.to_string();
    wait_until("the phone is known", || {
        let mut publish = Command::new("mosquitto_pub");
        publish.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-t",
            "owntracks/ann/phone",
            "-m",
            report,
        ]);
        assert!(publish.status().expect("it is installed").success());
        http::get(herd.http("Bryant"), "/v1/clients/ann%2Fphone").status == 200
    });
    let known = http::get(herd.http("Bryant"), "/v1/clients/ann%2Fphone").json();
    assert_eq!(known["position"], "+34.05-118.25");
    assert_eq!(known["time"], "1479413884");
}
