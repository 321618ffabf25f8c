use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::Error;

/// Set once the user wants an end. Every wait is bounded and looks at it, so one signal suffices;
/// a second one does nothing more, since it would leave servers running behind.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// One that SIGINT, SIGTERM and SIGHUP set. `Stop::default()` is never set.
    pub fn on_signals() -> Result<Self, Error> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stop.0)).map_err(Error::failed("cannot handle signals"))?;
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
