//! `[log]`.

use std::time::Duration;

use tracing::Level;

use crate::config::choices::Words;
use crate::config::declare::section;
use crate::config::numbers::Whole;
use crate::config::times::Times;

use super::units::{days, secs};

const LEVELS: Words<Level> = Words(&[
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
]);
const FORMATS: Words<LogFormat> = Words(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
const STATS: Times = Times::from(secs(1), days(1)).or("0s");
const LINES: Whole = Whole::of("lines", 1, 1_000_000).or_zero("no bound");

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

section! {
    /// What the server logs to standard error, and how.
    struct Log {
        /// The least important messages that the server still logs. It logs each close at
        /// `"debug"`.
        shipped level: Level = LEVELS, Level::INFO, live;

        /// Form of a log line: `"text"` for people, `"json"` for one object a line.
        shipped format: LogFormat = FORMATS, LogFormat::Text;

        /// Time between two lines of statistics.
        shipped stats_interval: Option<Duration> = STATS, None, live;

        /// Lines of one shard in a second about one thing that peers can cause: closes for one
        /// reason, handlers that fail, an upstream that is down. The server counts the others and
        /// reports them in one line. Panics and pauses of accepting get one line a second.
        documented lines_per_reason_max: u32 = LINES, 10, live;
    }
}
