//! The TLS of listeners and upstreams, looked after by the control thread: what of it is logged and
//! counted.

use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::metrics::Counter;
use crate::tls::{FileProblem, Keeper, Look, Made, TlsInForce};

/// What the last look has found, for any thread to read.
#[derive(Debug, Default)]
pub(crate) struct TlsSeen {
    /// When the first certificate of each listener expires, in seconds since 1970, in the order of
    /// the start; 0: it has no TLS.
    pub(crate) expires: Box<[Counter]>,
    /// When the certificate expires that is shown to each upstream with TLS, likewise; 0: it is
    /// shown none.
    pub(crate) upstreams: Box<[(String, Counter)]>,
    /// Times that other files were put into force, and that they could not be.
    pub(crate) changed: Counter,
    pub(crate) failed: Counter,
}

/// Files, certificates and ticket keys.
#[derive(Debug)]
pub(crate) struct TlsWatch {
    keeper: Keeper,
    seen: Arc<TlsSeen>,
}

impl TlsWatch {
    pub(crate) fn new(keeper: Keeper) -> Self {
        let (expiries, upstreams) = (keeper.expiries(), keeper.upstream_expiries());
        let upstreams = upstreams.into_iter();
        let seen = TlsSeen {
            expires: expiries.iter().map(|_| Counter::default()).collect(),
            upstreams: upstreams
                .map(|(name, _)| (name, Counter::default()))
                .collect(),
            ..TlsSeen::default()
        };
        let mut watch = Self {
            keeper,
            seen: Arc::new(seen),
        };
        watch.tell();
        watch
    }

    pub(crate) fn seen(&self) -> Arc<TlsSeen> {
        Arc::clone(&self.seen)
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        self.keeper.due()
    }

    /// What would be in force under these settings.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the files.
    pub(crate) fn prepare(&self, config: &Config) -> Result<Made, Vec<String>> {
        let made = self.keeper.prepare(config);
        made.map_err(|problems| {
            self.seen.failed.add(1);
            problems.iter().map(FileProblem::to_string).collect()
        })
    }

    /// Puts it into force. What the shards are to be told, if it is anything else than before.
    pub(crate) fn put_into_force(&mut self, made: Made) -> Option<TlsInForce> {
        let look = self.keeper.put_into_force(made);
        self.settle(look)
    }

    /// Looks whether anything is to change: the same. `config` is in force.
    pub(crate) fn look(&mut self, now: Instant, config: &Config) -> Option<TlsInForce> {
        let look = self.keeper.look(now, config);
        self.settle(look)
    }

    fn settle(&mut self, look: Look) -> Option<TlsInForce> {
        self.tell();
        match look {
            Look::Same => None,
            Look::Changed(certificates) => {
                if !certificates.is_empty() {
                    self.seen.changed.add(1);
                }
                for certificate in certificates {
                    tracing::info!(certificate, "a certificate is in force");
                }
                Some(self.keeper.in_force())
            }
            Look::Failed(problems) => {
                self.seen.failed.add(1);
                for problem in problems {
                    let problem = problem.to_string();
                    tracing::warn!(
                        problem,
                        "files of TLS have changed, and those before stay in force"
                    );
                }
                None
            }
        }
    }

    fn tell(&mut self) {
        for warning in self.keeper.take_warnings() {
            tracing::warn!("{warning}");
        }
        for (seen, expires) in self.seen.expires.iter().zip(self.keeper.expiries()) {
            seen.set(seconds(expires));
        }
        // None comes or goes while the server runs.
        let upstreams = self.keeper.upstream_expiries();
        for ((_, seen), (_, expires)) in self.seen.upstreams.iter().zip(upstreams) {
            seen.set(seconds(expires));
        }
    }
}

fn seconds(expires: Option<i64>) -> u64 {
    expires.and_then(|time| time.try_into().ok()).unwrap_or(0)
}
