//! The machine and the processes on it while a run goes on.

use std::collections::BTreeMap;
use std::time::SystemTime;

use procfs::{Current as _, Meminfo};

use crate::data::{self, Generator, MemoryUse, Rest, ServerUse, ShardTime};
use crate::machine::{self, Sample};
use crate::plan::Plan;

/// Watches the two processes, over the window and at rest, and the memory of the machine.
#[derive(Debug)]
pub(super) struct Machine {
    /// When the run began (RFC 3339).
    pub(super) began: String,
    /// Before the first connect.
    before: Memory,
    /// The processes of the server, if they were found on this machine.
    server: Vec<u32>,
    /// When the window opened, when it closed, when the rest began, and when it ended; those that
    /// have come.
    snapshots: Vec<Snapshot>,
}

/// The snapshots from which on the window and the rest are.
const WINDOW: usize = 0;
const REST: usize = 2;

#[derive(Debug)]
struct Snapshot {
    own: Option<Sample>,
    /// Of each process, if all are there: the cost of some is not the server's.
    server: Option<Vec<Sample>>,
    shards: BTreeMap<u32, u64>,
    memory: Memory,
}

/// Of /proc/meminfo, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    available: u64,
    slab: u64,
}

impl Machine {
    /// To be made before the first connect.
    pub(super) fn before(plan: &Plan) -> Self {
        Self {
            began: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            before: Memory::now(),
            server: match plan.server_pid {
                Some(pid) => vec![pid],
                None => machine::listeners(plan.target),
            },
            snapshots: Vec::new(),
        }
    }

    /// The memory, for a sample of the timeline.
    pub(super) fn look(&self) -> data::Sample {
        let resident = |pid: u32| machine::resident_bytes(pid).unwrap_or(0);
        data::Sample {
            memory_used_bytes: self.before.available as i64 - Memory::now().available as i64,
            server_resident_bytes: self.server.iter().copied().map(resident).sum(),
            generator_resident_bytes: resident(std::process::id()),
            ..data::Sample::default()
        }
    }

    /// To be called when the window opens and when it closes, when the rest begins and when it
    /// ends.
    pub(super) fn snapshot(&mut self) {
        self.snapshots.push(Snapshot {
            own: Sample::take(std::process::id()).ok(),
            server: self.samples(),
            shards: self.shards(),
            memory: Memory::now(),
        });
    }

    fn samples(&self) -> Option<Vec<Sample>> {
        let samples = self.server.iter().map(|pid| Sample::take(*pid).ok());
        let samples = samples.collect::<Option<Vec<Sample>>>()?;
        (!samples.is_empty()).then_some(samples)
    }

    fn shards(&self) -> BTreeMap<u32, u64> {
        let mut shards = BTreeMap::new();
        for (shard, cpu_ns) in self
            .server
            .iter()
            .flat_map(|pid| machine::shards_cpu_ns(*pid))
        {
            *shards.entry(shard).or_default() += cpu_ns;
        }
        shards
    }

    fn span(&self, from: usize) -> Option<[&Snapshot; 2]> {
        Some([self.snapshots.get(from)?, self.snapshots.get(from + 1)?])
    }

    fn own(&self, from: usize) -> Option<[&[Sample]; 2]> {
        let [from, to] = self.span(from)?;
        Some([from.own.as_ref()?, to.own.as_ref()?].map(std::slice::from_ref))
    }

    fn servers(&self, from: usize) -> Option<[&[Sample]; 2]> {
        let [from, to] = self.span(from)?;
        Some([from.server.as_deref()?, to.server.as_deref()?])
    }

    pub(super) fn generator(&self) -> Generator {
        let own = self.own(WINDOW);
        Generator {
            cpu_cores: own.and_then(cores).unwrap_or(0.0),
            resident_bytes: own.map_or(0, |[_, closed]| closed[0].resident_bytes),
            ..Generator::default()
        }
    }

    /// The server over the window, in which it answered `requests`.
    pub(super) fn server(&self, requests: u64) -> Option<ServerUse> {
        let (pid, [opened, closed]) = (*self.server.first()?, self.servers(WINDOW)?);
        let cpu_us = cpu_ns([opened, closed]) as f64 / 1e3;
        Some(ServerUse {
            pid,
            name: machine::name(pid).unwrap_or_default(),
            processes: self.server.len() as u32,
            cpu_cores: cores([opened, closed])?,
            cpu_us_per_request: (requests > 0).then(|| cpu_us / requests as f64),
            resident_bytes: closed.iter().map(|sample| sample.resident_bytes).sum(),
        })
    }

    /// Processor time of each of its shards over the window.
    pub(super) fn server_shards(&self) -> Vec<ShardTime> {
        let (Some(samples), Some([from, to])) = (self.servers(WINDOW), self.span(WINDOW)) else {
            return Vec::new();
        };
        let elapsed = seconds(samples);
        let shards = to.shards.iter().filter_map(|(&shard, after)| {
            let cpu_ns = after.saturating_sub(*from.shards.get(&shard)?);
            let cpu_cores = cpu_ns as f64 / 1e9 / elapsed;
            let time = ShardTime { shard, cpu_cores };
            cpu_cores.is_finite().then_some(time)
        });
        shards.collect()
    }

    /// The whole machine, with so many connections open.
    pub(super) fn memory(&self, connections: u64) -> Option<MemoryUse> {
        let [_, closed] = self.span(WINDOW)?;
        let (before, now) = (self.before, closed.memory);
        let used = before.available.saturating_sub(now.available);
        let slab = now.slab.saturating_sub(before.slab);
        (connections > 0).then(|| MemoryUse {
            used_bytes: used,
            bytes_per_connection: used as f64 / connections as f64,
            slab_bytes_per_connection: slab as f64 / connections as f64,
        })
    }

    pub(super) fn rest(&self) -> Option<Rest> {
        let own = self.own(REST)?;
        Some(Rest {
            seconds: seconds(own),
            generator_cpu_cores: cores(own)?,
            server_cpu_cores: self.servers(REST).and_then(cores),
        })
    }
}

/// Processor time of the same processes, at least one, from one look to the other.
fn cpu_ns([from, to]: [&[Sample]; 2]) -> u64 {
    let both = from.iter().zip(to);
    both.map(|(from, to)| to.cpu_ns_since(from)).sum()
}

fn cores(samples: [&[Sample]; 2]) -> Option<f64> {
    let elapsed = seconds(samples);
    (elapsed > 0.0).then(|| cpu_ns(samples) as f64 / 1e9 / elapsed)
}

fn seconds([from, to]: [&[Sample]; 2]) -> f64 {
    to[0].at.saturating_duration_since(from[0].at).as_secs_f64()
}

impl Memory {
    fn now() -> Self {
        let of = |meminfo: Meminfo| Self {
            available: meminfo.mem_available.unwrap_or(0),
            slab: meminfo.slab,
        };
        Meminfo::current().map(of).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory() {
        let now = Memory::now();
        assert!(now.available > 1 << 20 && now.slab > 0);
    }
}
