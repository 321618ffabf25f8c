//! Who waits for a connection: interests are registered and fired here, and the connections that a
//! task has used are seen to when it has been polled. The only file that changes
//! [`Waits`](super::interest::Waits).

use std::task::Waker;

use crate::error::CloseReason;
use crate::id::Key;
use crate::shard::conns::conn_mut::{ConnMut, Conns};
use crate::shard::conns::interest::{Interest, RunState};
use crate::shard::conns::slot::Phase;
use crate::shard::task::wake::Waiter;

impl ConnMut<'_> {
    // ---- a future waits ----

    /// A future waits for `interest` and is woken through `waker`.
    pub(crate) fn wait(&mut self, interest: Interest, waker: &Waker) {
        self.touch();
        self.slot.waits.add(interest);
        self.keep_waker(interest, waker);
        if interest == Interest::Input {
            self.arm_receive();
        }
    }

    /// As [`Self::wait`] for input, of a handler that has requests of the peer in hand meanwhile: it
    /// is not the peer that is waited for, and none of its deadlines runs.
    pub(crate) fn wait_ahead(&mut self, waker: &Waker) {
        self.wait(Interest::Input, waker);
        self.slot.waits.clear_reading();
    }

    /// The future that waited for `interest` was dropped.
    pub(crate) fn stop_waiting(&mut self, interest: Interest) {
        if self.slot.waits.take(interest) {
            let waker = self.shared.wakers.take(self.key.slot, interest);
            self.shared.run_queue.drop_later(waker);
        }
    }

    /// Nobody waits for the connection any more.
    pub(super) fn forget_waits(&mut self) {
        for interest in Interest::ALL {
            self.stop_waiting(interest);
        }
    }

    /// Keeps `waker`, unless it is that of the one task which every event without a waker wakes: an
    /// accepted connection's own, or the one that uses an outbound connection.
    fn keep_waker(&mut self, interest: Interest, waker: &Waker) {
        let slot = self.key.slot;
        let replaced = match Waiter::of(waker, self.shared.number) {
            Waiter::Task(task) if self.settles_on(task, interest) => {
                self.shared.wakers.take(slot, interest)
            }
            Waiter::Task(_) => self.shared.wakers.insert(slot, interest, waker.clone()),
            Waiter::Other(waker) => self.shared.wakers.insert(slot, interest, waker),
        };
        self.shared.run_queue.drop_later(replaced);
    }

    /// Whether `task` is the one that events without a waker wake. Of an outbound connection it
    /// becomes that, unless somebody waits for another event already.
    fn settles_on(&mut self, task: Key, interest: Interest) -> bool {
        if !self.slot.is_outbound() {
            return task == self.key;
        }
        if !self.slot.waits.has_others(interest) {
            self.slot.waiter = Some(task);
        }
        self.slot.waiter == Some(task)
    }

    /// Whether a handler that reads on has had its share of this turn, and more to read: then it is
    /// polled again in the next one. However small the frames are that its peer sends, they take no
    /// more of a turn than this.
    pub(crate) fn yields(&mut self, waker: &Waker) -> bool {
        if self.shared.reads_left > 0 {
            self.shared.reads_left -= 1;
            return false;
        }
        // An outbound connection is read as the task likes: its peer was asked.
        if self.slot.input.is_empty() || self.slot.is_outbound() {
            return false;
        }
        let is_due = self.slot.waits.run() == RunState::Due; // it woke itself
        match Waiter::of(waker, self.shared.number) {
            Waiter::Task(task) if task == self.key && is_due => {}
            Waiter::Task(task) if task == self.key => {
                self.set_run(RunState::Due);
                self.shared.run_queue.push_yielded(self.key);
            }
            Waiter::Task(_) => self.shared.run_queue.push_yielded_waker(waker.clone()),
            Waiter::Other(waker) => self.shared.run_queue.push_yielded_waker(waker),
        }
        true
    }

    // ---- an event comes ----

    /// `interest` has come: whoever waits for it is woken.
    pub(super) fn fire(&mut self, interest: Interest) {
        let was_reading = self.slot.waits.is_reading();
        if !self.slot.waits.take(interest) {
            return;
        }
        if interest == Interest::Input && was_reading {
            self.slot.waits.set_fed();
        }
        match self.shared.wakers.take(self.key.slot, interest) {
            Some(waker) => self.shared.run_queue.push_waker(waker),
            None if self.slot.is_outbound() => {
                if let Some(task) = self.slot.waiter {
                    self.shared.run_queue.push_woken(task);
                }
            }
            None => self.wake(),
        }
    }

    /// The connection can go on no more: all that is waited for has come, and its handler is polled
    /// whatever else it waits for.
    pub(super) fn fire_all(&mut self) {
        for interest in Interest::ALL {
            self.fire(interest);
        }
        self.wake();
    }

    /// The connection's own task, if it has one, is polled at the end of the turn.
    pub(crate) fn wake(&mut self) {
        let is_served = self.slot.phase == Phase::Serving && !self.slot.is_outbound();
        if is_served && self.slot.waits.run() == RunState::Idle {
            self.set_run(RunState::Due);
            self.shared.run_queue.push(self.key);
        }
    }

    // ---- its task ----

    /// The connection's task is made and polled at the end of the turn.
    pub(super) fn start_task(&mut self) {
        self.set_run(RunState::Start);
        self.shared.run_queue.push(self.key);
    }

    pub(super) fn set_run(&mut self, run: RunState) {
        self.slot.waits.set_run(run);
    }

    /// The task is about to be polled: it says anew what it waits for. Gives where it stood.
    pub(crate) fn begin_poll(&mut self) -> RunState {
        self.shared.reads_left = self.shared.bounds.reads_per_turn_max;
        let before = self.slot.waits.run();
        self.set_run(RunState::Idle);
        self.slot.waits.clear_fed();
        if !self.shared.wakers.has(self.key.slot, Interest::Input) {
            self.slot.waits.clear_reading();
        }
        before
    }

    /// The handler waits. A connection that was cut is over, whatever its handler waits for: it had
    /// this one poll to clean up.
    pub(crate) fn poll_pends(&mut self) -> Option<CloseReason> {
        if let Some(reason) = self.slot.failed.filter(|reason| reason.is_cut()) {
            return Some(reason);
        }
        if !self.slot.waits.is_reading() {
            self.reset_window();
        }
        None
    }

    /// The connection is looked at when the task that is being polled has gone as far as it can.
    pub(super) fn touch(&mut self) {
        if self.slot.waits.touch() {
            self.shared.touched.push(self.key);
        }
    }

    fn after_poll(&mut self) {
        self.slot.waits.clear_touched();
        if self.slot.phase == Phase::Serving {
            self.send_output();
            self.set_deadline();
        }
    }
}

impl Conns {
    /// A task was polled: its output goes out, on whatever connections and whatever it waits for,
    /// and the fitting deadlines run.
    pub(crate) fn after_poll(&mut self) {
        while let Some(key) = self.shared.touched.pop() {
            if let Some(mut conn) = self.get(key) {
                conn.after_poll();
            }
        }
    }
}
