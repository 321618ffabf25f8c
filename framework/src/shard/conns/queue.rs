//! Queues of [`BufRef`]s without an allocation per connection: linked lists in one slab per shard.

use crate::ring::buffers::BufRef;

/// No segment.
const NONE: u32 = u32::MAX;

/// A queue, by its last segment; the segments are in the shard's [`Segments`], and the last links
/// to the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    last: u32,
}

impl Queue {
    pub(crate) const EMPTY: Self = Self { last: NONE };

    pub(crate) fn is_empty(self) -> bool {
        self.last == NONE
    }
}

#[derive(Debug)]
struct Segment {
    buffer: Option<BufRef>,
    next: u32,
}

/// The slab of all segments of a shard. It grows to the most that were queued at once and does not
/// shrink.
#[derive(Debug)]
pub(crate) struct Segments {
    slab: Vec<Segment>,
    vacant: u32,
}

impl Segments {
    pub(crate) fn new() -> Self {
        Self {
            slab: Vec::new(),
            vacant: NONE,
        }
    }

    pub(crate) fn push_back(&mut self, queue: &mut Queue, buffer: BufRef) {
        queue.last = self.insert(*queue, buffer);
    }

    pub(crate) fn push_front(&mut self, queue: &mut Queue, buffer: BufRef) {
        let index = self.insert(*queue, buffer);
        if queue.is_empty() {
            queue.last = index;
        }
    }

    pub(crate) fn pop_front(&mut self, queue: &mut Queue) -> Option<BufRef> {
        let index = self.first(*queue)?;
        let segment = &mut self.slab[index as usize];
        let buffer = segment.buffer.take();
        let next = std::mem::replace(&mut segment.next, self.vacant);
        self.vacant = index;
        if index == queue.last {
            *queue = Queue::EMPTY;
        } else {
            self.slab[queue.last as usize].next = next;
        }
        buffer
    }

    pub(crate) fn front_mut(&mut self, queue: Queue) -> Option<&mut BufRef> {
        let first = self.first(queue)?;
        self.slab[first as usize].buffer.as_mut()
    }

    pub(crate) fn back_mut(&mut self, queue: Queue) -> Option<&mut BufRef> {
        self.slab.get_mut(queue.last as usize)?.buffer.as_mut()
    }

    pub(crate) fn iter(&self, queue: Queue) -> Buffers<'_> {
        Buffers {
            slab: &self.slab,
            next: self.first(queue),
            last: queue.last,
        }
    }

    /// Segments that hold a buffer.
    #[cfg(test)]
    pub(crate) fn in_use(&self) -> usize {
        self.slab
            .iter()
            .filter(|segment| segment.buffer.is_some())
            .count()
    }

    fn first(&self, queue: Queue) -> Option<u32> {
        self.slab.get(queue.last as usize).map(|last| last.next)
    }

    /// Puts `buffer` between the last and the first segment of `queue`.
    fn insert(&mut self, queue: Queue, buffer: BufRef) -> u32 {
        let index = if self.vacant == NONE {
            self.slab.len() as u32
        } else {
            self.vacant
        };
        let next = self.first(queue).unwrap_or(index);
        let segment = Segment {
            buffer: Some(buffer),
            next,
        };
        match self.slab.get_mut(index as usize) {
            Some(place) => self.vacant = std::mem::replace(place, segment).next,
            None => self.slab.push(segment),
        }
        if let Some(last) = self.slab.get_mut(queue.last as usize) {
            last.next = index;
        }
        index
    }
}

/// The buffers of a queue, from its front.
#[derive(Clone)]
pub(crate) struct Buffers<'a> {
    slab: &'a [Segment],
    next: Option<u32>,
    last: u32,
}

impl<'a> Iterator for Buffers<'a> {
    type Item = &'a BufRef;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next?;
        let segment = &self.slab[index as usize];
        self.next = (index != self.last).then_some(segment.next);
        segment.buffer.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::buffers::BufferPool;

    #[test]
    fn queues_keep_their_order_and_reuse_places() {
        let pool = BufferPool::new(256, 16).expect("memory");
        let mut segments = Segments::new();
        let (mut one, mut two) = (Queue::EMPTY, Queue::EMPTY);
        for round in 0..3 {
            segments.push_back(&mut one, pool.copy_of(b"b"));
            segments.push_back(&mut two, pool.copy_of(b"x"));
            segments.push_back(&mut one, pool.copy_of(b"c"));
            segments.push_front(&mut one, pool.copy_of(b"a"));
            let seen: Vec<u8> = segments.iter(one).map(|buffer| buffer.bytes()[0]).collect();
            assert_eq!(seen, b"abc", "round {round}");
            assert_eq!(segments.back_mut(one).map(|buffer| buffer.len()), Some(1));
            while let Some(buffer) = segments.pop_front(&mut one) {
                pool.release(buffer);
            }
            while let Some(buffer) = segments.pop_front(&mut two) {
                pool.release(buffer);
            }
            assert!(one.is_empty() && two.is_empty() && segments.front_mut(one).is_none());
        }
        assert_eq!(segments.slab.len(), 4);
    }
}
