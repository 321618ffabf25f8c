//! In which order the servers are measured.

/// Whose turn it is, one after the other, each with its round. Every other round goes backwards, so
/// that a steady drift of the machine favours nobody.
pub(super) fn turns<T: Copy>(whose: &[T], rounds: u32) -> Vec<(u32, T)> {
    let round = |round: u32| {
        let mut turns: Vec<_> = whose.iter().map(|&whose| (round, whose)).collect();
        if round.is_multiple_of(2) {
            turns.reverse();
        }
        turns
    };
    (1..=rounds).flat_map(round).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::ServerKind;

    #[test]
    fn rounds_alternate() {
        use ServerKind::{Echo, RawUring, Tokio};
        let forth_and_back = [
            (1, Echo),
            (1, RawUring),
            (1, Tokio),
            (2, Tokio),
            (2, RawUring),
            (2, Echo),
        ];
        assert_eq!(turns(&[Echo, RawUring, Tokio], 2), forth_and_back);
    }
}
