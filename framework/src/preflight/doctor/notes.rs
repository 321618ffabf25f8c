//! What people should know that is no row.

use crate::config::Config;
use crate::preflight::doctor::host::Host;
use crate::preflight::facts::Facts;
use crate::preflight::limits;

/// What is not a matter of enough or not, or cannot be known here.
pub(super) fn of(config: &Config, facts: &Facts, host: &Host, shards: u32) -> Vec<String> {
    let mut notes = limits::remarks(config, facts, &facts.cores);
    notes.extend(facts.tls.1.iter().cloned());
    let ports = config.ports();
    notes.extend(ports.iter().flat_map(|port| of_port(*port, host)));
    if host.tracked == Some(0)
        && let Some(most) = host.tracked_max
    {
        notes.push(format!(
            "no connection is tracked now; if a rule of the firewall does, {most} is the most \
             (net.netfilter.nf_conntrack_max)"
        ));
    }
    let listeners = config.listeners();
    notes.extend(listeners.iter().map(|listener| {
        let asked = listener.queue.backlog;
        let most = facts.somaxconn.map_or(asked, |most| most.min(asked));
        let whose = match listeners.len() {
            1 => String::new(),
            _ => format!(" of listener {}", listener.name()),
        };
        if listener.is_unix() {
            return format!(
                "the accept queue{whose} holds {most} clients that come at once; who comes beyond that waits \
                 in its connect"
            );
        }
        format!(
            "the accept queue{whose} holds {most} clients of each of {shards} shards that come at once; \
             who comes beyond that asks again after a second"
        )
    }));
    notes
}

fn of_port(port: u16, host: &Host) -> Vec<String> {
    let mut notes = Vec::new();
    if host.ports_taken.contains(&port) {
        notes.push(format!(
            "somebody listens on port {port} now; unless that is this server, a start is refused \
             (`ss -ltnp 'sport = :{port}'` names it)"
        ));
    }
    if let Some((first, last)) = host.local_ports
        && (first..=last).contains(&port)
    {
        notes.push(format!(
            "port {port} lies in net.ipv4.ip_local_port_range ({first} {last}): a connection of \
             this machine may hold it when a server starts; run `sysctl -w \
             net.ipv4.ip_local_reserved_ports={port}`"
        ));
    }
    notes
}
