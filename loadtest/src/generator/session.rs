//! A connection that stands: its byte streams, and its waits.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use corelane::Conn;
use futures_io::AsyncWrite;

use super::shard::Shard;
use crate::control::RunStage;
use crate::failure::{Failure, FailureKind};
use crate::wire::{Event, Incoming, websocket};
use crate::workload::{Protocol, StreamKey, Workload};

/// The two byte streams of a connection: how far each has come.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) key: StreamKey,
    pub(super) sent: u64,
    /// By HTTP and WebSocket what whole replies have carried.
    pub(super) received: u64,
    /// The reply that is being received by one of these; none while there is nothing to remember of
    /// it, so that a connection that is held keeps no more.
    incoming: Option<Box<Incoming>>,
}

impl Stream {
    /// Takes bytes that have come, if they are those that must come next. Returns how many replies
    /// they have completed.
    pub(super) fn take(&mut self, workload: &Workload, bytes: &[u8]) -> Result<u64, Failure> {
        if workload.protocol.is_framed() {
            return self.take_framed(workload, bytes);
        }
        let owed = workload.replied(self.sent).saturating_sub(self.received);
        let expected = usize::try_from(owed).map_or(bytes, |owed| &bytes[..owed.min(bytes.len())]);
        workload.verify(self.key, self.received, expected)?;
        if expected.len() < bytes.len() {
            return Err(unasked(bytes.len() - expected.len()));
        }
        let before = self.received / workload.reply_length();
        self.received += bytes.len() as u64;
        Ok(self.received / workload.reply_length() - before)
    }

    fn take_framed(&mut self, workload: &Workload, mut bytes: &[u8]) -> Result<u64, Failure> {
        let kept = self.incoming.take().map(|kept| *kept);
        let mut incoming = kept.unwrap_or_else(|| Incoming::new(workload.protocol));
        let (length, mut replies) = (workload.reply_length(), 0);
        loop {
            match incoming.next(&mut bytes).map_err(wrong)? {
                Event::More => break,
                Event::Body(body) => {
                    let begin = self.received + incoming.body;
                    incoming.body += body.len() as u64;
                    let expected = within(body, length.saturating_sub(begin - self.received));
                    workload.verify(self.key, begin, expected)?;
                    if incoming.body > length {
                        return Err(wrong(format!("a reply is longer than {length} bytes")));
                    }
                    if begin + body.len() as u64 > workload.may_reply(self.sent) {
                        return Err(unasked(body.len()));
                    }
                }
                Event::End if incoming.body == length => {
                    self.received += std::mem::take(&mut incoming.body);
                    replies += 1;
                }
                Event::End => {
                    let body = incoming.body;
                    return Err(wrong(format!("a reply of {body} bytes, not {length}")));
                }
                Event::Ping(carried) if !incoming.is_pong_begun => {
                    let key = self.key.mask(!self.sent);
                    incoming.pong = websocket::pong(&carried, key);
                }
                // Of several only the last is to be answered (RFC 6455, 5.5.3), and one is on its way.
                Event::Ping(_) => {}
                Event::Close(why) => return Err(closed_early(&why)),
            }
        }
        if !incoming.is_at_rest() {
            self.incoming = Some(Box::new(incoming));
        }
        Ok(replies)
    }
}

/// The first `length` of them.
fn within(bytes: &[u8], length: u64) -> &[u8] {
    usize::try_from(length).map_or(bytes, |length| &bytes[..length.min(bytes.len())])
}

fn unasked(bytes: usize) -> Failure {
    wrong(format!("{bytes} bytes came that nothing had asked for"))
}

fn wrong(what: String) -> Failure {
    Failure::new(FailureKind::WrongBytes, what)
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
            incoming: None,
        };
        Self {
            shard,
            conn,
            stream,
            index,
        }
    }

    /// Writes the answer to a ping, if one is owed and it would stand between two messages.
    pub(super) fn poll_pong(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let is_between = self.is_between();
        let Some(incoming) = &mut self.stream.incoming else {
            return Poll::Ready(Ok(()));
        };
        while !incoming.pong.is_empty() && (incoming.is_pong_begun || is_between) {
            let written = Pin::new(&mut self.conn).poll_write(context, &incoming.pong);
            incoming.pong.drain(..ready!(written)?);
            incoming.is_pong_begun = !incoming.pong.is_empty();
        }
        if incoming.is_at_rest() {
            self.stream.incoming = None;
        }
        Poll::Ready(Ok(()))
    }

    fn is_between(&self) -> bool {
        let length = self.shard.plan.workload.request_length();
        self.stream.sent.is_multiple_of(length)
    }

    /// Says that it has all that it wanted, where the protocol has a word for that and there is
    /// room for it at once.
    pub(super) async fn bid_farewell(&mut self) {
        let is_spoken = self.shard.plan.workload.protocol == Protocol::Websocket;
        let has_begun = self.stream.incoming.as_ref();
        if !is_spoken || !self.is_between() || has_begun.is_some_and(|begun| begun.is_pong_begun) {
            return;
        }
        let close = websocket::close(self.stream.key.mask(!self.stream.sent));
        poll_fn(|context| {
            let _it_ends_all_the_same = Pin::new(&mut self.conn).poll_write(context, &close);
            Poll::Ready(())
        })
        .await
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
        Poll::Ready(is_over(self.poll_pong(context)))
    }
}

/// Whether it has failed; what does not go out now does so before the next bytes.
pub(super) fn is_over(polled: Poll<Result<(), Failure>>) -> Result<(), Failure> {
    match polled {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Ok(()),
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
