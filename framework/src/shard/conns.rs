//! The connections of a shard, each from top to bottom: [`lifecycle`] (beginning and end),
//! [`client`] (who has come, by a proxy or not), [`recv`], [`send`], [`wait`] (who waits for it),
//! [`timeouts`] (its one deadline), [`inbox`] (what others send to it), [`publish`] (to many),
//! [`idle_pool`] (outbound ones that nobody uses), [`survey`] (as an operator sees it),
//! [`mod@reload`] (settings that change).
//!
//! A [`Key`](crate::id::Key) is resolved once per event, by [`Conns::get`] in [`conn_mut`]: what
//! follows works on the [`ConnMut`]. They are made of [`slot`] (one connection), [`table`] (all
//! slots), [`queue`] (bytes unread and unsent), [`interest`] (events waited for), [`inboxes`],
//! [`topics`] and [`subscriptions`] (who is subscribed to what), [`deadline`] (when each is due),
//! [`own_timeouts`] (of those that have some), [`entrances`] (by which listener they have come),
//! [`proxied`] (what PROXY headers say of them) and [`places`] (how many there may be). Tests see a
//! connection as a `snapshot`, and the table against its `table_model`.

mod client;
pub(crate) mod conn_mut;
pub(crate) mod deadline;
pub(crate) mod entrances;
mod idle_pool;
mod inbox;
mod inboxes;
pub(crate) mod interest;
mod lifecycle;
pub(crate) mod own_timeouts;
mod places;
pub(crate) mod proxied;
mod publish;
pub(crate) mod queue;
mod recv;
mod reload;
mod send;
pub(crate) mod slot;
#[cfg(any(test, fuzzing))]
pub(crate) mod snapshot;
pub(crate) mod subscriptions;
mod survey;
pub(crate) mod table;
#[cfg(test)]
mod table_model;
mod timeouts;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(not(feature = "tls"))]
#[path = "conns/no_tls.rs"]
pub(crate) mod tls;
pub(crate) mod topics;
mod wait;

pub(crate) use conn_mut::{ConnMut, Conns, Shared};
pub use inbox::Delivery;
pub(crate) use inboxes::Inboxes;
pub(crate) use lifecycle::Ended;
pub use own_timeouts::ConnTimeouts;
pub(crate) use places::Places;
pub use recv::EndOfInput;
