//! By which listener each connection has come, beside the table: nothing where there is but one.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::config::Endpoint;
use crate::id::{ListenerIndex, SlotIndex};

/// Bytes of a connection, where there are so many listeners.
pub(crate) fn bytes(listeners: usize) -> u64 {
    u64::from(listeners > 1)
}

/// The admin server's listener. It is told of although its shard has no other, for the names of its
/// connections are those of the server's as well.
pub(crate) const ADMIN: &str = "admin";

/// What is told of a listener.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) name: Rc<str>,
    /// With the real port; the unspecified address stands for a Unix socket.
    pub(crate) address: SocketAddr,
}

impl Entrance {
    pub(crate) fn new(name: &str, endpoint: &Endpoint) -> Self {
        Self {
            name: name.into(),
            address: endpoint.socket_addr(),
        }
    }
}

/// The listeners of a shard's connections.
#[derive(Debug)]
pub(crate) struct Entrances {
    all: Vec<Entrance>,
    /// Of accepted connections. Empty where there is one listener.
    by_slot: Vec<ListenerIndex>,
}

impl Entrances {
    pub(crate) fn new(all: Vec<Entrance>, slots: u32) -> Self {
        let capacity = if all.len() > 1 { slots as usize } else { 0 };
        Self {
            all,
            by_slot: Vec::with_capacity(capacity),
        }
    }

    pub(crate) fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    pub(crate) fn all(&self) -> &[Entrance] {
        &self.all
    }

    /// A connection has come by it.
    pub(crate) fn set(&mut self, slot: SlotIndex, listener: ListenerIndex) {
        if !self.are_several() {
            return;
        }
        let at = slot.0 as usize;
        if self.by_slot.len() <= at {
            self.by_slot.resize(at + 1, ListenerIndex::default());
        }
        self.by_slot[at] = listener;
    }

    /// By which the accepted connection in `slot` has come.
    pub(crate) fn of(&self, slot: SlotIndex) -> ListenerIndex {
        let listener = self.by_slot.get(slot.0 as usize);
        listener.copied().unwrap_or_default()
    }

    /// Its name, for the log; none where there is but one, unless that is the [admin server's](ADMIN).
    pub(crate) fn told(&self, listener: ListenerIndex) -> Option<&str> {
        let entrance = self
            .all
            .get(listener.place())
            .filter(|entrance| self.are_several() || &*entrance.name == ADMIN);
        entrance.map(|entrance| &*entrance.name)
    }

    /// The same with what is told of it; none: the shard has no listener.
    pub(crate) fn entrance_of(&self, slot: SlotIndex) -> Option<&Entrance> {
        self.all.get(self.of(slot).place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrances(count: usize) -> Entrances {
        let address = Endpoint::Tcp(([127, 0, 0, 1], 7).into());
        let all = (0..count).map(|number| Entrance::new(&number.to_string(), &address));
        Entrances::new(all.collect(), 4)
    }

    #[test]
    fn a_connection_is_of_the_listener_by_which_it_has_come() {
        let mut entrances = entrances(3);
        entrances.set(SlotIndex(2), ListenerIndex(1));
        entrances.set(SlotIndex(0), ListenerIndex(2));
        let names = [0, 1, 2].map(|slot| {
            let entrance = entrances.entrance_of(SlotIndex(slot));
            entrance.expect("there are listeners").name.to_string()
        });
        assert_eq!(names, ["2", "0", "1"]);
    }

    #[test]
    fn the_admin_servers_is_told_of_although_it_is_alone() {
        let address = Endpoint::Tcp(([127, 0, 0, 1], 7).into());
        let one = |name| Entrances::new(vec![Entrance::new(name, &address)], 4);
        let told = |name| one(name).told(ListenerIndex(0)).map(str::to_owned);
        assert_eq!(told("admin").as_deref(), Some("admin"));
        assert_eq!(told("1"), None);
    }

    #[test]
    fn one_listener_takes_no_memory() {
        let mut entrances = entrances(1);
        entrances.set(SlotIndex(2), ListenerIndex(0));
        assert_eq!(entrances.by_slot.capacity(), 0);
        assert_eq!(entrances.of(SlotIndex(2)), ListenerIndex(0));
    }
}
