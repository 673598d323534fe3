//! How the commands that ask servers over HTTP show who they are.

use std::path::Path;

use crate::private_file;
use crate::web::access::Tokens;

/// The value of an `Authorization` field with the first token of a file, the one that the servers were started
/// with.
///
/// # Errors
/// One line that says what is wrong with the file.
pub fn authorization(path: &Path) -> Result<String, String> {
    let shown = private_file::shown(path);
    let text = private_file::text(path).map_err(|error| format!("{shown} {error}"))?;
    let tokens = Tokens::parse(&text).map_err(|error| format!("{shown}: {error}"))?;
    Ok(format!(
        "Bearer {}",
        String::from_utf8_lossy(tokens.first())
    ))
}
