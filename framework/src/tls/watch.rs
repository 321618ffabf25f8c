//! Looks whether files have changed, by the directories that lead to them (inotify(7)).
//!
//! A certificate is not written, it is replaced: by a rename over it, or of a symbolic link on the
//! way to it (`..data` of Kubernetes, `live/` of certbot). So what is watched of each path is the
//! name of its last part in its directory, and that of each link in the directory that it is in.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// How long nothing may have changed before it is told: a certificate and its key are two files.
const SETTLED_AFTER: Duration = Duration::from_millis(500);
/// When it is told, although something changes all the time.
const SETTLED_BY: Duration = Duration::from_secs(5);
/// Events that are read at a look; the others wait for the next.
const EVENTS_PER_LOOK_MAX: usize = 1024;
/// Symbolic links on one path: as many as Linux follows (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// Whatever makes another file of a name. A file that is written in place is told when it is closed.
const CHANGES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// What says that a directory is not what it was, or that events were lost.
const LOST: ReadFlags = ReadFlags::QUEUE_OVERFLOW
    .union(ReadFlags::IGNORED)
    .union(ReadFlags::DELETE_SELF)
    .union(ReadFlags::MOVE_SELF)
    .union(ReadFlags::UNMOUNT);

/// The names that matter in each directory.
type Places = BTreeMap<PathBuf, BTreeSet<OsString>>;

/// Watches files.
#[derive(Debug)]
pub(super) struct Watcher {
    inotify: OwnedFd,
    files: Vec<PathBuf>,
    /// By watch descriptor.
    names: BTreeMap<i32, BTreeSet<OsString>>,
    change: Option<Change>,
}

/// Something has changed, and is not told yet.
#[derive(Clone, Copy, Debug)]
struct Change {
    first: Instant,
    last: Instant,
}

impl Watcher {
    /// # Errors
    ///
    /// When the kernel gives no inotify: a user has so many (fs.inotify.max_user_instances).
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            files: Vec::new(),
            names: BTreeMap::new(),
            change: None,
        })
    }

    /// Watches these files from now on, and no others. Gives each directory that cannot be watched,
    /// and why.
    pub(super) fn watch(&mut self, files: Vec<PathBuf>) -> Vec<(PathBuf, io::Error)> {
        self.files = files;
        let mut places = Places::new();
        for file in &self.files {
            follow(file, &mut places);
        }
        let (mut names, mut failed) = (BTreeMap::<i32, BTreeSet<OsString>>::new(), Vec::new());
        for (directory, of_directory) in places {
            match inotify::add_watch(&self.inotify, &directory, CHANGES) {
                Ok(watch) => names.entry(watch).or_default().extend(of_directory),
                // It has gone since: whoever made it go is followed by another look.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => failed.push((directory, error.into())),
            }
        }
        for watch in self.names.keys().filter(|watch| !names.contains_key(watch)) {
            // Fails where the kernel has dropped it already, with the directory.
            let _gone = inotify::remove_watch(&self.inotify, *watch);
        }
        self.names = names;
        failed
    }

    /// What it watches.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Takes the files for changed: they were read before they were watched.
    pub(super) fn suspect(&mut self, now: Instant) {
        let first = self.change.map_or(now, |change| change.first);
        self.change = Some(Change { first, last: now });
    }

    /// Whether any of the files may have changed, and nothing does any more.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        if self.reads_change() {
            // On the way to a file there may be other directories now, with what came into them
            // before they were watched: this change is told in any case.
            let files = std::mem::take(&mut self.files);
            drop(self.watch(files));
            self.suspect(now);
        }
        let is_settled = self.change.is_some_and(|change| {
            now.saturating_duration_since(change.last) >= SETTLED_AFTER
                || now.saturating_duration_since(change.first) >= SETTLED_BY
        });
        if is_settled {
            self.change = None;
        }
        is_settled
    }

    /// Reads what the kernel has to tell. True: something of it matters.
    fn reads_change(&self) -> bool {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        let mut matters = false;
        for _ in 0..EVENTS_PER_LOOK_MAX {
            let Ok(event) = events.next() else {
                break; // there is no more for now
            };
            // A watch that was removed is told of, too: it is known no more.
            let names = self.names.get(&event.wd());
            let name = event
                .file_name()
                .map(|name| OsStr::from_bytes(name.to_bytes()));
            let is_named = name.is_some_and(|name| names.is_some_and(|names| names.contains(name)));
            let is_lost = event.events().intersects(LOST);
            let is_known = names.is_some() || event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            matters |= is_named || is_lost && is_known;
        }
        matters
    }
}

/// Adds what is to be watched of a path: its links and its last part, or the first that is not
/// there.
fn follow(path: &Path, places: &mut Places) {
    let mut links = 0;
    let mut here = PathBuf::from(".");
    // What is still to be walked, the next part last.
    let mut ahead = parts(path);
    while let Some(part) = ahead.pop() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => {
                here = PathBuf::from("/");
                continue;
            }
            Some(Component::ParentDir) => {
                // `here` has no link in it, so this is the directory above.
                here = match here.canonicalize() {
                    Ok(whole) => whole.parent().map_or(whole.clone(), Path::to_owned),
                    Err(_) => return,
                };
                continue;
            }
            Some(Component::Normal(_)) => {}
            _ => continue,
        }
        let next = here.join(&part);
        let found = fs::symlink_metadata(&next);
        let is_link = found.as_ref().is_ok_and(fs::Metadata::is_symlink);
        if is_link || ahead.is_empty() || found.is_err() {
            places.entry(here.clone()).or_default().insert(part);
        }
        if is_link {
            links += 1;
            let Some(target) = fs::read_link(&next).ok().filter(|_| links <= LINKS_MAX) else {
                return;
            };
            ahead.extend(parts(&target));
            continue;
        }
        if found.is_err() {
            return;
        }
        here = next;
    }
}

