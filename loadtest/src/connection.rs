//! One connection of the client: what it has sent, what it has got back, what it waits for.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::failure::{Failure, FailureKind};
use crate::workload::{StreamKey, Workload, WrongByte};

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing: it is not open.
    Closed,
    /// The handshake.
    Connecting,
    /// Replies.
    Exchanging,
    /// Being asked to send again. It still notices when the server says something or leaves.
    Parked,
}

#[derive(Debug)]
pub(crate) struct Connection {
    /// Present in every phase but `Closed`.
    stream: Option<TcpStream>,
    phase: Phase,
    key: StreamKey,
    /// Bytes of the request stream sent, and of the reply stream received.
    sent: u64,
    received: u64,
    /// Requests in all: `sent` and `received` run up to as many requests and replies.
    asked: u64,
    /// When the phase's wait began: the connect, or the last requests.
    since: Instant,
}

impl Connection {
    pub(crate) fn closed(now: Instant) -> Self {
        let key = StreamKey::new(0, 0);
        Self { stream: None, phase: Phase::Closed, key, sent: 0, received: 0, asked: 0, since: now }
    }

    pub(crate) fn open(target: SocketAddr, key: StreamKey, registry: &Registry, token: Token, now: Instant) -> io::Result<Self> {
        let mut stream = TcpStream::connect(target)?;
        // Registered once and for both: an edge-triggered socket costs nothing while it is quiet.
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream: Some(stream), phase: Phase::Connecting, key, ..Self::closed(now) })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the handshake is over, successfully. `Ok(false)`: the event was not about that.
    pub(crate) fn connected(&mut self) -> Result<bool, Failure> {
        let Some(stream) = &self.stream else { return Ok(false) };
        if let Some(error) = stream.take_error()? {
            return Err(error.into());
        }
        match stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        stream.set_nodelay(true)?;
        Ok(true)
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Make `requests` more requests; `write` sends them. Their replies are awaited since `since`.
    pub(crate) fn ask(&mut self, requests: u32, since: Instant) {
        self.asked += u64::from(requests);
        self.since = since;
        self.phase = Phase::Exchanging;
    }

    pub(crate) fn park(&mut self) {
        self.phase = Phase::Parked;
    }

    pub(crate) fn close(&mut self) {
        *self = Self::closed(self.since);
    }

    /// No more than one request was made so far.
    pub(crate) fn is_first(&self) -> bool {
        self.asked == 1
    }

    /// Send what is asked for and not sent, as far as the kernel takes it.
    pub(crate) fn write(&mut self, workload: &Workload, scratch: &mut [u8]) -> Result<(), Failure> {
        let end = self.asked * workload.request_length();
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.sent < end {
            let length = scratch.len().min(usize::try_from(end - self.sent).unwrap_or(usize::MAX));
            workload.fill(self.key, self.sent, &mut scratch[..length]);
            match stream.write(&scratch[..length]) {
                Ok(written) => self.sent += written as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Take in all that has come and verify it. `ended`: the server has closed its side, so read on
    /// until that shows. A failure does not undo the replies that came before it.
    pub(crate) fn read(&mut self, workload: &Workload, scratch: &mut [u8], ended: bool) -> Result<(), Failure> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        loop {
            let length = match stream.read(scratch) {
                Ok(0) => return Err(self.closed_early(workload)),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if self.received + length as u64 > self.asked * workload.reply_length() {
                return Err(Failure::new(FailureKind::WrongBytes, "bytes came that were not asked for"));
            }
            workload.verify(self.key, self.received, &scratch[..length]).map_err(wrong_byte)?;
            self.received += length as u64;
            // A read that does not fill the buffer has emptied the socket: more makes a new event.
            if length < scratch.len() && !ended {
                break;
            }
        }
        Ok(())
    }

    /// Replies received in full.
    pub(crate) fn answered(&self, workload: &Workload) -> u64 {
        self.received / workload.reply_length()
    }

    pub(crate) fn is_answered(&self, workload: &Workload) -> bool {
        self.answered(workload) == self.asked
    }

    pub(crate) fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Fails once the phase has lasted longer than `timeout`.
    pub(crate) fn check_deadline(&self, workload: &Workload, timeout: Duration, now: Instant) -> Result<(), Failure> {
        if self.waited(now) <= timeout {
            return Ok(());
        }
        let detail = match self.phase {
            Phase::Closed | Phase::Parked => return Ok(()),
            Phase::Connecting => format!("no connection after {timeout:?}"),
            Phase::Exchanging => format!("after {timeout:?}, {}", self.progress(workload)),
        };
        Err(Failure::new(FailureKind::TimedOut, detail))
    }

    fn closed_early(&self, workload: &Workload) -> Failure {
        Failure::new(FailureKind::ClosedEarly, self.progress(workload))
    }

    fn progress(&self, workload: &Workload) -> String {
        format!("{} replies to {} requests", self.answered(workload), self.asked)
    }
}

fn wrong_byte(wrong: WrongByte) -> Failure {
    let WrongByte { offset, wanted, got } = wrong;
    let detail = format!("byte {offset} of the replies is {got:#04x}, not {wanted:#04x}");
    Failure::new(FailureKind::WrongBytes, detail)
}
