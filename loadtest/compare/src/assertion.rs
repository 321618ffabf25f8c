//! `--assert`: the promises of echo beside the others.

use super::args::CompareArguments;
use super::comparison::{Case, Comparison, IdleCase, IdleRow};
use super::kind::ServerKind;
use super::shape::Shape;
use super::suite::{Bound, Suite};
use loadtest::error::Error;

/// Its memory of an idle connection at most, in bytes.
const IDLE_BYTES_MAX: f64 = 256.0;
/// Fewer connections leave a server waiting most of the time; its cost is then mostly that of
/// falling asleep and waking, and is not judged.
const CONNECTIONS_MIN: u32 = 100;

/// An assertion about nothing would hold, and be believed. Of the servers that echo is to undercut
/// some may be left out.
pub(super) fn check(
    arguments: &CompareArguments,
    servers: &[ServerKind],
    shapes: &[Shape],
) -> Result<(), Error> {
    let suite = arguments.suite;
    let is_large = |shape: &Shape| shape.connections >= CONNECTIONS_MIN;
    let needed = match suite {
        Suite::Echo => &suite.servers()[..2],
        _ => suite.servers(),
    };
    let are_measured = needed.iter().all(|server| servers.contains(server));
    if !arguments.assert || are_measured && shapes.iter().any(is_large) {
        return Ok(());
    }
    let needed: Vec<&str> = needed.iter().map(|server| server.name()).collect();
    Err(Error::Refused(format!(
        "--assert is about {} at {CONNECTIONS_MIN} connections or more: name all of them in \
         --servers and such a load in --connections",
        needed.join(", ")
    )))
}

/// The promises that do not hold, a line each.
pub(super) fn breaches(comparison: &Comparison) -> Vec<String> {
    let judged = comparison
        .cases
        .iter()
        .filter(|case| case.connections >= CONNECTIONS_MIN);
    judged
        .flat_map(breaches_of)
        .chain(comparison.idle.iter().flat_map(breaches_at_rest))
        .collect()
}

fn breaches_of(case: &Case) -> Vec<String> {
    let Case {
        connections,
        pipeline,
        ..
    } = *case;
    let shape = Shape {
        connections,
        pipeline,
    };
    let ours = case.suite.subject();
    let breach = |bound: &Bound| {
        let Bound {
            other,
            ratio_max,
            is_below,
        } = *bound;
        let ratio = case.ratio(ours, other)?.median;
        let holds = ratio < ratio_max || !is_below && ratio == ratio_max;
        let told = match is_below {
            true => "not below",
            false => "above",
        };
        (!holds).then(|| format!("{shape}: {ours} takes {ratio:.3} of {other}, {told} {ratio_max}"))
    };
    case.suite.bounds().iter().filter_map(breach).collect()
}

