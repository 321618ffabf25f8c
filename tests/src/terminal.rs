//! A terminal that shows what a program draws: a session of tmux that nobody is attached to.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::{BOUND, within};

/// A terminal with a program in it. On drop both end.
#[derive(Debug)]
pub struct Terminal {
    /// The name of a tmux server of its own.
    name: String,
}

impl Terminal {
    /// Runs `command` by a shell; `name` is one that no other terminal has.
    ///
    /// # Panics
    /// When tmux does not start.
    #[must_use]
    pub fn open(command: &str, name: &str, width: u16, height: u16) -> Self {
        let name = format!("corelane-{name}-{}", std::process::id());
        let terminal = Self { name };
        let (width, height) = (width.to_string(), height.to_string());
        let size = ["-x", &width, "-y", &height];
        let begin = ["-f", "/dev/null", "new-session", "-d", "-s", "top"];
        terminal.tmux(&[&begin, &size[..], &[command]].concat());
        terminal
    }

    /// What it shows, a line each.
    ///
    /// # Panics
    /// When tmux is gone.
    #[must_use]
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", "top"])
    }

    /// Waits until it shows `text`, and gives all that it shows.
    ///
    /// # Panics
    /// When it does not within ten seconds.
    pub fn wait_for(&self, text: &str) -> String {
        let what = format!("a screen with `{text}`");
        within(BOUND, &what, || {
            let screen = self.screen();
            screen.contains(text).then_some(screen)
        })
    }

    /// Types a key as tmux names it.
    ///
    /// # Panics
    /// When tmux is gone.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", "-t", "top", key]);
    }

    /// # Panics
    /// When tmux is gone.
    pub fn resize(&self, width: u16, height: u16) {
        let (width, height) = (width.to_string(), height.to_string());
        self.tmux(&["resize-window", "-t", "top", "-x", &width, "-y", &height]);
    }

    /// Sends a signal to what the shell runs.
    ///
    /// # Panics
    /// When there is nothing.
    pub fn signal(&self, signal: Signal) {
        let shell = self.tmux(&["display-message", "-p", "-t", "top", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        let child = children
            .unwrap()
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw);
        kill_process(child.unwrap(), signal).unwrap();
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let said = Command::new("tmux")
            .args(["-L", &self.name])
            .args(arguments)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "tmux {arguments:?}: {told}");
        String::from_utf8(said.stdout).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone = Command::new("tmux")
            .args(["-L", &self.name, "kill-server"])
            .output();
    }
}
