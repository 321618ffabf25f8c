//! The clients: threads that have one session after the other, each of a kind drawn at random.

use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tests::Random;
use tests::chaos::{Chaos, Cut, Faults};

use crate::sessions::{BAD, GOOD, Place, Session};

/// Threads of well-behaved clients, each of which has one connection at a time, or a few.
const GOOD_THREADS: usize = 8;
/// Threads of the others, who are mostly waiting for the server to end them.
const BAD_THREADS: usize = 48;

/// Clients at work.
#[derive(Debug)]
pub(super) struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    good: AtomicU64,
    bad: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// How many sessions there were.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    good: u64,
    bad: u64,
}

/// Ways to the two servers.
struct Ways {
    /// On which nothing is lost: none, and lines that delay and slice.
    good: Vec<Place>,
    /// On which anything may happen.
    bad: Vec<Place>,
    _proxies: Vec<Chaos>,
}

impl Crew {
    pub(super) fn start(echo: SocketAddr, ping: SocketAddr, seed: u64) -> Self {
        let ways = Arc::new(Ways::to(echo, ping, seed));
        let shared = Arc::<Shared>::default();
        let threads = (0..GOOD_THREADS + BAD_THREADS).map(|number| {
            let (ways, shared) = (Arc::clone(&ways), Arc::clone(&shared));
            let is_good = number < GOOD_THREADS;
            // An odd multiplier keeps the seeds of neighbours far apart.
            let random = Random::seeded(
                seed.wrapping_add(number as u64)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15),
            );
            thread::spawn(move || {
                if is_good {
                    behave(&ways, &shared, random)
                } else {
                    misbehave(&ways, &shared, random)
                }
            })
        });
        Self {
            threads: threads.collect(),
            shared,
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        !self.shared.failures.lock().unwrap().is_empty()
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            good: self.shared.good.load(Ordering::Relaxed),
            bad: self.shared.bad.load(Ordering::Relaxed),
        }
    }

    /// Lets every client finish its session. What well-behaved ones have to complain of.
    pub(super) fn end(self) -> (Progress, Vec<String>) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let progress = Progress {
            good: self.shared.good.load(Ordering::Relaxed),
            bad: self.shared.bad.load(Ordering::Relaxed),
        };
        (
            progress,
            std::mem::take(&mut *self.shared.failures.lock().unwrap()),
        )
    }
}

impl Ways {
    fn to(echo: SocketAddr, ping: SocketAddr, seed: u64) -> Self {
        let ms = Duration::from_millis;
        let harmless = [
            Faults::none().slice(500).delay(ms(1), ms(5)),
            Faults::none().delay(ms(10), ms(20)),
            Faults::none().bandwidth(4_000_000),
        ];
        let harmful = [
            Faults::none().corrupt(200),
            Faults::none().corrupt(50).slice(30),
            Faults::none().cut(Cut::Reset, 3000),
            Faults::none().cut(Cut::HalfClose, 2000),
            Faults::none().cut(Cut::Blackhole, 1000),
            Faults::none().bandwidth(2000),
        ];
        let (mut good, mut bad, mut proxies) = (
            vec![Place { echo, ping }],
            vec![Place { echo, ping }],
            Vec::new(),
        );
        let mut through = |forth: &Faults, back: &Faults| {
            let [to_echo, to_ping] =
                [echo, ping].map(|server| Chaos::before(server, seed, forth.clone(), back.clone()));
            let place = Place {
                echo: to_echo.addr(),
                ping: to_ping.addr(),
            };
            proxies.extend([to_echo, to_ping]);
            place
        };
        good.extend(harmless.iter().map(|faults| through(faults, faults)));
        bad.extend(
            harmful
                .iter()
                .map(|faults| through(faults, &Faults::none())),
        );
        bad.extend(
            harmful
                .iter()
                .map(|faults| through(&Faults::none(), faults)),
        );
        Self {
            good,
            bad,
            _proxies: proxies,
        }
    }
}

fn draw<'a, T>(random: &mut Random, from: &'a [T]) -> &'a T {
    &from[random.below(from.len())]
}

fn behave(ways: &Ways, shared: &Shared, mut random: Random) {
    while !shared.over.load(Ordering::Relaxed) {
        let (name, session): &(&str, Session) = draw(&mut random, &GOOD);
        let place = draw(&mut random, &ways.good);
        let result = catch_unwind(AssertUnwindSafe(|| session(place, &mut random)));
        shared.good.fetch_add(1, Ordering::Relaxed);
        let why = match result {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "wrong bytes, or none: see the panic above".to_owned(),
        };
        shared
            .failures
            .lock()
            .unwrap()
            .push(format!("well-behaved client, {name}: {why}"));
    }
}

fn misbehave(ways: &Ways, shared: &Shared, mut random: Random) {
    while !shared.over.load(Ordering::Relaxed) {
        let (_, session): &(&str, Session) = draw(&mut random, &BAD);
        // Whatever they meet, they have asked for it.
        let _ = session(draw(&mut random, &ways.bad), &mut random);
        shared.bad.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} sessions of well-behaved clients, {} of others",
            self.good, self.bad
        )
    }
}
