//! The table of all keys: one entry each, which `section!` makes everything else of. A new key is a
//! new entry here, and `make configs`.

mod admin;
mod admission;
mod bind;
mod buffers;
mod limits;
mod log;
mod mailbox;
mod server;
mod socket;
mod timeouts;
mod tls;
mod topic;
mod units;
mod upstream;
mod upstream_tls;

pub(crate) use self::admin::Admin;
pub(crate) use self::admission::{Clients, OnFull};
pub(crate) use self::bind::Bind;
pub(crate) use self::buffers::Buffers;
pub(crate) use self::limits::{CONNECTIONS_MAX, Limits};
pub(crate) use self::log::{Log, LogFormat};
pub(crate) use self::mailbox::Mailbox;
pub(crate) use self::server::{Listener, Server, Steer};
pub(crate) use self::socket::{Keepalive, Socket};
pub(crate) use self::timeouts::Timeouts;
pub(crate) use self::tls::Tls;
#[cfg(feature = "tls")]
pub(crate) use self::tls::TlsVersion;
pub(crate) use self::topic::Topic;
pub(crate) use self::units::SHARD_CONNECTIONS_MAX;
pub(crate) use self::upstream::Upstream;
pub(crate) use self::upstream_tls::UpstreamTls;
