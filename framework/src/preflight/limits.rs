//! Descriptors and cores against the settings.

use crate::config::{Config, ListenerSettings, SHARD_CONNECTIONS_MAX};
use crate::preflight::facts::Facts;
use crate::preflight::problem::Problem;

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
pub(super) struct PerShard {
    pub(super) each: u64,
    /// A setting allows no more; otherwise the descriptor limit.
    pub(super) by_setting: bool,
}

pub(super) fn per_shard(config: &Config, facts: &Facts) -> Result<PerShard, Problem> {
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
    let (each, need) = (descriptors_each(config), descriptors_needed(config, shards));
    if need <= facts.nofile {
        return Ok(());
    }
    Err(Problem::new(
        format!("descriptor limit is {}", facts.nofile),
        format!("{shards} shards of {each} and {RESERVED_DESCRIPTORS} for the rest need {need}"),
        format!("{}, or start fewer shards (server.shards)", raise(need)),
    ))
}

/// Of one shard.
fn descriptors_each(config: &Config) -> u64 {
    SHARD_DESCRIPTORS + config.listeners().len() as u64 * LISTENER_DESCRIPTORS
}

pub(super) fn descriptors_needed(config: &Config, shards: u32) -> u64 {
    u64::from(shards) * descriptors_each(config) + RESERVED_DESCRIPTORS
}

pub(super) fn raise(descriptors: u64) -> String {
    format!("run `ulimit -n {descriptors}` as root, or set LimitNOFILE={descriptors} in the unit")
}

/// What is legal, but may not be what was meant.
pub(super) fn warnings(config: &Config, facts: &Facts, cores: &[usize]) -> Vec<String> {
    let cuts = kernel_bounds(config, facts).into_iter();
    remarks(config, facts, cores)
        .into_iter()
        .chain(cuts.filter_map(KernelBound::warning))
        .collect()
}

/// Of that, what the kernel does not cut.
pub(super) fn remarks(config: &Config, facts: &Facts, cores: &[usize]) -> Vec<String> {
    let shards = config.server.shards;
    let crowded = usize::try_from(shards).is_ok_and(|shards| shards > cores.len());
    let crowded = crowded.then(|| format!("{shards} shards share {}", list(cores)));
    let listeners = config.listeners();
    crowded
        .into_iter()
        .chain(memory_warning(facts))
        .chain(listeners.iter().filter_map(keepalive_warning))
        .collect()
}

/// A number of the settings that the kernel cuts to one of its own.
pub(super) struct KernelBound {
    pub(super) key: String,
    /// `None`: left to the kernel.
    pub(super) asked: Option<u32>,
    pub(super) sysctl: &'static str,
    /// `None`: hidden.
    pub(super) most: Option<u32>,
}

impl KernelBound {
    /// What mends it, where it cuts.
    pub(super) fn remedy(&self) -> Option<String> {
        let (asked, most) = (self.asked?, self.most?);
        (asked > most).then(|| format!("run `sysctl -w {}={asked}`", self.sysctl))
    }

    fn warning(self) -> Option<String> {
        let (remedy, asked, most) = (self.remedy()?, self.asked?, self.most?);
        Some(format!(
            "{} is {asked}, the kernel cuts it to {most}: {remedy}",
            self.key
        ))
    }
}

/// Of every listener.
pub(super) fn kernel_bounds(config: &Config, facts: &Facts) -> Vec<KernelBound> {
    let listeners = config.listeners();
    let bounds = listeners
        .iter()
        .flat_map(|listener| bounds_of(listener, facts));
    bounds.collect()
}

fn bounds_of(listener: &ListenerSettings, facts: &Facts) -> Vec<KernelBound> {
    let (queue, socket) = (&listener.queue, &listener.socket);
    let mut bounds = vec![KernelBound {
        key: listener.key("backlog"),
        asked: Some(queue.backlog),
        sysctl: "net.core.somaxconn",
        most: facts.somaxconn,
    }];
    if !listener.is_unix() {
        bounds.push(KernelBound {
            key: listener.socket_key("receive_buffer"),
            asked: socket.receive_buffer,
            sysctl: "net.core.rmem_max",
            most: facts.rmem_max,
        });
        bounds.push(KernelBound {
            key: listener.socket_key("send_buffer"),
            asked: socket.send_buffer,
            sysctl: "net.core.wmem_max",
            most: facts.wmem_max,
        });
    }
    bounds
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
pub(super) fn list(cores: &[usize]) -> String {
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
