//! What Twitter answered, made into one line: byte for byte, but without line breaks between the
//! tokens, and without results nobody asked for. Pure.
//!
//! The workers of `twitter` are the callers. The text is checked by serde_json and then scanned,
//! not serialised anew: strings, numbers, white space and the order of keys stay as they came.

use serde::de::IgnoredAny;

/// The answer as one line without LF, with at most `bound` elements in its member `results`.
///
/// # Errors
/// Says in a few words why `body` is no JSON.
pub fn one_line(body: &[u8], results: &str, bound: u8) -> Result<Vec<u8>, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "not UTF-8")?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| "not JSON")?;
    let surplus = Scanner::new(body).surplus(results, usize::from(bound));
    let mut line = Vec::with_capacity(body.len());
    let mut from = 0;
    for (start, end) in surplus {
        push_without_breaks(&mut line, &body[from..start]);
        from = end;
    }
    push_without_breaks(&mut line, &body[from..]);
    Ok(line)
}

/// Inside a string of valid JSON a CR or LF is always escaped, so any bare one is between tokens.
fn push_without_breaks(line: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        line.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
    }
    line.extend_from_slice(rest);
}

/// Walks over JSON that is known to be valid, so that it need not expect anything else.
struct Scanner<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(json: &'a [u8]) -> Scanner<'a> {
        Scanner { json, at: 0 }
    }

    /// Where results beyond `bound` stand, with the comma before each: the results of an object,
    /// however often it has such a member.
    fn surplus(mut self, results: &str, bound: usize) -> Vec<(usize, usize)> {
        let mut surplus = Vec::new();
        if self.next_token() != b'{' {
            return surplus;
        }
        self.at += 1;
        loop {
            match self.next_token() {
                b'}' => return surplus,
                b',' => self.at += 1,
                _ => {
                    let key = self.skip_string();
                    self.next_token(); // the colon
                    self.at += 1;
                    if self.next_token() == b'[' && is_named(key, results) {
                        surplus.extend(self.array_surplus(bound));
                    } else {
                        self.skip_value();
                    }
                }
            }
        }
    }

    /// Skips an array, and gives the part beyond its first `bound` elements.
    fn array_surplus(&mut self, bound: usize) -> Option<(usize, usize)> {
        self.at += 1;
        let mut elements = 0;
        let mut kept_end = self.at;
        let mut last_end = self.at;
        loop {
            match self.next_token() {
                b']' => {
                    self.at += 1;
                    return (elements > bound).then_some((kept_end, last_end));
                }
                b',' => self.at += 1,
                _ => {
                    self.skip_value();
                    elements += 1;
                    last_end = self.at;
                    if elements <= bound {
                        kept_end = self.at;
                    }
                }
            }
        }
    }

    /// Skips white space; the byte a token begins with.
    fn next_token(&mut self) -> u8 {
        while self.json[self.at].is_ascii_whitespace() {
            self.at += 1;
        }
        self.json[self.at]
    }

    /// Skips a value, however deep: by counting, since a hostile depth must not cost stack.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.next_token() {
                b'"' => drop(self.skip_string()),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    let ends = |byte: &u8| b",]}: \t\r\n".contains(byte);
                    let rest = &self.json[self.at..];
                    self.at += rest.iter().position(ends).unwrap_or(rest.len());
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Skips a string; gives it with its quotes.
    fn skip_string(&mut self) -> &'a [u8] {
        let start = self.at;
        self.at += 1;
        while self.json[self.at] != b'"' {
            self.at += 1 + usize::from(self.json[self.at] == b'\\');
        }
        self.at += 1;
        &self.json[start..self.at]
    }
}

