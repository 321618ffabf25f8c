//! A server process under measurement: found, started on its core, stopped whatever happens.
//! Started from the main thread, so that it does not outlive this process even if that is killed.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::args::CompareArguments;
use super::kind::ServerKind;
use super::suite::Suite;
use loadtest::Stop;
use loadtest::error::Error;
use loadtest::launch::launched;
use loadtest::machine::Sample;
use loadtest::output::note;

/// How long a server may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to end after SIGTERM: longer than echo's drain deadline.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a wait looks at its condition, and for a signal.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Longer messages by TLS meet buffers of 16 KiB, as those of the server beside it.
const BUFFER_SIZE_DEFAULT: u32 = 4096;
/// Port 0: the kernel picks a free one, and the server says which.
const LISTEN: &str = "127.0.0.1:0";

/// Where the servers' binaries are.
pub(super) struct Binaries(PathBuf);

impl Binaries {
    /// In `directory`, or beside this program.
    pub(super) fn beside(directory: Option<&Path>) -> Result<Self, Error> {
        let own = env::current_exe().map_err(Error::failed("cannot tell where this program is"))?;
        let beside = own.parent().unwrap_or(Path::new("."));
        Ok(Self(directory.unwrap_or(beside).to_owned()))
    }

    /// The servers asked for; if none was, every one of the suite, without the Go one where it is not built.
    /// Refused unless all of them are here.
    pub(super) fn choose(
        &self,
        suite: Suite,
        wanted: &[ServerKind],
    ) -> Result<Vec<ServerKind>, Error> {
        let mut servers = wanted.to_vec();
        if wanted.is_empty() {
            let all = suite.servers().iter();
            servers.extend(all.filter(|&&server| self.is_offered(server)));
        }
        if let Some(other) = servers.iter().find(|one| !suite.servers().contains(one)) {
            let names: Vec<&str> = suite.servers().iter().map(|one| one.name()).collect();
            let names = names.join(", ");
            let why = format!("--servers {other} does something else: this --suite has {names}");
            return Err(Error::Refused(why));
        }
        match servers.iter().find(|&&server| !self.has(server)) {
            None => Ok(servers),
            Some(&server) => Err(Error::Refused(format!(
                "there is no {}: build it with `{}`, or say where it is with --bin-dir",
                self.path(server).display(),
                build_command(server)
            ))),
        }
    }

    /// The Go server may be missing, which is said: not everyone has a Go compiler.
    fn is_offered(&self, server: ServerKind) -> bool {
        let left_out = server == ServerKind::GoNetpoller && !self.has(server);
        if left_out {
            note(format_args!(
                "{server} is left out: build it with `{}`",
                build_command(server)
            ));
        }
        !left_out
    }

    fn has(&self, server: ServerKind) -> bool {
        self.path(server).is_file()
    }

    fn path(&self, server: ServerKind) -> PathBuf {
        self.0.join(binary(server))
    }

    /// What starts it on its core.
    pub(super) fn command(&self, server: ServerKind, arguments: &CompareArguments) -> Command {
        let (mut command, core) = (launched(&self.path(server)), arguments.cpu_server);
        let files = [&arguments.certificate, &arguments.key];
        let files = files.into_iter().flatten().filter(|_| server.has_tls());
        match server.is_ours() {
            true => {
                let listen = format!("server.listen=\"{LISTEN}\"");
                let cpus = format!("server.cpus=[{core}]");
                for set in [&*listen, &*cpus, "server.shards=1", "log.format=\"json\""] {
                    command.args(["--set", set]);
                }
                if server.has_tls() && arguments.payload > BUFFER_SIZE_DEFAULT {
                    command.args(["--set", "buffers.profile=\"medium\""]);
                }
                for (key, file) in ["certificate", "key"].iter().zip(files) {
                    let set = format!("listener.tls.{key}={:?}", file.display().to_string());
                    command.args(["--set", &set]);
                }
            }
            false => {
                command.args([LISTEN, &core.to_string()]).args(files);
            }
        }
        command
    }
}

/// Of a baseline also the name of its package.
fn binary(server: ServerKind) -> String {
    match server.is_ours() {
        true if server.has_tls() => ServerKind::Echo.to_string(),
        true => server.to_string(),
        false => format!("baseline_{server}"),
    }
}

fn build_command(server: ServerKind) -> String {
    match server {
        ServerKind::GoNetpoller => "make baseline-go".to_owned(),
        ServerKind::HttpEcho | ServerKind::WebsocketEcho => {
            "cargo build --release -p servers".to_owned()
        }
        server => format!("cargo build --release -p {}", binary(server)),
    }
}

