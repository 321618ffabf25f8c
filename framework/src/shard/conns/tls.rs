//! TLS sessions of a shard's connections, beside the table: nothing where there are none.

use crate::tls::Acceptances;

/// The sessions of a shard.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Of each listener.
    acceptances: Acceptances,
}

impl Sessions {
    pub(crate) fn new(acceptances: &Acceptances) -> Self {
        Self {
            acceptances: Acceptances::clone(acceptances),
        }
    }

    /// Connections that begin from now on shake hands by these.
    pub(crate) fn renew(&mut self, acceptances: &Acceptances) {
        self.acceptances = Acceptances::clone(acceptances);
    }
}
