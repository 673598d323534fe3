//! What the script refuses, and what shellcheck says of it.

use std::fs;
use std::process::Command;

use crate::{Herd, script};

#[test]
fn a_bad_topology_is_refused_with_its_line() {
    for (text, line) in [
        ("# nobody\n", "names no server"),
        ("Ada 127.0.0.1:1 127.0.0.1:2\n\nBob 127.0.0.1:3\n", ":3: "),
        ("../Ada 127.0.0.1:1 127.0.0.1:2\n", ":1: "),
        ("Ada h:1 h:2\nAda h:3 h:4\n", ":2: "),
    ] {
        let herd = Herd::new();
        fs::write(herd.topology(), text).expect("a topology file");
        for command in ["start", "status", "restart"] {
            let ended = herd.run(&[command]);
            assert_eq!(ended.code, 1, "{text:?}: {ended:?}");
            let named = ended.err.contains("topology.txt") && ended.err.contains(line);
            assert!(named, "{text:?}: {ended:?}");
        }
        assert_eq!(herd.run(&["stop"]).code, 0, "{text:?}");
        assert_eq!(herd.processes(), [], "{text:?}");
    }
    let herd = Herd::new();
    let text = fs::read_to_string(herd.topology()).expect("the topology file");
    fs::write(herd.topology(), text.replace(" Cyd", " Nobody")).expect("a topology file");
    let start = herd.run(&["start"]);
    assert_eq!(start.code, 1, "{start:?}");
    assert!(start.err.contains("Nobody"), "{start:?}");
    assert!(!herd.log_dir().exists(), "nothing was started");
}

#[test]
fn the_command_line_is_checked() {
    let herd = Herd::new();
    for help in ["--help", "-h", "help"] {
        let ended = herd.run(&[help]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.out.starts_with("Usage: "), "{ended:?}");
    }
    for wrong in [
        &["begin"][..],
        &["start", "Ada", "Bob"],
        &[""],
        &["stop", "--now", "x"],
    ] {
        let ended = herd.run(wrong);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        assert!(ended.err.contains("--help shows how"), "{ended:?}");
    }
    // Its processes would not be known for ours, and a start would wait for them for ever.
    let ended = herd.run_program(herd.command(&["start"]).env("HERD_BIN", "/bin/sleep"));
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(
        ended.err.contains("HERD_BIN must begin with herd"),
        "{ended:?}"
    );
    let ended = herd.run(&["start", "Zoe"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.err.contains("names no server Zoe, only: Ada Bob Cyd"),
        "{ended:?}"
    );
    assert!(!herd.log_dir().exists(), "nothing was started");
}

#[test]
#[ignore = "needs shellcheck (apt-get install shellcheck)"]
fn shellcheck_has_nothing_to_say() {
    let output = Command::new("shellcheck").arg(script()).output();
    let output = output.expect("this test needs shellcheck (apt-get install shellcheck)");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}
