//! The network of a test: the kernel's part with every wire, and whether a peer has used one.

use std::cell::{Cell, RefCell};

use crate::testing::kernel::Kernel;
use crate::testing::wire::Wire;

/// Shared by the bench and its peers.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) kernel: RefCell<Kernel>,
    /// A peer has done something since the last look.
    is_stirred: Cell<bool>,
}

impl Network {
    /// A peer does something with its wire.
    pub(super) fn with<R>(&self, wire: usize, act: impl FnOnce(&mut Wire) -> R) -> R {
        self.stir();
        act(&mut self.kernel.borrow_mut().wires[wire])
    }

    pub(super) fn stir(&self) {
        self.is_stirred.set(true);
    }

    /// Whether a peer has done something since this was asked last.
    pub(super) fn take_stirred(&self) -> bool {
        self.is_stirred.take()
    }
}
