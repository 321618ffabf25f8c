//! From raw settings to checked ones: every type, range and contradiction, in the order of the
//! sections.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use tracing::Level;

use super::problem::Fault;
use super::raw::{
    Item, Raw, RawBuffers, RawLimits, RawLog, RawServer, RawSocket, RawTimeouts, RawUpstream,
};
use super::value::{Checker, Times, Whole};
use super::{
    Buffers, Config, Keepalive, Limits, Listener, Log, LogFormat, Server, Socket, Timeouts,
    Upstream, admission, duration,
};

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;
const DAY: Duration = Duration::from_secs(86_400);

/// The kernel's bound on one ring's file table (IORING_MAX_FIXED_FILES), and so on one shard's
/// connections.
pub(crate) const SHARD_CONNECTIONS_MAX: u32 = 1 << 20;

// More shards than the largest machines have cores; past it a number is a slip.
const SHARDS: Whole =
    Whole::new("a whole number of shards", 1, 1024).or_zero("one per allowed core");
// Core numbers `sched_setaffinity` takes in its usual form (CPU_SETSIZE).
const CPU: Whole = Whole::new("the number of a core", 0, 1023);
const BACKLOG: Whole = Whole::new("a whole number of connections", 1, 65_535);
const SOCKET_BUFFER: Whole =
    Whole::new("a whole number of bytes", 4 * KIB, 64 * MIB).or_zero("the kernel's own tuning");
// The kernel's bound on TCP_KEEPCNT (MAX_TCP_KEEPCNT).
const KEEPALIVE_COUNT: Whole = Whole::new("a whole number of probes", 1, 127);
// The kernel's bound on TCP_KEEPIDLE and TCP_KEEPINTVL (MAX_TCP_KEEPIDLE), which count seconds.
const KEEPALIVE: Times =
    Times::new(Duration::from_secs(1), Duration::from_secs(32_767)).in_whole_seconds();
// TCP_USER_TIMEOUT is an `int` of milliseconds: 24 days and a bit.
const USER_TIMEOUT: Times =
    Times::new(TIMEOUT_MIN, Duration::from_secs(24 * DAY.as_secs())).or("off");
const BUFFER_SIZE: Whole = Whole::new("a whole number of bytes", 256, MIB);
// The kernel's bound on a ring of provided buffers is 32 768, and it wants a power of two.
const BUFFER_COUNT: Whole = Whole::new("a whole number of buffers", 16, 32_768);
// Deadlines are swept a few times a second; a shorter one would mean nothing.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT: Times = Times::new(TIMEOUT_MIN, Duration::from_secs(365 * DAY.as_secs()));
const TIMEOUT_OR_OFF: Times = TIMEOUT.or("off");
// A longer pause would leave clients waiting for what has long come free.
const ACCEPT_PAUSE: Times = Times::new(TIMEOUT_MIN, Duration::from_secs(3600));
// Sixteen full shards: many times what the addresses of one machine are ever asked to hold.
const CONNECTIONS: Whole = Whole::new(
    "a whole number of connections",
    1,
    16 * SHARD_CONNECTIONS_MAX,
)
.or_zero("what the descriptor limit allows");
const SHARD_CONNECTIONS: Whole =
    Whole::new("a whole number of connections", 1, SHARD_CONNECTIONS_MAX).or_zero("an equal share");
