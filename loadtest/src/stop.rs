//! The user wants an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use procfs::process::Process;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};

use crate::error::Error;

/// Set once the user wants an end. Every wait is bounded and looks at it, so one signal suffices;
/// a second one does nothing more, since it would leave servers running behind.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// One that SIGINT, SIGTERM and SIGHUP set, but for a SIGHUP that is ignored already, as under
    /// nohup(1). Signals that mean nothing here do not end it either, nor does a file that has
    /// reached its greatest size (SIGXFSZ): the write to it fails then. `Stop::default()` is never
    /// set.
    ///
    /// # Errors
    /// When the kernel takes no handler.
    pub fn on_signals() -> Result<Self, Error> {
        let (stop, ignored) = (Self::default(), Self::default());
        // Where that is not known it counts as ignored: the kernel then does with it what it would
        // have done anyway.
        let status = Process::myself().and_then(|process| process.status());
        let hangs_up = status.is_ok_and(|status| !is_ignored(status.sigign, SIGHUP));
        let hang_up = hangs_up.then_some(SIGHUP);
        let ends = [SIGINT, SIGTERM]
            .into_iter()
            .chain(hang_up)
            .map(|signal| (signal, &stop));
        let others = [SIGXFSZ, SIGALRM, SIGUSR1, SIGUSR2].map(|signal| (signal, &ignored));
        for (signal, flag) in ends.chain(others) {
            let registered = signal_hook::flag::register(signal, Arc::clone(&flag.0));
            registered.map_err(Error::failed("cannot handle signals"))?;
        }
        Ok(stop)
    }

    /// Ask for an end, as a signal does.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether an end was asked for.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether the set of ignored signals, SigIgn of proc_pid_status(5), has `signal`.
fn is_ignored(ignored: u64, signal: i32) -> bool {
    ignored >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_signal_is_told_by_its_bit() {
        assert!(is_ignored(0x1001, SIGHUP));
        assert!(!is_ignored(0x1001, SIGINT) && !is_ignored(0x1001, SIGTERM));
    }
}
