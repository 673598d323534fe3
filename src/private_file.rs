//! Files that hold secrets: read only if nobody but their owner can.
//!
//! Credentials of Twitter and tokens of HTTP clients come from such files.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A longer file of secrets is none.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The text of a file that its owner alone can read. Permissions are asked of the open file, so
/// that it cannot be exchanged in between.
///
/// # Errors
/// What is wrong with the file, to be said behind its name; never what it holds.
pub fn text(path: &Path) -> Result<String, String> {
    let cannot = |error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    let about = file.metadata().map_err(cannot)?;
    if about.is_dir() {
        return Err("is a directory".to_owned());
    }
    let mode = about.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "can be read or written by others than its owner: run chmod 600 on it (its mode is {:03o})",
            mode & 0o777
        ));
    }
    let mut text = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text);
    read.map_err(cannot)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("has more than {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(text).map_err(|_| "is no text".to_owned())
}
