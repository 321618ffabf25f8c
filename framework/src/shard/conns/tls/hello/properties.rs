//! What holds of any bytes with which a client may begin: property tests, the kept corpus and the
//! fuzzer ask the same.

use super::{CLIENT_HELLO, HANDSHAKE, NAME_BYTES_MAX, handshake_bytes, server_name};

/// Takes `bytes` as records, and as what a ClientHello has behind its length.
///
/// # Panics
///
/// When it does not hold.
pub(crate) fn hold_for(bytes: &[u8]) {
    held(bytes);
    let body = &bytes[..bytes.len().min(0xffff - 4)];
    let header = (u32::from(CLIENT_HELLO) << 24 | body.len() as u32).to_be_bytes();
    let message = [header.as_slice(), body].concat();
    let name = server_name(&in_records(&message, message.len()));
    for part in [1, 3, 40] {
        let found = server_name(&in_records(&message, part));
        assert_eq!(found, name, "in records of {part} bytes");
    }
    held(&in_records(&message, message.len()));
}

fn held(records: &[u8]) {
    let name = server_name(records);
    for end in 0..records.len() {
        let found = server_name(&records[..end]);
        assert!(found.is_none() || found == name, "{end} bytes of it");
    }
    let Some(name) = name else { return };
    assert!((1..=NAME_BYTES_MAX).contains(&name.len()));
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    assert!(name.bytes().all(is_plain), "{name}");
    let message = handshake_bytes(records);
    let mut parts = message.windows(name.len());
    assert!(parts.any(|part| part.eq_ignore_ascii_case(name.as_bytes())));
}

/// A message of the handshake in records of so many bytes.
fn in_records(message: &[u8], part: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for part in message.chunks(part) {
        let [high, low] = (part.len() as u16).to_be_bytes();
        records.extend([HANDSHAKE, 3, 1, high, low]);
        records.extend_from_slice(part);
    }
    records
}
