//! Why the system or a request failed, in plain words, as messages, the status and the log say it.

use std::io;

use rustls::CertificateError;

/// Why the system did not do something: `connection refused`, where the error's own text is
/// `Connection refused (os error 111)`.
pub fn of(error: &io::Error) -> String {
    let text = error.to_string();
    let Some(code) = error.raw_os_error() else {
        return text; // it has words of ours, or of a library
    };
    let words = text.strip_suffix(&format!(" (os error {code})"));
    let words = words.unwrap_or(&text);
    let mut letters = words.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => words.to_owned(), // it may begin with an abbreviation
    }
}

/// Why an HTTP request brought no response.
pub fn of_request(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
            inner.map_or_else(|| of(error), of_tls)
        }
        ureq::Error::Rustls(error) => of_tls(error),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        other => other.to_string(),
    }
}

/// Why there is no session of TLS.
fn of_tls(error: &rustls::Error) -> String {
    let why = match error {
        rustls::Error::InvalidCertificate(error) => error,
        rustls::Error::InvalidMessage(_) => return "it does not speak TLS".to_owned(),
        other => return format!("TLS: {other}"),
    };
    let words = match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is not for this host"
        }
        // Another certificate with the same name has another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "is not trusted",
        CertificateError::Other(other)
            if other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
        {
            "is an issuer's (CA:TRUE), no server's"
        }
        other => return format!("its certificate is refused: {other}"),
    };
    format!("its certificate {words}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::io::Errno;
    use rustls::{InvalidMessage, OtherError};

    use super::*;

    #[test]
    fn the_cause_of_an_error_has_neither_number_nor_name_of_a_library() {
        let refused = || io::Error::from(Errno::CONNREFUSED);
        let own = || io::Error::other("TLS: its name is wrong (os error 7)");
        for (said, want) in [
            (of(&refused()), "connection refused"),
            (of(&Errno::MFILE.into()), "too many open files"),
            (of(&own()), "TLS: its name is wrong (os error 7)"),
            (of(&io::ErrorKind::TimedOut.into()), "timed out"),
            (
                of_request(&ureq::Error::Io(refused())),
                "connection refused",
            ),
            (
                of_request(&ureq::Error::Timeout(ureq::Timeout::Global)),
                "no answer in time",
            ),
            (of_request(&ureq::Error::HostNotFound), "host not found"),
        ] {
            assert_eq!(said, want);
        }
    }

    #[test]
    fn the_cause_of_a_tls_error_is_in_plain_words() {
        let issuer = OtherError(Arc::new(webpki::Error::CaUsedAsEndEntity));
        for (error, want) in [
            (
                CertificateError::Expired.into(),
                "its certificate has expired",
            ),
            (
                CertificateError::NotValidYet.into(),
                "its certificate is not valid yet",
            ),
            (
                CertificateError::NotValidForName.into(),
                "its certificate is not for this host",
            ),
            (
                CertificateError::UnknownIssuer.into(),
                "its certificate is not trusted",
            ),
            (
                CertificateError::BadSignature.into(),
                "its certificate is not trusted",
            ),
            (
                CertificateError::Other(issuer).into(),
                "its certificate is an issuer's (CA:TRUE), no server's",
            ),
            (
                rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "it does not speak TLS",
            ),
        ] {
            let error: rustls::Error = error;
            let wrapped = io::Error::new(io::ErrorKind::InvalidData, error.clone());
            assert_eq!(of_request(&ureq::Error::Io(wrapped)), want);
            assert_eq!(of_request(&ureq::Error::Rustls(error)), want);
        }
    }
}
