//! Lines of the chat server's peers.
#![no_main]
#![allow(dead_code, reason = "the handler that uses the rest is not here")]

#[path = "../../apps/chat/src"]
mod chat {
    pub(crate) mod command;
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| chat::command::properties::hold_for(bytes));
