//! From raw settings to checked ones: every value by its entry in the table, then every relation
//! between two of them.

use std::net::SocketAddr;

use super::checked::Config;
use super::checker::Checker;
use super::duration;
use super::keys::{SHARD_CONNECTIONS_MAX, Steer, Upstream, UpstreamTls};
use super::listeners_check;
use super::problem::Fault;
use super::raw::Raw;
use super::section_names::upstream_tls_section;

/// Check everything that was written, and add what is wrong to `faults`. With no fault in it the
/// result is valid.
///
/// `listen` is the application's default address.
pub(super) fn check(raw: &Raw, listen: SocketAddr, faults: &mut Vec<Fault>) -> Config {
    let mut checker = Checker::new(raw, faults);
    let mut config = Config::read(raw, &mut checker);
    if raw.item("server.listen").is_none() {
        config.server.listen = listen;
    }
    connections_contradict(&config, &mut checker);
    cores_contradict(&config, &mut checker);
    listeners_check::contradict(&config, &mut checker);
    queues_contradict(&config, &mut checker);
    unread_contradicts(&config, &mut checker);
    unsent_contradicts(&config, &mut checker);
    pauses_contradict(&config, &mut checker);
    timeouts_contradict(&config, &mut checker);
    for (name, upstream) in config.upstreams.iter() {
        upstream_contradicts(name, upstream, &mut checker);
    }
    for (name, tls) in &config.upstream_tls {
        upstream_tls_contradicts(name, tls, &mut checker);
    }
    outbound_contradict(&config, &mut checker);
    admin_contradicts(&config, &mut checker);
    config
}

/// The connections of the process against those of its shards. What the machine allows is for
/// `preflight` to say.
fn connections_contradict(config: &Config, checker: &mut Checker<'_>) {
    let (server, limits) = (&config.server, &config.limits);
    let (shards, shards_key) = match server.shards {
        0 => (
            server.cpus.len().try_into().unwrap_or(u32::MAX),
            "server.cpus",
        ),
        shards => (shards, "server.shards"),
    };
    let Some(all) = limits.connections_max.filter(|_| shards != 0) else {
        return;
    };
    let all_key = "limits.connections_max";
    if all < shards {
        let what = format!("{all} connections over {shards} shards leave some shard without any");
        let help = "raise limits.connections_max or start fewer shards";
        checker.contradiction(&[all_key, shards_key], what, help);
    }
    let Some(each) = limits.connections_per_shard_max else {
        return;
    };
    let room = shards.saturating_mul(each);
    if all > room {
        let what =
            format!("{all} connections, but {shards} shards of {each} connections hold {room}");
        let keys = [all_key, "limits.connections_per_shard_max", shards_key];
        let help = "lower limits.connections_max, or raise limits.connections_per_shard_max or server.shards";
        checker.contradiction(&keys, what, help);
    }
}

/// A client is steered to the shard of a core, and a shard that is not pinned has none.
fn cores_contradict(config: &Config, checker: &mut Checker<'_>) {
    let server = &config.server;
    if server.steer == Steer::Cpu && !server.is_pinned() {
        let what = "server.steer \"cpu\" gives clients to the shards of cores, but no shard keeps to a core";
        let keys = ["server.steer", "server.pin", "server.cpus"];
        let help = "set server.pin to true, or name the shards' cores in server.cpus";
        checker.contradiction(&keys, what.to_owned(), help);
    }
}

/// One connection's queues against the shard's buffers.
fn queues_contradict(config: &Config, checker: &mut Checker<'_>) {
    let (buffers, limits) = (&config.buffers, &config.limits);
    let (size, queue) = (buffers.size, limits.write_queue_max);
    if size > queue {
        let what = format!(
            "a received chunk of {size} bytes (buffers.size) does not fit a write queue of {queue}"
        );
        let keys = ["limits.write_queue_max", "buffers.size", "buffers.profile"];
        let help = "raise limits.write_queue_max to buffers.size, or lower buffers.size";
        checker.contradiction(&keys, what, help);
    }
    let (count, queue) = (buffers.count, limits.recv_queue_max);
    let half = count / 2;
    if queue > half {
        let what = format!(
            "one connection may hold {queue} of the shard's {count} buffers, which is more than half"
        );
        let keys = ["limits.recv_queue_max", "buffers.count", "buffers.profile"];
        let help = format!("lower limits.recv_queue_max to {half}, or raise buffers.count");
        checker.contradiction(&keys, what, &help);
    }
}

/// What one connection may hold unread against the bound of its shard.
fn unread_contradicts(config: &Config, checker: &mut Checker<'_>) {
    let (size, limits) = (config.buffers.size, &config.limits);
    let queue = limits.recv_queue_max;
    let unread = u64::from(size) * u64::from(queue);
    let unread_max = limits.unread_per_shard_max;
    if let Some(all) = unread_max.filter(|all| u64::from(*all) < unread) {
        let what = format!(
            "one connection may hold {queue} buffers of {size} bytes unread, which is {unread}, but its shard only {all}"
        );
        let keys = [
            "limits.unread_per_shard_max",
            "limits.recv_queue_max",
            "buffers.size",
            "buffers.profile",
        ];
        let help = format!(
            "raise limits.unread_per_shard_max to {unread}, or lower limits.recv_queue_max"
        );
        checker.contradiction(&keys, what, &help);
    }
}

