//! As many messages as there is room for, one way: how many a second, beside a bare ring.
//!
//! Both shards are busy: the first sends a batch in each turn, the second has a task that never
//! waits, so that it need not be woken.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use corelane::{Conn, Handler, Peer, ShardContext, spawn};
use futures_lite::future::yield_now;
use loadtest::Stop;
use loadtest::error::Error;
use push::comparison::{Side, by_turns};
use push::times::{Bound, Figure, header};

use crate::shards::{CAPACITY, Shards};
use crate::{Arguments, ring};

/// What part of the bare ring's messages a second it must be.
const BOUND: Bound = Bound::AtLeast(0.6);

pub(crate) fn compare(arguments: &Arguments, stop: &Stop) -> Result<bool, Error> {
    header("messages one way, millions a second", "shards", "rtrb");
    let batch = usize::from(arguments.batch);
    let shards = Shards::start(arguments.cores(), move |shard, tell| {
        Counting::new(shard, tell, batch)
    })?;
    let rounds = by_turns(arguments.rounds, stop, |side| {
        let (took, tally) = match side {
            Side::Ours => {
                shards.send(0, arguments.messages)?;
                shards.hear(stop)?.duration(shards.hear(stop)?)?
            }
            Side::Other => ring::run(arguments.messages, batch, CAPACITY, arguments.cores()),
        };
        tally.check(arguments.messages)?;
        Ok(arguments.messages as f64 / took.as_secs_f64() / 1e6)
    })?;
    shards.end()?;
    Ok(Figure {
        what: format!("u64 in batches of {batch}, room for {CAPACITY}"),
        pairs: rounds.into_iter().map(Into::into).collect(),
        bound: BOUND,
    }
    .show())
}

/// What has come. The messages of a turn are its numbers, from the greatest to 0.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) received: u64,
    sum: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, number: u64) {
        self.received += 1;
        self.sum = self.sum.wrapping_add(number);
    }

    /// Fails unless each of so many has come once.
    fn check(self, messages: u64) -> Result<(), Error> {
        if self.received == messages && self.sum == messages * (messages - 1) / 2 {
            Ok(())
        } else {
            Err(Error::Failed(format!("of {messages} messages: {self:?}")))
        }
    }
}

/// What a shard tells.
enum Told {
    Begun(Instant),
    Ended(Instant, Tally),
}

impl Told {
    /// From this to `end`, with what has come.
    fn duration(self, end: Self) -> Result<(Duration, Tally), Error> {
        match (self, end) {
            (Self::Begun(begun), Self::Ended(ended, tally)) => Ok((ended - begun, tally)),
            _ => Err(Error::Failed("a turn ends before it begins".to_owned())),
        }
    }
}

/// The first shard is sent how many messages it is to send the second, which counts them.
struct Counting {
    is_first: bool,
    other: Peer<u64>,
    tell: Sender<Told>,
    batch: usize,
    tally: Rc<Cell<Tally>>,
}

impl Counting {
    fn new(shard: &ShardContext<u64>, tell: Sender<Told>, batch: usize) -> Self {
        Self {
            is_first: shard.id.0 == 0,
            other: shard.peers().at(1 - shard.id.0 as usize),
            tell,
            batch,
            tally: Rc::default(),
        }
    }

    fn count(&self, number: u64) {
        let mut tally = self.tally.get();
        if tally.received == 0 {
            let tally = Rc::clone(&self.tally);
            spawn(stay_busy(tally)).expect("there is one such task in a turn");
        }
        tally.add(number);
        if number == 0 {
            self.tell(Told::Ended(Instant::now(), tally));
            tally = Tally::default();
        }
        self.tally.set(tally);
    }

    fn tell(&self, told: Told) {
        let _ = self.tell.send(told); // nobody listens any more: an end was asked for
    }
}

impl Handler<u64> for Counting {
    async fn serve(&self, _conn: &mut Conn) -> Result<(), corelane::Error> {
        Ok(())
    }

    fn on_message(&self, number: u64) {
        if self.is_first {
            self.tell(Told::Begun(Instant::now()));
            let task = send(self.other.clone(), number, self.batch);
            spawn(task).expect("there is one such task in a turn");
        } else {
            self.count(number);
        }
    }
}

/// Sends so many, a batch or what there is room for in each turn.
async fn send(other: Peer<u64>, messages: u64, batch: usize) {
    let mut numbers = (0..messages).rev();
    let mut next = numbers.next();
    while next.is_some() {
        for _ in 0..batch {
            let Some(number) = next else { break };
            if other.try_send(number).is_err() {
                break;
            }
            next = numbers.next();
        }
        yield_now().await;
    }
}

/// Until the last message of a turn has come.
async fn stay_busy(tally: Rc<Cell<Tally>>) {
    yield_now().await; // the message that began the turn is counted now
    while tally.get().received > 0 {
        yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_lost_or_doubled_is_found() {
        let tally = |numbers: &[u64]| {
            let mut tally = Tally::default();
            numbers.iter().for_each(|number| tally.add(*number));
            tally
        };
        assert!(tally(&[2, 1, 0]).check(3).is_ok());
        for wrong in [&[2, 1][..], &[2, 0, 0], &[2, 1, 1, 0]] {
            assert!(tally(wrong).check(3).is_err(), "{wrong:?}");
        }
    }
}
