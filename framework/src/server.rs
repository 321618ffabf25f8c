//! A server around its shards.
//!
//! For programs that embed one: [`builder`], [`handle`] (a running one), [`ended`] (how it ended).
//! [`listeners`] opens what clients connect to; [`control`] is the thread around the shards, with
//! `shards` (what it has of each), [`event`] (what it hears of, [`signals`] and [`mod@reload`] among
//! that) and [`progress`] (who waits for it). It looks after `watchdog`, `memory`, `readiness` and `report`;
//! `timeout_summary` is said at the start. [`mod@tls`] has the
//! certificates, `socket_files` the files of Unix sockets. `admins` serve, each an `admin`, what is kept
//! in `view`. Of a process of its own, [`service`] tells the service manager by `notify`; it takes over
//! from a [`predecessor`], and hands over to a `successor`. [`probe`] asks a server of another process.

mod admin;
mod admins;
pub(crate) mod builder;
pub(crate) mod control;
pub(crate) mod ended;
pub(crate) mod event;
pub(crate) mod handle;
pub(crate) mod listeners;
mod memory;
mod notify;
pub(crate) mod predecessor;
pub(crate) mod probe;
pub(crate) mod progress;
mod readiness;
pub(crate) mod reload;
mod report;
pub(crate) mod service;
mod shards;
pub(crate) mod signals;
mod socket_files;
mod successor;
mod timeout_summary;
mod tls;
mod view;
mod watchdog;
