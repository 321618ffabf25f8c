//! Descriptors: of each ring, of the process, and the open files of the machine.

use super::change::{Change, Goal, remedy};
use super::{Demand, Facts, Problem, sysctl};

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
    let more = connections
        .checked_div(room)
        .map(|_| connections.div_ceil(room));
    let more = more
        .filter(|more| own_need(*more) <= nofile)
        .map(|more| format!("add --shards {more}"));
    let raise = (share <= RING_DESCRIPTORS_MAX).then(|| raise_nofile(share, facts));
    let fewer =
        (room > 0).then(|| format!("lower to --connections {}", shards.saturating_mul(room)));
    let remedies: Vec<String> = [more, raise, fewer].into_iter().flatten().collect();
    let problem = Problem::new(
        format!("{connections} connections over {shards} shards are {share} each"),
        format!("a ring has {room} descriptors (RLIMIT_NOFILE is {nofile})"),
        remedies.join(", or "),
    );
    Some(problem.with(higher_nr_open(share, facts).into_iter().collect()))
}

/// The descriptors of the process itself.
pub(super) fn own(demand: &Demand, facts: &Facts) -> Option<Problem> {
    let nofile = facts.nofile?;
    let need = own_need(demand.shards.into());
    if need <= nofile {
        return None;
    }
    let fewer = nofile.saturating_sub(RESERVED_DESCRIPTORS) / SHARD_DESCRIPTORS;
    let fewer = if fewer > 0 {
        format!("lower to --shards {fewer}, or ")
    } else {
        String::new()
    };
    let problem = Problem::new(
        format!("descriptor limit is {nofile}"),
        format!(
            "{} shards of {SHARD_DESCRIPTORS} and {RESERVED_DESCRIPTORS} for the rest need {need}",
            demand.shards
        ),
        format!("{fewer}{}", raise_nofile(need, facts)),
    );
    Some(problem.with(higher_nr_open(need, facts).into_iter().collect()))
}

fn own_need(shards: u64) -> u64 {
    shards * SHARD_DESCRIPTORS + RESERVED_DESCRIPTORS
}

/// RLIMIT_NOFILE goes up to fs.nr_open and no further, not even for root.
fn raise_nofile(descriptors: u64, facts: &Facts) -> String {
    match higher_nr_open(descriptors, facts) {
        Some(change) => {
            format!("run `sysctl -w {change} && ulimit -n {descriptors}` as root first")
        }
        None => format!("run `ulimit -n {descriptors}` as root first"),
    }
}

fn higher_nr_open(descriptors: u64, facts: &Facts) -> Option<Change> {
    Change::new(sysctl::NR_OPEN, Goal::AtLeast(descriptors), facts.nr_open?)
}

/// fs.file-max for a process that it binds: connect would end in ENFILE.
pub(super) fn files_refused(demand: &Demand, facts: &Facts) -> Option<Problem> {
    if facts.files_unlimited == Some(true) {
        None
    } else {
        files(demand, facts, "open(2) and socket(2) stop there")
    }
}

/// fs.file-max for a process that may pass it, which the server on this machine perhaps may not.
pub(super) fn files_of_others(demand: &Demand, facts: &Facts) -> Option<Problem> {
    let others_matter = facts.files_unlimited == Some(true) && demand.target_is_local;
    if others_matter {
        files(demand, facts, "a server without CAP_SYS_ADMIN stops there")
    } else {
        None
    }
}

/// Every socket is an open file of the machine, in a table of direct descriptors or not.
fn files(demand: &Demand, facts: &Facts, consequence: &str) -> Option<Problem> {
    let (file_max, open) = (facts.file_max?, facts.files_open.unwrap_or(0));
    let need = open + demand.sockets() + own_need(demand.shards.into());
    let changes = vec![Change::new(
        sysctl::FILE_MAX,
        Goal::AtLeast(need),
        file_max,
    )?];
    let problem = Problem::new(
        format!(
            "{} sockets and {open} files open already need {need} on this machine",
            demand.sockets()
        ),
        format!("fs.file-max is {file_max} and {consequence}"),
        remedy(&changes),
    );
    Some(problem.with(changes))
}
