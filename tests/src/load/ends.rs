//! Whom of many connections the server has answered or ended: told by the kernel, not asked of each.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::{BOUND, connect};

/// How many are told at a time.
const ENDS_MAX: usize = 4096;

/// Waits for the ends of connections, each under a number.
#[derive(Debug)]
pub(super) struct Watch {
    epoll: OwnedFd,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap() }
    }

    /// From now on the end of `stream` is that of `number`, told once. A reset is an end too.
    pub(super) fn add(&self, stream: &TcpStream, number: usize) -> io::Result<()> {
        self.add_for(stream, number, epoll::EventFlags::RDHUP)
    }

    fn add_for(&self, stream: &TcpStream, number: usize, what: epoll::EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, stream, epoll::EventData::new_u64(number as u64), what | epoll::EventFlags::ONESHOT)?)
    }

    /// Whose connections have been ended; waits for the first as long as `time`.
    pub(super) fn wait(&self, time: Duration) -> Vec<usize> {
        let mut events = [const { MaybeUninit::uninit() }; ENDS_MAX];
        let (events, _) = epoll::wait(&self.epoll, &mut events, Some(&Timespec::try_from(time).unwrap())).unwrap();
        events.iter().map(|event| event.data.u64() as usize).collect()
    }
}

/// Connections that came together and wait for an answer or their end.
#[derive(Debug)]
pub struct Together {
    watch: Watch,
    streams: Vec<TcpStream>,
}

impl Together {
    /// `count` connections that say `what` and stay.
    ///
    /// # Panics
    /// When one cannot be made.
    #[must_use]
    pub fn connect(address: SocketAddr, count: usize, what: &[u8]) -> Self {
        let watch = Watch::new();
        let streams = (0..count).map(|number| {
            let mut stream = connect(address).unwrap();
            stream.write_all(what).unwrap();
            watch.add_for(&stream, number, epoll::EventFlags::RDHUP | epoll::EventFlags::IN).unwrap();
            stream
        });
        let streams = streams.collect();
        Self { watch, streams }
    }

    /// Has another connection ask until all of these have been answered or ended, and tells how many were between two of its answers at most.
    ///
    /// # Panics
    /// When it takes ten seconds.
    pub fn most_between(&self, mut ask: impl FnMut()) -> usize {
        let begin = Instant::now();
        let (mut seen, mut most) = (0, 0);
        while seen < self.streams.len() {
            assert!(begin.elapsed() < BOUND, "{seen} of {} in {BOUND:?}", self.streams.len());
            ask();
            let between = self.watch.wait(Duration::ZERO).len();
            (seen, most) = (seen + between, most.max(between));
        }
        most
    }
}
