//! Whether the upstream can be connected to. One that could not is left alone for a moment, then
//! tried by one request at a time: a dead upstream does not cost a connect per request, and one
//! that is back is found within [`BACK_OFF_MAX`].

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the upstream is left alone after the first failed connect; each further one doubles it.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
/// It is left alone for no longer: an upstream that is back shall be found within a second. No
/// keys: they bound what we do to it, and requests that fail meanwhile fail at once.
const BACK_OFF_MAX: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(super) enum Health {
    #[default]
    Up,
    Down(Outage),
}

#[derive(Debug)]
pub(super) struct Outage {
    /// Connects that failed one after the other; of those that were made at the same time only one.
    failures: u32,
    /// No connect before this.
    again_at: Instant,
    /// A request is trying it.
    probing: bool,
    error: Arc<io::Error>,
}

/// Leave to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// As anybody's.
    Free,
    /// It is the one that finds out whether the upstream is back.
    Probe,
}

impl Health {
    /// Whether a connect may be tried; if not, what the last one said.
    pub(super) fn ask(&mut self, now: Instant) -> Result<Leave, Arc<io::Error>> {
        match self {
            Self::Up => Ok(Leave::Free),
            Self::Down(outage) if outage.probing || now < outage.again_at => {
                Err(Arc::clone(&outage.error))
            }
            Self::Down(outage) => {
                outage.probing = true;
                Ok(Leave::Probe)
            }
        }
    }

    /// A connect has succeeded. True if that is news.
    pub(super) fn connected(&mut self) -> bool {
        matches!(std::mem::take(self), Self::Down(_))
    }

    /// A connect has failed. True if that is news.
    pub(super) fn failed(&mut self, leave: Leave, error: Arc<io::Error>, now: Instant) -> bool {
        let failures = match self {
            Self::Up => 1,
            Self::Down(outage) if leave == Leave::Probe => outage.failures.saturating_add(1),
            Self::Down(_) => return false, // it began before the outage was known
        };
        *self = Self::Down(Outage {
            failures,
            again_at: now + back_off(failures),
            probing: false,
            error,
        });
        failures == 1
    }

    /// A connect was given up by whoever wanted it.
    pub(super) fn given_up(&mut self, leave: Leave) {
        if let (Self::Down(outage), Leave::Probe) = (self, leave) {
            outage.probing = false;
        }
    }
}

fn back_off(failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
    BACK_OFF_MIN.saturating_mul(factor).min(BACK_OFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Arc<io::Error> {
        Arc::new(io::ErrorKind::ConnectionRefused.into())
    }

    #[test]
    fn a_dead_upstream_is_tried_by_one_request_at_a_time() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!(
            [health.ask(now).ok(), health.ask(now).ok()],
            [Some(Leave::Free); 2]
        );
        assert!(
            health.failed(Leave::Free, refused(), now),
            "the first failure is news"
        );
        assert!(
            !health.failed(Leave::Free, refused(), now),
            "the second, of the same moment, is not"
        );
        assert!(
            health
                .ask(now + BACK_OFF_MIN - Duration::from_millis(1))
                .is_err()
        );
        let later = now + BACK_OFF_MIN;
        assert_eq!(health.ask(later).ok(), Some(Leave::Probe));
        assert!(health.ask(later).is_err(), "one tries already");
        health.given_up(Leave::Probe);
        assert_eq!(
            health.ask(later).ok(),
            Some(Leave::Probe),
            "a request that was taken back leaves it to the next"
        );
        assert!(!health.failed(Leave::Probe, refused(), later));
        assert!(
            health.ask(later + BACK_OFF_MIN).is_err(),
            "the second pause is longer"
        );
        assert_eq!(
            health.ask(later + 2 * BACK_OFF_MIN).ok(),
            Some(Leave::Probe)
        );
        assert!(health.connected() && !health.connected());
        assert_eq!(health.ask(later).ok(), Some(Leave::Free));
    }

    #[test]
    fn the_pause_grows_to_its_bound() {
        assert_eq!(
            [1, 2, 3, 4].map(back_off).map(|pause| pause.as_millis()),
            [50, 100, 200, 400]
        );
        assert_eq!([5, 6, 100, u32::MAX].map(back_off), [BACK_OFF_MAX; 4]);
    }
}
