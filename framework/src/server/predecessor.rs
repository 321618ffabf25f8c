//! A restart, on the side of the new process: takes over the listeners of the one before, and tells
//! it once it serves.

use std::env;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;
use rustix::stdio::dup2_stdin;

use crate::net::endpoint::Opened;
use crate::net::handover::{self, Role};
use crate::net::inherited::Inherited;
use crate::server::successor::VARIABLE;

/// The process that serves until this one does.
#[derive(Debug)]
pub(crate) struct Predecessor(OwnedFd);

impl Predecessor {
    /// The one that has started this process to be its successor, and what it passes.
    ///
    /// # Errors
    ///
    /// When that is not whole.
    pub(crate) fn find() -> io::Result<Option<(Self, Inherited)>> {
        let stdin = io::stdin();
        // The variable reaches programs that are started by this one too; the socket does not.
        let is_socket = socket_type(&stdin).is_ok_and(|kind| kind == SocketType::SEQPACKET);
        if env::var_os(VARIABLE).is_none() || !is_socket {
            return Ok(None);
        }
        let socket = stdin.as_fd().try_clone_to_owned()?;
        let (mut listeners, mut inherited) = (Vec::new(), Inherited::default());
        inherited.of_parent = true;
        for (entry, descriptor) in handover::receive(socket.as_fd())? {
            match entry.role {
                Role::Stdin => dup2_stdin(&descriptor)?,
                Role::Admin => {
                    inherited.admin[0] = Some(Opened::inherited(descriptor, entry.kept)?);
                }
                Role::Steering => {
                    inherited.admin[1] = Some(Opened::inherited(descriptor, entry.kept)?);
                }
                Role::Listener { name, shard } => {
                    listeners.push((shard, name, descriptor, entry.kept));
                }
            }
        }
        listeners.sort_by_key(|(shard, ..)| *shard);
        for (_, name, descriptor, kept) in listeners {
            inherited.add(&name, descriptor, kept);
        }
        Ok(Some((Self(socket), inherited)))
    }

    /// Every shard of this process serves.
    pub(crate) fn tell_ready(self) {
        if let Err(error) = handover::tell_ready(self.0.as_fd()) {
            tracing::warn!(%error, "the process before has gone");
        }
    }
}
