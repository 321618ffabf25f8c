//! Where records begin and end (RFC 8446, 5.1), as far as that must be known before they are whole.

/// Type, version and length.
const HEADER_BYTES: usize = 5;
/// What a record may carry: 2^14 bytes, and in TLS 1.2 2048 for its protection (RFC 5246, 6.2.3).
const BODY_MAX: usize = (1 << 14) + 2048;
/// From change_cipher_spec to application_data.
const TYPES: std::ops::RangeInclusive<u8> = 20..=23;
/// That of the handshake's records.
const HANDSHAKE: u8 = 22;
/// What protecting one record adds, in any suite: the header, an explicit nonce of 8 bytes, a type
/// and a tag of 16; and a change of keys ahead of it, 27 bytes; and some to spare.
pub(super) const OVERHEAD_MAX: u32 = 64;
/// The plaintext of a record at most.
pub(super) const PLAINTEXT_MAX: u32 = 1 << 14;

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The beginning of a record, or nothing.
    Partial,
    /// A record of so many bytes, with its header.
    Whole(usize),
    /// No record.
    Invalid,
}

/// How long a record is, with its header, if its beginning says so.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let [.., high, low] = *bytes.first_chunk::<HEADER_BYTES>()?;
    let body = usize::from(u16::from_be_bytes([high, low]));
    (body <= BODY_MAX).then_some(HEADER_BYTES + body)
}

/// Looks at no more than a header.
pub(crate) fn next(bytes: &[u8]) -> Next {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Next::Partial;
    };
    let [kind, major, _, high, low] = *header;
    let body = usize::from(u16::from_be_bytes([high, low]));
    if !TYPES.contains(&kind) || major != 3 || body > BODY_MAX {
        return Next::Invalid;
    }
    match HEADER_BYTES + body {
        whole if whole <= bytes.len() => Next::Whole(whole),
        _ => Next::Partial,
    }
}

/// Whether a connection begins as one of TLS does, as far as there is anything of it.
pub(crate) fn begins_a_handshake(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [kind] => *kind == HANDSHAKE,
        [kind, major, ..] => *kind == HANDSHAKE && *major == 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_long_as_its_header_says() {
        assert_eq!(next(b""), Next::Partial);
        assert_eq!(next(&[23, 3, 3, 0]), Next::Partial);
        assert_eq!(next(&[23, 3, 3, 0, 0]), Next::Whole(5));
        assert_eq!(next(&[22, 3, 1, 0, 2, 9]), Next::Partial);
        assert_eq!(next(&[22, 3, 1, 0, 2, 9, 9, 9]), Next::Whole(7));
    }

    #[test]
    fn what_is_no_record_is_found_at_its_header() {
        for bytes in [
            b"GET / HTTP/1.1\r\n".as_slice(),
            &[23, 3, 3, 0x48, 1],
            &[22, 2, 0, 0, 1],
        ] {
            assert_eq!(next(bytes), Next::Invalid, "{bytes:?}");
        }
        assert!(!begins_a_handshake(b"G") && !begins_a_handshake(&[22, 2]));
        assert!(begins_a_handshake(&[22]) && begins_a_handshake(&[22, 3, 1]));
    }
}
