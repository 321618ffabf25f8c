//! Bodies as they come in (RFC 9112, 6 and 7).

use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::conn::chunk::Chunk;
use crate::conn::output::Output;
use crate::error::Error;
use crate::http::chunk::{self, Line};
use crate::http::exchange::{CONTINUE, Incoming, Place, Reply};
use crate::http::refusal::Refusal;
use crate::http::session::Session;
use crate::http::status::Status;
use crate::step::Step;

impl Session {
    /// The next piece of the body; none behind its end.
    pub(super) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Chunk>, Error>> {
        loop {
            if let Reply::Refused(why) = self.reply() {
                return self.poll_refused(context, why).map(Err);
            }
            let body = &self.exchange_mut().body;
            let place = body.place;
            if place == Place::End {
                return Poll::Ready(Ok(None));
            }
            if body.continue_left > 0 {
                ready!(self.poll_continue(context))?;
            }
            let clock = self.watch();
            let step = match place {
                Place::End => continue,
                Place::Length(left) | Place::Chunk(left) => self.poll_piece(context, left),
                Place::FirstLine | Place::Line => self
                    .poll_line(context, place == Place::FirstLine)
                    .map_ok(|()| None),
                Place::Trailers => self.poll_trailers(context).map_ok(|()| None),
            };
            match step {
                Poll::Pending => {
                    self.exchange_mut().body.waits_since = Some(clock);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(piece) => return Poll::Ready(piece),
            }
        }
    }

    /// A piece of what is `left` until the end, or until the end of a chunk.
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
        left: u64,
    ) -> Poll<Result<Option<Chunk>, Error>> {
        let Some(mut piece) = ready!(self.handle.poll_read(context))? else {
            return Poll::Ready(Err(Error::Truncated));
        };
        if piece.len() as u64 > left {
            let own = piece.split_to(left as usize);
            self.handle.unread(std::mem::replace(&mut piece, own));
        }
        let (rate, most) = (self.limits.body_rate_min, self.limits.body_timeout);
        let body = &mut self.exchange_mut().body;
        let length = piece.len() as u64;
        body.received += length;
        body.win_back(length, rate, most);
        body.place = match (body.place, left - length) {
            (Place::Length(_), 0) => Place::End,
            (Place::Length(_), left) => Place::Length(left),
            (_, 0) => Place::Line,
            (_, left) => Place::Chunk(left),
        };
        if body.place == Place::End {
            self.handle.with(|conn| conn.set_read_deadline(None));
        }
        Poll::Ready(Ok(Some(piece)))
    }

    fn poll_line(&mut self, context: &mut Context<'_>, is_first: bool) -> Poll<Result<(), Error>> {
        let mut parse = |bytes: &[u8]| chunk::parse_line(bytes, is_first);
        let line = ready!(self.handle.poll_parsed(context, usize::MAX, &mut parse))?;
        match line.map(|frame| frame.value) {
            None => return Poll::Ready(Err(Error::Truncated)),
            Some(Err(refusal)) => self.refuse(refusal),
            Some(Ok(line)) => self.begin_chunk(line),
        }
        Poll::Ready(self.unless_mute())
    }

    fn begin_chunk(&mut self, line: Line) {
        let (body_max, head_max) = (self.limits.body_max, self.limits.head_max);
        let body = &mut self.exchange_mut().body;
        body.extensions = body.extensions.saturating_add(line.extensions);
        body.place = match line.size {
            0 => Place::Trailers,
            size => Place::Chunk(size),
        };
        if body.received.saturating_add(line.size) > body_max {
            self.refuse(Refusal::of(
                Status::CONTENT_TOO_LARGE,
                "the body is too large",
            ));
        } else if body.extensions > head_max {
            self.refuse(Refusal::bad("the chunk extensions are too long"));
        }
    }

