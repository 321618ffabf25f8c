//! A shard of the run on its own thread, which goes on by a part of a turn whenever it is told to.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use crate::error::Error;
use crate::id::{Key, ShardId};
use crate::ring::WakeFd;
use crate::shard::commands::Queue;
use crate::shard::core::Core;
use crate::shard::futures::spawn::spawn;
use crate::shard::handle::Shard;
use crate::shard::hooks::Hooks;
use crate::shard::mail::mailbox::Mailbox;
use crate::shard::policy::bounds::MemoryShare;
use crate::shard::sim::fleet::actor::{Stage, bystander, on_message, serve};
use crate::shard::sim::fleet::peers::Peers;
use crate::shard::sim::fleet::script::{Note, Script};
use crate::shard::sim::kernel::Kernel;
use crate::shard::sim::random::Random;
use crate::shard::sim::rules::AMPLE;
use crate::shard::sim::stand_in::{ACCEPTED_MAX, Seat, stand_in_shard_at};
use crate::shard::state::acceptor::{Acceptor, ListenSocket};
use crate::shard::task::bell::Bells;
use crate::shard::task_poller::TaskPoller;
use crate::time::{self, Tick};

/// Tasks beside the connections of a shard.
const BYSTANDERS: usize = 3;

/// What a shard is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// Its next part of a turn, or a look whether there is a reason for one.
    Go {
        clock: Duration,
        /// Actors that get their cue; and that all do.
        cues: u32,
        cues_all: bool,
        /// A turn, though nothing is there for it.
        forced: bool,
    },
    /// Nothing: it answers how it stands.
    Look {
        clock: Duration,
    },
    /// The peers of its connections, and its kernel, are such from now on.
    Peers {
        speak: bool,
        is_calm: bool,
    },
    Drain,
    /// Nothing is left of messages and publications.
    IsEmpty,
    /// Nothing is left at all; unless the kernel was too slow for the drain.
    IsOver {
        was_settled: bool,
    },
}

/// How it stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// It rests, and nothing can happen that it does by itself.
    pub(super) rests: bool,
    pub(super) is_over: bool,
}

/// A shard's part of a turn that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Turn,
    Tell,
    Tasks,
    Ring,
    Rest,
    Rested,
}

/// What [`Member::run`] is made of.
pub(super) struct Seed {
    pub(super) shard: usize,
    pub(super) wake: WakeFd,
    pub(super) random: Random,
    pub(super) clients: u32,
}

/// Gives messages to the handler.
struct Ear {
    mailbox: Rc<Mailbox<Note>>,
    stage: Rc<Stage>,
}

impl Hooks for Ear {
    fn received(&self) {
        let mut count = 0;
        self.mailbox.receive(|note| {
            count += 1;
            on_message(&self.stage, &note);
        });
        let mut model = self.stage.script.model();
        let most = self.stage.script.config.mailbox.messages_per_turn_max;
        model.rule(count <= most, || format!("{count} messages in a turn"));
    }
}

struct Member {
    shard: Rc<Shard>,
    stage: Rc<Stage>,
    ear: Ear,
    kernel: Kernel,
    peers: Peers,
    random: Random,
    part: Part,
    /// The time, and that of its last turn.
    now: Duration,
    clock: Duration,
    speak: bool,
    /// Its last turn has begun; and has ended.
    is_over: bool,
    has_ended: bool,
}

/// Runs the shard by the orders that come, each of which is answered.
pub(super) fn run(
    script: &Arc<Script>,
    seed: Seed,
    orders: &Receiver<Order>,
    answers: &Sender<Standing>,
) {
    let mut member = Member::new(script, seed);
    let stage = Rc::clone(&member.stage);
    let mut tasks = Some(TaskPoller::new(move |key| {
        let stage = Rc::clone(&stage);
        async move { serve(&stage, key).await }
    }));
    for order in orders {
        member.obey(order, &mut tasks);
        if answers.send(member.standing()).is_err() {
            return;
        }
    }
}

