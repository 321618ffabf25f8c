//! What will be started: settings and facts in, a [`Plan`] or the whole list of [`Problem`]s out.

use crate::config::Config;
use crate::handler::AppBytes;
use crate::net::inherited::Inherited;
use crate::preflight::facts::Facts;
use crate::preflight::memory::MemoryBound;
use crate::preflight::problem::Problem;
use crate::preflight::{admin, facts, inherited, kernel, limits, memlock, memory, port, tls};
use crate::shard::policy::bounds::MemoryShare;

/// What will be started on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// One entry per shard, at least one.
    pub shards: Vec<ShardPlan>,
    /// What the operator should know although it does not prevent the start.
    pub warnings: Vec<String>,
    /// Connections of the whole process: the sum over the shards.
    pub connections_max: u32,
    /// The most memory that all of it can take.
    pub memory: MemoryBound,
    /// The descriptor limit, which bounds the connections of a shard.
    pub descriptors_max: u64,
}

/// One shard of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardPlan {
    /// Its number, from 0.
    pub id: u32,
    /// The cores it keeps to, one if it is pinned; `None`: wherever this process may run. Several
    /// shards may share a core.
    pub affinity: Option<Vec<usize>>,
    /// Its share of the connections, at least one.
    pub connections_max: u32,
    /// What its connections may hold.
    pub memory: MemoryShare,
}

impl ShardPlan {
    /// The core it is pinned to.
    pub(crate) fn cpu(&self) -> Option<usize> {
        self.affinity.as_deref().and_then(|cores| {
            if let [core] = cores {
                Some(*core)
            } else {
                None
            }
        })
    }
}

/// Check the machine against the settings, after raising this process's soft limits to the hard
/// ones. The application's own types take `app_bytes`; the listeners of `inherited` are open.
///
/// # Errors
/// Everything that prevents the start, each with its remedy.
pub(crate) fn check(
    config: &Config,
    app_bytes: AppBytes,
    inherited: &Inherited,
) -> Result<Plan, Vec<Problem>> {
    facts::raise_limits();
    plan(config, &Facts::gather(config, app_bytes, inherited))
}

/// What is wrong with the files that the settings name, and what should be known of them.
pub(crate) fn files(config: &Config) -> (Vec<Problem>, Vec<String>) {
    let (problems, warnings) = facts::judged(crate::tls::examine(config));
    (problems.iter().map(tls::problem).collect(), warnings)
}

/// The most memory that the settings can take on this machine, whether it can run them or not.
pub(crate) fn memory(config: &Config, app_bytes: AppBytes) -> MemoryBound {
    facts::raise_limits();
    let facts = Facts::without_probes(app_bytes);
    let cores = limits::cores(config, &facts).unwrap_or_else(|_problem| vec![0]);
    let shards = shard_count(config, &cores);
    let asked = config.limits.connections_max.unwrap_or(shards);
    memory::settle(
        config,
        &facts,
        shards,
        limits::connections(config, &facts, shards).unwrap_or(asked),
    )
    .bound
}

/// As [`check`], for a program that accepts nothing: its port does not matter, its shards open all
/// their connections.
pub(crate) fn check_client(config: &Config) -> Result<Plan, Vec<Problem>> {
    facts::raise_limits();
    let app_bytes = AppBytes { task: 0, parcel: 0 }; // its program's tasks are its own business
    let facts = Facts::gather(config, app_bytes, &Inherited::default());
    let mut problems: Vec<Problem> = kernel::problem(&facts).into_iter().collect();
    let cores = limits::cores(config, &facts).unwrap_or_else(|problem| {
        problems.push(problem);
        vec![0]
    });
    let shards = shard_count(config, &cores);
    problems.extend(memlock::problem(config, &facts, shards));
    problems.extend(memory::buffers_problem(config, &facts, shards));
    problems.extend(limits::outbound_problem(config, &facts, shards));
    let (files, file_warnings) = facts::judged(crate::tls::examine_upstreams(config));
    problems.extend(files.iter().map(tls::problem));
    let mut warnings = limits::warnings(config, &facts, &cores);
    warnings.extend(file_warnings);
    let settled = memory::settle(config, &facts, shards, 0);
    let plan = Plan {
        shards: share_out(0, shards, &affinities(config, &cores), settled.bound.share),
        warnings,
        connections_max: 0,
        memory: settled.bound,
        descriptors_max: facts.nofile,
    };
    if problems.is_empty() {
        Ok(plan)
    } else {
        Err(problems)
    }
}