const OUTBOUND: Whole = Whole::new(
    "a whole number of connections",
    0,
    SHARD_CONNECTIONS_MAX / 2,
);
const UPSTREAM_CONNECTIONS: Whole = Whole::new("a whole number of connections", 1, 65_536);
const UPSTREAM_IDLE: Whole = Whole::new("a whole number of connections", 0, 65_536);
const UPSTREAM_WAITING: Whole = Whole::new("a whole number of requests", 0, SHARD_CONNECTIONS_MAX);
const CONNECTS: Whole = Whole::new("a whole number of connects", 1, 1024);
const CONNECTS_WAITING: Whole = Whole::new("a whole number of connects", 0, SHARD_CONNECTIONS_MAX);
const BLOCKING_THREADS: Whole = Whole::new("a whole number of threads", 1, 1024);
const BLOCKING_WAITING: Whole = Whole::new("a whole number of calls", 0, SHARD_CONNECTIONS_MAX);
const ACCEPTS: Whole = Whole::new("a whole number of accepts", 1, 1024);
const RECV_QUEUE: Whole = Whole::new("a whole number of buffers", 1, 1024);
const WRITE_QUEUE: Whole = Whole::new("a whole number of bytes", 4 * KIB, 64 * MIB);
const SHARD_BYTES: Whole =
    Whole::new("a whole number of bytes", 4 * KIB, 2048 * MIB).or_zero("a share of the memory");
// A gigabyte a second is more than one connection is ever asked to keep up.
const RATE: Whole = Whole::new("a whole number of bytes per second", 1, 1024 * MIB).or_zero("off");
const RATE_WINDOW: Times = Times::new(Duration::from_secs(1), Duration::from_secs(3600));
const TURN: Whole = Whole::new("a whole number of completions", 64, 65_536);
const GATHER: Whole = Whole::new("a whole number of completions", 1, 8);
const READS: Whole = Whole::new("a whole number of frames", 1, 65_536);
const ENDED: Whole = Whole::new("a whole number of connections", 1, 65_536);
const UNREADY: Times = Times::new(Duration::from_millis(100), Duration::from_secs(3600)).or("off");
const WATCHDOG: Times = Times::new(Duration::from_millis(10), Duration::from_secs(60)).or("off");
// A shard that has heard nothing for as long as the latter parks.
const SPIN: Times = Times::new(Duration::from_millis(1), Duration::from_millis(50)).or("off");
const LOG_LINES: Whole = Whole::new("a whole number of lines", 1, 1_000_000).or_zero("no bound");
const STATS: Times = Times::new(Duration::from_secs(1), DAY).or("0s");

const PROFILES: [(&str, Buffers); 3] = [
    (
        "small",
        Buffers {
            size: 4 * KIB,
            count: 4096,
        },
    ),
    (
        "medium",
        Buffers {
            size: 16 * KIB,
            count: 2048,
        },
    ),
    (
        "large",
        Buffers {
            size: 64 * KIB,
            count: 512,
        },
    ),
];

const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Check everything that was written, and add what is wrong to `faults`. With no fault in it the
/// result is valid.
///
/// `listen` is the application's default address.
pub(super) fn check(raw: &Raw, listen: SocketAddr, faults: &mut Vec<Fault>) -> Config {
    let mut checker = Checker::new(faults);
    let backlog = Listener::default().backlog;
    let config = Config {
        server: server(&raw.server, listen, &mut checker),
        listener: Listener {
            backlog: checker.whole("listener.backlog", &raw.listener.backlog, &BACKLOG, backlog),
        },
        socket: socket(&raw.socket, &mut checker),
        buffers: buffers(&raw.buffers, &mut checker),
        timeouts: timeouts(&raw.timeouts, &mut checker),
        limits: limits(&raw.limits, &mut checker),
        log: log(&raw.log, &mut checker),
        upstreams: upstreams(&raw.upstream, &mut checker),
    };
    connections_contradict(raw, &config, &mut checker);
    queues_contradict(raw, &config, &mut checker);
    shard_bytes_contradict(raw, &config, &mut checker);
    pauses_contradict(raw, &config, &mut checker);
    timeouts_contradict(raw, &config, &mut checker);
    outbound_contradict(raw, &config, &mut checker);
    config
}

