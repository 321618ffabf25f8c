//! Listeners that are open, with the plan of who will serve them.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::config::{Config, InForce, ListenerSettings, Steer};
use crate::net::endpoint::{self, Opened};
use crate::net::inherited::{self, Inherited, Passed};
use crate::net::listener::{ListenerAddr, OpenListener};
use crate::net::steer;
use crate::preflight::plan::{Plan, ShardPlan};
use crate::preflight::problem::Problem;
use crate::preflight::{admin, port, tls};
use crate::tls::Keeper;

/// A server before its shards: clients may connect, and wait in the kernel's queue.
pub(crate) struct Listening {
    pub(crate) settings: InForce,
    pub(crate) plan: Plan,
    /// In the order of the settings, each with a socket for each shard.
    pub(crate) listeners: Vec<OpenListener>,
    /// Has what their connections shake hands by, in the same order, and those to upstreams.
    pub(crate) tls: Keeper,
    /// Where these listen.
    pub(crate) addrs: Arc<[ListenerAddr]>,
    /// The admin server's: where it is looked at, and where it is steered.
    pub(crate) admin: [Option<Opened>; 2],
}

impl Listening {
    /// Opens the listeners that are not `inherited`.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on.
    pub(crate) fn open(
        settings: InForce,
        plan: Plan,
        mut inherited: Inherited,
    ) -> Result<Self, Problem> {
        let config = &*settings.config;
        let tls = Keeper::open(config).map_err(|problems| tls::first(&problems))?;
        let listeners = config.listeners().into_iter().map(|listener| {
            let passed = inherited.take(listener.name());
            open(listener, passed, plan.shards.len())
        });
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        let opened = listeners.iter();
        opened.for_each(|listener| steer_opened(config.server.steer, &plan, listener));
        let admin = open_admin(config, inherited.admin)?;
        for warning in plan.warnings.iter().chain(&settings.app.warnings) {
            tracing::warn!("{warning}");
        }
        Ok(Self {
            settings,
            plan,
            addrs: listeners.iter().map(OpenListener::addr).collect(),
            listeners,
            tls,
            admin,
        })
    }

    /// Logs what the settings come to.
    pub(crate) fn log(&self) {
        log_admission(&self.settings.config, &self.plan);
        log_memory(&self.plan);
    }
}

fn open(
    settings: ListenerSettings,
    passed: Option<Passed>,
    count: usize,
) -> Result<OpenListener, Problem> {
    let opened = OpenListener::open(settings.clone(), passed, count);
    let opened = opened.map_err(|error| port::problem(&settings, &error))?;
    let (addr, wanted) = (&opened.endpoint, &settings.bind.listen);
    if opened.inherited && !inherited::is_at(addr, wanted) {
        let key = settings.key("listen");
        tracing::warn!(%addr, listen = %wanted, "the service manager's address counts, not {key}");
    }
    Ok(opened)
}

/// Has the kernel choose among the sockets of a listener that was just opened as the settings say.
/// Those of the process before are as they were until this one serves.
fn steer_opened(steer: Steer, plan: &Plan, listener: &OpenListener) {
    if listener.kept && steer == Steer::Cpu {
        // In an order of its own.
        tracing::warn!("clients are not steered: the service manager has opened the listeners");
    } else if !listener.inherited && !listener.endpoint.is_unix() {
        steer_sockets(steer, plan.shards.iter(), &listener.sockets, false);
    }
}

/// Has the kernel choose among the `sockets` of a listener, one of each shard of `plans`.
/// `inherited`: another process may have had it choose in another way.
pub(super) fn steer_sockets<'p>(
    steer: Steer,
    plans: impl Iterator<Item = &'p ShardPlan>,
    sockets: &[OwnedFd],
    inherited: bool,
) {
    let [first, _, ..] = sockets else {
        return; // there is nothing to choose
    };
    let cores = || -> Option<Vec<usize>> { plans.map(ShardPlan::cpu).collect() };
    let outcome = match steer {
        Steer::Cpu => steer::by_core(first, &cores().unwrap_or_default()),
        Steer::Hash if inherited => steer::by_hash(first),
        Steer::Hash => Ok(()),
    };
    if let Err(error) = outcome {
        tracing::warn!(%error, "the kernel steers clients as before");
    }
}

/// Opens the admin server's listeners that are not `inherited`.
fn open_admin(
    config: &Config,
    inherited: [Option<Opened>; 2],
) -> Result<[Option<Opened>; 2], Problem> {
    let mut opened = inherited;
    for (opened, (key, endpoint)) in opened.iter_mut().zip(admin::endpoints(config)) {
        if let (None, Some(endpoint)) = (&opened, endpoint) {
            let new = endpoint::open(endpoint);
            *opened = Some(new.map_err(|error| admin::problem(key, endpoint, &error))?);
        }
    }
    Ok(opened)
}

/// Who is let in, and that each shard counts for itself; 0: no bound.
fn log_admission(config: &Config, plan: &Plan) {
    let admission = &config.limits.admission;
    tracing::info!(
        connections_max = plan.connections_max,
        follows = if config.limits.connections_max.is_some() {
            "limits.connections_max"
        } else {
            "the descriptor limit"
        },
        descriptors_max = plan.descriptors_max,
        connections_per_shard_max = plan.shards.iter().map(|shard| shard.connections_max).max(),
        on_full = admission.on_full.word(),
        reclaim = admission.reclaim,
        connections_per_address_and_shard_max =
            admission.clients.connections_per_address_max.unwrap_or(0),
        address_prefix_v6 = admission.clients.address_prefix_v6,
        accepts_per_second_and_shard_max = admission.clients.accepts_per_second_max.unwrap_or(0),
        "admission"
    );
}

/// The most memory that the settings can take, as a sum.
fn log_memory(plan: &Plan) {
    tracing::info!(
        memory_bound_bytes = plan.memory.bytes(),
        kernel_sockets_bytes = plan.memory.kernel_sockets_bytes,
        kernel_buffers_bytes = plan.memory.kernel_buffers_bytes.unwrap_or(0),
        unread_per_shard_max = plan.memory.share.unread_max,
        unsent_per_shard_max = plan.memory.share.unsent_max,
        sum = %plan.memory,
        "memory"
    );
}
