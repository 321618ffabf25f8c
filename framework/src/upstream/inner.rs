//! What the parts of a pool share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::Upstream;
use crate::id::Key;
use crate::metrics::UpstreamCounters;
#[cfg(feature = "tls")]
use crate::tls::client::ClientTls;
use crate::upstream::health::Health;
use crate::upstream::permits::Permits;

/// Each field has a borrow of its own, which nobody holds across an await, a wake or a look at the
/// shard.
pub(super) struct Inner {
    pub(super) name: Arc<str>,
    /// By what its connections shake hands; none: they are plain.
    #[cfg(feature = "tls")]
    pub(super) tls: RefCell<Option<ClientTls>>,
    /// Times that this was set: what was opened before is of no use any more.
    pub(super) tls_number: Cell<u64>,
    /// As the settings in force describe it.
    pub(super) upstream: RefCell<Rc<Upstream>>,
    pub(super) permits: RefCell<Permits>,
    /// Connections checked in to the shard, the one used last at the back; at most `idle_max`. Some
    /// may be gone.
    pub(super) idle: RefCell<VecDeque<Key>>,
    pub(super) health: RefCell<Health>,
    pub(super) counters: Arc<UpstreamCounters>,
}

impl Inner {
    pub(super) fn upstream(&self) -> Rc<Upstream> {
        Rc::clone(&self.upstream.borrow())
    }

    /// Whether what was opened to `upstream` is of use still: connections go there now, too.
    pub(super) fn still_asks(&self, upstream: &Upstream) -> bool {
        let now = self.upstream.borrow();
        (now.addr, now.source) == (upstream.addr, upstream.source)
    }
}
