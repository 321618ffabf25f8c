//! Requests and replies with a length before each: four bytes, big-endian, and as many as they say.
//! A request is answered with itself, reversed.
//!
//! ```text
//! cargo run --example length_prefixed
//! printf '\0\0\0\5hello' | nc -q1 127.0.0.1 7010 | xxd
//! ```
//!
//! A [`Service`] needs no more than its codec and an answer. Pipelined requests are answered in
//! their order, and together, with one send.

use std::process::ExitCode;

use corelane::codec::{LengthPrefixed, Payload};
use corelane::{AppSettings, Error, Frame, Service, ShardContext, from_service};

/// Longest request, without its length.
const REQUEST_MAX: usize = 64 * 1024;

#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReverseSettings {}

impl AppSettings for ReverseSettings {
    const NAME: &'static str = "length_prefixed";
    const ABOUT: &'static str = "Answers each request with itself, reversed";
    const LISTEN: &'static str = "127.0.0.1:7010";
}

struct Reverse;

impl Service for Reverse {
    type Codec = LengthPrefixed;
    type Reply = Vec<u8>;

    fn codec(&self) -> LengthPrefixed {
        LengthPrefixed::new(REQUEST_MAX)
    }

    async fn call(&self, request: Frame<Payload>) -> Result<Vec<u8>, Error> {
        Ok(request.iter().rev().copied().collect())
    }
}

fn main() -> ExitCode {
    corelane::run(|_shard: &ShardContext, _settings: &ReverseSettings| from_service(Reverse))
}
