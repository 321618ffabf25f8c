//! A shard against a model of it: its own state, ring and handlers' tasks, with a kernel, peers and
//! handlers that do whatever they may, in an order that a seed decides. After every turn all that
//! is known of every connection is looked at: [`rules`].
//!
//! `CORELANE_MODEL_SEED=N` plays the one run of that seed.

mod handler;
mod kernel;
mod random;
mod rules;
#[cfg(test)]
mod table;
mod world;

use std::net::TcpListener;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use handler::{Stage, serve};
use kernel::Kernel;
use random::Random;
use rules::Moment;

use super::Shard;
use super::accept::Acceptor;
use super::bounds::Bounds;
use super::deadline::{Tick, Ticks};
use super::interest::Interest;
use super::serve::Tasks;
use super::stand_in::{ACCEPTED_MAX, stand_in_shard};
use crate::config::{Buffers, Config, Limits, Timeouts};
use crate::error::CloseReason;
use crate::preflight::MemoryShare;
use crate::ring::Key;

const OUTBOUND_MAX: u32 = 3;
/// Connections that a run begins at most.
const CLIENTS_MAX: u32 = 16;
/// Turns of a run before everybody is asked to end, and after which everybody must have.
const TURNS: u32 = 300;
const TURNS_TO_END: u32 = 2000;

/// Settings whose bounds are met often.
fn settings(random: &mut Random) -> Config {
    let mut or_off = |millis: u64| (!random.one_in(5)).then(|| Duration::from_millis(millis));
    let overload = or_off(500);
    let timeouts = Timeouts {
        first_byte: or_off(1500),
        read: or_off(1000),
        write: or_off(1200),
        idle: or_off(2000),
        lifetime: if random.one_in(3) {
            Some(Duration::from_secs(6))
        } else {
            None
        },
        request: if random.one_in(3) {
            Some(Duration::from_millis(1800))
        } else {
            None
        },
        drain: Duration::from_secs(4),
        close: Duration::from_secs(1),
        overload,
        ..Timeouts::default()
    };
    let limits = Limits {
        outbound_per_shard_max: OUTBOUND_MAX,
        connects_in_flight_max: 2,
        accepts_in_flight_max: 3,
        recv_queue_max: random.between(1, 4),
        write_queue_max: random.between(300, 2000),
        ..Limits::default()
    };
    Config {
        timeouts,
        limits,
        buffers: Buffers {
            size: 256,
            count: 16 << random.below(3),
        },
        ..Config::default()
    }
}

/// Plays the run of `seed`. Returns how many connections it saw end.
fn play(seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let config = settings(&mut random);
    let memory = if random.one_in(3) {
        random.between(1000, 4000)
    } else {
        rules::AMPLE as u32
    };
    let memory = MemoryShare {
        unread_max: memory,
        unsent_max: memory,
    };
    let (bounds, request) = (
        Bounds::of(&config, memory),
        Ticks::of(config.timeouts.request),
    );
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let acceptor = Acceptor::new(Some(listener), &config);
    let shard = stand_in_shard(config, memory);
    shard.state().acceptor = acceptor;
    let stage = Stage::new(Random::new(random.next()));
    let mut run = Run {
        kernel: Kernel::new(ACCEPTED_MAX + OUTBOUND_MAX, random.between(1, CLIENTS_MAX)),
        clock: Duration::ZERO,
        drains_since: None,
        shard: Rc::clone(&shard),
        stage: &stage,
        bounds,
        request,
        random,
    };
    let mut tasks = Tasks::new(|key| serve(&stage, key));
    run.go(&mut tasks);
    run.assert_nothing_is_left();
    stage.world.borrow().past.len() as u64
}

struct Run<'a> {
    shard: Rc<Shard>,
    stage: &'a Stage,
    kernel: Kernel,
    bounds: Bounds,
    request: Ticks,
    clock: Duration,
    drains_since: Option<Tick>,
    random: Random,
}

