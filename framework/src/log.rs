//! Where the log goes: standard error, as text for people or JSON for machines, through a queue that never blocks a shard.
//!
//! A full disk or a pipe that nobody reads costs lines, not service: what the queue cannot take is dropped and counted.

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt;

use crate::config::{Log, LogFormat};

/// Lines that wait for the writer at most.
const QUEUE_MAX: usize = 8192;
/// What a line takes there; long ones are rare.
const LINE_BYTES: u64 = 512;
/// What the queue takes at most, for that length of the lines.
pub(crate) const QUEUE_BYTES_MAX: u64 = QUEUE_MAX as u64 * LINE_BYTES;

/// The running log. Dropping it writes what is queued, for about a second at most.
pub(crate) struct LogHandle {
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

impl LogHandle {
    /// Lines that were dropped because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.dropped_lines() as u64
    }
}

/// Sets up the process's log. A subscriber that the application has set before stays.
pub(crate) fn start(settings: &Log) -> LogHandle {
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUE_MAX).thread_name("log").finish(std::io::stderr());
    let handle = LogHandle { dropped: writer.error_counter(), _writer: guard };
    // Its own errors would go to standard error, and panic when that is what fails.
    let builder = fmt().with_max_level(settings.level).log_internal_errors(false).with_writer(writer);
    let set = match settings.format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if set.is_err() {
        tracing::debug!("the log was set up by the application");
    }
    handle
}
