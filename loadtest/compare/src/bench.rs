//! The means of a comparison: checked arguments, servers, and a client.

use std::net::SocketAddr;
use std::time::SystemTime;

use loadtest::Stop;
use loadtest::data::Report;
use loadtest::engine::{self, Observer, Show};
use loadtest::error::Error;
use loadtest::machine;
use loadtest::output::{self, note};
use loadtest::plan::{Plan, check};
use loadtest::workload::{Protocol, Workload};

use super::args::CompareArguments;
use super::assertion;
use super::comparison::Comparison;
use super::kind::ServerKind;
use super::server::{Binaries, Server};
use super::shape::Shape;

/// Checked arguments, and the means to carry them out.
pub(super) struct Bench<'a> {
    pub(super) arguments: &'a CompareArguments,
    pub(super) servers: Vec<ServerKind>,
    binaries: Binaries,
    pub(super) stop: &'a Stop,
}

impl<'a> Bench<'a> {
    /// Everything that can be known to be wrong before a server is started.
    pub(super) fn check(arguments: &'a CompareArguments, stop: &'a Stop) -> Result<Self, Error> {
        machine::descriptors_raise();
        core_check(arguments.cpu_server)?;
        core_check(arguments.cpu_client)?;
        if arguments.cpu_server == arguments.cpu_client {
            note(format_args!(
                "warning: server and client share core {}",
                arguments.cpu_server
            ));
        }
        if cfg!(debug_assertions) {
            note("warning: this is a debug build: its client is slow, and so may be the servers");
        }
        let binaries = Binaries::beside(arguments.bin_dir.as_deref())?;
        let servers = binaries.choose(&arguments.servers)?;
        assertion::check(arguments, &servers)?;
        let twice =
            check::has_repeats(&servers).then(|| "--servers names a server twice".to_owned());
        let unwritable = arguments.html.as_deref().and_then(check::unwritable);
        check::refuse_any(
            twice
                .into_iter()
                .chain(unwritable)
                .chain(too_much(arguments))
                .collect(),
        )?;
        Ok(Self {
            arguments,
            servers,
            binaries,
            stop,
        })
    }

    /// Nothing measured yet.
    pub(super) fn comparison(&self) -> Comparison {
        let CompareArguments {
            rounds,
            duration,
            payload,
            ..
        } = *self.arguments;
        Comparison {
            command: output::command_line(),
            began: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            machine: machine::about(),
            rounds,
            window_s: duration.as_secs_f64(),
            payload_bytes: payload,
            ..Comparison::default()
        }
    }

    /// Starts a server on its core.
    pub(super) fn start(&self, kind: ServerKind) -> Result<Server, Error> {
        Server::start(&self.binaries, kind, self.arguments.cpu_server, self.stop)
    }

    /// Carry out the plan on the client's core.
    pub(super) fn client(
        &self,
        server: ServerKind,
        plan: Plan,
        observer: &mut dyn Observer,
    ) -> Result<Report, Error> {
        let report = engine::run(plan, Show::Nothing, self.stop, observer)?;
        if self.stop.is_set() {
            return Err(Error::Interrupted);
        }
        // A load tester at its limit is no matter here: the server's processor time per request is
        // compared.
        if !report.is_complete() {
            return Err(Error::Failed(format!(
                "{server} failed under load:\n{report}"
            )));
        }
        Ok(report)
    }
}

/// A closed loop from the client's core.
pub(super) fn load_plan(arguments: &CompareArguments, target: SocketAddr, shape: Shape) -> Plan {
    let Shape {
        connections,
        pipeline,
    } = shape;
    Plan {
        connections,
        cpus: vec![arguments.cpu_client],
        workload: Workload::new(Protocol::Echo, arguments.payload, pipeline),
        warmup: arguments.warmup,
        duration: arguments.duration,
        ..Plan::to(target)
    }
}

/// The loads that the machine cannot carry: better now than in some minutes. The servers' port is
/// not known yet, and no matter.
fn too_much(arguments: &CompareArguments) -> Vec<String> {
    let idle = Shape {
        connections: arguments.idle,
        pipeline: 1,
    };
    let most = arguments
        .connections
        .iter()
        .copied()
        .chain([idle])
        .max_by_key(|shape| shape.connections)
        .unwrap_or(idle);
    let plan: Plan = load_plan(arguments, SocketAddr::from(([127, 0, 0, 1], 0)), most);
    machine::check(&plan.demand()).problems
}

/// Refuse a core that this process may not run on.
fn core_check(core: usize) -> Result<(), Error> {
    let cores = machine::cores();
    if cores.contains(&core) {
        return Ok(());
    }
    let cores: Vec<String> = cores.iter().map(ToString::to_string).collect();
    let cores = cores.join(", ");
    let why = format!("core {core} is not one this process may use: {cores}");
    Err(Error::Refused(why))
}
