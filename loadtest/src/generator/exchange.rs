//! Requests on their way out and replies on their way in, each byte of which is known beforehand.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::AsyncWrite;

use super::session::{Session, closed_early, is_over};
use super::turns::latency;
use crate::failure::Failure;

/// Bytes written at a time.
const PIECE_MAX: u64 = 64 << 10;

/// So many requests in one go, and their replies.
pub(super) struct Exchange<'a, 'g> {
    session: &'a mut Session<'g>,
    /// The lengths of the streams when all is sent, and when all is answered.
    send_end: u64,
    receive_end: u64,
    /// When they were to be sent, from which their latency counts, and when they were.
    intended: Duration,
    sent: Duration,
}

impl<'a, 'g> Exchange<'a, 'g> {
    pub(super) fn new(
        session: &'a mut Session<'g>,
        requests: u32,
        intended: Duration,
        sent: Duration,
    ) -> Self {
        let (workload, timeout) = (&session.shard.plan.workload, session.shard.plan.timeout);
        // Requests left over from the window have until a timeout after it, not a timeout each.
        let settled = session.shard.control.window_closes.get() + timeout;
        let patience = settled.saturating_sub(sent).min(timeout);
        session.conn.set_read_deadline(Some(patience));
        let send_end = session.stream.sent + workload.request_length() * u64::from(requests);
        let receive_end = session.stream.received + workload.reply_length() * u64::from(requests);
        Self {
            session,
            send_end,
            receive_end,
            intended,
            sent,
        }
    }

    /// Receives until there is nothing more, or all has come.
    fn poll_replies(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let session = &mut *self.session;
        let shard = session.shard;
        while session.stream.received < self.receive_end {
            let Some(chunk) = ready!(session.conn.poll_read(context))? else {
                return Poll::Ready(Err(closed_early("before it had answered")));
            };
            let replies = session.stream.take(&shard.plan.workload, &chunk)?;
            is_over(session.poll_pong(context))?;
            if replies > 0 {
                let now = shard.control.clock();
                if let Err(late) = shard.in_time("reply", now.saturating_sub(self.sent)) {
                    shard.gave_up(replies, self.intended);
                    return Poll::Ready(Err(late));
                }
                let within_window = shard.control.is_within_window(now);
                let mut delta = shard.delta_of(self.intended, now);
                delta.answered(replies, latency(self.intended, now), within_window);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn give_up(&self) {
        let Session { shard, stream, .. } = &*self.session;
        let missing = self.receive_end.saturating_sub(stream.received);
        let owed = missing.div_ceil(shard.plan.workload.reply_length());
        if owed > 0 {
            shard.gave_up(owed, self.intended);
        }
    }
}

impl Future for Exchange<'_, '_> {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let exchange = &mut *self;
        // The rest of a write that is not taken is written when replies have come: the server reads
        // on only as its own are read.
        let outcome = match poll_send(exchange.session, exchange.send_end, context) {
            Poll::Ready(Err(failure)) => Err(failure),
            Poll::Ready(Ok(())) | Poll::Pending => ready!(exchange.poll_replies(context)),
        };
        exchange.session.conn.set_read_deadline(None);
        if outcome.is_err() {
            exchange.give_up();
        }
        Poll::Ready(outcome)
    }
}

/// Sends the next byte of the stream, and nothing else.
pub(super) async fn drip(session: &mut Session<'_>) -> Result<(), Failure> {
    let end = session.stream.sent + 1;
    poll_fn(|context| poll_send(session, end, context)).await?;
    Ok(session.conn.flush().await?)
}

/// Waits for the replies to all that was sent.
pub(super) async fn await_replies(session: &mut Session<'_>) -> Result<(), Failure> {
    let workload = &session.shard.plan.workload;
    let timeout = session.shard.plan.timeout;
    session.conn.set_read_deadline(Some(timeout));
    while session.stream.received < workload.replied(session.stream.sent) {
        let Some(chunk) = session.conn.read().await? else {
            return Err(closed_early("before it had answered"));
        };
        session.stream.take(workload, &chunk)?;
        poll_fn(|context| Poll::Ready(is_over(session.poll_pong(context)))).await?;
    }
    session.conn.set_read_deadline(None);
    Ok(())
}

/// Writes the stream up to `end`, as far as the connection takes it.
fn poll_send(
    session: &mut Session<'_>,
    end: u64,
    context: &mut Context<'_>,
) -> Poll<Result<(), Failure>> {
    let shard = session.shard;
    while session.stream.sent < end {
        ready!(session.poll_pong(context))?;
        let stream = &mut session.stream;
        let (mut scratch, workload) = (shard.scratch.borrow_mut(), &shard.plan.workload);
        scratch.resize((end - stream.sent).min(PIECE_MAX) as usize, 0);
        workload.fill(stream.key, stream.sent, &mut scratch);
        let written = ready!(Pin::new(&mut session.conn).poll_write(context, &scratch))?;
        stream.sent += written as u64;
    }
    Poll::Ready(Ok(()))
}
