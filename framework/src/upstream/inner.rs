//! What the parts of a pool share.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::Upstream;
use crate::id::Key;
use crate::metrics::UpstreamCounters;
use crate::upstream::health::Health;
use crate::upstream::permits::Permits;
#[cfg(not(feature = "tls"))]
use crate::upstream::pool_no_tls::PoolTls;
#[cfg(feature = "tls")]
use crate::upstream::pool_tls::PoolTls;

/// Each field has a borrow of its own, which nobody holds across an await, a wake or a look at the
/// shard.
pub(super) struct Inner {
    pub(super) name: Arc<str>,
    pub(super) tls: PoolTls,
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
