//! One TLS session: ciphertext in, plaintext out, and back. The only file that speaks to rustls's
//! connections; it knows no shard.

use std::fmt;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, CommonState, Error, InvalidMessage, ServerConfig};

use crate::shard::conns::tls::hello::Hello;
use crate::shard::conns::tls::record::{self, Next};

/// Calls in which rustls may say what it has to send, between two of ours: a flight is a few.
const STEPS_MAX: usize = 64;
/// Room for one of its messages at first; one that is larger says so.
const MESSAGE_GUESS: usize = 512;

/// A session, of either end.
pub(crate) struct Session {
    side: Side,
    server_name: ServerNameAsked,
    /// Records whose message of the handshake goes on in a further one. rustls has seen them, and
    /// counts on them: it is to have them in front of whatever comes, and if nothing does.
    held: Vec<u8>,
}

/// By which name the client asks for us (RFC 6066, 3).
enum ServerNameAsked {
    /// Its ClientHello is not whole.
    Sought(Hello),
    /// None: by none, and of a session that we have begun.
    Known(Option<Box<str>>),
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What has become of some input.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Bytes at its front that are done with; what is behind them is to come again, with more.
    pub(crate) consumed: usize,
    /// Records that brought no data.
    pub(crate) without_data: u32,
    /// The peer has said that nothing more comes.
    pub(crate) is_over: bool,
    /// The session has failed; what tells the peer so is among what is to be sent.
    pub(crate) failure: Option<Error>,
}

/// How one call has ended.
enum Step {
    Data,
    /// There may be more to send.
    Sent,
    Over,
    /// It needs more input, or is ready to send.
    Settled,
}