impl Member {
    fn new(script: &Arc<Script>, seed: Seed) -> Self {
        let number = seed.shard;
        let mesh = &script.mesh;
        let seat = Seat {
            id: ShardId(number as u32),
            server: mesh.server,
            wake: seed.wake,
            bells: Bells::of(Arc::clone(&mesh.bells), number),
        };
        let memory = MemoryShare {
            unread_max: AMPLE as u32,
            unsent_max: AMPLE as u32,
        };
        let shard = stand_in_shard_at(seat, script.config.clone(), memory);
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        shard.core().acceptor = Acceptor::new(vec![ListenSocket::of(listener)], &script.config);
        let mut random = seed.random;
        let stage = Stage::new(script, number, Random::new(random.next()));
        let stage = Rc::new(stage);
        for _ in 0..BYSTANDERS {
            let spawned = spawn(bystander(Rc::clone(&stage)));
            assert!(spawned.is_ok(), "there is room for a task");
        }
        let mut kernel = Kernel::new(ACCEPTED_MAX, seed.clients);
        kernel.is_calm = script.is_kind;
        Self {
            ear: Ear {
                mailbox: Mailbox::of_this_thread(mesh),
                stage: Rc::clone(&stage),
            },
            kernel,
            peers: Peers {
                script: Arc::clone(script),
                shard: number,
                speak: false,
                ended: BTreeSet::new(),
            },
            shard,
            stage,
            random,
            part: Part::Turn,
            now: Duration::ZERO,
            clock: Duration::ZERO,
            speak: false,
            is_over: false,
            has_ended: false,
        }
    }

    fn obey<S, F>(&mut self, order: Order, tasks: &mut Option<TaskPoller<S, F>>)
    where
        S: Fn(Key) -> F,
        F: Future<Output = Result<(), Error>>,
    {
        match order {
            Order::Go { .. } if self.has_ended => {}
            Order::Go {
                clock,
                cues,
                cues_all,
                forced,
            } => {
                if self.part == Part::Rested && forced {
                    self.get_up();
                }
                (0..cues).for_each(|_| self.stage.cue(cues_all));
                self.now = clock;
                self.go(tasks);
            }
            Order::Peers { speak, is_calm } => {
                self.speak = speak;
                self.peers.speak = speak;
                self.kernel.is_calm = is_calm;
            }
            Order::Look { clock } => self.now = clock,
            Order::Drain => self.shard.commands.drain(Queue::Serve),
            Order::IsEmpty => self.assert_is_empty(),
            Order::IsOver { was_settled } => self.assert_is_over(was_settled),
        }
    }

    fn go<S, F>(&mut self, tasks: &mut Option<TaskPoller<S, F>>)
    where
        S: Fn(Key) -> F,
        F: Future<Output = Result<(), Error>>,
    {
        let Some(poller) = tasks else { return };
        match self.part {
            Part::Turn => {
                self.kernel_goes_on();
                self.clock = self.now;
                time::set_virtual(self.shard.started + self.clock);
                self.kernel.begin_turn();
                self.is_over = self.shard.turn(self.clock);
                self.part = Part::Tell;
            }
            Part::Tell => {
                self.shard.tell(&self.ear);
                self.part = Part::Tasks;
            }
            Part::Tasks => {
                self.poll(poller);
                self.part = Part::Ring;
            }
            Part::Ring => {
                self.shard.bells.ring();
                self.part = Part::Rest;
            }
            Part::Rest => self.rest(),
            Part::Rested => {
                self.kernel_goes_on();
                if self.has_reason() {
                    self.get_up();
                }
            }
        }
        self.stage.look();
        if self.is_over && self.part == Part::Rested {
            tasks.take().map(TaskPoller::end);
            self.shard.end_publications(&self.ear);
            self.shard.core().conns.abandon_publications();
            self.has_ended = true;
            self.stage.script.model().is_over[self.stage.shard] = true;
        }
    }

    fn poll<S, F>(&mut self, tasks: &mut TaskPoller<S, F>)
    where
        S: Fn(Key) -> F,
        F: Future<Output = Result<(), Error>>,
    {
        let met = || self.shard.core().conns.shared.topics.met();
        let before = met();
        tasks.run(&self.shard);
        let count = met() - before;
        let script = &self.stage.script;
        let most = u64::from(script.config.topic.deliveries_per_turn_max);
        let mut model = script.model();
        model.polled(self.stage.shard, self.clock);
        model.rule(count <= most, || format!("{count} deliveries in a turn"));
    }

