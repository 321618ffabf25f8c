//! The TLS handshake of a connection, before anybody has it: of an accepted one as its listener's
//! settings say, of an opened one as its connector does.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::{AlertDescription, Error as TlsError, HandshakeKind};

use crate::conn::chunk::Chunk;
use crate::conn::connection::Conn;
use crate::conn::handle::Handle;
use crate::error::{CloseReason, Error};
use crate::metrics::tls::{HandshakeFailure, TlsCounters};
use crate::shard::conns::interest::Interest;
use crate::shard::conns::tls::begins_a_handshake;
use crate::shard::conns::tls::session::{Opened, Session};
use crate::shard::handle::Shard;
use crate::shard::policy::handshakes::Stage;
use crate::shard::policy::log_limit::LogKind;
use crate::time::{Tick, Ticks};
use crate::tls::plain;

/// What comes and is no whole message of a handshake yet: one may be of 64 KiB (RFC 8446, 4), in
/// records of any length.
const INPUT_BYTES_MAX: usize = 96 * 1024;

/// The alert for a peer that speaks something else, which a client of TLS would understand:
/// unexpected_message, fatal (RFC 8446, 6).
const NOT_TLS: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];

/// Whether connections to this shard shake hands, those of some listener at least.
pub(crate) fn is_expected() -> bool {
    Shard::with(|shard| shard.core().conns.shared.tls.are_accepted())
}

/// Shakes hands, where the connection has come in that is done. False: its peer has left before; there
/// is nothing to serve.
pub(crate) async fn accept(conn: &mut Conn) -> Result<bool, Error> {
    let acceptance = conn.handle.with(|conn| conn.acceptance()).flatten();
    let Some(acceptance) = acceptance else {
        return Ok(true);
    };
    conn.set_read_deadline(Some(acceptance.handshake_timeout));
    let until = Shard::with(|shard| {
        let now = shard.core().conns.shared.now;
        now.after(Ticks::at_least(acceptance.handshake_timeout))
    });
    let session = Session::of_server(Arc::clone(&acceptance.config));
    let mut handshake = match session {
        Ok(session) => Handshake::new(conn.handle, session),
        Err(error) => return Err(refuse(conn, &Failed::Tls(error))),
    };
    let outcome = handshake.accept(until).await;
    conn.handle.with(|conn| conn.hold_for_handshake(0));
    match outcome {
        Ok(()) => {
            let kind = handshake.session.common().handshake_kind();
            count(|counters| match kind {
                Some(HandshakeKind::Resumed) => counters.resumed.add(1),
                _ => counters.full.add(1),
            });
            let Handshake { session, input, .. } = handshake;
            Shard::with(|shard| shard.core().begin_session(conn.key(), session, &input));
            Ok(true)
        }
        Err(Failed::Left) => {
            count(|counters| counters.count_failed(HandshakeFailure::Other));
            Ok(false)
        }
        Err(Failed::Conn(error)) => {
            let is_late = matches!(error, Error::Closed(CloseReason::TlsTimeout));
            let why = if is_late {
                HandshakeFailure::Timeout
            } else {
                HandshakeFailure::Other
            };
            count(|counters| counters.count_failed(why));
            Err(error)
        }
        Err(failed) => {
            // The alert, if the peer still takes it: what has failed is told and counted either way.
            let _is_told = tell(conn, &failed).await;
            Err(refuse(conn, &failed))
        }
    }
}

async fn tell(conn: &mut Conn, failed: &Failed) -> Result<(), Error> {
    if matches!(failed, Failed::NotTls) {
        conn.write(&NOT_TLS).await?;
    }
    conn.flush().await
}

