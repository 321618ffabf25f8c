//! By what the connections of a pool shake hands: what the settings say, or the application.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use futures_lite::future::or;

use crate::conn::connection::Conn;
use crate::error::Error;
use crate::shard::futures::sleep::sleep;
use crate::time;
use crate::tls::UpstreamClient;
use crate::tls::client::ClientTls;
use crate::upstream::connector::timed_out;
use crate::upstream::tls_connector::{Patience, secure};

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

    /// How a connection to `addr` that is begun now is to begin, `within` that time in all; none: it
    /// is plain.
    pub(super) fn handshake(&self, addr: SocketAddr, within: Duration) -> Option<Handshake> {
        let tls = self.used.borrow().clone()?;
        let begun = time::now();
        let patience = Patience { begun, within };
        Some(Handshake(Box::new((addr, tls, patience))))
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

/// Boxed, so that a plain connect takes no room for it.
pub(super) struct Handshake(Box<(SocketAddr, ClientTls, Patience)>);

impl Handshake {
    /// On what has been connected, if anything has.
    pub(super) fn shake(
        self,
        connected: Result<Conn, Error>,
    ) -> Pin<Box<dyn Future<Output = Result<Conn, Error>>>> {
        Box::pin(async move {
            let (conn, (addr, tls, patience)) = (connected?, *self.0);
            let late = async {
                sleep(patience.left()).await;
                Err(timed_out(patience.over()))
            };
            or(secure(conn, addr, &tls, patience), late).await
        })
    }
}
