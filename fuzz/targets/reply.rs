//! Replies of a Redis server, as the tests' relay reads them.
#![no_main]

#[path = "../../tests/src/resp.rs"]
mod resp;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| resp::hold_for(bytes));
