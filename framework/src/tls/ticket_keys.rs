//! The keys of tickets: the one that seals, and the one before, which still opens.

use std::fmt;

use ::ring::rand::{SecureRandom, SystemRandom};

/// Bytes of a key: AES-256-GCM.
pub(super) const KEY_BYTES: usize = 32;
/// Keys that are made by a clock so far ahead of ours are of a clock that was wrong.
const AHEAD_MAX: u64 = 3600;

/// One key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TicketKey {
    /// When it was made, in seconds since 1970.
    pub(super) made: u64,
    pub(super) secret: [u8; KEY_BYTES],
}

impl TicketKey {
    fn new(now: u64) -> Self {
        let mut secret = [0; KEY_BYTES];
        let filled = SystemRandom::new().fill(&mut secret);
        filled.expect("the kernel gives random bytes: getrandom(2) fails on no Linux that runs us");
        Self { made: now, secret }
    }

    /// Whether it may still seal, at `now`.
    fn is_fresh(&self, now: u64, lifetime: u64) -> bool {
        self.age(now).is_some_and(|age| age < lifetime)
    }

    /// Whether it may still open.
    fn is_good(&self, now: u64, lifetime: u64) -> bool {
        self.age(now).is_some_and(|age| age < 2 * lifetime)
    }

    /// None: it comes from the future.
    fn age(&self, now: u64) -> Option<u64> {
        (self.made <= now.saturating_add(AHEAD_MAX)).then(|| now.saturating_sub(self.made))
    }
}

/// Those in use.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TicketKeys {
    pub(super) current: TicketKey,
    pub(super) before: Option<TicketKey>,
}

impl TicketKeys {
    pub(super) fn new(now: u64) -> Self {
        Self {
            current: TicketKey::new(now),
            before: None,
        }
    }

    /// Whether a new key is due, at `now`.
    pub(super) fn is_due(&self, now: u64, lifetime: u64) -> bool {
        !self.current.is_fresh(now, lifetime)
    }

    /// With a new key, if one is due, and without what is too old to open anything.
    pub(super) fn at(&self, now: u64, lifetime: u64) -> Self {
        let (current, before) = match self.is_due(now, lifetime) {
            true => (TicketKey::new(now), Some(&self.current)),
            false => (self.current.clone(), self.before.as_ref()),
        };
        Self {
            current,
            before: before.filter(|key| key.is_good(now, lifetime)).cloned(),
        }
    }
}

/// Without the secret.
impl fmt::Debug for TicketKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TicketKey(made {})", self.made)
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} before {:?}", self.current, self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_seals_for_a_lifetime_and_opens_for_two() {
        let first = TicketKeys::new(1000);
        assert_eq!(first.at(1099, 100), first);
        let second = first.at(1100, 100);
        assert_eq!(second.before.as_ref(), Some(&first.current));
        assert_ne!(second.current, first.current);
        let kept = second.at(1199, 100);
        assert_eq!(kept, second);
        let third = second.at(1200, 100);
        assert_eq!(third.before.as_ref(), Some(&second.current));
        assert_eq!(third.at(1299, 100), third);
    }

    #[test]
    fn after_a_long_rest_no_old_key_is_left() {
        let old = TicketKeys::new(1000).at(1100, 100);
        let new = old.at(5000, 100);
        assert_eq!((new.current.made, new.before), (5000, None));
        // The one before goes at its end, whatever the current one's age.
        let uneven = TicketKeys {
            before: Some(TicketKey::new(500)),
            current: TicketKey::new(1090),
        };
        assert_eq!(uneven.at(1100, 100).before, None);
    }

    #[test]
    fn a_key_of_a_clock_that_was_wrong_is_replaced() {
        let ahead = TicketKeys::new(100_000);
        let (near, far) = (ahead.at(99_000, 100), ahead.at(1000, 100));
        assert_eq!(near, ahead, "clocks differ by that");
        assert_eq!((far.current.made, far.before), (1000, None));
    }

    #[test]
    fn what_is_printed_of_them_has_no_secret() {
        let keys = TicketKeys::new(7).at(200, 100);
        assert_eq!(
            format!("{keys:?}"),
            "TicketKey(made 200) before Some(TicketKey(made 7))"
        );
    }
}