/// Shakes hands as the client, within the connection's deadline. What has gone wrong is the error.
pub(crate) async fn connect(conn: &mut Conn, session: Session) -> Result<(), Error> {
    let mut handshake = Handshake::new(conn.handle, session);
    match handshake.connect().await {
        Ok(()) => {
            let Handshake { session, input, .. } = handshake;
            conn.handle.with(|conn| conn.begin_session(session, &input));
            Ok(())
        }
        Err(Failed::Conn(error)) => Err(error),
        Err(failed) => {
            // The alert, if the peer still takes it: what has failed is told either way. No reset
            // overtakes it where its reader is to act on it, for the connection is closed when it is
            // dropped.
            let _is_told = conn.flush().await;
            if !failed.is_of_the_certificate() {
                // The peer may never end: that would take the place of another connect.
                conn.handle.with(|conn| conn.discard());
            }
            let kind = match failed {
                Failed::Left => std::io::ErrorKind::UnexpectedEof,
                _ => std::io::ErrorKind::InvalidData,
            };
            let why = format!("the TLS handshake has failed: {failed}");
            Err(Error::Connect(std::io::Error::new(kind, why)))
        }
    }
}

/// Why a handshake has failed.
enum Failed {
    Tls(TlsError),
    NotTls,
    TooLong,
    /// It holds much, as others do.
    NoRoom,
    /// The peer has ended its side.
    Left,
    /// The connection has ended.
    Conn(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Conn(error)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => formatter.write_str(&plain(error)),
            Self::NotTls => formatter.write_str("what came is no TLS"),
            Self::TooLong => formatter.write_str("a message is too long"),
            Self::NoRoom => {
                formatter.write_str("unfinished handshakes hold too much of the memory")
            }
            Self::Left => formatter.write_str("the peer has left"),
            Self::Conn(error) => error.fmt(formatter),
        }
    }
}

impl Failed {
    /// The peer's, which is not the one that was expected: an alert tells it so.
    fn is_of_the_certificate(&self) -> bool {
        matches!(self, Self::Tls(TlsError::InvalidCertificate(_)))
    }

    fn class(&self) -> HandshakeFailure {
        match self {
            Self::NotTls => HandshakeFailure::NotTls,
            Self::Tls(TlsError::PeerIncompatible(_) | TlsError::NoApplicationProtocol) => {
                HandshakeFailure::NoSharedProtocol
            }
            Self::Tls(TlsError::InvalidCertificate(_) | TlsError::NoCertificatesPresented) => {
                HandshakeFailure::Certificate
            }
            Self::Tls(TlsError::AlertReceived(alert)) => class_of(*alert),
            Self::Tls(_) | Self::TooLong | Self::NoRoom | Self::Left | Self::Conn(_) => {
                HandshakeFailure::Other
            }
        }
    }
}

/// What the peer has said of it (RFC 8446, 6.2).
fn class_of(alert: AlertDescription) -> HandshakeFailure {
    match alert {
        AlertDescription::ProtocolVersion
        | AlertDescription::HandshakeFailure
        | AlertDescription::InsufficientSecurity
        | AlertDescription::NoApplicationProtocol => HandshakeFailure::NoSharedProtocol,
        AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateRequired => HandshakeFailure::Certificate,
        _ => HandshakeFailure::Other,
    }
}

fn count(count: impl FnOnce(&TlsCounters)) {
    Shard::with(|shard| count(&shard.metrics.tls));
}

/// The peer is told, as far as it can be.
fn refuse(conn: &Conn, failed: &Failed) -> Error {
    count(|counters| counters.count_failed(failed.class()));
    let peer = conn.peer_addr();
    Shard::with(|shard| {
        let shared = &mut shard.core().conns.shared;
        if shared.may_log(LogKind::TlsRefused) {
            let (conn, shard) = (shared.conn_id(conn.key()), shared.id.0);
            let (why, class) = (failed.to_string(), failed.class());
            tracing::info!(%conn, %peer, shard, %class, why, "a TLS handshake has failed");
        }
    });
    conn.handle.fail(CloseReason::TlsFailed);
    Error::Closed(CloseReason::TlsFailed)
}

