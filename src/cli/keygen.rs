//! `herd keygen`: a key for a server.
//!
//! `main` is the caller.

use std::path::Path;

use crate::keys::OwnKey;
use crate::private_file;
use crate::topology::Fingerprint;

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
