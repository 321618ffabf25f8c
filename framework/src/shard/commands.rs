//! What the control thread tells a shard.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Each is told once, and read every turn.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    /// It only ever grows.
    stage: AtomicU8,
    memory_short: AtomicBool,
}

impl Commands {
    const SERVE: u8 = 1;
    const DRAIN: u8 = 2;

    /// Every shard has its handler.
    pub(crate) fn serve(&self) {
        self.stage.fetch_max(Self::SERVE, Ordering::Release);
    }

    /// Waits for the order to serve; false if the order is to drain, so that nobody is to be
    /// served. The control thread unparks.
    pub(crate) fn wait_to_serve(&self) -> bool {
        loop {
            match self.stage.load(Ordering::Acquire) {
                Self::SERVE => return true,
                Self::DRAIN => return false,
                _ => std::thread::park(),
            }
        }
    }

    pub(crate) fn drain(&self) {
        self.stage.store(Self::DRAIN, Ordering::Release);
    }

    pub(crate) fn says_drain(&self) -> bool {
        self.stage.load(Ordering::Acquire) == Self::DRAIN
    }

    /// Whether the memory of the process nears its end.
    pub(crate) fn tell_memory(&self, short: bool) {
        self.memory_short.store(short, Ordering::Relaxed);
    }

    pub(crate) fn memory_is_short(&self) -> bool {
        self.memory_short.load(Ordering::Relaxed)
    }
}
