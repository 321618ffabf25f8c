//! Everything that is printed: notes on standard error, the result on standard output.
//!
//! A run is not held up by those who do not listen: notes are written by a thread of their own, and
//! those that find no place are left out. The result is never left out in silence: where it cannot
//! be written the command fails, unless its reader has left.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::Error;

/// Notes that wait to be written at most.
const WAITING_MAX: usize = 256;
/// How long the end of the program waits for them.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// How long a standard output that takes nothing and is not to be waited for (O_NONBLOCK) is tried
/// again.
const FULL_MAX: Duration = Duration::from_secs(10);
const FULL_PAUSE: Duration = Duration::from_millis(10);

type Job = Box<dyn FnOnce() + Send>;

/// Writes a line to standard error, if it takes it.
pub fn note(line: impl Display) {
    let line = format!("{line}\n");
    write_behind(move || {
        let _unheard = io::stderr().write_all(line.as_bytes());
    });
}

/// Does `job`, which writes to standard error, on the thread that notes are written by; not at all
/// if too many wait.
pub(crate) fn write_behind(job: impl FnOnce() + Send + 'static) {
    let _left_out = writer().try_send(Box::new(job));
}

/// Waits until the notes so far are written, but not for those of a standard error that takes none.
pub fn flush() {
    let (written, all_written) = channel();
    let job: Job = Box::new(move || {
        let _nobody_waits = written.send(());
    });
    if writer().try_send(job).is_ok() {
        let _in_vain = all_written.recv_timeout(FLUSH_MAX);
    }
}

fn writer() -> &'static SyncSender<Job> {
    static WRITER: OnceLock<SyncSender<Job>> = OnceLock::new();
    WRITER.get_or_init(|| {
        let (jobs, waiting) = sync_channel::<Job>(WAITING_MAX);
        let write = move || waiting.into_iter().for_each(|job| job());
        // Without a thread nobody receives, so that every note is left out.
        let _thread = thread::Builder::new().name("notes".to_owned()).spawn(write);
        jobs
    })
}

/// Writes the result to standard output.
///
/// # Errors
/// When it cannot be written. That its reader has left is no error.
pub fn result(text: &str) -> Result<(), Error> {
    let standard_output = io::stdout();
    let (mut rest, began) = (text.as_bytes(), Instant::now());
    while !rest.is_empty() {
        match rustix::io::write(standard_output.as_fd(), rest) {
            Ok(0) => return Err(lost("nothing more is taken")),
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(Errno::PIPE) => return Ok(()),
            Err(Errno::AGAIN) if began.elapsed() < FULL_MAX => thread::sleep(FULL_PAUSE),
            Err(error) => return Err(lost(io::Error::from(error))),
        }
    }
    Ok(())
}

/// Writes a page to the file `path`, which is replaced if it exists. A pipe is not opened without a
/// reader, who would be waited for.
///
/// # Errors
/// When it cannot be written.
pub fn page(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let mut file = options.open(path)?;
    rustix::io::ioctl_fionbio(&file, false)?;
    file.write_all(text.as_bytes())
}

/// The work was done and something was not as it should be.
const EXIT_FAILED: u8 = 1;
/// The arguments, or the machine, do not allow it; nothing was sent. Also what clap exits with.
const EXIT_REFUSED: u8 = 2;

/// How the program ends, after saying why. True: all was as it should be.
pub fn exit_code(program: &str, outcome: Result<bool, Error>) -> ExitCode {
    let code = match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            note(format_args!("{program}: {error}"));
            ExitCode::from(match error {
                Error::Refused(_) => EXIT_REFUSED,
                _ => EXIT_FAILED,
            })
        }
    };
    flush();
    code
}

/// The words of clap: help and version go to standard output, the rest is a refusal.
///
/// # Errors
/// A refusal; or when the help cannot be written.
pub fn of_parser(error: &clap::Error) -> Result<bool, Error> {
    let said = error.render().to_string();
    if error.use_stderr() {
        return Err(Error::Refused(said.trim_end().to_owned()));
    }
    result(&said).map(|()| true)
}

/// The command line as typed.
pub fn command_line() -> String {
    // A path need not be UTF-8.
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    words.collect::<Vec<_>>().join(" ")
}

fn lost(why: impl Display) -> Error {
    let what = "the report cannot be written to standard output";
    Error::Failed(format!("{what}: {why}"))
}
