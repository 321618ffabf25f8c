//! What both ends know of the opening handshake (RFC 6455, 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1_smol::Sha1;

/// RFC 6455, 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a server that understands the key answers.
pub(super) fn accept(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    STANDARD.encode(hash.digest().bytes())
}

/// A client's key: 16 bytes, in base64.
pub(super) fn key(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

pub(super) fn is_key(key: &[u8]) -> bool {
    STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// The members of a field that is a list, without the spaces around them.
pub(super) fn members<'v>(
    values: impl Iterator<Item = &'v [u8]>,
) -> impl Iterator<Item = &'v [u8]> {
    let members = values.flat_map(|value| value.split(|byte| *byte == b','));
    members
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455, 1.3.
    #[test]
    fn the_key_of_the_rfc_has_its_answer() {
        assert_eq!(
            accept(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert!(is_key(b"dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(is_key(key([7; 16]).as_bytes()));
        for bad in [
            &b""[..],
            b"dGhlIHNhbXBsZQ==",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"a b",
            b"\xff",
        ] {
            assert!(!is_key(bad), "{}", bad.escape_ascii());
        }
    }
}
