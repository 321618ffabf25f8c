//! From `main` to the exit code: arguments, settings, preflight, server.

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::channel;

use signal_hook::consts::{SIGHUP, SIGUSR2};

use crate::arguments::Question;
use crate::config::{self, AppSettings, Config, InForce};
use crate::handler::{AppBytes, Handler, IntoHandler, ShardContext};
use crate::log::LogHandle;
use crate::net::inherited::{Fault, Inherited};
use crate::preflight::plan::{self, Plan};
use crate::preflight::problem::Problem;
use crate::preflight::{admin, doctor, inherited};
use crate::runtime::why_not_started;
use crate::server::control::Control;
use crate::server::ended::ServerError;
use crate::server::event::Event;
use crate::server::listeners::Listening;
use crate::server::predecessor::Predecessor;
use crate::server::probe;
use crate::server::progress::Progress;
use crate::server::reload::{Hangups, Source};
use crate::server::service::Service;
use crate::server::signals::{self, Request};
use crate::{arguments, log};

/// The process did what it was asked to do.
const CLEAN: u8 = 0;
/// It failed while running.
const FAILED: u8 = 1;
/// It refused to start: bad settings, or a machine that cannot run them.
const REFUSED: u8 = 2;

/// Runs an application: reads the command line and the settings, checks the machine, serves until a
/// signal, drains.
///
/// `factory` makes one handler per shard, on the shard's thread, from the shard's context and the
/// application's own settings. It may [`spawn`](crate::spawn). If it gives an `Err` or panics the
/// start is refused with its words, and no shard serves anybody: connections are accepted once
/// every shard has its handler.
///
/// The exit code is 0 after a clean end, 1 after a failure while running, 2 when it refused to
/// start; then standard error has every problem with its remedy.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use corelane::{AppSettings, Conn, Error, Handler, ShardContext};
///
/// #[derive(Default, serde::Serialize, serde::Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct EchoSettings {}
///
/// impl AppSettings for EchoSettings {
///     const NAME: &'static str = "echo";
///     const ABOUT: &'static str = "Sends back what it gets";
///     const LISTEN: &'static str = "127.0.0.1:7007";
/// }
///
/// struct Echo;
///
/// impl Handler for Echo {
///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
///         while let Some(bytes) = conn.read().await? {
///             conn.write(bytes).await?;
///         }
///         Ok(())
///     }
/// }
///
/// fn main() -> ExitCode {
///     corelane::run(|_shard: &ShardContext, _settings: &EchoSettings| Echo)
/// }
/// ```
pub fn run<S: AppSettings, H: IntoHandler<K>, K>(
    factory: impl Fn(&ShardContext<H::Message>, &S) -> H + Send + Sync + 'static,
) -> ExitCode {
    // Before anything is written: a standard error at RLIMIT_FSIZE is one that cannot be written.
    if let Err(error) = signals::let_pass_the_harmless() {
        return refuse(S::NAME, &[format!("signals cannot be handled: {error}")]);
    }
    let app_bytes = AppBytes::of::<H::Message, H::Handler>();
    let arguments = match arguments::parse::<S>() {
        Ok(arguments) => arguments,
        Err(answer) => return tell(&answer),
    };
    if arguments.print_example {
        return print(&config::example::<S>());
    }
    if arguments.print_reference {
        return print(&config::reference::<S>());
    }
    let loaded = match config::load::<S>(arguments.config.as_deref(), &arguments.sets) {
        Ok(loaded) => loaded,
        Err(problems) => return refuse(S::NAME, &problems),
    };
    if arguments.print_config {
        return print(&loaded.to_toml());
    }
    if arguments.check {
        let (problems, warnings) = plan::files(&loaded.config);
        if !problems.is_empty() {
            return refuse(S::NAME, &problems);
        }
        for warning in warnings.into_iter().chain(loaded.warnings()) {
            complain(S::NAME, format!("warning: {warning}"));
        }
        let memory = plan::memory(&loaded.config, app_bytes);
        return print(&format!(
            "the settings are fine\nmemory_bound_bytes={} {memory}\n",
            memory.bytes()
        ));
    }
    if arguments.doctor {
        let report = doctor::examine(&loaded.config, app_bytes).with_notes(loaded.warnings());
        return examine(S::NAME, &report);
    }
    if let Some(question) = arguments.probe {
        return ask(S::NAME, &loaded.config, question);
    }
    let (predecessor, inherited) = match inherit(&loaded.config) {
        Ok(found) => found,
        Err(problems) => return refuse(S::NAME, &problems),
    };
    let plan = match plan::check(&loaded.config, app_bytes, &inherited) {
        Ok(plan) => plan,
        Err(problems) => return refuse(S::NAME, &problems),
    };
    #[cfg(feature = "failpoints")]
    if let Err(problem) = crate::failpoint::read() {
        return refuse(S::NAME, &[problem]);
    }
    let log = match log::start(&loaded.config.log) {
        Ok(log) => log,
        Err(error) => {
            return refuse(
                S::NAME,
                &[format!(
                    "no thread for the log can be started: {}",
                    why_not_started(&error)
                )],
            );
        }
    };
    let (in_force, settings) = loaded.into_force();
    let beginning = Beginning {
        settings: in_force,
        source: source::<S>(arguments.config, arguments.sets),
        plan,
        predecessor,
        inherited,
    };
    match serve(beginning, &log, move |shard| {
        factory(shard, &settings).into_handler()
    }) {
        Ok(()) => ExitCode::from(CLEAN),
        Err(Failure::Start(error)) => refuse(S::NAME, &[error]),
        Err(Failure::Running) => ExitCode::from(FAILED),
    }
}

