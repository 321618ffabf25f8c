//! Counts by key, which both shards increment: each owns those of half of the keys, and is sent the
//! keys of the other's increments. What of the processor's time an increment takes, beside two
//! threads and locks.
//!
//! Every increment is answered by the new count.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::mpsc::Sender;

use corelane::{Conn, Handler, Notify, Peer, ShardContext, spawn};
use fastrand::Rng;
use futures_lite::future::yield_now;
use loadtest::Stop;
use loadtest::error::Error;
use push::comparison::{Side, by_turns};
use push::cpu;
use push::times::{Bound, Figure, header};

use crate::Arguments;
use crate::locks::Locks;
use crate::shards::{CAPACITY, Shards};

/// How many times the cost behind locks it may be, with several keys to a message.
const BOUND: Bound = Bound::AtMost(1.0);
/// The keys are 0 to this.
pub(crate) const KEYS: u64 = 1 << 16;
/// Messages of a shard that are not answered yet, at most. As many answers are on the same way, so
/// that there is always room for both.
const UNANSWERED_MAX: usize = CAPACITY / 4;

pub(crate) fn compare(arguments: &Arguments, stop: &Stop) -> Result<bool, Error> {
    header("an increment by key, ns of CPU", "messages", "locks");
    by_message::<1>(arguments, Bound::None, stop)?;
    by_message::<16>(arguments, BOUND, stop)
}

/// With the keys of `N` increments to a message.
fn by_message<const N: usize>(
    arguments: &Arguments,
    bound: Bound,
    stop: &Stop,
) -> Result<bool, Error> {
    let batch = arguments.batch;
    let shards = Shards::start(arguments.cores(), move |shard, tell| {
        Partition::<N>::new(shard, tell, batch)
    })?;
    let locks = Locks::new();
    let (mut by_shards, mut by_threads) = (0, 0);
    let rounds = by_turns(arguments.rounds, stop, |side| {
        let before = cpu();
        let (all, now) = match side {
            Side::Ours => (&mut by_shards, turn(&shards, arguments.increments, stop)?),
            Side::Other => {
                let each = arguments.increments;
                (&mut by_threads, locks.turn(each, arguments.cores()))
            }
        };
        let took = cpu() - before;
        *all += now;
        Ok(took.as_nanos() as f64 / now as f64)
    })?;
    check("shards", by_shards, counted(&shards, stop)?)?;
    check("locks", by_threads, locks.counted())?;
    shards.end()?;
    Ok(Figure {
        what: format!("keys to a message: {N}"),
        pairs: rounds.into_iter().map(Into::into).collect(),
        bound,
    }
    .show())
}

/// How many increments both shards have made, of at least so many each.
fn turn<const N: usize>(
    shards: &Shards<Mail<N>, u64>,
    increments: u64,
    stop: &Stop,
) -> Result<u64, Error> {
    shards.send(0, Mail::Begin(increments))?;
    shards.send(1, Mail::Begin(increments))?;
    Ok(shards.hear(stop)? + shards.hear(stop)?)
}

/// The sum of all counts.
fn counted<const N: usize>(shards: &Shards<Mail<N>, u64>, stop: &Stop) -> Result<u64, Error> {
    shards.send(0, Mail::Sum)?;
    shards.send(1, Mail::Sum)?;
    Ok(shards.hear(stop)? + shards.hear(stop)?)
}

fn check(who: &str, made: u64, counted: u64) -> Result<(), Error> {
    if made == counted {
        return Ok(());
    }
    let what = format!("{who}: {made} increments were made, {counted} counted");
    Err(Error::Failed(what))
}

/// Increments the count of `key`, and gives it.
pub(crate) fn increment(counts: &mut HashMap<u64, u64>, key: u64) -> u64 {
    let count = counts.entry(key).or_default();
    *count += 1;
    *count
}

enum Mail<const N: usize> {
    /// At least so many increments are to be made. It tells how many were, once all are answered.
    Begin(u64),
    /// The counts of these keys are to be incremented.
    Add([u64; N]),
    /// They are these now.
    Added([u64; N]),
    /// The sum of the shard's counts is to be told.
    Sum,
}

