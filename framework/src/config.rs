//! Settings: where they come from, and the checked form on which the server runs.
//!
//! An operator's text goes through three stages, one file each: `document` reads it and remembers
//! where every value stood, `raw` holds what was written, of whatever type, and `check` turns that
//! into a [`Config`] or into the list of everything wrong with it. Only a [`Config`] reaches the
//! server.

mod admission;
mod check;
mod defaults;
mod document;
mod duration;
mod names;
mod problem;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod raw;
mod value;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::Level;

pub(crate) use self::admission::{Admission, OnFull};
pub(crate) use self::check::SHARD_CONNECTIONS_MAX;
pub(crate) use self::duration::format as format_duration;
use self::names::Known;
pub(crate) use self::problem::Problem;
use self::problem::{Fault, Sources};
use self::raw::Raw;

/// The name of [`AppSettings`] in the files of this folder.
use AppSettings as Settings;

/// The settings a program runs on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Loaded<S> {
    /// The framework's own.
    pub config: Config,
    /// The application's, from `[app]`.
    pub app: S,
}

/// Read the settings: the built-in defaults, then the application's, then the file, then each `--set section.key=VALUE` in
/// order.
///
/// # Errors
/// Everything that is wrong with them, in the order in which it was written.
pub(crate) fn load<S: AppSettings>(
    file: Option<&Path>,
    sets: &[String],
) -> Result<Loaded<S>, Vec<Problem>> {
    let name = file
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let text = file
        .map(document::read_file)
        .transpose()
        .map_err(|problem| vec![problem])?;
    let sets = [&*defaults::below(text.as_deref(), S::DEFAULTS), sets].concat();
    load_from(text.as_deref().map(|text| (name.as_str(), text)), &sets)
}

/// [`load`], with the file's name and text.
pub(crate) fn load_from<S: AppSettings>(
    file: Option<(&str, &str)>,
    sets: &[String],
) -> Result<Loaded<S>, Vec<Problem>> {
    let sources = Sources::new(file, sets);
    let mut faults = Vec::new();
    let readable = document::blank_mistakes(file.map_or("", |(_, text)| text), &mut faults);
    let loaded = read::<S>(&sources, &readable, &mut faults);
    if faults.is_empty() {
        Ok(loaded)
    } else {
        Err(sources.resolve(faults))
    }
}

fn read<'i, S: Settings>(
    sources: &Sources<'i>,
    readable: &'i str,
    faults: &mut Vec<Fault>,
) -> Loaded<S> {
    let written = document::parse(sources, readable, faults);
    let mut written = document::strike_unknown(written, &Known::of::<S>(), faults);
    let app = app(&written, faults);
    written.remove("app");
    let raw: Raw = document::deserialise(written, "", faults);
    let listen = S::LISTEN
        .parse()
        .expect("AppSettings::LISTEN is an IP address and a port");
    Loaded {
        config: check::check(&raw, listen, faults),
        app,
    }
}

fn app<S: AppSettings>(written: &document::Table<'_>, faults: &mut Vec<Fault>) -> S {
    let table = written.get("app").and_then(|app| app.get_ref().as_table());
    let app: S = table.map_or_else(S::default, |table| {
        document::deserialise(table.clone(), "app", faults)
    });
    let check = app.check().into_iter().map(|(key, what)| {
        let at = document::place_of(written, "app", key);
        Fault {
            at,
            key: format!("app.{key}"),
            what,
            help: None,
        }
    });
    faults.extend(check);
    app
}

impl<S: AppSettings> Loaded<S> {
    /// These settings as a file that [`load`] reads back to the same settings, every key named.
    pub(crate) fn to_toml(&self) -> String {
        let ours = toml::to_string(&Raw::from(&self.config))
            .expect("numbers, texts and lists of them are TOML");
        match toml::Table::try_from(&self.app) {
            Ok(app) if app.is_empty() => ours,
            Ok(app) => format!(
                "{ours}\n{}",
                toml::Table::from_iter([("app".to_owned(), app.into())])
            ),
            // An application's settings may hold what TOML cannot, for example a unit type: nothing
            // could set it either.
            Err(error) => format!(
                "{ours}\n# [app] cannot be written as TOML: {}\n",
                error.to_string().escape_debug()
            ),
        }
    }
}

