//! By what the connections of a pool shake hands: what the settings say, or the application.

use std::cell::{Cell, RefCell};

use crate::tls::UpstreamClient;
use crate::tls::client::ClientTls;

#[derive(Default)]
pub(super) struct PoolTls {
    /// As the settings in force have it, which all shards share.
    shared: RefCell<Option<ClientTls>>,
    /// What is used: the same with sessions of this shard's own, or what the application has set.
    used: RefCell<Option<ClientTls>>,
    /// The application has set it, and the settings are no matter any more.
    is_set: Cell<bool>,
    /// Times that it has changed: what was opened before is of no use any more.
    number: Cell<u64>,
}

impl PoolTls {
    /// As the settings have it; none: connections are plain.
    pub(super) fn of(settings: Option<&UpstreamClient>) -> Self {
        let tls = Self::default();
        tls.take_over(settings);
        tls
    }

    /// As other settings have it. False: that changes nothing.
    pub(super) fn renew(&self, settings: Option<&UpstreamClient>) -> bool {
        let is_same = match (&*self.shared.borrow(), settings) {
            (Some(before), Some(now)) => before.is(now),
            (None, None) => true,
            _ => false,
        };
        if is_same || self.is_set.get() {
            return false;
        }
        self.take_over(settings);
        true
    }

    /// As the application has it.
    pub(super) fn set(&self, tls: Option<ClientTls>) {
        self.is_set.set(true);
        self.used.replace(tls);
        self.number.update(|number| number + 1);
    }

    pub(super) fn client(&self) -> Option<ClientTls> {
        self.used.borrow().clone()
    }

    pub(super) fn number(&self) -> u64 {
        self.number.get()
    }

    fn take_over(&self, settings: Option<&UpstreamClient>) {
        self.shared.replace(settings.cloned());
        self.used
            .replace(settings.map(ClientTls::with_own_sessions));
        self.number.update(|number| number + 1);
    }
}
