//! By what the connections of a pool shake hands: what the settings say, or the application.

use std::cell::{Cell, RefCell};

use crate::tls::UpstreamClient;
use crate::tls::client::ClientTls;

pub(super) struct PoolTls {
    source: RefCell<Source>,
    /// None: connections are plain.
    used: RefCell<Option<ClientTls>>,
    /// Times that it has changed: what was opened before is of no use any more.
    number: Cell<u64>,
}

/// Who says what is used.
enum Source {
    /// The settings in force, which all shards share: it is the same with sessions of this shard's
    /// own.
    Settings(Option<ClientTls>),
    /// The application: the settings are no matter any more.
    Application,
}

impl PoolTls {
    /// As the settings have it; none: connections are plain.
    pub(super) fn of(settings: Option<&UpstreamClient>) -> Self {
        Self {
            source: RefCell::new(Source::Settings(settings.cloned())),
            used: RefCell::new(settings.map(ClientTls::with_own_sessions)),
            number: Cell::default(),
        }
    }

    /// As other settings have it. False: that changes nothing.
    pub(super) fn renew(&self, settings: Option<&UpstreamClient>) -> bool {
        let is_same = match (&*self.source.borrow(), settings) {
            (Source::Application, _) | (Source::Settings(None), None) => true,
            (Source::Settings(Some(before)), Some(now)) => before.is(now),
            (Source::Settings(_), _) => false,
        };
        if !is_same {
            let own = settings.map(ClientTls::with_own_sessions);
            self.change(Source::Settings(settings.cloned()), own);
        }
        !is_same
    }

    /// As the application has it.
    pub(super) fn set(&self, tls: Option<ClientTls>) {
        self.change(Source::Application, tls);
    }

    pub(super) fn client(&self) -> Option<ClientTls> {
        self.used.borrow().clone()
    }

    pub(super) fn number(&self) -> u64 {
        self.number.get()
    }

    fn change(&self, source: Source, used: Option<ClientTls>) {
        self.source.replace(source);
        self.used.replace(used);
        self.number.update(|number| number + 1);
    }
}
