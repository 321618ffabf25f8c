//! One core: a listener, a ring, buffers, a connection table and the tasks that serve its
//! connections. Nothing of it is shared.
//!
//! From the bottom: [`policy`] judges, [`task`] says who is due, [`commands`] are the orders of the
//! control thread, [`conns`] has the connections, each from top to bottom; [`core`] has all of that
//! and, in [`state`], the rest. Above it [`listener`] and [`admission`] take connections in,
//! [`connects`] opens some, [`overload`], [`rates`] and [`drain`] end them, [`mod@reload`] changes
//! their settings, [`held_back`] tells of what was not logged. [`handle`] is the shard of a thread, [`futures`] are what tasks wait for,
//! [`mail`] goes between shards, [`task_poller`] polls tasks, [`hooks`] tell the handler of the
//! shard's own events, [`event_loop`] drives them all, [`run`] runs a shard to its end. In tests
//! `sim` plays the kernel, peers and handlers.

mod admission;
pub(crate) mod commands;
mod connects;
pub(crate) mod conns;
pub(crate) mod core;
mod drain;
mod event_loop;
pub(crate) mod futures;
pub(crate) mod handle;
pub(crate) mod held_back;
pub(crate) mod hooks;
mod listener;
pub(crate) mod mail;
mod overload;
pub(crate) mod policy;
mod rates;
mod reload;
pub(crate) mod run;
#[cfg(any(test, fuzzing))]
pub(crate) mod sim;
pub(crate) mod state;
mod surveys;
pub(crate) mod task;
pub(crate) mod task_poller;
