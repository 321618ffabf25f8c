//! A shortage, as the shard acts on it: [`policy::overload`](crate::shard::policy::overload)
//! judges.

use crate::error::CloseReason;
use crate::id::Key;
use crate::shard::core::Core;
use crate::shard::policy::log_limit::LogKind;
use crate::shard::policy::overload::{
    Assessment, CLOSED_PART, COPIED_OUT_MAX, Level, Load, OWN_BUFFERS,
};

impl Core {
    /// One look at the shortage, if there is one. Once a turn: a few sums and comparisons.
    pub(crate) fn assess_overload(&mut self, memory_short: bool) {
        let load = self.load(memory_short);
        let shared = &mut self.conns.shared;
        match shared.overload.assess(&load, &shared.bounds, shared.now) {
            Assessment::Calm => {}
            Assessment::Over => self.resume_receives(),
            Assessment::Short { is_new, level } => {
                if is_new {
                    shared.buffers.narrow();
                }
                if level != Level::None {
                    self.relieve(level, &load);
                }
            }
        }
    }

    fn load(&self, memory_short: bool) -> Load {
        let shared = &self.conns.shared;
        Load {
            unread: shared.unread,
            unsent: shared.unsent,
            heap: shared.buffers.heap_bytes(),
            own: self.own_bytes() * u64::from(shared.places.open()),
            buffers_low: shared.buffers.was_low(),
            memory_short,
        }
    }

    /// What any connection may hold.
    fn own_bytes(&self) -> u64 {
        OWN_BUFFERS * u64::from(self.conns.shared.buffers.size())
    }

    /// Submits paused receives again: those that the shortage still concerns pause once more.
    fn resume_receives(&mut self) {
        let mut paused = self.conns.shared.overload.take_paused_receives();
        self.conns.shared.starved.append(&mut paused);
    }

    /// Looks who holds how much and acts as the level says.
    fn relieve(&mut self, level: Level, load: &Load) {
        let (holders, own) = (self.holders(), self.own_bytes());
        let top = self.conns.shared.overload.top_holders(holders, own);
        self.pause_reads(&top);
        if level >= Level::CopyOut && self.conns.shared.buffers.was_low() {
            self.copy_out(&top);
        }
        let closed = if level == Level::Close {
            self.choose_evictions(&top)
        } else {
            0
        };
        self.resume_receives();
        self.log_overload(level, load, &top, closed);
    }

    fn log_overload(&mut self, level: Level, load: &Load, top: &[(Key, u64)], closed: usize) {
        let shared = &mut self.conns.shared;
        if !shared.may_log(LogKind::UnderPressure) {
            return;
        }
        let largest = top.first().map(|(key, _)| shared.conn_id(*key));
        tracing::warn!(
            shard = shared.id.0,
            short_of = shared.overload.shortage().word(),
            step = ?level,
            unread_bytes = load.unread,
            unsent_bytes = load.unsent,
            heap_bytes = load.heap,
            held_back = top.len(),
            closed,
            conn = largest.map(|conn| conn.to_string()).unwrap_or_default(),
            "under pressure"
        );
    }

    /// Every connection that holds buffers, with their bytes.
    pub(crate) fn holders(&self) -> Vec<(Key, u64)> {
        let table = &self.conns.table;
        let mut held = vec![0; table.len()];
        let mut holders = Vec::new();
        self.conns.shared.buffers.tell_holders(|owner, bytes| {
            let index = owner.slot.0 as usize;
            // What is left of a connection that is over is on nobody's account.
            if table.get(owner).is_some() {
                if held[index] == 0 {
                    holders.push(owner);
                }
                held[index] += u64::from(bytes);
            }
        });
        let with_bytes = |key: Key| (key, held[key.slot.0 as usize]);
        holders.into_iter().map(with_bytes).collect()
    }

    fn pause_reads(&mut self, top: &[(Key, u64)]) {
        let new = self.conns.shared.overload.set_read_paused(top);
        self.conns.shared.metrics.held_back.add(new.len() as u64);
        for (key, _) in top {
            if let Some(mut conn) = self.conns.get(*key) {
                conn.stop_reading();
            }
        }
    }

