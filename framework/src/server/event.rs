//! What the control thread hears of.

use std::sync::mpsc::Sender;

use rustix::process::Pid;

use crate::id::ShardId;
use crate::server::reload::ReloadRequest;
use crate::server::signals::Request;

/// One of them.
#[derive(Debug)]
pub(crate) enum Event {
    /// A shard has its handler.
    Ready,
    /// A shard has ended; an error if it should not have.
    Ended(ShardId, Result<(), String>),
    /// The process was asked to end.
    Signal(Request),
    /// The process was asked to have a new one take over.
    Restart,
    /// The new process serves, or why it does not.
    Successor(Result<Pid, String>),
    /// The program around the server asks it to end.
    Drain,
    /// The server is to be under other settings.
    Reload(ReloadRequest),
}

/// A control thread that has gone needs no news.
pub(crate) fn tell(events: &Sender<Event>, event: Event) {
    drop(events.send(event));
}
