//! The other end of a connection, as a test scripts it.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use crate::error::CloseReason;
use crate::testing::bench::Bench;
use crate::testing::wire::Wire;

/// The other end of a connection. Dropped it does nothing: the connection is left to its deadlines.
///
/// ```
/// use corelane::{CloseReason, Conn, Error, Handler, testing};
///
/// struct Shout;
///
/// impl Handler for Shout {
///     async fn serve(&self, conn: &mut Conn) -> Result<(), Error> {
///         while let Some(line) = conn.read_line(10).await? {
///             conn.write(&line.to_ascii_uppercase()).await?;
///         }
///         Ok(())
///     }
/// }
///
/// testing::block_on(async || {
///     let mut peer = testing::serve(Shout);
///     peer.send("slow\nly");
///     assert_eq!(peer.receive(4).await, b"SLOW");
///     peer.send("\n");
///     peer.finish();
///     assert_eq!(peer.receive_to_end().await, b"LY");
///     assert_eq!(peer.closed().await, CloseReason::PeerClosed);
///
///     let mut peer = testing::serve(Shout);
///     peer.send("much too long\n");
///     assert_eq!(peer.closed().await, CloseReason::ProtocolError);
///     assert!(peer.was_reset());
/// });
/// ```
pub struct Peer {
    bench: Rc<Bench>,
    wire: usize,
}

impl Peer {
    pub(super) fn new(bench: Rc<Bench>, wire: usize) -> Self {
        Self { bench, wire }
    }

    fn with<R>(&self, act: impl FnOnce(&mut Wire) -> R) -> R {
        let acted = act(&mut self.bench.kernel.borrow_mut().wires[self.wire]);
        self.bench.stir();
        acted
    }

    /// Sends `bytes`: they are on their way at once. To send in parts, [`sleep`](crate::sleep) in
    /// between.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.with(|wire| wire.inbound.extend(bytes.as_ref()));
    }

    /// Sends a FIN behind what was sent: it may still be answered.
    pub fn finish(&mut self) {
        self.with(|wire| wire.peer_ended = true);
    }

    /// Resets the connection; what was sent and not received is lost.
    pub fn reset(&mut self) {
        self.with(|wire| {
            wire.inbound.clear();
            wire.peer_reset = true;
        });
    }

    /// Takes no more than `bytes` that it has not read yet: 0 for a peer that reads nothing. None,
    /// as at first: any number.
    pub fn set_window(&mut self, bytes: Option<usize>) {
        self.with(|wire| wire.window = bytes);
    }

    /// Waits for exactly `length` bytes.
    ///
    /// # Panics
    ///
    /// When the connection ends before; the message has what came.
    pub async fn receive(&mut self, length: usize) -> Vec<u8> {
        self.wait(|wire| {
            let has = wire.outbound.len();
            if has >= length {
                return Some(wire.outbound.drain(..length).collect());
            }
            assert!(
                !wire.is_over(),
                "{length} bytes were expected, and the connection has ended behind {has}: \"{}\"",
                wire.outbound.make_contiguous().escape_ascii()
            );
            None
        })
        .await
    }

    /// Waits for any bytes, and gives those that there are; none: the connection has ended.
    #[cfg(all(any(test, fuzzing), feature = "tls"))]
    pub(super) async fn receive_some(&mut self) -> Vec<u8> {
        self.wait(|wire| {
            let has_some = !wire.outbound.is_empty() || wire.is_over();
            has_some.then(|| wire.outbound.drain(..).collect())
        })
        .await
    }

    /// Waits for the end, and gives all that came by then.
    pub async fn receive_to_end(&mut self) -> Vec<u8> {
        self.wait(|wire| wire.is_over().then(|| wire.outbound.drain(..).collect()))
            .await
    }

    /// Waits until the connection is closed, and gives the reason, as [`Handler::on_close`] is told
    /// it.
    ///
    /// [`Handler::on_close`]: crate::Handler::on_close
    pub async fn closed(&mut self) -> CloseReason {
        self.wait(|wire| wire.closed).await
    }

    /// Whether the server has reset the connection.
    pub fn was_reset(&self) -> bool {
        self.with(|wire| wire.server_reset)
    }

    /// Waits until `look` finds something.
    async fn wait<R>(&mut self, mut look: impl FnMut(&mut Wire) -> Option<R>) -> R {
        poll_fn(|context| {
            self.with(|wire| match look(wire) {
                Some(found) => Poll::Ready(found),
                None => {
                    wire.waiting = Some(context.waker().clone());
                    Poll::Pending
                }
            })
        })
        .await
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Peer({})", self.wire)
    }
}
