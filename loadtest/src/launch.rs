//! Processes that do not outlive the load tester, however it ends.
//!
//! The kernel ends a process when the one that started it dies if the former has asked for that
//! (PR_SET_PDEATHSIG, prctl(2)). So that any program can be started like this, the load tester runs
//! itself in between: `launch` asks, and becomes the program.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use clap::Args;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::error::Error;

/// This program, as it runs: it may have been replaced or removed meanwhile.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Arguments of `launch`.
#[derive(Debug, Clone, Args)]
pub struct LaunchArguments {
    /// The process that starts it
    #[arg(long, value_name = "PID")]
    pub parent: i32,
    /// The program
    pub program: OsString,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// To start `program` with, from a thread that lives as long as it may. The program that calls this
/// has a subcommand `launch`, which calls [`launch`].
pub fn launched(program: &Path) -> Command {
    let (mut command, own) = (Command::new(THIS_PROGRAM), std::process::id().to_string());
    command
        .args(["launch", "--parent", &own, "--"])
        .arg(program);
    command
}

/// Becomes the program that `arguments` name. Returns why it cannot.
pub fn launch(arguments: &LaunchArguments) -> Error {
    let program = arguments.program.to_string_lossy();
    let failed = |why: String| Error::Failed(format!("cannot start {program}: {why}"));
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return failed(format!("PR_SET_PDEATHSIG: {error}"));
    }
    // It may have died before we asked.
    let parent = arguments.parent;
    if getppid().map(Pid::as_raw_pid) != Some(parent) {
        return failed(format!("process {parent}, which wanted it, has ended"));
    }
    let mut command = Command::new(&arguments.program);
    failed(command.args(&arguments.arguments).exec().to_string())
}