/// Tells what this machine carries.
fn examine(name: &str, report: &doctor::Report) -> ExitCode {
    let told = print(&format!("{name}: {report}"));
    if report.is_carried() {
        told
    } else {
        ExitCode::from(REFUSED)
    }
}

/// Asks the server that runs with these settings.
fn ask(name: &str, config: &Config, question: Question) -> ExitCode {
    let endpoint = match probe::endpoint(config) {
        Ok(endpoint) => endpoint,
        Err(problem) => return refuse(name, &[problem]),
    };
    match probe::ask(endpoint, question, config.admin.probe_timeout) {
        Ok(()) => print(&format!("{question}\n")),
        Err(why) => {
            complain(name, why);
            ExitCode::from(FAILED)
        }
    }
}

/// Where the settings can be read again: the file, if there is one, with the same arguments over it.
fn source<S: AppSettings>(file: Option<PathBuf>, sets: Vec<String>) -> Option<Source> {
    let file = file?;
    Some(Box::new(move || {
        match config::load_again::<S>(&file, &sets) {
            Ok(loaded) => Ok(loaded.into_force().0),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }))
}

/// What a server begins with.
struct Beginning {
    settings: InForce,
    source: Option<Source>,
    plan: Plan,
    predecessor: Option<Predecessor>,
    inherited: Inherited,
}

/// The listeners that are open already: those of the process that this one takes over from, or the
/// service manager's.
fn inherit(config: &Config) -> Result<(Option<Predecessor>, Inherited), Vec<Problem>> {
    let found = Predecessor::find();
    let found = found.map_err(|error| vec![inherited::handover_problem(&error)])?;
    let (predecessor, mut inherited) = match found {
        Some((predecessor, inherited)) => (Some(predecessor), inherited),
        None => {
            let passed = Inherited::from_service_manager(&config.listeners());
            let told = |faults: Vec<Fault>| faults.iter().map(inherited::problem).collect();
            (None, passed.map_err::<Vec<Problem>, _>(told)?)
        }
    };
    inherited.fit_admin(admin::endpoints(config).map(|(_, endpoint)| endpoint));
    Ok((predecessor, inherited))
}

/// Why a server ended other than cleanly.
enum Failure {
    /// It never served; the text says why.
    Start(String),
    /// It failed while serving; the log says why.
    Running,
}

/// Serves until a signal has drained the server or a shard has died.
fn serve<M: Send + 'static, H: Handler<M>>(
    beginning: Beginning,
    log: &LogHandle,
    factory: impl Fn(&ShardContext<M>) -> Result<H, String> + Send + Sync + 'static,
) -> Result<(), Failure> {
    let (events, inbox) = channel();
    // Before any shard: a signal that comes during the start must not kill the process half-way.
    let hangups = Hangups::default();
    let event = move |request: Request| match request.signal {
        SIGHUP => hangups.request().map(Event::Reload),
        SIGUSR2 => Some(Event::Restart),
        _ => Some(Event::Signal(request)),
    };
    signals::watch(events.clone(), event).map_err(|error| {
        Failure::Start(format!(
            "signals cannot be watched: {}",
            why_not_started(&error)
        ))
    })?;
    let Beginning {
        settings,
        source,
        plan,
        predecessor,
        inherited,
    } = beginning;
    let listening = Listening::open(settings, plan, inherited);
    let listening = listening.map_err(|problem| Failure::Start(problem.to_string()))?;
    let mut service = Service::of_process(predecessor);
    let kept = service.keep(&listening);
    kept.map_err(|error| Failure::Start(format!("the listeners cannot be copied: {error}")))?;
    let started = Control::start(listening, source, service, &events, inbox, factory);
    let (control, _mesh) = started.map_err(Failure::Start)?;
    match control.run(Some(log), &Progress::default()) {
        Ok(()) => Ok(()),
        Err(error @ ServerError::ShardNotStarted { .. }) => Err(Failure::Start(error.to_string())),
        Err(_) => Err(Failure::Running),
    }
}

fn refuse(name: &str, problems: &[impl Display]) -> ExitCode {
    for problem in problems {
        complain(name, problem);
    }
    ExitCode::from(REFUSED)
}

/// Not `eprintln`, which panics where standard error cannot be written: the exit code must still say
/// it.
fn complain(name: &str, problem: impl Display) {
    let _unheard = writeln!(std::io::stderr(), "{name}: {problem}");
}

/// `--help` and `--version` to standard output, a usage error to standard error.
fn tell(answer: &clap::Error) -> ExitCode {
    let told = answer.print();
    if answer.use_stderr() {
        ExitCode::from(REFUSED)
    } else {
        printed(told)
    }
}

/// To standard output.
fn print(text: &str) -> ExitCode {
    printed(std::io::stdout().write_all(text.as_bytes()))
}

/// What was asked for was to print; a reader that left early is no failure.
fn printed(outcome: std::io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::from(CLEAN),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::from(CLEAN),
        Err(error) => {
            let _unheard = writeln!(std::io::stderr(), "standard output: {error}");
            ExitCode::from(FAILED)
        }
    }
}
