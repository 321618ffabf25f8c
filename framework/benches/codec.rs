//! What the stock codecs take for a frame that is whole. `make bench`.
#![allow(missing_docs)]

use corelane::Step;
use corelane::codec::{Codec, Delimited, LengthPrefixed, Lines, Netstrings};
use divan::counter::BytesCount;

const TEXT: &[u8] = b"0123456789012345678901234567890123456789012345678901234567890123";

fn main() {
    divan::main();
}

/// Encodes [`TEXT`], and decodes that again and again.
fn decode<C>(bencher: divan::Bencher<'_, '_>, mut codec: C)
where
    C: Codec + for<'a> Codec<Out<'a> = [u8]>,
{
    let mut frame = Vec::new();
    let encoded = codec.encode(TEXT, &mut frame);
    encoded.expect("a vector takes it");
    bencher
        .counter(BytesCount::new(frame.len()))
        .bench_local(|| matches!(codec.decode(divan::black_box(&frame)), Step::Frame { .. }));
}

#[divan::bench]
fn lines(bencher: divan::Bencher<'_, '_>) {
    decode(bencher, Lines::new(1024));
}

#[divan::bench]
fn delimited(bencher: divan::Bencher<'_, '_>) {
    decode(bencher, Delimited::new(b"\r\n\r\n", 1024));
}

#[divan::bench]
fn length_prefixed(bencher: divan::Bencher<'_, '_>) {
    decode(bencher, LengthPrefixed::new(1024));
}

#[divan::bench]
fn netstrings(bencher: divan::Bencher<'_, '_>) {
    decode(bencher, Netstrings::new(1024));
}
