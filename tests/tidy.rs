//! The floors of the house: what a module must not know; and how long a file may be. Read from the sources themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by floor, the lowest first. A module uses only those below.
const FLOORS: [&[&str]; 7] = [
    &["cause"],
    &[
        "connection_id",
        "input",
        "private_file",
        "random",
        "time",
        "topology",
    ],
    &["http", "keys", "lines"],
    &["node"],
    &["journal", "log", "net", "survey", "twitter", "web"],
    &["cli", "server", "standin"],
    &["arguments"],
];

/// Folders in which no file has more than [`LINES_MAX`] lines.
const SHORT_FILES: [&str; 3] = ["src", "tests", "benches"];

/// The most lines of a file, its tests included.
const LINES_MAX: usize = 600;

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("the sources are there").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The lines of a source that are code, without its tests.
fn code(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("a source is text");
    // Tests that have a file of their own, `mod tests;`, are named before all imports.
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().map(str::trim);
    let code = lines.filter(|line| !line.starts_with("//"));
    code.map(str::to_owned).collect()
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn imports_point_down() {
    for (floor, modules) in FLOORS.iter().enumerate() {
        for module in *modules {
            let one = src().join(format!("{module}.rs"));
            let files = match one.exists() {
                true => vec![one],
                false => sources(&src().join(module)),
            };
            for file in files {
                for line in code(&file) {
                    let above = FLOORS[floor..].iter().flat_map(|modules| modules.iter());
                    for other in above.filter(|other| *other != module) {
                        let uses = line.contains(&format!("crate::{other}"));
                        assert!(!uses, "{}: {line}", file.display());
                    }
                }
            }
        }
    }
}

/// The rooms beside it that a file of a folder uses.
fn rooms_used(file: &Path) -> Vec<String> {
    let code = code(file);
    let paths = code.iter().filter_map(|line| line.split_once("super::"));
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let rooms = paths.map(|(_, path)| path.chars().take_while(|&c| is_name(c)).collect());
    rooms.collect()
}

#[test]
fn no_room_looks_back_up() {
    for folder in fs::read_dir(src()).expect("the sources are there") {
        let folder = folder.expect("the sources are there").path();
        if !folder.is_dir() {
            continue;
        }
        let named = sources(&folder).into_iter().map(|file| {
            // The room of a folder within is called by the folder's name.
            let inner = file.ends_with("mod.rs") && file.parent() != Some(&folder);
            let named = if inner { file.parent() } else { Some(&*file) };
            let name = named.and_then(Path::file_stem);
            let name = name.expect("a source has a name").to_string_lossy();
            (name.into_owned(), rooms_used(&file))
        });
        let mut rooms: BTreeMap<_, _> = named
            .filter(|(name, _)| name != "mod" && !name.ends_with("tests"))
            .collect();
        for (name, used) in &rooms {
            let sibling = |other: &String| rooms.contains_key(other);
            let parent = used.iter().find(|other| !sibling(other));
            let folder = folder.display();
            assert_eq!(parent, None, "{folder}/{name} uses what its parent has");
        }
        // The lowest use nobody; without them the next use nobody; those of a circle stay.
        let mut left = usize::MAX;
        while rooms.len() < left {
            left = rooms.len();
            let names: BTreeSet<_> = rooms.keys().cloned().collect();
            rooms.retain(|_, used| used.iter().any(|other| names.contains(other)));
        }
        assert!(rooms.is_empty(), "a circle or above one: {rooms:?}");
    }
}

#[test]
fn every_module_has_its_floor() {
    let lib = fs::read_to_string(src().join("lib.rs")).expect("a source is text");
    for line in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let module = line.trim_end_matches(';');
        let known = FLOORS.iter().any(|modules| modules.contains(&module));
        assert!(known, "{module} has no floor");
    }
}

#[test]
fn the_node_knows_no_socket_clock_thread_file_or_dice() {
    let sources = sources(&src().join("node"));
    for file in sources
        .iter()
        .filter(|file| !file.to_string_lossy().ends_with("_tests.rs"))
    {
        for line in code(file) {
            for word in [
                "mio",
                "std::net",
                "std::fs",
                "std::io",
                "std::thread",
                "Instant::now",
                "SystemTime",
                "Now::read",
                "Timestamp::system",
                "RandomState",
                "println!",
                "eprintln!",
            ] {
                assert!(
                    !line.contains(word),
                    "{} knows {word}: {line}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn no_file_is_too_long() {
    for folder in SHORT_FILES {
        for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) {
            let text = fs::read_to_string(&file).expect("a source is text");
            let lines = text.lines().count();
            assert!(lines <= LINES_MAX, "{}: {lines} lines", file.display());
        }
    }
}

/// The file and the function that the first cell of a row names, as `` `link.rs`, `judge` ``.
fn place(cell: &str) -> Option<(&str, &str)> {
    let names = cell.strip_prefix('`')?.strip_suffix('`')?;
    names.split_once("`, `")
}

#[test]
fn bugs_that_were_planted_are_where_the_list_says() {
    let list = src().join("../docs/MUTATIONS.md");
    let list = fs::read_to_string(list).expect("the list is text");
    let rows = list.lines().filter_map(|line| line.strip_prefix('|'));
    let cells = rows.filter_map(|row| row.split('|').next()).map(str::trim);
    let is_place = |cell: &&str| !cell.is_empty() && *cell != "Where" && !cell.starts_with("---");
    let cells: Vec<_> = cells.filter(is_place).collect();
    assert!(!cells.is_empty(), "there are no rows");
    let sources = sources(&src());
    for cell in cells {
        let (file, function) = place(cell).unwrap_or_else(|| panic!("{cell} is no place"));
        let heads = ["(", "<"].map(|next| format!("fn {function}{next}"));
        let is_head = |line: &String| heads.iter().any(|head| line.contains(head));
        let mut files = sources.iter().filter(|path| path.ends_with(file));
        let is_there = files.any(|path| code(path).iter().any(is_head));
        assert!(is_there, "no {file} has a function {function}");
    }
}
