//! One run: whose turn is next, who is held up, when the clock goes on, and what other threads
//! send.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::config::{Buffers, Config, Limits, Mailbox, Timeouts};
use crate::id::{ServerNumber, ShardId};
use crate::ring::WakeFd;
use crate::shard::conns::Delivery;
use crate::shard::conns::topics::Published;
use crate::shard::mail::mesh::Mesh;
use crate::shard::mail::peers::Full;
use crate::shard::mail::sender;
use crate::shard::mail::ticket::ThreadReceipt;
use crate::shard::sim::fleet::member::{self, Order, Seed, Standing};
use crate::shard::sim::fleet::model::{FrameId, MIXED, Model, RETAINED, TOPICS, bytes_of};
use crate::shard::sim::fleet::script::{Note, Script};
use crate::shard::sim::random::Random;
use crate::shard::task::bell::Bell;

/// Parts of turns of a run before it comes to its end, and until everybody must rest then.
const STEPS: u32 = 900;
const STEPS_TO_REST: u32 = 40_000;
/// Connections of a shard at most.
const CLIENTS_MAX: u32 = 8;

/// Settings whose bounds are met often.
fn settings(random: &mut Random, is_ample: bool) -> Config {
    let timeouts = Timeouts {
        first_byte: None,
        read: None,
        write: None,
        idle: None,
        lifetime: None,
        request: None,
        drain: Duration::from_secs(4),
        close: Duration::from_secs(1),
        ..Timeouts::default()
    };
    let limits = Limits {
        outbound_per_shard_max: 0,
        accepts_in_flight_max: 2,
        write_queue_max: if is_ample {
            1 << 18
        } else {
            random.between(300, 800)
        },
        ..Limits::default()
    };
    let mut config = Config {
        timeouts,
        limits,
        buffers: Buffers {
            size: 256,
            count: 16,
        },
        mailbox: Mailbox {
            capacity: random.between(2, 6),
            messages_per_turn_max: random.between(1, 8),
        },
        ..Config::default()
    };
    config.topic.deliveries_per_turn_max = random.between(1, 4);
    config
}

/// Another thread's receipts, of this one.
enum Awaited {
    Delivery(FrameId, ThreadReceipt<Delivery>),
    Published(FrameId, ThreadReceipt<Published>),
}

/// A shard's thread.
struct Remote {
    orders: Sender<Order>,
    answers: Receiver<Standing>,
    thread: JoinHandle<()>,
    standing: Standing,
    /// It is held up until then.
    stalled_until: u32,
}

struct Run {
    script: Arc<Script>,
    shards: Vec<Remote>,
    sender: sender::Sender<Note>,
    awaited: Vec<Awaited>,
    random: Random,
    clock: Duration,
    drains: bool,
}

/// Plays the run of `seed`. Returns how many messages and frames came.
pub(super) fn play(seed: u64) -> u64 {
    let mut run = Run::begin(seed);
    run.go();
    run.end()
}

impl Run {
    fn begin(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let count = random.between(2, 3) as usize;
        let (is_kind, is_ample) = (random.one_in(3), random.one_in(4));
        let config = settings(&mut random, is_ample);
        let wakes: Vec<_> = (0..count)
            .map(|_| WakeFd::new().expect("an eventfd"))
            .collect();
        let bells = wakes.iter().map(|wake| Bell::new(count + 1, wake.clone()));
        let mesh = Mesh::new(
            ServerNumber::next(),
            bells.collect(),
            config.mailbox.clone(),
        );
        let mesh = Arc::new(mesh);
        let is_counted = std::array::from_fn(|_| random.one_in(2));
        let capacity = config.mailbox.capacity as usize;
        let model = Model::new(count, capacity, is_ample, is_counted);
        let script = Script::new(config, Arc::clone(&mesh), is_kind, model);
        let script = Arc::new(script);
        let shards = wakes.into_iter().enumerate().map(|(shard, wake)| {
            let seed = Seed {
                shard,
                wake,
                random: Random::new(random.next()),
                clients: random.between(1, CLIENTS_MAX),
            };
            Remote::start(&script, seed)
        });
        Self {
            shards: shards.collect(),
            sender: sender::Sender::new(mesh),
            awaited: Vec::new(),
            clock: Duration::ZERO,
            drains: false,
            script,
            random,
        }
    }

