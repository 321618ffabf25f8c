//! Listeners that this process did not open itself: the service manager's (sd_listen_fds(3)), or
//! those of the process that it takes over from.

use std::env;
use std::io;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use socket2::SockRef;

use crate::config::{Endpoint, ListenerSettings};
use crate::net::endpoint::{Opened, endpoint_of};
use crate::net::listen;

/// What the admin server's descriptors are called: where it is looked at, and where it is steered.
const ADMIN: [&str; 2] = ["admin", "steer"];
/// As many as shards can be, of as many listeners as there may be, and the admin server's.
const COUNT_MAX: usize = 16 * 1024 + ADMIN.len();

/// Listeners that are open already.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    pub(crate) listeners: Vec<Passed>,
    /// The admin server's: where it is looked at, and where it is steered.
    pub(crate) admin: [Option<Opened>; 2],
    /// They are the parent process's, which drains once this one serves.
    pub(crate) of_parent: bool,
}

/// The sockets of one listener.
#[derive(Debug)]
pub(crate) struct Passed {
    /// The listener's.
    pub(crate) name: String,
    /// All of one address. Of the process before, each stands at its shard's place.
    pub(crate) sockets: Vec<OwnedFd>,
    /// The service manager holds them too: clients that wait there are the next process's when this
    /// one ends.
    pub(crate) kept: bool,
}

impl Passed {
    /// Their address.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        endpoint_of(self.sockets.first()?).ok()
    }
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
    /// What LISTEN_FDS says was passed for these listeners; nothing if it is not set. Once in a
    /// process, and before it has any other thread.
    ///
    /// # Errors
    ///
    /// Everything that is wrong about it.
    pub(crate) fn from_service_manager(listeners: &[ListenerSettings]) -> Result<Self, Vec<Fault>> {
        let Some(names) = names().map_err(|fault| vec![fault])? else {
            return Ok(Self::default());
        };
        let mut passed = ListenFd::from_env();
        let (mut inherited, mut faults) = (Self::default(), Vec::new());
        for (index, name) in names.iter().enumerate() {
            let taken = match ADMIN.iter().position(|admin| name == admin) {
                Some(place) => inherited.take_admin(&mut passed, index, place),
                None => inherited.take_listener(&mut passed, index, name, listeners),
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

    /// Those of the listener of that name.
    pub(crate) fn of(&self, name: &str) -> Option<&Passed> {
        self.listeners.iter().find(|passed| passed.name == name)
    }

    /// The same, no longer among these.
    pub(crate) fn take(&mut self, name: &str) -> Option<Passed> {
        let place = self
            .listeners
            .iter()
            .position(|passed| passed.name == name)?;
        Some(self.listeners.remove(place))
    }

    /// One more socket of the listener of that name.
    pub(crate) fn add(&mut self, name: &str, socket: OwnedFd, kept: bool) {
        let same = self.listeners.iter_mut().find(|passed| passed.name == name);
        match same {
            Some(passed) => passed.sockets.push(socket),
            None => self.listeners.push(Passed {
                name: name.to_owned(),
                sockets: vec![socket],
                kept,
            }),
        }
    }

    /// Lets go of the admin server's listeners that the settings want elsewhere, or not at all.
    pub(crate) fn fit_admin(&mut self, wanted: [Option<&Endpoint>; 2]) {
        for (admin, wanted) in self.admin.iter_mut().zip(wanted) {
            admin.take_if(|opened| {
                let is_wanted = wanted.is_some_and(|wanted| is_at(&opened.endpoint, wanted));
                !opened.kept && !is_wanted
            });
        }
    }

    /// A descriptor that is not called like a listener is for the only one, if there is but one.
    fn take_listener(
        &mut self,
        passed: &mut ListenFd,
        index: usize,
        name: &str,
        listeners: &[ListenerSettings],
    ) -> Result<(), String> {
        let called = listeners.iter().find(|listener| listener.name() == name);
        let only = match listeners {
            [only] => Some(only),
            _ => None,
        };
        let listener = called.or(only).ok_or_else(|| no_listener(listeners))?;
        let socket: OwnedFd = if listener.is_unix() {
            let socket = passed.take_unix_listener(index);
            let socket = socket.map_err(|_described| "it is no Unix stream socket".to_owned())?;
            socket.map(OwnedFd::from)
        } else {
            let socket = passed.take_tcp_listener(index);
            let socket = socket.map_err(|_described| "it is no TCP socket".to_owned())?;
            socket.map(OwnedFd::from)
        }
        .ok_or("it is not there")?;
        check_listens(&socket)?;
        let address = endpoint_of(&socket).map_err(told)?;
        let first = self.of(listener.name()).and_then(Passed::endpoint);
        if first.is_some_and(|first| first != address) {
            return Err(format!(
                "its address is {address}, the first one's is another"
            ));
        }
        self.add(listener.name(), socket, true);
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
pub(crate) fn is_at(endpoint: &Endpoint, wanted: &Endpoint) -> bool {
    match (endpoint, wanted) {
        (Endpoint::Tcp(address), Endpoint::Tcp(wanted)) if wanted.port() == 0 => {
            address.ip() == wanted.ip()
        }
        _ => endpoint == wanted,
    }
}

fn no_listener(listeners: &[ListenerSettings]) -> String {
    let names: Vec<&str> = listeners.iter().map(ListenerSettings::name).collect();
    format!(
        "no [[listener]] is called that: they are {}",
        names.join(", ")
    )
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
/// where the first shares it (SO_REUSEPORT) and its owner is this process's user (socket(7)); else,
/// as with any Unix socket, shards share one queue, and whichever is woken first accepts.
pub(crate) fn complete(
    passed: Vec<OwnedFd>,
    settings: &ListenerSettings,
    count: usize,
) -> io::Result<(Vec<OwnedFd>, Endpoint)> {
    let mut sockets = passed;
    let (passed, endpoint) = (sockets.len(), endpoint_of(&sockets[0])?);
    let mut shared = match endpoint {
        Endpoint::Tcp(address) if SockRef::from(&sockets[0]).reuse_port()? => Some(address),
        _ => None,
    };
    while sockets.len() < count {
        let bound = shared.map(|address| listen::bind(settings, address, true));
        match bound {
            Some(Ok(socket)) => sockets.push(socket.into()),
            _ => {
                shared = None;
                sockets.push(sockets[sockets.len() % passed].try_clone()?);
            }
        }
    }
    Ok((sockets, endpoint))
}

/// What [`listen::listen`] does to listeners of our own, with what others may have done undone.
pub(crate) fn set_up(socket: &OwnedFd, settings: &ListenerSettings) -> io::Result<()> {
    if !settings.is_unix() {
        let (reference, options) = (SockRef::from(socket), &settings.socket);
        reference.set_keepalive(options.keepalive)?;
        reference.set_tcp_user_timeout(options.user_timeout)?;
        listen::set_options(reference, options)?;
    }
    rustix::net::listen(socket, listen::backlog(settings))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::Config;

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
            ("16387", Some("7"), None, "LISTEN_FDS", "`16387`"),
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
            let settings = Config::default().listeners().remove(0);
            let first = listen::bind(&settings, ([127, 0, 0, 1], 0).into(), shares).unwrap();
            let address = first.local_addr().unwrap();
            let (listeners, found) = complete(vec![first.into()], &settings, 3).unwrap();
            assert_eq!((listeners.len(), found), (3, Endpoint::Tcp(address)));
            let _clients = [(); 30].map(|()| std::net::TcpStream::connect(address).unwrap());
            let queued = listeners.into_iter().map(|listener| {
                let listener = std::net::TcpListener::from(listener);
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
