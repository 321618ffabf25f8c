//! What peers and operators write to the gateway, and its events read back.
#![no_main]
#![allow(dead_code, reason = "the handler that uses the rest is not here")]

#[path = "../../apps/gateway/src/event.rs"]
mod event;
#[path = "../../apps/gateway/src/origin.rs"]
mod origin;
#[path = "../../apps/gateway/src/policy.rs"]
mod policy;
#[path = "../../apps/gateway/src/properties.rs"]
mod properties;
#[path = "../../apps/gateway/src/route.rs"]
mod route;
#[path = "../../apps/gateway/src/settings.rs"]
mod settings;
#[path = "../../apps/gateway/src/tokens.rs"]
mod tokens;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::hold_for(bytes));
