//! What holds of any bytes with which a client may begin: property tests, the kept corpus and the
//! fuzzer ask the same.

use super::{CLIENT_HELLO, HANDSHAKE, Hello, NAME_BYTES_MAX, add_handshake_bytes};

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
    let whole = in_records(&message, message.len()).concat();
    let name = name_in(&whole);
    for part in [1, 3, 40] {
        let (mut hello, mut found) = (Hello::default(), None);
        for record in in_records(&message, part) {
            assert_eq!(found, None, "it is known at the end alone");
            found = hello.take(&record);
        }
        assert_eq!(found.flatten(), name, "in records of {part} bytes");
    }
    held(&whole);
}

fn name_in(records: &[u8]) -> Option<Box<str>> {
    Hello::default().take(records).flatten()
}

fn held(records: &[u8]) {
    let name = name_in(records);
    for end in 0..records.len() {
        let found = name_in(&records[..end]);
        assert!(found.is_none() || found == name, "{end} bytes of it");
    }
    let Some(name) = name else { return };
    assert!((1..=NAME_BYTES_MAX).contains(&name.len()));
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    assert!(name.bytes().all(is_plain), "{name}");
    let mut message = Vec::new();
    add_handshake_bytes(records, &mut message);
    let mut parts = message.windows(name.len());
    assert!(parts.any(|part| part.eq_ignore_ascii_case(name.as_bytes())));
}

/// A message of the handshake in records of so many bytes.
fn in_records(message: &[u8], part: usize) -> Vec<Vec<u8>> {
    let records = message.chunks(part).map(|part| {
        let [high, low] = (part.len() as u16).to_be_bytes();
        [&[HANDSHAKE, 3, 1, high, low], part].concat()
    });
    records.collect()
}
