//! docs/MESSAGES.md: each message of a server to its operator, as a heading.

#![allow(dead_code)] // each test binary uses its own part

const PAGE: &str = include_str!("../../docs/MESSAGES.md");

/// Words of a heading that stand for what differs.
const PLACEHOLDERS: [&str; 9] = [
    "PLACES",
    "NEIGHBOUR",
    "ADDRESS",
    "REASON",
    "NUMBER",
    "FILE",
    "NAME",
    "TIME",
    "WHAT",
];

/// The fixed parts of each message, in order, with what differs between them: `("", " is up")`.
pub fn messages() -> Vec<Vec<String>> {
    let headings = PAGE.lines().filter_map(|line| line.strip_prefix("### `"));
    headings
        .map(|heading| {
            let mut text = heading.trim_end_matches('`').to_owned();
            for word in PLACEHOLDERS {
                text = text.replace(word, "\0");
            }
            text.split('\0').map(str::to_owned).collect()
        })
        .collect()
}

/// Whether `line`, without time and name, is one of the messages.
pub fn is_explained(line: &str) -> bool {
    let is_place = |word: &str| {
        ["clients on ", "servers on "]
            .iter()
            .any(|w| word.starts_with(w))
    };
    line.split(", ").next().is_some_and(is_place)
        || messages()
            .iter()
            .filter(|parts| parts.iter().any(|part| !part.is_empty()))
            .any(|parts| fits(line, parts))
}

fn fits(line: &str, parts: &[String]) -> bool {
    let (first, rest) = parts.split_first().expect("a split has a part");
    let Some(mut left) = line.strip_prefix(first.as_str()) else {
        return false;
    };
    let Some((last, between)) = rest.split_last() else {
        return left.is_empty();
    };
    for part in between {
        let Some((_, after)) = left.split_once(part.as_str()) else {
            return false;
        };
        left = after;
    }
    left.ends_with(last.as_str())
}
