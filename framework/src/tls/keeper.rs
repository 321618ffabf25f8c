//! The TLS of a server's listeners and upstreams, as the control thread has it: made at the start,
//! made anew when settings, files or ticket keys change, all of it or nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::{Config, ListenerSettings, Tls};

use super::acceptance::{Acceptance, Acceptances, Look, TlsInForce};
use super::loaded::Loaded;
use super::problem::FileProblem;
use super::reading::Leaf;
use super::ticket_store::{StoreName, TicketStore};
use super::ticketer::Ticketer;
use super::upstreams::Upstreams;
use super::validity::day;
use super::watch::Watcher;

/// Between two looks at the files at the most; half of it if the thread is awake then anyway. No
/// key: a certificate is renewed long before its end.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is in force, and what it was made of.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// The listeners' names, in the order of the start.
    names: Vec<String>,
    made: Made,
    watcher: Option<Watcher>,
    next: Instant,
    /// Keys of tickets are others, and the shards are not told yet.
    has_new_keys: bool,
    warnings: Vec<String>,
}

/// What settings and files have been made of, listener by listener and upstream by upstream.
#[derive(Debug, Default)]
pub(crate) struct Made {
    listeners: Vec<Option<Listener>>,
    stores: Vec<TicketStore>,
    upstreams: Upstreams,
}

#[derive(Clone, Debug)]
struct Listener {
    loaded: Arc<Loaded>,
    acceptance: Arc<Acceptance>,
}

