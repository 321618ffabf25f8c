//! Local ports. A connection is told from others by both addresses and both ports (tcp(7)), so each
//! pair of addresses has the whole of net.ipv4.ip_local_port_range.

use super::change::{Change, Goal, remedy};
use super::facts::PortRange;
use super::{Demand, Facts, Problem, sysctl};

/// Ports below it are not for connections, whatever net.ipv4.ip_unprivileged_port_start allows.
const PORT_FIRST_MIN: u16 = 1024;
/// Seconds that a closed connection keeps its port: TCP_TIMEWAIT_LEN in the kernel's
/// include/net/tcp.h.
const TIME_WAIT_S: u64 = 60;

/// More connections than ports: connect(2) would end in EADDRNOTAVAIL.
pub(super) fn shortage(demand: &Demand, facts: &Facts) -> Option<Problem> {
    let (connections, pairs, ports) = (
        u64::from(demand.connections),
        demand.pairs(),
        facts.ports()?,
    );
    let room = pairs * ports;
    if connections <= room {
        return None;
    }
    let widened = wider(demand, facts)
        .filter(|(_, ports)| connections <= pairs * ports)
        .map(|(changes, _)| changes);
    let changes = widened.unwrap_or_default();
    let widen = (!changes.is_empty()).then(|| remedy(&changes));
    let fewer = (room > 0).then(|| format!("lower to --connections {room}"));
    let remedies: Vec<String> = [widen, more_sources(demand, ports), fewer]
        .into_iter()
        .flatten()
        .collect();
    let problem = Problem::new(
        format!("{connections} connections need as many local ports"),
        format!(
            "{} have {ports} each ({}), {room} in all",
            pairs_in_words(demand),
            range_in_words(facts)
        ),
        remedies.join(", or "),
    );
    Some(problem.with(changes))
}

/// More than half of a pair's ports. connect(2) tries every second port first (the others are left
/// to bind(2)); when they are gone, each call looks at all of them in vain before it tries the
/// rest. Measured with 28 232 ports: 22 microseconds up to connection 14 116 and 1100 from there
/// on.
pub(super) fn slow_half(demand: &Demand, facts: &Facts) -> Option<Problem> {
    let ports = facts.ports()?;
    let each = u64::from(demand.connections).div_ceil(demand.pairs());
    if each <= ports / 2 || each > ports {
        return None;
    }
    let widened = wider(demand, facts)
        .filter(|(_, ports)| each <= ports / 2)
        .map(|(changes, _)| changes);
    let changes = widened.unwrap_or_default();
    let widen = (!changes.is_empty()).then(|| remedy(&changes));
    let remedies: Vec<String> = [widen, more_sources(demand, ports / 2)]
        .into_iter()
        .flatten()
        .collect();
    let problem = Problem::new(
        format!("{each} connections per pair of addresses take more than half of {ports} ports"),
        "connect() is some fifty times slower once every second port is taken",
        remedies.join(", or "),
    );
    Some(problem.with(changes))
}

/// The widest range that the kernel accepts, the server's port kept out of it, and the ports it
/// would have. `None` if the range is as wide already.
fn wider(demand: &Demand, facts: &Facts) -> Option<(Vec<Change>, u64)> {
    let first = facts
        .port_unprivileged_first
        .unwrap_or(PORT_FIRST_MIN)
        .max(PORT_FIRST_MIN);
    let range = PortRange {
        first,
        last: u16::MAX,
    };
    let present = facts.port_range?;
    let widen = Change::new(sysctl::PORT_RANGE, Goal::PortsFrom(range), present)?;
    let range = present.joined(range);
    let facts = Facts {
        port_range: Some(range),
        ..facts.clone()
    };
    let ports = facts.ports()?;
    let is_endangered = demand.target_is_local && range.contains(demand.port);
    // In this order, so that at no time a connection can take the port.
    match is_endangered
        .then(|| reserve(demand.port, &facts))
        .flatten()
    {
        Some(reserve) => Some((vec![reserve, widen], ports.saturating_sub(1))),
        None => Some((vec![widen], ports)),
    }
}

fn reserve(port: u16, facts: &Facts) -> Option<Change> {
    let reserved = facts.ports_reserved.as_ref()?;
    Change::new(sysctl::PORTS_RESERVED, Goal::PortReserved(port), reserved)
}

/// So many local addresses that each pair of addresses has no more than `each`.
fn more_sources(demand: &Demand, each: u64) -> Option<String> {
    let per_source = each
        .checked_mul(demand.targets.len().max(1) as u64)
        .filter(|room| *room > 0)?;
    let sources = u64::from(demand.connections).div_ceil(per_source);
    Some(format!("name {sources} local addresses (--source)"))
}

fn pairs_in_words(demand: &Demand) -> String {
    let (targets, sources) = (demand.targets.len().max(1), demand.sources.len().max(1));
    let pairs = if targets * sources == 1 {
        "pair"
    } else {
        "pairs"
    };
    format!(
        "{} {pairs} of addresses (destinations {targets} x sources {sources})",
        targets * sources
    )
}

fn range_in_words(facts: &Facts) -> String {
    let range = facts
        .port_range
        .map(|range| format!("{} is {range}", sysctl::PORT_RANGE));
    range.unwrap_or_default()
}

/// The server's port among those that connections may get. One that has it, or waits in TIME_WAIT
/// with it, keeps a server from starting there; a listening server is safe.
pub(super) fn listen_port(demand: &Demand, facts: &Facts) -> Option<Problem> {
    let range = facts
        .port_range
        .filter(|range| demand.target_is_local && range.contains(demand.port))?;
    let changes = vec![reserve(demand.port, facts)?];
    let problem = Problem::new(
        format!("port {} lies in {}", demand.port, sysctl::PORT_RANGE),
        format!(
            "that is {range}, and a connection may take the port while the server is not listening"
        ),
        format!(
            "let the server listen on a port outside of it, or {}",
            remedy(&changes)
        ),
    );
    Some(problem.with(changes))
}

/// Connections that come and go: each leaves its port in TIME_WAIT, unless the kernel may use it
/// again after a second.
pub(super) fn time_wait(demand: &Demand, facts: &Facts) -> Option<Problem> {
    let mode = facts.time_wait_reuse?;
    let reused =
        mode == 1 || (mode == 2 && demand.targets.iter().all(|target| target.is_loopback()));
    if reused || !demand.is_storm {
        return None;
    }
    let ports = demand.pairs() * facts.ports()?;
    let changes = vec![Change::new(sysctl::TIME_WAIT_REUSE, Goal::Set(1), mode)?];
    let problem = Problem::new(
        format!(
            "a closed connection keeps its port for {TIME_WAIT_S} s (net.ipv4.tcp_tw_reuse is {mode})"
        ),
        format!(
            "{ports} ports then last for {} connections per second",
            ports / TIME_WAIT_S
        ),
        format!("{}, or stay below with --rate", remedy(&changes)),
    );
    Some(problem.with(changes))
}