    fn poll_trailers(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (handle, limits) = (self.handle, std::rc::Rc::clone(&self.limits));
        let scanned = &mut self.exchange_mut().body.scanned;
        let mut parse =
            |bytes: &[u8]| -> Step<_> { chunk::parse_trailers(bytes, scanned, &limits) };
        let trailers = ready!(handle.poll_parsed(context, usize::MAX, &mut parse))?;
        match trailers.map(|frame| frame.value) {
            None => return Poll::Ready(Err(Error::Truncated)),
            Some(Err(refusal)) => self.refuse(refusal),
            Some(Ok(())) => self.exchange_mut().body.place = Place::End,
        }
        Poll::Ready(self.unless_mute())
    }

    /// An error where a refusal cannot be told: half of an answer is out.
    fn unless_mute(&self) -> Result<(), Error> {
        let why = "a mistake in the body, whose answer had begun";
        match self.exchange().body.is_faulty {
            true => Err(Error::Protocol(why)),
            false => Ok(()),
        }
    }

    fn poll_continue(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let handle = self.handle;
        let exchange = self.exchange_mut();
        if exchange.reply != Reply::Awaited {
            exchange.body.continue_left = 0; // it has the answer already
        }
        while exchange.body.continue_left > 0 {
            let from = CONTINUE.len() - usize::from(exchange.body.continue_left);
            let mut rest = Output::Slice(&CONTINUE[from..]);
            let poll = handle.poll_write(context, &mut rest);
            exchange.body.continue_left = rest.len() as u8;
            ready!(poll)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Has the connection end once the body was waited for too long. Gives the time of this turn.
    fn watch(&mut self) -> Duration {
        let handle = self.handle;
        let body = &mut self.exchange_mut().body;
        let clock = handle.with(|conn| {
            let clock = conn.clock();
            body.has_waited_until(clock);
            conn.set_read_deadline(Some(body.allowance));
            clock
        });
        clock.unwrap_or_default()
    }

    /// It is waited for no more, for now.
    pub(super) fn stop_watch(&mut self) {
        let handle = self.handle;
        if let Some(exchange) = self.exchange.as_deref_mut()
            && exchange.body.waits_since.is_some()
        {
            handle.try_with(|conn| exchange.body.has_waited_until(conn.clock()));
        }
    }

    /// Reads the rest of a body that nobody wants. False: it is too long, and the connection ends.
    pub(super) fn poll_skip(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        let unread_max = self.limits.unread_body_max;
        while let Some(piece) = ready!(self.poll_body(context))? {
            let body = &mut self.exchange_mut().body;
            body.skipped = body.skipped.saturating_add(piece.len() as u32);
            if body.skipped > unread_max {
                return Poll::Ready(Ok(false));
            }
        }
        Poll::Ready(Ok(true))
    }
}

impl Incoming {
    fn has_waited_until(&mut self, clock: Duration) {
        if let Some(since) = self.waits_since.take() {
            let waited = clock.saturating_sub(since);
            self.allowance = self.allowance.saturating_sub(waited);
        }
    }

    /// Bytes have come, which are worth their time at the least rate.
    fn win_back(&mut self, bytes: u64, rate: u32, most: Duration) {
        let worth = Duration::from_secs_f64(bytes as f64 / f64::from(rate));
        self.allowance = self.allowance.saturating_add(worth).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_keeps_the_rate_is_waited_for_and_whoever_drips_is_not() {
        let most = Duration::from_secs(30);
        let wait = |bytes_per_second: u64| {
            let mut body = Incoming {
                allowance: most,
                ..Incoming::default()
            };
            for second in 0..1000 {
                body.waits_since = Some(Duration::from_secs(second));
                body.has_waited_until(Duration::from_secs(second + 1));
                if body.allowance.is_zero() {
                    return Some(second);
                }
                body.win_back(bytes_per_second, 1024, most);
            }
            None
        };
        assert_eq!(wait(0), Some(29));
        assert!(wait(1).is_some_and(|end| end < 32));
        assert!(wait(512).is_some_and(|end| end < 62));
        assert_eq!(wait(1024), None);
        assert_eq!(wait(1 << 30), None, "and no credit beyond the bound");
    }

    #[test]
    fn a_body_that_may_take_for_ever_wins_nothing() {
        let mut body = Incoming {
            allowance: Duration::MAX,
            ..Incoming::default()
        };
        body.win_back(1, 1, Duration::MAX);
        assert_eq!(body.allowance, Duration::MAX);
    }
}
