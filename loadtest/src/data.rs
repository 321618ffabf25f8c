//! The results of a run: one structure, shown as text, JSON or a page.

use std::net::SocketAddr;

use serde::Serialize;

/// The results of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The command line as typed.
    pub command: String,
    /// When the run began (RFC 3339, UTC).
    pub began: String,
    /// Where it ran.
    pub machine: Machine,
    /// The load.
    pub load: LoadShape,
    /// How many connections came how far.
    pub connections: Connections,
    /// Its TLS handshakes, if it has any.
    pub handshakes: Option<Handshakes>,
    /// From the start of a connect to its end, a TLS handshake included, in microseconds.
    pub connect_us: Quantiles,
    /// Of the requests due in the window, whenever they were answered: in open mode from the
    /// intended send time, otherwise from the actual one, in microseconds.
    pub latency_us: Quantiles,
    /// The latency distribution: `(percentile 0-100, microseconds)`, rising, dense towards 100.
    pub latency_curve: Vec<(f64, f64)>,
    /// Requests in the measured window, asked for and answered.
    pub requests: Requests,
    /// What came of the lines that were said in rooms, in the modes that have them: a request is
    /// then what one connection is to hear of another.
    pub fanout: Option<Fanout>,
    /// Failures by kind: the word, how often, and the first few in words.
    pub failures: Vec<FailureCount>,
    /// The load tester itself.
    pub generator: Generator,
    /// The server process, when it is on this machine.
    pub server: Option<ServerUse>,
    /// Memory of the whole machine, both ends if the server is on it.
    pub memory: Option<MemoryUse>,
    /// The cost of the connections while they were silent after the window, if that was asked for.
    pub rest: Option<Rest>,
    /// One entry per sample, in order of time.
    pub timeline: Vec<Sample>,
    /// The share of each shard of the load tester.
    pub shards: Vec<ShardShare>,
    /// Processor time of each shard of the server, if it is on this machine and names its threads
    /// as Corelane does.
    pub server_shards: Vec<ShardTime>,
    /// A signal ended it early.
    pub interrupted: bool,
    /// Why its figures say nothing about the server, if so.
    pub void: Option<String>,
}

impl Report {
    /// Every wanted connection was established and served, every request answered, no byte was
    /// wrong, nothing failed, and nobody interrupted it.
    pub fn is_complete(&self) -> bool {
        let connections = &self.connections;
        let (wanted, served) = (connections.wanted, connections.served);
        let is_all = wanted > 0 && [connections.established, served] == [wanted; 2];
        is_all && self.failures.is_empty() && self.requests.unanswered == 0 && !self.interrupted
    }

    /// It is complete, and its figures are the server's.
    pub fn is_clean(&self) -> bool {
        self.is_complete() && self.void.is_none()
    }

    /// What is counted as requests: one, many, and what is done with them.
    pub(crate) fn words(&self) -> [&'static str; 3] {
        match self.fanout {
            Some(_) => ["delivery", "deliveries", "delivered"],
            None => ["request", "requests", "answered"],
        }
    }

    /// Failures of the kind with this word.
    pub fn failures_of(&self, kind: &str) -> u64 {
        let failures = self.failures.iter().filter(|failure| failure.kind == kind);
        failures.map(|failure| failure.count).sum()
    }

    /// Failures of any kind.
    pub fn failures_total(&self) -> u64 {
        self.failures.iter().map(|failure| failure.count).sum()
    }
}

/// Where a run took place.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Machine {
    /// Kernel release, as uname(2) says.
    pub kernel: String,
    /// Processor model.
    pub processor: String,
    /// Cores this process may use.
    pub cores: u32,
    /// Bytes.
    pub memory_bytes: u64,
    /// Hard limit of descriptors.
    pub descriptors_max: u64,
}

