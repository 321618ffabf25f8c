//! Requests on their way out and replies on their way in, each byte of which is known beforehand.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::AsyncWrite;

use super::connection::{Life, closed_early};
use super::turns::latency;
use crate::failure::{Failure, FailureKind};
use crate::plan::Plan;
use crate::workload::{StreamKey, Workload};

/// Bytes written at a time.
const PIECE_MAX: u64 = 64 << 10;

/// The two byte streams of a connection: how far each has come.
#[derive(Debug)]
pub(super) struct Stream {
    key: StreamKey,
    sent: u64,
    received: u64,
}

impl Stream {
    pub(super) fn new(seed: u64, number: u64) -> Self {
        Self {
            key: StreamKey::new(seed, number),
            sent: 0,
            received: 0,
        }
    }

    /// Takes what has come, if it is what must come next. Returns how many replies it has
    /// completed.
    pub(super) fn take(&mut self, workload: &Workload, bytes: &[u8]) -> Result<u64, Failure> {
        let owed = workload.replied(self.sent).saturating_sub(self.received);
        let expected = usize::try_from(owed).map_or(bytes, |owed| &bytes[..owed.min(bytes.len())]);
        workload.verify(self.key, self.received, expected)?;
        if expected.len() < bytes.len() {
            let unasked = bytes.len() - expected.len();
            return Err(Failure::new(
                FailureKind::WrongBytes,
                format!("{unasked} bytes came that nothing had asked for"),
            ));
        }
        let before = self.received / workload.reply_length();
        self.received += bytes.len() as u64;
        Ok(self.received / workload.reply_length() - before)
    }
}

/// So many requests in one go, and their replies.
pub(super) struct Exchange<'a, 'g> {
    life: &'a mut Life<'g>,
    /// What the streams come to when all is sent, and when all is answered.
    send_end: u64,
    receive_end: u64,
    /// When they were to be sent, which is what their latency counts from, and when they were.
    intended: Duration,
    sent: Duration,
}

impl<'a, 'g> Exchange<'a, 'g> {
    pub(super) fn new(
        life: &'a mut Life<'g>,
        requests: u32,
        intended: Duration,
        sent: Duration,
    ) -> Self {
        let Plan {
            workload, timeout, ..
        } = &*life.generator.plan;
        // What the window has left behind has until a timeout after it, not a timeout each.
        let until_settled = (life.generator.orders.window_closes() + *timeout).saturating_sub(sent);
        life.conn
            .set_read_deadline(Some(until_settled.min(*timeout)));
        let send_end = life.stream.sent + workload.request_length() * u64::from(requests);
        let receive_end = life.stream.received + workload.reply_length() * u64::from(requests);
        Self {
            life,
            send_end,
            receive_end,
            intended,
            sent,
        }
    }

    /// Receives until there is nothing more, or all has come.
    fn poll_replies(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Life {
            generator,
            conn,
            stream,
            ..
        } = &mut *self.life;
        while stream.received < self.receive_end {
            let Some(chunk) = ready!(conn.poll_read(context))? else {
                return Poll::Ready(Err(closed_early("before it had answered")));
            };
            let replies = stream.take(&generator.plan.workload, &chunk)?;
            if replies > 0 {
                let now = generator.orders.clock();
                if let Err(late) = generator.in_time("reply", now.saturating_sub(self.sent)) {
                    generator.gave_up(replies, self.intended);
                    return Poll::Ready(Err(late));
                }
                let (latency, within_window) = (
                    latency(self.intended, now),
                    generator.orders.is_within_window(now),
                );
                generator.record_request(self.intended, now, |delta| {
                    delta.answered(replies, latency, within_window)
                });
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What will not be answered any more.
    fn give_up(&self) {
        let Life {
            generator, stream, ..
        } = &*self.life;
        let owed = self
            .receive_end
            .saturating_sub(stream.received)
            .div_ceil(generator.plan.workload.reply_length());
        if owed > 0 {
            generator.gave_up(owed, self.intended);
        }
    }
}

impl Future for Exchange<'_, '_> {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let exchange = &mut *self;
        // What cannot be written now is written when replies have come: the server reads on only as
        // its own are read.
        let sent = match poll_send(exchange.life, exchange.send_end, context) {
            Poll::Ready(Err(failure)) => Err(failure),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        };
        let outcome = match sent {
            Ok(()) => ready!(exchange.poll_replies(context)),
            Err(failure) => Err(failure),
        };
        exchange.life.conn.set_read_deadline(None);
        if outcome.is_err() {
            exchange.give_up();
        }
        Poll::Ready(outcome)
    }
}

/// Sends the next byte of the stream, and nothing else.
pub(super) async fn drip(life: &mut Life<'_>) -> Result<(), Failure> {
    let end = life.stream.sent + 1;
    poll_fn(|context| poll_send(life, end, context)).await?;
    Ok(life.conn.flush().await?)
}

/// Waits for the replies to all that was sent.
pub(super) async fn await_replies(life: &mut Life<'_>) -> Result<(), Failure> {
    let workload = &life.generator.plan.workload;
    life.conn
        .set_read_deadline(Some(life.generator.plan.timeout));
    while life.stream.received < workload.replied(life.stream.sent) {
        let Some(chunk) = life.conn.read().await? else {
            return Err(closed_early("before it had answered"));
        };
        life.stream.take(workload, &chunk)?;
    }
    life.conn.set_read_deadline(None);
    Ok(())
}

/// Writes the stream up to `end`, as far as the connection takes it.
fn poll_send(
    life: &mut Life<'_>,
    end: u64,
    context: &mut Context<'_>,
) -> Poll<Result<(), Failure>> {
    let Life {
        generator,
        conn,
        stream,
        ..
    } = life;
    while stream.sent < end {
        let mut scratch = generator.scratch.borrow_mut();
        scratch.resize((end - stream.sent).min(PIECE_MAX) as usize, 0);
        generator
            .plan
            .workload
            .fill(stream.key, stream.sent, &mut scratch);
        let written = ready!(Pin::new(&mut *conn).poll_write(context, &scratch))?;
        stream.sent += written as u64;
    }
    Poll::Ready(Ok(()))
}
