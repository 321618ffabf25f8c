//! The plan of a run: the arguments, checked.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Parser as _;
use corelane::ClientTls;

use super::args::{INTERVAL_DEFAULT, Mode, RunArguments, word};
use super::trust;
use crate::data::LoadShape;
use crate::error::Error;
use crate::machine::{self, Demand, Facts, destinations};
use crate::output;
use crate::rooms::{Rooms, Speakers};
use crate::token::Participant;
use crate::workload::{PATH_DEFAULT, Workload};

pub(crate) const PAYLOAD_DEFAULT: u32 = 64;
/// Receive buffers of all shards together, and the bounds of a shard's and of a buffer's bytes:
/// sized to the messages.
const BUFFERS: u32 = 16_384;
const BUFFERS_SHARD: (u32, u32) = (64, 4096);
const BUFFER_SIZE: (u64, u64) = (512, 16 << 10);
/// Where several shards share a core, one hands out turns no more often than this, so that some
/// share a wake and a setting of the kernel's timer. A request that is sent later for it counts as
/// late, and the delay is in its latency.
const HAND_OUT_INTERVAL: Duration = Duration::from_millis(4);
/// Connections of a storm beyond those that are open: each that was closed keeps its place until
/// the server has closed too.
const STORM_SPARE: u32 = 64;

/// The plan of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Server to load.
    pub target: SocketAddr,
    /// The addresses it is reached at, over which the connections are spread: `target` alone, or
    /// its neighbours on the loopback too.
    pub targets: Vec<SocketAddr>,
    /// Local addresses to connect from; none: the kernel's choice.
    pub sources: Vec<IpAddr>,
    /// Connections open at the same time.
    pub connections: u32,
    /// Shards of the load tester, and the cores that they run on; no core: all that are allowed.
    pub shards: u32,
    /// See `shards`.
    pub cpus: Vec<usize>,
    /// What the connections do.
    pub mode: Mode,
    /// Between two requests of a connection (open mode), or two bytes (slow mode).
    pub interval: Duration,
    /// Rooms that the connections of a chat are in.
    pub rooms: u32,
    /// Told from other runs in the names of rooms.
    pub run: u32,
    /// Connections of a storm in all; none: as many as fit into the window.
    pub cycles: Option<u64>,
    /// The requests.
    pub workload: Workload,
    /// What the connections shake hands by; none: they speak in the clear.
    pub tls: Option<ClientTls>,
    /// Seed of the payloads.
    pub seed: u64,
    /// Connects per second at most.
    pub rate: Option<u32>,
    /// Connections begun and not yet served at most.
    pub in_flight_max: u32,
    /// A shard of an open loop hands out turns no more often.
    pub hand_out_interval: Duration,
    /// Load before the window.
    pub warmup: Duration,
    /// The measured window.
    pub duration: Duration,
    /// How long the connections are watched in silence after it.
    pub rest: Duration,
    /// Bound on a connect, and on the replies to one write.
    pub timeout: Duration,
    /// Process of the server, if it is known.
    pub server_pid: Option<u32>,
    /// Its place among other runs, with which a closed loop takes turns: their conductor ends the
    /// warm-up and the window then. None: it is alone.
    pub participant: Option<Participant>,
    /// The command line as typed.
    pub command: String,
}

impl Plan {
    /// The simplest run against `target`: one connection, closed loop. To be changed.
    pub fn to(target: SocketAddr) -> Self {
        let words = "run --target HOST:PORT --mode closed --duration 5s".split(' ');
        let run = RunArguments::try_parse_from(words).expect("these arguments are right");
        Self::of(&run, target)
    }

    /// The plan of `run`, which has been checked, against the server at `target`, by TLS if it says
    /// so.
    pub(crate) fn trusting(run: &RunArguments, target: SocketAddr) -> Result<Self, Error> {
        let tls = trust::client(run)?;
        let plan = Self::of(run, target);
        Ok(Self { tls, ..plan })
    }

