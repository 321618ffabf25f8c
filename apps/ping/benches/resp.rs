//! The parser of requests. `make bench`.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

#[path = "../src"]
mod ping {
    pub mod client;
    pub mod reply;
    pub mod resp;
    pub mod setup;
}

use corelane::Step;
use divan::counter::BytesCount;

use ping::resp::{self, Limits, parse};

const LIMITS: Limits = Limits {
    inline_max: 65_536,
    bulk_max: 1 << 20,
    arguments_max: 1024,
};

fn main() {
    divan::main();
}

#[divan::bench(args = [
    &b"PING\r\n"[..],
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$64\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n",
])]
fn request(bencher: divan::Bencher<'_, '_>, bytes: &[u8]) {
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| matches!(parse(divan::black_box(bytes), &LIMITS), Step::Frame { .. }));
}
