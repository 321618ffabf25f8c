//! The lanes of a server: a bounded ring with one producer and one consumer for each ordered pair of
//! shards, and one for all other threads together to each shard.
//!
//! The producer makes a lane when it first sends, and hands its other end over; no lock is taken
//! after that, but by threads that are no shards, which share a producer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::config::Mailbox;
use crate::id::ServerNumber;
use crate::shard::mail::order::{Order, Parcel};
use crate::shard::mail::room::RoomWanted;
use crate::shard::task::bell::Bell;

/// What the shards of a server, and other threads, send each other.
pub(crate) struct Mesh<M> {
    pub(crate) server: ServerNumber,
    pub(crate) bells: Arc<[Bell]>,
    pub(super) settings: Mailbox,
    /// By target, and for each of them by source.
    lanes: Vec<Vec<Lane<M>>>,
    /// By shard: it has ended, and takes nothing any more.
    ended: Box<[AtomicBool]>,
    /// How many have.
    ended_count: AtomicUsize,
    /// By target: the producer that threads share.
    threads: Vec<Mutex<Option<Producer<Parcel<M>>>>>,
}

struct Lane<M> {
    /// The consumer's end, until the target takes it.
    made: Mutex<Option<Consumer<Parcel<M>>>>,
    room: RoomWanted,
}

impl<M> Mesh<M> {
    /// What one place of a lane takes.
    pub(crate) const PARCEL_BYTES: usize = size_of::<Parcel<M>>();

    /// Between the shards of `bells`, each of which has one more source than there are shards.
    pub(crate) fn new(server: ServerNumber, bells: Arc<[Bell]>, settings: Mailbox) -> Self {
        let shards = bells.len();
        let lane = || Lane {
            made: Mutex::new(None),
            room: RoomWanted::new(),
        };
        Self {
            server,
            bells,
            settings,
            lanes: (0..shards)
                .map(|_| (0..=shards).map(|_| lane()).collect())
                .collect(),
            ended: (0..shards).map(|_| AtomicBool::new(false)).collect(),
            ended_count: AtomicUsize::new(0),
            threads: (0..shards).map(|_| Mutex::new(None)).collect(),
        }
    }

    pub(crate) fn shards(&self) -> usize {
        self.bells.len()
    }

    /// The shard's: it has ended, and answers nothing any more. The others are told.
    pub(crate) fn end(&self, shard: usize) {
        self.ended[shard].store(true, Ordering::Release);
        self.bells[shard].finish_serving();
        self.ended_count.fetch_add(1, Ordering::Release);
        let others = self.bells.iter().enumerate();
        let others = others.filter(|(other, _)| *other != shard);
        others.for_each(|(_, bell)| bell.ring(shard));
    }

    pub(super) fn has_ended(&self, shard: usize) -> bool {
        self.ended[shard].load(Ordering::Acquire)
    }

    pub(super) fn ended_count(&self) -> usize {
        self.ended_count.load(Ordering::Acquire)
    }

    /// The producer of a lane that has not been used before.
    pub(super) fn open(&self, source: usize, target: usize) -> Producer<Parcel<M>> {
        let (producer, consumer) = RingBuffer::new(self.settings.capacity as usize);
        *lock(&self.lanes[target][source].made) = Some(consumer);
        producer
    }

    /// The consumer of a lane that its producer has opened since it was last asked.
    pub(super) fn take_consumer(
        &self,
        source: usize,
        target: usize,
    ) -> Option<Consumer<Parcel<M>>> {
        lock(&self.lanes[target][source].made).take()
    }

    /// The source's: it waits for room in the lane. It looks once more behind this.
    pub(super) fn want_room(&self, source: usize, target: usize) {
        self.lanes[target][source].room.want();
    }

    /// The target's, once it has made room: whether the source waits for that.
    pub(super) fn is_room_wanted(&self, source: usize, target: usize) -> bool {
        self.lanes[target][source].room.take()
    }

    // ---- threads ----

    /// A thread that is no shard sends: what there is no room for comes back.
    pub(super) fn push_from_thread(
        &self,
        target: usize,
        parcel: Parcel<M>,
    ) -> Result<(), Parcel<M>> {
        let pushed = self.thread(target).push(parcel);
        pushed.map_err(|PushError::Full(parcel)| parcel)?;
        self.bells[target].ring(self.shards());
        Ok(())
    }

    /// As [`Self::push_from_thread`] for an order.
    pub(super) fn order_from_thread(&self, target: usize, order: Order) -> Result<(), Parcel<M>> {
        self.push_from_thread(target, Parcel::Order(Box::new(order)))
    }

    /// An order for each shard, or none if there is not room for all.
    pub(super) fn order_all_from_thread(
        &self,
        orders: impl Iterator<Item = Order>,
    ) -> Result<(), AllFull> {
        // Locked in the order of the shards, by every thread.
        let mut threads: Vec<_> = (0..self.shards()).map(|shard| self.thread(shard)).collect();
        if threads.iter().any(|producer| producer.is_full()) {
            return Err(AllFull);
        }
        for (producer, order) in threads.iter_mut().zip(orders) {
            let pushed = producer.push(Parcel::Order(Box::new(order)));
            debug_assert!(
                pushed.is_ok(),
                "whoever has the lock takes the room that there was"
            );
        }
        drop(threads);
        self.bells.iter().for_each(|bell| bell.ring(self.shards()));
        Ok(())
    }

    fn thread(&self, target: usize) -> ThreadProducer<'_, M> {
        let mut producer = lock(&self.threads[target]);
        producer.get_or_insert_with(|| self.open(self.shards(), target));
        ThreadProducer(producer)
    }
}

/// At least one shard has no room.
#[derive(Debug)]
pub(super) struct AllFull;

/// The producer that threads share, locked, and there.
struct ThreadProducer<'a, M>(MutexGuard<'a, Option<Producer<Parcel<M>>>>);

impl<M> ThreadProducer<'_, M> {
    fn push(&mut self, parcel: Parcel<M>) -> Result<(), PushError<Parcel<M>>> {
        match &mut *self.0 {
            Some(producer) => producer.push(parcel),
            None => Err(PushError::Full(parcel)),
        }
    }

    fn is_full(&self) -> bool {
        self.0.as_ref().is_none_or(Producer::is_full)
    }
}

/// Places of all lanes between so many shards, once each was used.
pub(crate) fn places(shards: u64, settings: &Mailbox) -> u64 {
    shards * (shards + 1) * u64::from(settings.capacity)
}

/// What is behind these locks is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
