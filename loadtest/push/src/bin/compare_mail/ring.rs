//! The reference for messages in great number: a bare `rtrb` ring between two threads.
//!
//! Both wait for a whole batch of room, or of messages, so that neither takes the ring's ends from
//! the other's core at every message.

use std::hint::spin_loop;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use push::pin;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::busy::Tally;

/// How long so many messages take, and what has come.
pub(crate) fn run(
    messages: u64,
    batch: usize,
    capacity: usize,
    [first, second]: [usize; 2],
) -> (Duration, Tally) {
    let (producer, consumer) = RingBuffer::new(capacity);
    let both = &Barrier::new(2);
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            pin(first);
            both.wait();
            let begun = Instant::now();
            send(producer, messages, batch);
            begun
        });
        let receiver = scope.spawn(move || {
            pin(second);
            both.wait();
            let tally = receive(consumer, messages, batch);
            (Instant::now(), tally)
        });
        let begun = sender
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (ended, tally) = receiver
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (ended - begun, tally)
    })
}

fn send(mut ring: Producer<u64>, messages: u64, batch: usize) {
    let mut left = messages;
    while left > 0 {
        let batch = left.min(batch as u64);
        while (ring.slots() as u64) < batch {
            spin_loop();
        }
        for _ in 0..batch {
            left -= 1;
            ring.push(left).expect("there is room for the batch");
        }
    }
}

fn receive(mut ring: Consumer<u64>, messages: u64, batch: usize) -> Tally {
    let mut tally = Tally::default();
    while tally.received < messages {
        let batch = (messages - tally.received).min(batch as u64);
        while (ring.slots() as u64) < batch {
            spin_loop();
        }
        for _ in 0..batch {
            tally.add(ring.pop().expect("the batch is there"));
        }
    }
    tally
}
