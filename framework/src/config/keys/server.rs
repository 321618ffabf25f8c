//! `[server]` and `[listener]`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::addresses::ListenAddress;
use crate::config::choices::FlagOr;
use crate::config::declare::section;
use crate::config::numbers::{Cores, Whole};
use crate::config::times::Times;

use super::units::millis;

// More shards than the largest machines have cores; past it a number is a slip.
const SHARDS: Whole = Whole::of("shards", 1, 1024).or_zero("one per allowed core");
// Core numbers that `sched_setaffinity` takes in its usual form (CPU_SETSIZE).
const CORES: Cores = Cores { max: 1023 };
// A shard that has heard nothing for as long as the latter parks.
const SPIN: Times = Times::from(millis(1), millis(50)).or("off");

section! {
    /// Where the server listens, and on how many cores.
    struct Server {
        /// Address and port to listen on. With port 0 the kernel chooses a port, and the log line
        /// `listening` shows it. Each application has a default of its own.
        shipped listen: SocketAddr = ListenAddress, SocketAddr::from(([127, 0, 0, 1], 7007));

        /// Number of shards. A shard is a thread with its own listener and connections. More shards
        /// than cores are legal: they share the cores.
        shipped shards: u32 = SHARDS, 0;

        /// Cores to run on, by number, like `[0, 2]`. No core may be named twice. An empty list
        /// means every core that the process may run on.
        shipped cpus: Vec<usize> = CORES, Vec::new();

        /// Whether each shard keeps to one core. `"auto"` pins the shards where `cpus` names the
        /// cores.
        ///
        /// Set false where other programs use the same cores, for example a client on the same
        /// machine. The scheduler then moves a shard to a free core; a pinned shard would wait. Set
        /// true on a machine that runs nothing else. A shard then keeps its caches and its NUMA
        /// node's memory.
        shipped pin: Option<bool> = FlagOr("auto"), None;

        /// How long an idle shard polls for work before it sleeps. A message that arrives meanwhile
        /// is spared the wake-up, on many machines the longest part of its latency.
        ///
        /// A polling shard keeps its core busy, and other programs on that core wait. Use it where
        /// the shards have their cores to themselves, with no more shards than cores.
        documented spin: Option<Duration> = SPIN, None;
    }
}

impl Server {
    /// Whether each shard keeps to one core. "auto" does where the operator has said which cores:
    /// they are the shards' then. Elsewhere other programs run on the same cores, and a thread that
    /// may not leave its own waits behind them while the next one idles.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pin.unwrap_or(!self.cpus.is_empty())
    }
}

section! {
    /// The kernel's queue of connections that no shard has accepted yet.
    struct Listener {
        /// Connections of one shard that may wait in the kernel until the shard accepts them. The
        /// kernel cuts the number to the sysctl `net.core.somaxconn`.
        shipped backlog: u32 = Whole::of("connections", 1, 65_535), 4096;
    }
}
