//! What proves to Twitter who asks: read from the environment or a private file, shown nowhere.
//!
//! `Options` reads them at start, the workers send them. They never come from the command line,
//! which everybody on a machine can see, and no error says what they are.

use std::fmt;
use std::path::Path;

use crate::private_file;

/// The names by which credentials are given, in the environment and in a file.
const TOKEN: &str = "TWITTER_BEARER_TOKEN";
const KEY: &str = "TWITTER_KEY";
const SECRET: &str = "TWITTER_SECRET";

/// A longer token, key or secret is none.
pub(super) const SECRET_BYTES_MAX: usize = 4096;

/// A text that must not be seen. It has no `Display`, and its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that can stand in a header field: visible ASCII. Anything else, a line break
    /// above all, could change the request that carries it.
    pub(super) fn parse(text: &str) -> Option<Secret> {
        let fits = (1..=SECRET_BYTES_MAX).contains(&text.len());
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Secret(text.to_owned()))
    }

    /// The text itself, for the request.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What an application has of Twitter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// An app-only bearer token.
    Token(Secret),
    /// The application's key and secret, for which Twitter gives such a token.
    Application {
        /// The key, also called the consumer key.
        key: Secret,
        /// The key's secret.
        secret: Secret,
    },
}

impl Credentials {
    /// Those of `file`, or if none is given those of the environment, which `variable` looks up.
    ///
    /// # Errors
    /// One line that says what is missing or wrong, and what to do; never a credential.
    pub(super) fn read(
        file: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Credentials, String> {
        let Some(path) = file else {
            let found =
                from_pairs(variable).map_err(|error| format!("the environment: {error}"))?;
            return found.ok_or_else(|| {
                format!("set {TOKEN}, or {KEY} and {SECRET}, or give --twitter-credentials FILE")
            });
        };
        let shown = private_file::shown(path);
        let text = private_file::text(path).map_err(|error| format!("{shown} {error}"))?;
        let found = parse(&text).map_err(|error| format!("{shown}: {error}"))?;
        found.ok_or_else(|| {
            format!("{shown}: wanted are {TOKEN}=…, or {KEY}=… and {SECRET}=…, each on its line")
        })
    }
}

/// Reads lines of the form `NAME=value`; empty ones and those that begin with `#` say nothing.
fn parse(text: &str) -> Result<Option<Credentials>, String> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line
            .split_once('=')
            .map(|(name, value)| (name.trim(), unquoted(value.trim())));
        match pair {
            Some((name, _)) if pairs.iter().any(|(known, _)| *known == name) => {
                return Err(format!("line {number} gives {name} once more"));
            }
            Some((name @ (TOKEN | KEY | SECRET), value)) => pairs.push((name, value)),
            // Its text is not shown: it may be a token without its name.
            _ => {
                return Err(format!(
                    "line {number} is none of {TOKEN}=…, {KEY}=…, {SECRET}=…"
                ));
            }
        }
    }
    from_pairs(|name| {
        let pair = pairs.iter().find(|(known, _)| *known == name);
        pair.map(|(_, value)| (*value).to_owned())
    })
}

/// What stands between quotes, as a shell would take it. No credential has any.
fn unquoted(value: &str) -> &str {
    let between = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    between('"').or_else(|| between('\'')).unwrap_or(value)
}