impl Keeper {
    /// Reads the files of these settings, and watches them from now on.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub(crate) fn open(config: &Config) -> Result<Self, Vec<FileProblem>> {
        let listeners = config.listeners();
        let names = listeners.iter().map(|listener| listener.name().to_owned());
        let mut keeper = Self {
            names: names.collect(),
            made: Made::default(),
            watcher: None,
            next: Instant::now(),
            has_new_keys: false,
            warnings: Vec::new(),
        };
        keeper.made = keeper.make(config, None)?;
        if keeper.is_on() {
            match Watcher::new() {
                Ok(watcher) => keeper.watcher = Some(watcher),
                Err(error) => keeper.warnings.push(format!(
                    "changes of certificates are not noticed without a reload, for the kernel gives no inotify: {error}; \
                     raise fs.inotify.max_user_instances"
                )),
            }
        }
        keeper.watch();
        Ok(keeper)
    }

    /// What the shards have of it.
    pub(crate) fn in_force(&self) -> TlsInForce {
        TlsInForce {
            acceptances: self.acceptances(),
            upstreams: self.made.upstreams.clients(),
        }
    }

    /// By the listeners' order at the start.
    fn acceptances(&self) -> Acceptances {
        let listeners = self.made.listeners.iter();
        let acceptances = listeners.map(|one| Some(Arc::clone(&one.as_ref()?.acceptance)));
        acceptances.collect()
    }

    /// When the first certificate of each expires, in seconds since 1970; none: it has no TLS.
    pub(crate) fn expiries(&self) -> Vec<Option<i64>> {
        let listeners = self.made.listeners.iter();
        let expiries = listeners.map(|one| one.as_ref()?.loaded.expires());
        expiries.collect()
    }

    /// The same of the certificate that each upstream with TLS is shown; none: it is shown none.
    pub(crate) fn upstream_expiries(&self) -> Vec<(String, Option<i64>)> {
        self.made.upstreams.expiries()
    }

    /// What has come up that people should know, once.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// What would be in force under these settings: the files are read again.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them. A certificate that has expired is, unless it is in use.
    pub(crate) fn prepare(&self, config: &Config) -> Result<Made, Vec<FileProblem>> {
        self.make(config, Some(&self.made))
    }

    /// Puts it into force. A line for each certificate that is another.
    pub(crate) fn put_into_force(&mut self, made: Made) -> Look {
        let before = std::mem::replace(&mut self.made, made);
        self.watch();
        let mut pairs = before.listeners.iter().zip(&self.made.listeners);
        let is_same = pairs.all(|(before, now)| match (before, now) {
            (Some(before), Some(now)) => Arc::ptr_eq(&before.acceptance, &now.acceptance),
            (None, None) => true,
            _ => false,
        });
        let upstreams = &self.made.upstreams;
        if is_same && upstreams.is_as(&before.upstreams) {
            return Look::Same;
        }
        self.has_new_keys = false; // all that is in force is told
        let pairs = before.listeners.iter().zip(&self.made.listeners);
        let changed = pairs.filter_map(|(before, now)| {
            let before = before.as_ref().map(|listener| &*listener.loaded);
            Some((before, &*now.as_ref()?.loaded))
        });
        let mut certificates = Vec::new();
        for (before, now) in changed {
            let news = news(before, now);
            if !news.is_empty() {
                self.warnings.extend(now.warnings_at(wall_seconds()));
            }
            certificates.extend(news);
        }
        let (news, warnings) = upstreams.news(&before.upstreams, wall_seconds());
        self.warnings.extend(warnings);
        certificates.extend(news);
        Look::Changed(certificates)
    }

    /// When to look next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.is_on().then_some(self.next)
    }

    /// Looks whether files have changed, or ticket keys are due. `config` is in force.
    pub(crate) fn look(&mut self, now: Instant, config: &Config) -> Look {
        if !self.is_on() || now + LOOK_EVERY / 2 < self.next {
            return Look::Same;
        }
        self.next = now + LOOK_EVERY;
        let is_changed = self
            .watcher
            .as_mut()
            .is_some_and(|watcher| watcher.look(now));
        self.has_new_keys |= self.renew_keys(is_changed);
        let looked = if is_changed {
            match self.prepare(config) {
                Ok(made) => self.put_into_force(made),
                Err(problems) => Look::Failed(problems),
            }
        } else {
            Look::Same
        };
        match looked {
            Look::Same if std::mem::take(&mut self.has_new_keys) => Look::Changed(Vec::new()),
            looked => looked,
        }
    }

    fn is_on(&self) -> bool {
        self.made.listeners.iter().any(Option::is_some) || !self.made.upstreams.is_empty()
    }

    /// Makes keys that are due, and takes those that another process has made. True: some listener
    /// has others.
    fn renew_keys(&mut self, is_changed: bool) -> bool {
        let (now, mut others) = (seconds(), Vec::new());
        for store in &mut self.made.stores {
            let (mut is_other, told) = store.renew(now);
            let read = if is_changed {
                store.read_again()
            } else {
                Ok(false)
            };
            is_other |= read.as_ref().is_ok_and(|is_newer| *is_newer);
            self.warnings
                .extend([told, read.err()].into_iter().flatten());
            if is_other {
                others.push(store.name.clone());
            }
        }
        let stores = &self.made.stores;
        for listener in self.made.listeners.iter_mut().flatten() {
            let name = store_name(&listener.loaded.settings);
            if name.is_some_and(|name| others.contains(&name)) {
                listener.acceptance = acceptance(&listener.loaded, stores);
            }
        }
        !others.is_empty()
    }

    /// Reads the files, takes over what is the same as `before`, and opens stores of keys last:
    /// where anything else is wrong no file is made.
    fn make(&self, config: &Config, before: Option<&Made>) -> Result<Made, Vec<FileProblem>> {
        let (listeners, mut problems) = (config.listeners(), Vec::new());
        let found = self.names.iter().map(|name| {
            let listener = listeners.iter().find(|listener| listener.name() == name);
            listener.and_then(|listener| Some((listener, listener.tls.as_ref()?)))
        });
        let found: Vec<Option<(&ListenerSettings, &Arc<Tls>)>> = found.collect();
        let mut loaded = Vec::new();
        for (listener, tls) in found.iter().copied().flatten() {
            match Loaded::read(listener, tls) {
                Ok(read) => {
                    let leaves = || read.leaves.iter();
                    problems.extend(
                        before
                            .into_iter()
                            .flat_map(|before| before.expired(leaves())),
                    );
                    loaded.push(read);
                }
                Err(found) => problems.extend(found),
            }
        }
        let upstreams = Upstreams::read(config, before.map(|before| &before.upstreams));
        let upstreams = upstreams.unwrap_or_else(|found| {
            problems.extend(found);
            Upstreams::default()
        });
        let before_all = before.into_iter();
        problems.extend(before_all.flat_map(|before| before.expired(upstreams.leaves())));
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut stores = Vec::new();
        for (listener, tls) in found.iter().copied().flatten() {
            if let Err(problem) = add_store(&mut stores, listener, tls, before) {
                problems.push(problem);
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut loaded = loaded.into_iter();
        let places = found.iter().enumerate();
        let listeners = places.map(|(place, found)| {
            let loaded = found.and_then(|_| loaded.next())?;
            let before = before.and_then(|before| before.listeners.get(place)?.as_ref());
            match before.filter(|before| loaded.is_as(&before.loaded)) {
                Some(before) => Some(before.clone()),
                None => Some(Listener {
                    acceptance: acceptance(&loaded, &stores),
                    loaded: Arc::new(loaded),
                }),
            }
        });
        Ok(Made {
            listeners: listeners.collect(),
            stores,
            upstreams,
        })
    }

    /// Watches the files of what is in force.
    fn watch(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let listeners = self.made.listeners.iter().flatten();
        let files = listeners.flat_map(|listener| files(&listener.loaded.settings));
        let files: Vec<PathBuf> = files.chain(self.made.upstreams.paths()).collect();
        if watcher.files() != files {
            watcher.suspect(Instant::now());
        }
        let failed = watcher.watch(files);
        self.warnings
            .extend(failed.into_iter().map(|(directory, error)| {
                let directory = directory.display();
                format!("changes in {directory} are not noticed without a reload: {error}")
            }));
    }
}

impl Made {
    /// Those that have expired and are not in use.
    fn expired<'l>(&self, leaves: impl Iterator<Item = &'l Leaf>) -> Vec<FileProblem> {
        let in_use = self.listeners.iter().flatten();
        let in_use = in_use.flat_map(|listener| &listener.loaded.leaves);
        let in_use = in_use.chain(self.upstreams.leaves());
        let (in_use, now) = (in_use.map(|leaf| &leaf.certificate), wall_seconds());
        let in_use: Vec<_> = in_use.collect();
        let expired =
            leaves.filter(|leaf| leaf.not_after < now && !in_use.contains(&&leaf.certificate));
        let told = expired.map(|leaf| FileProblem {
            what: format!("cannot use {}", leaf.told),
            why: format!("it expired on {}", day(leaf.not_after)),
            remedy: "have it renewed; the certificate before stays in use".to_owned(),
        });
        told.collect()
    }
}

