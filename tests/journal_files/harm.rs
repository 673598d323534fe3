//! What the journal has lost, neighbours give back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use crate::support::{Herd, client_of, wait_until};
use crate::wired::{PAIR, link_records, report};
use crate::{assert_known, said, tree};

/// What becomes of a journal while its server is down, and what the start says of it. Given are its files, the
/// oldest first, and an older copy of it.
type Harm = (&'static str, fn(&[PathBuf], &Path), &'static str);

const HARMS: [Harm; 11] = [
    (
        "an older copy is put back",
        |files, copy| {
            files.iter().for_each(|file| remove(file));
            for (path, bytes) in tree(copy).iter().filter(|(_, bytes)| !bytes.is_empty()) {
                let name = path.file_name().expect("it is a file");
                fs::write(files[0].with_file_name(name), bytes).expect("the folder is ours");
            }
        },
        "", // nobody can know
    ),
    (
        "the newest file is lost",
        |files, _| remove(files.last().expect("there are some")),
        "",
    ),
    ("the oldest file is lost", |files, _| remove(&files[0]), ""),
    (
        "all files are lost",
        |files, _| files.iter().for_each(|file| remove(file)),
        "finds no journal in ",
    ),
    (
        "the folder is lost",
        |files, _| {
            let folder = files[0].parent().expect("a folder");
            fs::remove_dir_all(folder).expect("it is there");
        },
        "", // as at the first start
    ),
    (
        "the end is lost",
        |files, _| {
            let newest = files.last().expect("there are some");
            let bytes = fs::read(newest).expect("it is there");
            fs::write(newest, &bytes[..bytes.len() - 3]).expect("it is ours");
        },
        "ended in the middle of a batch",
    ),
    (
        "half is lost",
        |files, _| {
            let newest = files.last().expect("there are some");
            let bytes = fs::read(newest).expect("it is there");
            fs::write(newest, &bytes[..bytes.len() / 2]).expect("it is ours");
        },
        "",
    ),
    (
        "a bit is flipped",
        |files, _| {
            let mut bytes = fs::read(&files[0]).expect("it is there");
            let at = bytes.len() / 2;
            bytes[at] ^= 4;
            fs::write(&files[0], bytes).expect("it is ours");
        },
        "cannot be relied on",
    ),
    (
        "the journal of another is put beside",
        |files, _| {
            let others = files[0]
                .parent()
                .and_then(Path::parent)
                .expect("two folders");
            let other = tree(&others.join("Bob"))
                .into_keys()
                .find(|path| is_journal(path));
            let beside = files[0].with_file_name("journal-00000000000000ff");
            fs::copy(other.expect("Bob has one"), beside).expect("the folder is ours");
        },
        "is another server's",
    ),
    (
        "and under a number that herd never gives",
        |files, _| {
            let beside = files[0].with_file_name("journal-9999999999999999");
            fs::write(beside, b"nonsense").expect("the folder is ours");
        },
        "is no file of the journal",
    ),
    ("nothing", |_, _| {}, ""),
];

fn is_journal(path: &Path) -> bool {
    path.display().to_string().contains("/journal-")
}

fn remove(file: &Path) {
    fs::remove_file(file).expect("it is there");
}

/// The files of Ann's journal, the oldest first.
fn journal_files(herd: &Herd) -> Vec<PathBuf> {
    let files = tree(&herd.journal_path("Ann")).into_keys();
    files.filter(|path| is_journal(path)).collect()
}

/// Reports some clients to each, of which some move, and waits until each knows that the other has them.
fn report_and_settle(herd: &Herd, known: &mut BTreeMap<String, String>, time: u64) {
    for name in ["Ann", "Bob"] {
        let clients = (0..10).flat_map(|n| [format!("{name}{n}"), format!("{name}{n}at{time}")]);
        let lines = clients.map(|client| format!("IAMAT {client} +00+000 {time}"));
        for at in report(herd, name, &lines.collect::<Vec<_>>()) {
            known.insert(client_of(&at).to_owned(), at);
        }
    }
    for (one, other) in [("Ann", "Bob"), ("Bob", "Ann")] {
        herd.settled_log(one); // so that the last mark is not one of before
        wait_until("each knows that the other has all", || {
            let (said, heard) = (herd.log(one), herd.log(other));
            let said = link_records(&said, '>', other).pop();
            let heard = link_records(&heard, '<', one).pop();
            said.is_some_and(|line| line.starts_with("MARK ")) && said == heard
        });
    }
}

#[test]
fn what_a_journal_has_lost_a_neighbour_gives_back() {
    thread::scope(|scope| {
        for (what, harm, says) in HARMS {
            let named = thread::Builder::new().name(what.to_owned());
            let harmed = move || harm_and_check(harm, says);
            named
                .spawn_scoped(scope, harmed)
                .expect("there is room for it");
        }
    });
}

fn harm_and_check(harm: fn(&[PathBuf], &Path), says: &str) {
    let mut herd = Herd::started(PAIR);
    let mut known = BTreeMap::new();
    report_and_settle(&herd, &mut known, 1);
    herd.kill("Ann");
    herd.start_all();
    report_and_settle(&herd, &mut known, 2);
    let copy = herd.directory.path().join("copy");
    fs::create_dir(&copy).expect("the directory is ours");
    for file in journal_files(&herd) {
        let to = copy.join(file.file_name().expect("it is a file"));
        fs::copy(file, to).expect("it is there");
    }
    report_and_settle(&herd, &mut known, 3);
    for client in ["Ann0", "Bob0"] {
        let at = herd.ask("Bob", &format!("IAMAT {client} +01+001 4"));
        known.insert(client.to_owned(), at);
    }
    herd.kill("Ann");
    harm(&journal_files(&herd), &copy);
    herd.start("Ann");
    assert!(
        says.is_empty() || said(&mut herd, "Ann", says) == 1,
        "{says}"
    );
    let lines: Vec<_> = known.values().cloned().collect();
    herd.wait_for_all(&["Ann"], &lines);
    assert_known(&herd, "Bob", &lines);
    // And all goes on: what Ann hears from now on is told, and remembered.
    report_and_settle(&herd, &mut known, 5);
    for name in ["Ann", "Bob"] {
        herd.kill(name);
    }
    for name in ["Ann", "Bob"] {
        herd.start(name);
        assert_known(&herd, name, &known.values().cloned().collect::<Vec<_>>());
        herd.kill(name);
    }
}
