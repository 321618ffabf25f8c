//! The admin server: metrics and health by HTTP, on a thread and a listener of its own.
//!
//! It is a shard like the others, of one listener that is not shared, and serves while those start
//! and until they have ended. It reads their counters; none of them notices.

mod answer;
mod connections;
mod events;
mod exposition;
mod handler;
mod page;
mod process;
mod running;
mod stats;
mod text_format;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::config::{Config, Endpoint, InForce};
use crate::handler::ShardContext;
use crate::id::{ServerNumber, ShardId};
use crate::metrics::Metrics;
use crate::net::endpoint::Opened;
use crate::preflight::admin::{BUFFERS, SHARE};
use crate::preflight::plan::ShardPlan;
use crate::ring::WakeFd;
use crate::runtime::why_not_started;
use crate::server::admin::handler::AdminHandler;
use crate::server::event::Event;
use crate::server::shards::{ShardHandle, Start};
use crate::server::view::View;
use crate::shard::commands::Queue;
use crate::shard::conns::entrances::ADMIN;
use crate::shard::handle::ShardListener;
use crate::shard::mail::mesh::Mesh;
use crate::shard::state::acceptor::ListenSocket;
use crate::shard::task::bell::Bell;
use crate::tls::Acceptances;

/// How long its thread may take to begin, and to end. No key: past either something of ours is
/// broken.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a silent peer is still listened to once the server has ended.
const DRAIN_QUIET: Duration = Duration::from_millis(100);

/// The running admin server.
pub(crate) struct Admin {
    shard: ShardHandle,
    events: Receiver<Event>,
    /// With the file of a Unix socket, which goes when this does.
    opened: Opened,
    is_handed_over: bool,
}

impl Admin {
    /// Serves what `view` shows on `opened`; `may_steer`: what changes something, too, as on any Unix
    /// socket.
    ///
    /// # Errors
    ///
    /// When its thread does not start.
    pub(crate) fn start(
        opened: Opened,
        may_steer: bool,
        view: &Arc<View>,
        started: Instant,
    ) -> Result<Self, String> {
        let fails = |why: String| format!("the admin server does not start: {why}");
        let (tell, events) = channel();
        let plan = plan(&view.config);
        let config = config(&view.config);
        let wake = WakeFd::new().map_err(|error| fails(error.to_string()))?;
        let listener = opened.listener.try_clone();
        let listener: OwnedFd = listener.map_err(|error| fails(error.to_string()))?;
        let listeners = vec![ShardListener {
            name: ADMIN.to_owned(),
            endpoint: opened.endpoint.clone(),
            socket: ListenSocket {
                socket: Some(listener),
                is_kept: false,
            },
        }];
        let bells = [Bell::new(2, wake.clone())].into(); // its own, and threads'
        let context = ShardContext {
            id: ShardId(plan.id),
            shards: 1,
            cpu: None,
            connections_max: plan.connections_max,
            local_addr: opened.endpoint.socket_addr(),
            upstreams: Arc::default(),
            upstream_clients: Arc::default(),
            metrics: Arc::<Metrics>::default(),
            mesh: Arc::new(Mesh::new(
                ServerNumber::next(),
                bells,
                config.mailbox.clone(),
            )),
        };
        let is_tcp = matches!(opened.endpoint, Endpoint::Tcp(_));
        let (may_steer, view) = (!is_tcp || may_steer, Arc::clone(view));
        let handler = move |_shard: &ShardContext| {
            let view = Arc::clone(&view);
            Ok(AdminHandler::new(view, started, is_tcp, may_steer))
        };
        let factory = Arc::new(handler);
        let start = Start {
            name: "admin".to_owned(),
            settings: InForce::embedded(config),
            plan,
            context,
            listeners,
            tls: Acceptances::default(),
            wake,
            started,
        };
        let shard = ShardHandle::start(start, factory, tell);
        let shard = shard.map_err(|error| fails(why_not_started(&error)))?;
        match events.recv_timeout(PATIENCE) {
            Ok(Event::Ready) => shard.serve(),
            Ok(Event::Ended(_, Err(why))) => return Err(fails(why)),
            _ => return Err(fails("its thread does not answer".to_owned())),
        }
        tracing::info!(addr = %opened.endpoint, "admin listening");
        Ok(Self {
            shard,
            events,
            opened,
            is_handed_over: false,
        })
    }

    /// The next process serves from now on; what this one was asked is answered.
    pub(crate) fn hand_over(&mut self) {
        self.is_handed_over = true;
        self.opened.disown();
        self.shard.drain(Queue::Leave);
    }

    /// Logs if it has died. The server goes on without it.
    pub(crate) fn look(&self) {
        if self.is_handed_over {
            return;
        }
        if let Ok(Event::Ended(_, outcome)) = self.events.try_recv() {
            let why = outcome.err();
            tracing::error!(addr = %self.opened.endpoint, why, "the admin server has ended");
        }
    }

    /// Its log is the server's.
    pub(crate) fn reload(&self, server: &Config) {
        let config = config(server);
        self.shard.renew(Some(InForce::embedded(config)), None);
    }

    /// Ends it: what it was asked is answered.
    pub(crate) fn end(self) {
        self.shard.drain(Queue::Serve);
        if let Ok(Event::Ended(..)) = self.events.recv_timeout(PATIENCE) {
            self.shard.join();
        }
    }
}

/// The settings of its shard.
fn config(server: &Config) -> Config {
    let (mut config, admin) = (Config::default(), &server.admin);
    config.server.shards = 1;
    config.buffers = BUFFERS;
    config.limits.connections_max = Some(admin.connections_max);
    config.limits.admission.reclaim = true;
    let within = Some(admin.request_timeout);
    let timeouts = &mut config.timeouts;
    timeouts.first_byte = within;
    timeouts.read = within;
    timeouts.write = within;
    timeouts.idle = Some(admin.idle_timeout);
    timeouts.drain = PATIENCE / 2;
    timeouts.drain_quiet = DRAIN_QUIET;
    config.log = server.log.clone();
    config
}

/// Its only shard, on whatever core is free.
fn plan(config: &Config) -> ShardPlan {
    ShardPlan {
        id: 0,
        affinity: None,
        connections_max: config.admin.connections_max,
        memory: SHARE,
    }
}
