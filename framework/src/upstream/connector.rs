//! Connections that a shard opens itself.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::conn::connection::Conn;
use crate::error::Error;
use crate::shard::handle::Shard;
use crate::shard::state::attempts::{ConnectStage, ConnectTarget};

/// How long a connect may take unless told otherwise: longer than three lost SYNs (tcp(7): 1, 2 and
/// 4 seconds apart).
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Opens connections from the shard of the task that uses it.
///
/// The connection it gives is a [`Conn`] like an accepted one, on the same ring and from the same
/// buffers, and with the socket options of the settings. It belongs to whoever has it: dropping it
/// sends what was written, then our FIN, and closes.
///
/// ```
/// use corelane::{Conn, Connector, Error, Handler};
///
/// /// Forwards each connection's first line to another server, and the answer back.
/// struct Relay(std::net::SocketAddr);
///
/// impl Handler for Relay {
///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
///         let mut other = Connector::new().connect(self.0).await?;
///         let Some(line) = conn.read_line(1024).await? else { return Ok(()) };
///         other.write(&line).await?;
///         other.write("\n").await?;
///         let Some(answer) = other.read_line(1024).await? else { return Ok(()) };
///         conn.write(&answer).await
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Connector {
    source: Option<IpAddr>,
    timeout: Duration,
    speaks_first: bool,
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}

impl Connector {
    /// One with the source address of the kernel's choice and 10 seconds for a connect.
    pub const fn new() -> Self {
        Self {
            source: None,
            timeout: TIMEOUT_DEFAULT,
            speaks_first: false,
        }
    }

    /// Connects from this local address. Its port is chosen by the connect
    /// (IP_BIND_ADDRESS_NO_PORT, ip(7)), so that each pair of source and target has all ports to
    /// itself.
    #[must_use]
    pub const fn source(self, source: IpAddr) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }

    /// How long a connect may take, from its start; up to 375 milliseconds more.
    #[must_use]
    pub const fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// For one who sends as soon as it is connected: the handshake's last ACK goes with its first
    /// bytes (TCP_QUICKACK off, tcp(7)), which spares both ends a packet. A server that is to speak
    /// first learns of the connection up to 40 milliseconds later.
    #[must_use]
    pub const fn speaks_first(self) -> Self {
        Self {
            speaks_first: true,
            ..self
        }
    }

    /// How long a connect may take.
    #[cfg(feature = "tls")]
    pub(super) fn patience(&self) -> Duration {
        self.timeout
    }

    /// Connects to `target` (connect(2)). Waits for its turn while `limits.connects_in_flight_max`
    /// are on their way, and while the shard has all the connections that it may have but some of
    /// them are about to close; `limits.connects_waiting_max` may wait, in however many tasks.
    ///
    /// Dropping the future takes the connect back.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] with the error of socket(2), bind(2) or connect(2): `ConnectionRefused`,
    /// also where the kernel has connected the socket to itself for want of a listener (a port of
    /// net.ipv4.ip_local_port_range on this machine), `TimedOut` after the timeout,
    /// `AddrNotAvailable` when no local port is free towards the target; `QuotaExceeded` when all
    /// the connections that the shard may open are in use (`limits.outbound_per_shard_max`, and
    /// what its pools have room for), or as many connects as may wait do so.
    pub fn connect(&self, target: SocketAddr) -> Connect {
        let Self {
            source,
            timeout,
            speaks_first,
        } = *self;
        Connect {
            target: ConnectTarget {
                address: target,
                source,
                timeout,
                speaks_first,
            },
            stage: ConnectStage::Idle,
        }
    }
}

/// The future of [`Connector::connect`].
#[must_use = "futures do nothing unless awaited"]
pub struct Connect {
    target: ConnectTarget,
    stage: ConnectStage,
}

impl Future for Connect {
    type Output = Result<Conn, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Shard::with(|shard| {
            let mut core = shard.core();
            let queued = match self.stage {
                ConnectStage::Connecting(slot) => {
                    let Some(outcome) = core.poll_connect(slot, context.waker()) else {
                        return Poll::Pending;
                    };
                    self.stage = ConnectStage::Idle;
                    return Poll::Ready(outcome.map(Conn::new).map_err(Error::Connect));
                }
                ConnectStage::Queued(number) => Some(number),
                ConnectStage::Idle => None,
            };
            match core.begin_connect(self.target, queued, context.waker()) {
                Ok(stage) => {
                    self.stage = stage;
                    Poll::Pending
                }
                Err(error) => {
                    core.give_up(std::mem::replace(&mut self.stage, ConnectStage::Idle));
                    Poll::Ready(Err(Error::Connect(error)))
                }
            }
        })
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        if self.stage != ConnectStage::Idle {
            Shard::try_with(|shard| shard.core().give_up(self.stage));
        }
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Connect({})", self.target.address)
    }
}

/// A connect that took too long, in these words.
pub(super) fn timed_out(why: String) -> Error {
    Error::Connect(io::Error::new(io::ErrorKind::TimedOut, why))
}
