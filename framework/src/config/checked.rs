//! The checked form of the settings, on which the server runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::checker::Checker;
use super::entry::{Group, Section, Written};
use super::keys::{
    Admin, Buffers, Limits, Listener, Log, Mailbox, OnFull, Server, Socket, Timeouts, Tls, Topic,
    Upstream, UpstreamTls,
};
use super::listeners::{self, ListenerSettings};
use super::raw::Raw;
use super::section_names::{
    LISTENER, NAMED, TLS_SECTION, UPSTREAM_TLS_SECTION, is_listener, is_tls, is_upstream_tls,
    upstream_tls_section,
};

macro_rules! sections {
    ($( $(#[doc = $doc:literal])+ $section:ident: $Section:ident, )+) => {
        /// Checked settings: every value in its range, no two in contradiction.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub(crate) struct Config {
            $( $(#[doc = $doc])+ pub $section: $Section, )+
            /// Servers that handlers ask, by the operator's names. Shared with every shard's
            /// context.
            pub upstreams: Arc<BTreeMap<String, Upstream>>,
            /// Of those among them that are asked by TLS.
            pub(crate) upstream_tls: BTreeMap<String, Arc<UpstreamTls>>,
            /// Of the one listener of `server.listen`; `None`: it is plain.
            pub(crate) tls: Option<Arc<Tls>>,
            /// Each `[[listener]]`; empty: there is the one of `server.listen`.
            pub(crate) several: Arc<[ListenerSettings]>,
        }

        impl Config {
            /// Every section with its keys, [`NAMED`] aside.
            pub(super) fn sections() -> Vec<Section> {
                vec![$( Section::of::<$Section>(stringify!($section)), )+]
            }

            /// The keys of every section, [`NAMED`] included.
            pub(super) fn keys() -> Vec<(&'static str, Vec<&'static str>)> {
                vec![$( (stringify!($section), $Section::keys()), )+ (NAMED, Upstream::keys())]
            }

            /// Read every key, and report each value that does not fit.
            pub(super) fn read(raw: &Raw, checker: &mut Checker<'_>) -> Self {
                let mut config = Self {
                    $( $section: $Section::read(stringify!($section), checker), )+
                    upstreams: Arc::new(upstreams(raw, checker)),
                    upstream_tls: upstream_tls(raw, checker),
                    tls: listeners::read_tls(raw, TLS_SECTION, checker),
                    several: Arc::default(),
                };
                let (socket, clients) = (&config.socket, &config.limits.admission.clients);
                config.several = listeners::read(raw, socket, clients, checker).into();
                config
            }

            /// The way back: settings as an operator would write them, every key named.
            pub(super) fn write(&self) -> Vec<Written> {
                let mut written =
                    vec![$( (stringify!($section).to_owned(), self.$section.write()), )+];
                written.extend(listeners::write_tls(TLS_SECTION, self.tls.as_deref()));
                if !self.several.is_empty() {
                    leave_only_listener_out(&mut written);
                    written.extend(self.several.iter().flat_map(listeners::write));
                }
                for (name, keys) in self.upstreams.iter() {
                    written.push((section_of(name), keys.write()));
                    let tls = self.upstream_tls.get(name);
                    written.extend(tls.map(|tls| (upstream_tls_section(name), tls.write())));
                }
                written
            }
        }
    };
}

sections! {
    /// Where to listen, and on how many cores.
    server: Server,
    /// The queue of connections the kernel holds for us, and what proxies say of them.
    listener: Listener,
    /// Options every accepted socket inherits.
    socket: Socket,
    /// Each shard's receive buffers.
    buffers: Buffers,
    /// How long a peer may keep us waiting.
    timeouts: Timeouts,
    /// How much one process, shard or connection may hold.
    limits: Limits,
    /// Messages between shards.
    mailbox: Mailbox,
    /// What is published to many connections.
    topic: Topic,
    /// What is logged, and how.
    log: Log,
    /// Where people look at the server.
    admin: Admin,
}

impl Config {
    /// The keys that a `[[listener]]` alone has.
    pub(super) fn listener_section() -> Section {
        listeners::section()
    }

    /// Every key of a `[[listener]]`.
    pub(super) fn listener_keys() -> Vec<&'static str> {
        listeners::keys()
    }

    /// The section of a listener's TLS.
    pub(super) fn tls_section() -> Section {
        Section::of::<Tls>(TLS_SECTION)
    }

    /// Every key of it.
    pub(super) fn tls_keys() -> Vec<&'static str> {
        Tls::keys()
    }

    /// The section of an upstream's TLS.
    pub(super) fn upstream_tls_section() -> Section {
        Section::of::<UpstreamTls>(UPSTREAM_TLS_SECTION)
    }

    /// Every key of it.
    pub(super) fn upstream_tls_keys() -> Vec<&'static str> {
        UpstreamTls::keys()
    }

    /// The section of sections with names of the operator's choice.
    pub(super) fn named_section() -> Section {
        Section::of::<Upstream>(NAMED)
    }

    /// Where the server listens: one listener at least.
    pub(crate) fn listeners(&self) -> Vec<ListenerSettings> {
        if !self.several.is_empty() {
            return self.several.to_vec();
        }
        vec![ListenerSettings::only(
            self.server.listen,
            &self.listener,
            &self.socket,
            &self.limits.admission.clients,
            self.tls.clone(),
        )]
    }

    /// The ports of TCP that it listens on; one that the kernel chooses is 0.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let listeners = self.listeners().into_iter();
        let tcp = listeners.filter(|listener| !listener.is_unix());
        tcp.map(|listener| listener.bind.listen.socket_addr().port())
            .collect()
    }

    /// Connections that one shard may open: those of handlers, and all of every pool.
    pub(crate) fn outbound_per_shard(&self) -> u32 {
        let pools = self
            .upstreams
            .values()
            .map(|upstream| upstream.connections_max);
        pools.fold(self.limits.outbound_per_shard_max, u32::saturating_add)
    }

    /// Places of one shard's table beside those of the clients that it serves.
    pub(crate) fn beside_per_shard(&self) -> u32 {
        self.outbound_per_shard()
            .saturating_add(self.spare_per_shard())
    }

    /// Places of one shard's table for those who are accepted and not, or not yet, served: no more
    /// of them than are accepted at a time.
    pub(crate) fn spare_per_shard(&self) -> u32 {
        if self.has_spare_places() {
            self.limits.accepts_in_flight_max
        } else {
            0
        }
    }

    /// Whether some that are accepted have no place among the served: accepts of several listeners
    /// wait for the same place.
    fn has_spare_places(&self) -> bool {
        let (admission, listeners) = (&self.limits.admission, self.listeners());
        let mut clients = listeners.iter().map(|listener| &listener.clients);
        let is_capped = clients.any(|clients| clients.connections_per_address_max.is_some());
        is_capped || admission.on_full == OnFull::Refuse || admission.reclaim || listeners.len() > 1
    }
}

