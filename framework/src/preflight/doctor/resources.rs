//! Each resource: what so many connections need of it, what there is, what binds and what mends it.

use crate::config::{CONNECTIONS_MAX, Config, SHARD_CONNECTIONS_MAX};
use crate::preflight::doctor::host::Host;
use crate::preflight::doctor::network;
use crate::preflight::doctor::resource::{KIB, MIB, Resource, State};
use crate::preflight::facts::Facts;
use crate::preflight::memlock::{self, Need};
use crate::preflight::{kernel, limits, memory};
use crate::ring::buffers::BufferPool;

/// systemd sets fs.file-max to the largest number there is.
const FILES_WITHOUT_END: u64 = 1 << 62;

/// Every one of them, at so many connections of the process.
pub(super) fn all(
    config: &Config,
    facts: &Facts,
    host: &Host,
    shards: u32,
    connections: u32,
) -> Vec<Resource> {
    let mut all = vec![
        kernel_row(facts),
        cores_row(config, facts, shards),
        ring_row(config, facts, shards, connections),
        descriptors_row(config, facts, shards),
    ];
    all.extend(open_files_row(config, host, shards, connections));
    all.push(memlock_row(config, facts, shards));
    all.push(memory_row(config, facts, host, shards, connections));
    all.push(buffers_row(config, facts, shards));
    all.extend(network::kernel_bound_rows(config, facts));
    all.extend(network::port_rows(config, host));
    all.extend(network::tls_rows(config));
    all.extend(network::upstream_rows(config, host, shards));
    all.extend(network::tracking_row(config, host, shards, connections));
    all
}

fn kernel_row(facts: &Facts) -> Resource {
    let (major, minor) = kernel::KERNEL_MIN;
    let words = [
        format!("Linux {major}.{minor}"),
        format!("Linux {}", version(&facts.release)),
        "uname(2), a ring that was tried".to_owned(),
    ];
    Resource::judged("kernel, io_uring", words, kernel::problem(facts))
}

fn version(release: &str) -> String {
    kernel::version(release).map_or_else(
        || release.to_owned(),
        |(major, minor)| format!("{major}.{minor}"),
    )
}

fn cores_row(config: &Config, facts: &Facts, shards: u32) -> Resource {
    let noun = if shards == 1 { "shard" } else { "shards" };
    let words = [
        format!("{shards} {noun}"),
        limits::list(&facts.cores),
        "sched_getaffinity(2)".to_owned(),
    ];
    Resource::judged("cores", words, limits::cores(config, facts).err())
}

/// Connections have their descriptors in their ring's table, which the kernel bounds by the
/// process's descriptor limit, each.
fn ring_row(config: &Config, facts: &Facts, shards: u32, connections: u32) -> Resource {
    let name = "connections of a shard";
    let beside = u64::from(config.beside_per_shard());
    let need = u64::from(connections.div_ceil(shards)) + beside;
    let per_shard = match limits::per_shard(config, facts) {
        Ok(per_shard) => per_shard,
        Err(problem) => {
            let remedy = || problem.to_string();
            let row = Resource::counted(name, [need, 1], Some(facts.nofile), NOFILE, remedy);
            return Resource {
                state: State::Short,
                remedy: Some(problem.to_string()),
                ..row
            }
            .carrying(Some(0));
        }
    };
    let (limit, raise) = if per_shard.by_setting {
        let key = "limits.connections_per_shard_max";
        (key, format!("set {key}={}", need - beside))
    } else if facts.nofile >= SHARD_CONNECTIONS_MAX.into() {
        let more = u64::from(connections).div_ceil(per_shard.each.max(1));
        (
            "io_uring: 2^20 a ring",
            format!("start {more} shards (server.shards={more})"),
        )
    } else {
        (NOFILE, limits::raise(need))
    };
    let row = Resource::counted(
        name,
        [need, 1],
        Some(per_shard.each + beside),
        limit,
        || raise,
    );
    let too_few = u64::from(connections) < shards.into();
    let problem = too_few.then(|| limits::connections(config, facts, shards).err());
    match problem.flatten() {
        Some(problem) => Resource {
            state: State::Short,
            remedy: Some(problem.to_string()),
            ..row
        },
        None => row,
    }
    .carrying(Some(per_shard.each * u64::from(shards)))
}

