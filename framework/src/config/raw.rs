//! Settings as they were written: every key optional, of whatever type, with the place where it
//! stood.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::value::Error as ProbeFailed;
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Spanned;

use super::problem::cut;
use super::{Config, duration};

/// One key: nothing, or what was written.
pub(super) type Item = Option<Spanned<Value>>;

/// The whole of the framework's own settings.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) server: RawServer,
    pub(super) listener: RawListener,
    pub(super) socket: RawSocket,
    pub(super) buffers: RawBuffers,
    pub(super) timeouts: RawTimeouts,
    pub(super) limits: RawLimits,
    pub(super) log: RawLog,
    /// Sections of one kind, each with a name of the operator's choice, and where it stood.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) upstream: BTreeMap<String, Spanned<RawUpstream>>,
}

/// The name of a section, and how to learn its keys.
type Section = (&'static str, fn() -> Option<Keys>);

/// The section of [`Raw`] that holds sections with names of the operator's choice, all with these
/// keys.
pub(super) const NAMED: (&str, fn() -> Option<Keys>) = ("upstream", known_keys::<RawUpstream>);

/// Each other section of [`Raw`].
pub(super) const SECTIONS: [Section; 7] = [
    ("server", known_keys::<RawServer>),
    ("listener", known_keys::<RawListener>),
    ("socket", known_keys::<RawSocket>),
    ("buffers", known_keys::<RawBuffers>),
    ("timeouts", known_keys::<RawTimeouts>),
    ("limits", known_keys::<RawLimits>),
    ("log", known_keys::<RawLog>),
];

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawServer {
    pub(super) listen: Item,
    pub(super) shards: Item,
    pub(super) cpus: Item,
    pub(super) pin: Item,
    pub(super) spin: Item,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawListener {
    pub(super) backlog: Item,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSocket {
    pub(super) nodelay: Item,
    pub(super) keepalive: Item,
    pub(super) keepalive_idle: Item,
    pub(super) keepalive_interval: Item,
    pub(super) keepalive_count: Item,
    pub(super) user_timeout: Item,
    pub(super) receive_buffer: Item,
    pub(super) send_buffer: Item,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawBuffers {
    pub(super) profile: Item,
    pub(super) size: Item,
    pub(super) count: Item,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTimeouts {
    pub(super) first_byte: Item,
    pub(super) read: Item,
    pub(super) request: Item,
    pub(super) write: Item,
    pub(super) idle: Item,
    pub(super) lifetime: Item,
    pub(super) overload: Item,
    pub(super) drain: Item,
    pub(super) drain_quiet: Item,
    pub(super) close: Item,
    pub(super) reclaim: Item,
    pub(super) accept_pause_min: Item,
    pub(super) accept_pause_max: Item,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) connections_max: Item,
    pub(super) connections_per_shard_max: Item,
    pub(super) outbound_per_shard_max: Item,
    pub(super) connects_in_flight_max: Item,
    pub(super) connects_waiting_max: Item,
    pub(super) blocking_threads_per_shard_max: Item,
    pub(super) blocking_waiting_per_shard_max: Item,
    pub(super) accepts_in_flight_max: Item,
    pub(super) recv_queue_max: Item,
    pub(super) write_queue_max: Item,
    pub(super) unread_per_shard_max: Item,
    pub(super) unsent_per_shard_max: Item,
    pub(super) receive_rate_min: Item,
    pub(super) send_rate_min: Item,
    pub(super) rate_window: Item,
    pub(super) turn_completions_max: Item,
    pub(super) gather_completions_max: Item,
    pub(super) reads_per_turn_max: Item,
    pub(super) expired_per_turn_max: Item,
    pub(super) overloaded_per_look_max: Item,
    pub(super) watchdog: Item,
    pub(super) unready_after: Item,
    pub(super) on_full: Item,
    pub(super) refuse_with: Item,
    pub(super) reclaim: Item,
    pub(super) connections_per_address_max: Item,
    pub(super) address_prefix_v6: Item,
    pub(super) accepts_per_second_max: Item,
    pub(super) accepts_burst_max: Item,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) level: Item,
    pub(super) format: Item,
    pub(super) stats_interval: Item,
    pub(super) lines_per_reason_max: Item,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawUpstream {
    pub(super) addr: Item,
    pub(super) source: Item,
    pub(super) connections_max: Item,
    pub(super) idle_max: Item,
    pub(super) waiting_max: Item,
    pub(super) connect_timeout: Item,
    pub(super) request_timeout: Item,
    pub(super) idle_timeout: Item,
}

/// A value of any type. Its `Display` is what a message says was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Value>>),
    /// A table or a date, which no setting of ours is.
    Table,
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(out, "{value}"),
            Self::Integer(value) => write!(out, "{value}"),
            Self::Float(value) => write!(out, "{value:?}"),
            Self::Text(value) => write!(out, "\"{}\"", cut(value)),
            Self::List(_) => out.write_str("a list"),
            Self::Table => out.write_str("a table or a date"),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a TOML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Ok(Value::Table)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i128(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(items) => items.serialize(serializer),
            Self::Table => serializer.serialize_unit(),
        }
    }
}

/// The way back, for `--print-config`: settings as an operator would write them, every key named.
impl From<&Config> for Raw {
    fn from(config: &Config) -> Self {
        Self {
            server: RawServer {
                listen: text(config.server.listen.to_string()),
                shards: number(config.server.shards),
                cpus: written(Value::List(
                    config
                        .server
                        .cpus
                        .iter()
                        .map(|cpu| spanned(cpu_value(*cpu)))
                        .collect(),
                )),
                pin: config.server.pin.map_or_else(
                    || text("auto".to_owned()),
                    |pin| written(Value::Boolean(pin)),
                ),
                spin: time_or_off(config.server.spin),
            },
            listener: RawListener {
                backlog: number(config.listener.backlog),
            },
            socket: socket(&config.socket),
            buffers: RawBuffers {
                profile: None, // size and count say it all
                size: number(config.buffers.size),
                count: number(config.buffers.count),
            },
            timeouts: timeouts(&config.timeouts),
            limits: limits(&config.limits),
            log: RawLog {
                level: text(config.log.level.as_str().to_ascii_lowercase()),
                format: text(config.log.format.word().to_owned()),
                stats_interval: text(duration::format(
                    config.log.stats_interval.unwrap_or_default(),
                )),
                lines_per_reason_max: number(config.log.lines_per_reason_max),
            },
            upstream: config
                .upstreams
                .iter()
                .map(|(name, settings)| (name.clone(), Spanned::new(0..0, upstream(settings))))
                .collect(),
        }
    }
}

fn socket(socket: &super::Socket) -> RawSocket {
    let keepalive = socket.keepalive.as_ref();
    RawSocket {
        nodelay: written(Value::Boolean(socket.nodelay)),
        keepalive: written(Value::Boolean(keepalive.is_some())),
        keepalive_idle: keepalive.and_then(|keepalive| time(keepalive.idle)),
        keepalive_interval: keepalive.and_then(|keepalive| time(keepalive.interval)),
        keepalive_count: keepalive.and_then(|keepalive| number(keepalive.count)),
        user_timeout: time_or_off(socket.user_timeout),
        receive_buffer: number(socket.receive_buffer.unwrap_or(0)),
        send_buffer: number(socket.send_buffer.unwrap_or(0)),
    }
}

fn timeouts(timeouts: &super::Timeouts) -> RawTimeouts {
    RawTimeouts {
        first_byte: time_or_off(timeouts.first_byte),
        read: time_or_off(timeouts.read),
        request: time_or_off(timeouts.request),
        write: time_or_off(timeouts.write),
        idle: time_or_off(timeouts.idle),
        lifetime: time_or_off(timeouts.lifetime),
        overload: time_or_off(timeouts.overload),
        drain: time(timeouts.drain),
        drain_quiet: time(timeouts.drain_quiet),
        close: time(timeouts.close),
        reclaim: time(timeouts.reclaim),
        accept_pause_min: time(timeouts.accept_pause_min),
        accept_pause_max: time(timeouts.accept_pause_max),
    }
}

fn limits(limits: &super::Limits) -> RawLimits {
    RawLimits {
        connections_max: number(limits.connections_max.unwrap_or(0)),
        connections_per_shard_max: number(limits.connections_per_shard_max.unwrap_or(0)),
        outbound_per_shard_max: number(limits.outbound_per_shard_max),
        connects_in_flight_max: number(limits.connects_in_flight_max),
        connects_waiting_max: number(limits.connects_waiting_max),
        blocking_threads_per_shard_max: number(limits.blocking_threads_per_shard_max),
        blocking_waiting_per_shard_max: number(limits.blocking_waiting_per_shard_max),
        accepts_in_flight_max: number(limits.accepts_in_flight_max),
        recv_queue_max: number(limits.recv_queue_max),
        write_queue_max: number(limits.write_queue_max),
        unread_per_shard_max: number(limits.unread_per_shard_max.unwrap_or(0)),
        unsent_per_shard_max: number(limits.unsent_per_shard_max.unwrap_or(0)),
        receive_rate_min: number(limits.receive_rate_min.unwrap_or(0)),
        send_rate_min: number(limits.send_rate_min.unwrap_or(0)),
        rate_window: time(limits.rate_window),
        turn_completions_max: number(limits.turn_completions_max),
        gather_completions_max: number(limits.gather_completions_max),
        reads_per_turn_max: number(limits.reads_per_turn_max),
        expired_per_turn_max: number(limits.expired_per_turn_max),
        overloaded_per_look_max: number(limits.overloaded_per_look_max),
        watchdog: time_or_off(limits.watchdog),
        unready_after: time_or_off(limits.unready_after),
        on_full: text(limits.admission.on_full.word().to_owned()),
        refuse_with: text(limits.admission.refuse_with.clone()),
        reclaim: written(Value::Boolean(limits.admission.reclaim)),
        connections_per_address_max: number(
            limits.admission.connections_per_address_max.unwrap_or(0),
        ),
        address_prefix_v6: number(limits.admission.address_prefix_v6),
        accepts_per_second_max: number(limits.admission.accepts_per_second_max.unwrap_or(0)),
        accepts_burst_max: number(limits.admission.accepts_burst_max.unwrap_or(0)),
    }
}

fn upstream(upstream: &super::Upstream) -> RawUpstream {
    RawUpstream {
        addr: text(upstream.addr.to_string()),
        source: text(
            upstream
                .source
                .map_or_else(|| "any".to_owned(), |source| source.to_string()),
        ),
        connections_max: number(upstream.connections_max),
        idle_max: number(upstream.idle_max),
        waiting_max: number(upstream.waiting_max),
        connect_timeout: time(upstream.connect_timeout),
        request_timeout: time_or_off(upstream.request_timeout),
        idle_timeout: time_or_off(upstream.idle_timeout),
    }
}

fn text(value: String) -> Item {
    written(Value::Text(value))
}

fn number(value: u32) -> Item {
    written(Value::Integer(value.into()))
}

fn time(value: Duration) -> Item {
    text(duration::format(value))
}

fn time_or_off(value: Option<Duration>) -> Item {
    text(value.map_or_else(|| "off".to_owned(), duration::format))
}

fn cpu_value(cpu: usize) -> Value {
    Value::Integer(i128::try_from(cpu).unwrap_or(i128::MAX))
}

fn written(value: Value) -> Item {
    Some(spanned(value))
}

fn spanned(value: Value) -> Spanned<Value> {
    Spanned::new(0..0, value)
}

/// The keys of a section.
pub(super) type Keys = &'static [&'static str];

/// The keys `T` knows, as its own `Deserialize` names them; `None` where it takes any key.
///
/// Asking the type makes a misspelt key an error even where the author of an application's settings
/// left out `deny_unknown_fields`.
pub(super) fn known_keys<T: DeserializeOwned>() -> Option<Keys> {
    let mut keys = None;
    // Always an error: the probe has no values to give.
    let _ = T::deserialize(KeyProbe(&mut keys));
    keys
}

struct KeyProbe<'a>(&'a mut Option<Keys>);

impl<'de> Deserializer<'de> for KeyProbe<'_> {
    type Error = ProbeFailed;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ProbeFailed> {
        Err(ProbeFailed::custom(
            "only the names of the keys were asked for",
        ))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: Keys,
        visitor: V,
    ) -> Result<V::Value, ProbeFailed> {
        *self.0 = Some(keys);
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
