//! Words of users, of every sort.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::shape::Shape;

/// The same cases on every run, unless PROPTEST_RNG_SEED says which.
pub(crate) fn cases() -> ProptestConfig {
    let config = ProptestConfig::default();
    let rng_seed = if config.rng_seed == RngSeed::Random {
        RngSeed::Fixed(0x5e77_1265)
    } else {
        config.rng_seed
    };
    ProptestConfig {
        cases: 1000,
        rng_seed,
        ..config
    }
}

/// Text as files of /proc and users have it, and text as they do not.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{0,21}",
        "[-0-9,: x.()smhdkBA-F\t\n]{0,60}",
        "([0-9]{1,6}[ \t,:-]){0,30}",
        "\\PC{0,40}"
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_shape_is_within_its_bounds(connections in prop_oneof![0..2_000_000_u32, 999_999..1_000_002_u32], pipeline in prop_oneof![0..8192_u32, 4095..4098_u32], text in text()) {
        let right = (1..=1_000_000).contains(&connections) && (1..=4096).contains(&pipeline);
        let shape = format!("{connections}x{pipeline}").parse();
        prop_assert_eq!(shape.ok(), right.then_some(Shape { connections, pipeline }));
        if let Ok(Shape { connections, pipeline }) = text.parse() {
            prop_assert!(connections >= 1 && pipeline >= 1);
        }
    }
}
