//! A server under test: how it is started, watched and ended.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{BOUND, Client, Counts, Line, Log, Program, Turn, alone, has_ended, shared, within};

/// Lines of a log that are shown when a test fails.
const SHOWN_MAX: usize = 40;

/// Where descriptors that are passed on stand meanwhile: out of the way of all others.
const PASSED_AT: RawFd = 500;

/// A server about to be started. Unless told otherwise it listens on a free port of 127.0.0.1 and
/// logs JSON.
#[derive(Debug)]
pub struct Launch {
    program: Program,
    /// Where it lies, if not where it was built.
    file: Option<PathBuf>,
    wrapper: Vec<String>,
    arguments: Vec<String>,
    passed: Vec<(String, OwnedFd)>,
    alone: bool,
}

/// How a process ended and what it said.
#[derive(Debug)]
pub struct Exit {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Launch {
    /// Without any of the rig's own settings.
    #[must_use]
    pub fn bare(program: Program) -> Self {
        Self {
            program,
            file: None,
            wrapper: Vec::new(),
            arguments: Vec::new(),
            passed: Vec::new(),
            alone: false,
        }
    }

    fn new(program: Program) -> Self {
        Self::bare(program)
            .set("server.listen=\"127.0.0.1:0\"")
            .set("log.format=\"json\"")
    }

    /// The echo server.
    #[must_use]
    pub fn echo() -> Self {
        Self::new(Program::Echo)
    }

    /// The echo server, from the file `program`.
    #[must_use]
    pub fn echo_at(program: &Path) -> Self {
        Self {
            file: Some(program.to_owned()),
            ..Self::echo()
        }
    }

    /// The echo server with the settings of `file`, which say where it listens.
    #[must_use]
    pub fn echo_with(file: &Path) -> Self {
        Self::bare(Program::Echo).with(file)
    }

    /// The same as the echo server that fails as `failpoints` says.
    #[must_use]
    pub fn faulty_with(file: &Path, failpoints: &str) -> Self {
        Self::bare(Program::Faulty).with(file).failing(failpoints)
    }

    fn with(self, file: &Path) -> Self {
        let launch = self.argument(&file.display().to_string());
        launch.set("log.format=\"json\"")
    }

    fn failing(self, failpoints: &str) -> Self {
        self.under(&["env", &format!("CORELANE_FAILPOINTS={failpoints}")])
    }

    /// The ping server.
    #[must_use]
    pub fn ping() -> Self {
        Self::new(Program::Ping)
    }

    /// The chat server.
    #[must_use]
    pub fn chat() -> Self {
        Self::new(Program::Chat)
    }

    /// The gateway.
    #[must_use]
    pub fn gateway() -> Self {
        Self::new(Program::Gateway)
    }

    /// The gateway with the settings of `file`, which say where it listens.
    #[must_use]
    pub fn gateway_with(file: &Path) -> Self {
        Self::bare(Program::Gateway).with(file)
    }

    /// The server whose handler misbehaves.
    #[must_use]
    pub fn hostile() -> Self {
        Self::new(Program::Hostile)
    }

    /// The server that asks a Redis server at `upstream`.
    #[must_use]
    pub fn relay(upstream: SocketAddr) -> Self {
        Self::new(Program::Relay).set(&format!("upstream.next.addr=\"{upstream}\""))
    }

    /// The server that works beside its connections.
    #[must_use]
    pub fn worker() -> Self {
        Self::new(Program::Worker)
    }

    /// The server whose handlers wait for several things at once.
    #[must_use]
    pub fn pusher() -> Self {
        Self::new(Program::Pusher)
    }

    /// The proxy in front of `upstream`, for up to 1 000 connections of a shard.
    #[must_use]
    pub fn proxy(upstream: SocketAddr) -> Self {
        Self::new(Program::Proxy)
            .set(&format!("app.upstream=\"{upstream}\""))
            .set("limits.outbound_per_shard_max=1000")
    }

    /// The server that sends and receives at the same time.
    #[must_use]
    pub fn duplex() -> Self {
        Self::new(Program::Duplex)
    }

    /// The server of HTTP.
    #[must_use]
    pub fn web() -> Self {
        Self::new(Program::Web)
    }

    /// The server of WebSockets.
    #[must_use]
    pub fn sockets() -> Self {
        Self::new(Program::Sockets)
    }

    /// The echo server that fails as `failpoints` says: `framework/src/failpoint.rs`.
    #[must_use]
    pub fn faulty(failpoints: &str) -> Self {
        Self::new(Program::Faulty).failing(failpoints)
    }

    /// With `--set setting`.
    #[must_use]
    pub fn set(self, setting: &str) -> Self {
        self.argument("--set").argument(setting)
    }

