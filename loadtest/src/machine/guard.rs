//! A process that puts the sysctls back should the load tester be killed.
//!
//! It waits for the end of a pipe, which the kernel closes with the last of its writers, that is
//! with the load tester, however that ends. Killed along with it, as by a service manager that ends
//! all of a unit, it can do nothing: the next start restores then.

use std::io::{self, Read as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Tuning;
use crate::launch::THIS_PROGRAM;

/// How long a killed load tester may take to be gone: a busy kernel has a million connections to
/// close first.
const GONE_MAX: Duration = Duration::from_secs(120);
/// How long a guard that has nothing to do any more may take to end.
const END_MAX: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The guard of this process's tuning. To be dropped after all is restored.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Starts it; before anything is changed.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn start() -> io::Result<Self> {
        let mut command = Command::new(THIS_PROGRAM);
        command.args(["restore", "--parent", &std::process::id().to_string()]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let deadline = Instant::now() + END_MAX;
        while Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(LOOK_INTERVAL);
        }
    }
}

/// What the guard of process `pid` does.
pub fn stand_guard(pid: u32) {
    // What ends the load tester at the terminal is not to end its guard.
    let _in_its_session = rustix::process::setsid();
    let _nothing_is_said = io::stdin().read_to_end(&mut Vec::new());
    let deadline = Instant::now() + GONE_MAX;
    while Instant::now() < deadline && !Tuning::is_restored_after(pid) {
        thread::sleep(LOOK_INTERVAL);
    }
}
