//! A connection that is in a room: it says its lines when they are due, and hears those of all.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use corelane::Conn;
use futures_io::AsyncWrite;

use super::heard::Arrival;
use super::session::closed_early;
use super::shard::Shard;
use super::turns::{lag, latency};
use crate::control::RunStage;
use crate::failure::{Failure, FailureKind};
use crate::rooms::{Line, RECEIVED_MAX, Received};

/// How much of a wrong line is shown.
const SHOWN_MAX: usize = 80;

pub(super) struct Member<'a> {
    shard: &'a Shard,
    conn: Conn,
    index: u32,
    /// The next line that it says.
    round: u32,
    /// The begun line of what was received.
    begun: Vec<u8>,
    /// The end of a line that the connection has not taken yet.
    unsent: Vec<u8>,
    /// When the one before was taken.
    free: Duration,
    /// Lines that have come to it, each once; and how many are to come, once that is known.
    heard: u64,
    owed: Option<Owed>,
}

/// Lines that are to come, with so many speakers that have failed.
#[derive(Debug, Clone, Copy)]
struct Owed {
    lines: u64,
    silenced: u64,
}

impl<'a> Member<'a> {
    /// Enters its room.
    pub(super) async fn enter(
        shard: &'a Shard,
        mut conn: Conn,
        index: u32,
    ) -> Result<Self, Failure> {
        conn.set_read_deadline(Some(shard.plan.timeout));
        conn.write(&shard.rooms.greeting(shard.number(index)))
            .await?;
        let mut member = Self {
            shard,
            conn,
            index,
            round: 0,
            begun: Vec::new(),
            unsent: Vec::new(),
            free: Duration::ZERO,
            heard: 0,
            owed: None,
        };
        while !shard.heard.borrow().is_in(index) {
            poll_fn(|context| member.poll_lines(context)).await?;
        }
        member.conn.set_read_deadline(None);
        Ok(member)
    }

    /// Speaks and hears until all that was due in the run has come.
    pub(super) async fn take_part(&mut self) -> Result<(), Failure> {
        poll_fn(|context| {
            loop {
                self.speak(context)?;
                if self.has_heard_all() || self.is_over() {
                    return Poll::Ready(Ok(()));
                }
                ready!(self.poll_event(context))?;
            }
        })
        .await
    }