    /// The end of a turn: what was submitted goes to the kernel, and the shard rests if nothing is
    /// to be done.
    fn rest(&mut self) {
        let mut core = self.shard.core();
        core.feed();
        let ring = &mut core.conns.shared.ring;
        let now = Tick::at(self.clock);
        self.kernel
            .enter(ring, &mut self.peers, &mut self.random, now);
        let is_busy = has_work(&mut core);
        drop(core);
        let rests = self.is_over || !is_busy && self.shard.wake.park() && self.shard.bells.rest();
        if rests {
            self.part = Part::Rested;
        } else {
            self.get_up();
        }
    }

    fn get_up(&mut self) {
        self.shard.wake.unpark();
        self.part = Part::Turn;
    }

    /// Whether what a resting shard waits for has come.
    fn has_reason(&self) -> bool {
        let mut core = self.shard.core();
        let is_due = core.next_due().is_some_and(|due| due <= self.now);
        is_due || has_work(&mut core) || !self.shard.wake.park()
    }

    fn kernel_goes_on(&mut self) {
        self.peers.speak = self.speak && (self.kernel.is_calm || self.random.one_in(6));
        let mut core = self.shard.core();
        for _ in 0..self.random.below(5) {
            let ring = &mut core.conns.shared.ring;
            let buffers = &self.shard.buffers;
            self.kernel
                .act(ring, buffers, &mut self.peers, &mut self.random);
        }
    }

    fn standing(&mut self) -> Standing {
        if self.has_ended {
            return Standing {
                rests: true,
                is_over: true,
            };
        }
        let can_go_on = self.kernel.can_go_on(&mut self.peers);
        let is_at_rest = self.part == Part::Rested && !self.has_reason();
        Standing {
            rests: is_at_rest && !can_go_on,
            is_over: false,
        }
    }

    fn assert_is_empty(&self) {
        let core = self.shard.core();
        let script = &self.stage.script;
        let mut model = script.model();
        let waits = model
            .living(self.stage.shard)
            .into_iter()
            .find(|(life, key)| {
                let topics = &core.conns.shared.topics;
                !model.lives[*life].is_unwritable && topics.is_waited_for(key.slot)
            });
        model.rule(waits.is_none(), || {
            format!("publications wait for {waits:?}, which has room")
        });
        let is_empty = self.ear.mailbox.is_empty() && core.conns.shared.topics.are_idle();
        model.rule(is_empty, || {
            format!(
                "something is left of messages or publications on shard {}",
                self.stage.shard
            )
        });
    }

    fn assert_is_over(&self, was_settled: bool) {
        let core = self.shard.core();
        let shared = &core.conns.shared;
        if !was_settled && shared.places.open() > 0 {
            return;
        }
        let left = [
            ("connections", shared.places.open() as usize),
            ("operations", self.kernel.in_flight()),
            ("buffers", self.shard.buffers.referenced()),
            ("lent buffers", shared.ring.lent()),
            ("tasks", shared.metrics.tasks.get() as usize),
            ("segments", shared.segments.in_use()),
            ("wakers", usize::from(!shared.wakers.is_empty())),
            ("touched", shared.touched.len()),
            ("inboxes", usize::from(!shared.inboxes.is_empty())),
            ("unsent", (shared.unsent + shared.unread) as usize),
            ("subscriptions", shared.topics.subscribed()),
        ];
        let left: Vec<_> = left.into_iter().filter(|(_, count)| *count > 0).collect();
        let mut model = self.stage.script.model();
        model.rule(left.is_empty(), || {
            format!("left on shard {}: {left:?}", self.stage.shard)
        });
    }
}

/// Whether the shard has a reason for a turn that nobody tells it of.
fn has_work(core: &mut Core) -> bool {
    let ring = &mut core.conns.shared.ring;
    ring.has_completed() || ring.has_work() || core.has_due()
}
