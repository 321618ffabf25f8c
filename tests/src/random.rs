//! Random numbers that a failed run can be repeated with.

use std::env;
use std::hash::{BuildHasher, RandomState};

/// Marsaglia's xorshift64: fast, even enough for test data, and no dependency.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Seeded from `CORELANE_TESTS_SEED` or else at random; the seed is printed.
    #[must_use]
    pub fn new() -> Self {
        let given = env::var("CORELANE_TESTS_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0_u8));
        println!("CORELANE_TESTS_SEED={seed}");
        Self::seeded(seed)
    }

    /// The sequence that belongs to `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        // Zero is the one state xorshift never leaves.
        Self(seed | 1)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() >> 16) as usize % end
    }

    /// As many bytes of any value.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.bits().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
