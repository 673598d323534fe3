//! The floors of the house: what a module must not know. Read from the sources themselves.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules by floor, the lowest first. A module uses only those below.
const FLOORS: [&[&str]; 4] = [
    &["connection_id", "line_buffer", "random", "time", "topology"],
    &["node"],
    &["log", "net", "twitter"],
    &["server", "standin"],
];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("the sources are there").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
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
    for file in sources(&src().join("node")) {
        for line in code(&file) {
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
