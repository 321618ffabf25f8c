//! The parser of requests. `make bench`.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

#[path = "../src"]
mod ping {
    pub mod client;
    pub mod codec;
    pub mod reply;
    pub mod resp;
    pub mod setup;
}

use std::cell::Cell;

use corelane::Step;
use corelane::codec::Codec;
use divan::counter::BytesCount;

use ping::codec::Resp;
use ping::reply::Reply;
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

/// As [`request`], by the codec of a connection that goes on.
#[divan::bench(args = [
    &b"PING\r\n"[..],
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$4\r\nECHO\r\n$64\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n",
])]
fn decode(bencher: divan::Bencher<'_, '_>, bytes: &[u8]) {
    let limits = Cell::new(LIMITS);
    let mut resp = Resp::new(&limits);
    let decode = || matches!(resp.decode(divan::black_box(bytes)), Step::Frame { .. });
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(decode);
}

#[divan::bench]
fn encode(bencher: divan::Bencher<'_, '_>) {
    let limits = Cell::new(LIMITS);
    let (mut resp, mut sent) = (Resp::new(&limits), Vec::with_capacity(64));
    bencher.bench_local(|| {
        sent.clear();
        let outcome = resp.encode(divan::black_box(&Reply::Pong), &mut sent);
        (outcome.is_ok(), sent.len())
    });
}
