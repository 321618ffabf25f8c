//! Files of settings and `--set` arguments.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::fuzzing::settings(bytes));
