//! What a submission carries and a completion brings back.

use io_uring::cqueue;

use crate::id::{Generation, Key, SlotIndex};

/// Slots that a token can name.
pub(crate) const SLOTS_MAX: u32 = 1 << 24;

/// The kinds of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Operation {
    Accept = 1,
    Receive,
    Send,
    Shutdown,
    Close,
    Cancel,
    Timer,
    /// The timer that ends a shard's wait in its ring.
    WaitTimer,
    /// A send that completes only when it fails: [`Ring::reap`](super::Ring::reap) shows it as a
    /// `Send`.
    QuietSend,
    /// Puts a socket of ours into the table of direct descriptors.
    Install,
    Connect,
    /// The timer of the task that is due first.
    TaskTimer,
    /// Waits until there is something to receive.
    Poll,
    /// Asks how much of what was sent is not acknowledged.
    Unacknowledged,
    /// The descriptor that other threads signal.
    Wake,
    /// A disconnect, told of only when it fails.
    Reset,
    /// Makes a descriptor of the process of a direct one.
    Expose,
}

impl Operation {
    /// Every operation, in the order of their numbers: what a completion brings is looked up here.
    const ALL: [Self; 17] = [
        Self::Accept,
        Self::Receive,
        Self::Send,
        Self::Shutdown,
        Self::Close,
        Self::Cancel,
        Self::Timer,
        Self::WaitTimer,
        Self::QuietSend,
        Self::Install,
        Self::Connect,
        Self::TaskTimer,
        Self::Poll,
        Self::Unacknowledged,
        Self::Wake,
        Self::Reset,
        Self::Expose,
    ];

    /// The operation of a number that [`Token::encode`] has written.
    fn of_number(number: u8) -> Self {
        Self::ALL[usize::from(number) - Self::ALL[0] as usize]
    }

    /// Whether the kernel may touch memory of ours until the operation has completed.
    pub(super) fn lends_memory(self) -> bool {
        matches!(
            self,
            Self::Accept
                | Self::Receive
                | Self::Send
                | Self::QuietSend
                | Self::Install
                | Self::Connect
        )
    }
}

/// Which operation of which life of which slot: the `user_data` of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) operation: Operation,
    pub(crate) key: Key,
}

impl Token {
    pub(crate) fn new(operation: Operation, key: Key) -> Self {
        debug_assert!(key.slot.0 < SLOTS_MAX, "slot numbers fit 24 bits");
        Self { operation, key }
    }

    pub(crate) fn timer(serial: u32) -> Self {
        Self {
            operation: Operation::Timer,
            key: Key {
                slot: SlotIndex(0),
                generation: Generation::of(serial),
            },
        }
    }

    pub(crate) fn task_timer(serial: u32) -> Self {
        Self {
            operation: Operation::TaskTimer,
            ..Self::timer(serial)
        }
    }

    pub(crate) const WAKE: Self = Self {
        operation: Operation::Wake,
        key: Key {
            slot: SlotIndex(0),
            generation: Generation::FIRST,
        },
    };
    pub(crate) const WAIT_TIMER: Self = Self {
        operation: Operation::WaitTimer,
        key: Key {
            slot: SlotIndex(0),
            generation: Generation::FIRST,
        },
    };

    /// Operation in the top byte, slot below it, generation in the low half.
    pub(crate) fn encode(self) -> u64 {
        u64::from(self.operation as u8) << 56
            | u64::from(self.key.slot.0) << 32
            | u64::from(self.key.generation.number())
    }

    pub(super) fn decode(data: u64) -> Self {
        let slot = SlotIndex((data >> 32) as u32 & (SLOTS_MAX - 1));
        Self {
            operation: Operation::of_number((data >> 56) as u8),
            key: Key {
                slot,
                generation: Generation::of(data as u32),
            },
        }
    }
}

/// One completion, decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) token: Token,
    /// Bytes, a descriptor number, or a negated errno.
    pub(crate) result: i32,
    /// The provided buffer that was filled.
    pub(crate) buffer: Option<u16>,
    /// The operation goes on and will complete again.
    pub(crate) more: bool,
}

impl Completion {
    pub(super) fn decode(data: u64, result: i32, flags: u32) -> Self {
        Self {
            token: Token::decode(data),
            result,
            buffer: cqueue::buffer_select(flags),
            more: cqueue::more(flags),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_stands_at_its_number() {
        for (operation, number) in Operation::ALL.into_iter().zip(1..) {
            assert_eq!(operation as u8, number);
        }
    }

    #[test]
    fn a_token_survives_the_kernel() {
        for operation in Operation::ALL {
            for (slot, generation) in [(0, 1), (1, u32::MAX), (SLOTS_MAX - 1, 7)] {
                let token = Token::new(
                    operation,
                    Key {
                        slot: SlotIndex(slot),
                        generation: Generation::of(generation),
                    },
                );
                assert_eq!(Token::decode(token.encode()), token);
            }
        }
    }
}
