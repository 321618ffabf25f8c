//! The control thread's end of each shard.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::config::InForce;
use crate::handler::{self, Handler, Observer, ShardContext};
use crate::id::{ServerNumber, ShardId};
use crate::metrics::Metrics;
use crate::net::listener::{ListenerAddr, OpenListener};
use crate::preflight::plan::ShardPlan;
use crate::ring::WakeFd;
use crate::runtime::{spawn_shard, why_not_started};
use crate::server::event::{Event, tell};
use crate::server::listeners::Listening;
use crate::server::view::ShardLink;
use crate::shard::commands::{Commands, Queue};
use crate::shard::handle::{Setup, ShardListener};
use crate::shard::mail::mesh::Mesh;
use crate::shard::run;
use crate::shard::state::acceptor::ListenSocket;
use crate::shard::task::bell::{Bell, Bells};
use crate::tls::{Acceptances, Keeper, TlsInForce};

const UNSPECIFIED: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// One shard, as the control thread has it.
pub(crate) struct ShardHandle {
    pub(crate) plan: ShardPlan,
    commands: Arc<Commands>,
    pub(crate) metrics: Arc<Metrics>,
    wake: WakeFd,
    thread: JoinHandle<()>,
}

/// What a shard starts with.
pub(super) struct Start<M> {
    /// Its thread's.
    pub(super) name: String,
    pub(super) settings: InForce,
    pub(super) plan: ShardPlan,
    pub(super) context: ShardContext<M>,
    pub(super) listeners: Vec<ShardListener>,
    pub(super) tls: Acceptances,
    pub(super) wake: WakeFd,
    pub(super) started: Instant,
}

/// Shards that have started, what they tell each other by, and what goes on with their TLS.
pub(crate) type Started<M> = (Vec<ShardHandle>, Arc<Mesh<M>>, Keeper);

/// Starts a thread for each shard of `listening`; the text of the error names the one that could
/// not be started, and the others have ended again.
pub(crate) fn start<M: Send + 'static, H: Handler<M>>(
    listening: Listening,
    started: Instant,
    events: &Sender<Event>,
    factory: impl Fn(&ShardContext<M>) -> Result<H, String> + Send + Sync + 'static,
) -> Result<Started<M>, String> {
    let (settings, factory) = (listening.settings, Arc::new(factory));
    let config = &settings.config;
    let first = listening.listeners.first();
    let local_addr = first.map_or(UNSPECIFIED, |first| first.endpoint.socket_addr());
    let listeners_count = listening.listeners.len();
    let (count, tls) = (listening.plan.shards.len(), listening.tls.in_force());
    let wakes = (0..count)
        .map(|_| WakeFd::new())
        .collect::<io::Result<Vec<_>>>();
    let wakes = wakes.map_err(|error| format!("no descriptor to wake a shard by: {error}"))?;
    let bells = wakes.iter().map(|wake| Bell::new(count + 1, wake.clone()));
    let bells: Arc<[Bell]> = bells.collect();
    let server = ServerNumber::next();
    let mesh = Arc::new(Mesh::new(server, bells, config.mailbox.clone()));
    let mut shards = Vec::with_capacity(count);
    let planned = listening.plan.shards.iter().zip(wakes);
    for ((plan, wake), listeners) in planned.zip(share_out(listening.listeners, count)) {
        let context = ShardContext {
            id: ShardId(plan.id),
            shards: count as u32,
            cpu: plan.cpu(),
            connections_max: plan.connections_max,
            local_addr,
            upstreams: Arc::clone(&config.upstreams),
            upstream_clients: Arc::clone(&tls.upstreams),
            metrics: Arc::new(Metrics::of(&config.upstreams, listeners_count)),
            mesh: Arc::clone(&mesh),
        };
        let start = Start {
            name: format!("shard-{}", plan.id),
            settings: settings.clone(),
            plan: plan.clone(),
            context,
            listeners,
            tls: Acceptances::clone(&tls.acceptances),
            wake,
            started,
        };
        match ShardHandle::start(start, Arc::clone(&factory), events.clone()) {
            Ok(shard) => shards.push(shard),
            Err(error) => {
                shards
                    .iter()
                    .for_each(|shard: &ShardHandle| shard.drain(Queue::Serve));
                return Err(format!(
                    "shard {} does not start: {}",
                    plan.id,
                    why_not_started(&error)
                ));
            }
        }
    }
    Ok((shards, mesh, listening.tls))
}

