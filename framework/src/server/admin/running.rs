//! What may run only so many times at once.

use std::cell::Cell;
use std::rc::Rc;

/// One of them, until it is dropped.
pub(super) struct Running(Rc<Cell<u32>>);

impl Running {
    /// None: there are `most` already.
    pub(super) fn begin(running: &Rc<Cell<u32>>, most: u32) -> Option<Self> {
        if running.get() >= most {
            return None;
        }
        running.set(running.get() + 1);
        Some(Self(Rc::clone(running)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
