//! Classes of characters, as tables.

/// Letters, digits and these.
pub(super) const fn class(others: &[u8]) -> [bool; 256] {
    let (mut class, mut index) = ([false; 256], 0);
    while index < 256 {
        class[index] = (index as u8).is_ascii_alphanumeric();
        index += 1;
    }
    let mut index = 0;
    while index < others.len() {
        class[others[index] as usize] = true;
        index += 1;
    }
    class
}
