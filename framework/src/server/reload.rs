//! Other settings for a server that runs: read again, judged as a whole, put into force or refused.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::config::{Config, InForce, SettingChange};
use crate::preflight::kernel;
use crate::shard::policy::bounds::MemoryShare;
use crate::start_error::StartError;

/// What a reload has changed, in the order of the keys, or why it has changed nothing.
pub(crate) type Answer = Result<Vec<SettingChange>, ReloadError>;

/// Where settings are read again; what is wrong with them, if they cannot be.
pub(crate) type Source = Box<dyn Fn() -> Result<InForce, Vec<String>> + Send>;

/// Why a reload has changed nothing: it is carried out whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloadError {
    /// The settings are wrong, or some of them need a restart: a text for each.
    Refused(Vec<String>),
    /// The server was started without a settings file.
    NothingToRead,
    /// The server ends.
    Draining,
    /// The server has ended.
    Ended,
}

impl fmt::Display for ReloadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(problems) => formatter.write_str(&problems.join("\n")),
            Self::NothingToRead => formatter.write_str(
                "there is nothing to read again: the server was started without a settings file",
            ),
            Self::Draining => formatter.write_str("the server drains"),
            Self::Ended => formatter.write_str("the server has ended"),
        }
    }
}

impl std::error::Error for ReloadError {}

impl From<StartError> for ReloadError {
    fn from(error: StartError) -> Self {
        Self::Refused(error.problems().iter().map(ToString::to_string).collect())
    }
}

/// Somebody asks for a reload.
#[derive(Debug)]
pub(crate) struct ReloadRequest {
    /// None: those of the server's source.
    settings: Option<InForce>,
    /// Whoever waits for the answer.
    answer: Option<Sender<Answer>>,
    /// It is the one reload that signals may have waiting.
    hangup: Option<Arc<AtomicBool>>,
}

impl ReloadRequest {
    /// To read the settings again, or to take these; and where the answer comes.
    pub(crate) fn new(settings: Option<InForce>) -> (Self, Receiver<Answer>) {
        let (tell, answer) = channel();
        let request = Self {
            settings,
            answer: Some(tell),
            hangup: None,
        };
        (request, answer)
    }

    /// Answers by what `reload` makes of the settings.
    pub(crate) fn answer(self, reload: impl FnOnce(Option<InForce>) -> Answer) {
        if let Some(waiting) = &self.hangup {
            waiting.store(false, Ordering::Release); // before the file is read: it may change again
        }
        let outcome = reload(self.settings);
        log(&outcome);
        if let Some(answer) = self.answer {
            drop(answer.send(outcome)); // nobody may be left to hear it
        }
    }
}

/// The reloads that SIGHUP asks for: one waits at most, however many signals come.
#[derive(Debug, Default)]
pub(crate) struct Hangups {
    waiting: Arc<AtomicBool>,
}

impl Hangups {
    /// For one that has come, unless the reload that waits does for it, too.
    pub(crate) fn request(&self) -> Option<ReloadRequest> {
        let waits = self.waiting.swap(true, Ordering::Acquire);
        (!waits).then(|| ReloadRequest {
            settings: None,
            answer: None,
            hangup: Some(Arc::clone(&self.waiting)),
        })
    }
}

/// The settings of a running server.
pub(crate) struct RunningSettings {
    pub(crate) in_force: InForce,
    source: Option<Source>,
    /// Each shard's table was made for so many who are not served.
    spare_per_shard: u32,
    /// What the connections of a shard may hold.
    memory: MemoryShare,
}

impl RunningSettings {
    pub(crate) fn new(in_force: InForce, source: Option<Source>, memory: MemoryShare) -> Self {
        Self {
            spare_per_shard: in_force.config.spare_per_shard(),
            memory,
            in_force,
            source,
        }
    }

    /// What would be in force: `given`, or what the source has by now. With what that would change.
    ///
    /// # Errors
    ///
    /// If anything of it is wrong, or needs a restart.
    pub(crate) fn judge(
        &self,
        given: Option<InForce>,
    ) -> Result<(InForce, Vec<SettingChange>), ReloadError> {
        let new = match (given, &self.source) {
            (Some(given), _) => given,
            (None, Some(source)) => source().map_err(ReloadError::Refused)?,
            (None, None) => return Err(ReloadError::NothingToRead),
        };
        let changes = self.in_force.changes_to(&new);
        let refused = changes.iter().filter_map(|change| {
            let why = self.needs_restart(change, &new.config)?;
            Some(format!("needs a restart: {change}{why}"))
        });
        let refused: Vec<String> = refused.collect();
        if !refused.is_empty() {
            return Err(ReloadError::Refused(refused));
        }
        Ok((new, changes))
    }

