//! The most memory that the settings can take, and whether the machine has it.
//!
//! What was not asked for by number, connections and the bytes of a shard, is derived so that all
//! of it fits. Only what was asked for can be refused.

use std::fmt;

use crate::config::Config;
use crate::log;
use crate::preflight::admin;
use crate::preflight::facts::Facts;
use crate::preflight::problem::Problem;
use crate::ring::buffers::{BufferPool, SPARE_RECORDS_BYTES};
use crate::shard::conns::{entrances, proxied, tls};
use crate::shard::mail::mesh::places as mailbox_places;
use crate::shard::policy::bounds::MemoryShare;
use crate::shard::policy::overload::OWN_BUFFERS;
use crate::shard::run::CONNECTION_BYTES;

/// memory.max, or memory.limit_in_bytes in version 1.
const GROUP_HAS: &str = "the control group's memory bound is";

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The program itself, its libraries, the control thread and that of the log: more than a build
/// without optimisation was seen to take.
const PROGRAM_BYTES: u64 = 16 * MIB;
/// A shard before its first connection: its thread, the rings of the executor and the sockets, the
/// first of all tables: likewise.
const SHARD_BYTES: u64 = 2 * MIB;
/// Parts of which a connection that says nothing has its share.
const AT_REST: [&str; 3] = [PROGRAM, SHARDS, CONNECTIONS];
const PROGRAM: &str = "program";
const SHARDS: &str = "shards";
const CONNECTIONS: &str = "connections";

/// The kernel's part of a connection: the socket, and the poll or receive in which it waits. An
/// estimate: it changes with the kernel.
pub(super) const SOCKET_BYTES: u64 = 4 * KIB;
/// The allocator's own, and the places in queues: a part of what lies in heap buffers.
const ALLOCATOR_PART: u64 = 4;
/// Of the memory, what is left to the buffers of the kernel's sockets and to chance where we choose
/// the numbers. In a control group of version 2 those buffers count.
const SPARED_PART: u64 = 4;
/// Of what is left beside the fixed parts, what unread and unsent bytes get each.
const DERIVED_PART: u64 = 6;
/// Nobody who has not asked for it wants more bytes than this in the queues of one shard.
const DERIVED_PER_SHARD_MAX: u64 = 1024 * MIB;
/// Where the memory is not known.
const DERIVED_PER_SHARD_BLIND: u64 = 256 * MIB;

/// The most memory that the settings can take. Its `Display` is the sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryBound {
    parts: Vec<Part>,
    /// What the connections of each shard may hold; it is among the parts.
    pub share: MemoryShare,
    /// What the sockets take in the kernel beside it, buffers not included.
    pub kernel_sockets_bytes: u64,
    /// What all sockets of the machine may have in buffers (sysctl net.ipv4.tcp_mem).
    pub kernel_buffers_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: &'static str,
    bytes: u64,
    how: String,
}

impl Part {
    fn of(name: &'static str, bytes: u64, how: String) -> Self {
        Self { name, bytes, how }
    }
}

impl MemoryBound {
    /// Bytes of the process.
    pub(crate) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Bytes of the process while nobody says anything: without buffers and queues.
    pub(super) fn bytes_at_rest(&self) -> u64 {
        let of_rest = self
            .parts
            .iter()
            .filter(|part| AT_REST.contains(&part.name));
        of_rest.map(|part| part.bytes).sum()
    }

    pub(super) fn with_sockets(&self) -> u64 {
        self.bytes() + self.kernel_sockets_bytes
    }
}

impl fmt::Display for MemoryBound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} MiB =", self.bytes().div_ceil(MIB))?;
        for (index, Part { name, bytes, how }) in self.parts.iter().enumerate() {
            let plus = if index == 0 { "" } else { " +" };
            write!(out, "{plus} {} {name}", bytes.div_ceil(MIB))?;
            if !how.is_empty() {
                write!(out, " ({how})")?;
            }
        }
        write!(
            out,
            "; the kernel's sockets {} MiB more",
            self.kernel_sockets_bytes.div_ceil(MIB)
        )
    }
}

/// Numbers that were asked for or derived, and what they come to.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) connections_max: u32,
    pub(super) bound: MemoryBound,
    /// What was asked for does not fit.
    pub(super) problem: Option<Problem>,
}