    /// Hears what nobody is to say any more.
    pub(super) async fn stay(&mut self) -> Result<(), Failure> {
        poll_fn(|context| {
            while !self.is_over() {
                ready!(self.poll_event(context))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    fn is_over(&self) -> bool {
        self.shard.control.stage.get() >= RunStage::Finishing
    }

    fn has_heard_all(&mut self) -> bool {
        let (shard, index) = (self.shard, self.index);
        if shard.control.stage.get() < RunStage::Settling {
            return false;
        }
        let silenced = shard.control.silenced.count();
        let known = self.owed.filter(|owed| owed.silenced == silenced);
        let owed = known.unwrap_or_else(|| Owed {
            lines: shard.owed_to(index),
            silenced,
        });
        self.owed = Some(owed);
        self.heard >= owed.lines
    }

    /// It is called, or lines come.
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let turn = &self.shard.turns[self.index as usize];
        if turn.poll_notified(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.poll_lines(context)
    }

    /// Says what is due, as far as the connection takes it.
    fn speak(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        loop {
            while !self.unsent.is_empty() {
                let written = Pin::new(&mut self.conn).poll_write(context, &self.unsent)?;
                let Poll::Ready(written) = written else {
                    return Ok(());
                };
                self.unsent.drain(..written);
                self.free = self.shard.control.clock();
            }
            let (now, number) = (self.shard.control.clock(), self.shard.number(self.index));
            let Some(due) = self.due().filter(|due| *due <= now) else {
                return Ok(());
            };
            let mut delta = self.shard.delta_of(due, now);
            delta.counts.said += 1;
            if let Some(lag) = lag(due, self.free, now) {
                delta.lagged(lag);
            }
            let round = self.round;
            self.shard
                .rooms
                .say(Line { number, round, due }, &mut self.unsent);
            self.round += 1;
        }
    }

    /// When it says its next line; none if it does not.
    fn due(&self) -> Option<Duration> {
        let (shard, number) = (self.shard, self.shard.number(self.index));
        let schedule = shard
            .schedule
            .get()
            .filter(|_| shard.rooms.speaks(number))?;
        let due = schedule.due_of(number.into(), self.round.into());
        (due < shard.control.window_closes.get()).then_some(due)
    }

    fn poll_lines(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Some(chunk) = ready!(self.conn.poll_read(context))? else {
            return Poll::Ready(Err(closed_early("while it was in its room")));
        };
        let now = self.shard.control.clock();
        let mut rest = &*chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, more) = (&rest[..end], &rest[end + 1..]);
            if self.begun.is_empty() {
                self.hear(line, now)?;
            } else {
                let mut whole = std::mem::take(&mut self.begun);
                whole.extend_from_slice(line);
                self.hear(&whole, now)?;
            }
            rest = more;
        }
        self.begun.extend_from_slice(rest);
        Poll::Ready(match self.begun.len() {
            0..=RECEIVED_MAX => Ok(()),
            _ => Err(wrong("a line does not end", &self.begun)),
        })
    }

    fn hear(&mut self, line: &[u8], now: Duration) -> Result<(), Failure> {
        let (shard, number) = (self.shard, self.shard.number(self.index));
        match shard.rooms.parse(shard.rooms.room(number), line) {
            Received::Notice => {
                if shard.rooms.is_welcome(number, line) {
                    shard.heard.borrow_mut().entered(self.index);
                }
                Ok(())
            }
            Received::Said { place, round } => self.hear_said(place, round, line, now),
            Received::Unknown => Err(wrong("no line of this room", line)),
        }
    }

    fn hear_said(
        &mut self,
        place: u32,
        round: u32,
        line: &[u8],
        now: Duration,
    ) -> Result<(), Failure> {
        let (shard, number) = (self.shard, self.shard.number(self.index));
        let speaker = shard.rooms.number(shard.rooms.room(number), place);
        let schedule = shard.schedule.get();
        let due = schedule.map(|schedule| schedule.due_of(speaker.into(), round.into()));
        let Some(due) = due.filter(|due| *due <= now) else {
            return Err(wrong("a line that is not due", line));
        };
        if !shard.is_as_said(
            Line {
                number: speaker,
                round,
                due,
            },
            line,
        ) {
            return Err(wrong("not as it was said", line));
        }
        let arrival = shard.heard.borrow_mut().take(self.index, place, round);
        if arrival == Arrival::Doubled {
            shard.note(self.index, FailureKind::Doubled, speaker, round);
            return Ok(());
        }
        if arrival == Arrival::Late {
            shard.note(self.index, FailureKind::OutOfOrder, speaker, round);
        }
        self.heard += 1;
        shard.delivered(self.index, round, due, now);
        Ok(())
    }
}

impl Shard {
    fn is_as_said(&self, line: Line, heard: &[u8]) -> bool {
        let mut right = self.scratch.borrow_mut();
        right.clear();
        self.rooms.heard(line, &mut right);
        *right == heard
    }

    /// A line of another has come to connection `index`, to which it does no other harm.
    fn note(&self, index: u32, kind: FailureKind, speaker: u32, round: u32) {
        let failure = Failure::new(kind, format!("line {round} of connection {speaker}"));
        self.delta()
            .failures
            .add(self.number(index).into(), &failure);
    }

    fn delivered(&self, index: u32, round: u32, due: Duration, now: Duration) {
        let took = latency(due, now);
        if let Err(late) = self.in_time("delivery", took) {
            self.delta().failures.add(self.number(index).into(), &late);
            return self.gave_up(1, due);
        }
        let within_window = self.control.is_within_window(now);
        let mut delta = self.delta_of(due, now);
        delta.answered(1, took, within_window);
        if self.rooms.is_push() {
            delta.reached(round, took);
        }
    }
}

fn wrong(what: &str, line: &[u8]) -> Failure {
    let shown = line[..line.len().min(SHOWN_MAX)].escape_ascii();
    Failure::new(FailureKind::WrongBytes, format!("{what}: {shown}"))
}
