//! A shard's mailbox: what it sends, and who waits for room; what it receives, and what it answers.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use crate::id::ConnId;
use crate::metrics::Metrics;
use crate::shard::conns::Delivery;
use crate::shard::conns::topics::{Edition, Published, Publisher};
use crate::shard::handle::Shard;
use crate::shard::mail::lanes::Lanes;
use crate::shard::mail::mesh::Mesh;
use crate::shard::mail::order::{Answer, Order, Parcel, ReplyTo};
use crate::shard::mail::receipt::{self, Receipt, Receipts};
use crate::shard::mail::ticket::Reply;
use crate::shard::task::wake::Waiter;

thread_local! {
    /// The mailbox of this thread's shard, whatever its messages are.
    static MAILBOX: RefCell<Option<Rc<dyn Any>>> = const { RefCell::new(None) };
}

pub(crate) struct Mailbox<M> {
    lanes: Lanes<M>,
    metrics: Arc<Metrics>,
    /// Sends that wait for room and are to be woken, by target and in the order in which they began.
    waiting: RefCell<BTreeMap<(usize, u64), Waiter>>,
    serial: Cell<u64>,
    deliveries: Rc<RefCell<Receipts<Delivery>>>,
    publications: Rc<RefCell<Receipts<Published>>>,
    /// Threads that wait for publications, by the numbers that these have instead of a receipt's.
    threads: RefCell<BTreeMap<u32, Reply<Published>>>,
    /// Answers to go, by the shard that they are for: no more than it has open receipts.
    answers: RefCell<Vec<VecDeque<Answer>>>,
    /// The source that is looked at first, so that none is always the last.
    first: Cell<usize>,
    /// Messages that a turn receives.
    per_turn_max: Cell<u32>,
    /// A message is being given to the handler.
    is_receiving: Cell<bool>,
    /// Shards that have ended, and whose answers are given up.
    abandoned: RefCell<BTreeSet<usize>>,
}

