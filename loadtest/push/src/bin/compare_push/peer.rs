//! The one to whom is pushed.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use loadtest::error::Error;
use push::arrival::{receive, stamp_arrivals};
use push::times::{Times, times};
use push::{MESSAGE_BYTES, Message, now};

use crate::failed;

/// A push that takes longer than this, its interval aside, is lost.
const LOST_AFTER: Duration = Duration::from_secs(2);

/// From another thread's send to the peer: until the bytes were in its socket, as the kernel tells,
/// and until it ran and had them.
pub(crate) struct Pushes {
    pub(crate) arrived: Times,
    pub(crate) received: Times,
}

pub(crate) struct Peer {
    stream: TcpStream,
    received: u64,
}

impl Peer {
    /// Asks the server to push from a thread on `core`.
    pub(crate) fn connect(
        server: SocketAddr,
        interval: Duration,
        core: usize,
    ) -> Result<Self, Error> {
        let connected = || {
            let mut stream = TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(interval + LOST_AFTER))?;
            stamp_arrivals(&stream)?;
            stream.write_all(format!("push {} {core}\n", interval.as_nanos()).as_bytes())?;
            Ok(stream)
        };
        Ok(Self {
            stream: connected().map_err(failed("cannot connect"))?,
            received: 0,
        })
    }

    /// Receives for `time`, and adds to `pushes`.
    pub(crate) fn receive_for(
        &mut self,
        time: Duration,
        mut pushes: Option<&mut Pushes>,
    ) -> Result<(), Error> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let (message, arrived) = self.receive()?;
            let received = now();
            if message.serial != self.received {
                return Err(Error::Failed(format!(
                    "push {} came in place of {}",
                    message.serial, self.received
                )));
            }
            self.received += 1;
            if let (Some(pushes), Some(arrived)) = (&mut pushes, arrived) {
                pushes
                    .arrived
                    .saturating_record(arrived.saturating_sub(message.sent));
                pushes
                    .received
                    .saturating_record(received.saturating_sub(message.sent));
            }
        }
        Ok(())
    }

    /// The kernel begins to tell when bytes came a moment after it was asked to: the first may be
    /// without.
    fn receive(&mut self) -> Result<(Message, Option<u64>), Error> {
        let mut bytes = [0; MESSAGE_BYTES];
        let (length, arrived) = receive(&self.stream, &mut bytes).map_err(|error| {
            Error::Failed(format!("push {} does not come: {error}", self.received))
        })?;
        let message = Message::from_bytes(&bytes[..length]);
        message
            .map(|message| (message, arrived))
            .ok_or_else(|| Error::Failed(format!("push {} is not whole", self.received)))
    }
}

impl Pushes {
    pub(crate) fn none() -> Self {
        Self {
            arrived: times(),
            received: times(),
        }
    }
}
