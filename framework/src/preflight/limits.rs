//! Descriptors, locked memory and cores against the settings.

use crate::config::{Config, ListenerSettings, SHARD_CONNECTIONS_MAX};
use crate::preflight::facts::Facts;
use crate::preflight::problem::Problem;

/// Locked memory without which an executor is not made, in bytes. It looks at the soft limit alone:
/// root and CAP_IPC_LOCK make no difference.
const MEMLOCK_MIN: u64 = 512 * 1024;

/// Descriptors of a shard, connections not among them, for they live in the ring's own table.
/// Measured: the executor's three rings and its eventfd, the socket ring, and the two eventfds that
/// wake the shard.
const SHARD_DESCRIPTORS: u64 = 7;
/// Of each of its listeners: the socket and the copy of it for the next process.
const LISTENER_DESCRIPTORS: u64 = 2;
/// Descriptors for all else: standard streams, signals, the log, and what handlers open.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Connections that nobody asked for by number: past a million an operator shall say so.
const DERIVED_CONNECTIONS_MAX: u64 = 1 << 20;

const KIB: u64 = 1024;

pub(super) fn memlock_problem(facts: &Facts) -> Option<Problem> {
    let (have, need) = (facts.memlock / KIB, MEMLOCK_MIN / KIB);
    (facts.memlock < MEMLOCK_MIN).then(|| {
        Problem::new(
            format!("memlock limit is {have} KiB"),
            format!("a shard's executor needs {need} KiB"),
            format!("run `ulimit -l {need}` as root, or set LimitMEMLOCK={need}K in the unit"),
        )
    })
}

/// The cores to run on: those named, else those allowed.
pub(super) fn cores(config: &Config, facts: &Facts) -> Result<Vec<usize>, Problem> {
    let (named, allowed) = (&config.server.cpus, &facts.cores);
    if allowed.is_empty() {
        let remedy = "see what `taskset -cp $$` says";
        return Err(Problem::new(
            "no core to run on",
            "sched_getaffinity(2) names none",
            remedy,
        ));
    }
    let foreign: Vec<usize> = named
        .iter()
        .copied()
        .filter(|core| !allowed.contains(core))
        .collect();
    if !foreign.is_empty() {
        return Err(Problem::new(
            format!("server.cpus names {}", list(&foreign)),
            format!("this process may run only on {}", list(allowed)),
            "take it out, or widen what taskset, cpuset or CPUAffinity= allows",
        ));
    }
    let cores = if named.is_empty() { allowed } else { named };
    if config.server.spin.is_some() && config.server.shards as usize > cores.len() {
        return Err(Problem::new(
            format!(
                "server.spin has {} shards poll without a rest",
                config.server.shards
            ),
            format!(
                "they have {}: those that share one would wait for each other's polls",
                list(cores)
            ),
            "start no more shards than cores (server.shards), or leave server.spin out",
        ));
    }
    Ok(cores.clone())
}

/// Connections of the process: what was asked for if there is room, else as many as there is room
/// for.
pub(super) fn connections(config: &Config, facts: &Facts, shards: u32) -> Result<u32, Problem> {
    own_descriptors(config, facts, shards)?;
    let PerShard { each, by_setting } = per_shard(config, facts)?;
    let room = u64::from(shards) * each;
    let Some(asked) = config.limits.connections_max else {
        let derived = room.min(DERIVED_CONNECTIONS_MAX).max(shards.into());
        return Ok(u32::try_from(derived).unwrap_or(u32::MAX));
    };
    if asked < shards {
        return Err(Problem::new(
            format!("limits.connections_max is {asked}"),
            format!("over {shards} shards that leaves some shard without any"),
            format!("raise it to {shards} or start fewer shards (server.shards)"),
        ));
    }
    if u64::from(asked) > room {
        let outbound = config.beside_per_shard().into();
        return Err(too_many(
            asked,
            shards,
            each,
            by_setting,
            facts.nofile,
            outbound,
        ));
    }
    Ok(asked)
}

/// Connections that a shard may accept.
struct PerShard {
    each: u64,
    /// A setting allows no more; otherwise the descriptor limit.
    by_setting: bool,
}