    /// With a further command-line argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With each close in the log, however many there are.
    #[must_use]
    pub fn debug(self) -> Self {
        self.set("log.lines_per_reason_max=0")
            .set("log.level=\"debug\"")
    }

    /// Run by another program: `taskset -c 0`, say.
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper
            .extend(wrapper.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Run by a shell that has done `preparation` first: `ulimit -l 64`, say.
    #[must_use]
    pub fn after(self, preparation: &str) -> Self {
        let script = format!("{preparation}; exec \"$0\" \"$@\"");
        self.under(&["sh", "-c", &script])
    }

    /// With a descriptor called `name`, as a service manager passes it (sd_listen_fds(3)), and alone:
    /// servers that start at the same time would get it too.
    #[must_use]
    pub fn pass(mut self, name: &str, descriptor: impl Into<OwnedFd>) -> Self {
        self.passed.push((name.to_owned(), descriptor.into()));
        self.alone()
    }

    /// The passed descriptors stand at numbers from `PASSED_AT` on until a shell moves them to where
    /// they belong.
    fn after_passing(mut self) -> (Self, Vec<OwnedFd>) {
        if self.passed.is_empty() {
            return (self, vec![]);
        }
        let passed = std::mem::take(&mut self.passed);
        let (mut script, mut names, mut inheritable) = (String::new(), vec![], vec![]);
        for (number, (name, descriptor)) in (3..).zip(passed) {
            let copy = fcntl_dupfd_cloexec(&descriptor, PASSED_AT).unwrap();
            fcntl_setfd(&copy, FdFlags::empty()).unwrap();
            let at = copy.as_raw_fd();
            script += &format!("exec {number}<&{at} {at}<&-; ");
            names.push(name);
            inheritable.push(copy);
        }
        let (count, names) = (names.len(), names.join(":"));
        script += &format!("export LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names}");
        script += "; exec \"$0\" \"$@\"";
        let own = std::mem::take(&mut self.wrapper);
        self.wrapper = ["bash", "-c", &script].map(str::to_owned).to_vec();
        self.wrapper.extend(own);
        (self, inheritable)
    }

    /// While no other test of this binary has a server.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// The process, whatever becomes of it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(self) -> Server {
        let turn = if self.alone { alone() } else { shared() };
        let (launch, _inheritable) = self.after_passing();
        launch.spawn_in(turn)
    }

    fn spawn_in(self, turn: Turn) -> Server {
        let program = self.file.unwrap_or_else(|| self.program.path());
        let program = program.into_os_string();
        let mut words = self.wrapper.iter().map(Into::into).chain([program]);
        let mut command = Command::new(words.next().expect("the program is always there"));
        command.args(words).args(&self.arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own, so that a wrapper and what it started end together.
        let mut child = command
            .process_group(0)
            .spawn()
            .expect("the program starts");
        let log = Log::collect(child.stderr.take().expect("standard error is piped"));
        Server {
            child,
            log,
            address: None,
            status: None,
            taken_over: Vec::new(),
            _turn: turn,
        }
    }

    /// The server, once it listens.
    ///
    /// # Panics
    /// When it does not within ten seconds.
    #[must_use]
    pub fn start(self) -> Server {
        let mut server = self.spawn();
        let line = server.wait_for_log("listening", BOUND);
        let address = line.field("addr").and_then(|address| address.parse().ok());
        server.address = Some(address.expect("`listening` gives the address"));
        server
    }

    /// How it ends, when it is expected to end by itself.
    ///
    /// # Panics
    /// When it does not within ten seconds.
    #[must_use]
    pub fn run(self) -> Exit {
        let mut server = self.spawn();
        let mut output = server
            .child
            .stdout
            .take()
            .expect("standard output is piped");
        let reader = thread::spawn(move || {
            let mut text = String::new();
            let _ = output.read_to_string(&mut text);
            text
        });
        let status = server.wait_status(BOUND);
        server.log.wait_end(BOUND);
        Exit {
            code: status.code(),
            signal: status.signal(),
            stdout: reader.join().unwrap(),
            stderr: server.log.text(),
        }
    }
}

/// A running server. On drop it is killed, and a test that passed fails if it had died before.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: Log,
    address: Option<SocketAddr>,
    status: Option<ExitStatus>,
    /// The processes that have taken over, the last one last; it is nobody's child.
    taken_over: Vec<u64>,
    _turn: Turn,
}

impl Server {
    /// Where it listens.
    ///
    /// # Panics
    /// When it was not waited for.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
            .expect("the server was started, not only spawned")
    }

    /// The same port at another address of this machine.
    #[must_use]
    pub fn addr_at(&self, ip: impl Into<IpAddr>) -> SocketAddr {
        SocketAddr::new(ip.into(), self.addr().port())
    }

    /// A new connection to it.
    #[must_use]
    pub fn connect(&self) -> Client {
        Client::connect(self.addr())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process().as_raw_nonzero().get().unsigned_abs()
    }