struct Partition<const N: usize> {
    tell: Sender<u64>,
    batch: u16,
    state: Rc<State<N>>,
}

struct State<const N: usize> {
    /// The shard's number: it owns the keys of which that is the rest by two.
    own: u64,
    other: Peer<Mail<N>>,
    counts: RefCell<HashMap<u64, u64>>,
    rng: RefCell<Rng>,
    unanswered: Cell<usize>,
    is_answered: Notify,
}

impl<const N: usize> Partition<N> {
    fn new(shard: &ShardContext<Mail<N>>, tell: Sender<u64>, batch: u16) -> Self {
        let own = u64::from(shard.id.0);
        let state = State {
            own,
            other: shard.peers().at(1 - shard.id.0 as usize),
            counts: RefCell::default(),
            rng: RefCell::new(Rng::with_seed(own)),
            unanswered: Cell::new(0),
            is_answered: Notify::new(),
        };
        Self {
            tell,
            batch,
            state: Rc::new(state),
        }
    }

    fn begin(&self, increments: u64) {
        let (state, tell, batch) = (Rc::clone(&self.state), self.tell.clone(), self.batch);
        let task = async move {
            let made = state.work(increments, batch).await;
            let _ = tell.send(made); // nobody listens any more: an end was asked for
        };
        spawn(task).expect("there is one such task in a turn");
    }
}

impl<const N: usize> Handler<Mail<N>> for Partition<N> {
    async fn serve(&self, _conn: &mut Conn) -> Result<(), corelane::Error> {
        Ok(())
    }

    fn on_message(&self, mail: Mail<N>) {
        match mail {
            Mail::Begin(increments) => self.begin(increments),
            Mail::Add(keys) => self.state.answer(keys),
            Mail::Added(counts) => self.state.answered(counts),
            Mail::Sum => {
                let sum = self.state.counts.borrow().values().sum();
                let _ = self.tell.send(sum); // as above
            }
        }
    }
}

impl<const N: usize> State<N> {
    /// At least so many increments, a batch in each turn, until no key is left unsent. How many.
    async fn work(&self, increments: u64, batch: u16) -> u64 {
        let mut made = 0;
        let mut keys = Keys::new();
        while made < increments || keys.length > 0 {
            for _ in 0..batch {
                if self.unanswered.get() < UNANSWERED_MAX {
                    self.make(&mut keys);
                    made += 1;
                }
            }
            // What it has sent goes at the end of the turn, and answers come with the next.
            if self.unanswered.get() < UNANSWERED_MAX {
                yield_now().await;
            } else {
                self.is_answered.notified().await;
            }
        }
        while self.unanswered.get() > 0 {
            self.is_answered.notified().await;
        }
        made
    }

    fn make(&self, keys: &mut Keys<N>) {
        let key = self.rng.borrow_mut().u64(..KEYS);
        if key % 2 == self.own {
            black_box(increment(&mut self.counts.borrow_mut(), key));
        } else if let Some(keys) = keys.add(key) {
            self.unanswered.set(self.unanswered.get() + 1);
            self.send(Mail::Add(keys));
        }
    }

    fn answer(&self, mut keys: [u64; N]) {
        let mut counts = self.counts.borrow_mut();
        for key in &mut keys {
            *key = increment(&mut counts, *key);
        }
        self.send(Mail::Added(keys));
    }

    fn answered(&self, counts: [u64; N]) {
        black_box(counts);
        self.unanswered.set(self.unanswered.get() - 1);
        self.is_answered.notify();
    }

    fn send(&self, mail: Mail<N>) {
        let sent = self.other.try_send(mail);
        sent.expect("UNANSWERED_MAX leaves room for the requests and answers of both");
    }
}

/// Keys on their way into a message.
struct Keys<const N: usize> {
    keys: [u64; N],
    length: usize,
}

impl<const N: usize> Keys<N> {
    fn new() -> Self {
        Self {
            keys: [0; N],
            length: 0,
        }
    }

    /// All of them, when there are enough.
    fn add(&mut self, key: u64) -> Option<[u64; N]> {
        self.keys[self.length] = key;
        self.length = (self.length + 1) % N;
        (self.length == 0).then_some(self.keys)
    }
}