/// The application's own `[app]` section, and its identity.
///
/// Derive `Serialize` and `Deserialize`, with `#[serde(default)]` on the type so that every key may
/// be left out.
pub trait AppSettings:
    serde::Serialize + serde::de::DeserializeOwned + Default + Send + Sync + 'static
{
    /// The program's name as it stands in `--help`, `--version` and messages.
    const NAME: &'static str;
    /// One line for `--help`.
    const ABOUT: &'static str;
    /// Default of `server.listen`, for example `"127.0.0.1:7007"`.
    const LISTEN: &'static str;
    /// The application's own defaults of the framework's keys, as a settings file has them: what
    /// an operator writes is over them. A mistake in them refuses every start.
    ///
    /// ```
    /// # #[derive(Default, serde::Serialize, serde::Deserialize)]
    /// # struct ChatSettings {}
    /// impl corelane::AppSettings for ChatSettings {
    ///     const NAME: &'static str = "chat";
    ///     const ABOUT: &'static str = "Passes on what people say";
    ///     const LISTEN: &'static str = "127.0.0.1:7008";
    ///     const DEFAULTS: &'static str = "
    ///         [timeouts]
    ///         idle = '1h'
    ///     ";
    /// }
    /// ```
    const DEFAULTS: &'static str = "";

    /// What is wrong with the values themselves, as (key within `[app]`, what is wrong). Empty:
    /// nothing.
    fn check(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
}

/// Checked settings: every value in its range, no two in contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Config {
    /// Where to listen, and on how many cores.
    pub server: Server,
    /// The queue of connections the kernel holds for us.
    pub listener: Listener,
    /// Options every accepted socket inherits.
    pub socket: Socket,
    /// Each shard's receive buffers.
    pub buffers: Buffers,
    /// How long a peer may keep us waiting.
    pub timeouts: Timeouts,
    /// How much one process, shard or connection may hold.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: Log,
    /// Servers that handlers ask, by the operator's names. Shared with every shard's context.
    pub upstreams: Arc<BTreeMap<String, Upstream>>,
}

impl Config {
    /// Connections that one shard may open: those of handlers, and all of every pool.
    pub(crate) fn outbound_per_shard(&self) -> u32 {
        let pools = self
            .upstreams
            .values()
            .map(|upstream| upstream.connections_max);
        pools.fold(self.limits.outbound_per_shard_max, u32::saturating_add)
    }

    /// Places of one shard's table beside those of the clients that it serves.
    pub(crate) fn beside_per_shard(&self) -> u32 {
        self.outbound_per_shard()
            .saturating_add(self.spare_per_shard())
    }

    /// Places of one shard's table for those who are accepted and not, or not yet, served: no more
    /// of them than are accepted at a time.
    pub(crate) fn spare_per_shard(&self) -> u32 {
        if self.limits.admission.has_spare_places() {
            self.limits.accepts_in_flight_max
        } else {
            0
        }
    }
}

/// `[server]`: where to listen, and on how many cores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// Address and port; port 0 lets the kernel choose one.
    pub listen: SocketAddr,
    /// Number of shards; 0 means one per allowed core.
    pub shards: u32,
    /// Cores to run on, none named twice; empty means every allowed core.
    pub cpus: Vec<usize>,
    /// Whether each shard keeps to one core; `None`: "auto".
    pub pin: Option<bool>,
    /// How long a shard without work polls its ring before it sleeps; `None`: it sleeps at once.
    pub spin: Option<Duration>,
}

impl Server {
    /// Whether each shard keeps to one core. "auto" does where the operator has said which cores:
    /// they are the shards' then. Elsewhere other programs run on the same cores, and a thread that
    /// may not leave its own waits behind them while the next one idles.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pin.unwrap_or(!self.cpus.is_empty())
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7007)),
            shards: 0,
            cpus: Vec::new(),
            pin: None,
            spin: None,
        }
    }
}

/// `[listener]`: the queue of connections the kernel holds for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Connections that may wait in the kernel, per shard. The kernel cuts it to
    /// `net.core.somaxconn`.
    pub backlog: u32,
}

impl Default for Listener {
    fn default() -> Self {
        Self { backlog: 4096 }
    }
}

