//! `herd keygen`: a key for a server, or for each server of a topology.
//!
//! `main` is the caller.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::cause;
use crate::keys::OwnKey;
use crate::private_file;
use crate::topology::{Fingerprint, Topology};

/// Makes a private key in a new file. Gives the fingerprint of its public key.
///
/// # Errors
/// Why the file cannot be made; that something of its name is there.
pub fn keygen(out: &Path) -> Result<Fingerprint, String> {
    let shown = private_file::shown(out);
    let (key, text) = OwnKey::generate().map_err(|error| format!("cannot make a key: {error}"))?;
    private_file::write_new(out, &text).map_err(|error| format!("{shown} {error}"))?;
    Ok(key.fingerprint)
}

/// Makes a private key for each server of a topology, `NAME.key` in `folder`, where there is none yet; and
/// `topology.txt` there, which says the same as `topology` and has the keys. Gives the path of that file.
///
/// # Errors
/// What is wrong with the topology, with a key that is there, or why a file cannot be made. Keys that were made stay.
pub fn keygen_all(topology: &Path, folder: &Path) -> Result<PathBuf, String> {
    let mut topology = Topology::read(topology)?;
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        let shown = private_file::shown(folder);
        format!("cannot make {shown}: {}", cause::of(&error))
    })?;
    topology.set_keys(|name| {
        let path = folder.join(format!("{name}.key"));
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => keygen(&path),
            _ => match OwnKey::read(&path) {
                Ok(key) => Ok(key.fingerprint),
                Err(error) => Err(format!("{} {error}", private_file::shown(&path))),
            },
        }
    })?;
    // Servers may read the file at any time: so it is written aside, and takes the place of the old one whole.
    let (file, new) = (folder.join("topology.txt"), folder.join("topology.txt.new"));
    let _ = fs::remove_file(&new); // of one that was cut off
    let written = private_file::write_new(&new, &topology.to_string());
    written.map_err(|error| format!("{} {error}", private_file::shown(&new)))?;
    let renamed = fs::rename(&new, &file);
    renamed.map_err(|error| {
        let shown = private_file::shown(&file);
        format!("{shown} cannot be written: {}", cause::of(&error))
    })?;
    Ok(file)
}