    /// Whether the change needs a restart, and why if that is not so of the key as such.
    fn needs_restart(&self, change: &SettingChange, new: &Config) -> Option<String> {
        if !change.is_live {
            return Some(String::new());
        }
        let limits = &new.limits;
        let MemoryShare {
            unread_max,
            unsent_max,
        } = self.memory;
        let unread = u64::from(limits.recv_queue_max) * u64::from(new.buffers.size);
        let before = &self.in_force.config.limits;
        let may_need_places =
            change.key == "limits.on_full" || change.key.ends_with(".connections_per_address_max");
        match change.key.as_str() {
            _ if may_need_places && new.spare_per_shard() > self.spare_per_shard => {
                Some(", for the shards have no spare places".to_owned())
            }
            "limits.write_queue_max" if limits.write_queue_max > unsent_max => Some(format!(
                ", for all connections of a shard may hold {unsent_max} bytes unsent"
            )),
            "limits.recv_queue_max" if unread > unread_max.into() => Some(format!(
                ", for all connections of a shard may hold {unread_max} bytes unread"
            )),
            "limits.send_rate_min" if before.send_rate_min.is_none() => {
                kernel::rate_problem_now().map(|problem| format!(": {problem}"))
            }
            _ => None,
        }
    }
}

/// A line for each change and each problem, which are no more than there are keys and some.
fn log(outcome: &Answer) {
    match outcome {
        Ok(changes) if changes.is_empty() => tracing::info!(count = 0, "reloaded"),
        Ok(changes) => {
            for change in changes {
                tracing::info!(count = changes.len(), %change, "reloaded");
            }
        }
        Err(ReloadError::Refused(problems)) => {
            for problem in problems {
                tracing::warn!(count = problems.len(), problem, "reload refused");
            }
        }
        Err(error) => tracing::info!(count = 1, problem = error.to_string(), "reload refused"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    /// The settings of a server, of which `sets` are not the defaults.
    fn settings(sets: &[&str]) -> InForce {
        let settings = sets
            .iter()
            .fold(Settings::new(), |settings, set| settings.set_toml(*set));
        InForce::embedded(settings.load().expect("they are fine"))
    }

    fn running(sets: &[&str]) -> RunningSettings {
        let memory = MemoryShare {
            unread_max: 1 << 20,
            unsent_max: 1 << 20,
        };
        RunningSettings::new(settings(sets), None, memory)
    }

    /// Puts settings into force.
    fn reload(running: &mut RunningSettings, given: Option<InForce>) -> Answer {
        let (new, changes) = running.judge(given)?;
        running.in_force = new;
        Ok(changes)
    }

    fn refused(running: &mut RunningSettings, sets: &[&str]) -> Vec<String> {
        let before = running.in_force.clone();
        let outcome = reload(running, Some(settings(sets)));
        let Err(ReloadError::Refused(problems)) = outcome else {
            panic!("{sets:?}: {outcome:?}");
        };
        assert_eq!(running.in_force, before, "whole or not at all");
        problems
    }

    #[test]
    fn one_key_that_needs_a_restart_refuses_all_and_each_is_named() {
        let sets = [
            "timeouts.idle=\"7s\"",
            "server.shards=3",
            "buffers.count=512",
        ];
        assert_eq!(
            refused(&mut running(&[]), &sets),
            [
                "needs a restart: buffers.count 4096 -> 512",
                "needs a restart: server.shards 0 -> 3"
            ]
        );
    }

    #[test]
    fn what_was_laid_out_at_the_start_bounds_what_can_change() {
        let refuses = ["limits.on_full=\"refuse\""];
        let capped = ["limits.connections_per_address_max=1"];
        for sets in [
            &refuses[..],
            &capped[..],
            &["limits.write_queue_max=2097152"][..],
            &["limits.recv_queue_max=257"][..],
        ] {
            assert_eq!(refused(&mut running(&[]), sets).len(), 1, "{sets:?}");
        }
        let mut running = running(&refuses);
        for sets in [
            &capped[..],
            &[],
            &refuses[..],
            &["limits.write_queue_max=1048576"],
        ] {
            assert!(
                reload(&mut running, Some(settings(sets))).is_ok(),
                "{sets:?}"
            );
            assert_eq!(running.in_force, settings(sets));
        }
    }

    #[test]
    fn without_a_file_there_is_nothing_to_read_again() {
        let outcome = reload(&mut running(&[]), None);
        assert_eq!(outcome, Err(ReloadError::NothingToRead));
    }

    #[test]
    fn of_many_signals_one_reload_waits() {
        let hangups = Hangups::default();
        let first = hangups.request().expect("none waits");
        assert!(hangups.request().is_none());
        first.answer(|_| {
            assert!(
                hangups.request().is_some(),
                "what comes now comes too late for the first"
            );
            Err(ReloadError::NothingToRead)
        });
    }
}
