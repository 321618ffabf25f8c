//! A shard's own end of the lanes, to and from every other.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rtrb::{Consumer, Producer, PushError};

use crate::shard::mail::mesh::Mesh;
use crate::shard::mail::order::Parcel;
use crate::shard::task::bell::{Bell, Bells};

/// Parcels that are taken before their room is given back.
const CHUNK: usize = 128;

/// The producers of the lanes to other shards, by target, and the consumers of those from them, by
/// source, the last of which are all threads that are no shards. Each is there once it was used.
pub(super) struct Lanes<M> {
    pub(super) mesh: Arc<Mesh<M>>,
    /// The shard's number.
    pub(super) own: usize,
    bells: Rc<Bells>,
    producers: RefCell<Vec<Option<Producer<Parcel<M>>>>>,
    consumers: RefCell<Vec<Option<Consumer<Parcel<M>>>>>,
}

impl<M> Lanes<M> {
    pub(super) fn new(mesh: Arc<Mesh<M>>, own: usize, bells: Rc<Bells>) -> Self {
        let shards = mesh.shards();
        Self {
            mesh,
            own,
            bells,
            producers: RefCell::new((0..shards).map(|_| None).collect()),
            consumers: RefCell::new((0..=shards).map(|_| None).collect()),
        }
    }

    // ---- to others ----

    /// Sends `parcel` to `target`, which is told at the end of the turn, or gives it back when there
    /// is no room.
    pub(super) fn push(&self, target: usize, parcel: Parcel<M>) -> Result<(), Parcel<M>> {
        self.push_untold(target, parcel)?;
        self.bells.ring_later(target);
        Ok(())
    }

    /// As [`Self::push`]; a target that rests is not woken for it, but finds it when it goes on.
    pub(super) fn push_quietly(&self, target: usize, parcel: Parcel<M>) -> Result<(), Parcel<M>> {
        self.push_untold(target, parcel)?;
        self.mesh.bells[target].ring_quietly(self.own);
        Ok(())
    }

    fn push_untold(&self, target: usize, parcel: Parcel<M>) -> Result<(), Parcel<M>> {
        let mut producers = self.producers.borrow_mut();
        let producer = producers[target].get_or_insert_with(|| self.mesh.open(self.own, target));
        let pushed = producer.push(parcel);
        pushed.map_err(|PushError::Full(parcel)| parcel)
    }

    pub(super) fn has_room(&self, target: usize) -> bool {
        let producers = self.producers.borrow();
        let producer = producers[target].as_ref();
        producer.is_none_or(|producer| !producer.is_full())
    }

    /// As [`Self::has_room`]; without room the target is asked to ring when it has made some.
    pub(super) fn has_or_wants_room(&self, target: usize) -> bool {
        if self.has_room(target) {
            return true;
        }
        self.mesh.want_room(self.own, target);
        self.has_room(target)
    }

    // ---- from others ----

    /// Gives `take` what there is of `source` now, `most` parcels at most and a part of the lane at a
    /// time. Returns how many.
    pub(super) fn take(&self, source: usize, most: usize, take: impl FnMut(Parcel<M>)) -> usize {
        let mut consumers = self.consumers.borrow_mut();
        let consumer = &mut consumers[source];
        if consumer.is_none() {
            *consumer = self.mesh.take_consumer(source, self.own);
        }
        let Some(consumer) = consumer else {
            return 0;
        };
        let count = consumer.slots().min(most).min(CHUNK);
        match consumer.read_chunk(count) {
            Ok(chunk) => chunk.into_iter().for_each(take),
            Err(_too_few) => return 0,
        }
        count
    }

    /// Whether nothing is left to take of `source`.
    pub(super) fn is_read(&self, source: usize) -> bool {
        let mut consumers = self.consumers.borrow_mut();
        let consumer = &mut consumers[source];
        if consumer.is_none() {
            *consumer = self.mesh.take_consumer(source, self.own);
        }
        consumer.as_ref().is_none_or(Consumer::is_empty)
    }

    /// Parcels were taken from the lane of `source`, which is told if it waits for room.
    pub(super) fn made_room(&self, source: usize) {
        if source < self.mesh.shards() && self.mesh.is_room_wanted(source, self.own) {
            self.bells.ring_later(source);
        }
    }

    /// What lies in the lanes from all sources.
    pub(super) fn depth(&self) -> u64 {
        let consumers = self.consumers.borrow();
        let slots = consumers.iter().flatten().map(Consumer::slots);
        slots.sum::<usize>() as u64
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.mesh.bells[self.own]
    }
}
