//! A restart, on the side of the process that ends: starts the program again, with the listeners of
//! this one, and waits until that serves.
//!
//! The new process gets a socket as its standard input. The listeners come through it, and it says
//! there that it is ready. Until it has, nothing changes here, whatever becomes of it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use rustix::process::Pid;

use crate::config::ListenerSettings;
use crate::net::endpoint::Opened;
use crate::net::handover::{self, Entry, Role};
use crate::net::listener::OpenListener;
use crate::server::event::{Event, tell};

/// Tells a process that its standard input is such a socket.
pub(super) const VARIABLE: &str = "CORELANE_HANDOVER";
/// The service manager's, for one process and not for those that it starts.
const OWN_VARIABLES: [&str; 4] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_PID"];
/// How long a process that has closed its end may take to be gone. No key: nothing is left of it.
const END_MAX: Duration = Duration::from_secs(1);
const END_LOOK: Duration = Duration::from_millis(5);

/// What starts this program again.
#[derive(Debug)]
pub(super) struct Successors {
    /// None where that is hidden.
    program: Option<PathBuf>,
    /// As this process was called, its own name first.
    words: Vec<OsString>,
    passed: Arc<Passed>,
    starting: Option<Starting>,
}

/// What a new process is given.
#[derive(Debug)]
struct Passed {
    listeners: Vec<Copies>,
    admin: Vec<(Entry, OwnedFd)>,
}

/// The sockets of one listener, to be passed on.
#[derive(Debug)]
pub(super) struct Copies {
    pub(super) settings: ListenerSettings,
    pub(super) sockets: Vec<OwnedFd>,
    /// Another process has opened them.
    pub(super) inherited: bool,
    pub(super) kept: bool,
}

/// One that starts now.
#[derive(Debug)]
struct Starting {
    /// This end of the socket to it.
    socket: Arc<OwnedFd>,
    /// It is not wanted any more.
    cancelled: Arc<AtomicBool>,
    /// Waits for it.
    thread: JoinHandle<()>,
}

impl Successors {
    /// Copies of the listeners, so that they can be passed on.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub(super) fn new(listeners: &[OpenListener], admin: &[Option<Opened>; 2]) -> io::Result<Self> {
        let words: Vec<OsString> = env::args_os().collect();
        let copies = listeners.iter().map(|listener| {
            Ok(Copies {
                settings: listener.settings.clone(),
                sockets: listener.copies()?,
                inherited: listener.inherited,
                kept: listener.kept,
            })
        });
        let admin = admin.iter().zip([Role::Admin, Role::Steering]);
        let admin = admin.filter_map(|(opened, role)| {
            let opened = opened.as_ref()?;
            let copy = opened.listener.try_clone();
            Some(copy.map(|copy| (entry(role, opened.kept), copy)))
        });
        let passed = Passed {
            listeners: copies.collect::<io::Result<_>>()?,
            admin: admin.collect::<io::Result<_>>()?,
        };
        Ok(Self {
            program: program(words.first()).ok(),
            words,
            passed: Arc::new(passed),
            starting: None,
        })
    }

    pub(super) fn listeners(&self) -> &[Copies] {
        &self.passed.listeners
    }

    /// Starts one, which has to be ready `within` so long. `events` is told what became of it.
    ///
    /// # Errors
    ///
    /// When another one starts already, or there are no descriptors or thread for it.
    pub(super) fn start(&mut self, within: Duration, events: &Sender<Event>) -> Result<(), String> {
        if self.starting.is_some() {
            return Err("another new process starts already".to_owned());
        }
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let pair = socketpair(family, kind, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.map_err(|error| error.to_string())?;
        let ours = Arc::new(ours);
        let program = self.program.as_ref();
        let program = program.ok_or("where the program lies is hidden")?;
        let mut command = Command::new(program);
        command.args(self.words.iter().skip(1)).env(VARIABLE, "1");
        OWN_VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        if let Some(name) = self.words.first() {
            command.arg0(name);
        }
        command.stdin(Stdio::from(theirs));
        let cancelled = Arc::<AtomicBool>::default();
        let (socket, is_cancelled, events) =
            (Arc::clone(&ours), Arc::clone(&cancelled), events.clone());
        let passed = Arc::clone(&self.passed);
        let thread = std::thread::Builder::new().name("restart".to_owned());
        let thread = thread.spawn(move || {
            let outcome = run(command, passed, socket.as_fd(), within, &is_cancelled);
            tell(&events, Event::Successor(outcome));
        });
        self.starting = Some(Starting {
            socket: ours,
            cancelled,
            thread: thread.map_err(|error| error.to_string())?,
        });
        Ok(())
    }

    /// The one that started has come to its end, or is ready.
    pub(super) fn settled(&mut self) {
        self.starting = None;
    }
}

