//! Whether the server can be given work: what a load balancer asks before it sends somebody.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::id::ShardId;

/// Why a server is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unready {
    /// Not every shard listens yet.
    Starting,
    /// This shard has not moved on for `limits.unready_after`.
    Stalled(ShardId),
    /// The server ends.
    Draining,
    /// This shard has ended without an order to, and with it its listener.
    ShardDied(ShardId),
}

impl Unready {
    /// The shard that is to blame.
    fn shard(self) -> Option<ShardId> {
        match self {
            Self::Starting | Self::Draining => None,
            Self::Stalled(shard) | Self::ShardDied(shard) => Some(shard),
        }
    }

    /// The word, and the shard if there is one: `stalled shard=3`.
    pub(crate) fn told(self) -> String {
        let shard = self.shard().map(|shard| format!(" shard={shard}"));
        format!("{self}{}", shard.unwrap_or_default())
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Starting => "starting",
            Self::Stalled(_) => "stalled",
            Self::Draining => "draining",
            Self::ShardDied(_) => "shard_died",
        })
    }
}

/// The server's readiness, in one word: the control thread writes it, any thread may read it.
#[derive(Debug)]
pub(crate) struct Readiness(AtomicU64);

impl Readiness {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(encode(Err(Unready::Starting))))
    }

    /// `Ok`: it is ready.
    pub(crate) fn get(&self) -> Result<(), Unready> {
        decode(self.0.load(Ordering::Relaxed))
    }

    /// For the control thread only. Logs what is news.
    pub(crate) fn set(&self, state: Result<(), Unready>) {
        if self.get() == state {
            return;
        }
        self.0.store(encode(state), Ordering::Relaxed);
        let Err(reason) = state else {
            tracing::info!("ready");
            return;
        };
        let shard = reason.shard().map(|shard| shard.0);
        match reason {
            Unready::Starting | Unready::Draining => tracing::info!(%reason, shard, "not ready"),
            Unready::Stalled(_) | Unready::ShardDied(_) => {
                tracing::warn!(%reason, shard, "not ready")
            }
        }
    }
}

/// What it is in the upper half, which shard in the lower.
fn encode(state: Result<(), Unready>) -> u64 {
    let (what, shard) = match state {
        Ok(()) => (0, ShardId(0)),
        Err(Unready::Starting) => (1, ShardId(0)),
        Err(Unready::Draining) => (2, ShardId(0)),
        Err(Unready::Stalled(shard)) => (3, shard),
        Err(Unready::ShardDied(shard)) => (4, shard),
    };
    what << 32 | u64::from(shard.0)
}

fn decode(word: u64) -> Result<(), Unready> {
    let shard = ShardId(word as u32);
    match word >> 32 {
        0 => Ok(()),
        1 => Err(Unready::Starting),
        2 => Err(Unready::Draining),
        3 => Err(Unready::Stalled(shard)),
        _ => Err(Unready::ShardDied(shard)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read() {
        let readiness = Readiness::new();
        assert_eq!(readiness.get(), Err(Unready::Starting));
        let shard = ShardId(u32::MAX);
        for state in [
            Ok(()),
            Err(Unready::Draining),
            Err(Unready::Stalled(shard)),
            Err(Unready::ShardDied(shard)),
            Err(Unready::Starting),
        ] {
            readiness.set(state);
            assert_eq!(readiness.get(), state);
        }
    }
}
