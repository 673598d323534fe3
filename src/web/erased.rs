//! What is answered to who had a client erased (`DELETE /v1/clients/ID`): where what was known may still be.

use super::location;
use crate::node::location::Erasure;

/// How an erasure reaches a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is told at once.
    Told,
    /// It has yet to take what came before.
    Behind,
    /// It is told when it is linked again.
    Away,
    /// It understands no erasure: it is of an older version.
    Deaf,
}

/// The answer, JSON.
pub fn json<'n>(
    erasure: &Erasure<'_>,
    neighbours: impl Iterator<Item = (&'n str, Reach)>,
) -> Vec<u8> {
    let mut holders = vec![
        "the text logs of all servers, those included that were rotated".to_owned(),
        "the journal of each server until its next snapshot, which begins within seconds"
            .to_owned(),
        "backups, and programs that follow the events".to_owned(),
        "servers that are away, until they are linked again".to_owned(), // of which we know our neighbours only
    ];
    holders.extend(neighbours.filter_map(|(name, reach)| match reach {
        Reach::Told => None,
        Reach::Behind => Some(format!("{name}, which is behind, until it has caught up")),
        Reach::Away => Some(format!("{name}, until it is linked again")),
        Reach::Deaf => Some(format!("{name}, whose version of herd erases nothing")),
    }));
    location::object(|out| {
        location::write_client(out, erasure.client);
        out.extend_from_slice(b",\"erased\":true,\"time\":\"");
        let mut time = Vec::new();
        erasure.time.write(&mut time);
        for part in [&time[..], b"\",\"server\":\"", erasure.server] {
            out.extend_from_slice(part); // digits, and a name
        }
        out.extend_from_slice(b"\",\"may_still_hold\":[");
        for (at, holder) in holders.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            location::write_string(out, holder);
        }
        out.push(b']');
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::protocol::parse_erased;
    use serde_json::Value;

    #[test]
    fn it_names_the_neighbours_that_were_not_told() {
        let erasure = parse_erased(b"ERASED Blake a\xff\"b 7.000000001").expect("it is one");
        let reach = [
            ("A", Reach::Told),
            ("B", Reach::Away),
            ("C", Reach::Deaf),
            ("D", Reach::Behind),
        ];
        let answer: Value =
            serde_json::from_slice(&json(&erasure, reach.into_iter())).expect("JSON");
        assert_eq!(answer["client"], "a\u{fffd}\"b");
        assert_eq!(answer["client_encoded"], "a%FF%22b");
        assert_eq!(answer["erased"], true);
        assert_eq!(
            (&answer["time"], &answer["server"]),
            (&"7.000000001".into(), &"Blake".into())
        );
        let holders = answer["may_still_hold"].as_array().expect("a list");
        let holders: Vec<_> = holders.iter().filter_map(Value::as_str).collect();
        let [.., away, b, c, d] = holders[..] else {
            panic!("{holders:?}");
        };
        assert_eq!(holders.len(), 7, "{holders:?}");
        assert!(away.starts_with("servers that are away"));
        assert!(b.starts_with("B, until") && c.starts_with("C, whose version"));
        assert!(d.starts_with("D, which is behind"));
    }
}
