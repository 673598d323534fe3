//! Numbers that look random and repeat with their seed, and seeds.
//!
//! `node` takes the jitter of its dials from them, the stand-in its tweets, the simulation and the
//! soak test all that befalls a herd. The sequence never changes: a seed that has been written down
//! must replay what it stands for.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

/// A number that nobody can foresee: std's hasher keys come from the system's random numbers.
pub fn unforeseen() -> u64 {
    RandomState::new().hash_one(Instant::now())
}

/// SplitMix64 (Steele, Lea and Flood, 2014): eight bytes of state, and any seed will do.
#[derive(Clone, Debug)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is small: the bias does not matter then.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // The first numbers of the seed 1234567 by the reference implementation in C.
        let mut random = SplitMix64(1_234_567);
        for want in [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ] {
            assert_eq!(random.next_u64(), want);
        }
    }
}
