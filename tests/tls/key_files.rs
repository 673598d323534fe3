//! Keys in files: `herd keygen`, openssl's keys, `herd check`.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::keys::{key_file, keygen, with_keys};
use crate::support::{Herd, free_addresses};
use crate::{PAIR, openssl, refused};

/// The attribute of a key, as openssl sees it.
fn attribute_by_openssl(key: &Path) -> String {
    let path = key.to_str().expect("its name is text");
    let public = openssl(&["pkey", "-in", path, "-pubout", "-outform", "DER"], b"");
    let sum = openssl(&["dgst", "-sha256", "-r"], &public);
    let sum = String::from_utf8(sum).expect("it is text");
    format!("key=sha256:{}", &sum[..64])
}

#[test]
#[ignore = "needs openssl (apt-get install openssl)"]
fn keygen_makes_what_openssl_reads_and_overwrites_nothing() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("key");
    assert_eq!(keygen(&path), attribute_by_openssl(&path));
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&path).expect("it is text");
    assert!(text.starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8");
    let mut again = Command::new(env!("CARGO_BIN_EXE_herd"));
    let again = again
        .args(["keygen", "--out"])
        .arg(&path)
        .output()
        .expect("it starts");
    assert_eq!(again.status.code(), Some(2));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        said.ends_with("key is there already, and is not overwritten\n"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&path).ok(), Some(text));
}

/// The kinds of key that openssl makes and a herd takes.
const KINDS: [&[&str]; 4] = [
    &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    &["-algorithm", "ED25519"],
    &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
];