    /// The plan of `run`, which has been checked, against the server at `target`, without TLS.
    pub(crate) fn of(run: &RunArguments, target: SocketAddr) -> Self {
        let facts = Facts::read(Path::new("/"));
        // A shard that may have no connect on its way could do nothing.
        let shards = run.shards.unwrap_or_else(|| {
            machine::shards_for(run.connections, &run.cpus).min(run.connects_in_flight)
        });
        let shares_core = shards > machine::cores_for(&run.cpus);
        Self {
            target,
            targets: destinations(target, run.connections, &facts),
            sources: run.source.clone(),
            connections: run.connections,
            shards,
            cpus: run.cpus.clone(),
            mode: run.mode,
            interval: run.interval.unwrap_or(INTERVAL_DEFAULT),
            rooms: run.rooms.unwrap_or(1),
            run: run_number(),
            cycles: run.cycles,
            workload: workload(run),
            tls: None,
            seed: run.seed,
            rate: run.rate,
            in_flight_max: run.connects_in_flight,
            hand_out_interval: match shares_core {
                true => HAND_OUT_INTERVAL,
                false => Duration::ZERO,
            },
            warmup: run.warmup,
            duration: run.duration,
            rest: run.rest.unwrap_or_default(),
            timeout: run.timeout,
            server_pid: run.server_pid,
            command: output::command_line(),
            participant: None,
        }
    }

    pub(crate) fn rooms(&self) -> Rooms {
        let (speakers, rooms) = match self.mode {
            Mode::Push => (Speakers::First, 1),
            _ => (Speakers::All, self.rooms),
        };
        Rooms {
            speakers,
            connections: self.connections,
            rooms,
            line: self.workload.payload,
            seed: self.seed,
            run: self.run,
        }
    }

    /// How many replies a turn of connection `number` asks for; in a room, how many hear it.
    pub(crate) fn replies(&self, number: u32) -> u64 {
        let rooms = self.rooms();
        match self.mode.has_rooms() {
            true => rooms.members(rooms.room(number)).into(),
            false => self.workload.pipeline.into(),
        }
    }

    pub(crate) fn target(&self, number: u32) -> SocketAddr {
        self.targets[number as usize % self.targets.len()]
    }

    /// Where it comes from. All targets have their turn from one source before the next source has.
    pub(crate) fn source(&self, number: u32) -> Option<IpAddr> {
        let turn = number as usize / self.targets.len();
        (!self.sources.is_empty()).then(|| self.sources[turn % self.sources.len()])
    }

    pub(crate) fn settings(&self) -> Vec<String> {
        let each = self.connections.div_ceil(self.shards);
        let outbound = match self.mode {
            Mode::Storm => 2 * each + STORM_SPARE,
            _ => each,
        };
        let share = (BUFFERS / self.shards).next_power_of_two();
        let buffers = share.clamp(BUFFERS_SHARD.0, BUFFERS_SHARD.1);
        let replies = self.workload.reply_size() * u64::from(self.workload.pipeline);
        let buffer_size = replies.clamp(BUFFER_SIZE.0, BUFFER_SIZE.1);
        let in_flight = self.in_flight_max.div_ceil(self.shards).clamp(1, 1024);
        let cpus: Vec<String> = self.cpus.iter().map(ToString::to_string).collect();
        let timeout = format!("\"{}ms\"", self.timeout.as_millis().max(100));
        vec![
            format!("server.shards={}", self.shards),
            format!("server.cpus=[{}]", cpus.join(",")),
            "server.pin=true".to_owned(), // many on few cores are spread evenly once, and stay so
            format!("limits.outbound_per_shard_max={outbound}"),
            format!("limits.connects_waiting_max={outbound}"), // all of them may begin at once
            format!("limits.connects_in_flight_max={in_flight}"),
            format!("buffers.count={buffers}"),
            format!("buffers.size={buffer_size}"),
            "socket.keepalive=false".to_owned(),
            "socket.user_timeout=\"off\"".to_owned(),
            format!("timeouts.write={timeout}"),
            "timeouts.idle=\"off\"".to_owned(),
            "timeouts.close=\"1s\"".to_owned(),
        ]
    }

    /// Its demands on the machine.
    pub fn demand(&self) -> Demand {
        Demand {
            connections: self.connections.into(),
            shards: self.shards.into(),
            targets: self.targets.iter().map(SocketAddr::ip).collect(),
            port: self.target.port(),
            sources: self.sources.clone(),
            target_is_local: self.target.ip().is_loopback(),
            payload_bytes: self.workload.payload.into(),
            connects_in_flight_max: self.in_flight_max.into(),
            is_storm: self.mode == Mode::Storm,
            silence: self.silence(),
        }
    }

