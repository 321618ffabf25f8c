//! The machine and the processes on it while a run goes on.

use std::collections::BTreeMap;
use std::time::SystemTime;

use procfs::{Current as _, Meminfo};

use crate::data::{Generator, MemoryUse, Rest, ServerUse, ShardTime};
use crate::machine::{self, Sample};
use crate::plan::Plan;

/// Watches the two processes, over the window and at rest, and the memory of the machine.
#[derive(Debug)]
pub(super) struct Machine {
    began: SystemTime,
    /// Before the first connect.
    before: Memory,
    /// The server, if it was found on this machine.
    server: Option<u32>,
    window: Span,
    rest: Span,
}

/// Two instants, once they have come.
#[derive(Debug, Default)]
struct Span {
    from: Option<Snapshot>,
    to: Option<Snapshot>,
}

/// All of it at an instant.
#[derive(Debug)]
struct Snapshot {
    own: Option<Sample>,
    server: Option<Sample>,
    /// Processor time by shard of the server.
    shards: BTreeMap<u32, u64>,
    memory: Memory,
}

/// Of /proc/meminfo, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    available: u64,
    slab: u64,
}

/// The memory in a sample of the timeline.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) memory_used_bytes: i64,
    pub(super) server_resident_bytes: u64,
    pub(super) generator_resident_bytes: u64,
}

impl Machine {
    /// To be made before the first connect.
    pub(super) fn before(plan: &Plan) -> Self {
        Self {
            began: SystemTime::now(),
            before: Memory::now(),
            server: plan.server_pid.or_else(|| machine::listener(plan.target)),
            window: Span::default(),
            rest: Span::default(),
        }
    }

    pub(super) fn look(&self) -> Look {
        let resident = |pid: u32| machine::resident_bytes(pid).unwrap_or(0);
        Look {
            memory_used_bytes: self.before.available as i64 - Memory::now().available as i64,
            server_resident_bytes: self.server.map_or(0, resident),
            generator_resident_bytes: resident(std::process::id()),
        }
    }

    pub(super) fn window_opened(&mut self) {
        self.window.from = Some(self.snapshot());
    }

    pub(super) fn window_closed(&mut self) {
        self.window.to = Some(self.snapshot());
    }

    pub(super) fn rest_began(&mut self) {
        self.rest.from = Some(self.snapshot());
    }

    pub(super) fn rest_ended(&mut self) {
        self.rest.to = Some(self.snapshot());
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            own: Sample::take(std::process::id()).ok(),
            server: self.server.and_then(|pid| Sample::take(pid).ok()),
            shards: self.server.map(machine::shards_cpu_ns).unwrap_or_default(),
            memory: Memory::now(),
        }
    }

    pub(super) fn began(&self) -> String {
        humantime::format_rfc3339_seconds(self.began).to_string()
    }

    pub(super) fn generator(&self) -> Generator {
        let own = self.window.own();
        Generator {
            cpu_cores: own.and_then(cores).unwrap_or(0.0),
            resident_bytes: own.map_or(0, |(_, closed)| closed.resident_bytes),
            ..Generator::default()
        }
    }

    /// The server over the window, in which it answered `requests`.
    pub(super) fn server(&self, requests: u64) -> Option<ServerUse> {
        let (pid, (opened, closed)) = (self.server?, self.window.server()?);
        let cpu_us = closed.cpu_ns_since(opened) as f64 / 1e3;
        Some(ServerUse {
            pid,
            name: machine::name(pid).unwrap_or_default(),
            cpu_cores: cores((opened, closed))?,
            cpu_us_per_request: (requests > 0).then(|| cpu_us / requests as f64),
            resident_bytes: closed.resident_bytes,
        })
    }

    /// Processor time of each of its shards over the window.
    pub(super) fn server_shards(&self) -> Vec<ShardTime> {
        let (Some(samples), Some((from, to))) = (self.window.server(), self.window.both()) else {
            return Vec::new();
        };
        let elapsed = seconds(samples);
        let shards = to.shards.iter().filter_map(|(shard, after)| {
            let cpu_ns = after.saturating_sub(*from.shards.get(shard)?);
            Some(ShardTime {
                shard: *shard,
                cpu_cores: cpu_ns as f64 / 1e9 / elapsed,
            })
        });
        shards.filter(|time| time.cpu_cores.is_finite()).collect()
    }

    /// The whole machine, with so many connections open.
    pub(super) fn memory(&self, connections: u64) -> Option<MemoryUse> {
        let now = self.window.to.as_ref()?.memory;
        let used = self.before.available.saturating_sub(now.available);
        let slab = now.slab.saturating_sub(self.before.slab);
        (connections > 0).then(|| MemoryUse {
            used_bytes: used,
            bytes_per_connection: used as f64 / connections as f64,
            slab_bytes_per_connection: slab as f64 / connections as f64,
        })
    }

    /// The cost of silent connections.
    pub(super) fn rest(&self) -> Option<Rest> {
        let own = self.rest.own()?;
        Some(Rest {
            seconds: seconds(own),
            generator_cpu_cores: cores(own)?,
            server_cpu_cores: self.rest.server().and_then(cores),
        })
    }
}

impl Span {
    fn both(&self) -> Option<(&Snapshot, &Snapshot)> {
        Some((self.from.as_ref()?, self.to.as_ref()?))
    }

    fn own(&self) -> Option<(&Sample, &Sample)> {
        let (from, to) = self.both()?;
        Some((from.own.as_ref()?, to.own.as_ref()?))
    }

    fn server(&self) -> Option<(&Sample, &Sample)> {
        let (from, to) = self.both()?;
        Some((from.server.as_ref()?, to.server.as_ref()?))
    }
}

/// Processor time between two samples, in cores.
fn cores((from, to): (&Sample, &Sample)) -> Option<f64> {
    let elapsed = seconds((from, to));
    (elapsed > 0.0).then(|| to.cpu_ns_since(from) as f64 / 1e9 / elapsed)
}

fn seconds((from, to): (&Sample, &Sample)) -> f64 {
    to.at.saturating_duration_since(from.at).as_secs_f64()
}

impl Memory {
    fn now() -> Self {
        Meminfo::current().map_or_else(
            |_unknown| Self::default(),
            |meminfo| Self {
                available: meminfo.mem_available.unwrap_or(0),
                slab: meminfo.slab,
            },
        )
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