#[test]
#[ignore = "needs openssl (apt-get install openssl)"]
fn any_key_of_openssls_will_do() {
    let mut herd = with_keys(PAIR);
    herd.start("Ann");
    for kind in KINDS {
        let file = key_file(&herd, "Bob");
        fs::remove_file(&file).expect("it was there");
        let path = file.to_str().expect("text").to_owned();
        openssl(&[&["genpkey", "-out", &path], kind].concat(), b"");
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&file, mode).expect("it is ours");
        herd.member_mut("Bob").attributes = vec![attribute_by_openssl(&file)];
        herd.write_topology();
        herd.kill("Ann");
        herd.kill("Bob");
        herd.start_all();
        let at = herd.ask("Bob", "IAMAT kiwi +00+000 1");
        herd.wait_for_at("Ann", "kiwi", &at);
        herd.kill("Bob");
        // And any certificate of such a key, whatever it says of itself.
        let certificate = herd.directory.path().join("certificate");
        let certificate = certificate.to_str().expect("text");
        let subject = ["-subj", "/CN=somebody else", "-days", "1"];
        let request = ["req", "-new", "-x509", "-key", &path, "-out", certificate];
        openssl(&[&request[..], &subject].concat(), b"");
        let ann = herd.member("Ann").servers.to_string();
        let hello = b"HELLO herd/1 Bob Ann 0000000000000b0b 1 - 0\n";
        let connect = ["s_client", "-quiet", "-no_ign_eof", "-connect", &ann];
        let with = ["-cert", certificate, "-key", &path];
        let mut command = Command::new("openssl");
        command.args(connect).args(with).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command
            .spawn()
            .expect("this test needs openssl (apt-get install openssl)");
        let stdin = child.stdin.as_mut().expect("it is piped");
        stdin.write_all(hello).expect("it reads");
        let mut said = [0; 21];
        let stdout = child.stdout.as_mut().expect("it is piped");
        let heard = stdout.read_exact(&mut said);
        let _ = child.kill();
        let _ = child.wait();
        heard.expect("she answers");
        assert_eq!(String::from_utf8_lossy(&said), "HELLO herd/1 Ann Bob ");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_no_start() {
    let mut herd = with_keys(PAIR);
    let file = key_file(&herd, "Ann");
    let open = fs::Permissions::from_mode(0o640);
    fs::set_permissions(&file, open).expect("it is ours");
    assert!(refused(&herd, "Ann").contains("run chmod 600 on it"));
    let private = || fs::Permissions::from_mode(0o600);
    fs::set_permissions(&file, private()).expect("it is ours");
    fs::write(&file, "no key").expect("it is ours");
    assert!(refused(&herd, "Ann").contains("holds no private key in PEM"));
    fs::remove_file(&file).expect("it is there");
    assert!(refused(&herd, "Ann").contains("cannot be read"));
    let attribute = keygen(&file);
    let said = refused(&herd, "Ann");
    assert!(
        said.contains("is not a key of Ann: add key=") && said.contains(&attribute),
        "{said}"
    );
    herd.member_mut("Ann").arguments.clear();
    assert!(refused(&herd, "Ann").contains("say which file it is (--key FILE)"));
}

#[test]
#[ignore = "needs openssl (apt-get install openssl)"]
fn a_topology_is_given_keys_and_those_that_are_there_stay() {
    let herd = Herd::with_http(PAIR);
    let folder = herd.directory.path().join("keys of the herd");
    let keygen = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
        command.arg("keygen").arg("--topology").arg(herd.topology());
        let output = command.arg("--out").arg(&folder).output();
        let output = output.expect("it starts");
        let said =
            [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (output.status.code(), said)
    };
    let file = folder.join("topology.txt");
    let (code, [said, wrong]) = keygen();
    assert_eq!(
        (code, said, wrong.as_str()),
        (Some(0), format!("{}\n", file.display()), "")
    );
    let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let made = fs::read_to_string(&file).expect("it is there");
    for (line, name) in made.lines().zip(["Ann", "Bob"]) {
        let key = folder.join(format!("{name}.key"));
        assert_eq!(mode(&key), 0o600);
        let start = format!("{name} {} ", herd.member(name).clients);
        let attribute = format!(" {} ", attribute_by_openssl(&key));
        assert!(
            line.starts_with(&start) && line.contains(&attribute),
            "{line}"
        );
    }
    // A new server is given one, and the others keep theirs.
    let free = free_addresses(2);
    let longer = format!("{}Cyd {} {} Ann\n", herd.topology_text(), free[0], free[1]);
    fs::write(herd.topology(), longer).expect("it is ours");
    assert_eq!(keygen().0, Some(0));
    let again = fs::read_to_string(&file).expect("it is there");
    let lines: Vec<_> = again.lines().collect();
    assert_eq!(lines.len(), 3, "{again}");
    assert!(
        again.starts_with(made.lines().next().expect("of Ann")),
        "{again}"
    );
    assert!(
        lines[2].starts_with("Cyd ") && lines[2].ends_with(" Ann"),
        "{again}"
    );
    // What cannot be a key is neither used nor overwritten, and then the file stays, too.
    fs::write(folder.join("Bob.key"), "precious").expect("it is ours");
    let (code, [_, wrong]) = keygen();
    assert!(
        code == Some(2) && wrong.contains("Bob.key holds no private key"),
        "{wrong}"
    );
    let stays = fs::read_to_string(folder.join("Bob.key")).expect("it is there");
    assert_eq!(stays, "precious");
    assert_eq!(fs::read_to_string(&file).expect("it is there"), again);
}

#[test]
fn check_says_what_is_wrong() {
    let herd = with_keys(PAIR);
    let list = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
        command.args(["check", "--list", "--topology"]);
        let output = command.arg(herd.topology()).output().expect("it starts");
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), listed)
    };
    let check = |arguments: &[&Path]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
        command.arg("check").arg("--topology").arg(herd.topology());
        arguments
            .iter()
            .for_each(|key| _ = command.arg("--key").arg(key));
        let output = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let [ann, bob] = ["Ann", "Bob"].map(|name| key_file(&herd, name));
    assert_eq!(check(&[&ann, &bob]), (Some(0), String::new()));
    let (code, listed) = list();
    assert_eq!((code, listed.lines().count()), (Some(0), 2), "{listed}");
    for (line, (name, other)) in listed.lines().zip([("Ann", "Bob"), ("Bob", "Ann")]) {
        assert!(
            line.starts_with(&format!("{name} ")) && line.ends_with(&format!(" {other}")),
            "{line}"
        );
    }
    let other = herd.directory.path().join("other");
    let attribute = keygen(&other);
    let (code, said) = check(&[&ann, &other, Path::new("/nowhere")]);
    assert_eq!(code, Some(2));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].ends_with(&format!(" has {attribute}")), "{said}");
    assert!(
        lines[1].starts_with("herd: /nowhere cannot be read: "),
        "{said}"
    );
    let text = herd.topology_text();
    let (first, _) = text.split_once(" key=").expect("there is one");
    let half = format!("{first}\n{}", text.lines().last().expect("two lines"));
    fs::write(herd.topology(), half).expect("it is ours");
    let (code, said) = check(&[]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("no link between Bob and Ann: Bob has a key="),
        "{said}"
    );
    let (code, listed) = list();
    assert_eq!(
        (code, listed.lines().count()),
        (Some(2), 2),
        "it can be read"
    );
    fs::write(herd.topology(), "Ann h:1 h:2\nBob\n").expect("it is ours");
    let (code, said) = check(&[]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("topology.txt:2: Bob has no client address"),
        "{said}"
    );
    assert_eq!(list(), (Some(2), String::new()));
}
