//! How many connections the machine carries: the fewest that a resource allows, and what memory they
//! take. Numbers in, numbers out.

use crate::config::{CONNECTIONS_MAX, Config};
use crate::preflight::doctor::resource::Resource;
use crate::preflight::facts::Facts;
use crate::preflight::memory;

/// What `limits.connections_max` may be set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forecast {
    pub(super) connections: u32,
    /// Resources that depend on connections, with how many each allows; the one that binds first is
    /// the first.
    pub(super) by_resource: Vec<(String, u64)>,
}

/// Over all resources.
pub(super) fn of(resources: &[Resource]) -> Forecast {
    let bounds = resources.iter().filter_map(|resource| {
        let limit = format!("{} ({})", resource.name, resource.limit);
        Some((limit, resource.carries?))
    });
    let mut by_resource: Vec<(String, u64)> = bounds.collect();
    let key = "the key (limits.connections_max)".to_owned();
    by_resource.push((key, CONNECTIONS_MAX.into()));
    by_resource.sort_by_key(|(_, carries)| *carries);
    let least = by_resource.first().map_or(0, |(_, carries)| *carries);
    Forecast {
        connections: u32::try_from(least).unwrap_or(u32::MAX),
        by_resource,
    }
}

/// Bytes that so many connections take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) connections: u32,
    /// Of the process while nobody says anything.
    pub(super) at_rest: u64,
    /// Of the process at most.
    pub(super) at_most: u64,
    /// Of their sockets in the kernel, buffers not included.
    pub(super) sockets: u64,
}

impl Memory {
    pub(super) fn at(config: &Config, facts: &Facts, shards: u32, connections: u32) -> Self {
        let mut config = config.clone();
        config.limits.connections_max = Some(connections);
        let bound = memory::settle(&config, facts, shards, connections).bound;
        Self {
            connections,
            at_rest: bound.bytes_at_rest(),
            at_most: bound.bytes(),
            sockets: bound.kernel_sockets_bytes,
        }
    }
}
