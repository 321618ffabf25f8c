//! Where the keys of tickets are between two uses: in memory alone, or in a file as well, which
//! other processes may use at the same time.

use std::path::{Display, Path, PathBuf};
use std::time::Duration;

use super::problem::Fault;
use super::ticket_file::{self, Renewal};
use super::ticket_keys::TicketKeys;

/// Listeners whose stores are of one name have the same keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreName {
    pub(super) file: Option<PathBuf>,
    pub(super) lifetime: Duration,
}

/// For how long the file's lock may be another's until that is told, in seconds. No key: whoever makes
/// a new key has it for some milliseconds.
const LOCKED_MAX: u64 = 60;

/// Some keys, and when they are renewed.
#[derive(Clone, Debug)]
pub(super) struct TicketStore {
    pub(super) name: StoreName,
    pub(super) keys: TicketKeys,
    lock: Lock,
}

/// Who has the lock of the file, as far as we have asked for it.
#[derive(Clone, Copy, Debug)]
enum Lock {
    Free,
    /// Another process, since this time.
    Others(u64),
    /// The same, and it was told.
    OthersForLong,
}

impl TicketStore {
    /// Of the file, if there is one to be; otherwise of new keys. The time is in seconds since 1970.
    pub(super) fn open(name: StoreName, now: u64) -> Result<Self, Fault> {
        let new = TicketKeys::new(now);
        let keys = match &name.file {
            Some(file) => {
                ticket_file::read_or_make(file, &new)?;
                let renewed =
                    ticket_file::renew(file, |keys| keys.at(now, name.lifetime.as_secs()))?;
                match renewed {
                    Renewal::Keys(keys) => keys,
                    Renewal::Busy => ticket_file::read_or_make(file, &new)?,
                }
            }
            None => new,
        };
        Ok(Self {
            name,
            keys,
            lock: Lock::Free,
        })
    }

    pub(super) fn lifetime(&self) -> u64 {
        self.name.lifetime.as_secs()
    }

    /// Makes a new key if one is due. True: the keys are others. Where the file cannot be renewed
    /// the keys are all the same, and what is told is why the file is not. While another process has
    /// its lock they stay as they are, which is told once it lasts.
    pub(super) fn renew(&mut self, now: u64) -> (bool, Option<String>) {
        let lifetime = self.lifetime();
        if !self.keys.is_due(now, lifetime) {
            return (false, None);
        }
        let ours = &self.keys;
        let in_file = |file: &Path| {
            ticket_file::renew(file, |keys| newest(keys, ours.clone()).at(now, lifetime))
        };
        let (keys, told) = match self.name.file.as_deref().map(in_file) {
            Some(Ok(Renewal::Keys(keys))) => (keys, None),
            Some(Ok(Renewal::Busy)) => return (false, self.is_locked(now)),
            Some(Err(fault)) => (self.keys.at(now, lifetime), Some(self.not_of_file(fault))),
            None => (self.keys.at(now, lifetime), None),
        };
        (self.keys, self.lock) = (keys, Lock::Free);
        (true, told)
    }

    /// Another process has the lock. Gives what is to be told of that.
    fn is_locked(&mut self, now: u64) -> Option<String> {
        match self.lock {
            Lock::Free => self.lock = Lock::Others(now),
            Lock::Others(since) if now.saturating_sub(since) >= LOCKED_MAX => {
                self.lock = Lock::OthersForLong;
                return Some(format!(
                    "no new ticket key is made, for another process has held the lock of {} for {LOCKED_MAX} s: \
                     end that process (`lslocks` names it)",
                    self.file()
                ));
            }
            Lock::Others(_) | Lock::OthersForLong => {}
        }
        None
    }

    /// Takes the keys of the file, if another process has made newer ones. True: the keys are
    /// others.
    ///
    /// # Errors
    ///
    /// If the file cannot be used: what is to be told of that.
    pub(super) fn read_again(&mut self) -> Result<bool, String> {
        let Some(file) = &self.name.file else {
            return Ok(false);
        };
        let found = ticket_file::read(file).map_err(|fault| self.not_of_file(fault))?;
        let Some(found) = found else {
            return Ok(false);
        };
        let is_newer = found != self.keys && found.current.made >= self.keys.current.made;
        if is_newer {
            self.keys = found;
        }
        Ok(is_newer)
    }

