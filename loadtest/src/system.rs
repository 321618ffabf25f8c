//! What the load tester asks of the machine it runs on: descriptors and cores.

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::error::Error;

/// Raises the soft descriptor limit to the hard one, for this process and those it starts.
pub(crate) fn descriptors_raise() -> Result<(), Error> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).map_err(io::Error::from).map_err(Error::failed("cannot raise the descriptor limit"))
}

/// Shards for so many connections: one per core, or more if the descriptor limit, which bounds each ring's table, asks for it.
pub(crate) fn shards_for(connections: u32, cpus: &[usize]) -> u32 {
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let cores = if cpus.is_empty() { cores().len() } else { cpus.len() };
    shards(connections, u32::try_from(limit).unwrap_or(u32::MAX), cores.max(1) as u32)
}

fn shards(connections: u32, descriptors: u32, cores: u32) -> u32 {
    connections.div_ceil(descriptors.max(1)).next_multiple_of(cores).max(cores).min(connections.max(1))
}

/// Refuse a core that this process may not run on.
pub(crate) fn core_check(core: usize) -> Result<(), Error> {
    if cores().contains(&core) {
        return Ok(());
    }
    let cores: Vec<String> = cores().iter().map(ToString::to_string).collect();
    Err(Error::Refused(format!("core {core} is not one this process may use: {}", cores.join(", "))))
}

fn cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_hold_all_connections_and_the_cores_share_them_evenly() {
        assert_eq!(shards(1, 20_000, 2), 1);
        assert_eq!(shards(10_000, 20_000, 2), 2);
        assert_eq!(shards(1_000_000, 20_000, 2), 50);
        assert_eq!(shards(1_000_000, 1_048_576, 8), 8);
        assert_eq!(shards(60_001, 20_000, 2), 4);
    }
}
