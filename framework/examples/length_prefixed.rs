//! Requests and replies with a length before each: four bytes, big-endian, and as many as they say.
//! A request is answered with itself, reversed.
//!
//! ```text
//! cargo run --example length_prefixed
//! printf '\0\0\0\5hello' | nc -q1 127.0.0.1 7010 | xxd
//! ```
//!
//! The parser is pure and total: bytes in, a [`Step`] out; the length is judged before anything is
//! kept for it. Pipelined requests are answered together, with one send.

use std::process::ExitCode;

use corelane::{AppSettings, Conn, Error, Handler, ShardContext, Step};

const HEADER: usize = 4;
/// Longest request, without its header.
const REQUEST_MAX: usize = 64 * 1024;

#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReverseSettings {}

impl AppSettings for ReverseSettings {
    const NAME: &'static str = "length_prefixed";
    const ABOUT: &'static str = "Answers each request with itself, reversed";
    const LISTEN: &'static str = "127.0.0.1:7010";
}

/// The length of a frame's payload.
fn parse(unread: &[u8]) -> Step<usize> {
    let Some(header) = unread.first_chunk::<HEADER>() else {
        return Step::NeedMore;
    };
    let payload = u32::from_be_bytes(*header) as usize;
    if payload > REQUEST_MAX {
        return Step::Invalid("the request is too long");
    }
    Step::Frame {
        value: payload,
        length: HEADER + payload,
    }
}

struct Reverse;

impl Handler for Reverse {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        while let Some(frame) = conn.read_frame(HEADER + REQUEST_MAX, parse).await? {
            let (header, payload) = frame.bytes.split_at(HEADER);
            let reversed: Vec<u8> = payload.iter().rev().copied().collect();
            conn.write(header).await?;
            conn.write(&reversed).await?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    corelane::run(|_shard: &ShardContext, _settings: &ReverseSettings| Reverse)
}
