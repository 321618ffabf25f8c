//! Tickets: what a client keeps of a session, sealed so that it is of use to the server alone
//! (RFC 5077; RFC 8446, 4.6.1).
//!
//! A ticket is the name of a key, a nonce, and the session under AES-256-GCM. It is good where it
//! was made alone: the listener and what it asks of clients are sealed with it, so that no session
//! of a client without a certificate goes on where one is required. Nothing of it changes: new keys
//! are a new ticketer.

use std::fmt;

use ::ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ::ring::digest::{SHA256, digest};
use ::ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

use super::ticket_keys::{KEY_BYTES, TicketKey, TicketKeys};

const NAME_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
/// Longest ticket that is opened. A session has the client's certificates, and what comes as a
/// ticket is any bytes up to 64 KB.
const TICKET_BYTES_MAX: usize = 32 * 1024;
/// The longest life that a client is told (RFC 8446, 4.6.1).
const LIFETIME_MAX: u64 = 7 * 24 * 3600;

/// What a ticket is bound to: a digest of the listener's name and of what it asks of clients.
pub(super) type Binding = [u8; 32];

/// Makes and opens the tickets of one listener.
pub(super) struct Ticketer {
    current: Sealer,
    before: Option<Sealer>,
    binding: Binding,
    /// In seconds.
    lifetime: u32,
}

struct Sealer {
    name: [u8; NAME_BYTES],
    key: LessSafeKey,
}

impl Ticketer {
    pub(super) fn new(keys: &TicketKeys, lifetime: u64, binding: Binding) -> Self {
        Self {
            current: Sealer::new(&keys.current),
            before: keys.before.as_ref().map(Sealer::new),
            binding,
            lifetime: lifetime.min(LIFETIME_MAX) as u32,
        }
    }

    /// What is sealed with a ticket beside the session.
    fn aad(&self, name: &[u8; NAME_BYTES]) -> Aad<[u8; NAME_BYTES + 32]> {
        let mut aad = [0; NAME_BYTES + 32];
        aad[..NAME_BYTES].copy_from_slice(name);
        aad[NAME_BYTES..].copy_from_slice(&self.binding);
        Aad::from(aad)
    }
}

impl Sealer {
    fn new(key: &TicketKey) -> Self {
        let mut named = b"corelane ticket key".to_vec();
        named.extend(key.secret);
        let mut name = [0; NAME_BYTES];
        name.copy_from_slice(&digest(&SHA256, &named).as_ref()[..NAME_BYTES]);
        const { assert!(KEY_BYTES == 32) };
        let unbound = UnboundKey::new(&AES_256_GCM, &key.secret);
        Self {
            name,
            key: LessSafeKey::new(unbound.expect("a key of AES-256 has 32 bytes")),
        }
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let Sealer { name, key } = &self.current;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let (begin, bytes) = (NAME_BYTES + NONCE_LEN, plain.len());
        let mut ticket = Vec::with_capacity(begin + bytes + TAG_BYTES);
        ticket.extend(name);
        ticket.extend(nonce);
        ticket.extend(plain);
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), self.aad(name));
        let tag = key.seal_in_place_separate_tag(nonce, aad, &mut ticket[begin..]);
        ticket.extend(tag.ok()?.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (name, sealed) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut sealers = [Some(&self.current), self.before.as_ref()]
            .into_iter()
            .flatten();
        let sealer = sealers.find(|sealer| sealer.name == *name)?; // the names are no secret
        let (nonce, aad) = (Nonce::assume_unique_for_key(*nonce), self.aad(name));
        let mut session = sealed.to_vec();
        let length = sealer
            .key
            .open_in_place(nonce, aad, &mut session)
            .ok()?
            .len();
        session.truncate(length);
        Some(session)
    }
}

/// Without the keys.
impl fmt::Debug for Ticketer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Ticketer({} s)", self.lifetime)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: Binding = [1; 32];
    const ELSEWHERE: Binding = [2; 32];

    fn ticketer(keys: &TicketKeys, binding: Binding) -> Ticketer {
        Ticketer::new(keys, 100, binding)
    }

    #[test]
    fn a_ticket_is_opened_by_its_key_and_the_next_and_not_by_the_one_after() {
        let first = TicketKeys::new(0);
        let (second, third) = (first.at(100, 100), first.at(100, 100).at(200, 100));
        let ticket = ticketer(&first, HERE)
            .encrypt(b"session")
            .expect("it is sealed");
        let open = |keys| ticketer(keys, HERE).decrypt(&ticket);
        assert_eq!(open(&first).as_deref(), Some(&b"session"[..]));
        assert_eq!(open(&second).as_deref(), Some(&b"session"[..]));
        assert_eq!(open(&third), None);
    }

    #[test]
    fn a_ticket_of_another_listener_is_no_ticket() {
        let keys = TicketKeys::new(0);
        let ticket = ticketer(&keys, HERE)
            .encrypt(b"session")
            .expect("it is sealed");
        assert_eq!(ticketer(&keys, ELSEWHERE).decrypt(&ticket), None);
    }

    #[test]
    fn no_two_tickets_are_alike() {
        let ticketer = ticketer(&TicketKeys::new(0), HERE);
        assert_ne!(ticketer.encrypt(b"session"), ticketer.encrypt(b"session"));
        assert_eq!((ticketer.enabled(), ticketer.lifetime()), (true, 100));
        assert_eq!(format!("{ticketer:?}"), "Ticketer(100 s)");
    }

    #[test]
    fn what_is_longer_than_a_ticket_is_not_opened() {
        let ticketer = ticketer(&TicketKeys::new(0), HERE);
        let ticket = ticketer
            .encrypt(&vec![0; TICKET_BYTES_MAX])
            .expect("it is sealed");
        assert_eq!(ticketer.decrypt(&ticket), None);
    }

    proptest! {
        #[test]
        fn a_changed_ticket_is_no_ticket(
            session in proptest::collection::vec(any::<u8>(), 0..300),
            at in any::<usize>(),
            flip in 1_u8..,
            length in any::<usize>(),
        ) {
            let ticketer = ticketer(&TicketKeys::new(0), HERE);
            let ticket = ticketer.encrypt(&session).expect("it is sealed");
            prop_assert_eq!(ticketer.decrypt(&ticket), Some(session));
            prop_assert_eq!(ticketer.decrypt(&ticket[..length % ticket.len()]), None);
            let mut changed = ticket.clone();
            changed[at % ticket.len()] ^= flip;
            prop_assert_eq!(ticketer.decrypt(&changed), None);
        }
    }
}