fn server(raw: &RawServer, listen: SocketAddr, checker: &mut Checker<'_>) -> Server {
    Server {
        listen: checker.address("server.listen", &raw.listen, listen),
        shards: checker.whole("server.shards", &raw.shards, &SHARDS, 0),
        cpus: checker.distinct("server.cpus", &raw.cpus, "core", &CPU),
        pin: checker.boolean_or_word("server.pin", &raw.pin, "auto"),
        spin: checker.time_or_none("server.spin", &raw.spin, &SPIN, None),
    }
}

fn socket(raw: &RawSocket, checker: &mut Checker<'_>) -> Socket {
    let default = Socket::default();
    let keepalive = keepalive(raw, checker); // checked even when off: turning it on then brings no surprise
    let on = checker.boolean("socket.keepalive", &raw.keepalive, true);
    let user_timeout = default.user_timeout;
    Socket {
        nodelay: checker.boolean("socket.nodelay", &raw.nodelay, default.nodelay),
        keepalive: on.then_some(keepalive),
        user_timeout: checker.time_or_none(
            "socket.user_timeout",
            &raw.user_timeout,
            &USER_TIMEOUT,
            user_timeout,
        ),
        receive_buffer: checker.whole_or_none(
            "socket.receive_buffer",
            &raw.receive_buffer,
            &SOCKET_BUFFER,
        ),
        send_buffer: checker.whole_or_none("socket.send_buffer", &raw.send_buffer, &SOCKET_BUFFER),
    }
}

fn keepalive(raw: &RawSocket, checker: &mut Checker<'_>) -> Keepalive {
    let Keepalive {
        idle,
        interval,
        count,
    } = Keepalive::default();
    Keepalive {
        idle: checker.time(
            "socket.keepalive_idle",
            &raw.keepalive_idle,
            &KEEPALIVE,
            idle,
        ),
        interval: checker.time(
            "socket.keepalive_interval",
            &raw.keepalive_interval,
            &KEEPALIVE,
            interval,
        ),
        count: checker.whole(
            "socket.keepalive_count",
            &raw.keepalive_count,
            &KEEPALIVE_COUNT,
            count,
        ),
    }
}

fn buffers(raw: &RawBuffers, checker: &mut Checker<'_>) -> Buffers {
    let profile = checker.word(
        "buffers.profile",
        &raw.profile,
        &PROFILES,
        &Buffers::default(),
    );
    Buffers {
        size: checker.whole("buffers.size", &raw.size, &BUFFER_SIZE, profile.size),
        count: checker.power_of_two("buffers.count", &raw.count, &BUFFER_COUNT, profile.count),
    }
}

fn timeouts(raw: &RawTimeouts, checker: &mut Checker<'_>) -> Timeouts {
    let default = Timeouts::default();
    let mut pause = |key, item, default| checker.time(key, item, &ACCEPT_PAUSE, default);
    let accept_pause_min = pause(
        "timeouts.accept_pause_min",
        &raw.accept_pause_min,
        default.accept_pause_min,
    );
    let accept_pause_max = pause(
        "timeouts.accept_pause_max",
        &raw.accept_pause_max,
        default.accept_pause_max,
    );
    let mut or_off = |key, item, default| checker.time_or_none(key, item, &TIMEOUT_OR_OFF, default);
    Timeouts {
        first_byte: or_off("timeouts.first_byte", &raw.first_byte, default.first_byte),
        read: or_off("timeouts.read", &raw.read, default.read),
        request: or_off("timeouts.request", &raw.request, default.request),
        write: or_off("timeouts.write", &raw.write, default.write),
        idle: or_off("timeouts.idle", &raw.idle, default.idle),
        lifetime: or_off("timeouts.lifetime", &raw.lifetime, default.lifetime),
        overload: or_off("timeouts.overload", &raw.overload, default.overload),
        drain: checker.time("timeouts.drain", &raw.drain, &TIMEOUT, default.drain),
        drain_quiet: checker.time(
            "timeouts.drain_quiet",
            &raw.drain_quiet,
            &TIMEOUT,
            default.drain_quiet,
        ),
        close: checker.time("timeouts.close", &raw.close, &TIMEOUT, default.close),
        reclaim: checker.time("timeouts.reclaim", &raw.reclaim, &TIMEOUT, default.reclaim),
        accept_pause_min,
        accept_pause_max,
    }
}

