//! What the event loop does most: naming an operation in 64 bits and back, and sweeping deadlines.
//! `make bench`.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

#[path = "../src/id.rs"]
mod id;
#[path = "../src/time.rs"]
mod time;

#[path = "../src/ring"]
mod ring {
    pub mod token;

    pub fn there_and_back(token: token::Token) -> token::Token {
        token::Token::decode(divan::black_box(token.encode()))
    }
}

#[path = "../src/shard"]
mod shard {
    pub mod policy {
        pub mod paced_queue;
    }
    pub mod conns {
        pub mod deadline;
    }
}

#[path = "../src/websocket"]
mod websocket {
    mod mask;

    pub fn unmask(bytes: &mut [u8]) {
        mask::apply(bytes, divan::black_box([0x37, 0xfa, 0x21, 0x3d]));
    }
}

use std::time::Duration;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

use id::{Generation, Key, SlotIndex};
use ring::token::{Operation, Token};
use shard::conns::deadline::Deadlines;
use time::Tick;

const SLOTS: u32 = 20_000;

fn main() {
    divan::main();
}

#[divan::bench]
fn token_there_and_back() -> Token {
    let slot = SlotIndex(divan::black_box(12_345));
    let generation = Generation::of(divan::black_box(77));
    ring::there_and_back(Token::new(Operation::Receive, Key { slot, generation }))
}

/// Of all the deadlines of a shard, none or all of which have passed.
#[divan::bench(args = [0, SLOTS])]
fn sweep(bencher: Bencher<'_, '_>, due: u32) {
    let make = || {
        let mut deadlines = Deadlines::with_capacity(SLOTS);
        deadlines.grow_to(SlotIndex(SLOTS - 1));
        for slot in 0..SLOTS {
            let tick = if slot < due { Tick(5) } else { Tick(900) };
            deadlines.set(SlotIndex(slot), tick);
        }
        deadlines.set(SlotIndex(0), Tick(5));
        (deadlines, Vec::with_capacity(SLOTS as usize))
    };
    bencher
        .counter(ItemsCount::new(SLOTS))
        .with_inputs(make)
        .bench_refs(|(deadlines, expired)| {
            deadlines.sweep(Tick(7), Duration::ZERO, usize::MAX, expired);
        });
}

/// What a frame of a WebSocket carries, where it lies.
#[divan::bench(args = [16, 125, 4096, 1 << 20])]
fn unmask(bencher: Bencher<'_, '_>, bytes: usize) {
    bencher
        .counter(BytesCount::new(bytes))
        .with_inputs(|| vec![b'x'; bytes])
        .bench_refs(|payload| websocket::unmask(payload));
}
