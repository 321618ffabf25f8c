//! Tells of log lines that their limit has held back.

use tracing::Level;

use crate::id::ShardId;
use crate::shard::policy::log_limit::LogKind;

/// Logs how many lines of each kind were held back, at the level of the lines themselves: whoever
/// sees these sees how many are missing.
pub(crate) fn log_held_back(ShardId(shard): ShardId, held_back: Vec<(LogKind, u64)>) {
    for (kind, more) in held_back {
        match kind.level() {
            Level::ERROR => tracing::error!(shard, subject = %kind, more, "held back"),
            Level::WARN => tracing::warn!(shard, subject = %kind, more, "held back"),
            Level::INFO => tracing::info!(shard, subject = %kind, more, "held back"),
            _ => tracing::debug!(shard, subject = %kind, more, "held back"),
        }
    }
}