fn limits(raw: &RawLimits, checker: &mut Checker<'_>) -> Limits {
    let default = Limits::default();
    let all = checker.whole_or_none("limits.connections_max", &raw.connections_max, &CONNECTIONS);
    let each = &raw.connections_per_shard_max;
    let each = checker.whole_or_none("limits.connections_per_shard_max", each, &SHARD_CONNECTIONS);
    let unread = checker.whole_or_none(
        "limits.unread_per_shard_max",
        &raw.unread_per_shard_max,
        &SHARD_BYTES,
    );
    let unsent = checker.whole_or_none(
        "limits.unsent_per_shard_max",
        &raw.unsent_per_shard_max,
        &SHARD_BYTES,
    );
    let receive_rate_min =
        checker.whole_or_none("limits.receive_rate_min", &raw.receive_rate_min, &RATE);
    let send_rate_min = checker.whole_or_none("limits.send_rate_min", &raw.send_rate_min, &RATE);
    let rate_window = checker.time(
        "limits.rate_window",
        &raw.rate_window,
        &RATE_WINDOW,
        default.rate_window,
    );
    let mut whole = |key, item, range, default| checker.whole(key, item, range, default);
    Limits {
        connections_max: all,
        connections_per_shard_max: each,
        outbound_per_shard_max: whole(
            "limits.outbound_per_shard_max",
            &raw.outbound_per_shard_max,
            &OUTBOUND,
            default.outbound_per_shard_max,
        ),
        connects_in_flight_max: whole(
            "limits.connects_in_flight_max",
            &raw.connects_in_flight_max,
            &CONNECTS,
            default.connects_in_flight_max,
        ),
        connects_waiting_max: whole(
            "limits.connects_waiting_max",
            &raw.connects_waiting_max,
            &CONNECTS_WAITING,
            default.connects_waiting_max,
        ),
        blocking_threads_per_shard_max: whole(
            "limits.blocking_threads_per_shard_max",
            &raw.blocking_threads_per_shard_max,
            &BLOCKING_THREADS,
            default.blocking_threads_per_shard_max,
        ),
        blocking_waiting_per_shard_max: whole(
            "limits.blocking_waiting_per_shard_max",
            &raw.blocking_waiting_per_shard_max,
            &BLOCKING_WAITING,
            default.blocking_waiting_per_shard_max,
        ),
        accepts_in_flight_max: whole(
            "limits.accepts_in_flight_max",
            &raw.accepts_in_flight_max,
            &ACCEPTS,
            default.accepts_in_flight_max,
        ),
        recv_queue_max: whole(
            "limits.recv_queue_max",
            &raw.recv_queue_max,
            &RECV_QUEUE,
            default.recv_queue_max,
        ),
        write_queue_max: whole(
            "limits.write_queue_max",
            &raw.write_queue_max,
            &WRITE_QUEUE,
            default.write_queue_max,
        ),
        unread_per_shard_max: unread,
        unsent_per_shard_max: unsent,
        receive_rate_min,
        send_rate_min,
        rate_window,
        turn_completions_max: whole(
            "limits.turn_completions_max",
            &raw.turn_completions_max,
            &TURN,
            default.turn_completions_max,
        ),
        gather_completions_max: whole(
            "limits.gather_completions_max",
            &raw.gather_completions_max,
            &GATHER,
            default.gather_completions_max,
        ),
        reads_per_turn_max: whole(
            "limits.reads_per_turn_max",
            &raw.reads_per_turn_max,
            &READS,
            default.reads_per_turn_max,
        ),
        expired_per_turn_max: whole(
            "limits.expired_per_turn_max",
            &raw.expired_per_turn_max,
            &ENDED,
            default.expired_per_turn_max,
        ),
        overloaded_per_look_max: whole(
            "limits.overloaded_per_look_max",
            &raw.overloaded_per_look_max,
            &ENDED,
            default.overloaded_per_look_max,
        ),
        watchdog: checker.time_or_none(
            "limits.watchdog",
            &raw.watchdog,
            &WATCHDOG,
            default.watchdog,
        ),
        unready_after: checker.time_or_none(
            "limits.unready_after",
            &raw.unready_after,
            &UNREADY,
            default.unready_after,
        ),
        admission: admission::check(raw, checker),
    }
}

