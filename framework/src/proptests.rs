//! What every property test of this package begins with.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// The same cases on every run, unless PROPTEST_RNG_SEED says which.
pub(crate) fn cases(count: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    let rng_seed = if config.rng_seed == RngSeed::Random { RngSeed::Fixed(0x5e77_1265) } else { config.rng_seed };
    ProptestConfig { cases: count, rng_seed, ..config }
}
