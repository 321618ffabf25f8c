//! What connections shake hands by: made by the control thread, shared by all shards.
//!
//! Of a listener's table `[listener.tls]` [`loaded`] reads the files: [`certificates`] (PEM) with
//! their [`validity`] and what else [clients check](client_checks), found by the client's [`names`].
//! Its tickets are made by a [`ticketer`] of [`ticket_keys`], which are in a [`ticket_store`] and, if
//! there is to be one, a [`ticket_file`]. [`client`] is the other end, for connections that a shard
//! opens, with [`client_roots`] of whom it trusts; [`mod@upstreams`] reads those of the tables
//! `[upstream.NAME.tls]`. [`keeper`] has all of it, and makes it anew when a [`watch`] finds that
//! files have changed. Files are read by [`reading`], and for those who only ask by [`judge`].
//! Whatever cannot be used is a [`problem`]; what a session fails of is told in [`words`].
//!
//! Without the feature `tls` there is no [`Acceptance`], so that nobody else asks for the feature.

#[cfg(not(feature = "tls"))]
mod absent;
mod acceptance;
#[cfg(feature = "tls")]
mod certificates;
#[cfg(feature = "tls")]
pub(crate) mod client;
#[cfg(feature = "tls")]
mod client_checks;
#[cfg(feature = "tls")]
mod client_roots;
#[cfg(feature = "tls")]
mod files;
#[cfg(feature = "tls")]
mod judge;
#[cfg(feature = "tls")]
mod keeper;
#[cfg(feature = "tls")]
mod loaded;
#[cfg(feature = "tls")]
mod names;
mod problem;
#[cfg(feature = "tls")]
mod reading;
#[cfg(all(test, feature = "tls"))]
pub(crate) mod scratch;
#[cfg(feature = "tls")]
pub(crate) mod ticket_file;
#[cfg(feature = "tls")]
mod ticket_keys;
#[cfg(feature = "tls")]
mod ticket_store;
#[cfg(feature = "tls")]
mod ticketer;
#[cfg(feature = "tls")]
mod upstreams;
#[cfg(feature = "tls")]
mod validity;
#[cfg(feature = "tls")]
mod watch;
#[cfg(feature = "tls")]
mod words;

#[cfg(not(feature = "tls"))]
pub(crate) use self::absent::{Keeper, Made, examine, examine_upstreams, upstream_clients};
#[cfg(feature = "tls")]
pub(crate) use self::acceptance::Acceptance;
pub(crate) use self::acceptance::{Acceptances, Look, TlsInForce, UpstreamClient, UpstreamClients};
#[cfg(feature = "tls")]
pub(crate) use self::judge::{examine, examine_upstreams};
#[cfg(feature = "tls")]
pub(crate) use self::keeper::{Keeper, Made};
pub(crate) use self::problem::{Examined, FileProblem};
#[cfg(feature = "tls")]
pub(crate) use self::upstreams::upstream_clients;
#[cfg(feature = "tls")]
pub(crate) use self::words::plain;
