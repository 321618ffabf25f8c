//! A handler's input beside what others send to its connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::conn::chunk::Chunk;
use crate::conn::handle::Handle;
use crate::error::Error;

/// What comes to a connection: see [`Conn::next`](crate::Conn::next).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<T = Chunk> {
    /// The peer has sent something.
    Input(T),
    /// Somebody has sent these bytes to the connection
    /// ([`Peers::send_to`](crate::Peers::send_to)).
    Message(Arc<[u8]>),
    /// The server drains: once, and before anything else. Input ends when the peer has its answer.
    Draining,
}

pin_project! {
    /// The future of [`Conn::next`](crate::Conn::next) and its kin.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Next<R> {
        handle: Handle,
        #[pin]
        read: R,
    }
}

impl<R> Next<R> {
    pub(super) fn of(handle: Handle, read: R) -> Self {
        Self { handle, read }
    }
}

impl<T, R: Future<Output = Result<Option<T>, Error>>> Future for Next<R> {
    type Output = Result<Option<Event<T>>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let next = self.project();
        match next.handle.next_message() {
            Some(event) => Poll::Ready(Ok(Some(event))),
            None => {
                let input = next.read.poll(context);
                input.map_ok(|input| input.map(Event::Input))
            }
        }
    }
}

impl Handle {
    /// What there is beside input.
    fn next_message<T>(self) -> Option<Event<T>> {
        let next = self.with(|conn| {
            conn.take_messages();
            if conn.hears_of_drain() {
                return Some(Event::Draining);
            }
            conn.pop_message().map(Event::Message)
        });
        next.flatten()
    }
}
