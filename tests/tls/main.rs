//! What a herd promises where it has keys: links are encrypted, a neighbour is its key and its name, and who is
//! neither costs little and harms nobody.

mod clients;
mod key_files;
#[path = "../support/keys.rs"]
mod keys;
mod links;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/wire.rs"]
mod wire;
#[path = "../support/wired.rs"]
mod wired;

use std::io::Write;
use std::process::{Command, Stdio};

use herd::keys::OwnKey;
use rustix::process::Signal;

use keys::{TlsPeer, key_file, with_keys};
use support::{Herd, wait_until};

const PAIR: &[(&str, &[&str])] = &[("Ann", &["Bob"]), ("Bob", &[])];

/// Ann runs, and Bob is for the test to be: his key.
fn ann_alone() -> (Herd, OwnKey) {
    let mut herd = with_keys(&[("Ann", &["Bob", "Cid"]), ("Bob", &[]), ("Cid", &[])]);
    herd.start("Ann");
    let bob = OwnKey::read(&key_file(&herd, "Bob")).expect("it is a key");
    (herd, bob)
}

fn new_key() -> OwnKey {
    OwnKey::generate().expect("a key").0
}

/// Says a hello to Ann's server port with a key, and gives what she answers.
fn answer(herd: &Herd, key: &OwnKey, name: &str) -> String {
    let mut peer = TlsPeer::connect(herd.member("Ann").servers, key);
    peer.hello(name, "Ann", 1);
    peer.line()
}

/// Has `name` read its files anew, and waits until it says that it has.
fn reload(herd: &mut Herd, name: &str) {
    let reloads = |herd: &mut Herd| herd.process(name).said().matches(": reloaded ").count();
    let before = reloads(herd);
    herd.process(name).signal(Signal::HUP);
    wait_until(&format!("{name} has reloaded"), || reloads(herd) > before);
}

/// Runs openssl. Gives what it prints.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let child = command.stderr(Stdio::piped()).spawn();
    let mut child = child.expect("this test needs openssl (apt-get install openssl)");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    output.stdout
}

/// Starts `name`, which is to refuse, and gives what it says.
fn refused(herd: &Herd, name: &str) -> String {
    let mut command = herd.command(name);
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}
