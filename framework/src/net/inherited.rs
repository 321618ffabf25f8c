//! Listeners that this process did not open itself: the service manager's (sd_listen_fds(3)), or
//! those of the process that it takes over from.

use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use socket2::SockRef;

use crate::config::{Config, Endpoint};
use crate::net::endpoint::Opened;
use crate::net::listen;

/// What the admin server's descriptors are called: where it is looked at, and where it is steered.
const ADMIN: [&str; 2] = ["admin", "steer"];
/// As many as shards can be, and the admin server's.
const COUNT_MAX: usize = 1024 + ADMIN.len();

/// Listeners that are open already.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    /// All of one address. Of the process before, each stands at its shard's place.
    pub(crate) listeners: Vec<TcpListener>,
    /// The admin server's: where it is looked at, and where it is steered.
    pub(crate) admin: [Option<Opened>; 2],
    /// The service manager holds them too: clients that wait there are the next process's when this
    /// one ends.
    pub(crate) kept: bool,
}

/// Something about what was passed that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Which variable or descriptor.
    pub(crate) which: String,
    pub(crate) why: String,
}

impl Fault {
    pub(crate) fn new(which: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            which: which.into(),
            why: why.into(),
        }
    }
}

impl Inherited {
    /// What LISTEN_FDS says was passed; nothing if it is not set. Once in a process, and before it
    /// has any other thread.
    ///
    /// # Errors
    ///
    /// Everything that is wrong about it.
    pub(crate) fn from_service_manager() -> Result<Self, Vec<Fault>> {
        let Some(names) = names().map_err(|fault| vec![fault])? else {
            return Ok(Self::default());
        };
        let mut passed = ListenFd::from_env();
        let (mut inherited, mut faults) = (Self::default(), Vec::new());
        inherited.kept = true;
        for (index, name) in names.iter().enumerate() {
            let taken = match ADMIN.iter().position(|admin| name == admin) {
                Some(place) => inherited.take_admin(&mut passed, index, place),
                None => inherited.take_listener(&mut passed, index),
            };
            let which = format!("descriptor {} of LISTEN_FDS ({name})", index + 3);
            faults.extend(taken.err().map(|why| Fault { which, why }));
        }
        if faults.is_empty() {
            Ok(inherited)
        } else {
            Err(faults)
        }
    }

    /// The address of the listeners, if the settings have another and no service manager knows
    /// better.
    pub(crate) fn moved_from(&self, listen: SocketAddr) -> Option<SocketAddr> {
        let address = self.listeners.first()?.local_addr().ok()?;
        (!self.kept && !is_at(address, listen)).then_some(address)
    }

    /// Lets go of the admin server's listeners that the settings want elsewhere, or not at all.
    pub(crate) fn fit_admin(&mut self, wanted: [Option<&Endpoint>; 2]) {
        for (admin, wanted) in self.admin.iter_mut().zip(wanted) {
            admin.take_if(|opened| {
                let is_wanted = match (&opened.endpoint, wanted) {
                    (Endpoint::Tcp(address), Some(Endpoint::Tcp(wanted))) => {
                        is_at(*address, *wanted)
                    }
                    (endpoint, wanted) => Some(endpoint) == wanted,
                };
                !opened.kept && !is_wanted
            });
        }
    }

    fn take_listener(&mut self, passed: &mut ListenFd, index: usize) -> Result<(), String> {
        let listener = passed.take_tcp_listener(index);
        let listener = listener
            .map_err(|_described| "it is no TCP socket".to_owned())?
            .ok_or("it is not there")?;
        check_listens(&listener)?;
        let address = address_of(&listener)?;
        if let Some(first) = self.listeners.first()
            && address_of(first)? != address
        {
            return Err(format!(
                "its address is {address}, the first one's is another"
            ));
        }
        self.listeners.push(listener);
        Ok(())
    }

    fn take_admin(
        &mut self,
        passed: &mut ListenFd,
        index: usize,
        place: usize,
    ) -> Result<(), String> {
        if self.admin[place].is_some() {
            return Err("there is one of that name before it".to_owned());
        }
        let listener: OwnedFd = match passed.take_unix_listener(index) {
            Ok(listener) => listener.map(OwnedFd::from),
            Err(_no_unix) => {
                let listener = passed.take_tcp_listener(index);
                let listener = listener.map_err(|_| "it is no TCP and no Unix stream socket")?;
                listener.map(OwnedFd::from)
            }
        }
        .ok_or("it is not there")?;
        check_listens(&listener)?;
        self.admin[place] = Some(Opened::inherited(listener, true).map_err(told)?);
        Ok(())
    }
}

/// Port 0 stands for whichever the kernel has chosen.
pub(crate) fn is_at(address: SocketAddr, wanted: SocketAddr) -> bool {
    address == wanted || (wanted.port() == 0 && address.ip() == wanted.ip())
}

fn told(error: io::Error) -> String {
    format!("the kernel says: {error}")
}

fn check_listens<'s>(socket: impl Into<SockRef<'s>>) -> Result<(), String> {
    match socket.into().is_listener() {
        Ok(true) => Ok(()),
        Ok(false) => Err("it does not listen".to_owned()),
        Err(error) => Err(told(error)),
    }
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(told)
}

