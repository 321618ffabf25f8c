//! What settings that change mean to the connections there are.

use std::net::SocketAddr;

use crate::config::Config;
use crate::error::CloseReason;
use crate::id::{ListenerIndex, SlotIndex};
use crate::shard::conns::Conns;
use crate::shard::conns::slot::{Origin, Phase, Slot};
use crate::shard::policy::bounds;

impl Conns {
    /// From now on they are under these.
    pub(crate) fn reload(&mut self, config: &Config) {
        let (slots, shared) = (self.table.len(), &mut self.shared);
        let (limits, now) = (&config.limits, shared.now);
        shared.log.set_lines_max(config.log.lines_per_reason_max);
        shared.topics.bounds.deliveries_per_turn_max = config.topic.deliveries_per_turn_max;
        let send_rate = bounds::send_rate(limits);
        shared.min_rate.set_rate(send_rate, slots, now);
        let receive_rate = bounds::receive_rate(limits);
        shared.requests.set_rate(receive_rate, slots, now);
        let request = shared.requests.set_within(config.timeouts.request, slots);
        let renewed = shared.bounds.renewed(config);
        let waits = shared.bounds.waits() != renewed.waits();
        shared.bounds = renewed;
        if request || waits {
            self.reset_deadlines();
        }
    }

    /// Counts every wait anew. A deadline that other settings have set would, when it passes, be
    /// taken for one of these.
    fn reset_deadlines(&mut self) {
        for key in self.table.occupants() {
            if let Some(mut conn) = self.get(key) {
                conn.set_deadline();
            }
        }
    }

    /// The clients of all who were let in by that listener.
    pub(crate) fn admitted(
        &self,
        listener: ListenerIndex,
    ) -> impl Iterator<Item = SocketAddr> + use<'_> {
        let slots = (0..).map(SlotIndex).zip(self.table.slots());
        let admitted = slots.filter(move |(index, slot)| {
            was_admitted(slot) && self.shared.entrances.of(*index) == listener
        });
        admitted.filter_map(move |(index, slot)| {
            let client = self.shared.proxies.client_of(index, listener);
            client.counted(slot.peer.addr())
        })
    }
}

fn was_admitted(slot: &Slot) -> bool {
    let is_turned_away = matches!(
        slot.reason,
        CloseReason::Refused | CloseReason::AddressLimit
    );
    slot.phase != Phase::Free && slot.origin != Origin::Outbound && !is_turned_away
}
