//! How the commands that ask servers over HTTP show who they are, and know whom they ask.

use std::path::Path;

use crate::survey::{self, Manner};
use crate::web::access::Tokens;

/// How servers are asked that want one of these tokens, or show a certificate that one of these has issued.
///
/// # Errors
/// One line that says what is wrong with which file.
pub fn manner(tokens: Option<&Path>, ca: Option<&Path>) -> Result<Manner, String> {
    ca.map(survey::roots).transpose()?;
    Ok(Manner {
        authorization: tokens.map(authorization).transpose()?,
        certificates: ca.map(Path::to_owned),
    })
}

/// The value of an `Authorization` field with the first token of a file, the one that the servers were started
/// with.
///
/// # Errors
/// One line that says what is wrong with the file.
fn authorization(path: &Path) -> Result<String, String> {
    let tokens = Tokens::read(path)?;
    Ok(format!(
        "Bearer {}",
        String::from_utf8_lossy(tokens.first())
    ))
}
