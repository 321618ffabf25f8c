//! A build without the feature `tls`: connections are plain.

use crate::tls::Acceptances;

/// No sessions.
#[derive(Debug)]
pub(crate) struct Sessions;

impl Sessions {
    pub(crate) fn new(_acceptances: &Acceptances) -> Self {
        Self
    }

    pub(crate) fn renew(&mut self, _acceptances: &Acceptances) {}
}
