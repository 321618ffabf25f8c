//! One listener of the server, open: a socket for each shard.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::config::{Endpoint, ListenerSettings};
use crate::net::endpoint::{SocketFile, bind_file};
use crate::net::inherited::{self, Passed};
use crate::net::listen::{self, backlog, listen};

/// A listener of a server, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerAddr {
    /// Of a `[[listener]]` its `name`, else `"1"`.
    pub name: String,
    /// With the real port.
    pub endpoint: Endpoint,
}

/// Clients that wait in the queues of all of them until they are accepted. Nobody can tell of a Unix
/// socket.
pub(crate) fn queued(listeners: &[ListenerAddr]) -> Option<u64> {
    let queued = listeners
        .iter()
        .filter_map(|listener| queued_at(&listener.endpoint));
    queued.reduce(u64::saturating_add)
}

/// The same of one.
pub(crate) fn queued_at(endpoint: &Endpoint) -> Option<u64> {
    match endpoint {
        Endpoint::Tcp(address) => listen::queued(*address),
        Endpoint::Unix(_) => None,
    }
}

/// A listener whose clients wait in the kernel.
#[derive(Debug)]
pub(crate) struct OpenListener {
    pub(crate) settings: ListenerSettings,
    /// One for each shard. Of a Unix socket they are copies of one, for there is no SO_REUSEPORT for
    /// it: whichever shard is woken first accepts.
    pub(crate) sockets: Vec<OwnedFd>,
    /// With the real port.
    pub(crate) endpoint: Endpoint,
    /// Another process has opened it, with options of its own.
    pub(crate) inherited: bool,
    /// The service manager has it too: clients that wait there are the next process's when this one
    /// ends.
    pub(crate) kept: bool,
    /// The file of a Unix socket that this process has opened.
    pub(crate) file: Option<SocketFile>,
}

impl OpenListener {
    /// Opens what was not `passed`.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    pub(crate) fn open(
        settings: ListenerSettings,
        passed: Option<Passed>,
        count: usize,
    ) -> io::Result<Self> {
        if let Some(Passed { sockets, kept, .. }) = passed {
            let (sockets, endpoint) = inherited::complete(sockets, &settings, count)?;
            return Ok(Self {
                settings,
                sockets,
                endpoint,
                inherited: true,
                kept,
                file: None,
            });
        }
        let (sockets, endpoint, file) = match &settings.bind.listen {
            Endpoint::Tcp(address) => {
                let (sockets, address) = listen(&settings, *address, count)?;
                (sockets, Endpoint::Tcp(address), None)
            }
            Endpoint::Unix(path) => {
                let (first, file) = bind_file(path, settings.bind.mode, backlog(&settings))?;
                let copies = (1..count).map(|_| first.try_clone());
                let mut sockets = copies.collect::<io::Result<Vec<OwnedFd>>>()?;
                sockets.push(first);
                (sockets, settings.bind.listen.clone(), Some(file))
            }
        };
        Ok(Self {
            settings,
            sockets,
            endpoint,
            inherited: false,
            kept: false,
            file,
        })
    }

    pub(crate) fn addr(&self) -> ListenerAddr {
        ListenerAddr {
            name: self.settings.name().to_owned(),
            endpoint: self.endpoint.clone(),
        }
    }

    /// Copies of its sockets, so that another process can be given them: of a Unix socket one.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub(crate) fn copies(&self) -> io::Result<Vec<OwnedFd>> {
        let distinct = if self.endpoint.is_unix() {
            1
        } else {
            self.sockets.len()
        };
        let sockets = self.sockets[..distinct].iter();
        let copies = sockets.map(|socket| socket.as_fd().try_clone_to_owned());
        copies.collect()
    }
}
