//! Frames of WebSocket, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| corelane::fuzzing::websocket(bytes));