/// What the descriptors from 3 on are called, if there are any.
fn names() -> Result<Option<Vec<String>>, Fault> {
    let text = |name: &str| env::var_os(name).map(|text| text.to_string_lossy().into_owned());
    read_names(
        text("LISTEN_FDS").as_deref(),
        text("LISTEN_PID").as_deref(),
        text("LISTEN_FDNAMES").as_deref(),
        std::process::id(),
    )
}

fn read_names(
    count: Option<&str>,
    process: Option<&str>,
    names: Option<&str>,
    own: u32,
) -> Result<Option<Vec<String>>, Fault> {
    let Some(text) = count else {
        return Ok(None);
    };
    let count = text.parse().ok().filter(|count| *count <= COUNT_MAX);
    let Some(count) = count else {
        let why = format!("it is `{text}`, no number up to {COUNT_MAX}");
        return Err(Fault::new("LISTEN_FDS", why));
    };
    if process.and_then(|process| process.parse().ok()) != Some(own) {
        let process = process.map_or("not set".to_owned(), |process| format!("`{process}`"));
        let why = format!("it is {process}, and this process is {own}");
        return Err(Fault::new("LISTEN_PID", why));
    }
    let Some(names) = names else {
        return Ok(Some(vec!["unknown".to_owned(); count]));
    };
    let names: Vec<String> = names.split(':').map(str::to_owned).collect();
    if names.len() != count {
        let why = format!("it has {} names for {count} descriptors", names.len());
        return Err(Fault::new("LISTEN_FDNAMES", why));
    }
    Ok(Some(names))
}

/// Those that were passed, and as many more as `count` needs: further ones on the same address,
/// where the first shares it (SO_REUSEPORT) and its owner is this process's user (socket(7)); else
/// shards share one queue, and whichever is woken first accepts.
pub(crate) fn complete(
    passed: Vec<TcpListener>,
    config: &Config,
    count: usize,
) -> io::Result<(Vec<TcpListener>, SocketAddr)> {
    let mut listeners = passed;
    let (passed, address) = (listeners.len(), listeners[0].local_addr()?);
    let mut shares = SockRef::from(&listeners[0]).reuse_port()?;
    while listeners.len() < count {
        match listen::bind(config, address, true) {
            Ok(listener) if shares => listeners.push(listener),
            _ => {
                shares = false;
                listeners.push(listeners[listeners.len() % passed].try_clone()?);
            }
        }
    }
    Ok((listeners, address))
}

/// What [`listen::listen`] does to listeners of our own, with what others may have done undone.
pub(crate) fn set_up(listener: &OwnedFd, config: &Config) -> io::Result<()> {
    let (socket, settings) = (SockRef::from(listener), &config.socket);
    socket.set_keepalive(settings.keepalive)?;
    socket.set_tcp_user_timeout(settings.user_timeout)?;
    listen::set_options(socket, config)?;
    rustix::net::listen(listener, listen::backlog(config))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_passed_is_read_or_what_is_wrong_is_said() {
        let names = |count, process, names| read_names(count, process, names, 7);
        assert_eq!(names(None, Some("9"), Some("x")), Ok(None));
        let unknown = vec!["unknown".to_owned(); 2];
        assert_eq!(names(Some("2"), Some("7"), None), Ok(Some(unknown)));
        let called = vec!["http".to_owned(), "admin".to_owned()];
        assert_eq!(
            names(Some("2"), Some("7"), Some("http:admin")),
            Ok(Some(called))
        );
        for (count, process, called, which, why) in [
            ("two", Some("7"), None, "LISTEN_FDS", "`two`"),
            ("1027", Some("7"), None, "LISTEN_FDS", "`1027`"),
            ("-1", Some("7"), None, "LISTEN_FDS", "`-1`"),
            (
                "1",
                Some("8"),
                None,
                "LISTEN_PID",
                "`8`, and this process is 7",
            ),
            ("1", None, None, "LISTEN_PID", "not set"),
            ("2", Some("7"), Some("a"), "LISTEN_FDNAMES", "1 names for 2"),
        ] {
            let fault = names(Some(count), process, called).unwrap_err();
            assert!(fault.which == which && fault.why.contains(why), "{fault:?}");
        }
    }

    #[test]
    fn missing_listeners_are_bound_beside_one_that_shares_and_are_copies_of_one_that_does_not() {
        for shares in [true, false] {
            let config = Config::default();
            let first = listen::bind(&config, ([127, 0, 0, 1], 0).into(), shares).unwrap();
            let address = first.local_addr().unwrap();
            let (listeners, found) = complete(vec![first], &config, 3).unwrap();
            assert_eq!((listeners.len(), found), (3, address));
            let _clients = [(); 30].map(|()| std::net::TcpStream::connect(address).unwrap());
            let queued = listeners.iter().map(|listener| {
                listener.set_nonblocking(true).unwrap();
                std::iter::from_fn(|| listener.accept().ok()).count()
            });
            let queued: Vec<usize> = queued.collect();
            let with_some = queued.iter().filter(|count| **count > 0).count();
            assert_eq!(
                (queued.iter().sum(), with_some > 1),
                (30, shares),
                "{queued:?}"
            );
        }
    }
}