/// The decision alone.
pub(super) fn plan(config: &Config, facts: &Facts) -> Result<Plan, Vec<Problem>> {
    let mut problems: Vec<Problem> = Vec::new();
    problems.extend(kernel::problem(facts));
    let shards = limits::cores(config, facts).map_or(1, |cores| shard_count(config, &cores));
    problems.extend(memlock::problem(config, facts, shards));
    let unable = facts.unable.iter();
    problems.extend(unable.map(|(listener, error)| port::problem(listener, error)));
    let admin = facts.admin.iter();
    problems.extend(admin.map(|(key, endpoint, error)| admin::problem(key, endpoint, error)));
    problems.extend(facts.moved.iter().map(inherited::moved_problem));
    problems.extend(facts.tls.0.iter().map(tls::problem));
    let plan = limits::cores(config, facts).and_then(|cores| {
        let shards = shard_count(config, &cores);
        problems.extend(inherited::surplus(facts.inherited, shards));
        let buffers_problem = memory::buffers_problem(config, facts, shards);
        let connections_max = limits::connections(config, facts, shards);
        let settled = memory::settle(
            config,
            facts,
            shards,
            *connections_max.as_ref().unwrap_or(&0),
        );
        // Buffers that do not fit alone are told alone, and so are connections that cannot be.
        problems.extend(buffers_problem.or(settled.problem.filter(|_| connections_max.is_ok())));
        connections_max?;
        let connections_max = settled.connections_max;
        let mut warnings = limits::warnings(config, facts, &cores);
        warnings.extend(facts.tls.1.iter().cloned());
        let shards = share_out(
            connections_max,
            shards,
            &affinities(config, &cores),
            settled.bound.share,
        );
        Ok(Plan {
            shards,
            warnings,
            connections_max,
            memory: settled.bound,
            descriptors_max: facts.nofile,
        })
    });
    match plan {
        Ok(plan) if problems.is_empty() => Ok(plan),
        outcome => Err(problems.into_iter().chain(outcome.err()).collect()),
    }
}

/// Shards to start: as many as asked for, else one per core.
pub(super) fn shard_count(config: &Config, cores: &[usize]) -> u32 {
    match config.server.shards {
        0 => u32::try_from(cores.len()).unwrap_or(u32::MAX),
        shards => shards,
    }
}

/// Where the shards run, in turn.
fn affinities(config: &Config, cores: &[usize]) -> Vec<Option<Vec<usize>>> {
    match (config.server.is_pinned(), config.server.cpus.is_empty()) {
        (true, _) => cores.iter().map(|core| Some(vec![*core])).collect(),
        (false, false) => vec![Some(cores.to_vec())],
        (false, true) => vec![None],
    }
}

/// Shares that differ by one at most and add up to `connections_max`; the affinities take turns.
fn share_out(
    connections_max: u32,
    shards: u32,
    affinities: &[Option<Vec<usize>>],
    memory: MemoryShare,
) -> Vec<ShardPlan> {
    let (share, rest) = (connections_max / shards, connections_max % shards);
    let plan = |(id, affinity): (u32, &Option<Vec<usize>>)| ShardPlan {
        id,
        affinity: affinity.clone(),
        connections_max: share + u32::from(id < rest),
        memory,
    };
    (0..shards)
        .zip(affinities.iter().cycle())
        .map(plan)
        .collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