impl Session {
    /// One that a client is to begin.
    pub(crate) fn of_server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let side = Side::Server(UnbufferedServerConnection::new(config)?);
        Ok(Self::of(side, ServerNameAsked::Sought(Hello::default())))
    }

    /// One that begins with [`Self::begin`].
    pub(crate) fn of_client(
        config: Arc<ClientConfig>,
        server: ServerName<'static>,
    ) -> Result<Self, Error> {
        let side = Side::Client(UnbufferedClientConnection::new(config, server)?);
        Ok(Self::of(side, ServerNameAsked::Known(None)))
    }

    fn of(side: Side, server_name: ServerNameAsked) -> Self {
        Self {
            side,
            server_name,
            held: Vec::new(),
        }
    }

    // ---- what is known of it ----

    pub(crate) fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(conn) => conn,
            Side::Client(conn) => conn,
        }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    pub(crate) fn server_name(&self) -> Option<&str> {
        match &self.server_name {
            ServerNameAsked::Known(name) => name.as_deref(),
            ServerNameAsked::Sought(_) => None,
        }
    }

    // ---- input ----

    /// Whether [`Self::open`] would find something to do.
    pub(crate) fn can_go_on(&self, input: &[u8]) -> bool {
        record::next(input) != Next::Partial
    }

    /// The client's first flight goes to `own`.
    pub(crate) fn begin(&mut self, own: &mut Vec<u8>) -> Result<(), Error> {
        self.settle(&mut [], own, &mut |_| {}).1.map(drop)
    }

    /// Takes the whole records of `input`, one after the other: their data goes to `data`, and what
    /// is to be sent for them to `own`. A session that shakes hands goes no further than to the end
    /// of that.
    pub(crate) fn open(
        &mut self,
        input: &mut [u8],
        own: &mut Vec<u8>,
        mut data: impl FnMut(&[u8]),
    ) -> Opened {
        let was_handshaking = self.is_handshaking();
        let mut opened = Opened {
            consumed: 0,
            without_data: 0,
            is_over: false,
            failure: None,
        };
        while was_handshaking == self.is_handshaking() {
            let rest = &mut input[opened.consumed..];
            let next = record::next(rest);
            let length = match next {
                Next::Partial => break,
                Next::Whole(length) => length,
                Next::Invalid => rest.len(), // rustls finds the words for it
            };
            let mut has_data = false;
            let mut sink = |bytes: &[u8]| {
                has_data |= !bytes.is_empty();
                data(bytes);
            };
            let settled = self.open_record(&mut rest[..length], own, &mut sink);
            opened.consumed += length;
            opened.without_data += u32::from(!has_data);
            match settled {
                Ok(false) if next == Next::Invalid => {
                    let failure = Error::InvalidMessage(InvalidMessage::InvalidContentType);
                    opened.failure = Some(failure);
                    break;
                }
                Ok(false) => {}
                Ok(true) => {
                    // What comes behind it is ignored (RFC 8446, 6.1).
                    opened.is_over = true;
                    opened.consumed = input.len();
                    break;
                }
                Err(error) => {
                    self.take_alert(own);
                    opened.failure = Some(error);
                    break;
                }
            }
        }
        opened
    }

    /// One whole record. What rustls is not done with it is to have again, in front of what comes.
    fn open_record(
        &mut self,
        record: &mut [u8],
        own: &mut Vec<u8>,
        data: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, Error> {
        if let ServerNameAsked::Sought(hello) = &mut self.server_name
            && let Some(name) = hello.take(record)
        {
            self.server_name = ServerNameAsked::Known(name);
        }
        if self.held.is_empty() {
            let (discard, settled) = self.settle(record, own, data);
            self.held.extend_from_slice(&record[discard..]);
            return settled;
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(record);
        let (discard, settled) = self.settle(&mut held, own, data);
        held.drain(..discard);
        if !held.is_empty() {
            self.held = held;
        }
        settled
    }

    /// Until rustls has no more to say of `input`. Gives how much of that is done with, and whether
    /// the peer has ended its side.
    fn settle(
        &mut self,
        input: &mut [u8],
        own: &mut Vec<u8>,
        data: &mut dyn FnMut(&[u8]),
    ) -> (usize, Result<bool, Error>) {
        let (mut consumed, mut is_over) = (0, false);
        for _ in 0..STEPS_MAX {
            let rest = &mut input[consumed..];
            let (discard, step) = match &mut self.side {
                Side::Server(conn) => step(conn.process_tls_records(rest), own, data),
                Side::Client(conn) => step(conn.process_tls_records(rest), own, data),
            };
            consumed += discard;
            match step {
                Ok(Step::Data | Step::Sent) => {}
                Ok(Step::Over) => is_over = true,
                Ok(Step::Settled) => return (consumed, Ok(is_over)),
                Err(error) => return (consumed, Err(error)),
            }
        }
        let endless = Error::General("a record without end".to_owned());
        (consumed, Err(endless))
    }

    /// What tells the peer of a failure goes to `own`.
    fn take_alert(&mut self, own: &mut Vec<u8>) {
        for _ in 0..STEPS_MAX {
            // Without anything to send it would look at its input anew.
            if !self.common().wants_write() {
                return;
            }
            let held = &mut self.held;
            let (_, _step) = match &mut self.side {
                Side::Server(conn) => step(conn.process_tls_records(held), own, &mut |_| {}),
                Side::Client(conn) => step(conn.process_tls_records(held), own, &mut |_| {}),
            };
        }
    }

    /// Bytes that are held until the rest of a message comes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// The memory of what it holds of a handshake.
    pub(crate) fn handshake_bytes(&self) -> usize {
        let hello = match &self.server_name {
            ServerNameAsked::Sought(hello) => hello.bytes(),
            ServerNameAsked::Known(_) => 0,
        };
        self.held.capacity() + hello
    }

    // ---- output ----

    /// Protects `plaintext`, one record's at most, into `room`; gives how much of that it takes.
    /// What rustls has to send first is before it.
    pub(crate) fn seal(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<usize, Unsealed> {
        self.with_traffic(room, |traffic, room| traffic.encrypt(plaintext, room))
    }

    /// Our last words: nothing is sealed behind them.
    pub(crate) fn seal_end(&mut self, room: &mut [u8]) -> Result<usize, Unsealed> {
        self.with_traffic(room, |traffic, room| traffic.queue_close_notify(room))
    }

    fn with_traffic(
        &mut self,
        room: &mut [u8],
        mut act: impl FnMut(&mut dyn Traffic, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<usize, Unsealed> {
        let mut written = 0;
        for _ in 0..STEPS_MAX {
            let (held, room) = (&mut self.held, &mut room[written..]);
            let (discard, sent) = match &mut self.side {
                Side::Server(conn) => traffic(conn.process_tls_records(held), room, &mut act),
                Side::Client(conn) => traffic(conn.process_tls_records(held), room, &mut act),
            };
            self.held.drain(..discard);
            match sent {
                Sent::Own(bytes) => written += bytes,
                Sent::All(bytes) => return Ok(written + bytes),
                // What was written is not to be written again.
                Sent::NeedsRoom(size) if written == 0 => return Err(Unsealed::NeedsRoom(size)),
                Sent::NeedsRoom(_) | Sent::Over => return Err(Unsealed::Over),
            }
        }
        Err(Unsealed::Over)
    }
}

/// Why nothing was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsealed {
    /// So much room is wanted.
    NeedsRoom(usize),
    /// It seals nothing any more.
    Over,
}

/// [`WriteTraffic`], of either side.
trait Traffic {
    fn encrypt(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<usize, EncryptError>;
    fn queue_close_notify(&mut self, room: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<Data> Traffic for WriteTraffic<'_, Data> {
    fn encrypt(&mut self, plaintext: &[u8], room: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::encrypt(self, plaintext, room)
    }

    fn queue_close_notify(&mut self, room: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::queue_close_notify(self, room)
    }
}

/// What one call has written.
enum Sent {
    /// Something of rustls's own, or nothing: there is more.
    Own(usize),
    All(usize),
    NeedsRoom(usize),
    Over,
}

/// Writes into `room` what is to be sent next. Gives the bytes of the input that are done with
/// besides.
fn traffic<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    room: &mut [u8],
    act: &mut impl FnMut(&mut dyn Traffic, &mut [u8]) -> Result<usize, EncryptError>,
) -> (usize, Sent) {
    let sent = match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => match act(&mut traffic, room) {
            Ok(bytes) => Sent::All(bytes),
            Err(EncryptError::InsufficientSize(size)) => Sent::NeedsRoom(size.required_size),
            Err(EncryptError::EncryptExhausted) => Sent::Over,
        },
        Ok(ConnectionState::EncodeTlsData(mut encode)) => match encode.encode(room) {
            Ok(bytes) => Sent::Own(bytes),
            Err(_) => Sent::Over,
        },
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            transmit.done();
            Sent::Own(0)
        }
        Ok(ConnectionState::PeerClosed) => Sent::Own(0),
        Ok(_) | Err(_) => Sent::Over,
    };
    (status.discard, sent)
}

/// What one call of rustls says. Gives the bytes of the input that are done with besides.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    own: &mut Vec<u8>,
    data: &mut dyn FnMut(&[u8]),
) -> (usize, Result<Step, Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut outcome = Ok(Step::Data);
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        data(record.payload);
                    }
                    Err(error) => outcome = Err(error),
                }
            }
            outcome
        }
        Ok(ConnectionState::EncodeTlsData(mut encode)) => {
            let begin = own.len();
            own.resize(begin + MESSAGE_GUESS, 0);
            let mut encoded = encode.encode(&mut own[begin..]);
            if let Err(EncodeError::InsufficientSize(size)) = &encoded {
                own.resize(begin + size.required_size, 0);
                encoded = encode.encode(&mut own[begin..]);
            }
            own.truncate(begin + encoded.as_ref().copied().unwrap_or_default());
            let unencoded = |error: EncodeError| Error::General(error.to_string());
            encoded.map(|_| Step::Sent).map_err(unencoded)
        }
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            transmit.done();
            Ok(Step::Sent)
        }
        Ok(ConnectionState::PeerClosed) => Ok(Step::Over),
        Ok(
            ConnectionState::BlockedHandshake
            | ConnectionState::WriteTraffic(_)
            | ConnectionState::Closed,
        ) => Ok(Step::Settled),
        // Early data is never allowed for (`ServerConfig::max_early_data_size` is 0).
        Ok(_) => Err(Error::InvalidMessage(InvalidMessage::UnexpectedMessage(
            "early data",
        ))),
    };
    (discard, step)
}

/// Nothing of its keys.
impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Session")
    }
}
