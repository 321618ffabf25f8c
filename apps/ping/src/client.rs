//! What a client has said of itself.

use std::cell::Cell;
use std::num::NonZeroU64;

/// Longest name of a client, in bytes; Redis takes one as long as a bulk string may be.
pub(crate) const NAME_MAX: usize = 256;

/// The state of one client's connection. A client that has said nothing speaks RESP2, has no name
/// and costs no memory.
#[derive(Debug, Default)]
pub(crate) struct Client(Option<Box<Said>>);

#[derive(Debug, Default)]
struct Said {
    protocol: Protocol,
    name: Box<[u8]>,
    id: Option<NonZeroU64>,
}

/// The versions differ only in the replies that have a type of their own in RESP3.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// Why a client cannot have a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InvalidName {
    TooLong,
    NotPrintable,
}

impl Client {
    pub(crate) fn protocol(&self) -> Protocol {
        self.0
            .as_ref()
            .map(|said| said.protocol)
            .unwrap_or_default()
    }

    pub(crate) fn set_protocol(&mut self, protocol: Protocol) {
        self.said().protocol = protocol;
    }

    /// None given: empty.
    pub(crate) fn name(&self) -> &[u8] {
        self.0.as_ref().map(|said| &*said.name).unwrap_or_default()
    }

    /// Names it in printable ASCII without blanks, as Redis wants it; an empty name takes the name
    /// away.
    pub(crate) fn set_name(&mut self, name: &[u8]) -> Result<(), InvalidName> {
        match name {
            _ if name.len() > NAME_MAX => return Err(InvalidName::TooLong),
            _ if !is_printable(name) => return Err(InvalidName::NotPrintable),
            _ => self.said().name = name.into(),
        }
        Ok(())
    }

    /// Its number, drawn when it is first asked for.
    pub(crate) fn id(&mut self, ids: &Ids) -> NonZeroU64 {
        *self.said().id.get_or_insert_with(|| ids.draw())
    }

    /// Forgets everything but its number.
    pub(crate) fn reset(&mut self) {
        if let Some(said) = &mut self.0 {
            **said = Said {
                id: said.id,
                ..Said::default()
            };
        }
    }

    fn said(&mut self) -> &mut Said {
        self.0.get_or_insert_default()
    }
}

pub(crate) fn is_printable(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// The numbers that a shard gives its clients: every `shards`-th one, so that no two shards give
/// the same and none asks another.
#[derive(Debug)]
pub(crate) struct Ids {
    next: Cell<NonZeroU64>,
    shards: u32,
}

impl Ids {
    pub(crate) fn of_shard(shard: u32, shards: u32) -> Self {
        Self {
            next: Cell::new(NonZeroU64::MIN.saturating_add(shard.into())),
            shards,
        }
    }

    fn draw(&self) -> NonZeroU64 {
        let id = self.next.get();
        self.next.set(id.saturating_add(self.shards.into()));
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_says_nothing_costs_one_pointer() {
        assert_eq!(size_of::<Client>(), size_of::<usize>());
        let mut client = Client::default();
        assert_eq!(
            (client.protocol(), client.name()),
            (Protocol::Resp2, &b""[..])
        );
        client.reset();
        assert!(client.0.is_none());
    }

    #[test]
    fn a_reset_forgets_all_but_the_number() {
        let (ids, mut client) = (Ids::of_shard(0, 1), Client::default());
        client.set_protocol(Protocol::Resp3);
        client.set_name(b"me").expect("a good name");
        let id = client.id(&ids);
        client.reset();
        assert_eq!(
            (client.protocol(), client.name()),
            (Protocol::Resp2, &b""[..])
        );
        assert_eq!(client.id(&ids), id);
    }

    #[test]
    fn no_two_clients_of_any_shards_have_one_number() {
        let shards: Vec<Ids> = (0..3).map(|shard| Ids::of_shard(shard, 3)).collect();
        let mut drawn: Vec<u64> = (0..30)
            .map(|turn| Client::default().id(&shards[turn % 7 % 3]).get())
            .collect();
        assert_eq!(drawn[..3], [1, 2, 3]);
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 30);
    }

    #[test]
    fn a_name_is_printable_and_has_a_bound() {
        let mut client = Client::default();
        assert_eq!(client.set_name(&[b'~'; NAME_MAX]), Ok(()));
        assert_eq!(
            client.set_name(&[b'!'; NAME_MAX + 1]),
            Err(InvalidName::TooLong)
        );
        for byte in [0, b' ', b'\n', 0x7f, 0x80, 0xff] {
            assert_eq!(
                client.set_name(&[b'a', byte]),
                Err(InvalidName::NotPrintable)
            );
        }
        assert_eq!(client.name(), [b'~'; NAME_MAX]);
        assert_eq!(client.set_name(b""), Ok(()));
        assert_eq!(client.name(), b"");
    }
}
