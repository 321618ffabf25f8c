//! What the load tester asks of the machine it runs on: descriptors and cores, and what it is.

use std::time::SystemTime;
use std::{fs, io};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::data::Machine;
use crate::error::Error;

/// Raises the soft descriptor limit to the hard one, for this process and those it starts.
pub(crate) fn descriptors_raise() -> Result<(), Error> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
        .map_err(io::Error::from)
        .map_err(Error::failed("cannot raise the descriptor limit"))
}

/// Shards for so many connections: one per core, or more if the descriptor limit, which bounds each
/// ring's table, asks for it.
pub(crate) fn shards_for(connections: u32, cpus: &[usize]) -> u32 {
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    shards(
        connections,
        u32::try_from(limit).unwrap_or(u32::MAX),
        cores_for(cpus),
    )
}

/// How many cores shards that are told `cpus` run on: these, or all that the calling thread is
/// allowed. A shard itself is allowed one.
pub(crate) fn cores_for(cpus: &[usize]) -> u32 {
    let cores = if cpus.is_empty() {
        cores().len()
    } else {
        cpus.len()
    };
    cores.max(1) as u32
}

fn shards(connections: u32, descriptors: u32, cores: u32) -> u32 {
    connections
        .div_ceil(descriptors.max(1))
        .next_multiple_of(cores)
        .max(cores)
        .min(connections.max(1))
}

/// Refuse a core that this process may not run on.
pub(crate) fn core_check(core: usize) -> Result<(), Error> {
    if cores().contains(&core) {
        return Ok(());
    }
    let cores: Vec<String> = cores().iter().map(ToString::to_string).collect();
    Err(Error::Refused(format!(
        "core {core} is not one this process may use: {}",
        cores.join(", ")
    )))
}

/// The machine, for those who read of it elsewhere.
pub(crate) fn machine() -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Machine {
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        processor: model.map_or_else(
            || std::env::consts::ARCH.to_owned(),
            |(_, model)| model.to_owned(),
        ),
        cores: cores().len() as u32,
        memory_bytes: meminfo("MemTotal:"),
        descriptors_max: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
    }
}

/// A line of /proc/meminfo in bytes (proc_meminfo(5)); 0 if there is none.
pub(crate) fn meminfo(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// A moment as reports tell it.
pub(crate) fn rfc3339(moment: SystemTime) -> String {
    humantime::format_rfc3339_seconds(moment).to_string()
}

/// The command line as typed.
pub(crate) fn command_line() -> String {
    // A path need not be UTF-8.
    std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

fn cores() -> Vec<usize> {
    core_affinity::get_core_ids()
        .unwrap_or_default()
        .iter()
        .map(|core| core.id)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory() {
        assert!(meminfo("MemTotal:") > 1 << 20);
        assert_eq!(meminfo("NoSuchLine:"), 0);
    }

    #[test]
    fn shards_hold_all_connections_and_the_cores_share_them_evenly() {
        assert_eq!(shards(1, 20_000, 2), 1);
        assert_eq!(shards(10_000, 20_000, 2), 2);
        assert_eq!(shards(1_000_000, 20_000, 2), 50);
        assert_eq!(shards(1_000_000, 1_048_576, 8), 8);
        assert_eq!(shards(60_001, 20_000, 2), 4);
    }
}
