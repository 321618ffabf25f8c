//! Lines that were due and that somebody in their room has not heard.

use std::time::Duration;

use super::shard::Shard;
use super::turns::Schedule;
use crate::failure::{Failure, FailureKind};

impl Shard {
    /// Connection `index` fails: of what it says nobody is sure but of what it has heard itself.
    pub(super) fn fall_silent(&self, index: u32) {
        let number = self.number(index);
        let mut heard = self.heard.borrow_mut();
        if self.rooms.speaks(number) {
            let lines = heard.next(index, number / self.rooms.rooms);
            self.control.silenced.add(number, lines.into());
        }
        heard.left(index);
    }

    /// How many lines are said in the run in the room of connection `index`.
    pub(super) fn owed_to(&self, index: u32) -> u64 {
        let Some(schedule) = self.schedule.get() else {
            return 0;
        };
        let (room, closes) = (self.room(index), self.control.window_closes.get());
        let speakers = (0..self.rooms.speakers(room)).map(|place| self.rooms.number(room, place));
        speakers
            .map(|speaker| {
                let due = schedule.rounds_before_of(speaker.into(), closes);
                self.control.silenced.lines(speaker, due)
            })
            .sum()
    }

    /// Counts what was not heard, once nothing is awaited any more. That a connection has not heard
    /// which was in its room until then is a failure of the server.
    pub(super) fn count_unheard(&self) {
        let Some(schedule) = self.schedule.get().filter(|_| self.plan.mode.has_rooms()) else {
            return;
        };
        let awaited = self.control.window_closes.get() + self.plan.timeout;
        let is_awaited = self.control.clock() >= awaited;
        for index in 0..self.count {
            let lost = self.count_unheard_of(&schedule, index);
            if is_awaited && self.heard.borrow().is_in(index) {
                self.lose(index, lost);
            }
        }
        let missing: Vec<_> = self.heard.borrow().missing().collect();
        for (index, place, round) in missing {
            let speaker = self.rooms.number(self.room(index), place);
            let due = schedule.due_of(speaker.into(), round.into());
            self.gave_up(1, due);
            self.lose(index, 1);
        }
        let untold = self.heard.borrow().untold();
        self.recorder.borrow_mut().of(true).counts.unanswered += untold;
        self.lose(0, untold);
    }

    /// Of each speaker, the lines behind all that came; how many of them were said.
    fn count_unheard_of(&self, schedule: &Schedule, index: u32) -> u64 {
        let (opens, closes) = (&self.control.window_opens, &self.control.window_closes);
        let (room, mut unheard) = (self.room(index), 0);
        for place in 0..self.rooms.speakers(room) {
            let number = self.rooms.number(room, place);
            let speaker = number.into();
            let before = |time: Duration| schedule.rounds_before_of(speaker, time);
            let next = u64::from(self.heard.borrow().next(index, place));
            let end = before(closes.get());
            let first = next.max(before(opens.get()));
            if first < end {
                self.gave_up(end - first, schedule.due_of(speaker, first));
            }
            let said = self.control.silenced.lines(number, end);
            unheard += said.saturating_sub(next);
        }
        unheard
    }

    fn lose(&self, index: u32, lines: u64) {
        if lines > 0 {
            let failure = Failure::new(FailureKind::Lost, format!("{lines} lines did not come"));
            let number = self.number(index).into();
            self.delta().failures.add_many(number, lines, &failure);
        }
    }

    fn room(&self, index: u32) -> u32 {
        self.rooms.room(self.number(index))
    }
}
