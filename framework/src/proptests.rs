//! What every property test of this package begins with, and the corpus of its fuzzers.

use std::fs;
use std::path::Path;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// The same cases on every run, unless PROPTEST_RNG_SEED says which.
pub(crate) fn cases(count: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    let rng_seed = if config.rng_seed == RngSeed::Random {
        RngSeed::Fixed(0x5e77_1265)
    } else {
        config.rng_seed
    };
    ProptestConfig {
        cases: count,
        rng_seed,
        ..config
    }
}

/// Every file that is kept for the fuzzer of that name.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let files = fs::read_dir(directory)
        .expect("a corpus is kept")
        .map(|entry| entry.expect("its directory can be read").path());
    files.map(|path| fs::read(path).expect("a file")).collect()
}

#[test]
fn the_kept_corpus_breaks_no_promise() {
    let (settings, frames, proxy) = (corpus("settings"), corpus("frames"), corpus("proxy"));
    let http = corpus("http");
    assert!(!settings.is_empty() && !frames.is_empty() && !proxy.is_empty() && !http.is_empty());
    settings
        .iter()
        .for_each(|bytes| _ = crate::config::properties::hold_for(bytes));
    frames
        .iter()
        .for_each(|bytes| crate::shard::sim::framing::hold_for(bytes));
    proxy
        .iter()
        .for_each(|bytes| crate::proxy::properties::hold_for(bytes));
    http.iter()
        .for_each(|bytes| crate::testing::http_properties::hold_for(bytes));
    #[cfg(feature = "tls")]
    corpus("tls").iter().for_each(|bytes| {
        let certified = crate::testing::tls_peer::Certified::made();
        crate::testing::tls_properties::hold_for(bytes, certified);
    });
    #[cfg(feature = "websocket")]
    corpus("websocket")
        .iter()
        .for_each(|bytes| crate::testing::websocket_properties::hold_for(bytes));
}
