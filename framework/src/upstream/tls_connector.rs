//! Connections that a shard opens and that begin with a TLS handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::conn::connection::Conn;
use crate::conn::tls;
use crate::error::{CloseReason, Error};
use crate::shard::conns::tls::session::Session;
use crate::time;
use crate::tls::client::ClientTls;
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
        let elapsed = time::now().saturating_duration_since(begun);
        let left = self.connector.patience().saturating_sub(elapsed);
        // Boxed, so that it takes no room where the connection is used.
        Box::pin(secure(conn, target, &self.tls, left)).await
    }
}

/// Shakes hands on a connection to `target`, within `left`.
pub(super) async fn secure(
    mut conn: Conn,
    target: SocketAddr,
    client: &ClientTls,
    left: Duration,
) -> Result<Conn, Error> {
    let name = client.server_name(target.ip());
    let session = Session::of_client(Arc::clone(client.config()), name);
    let session = session.map_err(|error| {
        let error = io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
        Error::Connect(error)
    })?;
    conn.set_read_deadline(Some(left));
    match tls::connect(&mut conn, session).await {
        Ok(()) => Ok(conn),
        Err(Error::Closed(reason)) => Err(Error::Connect(within(reason))),
        Err(error) => Err(error),
    }
}

/// The connection has ended within its handshake.
fn within(reason: CloseReason) -> io::Error {
    let kind = match reason {
        CloseReason::ReadTimeout | CloseReason::WriteTimeout => io::ErrorKind::TimedOut,
        CloseReason::PeerReset => io::ErrorKind::ConnectionReset,
        _ => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, format!("within the TLS handshake: {reason}"))
}
