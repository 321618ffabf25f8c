//! Descriptors: of each ring, of the process, and the open files of the machine.

use super::demand::Demand;
use super::facts::Facts;
use super::problem::{Problem, either, set_sysctl};

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
pub(super) fn tables(demand: &Demand, facts: &Facts) -> Option<Problem> {
    let nofile = facts.nofile?;
    let room = nofile.min(RING_DESCRIPTORS_MAX);
    let (shards, connections) = (
        u64::from(demand.shards.max(1)),
        u64::from(demand.connections),
    );
    let share = connections.div_ceil(shards);
    if share <= room {
        return None;
    }
    let more = (room > 0).then(|| connections.div_ceil(room.max(1)));
    Some(Problem::new(
        format!("{connections} connections over {shards} shards are {share} each"),
        format!("a ring has {room} descriptors (RLIMIT_NOFILE is {nofile})"),
        either([
            more.filter(|more| own_need(*more) <= nofile)
                .map(|more| format!("add --shards {more}")),
            (share <= RING_DESCRIPTORS_MAX).then(|| raise_nofile(share, facts)),
            (room > 0).then(|| format!("lower to --connections {}", shards.saturating_mul(room))),
        ]),
    ))
}

/// The descriptors of the process itself.
pub(super) fn own(demand: &Demand, facts: &Facts) -> Option<Problem> {
    let nofile = facts.nofile?;
    let need = own_need(demand.shards.into());
    if need <= nofile {
        return None;
    }
    let fewer = nofile.saturating_sub(RESERVED_DESCRIPTORS) / SHARD_DESCRIPTORS;
    Some(Problem::new(
        format!("descriptor limit is {nofile}"),
        format!(
            "{} shards of {SHARD_DESCRIPTORS} and {RESERVED_DESCRIPTORS} for the rest need {need}",
            demand.shards
        ),
        either([
            (fewer > 0).then(|| format!("lower to --shards {fewer}")),
            Some(raise_nofile(need, facts)),
        ]),
    ))
}

fn own_need(shards: u64) -> u64 {
    shards * SHARD_DESCRIPTORS + RESERVED_DESCRIPTORS
}

/// RLIMIT_NOFILE goes up to fs.nr_open and no further, not even for root.
fn raise_nofile(descriptors: u64, facts: &Facts) -> String {
    let nr_open = match facts.nr_open {
        Some(nr_open) if nr_open < descriptors => {
            format!("sysctl -w fs.nr_open={descriptors} && ")
        }
        _ => String::new(),
    };
    format!("run `{nr_open}ulimit -n {descriptors}` as root first")
}

/// fs.file-max for a process that it binds: connect would end in ENFILE.
pub(super) fn files_refused(demand: &Demand, facts: &Facts) -> Option<Problem> {
    if facts.files_unlimited == Some(true) {
        return None;
    }
    files(demand, facts, "open(2) and socket(2) stop there")
}

/// fs.file-max for a process that may pass it, which the server on this machine perhaps may not.
pub(super) fn files_of_others(demand: &Demand, facts: &Facts) -> Option<Problem> {
    if facts.files_unlimited != Some(true) || !demand.target_is_local {
        return None;
    }
    files(demand, facts, "a server without CAP_SYS_ADMIN stops there")
}

/// Every socket is an open file of the machine, in a table of direct descriptors or not.
fn files(demand: &Demand, facts: &Facts, consequence: &str) -> Option<Problem> {
    let (file_max, open) = (facts.file_max?, facts.files_open.unwrap_or(0));
    let need = open + demand.sockets() + own_need(demand.shards.into());
    (need > file_max).then(|| {
        Problem::new(
            format!(
                "{} sockets and {open} files open already need {need} on this machine",
                demand.sockets()
            ),
            format!("fs.file-max is {file_max} and {consequence}"),
            set_sysctl("fs.file-max", need),
        )
    })
}
