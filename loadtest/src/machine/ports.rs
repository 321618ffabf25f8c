//! Local ports. A connection is told from others by both addresses and both ports (tcp(7)), so each
//! pair of addresses has the whole of net.ipv4.ip_local_port_range.

use super::demand::Demand;
use super::facts::{Facts, either, set_sysctl, set_sysctls};
use super::values::PortRange;

/// Ports below it are not for connections, whatever net.ipv4.ip_unprivileged_port_start allows.
const PORT_FIRST_MIN: u16 = 1024;
/// Seconds that a closed connection keeps its port: TCP_TIMEWAIT_LEN in the kernel's
/// include/net/tcp.h.
const TIME_WAIT_S: u64 = 60;

/// More connections than ports: connect(2) would end in EADDRNOTAVAIL.
pub(super) fn shortage(demand: &Demand, facts: &Facts) -> Option<String> {
    let (connections, range, ports) = (demand.connections, facts.port_range?, facts.ports()?);
    let (targets, sources, pairs) = (demand.targets(), demand.sources(), demand.pairs());
    let room = pairs * ports;
    let s = if pairs == 1 { "" } else { "s" };
    let remedies = either([
        widened(demand, facts, |ports| connections <= pairs * ports),
        more_sources(demand, ports),
        (room > 0).then(|| format!("lower to --connections {room}")),
    ]);
    (connections > room).then(|| {
        format!(
            "{connections} connections need as many local ports, {pairs} pair{s} of addresses \
             (destinations {targets} x sources {sources}) have {ports} each \
             (net.ipv4.ip_local_port_range is {range}), {room} in all: {remedies}"
        )
    })
}

/// More than half of a pair's ports. connect(2) tries every second port first (the others are left
/// to bind(2)); when they are gone, each call looks at all of them in vain before it tries the
/// rest. Measured with 28 232 ports: 22 microseconds up to connection 14 116 and 1100 from there
/// on.
pub(super) fn slow_half(demand: &Demand, facts: &Facts) -> Option<String> {
    let ports = facts.ports()?;
    let each = demand.connections.div_ceil(demand.pairs());
    let remedies = either([
        widened(demand, facts, |ports| each <= ports / 2),
        more_sources(demand, ports / 2),
    ]);
    (each > ports / 2 && each <= ports).then(|| {
        format!(
            "{each} connections per pair of addresses take more than half of {ports} ports, \
             connect() is some fifty times slower once every second port is taken: {remedies}"
        )
    })
}

/// How to widen the range as far as the kernel accepts, the server's port kept out of it; none if
/// it is as wide already, or `is_enough` says that those ports would not do either.
fn widened(demand: &Demand, facts: &Facts, is_enough: impl Fn(u64) -> bool) -> Option<String> {
    let present = facts.port_range?;
    let first = facts.port_unprivileged_first.unwrap_or(PORT_FIRST_MIN);
    let range = PortRange {
        first: present.first.min(first.max(PORT_FIRST_MIN)),
        last: u16::MAX,
    };
    let facts = Facts {
        port_range: Some(range),
        ..facts.clone()
    };
    let reserved = reserved(demand, &facts);
    let ports = facts.ports()? - u64::from(reserved.is_some());
    // In this order, so that at no time a connection can take the port.
    let widen = ("net.ipv4.ip_local_port_range", range.to_string());
    let settings: Vec<_> = reserved.into_iter().chain([widen]).collect();
    (range != present && is_enough(ports)).then(|| set_sysctls(&settings))
}

/// The setting that keeps the port of a server on this machine from connections; none if they do
/// not get it anyway.
fn reserved(demand: &Demand, facts: &Facts) -> Option<(&'static str, String)> {
    let (range, reserved) = (facts.port_range?, facts.ports_reserved.as_ref()?);
    let is_free = range.contains(demand.port) && !reserved.contains(demand.port);
    (demand.target_is_local && is_free).then(|| {
        let ports = reserved.with(demand.port).to_string();
        ("net.ipv4.ip_local_reserved_ports", ports)
    })
}

/// So many local addresses that each pair of addresses has no more than `each`.
fn more_sources(demand: &Demand, each: u64) -> Option<String> {
    let room = each.checked_mul(demand.targets());
    let per_source = room.filter(|room| *room > 0)?;
    let sources = demand.connections.div_ceil(per_source);
    Some(format!("name {sources} local addresses (--source)"))
}

/// The server's port among those that connections may get. One that has it, or waits in TIME_WAIT
/// with it, keeps a server from starting there; a listening server is safe.
pub(super) fn listen_port(demand: &Demand, facts: &Facts) -> Option<String> {
    let (port, range) = (demand.port, facts.port_range?);
    let reserve = set_sysctls(&[reserved(demand, facts)?]);
    Some(format!(
        "port {port} lies in net.ipv4.ip_local_port_range, that is {range}, and a connection may \
         take the port while the server is not listening: let the server listen on a port outside \
         of it, or {reserve}"
    ))
}

/// Connections that come and go: each leaves its port in TIME_WAIT, unless the kernel may use it
/// again after a second.
pub(super) fn time_wait(demand: &Demand, facts: &Facts) -> Option<String> {
    let (reuse, ports) = (facts.time_wait_reuse?, demand.pairs() * facts.ports()?);
    let is_on_loopback = demand.targets.iter().all(|target| target.is_loopback());
    let is_reused = reuse == 1 || (reuse == 2 && is_on_loopback);
    let set = set_sysctl("net.ipv4.tcp_tw_reuse", 1);
    (demand.is_storm && !is_reused).then(|| {
        format!(
            "a closed connection keeps its port for {TIME_WAIT_S} s (net.ipv4.tcp_tw_reuse is \
             {reuse}), {ports} ports then last for {} connections per second: {set}, or stay \
             below with --rate",
            ports / TIME_WAIT_S
        )
    })
}
