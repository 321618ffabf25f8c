//! A server inside another program: settings and a factory in, a running server out.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;

use crate::config::{Config, InForce};
use crate::handler::{AppBytes, IntoHandler, ShardContext};
use crate::net::inherited::Inherited;
use crate::net::listener::ListenerAddr;
use crate::preflight::plan::{self, Plan};
use crate::preflight::problem::Problem;
use crate::server::control::Control;
use crate::server::handle::ServerHandle;
use crate::server::listeners::Listening;
use crate::server::progress::Progress;
use crate::server::service::Service;
use crate::settings::Settings;
use crate::shard::mail::sender::Sender;
use crate::start_error::{ProblemKind, StartError};

/// A server inside a program that has a `main`, settings, signals and a log of its own;
/// [`run`](crate::run) is the short way for one that has not.
///
/// It installs no signal handler and no log subscriber: what it has to say goes to the program's
/// own [`tracing`](https://docs.rs/tracing) subscriber, if it has one. It raises the soft limits of
/// descriptors and locked memory to the hard ones, and puts a panic hook before the program's that
/// keeps the panics of handlers off standard error. A process may have any number of servers.
///
/// ```
/// use corelane::{Conn, Error, Handler, Server, Settings};
/// use std::io::{Read, Write};
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
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Settings::new().set("server.shards", 1).set("limits.connections_max", 100);
/// let server = Server::builder().settings(settings).handler(|_shard| Echo).bind()?;
/// let handle = server.spawn()?;
/// handle.wait_ready()?;
///
/// let mut client = std::net::TcpStream::connect(handle.local_addr())?;
/// client.write_all(b"hello")?;
/// let mut answer = [0; 5];
/// client.read_exact(&mut answer)?;
/// assert_eq!(&answer, b"hello");
/// drop(client);
///
/// handle.drain();
/// handle.join().outcome?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub enum Server {}

impl Server {
    /// A server with the default settings and no handler yet.
    pub fn builder() -> ServerBuilder<()> {
        ServerBuilder {
            settings: Settings::new(),
            factory: (),
        }
    }
}

/// What a server is made of: see [`Server`].
#[derive(Clone, Debug)]
#[must_use = "it is a server once it is bound and spawned"]
pub struct ServerBuilder<F> {
    settings: Settings,
    factory: F,
}

impl<F> ServerBuilder<F> {
    /// With these settings instead of those before.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// `factory` makes one handler per shard, on the shard's thread. It gives a handler, or a
    /// `Result` with one, whose error ends the start; so does a panic.
    pub fn handler<G, H, K>(self, factory: G) -> ServerBuilder<G>
    where
        G: Fn(&ShardContext<H::Message>) -> H + Send + Sync + 'static,
        H: IntoHandler<K>,
    {
        ServerBuilder {
            settings: self.settings,
            factory,
        }
    }

    /// Checks settings and machine, and opens the listeners: from now on clients can connect, and
    /// wait in the kernel's queue.
    ///
    /// # Errors
    ///
    /// Everything that does not let the server start, each with its remedy.
    pub fn bind<H, K>(self) -> Result<Bound<F>, StartError>
    where
        F: Fn(&ShardContext<H::Message>) -> H + Send + Sync + 'static,
        H: IntoHandler<K>,
    {
        let config = self.settings.load()?;
        let plan = check_machine(&config, AppBytes::of::<H::Message, H::Handler>())?;
        let listening = Listening::open(InForce::embedded(config), plan, Inherited::default());
        Ok(Bound {
            listening: listening.map_err(|problem| of_machine(&[problem]))?,
            factory: self.factory,
        })
    }
}

/// Checks the machine, on a thread of its own: the ring that is made to see whether one can be is
/// torn down later, which would interrupt a system call of the program's thread (EINTR).
fn check_machine(config: &Config, app_bytes: AppBytes) -> Result<Plan, StartError> {
    let checked = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("preflight".to_owned());
        let thread = thread.spawn_scoped(scope, || {
            plan::check(config, app_bytes, &Inherited::default())
        });
        thread.map(|thread| thread.join())
    });
    match checked {
        Ok(Ok(plan)) => plan.map_err(|problems| of_machine(&problems)),
        Ok(Err(_panic)) => Err(StartError::of_process("the checks panicked".to_owned())),
        Err(error) => Err(StartError::of_process(format!(
            "no thread can be started: {error}"
        ))),
    }
}

fn of_machine(problems: &[Problem]) -> StartError {
    StartError::of(ProblemKind::Machine, problems.iter().map(Problem::parts))
}

/// A server whose addresses are known and that serves nobody yet. Dropping it closes its listeners,
/// and resets whoever has connected.
#[must_use = "it serves once it is spawned"]
pub struct Bound<F> {
    listening: Listening,
    factory: F,
}

impl<F> Bound<F> {
    /// The address that it listens on, with the real port; of several listeners the first's, and
    /// unspecified if that is a Unix socket.
    pub fn local_addr(&self) -> SocketAddr {
        let first = self.listening.addrs.first();
        first.map_or(([0, 0, 0, 0], 0).into(), |first| {
            first.endpoint.socket_addr()
        })
    }

    /// Where each listener listens, in the order of the settings.
    pub fn local_addrs(&self) -> &[ListenerAddr] {
        &self.listening.addrs
    }

    /// What the program should know although it does not prevent the start.
    pub fn warnings(&self) -> &[String] {
        &self.listening.plan.warnings
    }

    /// Starts a thread for each shard, and one that controls them.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started. What a shard meets later, its factory's failure included,
    /// is told by [`ServerHandle::ready`].
    pub fn spawn<H, K>(self) -> Result<ServerHandle<H::Message>, StartError>
    where
        F: Fn(&ShardContext<H::Message>) -> H + Send + Sync + 'static,
        H: IntoHandler<K>,
    {
        let (listeners, factory) = (Arc::clone(&self.listening.addrs), self.factory);
        let (events, inbox) = channel();
        let progress = Arc::<Progress>::default();
        let (listening, service) = (self.listening, Service::default());
        let started = Control::start(listening, None, service, &events, inbox, move |shard| {
            factory(shard).into_handler()
        });
        let (control, mesh) = started.map_err(StartError::of_process)?;
        let (shards, told) = (control.metrics(), Arc::clone(&progress));
        let thread = std::thread::Builder::new().name("control".to_owned());
        let thread = thread.spawn(move || control.run(None, &told));
        let control = thread.map_err(|error| {
            StartError::of_process(format!("the control thread does not start: {error}"))
        })?;
        Ok(ServerHandle {
            listeners,
            events,
            progress,
            shards,
            control,
            sender: Sender::new(mesh),
        })
    }
}

impl<F> fmt::Debug for Bound<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Bound({})", self.local_addr())
    }
}