fn log(raw: &RawLog, checker: &mut Checker<'_>) -> Log {
    let Log {
        level,
        format,
        stats_interval,
        lines_per_reason_max,
    } = Log::default();
    Log {
        level: checker.word("log.level", &raw.level, &LEVELS, &level),
        format: checker.word("log.format", &raw.format, &FORMATS, &format),
        stats_interval: checker.time_or_none(
            "log.stats_interval",
            &raw.stats_interval,
            &STATS,
            stats_interval,
        ),
        lines_per_reason_max: checker.whole(
            "log.lines_per_reason_max",
            &raw.lines_per_reason_max,
            &LOG_LINES,
            lines_per_reason_max,
        ),
    }
}

fn upstreams(
    raw: &BTreeMap<String, Spanned<RawUpstream>>,
    checker: &mut Checker<'_>,
) -> Arc<BTreeMap<String, Upstream>> {
    Arc::new(
        raw.iter()
            .map(|(name, raw)| (name.clone(), upstream(name, raw, checker)))
            .collect(),
    )
}

fn upstream(name: &str, section: &Spanned<RawUpstream>, checker: &mut Checker<'_>) -> Upstream {
    let (key, raw) = (
        |key: &str| format!("upstream.{name}.{key}"),
        section.get_ref(),
    );
    let addr = checker.address_of_other(&key("addr"), &raw.addr, section.span());
    let default = Upstream::at(addr.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into()));
    let (connections_key, idle_key) = (key("connections_max"), key("idle_max"));
    let connections_max = checker.whole(
        &connections_key,
        &raw.connections_max,
        &UPSTREAM_CONNECTIONS,
        default.connections_max,
    );
    let upstream = Upstream {
        source: checker.ip_or_none(&key("source"), &raw.source, "any"),
        connections_max,
        idle_max: checker.whole(&idle_key, &raw.idle_max, &UPSTREAM_IDLE, connections_max),
        waiting_max: checker.whole(
            &key("waiting_max"),
            &raw.waiting_max,
            &UPSTREAM_WAITING,
            default.waiting_max,
        ),
        connect_timeout: checker.time(
            &key("connect_timeout"),
            &raw.connect_timeout,
            &TIMEOUT,
            default.connect_timeout,
        ),
        request_timeout: checker.time_or_none(
            &key("request_timeout"),
            &raw.request_timeout,
            &TIMEOUT_OR_OFF,
            default.request_timeout,
        ),
        idle_timeout: checker.time_or_none(
            &key("idle_timeout"),
            &raw.idle_timeout,
            &TIMEOUT_OR_OFF,
            default.idle_timeout,
        ),
        ..default
    };
    if upstream.idle_max > connections_max {
        let what = format!(
            "{} idle connections, but no more than {connections_max} are open ({connections_key})",
            upstream.idle_max
        );
        let keys = [
            (&*idle_key, &raw.idle_max),
            (&*connections_key, &raw.connections_max),
        ];
        checker.contradiction(&keys, what, "lower idle_max, or raise connections_max");
    }
    if let (Some(addr), Some(source)) = (addr, upstream.source)
        && addr.is_ipv4() != source.is_ipv4()
    {
        let (source_key, addr_key) = (key("source"), key("addr"));
        let what = format!("{addr} cannot be reached from {source}: one is IPv4, the other IPv6");
        let keys = [(&*source_key, &raw.source), (&*addr_key, &raw.addr)];
        checker.contradiction(&keys, what, "give both of one kind");
    }
    upstream
}

