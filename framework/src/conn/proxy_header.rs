//! The PROXY header of an accepted connection, read before its handler has the connection.

use std::future::poll_fn;

use crate::conn::connection::Conn;
use crate::error::{CloseReason, Error};
use crate::proxy;
use crate::shard::handle::Shard;
use crate::shard::policy::log_limit::LogKind;

/// Whether connections to this shard begin with one, those of some listener at least.
pub(crate) fn is_expected() -> bool {
    Shard::with(|shard| shard.core().conns.shared.proxies.are_on())
}

/// Reads it, where the connection has come in begins with one. False: it is over before one came, or
/// its client was turned away; there is nothing to serve.
pub(crate) async fn read(conn: &mut Conn) -> Result<bool, Error> {
    let rule = conn.handle.with(|conn| conn.proxy_rule()).flatten();
    let Some(rule) = rule else {
        return Ok(true);
    };
    if !rule.trusts(conn.peer_addr().ip()) {
        let why = "its peer is not in proxy_trusted";
        return Err(refuse(conn, CloseReason::ProxyUntrusted, why));
    }
    conn.set_read_deadline(Some(rule.within));
    let handle = conn.handle;
    let mut parse = |bytes: &[u8]| proxy::parse(bytes, rule.versions, rule.header_max);
    let header = poll_fn(|context| handle.poll_parsed(context, rule.header_max, &mut parse));
    let proxied = match header.await {
        Ok(Some(header)) => header.value,
        Ok(None) => return Ok(false),
        Err(Error::Protocol(why)) => return Err(refuse(conn, CloseReason::ProxyInvalid, why)),
        Err(Error::Truncated) => {
            let why = "its peer has ended within the PROXY header";
            return Err(refuse(conn, CloseReason::ProxyInvalid, why));
        }
        Err(error) => return Err(error),
    };
    let key = conn.key();
    if Shard::with(|shard| shard.core().admit_proxied(key, proxied)) {
        return Ok(true);
    }
    turn_away(conn).await
}

/// The client has as many connections as it may.
async fn turn_away(conn: &mut Conn) -> Result<bool, Error> {
    let key = conn.key();
    let text = Shard::with(|shard| shard.core().refuse_with(key));
    conn.write(&*text).await?;
    conn.flush().await?;
    conn.handle.fail(CloseReason::AddressLimit);
    Err(Error::Closed(CloseReason::AddressLimit))
}

fn refuse(conn: &Conn, reason: CloseReason, why: &'static str) -> Error {
    let peer = conn.peer_addr();
    Shard::with(|shard| {
        let shared = &mut shard.core().conns.shared;
        if shared.may_log(LogKind::ProxyRefused) {
            let (conn, shard) = (shared.conn_id(conn.key()), shared.id.0);
            tracing::warn!(%conn, %peer, shard, %reason, why, "no PROXY header that is believed");
        }
    });
    conn.handle.fail(reason);
    Error::Closed(reason)
}