    /// Its log so far, and to come.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Waits for the first event called `message`.
    ///
    /// # Panics
    /// When `bound` passed first.
    pub fn wait_for_log(&self, message: &str, bound: Duration) -> Line {
        self.wait_for_line(0, bound, message, |line| line.message() == message)
    }

    /// Waits for as many connections to have been closed with `reason`. Needs [`Launch::debug`].
    ///
    /// # Panics
    /// When ten seconds passed first.
    pub fn wait_for_closed(&self, reason: &str, count: usize) {
        let what = format!("{count} connections closed with {reason}");
        let is = |line: &Line| {
            line.message() == "closed" && line.field("reason").as_deref() == Some(reason)
        };
        within(BOUND, &what, || {
            (self.log.lines().iter().filter(|line| is(line)).count() >= count).then_some(())
        });
    }

    /// Waits for an event from line number `from` on.
    ///
    /// # Panics
    /// When `bound` passed first, with `what` was waited for.
    pub fn wait_for_line(
        &self,
        from: usize,
        bound: Duration,
        what: &str,
        wanted: impl Fn(&Line) -> bool,
    ) -> Line {
        let found = self.log.find(from, bound, wanted);
        found.unwrap_or_else(|| panic!("no `{what}` in the log within {bound:?}"))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).expect("the server runs");
    }

    /// Has a new process take over, and waits until the one before has ended. What follows is about
    /// the new one.
    ///
    /// # Panics
    /// When either takes more than ten seconds.
    pub fn restart(&mut self) {
        self.signal(Signal::USR2);
        self.restarted();
    }

    /// The second half of [`Self::restart`].
    ///
    /// # Panics
    /// When the new process does not take over, or the one before does not end.
    pub fn restarted(&mut self) {
        let before = self.pid();
        let takes_over = |line: &Line| {
            let pid = || line.number("pid");
            line.message() == "handed over; draining" && !self.taken_over.contains(&pid())
        };
        let line = self.wait_for_line(0, BOUND, "handed over; draining", takes_over);
        if self.taken_over.is_empty() {
            let status = self.wait_status(2 * BOUND);
            assert_eq!(status.code(), Some(0), "exit code after the restart");
        }
        within(2 * BOUND, "the end of the process before", || {
            has_ended(before).then_some(())
        });
        self.taken_over.push(line.number("pid"));
    }

    /// Waits for its end and gives the exit code; none when a signal ended it.
    ///
    /// # Panics
    /// When `bound` passed first.
    pub fn wait_exit(&mut self, bound: Duration) -> Option<i32> {
        let status = self.wait_status(bound);
        self.log.wait_end(BOUND);
        status.code()
    }

    /// Waits for the end of the process that was started, whatever has taken over from it, and gives
    /// its exit code.
    ///
    /// # Panics
    /// When `bound` passed first.
    pub fn wait_child(&mut self, bound: Duration) -> Option<i32> {
        self.wait_status(bound).code()
    }

    /// Ends it as an operator would and gives its final counts.
    ///
    /// # Panics
    /// When it does not exit with 0, or its counts do not balance.
    pub fn stop(mut self) -> Counts {
        self.signal(Signal::TERM);
        if !self.taken_over.is_empty() {
            self.log.wait_end(2 * BOUND);
        } else {
            assert_eq!(
                self.wait_exit(2 * BOUND),
                Some(0),
                "exit code after SIGTERM"
            );
        }
        let counts = self.counts();
        counts.assert_balanced();
        counts
    }

    /// The final counts of a server that has drained.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let drained = |line: &Line| line.message() == "drained";
        self.wait_for_log("drained", BOUND);
        let last = self.log.lines().into_iter().rfind(drained);
        Counts::from(&last.expect("there is one"))
    }

    fn wait_status(&mut self, bound: Duration) -> ExitStatus {
        let child = &mut self.child;
        let status = within(bound, "the end of the process", || {
            child.try_wait().unwrap()
        });
        self.status = Some(status);
        status
    }

    fn process(&self) -> Pid {
        let last = self.taken_over.last().copied();
        let last = last.and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        last.unwrap_or_else(|| Pid::from_child(&self.child))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let died = self.status.is_none() && matches!(self.child.try_wait(), Ok(Some(_)));
        // Fails when all of them are gone already.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let status = self.child.wait();
        if thread::panicking() {
            show(&self.log);
        } else if died {
            panic!("the server died: {status:?}\n{}", self.log.text());
        }
    }
}

fn show(log: &Log) {
    let lines = log.lines();
    let left_out = lines.len().saturating_sub(SHOWN_MAX);
    eprintln!("--- the server's log, without the first {left_out} lines");
    lines[left_out..]
        .iter()
        .for_each(|line| eprintln!("{}", line.text));
}