/// Each shard's sockets: one of each listener.
fn share_out(listeners: Vec<OpenListener>, shards: usize) -> Vec<Vec<ShardListener>> {
    let mut shares: Vec<Vec<ShardListener>> = (0..shards).map(|_| Vec::new()).collect();
    for listener in listeners {
        let (ListenerAddr { name, endpoint }, is_kept) = (listener.addr(), listener.kept);
        for (share, socket) in shares.iter_mut().zip(listener.sockets) {
            share.push(ShardListener {
                name: name.clone(),
                endpoint: endpoint.clone(),
                socket: ListenSocket {
                    socket: Some(socket),
                    is_kept,
                },
            });
        }
    }
    shares
}

impl ShardHandle {
    pub(super) fn start<M: Send + 'static, H: Handler<M>>(
        start: Start<M>,
        factory: Arc<impl Fn(&ShardContext<M>) -> Result<H, String> + Send + Sync + 'static>,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let Start {
            name,
            settings,
            plan,
            context,
            listeners,
            tls,
            wake,
            started,
        } = start;
        let (commands, metrics) = (Arc::<Commands>::default(), context.metrics.clone());
        let bells = Arc::clone(&context.mesh.bells);
        let setup = Setup {
            id: context.id,
            server: context.mesh.server,
            connections_max: plan.connections_max,
            memory: plan.memory,
            config: settings.config,
            listeners,
            tls,
            wake: wake.clone(),
            commands: Arc::clone(&commands),
            bells: Bells::of(bells, context.id.0 as usize),
            metrics: Arc::clone(&metrics),
            started,
        };
        let (id, ready) = (context.id, events.clone());
        let main = async move || {
            let serve = || {
                let handler = Rc::new(factory(&context)?);
                let observer = Observer::new(&handler, context, settings.app);
                let serve = move |key| handler::serve(Rc::clone(&handler), key);
                Ok((serve, observer))
            };
            run::run(setup, serve, || tell(&ready, Event::Ready)).await
        };
        let thread = spawn_shard(&name, plan.affinity.clone(), main, move |outcome| {
            tell(&events, Event::Ended(id, outcome))
        })?;
        Ok(Self {
            plan,
            commands,
            metrics,
            wake,
            thread,
        })
    }

    pub(crate) fn id(&self) -> ShardId {
        ShardId(self.plan.id)
    }

    pub(crate) fn link(&self) -> ShardLink {
        ShardLink {
            commands: Arc::clone(&self.commands),
            wake: self.wake.clone(),
        }
    }

    /// Lets the shard serve; it has its handler.
    pub(crate) fn serve(&self) {
        self.commands.serve();
        self.thread.thread().unpark();
    }

    pub(crate) fn drain(&self, queue: Queue) {
        self.commands.drain(queue);
        self.thread.thread().unpark(); // it may wait for the order to serve
        self.signal();
    }

    /// From its next turn on the shard is under these settings, and its connections shake hands by
    /// this; none: as before.
    pub(crate) fn renew(&self, settings: Option<InForce>, tls: Option<TlsInForce>) {
        self.commands.renew(settings, tls);
        self.signal();
    }

    pub(crate) fn tell_memory(&self, short: bool) {
        self.commands.tell_memory(short);
        self.signal();
    }

    /// Waits for the end of its thread, once it has said that it ends.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!(shard = self.plan.id, "the shard's thread panicked");
        }
    }

    fn signal(&self) {
        if let Err(error) = self.wake.signal() {
            tracing::error!(shard = self.plan.id, %error, "the shard cannot be woken");
        }
    }
}
