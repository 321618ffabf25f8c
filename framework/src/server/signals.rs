//! Signals: SIGTERM and SIGINT ask a server to end, SIGHUP to read its settings again, SIGUSR2 to have
//! a new process take over, and no other asks for anything.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::time::Instant;

use libc::{SIGPWR, SIGSTKFLT};
use procfs::FromRead;
use procfs::process::Status;
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM,
    SIGXCPU, SIGXFSZ,
};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// What would end a process that does not say otherwise (signal(7)), though nobody asks it to end:
/// SIGHUP comes with a terminal that closes, too, SIGXFSZ with a log at RLIMIT_FSIZE, which then fails
/// with EFBIG. SIGPIPE is ignored by Rust; those that tell of a fault of the program itself,
/// SIGABRT among them, end it as ever.
const HARMLESS: [i32; 12] = [
    SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT,
    SIGXCPU, SIGXFSZ,
];

/// A signal that asks for something, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub signal: i32,
    pub at: Instant,
}

/// From now on none of the harmless signals ends the process. One that is ignored stays ignored,
/// for the programs too that this one starts.
pub(crate) fn let_pass_the_harmless() -> io::Result<()> {
    let ignored = ignored();
    let unread = Arc::<AtomicBool>::default();
    for signal in HARMLESS
        .into_iter()
        .chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
    {
        if ignored & bit(signal) == 0 {
            flag::register(signal, Arc::clone(&unread))?;
        }
    }
    Ok(())
}

/// Passes on each SIGTERM and SIGINT, and each SIGHUP and SIGUSR2 unless that is ignored, from a
/// thread of its own.
pub(crate) fn watch<E: Send + 'static>(
    events: Sender<E>,
    event: impl Fn(Request) -> Option<E> + Send + 'static,
) -> io::Result<()> {
    let ignored = ignored();
    let heard = [SIGHUP, SIGUSR2].into_iter();
    let heard = heard.filter(|signal| ignored & bit(*signal) == 0);
    let mut signals = Signals::new([SIGTERM, SIGINT].into_iter().chain(heard))?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let request = Request {
                    signal,
                    at: Instant::now(),
                };
                if let Some(event) = event(request) {
                    drop(events.send(event)); // a control thread that has gone needs no news
                }
            }
        })?;
    Ok(())
}

/// The signals that this process ignores, a bit each; none where /proc does not tell.
fn ignored() -> u64 {
    File::open("/proc/self/status")
        .ok()
        .and_then(ignored_in)
        .unwrap_or(0)
}

/// `SigIgn` of proc_pid_status(5).
fn ignored_in(status: impl Read) -> Option<u64> {
    Some(Status::from_read(status).ok()?.sigign)
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        // The machine's own, with this line made up.
        let real = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
        let with = |mask: &str| {
            let lines = real.lines().map(|line| match line.split(':').next() {
                Some("SigIgn") => format!("SigIgn:\t{mask}\n"),
                _ => format!("{line}\n"),
            });
            lines.collect::<String>()
        };
        let ignored = ignored_in(with("0000000000001001").as_bytes());
        assert_eq!(ignored, Some(bit(SIGHUP) | bit(libc::SIGPIPE)));
        assert_eq!(ignored_in(&b""[..]), None);
        assert_eq!(ignored_in(with("many").as_bytes()), None);
        assert_eq!(bit(libc::SIGRTMAX()), 1 << 63);
    }

    #[test]
    fn rust_ignores_a_broken_pipe() {
        assert_ne!(ignored() & bit(libc::SIGPIPE), 0);
    }
}