    fn go(&mut self) {
        let drain_at = self.random.below(3 * STEPS);
        self.tell_peers(true);
        for step in 0..STEPS {
            if step == drain_at {
                self.drain();
            }
            if self.random.one_in(120) {
                self.hold_up(step);
            }
            if self.random.one_in(150) {
                self.rest(false);
            }
            if self.random.one_in(12) {
                self.happen();
            }
            let most = if self.random.one_in(10) { 200 } else { 4 };
            self.clock += Duration::from_millis(self.random.below(most).into());
            let shard = self.random.below(self.shards.len() as u32) as usize;
            if self.shards[shard].stalled_until <= step {
                let cues = self.random.below(3);
                self.step(shard, cues, false, false);
            }
        }
    }

    /// Everything comes to rest, and then to its end; nothing may be left.
    fn end(mut self) -> u64 {
        let lives = self.script.model().lives.len();
        (0..lives).for_each(|life| self.script.model().lives[life].is_stalled = false);
        self.rest(true);
        let was_settled = !self.drains;
        if was_settled {
            self.script.model().is_complete();
            self.tell_all(Order::IsEmpty);
        }
        self.script.model().is_ending = true;
        self.tell_peers(true);
        self.drain();
        for step in 0..STEPS_TO_REST {
            if self.shards.iter().all(|shard| shard.standing.is_over) {
                break;
            }
            assert!(step + 1 < STEPS_TO_REST, "not every shard has drained");
            let shard = self.random.below(self.shards.len() as u32) as usize;
            self.clock += Duration::from_millis(self.random.below(20).into());
            self.step(shard, 1, true, false);
        }
        self.tell_all(Order::IsOver { was_settled });
        for shard in self.shards {
            drop(shard.orders);
            assert!(shard.thread.join().is_ok(), "a shard panicked");
        }
        let model = self.script.model();
        model.received + model.seen
    }

    // ---- the shards ----

    fn step(&mut self, shard: usize, cues: u32, cues_all: bool, forced: bool) {
        self.script.model().step += 1;
        let clock = self.clock;
        self.shards[shard].tell(Order::Go {
            clock,
            cues,
            cues_all,
            forced,
        });
        self.hear();
        self.assert_unbroken();
    }

    fn all_rest(&mut self) -> bool {
        self.tell_all(Order::Look { clock: self.clock });
        self.shards.iter().all(|shard| shard.standing.rests)
    }

    fn tell_all(&mut self, order: Order) {
        self.shards.iter_mut().for_each(|shard| shard.tell(order));
        self.assert_unbroken();
    }

    /// Peers send something from now on, or nothing does; a kind run's do so at its end alone.
    fn tell_peers(&mut self, speak: bool) {
        let is_ending = self.script.model().is_ending;
        let is_kind = self.script.is_kind;
        self.tell_all(Order::Peers {
            speak: speak && (is_ending || !is_kind),
            is_calm: is_ending || is_kind,
        });
    }

    fn assert_unbroken(&self) {
        let breach = self.script.model().breach.take();
        assert!(breach.is_none(), "{}", breach.unwrap_or_default());
    }

    fn drain(&mut self) {
        self.drains = true;
        self.tell_all(Order::Drain);
    }

    /// One shard does nothing for a while, or a peer reads nothing from now on, or does again.
    fn hold_up(&mut self, step: u32) {
        let count = self.shards.len() as u32;
        let shard = self.random.below(count) as usize;
        self.shards[shard].stalled_until = step + self.random.below(150);
        let mut model = self.script.model();
        for life in &mut model.lives {
            if self.random.one_in(3) {
                life.is_stalled = !life.is_stalled;
            }
        }
    }

    /// Nothing new begins, and the clock stands, until all shards rest: what is to come must have
    /// come by then. With `forced` turns what need not wake anybody comes too.
    fn rest(&mut self, forced: bool) {
        self.script.model().is_settling = true;
        self.tell_peers(false);
        for shard in 0..self.shards.len() {
            self.step(shard, 1, true, false);
        }
        let mut step = 0;
        while !self.all_rest() {
            step += 1;
            assert!(step < STEPS_TO_REST, "the shards do not come to rest");
            let shard = self.random.below(self.shards.len() as u32) as usize;
            self.step(shard, 0, false, false);
        }
        self.script.model().rests();
        self.assert_unbroken();
        if forced {
            (0..40 * self.shards.len()).for_each(|step| {
                let shard = step % self.shards.len();
                self.step(shard, 0, false, true);
            });
        }
        self.script.model().is_settling = forced;
        self.tell_peers(true);
    }

    // ---- another thread ----