/// `server.listen` and `[listener]` mean nothing beside `[[listener]]`.
fn leave_only_listener_out(written: &mut Vec<Written>) {
    written.retain(|(section, _)| section != LISTENER);
    for (_, keys) in written
        .iter_mut()
        .filter(|(section, _)| section == "server")
    {
        keys.retain(|(key, _)| *key != "listen");
    }
}

/// Whether a reload can change the key `name` of `section` while the server runs.
pub(super) fn is_live(section: &str, name: &str) -> bool {
    if is_listener(section) {
        let mut entries = listeners::entries().into_iter();
        return entries.any(|entry| entry.key == name && entry.live);
    }
    if is_tls(section) {
        let mut entries = Tls::entries().into_iter();
        return entries.any(|entry| entry.key == name && entry.live);
    }
    if is_upstream_tls(section) {
        let mut entries = UpstreamTls::entries().into_iter();
        return entries.any(|entry| entry.key == name && entry.live);
    }
    let is_named = section.starts_with(&section_of(""));
    let mut sections = Config::sections()
        .into_iter()
        .chain([Config::named_section()]);
    let section = sections.find(|known| known.name == section || is_named && known.name == NAMED);
    let entries = section.map_or(Vec::new(), |section| section.entries);
    entries.iter().any(|entry| entry.key == name && entry.live)
}

/// Every key that a reload can change, those of upstreams and of `[[listener]]` aside.
#[cfg(test)]
pub(crate) fn live_keys() -> Vec<String> {
    let of_section = |section: Section| {
        let live = section.entries.into_iter().filter(|entry| entry.live);
        live.map(move |entry| format!("{}.{}", section.name, entry.key))
    };
    Config::sections()
        .into_iter()
        .flat_map(of_section)
        .collect()
}

fn upstreams(raw: &Raw, checker: &mut Checker<'_>) -> BTreeMap<String, Upstream> {
    raw.names()
        .map(|name| (name.to_owned(), Upstream::read(&section_of(name), checker)))
        .collect()
}

/// The tables of TLS within those of upstreams, as far as they were written.
fn upstream_tls(raw: &Raw, checker: &mut Checker<'_>) -> BTreeMap<String, Arc<UpstreamTls>> {
    let sections = raw.names().map(|name| (name, upstream_tls_section(name)));
    let written = sections.filter(|(_, section)| raw.has_tls(section));
    let read = written.map(|(name, section)| {
        let tls = Arc::new(UpstreamTls::read(&section, checker));
        (name.to_owned(), tls)
    });
    read.collect()
}

fn section_of(name: &str) -> String {
    format!("{NAMED}.{name}")
}