impl Passed {
    /// Sends all of it, while the new process receives.
    fn send(&self, socket: BorrowedFd<'_>, until: Instant) -> io::Result<()> {
        let stdin = io::stdin();
        let mut all = vec![(entry(Role::Stdin, false), stdin.as_fd())];
        for listener in &self.listeners {
            all.extend((0..).zip(&listener.sockets).map(|(shard, socket)| {
                let name = listener.settings.name().to_owned();
                let role = Role::Listener { name, shard };
                (entry(role, listener.kept), socket.as_fd())
            }));
        }
        let admin = self.admin.iter();
        all.extend(admin.map(|(entry, listener)| (entry.clone(), listener.as_fd())));
        handover::send(socket, &all, until)
    }
}

/// One that starts is killed, for it has the listeners too: when this process closes them they must
/// be closed. One that is ready by then is told of as ever.
impl Drop for Successors {
    fn drop(&mut self) {
        if let Some(starting) = self.starting.take() {
            starting.cancelled.store(true, Ordering::Release);
            // Fails if it has gone by itself.
            let _gone = shutdown(&starting.socket, Shutdown::Both);
            // It has not panicked, or that is told by the panic hook.
            let _ended = starting.thread.join();
        }
    }
}

fn entry(role: Role, kept: bool) -> Entry {
    Entry { role, kept }
}

/// Where the program lies. Asked at the start: later the file may have been replaced, by one that is
/// to be started then. The path by which it was called may lead over links to wherever the next
/// version is by then, and may be any text (`exec -a`).
fn program(name: Option<&OsString>) -> io::Result<PathBuf> {
    match name.map(PathBuf::from) {
        Some(path) if path.components().count() > 1 && is_this(&path) => std::path::absolute(path),
        _ => env::current_exe(),
    }
}

/// Whether the file is the program that runs, as far as /proc tells.
fn is_this(path: &Path) -> bool {
    let file = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let Ok(running) = file(Path::new("/proc/self/exe")) else {
        return true;
    };
    file(path).is_ok_and(|called| called == running)
}

/// Starts it, and gives its number once it is ready.
fn run(
    mut command: Command,
    passed: Arc<Passed>,
    socket: BorrowedFd<'_>,
    within: Duration,
    cancelled: &AtomicBool,
) -> Result<Pid, String> {
    let until = Instant::now() + within;
    let child = command.spawn();
    // With our copy of its end of the socket: when it ends, the socket does.
    drop(command);
    let mut child = child.map_err(|error| format!("it cannot be started: {error}"))?;
    tracing::info!(pid = child.id(), "a new process starts");
    let sent = passed.send(socket, until);
    drop(passed); // before anybody hears of the outcome: closed with the others
    // It has closed its end if it ended before it had received all: that is told below.
    let outcome = match sent {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
        _ => handover::wait_ready(socket, until),
    };
    match outcome {
        Ok(true) => Ok(Pid::from_child(&child)),
        Ok(false) if cancelled.load(Ordering::Acquire) => {
            end(&mut child, Duration::ZERO);
            Err("this one ends".to_owned())
        }
        Ok(false) => Err(end(&mut child, END_MAX)),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            end(&mut child, Duration::ZERO);
            Err(format!(
                "it was not ready within {}",
                humantime::format_duration(within)
            ))
        }
        Err(error) => {
            end(&mut child, Duration::ZERO);
            Err(error.to_string())
        }
    }
}

/// Waits for its end for `patience`, then sees to it.
fn end(child: &mut Child, patience: Duration) -> String {
    let until = Instant::now() + patience;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return format!("it ended with {status}"),
            Ok(None) if Instant::now() < until => sleep(END_LOOK),
            _ => break,
        }
    }
    // Both fail only if it is gone.
    let _gone = child.kill();
    let _gone = child.wait();
    "it gave up and did not end".to_owned()
}
