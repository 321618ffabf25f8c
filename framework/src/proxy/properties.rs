//! What holds of any bytes with which a connection may begin. Told of bytes, so that property tests,
//! the kept corpus and the fuzzer ask the same question: the first byte chooses what is taken, the
//! others are what comes.

use super::{HEADER_MIN, Proxied, ProxyVersion, Versions, kind, parse, v1};
use crate::step::Step;

const VERSIONS: [Versions; 3] = [Versions::V1, Versions::V2, Versions::Any];
/// The least bound, that of the settings, and one that a version 2 header may fill.
const BOUNDS: [usize; 3] = [HEADER_MIN as usize, 536, 4096];

/// # Panics
///
/// When it does not hold.
pub(crate) fn hold_for(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let choice = usize::from(*choice);
    let (versions, header_max) = (VERSIONS[choice % 3], BOUNDS[choice / 3 % 3]);
    let whole = parse(bytes, versions, header_max);
    match &whole {
        Step::Frame { value, length } => taken(bytes, value, *length, versions, header_max),
        Step::NeedMore => assert!(bytes.len() < header_max, "it waits for more than may come"),
        Step::Invalid(_) => {}
    }
    for length in 0..bytes.len() {
        let part = parse(&bytes[..length], versions, header_max);
        let is_the_same = part == whole || part == Step::NeedMore;
        // What is too short for its bound may yet be refused for what follows.
        assert!(is_the_same || matches!((&part, &whole), (Step::Invalid(_), Step::Invalid(_))));
    }
}

fn taken(bytes: &[u8], value: &Proxied, length: usize, versions: Versions, header_max: usize) {
    assert!((1..=bytes.len()).contains(&length));
    let (is_allowed, length_max) = match value.version() {
        ProxyVersion::V1 => (versions != Versions::V2, v1::LINE_MAX),
        ProxyVersion::V2 => (versions != Versions::V1, header_max),
    };
    assert!(is_allowed && length <= length_max);
    assert_eq!(value.source().is_some(), value.destination().is_some());
    let tlvs: usize = value.tlvs().map(|(_, value)| 3 + value.len()).sum();
    assert!(tlvs == value.tlvs.len() && tlvs <= length);
    assert!(value.tlv(kind::SSL).is_none() || value.ssl().is_some());
    assert_eq!(
        parse(&bytes[..length], versions, header_max),
        Step::Frame {
            value: value.clone(),
            length
        },
        "what follows a header does not change it"
    );
}
