//! CRC-32C, of a few hundred bytes once in a connection's life: bit by bit (RFC 4960, appendix B).

/// Castagnoli's polynomial, least significant bit first.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// The checksum of these pieces, one after the other.
pub(super) fn crc32c(pieces: [&[u8]; 3]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
    let mut crc = u32::MAX;
    for byte in pieces.into_iter().flatten() {
        crc = (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_vectors_are_met() {
        assert_eq!(crc32c([b"1234", b"", b"56789"]), 0xE306_9283);
        // RFC 3720, B.4.
        assert_eq!(crc32c([&[0; 16], &[0; 16], &[]]), 0x8A91_36AA);
        assert_eq!(crc32c([&[0xFF; 32], &[], &[]]), 0x62A8_AB43);
    }
}
