//! PROXY headers, of both versions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::fuzzing::proxy(bytes));
