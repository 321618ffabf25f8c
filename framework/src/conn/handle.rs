//! The operations of a connection as polls, under its futures, its halves and the futures-io
//! traits.

use std::task::{Context, Poll};

use super::Output;
use crate::chunk::Chunk;
use crate::error::Error;
use crate::ring::Key;
use crate::shard::{Interest, Reading, Shard, State};

/// The name of a connection of this thread's shard. Whoever has it sees to it that nobody reads, or
/// writes, twice at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handle {
    pub(super) key: Key,
}

impl Handle {
    pub(super) fn poll_read(self, context: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Error>> {
        self.poll_read_until(State::input_is_over, context)
    }

    /// As [`Self::poll_read`], for who passes on what comes: a drain does not end it while the peer
    /// speaks.
    pub(super) fn poll_read_stream(
        self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, Error>> {
        self.poll_read_until(State::stream_is_over, context)
    }

    fn poll_read_until(
        self,
        is_over: fn(&mut State, Key) -> bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, Error>> {
        Shard::with(|shard| {
            let mut state = shard.state();
            if let Some(reason) = state.failure(self.key) {
                return Poll::Ready(Err(Error::Closed(reason)));
            }
            state.read_on(self.key, Reading::Bytes);
            if state.yields(self.key, context.waker()) {
                return Poll::Pending;
            }
            if let Some(span) = state.pop_input(self.key) {
                shard.metrics.messages.add(1);
                return Poll::Ready(Ok(Some(Chunk::new(span))));
            }
            if is_over(&mut state, self.key) {
                return Poll::Ready(Ok(None));
            }
            state.wait(self.key, Interest::Input, context.waker());
            Poll::Pending
        })
    }

    pub(super) fn poll_write(
        self,
        context: &mut Context<'_>,
        data: &mut Output<'_>,
    ) -> Poll<Result<(), Error>> {
        Shard::with(|shard| {
            let mut state = shard.state();
            while !data.is_empty() {
                if let Some(error) = state.output_refusal(self.key) {
                    return Poll::Ready(Err(error));
                }
                if !state.has_room(self.key) {
                    state.wait(self.key, Interest::Space, context.waker());
                    return Poll::Pending;
                }
                match data {
                    Output::Chunk(chunk) => {
                        state.push_output(self.key, std::mem::take(chunk).into_span())
                    }
                    Output::Slice(slice) => {
                        *slice = &slice[state.collect_output(self.key, slice)..]
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    /// As [`Self::poll_write`], and ends once there was room for some of `bytes`. Gives how many.
    pub(super) fn poll_write_some(
        self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        Shard::with(|shard| {
            let mut state = shard.state();
            if let Some(error) = state.output_refusal(self.key) {
                return Poll::Ready(Err(error));
            }
            if !state.has_room(self.key) {
                state.wait(self.key, Interest::Space, context.waker());
                return Poll::Pending;
            }
            Poll::Ready(Ok(state.collect_output(self.key, bytes)))
        })
    }

    pub(super) fn poll_flush(self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Shard::with(|shard| {
            let mut state = shard.state();
            if let Some(reason) = state.failure(self.key) {
                return Poll::Ready(Err(Error::Closed(reason)));
            }
            if state.is_flushed(self.key) {
                return Poll::Ready(Ok(()));
            }
            state.wait(self.key, Interest::Flushed, context.waker());
            Poll::Pending
        })
    }

    /// Sends our FIN behind what the kernel has taken.
    pub(super) fn close_output(self) {
        Shard::with(|shard| shard.state().close_output(self.key));
    }

    /// Puts the unread rest of a chunk back.
    pub(super) fn unread(self, rest: Chunk) {
        Shard::with(|shard| shard.state().unpop_input(self.key, rest.into_span()));
    }

    /// The future that waited for `interest` was dropped.
    pub(super) fn stop_waiting(self, interest: Interest) {
        Shard::try_with(|shard| shard.state().stop_waiting(self.key, interest));
    }
}
