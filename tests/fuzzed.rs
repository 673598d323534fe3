//! The checks of the fuzz targets as plain tests: over the corpus that fuzzing has left, whose
//! files are named by hash, and over changes of it. docs/FUZZING.md has the rest.

#[path = "fuzz/checks/mod.rs"]
mod checks;

use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// How many changed files each check is given.
const CASES: u32 = 1000;

/// A small change of a file.
#[derive(Clone, Debug)]
enum Change {
    /// Bytes come in.
    Insert(Index, Vec<u8>),
    /// A run of bytes is left out.
    Remove(Index, usize),
    /// A run of bytes comes again at another place.
    Repeat(Index, usize, Index),
    /// The file ends here, and goes on as another of the corpus does from there.
    Splice(Index, Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    let some = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..4),
        "[0-9]{1,20}|[ .,:/+#*<>=?\\[\\]{}\"\\\\\r\n-]{1,3}".prop_map(String::into_bytes),
    ];
    prop_oneof![
        (index(), some).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (index(), 1..9_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (index(), 1..99_usize, index()).prop_map(|(at, n, to)| Change::Repeat(at, n, to)),
        (index(), index(), index()).prop_map(|(at, file, from)| Change::Splice(at, file, from)),
    ]
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let place = |at: &Index, bytes: &[u8]| at.index(bytes.len() + 1);
        let run = |at: &Index, count: usize, bytes: &[u8]| -> Range<usize> {
            let start = place(at, bytes);
            start..bytes.len().min(start + count)
        };
        match self {
            Change::Insert(at, new) => {
                let at = place(at, bytes);
                bytes.splice(at..at, new.iter().copied());
            }
            Change::Remove(at, count) => drop(bytes.drain(run(at, *count, bytes))),
            Change::Repeat(at, count, to) => {
                let again = bytes[run(at, *count, bytes)].to_vec();
                let to = place(to, bytes);
                bytes.splice(to..to, again);
            }
            Change::Splice(at, file, from) => {
                let other = file.get(corpus);
                bytes.truncate(place(at, bytes));
                bytes.extend_from_slice(&other[place(from, other)..]);
            }
        }
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let files = fs::read_dir(directory.join(target)).expect("each target has a corpus");
    let mut paths: Vec<_> = files
        .map(|file| file.expect("it can be read").path())
        .collect();
    paths.sort();
    let read = |path| fs::read(path).expect("it can be read");
    let corpus: Vec<_> = paths.into_iter().map(read).collect();
    assert!(!corpus.is_empty(), "the corpus of {target} is empty");
    corpus
}

/// Has `check` judge the corpus of `target`, then changes of it. What fails is shown in a form
/// that a test can take over.
fn run(target: &str, check: fn(&[u8])) {
    let corpus = corpus(target);
    let shown = |bytes: &[u8]| {
        catch_unwind(AssertUnwindSafe(|| check(bytes))).unwrap_or_else(|panic| {
            eprintln!("{target} fails with b\"{}\"", bytes.escape_ascii());
            resume_unwind(panic)
        });
    };
    corpus.iter().for_each(|file| shown(file));
    let changed = (any::<Index>(), proptest::collection::vec(change(), 1..5));
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(CASES)
    };
    let outcome = TestRunner::new(config).run(&changed, |(file, changes)| {
        let mut bytes = file.get(&corpus).clone();
        changes
            .iter()
            .for_each(|change| change.apply(&mut bytes, &corpus));
        shown(&bytes);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{target}: {error}"));
}

#[test]
fn what_clients_say() {
    run("client_line", checks::client_line::check);
}

#[test]
fn what_neighbours_and_strangers_say() {
    run("link_line", checks::link_line::check);
}

#[test]
fn topology_files() {
    run("topology", checks::topology::check);
}

#[test]
fn files_of_the_journal() {
    run("journal", checks::journal::check);
}

#[test]
fn requests_to_the_stand_in() {
    run("http_request", checks::http_request::check);
}

#[test]
fn answers_of_twitter() {
    run("json_line", checks::json_line::check);
}