/// Whether a key, which may be written with escapes, is `name`.
fn is_named(key: &[u8], name: &str) -> bool {
    serde_json::from_slice::<String>(key).is_ok_and(|key| key == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn answers_on_one_line() {
        for (body, bound, want) in [
            (
                r#"{"results":[],"page":1}"#,
                0,
                r#"{"results":[],"page":1}"#,
            ),
            (r#"{"results":[1,2,3]}"#, 3, r#"{"results":[1,2,3]}"#),
            (r#"{"results":[1,2,3]}"#, 2, r#"{"results":[1,2]}"#),
            (r#"{"results":[1,2,3]}"#, 0, r#"{"results":[]}"#),
            (
                "{\"a\":[1,2],\r\n \"results\" : [ {\"x\":[1,2]} ,\n {} , 3 ] }\n",
                1,
                r#"{"a":[1,2], "results" : [ {"x":[1,2]} ] }"#,
            ),
            // Only the member of the answer itself, by whatever spelling; strings stay as they are.
            (
                r#"{"x":{"results":[1,2]},"r\u0065sults":[1,2]}"#,
                1,
                r#"{"x":{"results":[1,2]},"r\u0065sults":[1]}"#,
            ),
            (
                r#"{"results":["a,]}\"\\",2,3],"n":1.50e+01,"s":"\u00e9\/é\n"}"#,
                1,
                r#"{"results":["a,]}\"\\"],"n":1.50e+01,"s":"\u00e9\/é\n"}"#,
            ),
            (r#"{"results":{"a":1}}"#, 0, r#"{"results":{"a":1}}"#),
            ("[1,\n2]", 0, "[1,2]"),
            ("\r\nnull\r\n", 0, "null"),
            (
                r#"{"error":"You must enter a query."}"#,
                2,
                r#"{"error":"You must enter a query."}"#,
            ),
        ] {
            let line = one_line(body.as_bytes(), "results", bound).expect(body);
            assert_eq!(String::from_utf8(line).as_deref(), Ok(want));
        }
    }

    #[test]
    fn the_results_of_each_api_and_nothing_else() {
        let body = r#"{"results":[1,2],"statuses":[1,2],"data":[1,2],"includes":{"data":[1,2]},"meta":{"result_count":2}}"#;
        for (results, want) in [
            (
                "results",
                r#"{"results":[1],"statuses":[1,2],"data":[1,2],"#,
            ),
            (
                "statuses",
                r#"{"results":[1,2],"statuses":[1],"data":[1,2],"#,
            ),
            ("data", r#"{"results":[1,2],"statuses":[1,2],"data":[1],"#),
        ] {
            let line = one_line(body.as_bytes(), results, 1).expect("it is JSON");
            let rest = r#""includes":{"data":[1,2]},"meta":{"result_count":2}}"#;
            assert_eq!(String::from_utf8(line), Ok(format!("{want}{rest}")));
        }
    }

    #[test]
    fn what_is_no_json() {
        for (body, why) in [
            (&b""[..], "not JSON"),
            (b"<html>", "not JSON"),
            (b"{\"a\":\"\n\"}", "not JSON"), // a bare LF within a string
            (b"{} {}", "not JSON"),
            (b"{\"a\":1", "not JSON"),
            (b"\xef\xbb\xbf{}", "not JSON"), // a byte order mark
            (b"{\"a\":\"\xff\"}", "not UTF-8"),
        ] {
            assert_eq!(
                one_line(body, "results", 1),
                Err(why),
                "{}",
                body.escape_ascii()
            );
        }
    }

    #[test]
    fn depth_costs_no_stack() {
        let depth = 500_000;
        let body = format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        // serde_json may refuse such depth; what matters is that nothing overflows.
        let _ = one_line(body.as_bytes(), "results", 1);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 30, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("results|[a-c]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_line_means_what_the_body_meant(value in json(), bound in 0..4_u8, pretty: bool) {
            let body = match pretty {
                true => serde_json::to_string_pretty(&value),
                false => serde_json::to_string(&value),
            }.expect("a value has a text");
            let line = one_line(body.as_bytes(), "results", bound).expect("it is JSON");
            prop_assert!(!line.contains(&b'\n'));
            let mut want: Value = serde_json::from_str(&body).expect("it is JSON");
            if let Some(Value::Array(results)) = want.get_mut("results") {
                results.truncate(usize::from(bound));
            }
            prop_assert_eq!(serde_json::from_slice::<Value>(&line).expect("it still is JSON"), want);
        }

        /// Twitter's own bytes are kept, whatever stands before, between and after the results.
        #[test]
        fn surplus_is_cut_out_to_the_byte(
            results in proptest::collection::vec(json(), 0..6),
            before in json(),
            after in json(),
            spaces in proptest::collection::vec("[ \t]{0,2}", 16),
            breaks in proptest::collection::vec("[\r\n]{0,2}", 16),
            bound in 0..7_u8,
        ) {
            let gap = |number: usize, broken: bool| match broken {
                true => format!("{}{}", breaks[number % 16], spaces[number % 16]),
                false => spaces[number % 16].clone(),
            };
            // The gap before a comma goes with what follows it; after the last it stays.
            let text = |kept: usize, broken: bool| {
                let element = |(n, value): (usize, &Value)| match n {
                    0 => format!("{}{value}", gap(0, broken)),
                    n => format!("{},{}{value}", gap(2 * n - 1, broken), gap(2 * n, broken)),
                };
                let list: String = results.iter().enumerate().take(kept).map(element).collect();
                let first = if kept == 0 && !results.is_empty() { String::new() } else { list };
                let last = gap(15, broken);
                let name = gap(14, broken);
                format!("{{\"a\":{before},{name}\"data\"{name}:[{first}{last}],\"z\":{after}}}")
            };
            let body = text(results.len(), true);
            let line = one_line(body.as_bytes(), "data", bound).expect("it is JSON");
            let kept = results.len().min(usize::from(bound));
            prop_assert_eq!(String::from_utf8(line), Ok(text(kept, false)), "{}", body);
        }

        #[test]
        fn any_bytes_are_an_answer_or_none(body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = one_line(&body, "data", 1);
        }

        #[test]
        fn noise_never_panics(body in "[\\[\\]{}:,\"\\\\a1 \n]{0,40}", bound in 0..3_u8) {
            let _ = one_line(body.as_bytes(), "a1", bound);
        }
    }
}