/// The load.
#[derive(Debug, Clone, Serialize)]
pub struct LoadShape {
    /// The server.
    pub target: SocketAddr,
    /// "open", "closed", "idle", "storm", "slow", "chat" or "push".
    pub mode: String,
    /// The mode in a sentence; a closed loop is said to be optimistic.
    pub mode_note: String,
    /// "echo", "ping", "http" or "websocket", or "lines" in rooms.
    pub protocol: String,
    /// Whether that is by TLS.
    pub tls: bool,
    /// Bytes of a request, of its payload alone.
    pub payload_bytes: u32,
    /// Requests that a connection has under way at once.
    pub pipeline: u32,
    /// Connects per second asked for; none: as fast as they are served.
    pub connect_rate: Option<u32>,
    /// Seconds between two requests, or lines, of a connection that has turns.
    pub interval_s: Option<f64>,
    /// Length of the measured window in seconds.
    pub duration_s: f64,
}

/// TLS handshakes that were completed, and by which of them a connection went on from an earlier
/// session.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Handshakes {
    /// With certificates.
    pub full: u64,
    /// Without.
    pub resumed: u64,
    /// Full ones per second while connections were opened.
    pub full_per_s: f64,
    /// Others per second in that time.
    pub resumed_per_s: f64,
    /// Of a storm: both per second of the server's processor time, which the requests share. None if
    /// the server is not on this machine.
    pub per_core_s: Option<f64>,
}

/// How many connections came how far.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Connections {
    /// To be opened.
    pub wanted: u64,
    /// Whose handshake succeeded.
    pub established: u64,
    /// Whose first request was answered, in full and right.
    pub served: u64,
    /// Seconds from the first connect to the last connection established.
    pub ramp_s: f64,
    /// Established per second over the ramp.
    pub connects_per_s: f64,
}

/// Microseconds by share of the measurements.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Quantiles {
    /// How many were measured.
    pub count: u64,
    /// Half of them took no longer.
    pub p50: f64,
    /// Nine in ten.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p99_9: f64,
    /// 99.99 %.
    pub p99_99: f64,
    /// All of them.
    pub max: f64,
}

/// Requests in the measured window.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Requests {
    /// Answered in full and right since the start, ramp included.
    pub total: u64,
    /// Length of the window in seconds.
    pub window_s: f64,
    /// Due per second in the window (open mode).
    pub offered_per_s: Option<f64>,
    /// Answered per second in the window, whenever they were due.
    pub achieved_per_s: f64,
    /// Due in the window and not answered in time, or not sent. Those that somebody waited for when
    /// they were given up are among the latencies, with the time that had passed by then.
    pub unanswered: u64,
}

/// Lines that come to many.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Fanout {
    /// Rooms that the connections were in; one of all of them in push mode.
    pub rooms: u32,
    /// Lines of the window that were said.
    pub said: u64,
    /// Deliveries per second of the window over the cores that the server used, if it is on this
    /// machine.
    pub deliveries_per_core_s: Option<f64>,
    /// From the intended time of a publication of the window to its last delivery, in microseconds
    /// (push mode).
    pub last_us: Quantiles,
    /// Deliveries per second while a publication is on its way: all of them, over the middle of
    /// those times.
    pub deliveries_on_way_s: Option<f64>,
}

/// One kind of failure.
#[derive(Debug, Clone, Serialize)]
pub struct FailureCount {
    /// "refused", "reset", "timed_out", "wrong_bytes", "out_of_ports", ...
    pub kind: String,
    /// How often.
    pub count: u64,
    /// The first few, in words.
    pub examples: Vec<String>,
}

/// The load tester itself.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Generator {
    /// Threads, each with its connections.
    pub shards: u32,
    /// Processor time over the window, in cores.
    pub cpu_cores: f64,
    /// How late requests were sent after their intended time, in microseconds (open mode).
    pub lag_us: Quantiles,
    /// How long it did not run in the window though it was due: stopped, or without a core.
    pub stood_still_s: f64,
    /// Resident at the end of the window.
    pub resident_bytes: u64,
}

/// The server process.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ServerUse {
    /// Process id; of several the first.
    pub pid: u32,
    /// Name of the program.
    pub name: String,
    /// How many processes share its port: the figures are of all of them together.
    pub processes: u32,
    /// Processor time over the window, in cores.
    pub cpu_cores: f64,
    /// Processor time over the requests of the window, in microseconds.
    pub cpu_us_per_request: Option<f64>,
    /// Resident at the end of the window.
    pub resident_bytes: u64,
}

