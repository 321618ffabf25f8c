//! The listeners of a server: those of `[[listener]]`, each with what it takes from other sections,
//! or the one of `server.listen` and `[listener]`.

use std::net::SocketAddr;
use std::sync::Arc;

use super::checker::Checker;
use super::endpoint::Endpoint;
use super::entry::{Entry, Group, Section, Written};
use super::keys::{Bind, Clients, Listener, Socket, Tls};
use super::listener_name::ONLY;
use super::raw::Raw;
use super::section_names::{LISTENER, TLS, tls_section};

/// Keys of TCP, and those of Unix sockets.
const TCP_KEYS: [&str; 2] = ["v6_only", "proxy_trusted"];
const UNIX_KEYS: [&str; 1] = ["mode"];

/// One listener with all that concerns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenerSettings {
    pub(crate) bind: Bind,
    /// Its queue, and what proxies say of its clients.
    pub(crate) queue: Listener,
    pub(crate) socket: Socket,
    pub(crate) clients: Clients,
    /// `None`: its connections are plain.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Its keys stand in a `[[listener]]`.
    pub(super) is_named: bool,
}

impl ListenerSettings {
    /// The one of `server.listen` and `[listener]`.
    pub(super) fn only(
        listen: SocketAddr,
        queue: &Listener,
        socket: &Socket,
        clients: &Clients,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        Self {
            bind: Bind {
                name: ONLY.to_owned(),
                listen: Endpoint::Tcp(listen),
                ..Bind::default()
            },
            queue: queue.clone(),
            socket: socket.clone(),
            clients: clients.clone(),
            tls,
            is_named: false,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.bind.name
    }

    /// The full name of one of its keys, as in a settings file.
    pub(crate) fn key(&self, key: &str) -> String {
        match (self.is_named, key) {
            (true, key) => format!("{LISTENER}.{}.{key}", self.name()),
            (false, "listen") => "server.listen".to_owned(),
            (false, key) => format!("{LISTENER}.{key}"),
        }
    }

    /// The same of an option of its socket.
    pub(crate) fn socket_key(&self, key: &str) -> String {
        if self.is_named {
            self.key(key)
        } else {
            format!("socket.{key}")
        }
    }

    /// The same of a key of its TLS.
    pub(crate) fn tls_key(&self, key: &str) -> String {
        self.key(&format!("{TLS}.{key}"))
    }

    /// Its section of TLS.
    pub(crate) fn tls_section(&self) -> String {
        if self.is_named {
            tls_section(&self.section())
        } else {
            tls_section(LISTENER)
        }
    }

    fn section(&self) -> String {
        format!("{LISTENER}.{}", self.name())
    }

    pub(crate) fn is_unix(&self) -> bool {
        self.bind.listen.is_unix()
    }
}

/// Every key of a `[[listener]]`.
pub(super) fn keys() -> Vec<&'static str> {
    let groups = [
        Bind::keys(),
        Listener::keys(),
        Socket::keys(),
        Clients::keys(),
    ];
    groups.concat()
}

/// The same with what is known of each.
pub(super) fn entries() -> Vec<Entry> {
    let groups = [
        Bind::entries(),
        Listener::entries(),
        Socket::entries(),
        Clients::entries(),
    ];
    groups.into_iter().flatten().collect()
}

/// The keys that a `[[listener]]` alone has.
pub(super) fn section() -> Section {
    Section::of::<Bind>(LISTENER)
}

/// Reads every `[[listener]]`; what one leaves out is as in `socket` and `clients`.
pub(super) fn read(
    raw: &Raw,
    socket: &Socket,
    clients: &Clients,
    checker: &mut Checker<'_>,
) -> Vec<ListenerSettings> {
    let read = raw.listeners().map(|(name, section)| {
        let mut bind = Bind::read(section, checker);
        name.clone_into(&mut bind.name);
        ListenerSettings {
            bind,
            queue: Listener::read(section, checker),
            socket: Socket::read_over(socket, section, checker),
            clients: Clients::read_over(clients, section, checker),
            tls: read_tls(raw, &tls_section(section), checker),
            is_named: true,
        }
    });
    read.collect()
}

/// The table of TLS that is the section `section`, if it was written.
pub(super) fn read_tls(raw: &Raw, section: &str, checker: &mut Checker<'_>) -> Option<Arc<Tls>> {
    raw.has_tls(section)
        .then(|| Arc::new(Tls::read(section, checker)))
}

/// Its section and keys as an operator would write them, those aside that are not for its kind of
/// address; and its TLS.
pub(super) fn write(listener: &ListenerSettings) -> Vec<Written> {
    let mut written = listener.bind.write();
    written.extend(listener.queue.write());
    if !listener.is_unix() {
        written.extend(listener.socket.write());
    }
    written.extend(listener.clients.write());
    let others: &[&str] = if listener.is_unix() {
        &TCP_KEYS
    } else {
        &UNIX_KEYS
    };
    written.retain(|(key, _)| !others.contains(key));
    let tls = write_tls(&listener.tls_section(), listener.tls.as_deref());
    let keys = (listener.section(), written);
    [keys].into_iter().chain(tls).collect()
}

pub(super) fn write_tls(section: &str, tls: Option<&Tls>) -> Option<Written> {
    Some((section.to_owned(), tls?.write()))
}
