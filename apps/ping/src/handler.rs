//! What the ping server does with one connection.

use std::cell::Cell;

use corelane::{Conn, Error, Handler, Pool, Reloaded};

use crate::client::{Client, Ids};
use crate::codec::Resp;
use crate::forward::forward;
use crate::reply::{Reply, answer, error};
use crate::resp::{EXPECTED_BULK, Limits};
use crate::settings::PingSettings;

/// One per shard.
pub(crate) struct Ping {
    limits: Cell<Limits>,
    /// Whom `PING` is passed on to; none: it is answered here.
    next: Option<Pool>,
    ids: Ids,
}

impl Ping {
    pub(crate) fn new(limits: Limits, next: Option<Pool>, ids: Ids) -> Self {
        Self {
            limits: Cell::new(limits),
            next,
            ids,
        }
    }
}

impl Handler for Ping {
    async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
        let mut client = Client::default();
        let mut requests = conn.framed(Resp::new(&self.limits));
        loop {
            let frame = match requests.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                Err(Error::Protocol(why)) => {
                    let unexpected = requests.codec().unexpected();
                    return Box::pin(refuse(conn, why, unexpected)).await;
                }
                Err(Error::Truncated) => return Box::pin(cut_short(conn)).await,
                Err(error) => return Err(error),
            };
            let reply = answer(frame.value, &frame.bytes, &mut client, &self.ids);
            match (&reply, &self.next) {
                (Reply::HangUp, _) => return Ok(()),
                // Boxed, or it would be part of every idle connection.
                (Reply::Pong, Some(next)) => Box::pin(forward(requests.conn(), next)).await?,
                (reply, _) => requests.send(reply).await?,
            }
            if reply == Reply::Goodbye {
                return Ok(());
            }
        }
    }

    fn on_reload(&self, settings: &Reloaded<'_>) {
        if let Some(settings) = settings.app::<PingSettings>() {
            self.limits.set(settings.limits());
        }
    }
}

/// Tell the client what was wrong with its bytes, then close: what follows cannot be understood.
async fn refuse(conn: &mut Conn, why: &'static str, unexpected: u8) -> Result<(), Error> {
    let mut text = format!("ERR Protocol error: {why}").into_bytes();
    if why == EXPECTED_BULK {
        text.extend_from_slice(b", got '");
        text.push(unexpected);
        text.push(b'\'');
    }
    conn.write(&error(text)).await?;
    conn.close().await?; // all is said: an error without it would reset what the client has yet to read
    Err(Error::Protocol(why))
}

/// The client has ended within a request: all before it was answered, and the answers are whole.
async fn cut_short(conn: &mut Conn) -> Result<(), Error> {
    conn.close().await?;
    Err(Error::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<'a, F: Future>(_serve: impl FnOnce(&'a Ping, &'a mut Conn) -> F) -> usize {
        size_of::<F>()
    }

    /// The memory of an idle connection is a promise: `make compare` measures it, and this is the
    /// part of it that is the handler's.
    #[test]
    fn forwarding_is_not_paid_for_by_an_idle_connection() {
        let served = size(|ping: &Ping, conn| ping.serve(conn));
        assert!(served <= 256, "{served} bytes");
    }
}
