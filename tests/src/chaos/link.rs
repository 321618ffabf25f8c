//! One connection through the proxy: two sockets, and a line for each direction.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::faults::Faults;
use super::line::{Line, Step};
use super::{Cut, LOOK, Shared};
use crate::{Random, reset};

/// Bytes received at a time.
const RECEIVED_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    to_server: Way,
    to_client: Way,
}

/// One direction, with what is known of its two sockets.
#[derive(Debug)]
struct Way {
    line: Line,
    state: State,
    /// The sender sends no more.
    ended: bool,
    /// The receiver's socket takes no more for now.
    full: bool,
    /// When there is something to do though no socket is ready.
    due: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Our FIN is out; what still comes is dropped.
    Closed,
    /// What comes is dropped, and the receiver is told nothing.
    Hole,
}

impl Link {
    pub(super) fn new(
        client: TcpStream,
        server: TcpStream,
        [to_server, to_client]: [Faults; 2],
        mut random: Random,
    ) -> Self {
        let other = Random::seeded(random.bits());
        Self {
            client,
            server,
            to_server: Way::new(to_server, random),
            to_client: Way::new(to_client, other),
        }
    }

    /// Until both directions have ended, or the proxy does.
    pub(super) fn run(mut self, shared: &Shared) {
        let sockets = [&self.client, &self.server];
        if sockets.iter().any(|socket| {
            socket
                .set_nodelay(true)
                .and_then(|()| socket.set_nonblocking(true))
                .is_err()
        }) {
            return; // gone already
        }
        while !(shared.is_over() || self.is_over()) {
            let forth = self
                .to_server
                .carry(&self.client, &self.server, &shared.to_server);
            let back = self
                .to_client
                .carry(&self.server, &self.client, &shared.to_client);
            if forth.and(back).is_err() {
                let _ = reset(self.client);
                let _ = reset(self.server);
                return;
            }
            self.wait();
        }
    }

    fn is_over(&self) -> bool {
        self.to_server.is_over() && self.to_client.is_over()
    }

    /// Until a socket is ready, a piece is due, or it is time to look around.
    fn wait(&self) {
        let (forth, back) = (&self.to_server, &self.to_client);
        let now = Instant::now();
        let left = [forth.due, back.due]
            .into_iter()
            .flatten()
            .map(|due| due.saturating_duration_since(now))
            .min();
        let timeout = left
            .and_then(|left| Timespec::try_from(left).ok())
            .map_or(LOOK, |left| left.min(LOOK));
        let wanted = [
            (&self.client, forth.wants_input(), back.full),
            (&self.server, back.wants_input(), forth.full),
        ];
        // Of a socket that is asked for nothing poll tells an end all the same, and again and
        // again: it is left out.
        let wanted = wanted
            .into_iter()
            .filter(|(_, input, space)| *input || *space);
        let mut sockets: Vec<PollFd<'_>> = wanted
            .map(|(socket, input, space)| PollFd::new(socket, flags(input, space)))
            .collect();
        let _ = poll(&mut sockets, Some(&timeout)); // whatever it says, the sockets are tried
    }
}

fn flags(input: bool, space: bool) -> PollFlags {
    let input = if input {
        PollFlags::IN
    } else {
        PollFlags::empty()
    };
    input
        | if space {
            PollFlags::OUT
        } else {
            PollFlags::empty()
        }
}

impl Way {
    fn new(faults: Faults, random: Random) -> Self {
        Self {
            line: Line::new(faults, random),
            state: State::Open,
            ended: false,
            full: false,
            due: None,
        }
    }

    fn is_over(&self) -> bool {
        self.ended && self.state != State::Open
    }

    fn wants_input(&self) -> bool {
        !self.ended && (self.state != State::Open || self.line.room() > 0)
    }

    /// Takes what the sender has, and gives the receiver what is due. An error: both ends are to be
    /// reset.
    fn carry(&mut self, from: &TcpStream, to: &TcpStream, passed: &AtomicU64) -> io::Result<()> {
        if self.wants_input() {
            self.take(from)?;
        }
        self.due = None;
        if self.state == State::Open {
            self.give(to, passed)
        } else {
            Ok(())
        }
    }

    fn take(&mut self, mut from: &TcpStream) -> io::Result<()> {
        let mut bytes = [0; RECEIVED_MAX];
        let room = if self.state == State::Open {
            self.line.room().min(RECEIVED_MAX)
        } else {
            RECEIVED_MAX
        };
        match from.read(&mut bytes[..room]) {
            Ok(0) => {
                self.ended = true;
                self.line.end();
            }
            Ok(length) if self.state == State::Open => {
                self.line.receive(Instant::now(), &bytes[..length])
            }
            Ok(_) => {}
            Err(error) if is_for_now(&error) => {}
            // Nobody learns what falls into a hole.
            Err(_) if self.state == State::Hole => self.ended = true,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn give(&mut self, mut to: &TcpStream, passed: &AtomicU64) -> io::Result<()> {
        let now = Instant::now();
        match self.line.step(now) {
            Step::Wait(due) => self.due = due,
            Step::Send(bytes) => match to.write(bytes) {
                Ok(length) => {
                    self.line.sent(length);
                    passed.fetch_add(length as u64, Ordering::SeqCst);
                    (self.full, self.due) = (false, Some(now));
                }
                Err(error) if is_for_now(&error) => self.full = true,
                Err(error) => return Err(error),
            },
            Step::End | Step::Cut(Cut::HalfClose) => {
                self.state = State::Closed;
                // It fails if the receiver has reset the connection; the other direction will find
                // that, too.
                let _ = to.shutdown(Shutdown::Write);
            }
            Step::Cut(Cut::Blackhole) => self.state = State::Hole,
            Step::Cut(Cut::Reset) => return Err(ErrorKind::ConnectionReset.into()),
        }
        Ok(())
    }
}

fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
