//! Writing an answer, or a part of one.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::Error;
use crate::http::exchange::Reply;
use crate::http::session::Session;

/// The future of [`Request::respond`](super::Request::respond) and whatever else writes: it waits
/// while the peer takes nothing. Dropped half-way it leaves an answer that is not whole, and with it
/// the connection's end.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Sending<'h> {
    session: &'h mut Session,
}

impl<'h> Sending<'h> {
    /// Writes what the session has to send.
    pub(super) fn new(session: &'h mut Session) -> Self {
        Self { session }
    }
}

impl Future for Sending<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.session.reply() {
            Reply::Sending => self.session.poll_write(context),
            Reply::Invalid(why) => Poll::Ready(Err(Error::handler(why))),
            _ => Poll::Ready(Ok(())), // there was room for all of it
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.session.reply() == Reply::Sending {
            self.session.stop_waiting();
        }
    }
}