/// Settles what is left open, for `connections_max` accepted connections: all of them where they
/// were asked for, else no more.
pub(super) fn settle(config: &Config, facts: &Facts, shards: u32, connections_max: u32) -> Settled {
    let Some(room) = room(facts) else {
        let share = share(config, |_| DERIVED_PER_SHARD_BLIND);
        return Settled {
            connections_max,
            bound: bound(config, facts, shards, connections_max, share),
            problem: None,
        };
    };
    let budget = Budget::of(config, facts, shards, room.0);
    let share = budget.share(connections_max);
    let connections_max = budget.connections(connections_max, share);
    let bound = bound(config, facts, shards, connections_max, share);
    let outbound = u64::from(shards) * u64::from(config.beside_per_shard());
    let problem = problem(&bound, room, u64::from(connections_max) + outbound);
    Settled {
        connections_max,
        bound,
        problem,
    }
}

/// The most connections that fit, were they asked for by number, of at most `most`: each more takes
/// memory, so that is found by halves. `None`: how much memory there is is not known.
pub(super) fn connections_that_fit(
    config: &Config,
    facts: &Facts,
    shards: u32,
    most: u32,
) -> Option<u32> {
    room(facts)?;
    let fits = |connections: u32| {
        let mut config = config.clone();
        config.limits.connections_max = Some(connections);
        settle(&config, facts, shards, connections)
            .problem
            .is_none()
    };
    if !fits(0) {
        return Some(0);
    }
    let (mut fit, mut beyond) = (0, most.saturating_add(1));
    while beyond - fit > 1 {
        let middle = fit + (beyond - fit) / 2;
        if fits(middle) {
            fit = middle;
        } else {
            beyond = middle;
        }
    }
    Some(fit)
}

/// The memory that is left beside the fixed parts, for connections and the bytes that they hold.
struct Budget<'a> {
    config: &'a Config,
    shards: u32,
    /// Connections were asked for by number.
    asked: bool,
    /// Bytes of one connection.
    each: u64,
    rest: u64,
}

impl<'a> Budget<'a> {
    fn of(config: &'a Config, facts: &Facts, shards: u32, room_bytes: u64) -> Self {
        let limits = &config.limits;
        let nothing = MemoryShare {
            unread_max: 0,
            unsent_max: 0,
        };
        let fixed = bound(config, facts, shards, 0, nothing).with_sockets();
        Self {
            config,
            shards,
            asked: limits.connections_max.is_some() || limits.connections_per_shard_max.is_some(),
            each: connection_bytes(config, facts),
            rest: (room_bytes - room_bytes / SPARED_PART).saturating_sub(fixed),
        }
    }

    /// What the connections of a shard may hold: of what so many asked-for connections leave.
    fn share(&self, connections_max: u32) -> MemoryShare {
        let limits = &self.config.limits;
        let left = if self.asked {
            let connections = self.each * u64::from(connections_max);
            self.rest.saturating_sub(connections)
        } else {
            self.rest
        };
        let explicit = [limits.unread_per_shard_max, limits.unsent_per_shard_max]
            .into_iter()
            .flatten()
            .map(u64::from)
            .sum::<u64>();
        let shards = u64::from(self.shards);
        let left = left.saturating_sub(explicit * shards) / 2;
        let derived = (self.rest / DERIVED_PART).min(left - left / ALLOCATOR_PART) / shards;
        share(self.config, |least| {
            derived.clamp(least, DERIVED_PER_SHARD_MAX.max(least))
        })
    }

    /// Those that were asked for, or as many as fit beside `share`, up to so many.
    fn connections(&self, connections_max: u32, share: MemoryShare) -> u32 {
        if self.asked {
            return connections_max;
        }
        let queues = u64::from(share.unread_max) + u64::from(share.unsent_max);
        let queues = with_allocator(u64::from(self.shards) * queues);
        let fit = self.rest.saturating_sub(queues) / self.each;
        u32::try_from(fit)
            .unwrap_or(u32::MAX)
            .clamp(self.shards.min(connections_max), connections_max)
    }
}

/// The receive buffers, the one large thing that a shard takes before any client comes, against
/// what is free now.
pub(super) fn buffers_problem(config: &Config, facts: &Facts, shards: u32) -> Option<Problem> {
    let count = u64::from(config.buffers.count);
    let each = BufferPool::bytes_each(config.buffers.size);
    let need = each * count * u64::from(shards);
    let machine = facts.memory_available.map(|have| (have, "the machine has"));
    let group = facts.memory_max.map(|have| (have, GROUP_HAS));
    let (have, whose) = machine
        .into_iter()
        .chain(group)
        .min()
        .filter(|(have, _)| *have < need)?;
    Some(Problem::new(
        format!(
            "the receive buffers take {} MiB ({shards} shards x {count} x {each} bytes)",
            need.div_ceil(MIB)
        ),
        format!("{whose} {} MiB", have / MIB),
        "lower buffers.count, choose a smaller buffers.profile, or start fewer shards (server.shards)",
    ))
}