const NOFILE: &str = "ulimit -n";

fn descriptors_row(config: &Config, facts: &Facts, shards: u32) -> Resource {
    let need = limits::descriptors_needed(config, shards);
    let have = Some(facts.nofile);
    Resource::counted("descriptors, process", [need, 1], have, NOFILE, || {
        limits::raise(need)
    })
}

/// Connections are open files of the machine like any other.
fn open_files_row(config: &Config, host: &Host, shards: u32, connections: u32) -> Option<Resource> {
    let name = "open files, machine";
    let beside = u64::from(shards) * u64::from(config.beside_per_shard())
        + limits::descriptors_needed(config, shards);
    let need = u64::from(connections) + beside;
    if host.files_are_free || host.files_max >= Some(FILES_WITHOUT_END) {
        let limit = match host.files_are_free {
            true => "sysctl fs.file-max, not for CAP_SYS_ADMIN",
            false => "sysctl fs.file-max",
        };
        let free = Some(u64::MAX);
        return Some(Resource::counted(name, [need, 1], free, limit, String::new));
    }
    let (most, open) = (host.files_max?, host.files_open?);
    let have = most.saturating_sub(open);
    let limit = format!("sysctl fs.file-max, {open} are open");
    let remedy = || format!("run `sysctl -w fs.file-max={}`", open + need);
    let row = Resource::counted(name, [need, 1], Some(have), limit, remedy);
    Some(row.carrying(Some(have.saturating_sub(beside))))
}

fn memlock_row(config: &Config, facts: &Facts, shards: u32) -> Resource {
    let need = Need::of(config, facts, shards);
    let (bytes, have) = (need.bytes(), Some(facts.memlock));
    let limit = match need.is_free() {
        true => "ulimit -l",
        false => "ulimit -l, shared by the user's processes",
    };
    Resource::counted("locked memory", [bytes, KIB], have, limit, || {
        memlock::raise(bytes.div_ceil(KIB))
    })
}

fn memory_row(
    config: &Config,
    facts: &Facts,
    host: &Host,
    shards: u32,
    connections: u32,
) -> Resource {
    let settled = memory::settle(config, facts, shards, connections);
    let need = settled.bound.with_sockets();
    let have = memory::room(facts).map(|(bytes, _)| bytes);
    let limit = match &host.memory_max_file {
        Some(file) if have == facts.memory_max => file.display().to_string(),
        _ => "MemTotal of /proc/meminfo".to_owned(),
    };
    let remedy = || {
        "lower limits.connections_max, limits.unread_per_shard_max, limits.unsent_per_shard_max, \
         buffers.size or buffers.count, or give it more memory (the group's file, MemoryMax= in \
         the unit, the container's limit)"
            .to_owned()
    };
    let row = Resource::counted("memory, at most", [need, MIB], have, limit, remedy);
    let fit = memory::connections_that_fit(config, facts, shards, CONNECTIONS_MAX);
    row.carrying(fit.map(u64::from))
}

/// The one large thing that a shard takes before any client comes.
fn buffers_row(config: &Config, facts: &Facts, shards: u32) -> Resource {
    let each = BufferPool::bytes_each(config.buffers.size) * u64::from(config.buffers.count);
    let need = each * u64::from(shards);
    let problem = memory::buffers_problem(config, facts, shards);
    let have = facts.memory_available;
    let limit = "MemAvailable of /proc/meminfo, now";
    let remedy = || {
        problem
            .map(|problem| problem.to_string())
            .unwrap_or_default()
    };
    Resource::counted("receive buffers", [need, MIB], have, limit, remedy)
}
