//! The results of a comparison: one structure, shown as tables, JSON or a page.

use serde::Serialize;

use super::kind::ServerKind;
use super::statistics::Spread;
use super::suite::Suite;
use loadtest::data::Machine;

/// The results, as far as it got.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Comparison {
    /// What is compared.
    pub suite: Suite,
    /// The command line as typed.
    pub command: String,
    /// When it began (RFC 3339, UTC).
    pub began: String,
    /// Where it ran.
    pub machine: Machine,
    /// All that was asked for was measured.
    pub complete: bool,
    /// Rounds of every case; those of the idle connections may be fewer.
    pub rounds: u32,
    /// Length of each measured window, in seconds.
    pub window_s: f64,
    /// Bytes per request.
    pub payload_bytes: u32,
    /// The servers under load.
    pub cases: Vec<Case>,
    /// The servers with connections that say nothing; none if that was not asked for.
    pub idle: Option<IdleCase>,
}

/// The servers under one load.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// What is compared.
    pub suite: Suite,
    /// Connections, all of them busy.
    pub connections: u32,
    /// Requests that each sends in one go before it awaits the replies.
    pub pipeline: u32,
    /// One entry per server.
    pub servers: Vec<Row>,
}

/// A server under one load.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Which.
    pub server: ServerKind,
    /// Processor time of a request, in microseconds.
    pub cpu_us_per_request: Spread,
    /// That time to the reference's, over the rounds' own ratios; none if the reference was not
    /// measured.
    pub ratio: Option<Spread>,
    /// Share of the window the server ran: at 1 it had no idle moment.
    pub server_busy: Spread,
    /// Latency of the middle request, in microseconds.
    pub p50_us: Spread,
    /// That latency to the reference's, as `ratio`.
    pub p50_ratio: Option<Spread>,
    /// Latency that 1 % of the requests exceeded, in microseconds.
    pub p99_us: Spread,
    /// That latency to the reference's, as `ratio`.
    pub p99_ratio: Option<Spread>,
    /// Throughput.
    pub requests_per_second: Spread,
    /// The rounds themselves, in order.
    pub rounds: Vec<Load>,
}

/// One round of a server under load.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    /// Which server.
    pub server: ServerKind,
    /// Processor time of a request, in microseconds.
    pub cpu_us_per_request: f64,
    /// Share of the window the server ran.
    pub server_busy: f64,
    /// Latency of the middle request, in microseconds.
    pub p50_us: f64,
    /// Latency that 1 % of the requests exceeded, in microseconds.
    pub p99_us: f64,
    /// Throughput.
    pub requests_per_second: f64,
    /// Requests in the window.
    pub requests: u64,
}

/// The servers with connections that say nothing.
#[derive(Debug, Clone, Serialize)]
pub struct IdleCase {
    /// What is compared.
    pub suite: Suite,
    /// How many connections.
    pub connections: u32,
    /// One entry per server.
    pub servers: Vec<IdleRow>,
}

/// A server with idle connections.
#[derive(Debug, Clone, Serialize)]
pub struct IdleRow {
    /// Which.
    pub server: ServerKind,
    /// Resident memory of the process before them, after some load.
    pub resident_bytes_before: Spread,
    /// The same with them.
    pub resident_bytes_after: Spread,
    /// The difference, per connection.
    pub bytes_per_connection: Spread,
    /// That memory to the reference's, over the rounds' own ratios; none if the reference was not
    /// measured.
    pub ratio: Option<Spread>,
    /// Processor time while nothing happens, as a share of a core.
    pub cpu_share: Spread,
    /// The rounds themselves, in order.
    pub rounds: Vec<Idle>,
}

/// One round of a server with idle connections.
#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    /// Which server.
    pub server: ServerKind,
    /// Resident memory of the process before them, after some load.
    pub resident_bytes_before: u64,
    /// The same with them.
    pub resident_bytes_after: u64,
    /// The difference, per connection.
    pub bytes_per_connection: f64,
    /// Processor time while nothing happens, as a share of a core.
    pub cpu_share: f64,
}

impl Case {
    /// Processor time of `server` to that of `other`, over the rounds' own ratios; none unless both
    /// were measured.
    pub fn ratio(&self, server: ServerKind, other: ServerKind) -> Option<Spread> {
        let rounds = |server| Some(&self.servers.iter().find(|row| row.server == server)?.rounds);
        ratio(rounds(server)?, rounds(other)?, |load| {
            load.cpu_us_per_request
        })
    }

    /// The rounds of all servers, summed up.
    pub fn of(
        suite: Suite,
        (connections, pipeline): (u32, u32),
        servers: &[ServerKind],
        loads: &[Load],
    ) -> Self {
        let rounds = |server| -> Vec<Load> {
            loads
                .iter()
                .filter(|load| load.server == server)
                .cloned()
                .collect()
        };
        let reference = rounds(suite.reference());
        let servers = servers
            .iter()
            .map(|&server| Row::of(server, rounds(server), &reference))
            .collect();
        Self {
            suite,
            connections,
            pipeline,
            servers,
        }
    }
}

/// Machines drift, so each round is set against the same round of the other. One of which the other
/// took nothing has no ratio.
fn ratio<R>(rounds: &[R], others: &[R], value: fn(&R) -> f64) -> Option<Spread> {
    let ratios = rounds
        .iter()
        .zip(others)
        .map(|(round, other)| value(round) / value(other));
    let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
    (!ratios.is_empty()).then(|| Spread::of(ratios))
}

