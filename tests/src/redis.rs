//! A real Redis server on a port of its own, started and ended by the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{BOUND, connect, free_address_of, within};

/// A Redis server. On drop it is killed.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    addr: SocketAddr,
}

impl Redis {
    /// The server, once it answers.
    ///
    /// # Panics
    /// When it does not within ten seconds.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at(free_address_of(Ipv4Addr::LOCALHOST))
    }

    /// One that is asked by TLS alone, shows `server.crt` of that directory, with `server.key`, and
    /// takes nobody whom `ca.crt` does not vouch for; none: it was built without TLS. It is asked
    /// by others than [`Self::ask`].
    ///
    /// # Panics
    /// When it cannot be started, or listens nowhere within ten seconds.
    #[must_use]
    pub fn start_by_tls(directory: &Path) -> Option<Self> {
        // Its port may be somebody else's by the time at which it asks for it.
        (0..3).find_map(|_| Self::try_by_tls(directory))
    }

    fn try_by_tls(directory: &Path) -> Option<Self> {
        let addr = free_address_of(Ipv4Addr::LOCALHOST);
        let mut command = command(addr.ip().to_string(), 0);
        command.args(["--tls-port", &addr.port().to_string()]);
        for (key, file) in [
            ("--tls-cert-file", "server.crt"),
            ("--tls-key-file", "server.key"),
            ("--tls-ca-cert-file", "ca.crt"),
        ] {
            command.arg(key).arg(directory.join(file));
        }
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut redis = Self { child, addr };
        let is_up = within(BOUND, "redis-server listens, or ends", || {
            let has_ended = redis.child.try_wait().unwrap().is_some();
            (has_ended || connect(addr).is_ok()).then_some(!has_ended)
        });
        is_up.then_some(redis)
    }

    fn start_at(addr: SocketAddr) -> Self {
        let redis = Self {
            child: spawn(addr),
            addr,
        };
        redis.wait_ready();
        redis
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it answers to an inline command: a line, or the text of a bulk string.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn ask(&self, command: &str) -> String {
        let mut stream = connect(self.addr).unwrap();
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .unwrap();
        answer(stream).unwrap_or_else(|| panic!("no answer to {command}"))
    }

    /// Connections from others that it has.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn clients(&self) -> usize {
        let list = self.ask("CLIENT LIST");
        list.lines()
            .filter(|line| !line.contains("cmd=client"))
            .count()
    }

    /// Ends it as a crash would: its port is closed when this returns.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same address, once it answers.
    ///
    /// # Panics
    /// When it does not within ten seconds.
    pub fn start_again(&mut self) {
        self.child = spawn(self.addr);
        self.wait_ready();
    }

    fn wait_ready(&self) {
        within(BOUND, "redis-server answers", || {
            let mut stream = connect(self.addr).ok()?;
            stream.write_all(b"PING\r\n").ok()?;
            answer(stream).filter(|answer| answer == "+PONG")
        });
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(addr: SocketAddr) -> Child {
    command(addr.ip().to_string(), addr.port()).spawn().unwrap()
}

/// Listens there, on port 0 nowhere.
fn command(ip: String, port: u16) -> Command {
    let mut command = Command::new("redis-server");
    command.args([
        "--bind",
        &ip,
        "--port",
        &port.to_string(),
        "--databases",
        "1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    command
        .current_dir(std::env::temp_dir())
        .stdout(Stdio::null());
    command
}

fn answer(stream: TcpStream) -> Option<String> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let line = line.trim_end();
    let Some(length) = line.strip_prefix('$') else {
        return (!line.is_empty()).then(|| line.to_owned());
    };
    let mut text = vec![0; length.parse().ok()?];
    stream.read_exact(&mut text).ok()?;
    String::from_utf8(text).ok()
}
