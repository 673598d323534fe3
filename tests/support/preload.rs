//! A library in C that is preloaded into a server, for what no safe Rust can stand in for: the C library's
//! own functions.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles the source of this name beside this file to `directory`. Where Rust links there is a C compiler.
pub fn compiled(name: &str, directory: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
    let source = source.join(name).with_extension("c");
    let library = directory.join(name).with_extension("so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
    let status = compiler.arg(&library).arg(source).status();
    assert!(status.expect("cc can be started").success(), "it compiles");
    library
}

/// What is in the environment of a server with a preloaded `library`, which reads `variable`.
pub fn environment(library: &Path, variable: &str, value: &Path) -> [(String, String); 2] {
    [("LD_PRELOAD", library), (variable, value)].map(|(name, value)| {
        let value = value.to_str().expect("a path in UTF-8");
        (name.to_owned(), value.to_owned())
    })
}
