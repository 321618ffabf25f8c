//! The session of one connection of the load tester.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use corelane::{Conn, Connector, Error, sleep, timeout, websocket};

use super::exchange::{Exchange, await_replies, drip};
use super::member::Member;
use super::session::{Session, closed_early};
use super::shard::Shard;
use super::turns::lag;
use crate::control::RunStage;
use crate::failure::{Failure, FailureKind};
use crate::plan::Mode;
use crate::token::Participant;
use crate::workload::Protocol;

/// How long a cycle of a storm waits when the connections of those before it have not closed yet.
const ROOM_WAIT: Duration = Duration::from_millis(1);

/// Connection `index` of the shard, from its connect to its end.
///
/// The size of this future is the cost of a connection while it is held: long parts that are soon
/// over are boxed.
pub(super) async fn run(shard: Rc<Shard>, index: u32) {
    let mut reached = Reached::Nothing;
    if shard.plan.mode == Mode::Storm {
        Box::pin(storm(&shard, index)).await;
    } else {
        let outcome = match shard.plan.mode.has_rooms() {
            true => Box::pin(member(&shard, index, &mut reached)).await,
            false => live(&shard, index, &mut reached).await,
        };
        shard.ended(index, outcome, reached != Reached::Nothing);
    }
    shard.left(reached == Reached::End);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Nothing,
    /// Its first request was answered.
    FirstReply,
    /// It has nothing more to ask, and nothing is owed to it.
    End,
}

async fn live(shard: &Shard, index: u32, reached: &mut Reached) -> Result<(), Failure> {
    let greeted = greet(shard, index).await;
    let mut session = greeted.inspect_err(|_| shard.never_sends(index, 0))?;
    *reached = Reached::FirstReply;
    shard.settle(true);
    match shard.plan.mode {
        Mode::Open => session.open_loop().await?,
        Mode::Slow => session.drip_on().await?,
        Mode::Closed => session.closed_loop().await?,
        Mode::Idle | Mode::Storm | Mode::Chat | Mode::Push => {}
    }
    *reached = Reached::End;
    shard.through();
    let is_over = || shard.control.stage.get() >= RunStage::Finishing;
    session.hold_until(is_over).await?;
    session.bid_farewell().await;
    Ok(())
}

/// In a room from its greeting to its end.
async fn member(shard: &Shard, index: u32, reached: &mut Reached) -> Result<(), Failure> {
    let entered = Box::pin(enter(shard, index)).await;
    let mut member = entered.inspect_err(|_| shard.fall_silent(index))?;
    *reached = Reached::FirstReply;
    shard.settle(true);
    let outcome = member.take_part().await;
    outcome.inspect_err(|_| shard.fall_silent(index))?;
    *reached = Reached::End;
    shard.through();
    member.stay().await
}

async fn enter(shard: &Shard, index: u32) -> Result<Member<'_>, Failure> {
    let conn = shard.connect(index).await?;
    Member::enter(shard, conn, index).await
}

async fn greet(shard: &Shard, index: u32) -> Result<Session<'_>, Failure> {
    let conn = Box::pin(shard.open(index)).await?;
    let mut session = Session::new(shard, conn, index);
    let now = shard.control.clock();
    Exchange::new(&mut session, 1, now, now).await?;
    Ok(session)
}

impl Session<'_> {
    /// Requests at their intended times, whatever the replies do.
    async fn open_loop(&mut self) -> Result<(), Failure> {
        let mut round = 0;
        let outcome = self.ask_by_turns(&mut round).await;
        self.shard.never_sends_after(self.index, round, &outcome);
        outcome
    }

    /// Leaves in `round` the first that was not sent.
    async fn ask_by_turns(&mut self, round: &mut u64) -> Result<(), Failure> {
        let mut free = self.shard.control.clock();
        loop {
            let Some(intended) = self.turn(*round).await? else {
                return Ok(());
            };
            *round += 1;
            let now = self.shard.control.clock();
            if let Some(lag) = lag(intended, free, now) {
                self.shard.delta_of(intended, now).lagged(lag);
            }
            let requests = self.shard.plan.workload.pipeline;
            Exchange::new(self, requests, intended, now).await?;
            free = self.shard.control.clock();
        }
    }

    /// One request after the other.
    async fn closed_loop(&mut self) -> Result<(), Failure> {
        let shard = self.shard;
        while shard.control.stage.get() < RunStage::Settling {
            let is_called = || shard.may_ask() || shard.control.stage.get() >= RunStage::Settling;
            self.hold_until(is_called).await?;
            let _busy = shard.plan.participant.as_ref().map(Participant::begin);
            while shard.may_ask() {
                let now = shard.control.clock();
                Exchange::new(self, shard.plan.workload.pipeline, now, now).await?;
            }
        }
        Ok(())
    }

    /// A byte at each turn, and in the end the replies to them.
    async fn drip_on(&mut self) -> Result<(), Failure> {
        let mut round = 0;
        while self.turn(round).await?.is_some() {
            drip(self).await?;
            round += 1;
        }
        await_replies(self).await
    }
}

