//! Connections that the shard opens itself: from a socket to a slot whose [`Conn`](crate::Conn)
//! belongs to whoever asked for it.
//!
//! A socket is made and set up by plain system calls, moved into the ring's table of direct
//! descriptors (its number there is the slot's) and connected by the ring. From then on it lives as
//! an accepted connection does, but for two things: it has no handler's task, so its events wake
//! the task that waits for it; and it ends when its `Conn` is dropped.
//!
//! A connect to an address of this machine, at a port that the kernel hands out and where nobody
//! listens, may get that very port for its own end: both SYNs are the same socket's, and it stands,
//! connected to itself (a simultaneous open, RFC 9293, 3.5). That is a refused connect like any
//! other to a port without a listener. To tell, the plain descriptor is kept until the connect has
//! ended.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::task::Waker;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tracing::field::display;

use crate::config::Config;
use crate::error::CloseReason;
use crate::id::Key;
use crate::net::listen::set_options;
use crate::ring::{Completion, bind_address_no_port};
use crate::shard::conns::Ended;
use crate::shard::conns::slot::Origin;
use crate::shard::core::Core;
use crate::shard::policy::log_limit::LogKind;
use crate::shard::state::attempts::{ConnectAttempt, ConnectSlot, ConnectStage, ConnectTarget};
use crate::shard::task::wake::Waiter;

impl Core {
    /// Begins to connect, or queues for it: under the number it has, if it is queued already.
    pub(crate) fn begin_connect(
        &mut self,
        target: ConnectTarget,
        number: Option<u64>,
        waker: &Waker,
    ) -> io::Result<ConnectStage> {
        let slot = match self.take_slot_or_queue(number, waker)? {
            ConnectStage::Connecting(slot) => slot,
            queued => return Ok(queued),
        };
        self.install_in(slot, target, waker)?;
        Ok(ConnectStage::Connecting(slot))
    }

