//! `herd erase`: has a server of the topology erase a client, and says what may still hold what was known.
//!
//! `main` is the caller. It asks one server after the other over HTTP, until one knows the client.

use std::io::Write;
use std::path::Path;

use serde_json::Value;

use super::tokens;
use crate::http::percent;
use crate::survey;
use crate::topology::Topology;

/// Has `client` erased, and writes to `out` what has become of it. `false`: no server that answers knows the
/// client. The servers are shown the first of the `tokens` in a file; with certificates, `ca`, they are asked by
/// HTTPS.
///
/// # Errors
/// One line that says what is wrong with a file, or that no server answers.
pub fn erase(
    topology: &Topology,
    client: &[u8],
    tokens: Option<&Path>,
    ca: Option<&Path>,
    out: &mut impl Write,
) -> Result<bool, String> {
    let manner = tokens::manner(tokens, ca)?;
    let shown = client.escape_ascii();
    let path = format!("/v1/clients/{}", percent::encode(client));
    if path.len() > survey::PATH_BYTES_MAX {
        return Err(format!(
            "the name takes {} bytes, percent-encoded: over HTTP, where a server is asked to erase a client, there is \
             room for {}. Servers that are started with --forget-after forget the client in time",
            path.len(),
            survey::PATH_BYTES_MAX
        ));
    }
    let (mut asked, mut failures) = (Vec::new(), Vec::new());
    for target in survey::targets(topology) {
        match survey::erase(&target, &path, &manner) {
            Ok(Some(answer)) => {
                let _ = out.write_all(told(client, &target.name, &answer).as_bytes());
                return Ok(true); // also where nobody reads it
            }
            Ok(None) => asked.push(target.name),
            Err(why) => failures.push(format!("{}: {why}", target.name)),
        }
    }
    let failures = failures.join("; ");
    if asked.is_empty() {
        return Err(format!(
            "no server answers, {shown} is not erased: {failures}"
        ));
    }
    let mut text = format!("{shown} is unknown to {}", asked.join(", "));
    if !failures.is_empty() {
        text.push_str(&format!("; not asked: {failures}"));
    }
    let _ = writeln!(out, "{text}");
    Ok(false)
}

/// What a server's answer says, for people.
fn told(client: &[u8], server: &str, answer: &Value) -> String {
    let mut text = format!(
        "{server} has erased {}. What may still hold it:\n",
        client.escape_ascii()
    );
    let holders = answer["may_still_hold"].as_array();
    for holder in holders.map_or(&[][..], Vec::as_slice) {
        let holder = holder.as_str().unwrap_or_default();
        text.push_str(&format!("  {}\n", holder.escape_debug())); // a server said it
    }
    text
}
