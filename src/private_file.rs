//! Small files of an operator's: keys, certificates, credentials. What is secret its owner alone may read.
//!
//! Errors are words that follow the file's name.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;

use crate::cause;

/// A text that is longer, in bytes, is refused.
pub const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A path as messages name it: on one line, whatever bytes are in it.
pub fn shown(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

/// The text of a file that anybody may read.
///
/// # Errors
/// Why it cannot be read, or that it is too long, or no text.
pub fn public_text(path: &Path) -> Result<String, String> {
    text_of(public_bytes(path, FILE_BYTES_MAX)?)
}

/// What is in a file that anybody may read, of at most so many bytes.
///
/// # Errors
/// Why it cannot be read, or that it is too long.
pub fn public_bytes(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    bytes_of(open(path)?, most)
}

/// The text of a file that its owner alone can read, or that root lets our group read. Permissions are asked of
/// the open file, so that it cannot be exchanged in between.
///
/// # Errors
/// The same; that others can read it.
pub fn text(path: &Path) -> Result<String, String> {
    let file = open(path)?;
    let about = file.metadata().map_err(cannot)?;
    let mode = about.permissions().mode();
    if mode & open_to_others(about.uid(), geteuid().as_raw()) != 0 {
        return Err(format!(
            "can be read or written by others than its owner: run chmod 600 on it (its mode is {:03o})",
            mode & 0o777
        ));
    }
    text_of(bytes_of(file, FILE_BYTES_MAX)?)
}

/// The permissions that a secret file of `owner` must not have for a process of `user`.
///
/// Secrets of Kubernetes, and of systems that keep all certificates in one place, are root's files, which a group may
/// read. Whom root has put into that group is root's affair; PostgreSQL judges the same.
fn open_to_others(owner: u32, user: u32) -> u32 {
    match owner == 0 && user != 0 {
        true => 0o037,
        false => 0o077,
    }
}

/// Writes a secret to a new file, which its owner alone can read.
///
/// # Errors
/// Why it cannot be written; that something of that name is there.
pub fn write_new(path: &Path, text: &str) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => "is there already, and is not overwritten".to_owned(),
        _ => format!("cannot be made: {}", cause::of(&error)),
    });
    let mut file = file?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(|error| {
        let _ = fs::remove_file(path); // it is ours, and would be in the way of the next try
        format!("cannot be written: {}", cause::of(&error))
    })
}

/// Opens a regular file. A FIFO is opened without waiting for whoever writes to it: a server that reloads must
/// not stand still.
fn open(path: &Path) -> Result<File, String> {
    let mut options = File::options();
    options.custom_flags(OFlags::NONBLOCK.bits() as i32);
    let file = options.read(true).open(path).map_err(cannot)?;
    let kind = file.metadata().map_err(cannot)?.file_type();
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => Ok(file),
        (false, true) => Err("is a directory".to_owned()),
        (false, false) => Err("is no regular file".to_owned()),
    }
}

fn bytes_of(file: File, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut bytes);
    read.map_err(cannot)?;
    match bytes.len() as u64 > most {
        true => Err(format!("has more than {most} bytes")),
        false => Ok(bytes),
    }
}

fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| "is no text".to_owned())
}

fn cannot(error: std::io::Error) -> String {
    format!("cannot be read: {}", cause::of(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a directory");
        assert_eq!(text(folder.path()), Err("is a directory".to_owned()));
        let pipe = folder.path().join("pipe");
        let private = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &pipe, FileType::Fifo, private, 0).expect("a FIFO");
        for read in [text, public_text] {
            let (tell, told) = channel();
            let pipe = pipe.clone();
            thread::spawn(move || tell.send(read(&pipe)));
            let read = told.recv_timeout(Duration::from_secs(30));
            let read = read.expect("it does not wait for somebody to write");
            assert_eq!(read, Err("is no regular file".to_owned()));
        }
    }

    #[test]
    fn what_was_written_is_secret_and_stays() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("key");
        write_new(&path, "hush").expect("it is new");
        assert_eq!(text(&path).as_deref(), Ok("hush"));
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = write_new(&path, "other").expect_err("it is there");
        assert!(again.contains("is there already"), "{again}");
        assert_eq!(public_text(&path).as_deref(), Ok("hush"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &link).expect("a link");
        write_new(&link, "hush").expect_err("a link leads elsewhere");
    }

    #[test]
    fn only_roots_files_may_be_read_by_a_group_and_only_by_others_than_root() {
        let (root, us, others) = (0, 1000, 1001);
        for (mode, owner, user, is_private) in [
            (0o600, us, us, true),
            (0o400, us, us, true),
            (0o640, us, us, false),
            (0o640, others, us, false),
            (0o640, root, us, true),
            (0o440, root, us, true),
            (0o660, root, us, false),
            (0o444, root, us, false),
            (0o640, root, root, false),
            (0o600, root, root, true),
        ] {
            let is_open = mode & open_to_others(owner, user) != 0;
            assert_eq!(!is_open, is_private, "{mode:o} of {owner} for {user}");
        }
    }
}