/// Connect, one request, close, and again.
async fn storm(shard: &Shard, index: u32) {
    loop {
        shard.wait_for_place().await;
        if shard.control.stage.get() >= RunStage::Settling
            || shard.is_in_vain()
            || !shard.begin_cycle()
        {
            break;
        }
        let mut served = false;
        let outcome = cycle(shard, index, &mut served).await;
        if served {
            shard.served.set(shard.served.get() + 1);
            shard.delta().counts.served += 1;
        }
        shard.ended(index, outcome, served);
    }
    shard.settle(false);
}

async fn cycle(shard: &Shard, index: u32, served: &mut bool) -> Result<(), Failure> {
    // The latency of a storm is that of its cycles, so the connect counts.
    let begun = shard.control.clock();
    let connected = shard.open(index).await;
    if connected.is_err() {
        shard.gave_up(1, begun);
    }
    let mut session = Session::new(shard, connected?, index);
    Exchange::new(&mut session, 1, begun, shard.control.clock()).await?;
    *served = true;
    session.bid_farewell().await;
    Ok(())
}

impl Shard {
    /// Connects, up to where requests can be sent.
    async fn open(&self, index: u32) -> Result<Conn, Failure> {
        let mut conn = self.connect(index).await?;
        if self.plan.workload.protocol == Protocol::Websocket {
            Box::pin(self.upgrade(&mut conn)).await?;
        }
        Ok(conn)
    }

    /// Goes over to WebSocket. What follows is framed here, with far less to remember.
    async fn upgrade(&self, conn: &mut Conn) -> Result<(), Failure> {
        let (workload, begun) = (&self.plan.workload, self.control.clock());
        let (host, path) = (&workload.host, &workload.path);
        let asked = websocket::connect(conn, host, path, &[], &self.websocket);
        let asked = timeout(self.plan.timeout, asked).await;
        self.in_time("handshake", self.control.clock().saturating_sub(begun))?;
        let late = Failure::new(FailureKind::TimedOut, "no answer to the handshake");
        match asked.map_err(|_| late)? {
            Ok(_framed_elsewhere) => Ok(()),
            Err(Error::Protocol(why)) => Err(Failure::new(FailureKind::WrongBytes, why)),
            Err(Error::Truncated) => Err(closed_early("instead of a handshake")),
            Err(error) => Err(error.into()),
        }
    }

    async fn connect(&self, index: u32) -> Result<Conn, Failure> {
        let target = self.plan.target(self.number(index));
        let mut connector = Connector::new().timeout(self.plan.timeout);
        if !self.rooms.greeting(self.number(index)).is_empty() {
            connector = connector.speaks_first();
        }
        if let Some(source) = self.plan.source(self.number(index)) {
            connector = connector.source(source);
        }
        self.delta().counts.begun += 1;
        let begun = self.control.clock();
        loop {
            let tried = self.control.clock();
            let connected = match self.plan.tls.clone() {
                Some(tls) => connector.tls(tls).connect(target).await,
                None => connector.connect(target).await,
            };
            match connected {
                Ok(conn) => {
                    let now = self.control.clock();
                    self.in_time("connect", now.saturating_sub(tried))?;
                    self.delta().connected(now.saturating_sub(begun));
                    if let Some(session) = conn.tls() {
                        self.delta().shook_hands(session.is_resumed);
                    }
                    return Ok(conn);
                }
                Err(Error::Connect(error)) if error.kind() == io::ErrorKind::QuotaExceeded => {
                    sleep(ROOM_WAIT).await
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_run: impl FnOnce(Rc<Shard>, u32) -> F) -> usize {
        size_of::<F>()
    }

    /// A million of them are held at once.
    #[test]
    fn what_is_rare_is_not_paid_for_by_a_connection_that_is_held() {
        let held = size(run);
        assert!(held <= 280, "{held} bytes");
    }
}