/// Memory is promised of echo alone.
fn breaches_at_rest(idle: &IdleCase) -> Vec<String> {
    let bytes = |row: &IdleRow| row.bytes_per_connection.median;
    let Some(echo) = idle
        .servers
        .iter()
        .filter(|_| idle.suite == Suite::Echo)
        .find(|row| row.server == ServerKind::Echo)
        .map(bytes)
    else {
        return Vec::new();
    };
    let is_undercut = |server| {
        let mut bounds = idle.suite.bounds().iter();
        bounds.any(|bound| bound.is_below && bound.other == server)
    };
    let own = (echo > IDLE_BYTES_MAX).then(|| {
        format!("idle: echo takes {echo:.0} bytes per connection, above {IDLE_BYTES_MAX}")
    });
    let others = idle
        .servers
        .iter()
        .filter(|row| is_undercut(row.server) && bytes(row) <= echo);
    let others = others.map(|row| {
        format!(
            "idle: echo takes {echo:.0} bytes per connection, {} only {:.0}",
            row.server,
            bytes(row)
        )
    });
    own.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::super::comparison::{Idle, Load};
    use super::*;
    use crate::kind::ServerKind::RawUring;

    fn breaches_at(connections: u32, echo: f64) -> Vec<String> {
        breaches_beside(
            connections,
            echo,
            &[
                (RawUring, 5.0),
                (ServerKind::Tokio, 5.2),
                (ServerKind::RawEpoll, 6.0),
            ],
        )
    }

    fn breaches_beside(connections: u32, echo: f64, others: &[(ServerKind, f64)]) -> Vec<String> {
        let ours = [(ServerKind::Echo, echo)];
        breaches_among(Suite::Echo, connections, &[&ours, others].concat())
    }

    fn breaches_among(suite: Suite, connections: u32, loads: &[(ServerKind, f64)]) -> Vec<String> {
        let servers: Vec<_> = loads.iter().map(|&(server, _)| server).collect();
        let loads: Vec<_> = loads
            .iter()
            .map(|&(server, cost)| Load::costing(server, cost))
            .collect();
        let cases = vec![Case::of(suite, (connections, 1), &servers, &loads)];
        breaches(&Comparison {
            cases,
            ..Comparison::default()
        })
    }

    #[test]
    fn echo_keeps_near_the_reference_and_below_the_others_or_each_breach_is_told() {
        assert!(breaches_at(100, 5.1).is_empty());
        let near = breaches_at(100, 5.2);
        assert!(
            near.len() == 1 && near[0].contains("1.000 of tokio"),
            "{near:?}"
        );
        let far = breaches_at(1000, 5.5);
        assert!(
            far.len() == 2 && far[0].starts_with("1000 connections: echo takes 1.100 of raw_uring"),
            "{far:?}"
        );
    }

    #[test]
    fn every_runtime_is_to_be_undercut_and_raw_epoll_is_not() {
        for server in [
            ServerKind::Tokio,
            ServerKind::Monoio,
            ServerKind::Glommio,
            ServerKind::GoNetpoller,
        ] {
            assert_eq!(
                breaches_beside(100, 5.0, &[(server, 4.9)]).len(),
                1,
                "{server}"
            );
        }
        assert!(breaches_beside(100, 5.0, &[(ServerKind::RawEpoll, 4.0)]).is_empty());
    }

    #[test]
    fn by_http_and_websocket_each_bound_is_told_when_it_breaks() {
        use ServerKind::{Echo, EpollHttp, HttpEcho, Hyper, TokioWebsocket, WebsocketEcho};
        let http = |ours, hyper| {
            let loads = [(HttpEcho, ours), (EpollHttp, 4.0), (Hyper, hyper)];
            breaches_among(Suite::Http, 100, &loads)
        };
        assert!(http(4.4, 5.6).is_empty());
        assert_eq!(
            http(4.5, 5.0),
            [
                "100 connections: http_echo takes 1.125 of epoll_http, above 1.1",
                "100 connections: http_echo takes 0.900 of hyper, not below 0.8"
            ]
        );
        assert_eq!(http(4.0, 5.0).len(), 1, "0.8 is not below it");
        let websocket = |ours, tokio| {
            let loads = [(WebsocketEcho, ours), (Echo, 4.0), (TokioWebsocket, tokio)];
            breaches_among(Suite::Websocket, 1000, &loads)
        };
        assert!(websocket(4.6, 6.0).is_empty());
        let told = websocket(4.7, 5.0);
        assert!(
            told.len() == 2 && told[0].ends_with("of echo, above 1.15"),
            "{told:?}"
        );
    }

    fn breaches_with(idle: &[(ServerKind, f64)]) -> Vec<String> {
        let servers: Vec<_> = idle.iter().map(|&(server, _)| server).collect();
        let rounds: Vec<_> = idle
            .iter()
            .map(|&(server, bytes)| Idle::taking(server, bytes))
            .collect();
        breaches(&Comparison {
            idle: Some(IdleCase::of(Suite::Echo, 15_000, &servers, &rounds)),
            ..Comparison::default()
        })
    }

    #[test]
    fn an_idle_connection_takes_little_and_less_than_in_any_runtime_or_each_breach_is_told() {
        let raw = (RawUring, 48.0);
        assert!(
            breaches_with(&[(ServerKind::Echo, 160.0), raw, (ServerKind::Tokio, 161.0)]).is_empty()
        );
        assert_eq!(
            breaches_with(&[
                (ServerKind::Echo, 300.0),
                raw,
                (ServerKind::Tokio, 299.0),
                (ServerKind::GoNetpoller, 11_000.0)
            ]),
            [
                "idle: echo takes 300 bytes per connection, above 256",
                "idle: echo takes 300 bytes per connection, tokio only 299"
            ]
        );
        assert!(
            breaches_with(&[raw, (ServerKind::Tokio, 161.0)]).is_empty(),
            "echo was not measured"
        );
    }

    #[test]
    fn few_connections_are_not_judged() {
        assert!(breaches_at(1, 10.0).is_empty());
    }
}
