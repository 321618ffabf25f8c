//! Peers of a server with TLS, and files of ticket keys.
#![no_main]

use std::sync::LazyLock;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};

static CERTIFIED: LazyLock<CertifiedKey<KeyPair>> = LazyLock::new(|| {
    generate_simple_self_signed(vec!["server.test".to_owned()]).expect("it is made")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (certificate, key) = (CERTIFIED.cert.der(), CERTIFIED.signing_key.serialize_der());
    corelane::fuzzing::tls(bytes, certificate, &key);
});
