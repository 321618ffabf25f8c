//! The admin servers of a process: where it is looked at, and where it is steered.

use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::net::endpoint::Opened;
use crate::server::admin::Admin;
use crate::server::view::View;

pub(super) struct Admins {
    view: Arc<View>,
    /// When the server was.
    started: Instant,
    /// Their listeners until they run; the process before may still serve there.
    opened: [Option<Opened>; 2],
    running: Vec<Admin>,
}

impl Admins {
    /// Those of `opened`, the one that steers last. None runs yet.
    pub(super) fn new(opened: [Option<Opened>; 2], view: Arc<View>, started: Instant) -> Self {
        Self {
            view,
            started,
            opened,
            running: Vec::new(),
        }
    }

    /// # Errors
    ///
    /// When the thread of one does not start.
    pub(super) fn start(&mut self) -> Result<(), String> {
        for (opened, may_steer) in self.opened.iter_mut().zip([false, true]) {
            if let Some(opened) = opened.take() {
                let admin = Admin::start(opened, may_steer, &self.view, self.started)?;
                self.running.push(admin);
            }
        }
        Ok(())
    }

    /// Starts them in the place of those of the process before, where they do not run yet. `config`
    /// is what is in force: since the start there may have been a reload.
    pub(super) fn take_over(&mut self, config: &Config) {
        if self.opened.iter().all(Option::is_none) {
            return;
        }
        self.opened.iter_mut().flatten().for_each(Opened::own);
        while self.opened.iter().any(Option::is_some) {
            if let Err(why) = self.start() {
                tracing::error!(why, "the server goes on without it");
            }
        }
        self.reload(config);
    }

    /// What each logs is as the server's settings say.
    pub(super) fn reload(&self, config: &Config) {
        self.running.iter().for_each(|admin| admin.reload(config));
    }

    /// Logs of each that has died.
    pub(super) fn look(&self) {
        self.running.iter().for_each(Admin::look);
    }

    /// Those of the next process serve from now on.
    pub(super) fn hand_over(&mut self) {
        self.running.iter_mut().for_each(Admin::hand_over);
    }

    /// Ends them: what they were asked is answered.
    pub(super) fn end(&mut self) {
        self.running.drain(..).for_each(Admin::end);
    }
}
