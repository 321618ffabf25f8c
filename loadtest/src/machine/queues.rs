//! The queues that packets pass: the listener's and the loopback's, when the server is on this
//! machine, and the connection tracker.

use std::time::Duration;

use super::demand::Demand;
use super::facts::{Facts, set_sysctl};

/// Silence after which some server probes (TCP_KEEPIDLE): Go's default, the shortest among the
/// common ones.
const PROBED_AFTER: Duration = Duration::from_secs(15);

/// net.core.somaxconn cuts every listener's backlog (listen(2)). A connect that finds the queue
/// full is dropped, and tried again by the kernel after a second.
pub(super) fn accept_queue(demand: &Demand, facts: &Facts) -> Option<String> {
    let (somaxconn, in_flight) = (facts.somaxconn?, demand.connects_in_flight_max);
    // Listeners made before the change keep their queue.
    let raise = set_sysctl("net.core.somaxconn", in_flight);
    (demand.target_is_local && in_flight > somaxconn).then(|| {
        format!(
            "{in_flight} connects may be in flight, a listener queues {somaxconn} at most \
             (net.core.somaxconn) and the rest wait a second to try again: add \
             --connects-in-flight {somaxconn}, or {raise}, before the server starts"
        )
    })
}

/// net.ipv4.tcp_max_syn_backlog bounds the handshakes half done, and only while SYN cookies are
/// off: then new ones are dropped once three quarters of it are taken.
pub(super) fn half_open(demand: &Demand, facts: &Facts) -> Option<String> {
    let (backlog, in_flight) = (facts.syn_backlog_max?, demand.connects_in_flight_max);
    let usable = backlog - backlog / 4;
    let is_bound = demand.target_is_local && facts.syncookies? == 0;
    let raise = set_sysctl("net.ipv4.tcp_max_syn_backlog", in_flight.div_ceil(3) * 4);
    (is_bound && in_flight > usable).then(|| {
        format!(
            "{in_flight} connects may be in flight, without SYN cookies {usable} handshakes are \
             let in (net.ipv4.tcp_max_syn_backlog is {backlog}): add --connects-in-flight \
             {usable}, or {raise}"
        )
    })
}

/// The connection tracker, where the module is loaded. It drops what it has no entry for, but it
/// looks at packets only if some firewall rule asks it to: hence a warning. Over the loopback too a
/// connection is one entry.
pub(super) fn conntrack(demand: &Demand, facts: &Facts) -> Option<String> {
    let (connections, max) = (demand.connections, facts.conntrack_max?);
    let tracked = facts.conntrack_count.unwrap_or(0);
    let need = connections + tracked;
    let raise = set_sysctl("net.netfilter.nf_conntrack_max", need);
    (need > max).then(|| {
        format!(
            "{connections} connections and {tracked} tracked already need {need} entries of the \
             tracker, net.netfilter.nf_conntrack_max is {max} and, if a firewall rule uses it, \
             the rest is dropped: {raise}"
        )
    })
}

/// Keepalive probes. The kernel rounds distant timers, so that those of seconds, or minutes, go off
/// in one go (kernel/time/timer.c); each puts a packet into the loopback's queue of its core, which
/// is not emptied before the last of them. A probe that is dropped is sent again with the same
/// others, so that a connection may lose all of its probes. Measured on two cores, 9 000
/// connections probed after 20 s: 5 900 of the first probes dropped, and then a thousand fewer per
/// core each time. The load tester itself sends none.
pub(super) fn probes(demand: &Demand, facts: &Facts) -> Option<String> {
    let (backlog, connections) = (facts.netdev_backlog_max?, demand.connections);
    let is_probed = demand.target_is_local && demand.silence >= PROBED_AFTER;
    let raise = set_sysctl("net.core.netdev_max_backlog", connections);
    (is_probed && connections > backlog).then(|| {
        format!(
            "{connections} connections are silent for {} s, and a server with keepalive may probe \
             them in one burst, a core's loopback queue drops all but {backlog} packets of it \
             (net.core.netdev_max_backlog) and who loses every probe is closed: let the server \
             not probe (Corelane: socket.keepalive = false), or {raise}",
            demand.silence.as_secs()
        )
    })
}
