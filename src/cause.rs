//! Why the system or a request failed, in plain words, as messages, the status and the log say it.

use std::io;

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
        ureq::Error::Io(error) => of(error),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

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
}