/// What is given by name. A token goes before a key; an empty value is as none.
fn from_pairs(value: impl Fn(&str) -> Option<String>) -> Result<Option<Credentials>, String> {
    let secret = |name: &str| match value(name).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => match Secret::parse(&value) {
            Some(secret) => Ok(Some(secret)),
            None => Err(format!(
                "{name} is not of visible ASCII only, or has more than {SECRET_BYTES_MAX} bytes"
            )),
        },
    };
    if let Some(token) = secret(TOKEN)? {
        return Ok(Some(Credentials::Token(token)));
    }
    match (secret(KEY)?, secret(SECRET)?) {
        (Some(key), Some(secret)) => Ok(Some(Credentials::Application { key, secret })),
        (Some(_), None) => Err(format!("{KEY} has no {SECRET} beside it")),
        (None, Some(_)) => Err(format!("{SECRET} has no {KEY} beside it")),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn token(text: &str) -> Credentials {
        Credentials::Token(Secret::parse(text).expect("visible ASCII"))
    }

    fn application(key: &str, secret: &str) -> Credentials {
        let [key, secret] = [key, secret].map(|text| Secret::parse(text).expect("visible ASCII"));
        Credentials::Application { key, secret }
    }

    #[test]
    fn what_a_file_may_say() {
        for (text, want) in [
            ("", Ok(None)),
            ("# none\n\n", Ok(None)),
            (
                "TWITTER_BEARER_TOKEN=AAAA%2Fx==\n",
                Ok(Some(token("AAAA%2Fx=="))),
            ),
            (
                " TWITTER_BEARER_TOKEN = a \r\n# a comment",
                Ok(Some(token("a"))),
            ),
            (
                "TWITTER_KEY=k\nTWITTER_SECRET=s",
                Ok(Some(application("k", "s"))),
            ),
            (
                "TWITTER_SECRET=s\nTWITTER_KEY=k\nTWITTER_BEARER_TOKEN=t",
                Ok(Some(token("t"))),
            ),
            ("TWITTER_BEARER_TOKEN=\"a'b\"", Ok(Some(token("a'b")))),
            ("TWITTER_BEARER_TOKEN='a'", Ok(Some(token("a")))),
            ("TWITTER_BEARER_TOKEN=\"", Ok(Some(token("\"")))),
            ("TWITTER_BEARER_TOKEN=", Ok(None)),
            ("TWITTER_KEY=k\nTWITTER_SECRET=", Err("TWITTER_KEY has no")),
            ("TWITTER_SECRET=s", Err("TWITTER_SECRET has no")),
            ("TWITTER_KEY=a b\n", Err("TWITTER_KEY is not")),
            ("TWITTER_BEARER_TOKEN=é", Err("TWITTER_BEARER_TOKEN is not")),
            ("TWITTER_KEY=a\nTWITTER_KEY=b", Err("line 2 gives")),
            ("AAAAhushhush", Err("line 1 is none of")),
            ("\nTOKEN=hushhush", Err("line 2 is none of")),
        ] {
            match (parse(text), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{text}"),
                (Err(got), Err(want)) => {
                    assert!(got.starts_with(want), "{text}: {got}");
                    assert!(!got.contains("hush"), "{got}");
                }
                (got, want) => panic!("{text}: {got:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("twitter");
        fs::write(&path, "TWITTER_BEARER_TOKEN=hush").expect("the directory is ours");
        for (mode, good) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
        ] {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(&path, permissions).expect("it is ours");
            match Credentials::read(Some(&path), |_| panic!("the file goes first")) {
                Ok(read) => assert!(good && read == token("hush"), "{mode:o}"),
                Err(error) => {
                    assert!(!good, "{mode:o}: {error}");
                    assert!(
                        error.contains("chmod 600") && !error.contains("hush"),
                        "{error}"
                    );
                }
            }
        }
        let error = Credentials::read(Some(directory.path()), |_| None);
        assert!(error.is_err_and(|error| error.ends_with("is a directory")));
        let nowhere = directory.path().join("no\nwhere");
        let error = Credentials::read(Some(&nowhere), |_| None).expect_err("there is none");
        assert!(
            error.contains("no\\nwhere cannot be read") && !error.contains('\n'),
            "{error}"
        );
    }

    #[test]
    fn the_environment_counts_where_no_file_is_given() {
        let of = |pairs: &'static [(&str, &str)]| {
            Credentials::read(None, |name| {
                let pair = pairs.iter().find(|(known, _)| *known == name);
                pair.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[(TOKEN, "t")]), Ok(token("t")));
        assert_eq!(
            of(&[(TOKEN, ""), (KEY, "k"), (SECRET, "s")]),
            Ok(application("k", "s"))
        );
        assert!(of(&[]).is_err_and(|error| error.contains(TOKEN)));
        assert!(of(&[(TOKEN, "hu\r\nsh")]).is_err_and(|error| !error.contains("sh\"")));
    }

    #[test]
    fn a_secret_shows_nothing_of_itself() {
        assert_eq!(
            format!("{:?} {:?}", token("hush"), application("hush", "hush")),
            "Token(Secret) Application { key: Secret, secret: Secret }"
        );
    }

    proptest! {
        #[test]
        fn no_error_shows_a_value(value in "[ -~]{4,20}", name in "[A-Z_]{0,12}") {
            for text in [value.clone(), format!("{name}={value}"), format!("{KEY}={value}")] {
                if let Err(error) = parse(&text) {
                    // What the error is made of anyway proves nothing.
                    let words = format!("{TOKEN}=…, {KEY}=…, {SECRET}=… line 1 is none of has no beside it not of visible ASCII only, or has more than 4096 bytes");
                    prop_assert!(!error.contains(value.trim()) || words.contains(value.trim()), "{error}");
                }
            }
        }

        #[test]
        fn noise_never_panics(text in ".{0,80}") {
            let _ = parse(&text);
        }
    }
}
