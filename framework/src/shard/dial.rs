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

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::State;
use super::deadline::Ticks;
use super::table::Phase;
use super::wake::Sleeper;
use crate::config::Config;
use crate::error::CloseReason;
use crate::listen::set_options;
use crate::ring::{Completion, Key, Operation, Token, bind_address_no_port};

/// Where a connect goes and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// The local address; none: the kernel's choice.
    pub(crate) source: Option<IpAddr>,
    pub(crate) timeout: Duration,
    /// The handshake's last ACK waits for the first bytes.
    pub(crate) speaks_first: bool,
}

/// One connect in flight.
#[derive(Debug)]
enum Dial {
    Vacant,
    /// The socket is being moved into the table.
    Installing {
        socket: Socket,
        target: Target,
    },
    /// The kernel connects. The socket is kept to see what it has been connected to.
    Connecting {
        key: Key,
        socket: Socket,
        port: u16,
    },
    /// The kernel could not connect: the descriptor is being closed.
    Failed {
        key: Key,
        errno: i32,
    },
    /// It has come to an end that nobody has looked at yet.
    Ended(Result<Key, i32>),
}

#[derive(Debug)]
struct Place {
    dial: Dial,
    /// Who waits for its end; none: nobody does any more.
    sleeper: Option<Sleeper>,
}

impl Place {
    /// It is about to be taken back, and that shows nowhere else yet.
    fn is_given_up(&self) -> bool {
        self.sleeper.is_none() && matches!(self.dial, Dial::Installing { .. })
    }
}

/// The connects of a shard.
#[derive(Debug)]
pub(super) struct Dials {
    config: Arc<Config>,
    places: Vec<Place>,
    vacant: Vec<u32>,
    /// Who waits for a place, by the number that was drawn: first come, first served. Nobody joins
    /// above `limits.connects_waiting_max`.
    queue: BTreeMap<u64, Sleeper>,
    next_number: u64,
    /// Sockets on their way into the table.
    installing: u32,
}

impl Dials {
    pub(super) fn new(config: Arc<Config>) -> Self {
        let count = config.limits.connects_in_flight_max;
        let places = (0..count)
            .map(|_| Place {
                dial: Dial::Vacant,
                sleeper: None,
            })
            .collect();
        Self {
            config,
            places,
            vacant: (0..count).rev().collect(),
            queue: BTreeMap::new(),
            next_number: 0,
            installing: 0,
        }
    }
}

/// How far a connect has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing is done yet, or nothing is left to do.
    Idle,
    /// So many are on their way, or on their way out, that it waits, under this number.
    Queued(u64),
    /// It is on its way, in this place.
    Dialing(u32),
}