    /// Exchanges provided buffers for heap buffers, until enough have come free for one look.
    fn copy_out(&mut self, top: &[(Key, u64)]) {
        let in_use = self.conns.shared.buffers.in_use();
        let enough = in_use.saturating_sub(COPIED_OUT_MAX);
        for (key, _) in top {
            if self.conns.shared.buffers.in_use() <= enough {
                return;
            }
            if let Some(mut conn) = self.conns.get(*key) {
                conn.copy_to_heap();
            }
        }
    }

    /// Gives how many are to be closed.
    fn choose_evictions(&mut self, top: &[(Key, u64)]) -> usize {
        let goal = top.iter().map(|(_, bytes)| bytes).sum::<u64>() / CLOSED_PART;
        let most = self.conns.shared.bounds.overloaded_per_look_max;
        let (mut freed, mut evicting) = (0, Vec::new());
        for (key, bytes) in top.iter().take(most) {
            let is_open = self.conns.get(*key).is_some_and(|conn| conn.is_open());
            if freed <= goal && is_open {
                freed += bytes;
                evicting.push(*key);
            }
        }
        let count = evicting.len();
        let clock = self.conns.shared.clock;
        self.conns.shared.overload.evict(evicting, clock);
        count
    }

    /// Closes the top holders whose turn it is.
    pub(crate) fn evict(&mut self) {
        let shared = &mut self.conns.shared;
        for key in shared.overload.evicting.take(shared.clock) {
            if let Some(mut conn) = self.conns.get(key) {
                conn.fail(CloseReason::Overloaded);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::id::{ListenerIndex, SlotIndex};
    use crate::shard::policy::bounds::MemoryShare;
    use crate::shard::sim::stand_in::stand_in_shard;
    use crate::time::Tick;

    #[test]
    fn what_waits_to_be_sent_is_held_by_whom_it_is_sent_to_and_what_is_left_of_a_connection_that_is_over_by_nobody()
     {
        let shard = stand_in_shard(
            Config::default(),
            MemoryShare {
                unread_max: u32::MAX,
                unsent_max: u32::MAX,
            },
        );
        let core = &mut *shard.core();
        let [from, to] = [0, 1].map(|slot| {
            core.open(
                SlotIndex(slot),
                ([127, 0, 0, 1], 1).into(),
                ListenerIndex(0),
            );
            core.conns
                .table
                .occupant(SlotIndex(slot))
                .expect("it was opened")
        });
        let buffer = u64::from(core.conns.shared.buffers.size());
        let received = core.conns.shared.buffers.received(0, 100, from);
        assert_eq!(core.holders(), [(from, buffer)]);
        core.conns.get(to).expect("it lives").push_output(received);
        let other_life = Key {
            generation: from.generation.next(),
            ..from
        };
        let left = core.conns.shared.buffers.allocate(64, Some(other_life));
        assert_eq!(core.holders(), [(to, buffer)]);
        core.conns.shared.buffers.release(left);
    }

    #[test]
    fn a_look_stops_copying_out_once_it_has_given_back_so_many_buffers() {
        let mut config = Config::default();
        (config.buffers.size, config.buffers.count) = (256, 4096);
        let shard = stand_in_shard(
            config,
            MemoryShare {
                unread_max: u32::MAX,
                unsent_max: u32::MAX,
            },
        );
        let core = &mut *shard.core();
        let holders = [0, 1, 2, 3].map(|slot| {
            core.open(
                SlotIndex(slot),
                ([127, 0, 0, 1], 1).into(),
                ListenerIndex(0),
            );
            core.conns
                .table
                .occupant(SlotIndex(slot))
                .expect("it was opened")
        });
        for holder in holders.into_iter().cycle().take(4096) {
            core.conns.shared.buffers.publish();
            let shared = &mut core.conns.shared;
            let filled = shared.ring.fill_buffer(&shared.buffers, &[b'x'; 256]);
            let filled = filled.expect("one is free");
            let received = shared.buffers.received(filled, 256, holder);
            core.conns
                .get(holder)
                .expect("it lives")
                .push_output(received);
        }
        let load = Load {
            buffers_low: true,
            ..Load::default()
        };
        let shared = &mut core.conns.shared;
        shared.overload.assess(&load, &shared.bounds, Tick(0));
        shared.now = Tick(2);
        core.relieve(Level::CopyOut, &load);
        assert_eq!(
            core.conns.shared.buffers.in_use(),
            3072,
            "one of two that hold half of all has had its turn"
        );
        assert_eq!(core.conns.shared.metrics.copied_back.get(), 1024);
    }
}
