//! The numbers each second, as server-sent events (WHATWG HTML, 9.2).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future::or;

use crate::error::Error;
use crate::http::{Method, Request};
use crate::server::admin::answer::streamed;
use crate::server::admin::running::Running;
use crate::server::admin::stats::Sampler;
use crate::server::view::View;
use crate::shard::futures::draining::draining;
use crate::shard::futures::sleep::sleep;

const CONTENT_TYPE: &str = "text/event-stream";
/// Streams at a time. No key: more people than look at one server.
const EVENT_STREAMS_MAX: u32 = 32;
/// Between two events.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a browser waits before it comes again, which it does by itself.
const RETRY: &str = "retry: 1000\n";

/// A stream of them.
pub(super) struct Events {
    view: Arc<View>,
    sampler: Sampler,
    _running: Running,
}

impl Events {
    /// None: there are too many already. One connection is left for whoever asks for anything else.
    pub(super) fn begin(
        view: &Arc<View>,
        started: Instant,
        running: &Rc<Cell<u32>>,
    ) -> Option<Self> {
        let most = EVENT_STREAMS_MAX.min(view.config.admin.connections_max - 1);
        Some(Self {
            view: Arc::clone(view),
            sampler: Sampler::new(started),
            _running: Running::begin(running, most)?,
        })
    }

    /// Sends them until the admin server drains or the peer takes no more. Nothing is read: no idle
    /// deadline runs, while `admin.request_timeout` bounds how long each may wait for the peer.
    pub(super) async fn send(mut self, request: Request<'_>) -> Result<(), Error> {
        let is_head = request.method() == Method::Head;
        let mut out = request.respond_streamed(streamed(CONTENT_TYPE)).await?;
        if is_head {
            return out.finish().await;
        }
        out.request_done();
        out.write(RETRY).await?;
        let mut is_last = false;
        loop {
            out.write(self.event()).await?;
            out.flush().await?; // one at a time: a slow reader gets fewer, not older ones
            if is_last {
                break;
            }
            let drains = async { (draining().await, true).1 };
            let ticks = async { (sleep(EVENT_INTERVAL).await, false).1 };
            is_last = or(drains, ticks).await;
        }
        out.finish().await
    }

    fn event(&mut self) -> String {
        let stats = self.sampler.sample(&self.view, Instant::now());
        format!("data: {stats}\n\n")
    }
}
