//! A shard against a model of it: its own state, ring and handlers' tasks, with a kernel, peers and
//! handlers that do whatever they may, in an order that a seed decides. After every turn all that
//! is known of every connection is looked at: [`rules`].
//!
//! `CORELANE_MODEL_SEED=N` plays the one run of that seed.

use std::net::TcpListener;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::config::{Buffers, Config, Limits, Timeouts};
use crate::conn::connection::Conn;
use crate::error::{CloseReason, Error};
use crate::id::Key;
use crate::shard::commands::Queue;
use crate::shard::handle::Shard;
use crate::shard::policy::bounds::{Bounds, MemoryShare};
use crate::shard::sim::handler::{Stage, serve};
use crate::shard::sim::kernel::Kernel;
use crate::shard::sim::random::Random;
use crate::shard::sim::rules::{self, Moment};
use crate::shard::sim::stand_in::{ACCEPTED_MAX, stand_in_shard};
use crate::shard::state::acceptor::{Acceptor, ListenSocket};
use crate::shard::task_poller::TaskPoller;
use crate::time::{Tick, Ticks};

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
    let acceptor = Acceptor::new(vec![ListenSocket::of(listener)], &config);
    let shard = stand_in_shard(config, memory);
    shard.core().acceptor = acceptor;
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
    let mut tasks = TaskPoller::new(|key| serve(&stage, key));
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
    fn go<S, F>(&mut self, tasks: &mut TaskPoller<S, F>)
    where
        S: Fn(Key) -> F,
        F: Future<Output = Result<(), Error>>,
    {
        let drain_at = self.random.below(2 * TURNS);
        for turn in 0..TURNS + TURNS_TO_END {
            if turn == drain_at.min(TURNS) {
                let is_shared = self.random.one_in(2);
                let queue = if is_shared {
                    Queue::Leave
                } else {
                    Queue::Serve
                };
                self.shard.commands.drain(queue);
            }
            if turn == TURNS {
                self.stage.world.borrow_mut().is_ending = true;
                self.kernel.is_calm = true;
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
        let mut core = self.shard.core();
        let mut world = self.stage.world.borrow_mut();
        for _ in 0..self.random.below(4) {
            self.kernel.act(
                &mut core.conns.shared.ring,
                &self.shard.buffers,
                &mut *world,
                &mut self.random,
            );
        }
        drop((core, world));
        if self.random.one_in(3) {
            self.stage.wake(self.kernel.is_calm);
        }
        if self.random.one_in(4) {
            self.ask_for_the_past();
        }
    }

    /// A turn of the event loop, with a look before the handlers run and one after. True when the
    /// shard has drained.
    fn turn<S, F>(&mut self, tasks: &mut TaskPoller<S, F>) -> bool
    where
        S: Fn(Key) -> F,
        F: Future<Output = Result<(), Error>>,
    {
        self.kernel.begin_turn();
        let over = self.shard.turn(self.clock);
        let now = Tick::at(self.clock);
        if self.shard.commands.says_drain().is_some() {
            self.drains_since.get_or_insert(now);
        }
        let shard = Rc::clone(&self.shard);
        let look = |run: &mut Self| {
            let (mut core, mut world) = (shard.core(), run.stage.world.borrow_mut());
            run.kernel.enter(
                &mut core.conns.shared.ring,
                &mut *world,
                &mut run.random,
                now,
            );
            (core, world)
        };
        {
            let (mut core, mut world) = look(self);
            world
                .lives
                .iter_mut()
                .for_each(|life| life.errors_are_new = false);
            rules::see_turn(&mut core, &self.kernel, &mut world, now);
        }
        tasks.run(&shard);
        assert!(!self.stage.is_broken.get(), "a handler saw a rule broken");
        shard.core().feed();
        let (mut core, mut world) = look(self);
        let moment = Moment {
            now,
            bounds: self.bounds,
            request: self.request,
            drains_since: self.drains_since,
        };
        rules::see_rest(&mut core, &self.kernel, &mut world, moment);
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
        let mut core = self.shard.core();
        let before = rules::fingerprint(&core, key.slot);
        assert!(core.conns.get(key).is_none(), "{key:?} is past and found");
        core.wake(key);
        drop((core, world));
        let mut conn = Conn::new(key);
        let mut context = Context::from_waker(Waker::noop());
        let gone = Error::Closed(CloseReason::HandlerClosed).to_string();
        let read = conn.poll_read(&mut context);
        let written = pin!(conn.write(b"lost")).poll(&mut context);
        let flushed = pin!(conn.flush()).poll(&mut context);
        assert!(matches!(read, Poll::Ready(Err(error)) if error.to_string() == gone));
        assert!(matches!(written, Poll::Ready(Err(error)) if error.to_string() == gone));
        assert!(matches!(flushed, Poll::Ready(Err(error)) if error.to_string() == gone));
        conn.abort();
        drop(conn);
        assert_eq!(
            rules::fingerprint(&self.shard.core(), key.slot),
            before,
            "{key:?} is past and changed its slot"
        );
    }

    /// What connections took their ends gave back.
    fn assert_nothing_is_left(&self) {
        let core = self.shard.core();
        let world = self.stage.world.borrow();
        assert_eq!((core.conns.shared.places.open(), world.lives.len()), (0, 0));
        assert_eq!(self.kernel.in_flight(), 0, "nothing is in flight");
        assert_eq!(
            (
                self.shard.buffers.referenced(),
                core.conns.shared.ring.lent()
            ),
            (0, 0),
            "nobody holds a buffer"
        );
        assert_eq!(core.conns.shared.metrics.tasks.get(), 0);
        assert_eq!(core.conns.shared.segments.in_use(), 0);
        assert_eq!(
            core.conns
                .shared
                .metrics
                .closed
                .iter()
                .map(|count| count.get())
                .sum::<u64>(),
            core.conns.shared.metrics.accepted.get()
        );
        let shared = &core.conns.shared;
        assert!(
            shared.wakers.is_empty()
                && shared.run_queue.is_empty()
                && shared.touched.is_empty()
                && shared.inboxes.is_empty()
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