    /// What a thread that is no shard does.
    fn happen(&mut self) {
        match self.random.below(4) {
            0 => self.send_message(),
            1 => self.send_bytes(),
            2 => self.publish(),
            _ => {}
        }
        self.assert_unbroken();
    }

    fn source(&self) -> usize {
        self.shards.len()
    }

    fn send_message(&mut self) {
        let (source, number) = (self.source(), self.script.model().next_message());
        let target = self.random.below(self.shards.len() as u32);
        let sent = self
            .sender
            .try_send(ShardId(target), Note { source, number });
        let mut model = self.script.model();
        match sent {
            Ok(()) => model.sent(source, target as usize, number),
            Err(Full(note)) => model.rule(note.number == number, || "another came back".to_owned()),
        }
    }

    fn send_bytes(&mut self) {
        let source = self.source();
        let mut model = self.script.model();
        let count = model.lives.len() as u32;
        if count == 0 {
            return;
        }
        let life = self.random.below(count) as usize;
        let id = model.lives[life].id;
        let frame = model.direct(source, life);
        drop(model);
        let bytes = bytes_of(frame, self.random.below(100) as usize);
        if let Ok(receipt) = self.sender.send_to(id, bytes) {
            let target = Some(id.shard().0 as usize);
            self.script.model().awaits(frame, source, target);
            self.awaited.push(Awaited::Delivery(frame, receipt));
        }
    }

    fn publish(&mut self) {
        let source = self.source();
        let topic = self.random.below(TOPICS as u32) as usize;
        if topic == RETAINED || topic == MIXED && self.random.one_in(2) {
            return;
        }
        let frame = self.script.model().publication(source, topic);
        let bytes = bytes_of(frame, self.random.below(100) as usize);
        match self.sender.publish(&format!("topic {topic}"), bytes) {
            Ok(receipt) => {
                self.script.model().awaits(frame, source, None);
                self.awaited.push(Awaited::Published(frame, receipt));
            }
            Err(_full) => self.script.model().is_void(frame),
        }
    }

    /// Looks at the receipts.
    fn hear(&mut self) {
        let script = Arc::clone(&self.script);
        self.awaited.retain_mut(|awaited| match awaited {
            Awaited::Delivery(frame, receipt) => poll(receipt)
                .map(|delivery| script.model().answered(*frame, delivery))
                .is_none(),
            Awaited::Published(frame, receipt) => poll(receipt)
                .map(|counts| script.model().counted(*frame, counts))
                .is_none(),
        });
    }
}

fn poll<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

impl Remote {
    fn start(script: &Arc<Script>, seed: Seed) -> Self {
        let (orders, receiver) = channel();
        let (sender, answers) = channel();
        let script = Arc::clone(script);
        let thread = thread::spawn(move || member::run(&script, seed, &receiver, &sender));
        Self {
            orders,
            answers,
            thread,
            standing: Standing::default(),
            stalled_until: 0,
        }
    }

    /// Gives it the turn, and waits for the end of that.
    fn tell(&mut self, order: Order) {
        let told = self.orders.send(order).map_err(|_gone| ());
        let answer = told.and_then(|()| self.answers.recv().map_err(|_gone| ()));
        self.standing = answer.expect("the shard panicked: its own words are above");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What takes some five seconds without optimisation.
    const RUNS: u64 = 100;
    const THREADS: u64 = 2;

    fn number(name: &str) -> Option<u64> {
        std::env::var(name).ok()?.parse().ok()
    }

    fn play_named(seed: u64) -> u64 {
        thread::spawn(move || play(seed))
            .join()
            .unwrap_or_else(|_panic| {
                panic!(
                    "seed {seed}; again: CORELANE_MODEL_SEED={seed} cargo test -p corelane --lib \
                 shards_that_send"
                )
            })
    }

    #[test]
    fn shards_that_send_each_other_messages_lose_double_and_mix_up_none() {
        if let Some(seed) = number("CORELANE_MODEL_SEED") {
            play_named(seed);
            return;
        }
        let runs = number("CORELANE_MODEL_RUNS").unwrap_or(RUNS);
        let walk = |first: u64| {
            let seeds = (first..runs).step_by(THREADS as usize);
            seeds.map(play_named).sum::<u64>()
        };
        let came: u64 = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|first| scope.spawn(move || walk(first)))
                .collect();
            let came = threads.into_iter().map(|thread| thread.join());
            came.map(|came| came.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .sum()
        });
        assert!(came > 50 * runs, "hardly anything came: {came}");
    }
}
