//! `--assert`: the promises of echo beside the others.

use super::args::CompareArguments;
use super::comparison::{Case, Comparison, IdleCase, IdleRow};
use super::kind::{REFERENCE, ServerKind};
use super::shape::Shape;
use loadtest::error::Error;

/// Of the reference's processor time, echo takes no more than this.
const RATIO_MAX: f64 = 1.05;
/// Servers that it undercuts. Not raw_epoll, which has no runtime: it is there to show the cost of
/// one, as the reference is.
const UNDERCUT: [ServerKind; 4] = [
    ServerKind::Tokio,
    ServerKind::Monoio,
    ServerKind::Glommio,
    ServerKind::GoNetpoller,
];
/// Its memory of an idle connection at most, in bytes.
const IDLE_BYTES_MAX: f64 = 256.0;
/// Fewer connections leave a server waiting most of the time; its cost is then mostly that of
/// falling asleep and waking, and is not judged.
const CONNECTIONS_MIN: u32 = 100;

/// An assertion about nothing would hold, and be believed.
pub(super) fn check(arguments: &CompareArguments, servers: &[ServerKind]) -> Result<(), Error> {
    let large = arguments
        .connections
        .iter()
        .any(|shape| shape.connections >= CONNECTIONS_MIN);
    let measured = |server| servers.contains(&server);
    if !arguments.assert || measured(ServerKind::Echo) && measured(REFERENCE) && large {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "--assert is about echo and {REFERENCE} at {CONNECTIONS_MIN} connections or more: name both \
         in --servers and such a load in --connections"
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
    let others = case
        .servers
        .iter()
        .map(|row| row.server)
        .filter(|&server| server != ServerKind::Echo);
    let ratios =
        others.filter_map(|other| Some((other, case.ratio(ServerKind::Echo, other)?.median)));
    let breach = |(other, ratio): (ServerKind, f64)| match other {
        REFERENCE if ratio > RATIO_MAX => Some(format!(
            "{shape}: echo takes {ratio:.3} of {other}, above {RATIO_MAX}"
        )),
        _ if UNDERCUT.contains(&other) && ratio >= 1.0 => Some(format!(
            "{shape}: echo takes {ratio:.3} of {other}, not less"
        )),
        _ => None,
    };
    ratios.filter_map(breach).collect()
}

fn breaches_at_rest(idle: &IdleCase) -> Vec<String> {
    let bytes = |row: &IdleRow| row.bytes_per_connection.median;
    let Some(echo) = idle
        .servers
        .iter()
        .find(|row| row.server == ServerKind::Echo)
        .map(bytes)
    else {
        return Vec::new();
    };
    let own = (echo > IDLE_BYTES_MAX).then(|| {
        format!("idle: echo takes {echo:.0} bytes per connection, above {IDLE_BYTES_MAX}")
    });
    let others = idle
        .servers
        .iter()
        .filter(|row| UNDERCUT.contains(&row.server) && bytes(row) <= echo);
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

    fn breaches_at(connections: u32, echo: f64) -> Vec<String> {
        breaches_beside(
            connections,
            echo,
            &[
                (REFERENCE, 5.0),
                (ServerKind::Tokio, 5.2),
                (ServerKind::RawEpoll, 6.0),
            ],
        )
    }

    fn breaches_beside(connections: u32, echo: f64, others: &[(ServerKind, f64)]) -> Vec<String> {
        let loads: Vec<_> = [(ServerKind::Echo, echo)]
            .iter()
            .chain(others)
            .copied()
            .collect();
        let servers: Vec<_> = loads.iter().map(|&(server, _)| server).collect();
        let loads: Vec<_> = loads
            .into_iter()
            .map(|(server, cost)| Load::costing(server, cost))
            .collect();
        let cases = vec![Case::of(connections, 1, &servers, &loads)];
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

    fn breaches_with(idle: &[(ServerKind, f64)]) -> Vec<String> {
        let servers: Vec<_> = idle.iter().map(|&(server, _)| server).collect();
        let rounds: Vec<_> = idle
            .iter()
            .map(|&(server, bytes)| Idle::taking(server, bytes))
            .collect();
        breaches(&Comparison {
            idle: Some(IdleCase::of(15_000, &servers, &rounds)),
            ..Comparison::default()
        })
    }

    #[test]
    fn an_idle_connection_takes_little_and_less_than_in_any_runtime_or_each_breach_is_told() {
        let raw = (ServerKind::RawUring, 48.0);
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
