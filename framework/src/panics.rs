//! What is told of a panic on a shard's thread, and how often.
//!
//! The panic is caught where its place is not known any more; the hook, which knows it, leaves a
//! note. A flood of handlers' panics must not become a flood of backtraces: one per interval is
//! described, the others are counted. Nothing is written here: standard error may be a pipe that
//! nobody reads, and a shard that waits for it could not even be told dead.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::PanicHookInfo;
use std::sync::Once;

use crate::escape::Escaped;

thread_local! {
    static RUNNING: Cell<Code> = const { Cell::new(Code::Foreign) };
    /// Where the last panic was, if it is one to describe.
    static NOTE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Whose code runs on this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    /// Not a shard's thread.
    Foreign,
    /// The shard's own, or the executor's: a panic is its end.
    Shard,
    /// A handler's: its panic ends its task.
    Handler,
}

/// Puts our hook before the one there is. Panics on threads that are not shards' go on to that.
/// `describes` says, on a shard's thread, whether a handler's panic is one to describe.
pub(crate) fn install_hook(describes: fn() -> bool) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match RUNNING.get() {
            Code::Foreign => previous(info),
            Code::Handler if !describes() => {}
            Code::Shard | Code::Handler => leave_note(info),
        }));
    });
}

/// Runs `act` as handler code; a panic in it is to be caught by the caller.
pub(crate) fn as_handler<R>(act: impl FnOnce() -> R) -> std::thread::Result<R> {
    running(Code::Handler, act)
}

/// Runs `act` as a shard's thread does; if it panics, says with which words and where.
pub(crate) fn as_shard<R>(act: impl FnOnce() -> R) -> Result<R, String> {
    running(Code::Shard, act).map_err(|panic| {
        let place = NOTE.take().unwrap_or_default();
        format!("it panicked: {}, at {place}", text(&*panic))
    })
}

fn running<R>(code: Code, act: impl FnOnce() -> R) -> std::thread::Result<R> {
    let before = RUNNING.replace(code);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
    RUNNING.set(before);
    result
}

/// What it was called with. That may quote the peer: an index out of range, a text that is no
/// number.
pub(crate) fn text(panic: &(dyn std::any::Any + Send)) -> Escaped<'_> {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Escaped(text.unwrap_or("(no text)").as_bytes())
}

fn leave_note(info: &PanicHookInfo<'_>) {
    let place = info
        .location()
        .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let backtrace = Backtrace::capture();
    let note = if backtrace.status() == BacktraceStatus::Captured {
        format!("{place}\n{backtrace}")
    } else {
        place
    };
    NOTE.set(Some(note));
}

/// Where the panic was that has just been caught; empty if it is not one to describe.
pub(crate) fn take_place() -> String {
    NOTE.take().unwrap_or_default()
}