impl Row {
    fn of(server: ServerKind, rounds: Vec<Load>, reference: &[Load]) -> Self {
        let spread = |value: fn(&Load) -> f64| Spread::of(rounds.iter().map(value));
        let ratio = |value| ratio(&rounds, reference, value);
        Self {
            server,
            cpu_us_per_request: spread(|load| load.cpu_us_per_request),
            ratio: ratio(|load| load.cpu_us_per_request),
            server_busy: spread(|load| load.server_busy),
            p50_us: spread(|load| load.p50_us),
            p50_ratio: ratio(|load| load.p50_us),
            p99_us: spread(|load| load.p99_us),
            p99_ratio: ratio(|load| load.p99_us),
            requests_per_second: spread(|load| load.requests_per_second),
            rounds,
        }
    }
}

impl IdleCase {
    /// The rounds of all servers, summed up.
    pub fn of(suite: Suite, connections: u32, servers: &[ServerKind], idles: &[Idle]) -> Self {
        let rounds = |server| -> Vec<Idle> {
            idles
                .iter()
                .filter(|idle| idle.server == server)
                .cloned()
                .collect()
        };
        let reference = rounds(suite.reference());
        let servers = servers
            .iter()
            .map(|&server| IdleRow::of(server, rounds(server), &reference))
            .collect();
        Self {
            suite,
            connections,
            servers,
        }
    }
}

impl IdleRow {
    fn of(server: ServerKind, rounds: Vec<Idle>, reference: &[Idle]) -> Self {
        let spread = |value: fn(&Idle) -> f64| Spread::of(rounds.iter().map(value));
        Self {
            server,
            resident_bytes_before: spread(|idle| idle.resident_bytes_before as f64),
            resident_bytes_after: spread(|idle| idle.resident_bytes_after as f64),
            bytes_per_connection: spread(|idle| idle.bytes_per_connection),
            ratio: ratio(&rounds, reference, |idle| idle.bytes_per_connection),
            cpu_share: spread(|idle| idle.cpu_share),
            rounds,
        }
    }
}

#[cfg(test)]
impl Load {
    pub(super) fn costing(server: ServerKind, cpu_us_per_request: f64) -> Self {
        let [server_busy, p50_us, p99_us, requests_per_second] = [0.0; 4];
        Self {
            server,
            cpu_us_per_request,
            server_busy,
            p50_us,
            p99_us,
            requests_per_second,
            requests: 0,
        }
    }
}

#[cfg(test)]
impl Idle {
    pub(super) fn taking(server: ServerKind, bytes_per_connection: f64) -> Self {
        Self {
            server,
            resident_bytes_before: 0,
            resident_bytes_after: 0,
            bytes_per_connection,
            cpu_share: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_own_ratios() {
        use ServerKind::{Echo, RawUring};
        // The machine was twice as slow in the second round: the ratio of that round is not.
        let rounds = [(5.0, 5.0), (11.0, 10.0), (6.0, 5.0)];
        let loads: Vec<Load> = rounds
            .iter()
            .flat_map(|&(echo, raw)| [Load::costing(Echo, echo), Load::costing(RawUring, raw)])
            .collect();
        let case = Case::of(Suite::Echo, (100, 1), &[Echo, RawUring], &loads);
        let ratio = Spread {
            median: 1.1,
            min: 1.0,
            max: 1.2,
        };
        assert_eq!(case.servers[0].ratio, Some(ratio));
        assert_eq!(case.ratio(Echo, RawUring), Some(ratio));
        assert_eq!(
            case.servers[1].ratio,
            Some(Spread {
                median: 1.0,
                min: 1.0,
                max: 1.0
            })
        );
        assert_eq!(case.servers[0].cpu_us_per_request.median, 6.0);
        assert_eq!(case.ratio(Echo, ServerKind::Tokio), None);
    }

    #[test]
    fn the_json_has_each_round_and_their_spread() {
        let idle = |bytes_per_connection| Idle {
            server: ServerKind::GoNetpoller,
            resident_bytes_before: 1,
            resident_bytes_after: 2,
            bytes_per_connection,
            cpu_share: 0.0,
        };
        let comparison = Comparison {
            cases: vec![Case::of(
                Suite::Echo,
                (100, 16),
                &[ServerKind::RawEpoll],
                &[Load::costing(ServerKind::RawEpoll, 5.0)],
            )],
            idle: Some(IdleCase::of(
                Suite::Echo,
                7,
                &[ServerKind::GoNetpoller],
                &[idle(1.0), idle(3.0)],
            )),
            ..Comparison::default()
        };
        let json = serde_json::json!(comparison);
        let row = &json["cases"][0]["servers"][0];
        assert_eq!(
            (&json["cases"][0]["pipeline"], &row["server"]),
            (&16.into(), &"raw_epoll".into())
        );
        assert_eq!(
            (&row["rounds"][0]["cpu_us_per_request"], &row["ratio"]),
            (&5.0.into(), &serde_json::Value::Null)
        );
        let row = &json["idle"]["servers"][0];
        assert_eq!(
            (&row["server"], &row["bytes_per_connection"]["max"]),
            (&"go_netpoller".into(), &3.0.into())
        );
        assert_eq!(row["rounds"].as_array().unwrap().len(), 2);
    }
}