/// The memory that there is, and whose it is.
pub(super) fn room(facts: &Facts) -> Option<(u64, &'static str)> {
    let machine = facts.memory_total.map(|have| (have, "the machine has"));
    let group = facts.memory_max.map(|have| (have, GROUP_HAS));
    machine.into_iter().chain(group).min()
}

/// What was asked for, or what `derive` makes of the least that one connection needs.
fn share(config: &Config, derive: impl Fn(u64) -> u64) -> MemoryShare {
    let limits = &config.limits;
    let bytes = |asked: Option<u32>, least: u64| {
        asked.unwrap_or_else(|| u32::try_from(derive(least)).unwrap_or(u32::MAX))
    };
    MemoryShare {
        unread_max: bytes(
            limits.unread_per_shard_max,
            u64::from(limits.recv_queue_max) * u64::from(config.buffers.size),
        ),
        unsent_max: bytes(limits.unsent_per_shard_max, limits.write_queue_max.into()),
    }
}

fn bound(
    config: &Config,
    facts: &Facts,
    shards: u32,
    connections_max: u32,
    share: MemoryShare,
) -> MemoryBound {
    let beside = u64::from(shards) * u64::from(config.beside_per_shard());
    let connections = u64::from(connections_max) + beside;
    let mut parts = shard_parts(config, facts, shards.into());
    parts.extend(connection_parts(config, facts, connections));
    parts.extend(sessions_part(config, shards.into()));
    parts.extend(records_part(config, shards.into()));
    parts.extend(queue_parts(config, shards.into(), connections, share));
    let admin = admin::bytes(config, SHARD_BYTES);
    if admin > 0 {
        parts.push(Part::of("admin server", admin, String::new()));
    }
    MemoryBound {
        parts,
        share,
        kernel_sockets_bytes: connections * SOCKET_BYTES,
        kernel_buffers_bytes: facts.tcp_memory_max,
    }
}

/// What is there before any client comes.
fn shard_parts(config: &Config, facts: &Facts, shards: u64) -> Vec<Part> {
    let (count, size) = (config.buffers.count, config.buffers.size);
    let turn = u64::from(config.limits.turn_completions_max.min(count)) * u64::from(size);
    let each = BufferPool::bytes_each(size);
    let places = mailbox_places(shards, &config.mailbox);
    vec![
        Part::of(PROGRAM, PROGRAM_BYTES, String::new()),
        Part::of(
            SHARDS,
            shards * SHARD_BYTES,
            format!("{shards} x {} MiB", SHARD_BYTES / MIB),
        ),
        Part::of("log queue", log::QUEUE_BYTES_MAX, String::new()),
        Part::of(
            "receive buffers",
            shards * BufferPool::bytes_max(size, count),
            format!("{shards} x {count} x {each} bytes and spares"),
        ),
        Part::of(
            "one turn's receives",
            shards * turn,
            format!("{shards} x {turn} bytes"),
        ),
        Part::of(
            "mailboxes",
            places * facts.parcel_bytes,
            format!("{places} x {} bytes", facts.parcel_bytes),
        ),
    ]
}

/// What connections take, whatever is in their queues.
fn connection_parts(config: &Config, facts: &Facts, connections: u64) -> [Part; 2] {
    let each = CONNECTION_BYTES + facts.task_bytes + entry_bytes(config);
    let size = config.buffers.size;
    [
        Part::of(
            CONNECTIONS,
            connections * each,
            format!("{connections} x {each} bytes"),
        ),
        Part::of(
            "two buffers each",
            own_bytes(config, connections),
            format!("{connections} x {OWN_BUFFERS} x {size} bytes"),
        ),
    ]
}

/// The sessions of those upstreams that are asked by TLS, where no listener has any: else each
/// connection counts with one.
fn sessions_part(config: &Config, shards: u64) -> Option<Part> {
    if has_tls_listener(config) {
        return None;
    }
    let with_tls = config.upstreams.iter();
    let with_tls = with_tls.filter(|(name, _)| config.upstream_tls.contains_key(*name));
    let count = with_tls.map(|(_, upstream)| u64::from(upstream.connections_max));
    let sessions = shards * count.sum::<u64>();
    (sessions > 0).then(|| {
        let each = tls::BYTES;
        Part::of(
            "upstreams' sessions",
            sessions * each,
            format!("{sessions} x {each} bytes"),
        )
    })
}