    /// A connect slot that goes with a place in the table, or a turn in the queue for one. Neither:
    /// all places are taken and none comes free, or the queue is full.
    fn take_slot_or_queue(
        &mut self,
        number: Option<u64>,
        waker: &Waker,
    ) -> io::Result<ConnectStage> {
        let free = self.conns.shared.places.outbound_free();
        let has_room = free > self.attempts.installing;
        if !has_room && !self.has_outbound_soon() {
            return Err(self.no_place());
        }
        let slot = if has_room {
            self.attempts.vacant.pop()
        } else {
            None
        };
        let Some(slot) = slot else {
            let most = self.attempts.config.limits.connects_waiting_max;
            if number.is_none() && self.attempts.queue.len() >= most as usize {
                let what = format!(
                    "{most} connects of the shard wait for their turn already (limits.connects_waiting_max)"
                );
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, what));
            }
            return Ok(ConnectStage::Queued(self.queue_connect(number, waker)));
        };
        let queued = number.and_then(|number| self.attempts.queue.remove(&number));
        if let Some(Waiter::Other(waker)) = queued {
            self.conns.shared.run_queue.drop_later(Some(waker));
        }
        Ok(ConnectStage::Connecting(slot))
    }

    fn no_place(&self) -> io::Error {
        let most = self.conns.shared.places.outbound_max();
        let what = format!(
            "the shard has all {most} connections that it may open (limits.outbound_per_shard_max, and those of its upstreams)"
        );
        io::Error::new(io::ErrorKind::QuotaExceeded, what)
    }

    /// Makes the socket for `target` and moves it into the ring's table, in the connect slot.
    fn install_in(&mut self, slot: u32, target: ConnectTarget, waker: &Waker) -> io::Result<()> {
        let socket = match open_socket(&self.attempts.config, &target) {
            Ok(socket) => socket,
            Err(error) => {
                self.free_slot(slot); // whoever waits for one has it
                return Err(error);
            }
        };
        self.conns.shared.ring.install(slot, socket.as_raw_fd());
        self.attempts.installing += 1;
        self.attempts.slots[slot as usize] = ConnectSlot {
            attempt: ConnectAttempt::Installing { socket, target },
            waiter: Some(Waiter::of(waker, self.conns.shared.number)),
        };
        Ok(())
    }

    /// Whether a slot in the table comes free without anybody's doing.
    fn has_outbound_soon(&self) -> bool {
        self.conns.shared.places.outbound_leaving() > 0
            || self.attempts.slots.iter().any(ConnectSlot::is_given_up)
    }

    fn queue_connect(&mut self, number: Option<u64>, waker: &Waker) -> u64 {
        let waiter = Waiter::of(waker, self.conns.shared.number);
        let number = number.unwrap_or_else(|| {
            self.attempts.next_number += 1;
            self.attempts.next_number
        });
        if let Some(Waiter::Other(replaced)) = self.attempts.queue.insert(number, waiter) {
            self.conns.shared.run_queue.drop_later(Some(replaced));
        }
        number
    }

    /// How the connect in `slot` ended, if it has; otherwise `waker` is told when it does.
    pub(crate) fn poll_connect(&mut self, slot: u32, waker: &Waker) -> Option<io::Result<Key>> {
        let waiter = Waiter::of(waker, self.conns.shared.number);
        let at = &mut self.attempts.slots[slot as usize];
        let ConnectAttempt::Ended(outcome) = at.attempt else {
            if let Some(Waiter::Other(replaced)) = at.waiter.replace(waiter) {
                self.conns.shared.run_queue.drop_later(Some(replaced));
            }
            return None;
        };
        self.free_slot(slot);
        Some(outcome.map_err(io::Error::from_raw_os_error))
    }

    /// Nobody waits for the connect in this stage any more.
    pub(crate) fn give_up(&mut self, stage: ConnectStage) {
        match stage {
            ConnectStage::Idle => {}
            ConnectStage::Connecting(slot) => self.give_up_slot(slot),
            ConnectStage::Queued(number) => match self.attempts.queue.remove(&number) {
                Some(Waiter::Other(waker)) => self.conns.shared.run_queue.drop_later(Some(waker)),
                Some(Waiter::Task(_)) => {}
                None => self.call_next(), // its turn had come
            },
        }
    }

    fn give_up_slot(&mut self, slot: u32) {
        let at = &mut self.attempts.slots[slot as usize];
        if let Some(Waiter::Other(waker)) = at.waiter.take() {
            self.conns.shared.run_queue.drop_later(Some(waker));
        }
        match at.attempt {
            ConnectAttempt::Connecting { key, .. } => self.cancel_connect(key),
            ConnectAttempt::Ended(outcome) => {
                self.free_slot(slot);
                if let Ok(key) = outcome
                    && let Some(mut conn) = self.conns.get(key)
                {
                    conn.discard(); // nothing was said on it
                }
            }
            ConnectAttempt::Installing { .. }
            | ConnectAttempt::Failed { .. }
            | ConnectAttempt::Vacant => {}
        }
    }

    fn free_slot(&mut self, slot: u32) {
        self.attempts.slots[slot as usize] = ConnectSlot {
            attempt: ConnectAttempt::Vacant,
            waiter: None,
        };
        self.attempts.vacant.push(slot);
        self.call_next();
    }

    fn call_next(&mut self) {
        if let Some((_, next)) = self.attempts.queue.pop_first() {
            self.wake_waiter(next);
        }
    }

    /// The socket is in the table: its slot lives, and the connect begins.
    pub(crate) fn installed(&mut self, completion: Completion) {
        let slot = completion.token.key.slot.0;
        self.attempts.installing -= 1;
        let attempt = std::mem::replace(
            &mut self.attempts.slots[slot as usize].attempt,
            ConnectAttempt::Vacant,
        );
        let ConnectAttempt::Installing { socket, target } = attempt else {
            return;
        };
        if completion.result < 1 {
            let errno = if completion.result < 0 {
                -completion.result
            } else {
                libc::ENFILE
            };
            return self.attempt_ended(slot, Err(errno));
        }
        let index = self.conns.shared.ring.installed(slot);
        let key = self.conns.occupy(index, target.address, Origin::Outbound);
        self.count_outbound();
        self.attempts.slots[slot as usize].attempt = ConnectAttempt::Connecting {
            key,
            socket,
            port: target.address.port(),
        };
        self.conns.shared.ring.connect(key, slot, target.address);
        if let Some(mut conn) = self.conns.get(key) {
            conn.connect_submitted();
            conn.set_connect_deadline(target.timeout);
        }
        if self.attempts.slots[slot as usize].waiter.is_none() {
            self.cancel_connect(key);
        }
    }

    fn cancel_connect(&mut self, key: Key) {
        if let Some(mut conn) = self.conns.get(key) {
            conn.cancel_connect(CloseReason::HandlerClosed);
        }
    }

    fn count_outbound(&mut self) {
        let shared = &self.conns.shared;
        let outbound = u64::from(shared.places.outbound());
        shared.metrics.outbound.set(outbound);
    }

    /// The kernel has connected, or cannot.
    pub(crate) fn connected(&mut self, completion: Completion) {
        let key = completion.token.key;
        let Some((slot, met_itself)) = self.take_socket(key, completion.result) else {
            return;
        };
        let Some(mut conn) = self.conns.get(key) else {
            return;
        };
        match conn.connected(-completion.result, met_itself) {
            Ok(()) => self.attempt_ended(slot, Ok(key)),
            Err(errno) => {
                self.attempts.slots[slot as usize].attempt = ConnectAttempt::Failed { key, errno };
            }
        }
    }

    /// The slot of the connect that has ended, and whether it has met itself; the table alone
    /// holds its socket from here on.
    fn take_socket(&mut self, key: Key, result: i32) -> Option<(u32, bool)> {
        let is_this = |at: &ConnectSlot| matches!(at.attempt, ConnectAttempt::Connecting { key: of, .. } if of == key);
        let slot = self.attempts.slots.iter().position(is_this)?;
        let attempt = std::mem::replace(
            &mut self.attempts.slots[slot].attempt,
            ConnectAttempt::Vacant,
        );
        let ConnectAttempt::Connecting { socket, port, .. } = attempt else {
            return None;
        };
        let met_itself = result == 0 && is_connected_to_itself(&socket, port);
        if met_itself {
            // Its port is somebody's who is about to listen there: no TIME_WAIT may hold it.
            let _closed_all_the_same = socket.set_linger(Some(Duration::ZERO));
        }
        Some((slot as u32, met_itself))
    }

    /// The descriptor of an outbound connection is closed. A connect that failed ends with that:
    /// its slot in the table is free again.
    pub(crate) fn outbound_closed(&mut self, ended: &Ended) {
        let Ended {
            key, peer, reason, ..
        } = *ended;
        self.count_outbound();
        let failed = self
            .attempts
            .slots
            .iter()
            .enumerate()
            .find_map(|(slot, at)| match at.attempt {
                ConnectAttempt::Failed { key: of, errno } if of == key => Some((slot, errno)),
                _ => None,
            });
        if let Some((slot, errno)) = failed {
            self.attempt_ended(slot as u32, Err(errno));
        }
        self.call_next(); // it may have waited for this slot
        let shared = &mut self.conns.shared;
        if shared.may_log(LogKind::OutboundClosed) {
            let conn = ended.id;
            let (error, reason) = match failed {
                Some((_, errno)) => (Some(io::Error::from_raw_os_error(errno)), None),
                None => (None, Some(reason)),
            };
            let (error, reason) = (error.map(display), reason.map(display));
            tracing::debug!(
                %conn, %peer, reason, error, shard = shared.id.0, "outbound connection closed"
            );
        }
    }

    fn attempt_ended(&mut self, slot: u32, outcome: Result<Key, i32>) {
        let at = &mut self.attempts.slots[slot as usize];
        at.attempt = ConnectAttempt::Ended(outcome);
        match at.waiter.take() {
            Some(waiter) => self.wake_waiter(waiter),
            None => self.give_up_slot(slot),
        }
    }
}

/// Whether both ends of a connection to `port` are the same. The address that was asked for may not
/// be the peer's: 0.0.0.0 is 127.0.0.1.
fn is_connected_to_itself(socket: &Socket, port: u16) -> bool {
    let Some(local) = socket
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket())
    else {
        return false;
    };
    let peer = || {
        socket
            .peer_addr()
            .ok()
            .and_then(|address| address.as_socket())
    };
    local.port() == port && peer().is_some_and(|peer| peer.ip() == local.ip())
}

/// A socket with the options of the settings, bound to its source address if it has one.
fn open_socket(config: &Config, target: &ConnectTarget) -> io::Result<Socket> {
    #[cfg(feature = "failpoints")]
    crate::failpoint::check(crate::failpoint::Point::Socket)?;
    let domain = Domain::for_address(target.address);
    let socket = Socket::new(
        domain,
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    set_options(SockRef::from(&socket), &config.socket)?;
    if target.speaks_first {
        socket.set_tcp_quickack(false)?;
    }
    if let Some(source) = target.source {
        bind_address_no_port(socket.as_fd())?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}
