//! A connection that stands: its byte streams, and its waits.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use corelane::Conn;

use super::shard::Shard;
use crate::control::RunStage;
use crate::failure::{Failure, FailureKind};
use crate::workload::{StreamKey, Workload};

/// The two byte streams of a connection: how far each has come.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: StreamKey,
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Stream {
    /// Takes bytes that have come, if they are those that must come next. Returns how many replies
    /// they have completed.
    pub(super) fn take(&mut self, workload: &Workload, bytes: &[u8]) -> Result<u64, Failure> {
        let owed = workload.replied(self.sent).saturating_sub(self.received);
        let expected = usize::try_from(owed).map_or(bytes, |owed| &bytes[..owed.min(bytes.len())]);
        workload.verify(self.key, self.received, expected)?;
        if expected.len() < bytes.len() {
            let unasked = bytes.len() - expected.len();
            let detail = format!("{unasked} bytes came that nothing had asked for");
            return Err(Failure::new(FailureKind::WrongBytes, detail));
        }
        let before = self.received / workload.reply_length();
        self.received += bytes.len() as u64;
        Ok(self.received / workload.reply_length() - before)
    }
}

pub(super) struct Session<'a> {
    pub(super) shard: &'a Shard,
    pub(super) conn: Conn,
    pub(super) stream: Stream,
    pub(super) index: u32,
}

impl<'a> Session<'a> {
    pub(super) fn new(shard: &'a Shard, conn: Conn, index: u32) -> Self {
        let stream = Stream {
            key: shard.next_stream(),
            sent: 0,
            received: 0,
        };
        Self {
            shard,
            conn,
            stream,
            index,
        }
    }

    /// Waits for the intended time of request `round`; none when there is to be none any more.
    pub(super) async fn turn(&mut self, round: u64) -> Result<Option<Duration>, Failure> {
        poll_fn(|context| {
            loop {
                let (shard, index) = (self.shard, self.index);
                if shard.control.stage.get() >= RunStage::Finishing {
                    return Poll::Ready(Ok(None));
                }
                let schedule = shard.schedule.get();
                let due = schedule.map(|schedule| schedule.due(index, round));
                if let Some(due) = due {
                    let (now, closes) = (shard.control.clock(), shard.control.window_closes.get());
                    if due >= closes {
                        return Poll::Ready(Ok(None));
                    }
                    if now >= closes + shard.plan.timeout {
                        return Poll::Ready(Err(never_sent(now.saturating_sub(due))));
                    }
                    if due <= now {
                        return Poll::Ready(Ok(Some(due)));
                    }
                }
                ready!(self.poll_quiet(context))?;
            }
        })
        .await
    }

    /// Holds the connection without asking anything.
    pub(super) async fn hold_until(&mut self, is_over: impl Fn() -> bool) -> Result<(), Failure> {
        poll_fn(|context| {
            while !is_over() {
                ready!(self.poll_quiet(context))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Something happens to a connection that is not asked anything: it is called, bytes come, or
    /// it ends.
    fn poll_quiet(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let turn = &self.shard.turns[self.index as usize];
        if turn.poll_notified(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let Some(chunk) = ready!(self.conn.poll_read(context))? else {
            return Poll::Ready(Err(closed_early("while nothing was asked of it")));
        };
        self.stream.take(&self.shard.plan.workload, &chunk)?;
        Poll::Ready(Ok(()))
    }
}

fn never_sent(waited: Duration) -> Failure {
    let waited = waited.as_millis();
    let detail = format!(
        "a request that was due in the window waited {waited} ms for its turn and was never sent"
    );
    Failure::new(FailureKind::TimedOut, detail)
}

pub(super) fn closed_early(when: &str) -> Failure {
    let detail = format!("the server closed the connection {when}");
    Failure::new(FailureKind::ClosedEarly, detail)
}
