//! What holds of the file whatever is in it: property tests, the kept corpus and the fuzzer ask the
//! same.

use super::{FIRST_LINE, parse, print};

/// In seconds, as keys have it by default.
const LIFETIME: u64 = 12 * 3600;

/// # Panics
///
/// When it does not hold.
pub(crate) fn hold_for(contents: &[u8]) {
    let Some(keys) = parse(contents) else { return };
    assert!(contents.starts_with(FIRST_LINE.as_bytes()));
    let printed = print(&keys);
    // A number may have zeros in front.
    assert!(printed.len() <= contents.len());
    assert!(parse(printed.as_bytes()).as_ref() == Some(&keys));
    // Whenever they were made they can be renewed.
    let made = keys.current.made;
    for now in [0, made, made.saturating_add(LIFETIME), u64::MAX] {
        let renewed = keys.at(now, LIFETIME);
        assert!(!renewed.is_due(now, LIFETIME));
        assert_eq!(keys.is_due(now, LIFETIME), renewed.current != keys.current);
    }
}
