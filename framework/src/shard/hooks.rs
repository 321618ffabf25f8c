//! What a shard tells whoever it serves, beside its connections: its beginning, other settings, its
//! drain, each connection that has ended, and what others have sent.

use crate::config::InForce;
use crate::id::Key;
use crate::panics;
use crate::shard::conns::Ended;
use crate::shard::handle::Shard;
use crate::shard::task_poller::report_panic;
use crate::tls::UpstreamClients;

/// Called on the shard's thread, with no borrow of the core held. A panic in a drain or an end is
/// logged and changes nothing.
pub(crate) trait Hooks {
    /// The shard begins to serve.
    fn started(&self) {}

    /// The shard is under other settings. It sees to panics itself.
    fn reloaded(&self, _settings: &InForce) {}

    /// Upstreams are met otherwise. Told before other settings, of the same turn.
    fn tls_renewed(&self, _upstreams: &UpstreamClients) {}

    /// The shard begins to drain.
    fn draining(&self) {}

    /// A connection that was accepted and served has ended.
    fn closed(&self, _closed: &Ended) {}

    /// Others have sent something to the shard. It sees to panics itself.
    fn received(&self) {}
}

/// Nobody wants to know: a client's shard.
impl Hooks for () {}

impl Shard {
    /// Tells `hooks` what the turn has brought about.
    pub(super) fn tell(&self, hooks: &impl Hooks) {
        self.tell_ends(hooks);
        if self.bells.answer() || self.core().conns.shared.topics.have_finished() {
            hooks.received();
            self.core().conns.after_poll();
        }
    }

    fn tell_ends(&self, hooks: &impl Hooks) {
        let mut core = self.core();
        let drains = std::mem::take(&mut core.drain.is_news);
        let has_renewed = core.reloaded.is_some() || core.tls_renewed.is_some();
        if !drains && core.left.is_empty() && !has_renewed {
            return;
        }
        let left = std::mem::take(&mut core.left);
        let (reloaded, tls_renewed) = (core.reloaded.take(), core.tls_renewed.take());
        drop(core);
        if let Some(upstreams) = &tls_renewed {
            hooks.tls_renewed(upstreams);
        }
        if let Some(settings) = &reloaded {
            hooks.reloaded(settings);
        }
        if drains {
            panics::as_handler(|| hooks.draining())
                .unwrap_or_else(|panic| report_panic(Key::of_place(0), &*panic));
        }
        for closed in left.iter().filter(|closed| closed.is_served) {
            panics::as_handler(|| hooks.closed(closed))
                .unwrap_or_else(|panic| report_panic(closed.key, &*panic));
        }
        self.core().conns.after_poll();
    }
}