/// The connections that a shard opens against what its table holds beside the accepted ones.
fn outbound_contradict(raw: &Raw, config: &Config, checker: &mut Checker<'_>) {
    let most = SHARD_CONNECTIONS_MAX / 2;
    let all = config.outbound_per_shard();
    if all <= most {
        return;
    }
    let of_upstreams = raw.upstream.iter().map(|(name, raw)| {
        (
            format!("upstream.{name}.connections_max"),
            &raw.get_ref().connections_max,
        )
    });
    let own = (
        "limits.outbound_per_shard_max".to_owned(),
        &raw.limits.outbound_per_shard_max,
    );
    let keys: Vec<(String, &Item)> = of_upstreams.chain([own]).collect();
    let keys: Vec<(&str, &Item)> = keys.iter().map(|(key, item)| (&**key, *item)).collect();
    let what = format!(
        "a shard is to open {all} connections, its own and those of all upstreams; it has room for {most}"
    );
    checker.contradiction(
        &keys,
        what,
        "lower connections_max of the upstreams, or limits.outbound_per_shard_max",
    );
}

/// The connections of the process against those of its shards. What the machine allows is for
/// `preflight` to say.
fn connections_contradict(raw: &Raw, config: &Config, checker: &mut Checker<'_>) {
    let (Server { shards, cpus, .. }, limits) = (&config.server, &config.limits);
    let shards = if *shards == 0 {
        u32::try_from(cpus.len()).unwrap_or(u32::MAX)
    } else {
        *shards
    };
    let Some(all) = limits.connections_max.filter(|_| shards != 0) else {
        return;
    };
    let all_key = ("limits.connections_max", &raw.limits.connections_max);
    let each_key = (
        "limits.connections_per_shard_max",
        &raw.limits.connections_per_shard_max,
    );
    let shards_key: (&'static str, &Item) = match config.server.shards {
        0 => ("server.cpus", &raw.server.cpus),
        _ => ("server.shards", &raw.server.shards),
    };
    if all < shards {
        let what = format!("{all} connections over {shards} shards leave some shard without any");
        checker.contradiction(
            &[all_key, shards_key],
            what,
            "raise limits.connections_max or start fewer shards",
        );
    }
    let Some(each) = limits.connections_per_shard_max else {
        return;
    };
    let room = shards.saturating_mul(each);
    if all > room {
        let what =
            format!("{all} connections, but {shards} shards of {each} connections hold {room}");
        let help = "lower limits.connections_max, or raise limits.connections_per_shard_max or server.shards";
        checker.contradiction(&[all_key, each_key, shards_key], what, help);
    }
}

/// One connection's queues against the shard's buffers.
fn queues_contradict(raw: &Raw, config: &Config, checker: &mut Checker<'_>) {
    let (Buffers { size, count }, limits) = (&config.buffers, &config.limits);
    let profile_key = ("buffers.profile", &raw.buffers.profile);
    let (queue, queue_key) = (
        limits.write_queue_max,
        ("limits.write_queue_max", &raw.limits.write_queue_max),
    );
    if *size > queue {
        let what = format!(
            "a received chunk of {size} bytes (buffers.size) does not fit a write queue of {queue}"
        );
        let keys = [queue_key, ("buffers.size", &raw.buffers.size), profile_key];
        checker.contradiction(
            &keys,
            what,
            "raise limits.write_queue_max to buffers.size, or lower buffers.size",
        );
    }
    let (queue, queue_key) = (
        limits.recv_queue_max,
        ("limits.recv_queue_max", &raw.limits.recv_queue_max),
    );
    let half = count / 2;
    if queue > half {
        let what = format!(
            "one connection may hold {queue} of the shard's {count} buffers, which is more than half"
        );
        let keys = [
            queue_key,
            ("buffers.count", &raw.buffers.count),
            profile_key,
        ];
        checker.contradiction(
            &keys,
            what,
            &format!("lower limits.recv_queue_max to {half}, or raise buffers.count"),
        );
    }
}