/// `[socket]`: options set on the listener, which every accepted socket inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Socket {
    /// TCP_NODELAY: send small segments at once.
    pub nodelay: bool,
    /// Probing of idle connections; `None` when off.
    pub keepalive: Option<Keepalive>,
    /// TCP_USER_TIMEOUT: how long sent data may stay unacknowledged; `None` leaves it to the
    /// kernel's retries.
    pub user_timeout: Option<Duration>,
    /// SO_RCVBUF in bytes; `None` leaves the kernel's own tuning on.
    pub receive_buffer: Option<u32>,
    /// SO_SNDBUF in bytes; `None` leaves the kernel's own tuning on.
    pub send_buffer: Option<u32>,
}

impl Default for Socket {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(Keepalive::default()),
            // Not below what keepalive grants: the kernel ends an idle connection by this one
            // (tcp(7)), at the first lost probe past it.
            user_timeout: Some(Duration::from_secs(120)),
            receive_buffer: None,
            send_buffer: None,
        }
    }
}

/// TCP keepalive (tcp(7)). An idle peer that vanished is found after `idle + interval * count`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keepalive {
    /// Silence before the first probe, in whole seconds.
    pub idle: Duration,
    /// Time between probes, in whole seconds.
    pub interval: Duration,
    /// Unanswered probes that end the connection.
    pub count: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            interval: Duration::from_secs(10),
            count: 6,
        }
    }
}

/// `[buffers]`: each shard's receive buffers. An idle connection owns none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buffers {
    /// Bytes per buffer, and so the longest chunk a handler is given.
    pub size: u32,
    /// Buffers per shard, a power of two.
    pub count: u32,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            size: 4096,
            count: 4096,
        }
    }
}

/// `[timeouts]`: how long a peer may keep us waiting; `None` is "off".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// From accept to the first byte.
    pub first_byte: Option<Duration>,
    /// From a frame's first byte to its last.
    pub read: Option<Duration>,
    /// From a request's first byte until its handler reads on.
    pub request: Option<Duration>,
    /// How long output may wait for a peer that does not read.
    pub write: Option<Duration>,
    /// Silence between frames.
    pub idle: Option<Duration>,
    /// Age at which a connection is closed whatever it does.
    pub lifetime: Option<Duration>,
    /// How long a shard may be out of room for its connections' bytes before it closes the
    /// greediest.
    pub overload: Option<Duration>,
    /// How long a stopping server lets connections finish.
    pub drain: Duration,
    /// How long a stopping server still listens to a connection that is silent.
    pub drain_quiet: Duration,
    /// How long a finished connection waits for the peer's FIN.
    pub close: Duration,
    /// How long a peer may be silent before it makes room for another, where
    /// `limits.admission.reclaim` is on.
    pub reclaim: Duration,
    /// The first pause of accepting when the machine is out of descriptors or memory, and the
    /// longest.
    pub accept_pause_min: Duration,
    pub accept_pause_max: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Some(Duration::from_secs(30)),
            read: Some(Duration::from_secs(30)),
            request: None,
            write: Some(Duration::from_secs(30)),
            idle: Some(Duration::from_secs(300)),
            lifetime: None,
            overload: Some(Duration::from_secs(1)),
            drain: Duration::from_secs(10),
            drain_quiet: Duration::from_millis(250),
            close: Duration::from_secs(2),
            reclaim: Duration::from_millis(250),
            accept_pause_min: Duration::from_millis(100),
            accept_pause_max: Duration::from_millis(1600),
        }
    }
}

