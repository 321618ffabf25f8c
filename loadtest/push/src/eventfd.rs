//! The reference for a wake from one thread to another, and back: two threads that wake each other
//! by an eventfd(2).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use crate::times::{Times, times};
use crate::{now, pin};

/// A thread that can be woken, and when that was done.
struct Bell {
    descriptor: OwnedFd,
    rung: AtomicU64,
}

impl Bell {
    fn new() -> io::Result<Self> {
        Ok(Self {
            descriptor: counter()?,
            rung: AtomicU64::new(0),
        })
    }

    fn ring(&self) -> io::Result<()> {
        self.rung.store(now(), Ordering::Release);
        signal(&self.descriptor)
    }

    /// How long ago it was rung.
    fn wait(&self) -> io::Result<u64> {
        wait(&self.descriptor)?;
        Ok(now().saturating_sub(self.rung.load(Ordering::Acquire)))
    }
}

fn counter() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC)?)
}

fn signal(counter: &OwnedFd) -> io::Result<()> {
    rustix::io::write(counter, &1_u64.to_ne_bytes())?;
    Ok(())
}

fn wait(counter: &OwnedFd) -> io::Result<()> {
    rustix::io::read(counter, &mut [0; 8])?;
    Ok(())
}

/// How late each was woken, `events` times in all, one on each core.
///
/// # Errors
///
/// Where the kernel has no eventfd for us, or fails one.
pub fn ping_pong(events: u64, cores: [usize; 2]) -> io::Result<Times> {
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

/// [`ping_pong`] twice at once, on the same cores: who is woken there may find its core taken, as
/// where more than one event is under way.
///
/// # Errors
///
/// As for [`ping_pong`].
pub fn two_ping_pongs(events: u64, cores: [usize; 2]) -> io::Result<Times> {
    thread::scope(|scope| {
        let other = scope.spawn(move || ping_pong(events / 2, cores));
        let mut all = ping_pong(events / 2, cores)?;
        all += other
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(all)
    })
}

/// From the wake of the thread on the second core to that of the one on the first, `trips` times,
/// each after a `pause` in which both sleep.
///
/// # Errors
///
/// As for [`ping_pong`].
pub fn round_trips(trips: u64, pause: Duration, cores: [usize; 2]) -> io::Result<Times> {
    let [there, here] = &[counter()?, counter()?];
    thread::scope(|scope| {
        let echo = scope.spawn(move || {
            pin(cores[1]);
            (0..trips).try_for_each(|_| {
                wait(there)?;
                signal(here)
            })
        });
        let own = scope.spawn(move || {
            pin(cores[0]);
            (0..trips).try_fold(times(), |mut taken, _| {
                thread::sleep(pause);
                let begun = Instant::now();
                signal(there)?;
                wait(here)?;
                taken.saturating_record(begun.elapsed().as_nanos() as u64);
                io::Result::Ok(taken)
            })
        });
        let taken = own
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        echo.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        taken
    })
}