/// One connection's bounds against those of its shard.
fn shard_bytes_contradict(raw: &Raw, config: &Config, checker: &mut Checker<'_>) {
    let (Buffers { size, .. }, limits) = (&config.buffers, &config.limits);
    let unread = u64::from(*size) * u64::from(limits.recv_queue_max);
    if let Some(all) = limits
        .unread_per_shard_max
        .filter(|all| u64::from(*all) < unread)
    {
        let queue = limits.recv_queue_max;
        let what = format!(
            "one connection may hold {queue} buffers of {size} bytes unread, which is {unread}, but its shard only {all}"
        );
        let keys = [
            (
                "limits.unread_per_shard_max",
                &raw.limits.unread_per_shard_max,
            ),
            ("limits.recv_queue_max", &raw.limits.recv_queue_max),
            ("buffers.size", &raw.buffers.size),
            ("buffers.profile", &raw.buffers.profile),
        ];
        checker.contradiction(
            &keys,
            what,
            &format!(
                "raise limits.unread_per_shard_max to {unread}, or lower limits.recv_queue_max"
            ),
        );
    }
    let unsent = limits.write_queue_max;
    if let Some(all) = limits.unsent_per_shard_max.filter(|all| *all < unsent) {
        let what = format!(
            "one connection may hold {unsent} bytes unsent (limits.write_queue_max), but its shard only {all}"
        );
        let keys = [
            (
                "limits.unsent_per_shard_max",
                &raw.limits.unsent_per_shard_max,
            ),
            ("limits.write_queue_max", &raw.limits.write_queue_max),
        ];
        checker.contradiction(
            &keys,
            what,
            &format!(
                "raise limits.unsent_per_shard_max to {unsent}, or lower limits.write_queue_max"
            ),
        );
    }
}

/// The first pause of accepting against the longest.
fn pauses_contradict(raw: &Raw, config: &Config, checker: &mut Checker<'_>) {
    let Timeouts {
        accept_pause_min: least,
        accept_pause_max: most,
        ..
    } = config.timeouts;
    if least > most {
        let (least, most) = (duration::format(least), duration::format(most));
        let what = format!("the first pause of accepting is {least}, the longest {most}");
        let (min, max) = (
            &raw.timeouts.accept_pause_min,
            &raw.timeouts.accept_pause_max,
        );
        let keys = [
            ("timeouts.accept_pause_min", min),
            ("timeouts.accept_pause_max", max),
        ];
        checker.contradiction(
            &keys,
            what,
            &format!("set timeouts.accept_pause_max to at least \"{least}\""),
        );
    }
}

fn timeouts_contradict(raw: &Raw, config: &Config, checker: &mut Checker<'_>) {
    let (Some(first_byte), Some(lifetime)) = (config.timeouts.first_byte, config.timeouts.lifetime)
    else {
        return;
    };
    if first_byte > lifetime {
        let (first_byte, lifetime) = (duration::format(first_byte), duration::format(lifetime));
        let what = format!(
            "a connection that lives {lifetime} (timeouts.lifetime) cannot wait {first_byte} for its first byte"
        );
        let keys = [
            ("timeouts.first_byte", &raw.timeouts.first_byte),
            ("timeouts.lifetime", &raw.timeouts.lifetime),
        ];
        checker.contradiction(
            &keys,
            what,
            &format!("set timeouts.first_byte to at most \"{lifetime}\""),
        );
    }
}
