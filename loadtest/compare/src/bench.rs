//! The means of a comparison: checked arguments, servers, and a client.

use std::net::SocketAddr;
use std::time::SystemTime;

use corelane::ClientTls;
use loadtest::Stop;
use loadtest::data::Report;
use loadtest::engine::{self, Observer, Show};
use loadtest::error::Error;
use loadtest::machine;
use loadtest::output::{self, note};
use loadtest::plan::{self, Plan, check};

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
    pub(super) shapes: Vec<Shape>,
    pub(super) idle: u32,
    binaries: Binaries,
    /// Whom the client trusts, by TLS.
    tls: Option<ClientTls>,
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
        let servers = binaries.choose(arguments.suite, &arguments.servers)?;
        let (shapes, idle) = (shapes(arguments), idle(arguments));
        assertion::check(arguments, &servers, &shapes)?;
        let twice =
            check::has_repeats(&servers).then(|| "--servers names a server twice".to_owned());
        let unwritable = arguments.html.as_deref().and_then(check::unwritable);
        check::refuse_any(
            twice
                .into_iter()
                .chain(unwritable)
                .chain(too_much(arguments, &shapes, idle))
                .collect(),
        )?;
        let certificate = arguments.certificate.as_deref();
        let tls = certificate.map(plan::trusting).transpose()?;
        if tls.is_none() && servers.iter().any(|server| server.has_tls()) {
            let why =
                "--suite tls has servers with a certificate: name one with --certificate and --key";
            return Err(Error::Refused(why.to_owned()));
        }
        Ok(Self {
            arguments,
            servers,
            shapes,
            idle,
            binaries,
            tls,
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
            suite: self.arguments.suite,
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
        let command = self.binaries.command(kind, self.arguments);
        Server::start(command, kind, self.stop)
    }

    /// Carry out the plan on the client's core.
    pub(super) fn client(
        &self,
        server: ServerKind,
        plan: Plan,
        observer: &mut dyn Observer,
    ) -> Result<Report, Error> {
        let tls = self.tls.clone().filter(|_| server.has_tls());
        let plan = Plan { tls, ..plan };
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

fn shapes(arguments: &CompareArguments) -> Vec<Shape> {
    if !arguments.connections.is_empty() {
        return arguments.connections.clone();
    }
    let usual = arguments.suite.connections().split(',');
    usual.filter_map(|shape| shape.parse().ok()).collect()
}

fn idle(arguments: &CompareArguments) -> u32 {
    arguments.idle.unwrap_or_else(|| arguments.suite.idle())
}

/// A closed loop from the client's core.
pub(super) fn load_plan(
    arguments: &CompareArguments,
    (server, target): (ServerKind, SocketAddr),
    shape: Shape,
) -> Plan {
    let Shape {
        connections,
        pipeline,
    } = shape;
    let (suite, payload) = (arguments.suite, arguments.payload);
    Plan {
        connections,
        cpus: vec![arguments.cpu_client],
        workload: suite.workload(server, &target.to_string(), payload, pipeline),
        warmup: arguments.warmup,
        duration: arguments.duration,
        ..Plan::to(target)
    }
}

/// The loads that the machine cannot carry: better now than in some minutes. The servers' port is
/// not known yet, and no matter.
fn too_much(arguments: &CompareArguments, shapes: &[Shape], idle: u32) -> Vec<String> {
    let idle = Shape {
        connections: idle,
        pipeline: 1,
    };
    let most = shapes
        .iter()
        .copied()
        .chain([idle])
        .max_by_key(|shape| shape.connections)
        .unwrap_or(idle);
    let server = (
        arguments.suite.subject(),
        SocketAddr::from(([127, 0, 0, 1], 0)),
    );
    let plan = load_plan(arguments, server, most);
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
