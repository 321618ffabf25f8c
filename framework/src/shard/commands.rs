//! What the control thread tells a shard.

pub(crate) mod survey;

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::config::InForce;
use crate::shard::commands::survey::Survey;
use crate::tls::TlsInForce;

/// Surveys that a shard is given before it has taken any. No key: the admin server bounds those that
/// run.
const SURVEYS_MAX: usize = 64;

/// What becomes of clients that wait in the kernel's queue when a shard drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// It is this server's alone: it is served, and closed.
    Serve,
    /// Another process has it too, and serves it.
    Leave,
}

/// What a shard reads of it every turn is one word each.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    /// It only ever grows.
    stage: AtomicU8,
    memory_short: AtomicBool,
    /// There are surveys that the shard has not taken.
    is_asked: AtomicBool,
    surveys: Mutex<Vec<Survey>>,
    /// Whether there is something in force that the shard has not taken.
    is_renewed: AtomicBool,
    /// Together, so that a shard takes what belongs together in one turn.
    renewed: Mutex<Renewed>,
}

/// What has come into force. Of each the latest, whole: what was before it, if the shard has not come
/// to that, is no matter any more.
#[derive(Debug, Default)]
pub(crate) struct Renewed {
    pub(crate) settings: Option<InForce>,
    /// What connections shake hands by, which changes without other settings, too.
    pub(crate) tls: Option<TlsInForce>,
}

impl Commands {
    const SERVE: u8 = 1;
    const DRAIN: u8 = 2;
    const LEAVE: u8 = 3;

    /// Every shard has its handler.
    pub(crate) fn serve(&self) {
        self.stage.fetch_max(Self::SERVE, Ordering::Release);
    }

    /// Waits for the order to serve; false if the order is to drain, so that nobody is to be
    /// served. The control thread unparks.
    pub(crate) fn wait_to_serve(&self) -> bool {
        loop {
            match self.stage.load(Ordering::Acquire) {
                Self::SERVE => return true,
                Self::DRAIN | Self::LEAVE => return false,
                _ => std::thread::park(),
            }
        }
    }

    pub(crate) fn drain(&self, queue: Queue) {
        let stage = match queue {
            Queue::Serve => Self::DRAIN,
            Queue::Leave => Self::LEAVE,
        };
        self.stage.fetch_max(stage, Ordering::Release);
    }

    /// Whether the order is to drain, and what becomes of the queue.
    pub(crate) fn says_drain(&self) -> Option<Queue> {
        match self.stage.load(Ordering::Acquire) {
            Self::DRAIN => Some(Queue::Serve),
            Self::LEAVE => Some(Queue::Leave),
            _ => None,
        }
    }

    /// From its next turn on the shard is under these settings, and its connections shake hands by
    /// this; none: as before.
    pub(crate) fn renew(&self, settings: Option<InForce>, tls: Option<TlsInForce>) {
        let mut renewed = self.renewed();
        renewed.settings = settings.or_else(|| renewed.settings.take());
        renewed.tls = tls.or_else(|| renewed.tls.take());
        drop(renewed);
        self.is_renewed.store(true, Ordering::Relaxed); // the lock orders them
    }

    /// What the shard has not taken, if there is any. The lock is held for as long as it takes to
    /// move it.
    pub(crate) fn take_renewed(&self) -> Option<Renewed> {
        if !self.is_renewed.load(Ordering::Relaxed) {
            return None;
        }
        self.is_renewed.store(false, Ordering::Relaxed);
        Some(std::mem::take(&mut *self.renewed()))
    }

    /// What is behind the lock is whole at any time.
    fn renewed(&self) -> MutexGuard<'_, Renewed> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the memory of the process nears its end.
    pub(crate) fn tell_memory(&self, short: bool) {
        self.memory_short.store(short, Ordering::Relaxed);
    }

    pub(crate) fn memory_is_short(&self) -> bool {
        self.memory_short.load(Ordering::Relaxed)
    }

    /// False: the shard has not taken those before, and takes no more.
    pub(crate) fn ask(&self, survey: Survey) -> bool {
        let mut surveys = self.surveys.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = surveys.len() < SURVEYS_MAX;
        if has_room {
            surveys.push(survey);
            self.is_asked.store(true, Ordering::Release);
        }
        has_room
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    /// What was asked since the last time. A shard does not wait for the lock: whoever has it
    /// signals the shard afterwards.
    pub(crate) fn take_surveys(&self) -> Vec<Survey> {
        let mut surveys = match self.surveys.try_lock() {
            Ok(surveys) => surveys,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Vec::new(),
        };
        self.is_asked.store(false, Ordering::Relaxed);
        std::mem::take(&mut *surveys)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Config;

    #[test]
    fn what_comes_into_force_before_a_shard_looks_is_taken_together() {
        let commands = Commands::default();
        assert!(commands.take_renewed().is_none());
        let settings = InForce::embedded(Config::default());
        let (old, tls) = (TlsInForce::default(), TlsInForce::default());
        for is_tls_last in [true, false] {
            commands.renew(None, Some(old.clone()));
            if is_tls_last {
                commands.renew(Some(settings.clone()), None);
                commands.renew(None, Some(tls.clone()));
            } else {
                commands.renew(None, Some(tls.clone()));
                commands.renew(Some(settings.clone()), None);
            }
            let taken = commands.take_renewed().expect("it is not taken yet");
            assert_eq!(taken.settings.as_ref(), Some(&settings));
            let upstreams = taken.tls.expect("it is there, too").upstreams;
            assert!(Arc::ptr_eq(&upstreams, &tls.upstreams), "the latest");
            assert!(commands.take_renewed().is_none());
        }
    }
}