    /// The longest that a connection says nothing: the first of them until the last is open and it
    /// has its turn, all of them at rest.
    fn silence(&self) -> Duration {
        let ramp = self.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(f64::from(self.connections) / f64::from(rate))
        });
        match self.mode {
            Mode::Open | Mode::Slow | Mode::Chat | Mode::Push => {
                (ramp + self.interval).max(self.rest)
            }
            Mode::Idle => ramp + self.warmup + self.duration + self.rest,
            Mode::Closed => ramp.max(self.rest),
            Mode::Storm => Duration::ZERO,
        }
    }

    pub(crate) fn shape(&self) -> LoadShape {
        LoadShape {
            target: self.target,
            mode: word(&self.mode),
            mode_note: note(self.mode).to_owned(),
            protocol: match self.mode.has_rooms() {
                true => "lines".to_owned(),
                false => word(&self.workload.protocol),
            },
            tls: self.tls.is_some(),
            payload_bytes: self.workload.request_payload() as u32,
            pipeline: self.workload.pipeline,
            connect_rate: self.rate,
            interval_s: self.mode.has_turns().then_some(self.interval.as_secs_f64()),
            duration_s: self.duration.as_secs_f64(),
        }
    }
}

fn workload(run: &RunArguments) -> Workload {
    let payload = run.payload.unwrap_or(PAYLOAD_DEFAULT);
    let path = run.path.as_deref().unwrap_or(PATH_DEFAULT);
    let workload = Workload::new(run.protocol, payload, run.pipeline).at(&run.target, path);
    match &run.expect {
        Some(body) => workload.expecting(body.as_bytes()),
        None => workload,
    }
}

fn run_number() -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().as_micros() as u32
}

fn note(mode: Mode) -> &'static str {
    match mode {
        Mode::Open => {
            "open loop: requests are due at intended times, from which their latency counts"
        }
        Mode::Closed => {
            "closed loop: each connection sends, awaits the reply, sends the next. That measures \
             capacity; its latencies are optimistic, because a slow server is asked less often"
        }
        Mode::Idle => "one request each, then silence",
        Mode::Storm => "connect, one request, close, and again; latency counts from the connect",
        Mode::Slow => "a byte now and then",
        Mode::Chat => {
            "rooms: each connection says lines to all of its room at intended times, from which \
             their latency to each counts"
        }
        Mode::Push => {
            "one publishes to all at intended times, from which the latency to each counts"
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;
    use crate::plan::args::parsed;

    fn plan(options: &[&str]) -> Plan {
        let run = parsed(options.iter().copied()).unwrap();
        Plan::of(&run, run.target.parse().unwrap())
    }

    #[test]
    fn connections_are_dealt_out_over_every_pair_of_addresses() {
        let mut plan = plan(&["--source", "127.0.0.8,127.0.0.9"]);
        plan.targets = ["127.0.0.1:7", "127.0.0.2:7", "127.0.0.3:7"]
            .map(|addr| addr.parse().unwrap())
            .to_vec();
        let pairs: BTreeSet<_> = (0..6)
            .map(|number| (plan.target(number), plan.source(number)))
            .collect();
        assert_eq!(pairs.len(), 6);
    }

    #[test]
    fn shards_hold_the_connections_and_their_settings_are_accepted() {
        for options in [
            &["--connections", "1000000", "--shards", "60"][..],
            &["--mode", "storm", "--timeout", "50ms"],
            &["--cpus", "0"],
        ] {
            let client = corelane::Client::start(&plan(options).settings(), |_shard| async {});
            if let Err(problems) = client {
                assert!(
                    problems.iter().all(|problem| !problem.contains("--set")),
                    "{problems:#?}"
                );
            }
        }
    }

    #[test]
    fn turns_are_handed_out_together_only_where_shards_share_a_core() {
        let interval = |options: &[&str]| plan(options).hand_out_interval;
        assert_eq!(interval(&[]), Duration::ZERO);
        assert_eq!(interval(&["--cpus", "0"]), Duration::ZERO);
        assert_eq!(
            interval(&["--cpus", "0,1", "--shards", "2"]),
            Duration::ZERO
        );
        assert_eq!(
            interval(&["--cpus", "0", "--shards", "2"]),
            HAND_OUT_INTERVAL
        );
    }

    #[test]
    fn a_connection_is_silent_until_the_last_one_is_open_and_it_has_its_turn() {
        let silence = |options: &[&str]| plan(options).demand().silence.as_secs();
        assert_eq!(silence(&["--connections", "10000", "--rate", "5000"]), 3);
        assert_eq!(
            silence(&[
                "--connections",
                "1000000",
                "--rate",
                "50000",
                "--interval",
                "30s"
            ]),
            50
        );
        assert_eq!(silence(&["--rest", "20s"]), 20);
        assert_eq!(silence(&["--mode", "idle", "--duration", "30s"]), 31);
        assert_eq!(silence(&["--mode", "storm"]), 0);
    }
}
