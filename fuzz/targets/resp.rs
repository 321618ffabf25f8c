//! Requests to the ping server, and what they are answered with.
#![no_main]
#![allow(dead_code, reason = "the handler that uses the rest is not here")]

#[path = "../../apps/ping/src"]
mod ping {
    mod client;
    mod reply;
    pub(crate) mod resp;
    mod setup;
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ping::resp::properties::hold_for(bytes);
});