    fn not_of_file(&self, (why, remedy): Fault) -> String {
        format!(
            "the ticket keys are not those of {}, {why}: {remedy}",
            self.file()
        )
    }

    fn file(&self) -> Display<'_> {
        self.name.file.as_deref().unwrap_or(Path::new("")).display()
    }
}

/// The ones with the newest key: a file that could not be renewed has older ones than we.
fn newest(one: TicketKeys, other: TicketKeys) -> TicketKeys {
    if one.current.made >= other.current.made {
        one
    } else {
        other
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{FlockOperation, flock};

    use super::*;
    use crate::tls::scratch::Scratch;

    fn named(file: Option<PathBuf>) -> StoreName {
        StoreName {
            file,
            lifetime: Duration::from_secs(100),
        }
    }

    fn open(file: Option<PathBuf>, now: u64) -> TicketStore {
        TicketStore::open(named(file), now).expect("it can be opened")
    }

    #[test]
    fn keys_in_memory_are_renewed_when_that_is_due() {
        let mut store = open(None, 1000);
        let first = store.keys.clone();
        assert_eq!(store.renew(1099), (false, None));
        assert_eq!(store.renew(1100), (true, None));
        assert_eq!(store.keys.before, Some(first.current));
        assert_eq!(store.read_again(), Ok(false));
    }

    #[test]
    fn a_restart_finds_the_keys_again_and_too_old_ones_not() {
        let scratch = Scratch::new();
        let file = Some(scratch.path("keys"));
        let first = open(file.clone(), 1000);
        assert_eq!(open(file.clone(), 1050).keys, first.keys);
        let later = open(file.clone(), 1150).keys;
        assert_eq!(later.before, Some(first.keys.current));
        let much_later = open(file, 9000).keys;
        assert_eq!((much_later.current.made, much_later.before), (9000, None));
    }

    #[test]
    fn two_processes_come_to_the_same_keys_whoever_renews_them() {
        let scratch = Scratch::new();
        let file = Some(scratch.path("keys"));
        let (mut one, mut other) = (open(file.clone(), 1000), open(file, 1010));
        assert_eq!(one.keys, other.keys);
        assert_eq!(one.renew(1100), (true, None));
        assert_ne!(one.keys, other.keys);
        assert_eq!(other.read_again(), Ok(true));
        assert_eq!(one.keys, other.keys);
        assert_eq!(other.read_again(), Ok(false));
        // Or at its own time, without a word from the file system.
        assert_eq!(one.renew(1200), (true, None));
        assert_eq!(other.renew(1201), (true, None));
        assert_eq!(one.keys, other.keys);
    }

    #[test]
    fn a_lock_that_another_keeps_is_told_once_with_the_file() {
        let scratch = Scratch::new();
        let path = scratch.path("keys");
        let mut store = open(Some(path.clone()), 1000);
        let before = store.keys.clone();
        let held = fs::File::open(&path).expect("it is there");
        flock(&held, FlockOperation::LockExclusive).expect("nobody has it");
        for now in [1100, 1101, 1100 + LOCKED_MAX - 1] {
            assert_eq!(store.renew(now), (false, None), "{now}");
        }
        let (is_renewed, told) = store.renew(1100 + LOCKED_MAX);
        let told = told.expect("it lasts");
        assert!(told.contains(&*path.to_string_lossy()), "{told}");
        assert_eq!(store.renew(9000), (false, None), "it is told once");
        assert!(!is_renewed && store.keys == before);
        drop(held);
        assert_eq!(store.renew(9001), (true, None));
    }

    #[test]
    fn without_its_file_a_server_goes_on_with_new_keys() {
        let scratch = Scratch::new();
        let path = scratch.path("keys");
        let mut store = open(Some(path.clone()), 1000);
        fs::write(&path, "damaged").expect("it is ours");
        assert!(store.read_again().is_err());
        let before = store.keys.clone();
        let (is_renewed, told) = store.renew(1100);
        assert!(is_renewed && told.is_some());
        assert_eq!(store.keys.before, Some(before.current));
        assert_eq!(
            fs::read(&path).expect("it is there"),
            b"damaged",
            "whatever it is"
        );
        fs::remove_file(&path).expect("it is ours");
        assert_eq!(store.read_again(), Ok(false));
    }
}
