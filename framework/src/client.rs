//! A program of shards without a listener: a load tester, a crawler, anything that only connects.

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::config::{self, Config};
use crate::handler::ShardContext;
use crate::id::{ServerNumber, ShardId};
use crate::metrics::Metrics;
use crate::panics;
use crate::preflight::plan::{self, ShardPlan};
use crate::preflight::problem::Problem;
use crate::preflight::tls;
use crate::ring::WakeFd;
use crate::runtime::{spawn_shard, why_not_started};
use crate::settings::{NoSettings, Settings};
use crate::shard::commands::Commands;
use crate::shard::handle::{Setup, describes_panics};
use crate::shard::mail::mesh::Mesh;
use crate::shard::run;
use crate::shard::task::bell::Bells;
use crate::start_error::{ProblemKind, StartError};
use crate::tls::{Acceptances, upstream_clients};

/// The shards of a client, each running the same program.
///
/// A shard ends when its program has returned and the connections that it opened have closed; what
/// it has spawned and is still running is dropped then.
///
/// ```no_run
/// use corelane::{Client, Connector, ShardContext};
///
/// let settings = ["server.shards=2".to_owned(), "limits.outbound_per_shard_max=1".to_owned()];
/// let client = Client::start(&settings, |shard: ShardContext| async move {
///     let mut conn = Connector::new().connect("127.0.0.1:7007".parse().expect("an address")).await.expect("it listens");
///     conn.write("hello").await.expect("it is open");
///     println!("shard {}: {:?}", shard.id, conn.read().await);
/// });
/// client.expect("the machine allows it").join().expect("no shard fails");
/// ```
#[derive(Debug)]
pub struct Client {
    shards: Vec<JoinHandle<()>>,
    ended: Receiver<(ShardId, Result<(), String>)>,
}

impl Client {
    /// Starts the shards, each of which runs `main`.
    ///
    /// `settings` are those of a server, each as `section.key=VALUE` with a TOML value: `[server]`
    /// shards and cpus, `[socket]`, `[buffers]`, `[timeouts]`, `limits.outbound_per_shard_max` and
    /// `limits.connects_in_flight_max` among them. What concerns accepting is without effect.
    ///
    /// # Errors
    ///
    /// Every problem of the settings or the machine, each with its remedy. Nothing was started
    /// then.
    pub fn start<F>(
        settings: &[String],
        main: impl Fn(ShardContext) -> F + Send + Sync + 'static,
    ) -> Result<Self, Vec<String>>
    where
        F: Future<Output = ()> + 'static,
    {
        let config = config::load::<NoSettings>(None, settings)
            .map_err(|problems| told(&problems))?
            .config;
        Self::run(config, main).map_err(|error| told(error.problems()))
    }

    /// As [`Self::start`], with settings as a [`Server`](crate::Server) has them.
    ///
    /// ```no_run
    /// use corelane::{Client, Settings, ShardContext};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let settings = Settings::new().set("limits.outbound_per_shard_max", 100);
    /// let client = Client::with_settings(&settings, async |shard: ShardContext| {
    ///     println!("shard {} of {}", shard.id, shard.shards);
    /// })?;
    /// client.join()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Self::start`], each problem with its kind.
    pub fn with_settings<F>(
        settings: &Settings,
        main: impl Fn(ShardContext) -> F + Send + Sync + 'static,
    ) -> Result<Self, StartError>
    where
        F: Future<Output = ()> + 'static,
    {
        Self::run(settings.load()?, main)
    }

    fn run<F>(
        config: Config,
        main: impl Fn(ShardContext) -> F + Send + Sync + 'static,
    ) -> Result<Self, StartError>
    where
        F: Future<Output = ()> + 'static,
    {
        let plan = plan::check_client(&config).map_err(|problems| {
            StartError::of(ProblemKind::Machine, problems.iter().map(Problem::parts))
        })?;
        for warning in &plan.warnings {
            tracing::warn!("{warning}");
        }
        let upstream_clients = upstream_clients(&config).map_err(|problems| {
            StartError::of(ProblemKind::Machine, [tls::first(&problems).parts()])
        })?;
        panics::install_hook(describes_panics);
        let (config, main, started) = (Arc::new(config), Arc::new(main), Instant::now());
        let (events, ended) = channel();
        let nobody = Mesh::new(ServerNumber::next(), Arc::default(), config.mailbox.clone());
        let nobody = Arc::new(nobody);
        let shards = plan.shards.iter().map(|shard| {
            let context = ShardContext {
                id: ShardId(shard.id),
                shards: plan.shards.len() as u32,
                cpu: shard.cpu(),
                connections_max: config.outbound_per_shard(),
                local_addr: unspecified(),
                upstreams: Arc::clone(&config.upstreams),
                upstream_clients: Arc::clone(&upstream_clients),
                metrics: Arc::new(Metrics::of(&config.upstreams, 0)),
                mesh: Arc::clone(&nobody),
            };
            start_shard(
                &config,
                shard,
                context,
                started,
                Arc::clone(&main),
                events.clone(),
            )
            .map_err(|error| {
                let why = why_not_started(&error);
                StartError::of_process(format!("shard {} does not start: {why}", shard.id))
            })
        });
        Ok(Self {
            shards: shards.collect::<Result<_, _>>()?,
            ended,
        })
    }

    /// Waits until every shard has ended.
    ///
    /// # Errors
    ///
    /// What the first shard that failed says.
    pub fn join(self) -> Result<(), String> {
        self.join_within(Duration::MAX)
    }

    /// As [`Self::join`], but not for longer than `patience`.
    ///
    /// # Errors
    ///
    /// As [`Self::join`]; also when shards still run: they go on, and end with the process.
    pub fn join_within(self, patience: Duration) -> Result<(), String> {
        let (begun, mut outcome) = (Instant::now(), Ok(()));
        for ended in 0..self.shards.len() {
            let left = patience.saturating_sub(begun.elapsed());
            let Ok((shard, end)) = self.ended.recv_timeout(left) else {
                return Err(format!(
                    "{} shards have not ended after {patience:?}",
                    self.shards.len() - ended
                ));
            };
            outcome = outcome.and(end.map_err(|why| format!("shard {shard} failed: {why}")));
        }
        for shard in self.shards {
            outcome = outcome.and(
                shard
                    .join()
                    .map_err(|_panic| "a shard's thread panicked".to_owned()),
            );
        }
        outcome
    }
}

fn start_shard<F: Future<Output = ()> + 'static>(
    config: &Arc<Config>,
    plan: &ShardPlan,
    context: ShardContext,
    started: Instant,
    main: Arc<impl Fn(ShardContext) -> F + Send + Sync + 'static>,
    events: Sender<(ShardId, Result<(), String>)>,
) -> std::io::Result<JoinHandle<()>> {
    let setup = Setup {
        id: context.id,
        server: context.mesh.server,
        connections_max: 0,
        memory: plan.memory,
        config: Arc::clone(config),
        listeners: Vec::new(),
        tls: Acceptances::default(),
        wake: WakeFd::new()?,
        commands: Arc::<Commands>::default(),
        bells: Bells::default(),
        metrics: Arc::clone(&context.metrics),
        started,
    };
    let id = context.id;
    let run = async move || run::run_client(setup, move || main(context)).await;
    // Whoever has dropped the client does not want to know.
    spawn_shard(
        &format!("client-{id}"),
        plan.affinity.clone(),
        run,
        move |outcome| drop(events.send((id, outcome))),
    )
}

fn unspecified() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

fn told(problems: &[impl Display]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
