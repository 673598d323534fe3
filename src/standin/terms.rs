//! What `q` of a question to Twitter's search may say: words, phrases, tags, mentions and users.
//!
//! `query` has [`terms`] read it, and asks each whether a tweet meets it. This room knows nothing of URLs, places
//! or answers.

use super::tweets::Tweet;

/// One condition on a tweet's words or users.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    is_negated: bool,
    kind: TermKind,
}

#[derive(Clone, Debug, PartialEq)]
enum TermKind {
    /// A word, tag, mention or phrase, in lower case.
    Words(String),
    From(String),
    To(String),
}

impl Term {
    /// `text` is the tweet's in lower case.
    pub fn is_met_by(&self, tweet: &Tweet, text: &str) -> bool {
        let is_met = match &self.kind {
            TermKind::Words(words) => contains_words(text, words),
            TermKind::From(user) => tweet.from_user.eq_ignore_ascii_case(user),
            TermKind::To(user) => tweet
                .to_user
                .as_ref()
                .is_some_and(|(name, _)| name.eq_ignore_ascii_case(user)),
        };
        is_met != self.is_negated
    }
}

/// Reads `q`. A quotation mark without its partner reaches to the end.
pub fn terms(text: &str) -> Vec<Term> {
    let mut terms = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let unsigned = rest.strip_prefix('-');
        let is_negated = unsigned.is_some();
        let start = unsigned.unwrap_or(rest);
        let (word, left, is_phrase) = match start.strip_prefix('"') {
            Some(phrase) => {
                let (phrase, left) = phrase.split_once('"').unwrap_or((phrase, ""));
                (phrase, left, true)
            }
            None => {
                let (word, left) =
                    start.split_at(start.find(char::is_whitespace).unwrap_or(start.len()));
                (word, left, false)
            }
        };
        rest = left.trim_start();
        let folded = word.to_lowercase();
        let folded = folded.split_whitespace().collect::<Vec<_>>().join(" ");
        let user = |name: &str| name.strip_prefix('@').unwrap_or(name).to_owned();
        let kind = match folded.split_once(':') {
            Some(("from", name)) if !is_phrase => TermKind::From(user(name)),
            Some(("to", name)) if !is_phrase => TermKind::To(user(name)),
            _ if folded.is_empty() => continue,
            _ => TermKind::Words(folded),
        };
        terms.push(Term { is_negated, kind });
    }
    terms
}

/// Whether `words` stand in `text` as whole words: `art` is not in `party`, but is in `#art`.
fn contains_words(text: &str, words: &str) -> bool {
    text.match_indices(words).any(|(start, found)| {
        let end = start + found.len();
        !continues(text[..start].chars().next_back(), found.chars().next())
            && !continues(found.chars().next_back(), text[end..].chars().next())
    })
}

/// Whether a word goes on from one character to the next. Chinese, Japanese and Thai put no
/// spaces between words, so there any place may be the end of one.
fn continues(left: Option<char>, right: Option<char>) -> bool {
    let is_spaced = |character: char| {
        (character.is_alphanumeric() || character == '_')
            && !matches!(character, '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}')
    };
    left.is_some_and(is_spaced) && right.is_some_and(is_spaced)
}