/// Buffers for records that a shard keeps when they are free, where there are sessions.
fn records_part(config: &Config, shards: u64) -> Option<Part> {
    let has_sessions = has_tls_listener(config) || !config.upstream_tls.is_empty();
    has_sessions.then(|| {
        Part::of(
            "spare records",
            shards * SPARE_RECORDS_BYTES,
            format!("{shards} x {SPARE_RECORDS_BYTES} bytes"),
        )
    })
}

fn has_tls_listener(config: &Config) -> bool {
    let listeners = config.listeners();
    listeners.iter().any(|listener| listener.tls.is_some())
}

/// What is in their queues, and what the allocator adds.
fn queue_parts(config: &Config, shards: u64, connections: u64, share: MemoryShare) -> [Part; 3] {
    let queue = |name, each: u32| {
        let bytes = shards * u64::from(each);
        Part::of(name, bytes, format!("{shards} x {each} bytes"))
    };
    let (unread, unsent) = (
        queue("unread", share.unread_max),
        queue("unsent", share.unsent_max),
    );
    let held = own_bytes(config, connections) + unread.bytes + unsent.bytes;
    let allocator = Part::of(
        "allocator",
        with_allocator(held) - held,
        format!("1/{ALLOCATOR_PART} of the last three"),
    );
    [unread, unsent, allocator]
}

/// The buffers that each connection may hold, whatever the shard is short of.
fn own_bytes(config: &Config, connections: u64) -> u64 {
    connections * OWN_BUFFERS * u64::from(config.buffers.size)
}

/// What one more connection takes, the kernel's part included.
fn connection_bytes(config: &Config, facts: &Facts) -> u64 {
    CONNECTION_BYTES
        + facts.task_bytes
        + entry_bytes(config)
        + with_allocator(OWN_BUFFERS * u64::from(config.buffers.size))
        + SOCKET_BYTES
}

/// What is kept of the PROXY header with which it began, at the listener that keeps most, and of which
/// listener it has come by.
fn entry_bytes(config: &Config) -> u64 {
    let listeners = config.listeners();
    let header = listeners.iter().map(|listener| {
        let queue = &listener.queue;
        let each = proxied::BYTES + u64::from(queue.proxy_header_max);
        queue.proxy.map_or(0, |_| each)
    });
    let session = match has_tls_listener(config) {
        true => tls::BYTES,
        false => 0,
    };
    header.max().unwrap_or_default() + session + entrances::bytes(listeners.len())
}

fn with_allocator(bytes: u64) -> u64 {
    bytes + bytes / ALLOCATOR_PART
}

fn problem(bound: &MemoryBound, (room, whose): (u64, &str), connections: u64) -> Option<Problem> {
    (bound.with_sockets() > room).then(|| {
        Problem::new(
            format!("the settings can take {} MiB of memory ({bound})", bound.with_sockets().div_ceil(MIB)),
            format!("{whose} {} MiB", room / MIB),
            format!(
                "lower limits.connections_max (now {connections} connections), limits.unread_per_shard_max, limits.unsent_per_shard_max, \
                 buffers.size or buffers.count, or start fewer shards (server.shards)"
            ),
        )
    })
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;
    use crate::settings::Settings;

    const LISTENER: &str = "[listener.tls]\ncertificate = '/a'\nkey = '/b'\n";

    /// Of two upstreams, and whatever is said of TLS.
    fn config(tables: &str) -> Config {
        let pools = "[upstream.a]\naddr = '127.0.0.1:1'\nconnections_max = 100\n\
             [upstream.b]\naddr = '127.0.0.1:2'\nconnections_max = 7\n";
        let settings = Settings::from_toml(format!("{pools}{tables}"));
        settings.load().expect("fine settings")
    }

    #[test]
    fn sessions_with_upstreams_count_once_and_for_each_that_there_may_be() {
        let bytes = |tables: &str| sessions_part(&config(tables), 4).map(|part| part.bytes);
        assert_eq!(bytes(""), None);
        assert_eq!(bytes("[upstream.a.tls]\n"), Some(4 * 100 * tls::BYTES));
        let both = "[upstream.a.tls]\n[upstream.b.tls]\n";
        assert_eq!(bytes(both), Some(4 * 107 * tls::BYTES));
        let counted = bytes(&format!("{both}{LISTENER}"));
        assert_eq!(counted, None, "each connection counts with a session");
    }

    #[test]
    fn what_a_shard_keeps_for_records_counts_where_there_are_some() {
        let bytes = |tables: &str| records_part(&config(tables), 4).map(|part| part.bytes);
        assert_eq!(bytes(""), None);
        let kept = Some(4 * 64 * 16_640);
        assert_eq!([LISTENER, "[upstream.a.tls]\n"].map(bytes), [kept, kept]);
    }
}
