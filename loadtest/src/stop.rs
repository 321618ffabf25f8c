//! The user wants an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use procfs::process::Process;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::flag;

use crate::error::Error;

/// Set once the user wants an end. Every wait of the work is bounded and looks at it, so one signal
/// suffices; a second one does nothing more, since it would leave servers running behind. The
/// report has no such bound: see [`Stop::let_signals_end`].
#[derive(Debug, Clone, Default)]
pub struct Stop {
    is_set: Arc<AtomicBool>,
    /// Whether a signal ends the program.
    ends: Arc<AtomicBool>,
}

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
        for (signal, stop) in ends.chain(others) {
            let ends = flag::register_conditional_default(signal, Arc::clone(&stop.ends));
            let registered = ends.and_then(|_| flag::register(signal, Arc::clone(&stop.is_set)));
            registered.map_err(Error::failed("cannot handle signals"))?;
        }
        Ok(stop)
    }

    /// The work is done. Whoever takes the report may never take it, a pipe that nobody reads from
    /// say: from now on a signal ends the program as it would any other.
    pub fn let_signals_end(&self) {
        self.ends.store(true, Ordering::Relaxed);
    }

    /// Ask for an end, as a signal does.
    pub fn set(&self) {
        self.is_set.store(true, Ordering::Relaxed);
    }

    /// Whether an end was asked for.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
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