impl<M: Send + 'static> Mailbox<M> {
    /// The mailbox of this thread's shard; the same whenever it is asked.
    pub(crate) fn of_this_thread(mesh: &Arc<Mesh<M>>) -> Rc<Self> {
        let there = MAILBOX.with_borrow(Option::clone);
        if let Some(mailbox) = there.and_then(|mailbox| mailbox.downcast::<Self>().ok()) {
            return mailbox;
        }
        let mailbox = Rc::new(Shard::with(|shard| Self::new(shard, Arc::clone(mesh))));
        MAILBOX.set(Some(Rc::clone(&mailbox) as Rc<dyn Any>));
        mailbox
    }

    fn new(shard: &Shard, mesh: Arc<Mesh<M>>) -> Self {
        let shards = mesh.shards();
        let answers = (0..shards).map(|_| VecDeque::new());
        Self {
            answers: RefCell::new(answers.collect()),
            per_turn_max: Cell::new(mesh.settings.messages_per_turn_max),
            lanes: Lanes::new(mesh, shard.id.0 as usize, Rc::clone(&shard.bells)),
            metrics: Arc::clone(&shard.metrics),
            waiting: RefCell::default(),
            serial: Cell::new(0),
            deliveries: Rc::new(RefCell::new(Receipts::new(shards))),
            publications: Rc::new(RefCell::new(Receipts::new(shards))),
            threads: RefCell::default(),
            first: Cell::new(0),
            is_receiving: Cell::new(false),
            abandoned: RefCell::default(),
        }
    }

    pub(super) fn shards(&self) -> usize {
        self.lanes.mesh.shards()
    }

    /// Whether the handler is being given a message.
    pub(super) fn is_receiving(&self) -> bool {
        self.is_receiving.get()
    }

    fn capacity(&self) -> usize {
        self.lanes.mesh.settings.capacity as usize
    }

    // ---- messages ----

    /// Sends `message` to the shard `target`, or gives it back when there is no room.
    pub(super) fn try_send(&self, target: usize, message: M) -> Result<(), M> {
        let sent = self.send(target, message);
        if sent.is_err() {
            self.metrics.mail_full.add(1);
        }
        sent
    }

    /// As [`Self::try_send`]; without room `waiter` is woken when there is some. It waits as number
    /// `entry`, until it is woken or [`Self::stop_waiting`].
    pub(super) fn send_or_wait(
        &self,
        target: usize,
        message: M,
        entry: &mut Option<u64>,
        waiter: impl FnOnce() -> Waiter,
    ) -> Result<(), M> {
        let Err(message) = self.send(target, message) else {
            return Ok(());
        };
        let number = *entry.get_or_insert_with(|| {
            self.metrics.mail_full.add(1);
            self.next_serial()
        });
        let before = self.waiting.borrow_mut().insert((target, number), waiter());
        drop(before); // with no borrow held: it may be anybody's waker
        self.lanes.mesh.want_room(self.lanes.own, target);
        self.send(target, message)
    }

    fn send(&self, target: usize, message: M) -> Result<(), M> {
        match self.lanes.push(target, Parcel::Message(message)) {
            Ok(()) => {
                self.metrics.mail_sent.add(1);
                Ok(())
            }
            Err(Parcel::Message(message)) => Err(message),
            Err(Parcel::Order(_)) => unreachable!("what was pushed is given back"),
        }
    }

    fn next_serial(&self) -> u64 {
        self.serial.set(self.serial.get() + 1);
        self.serial.get()
    }

    /// The send of that number has ended. If it was woken, the room may be another's.
    pub(super) fn stop_waiting(&self, target: usize, entry: u64) {
        let left = self.waiting.borrow_mut().remove(&(target, entry));
        if left.is_none() {
            self.wake_senders(target);
        }
    }

    /// Wakes as many of those that wait to send to `target` as there is room for, the first to have
    /// begun first.
    fn wake_senders(&self, target: usize) {
        while let Some(waiter) = self.next_with_room(target) {
            receipt::wake(Some(waiter));
        }
    }

    fn next_with_room(&self, target: usize) -> Option<Waiter> {
        let mut waiting = self.waiting.borrow_mut();
        let mut of_target = waiting.range((target, 0)..=(target, u64::MAX));
        let (&first, _) = of_target.next()?;
        if !self.lanes.has_or_wants_room(target) {
            return None;
        }
        waiting.remove(&first)
    }

    // ---- orders ----

    /// Sends `bytes` to the connection, of whatever shard.
    pub(super) fn deliver(&self, conn: ConnId, bytes: Arc<[u8]>) -> Receipt<Delivery> {
        let target = conn.shard().0 as usize;
        let mesh = &self.lanes.mesh;
        if conn.server() != mesh.server || target >= self.shards() || mesh.has_ended(target) {
            return Receipt::known(Delivery::Gone);
        }
        if target == self.lanes.own {
            let delivery = Shard::with(|shard| shard.core().conns.deliver(conn, bytes));
            return Receipt::known(delivery);
        }
        let mut deliveries = self.deliveries.borrow_mut();
        let has_room = self.lanes.has_room(target);
        let opened = has_room.then(|| deliveries.open([target].into_iter(), self.capacity()));
        let Some(receipt) = opened.flatten() else {
            self.metrics.mail_full.add(1);
            return Receipt::known(Delivery::MailboxFull);
        };
        let reply_to = ReplyTo::Shard {
            receipt,
            wakes: true,
        };
        self.order(
            target,
            Order::Deliver {
                conn,
                bytes,
                reply_to,
            },
        );
        Receipt::of(&self.deliveries, receipt)
    }

    /// Publishes `edition` on all shards, or on none and gives its bytes back. Whether this shard is
    /// woken when it is known what has become of it: else it finds that when it goes on.
    pub(super) fn publish(
        &self,
        edition: Edition,
        wakes: bool,
    ) -> Result<Receipt<Published>, Arc<[u8]>> {
        let own = self.lanes.own;
        let lives = |shard: &usize| !self.lanes.mesh.has_ended(*shard);
        let living = || (0..self.shards()).filter(lives);
        let others = || living().filter(|shard| *shard != own);
        let has_room = others().all(|shard| self.lanes.has_room(shard));
        let opened = {
            let mut publications = self.publications.borrow_mut();
            has_room.then(|| publications.open(living(), self.capacity()))
        };
        let Some(receipt) = opened.flatten() else {
            self.metrics.mail_full.add(1);
            return Err(edition.bytes);
        };
        for shard in others() {
            let reply_to = ReplyTo::Shard { receipt, wakes };
            let edition = edition.clone();
            self.order(shard, Order::Publish { edition, reply_to });
        }
        let publisher = Publisher {
            source: own,
            receipt,
            wakes,
        };
        Shard::with(|shard| shard.core().conns.shared.topics.publish(edition, publisher));
        Ok(Receipt::of(&self.publications, receipt))
    }

    fn order(&self, target: usize, order: Order) {
        let pushed = self.lanes.push(target, Parcel::Order(Box::new(order)));
        debug_assert!(
            pushed.is_ok(),
            "this shard alone takes the room that there was"
        );
    }

    // ---- receiving ----

    pub(crate) fn set_per_turn_max(&self, messages: u32) {
        self.per_turn_max.set(messages);
    }

    /// Receives what has come, up to the turn's bound, gives the handler its messages, and tells
    /// others what has become of theirs.
    pub(crate) fn receive(&self, mut take: impl FnMut(M)) {
        let sources = self.shards() + 1;
        let first = self.first.replace((self.first.get() + 1) % sources);
        let mut left = self.per_turn_max.get();
        self.is_receiving.set(true);
        for source in (0..sources).map(|step| (first + step) % sources) {
            if left > 0 && self.lanes.bell().take(source) {
                self.receive_from(source, &mut left, &mut take);
            }
        }
        self.is_receiving.set(false);
        if left == 0 {
            self.lanes.bell().again();
        }
        self.tell_finished();
        self.abandon_the_ended();
        for shard in 0..self.shards() {
            self.send_answers(shard);
            self.wake_senders(shard);
        }
        self.metrics.mail_depth.set(self.lanes.depth());
    }

    fn receive_from(&self, source: usize, left: &mut u32, take: &mut impl FnMut(M)) {
        loop {
            let mut messages = 0;
            let count = self
                .lanes
                .take(source, *left as usize, |parcel| match parcel {
                    Parcel::Message(message) => {
                        messages += 1;
                        take(message);
                    }
                    Parcel::Order(order) => self.obey(source, *order),
                });
            self.metrics.mail_received.add(messages);
            *left -= count as u32;
            if count == 0 {
                break;
            }
        }
        if *left == 0 {
            self.lanes.bell().put_back(source);
        }
        self.lanes.made_room(source);
    }

    fn obey(&self, source: usize, order: Order) {
        match order {
            Order::Deliver {
                conn,
                bytes,
                reply_to,
            } => {
                let delivery = Shard::with(|shard| shard.core().conns.deliver(conn, bytes));
                match reply_to {
                    ReplyTo::Shard { receipt, .. } => {
                        self.answer(source, Answer::Delivered { receipt, delivery });
                    }
                    ReplyTo::Thread(reply) => reply.answer(delivery),
                }
            }
            Order::Publish { edition, reply_to } => {
                let publisher = self.publisher(source, reply_to);
                let edition = edition.of_this_shard();
                Shard::with(|shard| shard.core().conns.shared.topics.publish(edition, publisher));
            }
            Order::Answer(answer) => self.take_answer(source, answer),
        }
    }

    fn publisher(&self, source: usize, reply_to: ReplyTo<Published>) -> Publisher {
        let (receipt, wakes) = match reply_to {
            ReplyTo::Shard { receipt, wakes } => (receipt, wakes),
            ReplyTo::Thread(reply) => {
                let number = self.next_serial() as u32;
                self.threads.borrow_mut().insert(number, reply);
                (number, true)
            }
        };
        Publisher {
            source,
            receipt,
            wakes,
        }
    }

    fn take_answer(&self, source: usize, answer: Answer) {
        let waiter = match answer {
            Answer::Delivered { receipt, delivery } => self
                .deliveries
                .borrow_mut()
                .answer(receipt, source, delivery),
            Answer::Published {
                receipt, published, ..
            } => self
                .publications
                .borrow_mut()
                .answer(receipt, source, published),
        };
        receipt::wake(waiter);
    }

    /// Gives up what shards that have ended will not answer any more; what they have answered is
    /// taken before.
    fn abandon_the_ended(&self) {
        if self.lanes.mesh.ended_count() == self.abandoned.borrow().len() {
            return;
        }
        for shard in 0..self.shards() {
            let is_over = self.lanes.mesh.has_ended(shard);
            if !is_over || self.abandoned.borrow().contains(&shard) {
                continue;
            }
            if !self.lanes.is_read(shard) {
                self.lanes.bell().again();
                continue;
            }
            self.abandoned.borrow_mut().insert(shard);
            let mut waiters = self.deliveries.borrow_mut().abandon(shard);
            waiters.extend(self.publications.borrow_mut().abandon(shard));
            waiters
                .into_iter()
                .for_each(|waiter| receipt::wake(Some(waiter)));
        }
    }

    // ---- answering ----

    /// Publications have met all of this shard's subscribers: whoever has published them is told.
    fn tell_finished(&self) {
        let finished = Shard::with(|shard| shard.core().conns.shared.topics.take_finished());
        for (publisher, published) in finished {
            let Publisher {
                source,
                receipt,
                wakes,
            } = publisher;
            let answer = Answer::Published {
                receipt,
                published,
                wakes,
            };
            if source == self.shards() {
                let reply = self.threads.borrow_mut().remove(&receipt);
                reply.into_iter().for_each(|reply| reply.answer(published));
            } else if source == self.lanes.own {
                self.take_answer(source, answer);
            } else {
                self.answer(source, answer);
            }
        }
    }

    fn answer(&self, source: usize, answer: Answer) {
        self.answers.borrow_mut()[source].push_back(answer);
    }

    /// Tells `shard` what has become of what it sent, as far as there is room.
    fn send_answers(&self, shard: usize) {
        while let Some(answer) = self.next_answer(shard) {
            let parcel = Parcel::Order(Box::new(Order::Answer(answer)));
            let pushed = match answer {
                Answer::Published { wakes: false, .. } => self.lanes.push_quietly(shard, parcel),
                _ => self.lanes.push(shard, parcel),
            };
            debug_assert!(
                pushed.is_ok(),
                "this shard alone takes the room that there was"
            );
        }
    }

    fn next_answer(&self, shard: usize) -> Option<Answer> {
        let answers = &mut self.answers.borrow_mut()[shard];
        if answers.is_empty() || !self.lanes.has_or_wants_room(shard) {
            return None;
        }
        answers.pop_front()
    }

    // ---- for tests ----

    /// Whether nobody waits, nothing is to be answered and nothing lies in a lane to this shard.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
            && self.deliveries.borrow().is_empty()
            && self.publications.borrow().is_empty()
            && self.threads.borrow().is_empty()
            && self.answers.borrow().iter().all(VecDeque::is_empty)
            && self.lanes.depth() == 0
    }
}