fn per_shard(config: &Config, facts: &Facts) -> Result<PerShard, Problem> {
    let (asked, outbound) = (
        config.limits.connections_per_shard_max,
        u64::from(config.beside_per_shard()),
    );
    let table = facts
        .nofile
        .min(SHARD_CONNECTIONS_MAX.into())
        .saturating_sub(outbound);
    if table == 0 {
        return Err(no_place_for_clients(facts.nofile, outbound));
    }
    let each = u64::from(asked.unwrap_or(SHARD_CONNECTIONS_MAX));
    if asked.is_some() && each > table {
        return Err(too_many_per_shard(each, table, facts.nofile, outbound));
    }
    Ok(PerShard {
        each: each.min(table),
        by_setting: each < table,
    })
}

fn no_place_for_clients(nofile: u64, outbound: u64) -> Problem {
    Problem::new(
        format!(
            "a shard is to have {outbound} places beside its clients' (limits.outbound_per_shard_max, the upstreams' connections_max, and \
             limits.accepts_in_flight_max for those who are turned away)"
        ),
        format!("the descriptor limit of {nofile} leaves none for clients"),
        format!("{}, or lower them", raise(outbound + 1)),
    )
}

fn too_many_per_shard(each: u64, table: u64, nofile: u64, outbound: u64) -> Problem {
    Problem::new(
        format!("limits.connections_per_shard_max is {each}"),
        format!(
            "the descriptor limit of {nofile} allows a shard {table}{}",
            beside(outbound)
        ),
        format!(
            "{}, or lower limits.connections_per_shard_max",
            raise(each + outbound)
        ),
    )
}

fn too_many(
    asked: u32,
    shards: u32,
    each: u64,
    by_setting: bool,
    nofile: u64,
    outbound: u64,
) -> Problem {
    let room = u64::from(shards) * each;
    let more = u64::from(asked).div_ceil(each.max(1));
    let share = u64::from(asked).div_ceil(shards.into());
    let (cause, raise) = match by_setting {
        true => (
            "limits.connections_per_shard_max".to_owned(),
            format!("set limits.connections_per_shard_max={share}"),
        ),
        false => (
            format!("the descriptor limit of {nofile}{}", beside(outbound)),
            raise(share + outbound),
        ),
    };
    Problem::new(
        format!("limits.connections_max is {asked}"),
        format!("{shards} shards of {each} connections ({cause}) hold {room}"),
        format!(
            "{raise}, or start {more} shards (server.shards={more}), or lower limits.connections_max"
        ),
    )
}

/// What a shard opens itself has places in its table, too.
fn beside(outbound: u64) -> String {
    if outbound == 0 {
        String::new()
    } else {
        format!(
            " less {outbound} for limits.outbound_per_shard_max, the upstreams and those who are turned away"
        )
    }
}

/// A client's shards: all their connections are outbound.
pub(super) fn outbound_problem(config: &Config, facts: &Facts, shards: u32) -> Option<Problem> {
    let each = u64::from(config.outbound_per_shard());
    if each > facts.nofile {
        let more = (each * u64::from(shards)).div_ceil(facts.nofile.max(1));
        return Some(Problem::new(
            format!("each of {shards} shards is to open {each} connections"),
            format!("the descriptor limit is {}", facts.nofile),
            format!("{}, or start {more} shards", raise(each)),
        ));
    }
    own_descriptors(config, facts, shards).err()
}

/// The descriptors of the process itself.
fn own_descriptors(config: &Config, facts: &Facts, shards: u32) -> Result<(), Problem> {
    let listeners = config.listeners().len() as u64;
    let each = SHARD_DESCRIPTORS + listeners * LISTENER_DESCRIPTORS;
    let need = u64::from(shards) * each + RESERVED_DESCRIPTORS;
    if need <= facts.nofile {
        return Ok(());
    }
    Err(Problem::new(
        format!("descriptor limit is {}", facts.nofile),
        format!("{shards} shards of {each} and {RESERVED_DESCRIPTORS} for the rest need {need}"),
        format!("{}, or start fewer shards (server.shards)", raise(need)),
    ))
}

