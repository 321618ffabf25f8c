//! Messages between the shards of a server, and from other threads to them.
//!
//! [`mesh`] has a bounded lane for every ordered pair, made when it is first used. [`lanes`] are a
//! shard's own end of all of them, [`mailbox`] what it sends, and receives in every turn in which its
//! bell has rung.
//! [`peers`] is what a handler sends with, [`sender`] what other threads send with; [`topic`] is
//! what both publish with. [`order`] is what goes through the lanes beside the messages of the
//! handler, [`receipt`] and [`ticket`] how a shard and a thread hear what becomes of it: the [`outcome`].

mod lanes;
pub(crate) mod mailbox;
pub(crate) mod mesh;
mod order;
pub(crate) mod outcome;
pub(crate) mod peers;
pub(crate) mod receipt;
mod room;
pub(crate) mod sender;
pub(crate) mod ticket;
pub(crate) mod topic;
