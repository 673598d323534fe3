//! A library in C that is preloaded into a server, for what no safe Rust can stand in for: the C library's
//! own functions.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::reference::say;

/// Compiles the source of this name beside this file to `directory`. Where there is no C compiler that is said,
/// and there is none.
pub fn compiled(name: &str, directory: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
    let source = source.join(name).with_extension("c");
    let library = directory.join(name).with_extension("so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
    let compiled = compiler.arg(&library).arg(source).status();
    match compiled.map(|status| assert!(status.success(), "it compiles")) {
        Ok(()) => Some(library),
        Err(why) => {
            say(&format!("skipped, as it needs a C compiler: cc: {why}"));
            None
        }
    }
}

/// What is in the environment of a server with a preloaded `library`, which reads `variable`.
pub fn environment(library: &Path, variable: &str, value: &Path) -> [(String, String); 2] {
    [("LD_PRELOAD", library), (variable, value)].map(|(name, value)| {
        let value = value.to_str().expect("a path in UTF-8");
        (name.to_owned(), value.to_owned())
    })
}
