//! Whom of many connections the server has answered or ended: told by the kernel, not asked of
//! each.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::process::Signal;

use crate::{BOUND, Server, connect};

/// How many are told at a time.
const ENDS_MAX: usize = 4096;

/// Waits for the ends of connections, each under a number.
#[derive(Debug)]
pub(super) struct Watch {
    epoll: OwnedFd,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(),
        }
    }

    /// From now on the end of `stream` is that of `number`, told once. A reset is an end too.
    pub(super) fn add(&self, stream: &TcpStream, number: usize) -> io::Result<()> {
        self.add_for(stream, number, epoll::EventFlags::RDHUP)
    }

    fn add_for(
        &self,
        stream: &TcpStream,
        number: usize,
        what: epoll::EventFlags,
    ) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            stream,
            epoll::EventData::new_u64(number as u64),
            what | epoll::EventFlags::ONESHOT,
        )?)
    }

    /// Whose connections have been ended; waits for the first as long as `time`.
    pub(super) fn wait(&self, time: Duration) -> Vec<usize> {
        let mut events = [const { MaybeUninit::uninit() }; ENDS_MAX];
        let (events, _) = epoll::wait(
            &self.epoll,
            &mut events,
            Some(&Timespec::try_from(time).unwrap()),
        )
        .unwrap();
        events
            .iter()
            .map(|event| event.data.u64() as usize)
            .collect()
    }
}

/// What the scheduler of a busy machine does to the client is not there in each of so many rounds.
const ROUNDS_MAX: usize = 3;

/// Connections that came together and wait for an answer or their end.
#[derive(Debug)]
pub struct Together {
    watch: Watch,
    streams: Vec<TcpStream>,
}

impl Together {
    /// Has `count` connections come to `server` in one moment of it, say `what` and stay; and
    /// another connection ask until all of these have been answered or ended. Says how many have
    /// come in all rounds.
    ///
    /// # Panics
    /// When more than `most` were between two answers to the other one in every round, or a round
    /// takes ten seconds.
    pub fn assert_between(
        server: &Server,
        count: usize,
        what: &[u8],
        most: usize,
        mut ask: impl FnMut(),
    ) -> usize {
        let mut found = Vec::new();
        let holds = (0..ROUNDS_MAX).any(|_| {
            server.signal(Signal::STOP);
            let together = Self::connect(server.addr(), count, what);
            server.signal(Signal::CONT);
            let between = together.most_between(&mut ask);
            found.push(between);
            between <= most
        });
        println!("of {count} at most {found:?} between two answers");
        assert!(
            holds,
            "of {count} {found:?} were answered or ended between two answers to another"
        );
        found.len() * count
    }

    fn connect(address: SocketAddr, count: usize, what: &[u8]) -> Self {
        let watch = Watch::new();
        let streams = (0..count).map(|number| {
            let mut stream = connect(address).unwrap();
            stream.write_all(what).unwrap();
            watch
                .add_for(
                    &stream,
                    number,
                    epoll::EventFlags::RDHUP | epoll::EventFlags::IN,
                )
                .unwrap();
            stream
        });
        let streams = streams.collect();
        Self { watch, streams }
    }

    fn most_between(&self, mut ask: impl FnMut()) -> usize {
        let begin = Instant::now();
        let (mut seen, mut most) = (0, 0);
        while seen < self.streams.len() {
            assert!(
                begin.elapsed() < BOUND,
                "{seen} of {} in {BOUND:?}",
                self.streams.len()
            );
            ask();
            let between = self.watch.wait(Duration::ZERO).len();
            (seen, most) = (seen + between, most.max(between));
        }
        most
    }
}