/// What one connection may hold unsent against the bound of its shard.
fn unsent_contradicts(config: &Config, checker: &mut Checker<'_>) {
    let limits = &config.limits;
    let unsent = limits.write_queue_max;
    if let Some(all) = limits.unsent_per_shard_max.filter(|all| *all < unsent) {
        let what = format!(
            "one connection may hold {unsent} bytes unsent (limits.write_queue_max), but its shard only {all}"
        );
        let keys = ["limits.unsent_per_shard_max", "limits.write_queue_max"];
        let help = format!(
            "raise limits.unsent_per_shard_max to {unsent}, or lower limits.write_queue_max"
        );
        checker.contradiction(&keys, what, &help);
    }
}

/// The first pause of accepting against the longest.
fn pauses_contradict(config: &Config, checker: &mut Checker<'_>) {
    let timeouts = &config.timeouts;
    let (least, most) = (timeouts.accept_pause_min, timeouts.accept_pause_max);
    if least > most {
        let (least, most) = (duration::format(least), duration::format(most));
        let what = format!("the first pause of accepting is {least}, the longest {most}");
        let keys = ["timeouts.accept_pause_min", "timeouts.accept_pause_max"];
        let help = format!("set timeouts.accept_pause_max to at least \"{least}\"");
        checker.contradiction(&keys, what, &help);
    }
}

fn timeouts_contradict(config: &Config, checker: &mut Checker<'_>) {
    let timeouts = &config.timeouts;
    let (Some(first_byte), Some(lifetime)) = (timeouts.first_byte, timeouts.lifetime) else {
        return;
    };
    if first_byte > lifetime {
        let (first_byte, lifetime) = (duration::format(first_byte), duration::format(lifetime));
        let what = format!(
            "a connection that lives {lifetime} (timeouts.lifetime) cannot wait {first_byte} for its first byte"
        );
        let keys = ["timeouts.first_byte", "timeouts.lifetime"];
        let help = format!("set timeouts.first_byte to at most \"{lifetime}\"");
        checker.contradiction(&keys, what, &help);
    }
}

/// What one pool keeps against what it may open, and the two ends of its connections.
fn upstream_contradicts(name: &str, upstream: &Upstream, checker: &mut Checker<'_>) {
    let key = |key: &str| format!("upstream.{name}.{key}");
    let (idle, open) = (upstream.idle_max, upstream.connections_max);
    if idle > open {
        let (idle_key, open_key) = (key("idle_max"), key("connections_max"));
        let what =
            format!("{idle} idle connections, but no more than {open} are open ({open_key})");
        let help = "lower idle_max, or raise connections_max";
        checker.contradiction(&[&*idle_key, &*open_key], what, help);
    }
    let addr = upstream.addr;
    if let Some(source) = upstream.source
        && addr.is_ipv4() != source.is_ipv4()
    {
        let (source_key, addr_key) = (key("source"), key("addr"));
        let what = format!("{addr} cannot be reached from {source}: one is IPv4, the other IPv6");
        checker.contradiction(&[&*source_key, &*addr_key], what, "give both of one kind");
    }
}

/// What the TLS of an upstream asks for against the rest of it, and against this program.
fn upstream_tls_contradicts(name: &str, tls: &UpstreamTls, checker: &mut Checker<'_>) {
    let section = upstream_tls_section(name);
    if listeners_check::is_without_tls(&section, checker) {
        return;
    }
    let key = |key: &str| format!("{section}.{key}");
    let (what, help) = match (&tls.certificate, &tls.key) {
        (Some(_), None) => ("a certificate without its key", "name its file in key"),
        (None, Some(_)) => (
            "a key without its certificate",
            "name its file in certificate",
        ),
        _ => return,
    };
    let keys = [key("certificate"), key("key")];
    checker.contradiction(&[&keys[0], &keys[1]], what.to_owned(), help);
}

/// Where the admin server is looked at against where it is steered.
fn admin_contradicts(config: &Config, checker: &mut Checker<'_>) {
    let admin = &config.admin;
    if let Some(listen) = &admin.listen
        && admin.steer_listen.as_ref() == Some(listen)
        && !listen.takes_any_port()
    {
        let what = format!("{listen} is to be listened on twice");
        let help = "leave admin.steer_listen out: a Unix socket serves all, a port only what changes nothing";
        checker.contradiction(&["admin.steer_listen", "admin.listen"], what, help);
    }
}

/// The connections that a shard opens against what its table holds beside the accepted ones.
fn outbound_contradict(config: &Config, checker: &mut Checker<'_>) {
    let (all, most) = (config.outbound_per_shard(), SHARD_CONNECTIONS_MAX / 2);
    if all <= most {
        return;
    }
    let of_upstreams = config.upstreams.keys();
    let of_upstreams = of_upstreams.map(|name| format!("upstream.{name}.connections_max"));
    let keys: Vec<String> = of_upstreams
        .chain(["limits.outbound_per_shard_max".to_owned()])
        .collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let what = format!(
        "a shard is to open {all} connections, its own and those of all upstreams; it has room for {most}"
    );
    let help = "lower connections_max of the upstreams, or limits.outbound_per_shard_max";
    checker.contradiction(&keys, what, help);
}
