//! `[server]` and `[listener]`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::addresses::ListenAddress;
use crate::config::choices::{FlagOr, Words};
use crate::config::declare::section;
use crate::config::networks::{Network, Networks};
use crate::config::numbers::{Cores, Whole};
use crate::config::times::Times;
use crate::proxy::{self, Versions};

use super::timeouts::TIMEOUT;
use super::units::{millis, secs};

// More shards than the largest machines have cores; past it a number is a slip.
const SHARDS: Whole = Whole::of("shards", 1, 1024).or_zero("one per allowed core");
// Core numbers that `sched_setaffinity` takes in its usual form (CPU_SETSIZE).
const CORES: Cores = Cores { max: 1023 };
// A shard that has heard nothing for as long as the latter parks.
const SPIN: Times = Times::from(millis(1), millis(50)).or("off");
const PROXY: Words<Option<Versions>> = Words(&[
    ("off", None),
    (Versions::V1.word(), Some(Versions::V1)),
    (Versions::V2.word(), Some(Versions::V2)),
    (Versions::Any.word(), Some(Versions::Any)),
]);
const STEER: Words<Steer> = Words(&[("hash", Steer::Hash), ("cpu", Steer::Cpu)]);
// They are looked through at each connection.
const TRUSTED: Networks = Networks { count_max: 64 };
const HEADER: Whole = Whole::of("bytes", proxy::HEADER_MIN, proxy::HEADER_MAX);

section! {
    /// Where the server listens, and on how many cores.
    struct Server {
        /// Address and port to listen on. With port 0 the kernel chooses a port, and the log line
        /// `listening` shows it. Each application has a default of its own. A server with several
        /// listeners, or with a Unix socket, has `[[listener]]` instead.
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

        /// Which shard a new client is given to. `"hash"` is the kernel's own way: it spreads
        /// clients evenly by their addresses. `"cpu"` gives each to the shard of the core that has
        /// handled the client's first packet, so that packets, socket and shard stay on one core.
        /// Several shards of a core share its clients evenly; clients of a core without a shard are
        /// spread by the hash.
        ///
        /// Needs shards that keep to their cores (`pin`), and a network card that spreads clients
        /// over these cores (RSS). Without one a few shards have all clients. Listeners that a
        /// service manager has opened are left to the hash.
        documented steer: Steer = STEER, Steer::Hash;
    }
}

/// How a new client comes to its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Steer {
    /// By its addresses.
    Hash,
    /// By the core of its first packet.
    Cpu,
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
    /// The kernel's queue of connections that no shard has accepted yet, and the PROXY protocol.
    struct Listener {
        /// Connections of one shard that may wait in the kernel until the shard accepts them. The
        /// kernel cuts the number to the sysctl `net.core.somaxconn`.
        shipped backlog: u32 = Whole::of("connections", 1, 65_535), 4096;

        /// The PROXY header with which every connection begins: of version 1, of version 2, or of
        /// either. It is never guessed whether there is one: with `"off"` nobody's is read, and
        /// otherwise a connection without one is closed. For a server that is reached through
        /// proxies alone.
        documented proxy: Option<Versions> = PROXY, None;

        /// Networks of the proxies whose header is believed, like `["10.0.0.0/8", "2001:db8::7"]`.
        /// A connection from elsewhere is closed. Needed with `proxy`.
        documented proxy_trusted: Vec<Network> = TRUSTED, Vec::new();

        /// Time from the accept to the end of the PROXY header. Less than `"3s"` leaves no room for
        /// one lost packet.
        documented proxy_timeout: Duration = TIMEOUT, secs(3);

        /// Bytes of a PROXY header of version 2. The default is what the protocol has in mind; TLS
        /// details of the client may want more.
        documented proxy_header_max: u32 = HEADER, 536;
    }
}
