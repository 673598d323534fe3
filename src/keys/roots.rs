//! Whose certificates count: those of a file, and what they have issued.

use std::path::Path;
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, parse_pem};

use crate::private_file;

/// A longer file is refused. All that a system trusts are a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Certificates that are trusted.
pub type Roots = Arc<Vec<Certificate<'static>>>;

/// Those of a file in PEM that anybody may read.
///
/// # Errors
/// What is wrong with the file, in words that follow its name.
pub fn read(path: &Path) -> Result<Roots, String> {
    let pem = private_file::public_bytes(path, FILE_BYTES_MAX)?;
    let mut roots = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!("is no PEM: {error}")),
        }
    }
    match roots.is_empty() {
        true => Err("holds no certificate".to_owned()),
        false => Ok(Arc::new(roots)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_of_certificates() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("roots.pem");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let made = made.expect("the name is valid");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        // Files of systems are long, and say in any encoding whose each certificate is.
        let many = format!("# {}\n{certificate}", "x".repeat(1_000)).repeat(200);
        let many = [b"# \xe9\n", many.as_bytes()].concat();
        for (text, want) in [
            (certificate.as_bytes(), Ok(1)),
            (&many, Ok(200)),
            (format!("{key}{certificate}").as_bytes(), Ok(1)),
            (key.as_bytes(), Err("holds no certificate")),
            (b"", Err("holds no certificate")),
            (&certificate.as_bytes()[..100], Err("is no PEM: ")),
            (&many.repeat(10), Err("has more than 1048576 bytes")),
        ] {
            fs::write(&path, text).expect("the directory is ours");
            match (read(&path), want) {
                (Ok(roots), Ok(count)) => assert_eq!(roots.len(), count),
                (Err(why), Err(words)) => assert!(why.starts_with(words), "{why}"),
                (read, want) => panic!("{read:?}, not {want:?}"),
            }
        }
    }
}
