//! The machine and the processes on it while a run goes on.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use procfs::{Current as _, Meminfo};

use crate::data::{Generator, MemoryUse, Rest, ServerUse, ShardTime};
use crate::machine::{self, Sample};
use crate::plan::Plan;

/// One look.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) memory_used_bytes: i64,
    pub(super) server_resident_bytes: u64,
    pub(super) generator_resident_bytes: u64,
}

/// What is watched.
#[derive(Debug)]
pub(super) struct Machine {
    began: SystemTime,
    /// Before the first connect.
    before: Memory,
    /// The server, if it was found on this machine.
    server: Option<u32>,
    own: [Option<Sample>; 2],
    servers: [Option<Sample>; 2],
    /// The server's shards, each with its processor time.
    shards: [BTreeMap<u32, u64>; 2],
    /// The two ends of the rest: the load tester, and the server.
    rests: [[Option<Sample>; 2]; 2],
    at_window_end: Option<Memory>,
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
            began: SystemTime::now(),
            before: Memory::now(),
            server: plan.server_pid.or_else(|| machine::listener(plan.target)),
            own: [None, None],
            servers: [None, None],
            shards: Default::default(),
            rests: Default::default(),
            at_window_end: None,
        }
    }

    pub(super) fn look(&self) -> Look {
        let used = self.before.available as i64 - Memory::now().available as i64;
        let resident = |pid: u32| machine::resident_bytes(pid).unwrap_or(0);
        Look {
            memory_used_bytes: used,
            server_resident_bytes: self.server.map_or(0, resident),
            generator_resident_bytes: resident(std::process::id()),
        }
    }

    pub(super) fn window_opened(&mut self) {
        self.own[0] = Sample::take(std::process::id()).ok();
        self.servers[0] = self.server.and_then(|pid| Sample::take(pid).ok());
        self.shards[0] = self.server.map(machine::shards_cpu_ns).unwrap_or_default();
    }

    pub(super) fn window_closed(&mut self) {
        self.own[1] = Sample::take(std::process::id()).ok();
        self.servers[1] = self.server.and_then(|pid| Sample::take(pid).ok());
        self.shards[1] = self.server.map(machine::shards_cpu_ns).unwrap_or_default();
        self.at_window_end = Some(Memory::now());
    }

    pub(super) fn rest_began(&mut self) {
        self.look_at_rest(0);
    }

    pub(super) fn rest_ended(&mut self) {
        self.look_at_rest(1);
    }

    fn look_at_rest(&mut self, end: usize) {
        self.rests[0][end] = Sample::take(std::process::id()).ok();
        self.rests[1][end] = self.server.and_then(|pid| Sample::take(pid).ok());
    }

    /// What silent connections cost.
    pub(super) fn rest(&self) -> Option<Rest> {
        let [own, servers] = &self.rests;
        let seconds = seconds(own[0].as_ref()?.at, own[1].as_ref()?.at);
        Some(Rest {
            seconds,
            generator_cpu_cores: cores(own)?,
            server_cpu_cores: cores(servers),
        })
    }

    pub(super) fn began(&self) -> String {
        humantime::format_rfc3339_seconds(self.began).to_string()
    }

    pub(super) fn generator(&self) -> Generator {
        let resident_bytes = self.own[1]
            .as_ref()
            .map_or(0, |sample| sample.resident_bytes);
        Generator {
            cpu_cores: cores(&self.own).unwrap_or(0.0),
            resident_bytes,
            ..Generator::default()
        }
    }

    /// The server over the window, in which it answered `requests`.
    pub(super) fn server(&self, requests: u64) -> Option<ServerUse> {
        let pid = self.server?;
        let [Some(opened), Some(closed)] = &self.servers else {
            return None;
        };
        let cpu_us = closed.cpu_ns_since(opened) as f64 / 1e3;
        Some(ServerUse {
            pid,
            name: machine::name(pid).unwrap_or_default(),
            cpu_cores: cores(&self.servers)?,
            cpu_us_per_request: (requests > 0).then(|| cpu_us / requests as f64),
            resident_bytes: closed.resident_bytes,
        })
    }

    /// What each of its shards took over the window.
    pub(super) fn server_shards(&self) -> Vec<ShardTime> {
        let [Some(opened), Some(closed)] = &self.servers else {
            return Vec::new();
        };
        let elapsed = seconds(opened.at, closed.at);
        let both = self.shards[1].iter().filter_map(|(shard, after)| {
            Some((*shard, after.saturating_sub(*self.shards[0].get(shard)?)))
        });
        both.map(|(shard, cpu_ns)| ShardTime {
            shard,
            cpu_cores: cpu_ns as f64 / 1e9 / elapsed,
        })
        .filter(|time| time.cpu_cores.is_finite())
        .collect()
    }

    /// The whole machine, with so many connections open.
    pub(super) fn memory(&self, connections: u64) -> Option<MemoryUse> {
        let now = self.at_window_end.filter(|_| connections > 0)?;
        let used = self.before.available.saturating_sub(now.available);
        let slab = now.slab.saturating_sub(self.before.slab);
        Some(MemoryUse {
            used_bytes: used,
            bytes_per_connection: used as f64 / connections as f64,
            slab_bytes_per_connection: slab as f64 / connections as f64,
        })
    }
}

/// Processor time between two samples, in cores.
fn cores(samples: &[Option<Sample>; 2]) -> Option<f64> {
    let [Some(opened), Some(closed)] = samples else {
        return None;
    };
    let elapsed = seconds(opened.at, closed.at);
    (elapsed > 0.0).then(|| closed.cpu_ns_since(opened) as f64 / 1e9 / elapsed)
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
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