/// Adds the store that a listener asks for, if there is none of its name yet.
fn add_store(
    stores: &mut Vec<TicketStore>,
    listener: &ListenerSettings,
    tls: &Tls,
    before: Option<&Made>,
) -> Result<(), FileProblem> {
    let Some(name) = store_name(tls) else {
        return Ok(());
    };
    if stores.iter().any(|store| store.name == name) {
        return Ok(());
    }
    let mut known = before.into_iter().flat_map(|before| &before.stores);
    let store = match known.find(|store| store.name == name) {
        Some(store) => store.clone(),
        None => {
            let file = name.file.clone().unwrap_or_default();
            let opened = TicketStore::open(name, seconds());
            opened.map_err(|fault| {
                FileProblem::of(&file, &listener.tls_key("ticket_key_file"), fault)
            })?
        }
    };
    stores.push(store);
    Ok(())
}

/// The store of a listener's keys; none: it gives no tickets.
fn store_name(tls: &Tls) -> Option<StoreName> {
    tls.tickets.then(|| StoreName {
        file: tls.ticket_key_file.clone(),
        lifetime: tls.ticket_key_lifetime,
    })
}

fn acceptance(loaded: &Loaded, stores: &[TicketStore]) -> Arc<Acceptance> {
    let name = store_name(&loaded.settings);
    let store = name.and_then(|name| stores.iter().find(|store| store.name == name));
    let tickets = store.map(|store| Ticketer::new(&store.keys, store.lifetime(), loaded.binding()));
    Arc::new(loaded.acceptance(tickets))
}

/// A line for each certificate that was not there before.
fn news(before: Option<&Loaded>, now: &Loaded) -> Vec<String> {
    let known = before.map_or(&[][..], |before| &before.leaves);
    let leaves = now.leaves.iter();
    let new = leaves.filter(|leaf| known.iter().all(|old| old.certificate != leaf.certificate));
    new.map(Leaf::news).collect()
}

fn files(tls: &Tls) -> impl Iterator<Item = PathBuf> + use<> {
    let others = [&tls.client_ca, &tls.ticket_key_file];
    let pairs = tls.certificate.iter().chain(&tls.key);
    let files: Vec<PathBuf> = pairs.chain(others.into_iter().flatten()).cloned().collect();
    files.into_iter()
}

/// The time by the clock on the wall, which certificates and ticket keys go by: in seconds since
/// 1970.
fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

pub(super) fn wall_seconds() -> i64 {
    seconds().try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "keeper/tests.rs"]
mod tests;
