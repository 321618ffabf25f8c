//! A connection that speaks HTTP: where its peer and its handler are.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::close_reason::CloseReason;
use crate::conn::connection::Conn;
use crate::conn::handle::Handle;
use crate::conn::output::Output;
use crate::error::Error;
use crate::http::exchange::{Exchange, Place, Reply, in_hand};
use crate::http::limits::Limits;
use crate::http::refusal::Refusal;

/// What [`Http`](super::Http) and all that it gives work on. An idle connection keeps it, so it is
/// small.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) handle: Handle,
    pub(super) limits: Rc<Limits>,
    /// None while nothing has come.
    pub(super) exchange: Option<Box<Exchange>>,
    /// Requests that are served yet; 0: the connection ends.
    pub(super) requests_left: u32,
    /// Bytes of the next head that were looked at.
    pub(super) scanned: u16,
    /// Answers since the last that are known to be on their way.
    pub(super) in_hand: u8,
    /// Empty lines before the next head.
    pub(super) empty_lines: u8,
}

impl Session {
    pub(super) fn new(conn: &mut Conn, limits: &Rc<Limits>) -> Self {
        Self {
            handle: conn.handle(),
            requests_left: limits.requests_max.unwrap_or(u32::MAX),
            limits: Rc::clone(limits),
            exchange: None,
            scanned: 0,
            in_hand: 0,
            empty_lines: 0,
        }
    }

    /// No request is read any more.
    pub(super) fn end(&mut self) {
        self.requests_left = 0;
    }

    pub(super) fn is_over(&self) -> bool {
        self.requests_left == 0
    }

    /// The request in hand.
    pub(super) fn exchange(&self) -> &Exchange {
        self.exchange
            .as_deref()
            .expect("whoever asks for a part of a request has one in hand")
    }

    pub(super) fn exchange_mut(&mut self) -> &mut Exchange {
        in_hand(&mut self.exchange)
    }

    pub(super) fn reply(&self) -> Reply {
        let exchange = self.exchange.as_deref();
        exchange.map_or(Reply::Idle, |exchange| exchange.reply)
    }

    /// What was received behind the head in hand is unread again.
    pub(super) fn give_back(&mut self) {
        let handle = self.handle;
        if let Some(exchange) = self.exchange.as_deref_mut()
            && !exchange.rest().is_empty()
        {
            handle.unread(exchange.take_rest());
        }
    }

    /// Nothing is in hand, and nothing kept for it.
    pub(super) fn put_exchange(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.put();
        }
    }

    // ---- writing ----

    /// Writes what the exchange has. Waits while there is no room for it.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let handle = self.handle;
        let exchange = self.exchange_mut();
        if exchange.written < exchange.out.len() {
            let mut rest = Output::Slice(&exchange.out[exchange.written..]);
            let poll = handle.poll_write(context, &mut rest);
            exchange.written = exchange.out.len() - rest.len();
            ready!(poll)?;
        }
        if !exchange.held.is_empty() {
            ready!(handle.poll_write(context, &mut exchange.held))?;
        }
        while !exchange.end.is_empty() {
            let mut rest = Output::Slice(exchange.end);
            let poll = handle.poll_write(context, &mut rest);
            exchange.end = &exchange.end[exchange.end.len() - rest.len()..];
            ready!(poll)?;
        }
        exchange.end_write();
        if exchange.reply == Reply::Upgraded {
            self.put_exchange(); // the protocol that follows may be silent for long
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the words of a refusal and our FIN. The error that comes of it ends the connection
    /// politely: all is said, and an end without the FIN would reset what the peer has yet to read.
    pub(super) fn poll_refused(
        &mut self,
        context: &mut Context<'_>,
        why: &'static str,
    ) -> Poll<Error> {
        if let Err(error) = ready!(self.poll_write(context)) {
            return Poll::Ready(error);
        }
        if let Err(error) = ready!(self.handle.poll_close(context)) {
            return Poll::Ready(error);
        }
        let exchange = self.exchange_mut();
        exchange.reply = Reply::Whole;
        exchange.body.place = Place::End;
        Poll::Ready(Error::Protocol(why))
    }

    /// The request in hand is refused, as far as nothing was answered yet; the connection ends.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.end();
        let is_answered = match self.reply() {
            Reply::Idle | Reply::Awaited => false,
            Reply::Whole => true,
            // Half an answer is out: nothing that could be said would be understood.
            _ => {
                self.exchange_mut().body.is_faulty = true;
                return;
            }
        };
        if !is_answered {
            self.write_refusal(refusal);
        }
        self.exchange_mut().reply = Reply::Refused(refusal.why);
    }

    /// A future that waited was dropped. What its handler does from now on is no wait for a body.
    pub(super) fn stop_waiting(&mut self) {
        self.handle.stop_all();
        self.stop_watch();
    }
}

/// The connection is its handler's again, with all that it has not seen; behind an answer that is
/// not whole nothing can follow, and a FIN would say that it is.
impl Drop for Session {
    fn drop(&mut self) {
        self.give_back();
        if let Reply::Sending | Reply::Streamed | Reply::Invalid(_) = self.reply() {
            self.handle.fail(CloseReason::HandlerFailed);
        }
    }
}
