//! The reference for a wake from one thread to another: two threads that wake each other by an
//! eventfd(2).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use push::{now, pin};
use rustix::event::{EventfdFlags, eventfd};

use crate::times::{Times, times};

/// A thread that can be woken, and when that was done.
struct Bell {
    descriptor: OwnedFd,
    rung: AtomicU64,
}

impl Bell {
    fn new() -> io::Result<Self> {
        Ok(Self {
            descriptor: eventfd(0, EventfdFlags::CLOEXEC)?,
            rung: AtomicU64::new(0),
        })
    }

    fn ring(&self) -> io::Result<()> {
        self.rung.store(now(), Ordering::Release);
        rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    /// How long ago it was rung.
    fn wait(&self) -> io::Result<u64> {
        rustix::io::read(&self.descriptor, &mut [0; 8])?;
        Ok(now().saturating_sub(self.rung.load(Ordering::Acquire)))
    }
}

/// How late each was woken, `events` times in all, one on each core.
pub(crate) fn ping_pong(events: u64, cores: [usize; 2]) -> io::Result<Times> {
    let bells = [Bell::new()?, Bell::new()?];
    let [there, here] = &bells;
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            pin(cores[0]);
            (0..events / 2).try_fold(times(), |mut late, _| {
                late.saturating_record(there.wait()?);
                here.ring()?;
                io::Result::Ok(late)
            })
        });
        let own = scope.spawn(move || {
            pin(cores[1]);
            (0..events / 2).try_fold(times(), |mut late, _| {
                there.ring()?;
                late.saturating_record(here.wait()?);
                io::Result::Ok(late)
            })
        });
        let [other, own] = [other, own].map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let mut all = other?;
        all += own?;
        Ok(all)
    })
}