impl State {
    /// Begins to connect, or queues for it: under the number it has, if it is queued already.
    pub(crate) fn begin_dial(
        &mut self,
        target: Target,
        number: Option<u64>,
        waker: &Waker,
    ) -> io::Result<Stage> {
        let room = self
            .table
            .outbound_free()
            .saturating_sub(self.dials.installing);
        if room == 0 && !self.has_outbound_soon() {
            let most = self.table.outbound_max();
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!(
                    "the shard has all {most} connections that it may open (limits.outbound_per_shard_max, and those of its upstreams)"
                ),
            ));
        }
        let place = if room == 0 {
            None
        } else {
            self.dials.vacant.pop()
        };
        let Some(place) = place else {
            let most = self.dials.config.limits.connects_waiting_max;
            if number.is_none() && self.dials.queue.len() >= most as usize {
                let what = format!(
                    "{most} connects of the shard wait for their turn already (limits.connects_waiting_max)"
                );
                return Err(io::Error::new(io::ErrorKind::QuotaExceeded, what));
            }
            return Ok(Stage::Queued(self.queue_dial(number, waker)));
        };
        if let Some(Sleeper::Other(waker)) =
            number.and_then(|number| self.dials.queue.remove(&number))
        {
            self.wakes.drop_later(waker);
        }
        let socket = match open_socket(&self.dials.config, &target) {
            Ok(socket) => socket,
            Err(error) => {
                self.free_place(place); // whoever waits for one has it
                return Err(error);
            }
        };
        self.ring.install(place, socket.as_raw_fd());
        self.dials.installing += 1;
        self.dials.places[place as usize] = Place {
            dial: Dial::Installing { socket, target },
            sleeper: Some(self.sleeper(waker)),
        };
        Ok(Stage::Dialing(place))
    }

    /// Whether a place in the table comes free without anybody's doing.
    fn has_outbound_soon(&self) -> bool {
        self.table.outbound_leaving() > 0 || self.dials.places.iter().any(Place::is_given_up)
    }

    fn queue_dial(&mut self, number: Option<u64>, waker: &Waker) -> u64 {
        let sleeper = self.sleeper(waker);
        let number = number.unwrap_or_else(|| {
            self.dials.next_number += 1;
            self.dials.next_number
        });
        if let Some(Sleeper::Other(replaced)) = self.dials.queue.insert(number, sleeper) {
            self.wakes.drop_later(replaced);
        }
        number
    }

    /// How the connect in `place` ended, if it has; otherwise `waker` is told when it does.
    pub(crate) fn dialed(&mut self, place: u32, waker: &Waker) -> Option<io::Result<Key>> {
        let sleeper = self.sleeper(waker);
        let at = &mut self.dials.places[place as usize];
        let Dial::Ended(outcome) = at.dial else {
            if let Some(Sleeper::Other(replaced)) = at.sleeper.replace(sleeper) {
                self.wakes.drop_later(replaced);
            }
            return None;
        };
        self.free_place(place);
        Some(outcome.map_err(io::Error::from_raw_os_error))
    }

    /// Nobody waits for the connect in this stage any more.
    pub(crate) fn give_up(&mut self, stage: Stage) {
        match stage {
            Stage::Idle => {}
            Stage::Dialing(place) => self.give_up_dial(place),
            Stage::Queued(number) => match self.dials.queue.remove(&number) {
                Some(Sleeper::Other(waker)) => self.wakes.drop_later(waker),
                Some(Sleeper::Task(_)) => {}
                None => self.call_next(), // its turn had come
            },
        }
    }

    fn give_up_dial(&mut self, place: u32) {
        let at = &mut self.dials.places[place as usize];
        if let Some(Sleeper::Other(waker)) = at.sleeper.take() {
            self.wakes.drop_later(waker);
        }
        match at.dial {
            Dial::Connecting { key, .. } => self.cancel_connect(key, CloseReason::HandlerClosed),
            Dial::Ended(outcome) => {
                self.free_place(place);
                outcome.into_iter().for_each(|key| self.discard(key)); // nothing was said on it
            }
            Dial::Installing { .. } | Dial::Failed { .. } | Dial::Vacant => {}
        }
    }

    fn free_place(&mut self, place: u32) {
        self.dials.places[place as usize] = Place {
            dial: Dial::Vacant,
            sleeper: None,
        };
        self.dials.vacant.push(place);
        self.call_next();
    }

    fn call_next(&mut self) {
        if let Some((_, next)) = self.dials.queue.pop_first() {
            self.rouse(next);
        }
    }

    /// The socket is in the table: its slot lives, and the connect begins.
    pub(super) fn installed(&mut self, completion: Completion) {
        let place = completion.token.key.slot.0;
        self.dials.installing -= 1;
        let dial = std::mem::replace(&mut self.dials.places[place as usize].dial, Dial::Vacant);
        let Dial::Installing { socket, target } = dial else {
            return;
        };
        if completion.result < 1 {
            let errno = if completion.result < 0 {
                -completion.result
            } else {
                libc::ENFILE
            };
            return self.dial_ended(place, Err(errno));
        }
        let key = self
            .table
            .occupy_dialed(self.ring.installed(place), target.address, self.now);
        self.metrics.outbound.set(u64::from(self.table.outbound()));
        self.dials.places[place as usize].dial = Dial::Connecting {
            key,
            socket,
            port: target.address.port(),
        };
        self.ring.connect(key, place, target.address);
        let deadline = self.now.after(Ticks::at_least(target.timeout));
        if let Some(slot) = self.table.get(key) {
            (slot.sending, slot.frame_deadline) = (true, deadline);
        }
        self.set_deadline(key);
        if self.dials.places[place as usize].sleeper.is_none() {
            self.cancel_connect(key, CloseReason::HandlerClosed);
        }
    }

    /// The kernel has connected, or cannot.
    pub(super) fn connected(&mut self, completion: Completion) {
        let key = completion.token.key;
        let Some((place, met_itself)) = self.let_go_of_socket(key, completion.result) else {
            return;
        };
        let Some(slot) = self.table.get(key) else {
            return;
        };
        slot.sending = false;
        slot.frame_deadline = super::deadline::Tick::NEVER;
        let outcome = match (completion.result, slot.failed) {
            (_, Some(CloseReason::ReadTimeout)) => Err(libc::ETIMEDOUT),
            (_, Some(_)) => Err(libc::ECANCELED),
            (0, None) if met_itself => Err(libc::ECONNREFUSED),
            (0, None) => Ok(key),
            (error, None) => Err(-error),
        };
        match outcome {
            Ok(key) => {
                slot.phase = Phase::Serving;
                self.metrics.connected.add(1);
                self.begin_receive(key);
                self.set_deadline(key);
                self.dial_ended(place, Ok(key));
            }
            Err(errno) => {
                self.begin_close(key);
                self.dials.places[place as usize].dial = Dial::Failed { key, errno };
            }
        }
    }

    /// The place of the connect that has ended, and whether it has met itself; the table alone
    /// holds its socket from here on.
    fn let_go_of_socket(&mut self, key: Key, result: i32) -> Option<(u32, bool)> {
        let is_this = |at: &Place| matches!(at.dial, Dial::Connecting { key: of, .. } if of == key);
        let place = self.dials.places.iter().position(is_this)?;
        let dial = std::mem::replace(&mut self.dials.places[place].dial, Dial::Vacant);
        let Dial::Connecting { socket, port, .. } = dial else {
            return None;
        };
        let met_itself = result == 0 && is_connected_to_itself(&socket, port);
        if met_itself {
            // Its port is somebody's who is about to listen there: no TIME_WAIT may hold it.
            let _closed_all_the_same = socket.set_linger(Some(Duration::ZERO));
        }
        Some((place as u32, met_itself))
    }

    /// The descriptor of an outbound connection is closed. A connect that failed ends with that:
    /// its place in the table is free again.
    pub(super) fn outbound_closed(&mut self, key: Key) {
        self.metrics.outbound.set(u64::from(self.table.outbound()));
        let failed = self
            .dials
            .places
            .iter()
            .enumerate()
            .find_map(|(place, at)| match at.dial {
                Dial::Failed { key: of, errno } if of == key => Some((place, errno)),
                _ => None,
            });
        if let Some((place, errno)) = failed {
            self.dial_ended(place as u32, Err(errno));
        }
        self.call_next(); // it may have waited for this slot
    }

    fn dial_ended(&mut self, place: u32, outcome: Result<Key, i32>) {
        let at = &mut self.dials.places[place as usize];
        at.dial = Dial::Ended(outcome);
        match at.sleeper.take() {
            Some(sleeper) => self.rouse(sleeper),
            None => self.give_up_dial(place),
        }
    }

    /// Takes a connect back; it completes nevertheless, and that completion closes the slot.
    pub(super) fn cancel_connect(&mut self, key: Key, reason: CloseReason) {
        if self
            .table
            .get(key)
            .is_none_or(|slot| slot.phase != Phase::Connecting || slot.failed.is_some())
        {
            return;
        }
        self.table.leaves(key);
        if let Some(slot) = self.table.get(key) {
            slot.failed = Some(reason);
            self.ring.cancel(Token::new(Operation::Connect, key));
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
fn open_socket(config: &Config, target: &Target) -> io::Result<Socket> {
    #[cfg(feature = "failpoints")]
    crate::failpoint::check(crate::failpoint::Point::Socket)?;
    let domain = Domain::for_address(target.address);
    let socket = Socket::new(
        domain,
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    set_options(&socket, config)?;
    if target.speaks_first {
        socket.set_tcp_quickack(false)?;
    }
    if let Some(source) = target.source {
        bind_address_no_port(socket.as_fd())?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}
