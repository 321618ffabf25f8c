//! Bytes that nobody can guess, as keys of masks must be (RFC 6455, 10.3).

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use rustix::rand::{GetRandomFlags, getrandom};

/// What the kernel gives at once without a wait (getrandom(2)).
const POOL: usize = 256;

thread_local! {
    /// Bytes that are left, at the end.
    static UNUSED: RefCell<([u8; POOL], usize)> = const { RefCell::new(([0; POOL], POOL)) };
}

/// `COUNT` bytes, at most 16.
pub(super) fn bytes<const COUNT: usize>() -> [u8; COUNT] {
    UNUSED.with_borrow_mut(|(pool, used)| {
        if *used + COUNT > POOL {
            refill(pool);
            *used = 0;
        }
        let mut bytes = [0; COUNT];
        bytes.copy_from_slice(&pool[*used..*used + COUNT]);
        *used += COUNT;
        bytes
    })
}

fn refill(pool: &mut [u8; POOL]) {
    if getrandom(&mut *pool, GetRandomFlags::empty()) == Ok(POOL) {
        return;
    }
    // A kernel that refuses: the standard library has keys that it has got somehow.
    let state = RandomState::new();
    for (number, word) in pool.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        *word = state.hash_one(number).to_ne_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_comes_twice() {
        let mut keys: Vec<[u8; 16]> = (0..1000).map(|_| bytes()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 1000);
    }
}