impl Run<'_> {
    fn go<S, F>(&mut self, tasks: &mut Tasks<S, F>)
    where
        S: Fn(Key) -> F,
        F: Future<Output = Result<(), crate::error::Error>>,
    {
        let drain_at = self.random.below(2 * TURNS);
        for turn in 0..TURNS + TURNS_TO_END {
            if turn == drain_at.min(TURNS) {
                self.shard.orders.drain();
            }
            if turn == TURNS {
                (self.stage.world.borrow_mut().is_ending, self.kernel.is_calm) = (true, true);
            }
            self.happen();
            if self.turn(tasks) {
                return;
            }
        }
        panic!(
            "not everybody has ended: {:?}",
            self.stage.world.borrow().lives
        );
    }

    /// Time passes, the kernel goes on, and somebody else may wake a handler.
    fn happen(&mut self) {
        let most = if self.random.one_in(6) { 900 } else { 60 };
        self.clock += Duration::from_millis(self.random.below(most).into());
        let mut state = self.shard.state();
        let mut world = self.stage.world.borrow_mut();
        for _ in 0..self.random.below(4) {
            self.kernel.act(
                &mut state.ring,
                &self.shard.pool,
                &mut world,
                &mut self.random,
            );
        }
        drop((state, world));
        if self.random.one_in(3) {
            self.stage.rouse(self.kernel.is_calm);
        }
        if self.random.one_in(4) {
            self.ask_for_the_past();
        }
    }

    /// A turn of the pump, with a look before the handlers run and one after. True when the shard
    /// has drained.
    fn turn<S, F>(&mut self, tasks: &mut Tasks<S, F>) -> bool
    where
        S: Fn(Key) -> F,
        F: Future<Output = Result<(), crate::error::Error>>,
    {
        self.kernel.begin_turn();
        let over = self.shard.turn(self.clock);
        let now = Tick::at(self.clock);
        if self.shard.orders.says_drain() {
            self.drains_since.get_or_insert(now);
        }
        let shard = Rc::clone(&self.shard);
        let look = |run: &mut Self| {
            let (mut state, mut world) = (shard.state(), run.stage.world.borrow_mut());
            run.kernel
                .enter(&mut state.ring, &mut world, &mut run.random, now);
            (state, world)
        };
        {
            let (mut state, mut world) = look(self);
            world
                .lives
                .iter_mut()
                .for_each(|life| life.errors_are_new = false);
            rules::see_turn(&mut state, &self.kernel, &mut world, now);
        }
        tasks.run(&shard);
        assert!(!self.stage.is_broken.get(), "a handler saw a rule broken");
        shard.state().feed();
        let (mut state, mut world) = look(self);
        let moment = Moment {
            now,
            bounds: self.bounds,
            request: self.request,
            drains_since: self.drains_since,
        };
        rules::see_rest(&mut state, &self.kernel, &mut world, moment);
        over
    }

    /// Names of connections that are gone are asked for everything: nothing is found and nothing
    /// changes.
    fn ask_for_the_past(&mut self) {
        let world = self.stage.world.borrow();
        let Some(key) = world
            .past
            .get(self.random.below(world.past.len().max(1) as u32) as usize)
            .copied()
        else {
            return;
        };
        let mut state = self.shard.state();
        let before = rules::fingerprint(&mut state, key.slot);
        assert!(
            state.pop_input(key).is_none()
                && state.input_is_over(key)
                && state.is_flushed(key)
                && !state.has_room(key)
        );
        assert_eq!(state.failure(key), Some(CloseReason::HandlerClosed));
        assert_eq!(state.begin_poll(key), None);
        state.wait(key, Interest::Input, Waker::noop());
        Interest::ALL
            .into_iter()
            .for_each(|interest| state.fire(key, interest));
        assert!(!state.lay_by(key, None) && !state.take_up(key));
        state.wake(key);
        state.expire(key);
        state.set_deadline(key);
        state.fail(key, CloseReason::SocketError);
        state.finish(key, None);
        state.let_go(key);
        state.discard(key);
        state.begin_frame(key);
        assert_eq!(state.collect_output(key, b"lost"), 4);
        assert_eq!(
            rules::fingerprint(&mut state, key.slot),
            before,
            "{key:?} is past and changed its slot"
        );
    }

    /// What connections took their ends gave back.
    fn assert_nothing_is_left(&self) {
        let state = self.shard.state();
        let world = self.stage.world.borrow();
        assert_eq!((state.table.open(), world.lives.len()), (0, 0));
        assert_eq!(self.kernel.in_flight(), 0, "nothing is in flight");
        assert_eq!(
            (self.shard.pool.held(), state.ring.lent()),
            (0, 0),
            "nobody holds a buffer"
        );
        assert_eq!(state.metrics.tasks.get(), 0);
        assert_eq!(state.table.segments.in_use(), 0);
        assert_eq!(
            state
                .metrics
                .closed
                .iter()
                .map(|count| count.get())
                .sum::<u64>(),
            state.metrics.accepted.get()
        );
        assert!(
            state.wakes.wakers.is_empty() && state.wakes.is_empty() && state.touched.is_empty()
        );
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LIVES: u64 = 10_000;
    const THREADS: u64 = 2;

    /// Says how to play a run again if it fails.
    struct Named(u64);

    impl Drop for Named {
        fn drop(&mut self) {
            if thread::panicking() {
                eprintln!(
                    "again: CORELANE_MODEL_SEED={} cargo test -p corelane --lib ten_thousand_lives",
                    self.0
                );
            }
        }
    }

    /// Each run on a thread of its own, for a thread has one shard.
    fn play_on_its_thread(seed: u64) -> u64 {
        thread::spawn(move || {
            let _named = Named(seed);
            play(seed)
        })
        .join()
        .unwrap_or_else(|_panic| panic!("seed {seed}"))
    }

    #[test]
    fn ten_thousand_lives_keep_every_rule() {
        if let Some(seed) = std::env::var("CORELANE_MODEL_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
        {
            play_on_its_thread(seed);
            return;
        }
        let walk = |first: u64| {
            let (mut seed, mut lives) = (first, 0);
            while lives < LIVES / THREADS {
                lives += play_on_its_thread(seed);
                seed += THREADS;
            }
        };
        thread::scope(|scope| {
            (0..THREADS).for_each(|first| drop(scope.spawn(move || walk(first))))
        });
    }
}
