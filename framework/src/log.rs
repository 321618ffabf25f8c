//! Where the log goes: standard error, as text for people or JSON for machines, through a queue
//! that never blocks a shard.
//!
//! A full disk or a pipe that nobody reads costs lines, not service: what the queue cannot take,
//! and what cannot be written, is dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::{Log, LogFormat};

/// Lines that wait for the writer at most. No key: what peers can cause has
/// `log.lines_per_reason_max`, and more is dropped and told.
const QUEUE_MAX: usize = 8192;
/// What a line takes there; long ones are rare.
const LINE_BYTES: u64 = 512;
/// What the queue takes at most, for that length of the lines.
pub(crate) const QUEUE_BYTES_MAX: u64 = QUEUE_MAX as u64 * LINE_BYTES;
/// How long the end of the process waits for lines to be written.
const END_MAX: Duration = Duration::from_secs(1);
/// How often it looks whether they are.
const END_LOOK: Duration = Duration::from_millis(1);
/// How often it is told at most that lines were dropped.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// Lines since the start.
#[derive(Debug, Default)]
struct Counts {
    /// That the queue has taken.
    queued: AtomicU64,
    /// Of those, the ones that the writer is done with.
    done: AtomicU64,
    /// That will not be read by anybody: not taken, or not written.
    dropped: AtomicU64,
}

/// The running log. Dropping it waits until what is queued is written, for [`END_MAX`] at most.
pub(crate) struct LogHandle {
    counts: Arc<Counts>,
    level: reload::Handle<LevelFilter, Registry>,
}

impl LogHandle {
    /// Lines that were dropped: the queue was full, or they could not be written.
    pub(crate) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Of no effect where the application has set up a subscriber of its own.
    pub(crate) fn set_level(&self, level: Level) {
        drop(self.level.reload(LevelFilter::from_level(level)));
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        let until = Instant::now() + END_MAX;
        let queued = self.counts.queued.load(Ordering::Acquire);
        while self.counts.done.load(Ordering::Acquire) < queued && Instant::now() < until {
            thread::sleep(END_LOOK);
        }
    }
}

/// Sets up the process's log. A subscriber that the application has set before stays.
///
/// # Errors
///
/// When there is no thread for it.
pub(crate) fn start(settings: &Log) -> io::Result<LogHandle> {
    let (lines, queue) = sync_channel(QUEUE_MAX);
    let counts = Arc::<Counts>::default();
    let (filter, level) = reload::Layer::new(LevelFilter::from_level(settings.level));
    let (writer, handle) = (
        Queue {
            lines,
            counts: Arc::clone(&counts),
        },
        LogHandle {
            counts: Arc::clone(&counts),
            level,
        },
    );
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_out(&queue, io::stderr(), &counts))?;
    // Its own errors would go to standard error, and panic when that is what fails.
    let lines = fmt::layer().log_internal_errors(false).with_writer(writer);
    let filtered = tracing_subscriber::registry().with(filter);
    let set = match settings.format {
        LogFormat::Text => filtered.with(lines.with_ansi(false)).try_init(),
        LogFormat::Json => filtered.with(lines.json()).try_init(),
    };
    if set.is_err() {
        tracing::debug!("the log was set up by the application");
    }
    Ok(handle)
}

/// The end of the queue at which a shard stands.
#[derive(Clone, Debug)]
struct Queue {
    lines: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Queue {
    /// Takes one line, which the subscriber writes as a whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Counted before: the writer may be done with it at once.
        self.counts.queued.fetch_add(1, Ordering::Release);
        if self.lines.try_send(line.to_vec()).is_err() {
            self.counts.queued.fetch_sub(1, Ordering::Release);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The writer's thread: the only one that a stuck pipe or disk stops. It ends with the process.
fn write_out(queue: &Receiver<Vec<u8>>, mut out: impl Write, counts: &Counts) {
    for line in queue {
        if out.write_all(&line).is_err() {
            counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        counts.done.fetch_add(1, Ordering::Release);
    }
}

/// Tells that lines were dropped, as soon as there is a place for that line again.
#[derive(Debug)]
pub(crate) struct Losses {
    told: u64,
    next: Instant,
}

impl Losses {
    pub(crate) fn new(now: Instant) -> Self {
        Self { told: 0, next: now }
    }

    /// When to look next.
    pub(crate) fn due(&self) -> Instant {
        self.next
    }

    /// Logs how many lines were dropped since the last time, if any were. Should this line be
    /// dropped too, the next one counts it.
    pub(crate) fn look(&mut self, now: Instant, dropped: u64) {
        if now < self.next {
            return;
        }
        self.next = now + TELL_INTERVAL;
        let lines = dropped - self.told;
        if lines > 0 {
            self.told = dropped;
            tracing::warn!(lines, dropped, "log lines were dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails for every other line.
    struct Moody(Vec<u8>, bool);

    impl Write for Moody {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                self.0.write(line)
            } else {
                Err(io::ErrorKind::StorageFull.into())
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_is_not_taken_or_not_written_is_counted_as_dropped() {
        let (lines, queue) = sync_channel(2);
        let counts = Arc::<Counts>::default();
        let taking = Queue {
            lines,
            counts: Arc::clone(&counts),
        };
        for line in [&b"one\n"[..], b"two\n", b"three\n"] {
            (&taking).write_all(line).expect("it never fails");
        }
        assert_eq!(
            (
                counts.queued.load(Ordering::Relaxed),
                counts.dropped.load(Ordering::Relaxed)
            ),
            (2, 1)
        );
        drop(taking); // and with it the writer's thread would end
        let mut out = Moody(Vec::new(), false);
        write_out(&queue, &mut out, &counts);
        assert_eq!(
            (
                counts.done.load(Ordering::Relaxed),
                counts.dropped.load(Ordering::Relaxed)
            ),
            (2, 2)
        );
        assert_eq!(out.0, b"one\n");
    }
}
