//! The rows of the network: what the kernel cuts, ports, tracked connections.

use std::io;

use crate::config::{Config, Endpoint, ListenerSettings, Upstream};
use crate::preflight::doctor::host::Host;
use crate::preflight::doctor::resource::{Resource, State};
use crate::preflight::facts::Facts;
use crate::preflight::problem::Problem;
use crate::preflight::{limits, port};
use crate::tls::{self, Examined, FileProblem};

/// From where on a port is a connection's to take: what `ip_local_port_range` can be widened to.
const PORTS: (u16, u16) = (1024, 65_535);

pub(super) fn kernel_bound_rows(config: &Config, facts: &Facts) -> impl Iterator<Item = Resource> {
    let bounds = limits::kernel_bounds(config, facts).into_iter();
    bounds.filter_map(|bound| {
        let (asked, have) = (bound.asked?.into(), bound.most.map(u64::from));
        let remedy = bound.remedy().unwrap_or_default();
        let limit = format!("sysctl {}", bound.sysctl);
        let row = Resource::counted(bound.key, [asked, 1], have, limit, || remedy);
        Some(match row.state {
            State::Short => Resource {
                state: State::Cut,
                ..row
            },
            _ => row,
        })
    })
}

/// Of each listener of TCP.
pub(super) fn port_rows(config: &Config, host: &Host) -> Vec<Resource> {
    let listeners = config.listeners();
    let rows = listeners
        .iter()
        .filter_map(|listener| port_row(listener, host));
    rows.collect()
}

fn port_row(listener: &ListenerSettings, host: &Host) -> Option<Resource> {
    let Endpoint::Tcp(listen) = listener.bind.listen else {
        return None;
    };
    let from = host.free_ports_from?;
    let may = listen.port() == 0 || listen.port() >= from || host.may_take_any_port;
    let refused = io::Error::from(io::ErrorKind::PermissionDenied);
    let words = [
        format!("port {}", listen.port()),
        match host.may_take_any_port {
            true => "any port".to_owned(),
            false => format!("from {from}"),
        },
        "sysctl net.ipv4.ip_unprivileged_port_start".to_owned(),
    ];
    let problem: Option<Problem> = (!may).then(|| port::problem(listener, &refused));
    Some(Resource::judged(&listener.key("listen"), words, problem))
}

/// The files of each listener and each upstream with TLS.
pub(super) fn tls_rows(config: &Config) -> Vec<Resource> {
    tls::examine(config).iter().map(tls_row).collect()
}

fn tls_row(examined: &Examined) -> Resource {
    let until = examined.expires_on.as_ref();
    let words = [
        examined.keys.to_owned(),
        until.map_or_else(|| "-".to_owned(), |day| format!("until {day}")),
        "files".to_owned(),
    ];
    let problems = examined.problems.iter();
    let told: Vec<String> = problems.map(FileProblem::to_string).collect();
    let problem = (!told.is_empty()).then(|| told.join("; "));
    Resource::judged(&examined.section, words, problem)
}

/// A connection to an upstream takes a port of the local address.
pub(super) fn upstream_rows(config: &Config, host: &Host, shards: u32) -> Vec<Resource> {
    let Some((first, last)) = host.local_ports else {
        return Vec::new();
    };
    let have = u64::from(last.saturating_sub(first)) + 1;
    let upstreams = config.upstreams.iter();
    let row = |(name, upstream): (&String, &Upstream)| {
        let need = u64::from(shards) * u64::from(upstream.connections_max);
        let limit = "sysctl net.ipv4.ip_local_port_range, one address to another";
        let remedy = || {
            let key = format!("upstream.{name}.connections_max");
            let (from, to) = PORTS;
            format!(
                "run `sysctl -w net.ipv4.ip_local_port_range=\"{from} {to}\"`, or lower {key} to {}",
                have / u64::from(shards)
            )
        };
        Resource::counted(
            format!("ports to {name}"),
            [need, 1],
            Some(have),
            limit,
            remedy,
        )
    };
    upstreams.map(row).collect()
}

/// Where a firewall tracks connections each has an entry, and packets of one without are dropped.
pub(super) fn tracking_row(
    config: &Config,
    host: &Host,
    shards: u32,
    connections: u32,
) -> Option<Resource> {
    let (most, tracked) = (host.tracked_max?, host.tracked.filter(|count| *count > 0)?);
    let beside = u64::from(shards) * u64::from(config.beside_per_shard());
    let need = u64::from(connections) + beside;
    let have = most.saturating_sub(tracked);
    let key = "net.netfilter.nf_conntrack_max";
    let limit = format!("sysctl {key}, {tracked} are tracked");
    let ports = config.ports().into_iter().map(|port| port.to_string());
    let ports = ports.collect::<Vec<_>>().join(", ");
    let remedy = || {
        format!(
            "run `sysctl -w {key}={}`, or have the firewall leave port {ports} alone (notrack)",
            tracked + need
        )
    };
    let row = Resource::counted("tracked connections", [need, 1], Some(have), limit, remedy);
    Some(row.carrying(Some(have.saturating_sub(beside))))
}
