//! What is told of a handler's panic, and how often.
//!
//! The panic is caught at the poll, where its place is not known any more; the hook, which knows it, leaves a note. A flood of panics
//! must not become a flood of backtraces: one per interval is described, the others are counted.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::PanicHookInfo;
use std::sync::Once;

use super::{ConnId, Shard, State};
use crate::ring::Key;

thread_local! {
    /// A handler is being polled on this thread: its panic is caught, and told here.
    static POLLING: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic was, if it is one to describe.
    static NOTE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Puts our hook before the one there is. Panics outside of handlers go on to that.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| if POLLING.get() { leave_note(info) } else { previous(info) }));
    });
}

/// Runs `act` as handler code; a panic in it is to be caught by the caller.
pub(super) fn as_handler<R>(act: impl FnOnce() -> R) -> std::thread::Result<R> {
    POLLING.set(true);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
    POLLING.set(false);
    result
}

fn leave_note(info: &PanicHookInfo<'_>) {
    if !Shard::with(Shard::describes_panics) {
        return;
    }
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let backtrace = Backtrace::capture();
    let note = if backtrace.status() == BacktraceStatus::Captured { format!("{place}\n{backtrace}") } else { place };
    NOTE.set(Some(note));
}

/// Logs a panic that was caught, unless one was logged a moment ago.
pub(super) fn report(key: Key, panic: &(dyn std::any::Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let place = NOTE.take();
    Shard::with(|shard| {
        if let Some(more) = shard.state().pass_panic() {
            let (conn, text, place) = (ConnId::new(shard.id, key), text.unwrap_or("(no text)"), place.unwrap_or_default());
            tracing::error!(%conn, shard = shard.id.0, panic = text, place, more, "the handler panicked");
        }
    });
}

impl Shard {
    /// Whether the panic that happens now is one to describe. A borrowed state means it is our own code's: then it is.
    fn describes_panics(&self) -> bool {
        self.state.try_borrow().map_or(true, |state| state.panics.is_open(state.now))
    }
}

impl State {
    fn pass_panic(&mut self) -> Option<u64> {
        self.panics.pass(self.now)
    }
}
