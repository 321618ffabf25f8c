//! The numbers as the admin server tells them. What is not there is 0 or nothing, so that this shows
//! what an older server tells.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// One event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    #[serde(deserialize_with = "shown")]
    pub(crate) program: String,
    #[serde(deserialize_with = "shown")]
    pub(crate) version: String,
    #[serde(deserialize_with = "shown")]
    pub(crate) address: String,
    pub(crate) uptime_seconds: f64,
    /// What `busy` and the turns are of; the whole uptime in the first event.
    pub(crate) window_seconds: f64,
    pub(crate) ready: bool,
    pub(crate) unready_because: Option<String>,
    pub(crate) connections_max: u64,
    pub(crate) accept_queue: Option<u64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) log_lines_dropped: u64,
    pub(crate) total: Counts,
    pub(crate) shards: Vec<Counts>,
    pub(crate) closed_by_reason: BTreeMap<String, u64>,
    pub(crate) upstreams: BTreeMap<String, Upstream>,
}

/// Of a shard, or of all together.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    pub(crate) shard: u64,
    pub(crate) connections: u64,
    pub(crate) tasks: u64,
    pub(crate) accepted: u64,
    pub(crate) messages: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) buffers: u64,
    pub(crate) buffers_used: u64,
    pub(crate) unread_bytes: u64,
    pub(crate) unsent_bytes: u64,
    pub(crate) stalls: u64,
    /// From 0 to 1.
    pub(crate) busy: f64,
    pub(crate) turn_seconds_at_most: Turns,
}

/// The upper ends of the ranges that turns were counted in, in seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Turns {
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
}

/// Of an upstream's pools.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Upstream {
    pub(crate) used: u64,
    pub(crate) waiting: u64,
    pub(crate) failed: u64,
}

/// A text that drives no terminal.
fn shown<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let shown = |char: char| if char.is_control() { '\u{fffd}' } else { char };
    Ok(text.chars().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_nothing_and_what_is_new_is_passed_over() {
        let text = r#"{"shards": [{"busy": 0.5}], "new": {}, "turns": null}"#;
        let stats: Stats = serde_json::from_str(text).unwrap_or_default();
        assert_eq!((stats.shards.len(), stats.shards[0].busy), (1, 0.5));
    }

    #[test]
    fn no_name_drives_a_terminal() {
        let text = r#"{"program": "\u001b[2Jecho"}"#;
        let stats: Stats = serde_json::from_str(text).unwrap_or_default();
        assert_eq!(stats.program, "\u{fffd}[2Jecho");
    }
}
