//! The stock codecs, in any pieces and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::fuzzing::codec(bytes));
