//! The replies of a Redis server, as `relay` reads them.

use corelane::Step;

/// Where the text of a bulk string begins and ends.
pub fn bulk(bytes: &[u8]) -> Step<(usize, usize)> {
    let Some(line_end) = bytes.windows(2).position(|two| two == b"\r\n") else {
        return Step::NeedMore;
    };
    let length = bytes[..line_end]
        .strip_prefix(b"$")
        .and_then(|digits| str::from_utf8(digits).ok()?.parse::<usize>().ok());
    let start = line_end + 2;
    let end = length
        .and_then(|length| start.checked_add(length))
        .and_then(|end| Some((end, end.checked_add(2)?)));
    match end {
        None => Step::Invalid("no bulk string"),
        Some((_, whole)) if bytes.len() < whole => Step::NeedMore,
        Some((end, whole)) => Step::Frame {
            value: (start, end),
            length: whole,
        },
    }
}

/// What holds of it whatever comes, and in whatever pieces.
pub fn hold_for(bytes: &[u8]) {
    let whole = bulk(bytes);
    match whole {
        Step::Frame {
            value: (start, end),
            length,
        } => assert!(start <= end && end + 2 == length && length <= bytes.len()),
        Step::NeedMore | Step::Invalid(_) => {}
    }
    let first = (0..=bytes.len())
        .map(|have| bulk(&bytes[..have]))
        .find(|step| *step != Step::NeedMore);
    assert_eq!(
        first.unwrap_or(Step::NeedMore),
        whole,
        "in one piece, and byte by byte"
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    /// The same cases on every run, unless PROPTEST_RNG_SEED says which.
    fn cases() -> ProptestConfig {
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

    #[test]
    fn a_length_past_all_memory_is_refused() {
        assert_eq!(
            bulk(format!("${}\r\n", usize::MAX).as_bytes()),
            Step::Invalid("no bulk string")
        );
    }

    #[test]
    fn the_kept_corpus_breaks_no_promise() {
        let kept = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/reply"))
            .unwrap();
        let files: Vec<Vec<u8>> = kept
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
        assert!(!files.is_empty());
        files.iter().for_each(|bytes| hold_for(bytes));
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn a_bulk_string_is_read_as_it_was_written(text in proptest::collection::vec(any::<u8>(), 0..60), more in proptest::collection::vec(any::<u8>(), 0..9)) {
            let header = format!("${}\r\n", text.len());
            let written = [header.as_bytes(), &text, b"\r\n"].concat();
            let (start, end) = (header.len(), header.len() + text.len());
            prop_assert_eq!(bulk(&[&written[..], &more].concat()), Step::Frame { value: (start, end), length: written.len() });
            (0..written.len()).try_for_each(|have| { prop_assert_eq!(bulk(&written[..have]), Step::NeedMore); Ok(()) })?;
        }

        #[test]
        fn any_bytes_mean_the_same_in_any_pieces(bytes in prop_oneof!["[$0-9+-]{0,4}[0-9]{0,22}\r\n.{0,9}".prop_map(String::into_bytes), proptest::collection::vec(any::<u8>(), 0..60)]) {
            hold_for(&bytes);
        }
    }
}