/// The parts of a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev();
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::tls::scratch::Scratch;

    fn watching(file: PathBuf) -> Watcher {
        let mut watcher = Watcher::new().expect("the kernel gives one");
        let failed = watcher.watch(vec![file]);
        assert!(failed.is_empty(), "{failed:?}");
        watcher
    }

    /// Whether a change is told once nothing has changed for long enough, and not before.
    fn tells(watcher: &mut Watcher) -> bool {
        let now = Instant::now();
        let is_early = watcher.look(now);
        assert!(!is_early, "it may not have settled");
        watcher.look(now + SETTLED_AFTER)
    }

    #[test]
    fn a_file_is_told_of_however_it_is_replaced_and_its_neighbours_are_not() {
        let scratch = Scratch::new();
        let file = scratch.write("a.crt", "1");
        let mut watcher = watching(file.clone());
        assert!(!tells(&mut watcher));
        scratch.write("a.key", "neighbour");
        assert!(!tells(&mut watcher));
        scratch.write("a.crt", "2");
        assert!(tells(&mut watcher), "written in place");
        fs::rename(scratch.write("a.crt.new", "3"), &file).expect("it is ours");
        assert!(tells(&mut watcher), "renamed into its place");
        fs::remove_file(&file).expect("it is ours");
        assert!(tells(&mut watcher), "gone");
        scratch.write("a.crt", "4");
        assert!(tells(&mut watcher), "back");
        assert!(!tells(&mut watcher));
    }

    #[test]
    fn the_link_of_a_kubernetes_volume_is_followed_from_one_to_the_next() {
        let scratch = Scratch::new();
        let version = |name: &str| {
            fs::create_dir(scratch.path(name)).expect("it is ours");
            scratch.write(&format!("{name}/tls.crt"), name);
        };
        version("..1");
        symlink("..1", scratch.path("..data")).expect("a link");
        symlink("..data/tls.crt", scratch.path("tls.crt")).expect("a link");
        let mut watcher = watching(scratch.path("tls.crt"));
        for (old, new) in [("..1", "..2"), ("..2", "..3")] {
            version(new);
            symlink(new, scratch.path("..data_tmp")).expect("a link");
            assert!(!tells(&mut watcher), "it is not there yet");
            fs::rename(scratch.path("..data_tmp"), scratch.path("..data")).expect("it is ours");
            fs::remove_dir_all(scratch.path(old)).expect("it is ours");
            assert!(tells(&mut watcher), "{new}");
        }
    }

    #[test]
    fn a_directory_that_goes_and_comes_is_found_again() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path("tls")).expect("it is ours");
        scratch.write("tls/a.crt", "1");
        let mut watcher = watching(scratch.path("tls/a.crt"));
        fs::rename(scratch.path("tls"), scratch.path("old")).expect("it is ours");
        assert!(tells(&mut watcher));
        fs::create_dir(scratch.path("tls")).expect("it is ours");
        assert!(tells(&mut watcher));
        scratch.write("tls/a.crt", "2");
        assert!(tells(&mut watcher));
        scratch.write("old/a.crt", "3");
        assert!(!tells(&mut watcher), "that is another file now");
    }

    #[test]
    fn a_link_to_elsewhere_and_links_without_end() {
        let (scratch, elsewhere) = (Scratch::new(), Scratch::new());
        elsewhere.write("1.pem", "1");
        let link = scratch.path("live.pem");
        symlink(elsewhere.path("1.pem"), &link).expect("a link");
        let mut watcher = watching(link.clone());
        elsewhere.write("1.pem", "changed");
        assert!(tells(&mut watcher));
        elsewhere.write("2.pem", "2");
        assert!(!tells(&mut watcher));
        fs::remove_file(&link).expect("it is ours");
        symlink(elsewhere.path("2.pem"), &link).expect("a link");
        assert!(tells(&mut watcher), "as certbot does it");
        let endless = scratch.path("endless");
        symlink("endless", &endless).expect("a link");
        watching(endless);
    }

    #[test]
    fn a_change_without_end_is_told_all_the_same() {
        let scratch = Scratch::new();
        let file = scratch.write("a.crt", "1");
        let mut watcher = watching(file);
        let begin = Instant::now();
        let step = SETTLED_AFTER / 2;
        let told = (0..30).position(|number| {
            scratch.write("a.crt", "again");
            watcher.look(begin + step * number)
        });
        let expected = SETTLED_BY.as_millis() / step.as_millis();
        assert_eq!(told, Some(expected as usize));
    }

    #[test]
    fn a_path_from_the_working_directory_has_its_places() {
        let mut places = Places::new();
        follow(Path::new("Cargo.toml"), &mut places);
        let names = places.get(Path::new(".")).expect("the working directory");
        assert!(names.contains(OsStr::new("Cargo.toml")));
    }
}
