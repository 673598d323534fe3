//! Twitter's answers on one line: what is JSON stays the same JSON, to the byte, but for the
//! surplus.

use herd::twitter::answer::one_line;
use herd::twitter::api::Api;
use serde_json::Value;

/// Takes `bytes` for an answer of each API.
pub fn check(bytes: &[u8]) {
    for api in [Api::V1_0, Api::V1_1, Api::V2] {
        for bound in [0, 1, 2, 100] {
            check_line(bytes, api.results(), bound);
        }
    }
}

fn check_line(body: &[u8], results: &str, bound: u8) {
    let line = match one_line(body, results, bound) {
        Ok(line) => line,
        Err(why) => {
            assert!(serde_json::from_slice::<Value>(body).is_err(), "{why}");
            return;
        }
    };
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    assert_eq!(text(&line), text(&without_surplus(body, results, bound)));
    let again = one_line(&line, results, bound).expect("it is still JSON");
    assert_eq!(text(&again), text(&line));
    // Beyond what a Value can hold there is other JSON, such as 1e999.
    if let Ok(mut want) = serde_json::from_slice::<Value>(body) {
        if let Some(Value::Array(elements)) = want.get_mut(results) {
            elements.truncate(usize::from(bound));
        }
        let meant: Value = serde_json::from_slice(&line).expect("it is still JSON");
        assert_eq!(meant, want);
    }
}

/// A token, and the white space before it.
struct Token<'a> {
    space: &'a [u8],
    text: &'a [u8],
}

/// The same, found out by way of tokens.
fn without_surplus(body: &[u8], results: &str, bound: u8) -> Vec<u8> {
    let tokens = tokens(body);
    let mut line = Vec::new();
    let mut depth = 0;
    let mut is_object = false;
    // In an array of results: how many elements have begun.
    let mut elements: Option<usize> = None;
    for (place, token) in tokens.iter().enumerate() {
        let opens = matches!(token.text, b"[" | b"{");
        let closes = matches!(token.text, b"]" | b"}");
        if closes {
            depth -= 1;
        }
        if depth == 1 && closes {
            elements = None;
        }
        if let Some(elements) = &mut elements
            && depth == 2
            && (*elements == 0 || token.text == b",")
        {
            *elements += 1;
        }
        if elements.is_none_or(|elements| elements <= usize::from(bound)) {
            line.extend_from_slice(token.space);
            line.extend_from_slice(token.text);
        }
        if depth == 0 && place == 0 {
            is_object = token.text == b"{";
        }
        let is_value = place >= 2 && tokens[place - 1].text == b":";
        if is_object && depth == 1 && token.text == b"[" && is_value {
            let key = serde_json::from_slice::<String>(tokens[place - 2].text);
            elements = key.is_ok_and(|key| key == results).then_some(0);
        }
        if opens {
            depth += 1;
        }
    }
    let end = tokens
        .iter()
        .map(|token| token.space.len() + token.text.len());
    line.extend_from_slice(&body[end.sum()..]);
    line.retain(|byte| !matches!(byte, b'\r' | b'\n'));
    line
}

/// The tokens of what is known to be JSON.
fn tokens(json: &[u8]) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = json;
    loop {
        let space = rest.len() - rest.trim_ascii_start().len();
        let (space, text) = rest.split_at(space);
        let length = match text.first() {
            None => return tokens,
            Some(b'"') => {
                let mut escaped = false;
                let end = text[1..].iter().position(|&byte| {
                    let ends = byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    ends
                });
                end.expect("a string ends") + 2
            }
            Some(b'[' | b']' | b'{' | b'}' | b',' | b':') => 1,
            Some(_) => {
                let ends = |byte: &u8| b"[]{},: \t\r\n".contains(byte);
                text.iter().position(ends).unwrap_or(text.len())
            }
        };
        let (text, after) = text.split_at(length);
        tokens.push(Token { space, text });
        rest = after;
    }
}
