//! What is told the service manager: sd_notify(3), datagrams to the socket that it names.

use std::env::{self, VarError};
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::process::{Pid, getpid};
use rustix::time::{ClockId, clock_gettime};

/// How long a service manager that does not read may hold the control thread up. No key: none
/// takes that long.
const SEND_MAX: Duration = Duration::from_secs(1);

/// The way to the service manager; without one nothing is told.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    socket: Option<UnixDatagram>,
    /// What is not heard is told once.
    has_failed: bool,
}

impl Notifier {
    /// To the socket of NOTIFY_SOCKET, if it is set. One that cannot be reached is told of, and
    /// does without: the server serves all the same.
    pub(crate) fn from_env() -> Self {
        let Some(name) = env::var_os("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let socket = connect(&name)
            .inspect_err(|error| tracing::warn!(?name, %error, "NOTIFY_SOCKET cannot be reached"));
        Self {
            socket: socket.ok(),
            has_failed: false,
        }
    }

    /// Every shard serves.
    pub(crate) fn ready(&mut self) {
        self.tell("READY=1");
    }

    /// The settings are being read again; [`Self::ready`] ends it.
    pub(crate) fn reloading(&mut self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// The server ends.
    pub(crate) fn stopping(&mut self) {
        self.tell("STOPPING=1");
    }

    /// One line for people.
    pub(crate) fn status(&mut self, text: &str) {
        self.tell(&format!("STATUS={text}"));
    }

    /// All is well.
    pub(crate) fn watchdog(&mut self) {
        self.tell("WATCHDOG=1");
    }

    /// Another process is the service from now on, and tells the rest.
    pub(crate) fn main_pid(mut self, pid: Pid) {
        self.tell(&format!("MAINPID={}", pid.as_raw_nonzero()));
    }

    fn tell(&mut self, state: &str) {
        let Some(socket) = &self.socket else {
            return;
        };
        let sent = socket.send(state.as_bytes());
        if let Err(error) = &sent
            && !self.has_failed
        {
            tracing::warn!(state, %error, "the service manager does not hear");
        }
        self.has_failed = sent.is_err();
    }
}

/// A path, or a name without one behind `@` (unix(7)).
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(SEND_MAX))?;
    Ok(socket)
}

/// How soon the service manager wants to hear that all is well, if it does: sd_watchdog_enabled(3).
pub(crate) fn watchdog_from_env() -> Option<Duration> {
    let number = |name| match env::var(name) {
        Ok(text) => text.parse::<u64>().map(Some).inspect_err(
            |error| tracing::warn!(name, text, %error, "no number, so there is no watchdog"),
        ),
        Err(VarError::NotPresent | VarError::NotUnicode(_)) => Ok(None),
    };
    let (within, process) = (number("WATCHDOG_USEC").ok()??, number("WATCHDOG_PID").ok()?);
    let own = getpid().as_raw_nonzero().get();
    let is_ours = process.is_none_or(|process| i64::try_from(process) == Ok(own.into()));
    (is_ours && within > 0).then(|| Duration::from_micros(within))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn heard(manager: &UnixDatagram) -> String {
        let mut bytes = [0; 100];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_service_manager_hears_at_a_path_and_at_a_name_without_one() {
        let unique = format!("corelane-notify-{}", std::process::id());
        let path = env::temp_dir().join(&unique);
        let address = SocketAddr::from_abstract_name(&unique).unwrap();
        let managers = [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.clone().into_os_string(),
            ),
            (
                UnixDatagram::bind_addr(&address).unwrap(),
                format!("@{unique}").into(),
            ),
        ];
        for (manager, name) in managers {
            let mut notifier = Notifier {
                socket: Some(connect(&name).unwrap()),
                has_failed: false,
            };
            notifier.ready();
            assert_eq!(heard(&manager), "READY=1");
            notifier.reloading();
            let (state, at) = heard(&manager)
                .split_once("\nMONOTONIC_USEC=")
                .map(|(state, at)| (state.to_owned(), at.parse::<u64>().unwrap()))
                .unwrap();
            assert!(state == "RELOADING=1" && at > 0);
            notifier.main_pid(getpid());
            assert_eq!(heard(&manager), format!("MAINPID={}", std::process::id()));
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_service_manager_that_has_gone_is_told_nothing() {
        assert!(connect(OsStr::new("/nowhere/at/all")).is_err());
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        drop(theirs);
        let mut notifier = Notifier {
            socket: Some(ours),
            has_failed: false,
        };
        notifier.ready();
        assert!(notifier.has_failed);
    }
}