fn raise(descriptors: u64) -> String {
    format!("run `ulimit -n {descriptors}` as root, or set LimitNOFILE={descriptors} in the unit")
}

/// What is legal, but may not be what was meant.
pub(super) fn warnings(config: &Config, facts: &Facts, cores: &[usize]) -> Vec<String> {
    let shards = config.server.shards;
    let crowded = usize::try_from(shards).is_ok_and(|shards| shards > cores.len());
    let crowded = crowded.then(|| format!("{shards} shards share {}", list(cores)));
    let listeners = config.listeners();
    let cut = listeners
        .iter()
        .flat_map(|listener| kernel_bounds(listener, facts));
    let cut = cut.filter_map(|(key, asked, sysctl, bound)| {
        let (asked, bound) = (asked?, bound?);
        (asked > bound).then(|| {
            format!(
                "{key} is {asked}, the kernel cuts it to {bound}: run `sysctl -w {sysctl}={asked}`"
            )
        })
    });
    crowded
        .into_iter()
        .chain(memory_warning(facts))
        .chain(listeners.iter().filter_map(keepalive_warning))
        .chain(cut)
        .collect()
}

/// Neither the machine nor a control group tells how much memory there is.
fn memory_warning(facts: &Facts) -> Option<String> {
    let is_known = facts.memory_total.or(facts.memory_max).is_some();
    (!is_known).then(|| {
        "how much memory there is cannot be told, for /proc/meminfo gives no MemTotal: it is not \
         checked whether the settings fit; set limits.connections_max, \
         limits.unread_per_shard_max and limits.unsent_per_shard_max to what does"
            .to_owned()
    })
}

/// What a listener asks for that the kernel bounds by a sysctl: key, value, sysctl, its value.
type KernelBound = (String, Option<u32>, &'static str, Option<u32>);

fn kernel_bounds(listener: &ListenerSettings, facts: &Facts) -> Vec<KernelBound> {
    let (queue, socket) = (&listener.queue, &listener.socket);
    let mut bounds = vec![(
        listener.key("backlog"),
        Some(queue.backlog),
        "net.core.somaxconn",
        facts.somaxconn,
    )];
    if !listener.is_unix() {
        bounds.push((
            listener.socket_key("receive_buffer"),
            socket.receive_buffer,
            "net.core.rmem_max",
            facts.rmem_max,
        ));
        bounds.push((
            listener.socket_key("send_buffer"),
            socket.send_buffer,
            "net.core.wmem_max",
            facts.wmem_max,
        ));
    }
    bounds
}

/// TCP_USER_TIMEOUT overrides the number of keepalive probes (tcp(7)).
fn keepalive_warning(listener: &ListenerSettings) -> Option<String> {
    if listener.is_unix() {
        return None;
    }
    let socket = &listener.socket;
    let (keepalive, timeout) = (socket.keepalive()?, socket.user_timeout?);
    let granted = keepalive.idle + keepalive.interval * keepalive.count;
    let key = listener.socket_key("user_timeout");
    (timeout < granted).then(|| {
        format!(
            "{key} is {timeout:?}, keepalive grants a silent peer {granted:?}: the first probe that is lost after {timeout:?} ends a \
             connection that may be alive; raise {key}, or probe sooner"
        )
    })
}

/// "core 3", "cores 0-3, 8".
fn list(cores: &[usize]) -> String {
    let mut sorted = cores.to_vec();
    sorted.sort_unstable();
    let runs: Vec<String> = sorted
        .chunk_by(|a, b| a + 1 == *b)
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            single => single.iter().map(usize::to_string).collect(),
        })
        .collect();
    let noun = if cores.len() == 1 { "core" } else { "cores" };
    format!("{noun} {}", runs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_listed_as_runs() {
        assert_eq!(list(&[3]), "core 3");
        assert_eq!(list(&[0, 1, 2, 3, 8]), "cores 0-3, 8");
        assert_eq!(list(&[5, 2]), "cores 2, 5");
    }
}
