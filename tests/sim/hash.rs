//! A hash for what the checks remember: quick, and the same in every run. Nobody aims at it.

use std::hash::{BuildHasherDefault, Hasher};

/// One word after the other is stirred in as [`SplitMix64`](herd::random::SplitMix64) stirs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stir(u64);

/// Builds it for maps and sets.
pub type Stirred = BuildHasherDefault<Stir>;

impl Hasher for Stir {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(last) ^ (rest.len() as u64) << 56);
    }

    fn write_u64(&mut self, word: u64) {
        let mut z = (self.0 ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = z ^ (z >> 31);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
