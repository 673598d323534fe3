//! Which seeds a test that is turned by them is to run: `HERD_SEED` names one, `HERD_SEEDS` how many, or
//! from which one up to which other.

use std::ops::Range;

fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("'{text}' is no number"))
}

/// The one that is asked for, to replay it.
pub fn one() -> Option<u64> {
    let seed = std::env::var("HERD_SEED").ok()?;
    Some(number(&seed))
}

/// Those that are asked for, or the first `usual`.
pub fn many(usual: u64) -> Range<u64> {
    match std::env::var("HERD_SEEDS") {
        Ok(seeds) => match seeds.split_once("..") {
            Some((from, to)) => number(from)..number(to),
            None => 0..number(&seeds),
        },
        Err(_) => 0..usual,
    }
}
