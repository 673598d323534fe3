//! TLS for clients, and HTTPS.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{self, Client, Herd, wait_until};
use crate::{openssl, refused, reload};

/// Makes a certificate for clients. Gives its file and that of its key.
fn certificate(herd: &Herd, file: &str) -> [String; 2] {
    let path = |end: &str| {
        let path = herd.directory.path().join(format!("{file}.{end}"));
        path.to_str().expect("text").to_owned()
    };
    let (certificate, key) = (path("crt"), path("key"));
    openssl(
        &[
            "req",
            "-new",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &certificate,
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-days",
            "2",
        ],
        b"",
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
    [certificate, key]
}

#[test]
#[ignore = "needs openssl and curl (apt-get install openssl curl)"]
fn clients_are_served_over_tls() {
    let mut herd = Herd::new(&[("Ann", &[])]);
    let [address, https] = support::free_addresses(2)[..] else {
        panic!("there are two")
    };
    let address = address.to_string();
    let attributes = [format!("tls={address}"), format!("http={https}")];
    herd.member_mut("Ann").attributes.extend(attributes);
    herd.write_topology();
    assert!(refused(&herd, "Ann").contains("give a certificate (--tls-cert FILE --tls-key FILE)"));
    let [certificate, key] = certificate(&herd, "clients");
    let arguments = ["--tls-cert", &certificate, "--tls-key", &key].map(str::to_owned);
    herd.member_mut("Ann").arguments.extend(arguments);
    herd.start("Ann");
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-CAfile",
            &certificate,
        ]);
        command
            .args([version, "-connect", &address])
            .stderr(Stdio::null());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("this test needs openssl (apt-get install openssl)");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin
            .write_all(b"IAMAT kiwi +00+000 1\nWHERE\n")
            .expect("it reads");
        let mut said = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        for _ in 0..2 {
            let mut byte = [0];
            while byte != *b"\n" {
                stdout.read_exact(&mut byte).expect("she answers");
                said.push(char::from(byte[0]));
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        assert!(
            said.starts_with("AT Ann +") && said.ends_with("\n? WHERE\n"),
            "{said}"
        );
    }
    // HTTP is HTTPS then.
    let url = format!("https://localhost:{}/v1/clients/kiwi", https.port());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20"]);
    let got = curl.args(["--cacert", &certificate, &url]).output();
    let got = got.expect("this test needs curl (apt-get install curl)");
    let text = String::from_utf8_lossy(&got.stdout).into_owned();
    assert!(text.contains("\"client\":\"kiwi\""), "{text} {got:?}");
    // A certificate that is renewed is shown from the next reload on.
    let [renewed, renewed_key] = self::certificate(&herd, "renewed");
    fs::rename(&renewed, &certificate).expect("it is ours");
    fs::rename(&renewed_key, &key).expect("it is ours");
    reload(&mut herd, "Ann");
    assert!(herd.process("Ann").said().contains(": another certificate"));
    let check = ["-verify_return_error", "-CAfile", &certificate];
    openssl(
        &[&["s_client", "-connect", &address][..], &check].concat(),
        b"",
    );
    // The port without TLS is there as before, and each takes the other's language for nonsense.
    assert!(
        herd.ask("Ann", "IAMAT kiwi +00+000 2")
            .starts_with("AT Ann ")
    );
    let mut plain = Client::connect(address.parse().expect("an address"));
    plain.say("IAMAT kiwi +00+000 3");
    plain.rest();
    herd.wait_for_record("Ann", "TLS: ");
}

#[test]
#[ignore = "needs openssl (apt-get install openssl)"]
fn a_reload_that_wants_lines_where_tls_is_offered_changes_nothing() {
    let mut herd = Herd::new(&[("Ann", &[])]);
    let over_tls = support::free_addresses(1)[0];
    let [certificate, key] = certificate(&herd, "clients");
    let arguments = ["--tls-cert", &certificate, "--tls-key", &key].map(str::to_owned);
    let member = herd.member_mut("Ann");
    member.arguments.extend(arguments);
    member.attributes.push(format!("tls={over_tls}"));
    herd.write_topology();
    herd.start("Ann");
    let plain = herd.member("Ann").clients;
    herd.member_mut("Ann").clients = over_tls;
    herd.member_mut("Ann").attributes.clear();
    herd.write_topology();
    herd.process("Ann").signal(Signal::HUP);
    let process = herd.process("Ann");
    wait_until("it is refused", || {
        process
            .said()
            .contains("not reloaded, nothing has changed: Ann cannot listen for clients on")
    });
    let mut client = Client::connect(plain);
    client.say("WHO");
    assert_eq!(client.line(), "? WHO");
    let address = over_tls.to_string();
    openssl(
        &[
            "s_client",
            "-connect",
            &address,
            "-CAfile",
            &certificate,
            "-verify_return_error",
        ],
        b"",
    );
}
