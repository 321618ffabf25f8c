//! Descriptors: of each ring, of the process, and the open files of the machine.

use super::demand::Demand;
use super::facts::{Facts, either, set_sysctl};

/// Descriptors of a shard, connections not among them: its rings, and the eventfds that wake it.
const SHARD_DESCRIPTORS: u64 = 8;
/// Descriptors for all else: standard streams, signals, the report.
const RESERVED_DESCRIPTORS: u64 = 64;
/// The most direct descriptors that a ring can have: IORING_MAX_FIXED_FILES in the kernel's
/// io_uring/rsrc.h.
const RING_DESCRIPTORS_MAX: u64 = 1 << 20;

/// Each shard's connections against its ring's table of direct descriptors. The table counts
/// against RLIMIT_NOFILE by itself, io_uring_register_files(3): so more shards hold more
/// connections.
pub(super) fn tables(demand: &Demand, facts: &Facts) -> Option<String> {
    let nofile = facts.nofile?;
    let room = nofile.min(RING_DESCRIPTORS_MAX);
    let (shards, connections) = (demand.shards.max(1), demand.connections);
    let share = connections.div_ceil(shards);
    let more = connections.div_ceil(room.max(1));
    let fewer = shards.saturating_mul(room);
    let is_shardable = room > 0 && own_need(more) <= nofile;
    let remedies = either([
        is_shardable.then(|| format!("add --shards {more}")),
        (share <= RING_DESCRIPTORS_MAX).then(|| raise_nofile(share, facts)),
        (room > 0).then(|| format!("lower to --connections {fewer}")),
    ]);
    (share > room).then(|| {
        format!(
            "{connections} connections over {shards} shards are {share} each, a ring has {room} \
             descriptors (RLIMIT_NOFILE is {nofile}): {remedies}"
        )
    })
}

/// The descriptors of the process itself.
pub(super) fn own(demand: &Demand, facts: &Facts) -> Option<String> {
    let (shards, nofile) = (demand.shards, facts.nofile?);
    let need = own_need(shards);
    let fewer = nofile.saturating_sub(RESERVED_DESCRIPTORS) / SHARD_DESCRIPTORS;
    let remedies = either([
        (fewer > 0).then(|| format!("lower to --shards {fewer}")),
        Some(raise_nofile(need, facts)),
    ]);
    (need > nofile).then(|| {
        format!(
            "descriptor limit is {nofile}, {shards} shards of {SHARD_DESCRIPTORS} and \
             {RESERVED_DESCRIPTORS} for the rest need {need}: {remedies}"
        )
    })
}

fn own_need(shards: u64) -> u64 {
    shards * SHARD_DESCRIPTORS + RESERVED_DESCRIPTORS
}

/// RLIMIT_NOFILE goes up to fs.nr_open and no further, not even for root.
fn raise_nofile(descriptors: u64, facts: &Facts) -> String {
    let first = match facts.nr_open {
        Some(max) if max < descriptors => format!("sysctl -w fs.nr_open={descriptors} && "),
        _ => String::new(),
    };
    format!("run `{first}ulimit -n {descriptors}` as root first")
}

/// fs.file-max for a process that it binds: connect would end in ENFILE.
pub(super) fn files_refused(demand: &Demand, facts: &Facts) -> Option<String> {
    let is_bound = facts.files_unlimited != Some(true);
    files(demand, facts, "open(2) and socket(2) stop there").filter(|_| is_bound)
}

/// fs.file-max for a process that may pass it, which the server on this machine perhaps may not.
pub(super) fn files_of_others(demand: &Demand, facts: &Facts) -> Option<String> {
    let is_servers = facts.files_unlimited == Some(true) && demand.target_is_local;
    files(demand, facts, "a server without CAP_SYS_ADMIN stops there").filter(|_| is_servers)
}

/// Every socket is an open file of the machine, in a table of direct descriptors or not.
fn files(demand: &Demand, facts: &Facts, consequence: &str) -> Option<String> {
    let (file_max, open) = (facts.file_max?, facts.files_open.unwrap_or(0));
    let sockets = demand.sockets();
    let need = open + sockets + own_need(demand.shards);
    let remedy = set_sysctl("fs.file-max", need);
    (need > file_max).then(|| {
        format!(
            "{sockets} sockets and {open} files open already need {need} on this machine, \
             fs.file-max is {file_max} and {consequence}: {remedy}"
        )
    })
}
