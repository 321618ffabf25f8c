//! The part of a run that each shard carries out: it opens its share of the connections, hands them
//! their turns, and sees them off.
//!
//! [`run`] goes through the stages of the run that the control thread orders, and through the turns
//! (`turns`) of an open loop; it starts a task per connection (`connection`), which asks over a
//! `session` by `exchange`s, or is a `member` of a room. All of them share a `shard`. Counts and times
//! go to the control thread as [`Delta`]s (`recorder`): every request that was intended for the
//! window, whenever it is answered, and even if it is not (`unanswered`, `unheard`).

mod connection;
mod exchange;
mod heard;
mod lead;
mod member;
mod recorder;
mod session;
mod shard;
mod turns;
mod unanswered;
mod unheard;

pub(crate) use lead::{Event, run};
pub(crate) use recorder::{Counts, Delta, Times, times};
