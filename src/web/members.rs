//! An object of JSON, taken apart: its members, each as its text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object, in their order. Both names and values borrow from its text.
#[derive(Debug, Default)]
pub struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The value of the member of this name: of several the last. `None` if there is none or it is `null`: so
    /// programs write what they have not set.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        let mut last_first = self.0.iter().rev();
        let (_, value) = last_first.find(|(other, _)| other == name)?;
        Some(*value).filter(|value| value.get() != "null")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        deserializer.deserialize_map(AnyMembers).map(Members)
    }
}

struct AnyMembers;

impl<'de> Visitor<'de> for AnyMembers {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(4);
        while let Some((Name(name), value)) = map.next_entry()? {
            members.push((name, value));
        }
        Ok(members)
    }
}

/// The name of a member: only one with escapes is copied.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name<'de>, D::Error> {
        deserializer.deserialize_str(AnyName)
    }
}

struct AnyName;

impl<'de> Visitor<'de> for AnyName {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

/// A string of JSON: only one with escapes is copied. `None` if `value` is something else.
pub fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let inside = value.get().strip_prefix('"')?.strip_suffix('"')?;
    match inside.contains('\\') {
        false => Some(Cow::Borrowed(inside)),
        true => serde_json::from_str(value.get()).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_members_of_one_name_the_last_counts() {
        let text = r#" {"a":1,"\u0061":[2], "b" : null,"":"x\ny","c":3,"c":null} "#;
        let members: Members<'_> = serde_json::from_str(text).expect("an object");
        let get = |name| members.get(name).map(RawValue::get);
        assert_eq!(get("a"), Some("[2]"));
        assert_eq!(get("b"), None);
        assert_eq!(get("c"), None);
        assert_eq!(get("d"), None);
        assert_eq!(members.get("").and_then(string).as_deref(), Some("x\ny"));
        for text in [
            "[]",
            "1",
            "{\"a\"}",
            "{\"a\":1}x",
            "{\"a\":tru}",
            "{a:1}",
            "{1:1}",
            "",
        ] {
            assert!(serde_json::from_str::<Members<'_>>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn strings() {
        for (text, want) in [
            (r#""""#, Some("")),
            (r#""kiwi""#, Some("kiwi")),
            (r#""\"\\\u00e9""#, Some("\"\\é")),
            (r#""\ud800""#, None),
            ("1", None),
            ("null", None),
            ("[\"a\"]", None),
        ] {
            let value: &RawValue = serde_json::from_str(text).expect("it is JSON");
            assert_eq!(string(value).as_deref(), want, "{text}");
        }
    }
}