/// `[limits]`: how much one process, shard or connection may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Connections of the whole process; `None` means what the descriptor limit allows.
    pub connections_max: Option<u32>,
    /// Connections of one shard; `None` means an equal share of `connections_max`.
    pub connections_per_shard_max: Option<u32>,
    /// Connections that one shard may open itself.
    pub outbound_per_shard_max: u32,
    /// Connects of a shard that are on their way at the same time.
    pub connects_in_flight_max: u32,
    /// Connects of a shard that wait until they may be on their way.
    pub connects_waiting_max: u32,
    /// Threads of one shard for what handlers give to `unblock`.
    pub blocking_threads_per_shard_max: u32,
    /// Calls of `unblock` of one shard that wait for such a thread.
    pub blocking_waiting_per_shard_max: u32,
    /// Accepts a shard keeps posted to the kernel, and so the most that a turn accepts.
    pub accepts_in_flight_max: u32,
    /// Unread receive buffers one connection may hold.
    pub recv_queue_max: u32,
    /// Bytes of output one connection may hold.
    pub write_queue_max: u32,
    /// Bytes received and not read that one shard may hold; `None` means a share of the memory.
    pub unread_per_shard_max: Option<u32>,
    /// Bytes written and not sent that one shard may hold; `None` means a share of the memory.
    pub unsent_per_shard_max: Option<u32>,
    /// Bytes per second of a request that has begun; `None`: as few as it likes.
    pub receive_rate_min: Option<u32>,
    /// Bytes per second that a peer takes of what it is sent; `None`: as few as it likes.
    pub send_rate_min: Option<u32>,
    /// The time over which these rates are measured.
    pub rate_window: Duration,
    /// Completions a shard handles before it lets its tasks run.
    pub turn_completions_max: u32,
    /// Completions that a shard under dense traffic waits for before it runs; no more than an
    /// eighth of the connections that speak.
    pub gather_completions_max: u32,
    /// Frames and chunks that a handler reads in a turn.
    pub reads_per_turn_max: u32,
    /// Connections that a turn ends because their deadlines have passed.
    pub expired_per_turn_max: u32,
    /// Connections that a shard out of room closes at one look.
    pub overloaded_per_look_max: u32,
    /// A handler that keeps its shard busy this long is reported; `None` when off.
    pub watchdog: Option<Duration>,
    /// A shard that does not move on for this long makes the server unready; `None` when off.
    pub unready_after: Option<Duration>,
    /// Who is let in.
    pub admission: Admission,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: None,
            connections_per_shard_max: None,
            outbound_per_shard_max: 0,
            connects_in_flight_max: 64,
            connects_waiting_max: 65_536,
            blocking_threads_per_shard_max: 16,
            blocking_waiting_per_shard_max: 1024,
            accepts_in_flight_max: 16,
            recv_queue_max: 8,
            write_queue_max: 256 * 1024,
            unread_per_shard_max: None,
            unsent_per_shard_max: None,
            receive_rate_min: None,
            send_rate_min: None,
            rate_window: Duration::from_secs(10),
            turn_completions_max: 1024,
            gather_completions_max: 8,
            reads_per_turn_max: 128,
            expired_per_turn_max: 4,
            overloaded_per_look_max: 256,
            watchdog: Some(Duration::from_millis(100)),
            unready_after: Some(Duration::from_secs(1)),
            admission: Admission::default(),
        }
    }
}

/// `[upstream.NAME]`: a server that handlers ask, and each shard's pool of connections to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// Address and port.
    pub addr: SocketAddr,
    /// The local address to connect from; `None`: the kernel's choice.
    pub source: Option<IpAddr>,
    /// Open connections of one shard, idle ones included.
    pub connections_max: u32,
    /// Idle connections of one shard; no more than `connections_max`.
    pub idle_max: u32,
    /// Requests of one shard that wait for a connection.
    pub waiting_max: u32,
    /// How long a connect may take, and how long a request waits for a connection in use.
    pub connect_timeout: Duration,
    /// How long a request may have a connection; `None`: as long as it likes.
    pub request_timeout: Option<Duration>,
    /// How long a connection is kept that nobody uses; `None`: until the upstream closes it.
    pub idle_timeout: Option<Duration>,
}

impl Upstream {
    const CONNECTIONS_MAX: u32 = 8;

    /// The defaults of an upstream at that address.
    pub(crate) fn at(addr: SocketAddr) -> Self {
        Self {
            addr,
            source: None,
            connections_max: Self::CONNECTIONS_MAX,
            idle_max: Self::CONNECTIONS_MAX,
            waiting_max: 1024,
            connect_timeout: Duration::from_secs(1),
            request_timeout: Some(Duration::from_secs(5)),
            idle_timeout: Some(Duration::from_secs(60)),
        }
    }
}

/// `[log]`: what is logged to standard error, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    /// The least important level that is still logged.
    pub level: Level,
    /// How a log line is written.
    pub format: LogFormat,
    /// Time between `stats` lines; `None` for none.
    pub stats_interval: Option<Duration>,
    /// Lines of one shard about one thing that peers can cause, in a second; 0: no bound.
    pub lines_per_reason_max: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: Level::INFO,
            format: LogFormat::Text,
            stats_interval: None,
            lines_per_reason_max: 10,
        }
    }
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The word for it in the settings.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

#[cfg(test)]
mod proptests;
#[cfg(test)]
mod tests;
