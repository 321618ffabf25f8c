//! Descriptors and cores that this process may use, and the machine as a report tells it.

use procfs::{CpuInfo, Current as _, Meminfo};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::data::Machine;

/// Raises the soft descriptor limit to the hard one, for this process and those it starts. Where
/// this is refused the facts tell the limit that remains, and the check judges it.
pub fn descriptors_raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _the_limit_remains = setrlimit(Resource::Nofile, limit);
}

fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Shards for so many connections: one per core, or more if the descriptor limit, which bounds each
/// ring's table, asks for it.
pub fn shards_for(connections: u32, cpus: &[usize]) -> u32 {
    let descriptors = u32::try_from(descriptors_max()).unwrap_or(u32::MAX);
    shards(connections, descriptors, cores_for(cpus))
}

fn shards(connections: u32, descriptors: u32, cores: u32) -> u32 {
    let needed = connections.div_ceil(descriptors.max(1));
    let even = needed.next_multiple_of(cores).max(cores);
    even.min(connections.max(1))
}

/// How many cores shards that are told `cpus` run on: these, or all that the calling thread is
/// allowed. A shard itself is allowed one.
pub fn cores_for(cpus: &[usize]) -> u32 {
    let allowed = if cpus.is_empty() { &cores() } else { cpus };
    allowed.len().max(1) as u32
}

/// Cores that this process may run on.
pub fn cores() -> Vec<usize> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    cores.iter().map(|core| core.id).collect()
}

/// The machine, for those who read of it elsewhere.
pub fn about() -> Machine {
    let (processors, kernel) = (CpuInfo::current().ok(), rustix::system::uname());
    let model = processors.as_ref().and_then(|all| all.model_name(0));
    Machine {
        kernel: kernel.release().to_string_lossy().into_owned(),
        processor: model.unwrap_or(std::env::consts::ARCH).to_owned(),
        cores: cores().len() as u32,
        memory_bytes: Meminfo::current().map_or(0, |meminfo| meminfo.mem_total),
        descriptors_max: descriptors_max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory() {
        assert!(about().memory_bytes > 1 << 20);
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
