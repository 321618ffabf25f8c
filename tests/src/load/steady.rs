//! Well-behaved connections: requests at their times, whatever the server does, and every reply
//! checked.

use std::collections::VecDeque;
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use rustix::event::{Timespec, epoll};

use super::Latencies;
use super::turns::Turns;
use crate::{BOUND, connect};

/// Events that are collected at a time.
const EVENTS_MAX: usize = 256;
/// Bytes of a request's text.
const TEXT_BYTES: usize = 48;

/// Connections to a ping server that each ask for an `ECHO` of their own once in an interval. A
/// reply that is late does not keep the next request back, so a server that stalls is seen to
/// stall, by all whose turn it was meanwhile. When a reply came is what the kernel says
/// (SO_TIMESTAMPNS, socket(7)): a client that must wait for a core itself takes nothing for the
/// server's slowness.
#[derive(Debug)]
pub struct Steady {
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    interval: Duration,
    /// Requests asked so far: each is told from all others by its number.
    asked: u64,
    answered: u64,
    lag: Latencies,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// Replies to come, in order, and when their requests were sent.
    expected: VecDeque<(Vec<u8>, SystemTime)>,
    /// Bytes of the reply that has begun.
    received: Vec<u8>,
}

impl Steady {
    /// `count` connections, to the addresses in turn.
    ///
    /// # Panics
    /// When one cannot be made.
    #[must_use]
    pub fn connect(addresses: &[SocketAddr], count: u32, interval: Duration) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let connections: Vec<Connection> = (0..count as usize)
            .map(|index| Connection::new(addresses[index % addresses.len()]))
            .collect();
        for (index, connection) in connections.iter().enumerate() {
            epoll::add(
                &epoll,
                &connection.stream,
                epoll::EventData::new_u64(index as u64),
                epoll::EventFlags::IN,
            )
            .unwrap();
        }
        Self {
            epoll,
            connections,
            interval,
            asked: 0,
            answered: 0,
            lag: Latencies::default(),
        }
    }

    /// Asks for `time` and awaits the replies. How long each took, from the moment in which its
    /// request was sent.
    ///
    /// # Panics
    /// When a reply is wrong, or does not come within ten seconds, or a connection ends.
    pub fn ask_for(&mut self, time: Duration) -> Latencies {
        let mut latencies = Latencies::default();
        let mut turns = Turns::new(self.connections.len() as u32, self.interval);
        let end = Instant::now() + time;
        while Instant::now() < end {
            let mut due = turns.due();
            while let Some(index) = turns.take(Instant::now()) {
                self.lag.add(due.elapsed());
                due = turns.due();
                self.connections[index].ask(self.asked);
                self.asked += 1;
            }
            self.collect(turns.due().min(end), &mut latencies);
        }
        let last = Instant::now() + BOUND;
        while self.answered < self.asked {
            assert!(
                Instant::now() < last,
                "{} of {} requests unanswered after {BOUND:?}",
                self.asked - self.answered,
                self.asked
            );
            self.collect(last, &mut latencies);
        }
        latencies
    }

    /// By how much requests were sent after their time since this was asked last: our own fault, or
    /// the machine's, not the server's.
    pub fn take_lag(&mut self) -> Latencies {
        std::mem::take(&mut self.lag)
    }

    /// Takes the replies that have come, or waits for some until `until`.
    fn collect(&mut self, until: Instant, latencies: &mut Latencies) {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).unwrap();
        let mut events = [const { MaybeUninit::uninit() }; EVENTS_MAX];
        let (events, _) = epoll::wait(&self.epoll, &mut events, Some(&left)).unwrap();
        for event in events {
            let index = event.data.u64() as usize;
            self.answered += self.connections[index].receive(index, latencies);
        }
    }
}

impl Connection {
    fn new(address: SocketAddr) -> Self {
        let stream = connect(address).unwrap_or_else(|error| panic!("connect {address}: {error}"));
        stream.set_nonblocking(true).unwrap();
        setsockopt(&stream, sockopt::ReceiveTimestampns, &true).unwrap();
        Self {
            stream,
            expected: VecDeque::new(),
            received: Vec::new(),
        }
    }

    fn ask(&mut self, number: u64) {
        let text = format!("{number:0TEXT_BYTES$}");
        let request = format!("*2\r\n$4\r\nECHO\r\n${TEXT_BYTES}\r\n{text}\r\n");
        let sent = self
            .stream
            .write(request.as_bytes())
            .unwrap_or_else(|error| panic!("request {number}: {error}"));
        assert_eq!(sent, request.len(), "a request fits into an empty socket");
        self.expected.push_back((
            format!("${TEXT_BYTES}\r\n{text}\r\n").into_bytes(),
            SystemTime::now(),
        ));
    }

    /// Takes what has come and says how many replies that completes.
    fn receive(&mut self, index: usize, latencies: &mut Latencies) -> u64 {
        let (mut bytes, mut space) = ([0; 4096], cmsg_space!(TimeSpec));
        let mut into = [IoSliceMut::new(&mut bytes)];
        let (length, came) = match recvmsg::<()>(
            self.stream.as_raw_fd(),
            &mut into,
            Some(&mut space),
            MsgFlags::empty(),
        ) {
            Ok(message) => (message.bytes, message.cmsgs().find_map(time_of)),
            Err(Errno::EAGAIN) => return 0,
            Err(error) => panic!("well-behaved connection {index}: {error}"),
        };
        assert!(length > 0, "well-behaved connection {index} was closed");
        let came = came.expect("what has come has its time");
        self.received.extend_from_slice(&bytes[..length]);
        let mut replies = 0;
        while let Some((expected, sent)) = self
            .expected
            .front()
            .filter(|(expected, _)| self.received.len() >= expected.len())
        {
            let reply: Vec<u8> = self.received.drain(..expected.len()).collect();
            assert_eq!(
                reply.escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "reply to connection {index}"
            );
            // It may have come before `sent` was looked up.
            latencies.add(came.duration_since(*sent).unwrap_or_default());
            self.expected.pop_front();
            replies += 1;
        }
        assert!(
            !self.expected.is_empty() || self.received.is_empty(),
            "connection {index} was sent what it had not asked for"
        );
        replies
    }
}

/// When the bytes of a message came.
fn time_of(message: ControlMessageOwned) -> Option<SystemTime> {
    let ControlMessageOwned::ScmTimestampns(time) = message else {
        return None;
    };
    Some(SystemTime::UNIX_EPOCH + Duration::from(time))
}
