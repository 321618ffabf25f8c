//! The files of the listeners' Unix sockets.

use std::path::PathBuf;

use crate::config::Endpoint;
use crate::net::endpoint::SocketFile;
use crate::net::listener::OpenListener;

/// They go when this is dropped, those of the process before excepted.
pub(super) struct SocketFiles {
    own: Vec<SocketFile>,
    /// Those that are the process before's until this one serves.
    inherited: Vec<PathBuf>,
}

impl SocketFiles {
    /// Takes those of `listeners`.
    pub(super) fn of(listeners: &mut [OpenListener]) -> Self {
        let passed = listeners.iter().filter(|listener| listener.inherited);
        let passed = passed.filter(|listener| !listener.kept);
        let paths = passed.filter_map(|listener| match &listener.endpoint {
            Endpoint::Unix(path) => Some(path.clone()),
            Endpoint::Tcp(_) => None,
        });
        Self {
            inherited: paths.collect(),
            own: listeners
                .iter_mut()
                .filter_map(|listener| listener.file.take())
                .collect(),
        }
    }

    /// The process before, if there was one, lets go of its own.
    pub(super) fn take_over(&mut self) {
        let paths = self.inherited.drain(..);
        self.own
            .extend(paths.filter_map(|path| SocketFile::found(&path)));
    }

    /// The next process has them from now on.
    pub(super) fn leave(&mut self) {
        self.own.iter_mut().for_each(SocketFile::leave);
    }

    /// Nobody else connects to a queue that is about to be closed.
    pub(super) fn remove(&mut self) {
        self.own.clear();
    }
}