/// A handshake on its way.
struct Handshake {
    handle: Handle,
    session: Session,
    /// What has come and is not done with.
    input: Vec<u8>,
    /// To be sent.
    own: Vec<u8>,
}

impl Handshake {
    fn new(handle: Handle, session: Session) -> Self {
        Self {
            handle,
            session,
            input: Vec::new(),
            own: Vec::new(),
        }
    }

    async fn accept(&mut self, until: Tick) -> Result<(), Failed> {
        let mut stage = Stage::Begins;
        while self.session.is_handshaking() {
            self.read_step(stage == Stage::Begins).await?;
            let permit = Permit {
                handle: self.handle,
                stage,
                until,
                has_asked: false,
            };
            permit.await?;
            self.step().await?;
            stage = Stage::GoesOn;
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<(), Failed> {
        self.session.begin(&mut self.own).map_err(Failed::Tls)?;
        self.send().await?;
        while self.session.is_handshaking() {
            self.read_step(false).await?;
            self.step().await?;
        }
        Ok(())
    }

    /// Waits until there is something to compute.
    async fn read_step(&mut self, is_first: bool) -> Result<(), Failed> {
        while !self.session.can_go_on(&self.input) {
            let handle = self.handle;
            let held = self.input.capacity() + self.session.handshake_bytes();
            if handle.with(|conn| conn.hold_for_handshake(held)) == Some(false) {
                return Err(Failed::NoRoom);
            }
            let Some(chunk) = poll_fn(|context| handle.poll_raw(context)).await? else {
                return Err(Failed::Left);
            };
            // What comes with the rest of it may be more, as much as a buffer takes.
            if self.input.len() + self.session.held_bytes() > INPUT_BYTES_MAX {
                return Err(Failed::TooLong);
            }
            self.input.extend_from_slice(&chunk);
            if is_first && !begins_a_handshake(&self.input) {
                return Err(Failed::NotTls);
            }
        }
        Ok(())
    }

    /// Computes, and sends what comes of it.
    async fn step(&mut self) -> Result<(), Failed> {
        let Opened {
            consumed, failure, ..
        } = self.session.open(&mut self.input, &mut self.own, |_| {});
        self.input.drain(..consumed);
        self.send().await?;
        match failure {
            Some(error) => Err(Failed::Tls(error)),
            None => Ok(()),
        }
    }

    async fn send(&mut self) -> Result<(), Failed> {
        let (handle, own) = (self.handle, std::mem::take(&mut self.own));
        let mut rest = crate::conn::output::Output::Slice(&own);
        poll_fn(|context| handle.poll_write(context, &mut rest)).await?;
        Ok(())
    }
}

impl Handle {
    /// What has come, of a connection that nobody has yet.
    fn poll_raw(self, context: &mut Context<'_>) -> Poll<Result<Option<Chunk>, Error>> {
        Shard::with(|shard| {
            let mut core = shard.core();
            let mut conn = self.open(&mut core)?;
            if let Some(buffer) = conn.pop_input() {
                return Poll::Ready(Ok(Some(Chunk::new(buffer))));
            }
            if conn.stream_is_over() {
                return Poll::Ready(Ok(None));
            }
            conn.wait(Interest::Input, context.waker());
            Poll::Pending
        })
    }
}

/// Waits for a turn in which the handshake may go on. The connection's own task polls it.
struct Permit {
    handle: Handle,
    stage: Stage,
    until: Tick,
    has_asked: bool,
}

impl Future for Permit {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Self::Output> {
        let permit = &mut *self;
        Shard::with(|shard| {
            let mut core = shard.core();
            let mut conn = permit.handle.open(&mut core)?;
            let may = if permit.has_asked {
                conn.takes_grant()
            } else {
                conn.asks_for_handshake(permit.stage, permit.until)
            };
            permit.has_asked = true;
            if may {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
    }
}