impl ServerUse {
    /// The processes beside the first, in words.
    pub(crate) fn more(&self) -> String {
        match self.processes {
            0 | 1 => String::new(),
            all => format!(" and {} more", all - 1),
        }
    }
}

/// Silent connections.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rest {
    /// How long they were watched.
    pub seconds: f64,
    /// Processor time of the load tester meanwhile, in cores.
    pub generator_cpu_cores: f64,
    /// Of the server, if it is on this machine.
    pub server_cpu_cores: Option<f64>,
}

/// Memory of the whole machine.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MemoryUse {
    /// Fall of MemAvailable from before the first connect to the end of the window.
    pub used_bytes: u64,
    /// The same over the connections.
    pub bytes_per_connection: f64,
    /// Rise of the slab over the connections.
    pub slab_bytes_per_connection: f64,
}

/// One look at the run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sample {
    /// Seconds since the run began.
    pub at_s: f64,
    /// Open now.
    pub connections: u64,
    /// Established since the sample before, per second.
    pub connects_per_s: f64,
    /// Answered since the sample before, per second.
    pub requests_per_s: f64,
    /// Failures so far.
    pub failures: u64,
    /// Latency of the requests answered since the sample before; zeros if none were.
    pub p50_us: f64,
    /// Nine in ten took no longer.
    pub p90_us: f64,
    /// 99 %.
    pub p99_us: f64,
    /// 99.9 %.
    pub p99_9_us: f64,
    /// All of them.
    pub max_us: f64,
    /// MemAvailable before the run less now, in bytes; negative if it grew.
    pub memory_used_bytes: i64,
    /// Resident memory of the server process; zero if it is elsewhere.
    pub server_resident_bytes: u64,
    /// Resident memory of the load tester.
    pub generator_resident_bytes: u64,
}

/// The share of one shard.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ShardShare {
    /// Its number, from zero.
    pub shard: u32,
    /// Connections it had.
    pub connections: u64,
    /// Requests answered on them.
    pub requests: u64,
}

/// Processor time of one shard of the server. Its connections are known to the server alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShardTime {
    /// Its number, from zero.
    pub shard: u32,
    /// Processor time of its threads over the window, in cores.
    pub cpu_cores: f64,
}

/// A report of a closed loop with so many connections, of which so many were served.
#[cfg(test)]
pub(crate) fn served(wanted: u64, served: u64) -> Report {
    Report {
        command: String::new(),
        began: String::new(),
        machine: Machine::default(),
        load: LoadShape {
            target: SocketAddr::from(([127, 0, 0, 1], 7007)),
            mode: "closed".to_owned(),
            mode_note: String::new(),
            protocol: "echo".to_owned(),
            tls: false,
            payload_bytes: 64,
            pipeline: 1,
            connect_rate: None,
            interval_s: None,
            duration_s: 5.0,
        },
        connections: Connections {
            wanted,
            established: wanted,
            served,
            ..Connections::default()
        },
        handshakes: None,
        connect_us: Quantiles::default(),
        latency_us: Quantiles::default(),
        latency_curve: Vec::new(),
        requests: Requests::default(),
        fanout: None,
        failures: Vec::new(),
        generator: Generator::default(),
        server: None,
        memory: None,
        rest: None,
        timeline: Vec::new(),
        shards: Vec::new(),
        server_shards: Vec::new(),
        interrupted: false,
        void: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_in_which_all_went_well_is_clean() {
        assert!(served(10, 10).is_clean());
        assert!(!served(10, 9).is_clean());
        assert!(!served(0, 0).is_clean());
        assert!(
            !Report {
                interrupted: true,
                ..served(10, 10)
            }
            .is_clean()
        );
        assert!(
            !Report {
                void: Some("late".to_owned()),
                ..served(10, 10)
            }
            .is_clean()
        );
        let failures = vec![FailureCount {
            kind: "reset".to_owned(),
            count: 1,
            examples: Vec::new(),
        }];
        assert!(
            !Report {
                failures,
                ..served(10, 10)
            }
            .is_clean()
        );
        let requests = Requests {
            unanswered: 1,
            ..Requests::default()
        };
        assert!(
            !Report {
                requests,
                ..served(10, 10)
            }
            .is_clean()
        );
    }
}