/// A running server. Dropping it stops it.
pub(super) struct Server {
    kind: ServerKind,
    child: Child,
    addr: SocketAddr,
}

impl Server {
    /// Start it and wait until it listens.
    pub(super) fn start(
        mut command: Command,
        kind: ServerKind,
        stop: &Stop,
    ) -> Result<Self, Error> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command
            .spawn()
            .map_err(Error::failed(format!("cannot start {kind}")))?;
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        // From here on a failure drops it, and so stops the process.
        let mut server = Self {
            kind,
            child,
            addr: unspecified,
        };
        server.addr = server.await_listening(stop)?;
        Ok(server)
    }

    pub(super) fn kind(&self) -> ServerKind {
        self.kind
    }

    pub(super) fn sample(&self) -> Result<Sample, Error> {
        Sample::take(self.child.id())
            .map_err(Error::failed(format!("cannot observe {}", self.kind)))
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn await_listening(&mut self, stop: &Stop) -> Result<SocketAddr, Error> {
        let lines = self.lines();
        let deadline = Instant::now() + START_TIMEOUT;
        let mut said = Vec::new();
        while Instant::now() < deadline {
            if stop.is_set() {
                return Err(Error::Interrupted);
            }
            match lines.recv_timeout(LOOK_INTERVAL) {
                Ok(line) => match listening(&line) {
                    Some(addr) => return Ok(addr),
                    None => said.push(line),
                },
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.not_started("it ended", &said));
                }
            }
        }
        Err(self.not_started("it took too long", &said))
    }

    fn not_started(&self, why: &str, said: &[String]) -> Error {
        let said = if said.is_empty() {
            "nothing".to_owned()
        } else {
            said.join("\n")
        };
        Error::Failed(format!(
            "{} did not listen within {START_TIMEOUT:?}: {why}. It said: {said}",
            self.kind
        ))
    }

    /// The lines it prints, from both pipes. They are read to their end even when nobody listens
    /// any more: a server must not block on a full pipe.
    fn lines(&mut self) -> Receiver<String> {
        let (sender, receiver) = channel();
        if let Some(stdout) = self.child.stdout.take() {
            forward(stdout, sender.clone());
        }
        if let Some(stderr) = self.child.stderr.take() {
            forward(stderr, sender);
        }
        receiver
    }

    /// SIGTERM, and SIGKILL if that does not end it in time.
    fn stop(&mut self) {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return;
        };
        // An exited child stays a zombie until waited for, so this pid cannot be someone else's.
        if matches!(self.child.try_wait(), Ok(Some(_))) || kill_process(pid, Signal::TERM).is_err()
        {
            return;
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(LOOK_INTERVAL),
                _ => return,
            }
        }
        note(format_args!(
            "warning: {} is still there {STOP_TIMEOUT:?} after SIGTERM: SIGKILL",
            self.kind
        ));
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn forward(pipe: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            drop(lines.send(line));
        }
    });
}

/// The address in a line that announces it: `listening ADDR:PORT` of the baselines, the JSON log
/// line of an application.
fn listening(line: &str) -> Option<SocketAddr> {
    if let Some(addr) = line.strip_prefix("listening ") {
        return addr.parse().ok();
    }
    let log: Value = serde_json::from_str(line).ok()?;
    let fields = log.get("fields")?;
    if fields.get("message")? != "listening" {
        return None;
    }
    fields.get("addr")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_line_that_announces_the_address_is_told_from_others() {
        let addr = Some("127.0.0.1:7007".parse().unwrap());
        assert_eq!(listening("listening 127.0.0.1:7007"), addr);
        let log = |message: &str| {
            format!(
                r#"{{"timestamp":"x","level":"INFO","fields":{{"message":"{message}","addr":"127.0.0.1:7007","shards":1}},"target":"y"}}"#
            )
        };
        assert_eq!(listening(&log("listening")), addr);
        assert_eq!(listening(&log("draining")), None);
        assert_eq!(listening("not listening 127.0.0.1:7007"), None);
        assert_eq!(listening("{"), None);
    }

    proptest::proptest! {
        #![proptest_config(crate::proptests::cases())]

        #[test]
        fn any_line_is_an_address_or_none(text in crate::proptests::text()) {
            let _either = (listening(&text), listening(&format!("listening {text}")));
            let log = serde_json::json!({ "fields": { "message": "listening", "addr": text } });
            proptest::prop_assert_eq!(listening(&log.to_string()), text.parse().ok());
        }
    }
}
