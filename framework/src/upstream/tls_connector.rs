//! Connections that a shard opens and that begin with a TLS handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conn::connection::Conn;
use crate::conn::handle::Handle;
use crate::conn::tls;
use crate::error::{CloseReason, Error};
use crate::shard::conns::tls::session::Session;
use crate::time;
use crate::tls::client::ClientTls;
use crate::tls::plain;
use crate::upstream::connector::Connector;

/// Opens connections as a [`Connector`] does, each with a TLS session: see [`Connector::tls`]. A clone
/// shares what earlier sessions have left to go on from.
///
/// ```no_run
/// use std::net::SocketAddr;
///
/// use corelane::{ClientTls, Connector, Error};
///
/// async fn ask(server: SocketAddr, tls: ClientTls) -> Result<(), Error> {
///     let mut conn = Connector::new().tls(tls).connect(server).await?;
///     conn.write("GET / HTTP/1.0\r\n\r\n").await?;
///     while let Some(bytes) = conn.read().await? {
///         println!("{} bytes", bytes.len());
///     }
///     Ok(())
/// }
/// # let _ = ask;
/// ```
#[derive(Clone, Debug)]
pub struct TlsConnector {
    connector: Connector,
    tls: ClientTls,
}

impl Connector {
    /// Has every connection begin with a TLS handshake. What it gives connects as this one does.
    #[must_use]
    pub fn tls(self, tls: ClientTls) -> TlsConnector {
        TlsConnector {
            connector: self,
            tls,
        }
    }
}

impl TlsConnector {
    /// As [`Connector::connect`]; the handshake is part of the connect, and of its timeout.
    ///
    /// # Errors
    ///
    /// As for [`Connector::connect`]; [`Error::Connect`] also when the handshake fails: `InvalidData`
    /// with what is wrong, the server's certificate for one, `UnexpectedEof` when the server has
    /// ended the connection within it, `TimedOut` after the timeout of the connect.
    pub async fn connect(&self, target: SocketAddr) -> Result<Conn, Error> {
        let begun = time::now();
        let conn = self.connector.connect(target).await?;
        let patience = Patience {
            begun,
            within: self.connector.patience(),
        };
        // Boxed, so that it takes no room where the connection is used.
        Box::pin(secure(conn, target, &self.tls, patience)).await
    }
}

/// How long a connect may take with its handshake.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) begun: Instant,
    pub(super) within: Duration,
}

impl Patience {
    /// Of it, from now on.
    pub(super) fn left(self) -> Duration {
        let elapsed = time::now().saturating_duration_since(self.begun);
        self.within.saturating_sub(elapsed)
    }

    /// It has ended. So it does with a server that waits for the rest of what it takes for a request
    /// of its own.
    pub(super) fn over(self) -> String {
        let within = self.within;
        format!("connected, but no TLS handshake within {within:?}: is that a port for TLS?")
    }
}

/// Shakes hands on a connection to `target`.
pub(super) async fn secure(
    mut conn: Conn,
    target: SocketAddr,
    client: &ClientTls,
    patience: Patience,
) -> Result<Conn, Error> {
    let mut unanswered = Unanswered(Some(conn.handle()));
    let name = client.server_name(target.ip());
    let session = Session::of_client(Arc::clone(client.config()), name);
    let session = session.map_err(|error| {
        let error = io::Error::new(io::ErrorKind::InvalidInput, plain(&error));
        Error::Connect(error)
    })?;
    conn.set_read_deadline(Some(patience.left()));
    let outcome = tls::connect(&mut conn, session).await;
    unanswered.0 = None; // an alert, if there is one, is on its way
    match outcome {
        Ok(()) => Ok(conn),
        Err(Error::Closed(reason)) => Err(Error::Connect(ended(reason, patience))),
        Err(error) => Err(error),
    }
}

/// A connection whose handshake is given up, for it takes too long or is wanted no more, is closed at
/// once: the peer is told nothing, and to wait for its end would take the place of the next connect.
struct Unanswered(Option<Handle>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.try_with(|conn| conn.discard());
        }
    }
}

/// The connection has ended within its handshake.
fn ended(reason: CloseReason, patience: Patience) -> io::Error {
    let kind = match reason {
        CloseReason::ReadTimeout | CloseReason::WriteTimeout => {
            return io::Error::new(io::ErrorKind::TimedOut, patience.over());
        }
        CloseReason::PeerReset => io::ErrorKind::ConnectionReset,
        _ => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, format!("within the TLS handshake: {reason}"))
}
